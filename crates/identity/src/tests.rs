//! Opening in both modes, what survives a restart, and who may do what.

use std::{
    os::unix::fs::PermissionsExt as _,
    sync::atomic::{AtomicU8, Ordering},
};

use gatemill_wire::{RequestId, Timestamp};

use super::*;

/// Counts, so that every id differs and a run repeats.
#[derive(Default)]
struct Counting(AtomicU8);

impl Entropy for Counting {
    fn fill(&self, buffer: &mut [u8]) {
        for byte in buffer {
            *byte = self.0.fetch_add(1, Ordering::Relaxed).wrapping_mul(37);
        }
    }
}

fn serve() -> Mode {
    Mode::Serve { account: "123456789012".to_owned() }
}

fn presented(access_key_id: &str) -> Presented<'_> {
    Presented { access_key_id, session_token: None, now: Timestamp(0) }
}

fn context(caller: Caller) -> Cx {
    Cx {
        request_id: RequestId((&Counting::default() as &dyn Entropy).uuid()),
        caller,
        region: "us-east-1".to_owned(),
        now: Timestamp(0),
        endpoint: "http://localhost:4566".to_owned(),
        source_ip: "127.0.0.1".to_owned(),
        trace_id: None,
        entropy: Arc::new(Counting::default()),
    }
}

fn secret(credential: &Credential) -> &str {
    match &credential.verification {
        Verification::Secret(secret) => secret,
        Verification::AnySignature => panic!("a stored key has a secret"),
    }
}

#[tokio::test]
async fn root_credentials_are_made_once_and_loaded_later() {
    let dir = tempfile::tempdir().unwrap();
    let entropy = Counting::default();
    let store = Store::open(dir.path()).unwrap();
    let (identity, new) =
        Identity::open(&store, serve(), RoleAccess::None, &entropy, dir.path()).await.unwrap();
    let new = new.unwrap();
    assert!(new.access_key_id.starts_with("AKIA") && new.access_key_id.len() == 20);
    let allowed = |c: char| c.is_ascii_uppercase() || ('2'..='7').contains(&c);
    assert!(new.access_key_id[4..].chars().all(allowed), "{}", new.access_key_id);
    assert_eq!(new.secret_access_key.len(), 40);
    assert!(!format!("{new:?}").contains(&new.secret_access_key));
    let found = identity.find(presented(&new.access_key_id)).unwrap();
    assert_eq!(found.caller.arn, "arn:aws:iam::123456789012:root");
    assert_eq!(found.caller.user_id, "123456789012");
    assert_eq!(secret(&found), new.secret_access_key);
    assert_eq!(identity.find(presented("AKIAUNKNOWN")).unwrap_err(), Unusable::Unknown);
    let with_token = Presented { session_token: Some("token"), ..presented(&new.access_key_id) };
    assert_eq!(identity.find(with_token).unwrap_err(), Unusable::Unknown);
    assert_eq!(identity.find(presented("123456789012")).unwrap_err(), Unusable::Unknown);
    store.close().await.unwrap();

    let store = Store::open(dir.path()).unwrap();
    let (again, none) =
        Identity::open(&store, serve(), RoleAccess::None, &entropy, dir.path()).await.unwrap();
    assert_eq!(none, None);
    assert_eq!(secret(&again.find(presented(&new.access_key_id)).unwrap()), new.secret_access_key);
    store.close().await.unwrap();

    for file in std::fs::read_dir(dir.path()).unwrap().map(Result::unwrap) {
        if file.metadata().unwrap().is_file() {
            let bytes = std::fs::read(file.path()).unwrap();
            let text = String::from_utf8_lossy(&bytes);
            assert!(!text.contains(&new.secret_access_key), "{}", file.path().display());
        }
    }
    let mode = std::fs::metadata(dir.path().join("identity.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_missing_or_another_key_file_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let entropy = Counting::default();
    let store = Store::memory();
    Identity::open(&store, serve(), RoleAccess::None, &entropy, dir.path()).await.unwrap();
    let path = dir.path().join("identity.key");
    std::fs::write(&path, [1; 32]).unwrap();
    let error =
        Identity::open(&store, serve(), RoleAccess::None, &entropy, dir.path()).await.unwrap_err();
    assert!(matches!(error, Error::WrongKey { .. }), "{error}");
    std::fs::remove_file(&path).unwrap();
    let error =
        Identity::open(&store, serve(), RoleAccess::None, &entropy, dir.path()).await.unwrap_err();
    assert!(matches!(error, Error::KeyFileMissing { .. }), "{error}");
    assert!(!path.exists());
}

#[tokio::test]
async fn dev_accepts_any_key_and_twelve_digits_select_the_account() {
    let dir = tempfile::tempdir().unwrap();
    let mode = Mode::Dev { default_account: "000000000000".to_owned() };
    let store = Store::memory();
    let (identity, new) =
        Identity::open(&store, mode, RoleAccess::Account, &Counting::default(), dir.path())
            .await
            .unwrap();
    assert_eq!(new, None);
    for (key, account) in [
        ("test", "000000000000"),
        ("111122223333", "111122223333"),
        ("11112222333", "000000000000"),
        ("11112222333x", "000000000000"),
        ("", "000000000000"),
    ] {
        let found = identity.find(presented(key)).unwrap();
        assert_eq!(found.caller.account, account);
        assert_eq!(found.caller.arn, format!("arn:aws:iam::{account}:root"));
        assert_eq!(found.caller.user_id, account);
        assert_eq!(found.caller.access_key_id, key);
        assert_eq!(found.verification, Verification::AnySignature);
    }
    // The key of sessions is all that is kept.
    let files = std::fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().file_name());
    assert_eq!(files.collect::<Vec<_>>(), ["identity.key"]);
    let mode = Mode::Dev { default_account: "mine".to_owned() };
    let error = Identity::open(&store, mode, RoleAccess::Account, &Counting::default(), dir.path())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::NotAnAccount { .. }));
}

