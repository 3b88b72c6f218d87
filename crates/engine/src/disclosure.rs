//! What of the ledger's entries is shown to whom, and how what was taken out leaves the proofs valid.
//!
//! An entry commits to its whole envelope under a random salt. Shown in clear, envelope and salt open the
//! commitment. Of an entry that is shown in part the envelope cannot be shown, and neither can the salt:
//! with it, whoever guesses what was taken out could tell. In their place stands a *redacted
//! statement*: the entry's place and commitment, the names of what was taken out, and the rest, signed
//! anew by the ledger's key. The proof of the commitment holds as before; that the rest is the entry's is
//! the word of the key that signed the entry. Should that ever be doubted, showing the entry in
//! clear settles it: a redacted statement that differs is a signed lie. This works for every entry ever
//! written and costs the ledger nothing, which commitments of single members would not.

use countersign_core::{Purl, Timestamp};
use countersign_ledger::event::{REDACTED_TYPE, short_kind};
use countersign_ledger::statement::STATEMENT_TYPE;
use countersign_ledger::{
    Commitment, Envelope, KeyHistory, Salt, TileId, TileKind, commitment, verify_envelope,
};
use countersign_policy::{Disclosed, Disclosure, EntryFacts, Reader};
use countersign_store::{RawEntry, Store, StoreError, StoredEntry};
use serde_json::{Value, json};
use std::path::Path;

/// Entries of one file of statements, as of one bundle.
const BUNDLE: u64 = 256;

/// What an entry's reader gets.
#[derive(Debug, Clone, PartialEq)]
pub enum Shown {
    /// The commitment alone.
    Withheld,
    /// The content was forgotten; the commitment stays.
    Forgotten,
    /// A statement from which parts were taken out.
    Redacted(Envelope),
    /// Envelope and salt, which open the commitment.
    Clear(Box<StoredEntry>),
}

/// What was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Published {
    /// Entries that the checkpoint covers.
    pub entries: u64,
    /// Statements in clear.
    pub clear: u64,
    /// Statements from which parts were taken out.
    pub redacted: u64,
    /// Entries of which the commitment alone is public.
    pub withheld: u64,
}

/// What a disclosure policy may know of an entry.
#[must_use]
pub fn facts_of(entry: &StoredEntry, now: Timestamp) -> EntryFacts {
    let statement = entry.statement.value();
    let text = |path: &str| statement.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let named = ["/predicate/resourceUri", "/subject/0/uri", "/predicate/target/purl"];
    let purl = named.iter().find_map(|path| text(path).parse::<Purl>().ok());
    let ecosystem = purl.as_ref().map(|p| p.ecosystem().to_string());
    EntryFacts {
        kind: short_kind(entry.statement.predicate_type()).to_owned(),
        verdict: text("/predicate/countersign/verdict").to_owned(),
        ecosystem: ecosystem.unwrap_or_default(),
        name: purl.as_ref().map(|p| p.name().to_owned()).unwrap_or_default(),
        purl: purl.map(|p| p.to_string()).unwrap_or_default(),
        age_days: now.0.saturating_sub(entry.time.0).max(0) / 86_400,
    }
}

/// What `reader` gets of an entry.
///
/// # Errors
/// When a redacted statement cannot be signed.
pub fn show(
    store: &Store,
    policy: &Disclosure,
    reader: Reader,
    entry: RawEntry,
    now: Timestamp,
) -> Result<Shown, StoreError> {
    let Some(content) = entry.content else { return Ok(Shown::Forgotten) };
    match policy.decide(reader, &facts_of(&content, now)) {
        Disclosed::Nothing => Ok(Shown::Withheld),
        Disclosed::Clear => Ok(Shown::Clear(Box::new(content))),
        Disclosed::Redacted(pointers) => {
            let statement = redacted(&content, &entry.commitment, &pointers);
            Ok(Shown::Redacted(store.sign_redacted(&statement)?))
        }
    }
}

