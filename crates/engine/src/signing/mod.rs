//! Signing, our side: the keys of this store, whose every change is an entry of its ledger, and the
//! attestations that they sign.
//!
//! | module | what |
//! |---|---|
//! | [`key`] | which keys there are and were: the ledger's entries, read one after the other |
//! | [`holder`] | where a private key is, and opening it |
//! | [`attest`] | statements, envelopes and bundles |
//!
//! Nothing about a key is kept beside the ledger but the encrypted file: what a key may do is what
//! its entries say, and nobody changes that without leaving one.

pub mod attest;
pub mod holder;
pub mod key;

use countersign_store::{Store, StoreError};

/// Why something cannot be signed, or a key not be changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SigningError {
    /// The store or its ledger failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The key cannot be opened or does not sign.
    #[error(transparent)]
    Signer(#[from] countersign_signer::SignerError),
    /// There is no such key, or not only one, or it may not sign now.
    #[error("{because}")]
    Key {
        /// What is wrong, and what to do.
        because: String,
    },
    /// What was to be attested cannot be.
    #[error("{because}")]
    Statement {
        /// What is wrong, and what to do.
        because: String,
    },
}

impl SigningError {
    pub(crate) fn key(because: impl Into<String>) -> Self {
        Self::Key { because: because.into() }
    }

    pub(crate) fn statement(because: impl Into<String>) -> Self {
        Self::Statement { because: because.into() }
    }
}

/// The folder of the encrypted key files of a store.
pub(crate) fn key_folder(store: &Store) -> std::path::PathBuf {
    store.dir().join("keys")
}
