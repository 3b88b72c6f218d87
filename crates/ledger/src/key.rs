//! Ed25519 keys of the ledger, named as signed notes name them (C2SP signed-note, "Signatures").

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, KeypairBytes};
use ed25519_dalek::{Signature, Signer as _};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::ops::Deref;

/// The signature type byte of Ed25519 in key ids and verifier keys.
const ALG_ED25519: u8 = 0x01;

/// The signature type byte of Ed25519 cosignatures (C2SP tlog-cosignature, "Format").
const ALG_COSIGNATURE: u8 = 0x04;

/// Longest accepted key name, in bytes: names stand in every checkpoint and every envelope.
const MAX_NAME: usize = 200;

/// Why a key, or a key's name, cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The name breaks the rules of signed notes, or ours.
    #[error(
        "`{name}` cannot name a ledger: a name is 1 to 200 printable ASCII characters without spaces, `+`, `\"` or `\\`"
    )]
    Name {
        /// The name as given.
        name: String,
    },
    /// The text is not a verifier key of the form `name+hash+base64`.
    #[error("not a verifier key of the form `name+hash+base64`: {because}")]
    Verifier {
        /// What is wrong with it.
        because: &'static str,
    },
    /// The text is not an Ed25519 private key in PKCS#8 PEM.
    #[error("not an Ed25519 private key in PKCS#8 PEM form")]
    Pem,
}

fn check_name(name: &str) -> Result<(), KeyError> {
    let fine = |b: u8| b.is_ascii_graphic() && !matches!(b, b'+' | b'"' | b'\\');
    if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(fine) {
        return Err(KeyError::Name { name: name.chars().take(MAX_NAME).collect() });
    }
    Ok(())
}

/// The key id: the first four bytes of `SHA-256(name || 0x0A || algorithm || public key)`.
fn key_id(name: &str, algorithm: u8, public: &[u8; 32]) -> [u8; 4] {
    let hasher = Sha256::new().chain_update(name).chain_update([b'\n', algorithm]);
    let [a, b, c, d, ..]: [u8; 32] = hasher.chain_update(public).finalize().into();
    [a, b, c, d]
}

/// Name, key id and key of a `name+hash+base64` text whose key is of `algorithm`.
fn parse_vkey(
    text: &str,
    algorithm: u8,
) -> Result<(&str, [u8; 4], ed25519_dalek::VerifyingKey), KeyError> {
    let bad = |because| KeyError::Verifier { because };
    let mut parts = text.trim().splitn(3, '+');
    let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(bad("it does not have three parts"));
    };
    let key = BASE64_STANDARD.decode(key).map_err(|_| bad("the key is not base64"))?;
    let public = match key.split_first() {
        Some((found, public)) if *found == algorithm => public,
        _ if algorithm == ALG_COSIGNATURE => {
            return Err(bad("the key is not a witness's Ed25519 key"));
        }
        _ => return Err(bad("the key is not an Ed25519 key")),
    };
    let public = public.try_into().map_err(|_| bad("the key is not 32 bytes long"))?;
    let public = ed25519_dalek::VerifyingKey::from_bytes(public)
        .map_err(|_| bad("the key is not a point of the curve"))?;
    check_name(name)?;
    let computed = key_id(name, algorithm, public.as_bytes());
    if hex::encode(computed) != id {
        return Err(bad("the hash is not the hash of this name and key"));
    }
    Ok((name, computed, public))
}

/// The `name+hash+base64` text of a key.
fn write_vkey(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    id: [u8; 4],
    algorithm: u8,
    public: &ed25519_dalek::VerifyingKey,
) -> fmt::Result {
    let key = [&[algorithm][..], public.as_bytes()].concat();
    write!(f, "{name}+{}+{}", hex::encode(id), BASE64_STANDARD.encode(key))
}

/// A ledger's private key. Its `Debug` shows the public half only.
pub struct SigningKey {
    secret: ed25519_dalek::SigningKey,
    verifier: VerifierKey,
}

