//! JSON: everything that was judged, with its facts.

use super::{FeedState, Summary};
use countersign_core::Verdict;
use countersign_engine::audit::{Audited, Item};
use serde_json::{Value, json};

/// The report as JSON.
pub fn json(s: &Summary<'_>) -> String {
    let feeds = match &s.feeds {
        FeedState::Open(meta) => json!({
            "advisories": meta.advisories,
            "newest": meta.newest_modified(),
        }),
        FeedState::Closed(because) => json!({"not_checked": because}),
    };
    let value = json!({
        "format": "countersign-audit/v1",
        "exit_code": s.exit_code,
        "policy": {"name": s.policy, "digest": s.policy_set.digest().to_hex()},
        "feeds": feeds,
        "production": s.production,
        "counts": {
            "versions": s.report.items().count(),
            "refused": s.report.count(Verdict::Refuse),
            "held": s.report.count(Verdict::Hold),
            "admitted": s.report.count(Verdict::Admit),
            "not_checked": s.report.unjudged(),
        },
        "not_checked": super::unjudged(s),
        "documents": s.report.documents.iter().map(document).collect::<Vec<_>>(),
    });
    serde_json::to_string_pretty(&value).unwrap_or_default()
}

fn document(d: &Audited) -> Value {
    let skipped = d.skipped.iter().map(|s| {
        let kind = format!("{:?}", s.kind).to_lowercase();
        json!({"what": s.what, "kind": kind, "because": s.because, "line": s.line})
    });
    json!({
        "path": d.path,
        "kind": d.kind,
        "problem": d.problem,
        "left_out": d.left_out,
        "tells_development": d.tells_dev,
        "versions": d.items.iter().map(item).collect::<Vec<_>>(),
        "skipped": skipped.collect::<Vec<_>>(),
    })
}

fn item(i: &Item) -> Value {
    let findings = i.findings.iter().map(|j| {
        let mut value = serde_json::to_value(&j.finding).unwrap_or_default();
        if let Value::Object(map) = &mut value {
            map.insert("tolerated".to_owned(), j.tolerated.into());
        }
        value
    });
    let not_checked =
        i.not_checked.iter().map(|(what, because)| json!({"what": what, "because": because}));
    let before = i.before.iter().map(|b| {
        json!({
            "ledger_index": b.index, "file": b.file_name, "sha256": b.sha256, "verdict": b.verdict, "rule": b.rule,
        })
    });
    json!({
        "version": i.facts.purl.label(),
        "purl": i.facts.purl,
        "line": i.line,
        "development": i.dev,
        "from": i.facts.upstream,
        "verdict": i.decision.verdict,
        "reason": i.decision.leading().map(|f| f.reason),
        "fired": i.decision.fired,
        "audit_only": i.decision.audit_only,
        "waivers": i.decision.waivers,
        "findings": findings.collect::<Vec<_>>(),
        "upgrade": i.facts.upgrade,
        "advisories": i.facts.advisories,
        "not_checked": not_checked.collect::<Vec<_>>(),
        "before": before.collect::<Vec<_>>(),
    })
}
