//! Other people's ledgers, read as anyone reads them (C2SP tlog-tiles), and witnesses for one's own
//! (C2SP tlog-witness).

use crate::disclosure::{check_line, statements_path};
use crate::http_client::{Http, redacted};
use countersign_ledger::{
    AddCheckpoint, Commitment, Cosigned, Hash, KeyHistory, Quorum, ROTATIONS_FILE, Rotation,
    TileId, TileKind, TileSource as _, VerifiedCheckpoint, VerifierKey, WitnessKey,
    consistency_proof, consistency_tiles, inclusion_proof, inclusion_tiles, leaf_hash,
    merge_cosignatures, parse_entry_bundle, read_rotations, read_size_body, root, root_tiles,
    verify_consistency, verify_inclusion,
};
use countersign_store::{Store, StoreError, TileFiles};
use http::{HeaderMap, Method, StatusCode};
use std::collections::HashMap;
use std::path::PathBuf;
use url::Url;

/// Largest tile or checkpoint that is read, in bytes: 256 entries of 64 KiB.
const MAX_FILE: usize = 16 << 20;

/// Largest answer of a witness, in bytes.
const MAX_ANSWER: usize = 64 << 10;

/// Why a log could not be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FollowError {
    /// The log shows something that an honest log cannot show.
    #[error("{0}")]
    Alarm(String),
    /// It could not be read, which may pass.
    #[error("{0}")]
    Unreadable(String),
}

/// What following a log found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Followed {
    /// The checkpoint, to be kept for the next time.
    pub note: String,
    /// Size of the tree that was seen before; `None` the first time.
    pub before: Option<u64>,
    /// Its size now.
    pub size: u64,
    /// Its root.
    pub root: Hash,
    /// New entries whose leaves were derived and compared with the tiles.
    pub entries: u64,
    /// Statements that are published with them and were compared with what they commit to.
    pub statements: u64,
    /// Whose cosignatures it carries, of the witnesses that were given.
    pub cosigned: Vec<Cosigned>,
    /// The log's present key, when it is another than the one that was given.
    pub key: Option<String>,
}

enum Place {
    Web(Box<Http>, Url),
    Folder(PathBuf),
}

/// A log of somebody else: an address under which `checkpoint` and `tile/` are, or a folder.
pub struct RemoteLog {
    place: Place,
}

impl RemoteLog {
    /// The log at an `http` or `https` address, or in a folder.
    ///
    /// # Errors
    /// When the address cannot be used.
    pub fn new(place: &str) -> Result<Self, String> {
        if !place.starts_with("http://") && !place.starts_with("https://") {
            return Ok(Self { place: Place::Folder(PathBuf::from(place)) });
        }
        let base = format!("{}/", place.trim_end_matches('/'));
        let url = Url::parse(&base).map_err(|e| format!("`{place}` is no address: {e}"))?;
        Ok(Self { place: Place::Web(Box::new(Http::plain()?), url) })
    }

    /// A file of the log; `None` when it is not there.
    async fn file(&self, path: &str) -> Result<Option<Vec<u8>>, FollowError> {
        let unreadable = FollowError::Unreadable;
        match &self.place {
            Place::Folder(dir) => match tokio::fs::read(dir.join(path)).await {
                Ok(bytes) => Ok(Some(bytes)),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
                Err(e) => Err(unreadable(format!("`{path}` cannot be read: {e}"))),
            },
            Place::Web(http, base) => {
                let url = base.join(path).map_err(|e| unreadable(e.to_string()))?;
                let got = http.document(&url, HeaderMap::new(), MAX_FILE).await;
                let got = got.map_err(|f| unreadable(f.detail))?;
                match got.status {
                    StatusCode::OK => Ok(Some(got.body.to_vec())),
                    StatusCode::NOT_FOUND | StatusCode::GONE => Ok(None),
                    other => Err(unreadable(format!("{} answers {other}", redacted(&url)))),
                }
            }
        }
    }