impl SigningKey {
    /// The key of a 32-byte seed from a cryptographic random source; `name` is the ledger's origin.
    ///
    /// # Errors
    /// When the name cannot name a ledger.
    pub fn from_seed(name: &str, seed: [u8; 32]) -> Result<Self, KeyError> {
        Self::new(name, ed25519_dalek::SigningKey::from_bytes(&seed))
    }

    /// The key in a PKCS#8 PEM text (RFC 8410), as [`SigningKey::to_pem`] or OpenSSL writes it.
    ///
    /// # Errors
    /// When the text holds no Ed25519 private key, or the name cannot name a ledger.
    pub fn from_pem(name: &str, pem: &str) -> Result<Self, KeyError> {
        let secret = ed25519_dalek::SigningKey::from_pkcs8_pem(pem).map_err(|_| KeyError::Pem)?;
        Self::new(name, secret)
    }

    fn new(name: &str, secret: ed25519_dalek::SigningKey) -> Result<Self, KeyError> {
        let verifier = VerifierKey::new(name, secret.verifying_key())?;
        Ok(Self { secret, verifier })
    }

    /// The private key as PKCS#8 PEM text, in memory that is wiped when dropped.
    ///
    /// # Errors
    /// When the key cannot be encoded.
    pub fn to_pem(&self) -> Result<impl Deref<Target = String> + use<>, KeyError> {
        // Version 1, without the public key: OpenSSL does not read version 2.
        let bytes = KeypairBytes { secret_key: self.secret.to_bytes(), public_key: None };
        bytes.to_pkcs8_pem(LineEnding::LF).map_err(|_| KeyError::Pem)
    }

    /// The public half.
    #[must_use]
    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// The key's name: the ledger's origin.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.verifier.name
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.secret.sign(message).to_bytes()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({}, secret hidden)", self.verifier)
    }
}

/// A ledger's public key, written `name+hash+base64` (a "vkey").
#[derive(Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: [u8; 4],
    public: ed25519_dalek::VerifyingKey,
}

impl VerifierKey {
    fn new(name: &str, public: ed25519_dalek::VerifyingKey) -> Result<Self, KeyError> {
        check_name(name)?;
        let id = key_id(name, ALG_ED25519, public.as_bytes());
        Ok(Self { id, name: name.to_owned(), public })
    }

    /// Reads a verifier key of the form `name+hash+base64`; white space around it is ignored.
    ///
    /// # Errors
    /// When the text has another form, another algorithm than Ed25519, or a hash that is not the key's.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let (name, id, public) = parse_vkey(text, ALG_ED25519)?;
        Ok(Self { name: name.to_owned(), id, public })
    }

    /// The key's name: the ledger's origin.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The first four bytes of the hash of name and key, as in each signature line.
    #[must_use]
    pub fn id(&self) -> [u8; 4] {
        self.id
    }

    /// `name+hash`, which names the key in an envelope.
    #[must_use]
    pub fn key_id(&self) -> String {
        format!("{}+{}", self.name, hex::encode(self.id))
    }

    /// Whether `signature` is this key's over `message`, by the strict rules: no second form of a
    /// signature is accepted, and no weak key.
    pub(crate) fn accepts(&self, message: &[u8], signature: &[u8]) -> bool {
        let Ok(signature) = Signature::from_slice(signature) else { return false };
        self.public.verify_strict(message, &signature).is_ok()
    }

    /// Whether each of `signatures` is this key's over its message, all at once: a third of the time.
    /// Nobody without the key can make one that passes; see `dsse::verify_envelopes` for what may
    /// pass here alone.
    pub(crate) fn accepts_all(&self, messages: &[&[u8]], signatures: &[&[u8]]) -> bool {
        let read: Result<Vec<Signature>, _> =
            signatures.iter().map(|s| Signature::from_slice(s)).collect();
        let Ok(signatures) = read else { return false };
        let keys = vec![self.public; signatures.len()];
        !self.public.is_weak() && ed25519_dalek::verify_batch(messages, &signatures, &keys).is_ok()
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_vkey(f, &self.name, self.id, ALG_ED25519, &self.public)
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for VerifierKey {
    type Err = KeyError;
    fn from_str(text: &str) -> Result<Self, KeyError> {
        Self::parse(text)
    }
}

/// A witness's public key, written `name+hash+base64` with the signature type of cosignatures.
///
/// It is another type than a ledger's key: a signature of the one can never pass for the other's.
#[derive(Clone, PartialEq, Eq)]
pub struct WitnessKey {
    name: String,
    id: [u8; 4],
    public: ed25519_dalek::VerifyingKey,
}

impl WitnessKey {
    /// Reads a witness's key of the form `name+hash+base64`.
    ///
    /// # Errors
    /// When the text has another form, is a ledger's key, or its hash is not the key's.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let (name, id, public) = parse_vkey(text, ALG_COSIGNATURE)?;
        Ok(Self { name: name.to_owned(), id, public })
    }

    /// The witness's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The first four bytes of the hash of name and key, as in each signature line.
    #[must_use]
    pub fn id(&self) -> [u8; 4] {
        self.id
    }

    /// Whether `signature` is this witness's over `message`, by the strict rules.
    pub(crate) fn accepts(&self, message: &[u8], signature: &[u8]) -> bool {
        let Ok(signature) = Signature::from_slice(signature) else { return false };
        self.public.verify_strict(message, &signature).is_ok()
    }
}

