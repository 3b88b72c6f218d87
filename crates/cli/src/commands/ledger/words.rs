//! Entries that are no decisions, in a line each.

use countersign_engine::acts::words;
use countersign_engine::ledger::event::short_kind;
use countersign_engine::store::StoredEntry;
use serde_json::json;

/// A line for people.
pub fn event_text(e: &StoredEntry) -> String {
    let kind = short_kind(e.statement.predicate_type());
    format!("{:>6}  {}  {kind}  {}", e.index, e.time, words(e))
}

/// A line for machines.
pub fn event_json(e: &StoredEntry) -> String {
    let statement = e.statement.value();
    json!({
        "index": e.index, "time": e.time, "kind": e.statement.predicate_type(),
        "subject": statement.pointer("/subject/0/name"), "predicate": statement.get("predicate"),
    })
    .to_string()
}
