//! `countersign serve`: the gateway for a team.

use crate::context::{Context, Failed};
use clap::Args;

/// `serve`.
#[derive(Args)]
pub struct ServeArgs {}

/// Runs the subcommand. Returns the exit code.
pub async fn serve(_context: &Context, _args: ServeArgs) -> Result<u8, Failed> {
    Err(Failed::internal("`serve` is not built yet"))
}
