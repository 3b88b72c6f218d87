//! What evidence says about an artifact, and how it was proven.

use crate::algorithm::AlgorithmUse;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What verified evidence says: who, from where, by what, when. Unset means "it does not say".
///
/// A `Claim` in isolation is only text; the crate that verifies wraps it in a type that nobody
/// else can make.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Claim {
    /// The predicate type or the kind of signature that made the claim.
    pub kind: String,
    /// Who signed: a certificate's identity, a key id, or a keyring's certificate.
    pub signer: String,
    /// What a key of the organisation attests, where one signed; `signer` is then its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attested: Option<Attested>,
    /// Others who signed the same, each by itself: certificates of a keyring.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also_signed_by: Vec<String>,
    /// The identity provider or registry that vouches for the signer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// The source repository, as a URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// The repository's numeric id at its host, which survives a rename and exposes a squatter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository_id: Option<String>,
    /// The source commit, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The source ref (`refs/tags/v1.0.0`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git_ref: Option<String>,
    /// The workflow or build configuration that ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow: Option<String>,
    /// The builder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub builder: Option<String>,
    /// When it was signed, by the log's or the time stamp's word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_at: Option<Timestamp>,
    /// What proves the time and the publication.
    pub proof: ProofClass,
    /// Where it is published: the log's address and the index of the entry there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// How it was built, where provenance says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<Box<Build>>,
    /// The algorithms and keys that the proof rests on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub algorithms: Vec<AlgorithmUse>,
}

/// What a key of the organisation attests.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Attested {
    /// The id of the key.
    pub key: String,
    /// The predicate type's short name (`test-result`), or its URI where it has none.
    pub predicate: String,
    /// The outcome, where it states one: `passed`, `warned`, `failed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
}

/// How an artifact was built. What the certificate says is certified; the rest is the build's own
/// word, held against the certificate wherever both speak. Unset means "it does not say".
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Build {
    /// The SLSA build level that the builder is known for; certified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<u8>,
    /// The owner of the repository, as a URL; certified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The owner's numeric id at the repository's host; certified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner_id: Option<String>,
    /// Where it ran: `github-hosted`, `self-hosted`; certified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runner: Option<String>,
    /// What started it: `push`, `release`, `workflow_dispatch`; certified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trigger: Option<String>,
    /// The run, as a URL; certified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invocation: Option<String>,
    /// Whether the repository was public then; certified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub visibility: Option<String>,
    /// The deployment environment; certified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// The kind of build, as a URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build_type: Option<String>,
    /// When it started, by its own clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
    /// When it ended, by its own clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished: Option<Timestamp>,
    /// What it was given: names as paths, and their values, both shortened.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
}

/// What is different from an earlier version of the same release line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The stable name: `lost`, `other-repository`, `other-repository-id`, `other-workflow`,
    /// `other-builder`, `other-publisher`, `ref-not-a-tag`, `commit-not-newer`,
    /// `metadata-repository`; of what is in it
    /// `new-install-hook`, `new-start-hook`, `new-build-script`, `new-network`, `new-execute`, `new-host`,
    /// `new-capability`, `new-native-code`, `new-dependency`, `grew`, `patch-release`.
    pub kind: String,
    /// In words for people.
    pub detail: String,
}

/// What stands behind the time of a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProofClass {
    /// A transparency log's inclusion proof up to a signed checkpoint.
    InclusionProof,
    /// A log's signed promise only (a Rekor v1 signed entry timestamp).
    InclusionPromise,
    /// A key alone, with no log behind it.
    #[default]
    KeyOnly,
}

/// How one kind of evidence about one artifact stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum EvidenceState {
    /// It was checked to the end and holds.
    Verified {
        /// What it says.
        claim: Box<Claim>,
    },
    /// Nobody offered any.
    Absent,
    /// There may be some, and it could not be had.
    Unreachable {
        /// Why.
        because: String,
    },
    /// It was offered and does not hold.
    Invalid {
        /// Why.
        because: String,
        /// The algorithms that it failed for; empty where it failed for something else.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        algorithms: Vec<AlgorithmUse>,
    },
}

/// One piece of evidence, or its absence, with where it was looked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// What was looked for: `npm-publish`, `npm-provenance`, `pep740`, `debian-release`, `index-digest`.
    pub kind: String,
    /// Where it came from or would have: `index`, `upstream`, a folder. Never holds credentials.
    pub source: String,
    /// How it stands.
    #[serde(flatten)]
    pub state: EvidenceState,
}

impl Evidence {
    /// The claim, when the evidence is verified.
    #[must_use]
    pub fn claim(&self) -> Option<&Claim> {
        match &self.state {
            EvidenceState::Verified { claim } => Some(claim),
            _ => None,
        }
    }

    /// The algorithms that it rests on, or that it failed for.
    #[must_use]
    pub fn algorithms(&self) -> &[AlgorithmUse] {
        match &self.state {
            EvidenceState::Verified { claim } => &claim.algorithms,
            EvidenceState::Invalid { algorithms, .. } => algorithms,
            EvidenceState::Absent | EvidenceState::Unreachable { .. } => &[],
        }
    }
}
