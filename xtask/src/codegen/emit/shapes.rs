//! `shapes.rs`: the static descriptions.

use std::{collections::BTreeSet, fmt::Write as _};

use super::{Context, HEADER, optional};
use crate::{
    Result,
    codegen::{
        config::{self, Change},
        model::{Reference, Shape},
    },
};

/// The text of the file.
pub(crate) fn file(context: &Context<'_>) -> Result<String> {
    let mut text = format!("//! {HEADER} The shapes of `{}` as data.\n\n", context.config.name);
    text.push_str(
        "#![allow(clippy::wildcard_imports, unused_imports, reason = \"the vocabulary of the descriptions\")]\n\n",
    );
    text.push_str("use crate::describe::*;\n");
    for name in context.statics.keys() {
        let shape = context.model.shape(name)?;
        let change = config::override_of(context.config.name, name);
        text.push('\n');
        if let Some(change) = change {
            let _ = writeln!(text, "// Differs from the model: {}.", change.reason);
        }
        let description = describe(context, name, shape, change.map(|c| c.change))?;
        let description =
            if shape.sensitive { format!("sensitive({description})") } else { description };
        let _ =
            writeln!(text, "pub(crate) static {}: Shape = {description};", context.statics[name]);
    }
    Ok(text)
}

fn describe(
    context: &Context<'_>,
    name: &str,
    shape: &Shape,
    change: Option<Change>,
) -> Result<String> {
    let size = format!("{}, {}", optional(shape.min.as_ref()), optional(shape.max.as_ref()));
    Ok(match shape.kind.as_str() {
        "structure" if shape.document => format!("document({name:?})"),
        "structure" => structure(context, name, shape)?,
        "list" => format!("list({name:?}, {}, {size})", target(context, shape.member.as_ref())?),
        "map" => format!(
            "map({name:?}, {}, {}, {size})",
            target(context, shape.key.as_ref())?,
            target(context, shape.value.as_ref())?
        ),
        "string" => string(name, shape, &size, change)?,
        "integer" => format!("integer({name:?}, {size})"),
        "long" => format!("long({name:?}, {size})"),
        "double" | "float" => {
            format!("double({name:?}, {}, {})", real(shape.min.as_ref()), real(shape.max.as_ref()))
        }
        "boolean" => format!("boolean({name:?})"),
        "blob" => format!("blob({name:?}, {size})"),
        "timestamp" => format!("timestamp({name:?}, TimestampFormat::{})", timestamp(shape)?),
        other => return Err(format!("{name}: the type {other} is not known").into()),
    })
}

fn target(context: &Context<'_>, reference: Option<&Reference>) -> Result<String> {
    let reference = reference.ok_or("a list or map without its shape")?;
    let name = context.statics.get(reference.shape.as_str());
    let name = name.ok_or_else(|| format!("`{}` is not reached", reference.shape))?;
    Ok(format!("&{name}"))
}

fn string(name: &str, shape: &Shape, size: &str, change: Option<Change>) -> Result<String> {
    let model: Vec<&str> = shape.values.iter().map(String::as_str).collect();
    let values = match change {
        Some(Change::OpenEnum) => Vec::new(),
        Some(Change::Order(order)) => ordered(name, &model, order)?,
        None | Some(Change::OptionalMembers) => model,
    };
    if !values.is_empty() && shape.min.is_none() && shape.max.is_none() && shape.pattern.is_none() {
        return Ok(format!("one_of({name:?}, &{values:?})"));
    }
    let pattern = shape.pattern.as_ref().map(|pattern| raw(pattern));
    Ok(format!("string({name:?}, {size}, {}, &{values:?})", optional(pattern)))
}

/// The configured order, as long as it has the values of the model.
fn ordered<'a>(name: &str, model: &[&str], order: &'a [&'a str]) -> Result<Vec<&'a str>> {
    let sorted = |values: &[&str]| values.iter().map(|v| (*v).to_owned()).collect::<BTreeSet<_>>();
    if sorted(model) != sorted(order) {
        return Err(
            format!("{name}: the model has the values {model:?}, the override others").into()
        );
    }
    Ok(order.to_vec())
}

/// A raw string literal with as many hashes as it takes.
fn raw(text: &str) -> String {
    let mut hashes = String::new();
    while text.contains(&format!("\"{hashes}")) {
        hashes.push('#');
    }
    format!("r{hashes}\"{text}\"{hashes}")
}

fn real(bound: Option<&serde_json::Number>) -> String {
    optional(bound.and_then(serde_json::Number::as_f64).map(|bound| format!("{bound:?}")))
}

/// The variant of `TimestampFormat`; rest-json and json bodies carry epoch seconds unless told otherwise.
fn timestamp(shape: &Shape) -> Result<&'static str> {
    match shape.timestamp_format.as_deref() {
        None | Some("unixTimestamp") => Ok("EpochSeconds"),
        Some("iso8601") => Ok("Iso8601"),
        Some(other) => Err(format!("the timestamp format {other} is not known").into()),
    }
}

fn structure(context: &Context<'_>, name: &str, shape: &Shape) -> Result<String> {
    let mut text = format!("structure({name:?}, &[");
    for (member, reference) in context.model.members(shape)? {
        let necessity =
            if shape.required.iter().any(|r| r == member) { "required" } else { "optional" };
        let _ = writeln!(
            text,
            "{necessity}({member:?}, {:?}, Location::{}, {}),",
            reference.wire(member),
            location(shape, member, reference)?,
            target(context, Some(reference))?,
        );
    }
    text.push_str("])");
    Ok(text)
}

fn location(shape: &Shape, member: &str, reference: &Reference) -> Result<&'static str> {
    if shape.payload.as_deref() == Some(member) {
        return Ok("Payload");
    }
    match reference.location.as_deref() {
        None => Ok("Body"),
        Some("uri") => Ok("Uri"),
        Some("querystring") => Ok("Query"),
        Some("header") => Ok("Header"),
        Some("headers") => Ok("Headers"),
        Some("statusCode") => Ok("Status"),
        Some(other) => Err(format!("{member}: the location {other} is not known").into()),
    }
}
