//! What `sigstore-verify` leaves open about log entries: that the checkpoint is signed by the very
//! log that the entry names, at a time when its key was valid, over the tree that the proof is for;
//! that an entry is of one generation of the log; that its body can be read in one way.

use super::TrustRoots;
use crate::error::{EvidenceError, Fault};
use crate::json;
use countersign_core::Timestamp;
use sigstore_types::TimeRange;
use sigstore_types::bundle::InclusionProof;
use sigstore_types::{Bundle, Checkpoint, DerCertificate, KindVersion, TransparencyLogEntry};

const WHAT: &str = "log entry";

/// A log of the roots.
#[derive(Debug, Clone)]
pub(super) struct Log {
    /// Its id; the first four bytes are the hint in its checkpoints' signatures.
    pub(super) id: Vec<u8>,
    /// Its address.
    pub(super) address: String,
    /// When its key may have signed.
    pub(super) window: Option<TimeRange>,
}

/// Checks the entries of a bundle before any signature is computed.
pub(super) fn check(bundle: &Bundle, roots: &TrustRoots) -> Result<(), EvidenceError> {
    let entries = &bundle.verification_material.tlog_entries;
    if entries.is_empty() {
        return Err(EvidenceError::fault(Fault::Bundle, "no log entry"));
    }
    for (i, entry) in entries.iter().enumerate() {
        if entries.iter().skip(i + 1).any(|e| e == entry) {
            return Err(EvidenceError::fault(Fault::Bundle, "a log entry is repeated"));
        }
        check_one(entry, bundle, roots)?;
    }
    Ok(())
}

fn check_one(
    entry: &TransparencyLogEntry,
    bundle: &Bundle,
    roots: &TrustRoots,
) -> Result<(), EvidenceError> {
    let id = entry.log_id.key_id.as_bytes();
    if !roots.logs.iter().any(|l| l.id == id) {
        let because = format!("log {} is none of the roots'", entry.log_id.key_id);
        return Err(EvidenceError::fault(Fault::UnknownLog, because));
    }
    // The verifier passes over an entry that offers nothing to verify.
    if entry.inclusion_proof.is_none() && entry.inclusion_promise.is_none() {
        let because = "a log entry has neither a proof nor a promise";
        return Err(EvidenceError::fault(Fault::InclusionProof, because));
    }
    let second = is_second(entry);
    if second && (entry.inclusion_promise.is_some() || entry.integrated_time.is_some()) {
        let because = "an entry of Rekor's second version has a promise or a time of the first";
        return Err(EvidenceError::fault(Fault::LogEntry, because));
    }
    if let Some(proof) = &entry.inclusion_proof {
        check_checkpoint(proof, id, second, roots)?;
    }
    check_body(entry, bundle)
}

/// Whether the entry is of Rekor's second version, which signs no times.
fn is_second(entry: &TransparencyLogEntry) -> bool {
    matches!(entry.kind_version, KindVersion::HashedRekordV002)
}

fn check_checkpoint(
    proof: &InclusionProof,
    id: &[u8],
    second: bool,
    roots: &TrustRoots,
) -> Result<(), EvidenceError> {
    let bad = |because: &str| Err(EvidenceError::fault(Fault::Checkpoint, because));
    let text = proof.checkpoint.envelope();
    // One blank line ends the text; what stands behind a second one is read by nobody.
    if text.matches("\n\n").count() != 1 || text.contains('\r') {
        return bad("the checkpoint is no signed note");
    }
    let checkpoint = Checkpoint::from_text(text)
        .map_err(|e| EvidenceError::fault(Fault::Checkpoint, e.to_string()))?;
    if !second && checkpoint.tree_size() != proof.tree_size {
        return bad("the checkpoint is of a tree of another size than the proof's");
    }
    let hints = || checkpoint.signatures().iter().map(|s| s.key_id.as_bytes().as_slice());
    let of = |log: &[u8], hint: &[u8]| log.get(..4) == Some(hint);
    if !hints().any(|h| of(id, h)) {
        return bad("the entry's log has not signed the checkpoint");
    }
    // The verifier takes a signature of any log of the roots; this leaves it only the entry's.
    if hints().any(|h| !of(id, h) && roots.logs.iter().any(|l| of(&l.id, h))) {
        return bad("another log has signed the checkpoint as well");
    }
    Ok(())
}

/// Checks that the body is what the entry announces, in one reading, and about the certificate.
fn check_body(entry: &TransparencyLogEntry, bundle: &Bundle) -> Result<(), EvidenceError> {
    let bad = |because: String| Err(EvidenceError::fault(Fault::LogEntry, because));
    let body = match json::parse(WHAT, entry.canonicalized_body.as_bytes()) {
        Ok(body) => body,
        Err(e) => return bad(e.to_string()),
    };
    let announced = (entry.kind_version.kind(), entry.kind_version.version());
    let said = (json::text(&body, "/kind"), json::text(&body, "/apiVersion"));
    if said != (Some(announced.0), Some(announced.1)) {
        return bad(format!("its body is no {}/{}", announced.0, announced.1));
    }
    if entry.kind_version != KindVersion::IntotoV002 {
        return Ok(());
    }
    // The verifier compares keys here; one key may have several certificates.
    let logged = json::text(&body, "/spec/content/envelope/signatures/0/publicKey");
    let Some(logged) = logged.and_then(decode_pem) else {
        return bad("its body names no key".to_owned());
    };
    match (bundle.signing_certificate(), DerCertificate::from_pem(&logged)) {
        (Some(certificate), Ok(of_entry)) if *certificate != of_entry => {
            bad("it is about another certificate".to_owned())
        }
        (Some(_), Err(_)) => bad("it is about a key, the bundle has a certificate".to_owned()),
        _ => Ok(()),
    }
}

fn decode_pem(base64: &str) -> Option<String> {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD.decode(base64).ok()?;
    String::from_utf8(bytes).ok()
}

/// Checks that each log's key was valid at every time that was proven for the signature. An entry
/// with a promise has a time of its own, at which the verifier looked.
pub(super) fn check_windows(
    bundle: &Bundle,
    roots: &TrustRoots,
    times: &[Timestamp],
) -> Result<(), EvidenceError> {
    for entry in &bundle.verification_material.tlog_entries {
        if entry.inclusion_promise.is_some() && entry.integrated_time.is_some() {
            continue;
        }
        let id = entry.log_id.key_id.as_bytes();
        let log = roots.logs.iter().find(|l| l.id == id);
        let Some(window) = log.and_then(|l| l.window) else { continue };
        let (start, end) = (window.start.as_second(), window.end.map(|e| e.as_second()));
        let outside = |t: &&Timestamp| t.0 < start || end.is_some_and(|e| t.0 > e);
        if let Some(at) = times.iter().find(outside) {
            let because = format!("the log's key was not valid at {at}");
            return Err(EvidenceError::fault(Fault::LogWindow, because));
        }
    }
    Ok(())
}

/// Where the first entry stands: the log's address and the index there.
pub(super) fn place(bundle: &Bundle, roots: &TrustRoots) -> Option<String> {
    let entry = bundle.verification_material.tlog_entries.first()?;
    let log = roots.logs.iter().find(|l| l.id == entry.log_id.key_id.as_bytes())?;
    Some(format!("{} index {}", log.address, entry.log_index.get()))
}
