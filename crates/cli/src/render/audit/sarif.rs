//! SARIF 2.1.0 (OASIS): a result for each finding and each rule of its own, at its line.

use super::{Summary, open_entries, own_words, plain, weight};
use countersign_core::{Finding, FindingKind, Severity, Verdict};
use countersign_engine::audit::{Audited, Item, Judged};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The report as SARIF.
pub fn sarif(s: &Summary<'_>) -> String {
    let mut rules: BTreeMap<String, Value> = BTreeMap::new();
    let mut results = Vec::new();
    for d in &s.report.documents {
        for item in &d.items {
            for judged in shown(item) {
                let id = judged.finding.id.clone();
                rules.entry(id).or_insert_with(|| of_finding(judged));
                results.push(finding(d, item, judged));
            }
            for fired in own_words(item) {
                let text = format!("{}: {}", item.facts.purl.label(), plain(&fired.detail));
                rules.entry(fired.rule.clone()).or_insert_with(|| {
                    let message = s.policy_set.rule(&fired.rule).map(|r| r.message.clone());
                    let short = message.unwrap_or_else(|| fired.reason.short().to_owned());
                    json!({"id": fired.rule, "shortDescription": {"text": short}})
                });
                results.push(result(&fired.rule, level(item, fired.verdict), &text, d, item));
            }
        }
    }
    let notifications: Vec<Value> = super::unjudged(s)
        .into_iter()
        .map(|text| json!({"level": "error", "message": {"text": plain(&text)}}))
        .chain(s.report.documents.iter().flat_map(open))
        .collect();
    // The index of each rule, as consumers that ignore ids want it.
    let order: BTreeMap<&String, usize> = rules.keys().zip(0..).collect();
    for r in &mut results {
        let index =
            r.get("ruleId").and_then(Value::as_str).and_then(|id| order.get(&id.to_owned()));
        if let (Some(index), Value::Object(map)) = (index.copied(), r) {
            map.insert("ruleIndex".to_owned(), index.into());
        }
    }
    let value = json!({
        "version": "2.1.0",
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "runs": [{
            "tool": {"driver": {
                "name": "countersign",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules.into_values().collect::<Vec<_>>(),
            }},
            "results": results,
            "invocations": [{
                "executionSuccessful": notifications.is_empty(),
                "exitCode": s.exit_code,
                "toolExecutionNotifications": notifications,
            }],
        }],
    });
    serde_json::to_string_pretty(&value).unwrap_or_default()
}

/// Findings that a code host should show: all but remarks.
fn shown(item: &Item) -> impl Iterator<Item = &Judged> {
    item.findings.iter().filter(|j| !j.tolerated || j.finding.severity > Severity::Info)
}

fn of_finding(judged: &Judged) -> Value {
    let f = &judged.finding;
    let tags = match f.kind {
        FindingKind::Malicious => vec!["security", "malware"],
        _ => vec!["security"],
    };
    json!({
        "id": f.id,
        "shortDescription": {"text": f.title},
        "properties": {"tags": tags, "security-severity": score(f), "aliases": f.aliases},
    })
}

/// The middle of a severity's CVSS band, by which code hosts sort.
fn score(f: &Finding) -> &'static str {
    match (f.kind, f.severity) {
        (FindingKind::Malicious, _) => "10.0",
        (_, Severity::Critical) => "9.5",
        (_, Severity::High | Severity::Unknown) => "8.0",
        (_, Severity::Moderate) => "5.5",
        (_, Severity::Low) => "2.0",
        (_, Severity::Info) => "0.0",
    }
}

fn level(item: &Item, verdict: Verdict) -> &'static str {
    match (item.decision.audit_only, verdict) {
        (true, _) | (_, Verdict::Admit) => "note",
        (_, Verdict::Hold) => "warning",
        (_, Verdict::Refuse) => "error",
    }
}

fn finding(d: &Audited, item: &Item, judged: &Judged) -> Value {
    let f = &judged.finding;
    let fix = match &f.fixed_in {
        Some(version) => format!("; fixed in {version}"),
        None => String::new(),
    };
    let text = format!("{} ({}): {}{fix}", item.facts.purl.label(), weight(judged), f.title);
    let level = if judged.tolerated { "note" } else { level(item, item.decision.verdict) };
    result(&f.id, level, &plain(&text), d, item)
}

fn result(rule: &str, level: &str, text: &str, d: &Audited, item: &Item) -> Value {
    let purl = item.facts.purl.to_string();
    let mut physical = json!({"artifactLocation": {"uri": uri(&d.path)}});
    if let (Some(line), Value::Object(map)) = (item.listed.line, &mut physical) {
        map.insert("region".to_owned(), json!({"startLine": line}));
    }
    json!({
        "ruleId": rule,
        "level": level,
        "message": {"text": text},
        "locations": [{
            "physicalLocation": physical,
            "logicalLocations": [{
                "name": item.facts.purl.label(), "fullyQualifiedName": purl, "kind": "package",
            }],
        }],
        // Stays the same when lines move.
        "partialFingerprints": {"countersign/v1": format!("{} {purl} {rule}", d.path)},
    })
}

fn open(d: &Audited) -> Vec<Value> {
    open_entries(d)
        .map(|s| {
            let mut physical = json!({"artifactLocation": {"uri": uri(&d.path)}});
            if let (Some(line), Value::Object(map)) = (s.line, &mut physical) {
                map.insert("region".to_owned(), json!({"startLine": line}));
            }
            json!({
                "level": "warning",
                "message": {"text": format!("{}: {}", plain(&s.what), plain(&s.because))},
                "locations": [{"physicalLocation": physical}],
            })
        })
        .collect()
}

/// A path as a relative reference, or an absolute `file:` address (RFC 3986).
fn uri(path: &str) -> String {
    let mut out = String::new();
    if path.starts_with('/') {
        out.push_str("file://");
    }
    for b in path.bytes() {
        if b.is_ascii_alphanumeric() || b"-._~/".contains(&b) {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::uri;

    #[test]
    fn paths_are_references() {
        for (path, want) in [
            ("a/uv.lock", "a/uv.lock"),
            ("a b/ü.txt", "a%20b/%C3%BC.txt"),
            ("/srv/x:1", "file:///srv/x%3A1"),
        ] {
            assert_eq!(uri(path), want);
        }
    }
}
