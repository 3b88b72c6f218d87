//! Keys in files: PKCS#8 under a passphrase (`EncryptedPrivateKeyInfo`, RFC 5958 section 3), which
//! OpenSSL reads and writes as well.
//!
//! The key that encrypts is derived by scrypt with 16 MiB of memory (RFC 7914), the cipher is
//! AES-256 in CBC mode (RFC 8018, PBES2). What others wrote with PBKDF2 is read too. CBC detects no
//! alteration: an altered file gives another key, whose public half is not the one that was asked
//! for, and [`crate::sign`] finds that.

use crate::Signer;
use crate::error::SignerError;
use crate::public::{Algorithm, PublicKey, read_pem, write_pem};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
};
use pkcs5::EncryptionScheme;
use pkcs5::der::asn1::OctetStringRef;
use pkcs5::der::{Decode as _, Encode, Reader as _, SliceReader};
use pkcs5::pbes2::{Kdf, Parameters, Pbkdf2Params, ScryptParams};
use zeroize::Zeroizing;

const LABEL: &str = "ENCRYPTED PRIVATE KEY";

/// Longest key file that is read, in bytes.
const MAX_FILE: usize = 16 << 10;

/// Memory that a key's file may make scrypt take, in bytes.
const MAX_SCRYPT: u64 = 256 << 20;

/// Rounds that a key's file may make PBKDF2 take.
const MAX_PBKDF2: u32 = 10_000_000;

/// The cost of scrypt in the files that are written: 2 to the power of the first times 1 KiB of
/// memory, so often after one another. OpenSSL takes no more memory than this without being told.
const SCRYPT: (u8, u32) = (14, 5);

enum Pair {
    Ed25519(Ed25519KeyPair),
    EcdsaP256(EcdsaKeyPair),
}

/// A private key in memory.
pub struct FileKey {
    pair: Pair,
    public: PublicKey,
}

impl std::fmt::Debug for FileKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FileKey({}, secret hidden)", self.public.id())
    }
}

impl FileKey {
    /// The key of an unencrypted `PrivateKeyInfo` in DER.
    fn from_pkcs8(der: &[u8]) -> Result<Self, SignerError> {
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8(der) {
            let public = PublicKey::from_raw(Algorithm::Ed25519, pair.public_key().as_ref())?;
            return Ok(Self { pair: Pair::Ed25519(pair), public });
        }
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der);
        let pair = pair.map_err(|_| {
            SignerError::not_a_key("a private key is Ed25519 or ECDSA on P-256, in PKCS#8")
        })?;
        let public = PublicKey::from_raw(Algorithm::EcdsaP256, pair.public_key().as_ref())?;
        Ok(Self { pair: Pair::EcdsaP256(pair), public })
    }

    fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, SignerError> {
        let failed = |_| SignerError::Generate { because: "it cannot be encoded".to_owned() };
        let document = match &self.pair {
            Pair::Ed25519(pair) => pair.to_pkcs8v1().map_err(failed)?,
            Pair::EcdsaP256(pair) => pair.to_pkcs8v1().map_err(failed)?,
        };
        Ok(Zeroizing::new(document.as_ref().to_vec()))
    }
}

