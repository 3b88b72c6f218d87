//! A good case, and how it is held against the verifier.

use crate::mint::{ARTIFACT, AT, DAY, ISSUER, Kind, Mint, NAME, Recipe, Rekor, SUBJECT, Version};
use countersign_core::{EvidenceState, Sha256Digest, Timestamp};
use countersign_evidence::sigstore::{
    Artifact, Signatory, TrustRoots, TrustedKey, verify_artifact, verify_bundle,
    verify_keyed_bundle,
};
use countersign_evidence::{EvidenceError, Expected, SubjectName};
use serde_json::Value;

/// Through which door the bundle is verified.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// As `verify-bundle` does: a file, and who must have signed.
    File,
    /// As the gate does: an attestation of an artifact that has a name.
    Attestation,
    /// As the gate does with a registry's key.
    Key,
}

type Edit = Box<dyn Fn(&mut Value)>;
type TextEdit = Box<dyn Fn(String) -> String>;

pub struct Case {
    pub mint: Mint,
    pub recipe: Recipe,
    pub door: Door,
    /// Changes to the bundle after it was made.
    pub bundle: Option<Edit>,
    /// Changes to its text.
    pub text: Option<TextEdit>,
    /// Changes to the trust roots.
    pub roots: Option<Edit>,
    pub subject: String,
    pub issuer: String,
    pub artifact: Vec<u8>,
    pub name: String,
    pub pem: Option<String>,
    pub key: TrustedKey,
    pub now: i64,
}

fn case(version: Version, kind: Kind, rekor: Rekor) -> Case {
    let mint = Mint::new();
    let spki = crate::mint::x509::spki(&mint.signer);
    let key = TrustedKey { id: "signer".into(), spki, not_before: None, not_after: None };
    Case {
        recipe: Recipe::new(version, kind, rekor),
        mint,
        door: Door::File,
        bundle: None,
        text: None,
        roots: None,
        subject: SUBJECT.into(),
        issuer: ISSUER.into(),
        artifact: ARTIFACT.to_vec(),
        name: NAME.into(),
        pem: None,
        key,
        now: AT + DAY,
    }
}

/// A signature over a file, with the first version of the log.
pub fn message() -> Case {
    case(Version::V03, Kind::Message, Rekor::First)
}

/// A signature over a file, with the second version of the log and a time stamp.
pub fn message2() -> Case {
    case(Version::V03, Kind::Message, Rekor::Second)
}

/// An attestation, through the gate's door.
pub fn attestation() -> Case {
    Case { door: Door::Attestation, ..case(Version::V03, Kind::Statement, Rekor::First) }
}

/// The same with the second version of the log.
pub fn attestation2() -> Case {
    Case { door: Door::Attestation, ..case(Version::V03, Kind::Statement, Rekor::Second) }
}

/// An attestation that was logged whole.
pub fn intoto() -> Case {
    Case { door: Door::Attestation, ..case(Version::V02, Kind::Intoto, Rekor::First) }
}

/// A bundle of the first version: a promise, no proof.
pub fn first() -> Case {
    case(Version::V01, Kind::Message, Rekor::First)
}

/// A bundle of the second version: a chain, a promise and a proof.
pub fn second() -> Case {
    case(Version::V02, Kind::Message, Rekor::First)
}

/// An attestation that a registry's key signed.
pub fn keyed() -> Case {
    let mut out = Case { door: Door::Key, ..case(Version::V03, Kind::Statement, Rekor::First) };
    out.recipe.managed = true;
    out
}

/// A file that a key signed.
pub fn managed() -> Case {
    let mut out = message();
    out.recipe.managed = true;
    out.pem = Some(out.mint.signer_pem());
    out
}

/// With a time stamp and no promise, so that the stamp is the only time.
pub fn stamped() -> Case {
    let mut out = message();
    out.recipe.promise = false;
    out.recipe.stamps = vec![crate::mint::tsa::Stamp::default()];
    out
}

