//! Every entry: its commitment, its signature, its record, and the tree that all of them make.

use super::FsckReport;
use crate::bundles::{self, Kept, Stored, WIDTH};
use crate::error::StoreError;
use crate::files::TileFiles;
use crate::keyring::history_in;
use crate::store::{Store, blocking};
use crate::tiles::{LedgerState, to_i64, to_u64};
use crate::waivers::{StoredWaiver, Waiver};
use countersign_core::{Sha256Digest, Timestamp};
use countersign_ledger::statement::{VSA_TYPE, WAIVER_REVOKED_TYPE, WAIVER_TYPE, read_decision};
use countersign_ledger::{
    Commitment, Edge, Envelope, KeyHistory, TileId, TileKind, TileSource as _, VerifiedStatement,
    parse_entry_bundle, verify_envelopes,
};
use serde_json::Value;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

/// Bundles that are read at a time, which bounds the memory of a check: 4096 entries.
const PAGE: u64 = 16;

/// The kinds of entries that a waiver follows from.
const WAIVERS: [&str; 2] = [WAIVER_TYPE, WAIVER_REVOKED_TYPE];

/// The record of a decision, as far as its statement says the same.
#[derive(Debug, PartialEq, Eq)]
struct Record {
    purl: String,
    file_name: String,
    sha256: Option<String>,
    verdict: String,
    time: i64,
    facts: Sha256Digest,
}

/// A bundle, or the part of one that is there, as the database has it.
struct Part {
    stored: Stored,
    /// The places that it should fill.
    places: Range<u64>,
    /// The records of the decisions in it.
    records: HashMap<u64, Record>,
    /// Those of its places whose content was forgotten, as an entry says.
    forgotten: HashSet<u64>,
    /// The published file with the same entries.
    published: Option<TileId>,
}

/// What a check of a part gave.
struct CheckedPart {
    entries: Vec<Checked>,
    /// What is wrong with the published file.
    problem: Option<String>,
}

/// The outcome for a part, or why it cannot be read.
type Outcome = Result<CheckedPart, String>;

/// What is kept of a checked entry.
struct Checked {
    index: u64,
    commitment: Commitment,
    /// The statement, where a waiver follows from it.
    waiver: Option<VerifiedStatement>,
    /// Whether there is no content to be checked any more.
    forgotten: bool,
    problem: Option<String>,
}

impl Store {
    /// Rebuilds the tree from the entries, page by page, and checks each of them, on all processors.
    /// The first `published` of them are compared with the published ones as well.
    pub(super) async fn check_entries(
        &self,
        conn: &mut SqliteConnection,
        state: &LedgerState,
        published: u64,
        report: &mut FsckReport,
    ) -> Result<(), StoreError> {
        let checker = Checker {
            keys: history_in(conn, &self.paths().database(), state).await?,
            files: TileFiles::new(self.paths().ledger()),
            path: self.paths().database(),
        };
        let checker = Arc::new(checker);
        let mut edge = Edge::empty();
        let mut granted = Vec::new();
        let mut page = self.page(conn, 0, state.size, published).await?;
        while !page.is_empty() {
            let end = page.last().map_or(state.size, |part| part.places.end);
            // The next page is read while this one is checked.
            let (checked, next) = tokio::join!(
                check_page(page, &checker),
                self.page(conn, end, state.size, published)
            );
            page = next?;
            for part in checked? {
                let part = match part {
                    Ok(part) => part,
                    Err(because) => {
                        report.problem(because);
                        return Ok(());
                    }
                };
                part.problem.into_iter().for_each(|p| report.problem(p));
                let mut commitments = Vec::with_capacity(part.entries.len());
                for checked in part.entries {
                    commitments.push(checked.commitment);
                    match checked.problem {
                        None if checked.forgotten => {
                            report.forgotten = report.forgotten.saturating_add(1);
                        }
                        None => report.verified = report.verified.saturating_add(1),
                        Some(why) => report.problem(format!("entry {}: {why}", checked.index)),
                    }
                    if let Some(statement) = checked.waiver {
                        replay_waiver(&mut granted, checked.index, &statement);
                    }
                }
                let name = state.verifier.name();
                edge = edge.plan(&commitments, name).map_err(StoreError::ledger)?.edge;
            }
        }
        if edge.root() != state.root {
            report.problem("the entries do not lead to the checkpoint's root");
        }
        self.check_waivers(conn, &granted, report).await
    }

