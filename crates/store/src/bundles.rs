//! Entries as the database keeps them: new ones as rows, and each 256 that are complete folded into
//! one compressed row.
//!
//! A commit writes its entries as rows of `entries`. In the same transaction, the commit that
//! completes a bundle (the 256 entries that a published entry bundle holds) folds it: its entries
//! move into one row of `bundles`, packed and compressed, and their rows go, with the tile over their
//! leaves. A crash leaves the rows as they were. An entry is in one of the two places, never in both
//! and never in none. Commitments and that tile follow from the entries and are not kept beside them.
//!
//! Nothing is folded that would not come back: a row whose commitment is not that of its content, or
//! a bundle that is larger than a bundle should be, stays as it is, and so is read as it is.

use crate::error::StoreError;
use crate::store::blocking;
use crate::tiles::{to_i64, to_u64};
use countersign_core::Timestamp;
use countersign_ledger::statement::VSA_TYPE;
use countersign_ledger::{Commitment, PackedContent, PackedEntry, Salt, TILE_WIDTH, pack, unpack};
use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Entries of a bundle.
pub(crate) const WIDTH: u64 = TILE_WIDTH as u64;

/// The first byte of a folded bundle.
const VERSION: u8 = 1;

/// Entries that are compressed together. More of them take fewer bytes, and fewer of them less time
/// to read a single one: it is what a decision that is known costs.
const FRAME: usize = 32;

/// How hard zstd tries. Higher levels take several times as long and save a few per cent.
const LEVEL: i32 = 3;

/// Most bytes of a bundle before compression: it is folded in memory, within a commit.
const MAX_BUNDLE: usize = 16 << 20;

/// An entry as it is kept, wherever that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    /// Its place in the ledger.
    pub(crate) index: u64,
    /// What is kept of it.
    pub(crate) entry: PackedEntry,
    /// The commitment that stands beside it; a folded entry has none but its own.
    pub(crate) beside: Option<Commitment>,
}

impl Kept {
    /// Salt and envelope; `None` of an entry that was forgotten.
    pub(crate) fn content(&self) -> Option<(Salt, &[u8])> {
        match &self.entry.content {
            PackedContent::Kept { salt, envelope } => Some((*salt, envelope)),
            PackedContent::Forgotten { .. } => None,
        }
    }

    /// The commitment that the tree was made from.
    pub(crate) fn commitment(&self) -> Commitment {
        self.beside.unwrap_or_else(|| self.entry.commitment())
    }
}

/// The entry at a place; `None` when there is none.
pub(crate) async fn entry_at(
    conn: &mut SqliteConnection,
    path: &Path,
    index: u64,
) -> Result<Option<Kept>, StoreError> {
    let end = index.saturating_add(1);
    if let Some(kept) = rows(conn, path, index, end).await?.pop() {
        return Ok(Some(kept));
    }
    let data = folded(conn, path, index / WIDTH, index / WIDTH).await?.pop();
    let Some((bundle, data)) = data else { return Ok(None) };
    let at = usize::try_from(index % WIDTH).unwrap_or(usize::MAX);
    let entry = one(&data, at).map_err(|because| damaged(path, bundle, because))?;
    Ok(Some(Kept { index, entry, beside: None }))
}

/// The entries `from..upto`, in order. What is missing is missing from the list.
pub(crate) async fn entries_in(
    conn: &mut SqliteConnection,
    path: &Path,
    from: u64,
    upto: u64,
) -> Result<Vec<Kept>, StoreError> {
    let stored = stored_in(conn, path, from, upto).await?;
    let path = path.to_owned();
    blocking(move || {
        let mut out = Vec::new();
        for (bundle, stored) in stored {
            out.extend(stored.entries(&path, bundle)?);
        }
        out.retain(|kept| (from..upto).contains(&kept.index));
        Ok(out)
    })
    .await
}

/// The entries of one bundle that lies folded.
pub(crate) async fn all(path: &Path, bundle: u64, data: Vec<u8>) -> Result<Vec<Kept>, StoreError> {
    let path = path.to_owned();
    let stored = Stored { rows: Vec::new(), folded: Some(data) };
    blocking(move || stored.entries(&path, bundle)).await
}

