//! A TUF repository of the tests' own mint, good and broken; and what the ledger's entries add up to.

use super::tuf::{Origin, Repository, TufError, Versions, fetch};
use super::*;
use countersign_evidence::trust::TrustKind;
use countersign_evidence::tuf::to_canonical_bytes;
use countersign_store::{OpenMode, init_key};
use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::{Value, json};

use std::path::Path;
use tempfile::TempDir;

/// 2026-09-21.
const NOW: Timestamp = Timestamp(1_790_000_000);
const DAY: i64 = 86_400;

/// A key of the repository by its number.
struct Key(SigningKey, String);

fn key(seed: u8) -> Key {
    let key = SigningKey::from_bytes(&[seed; 32]);
    Key(key, format!("{seed:064x}"))
}

impl Key {
    fn public(&self) -> Value {
        json!({"keytype": "ed25519", "scheme": "ed25519",
            "keyval": {"public": hex::encode(self.0.verifying_key().as_bytes())}})
    }
}

/// A repository in a folder, and what it says.
struct Mint {
    dir: TempDir,
    /// Who signs the root; as many of them must as `threshold` says.
    root_keys: Vec<u8>,
    threshold: u64,
    /// Who signs the rest.
    online: u8,
    root: u64,
    timestamp: u64,
    snapshot: u64,
    targets: u64,
    expires: Timestamp,
    document: Vec<u8>,
}

impl Mint {
    fn new() -> Self {
        let mint = Self {
            dir: tempfile::tempdir().unwrap(),
            root_keys: vec![1, 2, 3],
            threshold: 2,
            online: 9,
            root: 1,
            timestamp: 1,
            snapshot: 1,
            targets: 1,
            expires: NOW.plus_seconds(7 * DAY),
            document: b"the root".to_vec(),
        };
        mint.write_root(&[1, 2]);
        mint.publish();
        mint
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        let path = self.dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    fn take(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.dir.path().join(name)).unwrap()
    }

    fn signed(&self, signed: &Value, by: &[u8]) -> Vec<u8> {
        let message = to_canonical_bytes(signed).unwrap();
        let signatures: Vec<Value> = by
            .iter()
            .map(|seed| {
                let Key(secret, id) = key(*seed);
                json!({"keyid": id, "sig": hex::encode(secret.sign(&message).to_bytes())})
            })
            .collect();
        json!({"signed": signed, "signatures": signatures}).to_string().into_bytes()
    }

    fn root_document(&self) -> Value {
        let ids = |seeds: &[u8]| -> Vec<String> { seeds.iter().map(|s| key(*s).1).collect() };
        let mut keys = serde_json::Map::new();
        for seed in self.root_keys.iter().chain([&self.online]) {
            let key = key(*seed);
            keys.insert(key.1.clone(), key.public());
        }
        let online = json!({"keyids": ids(&[self.online]), "threshold": 1});
        json!({
            "_type": "root", "spec_version": "1.0.31", "version": self.root,
            "expires": NOW.plus_seconds(365 * DAY).to_string(), "consistent_snapshot": true,
            "keys": keys,
            "roles": {
                "root": {"keyids": ids(&self.root_keys), "threshold": self.threshold},
                "timestamp": online.clone(), "snapshot": online.clone(), "targets": online,
            },
        })
    }

    fn write_root(&self, by: &[u8]) {
        self.put(&format!("{}.root.json", self.root), &self.signed(&self.root_document(), by));
    }

    /// The next root, with other keys, signed by those.
    fn rotate(&mut self, keys: &[u8], by: &[u8]) {
        self.root += 1;
        self.root_keys = keys.to_vec();
        self.write_root(by);
    }

    fn role(&self, kind: &str, version: u64, more: Value) -> Value {
        let mut signed = json!({"_type": kind, "spec_version": "1.0.31", "version": version,
            "expires": self.expires.to_string()});
        let Value::Object(more) = more else { panic!() };
        signed.as_object_mut().unwrap().extend(more);
        signed
    }

