//! `countersign ledger`: decisions, histories, proofs and the ledger's own consistency.

mod export;
mod forget;
mod fsck;
mod history;
mod keys;
mod monitor;
mod prove;
mod publish;
mod words;

pub use history::time;

use crate::context::{Context, Failed};
use crate::print;
use clap::Subcommand;
use countersign_engine::ledger::VerifiedReceipt;
use countersign_engine::store::StoredDecision;
use std::path::PathBuf;

/// `ledger …`.
#[derive(Subcommand)]
pub enum LedgerCommand {
    /// Show one entry: its statement, its place and its proof
    Show {
        /// Its place in the ledger, from 0.
        index: u64,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show the newest decisions, or the history of a package, a version or a file
    Log {
        /// A purl, with or without a version, a file, or sha256:…
        subject: Option<String>,
        /// How many.
        #[arg(long, default_value_t = 20)]
        limit: u32,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Find entries of all kinds
    Search(history::SearchArgs),
    /// Prove that an entry is in the ledger, or that the ledger continues an earlier one
    Prove {
        /// The entry's place, from 0.
        #[arg(required_unless_present = "from", conflicts_with = "from")]
        index: Option<u64>,
        /// The size of the earlier ledger.
        #[arg(long, value_name = "SIZE")]
        from: Option<u64>,
    },
    /// Write all entries, one JSON object a line, and the checkpoint last
    Export {
        /// Only what may be public: commitments, and nothing of the statements
        #[arg(long)]
        public: bool,
        /// The first entry.
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// Where to write it [default: standard output]
        #[arg(long, short)]
        output: Option<PathBuf>,
    },
    /// Check every entry, signature, tile and file against each other
    Fsck {
        /// Only the checkpoint, the counts and SQLite's own check
        #[arg(long)]
        quick: bool,
        /// Write all published files again from the database first
        #[arg(long)]
        republish: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Follow a ledger, this one's files or another's address, and alarm when it is not append-only
    Monitor(monitor::MonitorArgs),
    /// Ask witnesses to cosign the present checkpoint
    Cosign(monitor::CosignArgs),
    /// Print the ledger's public key
    Key,
    /// Go on under a new key; both keys sign for a while, so that everybody can follow
    RotateKey(keys::RotateKeyArgs),
    /// Write the public log, for any web server: tiles, and the statements that the disclosure policy shows
    Publish(publish::PublishArgs),
    /// Forget content, of an entry or an artifact, with a record of who did and why
    Forget(forget::ForgetArgs),
}

/// Runs a ledger subcommand.
pub async fn ledger(context: &Context, command: LedgerCommand) -> Result<u8, Failed> {
    if let LedgerCommand::Monitor(args) = command {
        return monitor::monitor(&args).await;
    }
    let store = context.open().await?;
    match command {
        LedgerCommand::Show { index, json } => history::show(&store, index, json).await,
        LedgerCommand::Log { subject, limit, json } => {
            history::log(&store, subject.as_deref(), limit, json).await
        }
        LedgerCommand::Search(args) => history::search(&store, &args).await,
        LedgerCommand::Prove { index, from } => prove::prove(&store, index, from).await,
        LedgerCommand::Export { public, from, output } => {
            export::export(&store, public, from, output.as_deref()).await
        }
        LedgerCommand::Fsck { quick, republish, json } => {
            fsck::fsck(&store, quick, republish, json).await
        }
        LedgerCommand::Cosign(args) => monitor::cosign(&store, &args).await,
        LedgerCommand::RotateKey(args) => keys::rotate(&store, &args).await,
        LedgerCommand::Publish(args) => publish::publish(context, &store, &args).await,
        LedgerCommand::Forget(args) => forget::forget(&store, &args).await,
        LedgerCommand::Monitor(_) => Ok(0),
        LedgerCommand::Key => {
            let key = store.verifier_key().ok_or_else(|| {
                Failed::usage("there is no ledger key; make one with `countersign init`")
            })?;
            print::line(&key.to_string());
            Ok(0)
        }
    }
}

fn text_line(d: &StoredDecision) -> String {
    let why =
        d.decision.leading().map_or_else(String::new, |f| format!("  {}: {}", f.reason, f.detail));
    let digest = d.sha256.map_or_else(|| "-".repeat(12), |s| s.short());
    format!(
        "{:>6}  {}  {:<6}  {digest}  {}{why}",
        d.index,
        d.time,
        d.decision.verdict.to_string(),
        d.purl
    )
}

fn json_line(d: &StoredDecision) -> String {
    serde_json::json!({
        "index": d.index, "time": d.time, "purl": d.purl, "file": d.file_name,
        "sha256": d.sha256, "decision": d.decision, "facts": d.facts,
    })
    .to_string()
}

/// A verified receipt in words.
pub fn describe(v: &VerifiedReceipt) -> Vec<String> {
    let mut out = Vec::new();
    if let Some(d) = v.decision() {
        out.push(format!("artifact:   {} ({})", d.purl, d.file_name));
        if let Some(s) = d.sha256 {
            out.push(format!("sha256:     {s}"));
        }
        let audit = if d.audit_only { ", by a policy that only records" } else { "" };
        out.push(format!("verdict:    {}{audit}", d.verdict));
        out.push(format!("decided:    {} by {}", d.time_verified, d.verifier_id));
    } else {
        out.push(format!("entry:      {}", v.statement().predicate_type()));
    }
    out.push(format!(
        "ledger:     entry {} of {} under {}",
        v.leaf_index(),
        v.checkpoint().size(),
        v.checkpoint().origin()
    ));
    out.push("checked:    statement signature, inclusion proof, checkpoint signature".to_owned());
    out
}
