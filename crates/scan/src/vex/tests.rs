//! Documents of both forms, what they are about, and what they are not about.

use super::*;
use countersign_core::{FindingKind, Severity};
use serde_json::json;

fn finding(id: &str, alias: &str) -> Finding {
    Finding {
        id: id.to_owned(),
        aliases: vec![alias.to_owned()],
        kind: FindingKind::Vulnerability,
        severity: Severity::High,
        title: String::new(),
        fixed_in: None,
        path: None,
        observed: None,
        exploitation: None,
        vex: Vec::new(),
    }
}

fn openvex(statement: Value) -> Vec<u8> {
    json!({"@context": "https://openvex.dev/ns/v0.2.0", "@id": "https://vex.example/1",
        "author": "a", "timestamp": "2026-01-01T00:00:00Z", "version": 1, "statements": [statement]})
    .to_string()
    .into_bytes()
}

fn csaf() -> Value {
    json!({
        "document": {"category": "csaf_vex", "csaf_version": "2.0", "tracking": {"id": "EX-1"}},
        "product_tree": {
            "branches": [{"category": "vendor", "name": "v", "branches": [
                {"category": "product_version", "name": "1", "product": {"name": "a", "product_id": "P1",
                 "product_identification_helper": {"purl": "pkg:npm/a@1.0.0"}}},
                {"category": "product_version", "name": "2", "product": {"name": "a", "product_id": "P2",
                 "product_identification_helper": {"purl": "pkg:npm/a@2.0.0"}}},
                {"category": "product_version", "name": "3", "product": {"name": "a", "product_id": "P3"}}
            ]}],
            "product_groups": [{"group_id": "G1", "product_ids": ["P1", "P3"]}],
        },
        "vulnerabilities": [{
            "cve": "CVE-2026-1",
            "product_status": {"known_not_affected": ["P1", "P3"], "fixed": ["P2"]},
            "flags": [{"label": "vulnerable_code_not_present", "group_ids": ["G1"]}],
        }],
    })
}

fn claims(set: &VexSet, purl: &str, id: &str) -> Vec<(VexStatus, Option<String>)> {
    let mut findings = [finding(id, "CVE-2026-1")];
    set.apply(&purl.parse().unwrap(), &mut findings);
    findings[0].vex.iter().map(|c| (c.status, c.justification.clone())).collect()
}

#[test]
fn a_statement_is_about_its_version_and_vulnerability_and_nothing_else() {
    let document = parse(&openvex(json!({
        "vulnerability": {"name": "CVE-2026-1", "aliases": ["GHSA-9"]},
        "products": [{"@id": "pkg:pypi/Demo_A@1.0"}, {"@id": "x", "identifiers": {"purl": "pkg:npm/b@2.0.0"}},
            {"@id": "pkg:deb/debian/c@1.0-1?arch=amd64"}, {"@id": "pkg:pypi/demo-a"}, "pkg:generic/d@1"],
        "status": "not_affected", "justification": "component_not_present",
    })))
    .unwrap();
    assert_eq!(
        (document.id.as_str(), document.statements.len(), document.unbound),
        ("https://vex.example/1", 3, 2)
    );
    let mut set = VexSet::default();
    set.add(document, VexSource::Own);
    let stated = vec![(VexStatus::NotAffected, Some("component_not_present".to_owned()))];
    for (purl, id, want) in [
        ("pkg:pypi/demo-a@1.0.0", "PYSEC-1", true),
        ("pkg:pypi/demo-a@1.0.1", "PYSEC-1", false),
        ("pkg:npm/b@2.0.0", "ghsa-9", true),
        ("pkg:npm/c@2.0.0", "GHSA-9", false),
        ("pkg:deb/debian/c@1.0-1?arch=amd64", "DSA-1", true),
        ("pkg:deb/debian/c@1.0-1?arch=arm64", "DSA-1", false),
    ] {
        let want = if want { stated.clone() } else { Vec::new() };
        assert_eq!(claims(&set, purl, id), want, "{purl} {id}");
    }
    let mut other = [finding("GHSA-other", "CVE-2026-2")];
    set.apply(&"pkg:pypi/demo-a@1.0".parse().unwrap(), &mut other);
    assert!(other[0].vex.is_empty());
}

#[test]
fn csaf_products_are_found_wherever_the_tree_has_them() {
    let document = parse(csaf().to_string().as_bytes()).unwrap();
    assert_eq!((document.id.as_str(), document.unbound), ("EX-1", 1));
    let mut set = VexSet::default();
    set.add(document, VexSource::Vendor);
    let why = Some("vulnerable_code_not_present".to_owned());
    assert_eq!(claims(&set, "pkg:npm/a@1.0.0", "X"), [(VexStatus::NotAffected, why)]);
    assert_eq!(claims(&set, "pkg:npm/a@2.0.0", "X"), [(VexStatus::Fixed, None)]);
    assert_eq!(claims(&set, "pkg:npm/a@3.0.0", "X"), []);
    assert_eq!(set.len(), 2);
}

#[test]
fn a_claim_clears_only_with_a_ground() {
    let claim = |status, why: Option<&str>| VexClaim {
        status,
        justification: why.map(str::to_owned),
        source: VexSource::Own,
        document: String::new(),
    };
    assert!(claim(VexStatus::NotAffected, Some("x")).clears());
    assert!(!claim(VexStatus::NotAffected, None).clears());
    assert!(claim(VexStatus::Fixed, None).clears());
    assert!(!claim(VexStatus::UnderInvestigation, Some("x")).clears());
    assert!(!claim(VexStatus::Affected, Some("x")).clears());
}

#[test]
fn what_is_no_vex_is_an_error() {
    let advisory = {
        let mut d = csaf();
        d["document"]["category"] = json!("csaf_security_advisory");
        d.to_string().into_bytes()
    };
    let nameless = {
        let mut d = csaf();
        d["vulnerabilities"][0]["cve"] = json!("has blanks");
        d.to_string().into_bytes()
    };
    for bytes in [
        b"".to_vec(),
        b"[]".to_vec(),
        b"{}".to_vec(),
        br#"{"@context": "https://openvex.dev/ns"}"#.to_vec(),
        openvex(json!({"vulnerability": "CVE-1", "products": [], "status": "harmless"})),
        openvex(json!({"products": ["pkg:npm/a@1"], "status": "fixed"})),
        format!("{{\"@context\":\"https://openvex.dev/ns\",\"statements\":{}", "[".repeat(100_000))
            .into_bytes(),
        advisory,
        nameless,
    ] {
        assert!(matches!(parse(&bytes), Err(VexError::Malformed { .. })));
    }
    let shown = parse(b"{\"a\": \"\x1b[31m").unwrap_err().to_string();
    assert!(!shown.contains('\u{1b}'));
}