    /// The checkpoint; where witnesses are wanted the one that they signed, which this gate keeps
    /// apart, since it may be of a smaller tree.
    async fn checkpoint(&self, cosigned: bool) -> Result<String, FollowError> {
        let apart = if cosigned { self.file("checkpoint.cosigned").await? } else { None };
        let bytes = match apart {
            Some(bytes) => Some(bytes),
            None => self.file("checkpoint").await?,
        };
        let bytes = bytes.ok_or(FollowError::Unreadable("the log has no checkpoint".into()))?;
        String::from_utf8(bytes).map_err(|_| alarm("the checkpoint is not text"))
    }

    /// The rotations of the log's key, where it publishes any.
    async fn rotations(&self) -> Result<Vec<Rotation>, FollowError> {
        match self.file(ROTATIONS_FILE).await? {
            Some(bytes) => read_rotations(&bytes).map_err(|e| alarm(e.to_string())),
            None => Ok(Vec::new()),
        }
    }

    /// These tiles. Which are missing is for the reader to notice.
    async fn tiles(
        &self,
        ids: impl IntoIterator<Item = TileId>,
    ) -> Result<HashMap<(TileKind, u64), Vec<u8>>, FollowError> {
        let mut tiles = HashMap::new();
        for id in ids {
            let mut bytes = match &self.place {
                Place::Folder(dir) => TileFiles::new(dir.clone()).tile(id).ok(),
                Place::Web(..) => self.file(&id.path()).await?,
            };
            if bytes.is_none() && !id.is_full() {
                bytes = self.file(&TileId { width: 256, ..id }.path()).await?;
            }
            if let Some(bytes) = bytes {
                tiles.insert((id.kind, id.index), bytes);
            }
        }
        Ok(tiles)
    }
}

fn alarm(text: impl Into<String>) -> FollowError {
    FollowError::Alarm(text.into())
}

/// Reads a log's present checkpoint and proves that it continues what was seen before: signature,
/// witnesses, consistency, the tiles' root, and of every new entry that its leaf is in the tiles.
///
/// # Errors
/// [`FollowError::Alarm`] when any of that does not hold, [`FollowError::Unreadable`] when the log
/// cannot be read.
pub async fn follow(
    log: &RemoteLog,
    key: &VerifierKey,
    quorum: &Quorum,
    before: Option<&str>,
) -> Result<Followed, FollowError> {
    let rotations = log.rotations().await?;
    let keys = KeyHistory::resolve(key, &rotations).map_err(|e| alarm(e.to_string()))?;
    // What was kept may be from before a rotation that made the trusted key.
    let own = keys.clone().trusting_all();
    let old = before.map(|note| own.verify_checkpoint(note)).transpose();
    let old = old.map_err(|e| {
        FollowError::Unreadable(format!("what was kept from last time is not trusted: {e}"))
    })?;
    let note = log.checkpoint(quorum.needed() > 0).await?;
    let head = keys
        .verify_checkpoint(&note)
        .map_err(|e| alarm(format!("the checkpoint is not trusted: {e}")))?;
    rotations_are_in(log, &rotations, &head).await?;
    let cosigned = quorum.check(&note).map_err(|e| alarm(e.to_string()))?;
    if let Some(old) = &old {
        continues(log, old, &head).await?;
    }
    let ids = root_tiles(head.size()).map_err(|e| alarm(e.to_string()))?;
    let tiles = log.tiles(ids).await?;
    let found = root(head.size(), &tiles).map_err(|e| FollowError::Unreadable(e.to_string()))?;
    if found != head.root() {
        return Err(alarm("the tiles do not lead to the checkpoint's root"));
    }
    let from = old.as_ref().map_or(0, VerifiedCheckpoint::size);
    let (entries, statements) = new_entries(log, from, head.size(), &keys).await?;
    let (size, root) = (head.size(), head.root());
    let before = old.map(|o| o.size());
    let rotated = keys.current() != key;
    let key = rotated.then(|| keys.current().to_string());
    Ok(Followed { note, before, size, root, entries, statements, cosigned, key })
}

