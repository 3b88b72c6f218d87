//! Records of a Go checksum database: a good one, and one change a test that must be refused.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use countersign_core::Sha256Digest;
use countersign_evidence::EvidenceError;
use countersign_evidence::sumdb::{ZipEntry, ZippedModule, verify_document, verify_lookup};
use countersign_ledger::{
    Hash, SigningKey, TileKind, inclusion_proof, leaf_hash, node_hash, sign_note,
};
use serde_json::json;
use std::collections::HashMap;

const NAME: &str = "sum.example";

type Tiles = HashMap<(TileKind, u64), Vec<u8>>;

/// A database of 300 records, the asked one among them, and what a client is given of it.
struct Case {
    key: SigningKey,
    asked: SigningKey,
    module: ZippedModule,
    id: u64,
    /// The record as the tree holds it, and as the lookup says it.
    leaf: String,
    record: String,
    tree: String,
    size: u64,
    proof: fn(Vec<Hash>) -> Vec<Hash>,
    root: fn(Hash) -> Hash,
    lookup: fn(String) -> String,
    tiles: fn(Tiles) -> Tiles,
}

fn zip(module: &str, version: &str, content: &str) -> ZippedModule {
    let entry = |name: &str| ZipEntry {
        name: format!("{module}@{version}/{name}").into_bytes(),
        sha256: Sha256Digest::of(content.as_bytes()),
    };
    ZippedModule::of(vec![entry("go.mod"), entry("a/b.go")]).unwrap()
}

fn record(module: &ZippedModule) -> String {
    let (path, version) = (module.path(), module.version());
    format!("{path} {version} {}\n{path} {version}/go.mod h1:AAAA=\n", module.h1())
}

/// The Merkle tree hash (RFC 6962, section 2.1).
fn root(leaves: &[Hash]) -> Hash {
    if let [one] = leaves {
        return *one;
    }
    let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
    node_hash(root(left), root(right))
}

/// The tiles of up to 65,536 leaves.
fn tiles(leaves: &[Hash]) -> Tiles {
    let bytes = |hashes: &[Hash]| hashes.iter().flat_map(|h| h.0).collect::<Vec<u8>>();
    let rows = leaves.chunks(256).zip(0..);
    let mut out: Tiles = rows.map(|(row, n)| ((TileKind::Hashes(0), n), bytes(row))).collect();
    let above: Vec<Hash> = leaves.chunks_exact(256).map(root).collect();
    out.insert((TileKind::Hashes(1), 0), bytes(&above));
    out
}

impl Case {
    fn new() -> Self {
        let module = zip("git.example/Team/mod", "v1.2.3", "package b");
        let record = record(&module);
        let key = |seed| SigningKey::from_seed(NAME, [seed; 32]).unwrap();
        Self {
            key: key(1),
            asked: key(1),
            module,
            id: 260,
            leaf: record.clone(),
            record,
            tree: "go.sum database tree".into(),
            size: 300,
            proof: |p| p,
            root: |r| r,
            lookup: |l| l,
            tiles: |t| t,
        }
    }

    /// The lookup, the proof and the tiles.
    fn made(&self) -> (String, Vec<Hash>, Tiles) {
        let leaves: Vec<Hash> = (0..self.size)
            .map(|n| match n {
                260 => leaf_hash(self.leaf.as_bytes()),
                _ => leaf_hash(format!("record {n}\n").as_bytes()),
            })
            .collect();
        let tiles = tiles(&leaves);
        let proof = inclusion_proof(260, self.size, &tiles).unwrap();
        let root = (self.root)(root(&leaves));
        let note =
            sign_note(&format!("{}\n{}\n{root}\n", self.tree, self.size), &self.key).unwrap();
        let lookup = (self.lookup)(format!("{}\n{}\n{note}", self.id, self.record));
        (lookup, (self.proof)(proof), (self.tiles)(tiles))
    }

    fn verify(&self) -> Result<(), EvidenceError> {
        let (lookup, proof, tiles) = self.made();
        let proof: Vec<String> = proof.into_iter().map(Hash::to_base64).collect();
        let document = json!({"lookup": lookup, "proof": proof}).to_string();
        let key = self.asked.verifier();
        let by_proof = verify_document(document.as_bytes(), &self.module, key);
        let by_tiles = verify_lookup(lookup.as_bytes(), &tiles, &self.module, key);
        let (a, b) = (by_proof?, by_tiles?);
        assert_eq!(a, b);
        assert_eq!((a.get().id, a.get().tree_size), (260, 300));
        assert_eq!(a.claim().signer, key.key_id());
        Ok(())
    }
}

#[test]
fn a_good_record_holds_by_its_proof_and_by_the_tiles() {
    Case::new().verify().unwrap();
}

