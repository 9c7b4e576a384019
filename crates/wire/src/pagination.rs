//! Pagination: an opaque token that says where the next page begins.
//!
//! A token is the last key of the page before, in URL-safe base64 behind a version byte. It needs no memory on
//! our side and stays valid when records come and go.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::limits::PAGE_TOKEN_BYTES_MAX;

const VERSION: u8 = 1;

/// The token that continues after `key`.
pub fn token(key: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(key.len() + 1);
    bytes.push(VERSION);
    bytes.extend_from_slice(key);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The key in a token; `None` when it is not one of ours.
pub fn key(token: &str) -> Option<Vec<u8>> {
    if token.len() > PAGE_TOKEN_BYTES_MAX {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    match bytes.split_first() {
        Some((&VERSION, key)) => Some(key.to_vec()),
        _ => None,
    }
}

/// Cuts a list that was read with one entry too many into a page and the token for the rest.
///
/// `key` gives the bytes that the next page starts after.
pub fn page<T>(
    mut items: Vec<T>,
    limit: usize,
    key: impl Fn(&T) -> Vec<u8>,
) -> (Vec<T>, Option<String>) {
    if items.len() <= limit {
        return (items, None);
    }
    items.truncate(limit);
    let next = items.last().map(|last| token(&key(last)));
    (items, next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_round_trip_and_strangers_are_refused() {
        assert_eq!(key(&token(b"a\0b")), Some(b"a\0b".to_vec()));
        assert_eq!(key("!!"), None);
        assert_eq!(key(""), None);
        assert_eq!(key(&URL_SAFE_NO_PAD.encode(b"\x02x")), None);
    }

    #[test]
    fn a_page_is_cut_with_one_entry_to_spare() {
        let (page1, next) = page(vec![1u8, 2, 3], 2, |n| vec![*n]);
        assert_eq!(page1, [1, 2]);
        assert_eq!(key(&next.unwrap()), Some(vec![2]));
        assert_eq!(page(vec![1u8], 2, |n| vec![*n]).1, None);
    }
}
