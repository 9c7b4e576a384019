//! Strings with `*`, which stands for any characters, also none. `\*` is an asterisk, `\\` a backslash.

/// A compiled wildcard: what stands between the asterisks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wildcard(Vec<String>);

impl Wildcard {
    /// `None` for two asterisks in a row, which EventBridge refuses, and for a backslash before anything else.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = vec![String::new()];
        let mut chars = text.chars().peekable();
        while let Some(one) = chars.next() {
            match one {
                '*' if chars.peek() == Some(&'*') => return None,
                '*' => parts.push(String::new()),
                '\\' => {
                    let escaped = chars.next().filter(|next| matches!(next, '*' | '\\'))?;
                    parts.last_mut()?.push(escaped);
                }
                plain => parts.last_mut()?.push(plain),
            }
        }
        Some(Self(parts))
    }

    /// Takes each part at the first place where it fits, which is right because only what lies between is free; the
    /// last one has to fit at the end.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let Some((first, rest)) = self.0.split_first() else { return text.is_empty() };
        let Some((last, middle)) = rest.split_last() else { return text == first };
        let Some(mut text) = text.strip_prefix(first.as_str()) else { return false };
        for part in middle {
            let Some(at) = text.find(part.as_str()) else { return false };
            text = &text[at + part.len()..];
        }
        text.ends_with(last.as_str())
    }
}
