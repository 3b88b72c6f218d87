//! `ledger rotate-key`.

use crate::commands::waive::current_user;
use crate::context::{Failed, now};
use crate::print;
use clap::Args;
use countersign_engine::store::Store;

/// `ledger rotate-key`.
#[derive(Args)]
#[command(
    after_help = "The ledger keeps its name and goes on under a new key. The rotation is an entry, signed by the old key, that \
names the new one. From then on both keys sign checkpoints, so that whoever knows the old key alone follows; \
receipts carry the rotation and are checked with either key. Give out the new key, then end the old one's time. \
The rotation is published with its reason and owner.\n\n\
Examples:\n  countersign ledger rotate-key --reason 'yearly'\n  countersign ledger rotate-key --finish"
)]
pub struct RotateKeyArgs {
    /// Why
    #[arg(long, required_unless_present = "finish", conflicts_with = "finish")]
    pub reason: Option<String>,
    /// Who answers for it [default: the current user]
    #[arg(long)]
    pub owner: Option<String>,
    /// End the old key's time: it signs no more, and its private half is removed
    #[arg(long)]
    pub finish: bool,
}

/// Rotates the key, or ends the old one's time.
pub async fn rotate(store: &Store, args: &RotateKeyArgs) -> Result<u8, Failed> {
    let owner = args.owner.clone().unwrap_or_else(current_user);
    if args.finish {
        let (recorded, old) = store.retire_key(&owner, now()).await?;
        print::line(&format!(
            "{old} signs no more (ledger entry {}); its private half is removed",
            recorded.index()
        ));
        return Ok(0);
    }
    let reason = args.reason.clone().unwrap_or_default();
    if reason.trim().is_empty() {
        return Err(Failed::usage("a rotation needs a reason; give one with --reason"));
    }
    let (recorded, new) = store.rotate_key(&owner, &reason, now()).await?;
    print::line(&new.to_string());
    print::error_line(&format!(
        "countersign: the key was rotated (ledger entry {}); both keys sign checkpoints from now on",
        recorded.index()
    ));
    print::error_line(
        "Give the new key to whoever checks receipts, monitors or witnesses this ledger, back up `keys/`, \
         and end the old key's time with `countersign ledger rotate-key --finish`.",
    );
    Ok(0)
}
