//! OSV records (OSV schema 1.6): the fields that matching needs, read leniently and under limits.

use super::error::FeedError;
use countersign_core::Timestamp;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// Largest record in bytes: stops a record that is there to exhaust memory. The largest real ones
/// (Linux, Chromium) are below 2 MiB.
pub const MAX_RECORD_BYTES: usize = 16 << 20;
/// Longest id, alias or package name, in bytes.
const MAX_NAME: usize = 512;
/// Longest version text, in bytes: bounds the work of comparing.
pub(super) const MAX_VERSION: usize = 512;

/// One OSV record, as its database wrote it: names are not yet canonical, nothing is judged.
#[derive(Debug, Clone, Deserialize)]
pub struct OsvRecord {
    /// The record's id (`GHSA-…`, `PYSEC-…`, `MAL-…`).
    pub id: String,
    /// When the record was last changed; `None` when the text is no RFC 3339 time.
    #[serde(default, deserialize_with = "time")]
    pub modified: Option<Timestamp>,
    /// Whether the database has withdrawn the record.
    #[serde(default, deserialize_with = "present")]
    pub withdrawn: bool,
    /// Other ids of the same vulnerability.
    #[serde(default, deserialize_with = "or_default")]
    pub aliases: Vec<String>,
    /// Ids of the vulnerabilities that this record is about for its own distribution (schema 1.7).
    #[serde(default, deserialize_with = "or_default")]
    pub upstream: Vec<String>,
    /// One line for people.
    #[serde(default, deserialize_with = "or_default")]
    pub summary: String,
    /// The long text.
    #[serde(default, deserialize_with = "or_default")]
    pub details: String,
    /// CVSS vectors for the whole record.
    #[serde(default, deserialize_with = "or_default")]
    pub severity: Vec<OsvSeverity>,
    /// The packages and versions concerned.
    #[serde(default, deserialize_with = "or_default")]
    pub affected: Vec<OsvAffected>,
    /// What the database adds in a form of its own.
    #[serde(default)]
    pub database_specific: Value,
}

/// A severity by one scoring system.
#[derive(Debug, Clone, Deserialize)]
pub struct OsvSeverity {
    /// The system (`CVSS_V3`).
    #[serde(rename = "type", default, deserialize_with = "or_default")]
    pub system: String,
    /// The vector.
    #[serde(default, deserialize_with = "or_default")]
    pub score: String,
}

/// One package of a record, with its versions.
#[derive(Debug, Clone, Deserialize)]
pub struct OsvAffected {
    /// The package; some databases leave it out where only GIT ranges are given.
    #[serde(default)]
    pub package: Option<OsvPackage>,
    /// CVSS vectors for this package.
    #[serde(default, deserialize_with = "or_default")]
    pub severity: Vec<OsvSeverity>,
    /// Ranges of versions.
    #[serde(default, deserialize_with = "or_default")]
    pub ranges: Vec<OsvRange>,
    /// Versions one by one.
    #[serde(default, deserialize_with = "or_default")]
    pub versions: Vec<String>,
    /// What the database adds in a form of its own.
    #[serde(default)]
    pub database_specific: Value,
}

/// The name of a package.
#[derive(Debug, Clone, Deserialize)]
pub struct OsvPackage {
    /// The ecosystem as OSV spells it (`npm`, `PyPI`, `crates.io`, `Debian:12`).
    pub ecosystem: String,
    /// The name as the database spells it.
    pub name: String,
}

/// A range of versions, as events along the order of versions.
#[derive(Debug, Clone, Deserialize)]
pub struct OsvRange {
    /// `SEMVER`, `ECOSYSTEM` or `GIT`.
    #[serde(rename = "type", default, deserialize_with = "or_default")]
    pub kind: String,
    /// The events, in any order.
    #[serde(default, deserialize_with = "or_default")]
    pub events: Vec<OsvEvent>,
}

/// One event; the schema asks for exactly one field.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct OsvEvent {
    /// From here on, inclusive, versions are affected; `0` is before all versions.
    #[serde(default)]
    pub introduced: Option<String>,
    /// From here on, inclusive, they are not.
    #[serde(default)]
    pub fixed: Option<String>,
    /// The last version that is affected.
    #[serde(default)]
    pub last_affected: Option<String>,
    /// The range says nothing from here on; `*` is no limit.
    #[serde(default)]
    pub limit: Option<String>,
}

