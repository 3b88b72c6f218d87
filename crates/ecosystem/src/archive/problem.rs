//! What can be wrong with an archive: values, so that policy can judge them.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, $fatal:literal;)+) => {
        /// The kind of a problem. Findings and documentation use the stable name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum ProblemCode {
            $($(#[doc = $doc])+ #[serde(rename = $name)] $variant,)+
        }

        impl ProblemCode {
            /// Every code, in the order of the documentation.
            pub const ALL: &'static [ProblemCode] = &[$(Self::$variant,)+];

            /// The stable name (`path-traversal`).
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// Whether the walk ends there: what follows was not read.
            #[must_use]
            pub fn ends_walk(self) -> bool {
                match self { $(Self::$variant => $fatal,)+ }
            }
        }
    };
}

codes! {
    /// A path with a `..` component: some unpackers follow it out of their directory.
    PathTraversal = "path-traversal", false;
    /// A path from the file system's root or a drive.
    AbsolutePath = "absolute-path", false;
    /// A symlink that leads out of the package, by itself or through other symlinks.
    SymlinkOutside = "symlink-outside", false;
    /// An entry whose path goes through a symlink of the same archive.
    SymlinkInPath = "symlink-in-path", false;
    /// A hard link to something that is no earlier entry of the archive.
    HardlinkOutside = "hardlink-outside", false;
    /// A device, FIFO or socket.
    DeviceFile = "device-file", false;
    /// Two entries of the same path: which one wins depends on the unpacker.
    DuplicateName = "duplicate-name", false;
    /// Two paths that differ only by case: one file on a file system that ignores case.
    CaseCollision = "case-collision", false;
    /// A path with NUL, bidirectional controls or invisible characters: it reads as another.
    UnicodeConfusablePath = "unicode-confusable-path", false;
    /// A path with other control characters, such as a line feed or an escape.
    ControlCharacterPath = "control-character-path", false;
    /// A path with a backslash: a separator on some systems and a letter on others.
    BackslashPath = "backslash-path", false;
    /// A path that is not UTF-8.
    UndecodablePath = "undecodable-path", false;
    /// A path or link target longer than the limit.
    PathTooLong = "path-too-long", true;
    /// More entries, or longer names in all, than the limit.
    TooManyEntries = "too-many-entries", true;
    /// More unpacked bytes, or more memory for unpacking, than the limit.
    TooLarge = "too-large", true;
    /// Unpacks to more than the limit's multiple of its own size: a bomb.
    Ratio = "ratio", true;
    /// Directories nested deeper than the limit.
    Depth = "depth", true;
    /// An encrypted entry: nobody can say what it holds.
    EncryptedEntry = "encrypted-entry", false;
    /// A compression method that is not read here: the content was not looked at.
    UnsupportedCompression = "unsupported-compression", false;
    /// Two places of the archive that describe the same thing differ: readers disagree.
    HeaderMismatch = "header-mismatch", false;
    /// Entries that share bytes of the archive.
    OverlappingEntries = "overlapping-entries", false;
    /// Bytes or members that the archive's index does not name.
    HiddenData = "hidden-data", false;
    /// Bytes before the first entry.
    PrependedData = "prepended-data", false;
    /// Bytes after the archive's end.
    TrailingData = "trailing-data", false;
    /// Several compressed streams in one file: some readers stop after the first.
    SeveralMembers = "several-members", false;
    /// A sparse file: readers disagree about its name and content.
    SparseFile = "sparse-file", false;
    /// A set-user-id or set-group-id file.
    Setuid = "setuid", false;
    /// Not an archive of the expected kind, or malformed.
    NotAnArchive = "not-an-archive", true;
    /// The archive ends in the middle.
    Truncated = "truncated", true;
}

impl fmt::Display for ProblemCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One thing that is wrong with an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What kind of problem.
    pub code: ProblemCode,
    /// The entry it is about, in normalized form; unset when it is about the whole archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What exactly, in words for people. May quote the archive's text.
    pub detail: String,
}

impl Problem {
    pub(crate) fn whole(code: ProblemCode, detail: impl Into<String>) -> Self {
        Self { code, path: None, detail: detail.into() }
    }

    pub(crate) fn at(code: ProblemCode, path: &str, detail: impl Into<String>) -> Self {
        Self { code, path: Some(path.to_owned()), detail: detail.into() }
    }
}
