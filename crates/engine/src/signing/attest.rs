//! Attestations: an in-toto statement about an artifact, signed.
//!
//! It is written as a DSSE envelope (DSSE protocol v1), and as a Sigstore bundle v0.3 with the hint of
//! a public key in place of a certificate, which is what cosign and sigstore's other clients take
//! together with the key. Each is one line of JSON, so that many go into one file (in-toto Attestation
//! Framework, "Bundle").

use super::SigningError;
use super::key::SigningKey;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use countersign_core::{Purl, Sha256Digest, Timestamp, Verdict};
use countersign_evidence::predicate::{PREDICATE_TYPES, PredicateType, short_name};
use countersign_ledger::event::ATTESTATION_TYPE;
use countersign_ledger::statement::{STATEMENT_TYPE, event, read_decision};
use countersign_ledger::{PAYLOAD_TYPE, pre_authentication};
use countersign_signer::Signer;
use countersign_store::{NewEvent, Store};
use serde_json::{Map, Value, json};

/// The media type of a Sigstore bundle v0.3.
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// What an attestation is about.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The file's name.
    pub file_name: String,
    /// The version, where it is known.
    pub purl: Option<Purl>,
    /// The digest of the bytes.
    pub sha256: Sha256Digest,
    /// A second digest of the bytes, where it is known.
    pub sha512: Option<Vec<u8>>,
}

/// The type URI that a short name or a URI means, for this predicate, which is checked.
///
/// # Errors
/// When the name is unknown, the URI is none, or the predicate lacks what its type must say.
pub fn predicate_type(text: &str, predicate: &Value) -> Result<String, SigningError> {
    if !predicate.is_object() {
        return Err(SigningError::statement("a predicate is a JSON object"));
    }
    let known = PredicateType::named(text).or_else(|| PredicateType::of_uri(text));
    let uri = match PredicateType::named(text) {
        Some(t) => t.uri(predicate),
        None if text.contains("://") || text.starts_with("urn:") => text.to_owned(),
        None => {
            let names: Vec<&str> = PREDICATE_TYPES.iter().map(|t| t.name).collect();
            return Err(SigningError::statement(format!(
                "`{text}` is no predicate type; use one of {}, or a type URI",
                names.join(", ")
            )));
        }
    };
    if let Some(known) = known {
        known.check(predicate).map_err(|because| {
            SigningError::statement(format!("the predicate is no {}: {because}", known.name))
        })?;
    }
    Ok(uri)
}

/// The statement (in-toto Attestation Framework, Statement v1).
#[must_use]
pub fn statement(subject: &Subject, predicate_type: &str, predicate: Value) -> Value {
    let mut digest = Map::new();
    digest.insert("sha256".to_owned(), json!(subject.sha256));
    if let Some(sha512) = &subject.sha512 {
        digest.insert("sha512".to_owned(), json!(hex::encode(sha512)));
    }
    let mut about = json!({"name": subject.file_name, "digest": digest});
    if let (Some(purl), Value::Object(map)) = (&subject.purl, &mut about) {
        map.insert("uri".to_owned(), json!(purl));
    }
    json!({
        "_type": STATEMENT_TYPE,
        "subject": [about],
        "predicateType": predicate_type,
        "predicate": predicate,
    })
}

/// The gate's countersignature: a SLSA Verification Summary made from what the ledger holds.
///
/// It says what the entry says, without the part that is only Countersign's: which rules fired and
/// what evidence was seen stays with the owner of the ledger.
///
/// # Errors
/// When the entry is no decision that admits, or one of a policy that only records.
pub async fn countersignature(store: &Store, index: u64) -> Result<Value, SigningError> {
    let entry = store.entry(index).await?.ok_or_else(|| {
        SigningError::statement(format!("the ledger has no entry {index}, or it was forgotten"))
    })?;
    let mut statement = entry.statement.value().clone();
    let decision = read_decision(&statement).map_err(|e| SigningError::statement(e.to_string()))?;
    if decision.verdict != Verdict::Admit || decision.sha256.is_none() {
        let said = format!(
            "{} was not admitted (entry {index}: {}), so there is nothing to countersign",
            decision.purl, decision.verdict
        );
        return Err(SigningError::statement(said));
    }
    if decision.audit_only {
        return Err(SigningError::statement(format!(
            "{} was let through by a policy that only records (entry {index}); judge it by another",
            decision.purl
        )));
    }
    if let Some(Value::Object(predicate)) = statement.get_mut("predicate") {
        predicate.remove("countersign");
    }
    Ok(statement)
}

/// A signed statement.
#[derive(Debug, Clone)]
pub struct Signed {
    /// The statement's bytes.
    payload: Vec<u8>,
    signature: Vec<u8>,
    key_id: String,
}

/// Signs a statement.
///
/// # Errors
/// When the key does not sign.
pub fn sign(signer: &dyn Signer, statement: &Value) -> Result<Signed, SigningError> {
    let payload = statement.to_string().into_bytes();
    let message = pre_authentication(PAYLOAD_TYPE, &payload);
    let signature = countersign_signer::sign(signer, &message)?;
    Ok(Signed { payload, signature, key_id: signer.public().id() })
}

