//! Public keys: two algorithms, one encoding, one id.

use crate::error::SignerError;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ED25519, UnparsedPublicKey};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::str::FromStr;

/// What comes before the 32 bytes of an Ed25519 key in its `SubjectPublicKeyInfo` (RFC 8410).
const ED25519_PREFIX: &[u8] =
    &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// What comes before the uncompressed point of a P-256 key in its `SubjectPublicKeyInfo` (RFC 5480).
const P256_PREFIX: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// Longest PEM text of a public key that is read, in bytes.
const MAX_PEM: usize = 4096;

/// How a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// Ed25519 (RFC 8032).
    Ed25519,
    /// ECDSA on P-256 with SHA-256 (FIPS 186-5).
    EcdsaP256,
}

impl Algorithm {
    /// The stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519",
            Self::EcdsaP256 => "ecdsa-p256",
        }
    }

    fn prefix(self) -> &'static [u8] {
        match self {
            Self::Ed25519 => ED25519_PREFIX,
            Self::EcdsaP256 => P256_PREFIX,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Algorithm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "ed25519" => Ok(Self::Ed25519),
            "ecdsa-p256" | "p256" => Ok(Self::EcdsaP256),
            _ => Err(format!("`{text}` is no algorithm of keys; use ed25519 or ecdsa-p256")),
        }
    }
}

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    algorithm: Algorithm,
    spki: Vec<u8>,
}

impl PublicKey {
    /// The key of 32 bytes (Ed25519) or of an uncompressed point (P-256).
    ///
    /// # Errors
    /// When the bytes have another form.
    pub fn from_raw(algorithm: Algorithm, raw: &[u8]) -> Result<Self, SignerError> {
        Self::from_spki(&[algorithm.prefix(), raw].concat())
    }

    /// The key in a DER `SubjectPublicKeyInfo` (RFC 5280, section 4.1).
    ///
    /// # Errors
    /// When it is neither Ed25519 nor P-256, or not in the one form that these have.
    pub fn from_spki(spki: &[u8]) -> Result<Self, SignerError> {
        let fits = |(algorithm, length): &(Algorithm, usize)| {
            spki.strip_prefix(algorithm.prefix()).is_some_and(|raw| raw.len() == *length)
        };
        let known = [(Algorithm::Ed25519, 32), (Algorithm::EcdsaP256, 65)];
        let found = known.into_iter().find(fits);
        let (algorithm, _) = found.ok_or_else(|| {
            SignerError::not_a_key(
                "a public key is Ed25519, or ECDSA on P-256 with its whole point",
            )
        })?;
        Ok(Self { algorithm, spki: spki.to_vec() })
    }

    /// The key in a PEM text `PUBLIC KEY` (RFC 7468, section 13).
    ///
    /// # Errors
    /// When the text is not one, or the key is of another kind.
    pub fn from_pem(pem: &str) -> Result<Self, SignerError> {
        let der = read_pem("PUBLIC KEY", pem, MAX_PEM)?;
        Self::from_spki(&der)
    }

    /// As PEM text.
    #[must_use]
    pub fn to_pem(&self) -> String {
        write_pem("PUBLIC KEY", &self.spki)
    }

    /// How it signs.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The DER `SubjectPublicKeyInfo`.
    #[must_use]
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// The 32 bytes or the uncompressed point.
    #[must_use]
    pub fn raw(&self) -> &[u8] {
        self.spki.get(self.algorithm.prefix().len()..).unwrap_or_default()
    }

    /// The key's id: `sha256:` and the SHA-256 of its `SubjectPublicKeyInfo` in hexadecimal.
    #[must_use]
    pub fn id(&self) -> String {
        format!("sha256:{}", hex::encode(Sha256::digest(&self.spki)))
    }

    /// Whether `signature` is one of this key over `message`.
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        match self.algorithm {
            Algorithm::Ed25519 => UnparsedPublicKey::new(&ED25519, self.raw()),
            Algorithm::EcdsaP256 => UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, self.raw()),
        }
        .verify(message, signature)
        .is_ok()
    }
}

/// The bytes between the one pair of lines `-----BEGIN label-----` and `-----END label-----`.
pub(crate) fn read_pem(label: &str, text: &str, limit: usize) -> Result<Vec<u8>, SignerError> {
    let bad = |because: &str| SignerError::not_a_key(format!("it is no `{label}` in PEM{because}"));
    if text.len() > limit {
        return Err(bad(": it is too long"));
    }
    let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----"));
    let (_, rest) = text.split_once(&begin).ok_or_else(|| bad(""))?;
    let (body, after) = rest.split_once(&end).ok_or_else(|| bad(": its last line is missing"))?;
    if after.contains("-----BEGIN") || body.contains("-----") {
        return Err(bad(": it holds more than one"));
    }
    let body: String = body.split_ascii_whitespace().collect();
    BASE64_STANDARD.decode(body).map_err(|_| bad(": its text is not base64"))
}

pub(crate) fn write_pem(label: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let mut out = format!("-----BEGIN {label}-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, later) = rest.split_at(rest.len().min(64));
        out.push_str(line);
        out.push('\n');
        rest = later;
    }
    out.push_str(&format!("-----END {label}-----\n"));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key of RFC 8410, section 10.1.
    const RFC8410: &str = "-----BEGIN PUBLIC KEY-----\n\
        MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n\
        -----END PUBLIC KEY-----\n";

    #[test]
    fn a_key_reads_back_as_it_was_written() {
        let key = PublicKey::from_pem(RFC8410).unwrap();
        assert_eq!(key.algorithm(), Algorithm::Ed25519);
        assert_eq!(key.raw().len(), 32);
        assert_eq!(key.to_pem(), RFC8410);
        assert_eq!(PublicKey::from_raw(Algorithm::Ed25519, key.raw()).unwrap(), key);
    }

    #[test]
    fn anything_else_is_refused() {
        let two = format!("{RFC8410}{RFC8410}");
        let private = RFC8410.replace("PUBLIC", "PRIVATE");
        let cut = RFC8410.replace("ZuE=", "");
        for bad in ["", "key", &two, &private, &cut, &RFC8410.replace("END", "FIN")] {
            assert!(PublicKey::from_pem(bad).is_err(), "{bad}");
        }
        for length in [0, 31, 33, 64, 65] {
            assert!(PublicKey::from_raw(Algorithm::Ed25519, &vec![4; length]).is_err());
        }
        assert!(PublicKey::from_raw(Algorithm::EcdsaP256, &[2; 33]).is_err());
    }
}
