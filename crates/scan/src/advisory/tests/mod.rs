//! Tests of matching and of the index as a whole, from records to findings.

mod feeds;
mod file;
mod matching;
mod merging;

use super::{FeedIndex, IndexBuilder, Matched, parse_record};
use countersign_core::{Ecosystem, Timestamp};
use serde_json::{Value, json};

const BUILT: Timestamp = Timestamp(1_700_000_000);

/// The bytes of an index of these records.
fn bytes_of(records: &[Value]) -> Vec<u8> {
    let mut builder = IndexBuilder::new();
    for record in records {
        builder.add_record(&parse_record(record.to_string().as_bytes()).unwrap());
    }
    builder.finish(BUILT).unwrap()
}

fn index_of(records: &[Value]) -> FeedIndex<Vec<u8>> {
    FeedIndex::open(bytes_of(records)).unwrap()
}

fn osv_name(ecosystem: Ecosystem) -> &'static str {
    match ecosystem {
        Ecosystem::Pypi => "PyPI",
        Ecosystem::Npm => "npm",
        Ecosystem::Cargo => "crates.io",
        Ecosystem::Debian => "Debian:11",
        Ecosystem::Go => "Go",
        Ecosystem::Maven => "Maven",
    }
}

/// A record about the package `p`, with one `affected` entry of these fields.
fn record(id: &str, ecosystem: Ecosystem, mut affected: Value) -> Value {
    affected["package"] = json!({"ecosystem": osv_name(ecosystem), "name": "p"});
    json!({"id": id, "modified": "2024-01-01T00:00:00Z", "affected": [affected]})
}

/// Events in a short notation: `i1.0 f2.0 l1.5 x3.0` (introduced, fixed, last affected, limit).
fn events(short: &str) -> Value {
    let event = |word: &str| {
        let (kind, version) = word.split_at(1);
        let kind = match kind {
            "i" => "introduced",
            "f" => "fixed",
            "l" => "last_affected",
            _ => "limit",
        };
        json!({ kind: version })
    };
    json!([{"type": "ECOSYSTEM", "events": short.split(' ').map(event).collect::<Vec<_>>()}])
}

fn ask(records: &[Value], ecosystem: Ecosystem, version: &str) -> Matched {
    index_of(records).lookup(ecosystem, "p", version, Some("bullseye")).unwrap()
}
