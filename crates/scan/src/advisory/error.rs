//! What can go wrong with feeds and their index.

use std::io;

/// Why a feed could not be read, or an index not be asked.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// A record is not JSON, or not of the OSV schema.
    #[error("advisory record is malformed: {because}")]
    Malformed {
        /// What the parser stumbled over.
        because: String,
    },
    /// A record is of the schema and says something that cannot be stored.
    #[error("advisory `{id}` cannot be used: {because}")]
    Unusable {
        /// The record's id.
        id: String,
        /// Why not.
        because: &'static str,
    },
    /// A feed or an index is larger than a limit: a bomb, or limits that are too low.
    #[error("{what} exceeds the limit of {limit}; raise the limit if the feed is trusted")]
    Limit {
        /// What is too large.
        what: &'static str,
        /// The limit, in bytes or in pieces.
        limit: u64,
    },
    /// The archive of a feed cannot be read.
    #[error("feed archive cannot be read: {because}; fetch it again")]
    Archive {
        /// Why not.
        because: String,
    },
    /// A feed has records, and none of them could be read: its format is not the one expected.
    #[error("feed `{name}` has no readable record; fetch it again or remove it")]
    NothingReadable {
        /// The feed's name.
        name: String,
    },
    /// The catalogue of known exploited vulnerabilities cannot be read.
    #[error("catalogue of exploited vulnerabilities cannot be read: {because}; fetch it again")]
    Catalogue {
        /// Why not.
        because: String,
    },
    /// A list of likelihoods (EPSS) cannot be read.
    #[error("list of likelihoods cannot be read: {because}; fetch it again")]
    Likelihoods {
        /// Why not.
        because: String,
    },
    /// The file is not an advisory index.
    #[error("file is not an advisory index; build the index from the feeds")]
    NotAnIndex,
    /// The index was written by a newer program.
    #[error(
        "advisory index has format version {found}, newer than version {supported} that this \
         program reads; update the program or build the index again"
    )]
    NewerFormat {
        /// The version that the file names.
        found: u32,
        /// The newest version that is read.
        supported: u32,
    },
    /// The index is damaged: a checksum, a length or an order does not hold.
    #[error("advisory index is damaged: {what}; build the index again from the feeds")]
    Corrupt {
        /// What does not hold.
        what: &'static str,
    },
    /// The index holds no data for what was asked, so that finding nothing would mean nothing.
    #[error("no advisory data for `{what}`; add a feed that covers it")]
    NotCovered {
        /// The ecosystem and release, as OSV names them (`Debian:12`).
        what: String,
    },
    /// The index could not be read.
    #[error("advisory index could not be read: {0}")]
    Io(#[from] io::Error),
}

impl FeedError {
    pub(super) fn corrupt(what: &'static str) -> Self {
        Self::Corrupt { what }
    }
}
