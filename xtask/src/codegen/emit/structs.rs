//! `inputs.rs`, `outputs.rs`, `shared.rs`: plain structs.

use std::{collections::BTreeSet, fmt::Write as _};

use super::{Context, HEADER};
use crate::{
    Result,
    codegen::{
        model::{Reference, Shape},
        names, reach,
    },
};

/// What the text of one file needs from elsewhere.
#[derive(Default)]
struct Uses {
    map: bool,
    bytes: bool,
    wire: BTreeSet<&'static str>,
    shared: BTreeSet<String>,
}

/// The files that have a struct, by module name.
pub(crate) fn files(context: &Context<'_>) -> Result<Vec<(&'static str, String)>> {
    let reach = &context.reach;
    let of_kind = |names: BTreeSet<&String>| -> Vec<String> {
        let structure = |name: &&String| {
            context.model.shapes.get(*name).is_some_and(|s| s.kind == "structure" && !s.document)
        };
        names.into_iter().filter(structure).cloned().collect()
    };
    let groups = [
        ("inputs", "inputs alone", of_kind(reach.inputs.difference(&reach.outputs).collect())),
        ("outputs", "outputs alone", of_kind(reach.outputs.difference(&reach.inputs).collect())),
        (
            "shared",
            "inputs and outputs",
            of_kind(reach.inputs.intersection(&reach.outputs).collect()),
        ),
    ];
    let mut files = Vec::new();
    for (module, side, names) in groups {
        if !names.is_empty() {
            files.push((module, file(context, side, &names)?));
        }
    }
    Ok(files)
}

fn file(context: &Context<'_>, side: &str, names: &[String]) -> Result<String> {
    let mut uses = Uses::default();
    let mut body = String::new();
    for name in names {
        structure(&mut body, &mut uses, context, name)?;
    }
    let own: BTreeSet<String> = names.iter().map(|name| names::structure(name)).collect();
    let shared: Vec<&str> = uses.shared.difference(&own).map(String::as_str).collect();
    let mut text = format!(
        "//! {HEADER} Structs of `{}` that are reached from {side}.\n\n",
        context.config.name
    );
    if uses.map {
        text.push_str("use std::collections::BTreeMap;\n\n");
    }
    if uses.bytes {
        text.push_str("use bytes::Bytes;\n");
    }
    if !uses.wire.is_empty() {
        let wire: Vec<&str> = uses.wire.into_iter().collect();
        let _ = writeln!(text, "use gatemill_wire::{{{}}};", wire.join(", "));
    }
    text.push_str("use serde::{Deserialize, Serialize};\n");
    if !shared.is_empty() {
        let _ = writeln!(text, "\nuse super::{{{}}};", shared.join(", "));
    }
    text.push_str(&body);
    Ok(text)
}

fn structure(text: &mut String, uses: &mut Uses, context: &Context<'_>, name: &str) -> Result<()> {
    let shape = context.model.shape(name)?;
    let rust = names::structure(name);
    let redacted = has_sensitive(context, shape)?;
    let debug = if redacted { "" } else { "Debug, " };
    let _ = writeln!(
        text,
        "\n/// {}\n#[derive({debug}Clone, Default, PartialEq, Serialize, Deserialize)]\npub struct {rust} {{",
        role(context, name)
    );
    let mut taken = BTreeSet::new();
    for (member, reference) in context.model.members(shape)? {
        if !taken.insert(reference.wire(member)) {
            return Err(format!(
                "{name}: two members are `{}` on the wire",
                reference.wire(member)
            )
            .into());
        }
        field(text, uses, context, (name, shape), (member, reference))?;
    }
    text.push_str("}\n");
    if redacted {
        redacted_debug(text, context, shape, &rust)?;
    }
    bindings(text, context, name, shape)
}

/// Whether the value of a member must not appear in a log. Structures look after their own members.
fn is_sensitive(context: &Context<'_>, shape: &str) -> Result<bool> {
    let shape = context.model.shape(shape)?;
    let inner = [&shape.member, &shape.key, &shape.value].into_iter().flatten();
    let mut sensitive = shape.sensitive;
    for reference in inner {
        sensitive = sensitive || is_sensitive(context, &reference.shape)?;
    }
    Ok(sensitive)
}