/// What the database has of a bundle, as it has it.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    rows: Vec<Kept>,
    folded: Option<Vec<u8>>,
}

impl Stored {
    /// The entries. They are decompressed, which takes a millisecond.
    pub(crate) fn entries(self, path: &Path, bundle: u64) -> Result<Vec<Kept>, StoreError> {
        let mut out = self.rows;
        if let Some(data) = self.folded {
            let entries = unfold(&data).map_err(|because| damaged(path, bundle, because))?;
            let first = bundle.saturating_mul(WIDTH);
            let kept = |(index, entry)| Kept { index, entry, beside: None };
            out.extend((first..).zip(entries).map(kept));
            out.sort_by_key(|e| e.index);
        }
        Ok(out)
    }
}

/// What the database has of the bundles with the entries `from..upto`, by their places.
pub(crate) async fn stored_in(
    conn: &mut SqliteConnection,
    path: &Path,
    from: u64,
    upto: u64,
) -> Result<BTreeMap<u64, Stored>, StoreError> {
    let mut out: BTreeMap<u64, Stored> = BTreeMap::new();
    for kept in rows(conn, path, from, upto).await? {
        out.entry(kept.index / WIDTH).or_default().rows.push(kept);
    }
    if upto > from {
        for (bundle, data) in folded(conn, path, from / WIDTH, (upto - 1) / WIDTH).await? {
            out.entry(bundle).or_default().folded = Some(data);
        }
    }
    Ok(out)
}

/// Which entries a search wants, beside decisions, which it finds by their records.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// Of this predicate type.
    pub(crate) kind: Option<&'a str>,
    /// From this time on.
    pub(crate) since: Option<Timestamp>,
    /// Before this time.
    pub(crate) until: Option<Timestamp>,
}

impl Wanted<'_> {
    pub(crate) fn has(&self, kept: &Kept) -> bool {
        let entry = &kept.entry;
        entry.kind != VSA_TYPE
            && self.kind.is_none_or(|kind| kind == entry.kind)
            && self.since.is_none_or(|since| entry.time >= since)
            && self.until.is_none_or(|until| entry.time < until)
    }
}

/// The last folded bundle that begins below a place and may hold what is wanted, with its bytes.
pub(crate) async fn folded_before(
    conn: &mut SqliteConnection,
    path: &Path,
    before: u64,
    wanted: &Wanted<'_>,
) -> Result<Option<(u64, Vec<u8>)>, StoreError> {
    let found = sqlx::query_as::<_, (i64, Vec<u8>)>(
        "SELECT idx, data FROM bundles WHERE idx < ?1 AND decisions < ?5 \
         AND (?2 IS NULL OR instr(kinds, char(10) || ?2 || char(10)) > 0) \
         AND (?3 IS NULL OR latest >= ?3) AND (?4 IS NULL OR earliest < ?4) \
         ORDER BY idx DESC LIMIT 1",
    )
    .bind(to_i64(before.div_ceil(WIDTH)))
    .bind(wanted.kind)
    .bind(wanted.since.map(|t| t.0))
    .bind(wanted.until.map(|t| t.0))
    .bind(to_i64(WIDTH))
    .fetch_optional(conn)
    .await;
    let found = match found {
        Err(e) if is_of_an_earlier_version(&e) => None,
        found => found.map_err(|e| StoreError::sql(path, e))?,
    };
    found.map(|(idx, data)| Ok((to_u64(idx, path)?, data))).transpose()
}

/// The last entries that lie as rows in `from..before` and are wanted, newest first.
pub(crate) async fn wanted_rows(
    conn: &mut SqliteConnection,
    path: &Path,
    from: u64,
    before: u64,
    wanted: &Wanted<'_>,
    limit: u32,
) -> Result<Vec<Kept>, StoreError> {
    let rows = sqlx::query(
        "SELECT idx, kind, time, salt, envelope, commitment FROM entries \
         WHERE idx >= ?1 AND idx < ?2 AND kind <> ?6 AND (?3 IS NULL OR kind = ?3) \
         AND (?4 IS NULL OR time >= ?4) AND (?5 IS NULL OR time < ?5) \
         ORDER BY idx DESC LIMIT ?7",
    )
    .bind(to_i64(from))
    .bind(to_i64(before))
    .bind(wanted.kind)
    .bind(wanted.since.map(|t| t.0))
    .bind(wanted.until.map(|t| t.0))
    .bind(VSA_TYPE)
    .bind(limit)
    .fetch_all(conn)
    .await
    .map_err(|e| StoreError::sql(path, e))?;
    rows.iter().map(|row| kept(row, path)).collect()
}

