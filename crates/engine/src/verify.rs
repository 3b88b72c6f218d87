//! Verification of artifacts that lie on this machine, offline: what their evidence says, step by
//! step, in words.

mod ahead;
mod crates;
mod image;

pub use ahead::Trusted;
pub use crates::{explain_vcs, vcs_info};
pub use image::{ImageSignature, image_digest, verify_image};

use crate::evidence::{
    ANY, ATTESTATIONS, NPM_ATTESTATIONS, NPM_SIGNATURES, PEP740, judge_attestation, kind_of,
};
use crate::organisation::{OrganisationKeys, Recorded};
use countersign_core::{
    Claim, Ecosystem, Evidence, EvidenceState, ProofClass, Purl, Sha256Digest, Timestamp,
};
use countersign_evidence::cargo_vcs::VcsInfo;
use countersign_evidence::keyed::{About, Keyring};
use countersign_evidence::sigstore::TrustRoots;
use countersign_evidence::{Context, npm, pep740};
use serde::Serialize;
use sha2::{Digest as _, Sha256, Sha512};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Largest evidence document that is read, in bytes.
const MAX_EVIDENCE: u64 = 16 << 20;

/// An artifact on this machine.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its version, where it is known. npm's attestations are about one.
    pub purl: Option<Purl>,
    /// The file's name.
    pub file_name: String,
    /// The digest of the bytes.
    pub sha256: Sha256Digest,
    sha512: [u8; 64],
}

impl Target {
    /// Reads a file, in pieces.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(path: &Path, purl: Option<Purl>) -> std::io::Result<Self> {
        let mut file = std::fs::File::open(path)?;
        let (mut sha256, mut sha512) = (Sha256::new(), Sha512::new());
        let mut buffer = vec![0; 1 << 16];
        loop {
            let n = file.read(&mut buffer)?;
            let Some(piece) = buffer.get(..n).filter(|p| !p.is_empty()) else { break };
            sha256.update(piece);
            sha512.update(piece);
        }
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned());
        Ok(Self {
            purl,
            file_name: name.unwrap_or_default(),
            sha256: Sha256Digest(sha256.finalize().into()),
            sha512: sha512.finalize().into(),
        })
    }

    /// The SHA-512 of the bytes.
    #[must_use]
    pub fn sha512(&self) -> &[u8; 64] {
        &self.sha512
    }
}

/// What was verified of an artifact.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verification {
    /// Its version, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purl: Option<Purl>,
    /// The file's name.
    pub file: String,
    /// The digest of the bytes.
    pub sha256: Sha256Digest,
    /// How it ended.
    pub result: VerificationResult,
    /// All evidence that was found.
    pub evidence: Vec<Evidence>,
    /// What a crate says about its source. Nobody verified it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unverified_claims: Option<VcsInfo>,
}

/// How a verification ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum VerificationResult {
    /// At least one piece of evidence holds, and none does not.
    Verified,
    /// There is evidence that does not hold.
    Invalid,
    /// There is evidence, and none of it could be judged.
    NotJudged,
    /// There is none.
    Absent,
}

/// What evidence is verified against.
#[derive(Clone, Copy)]
pub struct Trust<'a> {
    /// Sigstore's roots.
    pub roots: &'a TrustRoots,
    /// The organisation's keys.
    pub keys: &'a OrganisationKeys,
    /// When keys of this store signed.
    pub recorded: &'a Recorded,
    /// The time of the verification.
    pub now: Timestamp,
}

/// Verifies what folders of evidence, and the artifact's own folder, hold about it.
#[must_use]
pub fn verify_offline(
    target: &Target,
    beside: Option<&Path>,
    folders: &[PathBuf],
    trust: &Trust<'_>,
) -> Verification {
    let mut evidence = Vec::new();
    let keys = npm_keys(folders);
    trust.keys.with_keyring(target.purl.as_ref(), trust.recorded, |keyring| {
        for (source, kind, path) in places(target, beside, folders) {
            let context = Context { roots: trust.roots, now: trust.now, source: &source };
            match read(&path) {
                Ok(None) => {}
                Ok(Some(bytes)) => {
                    let npm_keys = keys.as_deref();
                    evidence.extend(judge(target, kind, &bytes, npm_keys, keyring, &context));
                }
                Err(because) => evidence.push(Evidence {
                    kind: kind_of(kind).to_owned(),
                    source: source.clone(),
                    state: EvidenceState::Unreachable { because },
                }),
            }
        }
    });
    evidence.retain(|e| !matches!(e.state, EvidenceState::Absent));
    evidence.iter_mut().for_each(|e| trust.roots.restrictions().apply(e, trust.now));
    Verification {
        purl: target.purl.clone(),
        file: target.file_name.clone(),
        sha256: target.sha256,
        result: result(&evidence),
        evidence,
        unverified_claims: None,
    }
}