fn has_sensitive(context: &Context<'_>, shape: &Shape) -> Result<bool> {
    for (_, reference) in context.model.members(shape)? {
        if is_sensitive(context, &reference.shape)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// `Debug` that names a sensitive member and hides its value.
fn redacted_debug(
    text: &mut String,
    context: &Context<'_>,
    shape: &Shape,
    rust: &str,
) -> Result<()> {
    let _ = writeln!(
        text,
        "\nimpl std::fmt::Debug for {rust} {{\nfn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {{\n\
         f.debug_struct({rust:?})"
    );
    for (member, reference) in context.model.members(shape)? {
        let field = names::field(member);
        let name = names::snake(member);
        let value = if is_sensitive(context, &reference.shape)? {
            "&crate::describe::Hidden".to_owned()
        } else {
            format!("&self.{field}")
        };
        let _ = writeln!(text, ".field({name:?}, {value})");
    }
    text.push_str(".finish()\n}\n}\n");
    Ok(())
}

/// The line of documentation: what uses it.
fn role(context: &Context<'_>, name: &str) -> String {
    let mut roles = Vec::new();
    for (operation, facts) in &context.model.operations {
        if facts.input.as_ref().is_some_and(|input| input.shape == name) {
            roles.push(format!("the input of `{operation}`"));
        }
        if facts.output.as_ref().is_some_and(|output| output.shape == name) {
            roles.push(format!("the output of `{operation}`"));
        }
    }
    if roles.is_empty() { format!("`{name}`.") } else { format!("`{name}`: {}.", roles.join(", ")) }
}

fn field(
    text: &mut String,
    uses: &mut Uses,
    context: &Context<'_>,
    (name, shape): (&str, &Shape),
    (member, reference): (&str, &Reference),
) -> Result<()> {
    let rust = names::field(member);
    if is_raw_payload(context, shape, member, reference)? {
        uses.bytes = true;
        let _ = writeln!(text, "/// The raw body.\n#[serde(skip)]\npub {rust}: Bytes,");
        return Ok(());
    }
    let wire = reference.wire(member);
    let mut type_name = type_of(uses, context, reference)?;
    if reach::embeds(context.model, &reference.shape, name)? {
        type_name = format!("Box<{type_name}>");
        // A required field of its own type has no finite value; a default, least of all.
        if shape.required.iter().any(|required| required == member) {
            return Err(format!("{name}.{member}: a structure requires itself").into());
        }
    }
    let rename = if wire == rust { String::new() } else { format!("rename = {wire:?}") };
    if shape.required.iter().any(|required| required == member) {
        if !rename.is_empty() {
            let _ = writeln!(text, "#[serde({rename})]");
        }
        let _ = writeln!(text, "pub {rust}: {type_name},");
    } else {
        let comma = if rename.is_empty() { "" } else { ", " };
        let _ = writeln!(
            text,
            "#[serde({rename}{comma}skip_serializing_if = \"Option::is_none\")]\npub {rust}: Option<{type_name}>,"
        );
    }
    Ok(())
}

fn is_raw_payload(
    context: &Context<'_>,
    shape: &Shape,
    member: &str,
    reference: &Reference,
) -> Result<bool> {
    Ok(shape.payload.as_deref() == Some(member)
        && context.model.shape(&reference.shape)?.kind == "blob")
}

fn type_of(uses: &mut Uses, context: &Context<'_>, reference: &Reference) -> Result<String> {
    let shape = context.model.shape(&reference.shape)?;
    let inner = |reference: &Option<Reference>, uses: &mut Uses| match reference {
        Some(reference) => type_of(uses, context, reference),
        None => Err("a list or map without its shape".into()),
    };
    Ok(match shape.kind.as_str() {
        "structure" if shape.document => "serde_json::Value".to_owned(),
        "structure" => {
            let name = names::structure(&reference.shape);
            uses.shared.insert(name.clone());
            name
        }
        "string" => "String".to_owned(),
        "integer" => "i32".to_owned(),
        "long" => "i64".to_owned(),
        "double" | "float" => "f64".to_owned(),
        "boolean" => "bool".to_owned(),
        "list" => format!("Vec<{}>", inner(&shape.member, uses)?),
        "map" => {
            uses.map = true;
            format!("BTreeMap<String, {}>", inner(&shape.value, uses)?)
        }
        "blob" => {
            uses.wire.insert("Blob");
            "Blob".to_owned()
        }
        "timestamp" if shape.timestamp_format.as_deref() == Some("iso8601") => {
            uses.wire.insert("Iso8601");
            "Iso8601".to_owned()
        }
        "timestamp" => {
            uses.wire.insert("EpochSeconds");
            "EpochSeconds".to_owned()
        }
        other => return Err(format!("{}: the type {other} is not known", reference.shape).into()),
    })
}

/// `Input` and `Output`, with the payload handed over where it is a blob.
fn bindings(text: &mut String, context: &Context<'_>, name: &str, shape: &Shape) -> Result<()> {
    let rust = names::structure(name);
    let mut payload = None;
    for (member, reference) in context.model.members(shape)? {
        if is_raw_payload(context, shape, member, reference)? {
            payload = Some(names::field(member));
        }
    }
    let operations = || {
        let shaped = |(name, _): &(&String, _)| super::has_shapes(context.config, name);
        context.model.operations.iter().filter(shaped).map(|(_, operation)| operation)
    };
    if operations().any(|op| op.input.as_ref().is_some_and(|input| input.shape == name)) {
        let body = payload.as_ref().map_or(String::new(), |field| {
            format!("\nfn set_payload(&mut self, payload: Bytes) {{\nself.{field} = payload;\n}}\n")
        });
        let _ = writeln!(text, "\nimpl gatemill_wire::Input for {rust} {{{body}}}");
    }
    if operations().any(|op| op.output.as_ref().is_some_and(|output| output.shape == name)) {
        let body = payload.as_ref().map_or(String::new(), |field| {
            format!(
                "\nfn take_payload(&mut self) -> Option<Bytes> {{\nSome(std::mem::take(&mut self.{field}))\n}}\n"
            )
        });
        let _ = writeln!(text, "\nimpl gatemill_wire::Output for {rust} {{{body}}}");
    }
    Ok(())
}
