//! Several records about one thing, copies, withdrawals, and the exploited catalogue.

use super::*;
use Ecosystem::{Debian, Go, Maven, Npm, Pypi};
use countersign_core::{Exploitation, FindingKind, Severity};

fn with(mut record: Value, fields: &Value) -> Value {
    for (key, value) in fields.as_object().unwrap() {
        record[key] = value.clone();
    }
    record
}

fn below(id: &str, fixed: &str, fields: &Value) -> Value {
    with(record(id, Pypi, json!({"ranges": events(&format!("i0 f{fixed}"))})), fields)
}

#[test]
fn records_with_shared_aliases_are_one_finding() {
    let records = [
        below("CVE-2024-1", "1.5", &json!({"summary": "by its number"})),
        below("PYSEC-2024-1", "2.0", &json!({"aliases": ["CVE-2024-1"], "summary": "python's"})),
        below(
            "GHSA-aaaa",
            "1.9",
            &json!({"aliases": ["CVE-2024-1"], "summary": "github's", "database_specific": {"severity": "LOW"}}),
        ),
        // Joined through an alias that no record has as its id.
        below(
            "OTHER-1",
            "0.5",
            &json!({"aliases": ["PYSEC-2024-1", "SNYK-1"],
            "database_specific": {"severity": "HIGH"}}),
        ),
        below("PYSEC-2024-2", "3.0", &json!({"aliases": ["CVE-2024-2"]})),
    ];
    let m = ask(&records, Pypi, "0.1");
    let ids: Vec<_> = m.findings.iter().map(|f| f.id.as_str()).collect();
    assert_eq!(ids, ["GHSA-aaaa", "PYSEC-2024-2"]);
    let f = &m.findings[0];
    assert_eq!(f.aliases, ["CVE-2024-1", "OTHER-1", "PYSEC-2024-1", "SNYK-1"]);
    assert_eq!((f.severity, f.title.as_str()), (Severity::High, "github's"));
    // 1.9 would not do: another record of the same vulnerability says 2.0.
    assert_eq!(f.fixed_in.as_deref(), Some("2.0"));
    assert_eq!(m.findings[1].severity, Severity::Unknown);
    // Where only one of the records matches, its own severity counts.
    let m = ask(&records, Pypi, "1.9");
    assert_eq!(
        (m.findings[0].id.as_str(), m.findings[0].severity),
        ("PYSEC-2024-1", Severity::Unknown)
    );
}

#[test]
fn the_fix_is_that_of_the_versions_branch() {
    let r = [record("PYSEC-1", Pypi, json!({"ranges": events("i4.0 f4.3 i5.0 f5.2")}))];
    for (version, fixed) in [("4.1", "4.3"), ("5.0", "5.2")] {
        assert_eq!(ask(&r, Pypi, version).findings[0].fixed_in.as_deref(), Some(fixed));
    }
    let open = [record("PYSEC-1", Pypi, json!({"ranges": events("i4.0 f4.3 i5.0")}))];
    assert_eq!(ask(&open, Pypi, "5.0").findings[0].fixed_in, None);
}

#[test]
fn malicious_leads_what_it_is_merged_with() {
    let records = [
        below("GHSA-aaaa", "2.0", &json!({"database_specific": {"severity": "LOW"}})),
        below("MAL-2024-1", "2.0", &json!({"aliases": ["GHSA-aaaa"]})),
    ];
    let m = ask(&records, Pypi, "1.0");
    let f = &m.findings[0];
    assert_eq!((m.findings.len(), f.id.as_str()), (1, "MAL-2024-1"));
    assert_eq!((f.kind, f.severity), (FindingKind::Malicious, Severity::Critical));
}

#[test]
fn findings_come_worst_first() {
    let severity = |word: &str| json!({"database_specific": {"severity": word}});
    let records = [
        below("A-1", "2", &severity("LOW")),
        below("A-2", "2", &severity("CRITICAL")),
        below("A-3", "2", &json!({"database_specific": {"informational": "unmaintained"}})),
        below("A-4", "2", &json!({})),
        below("MAL-1", "2", &json!({})),
    ];
    let m = ask(&records, Pypi, "1");
    let ids: Vec<_> = m.findings.iter().map(|f| f.id.as_str()).collect();
    assert_eq!(ids, ["MAL-1", "A-2", "A-4", "A-1", "A-3"]);
}

#[test]
fn an_undecided_record_of_something_found_is_not_listed_twice() {
    let records = [
        below("GHSA-aaaa", "2.0", &json!({})),
        with(record("CVE-1", Pypi, json!({})), &json!({"aliases": ["GHSA-aaaa"]})),
        record("CVE-2", Pypi, json!({})),
    ];
    assert_eq!(ask(&records, Pypi, "1.0").undecided, ["CVE-2"]);
    assert_eq!(ask(&records, Pypi, "2.0").undecided, ["CVE-1", "CVE-2"]);
}

