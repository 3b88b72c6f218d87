//! `countersign setup`: the gate before the package managers of this user.

use crate::context::{Context, Failed};
use clap::Args;

/// `setup`.
#[derive(Args)]
pub struct SetupArgs {}

/// Runs the subcommand. Returns the exit code.
pub async fn setup(_context: &Context, _args: SetupArgs) -> Result<u8, Failed> {
    Err(Failed::internal("`setup` is not built yet"))
}
