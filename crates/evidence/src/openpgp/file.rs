//! A detached signature beside any file, as Maven repositories keep one (`x.jar.asc`).

use super::{
    Helper, MAX_SIGNATURES, VerifiedRelease, check_detached, limit, mint, policy, read_keyring,
    refused, system_time,
};
use crate::error::{EvidenceError, shown};
use countersign_core::Timestamp;
use sequoia_openpgp as openpgp;

use openpgp::KeyHandle;
use openpgp::cert::Cert;
use openpgp::parse::Parse as _;
use openpgp::parse::stream::{DetachedVerifierBuilder, MessageStructure, VerificationHelper};
use std::cell::RefCell;
use std::io::Read;

const SIGNATURE: &str = "detached signature";

/// [`countersign_core::Evidence::kind`] of a detached signature beside a file.
pub const KIND: &str = "openpgp";

/// Verifies a file, in pieces, against its detached signatures, by the rules for Debian's lists:
/// the signing key must be in the caller's keyring, and neither expired nor revoked at `now`. Nobody
/// but the signer vouches for the time of such a signature, so that a key which ended proves nothing.
/// The text of what is given back is empty: the file is the caller's.
///
/// # Errors
/// When no signature by the keyring holds. That the keyring lacks the certificates which are said to
/// have signed says nothing against the file ([`EvidenceError::TrustMaterial`]).
pub fn verify_file(
    content: impl Read + Send + Sync,
    signature: &[u8],
    keyring: &[u8],
    now: Timestamp,
) -> Result<VerifiedRelease, EvidenceError> {
    limit(SIGNATURE, signature, MAX_SIGNATURES)?;
    check_detached(signature)?;
    let certs = read_keyring(keyring)?;
    let time = system_time(now)?;
    let policy = policy(time);
    let asked = RefCell::new(Asked::default());
    let helper = Noting { inner: Helper::new(&certs, &policy, time), asked: &asked };
    let verified = DetachedVerifierBuilder::from_bytes(signature)
        .and_then(|b| b.with_policy(&policy, time, helper))
        .and_then(|mut v| v.verify_reader(content).map(|()| v.into_helper().inner.signatures));
    match verified {
        Ok(signatures) => mint(Vec::new(), signatures),
        Err(e) => {
            let asked = asked.borrow();
            Err(if asked.found || asked.ids.is_empty() {
                refused("detached signature", &e)
            } else {
                asked.unknown()
            })
        }
    }
}

/// Whose certificates the signatures ask for.
#[derive(Default)]
struct Asked {
    ids: Vec<String>,
    found: bool,
}

impl Asked {
    fn unknown(&self) -> EvidenceError {
        let because = format!("it lacks the key {}, which signed", shown(&self.ids.join(", ")));
        EvidenceError::material("OpenPGP keyring", because)
    }
}

/// Notes whether the keyring had anybody who is said to have signed.
struct Noting<'a> {
    inner: Helper<'a>,
    asked: &'a RefCell<Asked>,
}

impl VerificationHelper for Noting<'_> {
    fn get_certs(&mut self, ids: &[KeyHandle]) -> openpgp::Result<Vec<Cert>> {
        let certs = self.inner.get_certs(ids)?;
        let mut asked = self.asked.borrow_mut();
        asked.ids.extend(ids.iter().map(ToString::to_string));
        asked.found |= !certs.is_empty();
        Ok(certs)
    }

    fn check(&mut self, structure: MessageStructure<'_>) -> openpgp::Result<()> {
        self.inner.check(structure)
    }
}
