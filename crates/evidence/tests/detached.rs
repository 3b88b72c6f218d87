//! Detached OpenPGP signatures beside a file: a good one, and what must not pass for one.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use countersign_core::Timestamp;
use countersign_evidence::EvidenceError;
use countersign_evidence::openpgp::verify_file;
use sequoia_openpgp as openpgp;

use openpgp::cert::{Cert, CertBuilder, CipherSuite};
use openpgp::packet::{Packet, signature::SignatureBuilder};
use openpgp::policy::StandardPolicy;
use openpgp::serialize::SerializeInto as _;
use openpgp::serialize::stream::{Armorer, Message, Signer};
use openpgp::types::{HashAlgorithm, ReasonForRevocation, SignatureType};
use std::io::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const NOW: Timestamp = Timestamp(1_760_000_000);
const DAY: i64 = 86_400;
const JAR: &[u8] = b"PK\x03\x04 a jar";

fn time(t: Timestamp) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(t.0.unsigned_abs())
}

struct Case {
    cert: Cert,
    keyring: Vec<u8>,
    file: Vec<u8>,
    at: Timestamp,
    hash: HashAlgorithm,
    kind: SignatureType,
    edit: fn(Vec<u8>) -> Vec<u8>,
}

fn cert(suite: CipherSuite, validity: Option<i64>) -> Cert {
    let (cert, _) = CertBuilder::new()
        .add_userid("Release <release@maven.example>")
        .set_cipher_suite(suite)
        .set_creation_time(time(NOW.plus_seconds(-100 * DAY)))
        .set_validity_period(validity.map(|d| Duration::from_secs(d.unsigned_abs())))
        .add_signing_subkey()
        .generate()
        .unwrap();
    cert
}

impl Case {
    fn new() -> Self {
        Self::with(cert(CipherSuite::Cv25519, None))
    }

    fn with(cert: Cert) -> Self {
        let keyring = cert.to_vec().unwrap();
        Self {
            cert,
            keyring,
            file: JAR.to_vec(),
            at: NOW.plus_seconds(-60),
            hash: HashAlgorithm::SHA512,
            kind: SignatureType::Binary,
            edit: |s| s,
        }
    }

    fn signature(&self) -> Vec<u8> {
        let policy = StandardPolicy::new();
        let at = time(NOW.plus_seconds(-99 * DAY));
        let mut keys = self.cert.keys().unencrypted_secret().with_policy(&policy, at).for_signing();
        let pair = keys.next().unwrap().key().clone().into_keypair().unwrap();
        let mut out = Vec::new();
        let armor = Armorer::new(Message::new(&mut out)).kind(openpgp::armor::Kind::Signature);
        let template = SignatureBuilder::new(self.kind);
        let signer = Signer::with_template(armor.build().unwrap(), pair, template).unwrap();
        let signer = signer.hash_algo(self.hash).unwrap().creation_time(time(self.at)).detached();
        let mut writer = signer.build().unwrap();
        writer.write_all(JAR).unwrap();
        writer.finalize().unwrap();
        (self.edit)(out)
    }

    fn verify(&self) -> Result<(), EvidenceError> {
        let signed = verify_file(self.file.as_slice(), &self.signature(), &self.keyring, NOW)?;
        assert_eq!(signed.claim().signer, self.cert.fingerprint().to_hex());
        Ok(())
    }

    fn revoke(&mut self) {
        let mut pair =
            self.cert.primary_key().key().clone().parts_into_secret().unwrap().into_keypair();
        let revocation = self.cert.revoke(
            pair.as_mut().unwrap(),
            ReasonForRevocation::KeyCompromised,
            b"stolen",
        );
        let packet = Packet::from(revocation.unwrap());
        let (revoked, _) = self.cert.clone().insert_packets([packet]).unwrap();
        self.keyring = revoked.to_vec().unwrap();
    }
}

#[test]
fn good_signatures_hold() {
    Case::new().verify().unwrap();
    Case::with(cert(CipherSuite::P256, Some(101 * DAY))).verify().unwrap();
    let mut bare = Case::new();
    bare.edit = |s| {
        use std::io::Read as _;
        let mut out = Vec::new();
        openpgp::armor::Reader::from_reader(s.as_slice(), None).read_to_end(&mut out).unwrap();
        out
    };
    bare.verify().unwrap();
    let mut ring = Case::new();
    ring.keyring =
        [cert(CipherSuite::Cv25519, None).armored().to_vec().unwrap(), ring.keyring].join(&b'\n');
    ring.verify().unwrap();
}

macro_rules! broken {
    ($($name:ident: $code:literal, $change:expr;)+) => {
        $(
            #[test]
            fn $name() {
                let mut case = Case::new();
                let change: fn(&mut Case) = $change;
                change(&mut case);
                let error = case.verify().unwrap_err();
                assert_eq!(error.code(), $code, "{error}");
            }
        )+
    };
}

broken! {
    another_file: "signature", |c| c.file = b"PK\x03\x04 evil".to_vec();
    an_empty_file: "signature", |c| c.file.clear();
    more_behind_the_file: "signature", |c| c.file.push(0);
    a_signature_with_sha_1: "weak-algorithm", |c| c.hash = HashAlgorithm::SHA1;
    a_signature_over_a_text: "signature", |c| {
        c.kind = SignatureType::Text;
        c.file.push(b'x');
    };
    a_signature_of_tomorrow: "signature", |c| c.at = NOW.plus_seconds(DAY);
    a_key_that_was_revoked: "signature", Case::revoke;
    a_key_that_ended: "signature", |c| {
        *c = Case::with(cert(CipherSuite::Cv25519, Some(50 * DAY)));
        c.at = NOW.plus_seconds(-60 * DAY);
    };
    somebody_unknown: "trust-material",
        |c| c.keyring = cert(CipherSuite::Cv25519, None).to_vec().unwrap();
    an_empty_keyring: "trust-material", |c| c.keyring.clear();
    a_keyring_that_is_none: "trust-material", |c| c.keyring = b"no keyring".to_vec();
    an_empty_signature: "malformed", |c| c.edit = |_| Vec::new();
    a_signature_that_is_a_page: "malformed", |c| c.edit = |_| b"<html>not found</html>".to_vec();
    text_before_the_signature: "malformed", |c| c.edit = |s| [b"see\n", s.as_slice()].concat();
    a_signature_cut_short: "signature", |c| c.edit = |s| s[..s.len() / 2].to_vec();
    an_endless_signature: "too-large", |c| c.edit = |s| s.repeat(1000);
    a_key_in_place_of_a_signature: "signature", |c| c.edit = |_| {
        cert(CipherSuite::Cv25519, None).to_vec().unwrap()
    };
}