/// The statement of what is left of an entry's.
fn redacted(entry: &StoredEntry, commitment: &Commitment, pointers: &[String]) -> Value {
    let mut rest = entry.statement.value().clone();
    let mut removed = Vec::new();
    for pointer in pointers {
        let path: Vec<String> = pointer
            .split('/')
            .skip(1)
            .map(|part| part.replace("~1", "/").replace("~0", "~"))
            .collect();
        if remove(&mut rest, &path) {
            removed.push(pointer.clone());
        }
    }
    let kind = entry.statement.predicate_type();
    // The subject of an act is named by the digest of its predicate: with it, what was taken out could be
    // guessed and tried.
    if !removed.is_empty() && rest.pointer("/subject/0/uri").is_none() {
        let digest = ["subject", "*", "digest"].map(str::to_owned);
        if remove(&mut rest, &digest) {
            removed.push("/subject/*/digest".to_owned());
        }
    }
    let hex = hex::encode(commitment);
    json!({
        "_type": STATEMENT_TYPE,
        "subject": [
            {"name": format!("entry {}", entry.index), "digest": {"countersignEntry": hex}}
        ],
        "predicateType": REDACTED_TYPE,
        "predicate": {
            "index": entry.index, "entry": hex, "kind": kind, "removed": removed, "statement": rest,
        },
    })
}

/// Takes a member out; whether it was there.
fn remove(value: &mut Value, path: &[String]) -> bool {
    let Some((first, rest)) = path.split_first() else { return false };
    if rest.is_empty() {
        return match value {
            Value::Object(map) if first == "*" => !std::mem::take(map).is_empty(),
            Value::Object(map) => map.remove(first).is_some(),
            Value::Array(list) if first == "*" => !std::mem::take(list).is_empty(),
            _ => false,
        };
    }
    let below: Vec<&mut Value> = match value {
        Value::Object(map) if first == "*" => map.values_mut().collect(),
        Value::Object(map) => map.get_mut(first).into_iter().collect(),
        Value::Array(list) if first == "*" => list.iter_mut().collect(),
        Value::Array(list) => {
            first.parse().ok().and_then(|i: usize| list.get_mut(i)).into_iter().collect()
        }
        _ => return false,
    };
    // Every one of them, also after the first.
    below.into_iter().fold(false, |any, one| remove(one, rest) | any)
}

/// The line of an entry in a file of statements, and in the gateway's answers.
#[must_use]
pub fn line(index: u64, entry: &Commitment, shown: &Shown) -> Value {
    let mut line = json!({"index": index, "entry": hex::encode(entry)});
    let more = match shown {
        Shown::Withheld => vec![],
        Shown::Forgotten => vec![("forgotten", json!(true))],
        Shown::Redacted(envelope) => vec![("redacted", json!(envelope))],
        Shown::Clear(content) => {
            vec![("salt", json!(hex::encode(content.salt))), ("envelope", json!(content.envelope))]
        }
    };
    if let Value::Object(map) = &mut line {
        map.extend(more.into_iter().map(|(name, value)| (name.to_owned(), value)));
    }
    line
}

/// Checks a line as its reader would: a statement in clear opens the commitment of its place, and a
/// redacted one is the ledger's word about it. Whether it showed a statement at all.
///
/// # Errors
/// Why the line is not to be believed.
pub fn check_line(
    line: &Value,
    index: u64,
    entry: &Commitment,
    keys: &KeyHistory,
) -> Result<bool, String> {
    let hex = hex::encode(entry);
    let bad = |because: &str| format!("the statement of entry {index} {because}");
    if line.get("index").and_then(Value::as_u64) != Some(index)
        || line.get("entry").and_then(Value::as_str) != Some(&hex)
    {
        return Err(bad("is of another entry"));
    }
    let envelope = |name: &str| -> Result<Option<Envelope>, String> {
        let value = line.get(name).cloned();
        value.map(|v| serde_json::from_value(v).map_err(|_| bad("is no envelope"))).transpose()
    };
    if let Some(envelope) = envelope("envelope")? {
        let mut salt: Salt = [0; 32];
        let text = line.get("salt").and_then(Value::as_str).unwrap_or_default();
        hex::decode_to_slice(text, &mut salt).map_err(|_| bad("has no salt"))?;
        let bytes = envelope.to_bytes().map_err(|e| e.to_string())?;
        if commitment(&salt, &bytes) != *entry {
            return Err(bad("does not open its commitment"));
        }
        verify_envelope(&envelope, keys.at(index)).map_err(|e| bad(&e.to_string()))?;
        return Ok(true);
    }
    let Some(envelope) = envelope("redacted")? else { return Ok(false) };
    let statement = keys.verify_envelope(&envelope).map_err(|e| bad(&e.to_string()))?;
    let predicate = statement.value().get("predicate");
    let said = |name: &str| predicate.and_then(|p| p.get(name));
    let same = statement.predicate_type() == REDACTED_TYPE
        && said("index").and_then(Value::as_u64) == Some(index)
        && said("entry").and_then(Value::as_str) == Some(&hex);
    if same { Ok(true) } else { Err(bad("is redacted from another entry")) }
}

