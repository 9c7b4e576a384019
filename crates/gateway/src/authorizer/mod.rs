//! Authorizers as requests see them: compiled from their records, with what they know of the past.
//!
//! [`jwt`] checks tokens and [`issuers`] has the keys for it; [`answers`] keeps what functions said. When each is
//! asked is decided by `proxy::authorize`.

pub(crate) mod answers;
pub(crate) mod issuers;
pub(crate) mod jwt;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crate::{
    authorizer::answers::Answers,
    expression::Source,
    functions::FunctionTarget,
    record::{ApiKey, AuthorizerKind, AuthorizerRecord, PayloadFormat},
    uri::substitute,
};

/// An authorizer of a stage.
#[derive(Debug)]
pub(crate) struct AuthorizerSnapshot {
    /// What it was made of, to know it again when the stage is compiled anew.
    record: AuthorizerRecord,
    /// The stage's count of times that answers were to be forgotten.
    cache: u64,
    pub(crate) sources: Vec<Source>,
    pub(crate) how: How,
}

/// How an authorizer decides.
#[derive(Debug)]
pub(crate) enum How {
    /// By a token.
    Jwt(jwt::Rules),
    /// By asking a function.
    Function(Asked),
    /// Not at all: with this stage's variables the URI names no function.
    Broken,
}

/// The function that an authorizer asks.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) function: FunctionTarget,
    /// What API Gateway calls itself towards the function's policy.
    pub(crate) source_arn: String,
    pub(crate) format: PayloadFormat,
    pub(crate) simple: bool,
    /// How long an answer is kept; none is when it is zero.
    pub(crate) ttl: Duration,
    pub(crate) answers: Answers,
}

impl AuthorizerSnapshot {
    /// Compiles an authorizer for a stage. What `before` remembers lives on when nothing changed.
    pub(crate) fn compile(
        at: &ApiKey,
        record: &AuthorizerRecord,
        variables: &BTreeMap<String, String>,
        cache: u64,
        before: Option<&Arc<Self>>,
    ) -> Arc<Self> {
        let sources = record.identity_source.iter().filter_map(|text| Source::parse(text));
        let how = match &record.how {
            AuthorizerKind::Jwt { issuer, audience } => {
                How::Jwt(jwt::Rules { issuer: issuer.clone(), audience: audience.clone() })
            }
            AuthorizerKind::Request(asked) => substitute(&asked.uri, variables)
                .and_then(|uri| FunctionTarget::from_integration_uri(&uri))
                .map_or(How::Broken, |function| {
                    let ApiKey { account, region, id } = at;
                    How::Function(Asked {
                        function,
                        source_arn: format!(
                            "arn:aws:execute-api:{region}:{account}:{id}/authorizers/{}",
                            record.id
                        ),
                        format: asked.payload_format,
                        simple: asked.simple,
                        ttl: Duration::from_secs(u64::from(asked.ttl_seconds.unsigned_abs())),
                        answers: Answers::default(),
                    })
                }),
        };
        match (before, &how) {
            (Some(before), How::Function(asked)) if before.same(record, cache, asked) => {
                Arc::clone(before)
            }
            _ => Arc::new(Self { record: record.clone(), cache, sources: sources.collect(), how }),
        }
    }

    fn same(&self, record: &AuthorizerRecord, cache: u64, asked: &Asked) -> bool {
        let function = match &self.how {
            How::Function(before) => before.function == asked.function,
            How::Jwt(_) | How::Broken => false,
        };
        function && self.cache == cache && self.record == *record
    }

    /// What has to be there for it to be asked, as it was written.
    pub(crate) fn identity_source(&self) -> &[String] {
        &self.record.identity_source
    }

    /// Its id.
    pub(crate) fn id(&self) -> &str {
        &self.record.id
    }
}
