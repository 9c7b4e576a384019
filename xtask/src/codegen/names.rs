//! From the models' names to Rust's.

/// `FunctionName` → `function_name`, `KMSKeyArn` → `kms_key_arn`, `IamRoleARNs` → `iam_role_arns`,
/// `__listOf__string` → `list_of_string`.
pub(crate) fn snake(name: &str) -> String {
    let chars: Vec<char> = name.chars().collect();
    let mut out = String::new();
    for (i, &c) in chars.iter().enumerate() {
        if !c.is_ascii_alphanumeric() {
            if !out.is_empty() && !out.ends_with('_') {
                out.push('_');
            }
            continue;
        }
        if c.is_ascii_uppercase()
            && i > 0
            && starts_word(&chars, i)
            && !out.is_empty()
            && !out.ends_with('_')
        {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// Whether the upper-case letter at `i` starts a word: after a lower-case letter or digit, or as the last of an
/// acronym before a lower-case letter, unless that is a plural s.
fn starts_word(chars: &[char], i: usize) -> bool {
    if !chars[i - 1].is_ascii_uppercase() {
        return true;
    }
    let plural =
        chars.get(i + 1) == Some(&'s') && chars.get(i + 2).is_none_or(|c| !c.is_ascii_lowercase());
    chars.get(i + 1).is_some_and(char::is_ascii_lowercase) && !plural
}

/// The name of a static.
pub(crate) fn screaming(name: &str) -> String {
    snake(name).to_ascii_uppercase()
}

/// The name of a field, keywords escaped.
pub(crate) fn field(name: &str) -> String {
    const KEYWORDS: &[&str] = &[
        "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "do",
        "dyn", "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in",
        "let", "loop", "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref",
        "return", "static", "struct", "trait", "true", "try", "type", "typeof", "unsafe",
        "unsized", "use", "virtual", "where", "while", "yield",
    ];
    let name = snake(name);
    match name.as_str() {
        "self" | "super" | "crate" => format!("{name}_"),
        name if KEYWORDS.contains(&name) => format!("r#{name}"),
        _ => name,
    }
}

/// The name of a struct.
pub(crate) fn structure(name: &str) -> String {
    let mut chars = name.trim_start_matches('_').chars();
    let first = chars.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(chars).collect()
}
