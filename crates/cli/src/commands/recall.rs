//! `countersign recall`: what was admitted, judged again.

use crate::context::{Context, Failed};
use clap::Args;

/// `recall`.
#[derive(Args)]
pub struct RecallArgs {}

/// Runs the subcommand. Returns the exit code.
pub async fn recall(_context: &Context, _args: RecallArgs) -> Result<u8, Failed> {
    Err(Failed::internal("`recall` is not built yet"))
}
