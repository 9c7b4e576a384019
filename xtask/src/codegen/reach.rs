//! Which shapes operations reach, and from which side.

use std::collections::BTreeSet;

use super::model::{Model, Shape};
use crate::Result;

/// The shapes that the generated operations reach.
#[derive(Debug, Default)]
pub(crate) struct Reach {
    /// From inputs.
    pub(crate) inputs: BTreeSet<String>,
    /// From outputs.
    pub(crate) outputs: BTreeSet<String>,
}

impl Reach {
    /// Follows inputs and outputs of the operations that `wanted` accepts.
    pub(crate) fn of(model: &Model, wanted: impl Fn(&str) -> bool) -> Result<Self> {
        let mut reach = Self::default();
        for (name, operation) in &model.operations {
            if !wanted(name) {
                continue;
            }
            if let Some(input) = &operation.input {
                follow(model, &input.shape, &mut reach.inputs)?;
            }
            if let Some(output) = &operation.output {
                follow(model, &output.shape, &mut reach.outputs)?;
            }
        }
        Ok(reach)
    }

    /// All of them, in alphabetical order.
    pub(crate) fn all(&self) -> BTreeSet<&str> {
        self.inputs.union(&self.outputs).map(String::as_str).collect()
    }
}

fn follow(model: &Model, start: &str, seen: &mut BTreeSet<String>) -> Result<()> {
    let mut open = vec![start.to_owned()];
    while let Some(name) = open.pop() {
        if seen.insert(name.clone()) {
            open.extend(neighbours(model, model.shape(&name)?)?);
        }
    }
    Ok(())
}

fn neighbours(model: &Model, shape: &Shape) -> Result<Vec<String>> {
    let members = model.members(shape)?.into_iter().map(|(_, reference)| reference);
    let inner = [&shape.member, &shape.key, &shape.value].into_iter().flatten();
    Ok(members.chain(inner).map(|reference| reference.shape.clone()).collect())
}

/// Whether a value of `from` holds a value of `to` in itself, so that the field has to be boxed. Lists and maps
/// are on the heap already.
pub(crate) fn embeds(model: &Model, from: &str, to: &str) -> Result<bool> {
    let mut seen = BTreeSet::new();
    let mut open = vec![from.to_owned()];
    while let Some(name) = open.pop() {
        if name == to {
            return Ok(true);
        }
        let shape = model.shape(&name)?;
        if shape.kind == "structure" && seen.insert(name) {
            open.extend(neighbours(model, shape)?);
        }
    }
    Ok(false)
}
