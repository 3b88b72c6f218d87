//! Which algorithms and keys a proof was made with, by the names that policy knows them by.
//!
//! What is too weak is decided in one place, the policy's `algorithms.toml`. Here stands only what this
//! crate can verify at all: a signature by what its libraries do not compute proves nothing, and is
//! refused with the algorithm that was met, so that policy sees why.

use crate::error::EvidenceError;
use countersign_core::AlgorithmUse;
use sigstore_types::DerPublicKey;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};

/// Bits of the smallest RSA key that a signature is verified with (NIST SP 800-131A rev. 2, table 2).
pub const RSA_VERIFIABLE: u32 = 2048;

/// Object identifiers of signature algorithms: the digest and the kind of key, and whether they can be
/// verified.
const SIGNATURES: &[(&str, &str, &str, bool)] = &[
    ("1.2.840.10045.4.3.2", "sha256", "ecdsa", true),
    ("1.2.840.10045.4.3.3", "sha384", "ecdsa", true),
    ("1.2.840.10045.4.3.4", "sha512", "ecdsa", true),
    ("1.2.840.113549.1.1.11", "sha256", "rsa", true),
    ("1.2.840.113549.1.1.12", "sha384", "rsa", true),
    ("1.2.840.113549.1.1.13", "sha512", "rsa", true),
    // RSASSA-PSS names its digest in parameters; what verifies it knows SHA-256 and longer ones.
    ("1.2.840.113549.1.1.10", "", "rsa-pss", true),
    ("1.3.101.112", "", "ed25519", true),
    ("2.16.840.1.101.3.4.3.17", "", "ml-dsa-44", true),
    ("2.16.840.1.101.3.4.3.18", "", "ml-dsa-65", true),
    ("2.16.840.1.101.3.4.3.19", "", "ml-dsa-87", true),
    ("1.2.840.113549.1.1.2", "md2", "rsa", false),
    ("1.2.840.113549.1.1.4", "md5", "rsa", false),
    ("1.2.840.113549.1.1.5", "sha1", "rsa", false),
    ("1.2.840.113549.1.1.14", "sha224", "rsa", false),
    ("1.2.840.10045.4.1", "sha1", "ecdsa", false),
    ("1.2.840.10045.4.3.1", "sha224", "ecdsa", false),
    ("1.2.840.10040.4.3", "sha1", "dsa", false),
    ("2.16.840.1.101.3.4.3.1", "sha224", "dsa", false),
    ("2.16.840.1.101.3.4.3.2", "sha256", "dsa", false),
];

/// Curves by their object identifiers, and whether signatures on them can be verified.
const CURVES: &[(&str, &str, bool)] = &[
    ("1.2.840.10045.3.1.7", "ecdsa-p256", true),
    ("1.3.132.0.34", "ecdsa-p384", true),
    ("1.3.132.0.35", "ecdsa-p521", true),
    ("1.2.840.10045.3.1.1", "ecdsa-p192", false),
    ("1.3.132.0.33", "ecdsa-p224", false),
    ("1.3.132.0.10", "ecdsa-secp256k1", false),
];

/// Kinds of keys without parameters, and whether their signatures can be verified.
const KEYS: &[(&str, &str, bool)] = &[
    ("1.3.101.112", "ed25519", true),
    ("2.16.840.1.101.3.4.3.17", "ml-dsa-44", true),
    ("2.16.840.1.101.3.4.3.18", "ml-dsa-65", true),
    ("2.16.840.1.101.3.4.3.19", "ml-dsa-87", true),
    ("1.2.840.10040.4.1", "dsa", false),
];

const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// What a signature algorithm is made of, and whether it can be verified.
fn signature(what: &str, oid: &str) -> (Vec<AlgorithmUse>, bool) {
    let place = format!("{what} signature");
    match SIGNATURES.iter().find(|(known, ..)| *known == oid) {
        Some((_, digest, key, verifiable)) => {
            // The size of the key is told where the key stands.
            let named_by_key = ["rsa", "rsa-pss", "ecdsa"].contains(key) && *verifiable;
            let key = Some(*key).filter(|_| !named_by_key);
            let digest = Some(*digest).filter(|d| !d.is_empty());
            let names = digest.into_iter().chain(key);
            (names.map(|n| AlgorithmUse::new(n, place.clone())).collect(), *verifiable)
        }
        None => (vec![AlgorithmUse::new(oid, place)], false),
    }
}

/// The algorithms of a signature that stands in `what`.
///
/// # Errors
/// When it cannot be verified.
pub(crate) fn check_signature(
    what: &'static str,
    algorithm: &AlgorithmIdentifierOwned,
) -> Result<Vec<AlgorithmUse>, EvidenceError> {
    let (seen, verifiable) = signature(what, &algorithm.oid.to_string());
    if verifiable { Ok(seen) } else { Err(EvidenceError::weak(what, seen)) }
}

