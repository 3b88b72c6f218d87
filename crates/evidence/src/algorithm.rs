//! Which algorithms and keys still prove something: the one table, for every kind of evidence.
//!
//! What stands in it as broken is refused wherever it appears. What is only about to become too
//! weak has the date from which it is; policy may be stricter.

use crate::error::EvidenceError;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};

/// Bits of the smallest RSA key that is accepted (NIST SP 800-131A rev. 2, table 2).
pub const RSA_FLOOR: usize = 2048;
/// Bits of the smallest RSA key for strict policies (BSI TR-02102-1: 3000 and more since 2024).
pub const RSA_STRICT: usize = 3072;

/// How an algorithm stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strength {
    /// Nothing is known against it.
    Strong,
    /// Broken, or below the floor, since that date (`YYYY-MM`): proves nothing any more.
    Broken(&'static str),
    /// Nobody here knows it, which proves nothing either.
    Unknown,
}

/// Digest algorithms under the names that indexes, statements and OpenPGP give them.
#[must_use]
pub fn digest(name: &str) -> Strength {
    match name.to_ascii_lowercase().replace('-', "").as_str() {
        "sha256" | "sha384" | "sha512" | "sha3256" | "sha3384" | "sha3512" | "blake2b" => {
            Strength::Strong
        }
        // Collisions in public: Wang et al. 2004; SHAttered, February 2017.
        "md5" | "md4" | "md2" => Strength::Broken("2004-08"),
        "sha1" | "ripemd160" => Strength::Broken("2017-02"),
        // Not broken, but 112 bits and truncated: nobody needs it.
        "sha224" | "sha512224" => Strength::Broken("2023-12"),
        _ => Strength::Unknown,
    }
}

/// Object identifiers of signature algorithms, their names, and how they stand.
const SIGNATURES: &[(&str, &str, Strength)] = &[
    ("1.2.840.10045.4.3.2", "ECDSA with SHA-256", Strength::Strong),
    ("1.2.840.10045.4.3.3", "ECDSA with SHA-384", Strength::Strong),
    ("1.2.840.10045.4.3.4", "ECDSA with SHA-512", Strength::Strong),
    ("1.2.840.113549.1.1.11", "RSA with SHA-256", Strength::Strong),
    ("1.2.840.113549.1.1.12", "RSA with SHA-384", Strength::Strong),
    ("1.2.840.113549.1.1.13", "RSA with SHA-512", Strength::Strong),
    ("1.2.840.113549.1.1.10", "RSASSA-PSS", Strength::Strong),
    ("1.3.101.112", "Ed25519", Strength::Strong),
    ("2.16.840.1.101.3.4.3.17", "ML-DSA-44", Strength::Strong),
    ("2.16.840.1.101.3.4.3.18", "ML-DSA-65", Strength::Strong),
    ("2.16.840.1.101.3.4.3.19", "ML-DSA-87", Strength::Strong),
    ("1.2.840.113549.1.1.2", "RSA with MD2", Strength::Broken("2004-08")),
    ("1.2.840.113549.1.1.4", "RSA with MD5", Strength::Broken("2004-08")),
    ("1.2.840.113549.1.1.5", "RSA with SHA-1", Strength::Broken("2017-02")),
    ("1.2.840.113549.1.1.14", "RSA with SHA-224", Strength::Broken("2023-12")),
    ("1.2.840.10045.4.1", "ECDSA with SHA-1", Strength::Broken("2017-02")),
    ("1.2.840.10045.4.3.1", "ECDSA with SHA-224", Strength::Broken("2023-12")),
    ("1.2.840.10040.4.3", "DSA with SHA-1", Strength::Broken("2017-02")),
    ("2.16.840.1.101.3.4.3.1", "DSA with SHA-224", Strength::Broken("2023-02")),
    ("2.16.840.1.101.3.4.3.2", "DSA with SHA-256", Strength::Broken("2023-02")),
];

/// Curves of elliptic-curve keys that hold (FIPS 186-5); DSA left that standard in February 2023.
const CURVES: &[(&str, &str)] =
    &[("1.2.840.10045.3.1.7", "P-256"), ("1.3.132.0.34", "P-384"), ("1.3.132.0.35", "P-521")];

const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const ML_DSA: [&str; 3] =
    ["2.16.840.1.101.3.4.3.17", "2.16.840.1.101.3.4.3.18", "2.16.840.1.101.3.4.3.19"];

/// How the signature algorithm of that object identifier stands, and its name.
#[must_use]
pub fn signature(oid: &str) -> (String, Strength) {
    match SIGNATURES.iter().find(|(known, _, _)| *known == oid) {
        Some((_, name, strength)) => ((*name).to_owned(), *strength),
        None => (format!("signature algorithm {oid}"), Strength::Unknown),
    }
}