impl Case {
    pub fn on_bundle(&mut self, edit: impl Fn(&mut Value) + 'static) {
        self.bundle = Some(Box::new(edit));
    }

    pub fn on_entry(&mut self, edit: impl Fn(&mut Value) + 'static) {
        self.on_bundle(move |b| edit(&mut b["verificationMaterial"]["tlogEntries"][0]));
    }

    pub fn on_proof(&mut self, edit: impl Fn(&mut Value) + 'static) {
        self.on_entry(move |e| edit(&mut e["inclusionProof"]));
    }

    pub fn on_checkpoint(&mut self, edit: impl Fn(&str) -> String + 'static) {
        self.on_proof(move |p| {
            let text = p["checkpoint"]["envelope"].as_str().unwrap().to_owned();
            p["checkpoint"]["envelope"] = edit(&text).into();
        });
    }

    pub fn on_text(&mut self, edit: impl Fn(String) -> String + 'static) {
        self.text = Some(Box::new(edit));
    }

    pub fn on_roots(&mut self, edit: impl Fn(&mut Value) + 'static) {
        self.roots = Some(Box::new(edit));
    }

    pub fn on_body(&mut self, edit: impl Fn(&mut Value) + 'static) {
        self.recipe.body = Some(Box::new(edit));
    }

    pub fn on_payload(&mut self, edit: impl Fn(&mut Value) + 'static) {
        edit(&mut self.recipe.payload);
    }

    fn verify(&self) -> Result<(), EvidenceError> {
        let mut roots = self.mint.trusted_root();
        if let Some(edit) = &self.roots {
            edit(&mut roots);
        }
        let roots = TrustRoots::from_trusted_root_json(roots.to_string().as_bytes())?;
        let mut bundle = self.mint.bundle(&self.recipe);
        if let Some(edit) = &self.bundle {
            edit(&mut bundle);
        }
        let mut text = bundle.to_string();
        if let Some(edit) = &self.text {
            text = edit(text);
        }
        let (bytes, now) = (text.as_bytes(), Timestamp(self.now));
        let sha256 = Sha256Digest::of(&self.artifact);
        let expected = Expected {
            name: SubjectName::Exact(&self.name),
            sha256: Some(&sha256.0),
            sha512: None,
        };
        match self.door {
            Door::File => {
                let who = match &self.pem {
                    Some(pem) => Signatory::Key { pem },
                    None => Signatory::Identity { subject: &self.subject, issuer: &self.issuer },
                };
                let artifact = Artifact::Bytes(&self.artifact);
                verify_artifact(bytes, &artifact, &who, &roots, now).map(|_| ())
            }
            Door::Attestation => verify_bundle(bytes, &expected, &roots, now).map(|_| ()),
            Door::Key => {
                let keys = std::slice::from_ref(&self.key);
                verify_keyed_bundle(bytes, &expected, keys, &roots, now).map(|_| ())
            }
        }
    }
}

/// The case holds as it is, and is refused for the reason `code` after the change.
pub fn refused(name: &str, mut case: Case, code: &str, change: impl Fn(&mut Case)) {
    if let Err(e) = case.verify() {
        panic!("{name}: the unchanged bundle does not hold: {} {e}", e.code());
    }
    change(&mut case);
    match case.verify() {
        Ok(()) => panic!("{name}: accepted"),
        Err(e) => {
            assert_eq!(e.code(), code, "{name}: {e}");
            // What is too weak says with what it was made, for policy's table.
            let EvidenceState::Invalid { algorithms, .. } = e.into_state() else { return };
            assert_eq!(!algorithms.is_empty(), code == "weak-algorithm", "{name}: {algorithms:?}");
        }
    }
}

/// The case holds before and after the change.
pub fn accepted(name: &str, mut case: Case, change: impl Fn(&mut Case)) {
    change(&mut case);
    if let Err(e) = case.verify() {
        panic!("{name}: {} {e}", e.code());
    }
}
