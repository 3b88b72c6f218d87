//! A P-256 key, by another library's hand than the verifier's.

use rcgen::{PublicKeyData as _, SigningKey as _};

pub struct KeyPair(rcgen::KeyPair);

impl KeyPair {
    pub fn generate() -> Self {
        Self(rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap())
    }

    /// An ECDSA signature with SHA-256, DER-encoded.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.sign(message).unwrap()
    }

    /// The public key as a `SubjectPublicKeyInfo`.
    pub fn spki(&self) -> Vec<u8> {
        self.0.subject_public_key_info()
    }
}
