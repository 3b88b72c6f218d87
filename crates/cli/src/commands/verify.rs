//! `countersign verify`: offline checks, with a public key alone.

use super::receipts;
use crate::args::{VerifyArgs, VerifyCommand};
use crate::context::{Failed, now};

/// Runs a verify subcommand.
pub fn verify(args: VerifyArgs) -> Result<u8, Failed> {
    match (args.command, args.receipts, args.policy) {
        (Some(VerifyCommand::Receipt(args)), ..) => receipts::verify_receipt(&args),
        (None, Some(folder), Some(policy)) => receipts::gate::deploy(&folder, &policy, now()),
        _ => Err(Failed::usage("name what to verify; see `countersign verify --help`")),
    }
}