#[tokio::test]
async fn a_root_may_do_everything_and_nobody_else_anything() {
    let sessions = Sessions::new(&SealingKey::new(&[1; 32]).unwrap());
    let roles = RoleAccess::None;
    let identity = Identity {
        mode: serve(),
        keys: HashMap::new(),
        sessions,
        sealing: SealingKey::new(&[1; 32]).unwrap(),
        roles,
    };
    let mut cx = context(root("123456789012", "AKIA"));
    identity.authorize(&cx, &api::GET_CALLER_IDENTITY).unwrap();
    for arn in ["arn:aws:iam::123456789012:user/eve", "arn:aws:iam::999999999999:root", ""] {
        arn.clone_into(&mut cx.caller.arn);
        let error = identity.authorize(&cx, &api::GET_CALLER_IDENTITY).unwrap_err();
        assert_eq!(error.shape, &common::ACCESS_DENIED);
        assert_eq!(
            error.message,
            format!(
                "User: {arn} is not authorized to perform: sts:GetCallerIdentity because no identity-based policy allows the sts:GetCallerIdentity action"
            )
        );
    }
}

#[tokio::test]
async fn a_role_may_do_what_the_setting_says_in_its_own_account() {
    let sessions = Sessions::new(&SealingKey::new(&[1; 32]).unwrap());
    let roles = RoleAccess::None;
    let mut identity = Identity {
        mode: serve(),
        keys: HashMap::new(),
        sessions,
        sealing: SealingKey::new(&[1; 32]).unwrap(),
        roles,
    };
    let mut caller = root("123456789012", "ASIA");
    caller.arn = "arn:aws:sts::123456789012:assumed-role/worker/resize".to_owned();
    let mut cx = context(caller);
    identity.authorize(&cx, &api::GET_CALLER_IDENTITY).unwrap();
    assert!(identity.authorize(&cx, &api::ASSUME_ROLE).is_err());
    identity.roles = RoleAccess::Account;
    identity.authorize(&cx, &api::ASSUME_ROLE).unwrap();
    cx.caller.account = "999999999999".to_owned();
    assert!(identity.authorize(&cx, &api::ASSUME_ROLE).is_err());
}
