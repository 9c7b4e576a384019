//! Mapping templates under their keys, and the choice among them.

use std::collections::BTreeMap;

use gatemill_template::Template;

use super::select::Selection;
use crate::record::Passthrough;

/// Templates under their keys, and what chooses among them.
#[derive(Debug, Default)]
pub(crate) struct Templates {
    selection: Option<Selection>,
    by_key: BTreeMap<String, Template>,
}

/// What becomes of a body.
#[derive(Debug)]
pub(crate) enum Chosen<'t> {
    /// What a template makes takes its place.
    Template(&'t Template),
    /// It is passed on as it is.
    AsItIs,
    /// It is refused.
    Refused,
}

impl Templates {
    /// Reads what the control plane has checked.
    pub(crate) fn new(selection: Option<&str>, by_key: &BTreeMap<String, String>) -> Self {
        let read =
            |(key, text): (&String, &String)| Some((key.clone(), Template::parse(text).ok()?));
        Self {
            selection: selection.and_then(Selection::parse),
            by_key: by_key.iter().filter_map(read).collect(),
        }
    }

    /// Chooses a template: the one that the expression names, else `$default`.
    pub(crate) fn choose(
        &self,
        passthrough: Passthrough,
        lookup: impl Fn(&str) -> String,
    ) -> Chosen<'_> {
        let key = self.selection.as_ref().map(|selection| selection.evaluate(lookup));
        let found = key.and_then(|key| self.by_key.get(&key));
        match (found.or_else(|| self.by_key.get("$default")), passthrough) {
            (Some(template), _) => Chosen::Template(template),
            (None, Passthrough::WhenNoMatch) => Chosen::AsItIs,
            (None, Passthrough::WhenNoTemplates) if self.by_key.is_empty() => Chosen::AsItIs,
            (None, Passthrough::WhenNoTemplates | Passthrough::Never) => Chosen::Refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_chosen() {
        let both = BTreeMap::from([
            ("$default".to_owned(), "d".to_owned()),
            ("200".to_owned(), "two".to_owned()),
        ]);
        let templates = Templates::new(Some("${request.body.k}"), &both);
        let text = |k: &str| match templates.choose(Passthrough::Never, |_| k.to_owned()) {
            Chosen::Template(template) => template.as_literal().unwrap().to_owned(),
            other => panic!("{other:?}"),
        };
        assert_eq!([text("200"), text("7")], ["two", "d"]);
        let none = Templates::default();
        let say = |passthrough| none.choose(passthrough, |_| String::new());
        assert!(matches!(say(Passthrough::WhenNoMatch), Chosen::AsItIs));
        assert!(matches!(say(Passthrough::WhenNoTemplates), Chosen::AsItIs));
        assert!(matches!(say(Passthrough::Never), Chosen::Refused));
    }
}
