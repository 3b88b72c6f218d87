//! Sigstore bundles in an OCI registry, attached to an artifact by its digest (OCI Distribution
//! Specification v1.1, "Listing Referrers"; OCI Image Specification v1.1, "Image Index", "Image
//! Manifest").
//!
//! What is read here only leads to bundles: it proves nothing, and each bundle is verified against
//! the artifact's digest like any other.

use crate::error::{EvidenceError, shown};
use crate::json;
use countersign_core::Sha256Digest;
use serde_json::Value;

/// The media type of an image index.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The media type of an image manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// What the media types of Sigstore bundles begin with, whatever their version.
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle";

/// Largest index or manifest that is read, in bytes (the specification asks registries for 4 MiB).
pub const MAX_DOCUMENT: usize = 4 << 20;
/// Largest bundle that is read, in bytes.
pub const MAX_BUNDLE: u64 = 4 << 20;
/// Manifests of one index, and layers of one manifest, that are looked at.
const MAX_LISTED: usize = 1024;
/// Bundles that one artifact may have; more would only keep the gate busy.
pub const MAX_BUNDLES: usize = 32;

const REFERRERS: &str = "list of referrers";
const WHAT: &str = "manifest in an OCI registry";

/// Where something lies in a registry: what it has to be there. Only a name until its bytes were
/// [checked](Descriptor::check).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    /// The digest of the bytes.
    pub digest: Sha256Digest,
    /// How many bytes.
    pub size: u64,
}

impl Descriptor {
    fn read(what: &'static str, value: &Value) -> Result<Self, EvidenceError> {
        let digest = json::need_text(what, value, "/digest")?;
        let Some(hex) = digest.strip_prefix("sha256:") else {
            return Err(EvidenceError::Unsupported { what, found: shown(digest) });
        };
        let digest = hex.parse().map_err(|_| EvidenceError::malformed(what, "a digest is none"))?;
        let size = value.get("size").and_then(Value::as_u64);
        let size = size.ok_or_else(|| EvidenceError::malformed(what, "a size is none"))?;
        Ok(Self { digest, size })
    }

    /// Checks that these are the bytes that the descriptor names.
    ///
    /// # Errors
    /// When the registry gave others.
    pub fn check(&self, bytes: &[u8]) -> Result<(), EvidenceError> {
        if self.size != bytes.len() as u64 || self.digest != Sha256Digest::of(bytes) {
            return Err(EvidenceError::OtherDigest { algorithm: "sha256".to_owned() });
        }
        Ok(())
    }
}

/// The manifests of an index that may lead to bundles: those that say so, or do not say what they are.
///
/// # Errors
/// When it is no index, or names too much.
pub fn referrers(index: &[u8]) -> Result<Vec<Descriptor>, EvidenceError> {
    let value = json::parse(REFERRERS, index)?;
    let listed = json::need_array(REFERRERS, &value, "/manifests", MAX_LISTED)?;
    let may_be = |m: &&Value| match json::text(m, "/artifactType") {
        Some(kind) => kind.starts_with(BUNDLE),
        None => true,
    };
    let found = listed.iter().filter(may_be).map(|m| Descriptor::read(REFERRERS, m));
    few(REFERRERS, found.collect::<Result<Vec<_>, _>>()?)
}

/// The bundles among a manifest's layers.
///
/// # Errors
/// When it is no manifest, or one that is not attached to `artifact`, or names too much.
pub fn bundles(manifest: &[u8], artifact: &Sha256Digest) -> Result<Vec<Descriptor>, EvidenceError> {
    let value = json::parse(WHAT, manifest)?;
    let subject = json::need_text(WHAT, &value, "/subject/digest")?;
    if subject != format!("sha256:{}", artifact.to_hex()) {
        return Err(EvidenceError::OtherDigest { algorithm: "sha256".to_owned() });
    }
    let layers = json::need_array(WHAT, &value, "/layers", MAX_LISTED)?;
    let is_bundle =
        |l: &&Value| json::text(l, "/mediaType").is_some_and(|kind| kind.starts_with(BUNDLE));
    let found = layers.iter().filter(is_bundle).map(|l| Descriptor::read(WHAT, l));
    let found = few(WHAT, found.collect::<Result<Vec<_>, _>>()?)?;
    if found.iter().any(|l| l.size > MAX_BUNDLE) {
        let limit = format!("{MAX_BUNDLE} bytes a bundle");
        return Err(EvidenceError::TooLarge { what: WHAT, limit });
    }
    Ok(found)
}

fn few(what: &'static str, found: Vec<Descriptor>) -> Result<Vec<Descriptor>, EvidenceError> {
    if found.len() > MAX_BUNDLES {
        return Err(EvidenceError::TooLarge { what, limit: format!("{MAX_BUNDLES} bundles") });
    }
    Ok(found)
}

