//! Attestations and signatures to verified claims, given trust roots and a time. Sans-I/O.
//!
//! Bytes come in with the trust roots, the digests that the gate computed itself and a time; out
//! come [`countersign_core::Evidence`] values, or a [`Verified`] value that only this crate can
//! make. Nothing here fetches, reads a clock or looks at the environment.
//!
//! | module | what it verifies |
//! |---|---|
//! | [`sigstore`] | Sigstore bundles (v0.1 to v0.3) that hold an in-toto attestation |
//! | [`npm`] | npm's publish attestation and provenance, as a registry serves them |
//! | [`pep740`] | Python's index-hosted attestations (PEP 740) |
//! | [`cargo_vcs`] | what a crate says about its source; verifies none of it |
//! | [`cosign`] | signatures of container images, by the manifest's digest |
//! | [`attested`] | an attestation about an artifact of any ecosystem |
//! | [`keyed`] | attestations that a key of the organisation signed |
//! | [`predicate`] | what predicates of known types must say |
//! | [`continuity`] | what changed since an earlier version |
//! | [`algorithm`] | which algorithms and keys still prove something |
//! | [`trust`] | what narrows the trust roots: pins and revocations |
//! | [`tuf`] | Sigstore's root from a TUF repository |
//! | [`openpgp`] | Debian's `InRelease` and `Release.gpg` |
//! | [`oci`] | which bundles an OCI registry has about an artifact; verifies none of them |
//! | [`openpgp`] | Debian's `InRelease` and `Release.gpg`; a detached signature beside any file |
//! | [`sumdb`] | the record of a Go module's version in a checksum database |

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr))]

pub mod algorithm;
pub mod attested;
pub mod cargo_vcs;
pub mod continuity;
pub mod cosign;
mod error;
mod json;
pub mod keyed;
pub mod npm;
pub mod oci;
pub mod openpgp;
pub mod pep740;
pub mod predicate;
mod provenance;
pub mod sigstore;
mod statement;
pub mod sumdb;
pub mod trust;
pub mod tuf;
mod verified;

pub use error::{EvidenceError, Fault};
pub use statement::{Expected, Statement, SubjectName};
pub use verified::Verified;

use countersign_core::Timestamp;

/// What every verification of attestations needs beside the attestation itself.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The trust roots.
    pub roots: &'a sigstore::TrustRoots,
    /// The time of the verification: nothing may have been signed after it.
    pub now: Timestamp,
    /// Where the document came from, for [`countersign_core::Evidence::source`]. No credentials.
    pub source: &'a str,
}
