//! Signatures of container images: by digest, over a simple signing payload, in cosign's envelope.

use crate::mint::{ARTIFACT, AT, DAY, ISSUER, Kind, Mint, Recipe, Rekor, SUBJECT, Version};
use crate::mint::{b64, pem, unb64};
use countersign_core::{Sha256Digest, Timestamp};
use countersign_evidence::EvidenceError;
use countersign_evidence::cosign::{claim, verify_image};
use countersign_evidence::sigstore::{Signatory, TrustRoots};
use serde_json::{Value, json};

struct Image {
    mint: Mint,
    recipe: Recipe,
    image: Sha256Digest,
    payload: Option<Vec<u8>>,
    subject: String,
    pem: Option<String>,
    edit: fn(Value) -> Value,
}

fn payload() -> Value {
    let digest = Sha256Digest::of(ARTIFACT).to_hex();
    json!({
        "critical": {
            "identity": {"docker-reference": "registry.example/team/app"},
            "image": {"docker-manifest-digest": format!("sha256:{digest}")},
            "type": "cosign container image signature",
        },
        "optional": {"by": "a test"},
    })
}

fn image(recipe: Recipe) -> Image {
    Image {
        mint: Mint::new(),
        recipe,
        image: Sha256Digest::of(ARTIFACT),
        payload: None,
        subject: SUBJECT.into(),
        pem: None,
        edit: |b| b,
    }
}

/// The manifest itself is signed.
fn manifest() -> Image {
    image(Recipe::new(Version::V03, Kind::Message, Rekor::First))
}

/// An attestation about the manifest, as cosign signs since its third version.
fn attested() -> Image {
    let mut out = image(Recipe::new(Version::V03, Kind::Statement, Rekor::Second));
    out.recipe.payload["predicateType"] = "https://sigstore.dev/cosign/sign/v1".into();
    out
}

/// A bundle over a simple signing payload.
fn simple() -> Image {
    let mut out = manifest();
    with_payload(&mut out, &payload());
    out
}

fn with_payload(out: &mut Image, payload: &Value) {
    out.recipe.artifact = payload.to_string().into_bytes();
    out.payload = Some(out.recipe.artifact.clone());
}

/// The payload with cosign's own envelope.
fn envelope() -> Image {
    let mut out = image(Recipe::new(Version::V01, Kind::Message, Rekor::First));
    with_payload(&mut out, &payload());
    out.edit = as_envelope;
    out
}

/// The same, signed by a key.
fn keyed_envelope() -> Image {
    let mut out = envelope();
    out.recipe.managed = true;
    out.pem = Some(out.mint.signer_pem());
    out
}

fn as_envelope(bundle: Value) -> Value {
    let material = &bundle["verificationMaterial"];
    let entry = &material["tlogEntries"][0];
    let number = |v: &Value| v.as_u64().unwrap_or_else(|| v.as_str().unwrap().parse().unwrap());
    let mut out = json!({
        "base64Signature": bundle["messageSignature"]["signature"],
        "rekorBundle": {
            "SignedEntryTimestamp": entry["inclusionPromise"]["signedEntryTimestamp"],
            "Payload": {
                "body": entry["canonicalizedBody"],
                "integratedTime": number(&entry["integratedTime"]),
                "logIndex": number(&entry["logIndex"]),
                "logID": hex::encode(unb64(&entry["logId"]["keyId"])),
            },
        },
    });
    let certificate = &material["x509CertificateChain"]["certificates"][0]["rawBytes"];
    if certificate.is_string() {
        let text = pem("CERTIFICATE", &unb64(certificate));
        out["cert"] = b64(text.as_bytes()).into();
    }
    out
}

impl Image {
    fn verify(&self) -> Result<(), EvidenceError> {
        let roots = self.mint.trusted_root().to_string();
        let roots = TrustRoots::from_trusted_root_json(roots.as_bytes())?;
        let bundle = (self.edit)(self.mint.bundle(&self.recipe)).to_string();
        let who = match &self.pem {
            Some(pem) => Signatory::Key { pem },
            None => Signatory::Identity { subject: &self.subject, issuer: ISSUER },
        };
        let (payload, now) = (self.payload.as_deref(), Timestamp(AT + DAY));
        let signed = verify_image(bundle.as_bytes(), payload, &self.image, &who, &roots, now)?;
        let claim = claim(&signed);
        assert!(!claim.signer.is_empty() && !claim.kind.is_empty());
        Ok(())
    }
}

#[test]
fn good_signatures_of_images_hold() {
    manifest().verify().unwrap();
    attested().verify().unwrap();
    simple().verify().unwrap();
    envelope().verify().unwrap();
    keyed_envelope().verify().unwrap();
}

