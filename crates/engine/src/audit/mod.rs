//! What is already there, judged: the same facts, the same policy and the same waivers as for what
//! passes the gate, without a network and without a record.
//!
//! [`find`] looks for documents and environments, [`read`] makes lists of them, and
//! [`Auditor::judge`] judges each listed version by its metadata. Where the ledger knows a listed
//! digest, what was found in those bytes then is judged again by today's policy; a digest that
//! contradicts a pinned one is `digest-changed`. What cannot be known here (ages, the bytes
//! themselves) is named as not checked, and never counts as passed or as failed.

mod environment;
mod judge;
mod modules;
mod places;
mod source;
mod system;

pub use judge::{Auditor, Feeding};
pub use places::{FindError, Place, PlaceKind, find};
pub use source::{Document, Problem, read};

use countersign_core::{Decision, Finding, Outcome, Sha256Digest, Verdict, VersionFacts};
use countersign_ecosystem::inventory::{Listed, Skipped};

/// A finding, and whether policy tolerates it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// The finding.
    pub finding: Finding,
    /// Whether policy tolerates it by itself.
    pub tolerated: bool,
}

/// A decision that the ledger holds about a listed digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Before {
    /// Its place in the ledger.
    pub index: u64,
    /// The file that was judged.
    pub file_name: String,
    /// The digest of its bytes.
    pub sha256: Sha256Digest,
    /// What was decided then.
    pub verdict: Verdict,
    /// The leading rule of that decision, where one fired.
    pub rule: Option<String>,
}

/// A listed version, judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// What the document says.
    pub listed: Listed,
    /// The facts that were judged.
    pub facts: VersionFacts,
    /// The decision.
    pub decision: Decision,
    /// What the feeds, and earlier scans of these bytes, say about it.
    pub findings: Vec<Judged>,
    /// What policy wanted to know and could not: check and cause.
    pub not_checked: Vec<(String, String)>,
    /// What was decided before about the digests that the document gives.
    pub before: Vec<Before>,
}

impl Item {
    /// Why the feeds could not answer for this version; `None` when they did.
    #[must_use]
    pub fn unanswered(&self) -> Option<&str> {
        match &self.facts.advisories.outcome {
            Outcome::NotDone { because } => Some(because),
            _ => None,
        }
    }
}

/// One document or environment, judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audited {
    /// Its path, as the user would write it.
    pub path: String,
    /// What it is.
    pub kind: &'static str,
    /// The versions that it lists, in its order.
    pub items: Vec<Item>,
    /// What it lists and is not judged.
    pub skipped: Vec<Skipped>,
    /// Versions that were left out because only development needs them.
    pub left_out: usize,
    /// Whether it tells what only development needs.
    pub tells_dev: bool,
    /// Why it could not be understood, or not to its end.
    pub problem: Option<String>,
}

/// Everything that an audit found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The documents, by path.
    pub documents: Vec<Audited>,
}

/// How an audit ended, from the best to the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ending {
    /// Everything was judged, and nothing stands against it.
    Clear,
    /// Something is held, and nothing is refused.
    Held,
    /// Something should have been judged and could not be.
    NotChecked,
    /// Something is refused.
    Refused,
}

impl Report {
    /// All judged versions.
    pub fn items(&self) -> impl Iterator<Item = &Item> {
        self.documents.iter().flat_map(|d| &d.items)
    }

    /// How many versions have this verdict.
    #[must_use]
    pub fn count(&self, verdict: Verdict) -> usize {
        self.items().filter(|i| i.decision.verdict == verdict).count()
    }

    /// What should have been judged and could not be: documents with a problem, entries that were
    /// not understood or name no exact version, and versions that no feed could be asked about.
    #[must_use]
    pub fn unjudged(&self) -> usize {
        self.documents
            .iter()
            .map(|d| {
                usize::from(d.problem.is_some())
                    + d.skipped.iter().filter(|s| source::should_be_judged(s)).count()
                    + d.items.iter().filter(|i| i.unanswered().is_some()).count()
            })
            .sum()
    }

    /// How the audit ended: by the worst that it found.
    #[must_use]
    pub fn ending(&self) -> Ending {
        if self.count(Verdict::Refuse) > 0 {
            Ending::Refused
        } else if self.unjudged() > 0 {
            Ending::NotChecked
        } else if self.count(Verdict::Hold) > 0 {
            Ending::Held
        } else {
            Ending::Clear
        }
    }
}