impl fmt::Display for WitnessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_vkey(f, &self.name, self.id, ALG_COSIGNATURE, &self.public)
    }
}

impl fmt::Debug for WitnessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for WitnessKey {
    type Err = KeyError;
    fn from_str(text: &str) -> Result<Self, KeyError> {
        Self::parse(text)
    }
}

impl SigningKey {
    /// The witness's public half of this key. A witness has a key of its own: cosignatures do not
    /// name their signer, so one key must not serve two of them.
    #[must_use]
    pub fn witness(&self) -> WitnessKey {
        let public = self.verifier.public;
        let name = self.verifier.name.clone();
        WitnessKey { id: key_id(&name, ALG_COSIGNATURE, public.as_bytes()), name, public }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verifier_key_of_the_go_note_package_parses() {
        let text = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
        let key = VerifierKey::parse(text).unwrap();
        assert_eq!(key.to_string(), text);
        assert_eq!((key.name(), key.key_id().as_str()), ("PeterNeumann", "PeterNeumann+c74f20a3"));
    }

    #[test]
    fn other_verifier_keys_are_rejected() {
        let good = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
        for bad in [
            "",
            "PeterNeumann",
            "PeterNeumann+c74f20a3",
            &good.replace("c74f20a3", "c74f20a4"),
            &good.replace("c74f20a3", "C74F20A3"),
            &good.replace("PeterNeumann", "Peter Neumann"),
            &good.replace("PeterNeumann", ""),
            &good.replace("ARpc", "AhpC"),
            &good.replace("10TW", ""),
        ] {
            assert!(VerifierKey::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_pem_round_trips_and_debug_hides_the_secret() {
        let key = SigningKey::from_seed("ledger.example/a", [7; 32]).unwrap();
        let pem = key.to_pem().unwrap();
        assert!(pem.starts_with("-----BEGIN PRIVATE KEY-----\n"));
        let again = SigningKey::from_pem("ledger.example/a", &pem).unwrap();
        assert_eq!(again.verifier(), key.verifier());
        let shown = format!("{key:?}");
        assert!(!shown.contains(&hex::encode([7; 32])) && !shown.contains("7, 7"), "{shown}");
        assert!(SigningKey::from_pem("ledger.example/a", "-----BEGIN").is_err());
    }

    #[test]
    fn the_key_id_agrees_with_the_reference_implementation() {
        let key = SigningKey::from_seed("ledger.example/a", [9; 32]).unwrap();
        let public = ed25519_dalek::SigningKey::from_bytes(&[9; 32]).verifying_key();
        let want = signed_note::new_ed25519_verifier_key("ledger.example/a", &public);
        assert_eq!(key.verifier().to_string(), want);
    }
}