    /// Writes targets, snapshot and time stamp anew.
    fn publish(&self) {
        let digest = Sha256Digest::of(&self.document).to_hex();
        let target = json!({"length": self.document.len(), "hashes": {"sha256": digest}});
        let targets = json!({"targets": {"trusted_root.json": target}});
        let by = [self.online];
        let targets = self.signed(&self.role("targets", self.targets, targets), &by);
        self.put(&format!("targets/{digest}.trusted_root.json"), &self.document);
        self.put(&format!("{}.targets.json", self.targets), &targets);
        let meta = |name: &str, version: u64| json!({"meta": {name: {"version": version}}});
        let snapshot = meta("targets.json", self.targets);
        let snapshot = self.signed(&self.role("snapshot", self.snapshot, snapshot), &by);
        self.put(&format!("{}.snapshot.json", self.snapshot), &snapshot);
        let stamp = meta("snapshot.json", self.snapshot);
        let stamp = self.signed(&self.role("timestamp", self.timestamp, stamp), &by);
        self.put("timestamp.json", &stamp);
    }

    /// Publishes the next version of everything.
    fn next(&mut self, document: &[u8]) {
        self.timestamp += 1;
        self.snapshot += 1;
        self.targets += 1;
        self.document = document.to_vec();
        self.publish();
    }

    fn start(&self) -> Vec<u8> {
        self.take("1.root.json")
    }
}

async fn update(mint: &Mint, start: &[u8], kept: &Path) -> Result<tuf::Fetched, TufError> {
    update_at(mint, start, kept, NOW).await
}

async fn update_at(
    mint: &Mint,
    start: &[u8],
    kept: &Path,
    now: Timestamp,
) -> Result<tuf::Fetched, TufError> {
    let repository = Repository::Folder(mint.dir.path().to_owned());
    fetch(Origin::Repository(&repository), start, kept, now).await
}

#[tokio::test]
async fn a_root_is_fetched_and_can_be_verified_again_without_the_repository() {
    let (mint, kept) = (Mint::new(), tempfile::tempdir().unwrap());
    let got = update(&mint, &mint.start(), kept.path()).await.unwrap();
    assert_eq!(got.document, b"the root");
    let versions =
        Versions { root: 1, timestamp: 1, snapshot: 1, targets: 1, expires: mint.expires };
    assert_eq!(got.versions, versions);

    let start = mint.start();
    drop(mint);
    let again = fetch(Origin::Kept, &start, kept.path(), NOW).await.unwrap();
    assert_eq!(again, got);
    // What is kept expires like what is fetched, and is not believed when it was changed.
    let late = fetch(Origin::Kept, &start, kept.path(), NOW.plus_seconds(8 * DAY)).await;
    assert!(matches!(late.unwrap_err(), TufError::Expired { role, .. } if role == "timestamp"));
    std::fs::write(kept.path().join("targets/trusted_root.json"), b"another one").unwrap();
    assert!(fetch(Origin::Kept, &start, kept.path(), NOW).await.is_err());
    let empty = tempfile::tempdir().unwrap();
    let none = fetch(Origin::Kept, &start, empty.path(), NOW).await.unwrap_err();
    assert!(none.to_string().contains("timestamp.json not found"), "{none}");
}

#[tokio::test]
async fn a_chain_of_roots_is_followed_from_the_one_that_is_trusted() {
    let (mut mint, kept) = (Mint::new(), tempfile::tempdir().unwrap());
    let start = mint.start();
    // Each root is signed by enough of the keys of the one before, and of its own.
    mint.rotate(&[2, 3, 4], &[2, 3]);
    mint.rotate(&[3, 4, 5], &[3, 4]);
    mint.next(b"a newer root");
    let got = update(&mint, &start, kept.path()).await.unwrap();
    assert_eq!((got.versions.root, got.document.as_slice()), (3, &b"a newer root"[..]));
}

#[tokio::test]
async fn a_root_that_the_one_before_did_not_sign_is_refused() {
    for (by, found) in [(&[4u8, 5][..], 0), (&[1, 4, 5][..], 1)] {
        let (mut mint, kept) = (Mint::new(), tempfile::tempdir().unwrap());
        let start = mint.start();
        mint.rotate(&[4, 5, 6], by);
        let e = update(&mint, &start, kept.path()).await.unwrap_err();
        assert_eq!(
            e.to_string(),
            format!(
                "its root metadata has {found} of the 2 signatures that the trusted root asks for"
            )
        );
    }
}

#[tokio::test]
async fn a_root_that_its_own_keys_did_not_sign_is_refused() {
    let (mut mint, kept) = (Mint::new(), tempfile::tempdir().unwrap());
    let start = mint.start();
    mint.rotate(&[4, 5, 6], &[1, 2, 4]);
    let e = update(&mint, &start, kept.path()).await.unwrap_err();
    assert!(matches!(e, TufError::Threshold { found: 1, wanted: 2, .. }), "{e}");
}

