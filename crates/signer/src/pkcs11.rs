//! Keys on tokens, reached through a PKCS#11 module (OASIS PKCS#11 v2.40 and 3.0).
//!
//! The module is a shared library of the token's maker that runs inside this process. It is loaded
//! when a key that names it is opened, and never otherwise.

use crate::Signer;
use crate::der::ecdsa_signature;
use crate::error::SignerError;
use crate::public::{Algorithm, PublicKey};
use crate::uri::TokenUri;
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use sha2::{Digest as _, Sha256};

/// The curve P-256 as an object identifier in DER (RFC 5480, section 2.1.1.1).
const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

/// Ed25519 as PKCS#11 3.0 names it: a `PrintableString` in DER; SoftHSM and others know this one.
const EDWARDS25519: &[u8] = b"\x13\x0cedwards25519";

/// A key on a token.
pub struct TokenKey {
    // The session ends before the module is let go.
    session: Session,
    private: ObjectHandle,
    public: PublicKey,
    _module: Pkcs11,
}

impl std::fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TokenKey({})", self.public.id())
    }
}

impl TokenKey {
    /// Opens the key that `uri` names, with the token's PIN.
    ///
    /// # Errors
    /// When the module cannot be loaded, the token or key is not there or not the only one, or the
    /// PIN is wrong.
    pub fn open(uri: &TokenUri, pin: &str) -> Result<Self, SignerError> {
        let (module, session) = log_in(uri, pin, false)?;
        let private = only(&session, uri, ObjectClass::PRIVATE_KEY, "private key")?;
        let public = only(&session, uri, ObjectClass::PUBLIC_KEY, "public key")?;
        let public = read_public(&session, public)?;
        Ok(Self { session, private, public, _module: module })
    }
}

/// Makes a key on a token, under the label (and id) of `uri`; it cannot be taken out again.
///
/// # Errors
/// When there is such a key already, or the token cannot make one.
pub fn generate_on_token(
    uri: &TokenUri,
    pin: &str,
    algorithm: Algorithm,
) -> Result<TokenKey, SignerError> {
    let (module, session) = log_in(uri, pin, true)?;
    let there = find(&session, uri, ObjectClass::PRIVATE_KEY)?;
    if !there.is_empty() {
        return Err(SignerError::token("it has a key of that label or id already"));
    }
    let (mechanism, curve) = match algorithm {
        Algorithm::Ed25519 => (Mechanism::EccEdwardsKeyPairGen, EDWARDS25519),
        Algorithm::EcdsaP256 => (Mechanism::EccKeyPairGen, P256),
    };
    let mut public = vec![
        Attribute::Token(true),
        Attribute::Private(false),
        Attribute::Verify(true),
        Attribute::EcParams(curve.to_vec()),
    ];
    let mut private = vec![
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Sign(true),
    ];
    for template in [&mut public, &mut private] {
        template.extend(names(uri));
    }
    let (public, private) =
        session.generate_key_pair(&mechanism, &public, &private).map_err(failed)?;
    let public = read_public(&session, public)?;
    Ok(TokenKey { session, private, public, _module: module })
}

impl Signer for TokenKey {
    fn public(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignerError> {
        match self.public.algorithm() {
            Algorithm::Ed25519 => {
                let mechanism = Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Ed25519));
                self.session.sign(&mechanism, self.private, message).map_err(failed)
            }
            Algorithm::EcdsaP256 => {
                let digest = Sha256::digest(message);
                let raw = self.session.sign(&Mechanism::Ecdsa, self.private, &digest);
                let raw = raw.map_err(failed)?;
                // Two numbers of equal length, one after the other (PKCS#11, "ECDSA").
                let (r, s) = raw.split_at_checked(raw.len() / 2).unwrap_or_default();
                ecdsa_signature(r, s)
                    .ok_or_else(|| SignerError::token("its signature is malformed"))
            }
        }
    }
}

