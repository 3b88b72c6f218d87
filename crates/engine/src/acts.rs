//! What people do, as the ledger records it: feeds that change, incidents that are opened and closed.

use crate::pipeline::evidence_words;
use crate::shown_address;
use countersign_core::{Evidence, Purl, Sha256Digest, Timestamp};
use countersign_ledger::event::{FEED_TYPE, INCIDENT_CLOSED_TYPE, INCIDENT_TYPE, short_kind};
use countersign_ledger::statement::event;
use countersign_store::{Feed, NewEvent, RecordedEvent, Store, StoreError, StoredEntry};
use serde_json::{Value, json};
use std::collections::HashMap;

/// Longest text of an incident, in bytes.
const MAX_TEXT: usize = 16 << 10;

/// What happened to a feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedChange {
    /// It is configured from now on.
    Added,
    /// It brought other content.
    Updated,
    /// It is not used any more.
    Removed,
}

/// Records that a feed changed: its name, where it comes from, and the digest of what it brought.
///
/// # Errors
/// When the store fails.
pub async fn feed_changed(
    store: &Store,
    feed: &Feed,
    change: FeedChange,
    now: Timestamp,
) -> Result<RecordedEvent, StoreError> {
    let change = match change {
        FeedChange::Added => "added",
        FeedChange::Updated => "updated",
        FeedChange::Removed => "removed",
    };
    let predicate = json!({
        "feed": feed.name, "change": change, "location": shown_address(&feed.location),
        "sha256": feed.sha256, "time": now,
    });
    let statement = event(FEED_TYPE, &feed.name, predicate);
    let about = vec![format!("feed {}", feed.name)];
    store.record_about(NewEvent { statement, time: now, about, once: None }).await
}

/// An incident, as the entries of its opening and its end say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incident {
    /// Its id.
    pub id: String,
    /// What happened.
    pub text: String,
    /// What it is about: purls and `sha256:…`.
    pub about: Vec<String>,
    /// Who opened it.
    pub owner: String,
    /// When it was opened.
    pub opened: Timestamp,
    /// The entry of its opening.
    pub index: u64,
    /// Its end.
    pub closed: Option<IncidentEnd>,
}

/// The end of an incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncidentEnd {
    /// When it was closed.
    pub time: Timestamp,
    /// The entry that says so.
    pub index: u64,
    /// Who closed it.
    pub owner: String,
    /// What came of it.
    pub reason: String,
}

/// Opens an incident. `about` are purls, with or without a version, and `sha256:…`.
///
/// # Errors
/// When it has no text, too long a one, or names something that is neither; when the store fails.
pub async fn open_incident(
    store: &Store,
    text: &str,
    about: &[String],
    owner: &str,
    now: Timestamp,
) -> Result<(String, RecordedEvent), StoreError> {
    let invalid = |because: String| StoreError::Invalid { because };
    if text.trim().is_empty() || text.len() > MAX_TEXT {
        return Err(invalid(format!("an incident needs a text of 1 to {MAX_TEXT} bytes")));
    }
    let mut subjects = Vec::with_capacity(about.len());
    for subject in about {
        subjects.push(normal(subject).ok_or_else(|| {
            invalid(format!("`{subject}` is neither a purl (pkg:npm/lodash@4.17.4) nor sha256:…"))
        })?);
    }
    // Two incidents of one second and text would be one.
    let before = store.ledger_size().await?;
    let id = Sha256Digest::of(format!("{now} {before} {owner} {text}").as_bytes()).short();
    let id = format!("I-{id}");
    let predicate =
        json!({"id": id, "text": text, "about": subjects, "owner": owner, "opened": now});
    let statement = event(INCIDENT_TYPE, &id, predicate);
    subjects.push(id.clone());
    let event = NewEvent { statement, time: now, about: subjects, once: None };
    Ok((id, store.record_about(event).await?))
}

fn normal(subject: &str) -> Option<String> {
    match subject.strip_prefix("sha256:") {
        Some(hex) => Some(format!("sha256:{}", hex.parse::<Sha256Digest>().ok()?)),
        None => Some(subject.parse::<Purl>().ok()?.to_string()),
    }
}

