//! `gatemill operations`: which AWS operations are built, from the tables that serve them.

use std::fmt::Write as _;

use gatemill_wire::{Gap, OperationInfo, Protocol, Service};
use serde_json::json;

use crate::{
    cli::{OperationsFormat, OperationsOptions},
    error::Error,
    output, wiring,
};

/// An operation, and whether it is built.
type Listed = (&'static OperationInfo, bool);

/// Prints the operations.
///
/// # Errors
/// When stdout cannot be written.
pub(crate) fn operations(options: &OperationsOptions) -> Result<(), Error> {
    let listed = wiring::operations();
    let text = match options.format {
        OperationsFormat::Table => table(&listed),
        OperationsFormat::Json => json(&listed),
        OperationsFormat::Markdown => markdown(&listed),
    };
    output::print(&text)
}

fn table(listed: &[Listed]) -> String {
    let mut text = format!("{:<24} {:<44} STATUS\n", "SERVICE", "OPERATION");
    for (operation, built) in listed {
        let status = if *built { "built" } else { "501" };
        line(&mut text, &format!("{:<24} {:<44} {status}", operation.service.name, operation.name));
    }
    let built = listed.iter().filter(|(_, built)| *built).count();
    line(&mut text, &format!("\n{built} of {} are built; the others answer 501.", listed.len()));
    text
}

fn json(listed: &[Listed]) -> String {
    let operations: Vec<_> = listed
        .iter()
        .map(|(operation, built)| {
            let service = operation.service;
            let (protocol, target_prefix) = match service.protocol {
                Protocol::RestJson => ("rest-json", None),
                Protocol::Json { target_prefix, .. } => ("json", Some(target_prefix)),
                Protocol::Query { .. } => ("query", None),
                Protocol::RpcV2 { target_prefix, .. } => ("rpc-v2-cbor", Some(target_prefix)),
            };
            json!({
                "service": service.name,
                "signing_name": service.signing_name,
                "api_version": service.api_version,
                "protocol": protocol,
                "target_prefix": target_prefix,
                "operation": operation.name,
                "method": operation.method,
                "uri": operation.uri,
                "action": operation.action,
                "built": built,
                "gaps": gaps_of(operation).map(gap).collect::<Vec<_>>(),
            })
        })
        .collect();
    let text = serde_json::to_string_pretty(&operations).expect("plain values have a form in JSON");
    text + "\n"
}

/// What an operation does not honour.
fn gaps_of(operation: &'static OperationInfo) -> impl Iterator<Item = &'static Gap> {
    wiring::gaps().filter(move |gap| gap.operations.iter().any(|it| std::ptr::eq(*it, operation)))
}

fn gap(gap: &Gap) -> serde_json::Value {
    json!({
        "member": gap.member,
        "when": gap.when,
        "treatment": gap.treatment.name(),
        "why": gap.why,
    })
}

fn markdown(listed: &[Listed]) -> String {
    let mut text = "# Compatibility\n\nEvery operation of each service's public model. One that is not built answers \
                    `501 NotImplementedException` and names itself. Below the operations of a service stand the members \
                    of their inputs that are not honoured: a request that has one gets what the table says. Every other \
                    member of a built operation is.\n\nThis page is what `gatemill operations --format markdown` \
                    prints.\n"
        .to_owned();
    let mut last: Option<&'static Service> = None;
    for (operation, built) in listed {
        if last.is_none_or(|last| !std::ptr::eq(last, operation.service)) {
            if let Some(last) = last.replace(operation.service) {
                members(&mut text, last);
            }
            let service = operation.service.name;
            let of_service = listed.iter().filter(|(other, _)| other.service.name == service);
            let (all, built) = of_service.fold((0, 0), |(all, built), (_, is_built)| {
                (all + 1, built + usize::from(*is_built))
            });
            line(&mut text, &format!("\n## {service}: {built} of {all}\n"));
            line(&mut text, "| operation | status |\n|---|---|");
        }
        let status = if *built { "built" } else { "501" };
        line(&mut text, &format!("| {} | {status} |", operation.name));
    }
    if let Some(last) = last {
        members(&mut text, last);
    }
    text
}

/// The members that a service does not honour.
fn members(text: &mut String, service: &'static Service) {
    let of_service = |gap: &&Gap| gap.operations.iter().any(|it| std::ptr::eq(it.service, service));
    let mut gaps = wiring::gaps().filter(of_service).peekable();
    if gaps.peek().is_none() {
        return;
    }
    line(text, "\n| member | in | answer | why |\n|---|---|---|---|");
    for gap in gaps {
        let operations: Vec<_> = gap.operations.iter().map(|operation| operation.name).collect();
        let (member, when) = (gap.member, gap.when);
        let member =
            if when.is_empty() { format!("`{member}`") } else { format!("`{member}` {when}") };
        let (operations, treatment) = (operations.join(", "), gap.treatment.text());
        line(text, &format!("| {member} | {operations} | {treatment} | {} |", gap.why));
    }
}

fn line(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("a String takes everything");
}
