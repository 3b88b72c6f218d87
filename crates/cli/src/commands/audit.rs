//! `countersign audit`: what is already there, judged.

use crate::context::{Context, Failed};
use clap::Args;

/// `audit`.
#[derive(Args)]
pub struct AuditArgs {}

/// Runs the subcommand. Returns the exit code.
pub async fn audit(_context: &Context, _args: AuditArgs) -> Result<u8, Failed> {
    Err(Failed::internal("`audit` is not built yet"))
}
