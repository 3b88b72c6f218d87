//! PEP 740 attestations: the real ones hold, and nothing else does.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

mod common;

use common::{because, context, flipped, shared, staging, states};
use countersign_core::{Evidence, ProofClass, Sha256Digest, Timestamp};
use countersign_evidence::Context;
use countersign_evidence::pep740::{KIND, verify_provenance};
use countersign_evidence::sigstore::TrustRoots;
use serde_json::{Value, json};

const FILE: &str = "pypi_attestations-0.0.19.tar.gz";
const SHA256: &str = "9bb1add04b1b4e182be6b0b80931593f7a291eb49d69b4fd728a5d4cbcdc4bd3";
const COMMIT: &str = "08802efe1f8e5fec4ad842d6b8ce97656092ee72";

fn load(suffix: &str) -> Option<Value> {
    let bytes = shared(&format!("vectors/pypi/{FILE}.{suffix}"))?;
    Some(serde_json::from_slice(&bytes).unwrap())
}

fn verify(document: &Value, file: &str, sha256: &str) -> Vec<Evidence> {
    let roots = TrustRoots::embedded().unwrap();
    let sha256: Sha256Digest = sha256.parse().unwrap();
    verify_provenance(document.to_string().as_bytes(), file, &sha256, &context(&roots))
}

#[test]
fn real_attestations_hold_and_say_who_from_where_and_when() {
    for (suffix, at) in [
        ("provenance", 1_733_354_041),
        ("publish.attestation", 1_733_354_041),
        ("slsa.attestation", 1_733_354_026),
    ] {
        let Some(document) = load(suffix) else { return };
        let got = verify(&document, FILE, SHA256);
        assert_eq!(states(&got, KIND), ["verified"], "{suffix}: {got:#?}");
        let c = got[0].claim().unwrap();
        let repository = "https://github.com/trailofbits/pypi-attestations";
        let workflow = format!("{repository}/.github/workflows/release.yml@refs/tags/v0.0.19");
        assert_eq!(c.signer, workflow);
        assert_eq!(c.repository.as_deref(), Some(repository));
        assert_eq!(c.repository_id.as_deref(), Some("772247423"));
        assert_eq!(c.commit.as_deref(), Some(COMMIT));
        assert_eq!(c.git_ref.as_deref(), Some("refs/tags/v0.0.19"));
        assert_eq!(c.workflow.as_ref(), Some(&workflow));
        assert_eq!(c.builder.as_ref(), Some(&workflow));
        assert_eq!(c.signed_at, Some(Timestamp(at)));
        assert_eq!(c.proof, ProofClass::InclusionProof);
    }
}

#[test]
fn the_evidence_folder_s_document_is_read() {
    let Some(bytes) = shared(&format!("evidence/{SHA256}/pep740-provenance.json")) else { return };
    let got = verify(&serde_json::from_slice(&bytes).unwrap(), FILE, SHA256);
    assert_eq!(states(&got, KIND), ["verified"]);
}

#[test]
fn another_file_is_refused() {
    let Some(document) = load("provenance") else { return };
    for file in [
        "pypi_attestations-0.0.18.tar.gz",
        "pypi_attestation-0.0.19.tar.gz",
        "x.whl",
        FILE.trim_end_matches(".gz"),
    ] {
        assert_eq!(states(&verify(&document, file, SHA256), KIND), ["invalid"], "{file}");
    }
    let other = format!("{}0", &SHA256[..63]);
    assert_eq!(states(&verify(&document, FILE, &other), KIND), ["invalid"]);
    let respelled = verify(&document, "pypi-attestations-0.0.19.tar.gz", SHA256);
    assert_eq!(states(&respelled, KIND), ["verified"]);
}

#[test]
fn one_flipped_bit_anywhere_is_refused() {
    for suffix in ["publish.attestation", "slsa.attestation"] {
        let Some(document) = load(suffix) else { return };
        let entry = "/verification_material/transparency_entries/0";
        for pointer in [
            "/verification_material/certificate".to_owned(),
            "/envelope/statement".to_owned(),
            "/envelope/signature".to_owned(),
            format!("{entry}/canonicalizedBody"),
            format!("{entry}/inclusionPromise/signedEntryTimestamp"),
            format!("{entry}/inclusionProof/rootHash"),
            format!("{entry}/inclusionProof/hashes/1"),
        ] {
            for bad in flipped(&document, &pointer, 16) {
                assert_eq!(states(&verify(&bad, FILE, SHA256), KIND), ["invalid"], "{pointer}");
            }
        }
    }
}

