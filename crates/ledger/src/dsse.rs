//! DSSE envelopes (Dead Simple Signing Envelope v1) around in-toto statements.

use crate::json::parse_strict;
use crate::key::{SigningKey, VerifierKey};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The payload type of an in-toto statement.
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// Largest envelope that is read, in bytes.
const MAX_ENVELOPE: usize = 16 << 20;

/// A DSSE envelope as it came: nothing in it is verified.
///
/// Its canonical bytes ([`Envelope::to_bytes`]) are what a ledger entry commits to: the members in
/// the order `payloadType`, `payload`, `signatures` (each `keyid`, `sig`), without white space.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    /// What the payload is.
    #[serde(rename = "payloadType")]
    pub payload_type: String,
    /// The payload in standard base64.
    pub payload: String,
    /// The signatures; this ledger writes exactly one.
    pub signatures: Vec<EnvelopeSignature>,
}

/// One signature of an envelope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvelopeSignature {
    /// `name+hash` of the key.
    pub keyid: String,
    /// The signature over the pre-authentication encoding, in standard base64.
    pub sig: String,
}

/// Why an envelope is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Not an envelope, or its payload no statement.
    #[error("malformed envelope: {because}")]
    Malformed {
        /// What is wrong with it.
        because: String,
    },
    /// Signed by another key, by none, or by more than one.
    #[error("the envelope is not signed by `{key}` alone")]
    WrongKey {
        /// The key that should have signed.
        key: String,
    },
    /// The signature is not of this payload.
    #[error("the envelope's signature does not verify under `{key}`")]
    BadSignature {
        /// The key.
        key: String,
    },
}

fn malformed(because: impl ToString) -> EnvelopeError {
    EnvelopeError::Malformed { because: because.to_string() }
}

impl Envelope {
    /// Reads an envelope; unknown members and duplicate keys are errors.
    ///
    /// # Errors
    /// When the bytes are not an envelope, or more than 16 MiB.
    pub fn parse(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        if bytes.len() > MAX_ENVELOPE {
            return Err(malformed("it is larger than 16 MiB"));
        }
        serde_json::from_slice(bytes).map_err(malformed)
    }

    /// The canonical bytes, which a ledger entry commits to.
    ///
    /// # Errors
    /// Never for an envelope that was parsed or signed; the encoder's signature allows it.
    pub fn to_bytes(&self) -> Result<Vec<u8>, EnvelopeError> {
        serde_json::to_vec(self).map_err(malformed)
    }
}

