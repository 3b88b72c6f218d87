//! Evidence of one artifact: gathered from the index, the upstream and the evidence sources, and
//! verified against the digests that were computed here.

use crate::engine::Engine;
use crate::grounds::Grounds;
use crate::index::FileRef;
use crate::organisation;
use crate::sources::Found;
use countersign_core::{Age, Algorithm, Digests, Ecosystem, Evidence, EvidenceState};
use countersign_evidence::keyed::{self, About};
use countersign_evidence::{Context, attested, npm, pep740};
use std::sync::Arc;

/// The document of a source that holds an attestation about an artifact of any ecosystem.
pub(crate) const ANY: &str = "sigstore-bundle.json";
/// The document of a source that holds any number of attestations, one a line.
pub(crate) const ATTESTATIONS: &str = "attestations.intoto.jsonl";
pub(crate) const NPM_ATTESTATIONS: &str = "npm-attestations.json";
pub(crate) const NPM_SIGNATURES: &str = "npm-signatures.json";
pub(crate) const PEP740: [&str; 2] = ["pep740-provenance.json", "pep740-attestation.json"];

impl Engine {
    /// Looks for evidence everywhere it may be and verifies what there is. Absence is said too.
    pub(crate) async fn gather_evidence(
        &self,
        file: &Arc<FileRef>,
        digests: &Digests,
    ) -> Vec<Evidence> {
        let mut out = file.evidence.clone();
        match file.purl().ecosystem() {
            Ecosystem::Npm => out.extend(self.npm_evidence(file, digests).await),
            Ecosystem::Pypi => out.extend(self.pypi_evidence(file, digests).await),
            // Crates carry no signatures, and Debian's come with the index.
            Ecosystem::Cargo | Ecosystem::Debian | Ecosystem::Go | Ecosystem::Maven => {
                let found = self.read_sources(digests, &[ANY, ATTESTATIONS], &mut out).await;
                out.extend(self.attestations(file, digests, &found).await);
                self.keep_answers(&digests.sha256, &found, &out).await;
            }
        }
        let grounds = self.grounds();
        out.iter_mut().for_each(|e| grounds.roots.restrictions().apply(e, self.now()));
        out
    }

    async fn npm_evidence(&self, file: &Arc<FileRef>, digests: &Digests) -> Vec<Evidence> {
        let (grounds, mut out) = (self.grounds(), Vec::new());
        let names = [NPM_ATTESTATIONS, NPM_SIGNATURES, ANY, ATTESTATIONS];
        let mut found = self.read_sources(digests, &names, &mut out).await;
        if let Some(url) = &file.attestations {
            let source = "upstream".to_owned();
            match self.fetch_evidence(url, npm::PROVENANCE).await {
                Ok(bytes) => {
                    found.push(Found { source, name: NPM_ATTESTATIONS, bytes, fresh: false })
                }
                Err(unreachable) => out.push(unreachable),
            }
        }
        let keys = self.npm_keys(file).await;
        let keys = keys.as_ref().map(|k| k.as_slice());
        if let Some(sha512) = sha512(digests) {
            let artifact = npm::NpmArtifact {
                name: file.purl().name(),
                version: file.purl().version().unwrap_or(""),
                sha512,
                sha256: Some(&digests.sha256.0),
                registry: None,
            };
            let published = match file.facts.age {
                Age::Known { published } => Some(published),
                Age::Unknown => None,
            };
            for f in &found {
                let context = self.evidence_context(&grounds, &f.source);
                match f.name {
                    NPM_ATTESTATIONS => {
                        out.extend(npm::verify_attestations(&f.bytes, &artifact, keys, &context));
                    }
                    NPM_SIGNATURES => out.push(match npm::read_signatures(&f.bytes) {
                        Ok(s) => npm::verify_signatures(&s, &artifact, published, keys, &context),
                        Err(e) => Evidence {
                            kind: npm::SIGNATURE.to_owned(),
                            source: f.source.clone(),
                            state: e.into_state(),
                        },
                    }),
                    _ => {}
                }
            }
            if !file.signatures.is_empty() {
                let context = self.evidence_context(&grounds, "index");
                let list = &file.signatures;
                out.push(npm::verify_signatures(list, &artifact, published, keys, &context));
            }
        }
        out.extend(self.attestations(file, digests, &found).await);
        self.keep_answers(&digests.sha256, &found, &out).await;
        if !out.iter().any(|e| e.kind == npm::PROVENANCE) {
            out.push(absent(npm::PROVENANCE));
        }
        out
    }

