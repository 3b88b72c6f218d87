//! Keys of a test's own, and Release files signed with them.

use sequoia_openpgp::Cert;
use sequoia_openpgp::cert::CertBuilder;
use sequoia_openpgp::policy::StandardPolicy;
use sequoia_openpgp::serialize::SerializeInto as _;
use sequoia_openpgp::serialize::stream::{Message, Signer};
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
        let policy = StandardPolicy::new();
        let keys = self.0.keys().with_policy(&policy, None).for_signing().secret();
        let pair = keys.map(|k| k.key().clone().into_keypair().unwrap()).next().unwrap();
        let mut out = Vec::new();
        let message = Message::new(&mut out);
        let mut signer = Signer::new(message, pair).unwrap().cleartext().build().unwrap();
        signer.write_all(text.as_bytes()).unwrap();
        signer.finalize().unwrap();
        out
    }
}
