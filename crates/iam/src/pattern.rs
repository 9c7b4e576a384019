//! Wildcards: `*` is any run of characters, `?` is any one.
//!
//! Matching is linear in text times stars and uses no recursion, so that a hostile pattern costs no more than its
//! length.

/// Whether the whole text matches the pattern.
pub fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut from) = (0, 0);
    // Where to go on when the run behind the last star has to grow by one.
    let mut star: Option<(usize, usize)> = None;
    while from < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, from));
                at += 1;
            }
            Some(b'?') => {
                at += 1;
                from += char_len(text[from]);
            }
            Some(byte) if *byte == text[from] => {
                at += 1;
                from += 1;
            }
            _ => match star {
                Some((star_at, star_from)) => {
                    at = star_at + 1;
                    from = star_from + 1;
                    star = Some((star_at, from));
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

/// Bytes of the character that starts with this byte, so that `?` is one character and not one byte.
fn char_len(first: u8) -> usize {
    match first {
        0xF0.. => 4,
        0xE0.. => 3,
        0xC0.. => 2,
        _ => 1,
    }
}

/// Whether an ARN matches a pattern part by part: a star does not reach over a colon, except in the last part.
pub fn matches_arn(pattern: &str, arn: &str) -> bool {
    let parts = |text| -> Vec<&str> { str::splitn(text, 6, ':').collect() };
    let (pattern, arn) = (parts(pattern), parts(arn));
    if pattern == ["*"] {
        return arn.len() == 6;
    }
    pattern.len() == 6
        && arn.len() == 6
        && pattern.iter().zip(&arn).all(|(pattern, part)| matches(pattern, part))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, word for word; exponential, so for short texts alone.
    fn naive(pattern: &[char], text: &[char]) -> bool {
        match (pattern.first(), text.first()) {
            (None, None) => true,
            (Some('*'), _) => {
                naive(&pattern[1..], text) || (!text.is_empty() && naive(pattern, &text[1..]))
            }
            (Some('?'), Some(_)) => naive(&pattern[1..], &text[1..]),
            (Some(a), Some(b)) if a == b => naive(&pattern[1..], &text[1..]),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(pattern in "[ab*?é]{0,7}", text in "[abé]{0,8}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(matches(&pattern, &text), naive(&chars(&pattern), &chars(&text)));
        }

        #[test]
        fn never_panics(pattern in ".*", text in ".*") {
            let _ = (matches(&pattern, &text), matches_arn(&pattern, &text));
        }
    }

    #[test]
    fn arns_match_part_by_part() {
        let arn = "arn:aws:execute-api:us-east-1:000000000000:a1/$default/GET/x:y";
        assert!(matches_arn("arn:aws:execute-api:us-east-1:000000000000:a1/*", arn));
        assert!(matches_arn("arn:*:*:*:*:*", arn));
        assert!(matches_arn("*", arn));
        assert!(!matches_arn("arn:aws:execute-api:*:a1/*", arn), "a star stays in its part");
        assert!(!matches_arn("arn:aws:execute-api:us-east-1:111111111111:a1/*", arn));
        assert!(!matches_arn("*", "no arn"));
    }
}