impl Signed {
    /// The digest of the statement's bytes.
    #[must_use]
    pub fn digest(&self) -> Sha256Digest {
        Sha256Digest::of(&self.payload)
    }

    /// The DSSE envelope.
    #[must_use]
    pub fn envelope(&self) -> Value {
        json!({
            "payload": BASE64_STANDARD.encode(&self.payload),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{
                "keyid": self.key_id,
                "sig": BASE64_STANDARD.encode(&self.signature),
            }],
        })
    }

    /// The Sigstore bundle v0.3. Its hint is the digest of the public key in base64, as cosign's is.
    #[must_use]
    pub fn bundle(&self) -> Value {
        let id = self.key_id.trim_start_matches("sha256:");
        let hint = BASE64_STANDARD.encode(hex::decode(id).unwrap_or_default());
        json!({
            "mediaType": BUNDLE,
            // There is no log; some readers want to be told that there is none.
            "verificationMaterial": {"publicKey": {"hint": hint}, "tlogEntries": []},
            "dsseEnvelope": self.envelope(),
        })
    }
}

/// Under what the ledger finds that a statement was signed.
pub(crate) fn statement_name(digest: &Sha256Digest) -> String {
    format!("signed statement {digest}")
}

/// Notes in the ledger that a key signed a statement, and when: that is the time of the signature,
/// which the envelope has no place for. Returns the entry's place.
///
/// # Errors
/// When the commit fails; then the attestation must not be given out.
pub async fn record(
    store: &Store,
    key: &SigningKey,
    signed: &Signed,
    statement: &Value,
    now: Timestamp,
) -> Result<u64, SigningError> {
    let kind = statement.get("predicateType").and_then(Value::as_str).unwrap_or_default();
    let predicate = json!({
        "key": {"name": key.name, "id": signed.key_id},
        "statement": {"sha256": signed.digest()},
        "predicateType": kind,
        "subject": statement.get("subject"),
        "time": now,
    });
    let name = format!("{} by {}", short_name(kind), key.name);
    let mut about = vec![statement_name(&signed.digest()), signed.key_id.clone()];
    let subjects = statement.get("subject").and_then(Value::as_array).into_iter().flatten();
    for subject in subjects {
        let sha256 = subject.pointer("/digest/sha256").and_then(Value::as_str);
        about.extend(sha256.map(|hex| format!("sha256:{hex}")));
        about.extend(subject.get("uri").and_then(Value::as_str).map(str::to_owned));
    }
    let statement = event(ATTESTATION_TYPE, &name, predicate);
    let event = NewEvent { statement, time: now, about, once: None };
    Ok(store.record_about(event).await?.index())
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_signer::{Algorithm, generate};

    fn subject() -> Subject {
        Subject {
            file_name: "a-1.0.tar.gz".to_owned(),
            purl: Some("pkg:pypi/a@1.0".parse().unwrap()),
            sha256: Sha256Digest::of(b"a"),
            sha512: Some(vec![5; 64]),
        }
    }

    #[test]
    fn types_are_known_by_name_or_uri_and_held_to_what_they_must_say() {
        let good = json!({"result": "PASSED", "configuration": []});
        let uri = "https://in-toto.io/attestation/test-result/v0.1";
        assert_eq!(predicate_type("test-result", &good).unwrap(), uri);
        assert_eq!(predicate_type(uri, &good).unwrap(), uri);
        assert!(predicate_type("test-result", &json!({})).is_err());
        assert!(predicate_type(uri, &json!({})).is_err());
        assert!(predicate_type("tests", &good).unwrap_err().to_string().contains("openvex"));
        assert_eq!(predicate_type("urn:acme:review", &json!({})).unwrap(), "urn:acme:review");
        assert!(predicate_type("urn:acme:review", &json!([])).is_err());
    }

    #[test]
    fn envelope_and_bundle_hold_the_same_signature() {
        for algorithm in [Algorithm::Ed25519, Algorithm::EcdsaP256] {
            let key = generate(algorithm).unwrap();
            let signed = sign(&key, &statement(&subject(), "urn:x", json!({}))).unwrap();
            let (envelope, bundle) = (signed.envelope(), signed.bundle());
            assert_eq!(bundle["dsseEnvelope"], envelope);
            assert_eq!(bundle["verificationMaterial"]["tlogEntries"], json!([]));
            let bytes = |v: &Value| BASE64_STANDARD.decode(v.as_str().unwrap()).unwrap();
            let payload = bytes(&envelope["payload"]);
            assert_eq!(Sha256Digest::of(&payload), signed.digest());
            let message = pre_authentication(PAYLOAD_TYPE, &payload);
            let signature = bytes(&envelope["signatures"][0]["sig"]);
            assert!(key.public().verify(&message, &signature));
            let said: Value = serde_json::from_slice(&payload).unwrap();
            assert_eq!(said["subject"][0]["uri"], "pkg:pypi/a@1.0");
            assert_eq!(said["subject"][0]["digest"]["sha512"], "05".repeat(64));
        }
    }
}
