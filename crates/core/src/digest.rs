//! Digests of artifacts: what was computed, and what somebody else said it should be.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::str::FromStr;

/// The SHA-256 digest of an artifact's bytes: the identity under which the gate knows it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sha256Digest(pub [u8; 32]);

impl Sha256Digest {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The digest in lower-case hexadecimal, 64 characters.
    #[must_use]
    pub fn to_hex(self) -> String {
        hex::encode(self.0)
    }

    /// The first 12 hexadecimal characters, for people.
    #[must_use]
    pub fn short(self) -> String {
        self.to_hex().chars().take(12).collect()
    }
}

impl FromStr for Sha256Digest {
    type Err = DigestError;
    fn from_str(s: &str) -> Result<Self, DigestError> {
        let s = s.strip_prefix("sha256:").unwrap_or(s);
        let mut out = [0u8; 32];
        hex::decode_to_slice(s, &mut out).map_err(|_| DigestError { text: s.to_owned() })?;
        Ok(Self(out))
    }
}

impl fmt::Display for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

impl fmt::Debug for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.to_hex())
    }
}

impl Serialize for Sha256Digest {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.to_hex())
    }
}

impl<'de> Deserialize<'de> for Sha256Digest {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A text that is no digest of the expected kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a hexadecimal digest of the expected length")]
pub struct DigestError {
    /// The text as given.
    pub text: String,
}

/// A digest algorithm that an index may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// MD5: broken; read, compared, never sufficient.
    Md5,
    /// SHA-1: broken; read, compared, never sufficient.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    /// The algorithm's name as indexes spell it (`sha256`).
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// The algorithm of that name, in any case and with or without a dash.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().replace('-', "").as_str() {
            "md5" => Some(Self::Md5),
            "sha1" => Some(Self::Sha1),
            "sha256" => Some(Self::Sha256),
            "sha384" => Some(Self::Sha384),
            "sha512" => Some(Self::Sha512),
            _ => None,
        }
    }

    /// Length of the digest in bytes.
    #[must_use]
    pub fn digest_len(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// Whether a match under this algorithm alone says nothing against an attacker.
    #[must_use]
    pub fn is_weak(self) -> bool {
        matches!(self, Self::Md5 | Self::Sha1)
    }
}

/// What an index, a lock file or a signed list says an artifact's digest is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExpectedDigest {
    algorithm: Algorithm,
    bytes: Vec<u8>,
}

impl ExpectedDigest {
    /// A digest from its hexadecimal text.
    ///
    /// # Errors
    /// When the text is not hexadecimal or not of the algorithm's length.
    pub fn from_hex(algorithm: Algorithm, text: &str) -> Result<Self, DigestError> {
        let err = || DigestError { text: text.chars().take(160).collect() };
        let bytes = hex::decode(text.trim()).map_err(|_| err())?;
        Self::from_bytes(algorithm, bytes).ok_or_else(err)
    }

    /// A digest from its bytes; `None` when the length is not the algorithm's.
    #[must_use]
    pub fn from_bytes(algorithm: Algorithm, bytes: Vec<u8>) -> Option<Self> {
        (bytes.len() == algorithm.digest_len()).then_some(Self { algorithm, bytes })
    }

    /// The algorithm.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The digest in lower-case hexadecimal.
    #[must_use]
    pub fn to_hex(&self) -> String {
        hex::encode(&self.bytes)
    }

    /// The digest's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Display for ExpectedDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.name(), self.to_hex())
    }
}

impl Serialize for ExpectedDigest {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ExpectedDigest {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        let bad = || serde::de::Error::custom(format!("`{text}` is not `algorithm:hex`"));
        let (name, value) = text.split_once(':').ok_or_else(bad)?;
        let algorithm = Algorithm::from_name(name).ok_or_else(bad)?;
        Self::from_hex(algorithm, value).map_err(serde::de::Error::custom)
    }
}

/// The digests that the gate computed over an artifact's bytes, all in one pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digests {
    /// SHA-256, always computed.
    pub sha256: Sha256Digest,
    /// The others that were asked for, for comparison with what an index says.
    pub others: Vec<ExpectedDigest>,
}

impl Digests {
    /// Whether `expected` holds: `Some(true)` equal, `Some(false)` different, `None` when that
    /// algorithm was not computed.
    #[must_use]
    pub fn matches(&self, expected: &ExpectedDigest) -> Option<bool> {
        if expected.algorithm == Algorithm::Sha256 {
            return Some(expected.bytes == self.sha256.0);
        }
        self.others
            .iter()
            .find(|d| d.algorithm == expected.algorithm)
            .map(|d| d.bytes == expected.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_is_checked() {
        assert!(ExpectedDigest::from_hex(Algorithm::Sha256, "00ff").is_err());
        assert!(ExpectedDigest::from_hex(Algorithm::Md5, &"0".repeat(32)).is_ok());
        assert!(ExpectedDigest::from_hex(Algorithm::Md5, &"g".repeat(32)).is_err());
    }

    #[test]
    fn an_algorithm_that_was_not_computed_is_no_match() {
        let d = Digests { sha256: Sha256Digest::of(b"x"), others: vec![] };
        let sha1 = ExpectedDigest::from_bytes(Algorithm::Sha1, vec![0; 20]).unwrap();
        assert_eq!(d.matches(&sha1), None);
        let right =
            ExpectedDigest::from_hex(Algorithm::Sha256, &Sha256Digest::of(b"x").to_hex()).unwrap();
        assert_eq!(d.matches(&right), Some(true));
        let wrong =
            ExpectedDigest::from_hex(Algorithm::Sha256, &Sha256Digest::of(b"y").to_hex()).unwrap();
        assert_eq!(d.matches(&wrong), Some(false));
    }
}
