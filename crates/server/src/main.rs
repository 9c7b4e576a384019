//! The gatemill program: wiring, configuration, listeners and the command line.
fn main() {}
