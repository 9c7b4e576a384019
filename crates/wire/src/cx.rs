//! The context of one call: who calls, for which account and region, when, and where ids come from.
//!
//! Handlers get time, ids and jitter from here and nowhere else, so that a test can fix them.

use std::{fmt, sync::Arc};

use uuid::{Builder, Uuid};

use crate::Timestamp;

/// A source of random bytes. The server's reads the operating system; a test's counts.
pub trait Entropy: Send + Sync {
    /// Fills `buffer` with random bytes.
    fn fill(&self, buffer: &mut [u8]);
}

/// A source of the time, for workers and data paths that have no call's context. The server's reads the system's
/// clock; a test's stands still.
pub trait Clock: Send + Sync {
    /// The time now.
    fn now(&self) -> Timestamp;
}

/// The id of a request: a UUID version 4, the same in the answer's header, the runtime and the logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId(pub Uuid);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The twelve digits of the account.
    pub account: String,
    /// The ARN of the identity, such as `arn:aws:iam::000000000000:root`.
    pub arn: String,
    /// Its unique id.
    pub user_id: String,
    /// The access key that signed.
    pub access_key_id: String,
}

/// The context of one call.
#[derive(Clone)]
pub struct Cx {
    /// The id of this request.
    pub request_id: RequestId,
    /// Who calls.
    pub caller: Caller,
    /// The region that the signature names.
    pub region: String,
    /// The time at which the request arrived.
    pub now: Timestamp,
    /// Scheme, host and port under which the caller reached us, without a slash at the end.
    pub endpoint: String,
    /// The caller's address.
    pub source_ip: String,
    /// The request's `X-Amzn-Trace-Id`, as it came: nobody has looked at what stands in it.
    pub trace_id: Option<String>,
    /// Where random bytes come from.
    pub entropy: Arc<dyn Entropy>,
}

impl fmt::Debug for Cx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cx")
            .field("request_id", &self.request_id)
            .field("caller", &self.caller)
            .field("region", &self.region)
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}

impl Cx {
    /// The account that the call acts in: the caller's.
    pub fn account(&self) -> &str {
        &self.caller.account
    }

    /// A new UUID version 4.
    pub fn uuid(&self) -> Uuid {
        self.entropy.uuid()
    }

    /// A new id of `length` characters out of `a-z0-9`, as API Gateway makes them.
    pub fn id(&self, length: usize) -> String {
        self.entropy.id(length)
    }
}

impl dyn Entropy {
    /// A new UUID version 4.
    pub fn uuid(&self) -> Uuid {
        let mut bytes = [0; 16];
        self.fill(&mut bytes);
        Builder::from_random_bytes(bytes).into_uuid()
    }

    /// `length` characters out of `a-z0-9`, each equally likely.
    pub fn id(&self, length: usize) -> String {
        const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
        let mut id = String::with_capacity(length);
        let mut bytes = [0; 32];
        while id.len() < length {
            self.fill(&mut bytes);
            // 252 is the largest multiple of 36 in a byte; what lies above would favour the first letters.
            let fair = bytes.iter().filter(|&&byte| byte < 252);
            for byte in fair.take(length - id.len()) {
                id.push(char::from(ALPHABET[usize::from(byte % 36)]));
            }
        }
        id
    }
}
