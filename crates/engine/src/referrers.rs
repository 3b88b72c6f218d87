//! Evidence in an OCI registry: bundles that are attached to an artifact by its digest, as its
//! referrers (OCI Distribution Specification v1.1).

use crate::engine::Engine;
use crate::http_client::{Fetched, redacted};
use countersign_core::{EvidenceState, Sha256Digest};
use countersign_evidence::{EvidenceError, oci};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use url::Url;

/// Pages of a list of referrers that are read.
const MAX_PAGES: usize = 8;

/// A repository of an OCI registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OciRepository {
    /// `…/v2/<name>/`.
    base: Url,
    name: String,
}

impl OciRepository {
    /// The repository at an address without the `oci+` before it.
    ///
    /// # Errors
    /// When it is no http address, or its path no repository's name.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let shown = crate::shown_address(text);
        let mut base = Url::parse(text).map_err(|e| format!("`{shown}` is no address: {e}"))?;
        let name = base.path().trim_matches('/').to_owned();
        let http = matches!(base.scheme(), "http" | "https");
        if !http || base.query().is_some() || base.fragment().is_some() {
            return Err(format!("`{shown}` is no http address of an OCI repository"));
        }
        if !oci::is_repository(&name) {
            let because =
                "give registry and repository, as in oci+https://registry.example/team/evidence";
            return Err(format!("`{shown}` names no OCI repository; {because}"));
        }
        base.set_path(&format!("/v2/{name}/"));
        Ok(Self { base, name })
    }
}

/// As reports name it: without credentials.
impl std::fmt::Display for OciRepository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut url = self.base.clone();
        url.set_path(&self.name);
        write!(f, "oci+{}", redacted(&url))
    }
}

/// What a registry has about an artifact. Nothing at all means that it says that it has nothing.
#[derive(Debug, Default)]
pub(crate) struct Referred {
    pub(crate) bundles: Vec<Vec<u8>>,
    /// What could not be had, or is not what it was named to be.
    pub(crate) failed: Vec<EvidenceState>,
}

/// An answer that is an error of one of the two kinds.
type Failing<T> = Result<T, EvidenceState>;

fn unreachable(because: String) -> EvidenceState {
    EvidenceState::Unreachable { because }
}

impl Engine {
    /// The bundles that a repository has about an artifact.
    pub(crate) async fn read_referrers(
        &self,
        repository: &OciRepository,
        artifact: &Sha256Digest,
    ) -> Referred {
        let mut out = Referred::default();
        let listed = match self.list_referrers(repository, artifact).await {
            Ok(listed) => listed,
            Err(state) => {
                out.failed.push(state);
                return out;
            }
        };
        for manifest in listed {
            match self.read_manifest(repository, artifact, &manifest).await {
                Ok(bundles) => out.bundles.extend(bundles),
                Err(state) => out.failed.push(state),
            }
            if out.bundles.len() > oci::MAX_BUNDLES {
                let what = "list of referrers";
                let limit = format!("{} bundles", oci::MAX_BUNDLES);
                out.failed.push(EvidenceError::TooLarge { what, limit }.into_state());
                break;
            }
        }
        out
    }

    /// The manifests that refer to an artifact: by the registry's list, or, where it keeps none, by
    /// the tag that clients write in its place.
    async fn list_referrers(
        &self,
        repository: &OciRepository,
        artifact: &Sha256Digest,
    ) -> Failing<Vec<oci::Descriptor>> {
        let hex = artifact.to_hex();
        let mut next = Some(format!("referrers/sha256:{hex}"));
        let mut out = Vec::new();
        for page in 0..MAX_PAGES {
            let Some(path) = next.take() else { return Ok(out) };
            let Some(got) = self.ask_registry(repository, &path, oci::INDEX).await? else {
                if page > 0 {
                    return Err(unreachable(format!("{repository} lost a page of its list")));
                }
                // A registry with such a list never says that it is not there.
                let tag = format!("manifests/sha256-{hex}");
                return match self.ask_registry(repository, &tag, oci::INDEX).await? {
                    Some(got) => oci::referrers(&got.body).map_err(EvidenceError::into_state),
                    None => Ok(Vec::new()),
                };
            };
            out.extend(oci::referrers(&got.body).map_err(EvidenceError::into_state)?);
            next = got.header(header::LINK).and_then(next_page);
        }
        match next {
            None => Ok(out),
            Some(_) => Err(unreachable(format!("{repository} lists more than {MAX_PAGES} pages"))),
        }
    }

