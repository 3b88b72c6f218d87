//! The ledger as the gateway gives it out: to the public what the disclosure policy shows to everybody,
//! to auditors what it shows to them.
//!
//! What is not public is given out only after the read itself is an entry: who, what, when. The same
//! read by the same reader is recorded once an hour.

use crate::disclosure::{Shown, line, show};
use crate::engine::Engine;
use crate::serving::Asker;
use countersign_core::Timestamp;
use countersign_ledger::event::{READ_TYPE, long_kind};
use countersign_ledger::statement::event;
use countersign_ledger::{Hash, ROTATIONS_FILE};
use countersign_policy::{Disclosed, EntryFacts, Reader};
use countersign_store::{NewEvent, RawEntry, Search, StoreError};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Most entries of one answer.
const MAX_LISTED: u32 = 256;

/// Longest text of a search, in bytes.
const MAX_TEXT: usize = 256;

/// For how long the same read by the same reader is covered by one entry.
const COVERS: Duration = Duration::from_secs(3600);

/// Most reads that are remembered; beyond it, a read may be recorded again.
const REMEMBERED: usize = 4096;

/// The kind under which the policy is asked about the tree itself: checkpoint, tiles, proofs.
const TREE: &str = "tree";

/// What is asked of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LedgerRoute {
    /// A file of the published log: `checkpoint`, `tile/…`.
    File(String),
    /// One entry, as the reader may see it.
    Entry(u64),
    /// The receipt of an entry.
    Receipt(u64),
    /// The proof that an entry's commitment is in the tree.
    Proof(u64),
    /// The proof that the tree continues an earlier one of this size.
    Consistency(u64),
    /// Entries in order.
    Entries {
        /// The first.
        from: u64,
        /// How many.
        limit: u32,
    },
    /// Entries that match, newest first.
    Search(Box<Search>),
}

/// An answer about the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The type of the body.
    pub content_type: &'static str,
    /// The body.
    pub body: Vec<u8>,
}

/// Which reads are recorded already, and since when.
pub(crate) type Reads = Arc<tokio::sync::Mutex<HashMap<String, Instant>>>;

impl LedgerAnswer {
    fn text(status: u16, body: &str) -> Self {
        let content_type = "text/plain; charset=utf-8";
        Self { status, content_type, body: format!("{body}\n").into_bytes() }
    }

    fn json(value: &Value) -> Self {
        let body = format!("{value}\n").into_bytes();
        Self { status: 200, content_type: "application/json", body }
    }

    fn forbidden() -> Self {
        Self::text(403, "the disclosure policy does not show that to you")
    }
}

impl LedgerRoute {
    /// Reads what stands below `/ledger/` and the query.
    ///
    /// # Errors
    /// Why it is nothing that can be asked.
    pub fn parse(path: &[&str], query: Option<&str>) -> Result<Self, &'static str> {
        let number = |text: &str| text.parse::<u64>().map_err(|_| "a place is a number, from 0");
        let query = pairs(query)?;
        let asked = |name: &str| query.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
        let only = |allowed: &[&str]| match query.iter().all(|(n, _)| allowed.contains(&n.as_str()))
        {
            true => Ok(()),
            false => Err("that question has a parameter that nobody knows"),
        };
        let limit =
            asked("limit").map_or(Ok(50), |l| l.parse().map_err(|_| "limit is a number"))?;
        let limit = u32::min(limit, MAX_LISTED);
        match path {
            ["checkpoint" | "checkpoint.cosigned" | ROTATIONS_FILE] | ["tile", _, ..] => {
                only(&[])?;
                match path.iter().all(|p| is_file_part(p)) {
                    true => Ok(Self::File(path.join("/"))),
                    false => Err("that is no file of the log"),
                }
            }
            ["entry", index] => only(&[]).and(Ok(Self::Entry(number(index)?))),
            ["receipt", index] => only(&[]).and(Ok(Self::Receipt(number(index)?))),
            ["proof", index] => only(&[]).and(Ok(Self::Proof(number(index)?))),
            ["consistency", from] => only(&[]).and(Ok(Self::Consistency(number(from)?))),
            ["entries"] => {
                only(&["from", "limit"])?;
                let from = asked("from").map_or(Ok(0), number)?;
                Ok(Self::Entries { from, limit })
            }
            ["search"] => {
                only(&["text", "kind", "verdict", "since", "until", "limit"])?;
                let text = asked("text").filter(|t| !t.is_empty()).map(str::to_owned);
                if text.as_ref().is_some_and(|t| t.len() > MAX_TEXT) {
                    return Err("the text is longer than 256 bytes");
                }
                let time = |name| match asked(name) {
                    None => Ok(None),
                    Some(t) => Timestamp::parse(t).map(Some).ok_or("a time is written as RFC 3339"),
                };
                Ok(Self::Search(Box::new(Search {
                    kind: asked("kind").map(long_kind),
                    text,
                    verdict: asked("verdict").map(str::to_owned),
                    since: time("since")?,
                    until: time("until")?,
                    events_only: false,
                    limit: usize::try_from(limit).unwrap_or(50),
                })))
            }
            _ => Err(
                "the ledger has checkpoint, tile/…, rotations.json, entry/N, receipt/N, proof/N, \
                 consistency/SIZE, entries?from=N&limit=N and search?text=…",
            ),
        }
    }
}

