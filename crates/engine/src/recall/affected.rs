//! Which admitted artifacts a change may concern.

use super::identity::{Change, GroundsId};
use crate::feeds::Feeds;
use crate::grounds::Grounds;
use countersign_core::{AdvisedAs, Ecosystem};
use countersign_store::AdmittedRow;

/// What is judged again.
pub(super) enum Scope {
    /// Everything that is admitted.
    All,
    /// What was admitted since the last recall began: nobody has judged it under these grounds.
    Since(u64),
    /// The same, and the packages of which the feeds say something else than before.
    Packages { since: u64, earlier: Box<Feeds> },
}

impl Scope {
    /// The scope of going from `earlier` grounds, under which all below `since` was judged, to
    /// `now`. Where it cannot be told what differs, everything is judged again.
    pub(super) fn of(
        grounds: &Grounds,
        now: &GroundsId,
        earlier: Option<&GroundsId>,
        since: u64,
    ) -> Self {
        let Some(earlier) = earlier else { return Self::All };
        match now.changes(earlier).as_slice() {
            [] => Self::Since(since),
            [Change::Feeds] => {
                let kept = grounds.feeds.as_ref().zip(earlier.feeds.as_ref());
                match kept.and_then(|(feeds, identity)| feeds.earlier(identity)) {
                    Some(earlier) => Self::Packages { since, earlier: Box::new(earlier) },
                    None => Self::All,
                }
            }
            _ => Self::All,
        }
    }

    /// From which place in the ledger on there may be something.
    pub(super) fn start(&self) -> u64 {
        match self {
            Self::Since(since) => *since,
            Self::All | Self::Packages { .. } => 0,
        }
    }

    /// Whether an artifact is to be judged again.
    pub(super) fn concerns(&self, row: &AdmittedRow, grounds: &Grounds) -> bool {
        match self {
            Self::All => true,
            Self::Since(since) => row.index >= *since,
            Self::Packages { since, earlier } => {
                row.index >= *since || feeds_differ(row, grounds, earlier)
            }
        }
    }
}

fn feeds_differ(row: &AdmittedRow, grounds: &Grounds, earlier: &Feeds) -> bool {
    let Some(feeds) = &grounds.feeds else { return true };
    let ecosystem = row.purl.ecosystem();
    if ecosystem != Ecosystem::Debian {
        return feeds.differ_on(earlier, ecosystem, row.purl.name(), None);
    }
    // Which source package a deb was built from is known from the list that it came by.
    let advised = row.advised_as.as_deref().map(serde_json::from_str::<AdvisedAs>);
    match advised {
        Some(Ok(a)) => feeds.differ_on(earlier, ecosystem, &a.name, a.release.as_deref()),
        _ => true,
    }
}