fn failed(e: Error) -> SignerError {
    match e {
        Error::Pkcs11(RvError::PinIncorrect | RvError::PinLenRange | RvError::PinInvalid, _) => {
            SignerError::WrongPassphrase
        }
        Error::Pkcs11(RvError::PinLocked, _) => {
            SignerError::token("its PIN is locked after too many wrong ones")
        }
        e => SignerError::token(e),
    }
}

fn log_in(uri: &TokenUri, pin: &str, writing: bool) -> Result<(Pkcs11, Session), SignerError> {
    let unloadable = |e: Error| {
        let at = uri.module.display();
        SignerError::token(format!("module `{at}` cannot be loaded: {e}"))
    };
    let module = Pkcs11::new(&uri.module).map_err(unloadable)?;
    match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
        Err(e) => return Err(unloadable(e)),
    }
    let slot = slot(&module, uri)?;
    let session = if writing { module.open_rw_session(slot) } else { module.open_ro_session(slot) };
    let session = session.map_err(failed)?;
    match session.login(UserType::User, Some(&AuthPin::new(pin.into()))) {
        Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {}
        Err(e) => return Err(failed(e)),
    }
    Ok((module, session))
}

/// The one slot whose token the URI names.
fn slot(module: &Pkcs11, uri: &TokenUri) -> Result<Slot, SignerError> {
    let mut found = Vec::new();
    for slot in module.get_slots_with_initialized_token().map_err(failed)? {
        let info = module.get_token_info(slot).map_err(failed)?;
        let is = |wanted: &Option<String>, text: &str| {
            wanted.as_ref().is_none_or(|w| w.trim_end() == text.trim_end())
        };
        if is(&uri.token, info.label()) && is(&uri.serial, info.serial_number()) {
            found.push(slot);
        }
    }
    match found.as_slice() {
        [slot] => Ok(*slot),
        [] => Err(SignerError::token("there is no such token; is it plugged in and initialised?")),
        _ => Err(SignerError::token("several tokens fit; name one by token= or serial=")),
    }
}

fn names(uri: &TokenUri) -> Vec<Attribute> {
    let label = uri.object.iter().map(|o| Attribute::Label(o.as_bytes().to_vec()));
    label.chain(uri.id.iter().map(|id| Attribute::Id(id.clone()))).collect()
}

fn find(
    session: &Session,
    uri: &TokenUri,
    class: ObjectClass,
) -> Result<Vec<ObjectHandle>, SignerError> {
    let mut template = names(uri);
    template.push(Attribute::Class(class));
    session.find_objects(&template).map_err(failed)
}

fn only(
    session: &Session,
    uri: &TokenUri,
    class: ObjectClass,
    what: &str,
) -> Result<ObjectHandle, SignerError> {
    match find(session, uri, class)?.as_slice() {
        [one] => Ok(*one),
        [] => Err(SignerError::token(format!("it has no {what} of that label or id"))),
        _ => Err(SignerError::token(format!("several {what}s fit; name one by id="))),
    }
}

fn read_public(session: &Session, key: ObjectHandle) -> Result<PublicKey, SignerError> {
    let wanted = [AttributeType::KeyType, AttributeType::EcParams, AttributeType::EcPoint];
    let found = session.get_attributes(key, &wanted).map_err(failed)?;
    let (mut kind, mut curve, mut point) = (None, Vec::new(), Vec::new());
    for attribute in found {
        match attribute {
            Attribute::KeyType(k) => kind = Some(k),
            Attribute::EcParams(p) => curve = p,
            Attribute::EcPoint(p) => point = p,
            _ => {}
        }
    }
    let (algorithm, length) = match kind {
        Some(KeyType::EC) if curve == P256 => (Algorithm::EcdsaP256, 65_u8),
        Some(KeyType::EC_EDWARDS) => (Algorithm::Ed25519, 32_u8),
        _ => return Err(SignerError::not_a_key("the token's key is neither Ed25519 nor P-256")),
    };
    // The point stands in an OCTET STRING of DER, and some tokens leave that out.
    let raw = point.strip_prefix(&[0x04, length]).unwrap_or_default();
    let raw = if raw.len() == usize::from(length) { raw } else { point.as_slice() };
    PublicKey::from_raw(algorithm, raw)
}
