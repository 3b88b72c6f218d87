//! What was checked and how it ended; "not done" is an outcome of its own.

use serde::{Deserialize, Serialize};

/// How a check ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// It ran to its end and found nothing against the artifact.
    Passed,
    /// It ran and what it checks does not hold.
    Failed {
        /// What does not hold, in words for people.
        because: String,
    },
    /// It did not run, or not to its end: never to be shown as passed.
    NotDone {
        /// Why it did not run.
        because: String,
    },
}

/// One check of one artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// The check's stable name: `digest`, `advisories`, `archive`, `evidence`.
    pub name: String,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: Outcome,
}

impl Check {
    /// A check that passed.
    #[must_use]
    pub fn passed(name: &str) -> Self {
        Self { name: name.to_owned(), outcome: Outcome::Passed }
    }

    /// A check that failed.
    #[must_use]
    pub fn failed(name: &str, because: impl Into<String>) -> Self {
        Self { name: name.to_owned(), outcome: Outcome::Failed { because: because.into() } }
    }

    /// A check that was not done.
    #[must_use]
    pub fn not_done(name: &str, because: impl Into<String>) -> Self {
        Self { name: name.to_owned(), outcome: Outcome::NotDone { because: because.into() } }
    }
}
