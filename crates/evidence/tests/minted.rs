//! What the mint makes: every good bundle holds.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

mod mint;

use countersign_core::{ProofClass, Timestamp};
use countersign_evidence::Context;
use countersign_evidence::attested::verify_attestation;
use countersign_evidence::sigstore::{Artifact, Signatory, Signer, TrustRoots, verify_artifact};
use mint::tsa::Stamp;
use mint::{ARTIFACT, AT, DAY, ISSUER, Kind, Mint, NAME, Recipe, Rekor, SUBJECT, Version};

const NOW: Timestamp = Timestamp(AT + DAY);

fn roots(mint: &Mint) -> TrustRoots {
    TrustRoots::from_trusted_root_json(mint.trusted_root().to_string().as_bytes()).unwrap()
}

/// All combinations that there are.
fn recipes() -> Vec<(String, Recipe)> {
    let mut out = Vec::new();
    for version in [Version::V01, Version::V02, Version::V03] {
        for kind in [Kind::Message, Kind::Statement, Kind::Intoto] {
            for rekor in [Rekor::First, Rekor::Second] {
                // The second version of the log is younger than the first of bundles.
                if rekor == Rekor::Second && (version == Version::V01 || kind == Kind::Intoto) {
                    continue;
                }
                for managed in [false, true] {
                    let mut recipe = Recipe::new(version, kind, rekor);
                    recipe.managed = managed;
                    out.push((format!("{version:?} {kind:?} {rekor:?} {managed}"), recipe));
                }
            }
        }
    }
    out
}

#[test]
fn every_good_bundle_holds() {
    let mint = Mint::new();
    let roots = roots(&mint);
    let pem = mint.signer_pem();
    for (name, recipe) in recipes() {
        let bundle = mint.bundle(&recipe).to_string();
        let who = if recipe.managed {
            Signatory::Key { pem: &pem }
        } else {
            Signatory::Identity { subject: SUBJECT, issuer: ISSUER }
        };
        for artifact in [
            Artifact::Bytes(ARTIFACT),
            Artifact::Digest(countersign_core::Sha256Digest::of(ARTIFACT)),
        ] {
            let got = verify_artifact(bundle.as_bytes(), &artifact, &who, &roots, NOW);
            let signed = got.unwrap_or_else(|e| panic!("{name}: {} {e}", e.code())).into_inner();
            assert_eq!(matches!(signed.signer, Signer::Key { .. }), recipe.managed, "{name}");
            let proof = if recipe.proof {
                ProofClass::InclusionProof
            } else {
                ProofClass::InclusionPromise
            };
            assert_eq!(signed.proof, proof, "{name}");
            let at = if recipe.rekor == Rekor::First { AT } else { AT + 2 };
            assert_eq!(signed.signed_at, Some(Timestamp(at)), "{name}");
        }
    }
}

#[test]
fn what_an_attestation_was_signed_with_is_told() {
    let mint = Mint::new();
    let roots = roots(&mint);
    let bundle = mint.bundle(&Recipe::new(Version::V03, Kind::Statement, Rekor::First)).to_string();
    let context = Context { roots: &roots, now: NOW, source: "a test" };
    let sha256 = countersign_core::Sha256Digest::of(ARTIFACT);
    let got = verify_attestation(bundle.as_bytes(), &[NAME], &sha256, None, &context);
    let seen: Vec<String> = got.algorithms().iter().map(ToString::to_string).collect();
    assert_eq!(
        seen,
        [
            "sha256 (certificate signature)",
            "ecdsa-p256 (certificate key)",
            "sha256 (attested digest)",
            "sha256 (attestation signature)"
        ],
        "{got:?}"
    );
}

#[test]
fn a_time_stamp_stands_in_for_a_promise_and_stands_beside_one() {
    let mint = Mint::new();
    let roots = roots(&mint);
    let who = Signatory::Identity { subject: SUBJECT, issuer: ISSUER };
    for promise in [false, true] {
        for imprint in ["sha256", "sha512"] {
            let mut recipe = Recipe::new(Version::V03, Kind::Message, Rekor::First);
            recipe.promise = promise;
            recipe.stamps = vec![Stamp { imprint, ..Stamp::default() }];
            let bundle = mint.bundle(&recipe).to_string();
            let artifact = Artifact::Bytes(ARTIFACT);
            verify_artifact(bundle.as_bytes(), &artifact, &who, &roots, NOW)
                .unwrap_or_else(|e| panic!("{promise} {imprint}: {e}"));
        }
    }
}