macro_rules! broken {
    ($($name:ident: $code:literal, $change:expr;)+) => {
        $(
            #[test]
            fn $name() {
                let mut case = Case::new();
                let change: fn(&mut Case) = $change;
                change(&mut case);
                let error = case.verify().unwrap_err();
                assert_eq!(error.code(), $code, "{error}");
            }
        )+
    };
}

broken! {
    another_zip: "other-digest", |c| c.module = zip("git.example/Team/mod", "v1.2.3", "evil");
    another_version: "other-subject", |c| c.module = zip("git.example/Team/mod", "v1.2.4", "x");
    another_module: "other-subject", |c| c.module = zip("git.example/team/mod", "v1.2.3", "x");
    a_record_that_is_not_the_tree_s: "inclusion-proof", |c| {
        c.module = zip("git.example/Team/mod", "v1.2.3", "evil");
        c.record = record(&c.module);
    };
    a_hash_of_another_kind: "unsupported", |c| {
        c.record = c.record.replacen("h1:", "h9:", 1);
        c.leaf = c.record.clone();
    };
    another_number: "inclusion-proof", |c| c.id = 261;
    a_number_beyond_the_tree: "inclusion-proof", |c| c.id = 300;
    a_number_with_a_zero_before_it: "malformed", |c| c.lookup = |l| format!("0{l}");
    a_hash_of_the_proof_changed: "inclusion-proof", |c| c.proof = |mut p| { p[0].0[0] ^= 1; p };
    a_proof_that_is_too_long: "inclusion-proof", |c| c.proof = |mut p| { p.push(p[0]); p };
    a_proof_that_is_too_short: "inclusion-proof", |c| c.proof = |mut p| { p.pop(); p };
    no_proof: "inclusion-proof", |c| c.proof = |_| Vec::new();
    an_endless_proof: "too-large", |c| c.proof = |p| vec![p[0]; 65];
    another_root: "inclusion-proof", |c| c.root = |mut r| { r.0[31] ^= 1; r };
    another_key: "checkpoint",
        |c| c.asked = SigningKey::from_seed(NAME, [2; 32]).unwrap();
    a_key_of_another_name: "checkpoint",
        |c| c.asked = SigningKey::from_seed("other.example", [1; 32]).unwrap();
    a_note_that_was_changed: "checkpoint", |c| c.lookup = |l| l.replacen("\n300\n", "\n301\n", 1);
    a_note_without_a_signature: "checkpoint", |c| c.lookup = |l| {
        l.split_inclusive('\n').filter(|l| !l.starts_with('\u{2014}')).collect()
    };
    no_note: "malformed", |c| c.lookup = |l| l.split_inclusive('\n').take(3).collect();
    a_note_of_something_else: "checkpoint", |c| c.tree = "ledger.example/a".into();
    a_signed_text_that_is_no_tree: "checkpoint", |c| c.tree = "go.sum database tree\nx".into();
    a_record_of_one_line: "malformed",
        |c| c.record = c.record.split_inclusive('\n').take(1).collect();
    a_record_of_three_lines: "malformed", |c| {
        c.record.push_str("git.example/Team/mod v1.2.3 h1:evil=\n");
    };
    lines_about_different_versions: "malformed",
        |c| c.record = c.record.replacen("v1.2.3/go.mod", "v1.2.4/go.mod", 1);
    a_line_with_a_fourth_word: "malformed",
        |c| c.record = c.record.replacen(".mod ", ".mod  ", 1);
    bytes_that_are_no_text: "malformed", |c| c.lookup = |l| l.replacen("h1:", "\u{0}h1:", 1);
}

/// Tiles that are missing say nothing against a record; tiles that are wrong do.
#[test]
fn missing_tiles_and_damaged_ones_are_told_apart() {
    let mut case = Case::new();
    let verify = |case: &Case| {
        let (lookup, _, tiles) = case.made();
        verify_lookup(lookup.as_bytes(), &tiles, &case.module, case.asked.verifier()).unwrap_err()
    };
    case.tiles = |_| Tiles::new();
    assert_eq!(verify(&case).code(), "trust-material");
    case.tiles = |mut t| {
        t.values_mut().for_each(|bytes| bytes[0] ^= 1);
        t
    };
    assert_eq!(verify(&case).code(), "inclusion-proof");
}

/// No byte of a lookup, nor of its document, can be changed without the record being refused.
#[test]
fn every_byte_of_a_lookup_matters() {
    let case = Case::new();
    let (lookup, _, tiles) = case.made();
    let key = case.asked.verifier();
    for at in 0..lookup.len() {
        let mut bytes = lookup.clone().into_bytes();
        bytes[at] ^= 1;
        let changed = verify_lookup(&bytes, &tiles, &case.module, key);
        assert!(changed.is_err(), "{at}: {}", String::from_utf8_lossy(&bytes));
    }
}
