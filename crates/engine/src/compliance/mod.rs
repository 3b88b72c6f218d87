//! What the ledger can show for a period: counts, lists, and the requirements that they are evidence for.
//!
//! Every line names the entries that it rests on. Nothing is inferred: what was not recorded is *no
//! evidence*.

mod collect;
mod mapping;
mod measure;
mod slo;

pub use collect::report;
pub use mapping::{Control, Framework, Mapping, MappingError, SHIPPED_MAPPING};
pub use measure::{MEASURES, Measure};

use countersign_core::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;

/// The value of the member `format`.
pub const REPORT_FORMAT: &str = "countersign-report/v1";

/// Entries of a line whose proofs stand in the report; all are named.
const PROVEN: usize = 8;

/// Everything that a report says.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// [`REPORT_FORMAT`].
    pub format: &'static str,
    /// From when on.
    pub since: Timestamp,
    /// Until when, exclusively.
    pub until: Timestamp,
    /// When it was made.
    pub made: Timestamp,
    /// The version of the gate that made it.
    pub version: &'static str,
    /// The ledger and the checkpoint that all proofs lead to.
    pub ledger: LedgerLine,
    /// Decisions and evidence by ecosystem.
    pub ecosystems: Vec<EcosystemLine>,
    /// What was not admitted, by verdict and reason.
    pub stopped: Vec<StoppedLine>,
    /// Waivers that were in force in the period.
    pub waivers: Vec<WaiverLine>,
    /// How quickly things were done, where that is recorded.
    pub slo: Vec<SloLine>,
    /// Acts of the gate and of people, by kind: keys, grounds, feeds, recalls, incidents, and more.
    pub acts: Vec<ActLine>,
    /// Entries of each kind in the period.
    pub kinds: BTreeMap<String, u64>,
    /// What was measured.
    pub measures: Vec<Measure>,
    /// Requirements, and what is evidence for them.
    pub frameworks: Vec<FrameworkLine>,
    /// Proofs of entries that the lines name.
    pub proofs: BTreeMap<u64, ProofLine>,
}

/// The ledger that a report is about.
#[derive(Debug, Clone, Serialize)]
pub struct LedgerLine {
    /// Its name.
    pub origin: String,
    /// Its public key.
    pub key: String,
    /// Entries that the checkpoint covers.
    pub size: u64,
    /// The signed checkpoint.
    pub checkpoint: String,
    /// How many entries the newest checkpoint covers that witnesses have cosigned.
    pub cosigned: Option<u64>,
    /// That checkpoint.
    pub cosigned_checkpoint: Option<String>,
}

/// The entries that a line rests on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(into = "Named")]
pub struct Places(Vec<u64>);

/// Places as they are written: how many, and ranges (`3,7,11-14`).
#[derive(Serialize)]
struct Named {
    count: usize,
    entries: String,
}

impl Places {
    /// One more.
    pub fn add(&mut self, index: u64) {
        self.0.push(index);
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> &[u64] {
        &self.0
    }

    /// Those whose proofs stand in the report.
    #[must_use]
    pub fn proven(&self) -> &[u64] {
        self.0.get(..PROVEN).unwrap_or(&self.0)
    }

    /// Ranges: `3,7,11-14`.
    #[must_use]
    pub fn ranges(&self) -> String {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        sorted.dedup();
        let mut out: Vec<(u64, u64)> = Vec::new();
        for n in sorted {
            match out.last_mut() {
                Some((_, last)) if last.checked_add(1) == Some(n) => *last = n,
                _ => out.push((n, n)),
            }
        }
        let words = out.iter().map(|(a, b)| match a == b {
            true => a.to_string(),
            false => format!("{a}-{b}"),
        });
        words.collect::<Vec<_>>().join(",")
    }
}

impl From<u64> for Places {
    fn from(index: u64) -> Self {
        Self(vec![index])
    }
}

impl From<Places> for Named {
    fn from(places: Places) -> Self {
        Self { count: places.0.len(), entries: places.ranges() }
    }
}

/// An ecosystem's artifacts, each counted once by its latest decision in the period.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct EcosystemLine {
    /// The ecosystem.
    pub ecosystem: String,
    /// Artifacts that were judged by their bytes.
    pub artifacts: u64,
    /// Admitted.
    pub admitted: u64,
    /// Held.
    pub held: u64,
    /// Refused.
    pub refused: u64,
    /// Refused or held before their bytes were fetched.
    pub without_bytes: u64,
    /// With verified evidence that names a repository or a build.
    pub provenance: u64,
    /// With other verified evidence.
    pub other_evidence: u64,
    /// With evidence that does not hold.
    pub invalid: u64,
    /// Whose evidence could not be had.
    pub unreachable: u64,
    /// Without any.
    pub none: u64,
    /// The decisions.
    pub proof: Places,
}

/// Refusals or holds for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StoppedLine {
    /// `hold` or `refuse`.
    pub verdict: String,
    /// The reason of the rule that led.
    pub reason: String,
    /// How many decisions.
    pub count: u64,
    /// The first of them: version and words.
    pub examples: Vec<(String, String)>,
    /// The decisions.
    pub proof: Places,
}

/// A waiver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WaiverLine {
    /// Its id.
    pub id: String,
    /// What it is for.
    pub target: String,
    /// What it lifts.
    pub rule: String,
    /// Who answers for it.
    pub owner: String,
    /// Why.
    pub reason: String,
    /// When it was granted.
    pub created: Timestamp,
    /// When it ends.
    pub until: Timestamp,
    /// `active`, `expired` or `revoked`, when the report was made.
    pub state: &'static str,
    /// Its entries.
    pub proof: Places,
}

/// A figure over time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SloLine {
    /// What is measured.
    pub name: String,
    /// The figure; `None` when nothing of it is recorded.
    pub value: Option<String>,
    /// The entries that it is computed from.
    pub proof: Places,
}

/// An act of the gate or of people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ActLine {
    /// The kind of the entry.
    pub kind: String,
    /// When.
    pub time: Timestamp,
    /// In words.
    pub words: String,
    /// The entry.
    pub proof: Places,
}

/// A framework with its requirements.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FrameworkLine {
    /// Its name.
    pub name: String,
    /// Its full name and version.
    pub source: String,
    /// Its requirements.
    pub controls: Vec<ControlLine>,
}

/// A requirement, and what is evidence for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ControlLine {
    /// Its id.
    pub id: String,
    /// What it asks for.
    pub text: String,
    /// `met`, `partly met`, `not met` or `no evidence`.
    pub state: &'static str,
    /// The figures, or what is missing.
    pub because: String,
    /// The entries.
    pub proof: Places,
}

/// The proof that an entry is in the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProofLine {
    /// The commitment, in hexadecimal.
    pub entry: String,
    /// The hashes up to the checkpoint's root, in base64 (RFC 6962 section 2.1.1).
    pub inclusion_proof: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_written_as_ranges() {
        let of = |list: &[u64]| Places(list.to_vec()).ranges();
        assert_eq!(of(&[]), "");
        assert_eq!(of(&[7]), "7");
        assert_eq!(of(&[14, 3, 11, 12, 13, 7, 7]), "3,7,11-14");
        assert_eq!(of(&[u64::MAX, u64::MAX - 1]), format!("{}-{}", u64::MAX - 1, u64::MAX));
    }
}
