//! Credentials of sessions: what they show, and what does not open them.

use super::*;

struct Sevens;

impl Entropy for Sevens {
    fn fill(&self, buffer: &mut [u8]) {
        buffer.fill(7);
    }
}

const NOW: Timestamp = Timestamp(1_795_379_214_000);

fn sessions(key: u8) -> Sessions {
    Sessions::new(&SealingKey::new(&[key; 32]).unwrap())
}

fn session<'a>(role_arn: &'a str) -> RoleSession<'a> {
    let lifetime = Duration::from_secs(3600);
    RoleSession { account: "123456789012", role_arn, name: "resize", lifetime }
}

fn made() -> SessionCredentials {
    let role = "arn:aws:iam::999999999999:role/service-role/worker";
    sessions(1).begin(&session(role), NOW, &Sevens).unwrap()
}

fn present<'a>(made: &'a SessionCredentials, now: Timestamp) -> Presented<'a> {
    let (access_key_id, token) = (made.access_key_id.as_str(), made.session_token.as_str());
    Presented { access_key_id, session_token: Some(token), now }
}

#[test]
fn a_session_shows_its_role_and_name_in_the_callers_account() {
    let made = made();
    assert!(made.access_key_id.starts_with("ASIA") && made.access_key_id.len() == 20);
    assert_eq!(made.secret_access_key.len(), 40);
    assert!(!format!("{made:?}").contains(&made.secret_access_key));
    // Another one of the same key file: a restart.
    let found = sessions(1).find(present(&made, NOW)).unwrap();
    assert_eq!(found.caller.account, "123456789012");
    assert_eq!(found.caller.arn, "arn:aws:sts::123456789012:assumed-role/worker/resize");
    assert!(found.caller.user_id.starts_with("AROA") && found.caller.user_id.ends_with(":resize"));
    assert_eq!(found.caller.user_id.len(), 20 + ":resize".len());
    assert_eq!(found.verification, Verification::Secret(made.secret_access_key));
}

#[test]
fn nothing_but_the_whole_token_opens_it_and_not_for_ever() {
    let (sessions, made) = (sessions(1), made());
    let refused = |presented: Presented<'_>| sessions.find(presented).unwrap_err();
    assert_eq!(
        refused(Presented { session_token: None, ..present(&made, NOW) }),
        Unusable::Unknown
    );
    for (at, byte) in made.session_token.bytes().enumerate() {
        let mut forged = made.session_token.clone().into_bytes();
        forged[at] = if byte == b'A' { b'B' } else { b'A' };
        let forged = String::from_utf8(forged).unwrap();
        let presented = Presented { session_token: Some(&forged), ..present(&made, NOW) };
        assert_eq!(refused(presented), Unusable::Unknown, "byte {at}");
    }
    let later = NOW.plus_ms(3_600_000);
    assert!(sessions.find(present(&made, NOW.plus_ms(3_599_999))).is_ok());
    assert_eq!(refused(present(&made, later)), Unusable::Expired);
    // The token of one key with the id of another.
    let other = super::tests::sessions(1).begin(&session("role/other"), NOW, &Nines).unwrap();
    let mixed = Presented { access_key_id: &other.access_key_id, ..present(&made, NOW) };
    assert_eq!(refused(mixed), Unusable::Unknown);
    assert_eq!(super::tests::sessions(2).find(present(&made, NOW)).unwrap_err(), Unusable::Unknown);
}

struct Nines;

impl Entropy for Nines {
    fn fill(&self, buffer: &mut [u8]) {
        buffer.fill(9);
    }
}

#[test]
fn ids_of_ours_are_known_from_others() {
    let made = made();
    assert!(sessions(1).made(&made.access_key_id));
    assert!(!sessions(2).made(&made.access_key_id));
    let last = if made.access_key_id.ends_with('A') { 'B' } else { 'A' };
    let changed = format!("{}{last}", &made.access_key_id[..19]);
    for other in
        ["", "ASIA", "AKIAIOSFODNN7EXAMPLE", "ASIAIOSFODNN7EXAMPLE", "ASIAäääääääääääää", &changed]
    {
        assert!(!sessions(1).made(other), "{other}");
    }
}

#[test]
fn what_cannot_be_a_session_is_refused() {
    let begin = |session: &RoleSession<'_>| sessions(1).begin(session, NOW, &Sevens);
    let good = session("arn:aws:iam::123456789012:role/worker");
    assert!(begin(&good).is_ok());
    for bad in [
        session("arn:aws:iam::123456789012:role/"),
        session("arn:aws:iam::123456789012:role/a\nb"),
        RoleSession { name: "", ..good },
        RoleSession { lifetime: Duration::from_secs(SESSION_SECONDS_MAX + 1), ..good },
    ] {
        assert!(matches!(begin(&bad), Err(Error::NotASession)), "{bad:?}");
    }
}

#[test]
fn letters_and_bytes_are_each_others_inverse() {
    assert_eq!(letters(&[0, 0x44, 0x32, 0x14, 0xC7]), "ABCDEFGH");
    assert_eq!(bytes("ABCDEFGH"), Some([0, 0x44, 0x32, 0x14, 0xC7]));
    assert_eq!(letters(&[0xFF; 5]), "77777777");
    assert_eq!(bytes("ABCDEFG"), None);
    assert_eq!(bytes("ABCDEFG1"), None);
}