/// Whether a text is the name of a repository in a registry (OCI Distribution Specification,
/// "Pulling manifests").
#[must_use]
pub fn is_repository(name: &str) -> bool {
    let letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let sound = |part: &str| {
        let ends = [part.bytes().next(), part.bytes().last()];
        let separators = part.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
        ends.iter().all(|b| b.is_some_and(letter))
            && separators
                .filter(|s| !s.is_empty())
                .all(|s| matches!(s, "." | "_" | "__") || s.bytes().all(|b| b == b'-'))
    };
    name.len() <= 255 && name.split('/').all(sound)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const KIND: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

    fn descriptor(kind: &str, of: &[u8]) -> Value {
        json!({
            "mediaType": kind, "artifactType": kind, "size": of.len(),
            "digest": format!("sha256:{}", Sha256Digest::of(of).to_hex()),
        })
    }

    fn index(manifests: Value) -> Vec<u8> {
        json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}).to_string().into()
    }

    #[test]
    fn an_index_leads_to_bundles_and_to_what_does_not_say_what_it_is() {
        let mut unsaid = descriptor(MANIFEST, b"b");
        unsaid.as_object_mut().unwrap().remove("artifactType");
        let list = json!([descriptor(KIND, b"a"), descriptor("application/sbom", b"x"), unsaid]);
        let found = referrers(&index(list)).unwrap();
        assert_eq!(found.len(), 2);
        found[0].check(b"a").unwrap();
        assert_eq!(found[0].check(b"b").unwrap_err().code(), "other-digest");
        assert_eq!(found[0].check(b"").unwrap_err().code(), "other-digest");
        assert_eq!(referrers(&index(json!([]))).unwrap(), []);
    }

    #[test]
    fn broken_indexes_are_named() {
        let code = |bytes: &[u8]| referrers(bytes).unwrap_err().code();
        let without = |field: &str| {
            let mut one = descriptor(KIND, b"a");
            one.as_object_mut().unwrap().remove(field);
            index(json!([one]))
        };
        assert_eq!(code(b""), "malformed");
        assert_eq!(code(b"<html>"), "malformed");
        assert_eq!(code(b"{}"), "malformed");
        assert_eq!(code(b"{\"manifests\":[],\"manifests\":[]}"), "malformed");
        assert_eq!(code(&without("digest")), "malformed");
        assert_eq!(code(&without("size")), "malformed");
        let mut weak = descriptor(KIND, b"a");
        weak["digest"] = "md5:00".into();
        assert_eq!(code(&index(json!([weak]))), "unsupported");
        weak["digest"] = "sha256:00".into();
        assert_eq!(code(&index(json!([weak]))), "malformed");
        let many = |n: usize, kind: &str| index(vec![descriptor(kind, b"a"); n].into());
        assert_eq!(code(&many(MAX_BUNDLES + 1, KIND)), "too-large");
        assert_eq!(code(&many(MAX_LISTED + 1, "application/sbom")), "too-large");
        assert!(referrers(&many(MAX_LISTED, "application/sbom")).is_ok());
    }

    #[test]
    fn a_manifest_is_attached_to_one_artifact() {
        let artifact = Sha256Digest::of(b"artifact");
        let manifest = |layers: Value| {
            json!({"subject": descriptor(MANIFEST, b"artifact"), "layers": layers}).to_string()
        };
        let good = manifest(json!([descriptor(KIND, b"a"), descriptor("text/plain", b"b")]));
        assert_eq!(bundles(good.as_bytes(), &artifact).unwrap().len(), 1);
        let code = |text: &str, of: &Sha256Digest| bundles(text.as_bytes(), of).unwrap_err().code();
        assert_eq!(code(&good, &Sha256Digest::of(b"other")), "other-digest");
        assert_eq!(code(&good.replace("subject", "object"), &artifact), "malformed");
        assert_eq!(code(&good.replace("layers", "blobs"), &artifact), "malformed");
        let mut large = descriptor(KIND, b"a");
        large["size"] = (MAX_BUNDLE + 1).into();
        assert_eq!(code(&manifest(json!([large])), &artifact), "too-large");
        let many = vec![descriptor(KIND, b"a"); MAX_BUNDLES + 1];
        assert_eq!(code(&manifest(many.into()), &artifact), "too-large");
    }

    #[test]
    fn names_of_repositories_are_told_from_paths_elsewhere() {
        for good in ["evidence", "team/evidence", "a/b/c", "a.b/c_d", "a__b", "a--b---c", "1"] {
            assert!(is_repository(good), "{good}");
        }
        for bad in
            ["", "/a", "a/", "a//b", "A", "a..b", "../a", "a/.", "-a", "a_", "a___b", "a b", "a%2f"]
        {
            assert!(!is_repository(bad), "{bad}");
        }
        assert!(!is_repository(&"a".repeat(256)));
    }
}
