//! `countersign provenance`: where a package's artifacts come from, as it was verified when they
//! were admitted.

use crate::context::{Context, Failed};
use crate::print;
use countersign_core::{Change, Ecosystem, Evidence, Purl};
use countersign_engine::evidence_kinds::cargo_vcs::VcsInfo;
use countersign_engine::store::{Store, StoredDecision};
use countersign_engine::verify::{explain, explain_vcs, vcs_info};
use serde_json::{Value, json};
use std::collections::HashSet;

/// Decisions of a package that are looked at.
const LOOKED_AT: u32 = 1000;

/// `provenance`.
#[derive(clap::Args)]
#[command(
    after_help = "Exit codes:\n  0  verified evidence says who published or built it\n  1  nothing verified is recorded\n\nExamples:\n  countersign provenance pkg:npm/sigstore@2.3.1\n  countersign provenance --json pkg:pypi/pypi-attestations > provenance.json"
)]
pub struct ProvenanceArgs {
    /// A package (pkg:npm/sigstore), or one version of it (pkg:npm/sigstore@2.3.1)
    purl: Purl,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Shows the newest record of each artifact.
pub async fn provenance(context: &Context, args: ProvenanceArgs) -> Result<u8, Failed> {
    let store = context.open().await?;
    let decisions = if args.purl.version().is_some() {
        store.decisions_for_purl(&args.purl).await?
    } else {
        store.history(&args.purl, LOOKED_AT).await?
    };
    let mut seen = HashSet::new();
    let newest: Vec<StoredDecision> =
        decisions.into_iter().filter(|d| seen.insert((d.purl.clone(), d.sha256))).collect();
    if newest.is_empty() {
        return Err(Failed::usage(format!(
            "the ledger holds no decision about {}; run it through the gate first",
            args.purl
        )));
    }
    let any = newest.iter().any(|d| evidence(d).iter().any(|e| e.claim().is_some()));
    if args.json {
        let list: Vec<Value> = newest.iter().map(|d| as_json(&store, d)).collect();
        print::line(&serde_json::to_string_pretty(&list).map_err(Failed::internal)?);
    } else {
        for d in &newest {
            as_text(&store, d);
        }
    }
    Ok(u8::from(!any))
}

fn evidence(d: &StoredDecision) -> Vec<Evidence> {
    let list = d.facts.get("evidence").cloned().unwrap_or_default();
    serde_json::from_value(list).unwrap_or_default()
}

fn changes(d: &StoredDecision) -> Vec<Change> {
    let list = d.facts.get("changes").cloned().unwrap_or_default();
    serde_json::from_value(list).unwrap_or_default()
}

/// What a crate that the store keeps says about its source.
fn claims(store: &Store, d: &StoredDecision) -> Option<VcsInfo> {
    let is_crate = d.purl.ecosystem() == Ecosystem::Cargo;
    vcs_info(&store.blob_file(&d.sha256.filter(|_| is_crate)?)?)
}

fn as_json(store: &Store, d: &StoredDecision) -> Value {
    json!({
        "purl": d.purl,
        "file": d.file_name,
        "sha256": d.sha256,
        "verdict": d.decision.verdict,
        "decided": d.time,
        "ledgerIndex": d.index,
        "evidence": evidence(d),
        "changes": changes(d),
        "unverifiedClaims": claims(store, d),
    })
}

fn as_text(store: &Store, d: &StoredDecision) {
    let verdict = &d.decision.verdict;
    print::line(&format!("{} {} ({verdict}, ledger entry {})", d.purl, d.file_name, d.index));
    if let Some(sha256) = d.sha256 {
        print::line(&format!("  sha256 {sha256}"));
    }
    let evidence = evidence(d);
    if evidence.is_empty() {
        print::line("  no evidence was looked for");
    }
    for line in evidence.iter().flat_map(explain) {
        print::line(&format!("  {line}"));
    }
    for line in claims(store, d).iter().flat_map(explain_vcs) {
        print::line(&format!("  {line}"));
    }
    for change in changes(d) {
        print::line(&format!("  changed: {} ({})", change.kind, change.detail));
    }
}
