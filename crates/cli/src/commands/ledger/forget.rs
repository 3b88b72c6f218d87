//! `ledger forget`.

use crate::commands::waive::current_user;
use crate::context::{Failed, now};
use crate::print;
use clap::Args;
use countersign_engine::core::Sha256Digest;
use countersign_engine::store::{Forget, Store};

/// `ledger forget`.
#[derive(Args)]
#[command(
    after_help = "The commitment stays in the tree, so every proof keeps holding; the content and its salt are erased. \
What other entries rest on (keys, waivers, recalls, grounds) stays. Backups and receipts that were given out are not \
reached.\n\n\
Examples:\n  countersign ledger forget 104 --reason 'request of the data subject, case 7'\n  countersign ledger forget sha256:f4bcbefc… --reason 'retention: 400 days'"
)]
pub struct ForgetArgs {
    /// Entries (their places), and artifacts' bytes (sha256:…)
    #[arg(required = true, value_name = "ENTRY|sha256:…")]
    pub what: Vec<String>,
    /// Why
    #[arg(long)]
    pub reason: String,
    /// Who answers for it [default: the current user]
    #[arg(long)]
    pub owner: Option<String>,
}

fn parse(text: &str) -> Result<Forget, Failed> {
    let neither = || Failed::usage(format!("`{text}` is neither an entry's place nor sha256:…"));
    match text.strip_prefix("sha256:") {
        Some(hex) => Ok(Forget::Blob(hex.parse::<Sha256Digest>().map_err(|_| neither())?)),
        None => Ok(Forget::Entry(text.parse().map_err(|_| neither())?)),
    }
}

/// Forgets each, in order.
pub async fn forget(store: &Store, args: &ForgetArgs) -> Result<u8, Failed> {
    let owner = args.owner.clone().unwrap_or_else(current_user);
    let all = args.what.iter().map(|w| parse(w)).collect::<Result<Vec<_>, _>>()?;
    for (what, text) in all.iter().zip(&args.what) {
        let recorded = store.forget(what, &owner, &args.reason, now()).await?;
        print::line(&format!("forgot {text} (ledger entry {})", recorded.index()));
    }
    Ok(0)
}
