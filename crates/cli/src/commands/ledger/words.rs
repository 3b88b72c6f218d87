//! Entries that are no decisions, in a line each.

use countersign_engine::core::Evidence;
use countersign_engine::evidence_words;
use countersign_engine::ledger::event::short_kind;
use countersign_engine::store::StoredEntry;
use serde_json::{Value, json};

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

/// What an entry says, in a few words.
pub fn words(e: &StoredEntry) -> String {
    let statement = e.statement.value();
    let predicate = statement.get("predicate").cloned().unwrap_or_default();
    let text = |name: &str| predicate.get(name).and_then(Value::as_str).unwrap_or_default();
    let subject = statement.pointer("/subject/0/name").and_then(Value::as_str).unwrap_or_default();
    match short_kind(e.statement.predicate_type()) {
        "first-seen" => format!("{subject} from {}", text("address")),
        "evidence" => {
            let list = predicate.get("evidence").cloned().unwrap_or_default();
            let list: Vec<Evidence> = serde_json::from_value(list).unwrap_or_default();
            format!("{subject}: {}", evidence_words(&list))
        }
        "scan" => format!("{subject}: {} by {}", found(&predicate), text("scanner")),
        "feed" => format!("{subject} {} {}", text("change"), short(text("sha256"))),
        "grounds" => list(&predicate, "changed"),
        "recall" => list(&predicate, "why"),
        "incident" => format!("{subject} opened by {}: {}", text("owner"), line(text("text"))),
        "incident-closed" => {
            format!("{subject} closed by {}: {}", text("owner"), line(text("reason")))
        }
        "key-rotated" => format!("to {subject} by {}: {}", text("owner"), line(text("reason"))),
        "key-retired" => format!("{subject} by {}", text("owner")),
        "signing-key" => {
            let name = text("name");
            format!("{subject} {} {name} by {}", text("change"), text("owner"))
        }
        "forgotten" => format!("{subject} by {}: {}", text("owner"), line(text("reason"))),
        "read" => format!("{subject}: {}", text("what")),
        _ => subject.to_owned(),
    }
}

fn found(predicate: &Value) -> String {
    let number = |name: &str| predicate.get(name).and_then(Value::as_u64).unwrap_or(0);
    let checks = predicate.get("checks").and_then(Value::as_array).cloned().unwrap_or_default();
    let not_done =
        checks.iter().filter(|c| c.get("outcome").is_some_and(|o| o == "not-done")).count();
    let not_done = match not_done {
        0 => String::new(),
        n => format!(", {n} checks not done"),
    };
    let (findings, advisories) = (number("findingsTotal"), number("advisoriesTotal"));
    format!("{findings} findings, {advisories} advisories{not_done}")
}

fn list(predicate: &Value, name: &str) -> String {
    match predicate.get(name) {
        Some(Value::Array(list)) => {
            list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
        }
        Some(Value::String(text)) => text.clone(),
        _ => String::new(),
    }
}

fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

/// The first line of a text, as it may stand in a list.
fn line(text: &str) -> String {
    let first = text.lines().next().unwrap_or_default();
    first.chars().filter(|c| !c.is_control()).take(160).collect()
}