/// The parameters of a query (WHATWG URL, "application/x-www-form-urlencoded").
fn pairs(query: Option<&str>) -> Result<Vec<(String, String)>, &'static str> {
    let query = query.unwrap_or_default();
    if query.len() > 1024 {
        return Err("the query is longer than 1024 bytes");
    }
    Ok(url::form_urlencoded::parse(query.as_bytes()).into_owned().collect())
}

/// A part of a path of the published log: nothing that leads elsewhere.
fn is_file_part(part: &str) -> bool {
    let named = ["checkpoint", "checkpoint.cosigned", ROTATIONS_FILE, "tile", "entries"];
    let digits = part.strip_prefix('x').unwrap_or(part);
    let digits = digits.strip_suffix(".p").unwrap_or(digits);
    named.contains(&part)
        || (1..=3).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit())
}

impl Engine {
    /// Answers a reader of the ledger.
    pub async fn read_ledger(
        &self,
        route: &LedgerRoute,
        reader: Reader,
        asker: &Asker,
    ) -> LedgerAnswer {
        match self.answer_reader(route, reader, asker).await {
            Ok(answer) => answer,
            Err(StoreError::NotFound { what }) => {
                LedgerAnswer::text(404, &format!("{what} is not in the ledger"))
            }
            Err(StoreError::Forgotten { what }) => {
                LedgerAnswer::text(410, &format!("the content of {what} was forgotten"))
            }
            Err(error) => {
                tracing::error!(%error, "a reader of the ledger got no answer");
                LedgerAnswer::text(500, "the ledger cannot be read")
            }
        }
    }

