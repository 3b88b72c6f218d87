//! One bit of a good bundle flipped, at every byte of its text: it is refused, or means the same.
//!
//! What may change without a change of meaning is what nobody signs and nobody shows: white space,
//! the index of an entry that only its own proof uses, what Rekor's second version repeats outside
//! of the checkpoint.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

mod mint;

use countersign_core::Timestamp;
use countersign_evidence::sigstore::{
    Artifact, Signatory, Signed, TrustRoots, verify_artifact, verify_bundle,
};
use countersign_evidence::{Expected, SubjectName};
use mint::{ARTIFACT, AT, DAY, ISSUER, Kind, Mint, NAME, Recipe, Rekor, SUBJECT, Version};
use proptest::prelude::*;

const NOW: Timestamp = Timestamp(AT + DAY);

struct Good {
    mint: Mint,
    roots: TrustRoots,
    text: String,
    managed: bool,
}

impl Good {
    fn new(version: Version, kind: Kind, rekor: Rekor, managed: bool) -> Self {
        let mint = Mint::new();
        let mut recipe = Recipe::new(version, kind, rekor);
        recipe.managed = managed;
        let text = mint.bundle(&recipe).to_string();
        let roots = mint.trusted_root().to_string();
        let roots = TrustRoots::from_trusted_root_json(roots.as_bytes()).unwrap();
        Self { mint, roots, text, managed }
    }

    fn verify(&self, bundle: &[u8]) -> Option<Signed> {
        let pem = self.mint.signer_pem();
        let who = if self.managed {
            Signatory::Key { pem: &pem }
        } else {
            Signatory::Identity { subject: SUBJECT, issuer: ISSUER }
        };
        let signed = verify_artifact(bundle, &Artifact::Bytes(ARTIFACT), &who, &self.roots, NOW);
        signed.ok().map(countersign_evidence::Verified::into_inner)
    }

    /// The statement that the gate would take out of it.
    fn statement(&self, bundle: &[u8]) -> Option<countersign_evidence::Statement> {
        let sha256 = mint::log::sha256(ARTIFACT);
        let expected =
            Expected { name: SubjectName::Exact(NAME), sha256: Some(&sha256), sha512: None };
        let attestation = verify_bundle(bundle, &expected, &self.roots, NOW).ok()?;
        Some(attestation.into_inner().statement)
    }

    fn same_or_refused(&self, bytes: &[u8], at: usize) {
        let Some(signed) = self.verify(bytes) else { return };
        let good = self.verify(self.text.as_bytes()).unwrap();
        assert_eq!(signed, good, "byte {at}: {}", String::from_utf8_lossy(bytes));
        if let Some(statement) = self.statement(bytes) {
            assert_eq!(Some(statement), self.statement(self.text.as_bytes()), "byte {at}");
        }
    }

    /// One bit of every byte, another one from byte to byte.
    fn every_byte(&self) {
        assert!(self.verify(self.text.as_bytes()).is_some());
        let mut bytes = self.text.clone().into_bytes();
        for at in 0..bytes.len() {
            let bit = 1 << (at * 5 % 8);
            bytes[at] ^= bit;
            self.same_or_refused(&bytes, at);
            bytes[at] ^= bit;
        }
    }
}

#[test]
fn every_byte_of_a_promised_bundle() {
    Good::new(Version::V01, Kind::Message, Rekor::First, false).every_byte();
}

#[test]
fn every_byte_of_a_bundle_with_a_chain() {
    Good::new(Version::V02, Kind::Intoto, Rekor::First, false).every_byte();
}

#[test]
fn every_byte_of_an_attestation() {
    Good::new(Version::V03, Kind::Statement, Rekor::First, false).every_byte();
}

#[test]
fn every_byte_of_a_signature_in_the_second_log() {
    Good::new(Version::V03, Kind::Message, Rekor::Second, false).every_byte();
}

#[test]
fn every_byte_of_a_managed_key_s_bundle() {
    Good::new(Version::V03, Kind::Statement, Rekor::Second, true).every_byte();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Bytes changed, removed and doubled anywhere.
    #[test]
    fn any_small_change(places in proptest::collection::vec((0_usize..9000, any::<u8>(), 0_u8..3), 1..4)) {
        thread_local! {
            static GOOD: Good = Good::new(Version::V03, Kind::Statement, Rekor::First, false);
        }
        GOOD.with(|good| {
            let mut bytes = good.text.clone().into_bytes();
            for (at, byte, how) in places {
                let at = at % bytes.len();
                match how {
                    0 => bytes[at] = byte,
                    1 => { bytes.remove(at); }
                    _ => bytes.insert(at, byte),
                }
            }
            good.same_or_refused(&bytes, 0);
        });
    }
}
