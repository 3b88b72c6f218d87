//! npm's attestations: the real ones hold, and nothing else does.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

mod common;

use common::{Mint, NOW, because, context, flipped, shared, staging, states, unb64};
use countersign_core::{Evidence, ProofClass, Timestamp};
use countersign_evidence::npm::{
    NpmArtifact, OTHER, PROVENANCE, PUBLISH, RegistrySignature, SIGNATURE, read_signatures,
    verify_attestations, verify_signatures,
};
use countersign_evidence::sigstore::{
    Signer, TrustRoots, TrustedKey, verify_bundle, verify_keyed_bundle,
};
use countersign_evidence::{Expected, SubjectName};
use serde_json::{Value, json};

/// A served document and the artifact that it is about.
struct Vector {
    document: Value,
    name: String,
    version: String,
    sha512: [u8; 64],
    keys: Vec<u8>,
}

impl Vector {
    /// The digest is read out of the publish attestation; a test below holds it against others.
    fn load(file: &str, name: &str, version: &str) -> Option<Self> {
        let document = shared(&format!("vectors/npm/{file}.attestations.json"))?;
        let keys = shared("vectors/npm/keys.json")?;
        let document: Value = serde_json::from_slice(&document).unwrap();
        let payload = unb64(document.pointer("/attestations/0/bundle/dsseEnvelope/payload")?);
        let statement: Value = serde_json::from_slice(&payload).unwrap();
        let sha512 = statement.pointer("/subject/0/digest/sha512")?.as_str()?;
        let sha512 = hex::decode(sha512).unwrap().try_into().unwrap();
        Some(Self { document, name: name.into(), version: version.into(), sha512, keys })
    }

    fn sigstore() -> Option<Self> {
        Self::load("sigstore-2.3.1", "sigstore", "2.3.1")
    }

    fn promised() -> Option<Self> {
        let file = "trishankatdatadog-supreme-goggles-1.0.5";
        Self::load(file, "@trishankatdatadog/supreme-goggles", "1.0.5")
    }

    fn artifact(&self) -> NpmArtifact<'_> {
        NpmArtifact {
            name: &self.name,
            version: &self.version,
            sha512: &self.sha512,
            sha256: None,
            registry: None,
        }
    }

    fn verify(&self) -> Vec<Evidence> {
        self.verify_document(&self.document)
    }

    fn verify_document(&self, document: &Value) -> Vec<Evidence> {
        let roots = TrustRoots::embedded().unwrap();
        self.verify_with(document, &self.artifact(), Some(&self.keys), &roots, NOW)
    }

    fn verify_with(
        &self,
        document: &Value,
        artifact: &NpmArtifact<'_>,
        keys: Option<&[u8]>,
        roots: &TrustRoots,
        now: Timestamp,
    ) -> Vec<Evidence> {
        let context = countersign_evidence::Context { now, ..context(roots) };
        verify_attestations(document.to_string().as_bytes(), artifact, keys, &context)
    }
}

fn assert_states(got: &[Evidence], publish: &str, provenance: &str) {
    assert_eq!(states(got, PUBLISH), [publish], "{got:#?}");
    assert_eq!(states(got, PROVENANCE), [provenance], "{got:#?}");
}

#[test]
fn real_attestations_hold_and_say_who_from_where_and_when() {
    let Some(v) = Vector::sigstore() else { return };
    let got = v.verify();
    assert_states(&got, "verified", "verified");
    let publish = got.iter().find(|e| e.kind == PUBLISH).unwrap().claim().unwrap();
    assert!(publish.signer.starts_with("SHA256:jl3bw") && publish.issuer.is_some());
    assert_eq!(publish.signed_at, Some(Timestamp(1_715_879_526)));
    assert_eq!(publish.proof, ProofClass::InclusionProof);
    assert_eq!(publish.repository, None);

    let c = got.iter().find(|e| e.kind == PROVENANCE).unwrap().claim().unwrap();
    let workflow =
        "https://github.com/sigstore/sigstore-js/.github/workflows/release.yml@refs/heads/main";
    assert_eq!(c.signer, workflow);
    assert_eq!(c.workflow.as_deref(), Some(workflow));
    assert_eq!(c.issuer.as_deref(), Some("https://token.actions.githubusercontent.com"));
    assert_eq!(c.repository.as_deref(), Some("https://github.com/sigstore/sigstore-js"));
    assert_eq!(c.repository_id.as_deref(), Some("495574555"));
    assert_eq!(c.commit.as_deref(), Some("46e7056ff9912ebfee5298d94024895a9fea76c0"));
    assert_eq!(c.git_ref.as_deref(), Some("refs/heads/main"));
    assert_eq!(c.builder.as_deref(), Some("https://github.com/actions/runner/github-hosted"));
    assert_eq!(c.signed_at, Some(Timestamp(1_715_879_523)));
    assert_eq!(c.proof, ProofClass::InclusionProof);
}