/// Closes an incident.
///
/// # Errors
/// When there is no open incident of that id, a reason is missing, or the store fails.
pub async fn close_incident(
    store: &Store,
    id: &str,
    owner: &str,
    reason: &str,
    now: Timestamp,
) -> Result<RecordedEvent, StoreError> {
    if reason.trim().is_empty() {
        return Err(StoreError::Invalid { because: "closing an incident needs a reason".into() });
    }
    let all = incidents(store).await?;
    let open = all.into_iter().find(|i| i.id == id && i.closed.is_none());
    let open = open.ok_or(StoreError::NotFound { what: format!("an open incident `{id}`") })?;
    let predicate = json!({"id": id, "owner": owner, "reason": reason, "closed": now});
    let statement = event(INCIDENT_CLOSED_TYPE, id, predicate);
    let about = [open.about, vec![id.to_owned()]].concat();
    store.record_about(NewEvent { statement, time: now, about, once: None }).await
}

/// Every incident, oldest first.
///
/// # Errors
/// When the store fails.
pub async fn incidents(store: &Store) -> Result<Vec<Incident>, StoreError> {
    let (from, to) = (Timestamp(i64::MIN), Timestamp(i64::MAX));
    let mut ends: HashMap<String, IncidentEnd> = HashMap::new();
    for entry in store.events_of(INCIDENT_CLOSED_TYPE, from, to).await? {
        let end = IncidentEnd {
            time: entry.time,
            index: entry.index,
            owner: text(&entry, "owner"),
            reason: text(&entry, "reason"),
        };
        ends.entry(text(&entry, "id")).or_insert(end);
    }
    let opened = store.events_of(INCIDENT_TYPE, from, to).await?;
    let read = |entry: StoredEntry| {
        let id = text(&entry, "id");
        let list = member(&entry, "about").and_then(Value::as_array);
        let strings = list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
        Incident {
            text: text(&entry, "text"),
            about: strings.collect(),
            owner: text(&entry, "owner"),
            opened: entry.time,
            index: entry.index,
            closed: ends.remove(&id),
            id,
        }
    };
    Ok(opened.into_iter().map(read).collect())
}

fn member<'e>(entry: &'e StoredEntry, name: &str) -> Option<&'e Value> {
    entry.statement.value().get("predicate")?.get(name)
}

fn text(entry: &StoredEntry, name: &str) -> String {
    member(entry, name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// What an entry of any kind but a decision says, in a few words.
#[must_use]
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
        "feed" => format!("{subject} {} {}", text("change"), shortened(text("sha256"))),
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

fn shortened(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

/// The first line of a text, as it may stand in a list.
fn line(text: &str) -> String {
    let first = text.lines().next().unwrap_or_default();
    first.chars().filter(|c| !c.is_control()).take(160).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_store::{OpenMode, init_key};

    const NOW: Timestamp = Timestamp(1_800_000_000);

    #[tokio::test]
    async fn an_incident_is_opened_closed_once_and_found_by_what_it_is_about() {
        let dir = tempfile::tempdir().unwrap();
        init_key(dir.path(), "gate.example/ledger").await.unwrap();
        let store = Store::open(dir.path(), OpenMode::Create).await.unwrap();
        let about = ["pkg:npm/left-pad".to_owned(), "pkg:pypi/Flask@3.0.0".to_owned()];
        let open = |text: &'static str| open_incident(&store, text, &about, "ada", NOW);
        let (first, _) = open("stolen token").await.unwrap();
        let (second, _) = open("stolen token").await.unwrap();
        assert_ne!(first, second);
        assert!(open(" ").await.is_err());
        let stranger = ["lodash".to_owned()];
        assert!(open_incident(&store, "x", &stranger, "ada", NOW).await.is_err());

        assert!(close_incident(&store, &first, "bob", "", NOW).await.is_err());
        let end = close_incident(&store, &first, "bob", "rotated", NOW).await.unwrap();
        assert!(close_incident(&store, &first, "bob", "again", NOW).await.is_err());
        let all = incidents(&store).await.unwrap();
        assert_eq!((all.len(), all[0].about.as_slice()), (2, &normalized(&about)[..]));
        let closed = all[0].closed.as_ref().unwrap();
        assert_eq!((closed.index, closed.reason.as_str()), (end.index(), "rotated"));
        assert!(all[1].closed.is_none());
        let found = store.events_about(&["pkg:pypi/flask@3.0.0".to_owned()], 9).await.unwrap();
        assert_eq!(found.len(), 3);
    }

    fn normalized(about: &[String]) -> Vec<String> {
        about.iter().filter_map(|s| normal(s)).collect()
    }
}