/// How many entries the database has, where they end, and how many of them are decisions.
pub(crate) async fn counts(
    conn: &mut SqliteConnection,
    path: &Path,
) -> Result<(u64, u64, u64), StoreError> {
    let err = |e| StoreError::sql(path, e);
    let of_rows = "SELECT count(*), coalesce(max(idx) + 1, 0), \
        coalesce(sum(kind = ?), 0) FROM entries";
    let of_bundles = "SELECT count(*) * ?1, coalesce((max(idx) + 1) * ?1, 0), \
        coalesce(sum(decisions), 0) FROM bundles";
    let rows: (i64, i64, i64) =
        sqlx::query_as(of_rows).bind(VSA_TYPE).fetch_one(&mut *conn).await.map_err(err)?;
    let bundles = sqlx::query_as(of_bundles).bind(to_i64(WIDTH)).fetch_one(&mut *conn).await;
    let bundles: (i64, i64, i64) = match bundles {
        Err(e) if is_of_an_earlier_version(&e) => (0, 0, 0),
        bundles => bundles.map_err(err)?,
    };
    // A forgotten decision has no record; that it was one is told by not being an event.
    let forgotten: Result<i64, sqlx::Error> = sqlx::query_scalar(
        "SELECT count(*) FROM forgotten WHERE idx NOT IN (SELECT idx FROM events)",
    )
    .fetch_one(conn)
    .await;
    let forgotten = match forgotten {
        Err(e) if is_of_an_earlier_version(&e) => 0,
        forgotten => forgotten.map_err(err)?,
    };
    let sum = |a: i64, b: i64| to_u64(a.saturating_add(b), path);
    let decisions = rows.2.saturating_sub(forgotten);
    Ok((sum(rows.0, bundles.0)?, to_u64(rows.1.max(bundles.1), path)?, sum(decisions, bundles.2)?))
}

/// The entries `from..upto` that lie as rows, in order.
pub(crate) async fn rows(
    conn: &mut SqliteConnection,
    path: &Path,
    from: u64,
    upto: u64,
) -> Result<Vec<Kept>, StoreError> {
    let rows = sqlx::query(
        "SELECT idx, kind, time, salt, envelope, commitment FROM entries \
         WHERE idx >= ? AND idx < ? ORDER BY idx",
    )
    .bind(to_i64(from))
    .bind(to_i64(upto))
    .fetch_all(conn)
    .await
    .map_err(|e| StoreError::sql(path, e))?;
    rows.iter().map(|row| kept(row, path)).collect()
}

fn kept(row: &SqliteRow, path: &Path) -> Result<Kept, StoreError> {
    let err = |e| StoreError::sql(path, e);
    let bad = |what: &str| StoreError::corrupt(path, format!("{what} has another length"));
    let salt: Vec<u8> = row.try_get(3).map_err(err)?;
    let envelope: Vec<u8> = row.try_get(4).map_err(err)?;
    let commitment: Vec<u8> = row.try_get(5).map_err(err)?;
    let commitment: Commitment = commitment.try_into().map_err(|_| bad("a ledger entry"))?;
    // Of what was forgotten the columns are empty.
    let content = match (salt.is_empty(), envelope.is_empty()) {
        (true, true) => PackedContent::Forgotten { commitment },
        _ => PackedContent::Kept { salt: salt.try_into().map_err(|_| bad("a salt"))?, envelope },
    };
    Ok(Kept {
        index: to_u64(row.try_get(0).map_err(err)?, path)?,
        entry: PackedEntry {
            kind: row.try_get(1).map_err(err)?,
            time: Timestamp(row.try_get(2).map_err(err)?),
            content,
        },
        beside: Some(commitment),
    })
}