#[test]
fn upstream_ids_are_aliases_that_do_not_join() {
    let dsa = |id: &str| {
        let r = record(id, Debian, json!({"ranges": events("i0 f2.0-1")}));
        with(r, &json!({"upstream": ["CVE-1", "CVE-2"]}))
    };
    let m = ask(&[dsa("DSA-1"), dsa("DSA-2")], Debian, "1.0-1");
    assert_eq!(m.findings.len(), 2);
    assert_eq!(m.findings[0].aliases, ["CVE-1", "CVE-2"]);
}

#[test]
fn withdrawn_records_match_nothing_and_are_counted() {
    let at = |time: &str| json!({"modified": time});
    let live = || record("MAL-1", Npm, json!({"versions": ["1.0.0"]}));
    let gone = |time| with(with(live(), &at(time)), &json!({"withdrawn": time}));
    let (old, new) = ("2023-01-01T00:00:00Z", "2024-06-01T00:00:00Z");
    let other = record("GHSA-2", Npm, json!({"versions": ["2.0.0"]}));
    for (records, found) in [
        (vec![gone(new), other.clone()], 0),
        // A stale live copy in another feed does not bring it back, in either order.
        (vec![live(), gone(new), other.clone()], 0),
        (vec![gone(new), live(), other.clone()], 0),
        // A record that is live again, changed after an older withdrawal.
        (vec![gone(old), live(), other.clone()], 1),
    ] {
        let index = index_of(&records);
        assert_eq!(index.lookup(Npm, "p", "1.0.0", None).unwrap().findings.len(), found);
        let source = &index.meta().sources[0];
        assert_eq!((source.records, source.withdrawn), (records.len() as u64, 1));
    }
}

#[test]
fn of_copies_the_newest_counts() {
    let copy = |fixed: &str, time: &str| below("PYSEC-1", fixed, &json!({"modified": time}));
    let (old, new) = (copy("9.0", "2023-01-01T00:00:00Z"), copy("2.0", "2024-01-01T00:00:00Z"));
    for records in [[old.clone(), new.clone()], [new, old]] {
        let index = index_of(&records);
        assert!(index.lookup(Pypi, "p", "3.0", None).unwrap().is_clear());
        assert_eq!(index.advisories_for(Pypi, "P", None).unwrap().len(), 1);
    }
}

#[test]
fn exploited_vulnerabilities_say_so_with_their_due_date() {
    let mut builder = IndexBuilder::new();
    for r in [
        below("PYSEC-1", "2", &json!({"aliases": ["CVE-1"], "summary": "A bug"})),
        below("PYSEC-2", "2", &json!({"upstream": ["CVE-2"], "summary": "B bug"})),
        below("PYSEC-3", "2", &json!({"aliases": ["CVE-3"], "summary": "C bug"})),
    ] {
        builder.add_record(&parse_record(r.to_string().as_bytes()).unwrap());
    }
    let kev = json!({"vulnerabilities": [{"cveID": "CVE-1", "dueDate": "2025-09-01"}, {"cveID": "CVE-2"}]});
    builder.add_kev(kev.to_string().as_bytes()).unwrap();
    let index = FeedIndex::open(builder.finish(BUILT).unwrap()).unwrap();
    let m = index.lookup(Pypi, "p", "1", None).unwrap();
    let titles: Vec<_> = m.findings.iter().map(|f| f.title.as_str()).collect();
    assert_eq!(
        titles,
        ["A bug (known exploited, due 2025-09-01)", "B bug (known exploited)", "C bug"]
    );
    let advisories = index.advisories_for(Pypi, "p", None).unwrap();
    let due = advisories[0].known_exploited.as_ref().and_then(|k| k.due.as_deref());
    assert_eq!(due, Some("2025-09-01"));
    assert_eq!(index.meta().exploited.as_ref().map(|e| e.entries), Some(2));
}

