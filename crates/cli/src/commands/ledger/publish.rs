//! `ledger publish`.

use crate::context::{Context, Failed, now};
use crate::print;
use clap::Args;
use countersign_engine::disclosure;
use countersign_engine::store::Store;
use std::path::PathBuf;

/// `ledger publish`.
#[derive(Args)]
#[command(
    after_help = "The folder holds the checkpoint, the tiles and the entries' commitments (C2SP tlog-tiles), and below `statement/` \
what the policy's `disclosure.cedar` shows to the public. Run it again, from a timer, to bring it up to date. \
`countersign ledger monitor` checks all of it.\n\n\
Example:\n  countersign ledger publish -o /srv/www/ledger --policy ./policies"
)]
pub struct PublishArgs {
    /// The folder
    #[arg(long, short, value_name = "DIR")]
    pub output: PathBuf,
    /// The policy whose `disclosure.cedar` says what is public: a folder, or a shipped one
    #[arg(long, value_name = "NAME|DIR", env = "COUNTERSIGN_POLICY")]
    pub policy: Option<String>,
}

/// Publishes.
pub async fn publish(context: &Context, store: &Store, args: &PublishArgs) -> Result<u8, Failed> {
    let (config, _) = context.config()?;
    let name = args.policy.as_deref().or(config.policy.as_deref()).unwrap_or("baseline");
    let policy = context.policy(name)?;
    let done = disclosure::publish(store, policy.disclosure(), &args.output, now()).await?;
    print::line(&format!(
        "{}: {} entries; {} statements in clear, {} in part, {} withheld",
        args.output.display(),
        done.entries,
        done.clear,
        done.redacted,
        done.withheld
    ));
    Ok(0)
}