/// The bundles `first..=last` that lie folded, with their bytes.
async fn folded(
    conn: &mut SqliteConnection,
    path: &Path,
    first: u64,
    last: u64,
) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
    let found = sqlx::query_as::<_, (i64, Vec<u8>)>(
        "SELECT idx, data FROM bundles WHERE idx >= ? AND idx <= ? ORDER BY idx",
    )
    .bind(to_i64(first))
    .bind(to_i64(last))
    .fetch_all(conn)
    .await;
    let found = match found {
        Err(e) if is_of_an_earlier_version(&e) => Vec::new(),
        found => found.map_err(|e| StoreError::sql(path, e))?,
    };
    found.into_iter().map(|(idx, data)| Ok((to_u64(idx, path)?, data))).collect()
}

/// Whether the database has no such table yet: one of an earlier version that is open for reading only,
/// and so was not brought to this one.
pub(crate) fn is_of_an_earlier_version(e: &sqlx::Error) -> bool {
    const TABLES: [&str; 4] = ["bundles", "forgotten", "forgotten_blobs", "about"];
    let message = e.as_database_error().map(|d| d.message());
    let table = message.and_then(|m| m.strip_prefix("no such table: "));
    table.is_some_and(|table| TABLES.contains(&table))
}

fn damaged(path: &Path, bundle: u64, because: String) -> StoreError {
    let (from, upto) = (bundle.saturating_mul(WIDTH), bundle.saturating_mul(WIDTH) + WIDTH - 1);
    StoreError::corrupt(path, format!("ledger entries {from} to {upto} cannot be read: {because}"))
}

