//! Evidence sources: where evidence is kept apart from the artifacts, by their digest.
//!
//! Mirrors strip evidence. A source has it under `<sha256>/<document>.json`, as a folder or below an
//! http address; or as the artifact's referrers in an OCI registry ([`crate::referrers`]). That it has
//! none, that it cannot be asked, and that what it has does not hold are three different things.
//!
//! What a source on the network answered is kept for a while ([`crate::source_answers`]).

use crate::engine::Engine;
use crate::evidence::ANY;
use crate::http_client::redacted;
use crate::referrers::OciRepository;
use crate::source_answers::Kept;
use countersign_core::{Digests, Evidence, EvidenceState, Sha256Digest};
use futures_util::future::join_all;
use http::{HeaderMap, StatusCode};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use url::Url;

/// Largest evidence document that is read, in bytes.
const MAX_EVIDENCE: usize = 16 << 20;

/// A place that keeps evidence by digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EvidenceSource {
    /// A folder.
    Folder(PathBuf),
    /// An http or https address, with a slash at its end.
    Tree(Box<Url>),
    /// A repository of an OCI registry, written `oci+https://…`.
    Registry(Box<OciRepository>),
}

impl FromStr for EvidenceSource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(address) = text.strip_prefix("oci+") {
            return OciRepository::parse(address).map(|r| Self::Registry(Box::new(r)));
        }
        if !text.starts_with("http://") && !text.starts_with("https://") {
            return Ok(Self::Folder(PathBuf::from(text)));
        }
        let mut url = Url::parse(text)
            .map_err(|e| format!("`{}` is no address: {e}", crate::shown_address(text)))?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(format!("`{}` must end in a path", redacted(&url)));
        }
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        Ok(Self::Tree(Box::new(url)))
    }
}

/// As reports name it: without credentials, and without this machine's folders.
impl fmt::Display for EvidenceSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => match path.file_name() {
                Some(name) => write!(f, "folder {}", name.to_string_lossy()),
                None => f.write_str("folder"),
            },
            Self::Tree(url) => f.write_str(&redacted(url)),
            Self::Registry(repository) => repository.fmt(f),
        }
    }
}

impl EvidenceSource {
    /// The folder, where it is one and not there.
    #[must_use]
    pub fn missing(&self) -> Option<String> {
        match self {
            Self::Folder(path) if !path.is_dir() => Some(path.display().to_string()),
            _ => None,
        }
    }
}

/// A document of a source.
pub(crate) struct Found {
    /// The source's name, for reports.
    pub(crate) source: String,
    /// Which document.
    pub(crate) name: &'static str,
    /// Its bytes.
    pub(crate) bytes: Vec<u8>,
    /// Whether a source on the network gave it just now.
    pub(crate) fresh: bool,
}

/// What a source answered to one question.
#[derive(Default)]
struct Answer {
    documents: Vec<Vec<u8>>,
    failed: Vec<EvidenceState>,
    fresh: bool,
}

