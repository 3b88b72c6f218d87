//! Others must be able to read what this crate writes: a reader from the specifications alone, and
//! another implementation (`ct-merkle`), at every size that has a shape of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod spec_reader;

use countersign_core::Timestamp;
use countersign_ledger::{
    Commitment, Edge, Hash, SigningKey, TileId, TileKind, commitment, consistency_proof, cosign,
    inclusion_proof, root, verify_consistency, verify_inclusion,
};
use ct_merkle::mem_backed_tree::MemoryBackedTree;
use proptest::prelude::*;
use sha2::Sha256;
use spec_reader::{Site, head, leaf, mth, path, proof, read_all};
use std::collections::HashMap;

const NOW: u64 = 1_800_000_000;

fn keys() -> (SigningKey, SigningKey) {
    let log = SigningKey::from_seed("ledger.example/a", [1; 32]).unwrap();
    (log, SigningKey::from_seed("w.example/a", [2; 32]).unwrap())
}

fn entry(n: u64) -> Commitment {
    commitment(&[7; 32], &n.to_be_bytes())
}

/// A log that grew in batches, as the published files show it: partial tiles stay until the tile is
/// full, as the store leaves them.
struct Log {
    edge: Edge,
    site: Site,
    tiles: HashMap<(TileKind, u64), Vec<u8>>,
}

impl Log {
    fn new() -> Self {
        Self { edge: Edge::empty(), site: Site::new(), tiles: HashMap::new() }
    }

    fn grow(&mut self, upto: u64) {
        let (log, witness) = keys();
        let new: Vec<Commitment> = (self.edge.size()..upto).map(entry).collect();
        let plan = self.edge.plan(&new, log.name()).unwrap();
        for tile in plan.tiles {
            if tile.id.is_full() {
                let stages = format!("{}.p/", tile.id.path());
                self.site.retain(|path, _| !path.starts_with(&stages));
            }
            self.tiles.insert((tile.id.kind, tile.id.index), tile.data.clone());
            self.site.insert(tile.id.path(), tile.data);
        }
        let note = plan.checkpoint.sign(&log).unwrap();
        let time = Timestamp(i64::try_from(NOW).unwrap());
        let line = cosign(&plan.checkpoint.body(), &witness, time).unwrap();
        self.site.insert("checkpoint".into(), format!("{note}{line}").into_bytes());
        self.edge = plan.edge;
    }

    /// What a stranger makes of it, with the two public keys.
    fn read(&self) -> Result<(spec_reader::Head, Vec<[u8; 32]>), String> {
        let (log, witness) = keys();
        let note = String::from_utf8(self.site["checkpoint"].clone()).unwrap();
        let (log, witness) = (log.verifier().to_string(), witness.witness().to_string());
        let head = head(&note, &log, &[&witness])?;
        let leaves: Vec<[u8; 32]> =
            read_all(&self.site, head.size)?.iter().map(|e| leaf(e)).collect();
        if mth(&leaves) != head.root {
            return Err("the entries do not lead to the root".into());
        }
        Ok((head, leaves))
    }
}

fn hashes(proof: &[Hash]) -> Vec<[u8; 32]> {
    proof.iter().map(|h| h.0).collect()
}

#[test]
fn the_specifications_reader_accepts_every_size_to_600_entry_by_entry() {
    let mut log = Log::new();
    for size in 0..=600 {
        log.grow(size);
        let (head, leaves) = log.read().unwrap_or_else(|e| panic!("size {size}: {e}"));
        assert_eq!((head.size, head.origin.as_str()), (size, "ledger.example/a"));
        assert_eq!(head.cosigned, [("w.example/a".to_owned(), NOW)]);
        assert_eq!(leaves.len(), usize::try_from(size).unwrap());
    }
}

#[test]
fn the_reader_notices_each_file_that_is_changed_or_gone() {
    let mut log = Log::new();
    log.grow(700);
    log.read().unwrap();
    let whole = log.site.clone();
    for (path, bytes) in &whole {
        for at in [0, bytes.len() / 2, bytes.len() - 1] {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            log.site.insert(path.clone(), changed);
            assert!(log.read().is_err(), "{path}, byte {at}");
        }
        log.site.remove(path);
        if path != "checkpoint" {
            assert!(log.read().is_err(), "{path} is gone");
        }
        log.site.insert(path.clone(), bytes.clone());
    }
}

#[test]
fn another_implementation_has_the_same_roots_and_proofs() {
    let mut theirs: MemoryBackedTree<Sha256, Vec<u8>> = MemoryBackedTree::new();
    let mut log = Log::new();
    for size in 1..=300u64 {
        log.grow(size);
        theirs.push(entry(size - 1).to_vec());
        assert_eq!(theirs.root().as_bytes().as_slice(), log.edge.root().0, "size {size}");
        for index in [0, size / 3, size - 1] {
            let at = usize::try_from(index).unwrap();
            let ours = inclusion_proof(index, size, &log.tiles).unwrap();
            assert_eq!(theirs.prove_inclusion(at).as_bytes(), hashes(&ours).concat());
        }
        for old in [1, size / 2, size - 1].into_iter().filter(|o| *o > 0) {
            let ours = consistency_proof(old, size, &log.tiles).unwrap();
            let added = usize::try_from(size - old).unwrap();
            let reference = theirs.prove_consistency(added);
            assert_eq!(reference.as_bytes(), hashes(&ours).concat(), "{old} to {size}");
        }
    }
}

#[test]
fn tile_names_are_those_of_the_specification() {
    for n in [0, 1, 255, 999, 1000, 1_234_067, 999_999_999] {
        for width in [1u16, 112, 256] {
            let ours = TileId { kind: TileKind::Hashes(3), index: n, width }.path();
            assert_eq!(ours, spec_reader::tile_name("3", n, u64::from(width)));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Any size, grown by any batches: the stranger reads it, and proofs agree with the RFC's text.
    #[test]
    fn any_log_is_read_and_proven_the_same(
        batches in prop::collection::vec(1u64..700, 1..8),
        place: u64,
        before: u64,
    ) {
        let mut log = Log::new();
        for batch in &batches {
            let upto = (log.edge.size() + batch).min(3000);
            log.grow(upto);
        }
        let size = log.edge.size();
        let (head, leaves) = log.read().unwrap();
        prop_assert_eq!(head.root, root(size, &log.tiles).unwrap().0);

        let index = place % size;
        let at = usize::try_from(index).unwrap();
        let ours = inclusion_proof(index, size, &log.tiles).unwrap();
        prop_assert_eq!(hashes(&ours), path(at, &leaves));
        verify_inclusion(Hash(leaves[at]), index, size, &ours, Hash(head.root)).unwrap();

        let old = before % (size + 1);
        let m = usize::try_from(old).unwrap();
        let ours = consistency_proof(old, size, &log.tiles).unwrap();
        prop_assert_eq!(hashes(&ours), proof(m, &leaves));
        let old_root = Hash(mth(&leaves[..m]));
        verify_consistency(old, old_root, size, Hash(head.root), &ours).unwrap();
    }
}