    async fn answer_reader(
        &self,
        route: &LedgerRoute,
        reader: Reader,
        asker: &Asker,
    ) -> Result<LedgerAnswer, StoreError> {
        let store = self.store();
        match route {
            LedgerRoute::File(_) | LedgerRoute::Proof(_) | LedgerRoute::Consistency(_)
                if !self.sees_tree(reader) =>
            {
                Ok(LedgerAnswer::forbidden())
            }
            LedgerRoute::File(path) => self.ledger_file(path).await,
            LedgerRoute::Proof(index) => {
                let (checkpoint, proof) = store.inclusion_of(*index).await?;
                Ok(LedgerAnswer::json(&json!({
                    "index": index, "inclusionProof": hashes(&proof), "checkpoint": checkpoint,
                })))
            }
            LedgerRoute::Consistency(old) => {
                let (checkpoint, proof) = store.consistency_from(*old).await?;
                Ok(LedgerAnswer::json(&json!({
                    "oldSize": old, "consistencyProof": hashes(&proof), "checkpoint": checkpoint,
                })))
            }
            LedgerRoute::Entry(index) => {
                let raw = self.raw(*index).await?;
                let commitment = raw.commitment;
                let shown = self.shown_to(reader, &raw)?;
                if shown == Shown::Withheld {
                    return Ok(LedgerAnswer::forbidden());
                }
                let what = format!("entry {index}");
                self.note_read(reader, asker, &what, std::slice::from_ref(&raw)).await?;
                Ok(LedgerAnswer::json(&line(*index, &commitment, &shown)))
            }
            LedgerRoute::Receipt(index) => {
                let raw = self.raw(*index).await?;
                match self.shown_to(reader, &raw)? {
                    Shown::Clear(_) => {}
                    Shown::Forgotten => {
                        let what = format!("ledger entry {index}");
                        return Err(StoreError::Forgotten { what });
                    }
                    // A receipt holds the whole statement.
                    Shown::Withheld | Shown::Redacted(_) => return Ok(LedgerAnswer::forbidden()),
                }
                let receipt = store.receipt_for(*index).await?;
                let what = format!("receipt {index}");
                self.note_read(reader, asker, &what, std::slice::from_ref(&raw)).await?;
                let body = receipt
                    .to_bytes()
                    .map_err(|e| StoreError::Ledger { because: e.to_string() })?;
                Ok(LedgerAnswer { status: 200, content_type: "application/json", body })
            }
            LedgerRoute::Entries { .. } | LedgerRoute::Search(_) if reader == Reader::Public => {
                Ok(LedgerAnswer::forbidden())
            }
            LedgerRoute::Entries { from, limit } => {
                let entries = store.entries(*from, *limit).await?;
                self.listed(reader, asker, "entries", entries).await
            }
            LedgerRoute::Search(search) => {
                let mut entries = Vec::new();
                for found in store.search(search).await? {
                    entries.push(self.raw(found.index).await?);
                }
                self.listed(reader, asker, &format!("search {}", words(search)), entries).await
            }
        }
    }

    async fn raw(&self, index: u64) -> Result<RawEntry, StoreError> {
        let found = self.store().entries(index, 1).await?.pop().filter(|e| e.index == index);
        found.ok_or(StoreError::NotFound { what: format!("entry {index}") })
    }

    fn shown_to(&self, reader: Reader, entry: &RawEntry) -> Result<Shown, StoreError> {
        let policy = self.grounds().policy.clone();
        show(self.store(), policy.disclosure(), reader, entry.clone(), self.now())
    }

    /// Whether a reader sees the tree: commitments, proofs, and how fast it grows.
    fn sees_tree(&self, reader: Reader) -> bool {
        let facts = EntryFacts { kind: TREE.to_owned(), ..EntryFacts::default() };
        self.grounds().policy.disclosure().decide(reader, &facts) == Disclosed::Clear
    }

    /// Many entries as one answer; what the reader does not see is counted and left out.
    async fn listed(
        &self,
        reader: Reader,
        asker: &Asker,
        what: &str,
        entries: Vec<RawEntry>,
    ) -> Result<LedgerAnswer, StoreError> {
        let mut lines = Vec::with_capacity(entries.len());
        let mut given = Vec::with_capacity(entries.len());
        let mut withheld = 0u64;
        for raw in entries {
            match self.shown_to(reader, &raw)? {
                Shown::Withheld => withheld = withheld.saturating_add(1),
                shown => {
                    lines.push(line(raw.index, &raw.commitment, &shown));
                    given.push(raw);
                }
            }
        }
        self.note_read(reader, asker, what, &given).await?;
        Ok(LedgerAnswer::json(&json!({"entries": lines, "withheld": withheld})))
    }