#[test]
fn likelihoods_join_by_every_id_and_the_worst_counts() {
    let mut builder = IndexBuilder::new();
    for r in [
        below("GHSA-1", "2", &json!({"aliases": ["CVE-1"]})),
        below("PYSEC-1", "2", &json!({"aliases": ["CVE-1", "CVE-2"]})),
        below("PYSEC-3", "2", &json!({})),
    ] {
        builder.add_record(&parse_record(r.to_string().as_bytes()).unwrap());
    }
    builder.add_epss(b"cve,epss,percentile\nCVE-1,0.25,0.9\nCVE-2,0.5,0.9\n").unwrap();
    builder
        .add_kev(br#"{"vulnerabilities": [{"cveID": "CVE-2", "dueDate": "2025-09-01"}]}"#)
        .unwrap();
    let index = FeedIndex::open(builder.finish(BUILT).unwrap()).unwrap();
    let m = index.lookup(Pypi, "p", "1", None).unwrap();
    let of = |i: usize| m.findings[i].exploitation.clone();
    let want = Exploitation { known: true, due: Some("2025-09-01".to_owned()), epss: Some(500) };
    assert_eq!((of(0), of(1)), (Some(want), None));
    assert_eq!(index.meta().likelihoods.as_ref().map(|l| l.entries), Some(2));
}

#[test]
fn the_shortest_upgrade_stays_in_its_line_and_meets_no_other_advisory() {
    let record = |id: &str, short: &str| record(id, Npm, json!({"ranges": events(short)}));
    let index = index_of(&[
        record("A", "i0 f1.2.0 i2.0.0 f2.1.0"),
        // What fixes A in line 1 is hit by B; only line 2 has a version without both.
        record("B", "i1.2.0 f1.2.5"),
        record("C", "i3.0.0 f3.1.0-rc.1 f3.1.0"),
        record("D", "i4.0.0"),
    ]);
    let package = index.package(Npm, "p", None).unwrap();
    for (version, want) in [
        ("1.0.0", Some("1.2.5")),
        ("1.2.1", Some("1.2.5")),
        ("2.0.5", Some("2.1.0")),
        ("3.0.0", Some("3.1.0")),
        ("3.0.0-rc.1", Some("3.1.0-rc.1")),
        ("4.0.0", None),
        ("latest", None),
    ] {
        assert_eq!(package.upgrade_for(version).as_deref(), want, "{version}");
    }
}

#[test]
fn go_modules_and_maven_artifacts_are_matched_by_their_own_order() {
    let mut go = record("GO-1", Go, json!({"ranges": events("i0 f1.9.1")}));
    go["affected"][0]["package"]["name"] = json!("github.com/Example/Mod");
    let mut maven = record("GHSA-m", Maven, json!({"ranges": events("i2.0-beta9 f2.15.0")}));
    maven["affected"][0]["package"]["name"] = json!("org.example:core");
    let index = index_of(&[go, maven]);
    for (ecosystem, name, version, hit) in [
        (Go, "github.com/example/mod", "v1.9.0", true),
        (Go, "github.com/example/mod", "v1.9.1-0.20191109021931-daa7c04131f5", true),
        (Go, "github.com/example/mod", "v1.9.1", false),
        (Go, "github.com/example/mod", "v2.0.0+incompatible", false),
        (Maven, "org.example:core", "2.0-beta8", false),
        (Maven, "org.example:core", "2.0-rc1", true),
        (Maven, "org.example:core", "2.14.1", true),
        (Maven, "org.example:core", "2.15.0", false),
    ] {
        let m = index.lookup(ecosystem, name, version, None).unwrap();
        assert_eq!(!m.findings.is_empty(), hit, "{name} {version}");
    }
}

#[test]
fn the_index_tells_what_it_was_made_of() {
    let mut builder = IndexBuilder::new();
    builder.begin_source("npm.zip");
    let r = record("GHSA-1", Npm, json!({"versions": ["1.0.0"]}));
    let elsewhere = json!({"id": "GO-1", "modified": "2025-01-01T00:00:00Z", "affected":
        [{"package": {"ecosystem": "NuGet", "name": "g"}}]});
    for r in [r, elsewhere] {
        builder.add_record(&parse_record(r.to_string().as_bytes()).unwrap());
    }
    builder.add_unreadable();
    builder.begin_source("empty.zip");
    let index = FeedIndex::open(builder.finish(BUILT).unwrap()).unwrap();
    let meta = index.meta();
    assert_eq!((meta.built_at, meta.packages, meta.advisories), (BUILT, 1, 1));
    let first = &meta.sources[0];
    assert_eq!(
        (first.name.as_str(), first.records, first.elsewhere, first.unreadable),
        ("npm.zip", 2, 1, 1)
    );
    assert_eq!(meta.newest_modified(), Timestamp::parse("2025-01-01T00:00:00Z"));
    assert_eq!(meta.sources[1].newest_modified, None);
    assert_eq!(meta.coverage.len(), 1);
    assert_eq!((meta.coverage[0].ecosystem.as_str(), meta.coverage[0].vulnerabilities), ("npm", 1));
    assert_eq!(meta.coverage[0].newest_modified, Timestamp::parse("2024-01-01T00:00:00Z"));
}