/// The attestations that would be looked at for an artifact: of these a ledger may know when they
/// were signed.
#[must_use]
pub fn attestations(target: &Target, beside: Option<&Path>, folders: &[PathBuf]) -> Vec<Vec<u8>> {
    let places = places(target, beside, folders).into_iter();
    let of_keys = places.filter(|(_, kind, _)| [ANY, ATTESTATIONS].contains(kind));
    of_keys.filter_map(|(_, _, path)| read(&path).ok().flatten()).collect()
}

fn result(evidence: &[Evidence]) -> VerificationResult {
    if evidence.iter().any(|e| matches!(e.state, EvidenceState::Invalid { .. })) {
        return VerificationResult::Invalid;
    }
    if evidence.iter().any(|e| e.claim().is_some()) {
        return VerificationResult::Verified;
    }
    if evidence.is_empty() { VerificationResult::Absent } else { VerificationResult::NotJudged }
}

/// Where documents about the artifact may lie: their source's name, their kind, their path.
fn places(
    target: &Target,
    beside: Option<&Path>,
    folders: &[PathBuf],
) -> Vec<(String, &'static str, PathBuf)> {
    let digest = target.sha256.to_hex();
    let mut out = Vec::new();
    for folder in folders {
        let name = folder.file_name().map(|n| n.to_string_lossy().into_owned());
        let source = format!("folder {}", name.unwrap_or_default());
        for kind in [NPM_ATTESTATIONS, NPM_SIGNATURES, PEP740[0], PEP740[1], ANY, ATTESTATIONS] {
            out.push((source.clone(), kind, folder.join(&digest).join(kind)));
        }
    }
    if let Some(beside) = beside {
        let name = &target.file_name;
        for (suffix, kind) in [
            ("provenance", PEP740[0]),
            ("publish.attestation", PEP740[1]),
            ("slsa.attestation", PEP740[1]),
            ("sigstore.json", ANY),
            ("sigstore", ANY),
            ("intoto.jsonl", ATTESTATIONS),
            ("dsse.json", ATTESTATIONS),
        ] {
            let path = beside.join(format!("{name}.{suffix}"));
            out.push((format!("{name}.{suffix}"), kind, path));
        }
    }
    out
}

fn judge(
    target: &Target,
    kind: &str,
    bytes: &[u8],
    keys: Option<&[u8]>,
    keyring: &Keyring<'_>,
    context: &Context<'_>,
) -> Vec<Evidence> {
    let unjudged = |because: &str| {
        vec![Evidence {
            kind: kind_of(kind).to_owned(),
            source: context.source.to_owned(),
            state: EvidenceState::Unreachable { because: because.to_owned() },
        }]
    };
    let npm = target.purl.as_ref().filter(|p| p.ecosystem() == Ecosystem::Npm);
    let npm = npm.and_then(|p| Some((p.name(), p.version()?)));
    let artifact = npm.map(|(name, version)| npm::NpmArtifact {
        name,
        version,
        sha512: &target.sha512,
        sha256: Some(&target.sha256.0),
        registry: None,
    });
    match (kind, artifact) {
        (NPM_ATTESTATIONS, Some(a)) => npm::verify_attestations(bytes, &a, keys, context),
        (NPM_SIGNATURES, Some(a)) => vec![match npm::read_signatures(bytes) {
            Ok(s) => npm::verify_signatures(&s, &a, None, keys, context),
            Err(e) => Evidence {
                kind: npm::SIGNATURE.to_owned(),
                source: context.source.to_owned(),
                state: e.into_state(),
            },
        }],
        (NPM_ATTESTATIONS | NPM_SIGNATURES, None) => {
            unjudged("it is about an npm package's version; name it with --purl")
        }
        (ANY | ATTESTATIONS, _) => {
            let purl = target.purl.as_ref().map(ToString::to_string).unwrap_or_default();
            let names = [target.file_name.as_str(), purl.as_str()];
            let (sha256, sha512) = (&target.sha256, Some(&target.sha512));
            judge_attestation(
                kind,
                bytes,
                &About { names: &names, sha256, sha512 },
                keyring,
                context,
            )
        }
        _ => pep740::verify_provenance(bytes, &target.file_name, &target.sha256, context),
    }
}