    /// The bundles from place `from` on, of a ledger of `size` entries.
    async fn page(
        &self,
        conn: &mut SqliteConnection,
        from: u64,
        size: u64,
        published: u64,
    ) -> Result<Vec<Part>, StoreError> {
        let upto = size.min(from.saturating_add(PAGE.saturating_mul(WIDTH)));
        let mut stored = bundles::stored_in(conn, &self.paths().database(), from, upto).await?;
        let mut records = self.records(conn, from, upto).await?;
        let forgotten = self.forgotten_in(conn, from, upto).await?;
        let mut parts = Vec::new();
        let mut at = from;
        while at < upto {
            let places = at..upto.min(at.saturating_add(WIDTH));
            let bundle = at / WIDTH;
            parts.push(Part {
                stored: stored.remove(&bundle).unwrap_or_default(),
                records: records.extract_if(|index, _| places.contains(index)).collect(),
                forgotten: forgotten.iter().copied().filter(|i| places.contains(i)).collect(),
                published: TileId::in_tree(TileKind::Entries, bundle, published),
                places,
            });
            at = at.saturating_add(WIDTH);
        }
        Ok(parts)
    }

    /// Which of the entries `from..upto` were forgotten.
    async fn forgotten_in(
        &self,
        conn: &mut SqliteConnection,
        from: u64,
        upto: u64,
    ) -> Result<Vec<u64>, StoreError> {
        let places: Result<Vec<i64>, sqlx::Error> =
            sqlx::query_scalar("SELECT idx FROM forgotten WHERE idx >= ? AND idx < ?")
                .bind(to_i64(from))
                .bind(to_i64(upto))
                .fetch_all(conn)
                .await;
        let places = match places {
            Err(e) if bundles::is_of_an_earlier_version(&e) => Vec::new(),
            places => places.map_err(|e| self.sql_error(e))?,
        };
        places.into_iter().map(|idx| to_u64(idx, &self.paths().database())).collect()
    }

    /// The records of the decisions `from..upto`.
    async fn records(
        &self,
        conn: &mut SqliteConnection,
        from: u64,
        upto: u64,
    ) -> Result<HashMap<u64, Record>, StoreError> {
        let rows = sqlx::query(
            "SELECT idx, purl, file_name, sha256, verdict, time, facts FROM decisions \
             WHERE idx >= ? AND idx < ?",
        )
        .bind(to_i64(from))
        .bind(to_i64(upto))
        .fetch_all(conn)
        .await
        .map_err(|e| self.sql_error(e))?;
        let record = |row: &SqliteRow| {
            let facts: &str = self.get(row, 6)?;
            let record = Record {
                purl: self.get(row, 1)?,
                file_name: self.get(row, 2)?,
                sha256: self.get(row, 3)?,
                verdict: self.get(row, 4)?,
                time: self.get(row, 5)?,
                facts: Sha256Digest::of(facts.as_bytes()),
            };
            Ok((to_u64(self.get(row, 0)?, &self.paths().database())?, record))
        };
        rows.iter().map(record).collect()
    }

    async fn check_waivers(
        &self,
        conn: &mut SqliteConnection,
        granted: &[StoredWaiver],
        report: &mut FsckReport,
    ) -> Result<(), StoreError> {
        let recorded = self.waivers_in(conn).await?;
        for waiver in recorded.iter().filter(|w| !granted.contains(w)) {
            report.problem(format!("the waiver `{}` is not what was signed", waiver.waiver.id));
        }
        if recorded.len() != granted.len() {
            let (signed, kept) = (granted.len(), recorded.len());
            report.problem(format!("{signed} waivers are signed, and {kept} are recorded"));
        }
        Ok(())
    }
}

/// Checks a page on all processors.
async fn check_page(parts: Vec<Part>, checker: &Arc<Checker>) -> Result<Vec<Outcome>, StoreError> {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let share = parts.len().div_ceil(processors).max(1);
    let mut parts = parts.into_iter();
    let mut tasks = Vec::new();
    loop {
        let some: Vec<Part> = parts.by_ref().take(share).collect();
        if some.is_empty() {
            break;
        }
        let checker = Arc::clone(checker);
        tasks.push(tokio::spawn(blocking(move || {
            Ok(some.into_iter().map(|part| checker.part(part)).collect::<Vec<_>>())
        })));
    }
    let mut out = Vec::new();
    for task in tasks {
        out.extend(task.await.map_err(|_| StoreError::Closed)??);
    }
    Ok(out)
}

/// What entries are checked against.
struct Checker {
    keys: KeyHistory,
    files: TileFiles,
    path: PathBuf,
}

impl Checker {
    fn part(&self, part: Part) -> Outcome {
        let Part { stored, places, records, forgotten, published } = part;
        let kept = match stored.entries(&self.path, places.start / WIDTH) {
            Ok(kept) => kept,
            Err(StoreError::Corrupt { because, .. }) => return Err(because),
            Err(e) => return Err(e.to_string()),
        };
        if !kept.iter().map(|k| k.index).eq(places.clone()) {
            let Range { start, end } = places;
            return Err(format!("of the entries {start} to {} some are missing", end - 1));
        }
        let mut entries = Vec::with_capacity(kept.len());
        // Each key's signatures are verified together.
        for run in kept.chunk_by(|a, b| self.keys.at(a.index) == self.keys.at(b.index)) {
            entries.extend(self.entries(run, &records, &forgotten));
        }
        let problem = published.filter(|id| !self.is_published(*id, &entries));
        let problem =
            problem.map(|id| format!("the published bundle `{id}` differs from the database"));
        Ok(CheckedPart { entries, problem })
    }

