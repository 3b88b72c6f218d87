//! `countersign verify`: offline checks, with a public key alone.

use crate::args::VerifyCommand;
use crate::context::Failed;
use crate::print;
use countersign_engine::ledger::{Receipt, VerifierKey, verify_receipt};
use std::path::Path;

/// Runs a verify subcommand.
pub fn verify(command: VerifyCommand) -> Result<u8, Failed> {
    let VerifyCommand::Receipt { receipt, key, artifact } = command;
    let text = if Path::new(&key).is_file() {
        std::fs::read_to_string(&key)
            .map_err(|e| Failed::usage(format!("`{key}` cannot be read: {e}")))?
    } else {
        key
    };
    let key: VerifierKey = text.trim().parse().map_err(|e| {
        Failed::usage(format!(
            "the ledger's public key cannot be read: {e}; `countersign ledger key` prints it"
        ))
    })?;
    let bytes = std::fs::read(&receipt)
        .map_err(|e| Failed::usage(format!("`{}` cannot be read: {e}", receipt.display())))?;
    let artifact = artifact.map(|a| super::receipt::digest_of(&a)).transpose()?;
    let verdict = Receipt::parse(&bytes).and_then(|r| verify_receipt(&r, &key, artifact.as_ref()));
    match verdict {
        Ok(verified) => {
            print::line(&format!("{}: the receipt holds", receipt.display()));
            for l in super::ledger::describe(&verified) {
                print::line(&format!("  {l}"));
            }
            if artifact.is_none() {
                print::line("  the artifact itself was not compared; name it with --artifact");
            }
            Ok(0)
        }
        Err(e) => {
            print::error_line(&format!("countersign: `{}` does not hold: {e}", receipt.display()));
            Ok(1)
        }
    }
}
