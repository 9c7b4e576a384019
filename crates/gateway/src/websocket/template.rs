//! Mapping templates, as far as they are built: those that say the same whatever comes in.
//!
//! A template with references (`$input…`) or directives (`#if…`) needs a template engine and is refused by the control
//! plane; one without is its own text, which is what mocks and fixed answers need.

use std::collections::BTreeMap;

use super::select::Selection;
use crate::record::Passthrough;

/// Whether a template engine would change nothing about a text.
pub(crate) fn is_literal(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.windows(2).all(|pair| match pair {
        [b'$', next] => !(next.is_ascii_alphabetic() || b"_!{".contains(next)),
        [b'#', next] => !(next.is_ascii_alphabetic() || b"#*@{[".contains(next)),
        _ => true,
    })
}

/// Templates under their keys, and what chooses among them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Templates {
    selection: Option<Selection>,
    by_key: BTreeMap<String, String>,
}

/// What becomes of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rendered<'t> {
    /// A template's text takes its place.
    Text(&'t str),
    /// It is passed on as it is.
    AsItIs,
    /// It is refused.
    Refused,
}

impl Templates {
    /// Reads what the control plane has checked.
    pub(crate) fn new(selection: Option<&str>, by_key: &BTreeMap<String, String>) -> Self {
        Self { selection: selection.and_then(Selection::parse), by_key: by_key.clone() }
    }

    /// Chooses a template: the one that the expression names, else `$default`.
    pub(crate) fn render(
        &self,
        passthrough: Passthrough,
        lookup: impl Fn(&str) -> String,
    ) -> Rendered<'_> {
        let key = self.selection.as_ref().map(|selection| selection.evaluate(lookup));
        let found = key.and_then(|key| self.by_key.get(&key));
        match (found.or_else(|| self.by_key.get("$default")), passthrough) {
            (Some(text), _) => Rendered::Text(text),
            (None, Passthrough::WhenNoMatch) => Rendered::AsItIs,
            (None, Passthrough::WhenNoTemplates) if self.by_key.is_empty() => Rendered::AsItIs,
            (None, Passthrough::WhenNoTemplates | Passthrough::Never) => Rendered::Refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_no_engine() {
        for text in ["", "{\"statusCode\": 200}", "costs 5 $", "# 1", "a$1", "#1", "$"] {
            assert!(is_literal(text), "{text}");
        }
        for text in
            ["$input.body", "${x}", "$!x", "#if(true)#end", "## note", "#set($x = 1)", "#*x*#"]
        {
            assert!(!is_literal(text), "{text}");
        }
    }

    #[test]
    fn a_template_is_chosen() {
        let both = BTreeMap::from([
            ("$default".to_owned(), "d".to_owned()),
            ("200".to_owned(), "two".to_owned()),
        ]);
        let templates = Templates::new(Some("${request.body.k}"), &both);
        let render = |k: &str| templates.render(Passthrough::Never, |_| k.to_owned());
        assert_eq!([render("200"), render("7")], [Rendered::Text("two"), Rendered::Text("d")]);
        let none = Templates::default();
        let say = |passthrough| none.render(passthrough, |_| String::new());
        assert_eq!(say(Passthrough::WhenNoMatch), Rendered::AsItIs);
        assert_eq!(say(Passthrough::WhenNoTemplates), Rendered::AsItIs);
        assert_eq!(say(Passthrough::Never), Rendered::Refused);
    }
}
