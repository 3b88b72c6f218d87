//! The stages as a program of their own, for tests: the command `countersign` starts them in itself.

use std::process::ExitCode;

fn main() -> ExitCode {
    countersign_sandbox::enter(std::env::args_os().skip(1).collect())
}
