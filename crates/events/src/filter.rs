//! Which records of a source a mapping wants.
//!
//! Patterns are matched against the record as the function gets it, with two changes: what a message or a record of
//! Kinesis carries is text there and JSON here, and the members of `kinesis` are looked for at the top as well, where
//! AWS's patterns have them. Content that is not what a pattern takes it for makes the record not match: text where it
//! wants fields, or JSON where it wants text.

use gatemill_lambda::mapping::Service;
use gatemill_pattern::{BadPattern, Fields, Pattern, Wants};
use serde_json::value::RawValue;

use crate::source::Record;

/// The filters of a mapping: a record has to match one of them, if there are any.
#[derive(Debug, Clone)]
pub(crate) struct Filters {
    patterns: Vec<Pattern>,
    /// The field that stands for the content.
    content: Option<&'static str>,
}

impl Filters {
    pub(crate) fn new(service: Service, patterns: &[String]) -> Result<Self, BadPattern> {
        let patterns: Result<_, _> = patterns.iter().map(|text| Pattern::parse(text)).collect();
        let content = match service {
            Service::Sqs => Some("body"),
            Service::Kinesis => Some("data"),
            Service::DynamoDb => None,
        };
        Ok(Self { patterns: patterns?, content })
    }

    pub(crate) fn passes(&self, record: &Record) -> bool {
        self.patterns.is_empty() || self.patterns.iter().any(|one| self.matches(one, record))
    }

    fn matches(&self, pattern: &Pattern, record: &Record) -> bool {
        let Some(fields) = Fields::parse(&record.json) else { return false };
        let inner = fields.text("kinesis").and_then(Fields::parse).unwrap_or_default();
        let fields = fields.or(inner);
        let wanted = self.content.and_then(|field| Some((field, pattern.wants(field)?)));
        let Some((field, wants)) = wanted else { return pattern.matches(&fields) };
        let Some(content) = &record.content else { return false };
        let json: Option<&RawValue> = serde_json::from_str(content).ok();
        let json = json.filter(|json| json.get().starts_with(['{', '[']));
        match (wants, json) {
            (Wants::Object, Some(json)) => pattern.matches(&fields.with(field, json)),
            (Wants::Value, None) => pattern.matches(&fields),
            (Wants::Object, None) | (Wants::Value, Some(_)) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(service: Service, pattern: &str, record: &Record) -> bool {
        Filters::new(service, &[pattern.to_owned()]).unwrap().passes(record)
    }

    fn message(body: &str) -> Record {
        let quoted = serde_json::Value::from(body);
        Record {
            json: format!(r#"{{"messageId":"1","body":{quoted},"attributes":{{"SenderId":"s"}}}}"#),
            content: Some(body.to_owned()),
            ..Record::default()
        }
    }

    #[test]
    fn bodies_are_what_the_pattern_takes_them_for() {
        let (json, text) = (message(r#"{"a":1}"#), message("hello"));
        assert!(passes(Service::Sqs, r#"{"body":{"a":[1]}}"#, &json));
        assert!(!passes(Service::Sqs, r#"{"body":{"a":[2]}}"#, &json));
        assert!(!passes(Service::Sqs, r#"{"body":{"a":[1]}}"#, &text));
        assert!(passes(Service::Sqs, r#"{"body":["hello"]}"#, &text));
        assert!(!passes(Service::Sqs, r#"{"body":[{"prefix":"{"}]}"#, &json));
        assert!(passes(Service::Sqs, r#"{"attributes":{"SenderId":["s"]}}"#, &json));
        assert!(passes(Service::Sqs, r#"{"attributes":{"SenderId":["s"]}}"#, &text));
        assert!(!passes(Service::Sqs, r#"{"body":{"b":[{"exists":true}]}}"#, &json));
        assert!(passes(Service::Sqs, r#"{"body":{"b":[{"exists":false}]}}"#, &json));
    }

    #[test]
    fn kinesis_data_is_decoded_and_its_members_are_at_the_top() {
        let record = Record {
            json: r#"{"kinesis":{"partitionKey":"p","data":"eyJhIjoxfQ=="},"eventName":"n"}"#
                .into(),
            content: Some(r#"{"a":1}"#.into()),
            ..Record::default()
        };
        assert!(passes(Service::Kinesis, r#"{"data":{"a":[1]}}"#, &record));
        assert!(passes(Service::Kinesis, r#"{"partitionKey":["p"],"eventName":["n"]}"#, &record));
        let binary = Record { content: None, ..record };
        assert!(!passes(Service::Kinesis, r#"{"data":{"a":[1]}}"#, &binary));
        assert!(passes(Service::Kinesis, r#"{"partitionKey":["p"]}"#, &binary));
    }

    #[test]
    fn filters_are_alternatives() {
        let both = [r#"{"body":{"a":[1]}}"#.to_owned(), r#"{"body":{"a":[2]}}"#.to_owned()];
        let filters = Filters::new(Service::Sqs, &both).unwrap();
        assert!(filters.passes(&message(r#"{"a":2}"#)));
        assert!(!filters.passes(&message(r#"{"a":3}"#)));
        assert!(Filters::new(Service::Sqs, &[]).unwrap().passes(&message("x")));
    }
}
