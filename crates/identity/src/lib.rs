//! Accounts and access keys, who may do what, and the Security Token Service as far as `GetCallerIdentity`.
//!
//! In [`Mode::Dev`] every access key is accepted and no signature is checked: an id of twelve digits selects that
//! account, any other the default one. In [`Mode::Serve`] the access keys are records, their secrets encrypted at
//! rest, and the first start makes those of the account's root.
//!
//! This version knows roots, who may do everything in their own account, since every handler acts in the caller's account,
//! and the sessions of roles that functions run with. A role is a name: what roles may do is one setting,
//! [`RoleAccess`]. Users, stored roles and policies are not built; their operations answer 501.
//!
//! A lookup reads memory and never the store.
//!
//! | module | what it holds |
//! |---|---|
//! | `records`, `seal` | access keys as stored, and their secrets at rest |
//! | `sessions` | the short-lived credentials of roles |
//! | `sts` | the handler of `GetCallerIdentity` |
//! | `error`, [`limits`] | what can go wrong; every bound |

mod error;
pub mod limits;
mod records;
mod seal;
mod sessions;
mod sts;

use std::{collections::HashMap, fmt, path::Path, sync::Arc};

use gatemill_api::sts as api;
use gatemill_store::{Key, Store};
use gatemill_wire::{
    ApiError, Authorizer, Blob, Caller, Credential, Credentials, Cx, Entropy, OperationInfo,
    Presented, Served, Table, Timestamp, Unusable, Verification, arn::is_account, error::common,
};

pub use error::Error;
pub use sessions::{RoleSession, SessionCredentials};

use crate::{
    limits::ACCESS_KEYS_MAX,
    records::{ACCESS_KEYS, AccessKeyRecord},
    seal::SealingKey,
    sessions::{Sessions, session_arn_start},
};

/// Whose calls are accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// Anybody's: for a laptop and for tests.
    Dev {
        /// The account of access keys that name none: twelve digits.
        default_account: String,
    },
    /// Those signed with a stored key.
    Serve {
        /// The account whose root credentials the first start makes: twelve digits.
        account: String,
    },
}

impl Mode {
    fn account(&self) -> &str {
        match self {
            Self::Dev { default_account: account } | Self::Serve { account } => account,
        }
    }
}

/// What roles may do. There are no policies of roles yet, so it is one word for all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoleAccess {
    /// Nothing but ask who they are.
    None,
    /// Everything in their account.
    Account,
}

/// The credentials of an account's root, made at the first start. The secret is shown once and cannot be read back.
#[derive(Clone, PartialEq, Eq)]
pub struct NewRootCredentials {
    /// The account.
    pub account: String,
    /// `AKIA` and sixteen of `A-Z2-7`.
    pub access_key_id: String,
    /// Forty characters of base64.
    pub secret_access_key: String,
}

impl fmt::Debug for NewRootCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewRootCredentials")
            .field("account", &self.account)
            .field("access_key_id", &self.access_key_id)
            .finish_non_exhaustive()
    }
}

/// The access keys, and who may do what with them.
pub struct Identity {
    mode: Mode,
    keys: HashMap<String, Credential>,
    sessions: Sessions,
    sealing: SealingKey,
    roles: RoleAccess,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("mode", &self.mode)
            .field("keys", &self.keys.len())
            .finish_non_exhaustive()
    }
}

impl Identity {
    /// Loads the access keys; in [`Mode::Serve`], makes those of the account's root if no key is stored.
    ///
    /// # Errors
    /// When the account is none, the key file cannot be made, is missing or wrong, or the store fails.
    pub async fn open(
        store: &Store,
        mode: Mode,
        roles: RoleAccess,
        entropy: &dyn Entropy,
        data_dir: &Path,
    ) -> Result<(Arc<Self>, Option<NewRootCredentials>), Error> {
        if !is_account(mode.account()) {
            return Err(Error::NotAnAccount { account: mode.account().to_owned() });
        }
        let Mode::Serve { account } = &mode else {
            let sealing = sealing_key(data_dir, entropy, true)?;
            let sessions = Sessions::new(&sealing);
            return Ok((
                Arc::new(Self { mode, keys: HashMap::new(), sessions, sealing, roles }),
                None,
            ));
        };
        let mut stored = stored_keys(store)?;
        let sealing = sealing_key(data_dir, entropy, stored.is_empty())?;
        let mut new = None;
        if stored.is_empty() {
            let made = new_root(account, entropy);
            stored = vec![store_root(store, &made, &sealing, entropy).await?];
            new = Some(made);
        }
        let keys = stored
            .into_iter()
            .map(|(id, key)| credential(id, &key, &sealing))
            .collect::<Result<_, _>>()?;
        let sessions = Sessions::new(&sealing);
        Ok((Arc::new(Self { mode, keys, sessions, sealing, roles }), new))
    }

    /// A key for another purpose, which says nothing about the one that it is derived from. It is the same at every start, as
    /// long as the key file is.
    pub fn derive_key(&self, purpose: &str) -> [u8; 32] {
        self.sealing.derive(purpose)
    }

    /// Begins a session of a role, for a function to run with.
    ///
    /// # Errors
    /// [`Error::NotASession`] when the role, the name or the lifetime cannot be one's.
    pub fn begin_session(
        &self,
        session: &RoleSession<'_>,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<SessionCredentials, Error> {
        self.sessions.begin(session, now, entropy)
    }

