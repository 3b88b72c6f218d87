//! Attestations and signatures.

use crate::{SEPARATOR, split};
use countersign_core::{Evidence, EvidenceState, Sha256Digest, Timestamp};
use countersign_evidence::keyed::{self, About, Keyring, OrganisationKey};
use countersign_evidence::sigstore::{Artifact, Signatory, TrustRoots, verify_artifact};
use countersign_evidence::sumdb::{self, ZipEntry, ZippedModule};
use countersign_evidence::{Context, cargo_vcs, cosign, npm, oci, openpgp, pep740};
use std::sync::LazyLock;

/// The time of every verification: all that the seeds hold is older.
pub const NOW: Timestamp = Timestamp(1_780_000_000);

static ROOTS: LazyLock<TrustRoots> =
    LazyLock::new(|| TrustRoots::embedded().expect("the embedded roots are read"));

fn context() -> Context<'static> {
    Context { roots: &ROOTS, now: NOW, source: "fuzz" }
}

/// npm's attestations, and behind [`SEPARATOR`] the registry's keys.
pub fn npm_attestations(data: &[u8]) {
    let (document, keys) = split(data);
    let artifact = npm::NpmArtifact {
        name: "@scope/example",
        version: "1.0.0",
        sha512: &[7; 64],
        sha256: Some(&[7; 32]),
        registry: None,
    };
    let keys = Some(keys).filter(|k| !k.is_empty());
    none_verified(&npm::verify_attestations(document, &artifact, keys, &context()));
}

/// A provenance object or an attestation object of PEP 740.
pub fn pep740(data: &[u8]) {
    let file = "example-1.0-py3-none-any.whl";
    none_verified(&pep740::verify_provenance(data, file, &Sha256Digest([7; 32]), &context()));
}

/// Nobody signed anything about bytes with these digests.
fn none_verified(evidence: &[Evidence]) {
    assert!(!evidence.is_empty(), "no evidence is an answer too, and must be said");
    for e in evidence {
        assert!(!matches!(e.state, EvidenceState::Verified { .. }), "forged: {e:?}");
    }
}

/// A Sigstore bundle, as `verify-bundle` takes it: with its certificate, log entries and stamps.
pub fn sigstore_bundle(data: &[u8]) {
    let artifact = Artifact::Bytes(b"artifact");
    let who = Signatory::Identity { subject: "https://a.example", issuer: "https://b.example" };
    assert!(verify_artifact(data, &artifact, &who, &ROOTS, NOW).is_err(), "forged");
    let digest = Artifact::Digest(Sha256Digest([7; 32]));
    assert!(verify_artifact(data, &digest, &who, &ROOTS, NOW).is_err(), "forged");
}

/// A version's registry signatures, and behind [`SEPARATOR`] the registry's keys.
pub fn npm_signatures(data: &[u8]) {
    let (document, keys) = split(data);
    let Ok(list) = npm::read_signatures(document) else { return };
    let artifact = npm::NpmArtifact {
        name: "@scope/example",
        version: "1.0.0",
        sha512: &[7; 64],
        sha256: None,
        registry: None,
    };
    // Nobody but the fuzzer holds a key that it brings along, so that only panics are looked for.
    let _ = npm::verify_signatures(&list, &artifact, None, Some(keys), &context());
}

/// Attestations by keys: one document, behind [`SEPARATOR`] the organisation's public key.
pub fn keyed_attestations(data: &[u8]) {
    let (document, spki) = split(data);
    let key = |name: &str, spki: &[u8]| OrganisationKey {
        id: format!("sha256:{}", Sha256Digest::of(spki).to_hex()),
        name: name.to_owned(),
        spki: spki.to_vec(),
        not_before: None,
        not_after: Some(NOW),
        revoked: None,
    };
    let keys = [key("theirs", spki), key("own", KEY)];
    let keyring = Keyring { keys: &keys, may: &|_, _| true, recorded: &|_, _| None };
    let sha256 = Sha256Digest([7; 32]);
    let names = ["pkg:pypi/example@1.0", "example-1.0.tar.gz"];
    let about = About { names: &names, sha256: &sha256, sha512: Some(&[7; 64]) };
    // A key that has ended proves nothing without a time that somebody vouches for.
    none_verified(&keyed::verify_attestations(document, &about, &keyring, &context()));
    let count = keyed::statements(document).len();
    assert!(count <= 256, "more statements than are looked at: {count}");
}