/// Folds the bundle at a place among bundles, within a transaction. `false` when it stays as it is.
pub(crate) async fn fold(
    tx: &mut SqliteConnection,
    path: &Path,
    bundle: u64,
) -> Result<bool, StoreError> {
    let first = bundle.saturating_mul(WIDTH);
    let upto = first.saturating_add(WIDTH);
    let rows = rows(tx, path, first, upto).await?;
    let summary = Summary::of(&rows);
    let Some(data) = blocking(move || Ok(folding(&rows))).await? else {
        tracing::debug!(bundle, "a bundle of ledger entries stays unfolded");
        return Ok(false);
    };
    let err = |e| StoreError::sql(path, e);
    sqlx::query(
        "INSERT INTO bundles (idx, kinds, decisions, earliest, latest, data) \
         VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(to_i64(bundle))
    .bind(summary.kinds)
    .bind(summary.decisions)
    .bind(summary.earliest)
    .bind(summary.latest)
    .bind(data)
    .execute(&mut *tx)
    .await
    .map_err(err)?;
    let gone = sqlx::query("DELETE FROM entries WHERE idx >= ? AND idx < ?")
        .bind(to_i64(first))
        .bind(to_i64(upto))
        .execute(&mut *tx)
        .await
        .map_err(err)?;
    if gone.rows_affected() != WIDTH {
        return Err(StoreError::corrupt(
            path,
            "a bundle of ledger entries changed while it was read",
        ));
    }
    let tile = sqlx::query("DELETE FROM tiles WHERE level = 0 AND idx = ?").bind(to_i64(bundle));
    tile.execute(tx).await.map_err(err)?;
    Ok(true)
}

/// Erases the content of the entry at a place, within a transaction; its commitment stays. `false` when
/// there is no content there.
pub(crate) async fn forget(
    tx: &mut SqliteConnection,
    path: &Path,
    index: u64,
) -> Result<bool, StoreError> {
    let err = |e| StoreError::sql(path, e);
    let row =
        "UPDATE entries SET salt = x'', envelope = x'' WHERE idx = ? AND length(envelope) > 0";
    let row = sqlx::query(row).bind(to_i64(index)).execute(&mut *tx).await.map_err(err)?;
    if row.rows_affected() == 1 {
        return Ok(true);
    }
    let bundle = index / WIDTH;
    let Some((_, data)) = folded(tx, path, bundle, bundle).await?.pop() else { return Ok(false) };
    let at = usize::try_from(index % WIDTH).unwrap_or(usize::MAX);
    let without = blocking(move || Ok(without(&data, at))).await?;
    let Some(data) = without.map_err(|because| damaged(path, bundle, because))? else {
        return Ok(false);
    };
    sqlx::query("UPDATE bundles SET data = ? WHERE idx = ?")
        .bind(data)
        .bind(to_i64(bundle))
        .execute(tx)
        .await
        .map_err(err)?;
    Ok(true)
}

/// The first bundle from `from` on whose entries lie as rows although all of them are there, in a
/// ledger of `size` entries; `None` when there is none.
pub(crate) async fn unfolded_from(
    conn: &mut SqliteConnection,
    path: &Path,
    from: u64,
    size: u64,
) -> Result<Option<u64>, StoreError> {
    let first: Option<i64> = sqlx::query_scalar("SELECT min(idx) FROM entries WHERE idx >= ?")
        .bind(to_i64(from.saturating_mul(WIDTH)))
        .fetch_one(conn)
        .await
        .map_err(|e| StoreError::sql(path, e))?;
    let bundle = first.map(|idx| to_u64(idx, path)).transpose()?.map(|idx| idx / WIDTH);
    Ok(bundle.filter(|b| *b < size / WIDTH))
}

/// What a search needs to know of a bundle, to pass by most of them.
struct Summary {
    /// The predicate types in it, each between line breaks.
    kinds: String,
    decisions: i64,
    earliest: i64,
    latest: i64,
}

impl Summary {
    fn of(rows: &[Kept]) -> Self {
        let kinds: BTreeSet<&str> = rows.iter().map(|r| r.entry.kind.as_str()).collect();
        let decisions = rows.iter().filter(|r| r.entry.kind == VSA_TYPE).count();
        let times = || rows.iter().map(|r| r.entry.time.0);
        Self {
            kinds: kinds.iter().fold("\n".to_owned(), |all, kind| all + kind + "\n"),
            decisions: i64::try_from(decisions).unwrap_or(i64::MAX),
            earliest: times().min().unwrap_or_default(),
            latest: times().max().unwrap_or_default(),
        }
    }
}

/// The bytes of a whole bundle, from which the very same entries come back; else `None`.
fn folding(rows: &[Kept]) -> Option<Vec<u8>> {
    let sound = |r: &Kept| r.beside == Some(r.entry.commitment());
    if rows.len() != usize::from(TILE_WIDTH) || !rows.iter().all(sound) {
        return None;
    }
    let bytes: usize = rows.iter().filter_map(|r| r.content().map(|(_, e)| e.len())).sum();
    if bytes > MAX_BUNDLE {
        return None;
    }
    let entries: Vec<PackedEntry> = rows.iter().map(|r| r.entry.clone()).collect();
    let data = compress(&entries)?;
    // What it is made from is about to go.
    (unfold(&data).as_deref() == Ok(entries.as_slice())).then_some(data)
}

/// A version byte, then each frame: the number of its bytes before and after compression, both in
/// four big-endian bytes, and the frame.
pub(crate) fn compress(entries: &[PackedEntry]) -> Option<Vec<u8>> {
    let mut compressor = zstd::bulk::Compressor::new(LEVEL).ok()?;
    let mut out = vec![VERSION];
    for part in entries.chunks(FRAME) {
        let packed = pack(part)?;
        let frame = compressor.compress(&packed).ok()?;
        out.extend(u32::try_from(packed.len()).ok()?.to_be_bytes());
        out.extend(u32::try_from(frame.len()).ok()?.to_be_bytes());
        out.extend(frame);
    }
    Some(out)
}

/// The frames of a folded bundle: each with the number of bytes that are in it.
fn frames(data: &[u8]) -> Result<Vec<(usize, &[u8])>, String> {
    let cut = || "it is cut off".to_owned();
    let (version, mut rest) = data.split_first().ok_or_else(cut)?;
    if *version != VERSION {
        return Err("it is of an unknown form".into());
    }
    let mut out = Vec::new();
    while !rest.is_empty() {
        let (head, after) = rest.split_first_chunk::<8>().ok_or_else(cut)?;
        let [a, b, c, d, e, f, g, h] = *head;
        let length = |bytes| usize::try_from(u32::from_be_bytes(bytes)).unwrap_or(usize::MAX);
        let (inside, frame) = (length([a, b, c, d]), length([e, f, g, h]));
        let (frame, after) = after.split_at_checked(frame).ok_or_else(cut)?;
        if inside > 2 * MAX_BUNDLE {
            return Err("it is too large".into());
        }
        out.push((inside, frame));
        rest = after;
    }
    Ok(out)
}

fn open(inside: usize, frame: &[u8]) -> Result<Vec<PackedEntry>, String> {
    let packed = zstd::bulk::decompress(frame, inside).map_err(|e| e.to_string())?;
    unpack(&packed).map_err(|e| e.to_string())
}

/// All entries of a folded bundle.
fn unfold(data: &[u8]) -> Result<Vec<PackedEntry>, String> {
    let mut out = Vec::with_capacity(usize::from(TILE_WIDTH));
    for (inside, frame) in frames(data)? {
        out.extend(open(inside, frame)?);
    }
    match out.len() == usize::from(TILE_WIDTH) {
        true => Ok(out),
        false => Err(format!("it has {} entries", out.len())),
    }
}

/// A folded bundle without the content of one entry; `None` when it has none there.
fn without(data: &[u8], at: usize) -> Result<Option<Vec<u8>>, String> {
    let mut entries = unfold(data)?;
    let entry = entries.get_mut(at).ok_or("it has fewer entries")?;
    if matches!(entry.content, PackedContent::Forgotten { .. }) {
        return Ok(None);
    }
    entry.content = PackedContent::Forgotten { commitment: entry.commitment() };
    compress(&entries).map(Some).ok_or_else(|| "it cannot be packed again".to_owned())
}

/// One entry of a folded bundle: only its frame is decompressed.
fn one(data: &[u8], at: usize) -> Result<PackedEntry, String> {
    let missing = || "it has fewer entries".to_owned();
    let (inside, frame) = frames(data)?.get(at / FRAME).copied().ok_or_else(missing)?;
    let entries = open(inside, frame)?;
    entries.into_iter().nth(at % FRAME).ok_or_else(missing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_ledger::commitment;
    use proptest::prelude::*;

    fn bundle(bytes: usize) -> Vec<Kept> {
        let entry = |n: u64| {
            let salt = [u8::try_from(n).unwrap(); 32];
            let envelope = vec![b'x'; bytes + usize::try_from(n).unwrap()];
            let beside = Some(commitment(&salt, &envelope));
            let content = PackedContent::Kept { salt, envelope };
            let entry = PackedEntry { kind: "urn:x".into(), time: Timestamp(5), content };
            Kept { index: n, entry, beside }
        };
        (0..WIDTH).map(entry).collect()
    }

    #[test]
    fn a_whole_bundle_is_folded_and_each_entry_comes_back() {
        let rows = bundle(100);
        let data = folding(&rows).unwrap();
        assert!(data.len() < 256 * 100, "{}", data.len());
        for (at, row) in rows.iter().enumerate() {
            assert_eq!(one(&data, at).unwrap(), row.entry, "{at}");
        }
        assert_eq!(unfold(&data).unwrap().len(), 256);
        assert!(one(&data, 256).is_err());
    }

    #[test]
    fn what_would_not_come_back_is_not_folded() {
        let whole = bundle(100);
        assert_eq!(folding(&whole[1..]), None, "an entry is missing");
        assert_eq!(folding(&bundle(MAX_BUNDLE / 256)), None, "too large");
        let mut changed = whole.clone();
        changed[7].beside = Some([0; 32]);
        assert_eq!(folding(&changed), None, "the commitment is another's");
        changed[7].beside = None;
        assert_eq!(folding(&changed), None, "there is no commitment to compare with");
    }

    #[test]
    fn cut_off_bundles_are_errors() {
        let data = folding(&bundle(3)).unwrap();
        for n in 0..data.len() {
            assert!(unfold(&data[..n]).is_err(), "{n} bytes");
        }
        let mut huge = data.clone();
        huge[1..5].copy_from_slice(&u32::MAX.to_be_bytes());
        assert_eq!(unfold(&huge), Err("it is too large".into()));
    }

    proptest! {
        #[test]
        fn damage_is_an_error_or_other_entries_and_never_a_panic(at in 0usize..100_000, to: u8) {
            let mut data = folding(&bundle(3)).unwrap();
            let at = at % data.len();
            data[at] = to;
            if let Ok(entries) = unfold(&data) {
                prop_assert_eq!(entries.len(), 256);
            }
        }
    }
}