    /// Checks entries of one key; their signatures all at once.
    fn entries(
        &self,
        kept: &[Kept],
        records: &HashMap<u64, Record>,
        forgotten: &HashSet<u64>,
    ) -> Vec<Checked> {
        let Some(first) = kept.first() else { return Vec::new() };
        let commitments: Vec<Commitment> = kept.iter().map(|k| k.entry.commitment()).collect();
        let envelopes: Vec<_> =
            kept.iter().zip(&commitments).map(|(kept, c)| envelope_of(kept, *c)).collect();
        let sound: Vec<&Envelope> = envelopes.iter().flatten().flatten().collect();
        let mut verified = verify_envelopes(&sound, self.keys.at(first.index)).into_iter();
        let mut out = Vec::with_capacity(kept.len());
        for ((kept, envelope), derived) in kept.iter().zip(&envelopes).zip(commitments) {
            let (index, commitment) = (kept.index, kept.beside.unwrap_or(derived));
            let statement = match envelope {
                Ok(Some(_)) => verified.next().map(|v| v.map_err(|e| e.to_string())).transpose(),
                Ok(None) if forgotten.contains(&index) => Ok(None),
                Ok(None) => Err("its content is gone, and no entry says why".to_owned()),
                Err(because) => Err(because.clone()),
            };
            let outcome = statement.and_then(|statement| {
                let record = records.get(&index);
                statement.as_ref().map_or(Ok(()), |s| compare(kept, record, s))?;
                Ok(statement.filter(|s| WAIVERS.contains(&s.predicate_type())))
            });
            let (waiver, problem) = match outcome {
                Ok(waiver) => (waiver, None),
                Err(because) => (None, Some(because)),
            };
            let forgotten = kept.content().is_none();
            out.push(Checked { index, commitment, waiver, forgotten, problem });
        }
        out
    }

    /// Whether a published bundle holds the first of these entries.
    fn is_published(&self, id: TileId, entries: &[Checked]) -> bool {
        let found = self.files.tile(id).ok().and_then(|b| parse_entry_bundle(&b));
        let wanted = entries.iter().take(usize::from(id.width)).map(|e| e.commitment);
        found.is_some_and(|found| found.len() == usize::from(id.width) && wanted.eq(found))
    }
}

/// The envelope of an entry, whose signature is not verified yet; `None` of one that was forgotten.
fn envelope_of(kept: &Kept, commitment: Commitment) -> Result<Option<Envelope>, String> {
    let Some((_, envelope)) = kept.content() else { return Ok(None) };
    if kept.beside.is_some_and(|beside| beside != commitment) {
        return Err("its commitment is not that of its envelope".into());
    }
    Envelope::parse(envelope).map(Some).map_err(|e| e.to_string())
}

/// Compares a statement with the kind and the record that stand beside it.
fn compare(
    kept: &Kept,
    record: Option<&Record>,
    statement: &VerifiedStatement,
) -> Result<(), String> {
    if kept.entry.kind != statement.predicate_type() {
        return Err("its kind is not that of its statement".into());
    }
    if statement.predicate_type() == VSA_TYPE && record != Some(&signed_record(statement)?) {
        return Err("its record is not what was signed".into());
    }
    Ok(())
}

/// The record that belongs to a signed decision.
fn signed_record(statement: &VerifiedStatement) -> Result<Record, String> {
    let signed = read_decision(statement.value()).map_err(|e| e.to_string())?;
    let facts = statement.value().pointer("/predicate/countersign/factsDigest/sha256");
    let facts = facts.and_then(Value::as_str).and_then(|hex| hex.parse().ok());
    Ok(Record {
        purl: signed.purl.to_string(),
        file_name: signed.file_name,
        sha256: signed.sha256.map(Sha256Digest::to_hex),
        verdict: signed.verdict.to_string(),
        time: signed.time_verified.0,
        facts: facts.ok_or("the digest of its facts is missing")?,
    })
}

/// Builds up, from the signed entries alone, what the waivers should be.
fn replay_waiver(granted: &mut Vec<StoredWaiver>, index: u64, statement: &VerifiedStatement) {
    let Some(predicate) = statement.value().get("predicate") else { return };
    if statement.predicate_type() == WAIVER_TYPE {
        let waiver = serde_json::from_value::<Waiver>(predicate.clone()).ok();
        granted.extend(waiver.map(|waiver| StoredWaiver {
            waiver,
            index,
            revoked: None,
            revoked_index: None,
        }));
        return;
    }
    let text = |name: &str| predicate.get(name).and_then(Value::as_str);
    let named = granted.iter_mut().find(|w| Some(w.waiver.id.as_str()) == text("id"));
    if let Some(waiver) = named {
        waiver.revoked = text("revoked").and_then(Timestamp::parse);
        waiver.revoked_index = Some(index);
    }
}