/// Proves that the rotations that lead to or from the trusted key are entries of this tree. One that
/// came after the checkpoint is none of it yet.
async fn rotations_are_in(
    log: &RemoteLog,
    rotations: &[Rotation],
    head: &VerifiedCheckpoint,
) -> Result<(), FollowError> {
    for rotation in rotations.iter().filter(|r| r.leaf_index() < head.size()) {
        let (index, size) = (rotation.leaf_index(), head.size());
        let ids = inclusion_tiles(index, size).map_err(|e| alarm(e.to_string()))?;
        let tiles = log.tiles(ids).await?;
        let proof = inclusion_proof(index, size, &tiles)
            .map_err(|e| FollowError::Unreadable(e.to_string()))?;
        let leaf = leaf_hash(&rotation.commitment().map_err(|e| alarm(e.to_string()))?);
        verify_inclusion(leaf, index, size, &proof, head.root()).map_err(|_| {
            alarm(format!("the key rotation that is shown as entry {index} is not in the log"))
        })?;
    }
    Ok(())
}

async fn continues(
    log: &RemoteLog,
    old: &VerifiedCheckpoint,
    new: &VerifiedCheckpoint,
) -> Result<(), FollowError> {
    if new.size() < old.size() {
        return Err(alarm(format!(
            "the log had {} entries and shows {} now: it was rolled back",
            old.size(),
            new.size()
        )));
    }
    if new.size() == old.size() {
        return match new.root() == old.root() {
            true => Ok(()),
            false => Err(alarm(format!("the log shows two trees of {} entries", new.size()))),
        };
    }
    let ids = consistency_tiles(old.size(), new.size()).map_err(|e| alarm(e.to_string()))?;
    let tiles = log.tiles(ids).await?;
    let proof = consistency_proof(old.size(), new.size(), &tiles)
        .map_err(|e| FollowError::Unreadable(e.to_string()))?;
    verify_consistency(old.size(), old.root(), new.size(), new.root(), &proof).map_err(|_| {
        alarm(format!(
            "the log of {} entries does not continue the one of {} that was seen before: it has forked",
            new.size(),
            old.size()
        ))
    })
}

/// Compares the entries from `from` on with the tiles of their leaves, and the statements that are
/// published of them with the entries. How many of both.
async fn new_entries(
    log: &RemoteLog,
    from: u64,
    size: u64,
    keys: &KeyHistory,
) -> Result<(u64, u64), FollowError> {
    let mut seen = 0;
    let mut statements = 0;
    for index in from / 256..size.div_ceil(256) {
        let ids =
            [TileKind::Entries, TileKind::Hashes(0)].map(|kind| TileId::in_tree(kind, index, size));
        let tiles = log.tiles(ids.into_iter().flatten()).await?;
        let width = usize::try_from(size.saturating_sub(index * 256).min(256)).unwrap_or(256);
        let lacks = |what| FollowError::Unreadable(format!("{what} {index} is missing or cut off"));
        let bundle = tiles.get(&(TileKind::Entries, index)).ok_or_else(|| lacks("bundle"))?;
        let bundle = parse_entry_bundle(bundle)
            .filter(|b| b.len() >= width)
            .ok_or_else(|| lacks("bundle"))?;
        let leaves = tiles.get(&(TileKind::Hashes(0), index)).and_then(|t| t.get(..width * 32));
        let leaves = leaves.ok_or_else(|| lacks("tile"))?;
        let derived: Vec<u8> = bundle.iter().take(width).flat_map(|e| leaf_hash(e).0).collect();
        if derived != leaves {
            return Err(alarm(format!("bundle {index} holds other entries than the tree")));
        }
        seen += u64::try_from(width).unwrap_or(0);
        statements += published_statements(log, index, &bundle, keys).await?;
    }
    Ok((seen, statements))
}

/// Checks what is published of a bundle's statements, where anything is.
async fn published_statements(
    log: &RemoteLog,
    bundle: u64,
    entries: &[Commitment],
    keys: &KeyHistory,
) -> Result<u64, FollowError> {
    let Some(text) = log.file(&statements_path(bundle)).await? else { return Ok(0) };
    let text = String::from_utf8(text).map_err(|_| alarm("the statements are not text"))?;
    let mut shown = 0;
    for ((line, entry), index) in text.lines().zip(entries).zip(bundle * 256..) {
        let line: serde_json::Value = serde_json::from_str(line)
            .map_err(|e| alarm(format!("the statement of entry {index} is no JSON: {e}")))?;
        shown += u64::from(check_line(&line, index, entry, keys).map_err(alarm)?);
    }
    Ok(shown)
}

