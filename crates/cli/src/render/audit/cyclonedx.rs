//! CycloneDX 1.6 in JSON (ECMA-424): what is there, with what is known against it.

use super::Summary;
use countersign_core::{Ecosystem, FindingKind, Severity};
use countersign_engine::audit::{Item, Judged};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// "Embedded malicious code" (CWE-506).
const MALICIOUS_CODE: u32 = 506;

/// The report as CycloneDX. It has no serial number and no time, so that equal states give equal
/// documents.
pub fn cyclonedx(s: &Summary<'_>) -> String {
    let mut components: BTreeMap<String, Value> = BTreeMap::new();
    let mut found: BTreeMap<&str, (&Judged, BTreeMap<String, &Item>)> = BTreeMap::new();
    for item in s.report.items() {
        let purl = item.facts.purl.to_string();
        for judged in &item.findings {
            let entry = found.entry(&judged.finding.id);
            entry.or_insert_with(|| (judged, BTreeMap::new())).1.insert(purl.clone(), item);
        }
        components.entry(purl).or_insert_with(|| component(item));
    }
    let vulnerabilities: Vec<Value> =
        found.into_values().map(|(judged, items)| vulnerability(judged, &items)).collect();
    let tool =
        json!({"type": "application", "name": "countersign", "version": env!("CARGO_PKG_VERSION")});
    let not_checked: Vec<Value> = super::unjudged(s)
        .into_iter()
        .map(|text| json!({"name": "countersign:not-checked", "value": text}))
        .collect();
    let value = json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"tools": {"components": [tool]}},
        "components": components.into_values().collect::<Vec<_>>(),
        "vulnerabilities": vulnerabilities,
        "properties": not_checked,
    });
    serde_json::to_string_pretty(&value).unwrap_or_default()
}

fn component(item: &Item) -> Value {
    let purl = &item.facts.purl;
    let (group, name) = match (purl.ecosystem(), purl.name().split_once('/')) {
        (Ecosystem::Npm, Some((scope, name))) => (Some(scope), name),
        _ => (None, purl.name()),
    };
    let mut properties =
        vec![json!({"name": "countersign:verdict", "value": item.decision.verdict.to_string()})];
    properties.extend(item.decision.fired.iter().map(|f| {
        json!({"name": "countersign:rule", "value": format!("{} ({}): {}", f.rule, f.reason, f.detail)})
    }));
    let mut value = json!({
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": purl.version().unwrap_or(""),
        "purl": purl,
        "properties": properties,
    });
    if let (Some(group), Value::Object(map)) = (group, &mut value) {
        map.insert("group".to_owned(), group.into());
    }
    value
}

fn vulnerability(judged: &Judged, items: &BTreeMap<String, &Item>) -> Value {
    let f = &judged.finding;
    let severity = match f.severity {
        Severity::Info => "info",
        Severity::Low => "low",
        Severity::Moderate => "medium",
        Severity::High => "high",
        Severity::Critical => "critical",
        Severity::Unknown => "unknown",
    };
    let references: Vec<Value> = f
        .aliases
        .iter()
        .map(|alias| json!({"id": alias, "source": {"name": database(alias)}}))
        .collect();
    let fixes: Vec<String> = items
        .values()
        .flat_map(|i| &i.findings)
        .filter(|j| j.finding.id == f.id)
        .filter_map(|j| j.finding.fixed_in.clone())
        .collect();
    let affects: Vec<Value> = items
        .iter()
        .map(|(purl, item)| {
            let version = item.facts.purl.version().unwrap_or("");
            json!({"ref": purl, "versions": [{"version": version, "status": "affected"}]})
        })
        .collect();
    let mut value = json!({
        "bom-ref": f.id,
        "id": f.id,
        "source": {"name": database(&f.id)},
        "references": references,
        "ratings": [{"severity": severity}],
        "description": f.title,
        "affects": affects,
    });
    if let Value::Object(map) = &mut value {
        if f.kind == FindingKind::Malicious {
            map.insert("cwes".to_owned(), json!([MALICIOUS_CODE]));
            map.insert("recommendation".to_owned(), "Remove it.".into());
        } else if let Some(fix) = fixes.iter().min() {
            map.insert("recommendation".to_owned(), format!("Update to {fix} or later.").into());
        }
    }
    value
}

/// The database that an id is of.
fn database(id: &str) -> &str {
    match id.split('-').next() {
        Some("CVE") => "NVD",
        Some("GHSA") => "GitHub Advisories",
        Some("MAL") => "OpenSSF Malicious Packages",
        Some("PYSEC") => "PyPA",
        Some("RUSTSEC") => "RustSec",
        Some("DSA" | "DLA" | "DEBIAN") => "Debian",
        _ => "OSV",
    }
}
