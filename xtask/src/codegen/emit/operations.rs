//! `operations.rs`: one marker type and one constant per operation.

use std::fmt::Write as _;

use super::{Context, HEADER, has_shapes};
use crate::{
    Result,
    codegen::{
        model::{Operation, Reference},
        names,
    },
};

/// The text of the file.
pub(crate) fn file(context: &Context<'_>) -> Result<String> {
    let mut body = String::new();
    let mut types = Vec::new();
    let mut markers = Vec::new();
    for (name, operation) in &context.model.operations {
        if has_shapes(context.config, name) {
            marker(&mut body, name, operation);
            markers.push(format!("crate::tests::check::<{name}>()"));
            types
                .extend([&operation.input, &operation.output].into_iter().flatten().map(type_name));
        }
        constant(&mut body, context, name, operation)?;
    }
    types.sort_unstable();
    types.dedup();
    let mut text = format!("//! {HEADER} The operations of `{}`.\n\n", context.config.name);
    text.push_str("use gatemill_wire::OperationInfo;\n\n");
    let _ = writeln!(text, "use super::{{SERVICE, errors, shapes, {}}};", types.join(", "));
    text.push_str(&body);
    let _ = writeln!(
        text,
        "\n#[cfg(test)]\npub(crate) static CHECKS: &[crate::tests::Check] = &[{}];",
        markers.join(", ")
    );
    Ok(text)
}

fn type_name(reference: &Reference) -> String {
    names::structure(&reference.shape)
}

fn marker(text: &mut String, name: &str, operation: &Operation) {
    let type_of =
        |reference: &Option<Reference>| reference.as_ref().map_or("()".to_owned(), type_name);
    let _ = writeln!(
        text,
        "\n/// {}\n#[derive(Debug, Clone, Copy)]\npub struct {name};\n\n\
         impl gatemill_wire::Operation for {name} {{\n\
         const INFO: &'static OperationInfo = &{};\ntype Input = {};\ntype Output = {};\n}}",
        facts(name, operation),
        names::screaming(name),
        type_of(&operation.input),
        type_of(&operation.output),
    );
}

fn constant(
    text: &mut String,
    context: &Context<'_>,
    name: &str,
    operation: &Operation,
) -> Result<()> {
    let shaped = has_shapes(context.config, name);
    let shape = |reference: &Option<Reference>| {
        let reference = reference.as_ref().filter(|_| shaped)?;
        Some(format!("Some(&shapes::{})", context.statics.get(reference.shape.as_str())?))
    };
    let mut errors = Vec::new();
    for error in &operation.errors {
        if !context.model.shape(&error.shape)?.exception {
            return Err(format!("{name}: `{}` is no exception", error.shape).into());
        }
        errors.push(format!("&errors::{}", names::screaming(&error.shape)));
    }
    let _ = writeln!(
        text,
        "\n/// {}\npub static {}: OperationInfo = OperationInfo {{\nname: {name:?},\nservice: &SERVICE,\n\
         method: {:?},\nuri: {:?},\nstatus: {},\naction: {:?},\ninput: {},\noutput: {},\nerrors: &[{}],\n}};",
        facts(name, operation),
        names::screaming(name),
        operation.http.method,
        operation.http.request_uri,
        operation.http.response_code.unwrap_or(200),
        context.config.action.of(name, &operation.http.method),
        shape(&operation.input).unwrap_or("None".to_owned()),
        shape(&operation.output).unwrap_or("None".to_owned()),
        errors.join(", "),
    );
    Ok(())
}

fn facts(name: &str, operation: &Operation) -> String {
    let http = &operation.http;
    format!(
        "`{name}`: `{} {}` → {}.",
        http.method,
        http.request_uri,
        http.response_code.unwrap_or(200)
    )
}