#[test]
fn staging_does_not_pass_for_production() {
    let file = "rfc8785-0.1.2-py3-none-any.whl";
    let sha256 = "c4e92e9ecc828bef2aa7dba1de8ac983511f7532a0df11c770d39099a25cf201";
    let Some(bytes) = shared(&format!("vectors/pypi/{file}.publish.attestation")) else { return };
    let document: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(states(&verify(&document, file, sha256), KIND), ["invalid"]);
    let (staging, sha256) = (staging(), sha256.parse().unwrap());
    let got = verify_provenance(&bytes, file, &sha256, &context(&staging));
    assert_eq!(states(&got, KIND), ["verified"], "{got:#?}");
    let claim = got[0].claim().unwrap();
    assert!(claim.signer.contains('@') && claim.repository.is_none(), "{claim:?}");
    let Some(production) = load("publish.attestation") else { return };
    let document = production.to_string();
    let sha256 = SHA256.parse().unwrap();
    let got = verify_provenance(document.as_bytes(), FILE, &sha256, &context(&staging));
    assert_eq!(states(&got, KIND), ["invalid"]);
}

#[test]
fn the_index_s_publisher_must_be_the_certificate_s() {
    let Some(document) = load("provenance") else { return };
    let with = |publisher: Value| {
        let mut document = document.clone();
        document["attestation_bundles"][0]["publisher"] = publisher;
        verify(&document, FILE, SHA256)
    };
    let of = |repository: &str, workflow: &str| json!({"kind": "GitHub", "repository": repository, "workflow": workflow});
    let (repository, workflow) = ("trailofbits/pypi-attestations", "release.yml");
    assert_eq!(states(&with(of(repository, workflow)), KIND), ["verified"]);
    for bad in [
        of("trailofbits/pypi-attestation", workflow),
        of(repository, "other.yml"),
        json!({"kind": "GitLab", "repository": repository}),
        json!({"kind": "Google", "email": "a@mail.example"}),
        json!({}),
        Value::Null,
    ] {
        assert_eq!(states(&with(bad.clone()), KIND), ["invalid"], "{bad}");
    }
    let got = with(of("evil/pypi-attestations", workflow));
    assert!(because(&got, KIND).contains("repository: the index's publisher says"), "{got:#?}");
    assert_eq!(states(&with(json!({"kind": "Forge"})), KIND), ["unreachable"]);
}

#[test]
fn good_and_bad_attestations_stand_side_by_side() {
    let (Some(mut document), Some(slsa)) = (load("provenance"), load("slsa.attestation")) else {
        return;
    };
    let list = document["attestation_bundles"][0]["attestations"].as_array_mut().unwrap();
    let mut bad = slsa.clone();
    bad["envelope"]["signature"] = "AAAA".into();
    list.extend([slsa, bad]);
    let got = verify(&document, FILE, SHA256);
    assert_eq!(states(&got, KIND), ["verified", "verified", "invalid"]);
}

#[test]
fn nothing_holds_before_it_was_signed() {
    let Some(document) = load("publish.attestation") else { return };
    let roots = TrustRoots::embedded().unwrap();
    let early = Context { now: Timestamp(1_733_354_040), ..context(&roots) };
    let sha256 = SHA256.parse().unwrap();
    let got = verify_provenance(document.to_string().as_bytes(), FILE, &sha256, &early);
    assert!(because(&got, KIND).contains("check the clock"), "{got:#?}");
}

#[test]
fn absent_malformed_and_unknown_stay_apart() {
    let roots = TrustRoots::embedded().unwrap();
    let sha256 = SHA256.parse().unwrap();
    let verify = |text: &str| {
        states(&verify_provenance(text.as_bytes(), FILE, &sha256, &context(&roots)), KIND)
    };
    for (text, state) in [
        (r#"{"version":1,"attestation_bundles":[]}"#, "absent"),
        (r#"{"version":2,"attestation_bundles":[]}"#, "unreachable"),
        (r#"{"attestation_bundles":[]}"#, "invalid"),
        (r#"{"version":1,"attestation_bundles":{}}"#, "invalid"),
        (r#"{"version":1,"attestation_bundles":[{"attestations":[]}]}"#, "invalid"),
        (r#"{"version":1,"version":1,"attestation_bundles":[]}"#, "invalid"),
        (r#"{"version":1}"#, "invalid"),
        ("{}", "invalid"),
        ("[]", "invalid"),
        ("<html>", "invalid"),
        ("", "invalid"),
    ] {
        assert_eq!(verify(text), [state], "{text}");
    }
}
