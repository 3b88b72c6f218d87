//! Keys of a test's own, and Release files signed with them.

use sequoia_openpgp::Cert;
use sequoia_openpgp::armor::Kind;
use sequoia_openpgp::cert::CertBuilder;
use sequoia_openpgp::crypto::KeyPair;
use sequoia_openpgp::policy::StandardPolicy;
use sequoia_openpgp::serialize::SerializeInto as _;
use sequoia_openpgp::serialize::stream::{Armorer, Message, Signer};
use std::io::Write as _;

/// A key that signs.
pub struct Key(Cert);

impl Key {
    /// A new key.
    pub fn new(user: &str) -> Self {
        let (cert, _) =
            CertBuilder::new().add_userid(user).add_signing_subkey().generate().unwrap();
        Self(cert)
    }

    /// The certificate, armored: the keyring that a source names.
    pub fn certificate(&self) -> Vec<u8> {
        self.0.clone().strip_secret_key_material().armored().to_vec().unwrap()
    }

    /// A text signed in place (RFC 9580, "cleartext signature framework").
    pub fn clearsign(&self, text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        let message = Message::new(&mut out);
        let mut signer = Signer::new(message, self.pair()).unwrap().cleartext().build().unwrap();
        signer.write_all(text.as_bytes()).unwrap();
        signer.finalize().unwrap();
        out
    }

    /// A text's detached signature, armored (`Release.gpg`).
    pub fn sign(&self, text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        let message = Message::new(&mut out);
        let message = Armorer::new(message).kind(Kind::Signature).build().unwrap();
        let mut signer = Signer::new(message, self.pair()).unwrap().detached().build().unwrap();
        signer.write_all(text.as_bytes()).unwrap();
        signer.finalize().unwrap();
        out
    }

    fn pair(&self) -> KeyPair {
        let policy = StandardPolicy::new();
        let keys = self.0.keys().with_policy(&policy, None).for_signing().secret();
        keys.map(|k| k.key().clone().into_keypair().unwrap()).next().unwrap()
    }
}
