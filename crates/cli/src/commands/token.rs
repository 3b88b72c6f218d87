//! `countersign token`: what clients of the gateway show.

use crate::context::Failed;
use crate::print;
use clap::Subcommand;
use countersign_engine::core::Sha256Digest;

/// `token …`.
#[derive(Subcommand)]
pub enum TokenCommand {
    /// Make a token: it is printed once, and the configuration gets its digest
    New {
        /// Whose it is, for the fetch log and policies.
        name: String,
        /// What it is for: client (installing), auditor (reading the ledger), or owner (both)
        #[arg(long, value_parser = ["client", "auditor", "owner"], default_value = "client")]
        role: String,
    },
}

/// How a token of the gateway begins, so that scanners for leaked secrets can tell it.
const PREFIX: &str = "cstoken_";

/// Runs the subcommand. Returns the exit code.
pub fn token(command: TokenCommand) -> Result<u8, Failed> {
    let TokenCommand::New { name, role } = command;
    let (inline, line) = match role.as_str() {
        "client" => (String::new(), String::new()),
        role => (format!(", role = \"{role}\""), format!("\n  role = \"{role}\"")),
    };
    let named = |c: char| c.is_ascii_alphanumeric() || "-_.@+".contains(c);
    if name.is_empty() || name.len() > 100 || !name.chars().all(named) {
        return Err(Failed::usage(format!(
            "`{name}` is no name of a token; use up to 100 letters, digits and - _ . @ +"
        )));
    }
    let mut bytes = [0u8; 32];
    getrandom::fill(&mut bytes).map_err(|e| Failed::internal(format!("no randomness: {e}")))?;
    let token = format!("{PREFIX}{}", hex::encode(bytes));
    let digest = Sha256Digest::of(token.as_bytes());
    print::line(&token);
    print::error_line("Give this token to its owner now: it is kept nowhere and not shown again.");
    print::error_line("Into countersign.toml, below [serve]:");
    print::error_line(&format!(
        "  tokens = [{{ name = \"{name}\", sha256 = \"{digest}\"{inline} }}]"
    ));
    print::error_line("or into the file that `tokens-file` names:");
    print::error_line(&format!("  [[token]]\n  name = \"{name}\"\n  sha256 = \"{digest}\"{line}"));
    Ok(0)
}
