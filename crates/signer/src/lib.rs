//! Private keys that sign attestations, and nothing else: what is signed is the caller's affair.
//!
//! | module | where the key is |
//! |---|---|
//! | `file` | in an encrypted PKCS#8 file (RFC 5958), under a passphrase |
//! | `agent` | with ssh-agent, which signs and never gives it out |
//! | `pkcs11` | on a token (a hardware module, a smart card, SoftHSM), which signs and never gives it out |
//!
//! Keys are Ed25519 or ECDSA on P-256 with SHA-256, and their signatures are what DSSE and Sigstore
//! expect: 64 bytes, or a DER `ECDSA-Sig-Value`. Every signature is checked against the public key
//! before it is given out, so that a faulty or exchanged token is found here and not by others.
//!
//! This is a room of its own because a PKCS#11 module is foreign code inside the process. Nothing is
//! loaded before a key that names the module is opened.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr))]

mod agent;
mod der;
mod error;
mod file;
mod pkcs11;
mod public;
mod uri;

pub use agent::{Agent, AgentKey};
pub use error::SignerError;
pub use file::{FileKey, decrypt, encrypt, generate};
pub use pkcs11::{TokenKey, generate_on_token};
pub use public::{Algorithm, PublicKey};
pub use uri::TokenUri;
pub use zeroize::Zeroizing;

/// A text that is wiped from memory when it is dropped: a passphrase, a PIN.
pub type Secret = Zeroizing<String>;

/// A private key that can be used.
pub trait Signer {
    /// The public half.
    fn public(&self) -> &PublicKey;

    /// A signature over `message`, in the form that [`PublicKey::verify`] takes.
    ///
    /// # Errors
    /// When the key cannot be used any more, or its holder refuses.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignerError>;
}

/// Signs, and verifies what came out.
///
/// # Errors
/// As [`Signer::sign`], and when the signature is not one of the public key.
pub fn sign(signer: &dyn Signer, message: &[u8]) -> Result<Vec<u8>, SignerError> {
    let signature = signer.sign(message)?;
    if signer.public().verify(message, &signature) {
        return Ok(signature);
    }
    Err(SignerError::BadSignature { id: signer.public().id() })
}