fn npm_keys(folders: &[PathBuf]) -> Option<Vec<u8>> {
    let names = ["npm-keys.json", "keys.json"];
    let mut paths = folders.iter().flat_map(|f| names.map(|n| f.join(n)));
    paths.find_map(|p| read(&p).ok().flatten())
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, String> {
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(format!("cannot be read: {e}")),
    };
    let mut bytes = Vec::new();
    let mut limited = file.take(MAX_EVIDENCE + 1);
    limited.read_to_end(&mut bytes).map_err(|e| format!("cannot be read: {e}"))?;
    if bytes.len() as u64 > MAX_EVIDENCE {
        return Err(format!("is beyond the limit of {MAX_EVIDENCE} bytes"));
    }
    Ok(Some(bytes))
}

/// What a piece of evidence says, a line each: who, from where, by what, when, and what proves it.
#[must_use]
pub fn explain(evidence: &Evidence) -> Vec<String> {
    let head = |state: &str| format!("{}: {state} (from {})", evidence.kind, evidence.source);
    match &evidence.state {
        EvidenceState::Absent => vec![head("nobody offers any")],
        EvidenceState::Unreachable { because } => {
            vec![head("could not be judged"), format!("  because: {because}")]
        }
        EvidenceState::Invalid { because, .. } => {
            vec![head("does NOT hold"), format!("  because: {because}")]
        }
        EvidenceState::Verified { claim } => {
            let mut out = vec![head("holds")];
            out.extend(explain_claim(claim));
            out
        }
    }
}

fn explain_claim(c: &Claim) -> Vec<String> {
    let build = c.build.as_deref().cloned().unwrap_or_default();
    let with_id = |text: &Option<String>, id: &Option<String>| {
        let text = text.as_ref()?;
        Some(match id {
            Some(id) => format!("{text} (id {id})"),
            None => text.clone(),
        })
    };
    let time = |t: Option<Timestamp>| t.map(|t| t.to_string());
    let proof = match c.proof {
        ProofClass::InclusionProof => "the log's signed checkpoint, which covers the entry",
        ProofClass::InclusionPromise => "the log's signed promise, without a proof of inclusion",
        ProofClass::KeyOnly if c.attested.is_some() && c.signed_at.is_some() => {
            "the key, and the ledger of this gate, which noted the time"
        }
        ProofClass::KeyOnly => "the key alone; no log vouches for the time",
    };
    let made_with: Vec<String> = c.algorithms.iter().map(ToString::to_string).collect();
    let lines = [
        ("what was signed", Some(c.kind.clone())),
        ("in short", c.attested.as_ref().map(|a| a.predicate.clone())),
        ("outcome", c.attested.as_ref().and_then(|a| a.outcome.clone())),
        ("signed by", Some(c.signer.clone())),
        ("key", c.attested.as_ref().map(|a| a.key.clone())),
        ("also signed by", Some(c.also_signed_by.join(", ")).filter(|s| !s.is_empty())),
        ("vouched for by", c.issuer.clone()),
        ("repository", with_id(&c.repository, &c.repository_id)),
        ("owner", with_id(&build.owner, &build.owner_id)),
        ("commit", c.commit.clone()),
        ("ref", c.git_ref.clone()),
        ("workflow", c.workflow.clone()),
        ("builder", c.builder.clone()),
        ("SLSA build level", build.level.map(|l| l.to_string())),
        ("ran on", build.runner),
        ("started by", build.trigger),
        ("run", build.invocation),
        ("repository was", build.visibility),
        ("environment", build.environment),
        ("kind of build", build.build_type),
        ("build started", time(build.started)),
        ("build ended", time(build.finished)),
        ("signed at", time(c.signed_at)),
        ("published in", c.log.clone()),
        ("proven by", Some(proof.to_owned())),
        ("made with", Some(made_with.join(", ")).filter(|m| !m.is_empty())),
    ];
    let said = lines.into_iter().filter_map(|(name, text)| Some((name, text?)));
    let mut out: Vec<String> =
        said.map(|(name, text)| format!("  {:<17} {text}", format!("{name}:"))).collect();
    out.extend(build.parameters.iter().map(|(n, v)| format!("  parameter         {n} = {v}")));
    out
}