/// Where the statements of a bundle of entries are, below the checkpoint's folder.
#[must_use]
pub fn statements_path(bundle: u64) -> String {
    let id = TileId { kind: TileKind::Entries, index: bundle, width: 256 };
    format!("{}.jsonl", id.path().replacen("tile/entries/", "statement/", 1))
}

/// Writes the public log into a folder that any web server can serve: checkpoint, tiles and bundles, and
/// beside them what the policy shows of the statements. The checkpoint comes last.
///
/// # Errors
/// When the folder holds another ledger, or the store or the disk fails.
pub async fn publish(
    store: &Store,
    policy: &Disclosure,
    dir: &Path,
    now: Timestamp,
) -> Result<Published, StoreError> {
    store.published().await;
    let (note, head) = store.copy_tiles(dir).await?;
    let mut published = Published { entries: head.size(), ..Published::default() };
    for bundle in 0..head.size().div_ceil(BUNDLE) {
        let from = bundle.saturating_mul(BUNDLE);
        let most = head.size().saturating_sub(from).min(BUNDLE);
        let entries = store.entries(from, u32::try_from(most).unwrap_or(256)).await?;
        let mut text = String::new();
        for entry in entries {
            let (index, entry_hash) = (entry.index, entry.commitment);
            let shown = show(store, policy, Reader::Public, entry, now)?;
            let count = match shown {
                Shown::Clear(_) => &mut published.clear,
                Shown::Redacted(_) => &mut published.redacted,
                Shown::Withheld | Shown::Forgotten => &mut published.withheld,
            };
            *count = count.saturating_add(1);
            text.push_str(&line(index, &entry_hash, &shown).to_string());
            text.push('\n');
        }
        // Written anew each time: what is shown may have become less.
        store.copy_file(&dir.join(statements_path(bundle)), text.into_bytes()).await?;
    }
    let about = json!({
        "origin": head.origin(), "size": head.size(), "disclosure": policy.digest(),
        "clear": published.clear, "redacted": published.redacted, "withheld": published.withheld,
    });
    store.copy_file(&dir.join("disclosure.json"), format!("{about}\n").into_bytes()).await?;
    store.copy_file(&dir.join("checkpoint"), note.into_bytes()).await?;
    Ok(published)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Vec<String> {
        text.split('/').skip(1).map(str::to_owned).collect()
    }

    #[test]
    fn members_are_taken_out_wherever_the_pointer_leads() {
        let whole = json!({"a": {"b": 1, "c": [{"d": 1, "e": 2}, {"d": 3}]}, "f": [1, 2]});
        for (pointer, left) in [
            ("/a/b", json!({"a": {"c": [{"d": 1, "e": 2}, {"d": 3}]}, "f": [1, 2]})),
            ("/a/c/*/d", json!({"a": {"b": 1, "c": [{"e": 2}, {}]}, "f": [1, 2]})),
            ("/a/c/0/e", json!({"a": {"b": 1, "c": [{"d": 1}, {"d": 3}]}, "f": [1, 2]})),
            ("/a/*", json!({"a": {}, "f": [1, 2]})),
            ("/f/*", json!({"a": {"b": 1, "c": [{"d": 1, "e": 2}, {"d": 3}]}, "f": []})),
        ] {
            let mut value = whole.clone();
            assert!(remove(&mut value, &path(pointer)), "{pointer}");
            assert_eq!(value, left, "{pointer}");
        }
        for nothing in ["/x", "/a/b/c", "/f/x/y", "/a/c/9/d", ""] {
            let mut value = whole.clone();
            assert!(!remove(&mut value, &path(nothing)), "{nothing}");
            assert_eq!(value, whole);
        }
    }

    #[test]
    fn statements_lie_beside_their_bundles() {
        assert_eq!(statements_path(0), "statement/000.jsonl");
        assert_eq!(statements_path(1234), "statement/x001/234.jsonl");
    }
}