/// Reads one OSV record from its JSON text. Withdrawn records are read like others and say so.
///
/// # Errors
/// When the text is longer than [`MAX_RECORD_BYTES`], is not JSON, is not of the schema, or holds
/// ids, names or versions of absurd length.
pub fn parse_record(bytes: &[u8]) -> Result<OsvRecord, FeedError> {
    if bytes.len() > MAX_RECORD_BYTES {
        return Err(FeedError::Limit { what: "advisory record", limit: MAX_RECORD_BYTES as u64 });
    }
    let record: OsvRecord = serde_json::from_slice(bytes)
        .map_err(|e| FeedError::Malformed { because: e.to_string() })?;
    check(&record)?;
    Ok(record)
}

fn check(record: &OsvRecord) -> Result<(), FeedError> {
    let unusable = |because| {
        let id = record.id.chars().filter(|c| !c.is_control()).take(64).collect();
        Err(FeedError::Unusable { id, because })
    };
    if !is_identifier(&record.id) {
        return unusable("its id is empty, too long or not printable");
    }
    for affected in &record.affected {
        if affected.package.as_ref().is_some_and(|p| p.name.len() > MAX_NAME) {
            return unusable("a package name is too long");
        }
        if affected.versions.iter().any(|v| v.len() > MAX_VERSION) {
            return unusable("a version is too long");
        }
        let mut events = affected.ranges.iter().flat_map(|r| &r.events);
        if events.any(|e| e.texts().any(|v| v.len() > MAX_VERSION)) {
            return unusable("a version is too long");
        }
    }
    Ok(())
}

impl OsvEvent {
    fn texts(&self) -> impl Iterator<Item = &String> {
        [&self.introduced, &self.fixed, &self.last_affected, &self.limit].into_iter().flatten()
    }
}

/// Whether the text can stand as an id: printable ASCII without blanks, of sane length.
pub(super) fn is_identifier(id: &str) -> bool {
    !id.is_empty() && id.len() <= MAX_NAME && id.bytes().all(|b| b.is_ascii_graphic())
}

/// `null` means the same as leaving the field out.
fn or_default<'de, D, T>(d: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(d)?.unwrap_or_default())
}

fn time<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Timestamp>, D::Error> {
    Ok(Option::<String>::deserialize(d)?.and_then(|text| Timestamp::parse(&text)))
}

/// Any time at all in `withdrawn` withdraws the record; `null` does not.
fn present<'de, D: Deserializer<'de>>(d: D) -> Result<bool, D::Error> {
    Ok(Option::<String>::deserialize(d)?.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_fields_and_nulls_are_no_obstacle() {
        let r = parse_record(
            br#"{"id":"X-1","modified":"2024-01-01T00:00:00Z","withdrawn":null,"aliases":null,
                "new_in_2030":{"a":[1]},"affected":[{"ranges":null,"package":{"ecosystem":"npm",
                "name":"a","purl":"pkg:npm/a"}}]}"#,
        )
        .unwrap();
        assert!(!r.withdrawn && r.aliases.is_empty() && r.affected[0].versions.is_empty());
        assert_eq!(r.modified, Timestamp::parse("2024-01-01T00:00:00Z"));
    }

    #[test]
    fn a_withdrawal_date_withdraws() {
        let r = parse_record(br#"{"id":"X-1","withdrawn":"2024-01-01T00:00:00Z"}"#).unwrap();
        assert!(r.withdrawn);
    }

    #[test]
    fn bad_records_are_errors() {
        let deep = format!(r#"{{"id":"X","database_specific":{}"#, "[".repeat(100_000));
        let long = format!(r#"{{"id":"{}"}}"#, "x".repeat(MAX_NAME + 1));
        let version = format!(
            r#"{{"id":"X","affected":[{{"ranges":[{{"events":[{{"fixed":"{}"}}]}}]}}]}}"#,
            "1".repeat(MAX_VERSION + 1)
        );
        for text in [
            "",
            "[]",
            "{}",
            r#"{"id":""}"#,
            r#"{"id":"a b"}"#,
            r#"{"id":"X","id":"Y"}"#,
            r#"{"id":"X","affected":7}"#,
            &deep,
            &long,
            &version,
        ] {
            assert!(parse_record(text.as_bytes()).is_err(), "{}", &text[..text.len().min(60)]);
        }
        let large = vec![b' '; MAX_RECORD_BYTES + 1];
        assert!(matches!(parse_record(&large), Err(FeedError::Limit { .. })));
    }
}