#[test]
fn all_bundle_versions_hold_with_their_class_of_proof() {
    for (vector, proof) in [
        (Vector::promised(), ProofClass::InclusionPromise),
        (Vector::load("gundam-visor-1.0.1", "gundam-visor", "1.0.1"), ProofClass::InclusionProof),
    ] {
        let Some(v) = vector else { return };
        let got = v.verify();
        assert_states(&got, "verified", "verified");
        assert!(got.iter().all(|e| e.claim().unwrap().proof == proof), "{got:#?}");
    }
}

#[test]
fn the_shared_trust_root_gives_the_same_answer() {
    let (Some(v), Some(root)) = (Vector::sigstore(), shared("vectors/sigstore/trusted_root.json"))
    else {
        return;
    };
    let roots = TrustRoots::from_trusted_root_json(&root).unwrap();
    let got = v.verify_with(&v.document, &v.artifact(), Some(&v.keys), &roots, NOW);
    assert_eq!(got, v.verify());
}

#[test]
fn another_artifact_is_refused() {
    let Some(v) = Vector::sigstore() else { return };
    let roots = TrustRoots::embedded().unwrap();
    let mut digest = v.sha512;
    digest[63] ^= 1;
    let good = v.artifact();
    for other in [
        NpmArtifact { sha512: &digest, ..good },
        NpmArtifact { name: "sigstorf", ..good },
        NpmArtifact { name: "@sigstore/sigstore", ..good },
        NpmArtifact { version: "2.3.2", ..good },
        NpmArtifact { version: "2.3.1+build", ..good },
    ] {
        let got = v.verify_with(&v.document, &other, Some(&v.keys), &roots, NOW);
        assert_states(&got, "invalid", "invalid");
    }
    // A SHA-256 that the statement does not name is neither here nor there.
    let with_sha256 = NpmArtifact { sha256: Some(&[0; 32]), ..good };
    let got = v.verify_with(&v.document, &with_sha256, Some(&v.keys), &roots, NOW);
    assert_states(&got, "verified", "verified");
}

#[test]
fn the_publish_attestation_must_name_the_expected_registry() {
    let Some(v) = Vector::sigstore() else { return };
    let roots = TrustRoots::embedded().unwrap();
    let other = NpmArtifact { registry: Some("https://registry.example"), ..v.artifact() };
    let got = v.verify_with(&v.document, &other, Some(&v.keys), &roots, NOW);
    assert_states(&got, "invalid", "verified");
    let named = v.verify().iter().find(|e| e.kind == PUBLISH).unwrap().claim().cloned().unwrap();
    let same = NpmArtifact { registry: named.issuer.as_deref(), ..v.artifact() };
    let got = v.verify_with(&v.document, &same, Some(&v.keys), &roots, NOW);
    assert_states(&got, "verified", "verified");
}