#[tokio::test]
async fn a_chain_of_roots_has_no_gaps() {
    let (mut mint, kept) = (Mint::new(), tempfile::tempdir().unwrap());
    let start = mint.start();
    mint.root = 2;
    mint.rotate(&[1, 2, 3], &[1, 2]);
    // Version 3 under the name of version 2.
    let third = mint.take("3.root.json");
    mint.put("2.root.json", &third);
    let e = update(&mint, &start, kept.path()).await.unwrap_err();
    assert_eq!(e.to_string(), "the chain of roots is broken: after version 1 comes version 3");
}

#[tokio::test]
async fn metadata_that_nobody_confirmed_is_refused() {
    let (mint, kept) = (Mint::new(), tempfile::tempdir().unwrap());
    let at = NOW.plus_seconds(7 * DAY + 1);
    let e = update_at(&mint, &mint.start(), kept.path(), at).await.unwrap_err();
    let text = e.to_string();
    assert!(text.starts_with("its timestamp metadata expired on "), "{text}");
    assert!(text.ends_with("the repository stands still, or is kept so"), "{text}");
    let at = NOW.plus_seconds(366 * DAY);
    let e = update_at(&mint, &mint.start(), kept.path(), at).await.unwrap_err();
    assert!(matches!(e, TufError::Expired { role, .. } if role == "root"));
}

#[tokio::test]
async fn a_repository_that_goes_back_is_refused_also_by_the_next_process() {
    let (mut mint, kept) = (Mint::new(), tempfile::tempdir().unwrap());
    let start = mint.start();
    let old = mint.take("timestamp.json");
    mint.next(b"a newer root");
    update(&mint, &start, kept.path()).await.unwrap();
    mint.put("timestamp.json", &old);
    let e = update(&mint, &start, kept.path()).await.unwrap_err();
    assert_eq!(
        e.to_string(),
        "the repository went back: its timestamp has version 1, and version 2 was seen before; \
         somebody replays old metadata"
    );
    // The snapshot goes back under a newer time stamp.
    mint.timestamp = 3;
    mint.snapshot = 1;
    mint.publish();
    let e = update(&mint, &start, kept.path()).await.unwrap_err();
    let role = "snapshot (via timestamp)";
    assert!(matches!(&e, TufError::Rollback { role: r, offered: 1, seen: 2 } if r == role), "{e}");
}

#[tokio::test]
async fn metadata_by_too_few_or_other_keys_is_refused() {
    let (mint, kept) = (Mint::new(), tempfile::tempdir().unwrap());
    let meta = json!({"meta": {"snapshot.json": {"version": 1}}});
    for by in [&[][..], &[1][..]] {
        mint.put("timestamp.json", &mint.signed(&mint.role("timestamp", 1, meta.clone()), by));
        let e = update(&mint, &mint.start(), kept.path()).await.unwrap_err();
        assert_eq!(
            e.to_string(),
            "its timestamp metadata has 0 of the 1 signatures that the trusted root asks for"
        );
    }
}

#[tokio::test]
async fn files_that_do_not_belong_together_are_refused() {
    // Another document under the name of the one that is meant.
    let (mint, kept) = (Mint::new(), tempfile::tempdir().unwrap());
    let digest = Sha256Digest::of(&mint.document).to_hex();
    mint.put(&format!("targets/{digest}.trusted_root.json"), b"THE ROOT");
    let e = update(&mint, &mint.start(), kept.path()).await.unwrap_err();
    let said = "a file of the repository is not the one that its metadata names: ";
    assert!(e.to_string().starts_with(said), "{e}");

    // Targets of another version than the snapshot names.
    let (mut mint, kept) = (Mint::new(), tempfile::tempdir().unwrap());
    mint.targets = 2;
    mint.publish();
    let second = mint.take("2.targets.json");
    mint.targets = 1;
    mint.publish();
    mint.put("1.targets.json", &second);
    let e = update(&mint, &mint.start(), kept.path()).await.unwrap_err();
    assert!(matches!(e, TufError::Mixed(_)), "{e}");
}