macro_rules! broken {
    ($($name:ident: $start:expr, $code:literal, $change:expr;)+) => {
        $(
            #[test]
            fn $name() {
                let mut case: Image = $start;
                case.verify().unwrap();
                let change: fn(&mut Image) = $change;
                change(&mut case);
                let error = case.verify().unwrap_err();
                assert_eq!(error.code(), $code, "{error}");
            }
        )+
    };
}

/// The payload changes and is signed again.
fn signed_payload(case: &mut Image, edit: impl Fn(&mut Value)) {
    let mut changed = payload();
    edit(&mut changed);
    with_payload(case, &changed);
}

broken! {
    another_image: manifest(), "artifact", |c| c.image = Sha256Digest([1; 32]);
    another_image_than_attested: attested(), "other-digest", |c| c.image = Sha256Digest([1; 32]);
    another_image_than_in_the_payload: simple(), "other-digest",
        |c| c.image = Sha256Digest([1; 32]);
    another_image_than_in_the_envelope: envelope(), "other-digest",
        |c| c.image = Sha256Digest([1; 32]);
    a_payload_that_was_not_signed: simple(), "artifact",
        |c| c.payload = Some(payload().to_string().replace("a test", "an attacker").into_bytes());
    a_payload_that_the_envelope_does_not_sign: envelope(), "signature",
        |c| c.payload = Some(payload().to_string().replace("a test", "an attacker").into_bytes());
    a_payload_of_another_kind: simple(), "unsupported",
        |c| signed_payload(c, |p| p["critical"]["type"] = "atomic container signature".into());
    a_payload_with_a_weak_digest: simple(), "no-common-digest", |c| signed_payload(c, |p| {
        p["critical"]["image"]["docker-manifest-digest"] = "md5:00".into();
    });
    a_payload_without_a_digest: simple(), "malformed",
        |c| signed_payload(c, |p| p["critical"]["image"] = json!({}));
    a_payload_with_a_repeated_name: simple(), "malformed", |c| {
        let text = payload().to_string().replacen("\"critical\"", "\"critical\":{},\"critical\"", 1);
        c.recipe.artifact = text.clone().into_bytes();
        c.payload = Some(text.into_bytes());
    };
    a_payload_that_is_not_there: simple(), "artifact", |c| c.payload = None;
    an_envelope_without_its_payload: envelope(), "trust-material", |c| c.payload = None;
    an_attestation_in_place_of_a_signature: simple(), "other-predicate", |c| {
        let digest = Sha256Digest::of(&c.recipe.artifact).to_hex();
        c.recipe = Recipe::new(Version::V03, Kind::Statement, Rekor::First);
        c.recipe.payload["subject"][0]["digest"] = json!({"sha256": digest});
    };
    somebody_else: simple(), "identity", |c| c.subject = "https://forge.example/x".into();
    somebody_else_in_the_envelope: envelope(), "identity",
        |c| c.subject = "https://forge.example/x".into();
    another_key: keyed_envelope(), "signature", |c| {
        let other = crate::mint::x509::spki(&c.mint.other);
        c.pem = Some(pem("PUBLIC KEY", &other));
    };
    a_key_where_a_certificate_is_asked_for_in_an_envelope: keyed_envelope(), "bundle",
        |c| c.pem = None;
    an_envelope_without_a_log_entry: envelope(), "bundle", |c| c.edit = |b| {
        let mut out = as_envelope(b);
        out["rekorBundle"] = Value::Null;
        out
    };
    an_envelope_with_another_log_s_promise: envelope(), "inclusion-promise", |c| c.edit = |b| {
        let mut out = as_envelope(b);
        out["rekorBundle"]["Payload"]["integratedTime"] = (AT + 1).into();
        out
    };
    an_envelope_of_an_unknown_log: envelope(), "unknown-log", |c| c.edit = |b| {
        let mut out = as_envelope(b);
        out["rekorBundle"]["Payload"]["logID"] = "00".repeat(32).into();
        out
    };
    an_envelope_with_another_signature: envelope(), "signature", |c| c.edit = |b| {
        let mut out = as_envelope(b);
        let mut signature = unb64(&out["base64Signature"]);
        *signature.last_mut().unwrap() ^= 1;
        out["base64Signature"] = b64(&signature).into();
        out
    };
    an_envelope_with_a_certificate_that_is_none: envelope(), "malformed", |c| c.edit = |b| {
        let mut out = as_envelope(b);
        out["cert"] = "AAAA".into();
        out
    };
    an_envelope_whose_entry_is_no_json: envelope(), "malformed", |c| c.edit = |b| {
        let mut out = as_envelope(b);
        out["rekorBundle"]["Payload"]["body"] = b64(b"entry").into();
        out
    };
    a_bundle_that_is_nothing: manifest(), "malformed", |c| c.edit = |_| json!([]);
}
