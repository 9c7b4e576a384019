//! The project's own commands: codegen, tidy, ci, bench.
fn main() {}