#[tokio::test]
async fn a_repository_without_the_root_or_without_sense_is_refused() {
    let kept = tempfile::tempdir().unwrap();
    let mint = Mint::new();
    let none = mint.role("targets", 1, json!({"targets": {}}));
    mint.put("1.targets.json", &mint.signed(&none, &[9]));
    let e = update(&mint, &mint.start(), kept.path()).await.unwrap_err();
    assert_eq!(e.to_string(), "the repository has no `trusted_root.json`");

    let e = update(&mint, b"{}", kept.path()).await.unwrap_err();
    assert!(e.to_string().starts_with("the TUF root to start from cannot be used: "), "{e}");

    mint.put("timestamp.json", b"no json");
    let e = update(&mint, &mint.start(), tempfile::tempdir().unwrap().path()).await.unwrap_err();
    assert!(e.to_string().starts_with("the repository cannot be used: "), "{e}");

    let gone = Repository::Folder(mint.dir.path().join("gone"));
    let e = fetch(Origin::Repository(&gone), &mint.start(), kept.path(), NOW).await.unwrap_err();
    assert!(e.to_string().contains("is not there"), "{e}");
}

#[test]
fn a_repository_is_a_folder_or_an_address() {
    let at = |text: &str| text.parse::<Repository>().map(|r| r.to_string());
    assert_eq!(at("https://u:p@tuf.example/r").unwrap(), "https://tuf.example/r/");
    assert_eq!(at("/srv/tuf").unwrap(), "/srv/tuf");
    assert!(at("https://tuf.example/?x").is_err());
    assert!(at("https://").is_err());
}

async fn store(dir: &Path) -> Store {
    init_key(dir, "test.example/log").await.unwrap();
    Store::open(dir, OpenMode::Create).await.unwrap()
}

async fn write(store: &Store, change: TrustChange) -> u64 {
    let change =
        RecordedChange { change, owner: "o".to_owned(), reason: "r".to_owned(), time: NOW };
    record(store, &change).await.unwrap().index()
}

#[tokio::test]
async fn the_ledger_s_entries_add_up_to_what_is_trusted() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path()).await;
    let embedded = load(&store, &TrustConfig::default()).await.unwrap();
    assert_eq!(embedded.digest(), TrustRoots::embedded().unwrap().digest());

    let key = TrustId::new(TrustKind::Npm, "key");
    let revoke = |since| TrustChange::Revoke { subject: key.clone(), since: Timestamp(since) };
    let pin = TrustChange::Pin { subject: key.clone(), sha256: Some(Sha256Digest::of(b"k")) };
    assert_eq!(write(&store, pin).await, 0);
    write(&store, revoke(500)).await;
    write(&store, revoke(900)).await;
    let state = TrustState::load(&store).await.unwrap();
    // A later day does not take an earlier revocation back.
    assert_eq!(state.restrictions.revoked[&key], Timestamp(500));
    assert_eq!(state.restrictions.pins[&key], Some(Sha256Digest::of(b"k")));
    let places: Vec<u64> = state.history.iter().map(|(i, _)| *i).collect();
    assert_eq!(places, [0, 1, 2]);
    let narrowed = state.roots(&TrustConfig::default()).unwrap();
    assert_ne!(narrowed.digest(), embedded.digest());

    write(&store, TrustChange::Unpin { subject: key.clone() }).await;
    assert!(TrustState::load(&store).await.unwrap().restrictions.pins.is_empty());
    assert_eq!(TrustState::load(&store).await.unwrap().history.len(), 4);
}

#[tokio::test]
async fn a_root_that_was_taken_up_is_used_and_ages_from_that_day() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path()).await;
    let mut document = String::from_utf8(TrustRoots::embedded_document().0.to_vec()).unwrap();
    document.push('\n');
    let update = RootUpdate {
        repository: "https://tuf.example/".to_owned(),
        sha256: Sha256Digest::of(document.as_bytes()),
        document: document.clone(),
        tuf_root: "{}".to_owned(),
        metadata: Versions { root: 1, timestamp: 1, snapshot: 1, targets: 1, expires: NOW },
    };
    write(&store, TrustChange::Update(Box::new(update))).await;
    let config = TrustConfig { max_age_days: 10, ..TrustConfig::default() };
    let roots = load(&store, &config).await.unwrap();
    assert_eq!(roots.document_digest(), Sha256Digest::of(document.as_bytes()));
    roots.check_age(NOW.plus_seconds(10 * DAY)).unwrap();
    assert!(roots.check_age(NOW.plus_seconds(11 * DAY)).is_err());
}

#[tokio::test]
async fn an_entry_that_is_not_understood_is_not_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path()).await;
    let statement =
        event(TRUST_TYPE, "x", json!({"change": "distrust", "owner": "o", "time": NOW}));
    store.record_event(&statement, NOW).await.unwrap();
    let e = load(&store, &TrustConfig::default()).await.unwrap_err();
    assert!(e.to_string().starts_with("ledger entry 0 changes what is trusted"), "{e}");
}