    /// Records a read of what the public does not see whole, before it is given out.
    async fn note_read(
        &self,
        reader: Reader,
        asker: &Asker,
        what: &str,
        entries: &[RawEntry],
    ) -> Result<(), StoreError> {
        let mut restricted = Vec::new();
        for raw in entries {
            if !matches!(self.shown_to(Reader::Public, raw)?, Shown::Clear(_) | Shown::Forgotten) {
                restricted.push(raw.index);
            }
        }
        if restricted.is_empty() || reader == Reader::Public {
            return Ok(());
        }
        let name = asker.token.as_deref().unwrap_or("nobody").to_owned();
        let known = format!("{name} {what} {restricted:?}");
        // Held while it is recorded: nobody is answered on the strength of a record that is not durable.
        let mut reads = self.inner.reads.lock().await;
        if reads.get(&known).is_some_and(|since| since.elapsed() < COVERS) {
            return Ok(());
        }
        let now = self.now();
        let predicate = json!({
            "reader": name, "role": reader.name(), "address": asker.address, "what": what,
            "entries": restricted, "time": now,
        });
        let statement = event(READ_TYPE, &name, predicate);
        let about = vec![format!("reader {name}")];
        let event = NewEvent { statement, time: now, about, once: None };
        self.store().record_about(event).await?;
        if reads.len() >= REMEMBERED {
            reads.clear();
        }
        reads.insert(known, Instant::now());
        Ok(())
    }

    async fn ledger_file(&self, path: &str) -> Result<LedgerAnswer, StoreError> {
        let file = self.store().ledger_dir().join(path);
        match tokio::fs::read(&file).await {
            Ok(body) => {
                let content_type = match path {
                    ROTATIONS_FILE => "application/json",
                    path if path.starts_with("tile/") => "application/octet-stream",
                    _ => "text/plain; charset=utf-8",
                };
                Ok(LedgerAnswer { status: 200, content_type, body })
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                Err(StoreError::NotFound { what: format!("`{path}`") })
            }
            Err(e) => Err(StoreError::Io { path: file, because: e.to_string() }),
        }
    }
}

fn hashes(proof: &[Hash]) -> Vec<String> {
    proof.iter().map(ToString::to_string).collect()
}

/// What was searched for, as the record says it.
fn words(search: &Search) -> String {
    let parts = [
        ("text", search.text.clone()),
        ("kind", search.kind.clone()),
        ("verdict", search.verdict.clone()),
        ("since", search.since.map(|t| t.to_string())),
        ("until", search.until.map(|t| t.to_string())),
    ];
    let given = parts.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", value?)));
    given.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_is_read_strictly() {
        let parse = LedgerRoute::parse;
        assert_eq!(parse(&["checkpoint"], None), Ok(LedgerRoute::File("checkpoint".into())));
        let tile = parse(&["tile", "0", "x001", "234.p", "12"], None);
        assert_eq!(tile, Ok(LedgerRoute::File("tile/0/x001/234.p/12".into())));
        assert_eq!(parse(&["entry", "7"], None), Ok(LedgerRoute::Entry(7)));
        assert_eq!(
            parse(&["entries"], Some("from=9&limit=9999")),
            Ok(LedgerRoute::Entries { from: 9, limit: MAX_LISTED })
        );
        let Ok(LedgerRoute::Search(search)) =
            parse(&["search"], Some("text=a%20b&kind=scan&since=2026-01-01T00:00:00Z"))
        else {
            panic!("no search");
        };
        assert_eq!(search.text.as_deref(), Some("a b"));
        assert_eq!(search.kind.as_deref(), Some("urn:countersign:scan:v1"));
        for (path, query) in [
            (&["tile", "..", "x"][..], None),
            (&["tile", "0", "0000"], None),
            (&["tile"], None),
            (&["checkpoint", "x"], None),
            (&["store.sqlite"], None),
            (&["entry", "-1"], None),
            (&["entry", "1"], Some("x=1")),
            (&["entries"], Some("from=x")),
            (&["search"], Some("since=yesterday")),
            (&["search"], Some("txt=a")),
            (&[], None),
        ] {
            assert!(parse(path, query).is_err(), "{path:?} {query:?}");
        }
        let long = format!("text={}", "a".repeat(300));
        assert!(parse(&["search"], Some(&long)).is_err());
    }
}