#[test]
fn a_single_bundle_is_verified_by_the_kind_of_its_signer() {
    let Some(v) = Vector::sigstore() else { return };
    let roots = TrustRoots::embedded().unwrap();
    let bundle = |i: usize| v.document["attestations"][i]["bundle"].to_string();
    let (publish, provenance) = (bundle(0), bundle(1));
    let expected = Expected {
        name: SubjectName::Exact("pkg:npm/sigstore@2.3.1"),
        sha256: None,
        sha512: Some(&v.sha512),
    };
    let keys: Value = serde_json::from_slice(&v.keys).unwrap();
    let key = TrustedKey {
        id: keys["keys"][1]["keyId"].as_str().unwrap().to_owned(),
        spki: unb64(&keys["keys"][1]["publicKey"]["rawBytes"]),
        not_before: None,
        not_after: None,
    };
    let by_certificate = |b: &str| verify_bundle(b.as_bytes(), &expected, &roots, NOW);
    let by_key = |b: &str| {
        verify_keyed_bundle(b.as_bytes(), &expected, std::slice::from_ref(&key), &roots, NOW)
    };
    let verified = by_certificate(&provenance).unwrap();
    let Signer::Certificate(identity) = &verified.get().signer else { panic!("{verified:?}") };
    assert_eq!(identity.runner_environment.as_deref(), Some("github-hosted"));
    assert_eq!(identity.build_trigger.as_deref(), Some("push"));
    assert!(identity.run_invocation_uri.as_ref().unwrap().contains("/actions/runs/9116405766"));
    assert_eq!(by_key(&publish).unwrap().into_inner().signer, Signer::Key { id: key.id.clone() });
    assert!(by_certificate(&publish).is_err());
    assert!(by_key(&provenance).is_err());
}

#[test]
fn one_flipped_bit_anywhere_is_refused() {
    for vector in [Vector::sigstore(), Vector::promised()] {
        let Some(v) = vector else { return };
        let (publish, provenance) = ("/attestations/0/bundle", "/attestations/1/bundle");
        let entry = "verificationMaterial/tlogEntries/0";
        let mut pointers = vec![format!(
            "{provenance}/verificationMaterial/x509CertificateChain/certificates/0/rawBytes"
        )];
        for bundle in [publish, provenance] {
            pointers.push(format!("{bundle}/dsseEnvelope/payload"));
            pointers.push(format!("{bundle}/dsseEnvelope/signatures/0/sig"));
            pointers.push(format!("{bundle}/{entry}/canonicalizedBody"));
            pointers.push(format!("{bundle}/{entry}/inclusionPromise/signedEntryTimestamp"));
            pointers.push(format!("{bundle}/{entry}/logId/keyId"));
            let proof = format!("{bundle}/{entry}/inclusionProof");
            if v.document.pointer(&proof).is_some_and(|p| !p.is_null()) {
                pointers.push(format!("{proof}/rootHash"));
                pointers.push(format!("{proof}/hashes/0"));
            }
        }
        for pointer in pointers {
            let kind = if pointer.starts_with(publish) { PUBLISH } else { PROVENANCE };
            for bad in flipped(&v.document, &pointer, 12) {
                let got = v.verify_document(&bad);
                assert_eq!(states(&got, kind), ["invalid"], "{pointer}");
            }
        }
    }
}

#[test]
fn the_log_s_word_cannot_be_changed_or_left_out() {
    let Some(v) = Vector::sigstore() else { return };
    let entry = "/attestations/1/bundle/verificationMaterial/tlogEntries/0";
    let with = |changes: &[(&str, Value)]| {
        let mut document = v.document.clone();
        for (field, value) in changes {
            document.pointer_mut(entry).unwrap()[*field] = value.clone();
        }
        v.verify_document(&document)
    };
    for changes in [
        vec![("integratedTime", json!("1715879524"))],
        vec![("logIndex", json!("94408137"))],
        vec![("inclusionPromise", Value::Null)],
        vec![("inclusionProof", Value::Null)],
        vec![("inclusionPromise", Value::Null), ("inclusionProof", Value::Null)],
        vec![("kindVersion", json!({"kind": "dsse", "version": "0.0.1"}))],
    ] {
        assert_states(&with(&changes), "verified", "invalid");
    }
    let mut without = v.document.clone();
    let list = "/attestations/1/bundle/verificationMaterial/tlogEntries";
    *without.pointer_mut(list).unwrap() = json!([]);
    assert_states(&v.verify_document(&without), "verified", "invalid");
    // An entry with nothing to verify must not ride along with one that verifies.
    let mut bare = v.document.pointer(entry).unwrap().clone();
    bare.as_object_mut().unwrap().retain(|k, _| !k.starts_with("inclusion"));
    let mut two = v.document.clone();
    two.pointer_mut(list).unwrap().as_array_mut().unwrap().push(bare);
    assert_states(&v.verify_document(&two), "verified", "invalid");
    assert!(
        because(&v.verify_document(&two), PROVENANCE).contains("neither a proof nor a promise")
    );
}

