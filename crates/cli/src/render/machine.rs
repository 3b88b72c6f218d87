//! The report for programs.

use super::{Summary, relevant_not_offered};
use countersign_core::{Severity, Verdict};
use countersign_engine::report::Entry;
use serde_json::{Value, json};

/// The report as JSON.
pub fn json(s: &Summary<'_>) -> String {
    let report = s.engine.report();
    let value = json!({
        "format": "countersign-report/v1",
        "time": crate::run::report_time(),
        "client": s.command.client.name(),
        "client_exit_code": s.client_code,
        "exit_code": s.exit_code,
        "policy": {"name": s.policy, "digest": s.engine.policy_digest()},
        "feeds": s.engine.feeds().map(|f| json!({
            "advisories": f.meta().advisories,
            "newest": f.meta().newest_modified(),
        })),
        "artifacts": report.entries().iter().map(artifact).collect::<Vec<_>>(),
        "not_offered": relevant_not_offered(s.engine, s.client_code),
        "closed_doors": report.doors(),
        "account": s.account,
        "seconds": {"gate": report.worked().as_secs_f64(), "total": s.elapsed.as_secs_f64()},
        "checkpoint": s.checkpoint,
    });
    serde_json::to_string_pretty(&value).unwrap_or_default()
}

fn artifact(e: &Entry) -> Value {
    json!({
        "artifact": e.artifact,
        "purl": e.purl,
        "file": e.file_name,
        "sha256": e.sha256,
        "verdict": e.decision.verdict,
        "reason": e.reason().filter(|_| e.decision.verdict != Verdict::Admit),
        "decision": e.decision,
        "ends": e.decision.ends(),
        "evidence": e.facts.as_ref().map(|f| &f.evidence),
        "findings": e.facts.as_ref().map(|f| f.all_findings().collect::<Vec<_>>()),
        "checks": e.facts.as_ref().map(|f| f.checks.iter().chain(std::iter::once(&f.version.advisories)).collect::<Vec<_>>()),
        "next_admissible": e.next_admissible,
        "waive": e.waive,
        "ledger_index": e.ledger_index,
    })
}

/// The report as SARIF 2.1.0 (OASIS): one result for each rule that fired, and each gap.
pub fn sarif(s: &Summary<'_>) -> String {
    let mut results = Vec::new();
    for e in s.engine.report().entries() {
        for r in &e.decision.fired {
            let level = match r.verdict {
                Verdict::Refuse => "error",
                Verdict::Hold => "warning",
                Verdict::Admit => "note",
            };
            results.push(result(&r.rule, level, &format!("{}: {}", e.artifact, r.detail), &e));
        }
        for f in e.facts.iter().flat_map(|f| f.all_findings()) {
            if e.decision.verdict == Verdict::Admit && f.severity >= Severity::Low {
                results.push(result(&f.id, "note", &format!("{}: {}", e.artifact, f.title), &e));
            }
        }
    }
    for g in &s.account.gaps {
        results.push(json!({
            "ruleId": "gate.ungated", "level": "error",
            "message": {"text": format!("{}: {}", g.what, g.why)},
        }));
    }
    for n in &s.account.not_done {
        results.push(json!({
            "ruleId": "gate.not-reconciled", "level": "error", "message": {"text": n},
        }));
    }
    let rules: Vec<Value> = {
        let mut ids: Vec<&str> = results.iter().filter_map(|r| r.get("ruleId")?.as_str()).collect();
        ids.sort_unstable();
        ids.dedup();
        ids.into_iter().map(|id| json!({"id": id})).collect()
    };
    let value = json!({
        "version": "2.1.0",
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "runs": [{
            "tool": {"driver": {"name": "countersign", "version": env!("CARGO_PKG_VERSION"), "rules": rules}},
            "results": results,
            "invocations": [{"executionSuccessful": s.exit_code == 0, "exitCode": s.exit_code}],
        }],
    });
    serde_json::to_string_pretty(&value).unwrap_or_default()
}

fn result(rule: &str, level: &str, text: &str, e: &Entry) -> Value {
    json!({
        "ruleId": rule,
        "level": level,
        "message": {"text": text},
        "locations": [{"logicalLocations": [{
            "name": e.artifact,
            "fullyQualifiedName": e.purl.as_ref().map(ToString::to_string),
            "kind": "package",
        }]}],
    })
}
