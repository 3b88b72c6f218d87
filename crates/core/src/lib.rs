//! The vocabulary of the gate: package URLs, digests, facts, findings and verdicts.
//!
//! Everything here is a value. There is no I/O, no clock and no environment: a time is an
//! argument, and a limit is a parameter of whoever reads bytes.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr))]

pub mod algorithm;
pub mod check;
pub mod claim;
pub mod digest;
pub mod ecosystem;
pub mod facts;
pub mod finding;
pub mod purl;
pub mod reason;
pub mod time;
pub mod verdict;

pub use algorithm::AlgorithmUse;
pub use check::{Check, Outcome};
pub use claim::{Attested, Build, Change, Claim, Evidence, EvidenceState, ProofClass};
pub use digest::{Algorithm, DigestError, Digests, ExpectedDigest, Sha256Digest};
pub use ecosystem::{Ecosystem, normalize_pypi_name};
pub use facts::{AdvisedAs, Age, ArtifactFacts, Dependency, Reservation, VersionFacts};
pub use finding::{
    Confidence, Exploitation, Finding, FindingKind, Observed, Severity, VexClaim, VexSource,
    VexStatus,
};
pub use purl::{Purl, PurlError};
pub use reason::ReasonCode;
pub use time::Timestamp;
pub use verdict::{Decision, FiredRule, Verdict};
