//! Which algorithms and keys a proof rests on. Whether they are too weak is for policy to say.

use serde::{Deserialize, Serialize};
use std::fmt;

/// [`AlgorithmUse::place`] of a digest that an index, lock file or signed list gives and that the
/// bytes have.
pub const INDEX_DIGEST: &str = "index digest";

/// [`AlgorithmUse::place`] of a digest that an index gives in an algorithm that is not computed.
pub const INDEX_DIGEST_NOT_COMPARED: &str = "index digest, not compared";

/// One algorithm or key that was met in a proof.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AlgorithmUse {
    /// The name, in lower case: `sha256`, `md5`, `rsa`, `dsa`, `ecdsa-p256`, `ed25519`; of what
    /// nobody here knows its object identifier.
    pub name: String,
    /// Bits of the key, of algorithms that have keys of several sizes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bits: Option<u32>,
    /// Where: `certificate key`, `certificate signature`, `OpenPGP signature`, `index digest`.
    pub place: String,
    /// A proof may be given in several ways, of which one is enough (two signatures over one list,
    /// two digests of one file). What belongs to the same way has the same number.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub alternative: u32,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde wants")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

impl AlgorithmUse {
    /// An algorithm whose strength has no size.
    #[must_use]
    pub fn new(name: impl Into<String>, place: impl Into<String>) -> Self {
        Self { name: name.into(), bits: None, place: place.into(), alternative: 0 }
    }

    /// The same with a key of `bits`.
    #[must_use]
    pub fn of_bits(mut self, bits: Option<u32>) -> Self {
        self.bits = bits;
        self
    }

    /// The same as part of another way to prove the same.
    #[must_use]
    pub fn in_way(mut self, alternative: u32) -> Self {
        self.alternative = alternative;
        self
    }

    /// Name and size in one word, as policies see it: `rsa-2048`, `sha256`.
    #[must_use]
    pub fn label(&self) -> String {
        match self.bits {
            Some(bits) => format!("{}-{bits}", self.name),
            None => self.name.clone(),
        }
    }
}

impl fmt::Display for AlgorithmUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.label(), self.place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_use_is_written_short_and_read_again() {
        let rsa = AlgorithmUse::new("rsa", "certificate key").of_bits(Some(2048)).in_way(1);
        assert_eq!(
            (rsa.label().as_str(), rsa.to_string().as_str()),
            ("rsa-2048", "rsa-2048 (certificate key)")
        );
        let sha256 = AlgorithmUse::new("sha256", INDEX_DIGEST);
        for one in [rsa, sha256] {
            let text = serde_json::to_string(&one).unwrap();
            assert_eq!(serde_json::from_str::<AlgorithmUse>(&text).unwrap(), one);
        }
        let text = serde_json::to_string(&AlgorithmUse::new("md5", INDEX_DIGEST)).unwrap();
        assert_eq!(text, r#"{"name":"md5","place":"index digest"}"#);
    }
}