    async fn read_manifest(
        &self,
        repository: &OciRepository,
        artifact: &Sha256Digest,
        named: &oci::Descriptor,
    ) -> Failing<Vec<Vec<u8>>> {
        let path = format!("manifests/sha256:{}", named.digest.to_hex());
        let manifest = self.ask_for(repository, &path, oci::MANIFEST, named).await?;
        let layers = oci::bundles(&manifest, artifact).map_err(EvidenceError::into_state)?;
        let mut out = Vec::new();
        for layer in layers {
            let path = format!("blobs/sha256:{}", layer.digest.to_hex());
            out.push(self.ask_for(repository, &path, "*/*", &layer).await?);
        }
        Ok(out)
    }

    /// What a descriptor names, which has to be there, and it.
    async fn ask_for(
        &self,
        repository: &OciRepository,
        path: &str,
        accept: &'static str,
        named: &oci::Descriptor,
    ) -> Failing<Vec<u8>> {
        let got = self.ask_registry(repository, path, accept).await?;
        let missing = || unreachable(format!("{repository} names `{path}` and lacks it"));
        let body = got.ok_or_else(missing)?.body;
        named.check(&body).map_err(EvidenceError::into_state)?;
        Ok(body.to_vec())
    }

    /// One answer of a registry; nothing when it says that there is none.
    async fn ask_registry(
        &self,
        repository: &OciRepository,
        path: &str,
        accept: &'static str,
    ) -> Failing<Option<Fetched>> {
        let url = repository.base.join(path);
        let url = url.map_err(|e| unreachable(e.to_string()))?;
        // A page's address comes from the registry, which may not lead elsewhere.
        if url.origin() != repository.base.origin() {
            return Err(unreachable(format!("{repository} leads to another origin")));
        }
        let mut headers: HeaderMap = self.credentials(&url, &HeaderMap::new());
        headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
        match self.inner.http.document(&url, headers, oci::MAX_DOCUMENT).await {
            Ok(got) => match got.status {
                StatusCode::OK => Ok(Some(got)),
                StatusCode::NOT_FOUND | StatusCode::GONE => Ok(None),
                other => Err(unreachable(format!("{} answered {other}", redacted(&url)))),
            },
            Err(f) => Err(unreachable(f.detail)),
        }
    }
}

/// The address of the next page in a `Link` header (RFC 8288), relative to the repository.
fn next_page(link: &str) -> Option<String> {
    let (target, parameters) = link.strip_prefix('<')?.split_once('>')?;
    parameters.contains("rel=\"next\"").then(|| target.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_read_and_shown_without_credentials() {
        let read =
            OciRepository::parse("https://me:secret@registry.example/team/evidence").unwrap();
        assert_eq!(read.to_string(), "oci+https://registry.example/team/evidence");
        assert_eq!(read.base.path(), "/v2/team/evidence/");
        for bad in [
            "https://registry.example",
            "https://registry.example/",
            "https://registry.example/Team",
            "https://registry.example/a?b=c",
            "ftp://registry.example/a",
            "registry.example/a",
        ] {
            assert!(OciRepository::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_next_page_is_named_by_a_link() {
        let next = next_page("</v2/a/referrers/sha256:00?last=x>; rel=\"next\"");
        assert_eq!(next.as_deref(), Some("/v2/a/referrers/sha256:00?last=x"));
        assert_eq!(next_page("</x>; rel=\"prev\""), None);
        assert_eq!(next_page("x"), None);
    }
}