impl Engine {
    /// The documents `names` that the sources keep for an artifact. A source that cannot be asked
    /// makes its evidence unreachable, not absent.
    pub(crate) async fn read_sources(
        &self,
        digests: &Digests,
        names: &[&'static str],
        out: &mut Vec<Evidence>,
    ) -> Vec<Found> {
        let sources = self.grounds().evidence.clone();
        let asked = sources.iter().flat_map(|s| names.iter().map(|n| (s.clone(), *n)));
        let asked: Vec<(EvidenceSource, &'static str)> = asked.collect();
        let sha256 = digests.sha256;
        let answers = asked.into_iter().map(|(source, name)| {
            let engine = self.clone();
            async move {
                let answer = engine.ask_source(&source, &sha256, name).await;
                (source.to_string(), name, answer)
            }
        });
        let answers = join_all(answers).await;
        let mut found = Vec::new();
        for (source, name, answer) in answers {
            for bytes in answer.documents {
                found.push(Found { source: source.clone(), name, bytes, fresh: answer.fresh });
            }
            out.extend(answer.failed.into_iter().map(|state| Evidence {
                kind: crate::evidence::kind_of(name).to_owned(),
                source: source.clone(),
                state,
            }));
        }
        found
    }

    /// What a source has under a name: from what it answered before, or asked now.
    async fn ask_source(
        &self,
        source: &EvidenceSource,
        sha256: &Sha256Digest,
        name: &'static str,
    ) -> Answer {
        if matches!(source, EvidenceSource::Folder(_)) {
            return self.ask_now(source, sha256, name).await;
        }
        // A registry has bundles alone.
        if matches!(source, EvidenceSource::Registry(_)) && name != ANY {
            return Answer::default();
        }
        let shown = source.to_string();
        match self.kept_answer(&shown, sha256, name).await {
            Some(Kept::Nothing) => return Answer::default(),
            Some(Kept::Documents(documents)) => return Answer { documents, ..Answer::default() },
            None => {}
        }
        let answer = self.ask_now(source, sha256, name).await;
        if answer.documents.is_empty() && answer.failed.is_empty() {
            self.keep_answer(&shown, sha256, name, &[]).await;
        }
        Answer { fresh: true, ..answer }
    }

    async fn ask_now(
        &self,
        source: &EvidenceSource,
        sha256: &Sha256Digest,
        name: &'static str,
    ) -> Answer {
        if let EvidenceSource::Registry(repository) = source {
            let referred = self.read_referrers(repository, sha256).await;
            let (documents, failed) = (referred.bundles, referred.failed);
            return Answer { documents, failed, fresh: false };
        }
        let path = format!("{}/{name}", sha256.to_hex());
        let (documents, failed) = match self.read_source(source, &path).await {
            Ok(bytes) => (bytes.into_iter().collect(), Vec::new()),
            Err(because) => (Vec::new(), vec![EvidenceState::Unreachable { because }]),
        };
        Answer { documents, failed, fresh: false }
    }

    /// One document of a source; nothing when it says that it has none.
    pub(crate) async fn read_source(
        &self,
        source: &EvidenceSource,
        path: &str,
    ) -> Result<Option<Vec<u8>>, String> {
        match source {
            EvidenceSource::Folder(folder) => read_limited(folder.join(path)).await,
            EvidenceSource::Registry(_) => Ok(None),
            EvidenceSource::Tree(base) => {
                let url = base.join(path).map_err(|e| e.to_string())?;
                let headers = self.credentials(&url, &HeaderMap::new());
                match self.inner.http.document(&url, headers, MAX_EVIDENCE).await {
                    Ok(got) => match got.status {
                        StatusCode::OK => Ok(Some(got.body.to_vec())),
                        StatusCode::NOT_FOUND | StatusCode::GONE => Ok(None),
                        other => Err(format!("{} answered {other}", redacted(&url))),
                    },
                    Err(f) => Err(f.detail),
                }
            }
        }
    }
}

async fn read_limited(path: PathBuf) -> Result<Option<Vec<u8>>, String> {
    let size = match tokio::fs::metadata(&path).await {
        Ok(m) => m.len(),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(format!("cannot be read: {e}")),
    };
    if size > MAX_EVIDENCE as u64 {
        return Err(format!("has {size} bytes, the limit is {MAX_EVIDENCE}"));
    }
    tokio::fs::read(&path).await.map(Some).map_err(|e| format!("cannot be read: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_folders_are_told_apart() {
        let read = |text: &str| text.parse::<EvidenceSource>();
        assert_eq!(read("evidence").unwrap(), EvidenceSource::Folder("evidence".into()));
        let tree = read("https://user:secret@evidence.example/tree").unwrap();
        assert_eq!(tree.to_string(), "https://evidence.example/tree/");
        assert!(read("https://evidence.example/tree?a=b").is_err());
        assert!(read("https://").is_err());
        let registry = read("oci+https://registry.example/team/evidence").unwrap();
        assert!(matches!(registry, EvidenceSource::Registry(_)));
        assert_eq!(read(&registry.to_string()).unwrap(), registry);
        assert!(read("oci+registry.example/team").is_err());
        assert!(read("/nowhere/at/all").unwrap().missing().is_some());
        assert_eq!(tree.missing(), None);
    }
}
