//! The form that a signer's certificate must have, beyond what the path to its authority proves.
//!
//! Fulcio's certificate specification: no authority itself, for digital signatures and code signing
//! alone, one subject alternative name. An extension that stands there twice can be read in two ways.

use crate::algorithm;
use crate::error::{EvidenceError, Fault};
use countersign_core::AlgorithmUse;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAltName};

const WHAT: &str = "certificate";
const CODE_SIGNING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.3");

/// Checks algorithms and form of the certificate that signed, nothing about who issued it; the
/// algorithms.
pub(super) fn check(der: &[u8]) -> Result<Vec<AlgorithmUse>, EvidenceError> {
    let certificate = Certificate::from_der(der)
        .map_err(|e| EvidenceError::fault(Fault::Certificate, format!("certificate: {e}")))?;
    let seen = algorithm::check_certificate(WHAT, &certificate)?;
    let tbs = &certificate.tbs_certificate;
    let extensions = tbs.extensions.as_deref().unwrap_or_default();
    for (i, one) in extensions.iter().enumerate() {
        if extensions.iter().skip(i + 1).any(|other| other.extn_id == one.extn_id) {
            let because = format!("extension {} is repeated", one.extn_id);
            bad(Fault::Certificate, &because)?;
        }
    }
    check_usage(&certificate)?;
    check_name(&certificate)?;
    Ok(seen)
}

fn check_usage(certificate: &Certificate) -> Result<(), EvidenceError> {
    let tbs = &certificate.tbs_certificate;
    let constraints = tbs.get::<BasicConstraints>().map_err(malformed)?;
    if constraints.is_some_and(|(_, c)| c.ca) {
        return bad(Fault::CertificateUsage, "it is an authority's, which signs no artifacts");
    }
    let usage = tbs.get::<KeyUsage>().map_err(malformed)?;
    let Some((_, usage)) = usage else {
        return bad(Fault::CertificateUsage, "it does not say what its key is for");
    };
    if !usage.digital_signature() || usage.key_cert_sign() || usage.crl_sign() {
        return bad(Fault::CertificateUsage, "its key is not for signatures alone");
    }
    let extended = tbs.get::<ExtendedKeyUsage>().map_err(malformed)?;
    if !extended.is_some_and(|(_, e)| e.0.contains(&CODE_SIGNING)) {
        return bad(Fault::CertificateUsage, "it is not for code signing");
    }
    Ok(())
}

fn check_name(certificate: &Certificate) -> Result<(), EvidenceError> {
    let names = certificate.tbs_certificate.get::<SubjectAltName>().map_err(malformed)?;
    let names = names.map(|(_, n)| n.0).unwrap_or_default();
    match names.as_slice() {
        [GeneralName::Rfc822Name(_) | GeneralName::UniformResourceIdentifier(_)] => Ok(()),
        [] => bad(Fault::Certificate, "it names nobody"),
        [_] => bad(Fault::Certificate, "its name is neither an address nor an e-mail address"),
        _ => bad(Fault::Certificate, "it has more than one name"),
    }
}

#[allow(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn malformed(e: x509_cert::der::Error) -> EvidenceError {
    EvidenceError::fault(Fault::Certificate, format!("certificate: {e}"))
}

fn bad(fault: Fault, because: &str) -> Result<(), EvidenceError> {
    Err(EvidenceError::fault(fault, format!("certificate: {because}")))
}
