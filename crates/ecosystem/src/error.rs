//! What can be wrong with an index, and how much of one is read at all.

/// Why an index, a lock file or a registry configuration was not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// More bytes than the limit allows.
    #[error(
        "{what} has {size} bytes, more than the limit of {limit}; raise the limit if the upstream is trusted to be that large"
    )]
    TooLarge {
        /// The document, such as `the project page`.
        what: &'static str,
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// More entries (files, versions, packages, JSON values) than the limit allows.
    #[error(
        "{what} has more than {limit} entries; raise the limit if the upstream is trusted to be that large"
    )]
    TooManyEntries {
        /// The document.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// Deeper nesting than the limit allows.
    #[error("{what} nests deeper than {limit} levels; ask the upstream for a well-formed document")]
    TooDeep {
        /// The document.
        what: &'static str,
        /// The limit in levels.
        limit: usize,
    },
    /// Bytes that are not what their format demands.
    #[error("{what} is malformed at `{at}`: {because}; check what the upstream answers")]
    Malformed {
        /// The document.
        what: &'static str,
        /// Where in it: a key, a line, an offset.
        at: String,
        /// What is wrong there.
        because: String,
    },
    /// A document about another package than the one that was asked for.
    #[error("{what} is about `{found}`, not about `{wanted}`; check what the upstream answers")]
    NameMismatch {
        /// The document.
        what: &'static str,
        /// The package that was asked for.
        wanted: String,
        /// The package that the document names.
        found: String,
    },
}

impl IndexError {
    /// A malformed document; long texts from the document are cut.
    pub(crate) fn malformed(what: &'static str, at: &str, because: impl ToString) -> Self {
        let cut = |s: &str| s.chars().filter(|c| !c.is_control()).take(200).collect();
        Self::Malformed { what, at: cut(at), because: cut(&because.to_string()) }
    }
}

/// How much of an index is read. Each limit stops an upstream that wants the gate's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexLimits {
    /// Bytes of the document, after transfer decoding (stops endless answers).
    pub max_bytes: usize,
    /// Entries of the document: files, versions, lines (stops floods of small entries).
    pub max_entries: usize,
    /// Levels of nesting (stops deep-nesting bombs).
    pub max_depth: usize,
}

impl Default for IndexLimits {
    fn default() -> Self {
        Self { max_bytes: 64 << 20, max_entries: 200_000, max_depth: 64 }
    }
}

impl IndexLimits {
    /// Checks the size of a document.
    pub(crate) fn check_bytes(&self, what: &'static str, size: usize) -> Result<(), IndexError> {
        if size > self.max_bytes {
            return Err(IndexError::TooLarge { what, size, limit: self.max_bytes });
        }
        Ok(())
    }

    /// Checks a number of entries.
    pub(crate) fn check_entries(&self, what: &'static str, n: usize) -> Result<(), IndexError> {
        if n > self.max_entries {
            return Err(IndexError::TooManyEntries { what, limit: self.max_entries });
        }
        Ok(())
    }
}
