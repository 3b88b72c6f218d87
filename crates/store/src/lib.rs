//! Records in SQLite, blobs in files, and the ledger's commit. The only crate that knows SQL.
//!
//! # On disk
//!
//! ```text
//! <dir>/store.sqlite      records, ledger entries (new ones as rows, the others in bundles of 256), what
//!                         tiles do not follow from them, the signed checkpoint: the truth
//! <dir>/blobs/sha256/ab/… artifacts under their digest; being here says nothing about admission
//! <dir>/staging/          artifacts that are still arriving
//! <dir>/ledger/           checkpoint, tiles and entry bundles as others read them (C2SP tlog-tiles)
//! <dir>/keys/             ledger.pem (private, 0600) and ledger.vkey (public)
//! <dir>/lock              held while a process creates, repairs or publishes
//! ```
//!
//! # Promises
//!
//! - A [`Recorded`] exists only for a decision whose entry, and a signed checkpoint that covers it,
//!   were committed and synced by the database. It is the one thing an admission may be made from.
//!   Lookups ([`StoredDecision`], `is_admitted`) read records and prove nothing.
//! - Several processes may open one store. Appends are serialised by the database's write lock and
//!   compare-and-swap on the checkpoint: the ledger never forks.
//! - Nothing that is missing is made anew: a lost key, a lost or rolled-back database and a database
//!   of a later version are errors that say what to do.

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, clippy::print_stdout)
)]

mod blobs;
mod bundles;
mod caches;
mod commit;
mod copy;
mod cosigned;
mod decisions;
mod entry;
mod error;
mod events;
mod feeds;
mod fetches;
mod files;
mod forget;
mod fsck;
mod keyring;
mod keys;
mod known;
mod lock;
mod pins;
mod publish;
mod recalls;
mod receipts;
mod recover;
mod rows;
mod schema;
mod search;
mod steps;
mod store;
mod tiles;
mod trust;
mod waivers;

pub use blobs::{Blob, BlobState, Staging};
pub use caches::Newest;
pub use decisions::{NewDecision, Recorded, RecordedEvent, StoredDecision};
pub use entry::Durable;
pub use error::StoreError;
pub use events::NewEvent;
pub use feeds::Feed;
pub use fetches::FetchNote;
pub use files::TileFiles;
pub use forget::Forget;
pub use fsck::FsckReport;
pub use keys::init_key;
pub use known::{Known, Pin};
pub use pins::PinOutcome;
pub use recalls::{
    AdmittedRow, FactsRow, NewRecall, RecallCounts, RecallLock, RecallState, RecalledRow,
    StoredRecall,
};
pub use search::{EntryLine, RawEntry, Search, StoredEntry};
#[doc(hidden)]
pub use steps::{OnStep, Step};
pub use store::{OpenMode, Store};
pub use trust::TrustEntry;
pub use waivers::{StoredWaiver, Waiver, WaiverTarget};
