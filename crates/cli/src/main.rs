//! The command countersign: arguments, rendering, exit codes.
fn main() {}