    async fn pypi_evidence(&self, file: &Arc<FileRef>, digests: &Digests) -> Vec<Evidence> {
        let (grounds, mut out) = (self.grounds(), Vec::new());
        let names = [PEP740[0], PEP740[1], ANY, ATTESTATIONS];
        let mut found = self.read_sources(digests, &names, &mut out).await;
        match self.fetch_pep740(file).await {
            Some(Ok(bytes)) => {
                let source = "upstream".to_owned();
                found.push(Found { source, name: PEP740[0], bytes, fresh: false });
            }
            Some(Err(unreachable)) => out.push(unreachable),
            None => {}
        }
        for f in found.iter().filter(|f| PEP740.contains(&f.name)) {
            let context = self.evidence_context(&grounds, &f.source);
            let (name, digest) = (&file.file_name, &digests.sha256);
            out.extend(pep740::verify_provenance(&f.bytes, name, digest, &context));
        }
        if out.is_empty() {
            out.push(absent(pep740::KIND));
        }
        out.extend(self.attestations(file, digests, &found).await);
        self.keep_answers(&digests.sha256, &found, &out).await;
        out
    }

    /// What attestations of no ecosystem's own kind say about the artifact.
    async fn attestations(
        &self,
        file: &FileRef,
        digests: &Digests,
        found: &[Found],
    ) -> Vec<Evidence> {
        let found: Vec<&Found> =
            found.iter().filter(|f| [ANY, ATTESTATIONS].contains(&f.name)).collect();
        if found.is_empty() {
            return Vec::new();
        }
        let (grounds, purl) = (self.grounds(), file.purl().to_string());
        let names = [purl.as_str(), file.file_name.as_str()];
        let mut recorded = organisation::Recorded::default();
        for f in found.iter().filter(|_| grounds.keys.any_own()) {
            match organisation::recorded(&self.inner.store, &f.bytes).await {
                Ok(times) => recorded.extend(times),
                // Without these times less is believed, never more.
                Err(e) => tracing::warn!(error = %e, "the times of own signatures cannot be read"),
            }
        }
        let about = About { names: &names, sha256: &digests.sha256, sha512: sha512(digests) };
        grounds.keys.with_keyring(Some(file.purl()), &recorded, |keyring| {
            let judge = |f: &&Found| {
                let context = self.evidence_context(&grounds, &f.source);
                judge_attestation(f.name, &f.bytes, &about, keyring, &context)
            };
            found.iter().flat_map(judge).collect()
        })
    }

    fn evidence_context<'a>(&self, grounds: &'a Grounds, source: &'a str) -> Context<'a> {
        Context { roots: &grounds.roots, now: self.now(), source }
    }

    /// The registry's public keys: from the evidence sources (`npm-keys.json`), or from the
    /// upstream that serves the attestations.
    async fn npm_keys(&self, file: &Arc<FileRef>) -> Option<Arc<Vec<u8>>> {
        let cell =
            self.inner.npm_keys.lock().entry(file.upstream.base.to_string()).or_default().clone();
        cell.get_or_init(|| async {
            for source in self.grounds().evidence.iter() {
                for name in ["npm-keys.json", "keys.json"] {
                    if let Ok(Some(bytes)) = self.read_source(source, name).await {
                        return Some(Arc::new(bytes));
                    }
                }
            }
            if file.attestations.is_none() && file.signatures.is_empty() {
                return None;
            }
            let url = file.upstream.base.join("-/npm/v1/keys").ok()?;
            self.fetch_evidence(&url, "npm-keys").await.ok().map(Arc::new)
        })
        .await
        .clone()
    }
}

/// Judges a document of attestations by what stands behind them: a certificate, or a key.
pub(crate) fn judge_attestation(
    document: &str,
    bytes: &[u8],
    about: &About<'_>,
    keyring: &keyed::Keyring<'_>,
    context: &Context<'_>,
) -> Vec<Evidence> {
    if document == ANY && !keyed::is_keyed_bundle(bytes) {
        let About { names, sha256, sha512 } = about;
        return vec![attested::verify_attestation(bytes, names, sha256, *sha512, context)];
    }
    keyed::verify_attestations(bytes, about, keyring, context)
}

/// The kind of evidence that a document is said to hold while nobody has read it.
pub(crate) fn kind_of(document: &str) -> &str {
    if document == ATTESTATIONS { keyed::KIND } else { document.trim_end_matches(".json") }
}

fn absent(kind: &str) -> Evidence {
    Evidence {
        kind: kind.to_owned(),
        source: "index, upstream and evidence sources".to_owned(),
        state: EvidenceState::Absent,
    }
}

fn sha512(digests: &Digests) -> Option<&[u8; 64]> {
    let found = digests.others.iter().find(|d| d.algorithm() == Algorithm::Sha512)?;
    <&[u8; 64]>::try_from(found.as_bytes()).ok()
}
