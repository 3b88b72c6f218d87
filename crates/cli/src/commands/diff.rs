//! `countersign diff`: what differs between two versions that were judged.

use crate::context::{Context, Failed};
use crate::print;
use clap::Args;
use countersign_core::{Purl, Severity};
use countersign_engine::difference::{self, Pair};

/// `diff`.
#[derive(Args)]
#[command(
    after_help = "Both versions must have been judged here: admitted, or held or refused by their content. Nothing is\n\
                  fetched or opened again.\n\n\
                  Exit codes:\n  0  nothing of weight differs\n  1  something does: a hook, a capability, the publisher, evidence\n\n\
                  Example:\n  countersign diff pkg:npm/left-pad@1.2.0 pkg:npm/left-pad@1.3.0"
)]
pub struct DiffArgs {
    /// The older version (pkg:npm/left-pad@1.2.0)
    pub old: Purl,
    /// The newer one
    pub new: Purl,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What is weightier than this counts for the exit code.
const LIGHT: Severity = Severity::Low;

/// Runs the subcommand. Returns the exit code.
pub async fn diff(context: &Context, args: &DiffArgs) -> Result<u8, Failed> {
    for purl in [&args.old, &args.new] {
        if purl.version().is_none() {
            return Err(Failed::usage(format!("{purl} has no version; write {purl}@…")));
        }
    }
    let store = context.open().await?;
    let pairs = difference::compare(&store, &args.old, &args.new).await;
    let pairs = pairs.map_err(Failed::usage)?;
    if args.json {
        let all: Vec<_> = pairs.iter().map(json).collect();
        print::line(&serde_json::to_string_pretty(&all).map_err(Failed::internal)?);
    } else {
        pairs.iter().flat_map(lines).for_each(|line| print::line(&line));
    }
    let weighty = pairs.iter().flat_map(|p| &p.changes).any(|c| c.severity > LIGHT);
    Ok(u8::from(weighty))
}

fn lines(pair: &Pair) -> Vec<String> {
    let verdict = |d: &countersign_engine::store::StoredDecision| d.decision.verdict.to_string();
    let mut out = vec![
        format!("- {} ({})", pair.old.file_name, verdict(&pair.old)),
        format!("+ {} ({})", pair.new.file_name, verdict(&pair.new)),
    ];
    for change in &pair.changes {
        out.push(format!(
            "  {:<9} {:<13} {}",
            change.severity.to_string(),
            change.kind,
            change.text
        ));
    }
    if pair.changes.is_empty() {
        out.push("  nothing differs".to_owned());
    }
    out
}

fn json(pair: &Pair) -> serde_json::Value {
    let side = |d: &countersign_engine::store::StoredDecision| {
        serde_json::json!({
            "purl": d.purl, "file": d.file_name, "sha256": d.sha256, "verdict": d.decision.verdict,
        })
    };
    let changes: Vec<_> = pair
        .changes
        .iter()
        .map(|c| serde_json::json!({"kind": c.kind, "severity": c.severity, "text": c.text}))
        .collect();
    serde_json::json!({"old": side(&pair.old), "new": side(&pair.new), "changes": changes})
}