/// Checks that a signature algorithm is strong.
pub(crate) fn check_signature(
    what: &'static str,
    algorithm: &AlgorithmIdentifierOwned,
) -> Result<(), EvidenceError> {
    match signature(&algorithm.oid.to_string()) {
        (_, Strength::Strong) => Ok(()),
        (name, _) => Err(EvidenceError::Weak { what, algorithm: name }),
    }
}

/// Checks that a public key is of a known kind and large enough; what it is.
pub(crate) fn check_key(
    what: &'static str,
    key: &SubjectPublicKeyInfoOwned,
) -> Result<String, EvidenceError> {
    let weak = |algorithm: String| Err(EvidenceError::Weak { what, algorithm });
    let oid = key.algorithm.oid;
    if oid == EC {
        let curve = key.algorithm.parameters.as_ref();
        let curve = curve.and_then(|p| p.decode_as::<ObjectIdentifier>().ok());
        let Some(curve) = curve.map(|c| c.to_string()) else {
            return weak("a curve of its own".to_owned());
        };
        return match CURVES.iter().find(|(known, _)| *known == curve) {
            Some((_, name)) => Ok((*name).to_owned()),
            None => weak(format!("curve {curve}")),
        };
    }
    if oid == RSA {
        return match rsa_bits(key.subject_public_key.raw_bytes()) {
            Some(bits) if bits >= RSA_FLOOR => Ok(format!("RSA-{bits}")),
            Some(bits) => weak(format!("RSA with {bits} bits")),
            None => weak("RSA without a modulus".to_owned()),
        };
    }
    if oid == ED25519 {
        return Ok("Ed25519".to_owned());
    }
    if ML_DSA.contains(&oid.to_string().as_str()) {
        return Ok("ML-DSA".to_owned());
    }
    weak(format!("key algorithm {oid}"))
}

/// Bits of the modulus of an `RSAPublicKey` (RFC 8017, appendix A.1.1).
fn rsa_bits(der: &[u8]) -> Option<usize> {
    use x509_cert::der::{Decode as _, Header, Reader as _, SliceReader, Tag};
    let mut reader = SliceReader::new(der).ok()?;
    let sequence = Header::decode(&mut reader).ok()?;
    let modulus = Header::decode(&mut reader).ok()?;
    if sequence.tag != Tag::Sequence || modulus.tag != Tag::Integer {
        return None;
    }
    let bytes = reader.read_slice(modulus.length).ok()?;
    let first = bytes.iter().position(|b| *b != 0)?;
    let head = bytes.get(first)?;
    Some((bytes.len() - first) * 8 - usize::try_from(head.leading_zeros()).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_known_under_all_their_spellings() {
        for name in ["sha256", "SHA-256", "sha512", "SHA3-256"] {
            assert_eq!(digest(name), Strength::Strong, "{name}");
        }
        for name in ["md5", "MD5", "sha1", "SHA-1", "sha224", "SHA512-224"] {
            assert!(matches!(digest(name), Strength::Broken(_)), "{name}");
        }
        assert_eq!(digest("crc32"), Strength::Unknown);
        assert_eq!(digest(""), Strength::Unknown);
    }

    #[test]
    fn every_row_is_dated_and_named_once() {
        for (i, (oid, name, strength)) in SIGNATURES.iter().enumerate() {
            assert!(!name.is_empty());
            assert!(SIGNATURES.iter().skip(i + 1).all(|(o, _, _)| o != oid), "{oid}");
            if let Strength::Broken(since) = strength {
                assert!(since.len() == 7 && since.as_bytes()[4] == b'-', "{since}");
            }
        }
        assert_eq!(signature("1.2.3").1, Strength::Unknown);
    }

    #[test]
    fn the_size_of_an_rsa_key_is_its_modulus_s() {
        let wrap = |tag: u8, body: &[u8]| {
            let length = u16::try_from(body.len()).unwrap().to_be_bytes();
            let head = if length[0] == 0 { vec![tag, 0x81, length[1]] } else { vec![tag, 0x82] };
            let rest: &[u8] = if length[0] == 0 { &[] } else { &length };
            [&head, rest, body].concat()
        };
        let key = |bits: usize| {
            let mut modulus = vec![0, 0x80];
            modulus.resize(1 + bits / 8, 1);
            wrap(0x30, &[wrap(2, &modulus), vec![2, 3, 1, 0, 1]].concat())
        };
        for bits in [1024, 2048, 3072, 4096] {
            assert_eq!(rsa_bits(&key(bits)), Some(bits));
        }
        assert_eq!(rsa_bits(b""), None);
        assert_eq!(rsa_bits(&[0x30, 0]), None);
        assert_eq!(rsa_bits(&[0x30, 3, 2, 1, 0]), None);
    }
}
