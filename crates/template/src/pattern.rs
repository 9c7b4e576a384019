//! Regular expressions, bounded, and replacements as Java writes them.

use fancy_regex::{Captures, Regex, RegexBuilder};

use crate::limits::{BACKTRACKS_MAX, PATTERN_BYTES_MAX, PATTERN_MEMORY_MAX, PATTERN_STEPS_MAX};

/// A pattern; `None` when it is none, or too large.
pub(crate) fn compile(pattern: &str) -> Option<Regex> {
    if pattern.len() > PATTERN_BYTES_MAX {
        return None;
    }
    RegexBuilder::new(pattern)
        .backtrack_limit(PATTERN_STEPS_MAX)
        .delegate_size_limit(PATTERN_MEMORY_MAX)
        .build()
        .ok()
}

/// A pattern that the whole text has to match.
pub(crate) fn whole(pattern: &str) -> Option<Regex> {
    compile(&format!("^(?:{pattern})$"))
}

/// How many matches may be looked for. A pattern that looks around or refers back takes up to `PATTERN_STEPS_MAX` steps
/// for each; all others take one for each byte.
fn matches_max(pattern: &str) -> usize {
    let looks = ["(?=", "(?!", "(?<=", "(?<!", "(?>", "(?(", "\\k", "\\G", "*+", "++", "?+"];
    let refers = pattern
        .as_bytes()
        .windows(2)
        .any(|pair| pair[0] == b'\\' && (b'1'..=b'9').contains(&pair[1]));
    if refers || looks.iter().any(|looks| pattern.contains(looks)) {
        BACKTRACKS_MAX
    } else {
        usize::MAX
    }
}

/// Replaces what matches: all of it, or the first. `None` when the search takes too long or the result were larger than
/// `bytes_max`.
pub(crate) fn replace(
    regex: &Regex,
    text: &str,
    with: &str,
    all: bool,
    bytes_max: usize,
) -> Option<String> {
    let (mut made, mut from) = (String::new(), 0);
    let matches_max = matches_max(regex.as_str());
    let matches = regex.captures_iter(text).take(if all { usize::MAX } else { 1 });
    for (number, captures) in matches.enumerate() {
        let captures = captures.ok().filter(|_| number < matches_max)?;
        let found = captures.get(0)?;
        made.push_str(&text[from..found.start()]);
        expand(&mut made, with, &captures);
        from = found.end();
        if made.len() > bytes_max {
            return None;
        }
    }
    made.push_str(&text[from..]);
    Some(made)
}

/// `$1`, `${name}`, and a backslash before what stands for itself.
fn expand(to: &mut String, with: &str, captures: &Captures<'_, str>) {
    let mut rest = with.chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' => to.extend(rest.next()),
            '$' => {
                let text = rest.as_str();
                let group = if let Some(named) = text.strip_prefix('{') {
                    let Some((name, after)) = named.split_once('}') else { continue };
                    rest = after.chars();
                    captures.name(name)
                } else {
                    let Some(digit) = rest.next().and_then(|c| c.to_digit(10)) else { continue };
                    captures.get(digit as usize)
                };
                to.push_str(group.map_or("", |group| group.as_str()));
            }
            c => to.push(c),
        }
    }
}

/// Splits as Java does: empty texts at the end are left out.
pub(crate) fn split<'t>(regex: &Regex, text: &'t str, limit: usize) -> Option<Vec<&'t str>> {
    let (mut parts, mut from) = (Vec::new(), 0);
    let matches_max = matches_max(regex.as_str());
    for (number, found) in regex.find_iter(text).enumerate() {
        let found = found.ok().filter(|_| number < matches_max)?;
        if limit > 0 && parts.len() + 1 >= limit {
            break;
        }
        // A match of nothing at the start splits nothing off.
        if found.end() == 0 {
            continue;
        }
        parts.push(&text[from..found.start()]);
        from = found.end();
    }
    parts.push(&text[from..]);
    while limit == 0 && parts.len() > 1 && parts.last().is_some_and(|part| part.is_empty()) {
        parts.pop();
    }
    Some(parts)
}
