//! What an index was made of, so that callers can show the age of its data.

use countersign_core::Timestamp;
use serde::{Deserialize, Serialize};

/// What an index was made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedMeta {
    /// When the index was built.
    pub built_at: Timestamp,
    /// The feeds, in the order in which they were read.
    pub sources: Vec<SourceMeta>,
    /// What the index can be asked about, sorted by name.
    pub coverage: Vec<Coverage>,
    /// The catalogue of known exploited vulnerabilities, if one was read.
    pub exploited: Option<CatalogueMeta>,
    /// The list of likelihoods (EPSS), if one was read.
    #[serde(default)]
    pub likelihoods: Option<CatalogueMeta>,
    /// Packages with at least one advisory; Debian's count once for each release.
    pub packages: u64,
    /// Advisories, counted once for each package that they concern.
    pub advisories: u64,
}

impl FeedMeta {
    /// The newest change in any feed: how fresh the data as a whole can be said to be at best.
    #[must_use]
    pub fn newest_modified(&self) -> Option<Timestamp> {
        self.sources.iter().filter_map(|s| s.newest_modified).max()
    }
}

/// One feed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceMeta {
    /// The feed's name, as whoever read it calls it.
    pub name: String,
    /// Records that were read, withdrawn ones among them.
    pub records: u64,
    /// Records that their database has withdrawn, which match nothing.
    pub withdrawn: u64,
    /// Records that concern no ecosystem of the gate's.
    pub elsewhere: u64,
    /// Records that could not be read: what they say is missing from the index.
    pub unreadable: u64,
    /// The newest `modified` of its records: the age of the feed.
    pub newest_modified: Option<Timestamp>,
}

/// What the index holds about one ecosystem (or Debian release).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// OSV's name of it (`npm`, `PyPI`, `crates.io`, `Debian:12`).
    pub ecosystem: String,
    /// Live advisories about vulnerabilities, and notices.
    pub vulnerabilities: u64,
    /// Live advisories about malicious packages.
    pub malicious: u64,
    /// The newest `modified` of these advisories.
    pub newest_modified: Option<Timestamp>,
}

/// A list about vulnerabilities: the catalogue of known exploited ones, or their likelihoods.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogueMeta {
    /// Its version, as its publisher writes it.
    pub version: String,
    /// When it was released.
    pub released: Option<Timestamp>,
    /// How many vulnerabilities it lists.
    pub entries: u64,
}
