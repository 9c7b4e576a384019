//! What is stored of function URLs.

use gatemill_store::{Key, Record, Table};
use serde::{Deserialize, Serialize};

use crate::target::FunctionKey;

/// URLs by account, region, name and qualifier of their function (empty for none).
pub(crate) const URLS: Table<UrlRecord> = Table::new("lambda-urls");
/// Whose a URL is, by its id: what a request names.
pub(crate) const URL_OWNERS: Table<UrlOwnerRecord> = Table::new("lambda-url-owners");

/// The URL of a function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UrlRecord {
    /// The first label of its host.
    pub(crate) id: String,
    pub(crate) auth: AuthType,
    pub(crate) cors: Option<CorsRecord>,
    pub(crate) mode: InvokeMode,
    pub(crate) created_ms: i64,
    pub(crate) last_modified_ms: i64,
}

impl Record for UrlRecord {
    const VERSION: u8 = 1;
}

/// Who may call a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum AuthType {
    /// Everybody whom the policy lets in.
    None,
    /// Who signs.
    AwsIam,
}

/// How the answer leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum InvokeMode {
    /// Whole.
    Buffered,
    /// While the function gives it.
    ResponseStream,
}

/// The CORS configuration, each member as it was given or absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CorsRecord {
    pub(crate) allow_credentials: Option<bool>,
    pub(crate) allow_headers: Option<Vec<String>>,
    pub(crate) allow_methods: Option<Vec<String>>,
    pub(crate) allow_origins: Option<Vec<String>>,
    pub(crate) expose_headers: Option<Vec<String>>,
    pub(crate) max_age: Option<i32>,
}

/// Whose a URL is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UrlOwnerRecord {
    pub(crate) account: String,
    pub(crate) region: String,
    pub(crate) name: String,
    pub(crate) qualifier: Option<String>,
}

impl Record for UrlOwnerRecord {
    const VERSION: u8 = 1;
}

impl AuthType {
    /// The word for it in the API and in policies.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::AwsIam => "AWS_IAM",
        }
    }

    /// Reads [`Self::name`]; the model has let no other value through.
    pub(crate) fn of(name: &str) -> Self {
        if name == Self::None.name() { Self::None } else { Self::AwsIam }
    }
}

impl InvokeMode {
    /// The word for it in the API.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Buffered => "BUFFERED",
            Self::ResponseStream => "RESPONSE_STREAM",
        }
    }

    /// Reads [`Self::name`]; the model has let no other value through.
    pub(crate) fn of(name: &str) -> Self {
        if name == Self::Buffered.name() { Self::Buffered } else { Self::ResponseStream }
    }
}

/// The key of a function's URL.
pub(crate) fn url_key(function: &FunctionKey, qualifier: &str) -> Key {
    function.record().and(qualifier)
}

/// The key of a URL's owner.
pub(crate) fn owner_key(id: &str) -> Key {
    Key::new([id])
}

#[cfg(test)]
mod tests {
    use gatemill_store::{decode, encode};

    use super::*;

    fn golden(json: &str) -> Vec<u8> {
        let mut bytes = vec![1];
        bytes.extend(json.bytes());
        bytes
    }

    #[test]
    fn what_is_stored_stays_readable() {
        let url = UrlRecord {
            id: "i".into(),
            auth: AuthType::AwsIam,
            cors: Some(CorsRecord {
                allow_origins: Some(vec!["*".into()]),
                max_age: Some(5),
                ..CorsRecord::default()
            }),
            mode: InvokeMode::ResponseStream,
            created_ms: 1,
            last_modified_ms: 2,
        };
        let text = r#"{"id":"i","auth":"AwsIam","cors":{"allow_credentials":null,"allow_headers":null,"allow_methods":null,"allow_origins":["*"],"expose_headers":null,"max_age":5},"mode":"ResponseStream","created_ms":1,"last_modified_ms":2}"#;
        assert_eq!(encode(&url).unwrap(), golden(text));
        assert_eq!(decode::<UrlRecord>(&golden(text)).unwrap(), url);
        let owner = UrlOwnerRecord {
            account: "a".into(),
            region: "r".into(),
            name: "n".into(),
            qualifier: None,
        };
        let text = r#"{"account":"a","region":"r","name":"n","qualifier":null}"#;
        assert_eq!(encode(&owner).unwrap(), golden(text));
        assert_eq!(decode::<UrlOwnerRecord>(&golden(text)).unwrap(), owner);
    }

    #[test]
    fn words() {
        for auth in [AuthType::None, AuthType::AwsIam] {
            assert_eq!(AuthType::of(auth.name()), auth);
        }
        for mode in [InvokeMode::Buffered, InvokeMode::ResponseStream] {
            assert_eq!(InvokeMode::of(mode.name()), mode);
        }
    }
}
