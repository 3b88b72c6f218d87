//! Where evidence is looked for: the index, the upstream, and folders keyed by digest.

use crate::engine::Engine;
use crate::grounds::Grounds;
use crate::index::FileRef;
use countersign_core::{Algorithm, Digests, Ecosystem, Evidence, EvidenceState};
use countersign_evidence::{Context, npm, pep740};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Largest evidence document that is read, in bytes.
const MAX_EVIDENCE: u64 = 16 << 20;

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
            Ecosystem::Cargo | Ecosystem::Debian => {}
        }
        out
    }

    async fn npm_evidence(&self, file: &Arc<FileRef>, digests: &Digests) -> Vec<Evidence> {
        let (grounds, mut out) = (self.grounds(), Vec::new());
        let mut documents: Vec<(String, Vec<u8>)> =
            self.read_folders(digests, &["npm-attestations.json"], &mut out).await;
        if let Some(url) = &file.attestations {
            match self.fetch_evidence(url, "npm-provenance").await {
                Ok(bytes) => documents.push(("upstream".to_owned(), bytes)),
                Err(unreachable) => out.push(unreachable),
            }
        }
        let keys = self.npm_keys(file).await;
        let sha512 = digests
            .others
            .iter()
            .find(|d| d.algorithm() == Algorithm::Sha512)
            .and_then(|d| <&[u8; 64]>::try_from(d.as_bytes()).ok());
        for (source, bytes) in documents {
            let Some(sha512) = sha512 else { break };
            let artifact = npm::NpmArtifact {
                name: file.purl().name(),
                version: file.purl().version().unwrap_or(""),
                sha512,
                sha256: Some(&digests.sha256.0),
                registry: None,
            };
            let keys = keys.as_ref().map(|k| k.as_slice());
            out.extend(npm::verify_attestations(
                &bytes,
                &artifact,
                keys,
                &self.evidence_context(&grounds, &source),
            ));
        }
        if out.is_empty() {
            out.push(absent("npm-provenance"));
        }
        out
    }

    async fn pypi_evidence(&self, file: &Arc<FileRef>, digests: &Digests) -> Vec<Evidence> {
        let (grounds, mut out) = (self.grounds(), Vec::new());
        let names = ["pep740-provenance.json", "pep740-attestation.json"];
        let mut documents = self.read_folders(digests, &names, &mut out).await;
        match self.fetch_pep740(file).await {
            Some(Ok(bytes)) => documents.push(("upstream".to_owned(), bytes)),
            Some(Err(unreachable)) => out.push(unreachable),
            None => {}
        }
        for (source, bytes) in documents {
            let context = self.evidence_context(&grounds, &source);
            out.extend(pep740::verify_provenance(
                &bytes,
                &file.file_name,
                &digests.sha256,
                &context,
            ));
        }
        if out.is_empty() {
            out.push(absent("pep740"));
        }
        out
    }

    fn evidence_context<'a>(&self, grounds: &'a Grounds, source: &'a str) -> Context<'a> {
        Context { roots: &grounds.roots, now: self.now(), source }
    }

    /// Documents named `names` under `<folder>/<sha256>/` of every evidence folder. A folder that
    /// cannot be read makes its evidence unreachable, not absent.
    async fn read_folders(
        &self,
        digests: &Digests,
        names: &[&str],
        out: &mut Vec<Evidence>,
    ) -> Vec<(String, Vec<u8>)> {
        let mut found = Vec::new();
        for folder in self.grounds().evidence.iter() {
            for name in names {
                let path = folder.join(digests.sha256.to_hex()).join(name);
                match read_limited(path).await {
                    Ok(Some(bytes)) => found.push((shown(folder), bytes)),
                    Ok(None) => {}
                    Err(because) => out.push(Evidence {
                        kind: name.trim_end_matches(".json").to_owned(),
                        source: shown(folder),
                        state: EvidenceState::Unreachable { because },
                    }),
                }
            }
        }
        found
    }

    /// The registry's public keys: from the evidence folders (`npm-keys.json`), or from the
    /// upstream that serves the attestations.
    async fn npm_keys(&self, file: &Arc<FileRef>) -> Option<Arc<Vec<u8>>> {
        let cell =
            self.inner.npm_keys.lock().entry(file.upstream.base.to_string()).or_default().clone();
        cell.get_or_init(|| async {
            for folder in self.grounds().evidence.iter() {
                for name in ["npm-keys.json", "keys.json"] {
                    if let Ok(Some(bytes)) = read_limited(folder.join(name)).await {
                        return Some(Arc::new(bytes));
                    }
                }
            }
            file.attestations.as_ref()?;
            let url = file.upstream.base.join("-/npm/v1/keys").ok()?;
            self.fetch_evidence(&url, "npm-keys").await.ok().map(Arc::new)
        })
        .await
        .clone()
    }
}

fn absent(kind: &str) -> Evidence {
    Evidence {
        kind: kind.to_owned(),
        source: "index, upstream and evidence folders".to_owned(),
        state: EvidenceState::Absent,
    }
}

fn shown(folder: &Path) -> String {
    folder
        .file_name()
        .map_or_else(|| "folder".to_owned(), |n| format!("folder {}", n.to_string_lossy()))
}

async fn read_limited(path: PathBuf) -> Result<Option<Vec<u8>>, String> {
    let size = match tokio::fs::metadata(&path).await {
        Ok(m) => m.len(),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(format!("cannot be read: {e}")),
    };
    if size > MAX_EVIDENCE {
        return Err(format!("has {size} bytes, the limit is {MAX_EVIDENCE}"));
    }
    tokio::fs::read(&path).await.map(Some).map_err(|e| format!("cannot be read: {e}"))
}
