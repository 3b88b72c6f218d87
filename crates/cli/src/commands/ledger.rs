//! `countersign ledger`: decisions, histories and the ledger's own consistency.

use crate::args::LedgerCommand;
use crate::context::{Context, Failed};
use crate::print;
use countersign_core::Purl;
use countersign_engine::ledger::VerifiedReceipt;
use countersign_engine::store::StoredDecision;

/// Runs a ledger subcommand.
pub async fn ledger(context: &Context, command: LedgerCommand) -> Result<u8, Failed> {
    let store = context.open().await?;
    match command {
        LedgerCommand::Log { purl, limit, json } => {
            let decisions = match purl {
                None => store.recent(None, limit).await?,
                Some(text) => {
                    let purl: Purl = text.parse().map_err(Failed::usage)?;
                    if purl.version().is_some() {
                        store.decisions_for_purl(&purl).await?
                    } else {
                        store.history(&purl, limit).await?
                    }
                }
            };
            for d in &decisions {
                print::line(&if json { json_line(d) } else { text_line(d) });
            }
            Ok(0)
        }
        LedgerCommand::Fsck => {
            let report = store.fsck(false).await?;
            print::line(&format!(
                "{} entries, {} of them decisions; {} verified",
                report.entries, report.decisions, report.verified
            ));
            for p in &report.problems {
                print::error_line(&format!("countersign: {p}"));
            }
            print::line(if report.is_clean() {
                "the ledger is consistent"
            } else {
                "the ledger is NOT consistent; keep this folder as it is and restore a copy"
            });
            Ok(u8::from(!report.is_clean()))
        }
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
