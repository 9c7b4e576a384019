//! The short-lived credentials of roles, which functions run with.
//!
//! They are stored nowhere. The session token holds whose they are and until when, encrypted with a key of the key file;
//! the secret is derived from the access key's id with the same key. So they are good after a restart, cost no memory and
//! no write, and none of them can be taken back before its end, which is why that is soon.
//!
//! The id is made in a way that shows it to be ours. An id of ours without its token, or with another one, is refused
//! also where any other key is accepted.

use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use gatemill_wire::{
    Caller, Credential, Entropy, Presented, Timestamp, Unusable, Verification, sigv4::hmac_sha256,
};

use crate::{
    Error,
    limits::{SESSION_NAME_CHARS_MAX, SESSION_SECONDS_MAX, SESSION_TOKEN_BYTES_MAX},
    seal::SealingKey,
};

const KEY_ID: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// What begins the id of a key that is good together with a session token alone.
const PREFIX: &str = "ASIA";
/// Bytes of an id that are chosen, and of the proof that we chose them: each becomes eight characters.
const HALF: usize = 5;

/// A session of a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoleSession<'a> {
    /// The account in which its calls act. It is the one of whoever starts the session; the role's own is not asked, so
    /// that nobody gets into another account by naming a role of it.
    pub account: &'a str,
    /// The role, `arn:aws:iam::ACCOUNT:role/PATH/NAME`.
    pub role_arn: &'a str,
    /// The session's name; of a function, its name.
    pub name: &'a str,
    /// How long it lasts, at most [`SESSION_SECONDS_MAX`](crate::limits::SESSION_SECONDS_MAX).
    pub lifetime: Duration,
}

/// The credentials of a session.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionCredentials {
    /// `ASIA` and sixteen of `A-Z2-7`.
    pub access_key_id: String,
    /// Forty characters of base64.
    pub secret_access_key: String,
    /// Base64.
    pub session_token: String,
    /// From then on they are refused.
    pub expiration: Timestamp,
}

impl std::fmt::Debug for SessionCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionCredentials")
            .field("access_key_id", &self.access_key_id)
            .field("expiration", &self.expiration)
            .finish_non_exhaustive()
    }
}

/// Makes and recognises sessions.
pub(crate) struct Sessions {
    tokens: SealingKey,
    secret: [u8; 32],
}

impl Sessions {
    pub(crate) fn new(key: &SealingKey) -> Self {
        Self { tokens: key.derived("session tokens"), secret: key.derive("session secrets") }
    }

    pub(crate) fn begin(
        &self,
        session: &RoleSession<'_>,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<SessionCredentials, Error> {
        let role = session.role_arn.rsplit('/').next().unwrap_or_default();
        let fits = |text: &str| {
            (1..=SESSION_NAME_CHARS_MAX).contains(&text.len()) && text.bytes().all(is_name_byte)
        };
        if !fits(role) || !fits(session.name) || session.lifetime.as_secs() > SESSION_SECONDS_MAX {
            return Err(Error::NotASession);
        }
        let mut chosen = [0; HALF];
        entropy.fill(&mut chosen);
        let access_key_id = format!("{PREFIX}{}{}", letters(&chosen), letters(&self.proof(chosen)));
        let lifetime =
            i64::try_from(session.lifetime.as_millis()).map_err(|_| Error::NotASession)?;
        let expiration = now.plus_ms(lifetime);
        let text =
            [session.account, role, session.name, &expiration.millis().to_string()].join("\n");
        let sealed = self.tokens.seal(&access_key_id, &text, entropy)?;
        Ok(SessionCredentials {
            secret_access_key: self.secret_of(&access_key_id),
            session_token: BASE64_STANDARD.encode(sealed),
            access_key_id,
            expiration,
        })
    }

    /// Whether an id is of a key that was made here.
    pub(crate) fn made(&self, access_key_id: &str) -> bool {
        let halves = access_key_id.strip_prefix(PREFIX).and_then(|rest| rest.split_at_checked(8));
        let Some((chosen, proof)) = halves else { return false };
        bytes(chosen).is_some_and(|chosen| {
            let expected = letters(&self.proof(chosen));
            verify_slices_are_equal(expected.as_bytes(), proof.as_bytes()).is_ok()
        })
    }

    /// The credential behind an id for which [`Self::made`] holds.
    pub(crate) fn find(&self, presented: Presented<'_>) -> Result<Credential, Unusable> {
        let id = presented.access_key_id;
        let token = presented.session_token.filter(|token| token.len() <= SESSION_TOKEN_BYTES_MAX);
        let sealed = token.and_then(|token| BASE64_STANDARD.decode(token).ok());
        let text = sealed.and_then(|sealed| self.tokens.open(id, &sealed));
        let text = text.ok_or(Unusable::Unknown)?;
        let mut fields = text.split('\n');
        let mut field = || fields.next().ok_or(Unusable::Unknown);
        let (account, role, name) = (field()?, field()?, field()?);
        let expiration = field()?.parse().map_err(|_| Unusable::Unknown)?;
        if presented.now.millis() >= expiration {
            return Err(Unusable::Expired);
        }
        let role_id = hmac_sha256(&self.secret, format!("{account}\n{role}").as_bytes());
        Ok(Credential {
            caller: Caller {
                account: account.to_owned(),
                arn: format!("{}{role}/{name}", session_arn_start(account)),
                user_id: format!("AROA{}:{name}", letters(&role_id[..2 * HALF])),
                access_key_id: id.to_owned(),
            },
            verification: Verification::Secret(self.secret_of(id)),
        })
    }

    fn secret_of(&self, access_key_id: &str) -> String {
        let mut text = BASE64_STANDARD.encode(hmac_sha256(&self.secret, access_key_id.as_bytes()));
        text.truncate(40);
        text
    }

    fn proof(&self, chosen: [u8; HALF]) -> [u8; HALF] {
        // Of another length than an id, so that no proof is the beginning of a secret.
        let whole = hmac_sha256(&self.secret, &chosen);
        *whole.first_chunk().expect("an HMAC-SHA256 has 32 bytes")
    }
}

/// How the ARN of every session of an account begins.
pub(crate) fn session_arn_start(account: &str) -> String {
    format!("arn:aws:sts::{account}:assumed-role/")
}

/// What IAM allows in the names of roles and of sessions.
fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte)
}

/// Five bits a letter.
fn letters(bytes: &[u8]) -> String {
    let bit = |at: usize| bytes[at / 8] >> (7 - at % 8) & 1;
    let letter = |at: usize| (0..5).fold(0, |number, next| number << 1 | bit(at * 5 + next));
    (0..bytes.len() * 8 / 5).map(|at| char::from(KEY_ID[usize::from(letter(at))])).collect()
}

/// The bytes of eight letters.
fn bytes(letters: &str) -> Option<[u8; HALF]> {
    let number = letters.bytes().try_fold(0_u64, |number, letter| {
        let digit = KEY_ID.iter().position(|known| *known == letter)?;
        Some(number << 5 | digit as u64)
    })?;
    number.to_be_bytes().last_chunk().copied().filter(|_| letters.len() == 8)
}

#[cfg(test)]
#[path = "sessions_tests.rs"]
mod tests;