/// The public key of RFC 8410, section 10.1.
const KEY: &[u8] = &[
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00, 0x19, 0xbf, 0x44, 0x09,
    0x69, 0x84, 0xcd, 0xfe, 0x85, 0x41, 0xba, 0xc1, 0x67, 0xdc, 0x3b, 0x96, 0xc8, 0x50, 0x86, 0xaa,
    0x30, 0xb6, 0xb6, 0xcb, 0x0c, 0x5c, 0x38, 0xad, 0x70, 0x31, 0x66, 0xe1,
];

/// A `trusted_root.json`.
pub fn trusted_root(data: &[u8]) {
    let _ = TrustRoots::from_trusted_root_json(data);
}

/// An `InRelease` file, and behind [`SEPARATOR`] the keyring.
pub fn inrelease(data: &[u8]) {
    let (file, keyring) = split(data);
    let Ok(verified) = openpgp::verify_inrelease(file, keyring, NOW) else { return };
    assert!(!verified.get().signatures.is_empty(), "nobody signed it");
    let _ = verified.claim();
}

/// A `Release` file, its detached signatures and the keyring, with [`SEPARATOR`] between them.
pub fn release_gpg(data: &[u8]) {
    let (release, rest) = split(data);
    let (signature, keyring) = split(rest);
    let Ok(verified) = openpgp::verify_detached(release, signature, keyring, NOW) else { return };
    assert!(!verified.get().signatures.is_empty(), "nobody signed it");
    let both = [release, SEPARATOR, signature].concat();
    assert!(openpgp::verify_inrelease(&both, keyring, NOW).is_err(), "it is no `InRelease` file");
}

/// A file, its detached signatures and the keyring, with [`SEPARATOR`] between them.
pub fn detached_signature(data: &[u8]) {
    let (file, rest) = split(data);
    let (signature, keyring) = split(rest);
    let Ok(verified) = openpgp::verify_file(file, signature, keyring, NOW) else { return };
    assert!(!verified.get().signatures.is_empty(), "nobody signed it");
}

/// A document of Go's checksum database, or, without JSON around it, the names of a zip's entries.
pub fn sumdb(data: &[u8]) {
    let entry = |name: &[u8]| ZipEntry { name: name.to_vec(), sha256: Sha256Digest([7; 32]) };
    if let Ok(module) = ZippedModule::of(data.split(|b| *b == 0).map(entry).collect()) {
        let path = sumdb::lookup_path(module.path(), module.version());
        let path = path.expect("a module's name can be asked for");
        assert!(!path.contains("..") && !path.contains("//"), "{path}");
    }
    let own = ZippedModule::of(vec![entry(b"m.example/a@v1.0.0/go.mod")]).expect("a module");
    let forged = sumdb::verify_document(data, &own, crate::key().verifier());
    assert!(forged.is_err(), "forged");
}

/// An image's signature, and behind [`SEPARATOR`] its simple signing payload.
pub fn image_signature(data: &[u8]) {
    let (bundle, payload) = split(data);
    let who = Signatory::Identity { subject: "https://a.example", issuer: "https://b.example" };
    let image = Sha256Digest([7; 32]);
    for payload in [None, Some(payload)] {
        let forged = cosign::verify_image(bundle, payload, &image, &who, &ROOTS, NOW);
        assert!(forged.is_err(), "forged");
    }
}

/// A list of referrers, a manifest, or a repository's name.
pub fn referrers(data: &[u8]) {
    let artifact = Sha256Digest([7; 32]);
    for found in [oci::referrers(data), oci::bundles(data, &artifact)].into_iter().flatten() {
        assert!(found.len() <= oci::MAX_BUNDLES);
        for one in found {
            let _ = one.check(data);
        }
    }
    if let Ok(name) = std::str::from_utf8(data) {
        assert!(!oci::is_repository(name) || !name.contains(".."), "{name}");
    }
}

/// A crate's `.cargo_vcs_info.json`.
pub fn cargo_vcs_info(data: &[u8]) {
    let Ok(said) = cargo_vcs::read(data) else { return };
    assert!(said.commit.chars().all(|c| c.is_ascii_hexdigit()));
    assert!(!said.path.unwrap_or_default().chars().any(char::is_control));
}