impl Signer for FileKey {
    fn public(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignerError> {
        match &self.pair {
            Pair::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Pair::EcdsaP256(pair) => pair
                .sign(&SystemRandom::new(), message)
                .map(|s| s.as_ref().to_vec())
                .map_err(|_| SignerError::Generate { because: "no randomness".to_owned() }),
        }
    }
}

/// Makes a key.
///
/// # Errors
/// When the system has no randomness.
pub fn generate(algorithm: Algorithm) -> Result<FileKey, SignerError> {
    let failed = |_| SignerError::Generate { because: "no randomness".to_owned() };
    let der = match algorithm {
        Algorithm::Ed25519 => {
            let pair = Ed25519KeyPair::generate().map_err(failed)?;
            Zeroizing::new(pair.to_pkcs8v1().map_err(failed)?.as_ref().to_vec())
        }
        Algorithm::EcdsaP256 => {
            let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map_err(failed)?;
            Zeroizing::new(pair.to_pkcs8v1().map_err(failed)?.as_ref().to_vec())
        }
    };
    FileKey::from_pkcs8(&der)
}

/// The key as an encrypted PEM text.
///
/// # Errors
/// When the passphrase is empty, or the system has no randomness.
pub fn encrypt(key: &FileKey, passphrase: &str) -> Result<String, SignerError> {
    let failed = |because: String| SignerError::Generate { because };
    if passphrase.is_empty() {
        return Err(failed("an empty passphrase protects nothing".to_owned()));
    }
    let (mut salt, mut iv) = ([0; 16], [0; 16]);
    for part in [&mut salt, &mut iv] {
        getrandom::fill(part).map_err(|e| failed(e.to_string()))?;
    }
    let cost = pkcs5::scrypt::Params::new(SCRYPT.0, 8, SCRYPT.1, 32);
    let cost = cost.map_err(|e| failed(e.to_string()))?;
    let scheme = Parameters::scrypt_aes256cbc(cost, &salt, &iv);
    let scheme = EncryptionScheme::from(scheme.map_err(|e| failed(e.to_string()))?);
    let sealed = scheme.encrypt(passphrase, &key.to_pkcs8()?).map_err(|e| failed(e.to_string()))?;
    let parts = OctetStringRef::new(&sealed)
        .and_then(|sealed| Ok([to_der(&scheme)?, to_der(&sealed)?].concat()));
    Ok(write_pem(LABEL, &sequence(&parts.map_err(|e| failed(e.to_string()))?)))
}

fn to_der(value: &impl Encode) -> pkcs5::der::Result<Vec<u8>> {
    let mut out = vec![0; usize::try_from(value.encoded_len()?)?];
    value.encode_to_slice(&mut out)?;
    Ok(out)
}

/// A `SEQUENCE` of these contents; a key's are short of 64 KiB.
fn sequence(contents: &[u8]) -> Vec<u8> {
    let length = u16::try_from(contents.len()).unwrap_or(u16::MAX).to_be_bytes();
    let [high, low] = length;
    let head: &[u8] = match (high, low) {
        (0, 0..0x80) => &[0x30, low],
        (0, _) => &[0x30, 0x81, low],
        _ => &[0x30, 0x82, high, low],
    };
    [head, contents].concat()
}

/// The key in an encrypted PEM text.
///
/// # Errors
/// When the text is none, the passphrase is wrong, or the key is of another kind.
pub fn decrypt(pem: &str, passphrase: &str) -> Result<FileKey, SignerError> {
    if pem.contains("-----BEGIN PRIVATE KEY-----") {
        return Err(SignerError::not_a_key(
            "the file is not encrypted; encrypt it with `openssl pkcs8 -topk8 -scrypt`",
        ));
    }
    let der = read_pem(LABEL, pem, MAX_FILE)?;
    let bad = |e: pkcs5::der::Error| SignerError::not_a_key(format!("its encryption: {e}"));
    let mut reader = SliceReader::new(&der).map_err(bad)?;
    let (scheme, sealed) = reader
        .sequence(|inner| {
            let scheme = EncryptionScheme::decode(inner)?;
            let sealed = OctetStringRef::decode(inner)?;
            Ok((scheme, sealed))
        })
        .and_then(|read| reader.finish(read))
        .map_err(bad)?;
    check_cost(&scheme)?;
    let opened = scheme.decrypt(passphrase, sealed.as_bytes());
    let opened = Zeroizing::new(opened.map_err(|_| SignerError::WrongPassphrase)?);
    // One wrong passphrase in 256 leaves a padding that looks right, around what is no key.
    if opened.first() != Some(&0x30) {
        return Err(SignerError::WrongPassphrase);
    }
    FileKey::from_pkcs8(&opened)
}

/// Refuses what would only keep the processor or the memory busy.
fn check_cost(scheme: &EncryptionScheme<'_>) -> Result<(), SignerError> {
    let too_much = |what: &str| {
        Err(SignerError::not_a_key(format!("opening it would take {what}; encrypt it anew")))
    };
    match scheme.pbes2().map(|p| &p.kdf) {
        Some(Kdf::Scrypt(ScryptParams { cost_parameter, block_size, parallelization, .. })) => {
            let memory = u64::from(*block_size).saturating_mul(128).saturating_mul(*cost_parameter);
            if memory > MAX_SCRYPT || *parallelization > 16 {
                return too_much(&format!("{memory} bytes of memory"));
            }
            Ok(())
        }
        Some(Kdf::Pbkdf2(Pbkdf2Params { iteration_count, .. })) => {
            if *iteration_count > MAX_PBKDF2 {
                return too_much(&format!("{iteration_count} rounds"));
            }
            Ok(())
        }
        _ => Err(SignerError::not_a_key("its encryption is not of PBES2 (RFC 8018)")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_sign_and_survive_their_file() {
        for algorithm in [Algorithm::Ed25519, Algorithm::EcdsaP256] {
            let key = generate(algorithm).unwrap();
            let pem = encrypt(&key, "correct horse").unwrap();
            assert!(pem.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"), "{pem}");
            let again = decrypt(&pem, "correct horse").unwrap();
            assert_eq!(again.public(), key.public());
            let signature = crate::sign(&again, b"message").unwrap();
            assert!(key.public().verify(b"message", &signature));
            assert!(!key.public().verify(b"massage", &signature));
            assert!(!generate(algorithm).unwrap().public().verify(b"message", &signature));
        }
    }

    #[test]
    fn a_wrong_passphrase_is_said_to_be_one() {
        let key = generate(Algorithm::Ed25519).unwrap();
        let pem = encrypt(&key, "correct horse").unwrap();
        for wrong in ["", "correct", "Correct horse", "correct horse "] {
            let e = decrypt(&pem, wrong).unwrap_err();
            assert!(matches!(e, SignerError::WrongPassphrase), "{wrong}: {e}");
        }
        assert!(encrypt(&key, "").is_err());
    }

    #[test]
    fn what_is_no_encrypted_key_is_refused() {
        let key = generate(Algorithm::EcdsaP256).unwrap();
        let plain = write_pem("PRIVATE KEY", &key.to_pkcs8().unwrap());
        let pem = encrypt(&key, "p").unwrap();
        let cut = pem.replacen("MI", "", 1);
        for bad in ["", "key", &plain, &cut, &pem.replace("ENCRYPTED", "OTHER")] {
            assert!(matches!(decrypt(bad, "p"), Err(SignerError::NotAKey { .. })), "{bad}");
        }
    }

    #[test]
    fn an_altered_file_never_gives_the_key() {
        let key = generate(Algorithm::Ed25519).unwrap();
        let pem = encrypt(&key, "p").unwrap();
        let der = read_pem(LABEL, &pem, MAX_FILE).unwrap();
        // The last block holds the end of the key, the one before it turns bits of that.
        for at in [der.len() - 1, der.len() - 17, der.len() - 33] {
            let mut other = der.clone();
            other[at] ^= 1;
            if let Ok(found) = decrypt(&write_pem(LABEL, &other), "p") {
                assert_ne!(found.public(), key.public(), "byte {at}");
            }
        }
    }

    #[test]
    fn a_cost_that_only_keeps_the_machine_busy_is_refused() {
        let salt = [0; 16];
        let cost = pkcs5::scrypt::Params::new(22, 8, 1, 32).unwrap();
        let dear = Parameters::scrypt_aes256cbc(cost, &salt, &[0; 16]).unwrap();
        assert!(check_cost(&dear.into()).is_err());
        let dear = Parameters::pbkdf2_sha256_aes256cbc(100_000_000, &salt, &[0; 16]).unwrap();
        assert!(check_cost(&dear.into()).is_err());
        let fine = Parameters::pbkdf2_sha256_aes256cbc(600_000, &salt, &[0; 16]).unwrap();
        assert!(check_cost(&fine.into()).is_ok());
    }
}
