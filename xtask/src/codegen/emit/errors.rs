//! `errors.rs`: one constant per exception.

use std::fmt::Write as _;

use super::{Context, HEADER};
use crate::{Result, codegen::model::Shape, codegen::names};

/// The text of the file.
pub(crate) fn file(context: &Context<'_>) -> Result<String> {
    let mut text = format!(
        "//! {HEADER} The exceptions of `{}`.\n\nuse gatemill_wire::ErrorShape;\n",
        context.config.name
    );
    for (name, shape) in &context.model.shapes {
        if shape.exception {
            exception(&mut text, name, shape);
        }
    }
    Ok(text)
}

fn exception(text: &mut String, name: &str, shape: &Shape) {
    let facts = shape.error.as_ref();
    let code = facts.and_then(|error| error.code.as_deref()).unwrap_or(name);
    let status = facts.and_then(|error| error.http_status_code).unwrap_or(if shape.fault {
        500
    } else {
        400
    });
    let members = &shape.members.0;
    let message = members.iter().find(|(name, _)| name.eq_ignore_ascii_case("message"));
    let message = message
        .map_or("None".to_owned(), |(name, member)| format!("Some({:?})", member.wire(name)));
    let typed = members.iter().any(|(name, _)| name == "Type");
    let _ = writeln!(
        text,
        "\n/// `{code}`: {status}.\npub static {}: ErrorShape = ErrorShape {{ code: {code:?}, status: {status}, \
         message_member: {message}, typed: {typed} }};",
        names::screaming(name),
    );
}
