//! Why a key cannot be used.

use std::path::PathBuf;

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignerError {
    /// A file that cannot be read or written.
    #[error("`{path}` cannot be used: {because}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        because: String,
    },
    /// Not a key of a kind that is used here.
    #[error("not a usable key: {because}")]
    NotAKey {
        /// What is wrong with it.
        because: String,
    },
    /// The passphrase is not the one that the key was encrypted with.
    #[error("the passphrase does not open the key")]
    WrongPassphrase,
    /// ssh-agent does not have the key, or does not sign.
    #[error("ssh-agent: {because}")]
    Agent {
        /// Why.
        because: String,
    },
    /// A token's module cannot be loaded, or the token does not do what it is asked for.
    #[error("token: {because}")]
    Token {
        /// Why.
        because: String,
    },
    /// The text is no PKCS#11 URI that is understood.
    #[error("`{text}` is no usable PKCS#11 URI: {because}")]
    Uri {
        /// The text.
        text: String,
        /// What is wrong with it.
        because: String,
    },
    /// What came out is not a signature of the key.
    #[error(
        "the signature is not one of key `{id}`; the key's holder is faulty or has another key"
    )]
    BadSignature {
        /// The key's id.
        id: String,
    },
    /// The system has no randomness, or the cryptographic library refused.
    #[error("a key cannot be made: {because}")]
    Generate {
        /// Why.
        because: String,
    },
}

impl SignerError {
    pub(crate) fn agent(because: impl ToString) -> Self {
        Self::Agent { because: because.to_string() }
    }

    pub(crate) fn token(because: impl ToString) -> Self {
        Self::Token { because: because.to_string() }
    }

    pub(crate) fn not_a_key(because: impl ToString) -> Self {
        Self::NotAKey { because: because.to_string() }
    }
}