/// What a public key is, and whether its signatures can be verified.
fn key(what: &str, key: &SubjectPublicKeyInfoOwned) -> (AlgorithmUse, bool) {
    let place = format!("{what} key");
    let oid = key.algorithm.oid;
    let of = |table: &[(&str, &str, bool)], id: String| match table.iter().find(|r| r.0 == id) {
        Some((_, name, verifiable)) => (AlgorithmUse::new(*name, place.clone()), *verifiable),
        None => (AlgorithmUse::new(id, place.clone()), false),
    };
    if oid == EC {
        let curve = key.algorithm.parameters.as_ref();
        let curve = curve.and_then(|p| p.decode_as::<ObjectIdentifier>().ok());
        return of(
            CURVES,
            curve.map_or_else(|| "a-curve-of-its-own".to_owned(), |c| c.to_string()),
        );
    }
    if oid == RSA {
        let bits = rsa_bits(key.subject_public_key.raw_bytes());
        let verifiable = bits.is_some_and(|b| b >= RSA_VERIFIABLE);
        return (AlgorithmUse::new("rsa", place).of_bits(bits), verifiable);
    }
    of(KEYS, oid.to_string())
}

/// The kind and the size of a public key that stands in `what`.
///
/// # Errors
/// When its signatures cannot be verified.
pub(crate) fn check_key(
    what: &'static str,
    info: &SubjectPublicKeyInfoOwned,
) -> Result<AlgorithmUse, EvidenceError> {
    let (seen, verifiable) = key(what, info);
    if verifiable { Ok(seen) } else { Err(EvidenceError::weak(what, vec![seen])) }
}

/// The algorithms of a certificate: that of its issuer's signature, and its key.
///
/// # Errors
/// When one of them cannot be verified.
pub(crate) fn check_certificate(
    what: &'static str,
    certificate: &Certificate,
) -> Result<Vec<AlgorithmUse>, EvidenceError> {
    let mut seen = check_signature(what, &certificate.signature_algorithm)?;
    seen.push(check_key(what, &certificate.tbs_certificate.subject_public_key_info)?);
    Ok(seen)
}

/// A key in DER that signed `what`, and the digest that it signs; nothing where it cannot be read,
/// which its user finds out.
pub(crate) fn of_signing_key(what: &str, spki: &DerPublicKey) -> Vec<AlgorithmUse> {
    let Ok(info) = SubjectPublicKeyInfoOwned::from_der(spki.as_bytes()) else { return Vec::new() };
    let (key, _) = key(what, &info);
    let digest = signed_digest(what, &key);
    std::iter::once(key).chain(digest).collect()
}

/// The digest that a key of this kind signs in Sigstore (its algorithm registry); Ed25519 and ML-DSA
/// sign the message itself.
pub(crate) fn signed_digest(what: &str, key: &AlgorithmUse) -> Option<AlgorithmUse> {
    let digest = match key.name.as_str() {
        "ecdsa-p256" | "rsa" => "sha256",
        "ecdsa-p384" => "sha384",
        "ecdsa-p521" => "sha512",
        _ => return None,
    };
    Some(AlgorithmUse::new(digest, format!("{what} signature")))
}

/// Bits of the modulus of an `RSAPublicKey` (RFC 8017, appendix A.1.1).
fn rsa_bits(der: &[u8]) -> Option<u32> {
    use x509_cert::der::{Header, Reader as _, SliceReader, Tag};
    let mut reader = SliceReader::new(der).ok()?;
    let sequence = Header::decode(&mut reader).ok()?;
    let modulus = Header::decode(&mut reader).ok()?;
    if sequence.tag != Tag::Sequence || modulus.tag != Tag::Integer {
        return None;
    }
    let bytes = reader.read_slice(modulus.length).ok()?;
    let first = bytes.iter().position(|b| *b != 0)?;
    let head = bytes.get(first)?;
    u32::try_from((bytes.len() - first) * 8).ok()?.checked_sub(head.leading_zeros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_named_once_and_tells_what_policy_can_judge() {
        for (i, (oid, digest, key, verifiable)) in SIGNATURES.iter().enumerate() {
            assert!(SIGNATURES.iter().skip(i + 1).all(|(o, ..)| o != oid), "{oid}");
            let (seen, can) = signature("certificate", oid);
            assert_eq!(can, *verifiable, "{oid}");
            assert_eq!(seen.iter().any(|u| u.name == *digest), !digest.is_empty(), "{oid} {key}");
        }
        let (seen, verifiable) = signature("certificate", "1.2.3");
        assert_eq!(seen, [AlgorithmUse::new("1.2.3", "certificate signature")]);
        assert!(!verifiable);
        let (seen, _) = signature("certificate", "1.2.840.10040.4.3");
        assert_eq!(seen.iter().map(AlgorithmUse::label).collect::<Vec<_>>(), ["sha1", "dsa"]);
    }

    #[test]
    fn the_size_of_an_rsa_key_is_its_modulus_s() {
        let wrap = |tag: u8, body: &[u8]| {
            let length = u16::try_from(body.len()).unwrap().to_be_bytes();
            let head = if length[0] == 0 { vec![tag, 0x81, length[1]] } else { vec![tag, 0x82] };
            let rest: &[u8] = if length[0] == 0 { &[] } else { &length };
            [&head, rest, body].concat()
        };
        let key = |bits: u32| {
            let mut modulus = vec![0, 0x80];
            modulus.resize(1 + usize::try_from(bits).unwrap() / 8, 1);
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
