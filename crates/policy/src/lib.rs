//! Facts to a verdict and its reasons. The only crate that knows Cedar. Sans-I/O.
//!
//! A [`PolicySet`] is loaded from the files of a folder (or is one of the shipped sets) and checked
//! against the schema; after that it judges: each finding (`tolerate`), a version by its metadata
//! (`resolve`), an artifact by all that is known about it (`install`). `forbid` policies fire and
//! say hold or refuse; without a `permit` that matches nothing is admitted; a policy that cannot be
//! evaluated refuses. Times and waivers are arguments.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr))]

mod algorithms;
mod annotation;
mod attributes;
mod cases;
mod decide;
mod detail;
mod disclosure;
mod error;
mod load;
mod pattern;
mod settings;
mod shipped;
mod spelling;
mod waiver;
mod waiver_file;

pub use algorithms::{AlgorithmTable, Weakness};
pub use annotation::{Effect, RuleInfo};
pub use cases::{TestOutcome, run_tests};
pub use decide::DecisionContext;
pub use disclosure::{
    DISCLOSURE_FILE, DISCLOSURE_SCHEMA, Disclosed, Disclosure, EntryFacts, Reader,
};
pub use error::{PolicyError, PolicyFile};
pub use load::PolicySet;
pub use pattern::{PatternError, PurlPattern};
pub use settings::{Mode, Settings};
pub use shipped::{SCHEMA, SHIPPED_SETS, shipped_files};
pub use waiver::{ActiveWaiver, WaiverTarget, WaiverTargetError};
pub use waiver_file::{FileWaiver, read_waivers};

/// The rule id of a refusal because no `permit` policy matched.
pub const NO_PERMIT: &str = "no-permit";

/// The rule id of a refusal because the facts themselves could not be put to the policies.
pub const POLICY_ERROR: &str = "policy-error";
