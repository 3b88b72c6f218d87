//! Merkle tree, tiles, checkpoints, signed notes and receipts. Plans an append, verifies proofs. Sans-I/O.
//!
//! The formats are open ones, so that others can read, mirror and witness the ledger:
//!
//! - tree and proofs: RFC 6962 section 2.1, verified as in RFC 9162 section 2.1;
//! - tiles: [C2SP tlog-tiles](https://c2sp.org/tlog-tiles), hash tiles of height 8 and entry bundles;
//! - checkpoints: [C2SP tlog-checkpoint](https://c2sp.org/tlog-checkpoint), a
//!   [signed note](https://c2sp.org/signed-note) under an Ed25519 key;
//! - witnesses: [C2SP tlog-cosignature](https://c2sp.org/tlog-cosignature), type Ed25519, and
//!   [C2SP tlog-witness](https://c2sp.org/tlog-witness), both sides of it;
//! - statements: in-toto Statement v1 in a DSSE v1 envelope; a decision is a SLSA Verification Summary.
//!
//! A leaf holds no statement, only a salted commitment to its envelope ([`commitment`]): the tree can
//! be published while who installed what stays with the owner, who hands out a [`Receipt`] at will.
//!
//! The tree and note code is small and its own: the crates that implement these formats assert on
//! sizes that a hostile proof chooses. They serve as oracles in the tests instead.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr))]

mod batch;
mod checkpoint;
mod cosignature;
mod dsse;
mod edge;
pub mod event;
mod hash;
mod json;
mod key;
mod leaf;
mod note;
mod proof;
mod prover;
mod receipt;
mod rotation;
pub mod statement;
mod tile;
mod witness;

pub use batch::{BatchAbout, ReceiptBatch, VerifiedBatch, verify_batch};
pub use checkpoint::{Checkpoint, CheckpointError, VerifiedCheckpoint, verify_checkpoint};
pub use cosignature::{Cosigned, Quorum, QuorumError, cosign, cosignatures, merge_cosignatures};
pub use dsse::{
    Envelope, EnvelopeError, PAYLOAD_TYPE, VerifiedStatement, pre_authentication, sign_again,
    sign_statement, verify_envelope,
};
pub use edge::{Edge, Plan, PlannedTile};
pub use hash::{EMPTY_ROOT, Hash, leaf_hash, node_hash};
pub use json::{StrictJsonError, parse_strict};
pub use key::{KeyError, SigningKey, VerifierKey, WitnessKey};
pub use leaf::{Commitment, Salt, commitment, entry_bundle, parse_entry_bundle};
pub use note::{NoteError, sign_note, verify_note};
pub use proof::{
    ProofError, consistency_proof, consistency_tiles, inclusion_proof, inclusion_tiles, root,
    root_tiles, verify_consistency, verify_inclusion,
};
pub use prover::Prover;
pub use receipt::{
    BATCH_FORMAT, RECEIPT_FORMAT, Receipt, ReceiptError, VerifiedReceipt, verify_receipt,
};
pub use rotation::{
    KEY_RETIRED_TYPE, KEY_ROTATED_TYPE, KeyHistory, ROTATIONS_FILE, Rotation, RotationError,
    read_rotation, read_rotations, rotation,
};
pub use tile::{MAX_TREE_SIZE, TILE_WIDTH, TileError, TileId, TileKind, TileSource};
pub use witness::{AddCheckpoint, Observed, WitnessRefusal, read_size_body, witness};
