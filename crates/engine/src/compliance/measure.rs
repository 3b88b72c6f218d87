//! The figures that requirements are held against.

use super::Places;
use serde::Serialize;

/// The names of all measures, with what each counts.
pub const MEASURES: [(&str, &str); 19] = [
    ("decided", "artifacts whose decision is a signed entry"),
    ("enforced", "decisions by a policy that refuses, and does not only record"),
    ("digests", "admitted artifacts whose bytes were compared with a strong digest"),
    ("evidence", "admitted artifacts with evidence that was verified"),
    ("provenance", "admitted artifacts whose verified evidence names a repository or a build"),
    ("content-scanned", "admitted artifacts whose archive was looked through to its end"),
    ("malware-scanned", "admitted artifacts that were scanned for malicious code to the end"),
    ("licences", "admitted artifacts whose licences were looked for to the end"),
    ("advisories", "admitted artifacts that were looked up in the advisory feeds"),
    ("stopped", "artifacts that were held or refused"),
    ("malicious", "refusals of what is known or found to be malicious"),
    ("waivers", "waivers with an owner, a reason and an end"),
    ("recalls", "recalls that looked at everything"),
    ("incidents", "incidents that were closed"),
    ("feeds", "feeds that were read within the last seven days of the period"),
    ("grounds", "changes of policy, lists, feeds and trust roots, each recorded"),
    ("rotations", "rotations of the ledger's key"),
    ("witnesses", "checkpoints that witnesses have cosigned"),
    ("blobs", "admitted artifacts whose bytes are kept here"),
];

/// A figure: so many of so many.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Measure {
    /// Its name, one of [`MEASURES`].
    pub name: &'static str,
    /// What it counts.
    pub text: &'static str,
    /// How many are so.
    pub good: u64,
    /// Of how many.
    pub of: u64,
    /// The entries of those that are so.
    pub proof: Places,
}

/// All measures, while they are counted.
pub(super) struct Measures(Vec<Measure>);

impl Measures {
    pub(super) fn new() -> Self {
        let zero = |(name, text)| Measure { name, text, good: 0, of: 0, proof: Places::default() };
        Self(MEASURES.into_iter().map(zero).collect())
    }

    /// Counts one, and its entry when it is so.
    pub(super) fn count(&mut self, name: &str, good: bool, entry: Option<u64>) {
        let Some(measure) = self.0.iter_mut().find(|m| m.name == name) else {
            return debug_assert!(false, "no measure `{name}`");
        };
        measure.of = measure.of.saturating_add(1);
        if good {
            measure.good = measure.good.saturating_add(1);
            entry.into_iter().for_each(|e| measure.proof.add(e));
        }
    }

    pub(super) fn into_list(self) -> Vec<Measure> {
        self.0
    }
}