    /// The operations of the Security Token Service and their handlers.
    pub fn routes(self: &Arc<Self>) -> Box<dyn Served> {
        Box::new(table().serve(Arc::clone(self)))
    }
}

/// Which operation of the Security Token Service is served by which handler.
pub fn table() -> Table<Identity, Error> {
    Table::new(&api::SERVICE).on::<api::GetCallerIdentity>(sts::get_caller_identity)
}

impl Credentials for Identity {
    fn find(&self, presented: Presented<'_>) -> Result<Credential, Unusable> {
        let access_key_id = presented.access_key_id;
        if self.sessions.made(access_key_id) {
            return self.sessions.find(presented);
        }
        let Mode::Dev { default_account } = &self.mode else {
            // A key for good has no session, so a token that comes with it is somebody else's.
            let key = self.keys.get(access_key_id).filter(|_| presented.session_token.is_none());
            return key.cloned().ok_or(Unusable::Unknown);
        };
        let account =
            if is_account(access_key_id) { access_key_id } else { default_account.as_str() };
        Ok(Credential {
            caller: root(account, access_key_id),
            verification: Verification::AnySignature,
        })
    }
}

impl Authorizer for Identity {
    fn authorize(&self, cx: &Cx, operation: &OperationInfo) -> Result<(), ApiError> {
        let caller = &cx.caller;
        if is_account(&caller.account) && caller.arn == root_arn(&caller.account) {
            return Ok(());
        }
        if caller.arn.starts_with(&session_arn_start(&caller.account))
            && (self.roles == RoleAccess::Account || operation.action == WHO_AM_I)
        {
            return Ok(());
        }
        Err(ApiError::new(
            &common::ACCESS_DENIED,
            format!(
                "User: {} is not authorized to perform: {} because no identity-based policy allows the {} action",
                caller.arn, operation.action, operation.action
            ),
        ))
    }
}

/// The one action that needs no permission.
const WHO_AM_I: &str = "sts:GetCallerIdentity";

fn root_arn(account: &str) -> String {
    format!("arn:aws:iam::{account}:root")
}

/// The root of an account, as AWS describes it: its user id is the account.
fn root(account: &str, access_key_id: &str) -> Caller {
    Caller {
        account: account.to_owned(),
        arn: root_arn(account),
        user_id: account.to_owned(),
        access_key_id: access_key_id.to_owned(),
    }
}

fn stored_keys(store: &Store) -> Result<Vec<(String, AccessKeyRecord)>, Error> {
    let found =
        store.read(|read| ACCESS_KEYS.scan(read, &Key::empty(), None, ACCESS_KEYS_MAX + 1))?;
    if found.len() > ACCESS_KEYS_MAX {
        return Err(Error::TooManyKeys);
    }
    let named = |(key, record): (Key, AccessKeyRecord)| {
        let id = key.text(0).map(std::borrow::Cow::into_owned);
        id.map(|id| (id, record)).ok_or(Error::Store(gatemill_store::Error::Damaged {
            what: "the key of an access key",
        }))
    };
    found.into_iter().map(named).collect()
}

/// The key file is made while nothing is stored, and never again: a new one could not open old secrets.
fn sealing_key(data_dir: &Path, entropy: &dyn Entropy, new: bool) -> Result<SealingKey, Error> {
    match SealingKey::read(data_dir)? {
        Some(key) => Ok(key),
        None if new => SealingKey::create(data_dir, entropy),
        None => Err(Error::KeyFileMissing { path: data_dir.join(seal::KEY_FILE) }),
    }
}

fn new_root(account: &str, entropy: &dyn Entropy) -> NewRootCredentials {
    const KEY_ID: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    const SECRET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    NewRootCredentials {
        account: account.to_owned(),
        access_key_id: format!("AKIA{}", random(KEY_ID, 16, entropy)),
        secret_access_key: random(SECRET, 40, entropy),
    }
}

/// `length` characters of an alphabet whose size divides 256, so that each is equally likely.
fn random(alphabet: &[u8], length: usize, entropy: &dyn Entropy) -> String {
    let mut bytes = vec![0; length];
    entropy.fill(&mut bytes);
    bytes.iter().map(|byte| char::from(alphabet[usize::from(*byte) % alphabet.len()])).collect()
}

async fn store_root(
    store: &Store,
    made: &NewRootCredentials,
    sealing: &SealingKey,
    entropy: &dyn Entropy,
) -> Result<(String, AccessKeyRecord), Error> {
    let id = made.access_key_id.clone();
    let secret = sealing.seal(&id, &made.secret_access_key, entropy)?;
    let record = AccessKeyRecord { account: made.account.clone(), secret: Blob(secret.into()) };
    let (key, put) = (Key::new([&id]), record.clone());
    store.write(move |tx| ACCESS_KEYS.put(tx, &key, &put)).await?;
    Ok((id, record))
}

fn credential(
    id: String,
    record: &AccessKeyRecord,
    sealing: &SealingKey,
) -> Result<(String, Credential), Error> {
    let Some(secret) = sealing.open(&id, &record.secret.0) else {
        return Err(Error::WrongKey { access_key_id: id });
    };
    let credential = Credential {
        caller: root(&record.account, &id),
        verification: Verification::Secret(secret),
    };
    Ok((id, credential))
}

#[cfg(test)]
mod tests;
