//! What a record is: malicious, a vulnerability or a notice, how bad, and its line for people.

use super::cvss;
use super::osv::{OsvAffected, OsvRecord, OsvSeverity, is_identifier};
use countersign_core::{FindingKind, Severity};
use serde_json::Value;

/// Longest title, in characters.
const MAX_TITLE: usize = 200;
/// "Embedded Malicious Code": the weakness by which databases mark malware that has no MAL id.
const CWE_MALICIOUS: &str = "CWE-506";

/// The kind and severity of a record, for one of its packages.
pub(super) fn classify(record: &OsvRecord, affected: &OsvAffected) -> (FindingKind, Severity) {
    if is_malicious(record, affected) {
        return (FindingKind::Malicious, Severity::Critical);
    }
    if is_withdrawn_by_title(record) {
        return (FindingKind::Notice, Severity::Info);
    }
    let stated = stated_severity(record, affected);
    match informational(record, affected) {
        Some("unsound") => (FindingKind::Notice, Severity::Low),
        Some(_) => (FindingKind::Notice, Severity::Info),
        None => (FindingKind::Vulnerability, stated.unwrap_or(Severity::Unknown)),
    }
}

/// The database says so in a field that machines read: the id's prefix, the weakness of GitHub's
/// records, the category of RustSec's.
fn is_malicious(record: &OsvRecord, affected: &OsvAffected) -> bool {
    let lists = |value: &Value, field: &str, word: &str| {
        value.get(field).and_then(Value::as_array).is_some_and(|all| {
            all.iter().any(|v| v.as_str().is_some_and(|v| v.eq_ignore_ascii_case(word)))
        })
    };
    record.id.starts_with("MAL-")
        || (lists(&record.database_specific, "cwe_ids", CWE_MALICIOUS)
            && !is_withdrawn_by_title(record))
        || lists(&affected.database_specific, "categories", "malicious")
}

/// GitHub titles a withdrawn advisory so. A copy of its records that lost the date of withdrawal
/// still has the title: such a record is reported as a notice, not dropped.
fn is_withdrawn_by_title(record: &OsvRecord) -> bool {
    let title = record.summary.trim();
    title == "Withdrawn"
        || title.starts_with("Withdrawn:")
        || title.starts_with("Withdrawn Advisory:")
}

/// RustSec's mark for what is no vulnerability: `unmaintained`, `unsound`, `notice`.
fn informational<'a>(record: &'a OsvRecord, affected: &'a OsvAffected) -> Option<&'a str> {
    [&record.database_specific, &affected.database_specific]
        .into_iter()
        .find_map(|v| v.get("informational").and_then(Value::as_str))
}

/// The database's word, else the worst of the vectors.
fn stated_severity(record: &OsvRecord, affected: &OsvAffected) -> Option<Severity> {
    let word = |v: &Value| v.get("severity").and_then(Value::as_str).and_then(Severity::from_word);
    let worst = |all: &[OsvSeverity]| all.iter().filter_map(|s| cvss::severity(&s.score)).max();
    word(&record.database_specific)
        .or_else(|| word(&affected.database_specific))
        .or_else(|| worst(&affected.severity))
        .or_else(|| worst(&record.severity))
        .or_else(|| {
            let vector = affected.database_specific.get("cvss").and_then(Value::as_str);
            vector.and_then(cvss::severity)
        })
}

/// One line for people: the summary, else the first line of the details, else the id. Control
/// characters, which could drive a terminal, become blanks.
pub(super) fn title(record: &OsvRecord) -> String {
    let first_line = |text: &str| {
        let mut lines = text.lines().map(|l| l.trim_start_matches('#').trim());
        lines.find(|l| !l.is_empty()).map(str::to_owned)
    };
    let line = first_line(&record.summary)
        .or_else(|| first_line(&record.details))
        .unwrap_or_else(|| record.id.clone());
    let clean = line.chars().map(|c| if is_unprintable(c) { ' ' } else { c });
    let mut title: String = clean.take(MAX_TITLE).collect();
    if line.chars().nth(MAX_TITLE).is_some() {
        title.push('…');
    }
    title
}

/// Control characters, and the marks that reorder text.
fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Ids that can stand as ids, without repetitions and without `own`.
pub(super) fn clean_ids(ids: &[String], own: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for id in ids.iter().filter(|id| is_identifier(id) && *id != own) {
        if !out.contains(id) {
            out.push(id.clone());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::osv::parse_record;
    use super::*;

    fn kind_of(json: &str) -> (FindingKind, Severity) {
        let record = parse_record(json.as_bytes()).unwrap();
        classify(&record, &record.affected[0])
    }

    #[test]
    fn kinds_and_severities() {
        let high = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N";
        for (json, want) in [
            (
                r#"{"id":"MAL-2024-1","affected":[{}]}"#.to_owned(),
                (FindingKind::Malicious, Severity::Critical),
            ),
            (
                r#"{"id":"RUSTSEC-1","affected":[{"database_specific":{"categories":["malicious"]}}]}"#.to_owned(),
                (FindingKind::Malicious, Severity::Critical),
            ),
            (
                r#"{"id":"GHSA-1","affected":[{}],"database_specific":{"cwe_ids":["CWE-506"]}}"#.to_owned(),
                (FindingKind::Malicious, Severity::Critical),
            ),
            (
                r#"{"id":"GHSA-1","affected":[{}],"database_specific":{"severity":"MODERATE"}}"#.to_owned(),
                (FindingKind::Vulnerability, Severity::Moderate),
            ),
            (
                format!(r#"{{"id":"PYSEC-1","severity":[{{"type":"CVSS_V3","score":"{high}"}}],"affected":[{{}}]}}"#),
                (FindingKind::Vulnerability, Severity::High),
            ),
            (
                r#"{"id":"PYSEC-1","affected":[{}],"database_specific":{"severity":3}}"#.to_owned(),
                (FindingKind::Vulnerability, Severity::Unknown),
            ),
            (
                r#"{"id":"R-1","affected":[{"database_specific":{"informational":"unsound"}}]}"#.to_owned(),
                (FindingKind::Notice, Severity::Low),
            ),
            (
                r#"{"id":"R-1","affected":[{}],"database_specific":{"informational":"unmaintained"}}"#.to_owned(),
                (FindingKind::Notice, Severity::Info),
            ),
            (
                r#"{"id":"GHSA-1","summary":"Withdrawn: not one","affected":[{}],"database_specific":{"severity":"HIGH","cwe_ids":["CWE-506"]}}"#.to_owned(),
                (FindingKind::Notice, Severity::Info),
            ),
        ] {
            assert_eq!(kind_of(&json), want, "{json}");
        }
    }

    #[test]
    fn titles_are_one_clean_line() {
        let of = |summary: &str, details: &str| {
            let json = serde_json::json!({"id": "X-1", "summary": summary, "details": details});
            title(&parse_record(json.to_string().as_bytes()).unwrap())
        };
        assert_eq!(of("A bug", "long"), "A bug");
        assert_eq!(of("", "\n## Impact\nmore"), "Impact");
        assert_eq!(of("", ""), "X-1");
        assert_eq!(of("red \u{1b}[31m\u{202e}", ""), "red  [31m ");
        assert_eq!(of(&"é".repeat(500), "").chars().count(), MAX_TITLE + 1);
    }
}