/// A witness: where it is asked, and whose cosignature is believed.
#[derive(Debug, Clone)]
pub struct Witness {
    /// The submission prefix.
    pub url: Url,
    /// Its key.
    pub key: WitnessKey,
}

/// What asking the witnesses gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collected {
    /// The checkpoint with the cosignatures that it has now.
    pub note: String,
    /// Its size.
    pub size: u64,
    /// Who cosigned.
    pub cosigned: Vec<Cosigned>,
    /// Who did not, and why.
    pub failed: Vec<(String, String)>,
}

/// Asks each witness to cosign the ledger's present checkpoint, and keeps it when `needed` of them
/// did.
///
/// # Errors
/// When the store fails, and when a witness has cosigned more than the store has: then the ledger was
/// rolled back, and must not go on.
pub async fn collect(
    store: &Store,
    witnesses: &[Witness],
    needed: usize,
) -> Result<Collected, StoreError> {
    let current = store.checkpoint().await?;
    let mut note = current.ok_or(StoreError::NotFound { what: "a ledger".to_owned() })?;
    let keys = store.key_history().await?;
    let keys = keys.ok_or(StoreError::NotFound { what: "the ledger's public key".to_owned() })?;
    let size = keys
        .verify_checkpoint(&note)
        .map_err(|e| StoreError::Invalid { because: e.to_string() })?
        .size();
    let http = Http::plain().map_err(|because| StoreError::Invalid { because })?;
    let (mut cosigned, mut failed) = (Vec::new(), Vec::new());
    for witness in witnesses {
        match ask(store, &http, witness, &note, size).await? {
            Ok((merged, who)) => {
                note = merged;
                cosigned.push(who);
            }
            Err(because) => failed.push((witness.key.name().to_owned(), because)),
        }
    }
    if !cosigned.is_empty() && cosigned.len() >= needed {
        store.keep_cosigned(&note).await?;
    }
    Ok(Collected { note, size, cosigned, failed })
}

/// Asks one witness. The outer error ends everything, the inner one is the witness's own.
async fn ask(
    store: &Store,
    http: &Http,
    witness: &Witness,
    note: &str,
    size: u64,
) -> Result<Result<(String, Cosigned), String>, StoreError> {
    let remembered = format!("witness {}", witness.key);
    let known = store.meta_get(&remembered).await?;
    let mut old: u64 = known.and_then(|k| k.parse().ok()).filter(|o| *o <= size).unwrap_or(0);
    let address = format!("{}/add-checkpoint", witness.url.as_str().trim_end_matches('/'));
    let Ok(url) = Url::parse(&address) else { return Ok(Err("its address is none".to_owned())) };
    // Once with what is believed that it saw last, and once more with what it says.
    for _ in 0..2 {
        let proof = store.consistency_between(old, size).await?;
        let body = AddCheckpoint { old, proof, checkpoint: note.to_owned() }.to_text();
        let answer = http.ask(Method::POST, &url, HeaderMap::new(), body.into(), MAX_ANSWER).await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(e) => return Ok(Err(e.detail)),
        };
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        match answer.status {
            StatusCode::OK => {
                return match merge_cosignatures(note, &text, &witness.key) {
                    Ok(Some(merged)) => {
                        store.meta_put(&remembered, &size.to_string()).await?;
                        Ok(Ok(merged))
                    }
                    Ok(None) => Ok(Err("its answer is no cosignature of its key".to_owned())),
                    Err(e) => Ok(Err(e.to_string())),
                };
            }
            StatusCode::CONFLICT => match read_size_body(&text) {
                Some(seen) if seen > size => {
                    return Err(StoreError::RolledBack { published: seen, database: size });
                }
                Some(seen) if seen != old => old = seen,
                _ => return Ok(Err("it has cosigned another tree of this size".to_owned())),
            },
            other => return Ok(Err(format!("it answers {other}: {}", text.trim()))),
        }
    }
    Ok(Err("it changes its mind about what it has seen".to_owned()))
}
