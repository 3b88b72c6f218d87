//! Facts: everything that policy may judge by, as values that can be stored and replayed.

use crate::algorithm::AlgorithmUse;
use crate::check::{Check, Outcome};
use crate::claim::{Change, Evidence, EvidenceState};
use crate::digest::Sha256Digest;
use crate::finding::Finding;
use crate::purl::Purl;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// How long ago a version was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "age", rename_all = "kebab-case")]
pub enum Age {
    /// The upstream says when, and is believed.
    Known {
        /// When it was published.
        published: Timestamp,
    },
    /// The upstream does not say, or its times are its own (a mirror): *unknown*, never *new*.
    Unknown,
}

impl Age {
    /// Whole hours from publication to `now`; `None` when unknown. A time in the future is 0.
    #[must_use]
    pub fn hours(self, now: Timestamp) -> Option<i64> {
        match self {
            Self::Known { published } => Some(now.hours_since(published).max(0)),
            Self::Unknown => None,
        }
    }
}

/// Whether the name is reserved for one upstream, against dependency confusion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reservation", rename_all = "kebab-case")]
pub enum Reservation {
    /// Nobody reserved the name.
    None,
    /// Reserved for the upstream that offers it.
    Here,
    /// Reserved for another upstream than the one that offers it.
    Elsewhere {
        /// The upstream that may offer it.
        owner: String,
    },
}

/// Under what name the feeds are asked about a version, where it is not its own: Debian's advisories
/// are about source packages, release by release.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AdvisedAs {
    /// The source package.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The release, by number or code name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
}

/// What metadata alone tells about a version, before any byte of it is fetched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionFacts {
    /// The version's purl, with a version.
    pub purl: Purl,
    /// The name of the upstream that offers it (never an address with credentials).
    pub upstream: String,
    /// When it was published.
    #[serde(flatten)]
    pub age: Age,
    /// Whether its publisher withdrew it.
    pub yanked: bool,
    /// Whether the name is reserved.
    #[serde(flatten)]
    pub reservation: Reservation,
    /// Whether a deny list of the configuration names it.
    pub denied: bool,
    /// Whether an allow list of the configuration names it.
    pub allowed: bool,
    /// Advisories of the version that is installed now and that this version is not affected by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fixes_installed: Vec<String>,
    /// What the feeds say about it.
    pub findings: Vec<Finding>,
    /// Whether the feeds could be asked.
    pub advisories: Check,
    /// Whole days between its publication and that of the version before it; unset where the index
    /// does not tell, and for the first version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silent_days: Option<u32>,
    /// The source repository that its metadata claims, as written. Nobody verified it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed_repository: Option<String>,
    /// Under what other name they were asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advised_as: Option<AdvisedAs>,
    /// The shortest upgrade: the lowest version above it, of its own release line where there is one,
    /// that the feeds name and no advisory is about. None where nothing is found, or none is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgrade: Option<String>,
}

/// A package that an artifact's own metadata says it needs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Dependency {
    /// The package's name, in its canonical form.
    pub name: String,
    /// Which versions will do, as the metadata writes it; may be empty.
    pub requirement: String,
    /// The one version that will do, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exact: Option<String>,
    /// Whether it is needed only where somebody asks for more (extras, features, optional ones).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
}

/// What is known about an artifact's bytes when it is decided upon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactFacts {
    /// The facts of its version.
    pub version: VersionFacts,
    /// The file's name.
    pub file_name: String,
    /// The digest of the bytes that were judged.
    pub sha256: Sha256Digest,
    /// Size in bytes.
    pub size: u64,
    /// Whether a strong digest of an index, lock file or signed list was compared and is equal.
    pub digest_confirmed: bool,
    /// The digests that indexes, lock files and signed lists give of it, by their algorithms.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub index_digests: Vec<AlgorithmUse>,
    /// All evidence that was looked for.
    pub evidence: Vec<Evidence>,
    /// What the scanners found in the bytes (the feeds' findings are the version's).
    pub findings: Vec<Finding>,
    /// Every check and how it ended.
    pub checks: Vec<Check>,
    /// What differs from the nearest earlier version that was admitted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
    /// The packages that it declares to need.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dependencies: Vec<Dependency>,
}

impl ArtifactFacts {
    /// Findings of the version and of the bytes.
    pub fn all_findings(&self) -> impl Iterator<Item = &Finding> {
        self.version.findings.iter().chain(&self.findings)
    }

    /// Whether any evidence was offered that does not hold.
    #[must_use]
    pub fn has_invalid_evidence(&self) -> bool {
        self.evidence.iter().any(|e| matches!(e.state, EvidenceState::Invalid { .. }))
    }

    /// The names of the checks that were not done.
    #[must_use]
    pub fn not_done(&self) -> Vec<&str> {
        self.checks
            .iter()
            .chain(std::iter::once(&self.version.advisories))
            .filter(|c| matches!(c.outcome, Outcome::NotDone { .. }))
            .map(|c| c.name.as_str())
            .collect()
    }
}