/// The pre-authentication encoding of the DSSE specification: what is signed.
#[must_use]
pub fn pre_authentication(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

/// Signs a statement.
///
/// # Errors
/// When the statement cannot be written as JSON.
pub fn sign_statement(key: &SigningKey, statement: &Value) -> Result<Envelope, EnvelopeError> {
    let payload = serde_json::to_vec(statement).map_err(malformed)?;
    Ok(sign_payload(key, &payload))
}

fn sign_payload(key: &SigningKey, payload: &[u8]) -> Envelope {
    let sig = key.sign(&pre_authentication(PAYLOAD_TYPE, payload));
    Envelope {
        payload_type: PAYLOAD_TYPE.to_owned(),
        payload: BASE64_STANDARD.encode(payload),
        signatures: vec![EnvelopeSignature {
            keyid: key.verifier().key_id(),
            sig: BASE64_STANDARD.encode(sig),
        }],
    }
}

/// Signs the statement of an envelope of one's own with another key.
///
/// # Errors
/// When the payload is not base64.
pub fn sign_again(key: &SigningKey, envelope: &Envelope) -> Result<Envelope, EnvelopeError> {
    let payload = BASE64_STANDARD.decode(&envelope.payload);
    Ok(sign_payload(key, &payload.map_err(|_| malformed("its payload is not base64"))?))
}

/// A statement whose envelope was verified. Only [`verify_envelope`] makes one.
#[derive(Debug, Clone, PartialEq)]
pub struct VerifiedStatement {
    value: Value,
}

impl VerifiedStatement {
    /// The statement.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// The statement's predicate type; empty when it has none.
    #[must_use]
    pub fn predicate_type(&self) -> &str {
        self.value.get("predicateType").and_then(Value::as_str).unwrap_or_default()
    }
}

/// Verifies that `key`, and nobody else, signed the envelope, and reads the statement strictly.
///
/// # Errors
/// When the payload type is another, the signature is not `key`'s, or the payload no strict JSON.
pub fn verify_envelope(
    envelope: &Envelope,
    key: &VerifierKey,
) -> Result<VerifiedStatement, EnvelopeError> {
    if envelope.payload_type != PAYLOAD_TYPE {
        return Err(malformed("its payload is not an in-toto statement"));
    }
    let [signature] = envelope.signatures.as_slice() else {
        return Err(EnvelopeError::WrongKey { key: key.key_id() });
    };
    // The key id is outside the signature: comparing it leaves no byte that may be changed.
    if signature.keyid != key.key_id() {
        return Err(EnvelopeError::WrongKey { key: key.key_id() });
    }
    let payload = BASE64_STANDARD
        .decode(&envelope.payload)
        .map_err(|_| malformed("its payload is not base64"))?;
    let sig = BASE64_STANDARD
        .decode(&signature.sig)
        .map_err(|_| malformed("its signature is not base64"))?;
    if !key.accepts(&pre_authentication(&envelope.payload_type, &payload), &sig) {
        return Err(EnvelopeError::BadSignature { key: key.key_id() });
    }
    let value = parse_strict(&payload).map_err(malformed)?;
    Ok(VerifiedStatement { value })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed("ledger.example/a", [seed; 32]).unwrap()
    }

    /// The example of the DSSE protocol's test vectors.
    #[test]
    fn the_encoding_is_that_of_the_specification() {
        assert_eq!(
            pre_authentication("http://example.com/HelloWorld", b"hello world"),
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        );
    }

    #[test]
    fn signed_statements_verify_under_their_key_only() {
        let statement = json!({"predicateType": "urn:x", "subject": []});
        let envelope = sign_statement(&key(1), &statement).unwrap();
        let bytes = envelope.to_bytes().unwrap();
        let again = Envelope::parse(&bytes).unwrap();
        assert_eq!(again.to_bytes().unwrap(), bytes);
        let read = verify_envelope(&again, key(1).verifier()).unwrap();
        assert_eq!((read.value(), read.predicate_type()), (&statement, "urn:x"));
        assert!(matches!(
            verify_envelope(&again, key(2).verifier()),
            Err(EnvelopeError::WrongKey { .. })
        ));
    }

    #[test]
    fn altered_envelopes_are_rejected() {
        let good = sign_statement(&key(1), &json!({"a": 1})).unwrap();
        let other = sign_statement(&key(1), &json!({"a": 2})).unwrap();
        let change = |f: &dyn Fn(&mut Envelope)| {
            let mut e = good.clone();
            f(&mut e);
            verify_envelope(&e, key(1).verifier())
        };
        assert!(change(&|_| ()).is_ok());
        assert!(change(&|e| e.payload = other.payload.clone()).is_err());
        assert!(change(&|e| e.payload_type = "text/plain".into()).is_err());
        assert!(change(&|e| e.signatures.clear()).is_err());
        assert!(change(&|e| e.signatures.push(other.signatures[0].clone())).is_err());
        assert!(change(&|e| e.signatures[0].keyid.clear()).is_err());
        assert!(change(&|e| e.signatures[0].sig = e.signatures[0].sig.replace('=', "")).is_err());
    }

    #[test]
    fn a_payload_with_a_duplicate_key_is_rejected_even_when_signed() {
        let payload = br#"{"a":1,"a":2}"#;
        let sig = key(1).sign(&pre_authentication(PAYLOAD_TYPE, payload));
        let envelope = Envelope {
            payload_type: PAYLOAD_TYPE.into(),
            payload: BASE64_STANDARD.encode(payload),
            signatures: vec![EnvelopeSignature {
                keyid: key(1).verifier().key_id(),
                sig: BASE64_STANDARD.encode(sig),
            }],
        };
        assert!(matches!(
            verify_envelope(&envelope, key(1).verifier()),
            Err(EnvelopeError::Malformed { .. })
        ));
        assert!(
            Envelope::parse(br#"{"payloadType":"","payload":"","payload":"","signatures":[]}"#)
                .is_err()
        );
    }
}