#[test]
fn nothing_holds_under_other_roots_or_before_it_was_signed() {
    let Some(v) = Vector::sigstore() else { return };
    let got = v.verify_with(&v.document, &v.artifact(), Some(&v.keys), &staging(), NOW);
    assert_states(&got, "invalid", "invalid");
    let roots = TrustRoots::embedded().unwrap();
    let signed = Timestamp(1_715_879_523);
    let keys = Some(v.keys.as_slice());
    let got = v.verify_with(&v.document, &v.artifact(), keys, &roots, signed);
    assert_states(&got, "invalid", "verified");
    let got = v.verify_with(&v.document, &v.artifact(), keys, &roots, signed.plus_seconds(-1));
    assert_states(&got, "invalid", "invalid");
    assert!(because(&got, PROVENANCE).contains("check the clock"), "{got:#?}");
}

#[test]
fn without_usable_keys_the_publish_attestation_is_unreachable() {
    let Some(v) = Vector::sigstore() else { return };
    let roots = TrustRoots::embedded().unwrap();
    let verify = |keys| v.verify_with(&v.document, &v.artifact(), keys, &roots, NOW);
    for keys in [None, Some(&b"{}"[..]), Some(b"not json"), Some(br#"{"keys":[]}"#)] {
        assert_states(&verify(keys), "unreachable", "verified");
    }
    assert!(because(&verify(None), PUBLISH).contains("no npm registry keys"));
}

#[test]
fn a_key_s_window_is_judged_at_the_log_s_time() {
    let Some(v) = Vector::sigstore() else { return };
    let roots = TrustRoots::embedded().unwrap();
    let verify = |change: &dyn Fn(&mut Value)| {
        let mut keys: Value = serde_json::from_slice(&v.keys).unwrap();
        for key in keys["keys"].as_array_mut().unwrap() {
            change(key);
        }
        let keys = keys.to_string();
        v.verify_with(&v.document, &v.artifact(), Some(keys.as_bytes()), &roots, NOW)
    };
    // Logged at 2024-05-16T17:12:06Z.
    let end = |t: &'static str| move |k: &mut Value| k["publicKey"]["validFor"]["end"] = t.into();
    let start =
        |t: &'static str| move |k: &mut Value| k["publicKey"]["validFor"]["start"] = t.into();
    assert_states(&verify(&end("2024-05-16T17:12:07Z")), "verified", "verified");
    assert_states(&verify(&end("2024-05-16T17:12:06Z")), "invalid", "verified");
    assert_states(&verify(&start("2024-05-16T17:12:06Z")), "verified", "verified");
    assert_states(&verify(&start("2024-05-16T17:12:07Z")), "invalid", "verified");
    assert!(because(&verify(&end("2023-01-01T00:00:00Z")), PUBLISH).contains("not valid at"));
    // The same key for another usage only.
    let usage = |k: &mut Value| k["keyUsage"] = "npm:signatures".into();
    assert_states(&verify(&usage), "unreachable", "verified");
    let renamed = |k: &mut Value| k["keyId"] = "SHA256:other".into();
    assert_states(&verify(&renamed), "invalid", "verified");
}

#[test]
fn an_attestation_under_another_s_label_is_refused() {
    let Some(v) = Vector::sigstore() else { return };
    let mut swapped = v.document.clone();
    let kind = |i: usize| v.document["attestations"][i]["predicateType"].clone();
    swapped["attestations"][0]["predicateType"] = kind(1);
    swapped["attestations"][1]["predicateType"] = kind(0);
    assert_states(&v.verify_document(&swapped), "invalid", "invalid");
    let mut older = v.document.clone();
    older["attestations"][1]["predicateType"] = "https://slsa.dev/provenance/v0.2".into();
    assert_states(&v.verify_document(&older), "verified", "invalid");
}

#[test]
fn a_bad_attestation_stands_beside_a_good_one() {
    let Some(v) = Vector::sigstore() else { return };
    let mut document = v.document.clone();
    let mut bad = document["attestations"][1].clone();
    bad["bundle"]["dsseEnvelope"]["signatures"][0]["sig"] = "AAAA".into();
    document["attestations"].as_array_mut().unwrap().push(bad);
    let got = v.verify_document(&document);
    assert_eq!(states(&got, PROVENANCE), ["verified", "invalid"]);
}

#[test]
fn absent_malformed_and_unknown_stay_apart() {
    let roots = TrustRoots::embedded().unwrap();
    let artifact =
        NpmArtifact { name: "a", version: "1.0.0", sha512: &[0; 64], sha256: None, registry: None };
    let verify = |document: &str| {
        verify_attestations(document.as_bytes(), &artifact, None, &context(&roots))
    };
    assert_states(&verify(r#"{"attestations":[]}"#), "absent", "absent");
    let many = format!(r#"{{"attestations":[{}0]}}"#, "0,".repeat(1000));
    for bad in [
        "",
        "<html>",
        "{}",
        "[]",
        r#"{"attestations":{}}"#,
        r#"{"attestations":[{}]}"#,
        r#"{"attestations":[{"predicateType":"p"}]}"#,
        r#"{"attestations":[],"attestations":[]}"#,
        &many,
    ] {
        assert_states(&verify(bad), "invalid", "invalid");
    }
    let got = verify(r#"{"attestations":[{"predicateType":"https://x.example/p","bundle":{}}]}"#);
    assert_states(&got, "absent", "absent");
    assert_eq!(states(&got, OTHER), ["unreachable"]);
    let slsa = "https://slsa.dev/provenance/v1";
    let got =
        verify(&format!(r#"{{"attestations":[{{"predicateType":"{slsa}","bundle":{{}}}}]}}"#));
    assert_states(&got, "absent", "invalid");
}

const PUBLISH_TYPE: &str = "https://github.com/npm/attestation/tree/main/specs/publish/v0.1";
const LOGGED: Timestamp = Timestamp(1_760_000_000);

fn publish_payload() -> String {
    let sha512 = "ab".repeat(64);
    format!(
        r#"{{"_type":"https://in-toto.io/Statement/v0.1","subject":[{{"name":"pkg:npm/%40s/n@1.2.3","digest":{{"sha512":"{sha512}"}}}}],"predicateType":"{PUBLISH_TYPE}","predicate":{{"name":"@s/n","version":"1.2.3","registry":"https://registry.example"}}}}"#
    )
}

fn verify_minted(mint: &Mint, bundle: &Value, keys: &[u8]) -> Vec<Evidence> {
    let document = json!({"attestations": [{"predicateType": PUBLISH_TYPE, "bundle": bundle}]});
    let artifact = NpmArtifact {
        name: "@s/n",
        version: "1.2.3",
        sha512: &[0xab; 64],
        sha256: Some(&[0xcd; 32]),
        registry: Some("https://registry.example"),
    };
    let roots = mint.roots();
    verify_attestations(document.to_string().as_bytes(), &artifact, Some(keys), &context(&roots))
}

#[test]
fn a_minted_publish_attestation_holds() {
    let mint = Mint::new();
    let bundle = mint.bundle(&publish_payload(), "k", LOGGED);
    let got = verify_minted(&mint, &bundle, &mint.keys("k", None));
    assert_states(&got, "verified", "absent");
    let claim = got[0].claim().unwrap();
    assert_eq!((claim.signer.as_str(), claim.signed_at), ("k", Some(LOGGED)));
    assert_eq!(claim.proof, ProofClass::InclusionPromise);
    assert_eq!(claim.issuer.as_deref(), Some("https://registry.example"));
}

#[test]
fn a_well_signed_statement_of_anything_else_is_refused() {
    let mint = Mint::new();
    let keys = mint.keys("k", None);
    let good = publish_payload();
    let subject = r#"{"name":"pkg:npm/%40s/n@1.2.3","digest":{"sha512":"#;
    let (sha512, other) = ("ab".repeat(64), "cd".repeat(64));
    let two = format!(r#"[{subject}"{sha512}"}}}},{subject}"{other}"}}}}]"#);
    let one = format!(r#"[{subject}"{sha512}"}}}}]"#);
    for (from, to) in [
        (r#""name":"@s/n""#, r#""name":"@s/m""#),
        (r#""version":"1.2.3""#, r#""version":"1.2.4""#),
        (r#""version":"1.2.3""#, r#""version":"1.2.3","version":"1.2.3""#),
        ("https://registry.example", "https://other.example"),
        (r#","registry":"https://registry.example""#, ""),
        ("pkg:npm/%40s/n@1.2.3", "pkg:npm/@s/n@1.2.3"),
        ("pkg:npm/%40s/n@1.2.3", "pkg:npm/%40s/n@1.2.3?x=y"),
        (&one, &two),
        (&one, "[]"),
        (r#"{"sha512":""#, r#"{"sha256":"00","sha512":""#),
        (r#""predicateType":"https"#, r#""predicateType":"http"#),
        ("Statement/v0.1", "Statement/v2"),
        (r#""_type":"#, r#""subject":[],"_type":"#),
    ] {
        let payload = good.replacen(from, to, 1);
        assert_ne!(payload, good, "{from}");
        let got = verify_minted(&mint, &mint.bundle(&payload, "k", LOGGED), &keys);
        assert_states(&got, "invalid", "absent");
    }
}

#[test]
fn a_minted_attestation_needs_its_key_its_log_and_its_time() {
    let mint = Mint::new();
    let bundle = mint.bundle(&publish_payload(), "k", LOGGED);
    let publish =
        |bundle: &Value, keys: &[u8]| states(&verify_minted(&mint, bundle, keys), PUBLISH);
    assert_eq!(publish(&bundle, &mint.keys("other", None)), ["invalid"]);
    assert_eq!(publish(&bundle, &Mint::new().keys("k", None)), ["invalid"]);
    assert_eq!(publish(&bundle, &mint.keys("k", Some("2025-10-09T08:53:21Z"))), ["verified"]);
    assert_eq!(publish(&bundle, &mint.keys("k", Some("2025-10-09T08:53:20Z"))), ["invalid"]);

    let keys = mint.keys("k", None);
    let late = mint.bundle(&publish_payload(), "k", NOW.plus_seconds(1));
    assert_eq!(publish(&late, &keys), ["invalid"]);
    // Signed with a key that is trusted, promised by a log that is not.
    let unlogged = Mint::new();
    let keys_of_it = unlogged.keys("k", None);
    let bundle_of_it = unlogged.bundle(&publish_payload(), "k", LOGGED);
    assert_eq!(publish(&bundle_of_it, &keys_of_it), ["invalid"]);
    // Another signature's entry cannot lend its time.
    let mut borrowed = bundle.clone();
    let donor = mint.bundle(&publish_payload().replace("1.2.3", "1.2.2"), "k", LOGGED);
    borrowed["verificationMaterial"]["tlogEntries"] =
        donor["verificationMaterial"]["tlogEntries"].clone();
    assert_eq!(publish(&borrowed, &keys), ["invalid"]);
}

/// A registry that signs versions with a key of its own.
struct Registry {
    mint: Mint,
    digest: [u8; 64],
}

impl Registry {
    fn new() -> Self {
        Self { mint: Mint::new(), digest: [7; 64] }
    }

    fn sign(&self, message: &str) -> RegistrySignature {
        let signature = self.mint.registry.sign(message.as_bytes()).unwrap();
        RegistrySignature { key_id: "k".into(), signature: common::b64(signature.as_bytes()) }
    }

    fn good(&self) -> RegistrySignature {
        self.sign(&format!("@s/n@1.0.0:sha512-{}", common::b64(&self.digest)))
    }

    fn state(
        &self,
        signatures: &[RegistrySignature],
        version: &str,
        published: Option<i64>,
        keys: Option<&[u8]>,
    ) -> (&'static str, String) {
        let roots = TrustRoots::embedded().unwrap();
        let artifact = NpmArtifact {
            name: "@s/n",
            version,
            sha512: &self.digest,
            sha256: None,
            registry: None,
        };
        let published = published.map(Timestamp);
        let got = verify_signatures(signatures, &artifact, published, keys, &context(&roots));
        let all = [got];
        let why = match &all[0].state {
            countersign_core::EvidenceState::Verified { claim } => claim.signer.clone(),
            countersign_core::EvidenceState::Absent => String::new(),
            _ => because(&all, SIGNATURE),
        };
        (states(&all, SIGNATURE)[0], why)
    }
}

#[test]
fn registry_signatures_hold_over_name_version_and_digest() {
    let r = Registry::new();
    let keys = r.mint.keys("k", None);
    assert_eq!(r.state(&[r.good()], "1.0.0", None, Some(&keys)), ("verified", "k".into()));
    assert_eq!(r.state(&[], "1.0.0", None, Some(&keys)).0, "absent");
    assert_eq!(r.state(&[r.good()], "1.0.1", None, Some(&keys)).0, "invalid");
    let other = Registry { digest: [8; 64], mint: Mint::new() };
    assert_eq!(r.state(&[other.good()], "1.0.0", None, Some(&keys)).0, "invalid");
    for message in ["@s/n@1.0.0:", "@s/n@1.0.0:sha512-", "", "n@1.0.0:sha512-AAAA"] {
        assert_eq!(r.state(&[r.sign(message)], "1.0.0", None, Some(&keys)).0, "invalid");
    }
    let garbage =
        |signature: &str| RegistrySignature { key_id: "k".into(), signature: signature.into() };
    for text in ["", "AAAA", "!", "a b"] {
        assert_eq!(r.state(&[garbage(text)], "1.0.0", None, Some(&keys)).0, "invalid", "{text}");
    }
    // A bad one beside a good one is not overlooked; one by an unknown key is.
    let both = [r.good(), garbage("AAAA")];
    assert_eq!(r.state(&both, "1.0.0", None, Some(&keys)).0, "invalid");
    let unknown = RegistrySignature { key_id: "new".into(), ..other.good() };
    assert_eq!(r.state(&[unknown.clone(), r.good()], "1.0.0", None, Some(&keys)).0, "verified");
    let (state, why) = r.state(&[unknown], "1.0.0", None, Some(&keys));
    assert!(state == "unreachable" && why.contains("key `new` is unknown"), "{why}");
    assert_eq!(r.state(&[r.good()], "1.0.0", None, None).0, "unreachable");
    assert_eq!(r.state(&vec![r.good(); 9], "1.0.0", None, Some(&keys)).0, "invalid");
}

#[test]
fn a_registry_key_s_end_is_judged_at_the_publication() {
    let r = Registry::new();
    let keys = r.mint.keys("k", Some("2025-01-29T00:00:00.000Z"));
    let end = 1_738_108_800;
    let state = |published| r.state(&[r.good()], "1.0.0", published, Some(&keys)).0;
    assert_eq!(state(Some(end - 1)), "verified");
    assert_eq!(state(Some(end)), "invalid");
    assert_eq!(state(None), "unreachable", "the key has ended by now");
}

#[test]
fn keys_are_used_for_what_they_are_for() {
    let r = Registry::new();
    let key = common::b64(r.mint.registry.public_key_der().unwrap().as_bytes());
    let document = |usage: &str, start: &str| {
        json!({"keys": [{"keyId": "k", "keyUsage": usage, "publicKey": {
            "rawBytes": key, "keyDetails": "PKIX_ECDSA_P256_SHA_256",
            "validFor": {"start": start}}}]})
        .to_string()
        .into_bytes()
    };
    let state = |keys: Vec<u8>| r.state(&[r.good()], "1.0.0", Some(0), Some(&keys)).0;
    assert_eq!(state(document("npm:signatures", "2020-01-01T00:00:00Z")), "verified");
    assert_eq!(state(document("npm:attestations", "2020-01-01T00:00:00Z")), "unreachable");
    assert_eq!(state(document("npm:signatures", "2036-01-01T00:00:00Z")), "invalid");
}

#[test]
fn a_document_of_signatures_is_read_in_one_way() {
    let good = br#"{"signatures":[{"keyid":"k","sig":"AAAA"}],"integrity":"x"}"#;
    assert_eq!(read_signatures(good).unwrap()[0].key_id, "k");
    for bad in [
        &br#"{"signatures":[{"keyid":"k"}]}"#[..],
        br#"{"signatures":[{"keyid":"k","keyid":"l","sig":"AAAA"}]}"#,
        br#"{"signatures":{}}"#,
        b"[]",
        b"",
    ] {
        assert!(read_signatures(bad).is_err());
    }
}
