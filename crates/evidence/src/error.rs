//! Why evidence does not hold, or could not be judged.

use countersign_core::{AlgorithmUse, EvidenceState, Timestamp};

/// Why a piece of evidence does not hold, or could not be judged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EvidenceError {
    /// A document beyond its limit, which keeps hostile input from exhausting memory and time.
    #[error("{what} is beyond the limit of {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// The limit, with its unit.
        limit: String,
    },
    /// A document that cannot be understood, or that two parsers could understand differently.
    #[error("{what} is malformed: {because}")]
    Malformed {
        /// What is malformed.
        what: &'static str,
        /// What is wrong with it.
        because: String,
    },
    /// The signature, the certificate or the log's proof does not verify.
    #[error("signature does not verify: {because}")]
    Signature {
        /// Which part of it.
        fault: Fault,
        /// What does not verify.
        because: String,
    },
    /// Something in it was made with an algorithm or a key that is too weak to prove anything.
    #[error("{what} uses {algorithm}, which is too weak or unknown")]
    Weak {
        /// What uses it.
        what: &'static str,
        /// The algorithm, with the size of the key where that is the fault.
        algorithm: String,
        /// The algorithms that were met there.
        seen: Vec<AlgorithmUse>,
    },
    /// The attestation is about something else.
    #[error("attestation is about `{found}`, not about `{expected}`")]
    OtherSubject {
        /// The subject's name as attested.
        found: String,
        /// The name that was asked for.
        expected: String,
    },
    /// The attestation is about other bytes.
    #[error("attested {algorithm} digest differs from the artifact's")]
    OtherDigest {
        /// The digest algorithm.
        algorithm: String,
    },
    /// The attestation names no digest that the gate computed, so it binds nothing.
    #[error("attestation names no digest that can be compared with the artifact's")]
    NoCommonDigest,
    /// The signed predicate type is not the one that was announced or asked for.
    #[error("predicate type is `{found}`, expected {expected}")]
    OtherPredicate {
        /// The signed predicate type.
        found: String,
        /// What was expected, in words.
        expected: String,
    },
    /// Two sources that must say the same say different things.
    #[error("{field}: {said_by} says `{said}`, the certificate says `{certificate}`")]
    Disagreement {
        /// What they disagree on.
        field: &'static str,
        /// Who disagrees with the certificate.
        said_by: &'static str,
        /// What it says.
        said: String,
        /// What the certificate says; empty when it says nothing.
        certificate: String,
    },
    /// The key that the signature names is not among the registry's keys.
    #[error("signed by key `{key_id}`, which is not among the registry's keys; refresh them")]
    UnknownKey {
        /// The key's id as the signature names it.
        key_id: String,
    },
    /// The key was not valid when the log recorded the signature.
    #[error("key `{key_id}` was not valid at {at}, when the signature was logged")]
    KeyWindow {
        /// The key's id.
        key_id: String,
        /// The log's time.
        at: Timestamp,
    },
    /// The key was revoked, and nobody vouches that it signed before that.
    #[error("key `{key_id}` was revoked as of {since}, and nothing proves that it signed before")]
    Revoked {
        /// The key, as the organisation calls it.
        key_id: String,
        /// From when on it counts as somebody else's.
        since: Timestamp,
    },
    /// Nobody vouches for the time of the signature.
    #[error("no log or time stamp vouches for the time of the signature")]
    NoTime,
    /// Signed after the time of verification: one of the clocks is wrong.
    #[error("signed at {at}, which is after {now}; check the clock")]
    Future {
        /// The time of the signature.
        at: Timestamp,
        /// The time of verification.
        now: Timestamp,
    },
    /// What would judge it is missing: keys, roots. Says nothing against the evidence.
    #[error("{what} cannot be used: {because}")]
    TrustMaterial {
        /// Which trust material.
        what: &'static str,
        /// What is wrong with it.
        because: String,
    },
    /// Nobody here can tell whether it holds. Says nothing against the evidence.
    #[error("{because}")]
    NotJudged {
        /// Why.
        because: String,
    },
    /// It is of a kind that this version does not judge. Says nothing against the evidence.
    #[error("{what} `{found}` is not one that this version verifies")]
    Unsupported {
        /// What is unknown.
        what: &'static str,
        /// The unknown value.
        found: String,
    },
}

impl EvidenceError {
    /// The state of evidence that ended with this error: `Invalid` when it speaks against the
    /// evidence, `Unreachable` when the evidence could not be judged.
    #[must_use]
    pub fn into_state(self) -> EvidenceState {
        let because = self.to_string();
        match self {
            Self::TrustMaterial { .. } | Self::NotJudged { .. } | Self::Unsupported { .. } => {
                EvidenceState::Unreachable { because }
            }
            Self::Weak { seen, .. } => EvidenceState::Invalid { because, algorithms: seen },
            _ => EvidenceState::Invalid { because, algorithms: Vec::new() },
        }
    }

    pub(crate) fn malformed(what: &'static str, because: impl AsRef<str>) -> Self {
        Self::Malformed { what, because: shown(because.as_ref()) }
    }

    /// The stable name of the kind of error, for machines: `sct`, `other-digest`, `key-window`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "too-large",
            Self::Malformed { .. } => "malformed",
            Self::Signature { fault, .. } => fault.name(),
            Self::Weak { .. } => "weak-algorithm",
            Self::OtherSubject { .. } => "other-subject",
            Self::OtherDigest { .. } => "other-digest",
            Self::NoCommonDigest => "no-common-digest",
            Self::OtherPredicate { .. } => "other-predicate",
            Self::Disagreement { .. } => "disagreement",
            Self::UnknownKey { .. } => "unknown-key",
            Self::KeyWindow { .. } => "key-window",
            Self::Revoked { .. } => "revoked-key",
            Self::NoTime => "no-time",
            Self::Future { .. } => "future",
            Self::TrustMaterial { .. } => "trust-material",
            Self::NotJudged { .. } => "not-judged",
            Self::Unsupported { .. } => "unsupported",
        }
    }

    pub(crate) fn weak(what: &'static str, seen: Vec<AlgorithmUse>) -> Self {
        let names: Vec<String> = seen.iter().map(AlgorithmUse::label).collect();
        Self::Weak { what, algorithm: shown(&names.join(" with ")), seen }
    }

    pub(crate) fn signature(because: impl AsRef<str>) -> Self {
        Self::fault(Fault::Signature, because)
    }

    pub(crate) fn fault(fault: Fault, because: impl AsRef<str>) -> Self {
        Self::Signature { fault, because: shown(because.as_ref()) }
    }

    pub(crate) fn not_judged(because: impl AsRef<str>) -> Self {
        Self::NotJudged { because: shown(because.as_ref()) }
    }

    pub(crate) fn material(what: &'static str, because: impl AsRef<str>) -> Self {
        Self::TrustMaterial { what, because: shown(because.as_ref()) }
    }
}

macro_rules! faults {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal;)+) => {
        /// Which part of a signature does not hold.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Fault {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Fault {
            /// The stable name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

faults! {
    /// The signature is not one over these bytes by this key.
    Signature = "signature";
    /// The certificate cannot be read, or has not the form of a signer's.
    Certificate = "certificate";
    /// The certificate may not be used to sign artifacts.
    CertificateUsage = "certificate-usage";
    /// The certificate was not valid yet when the signature was made.
    CertificateNotYetValid = "certificate-not-yet-valid";
    /// The certificate had expired when the signature was made.
    CertificateExpired = "certificate-expired";
    /// No authority of the roots issued the certificate, or not at that time.
    CertificateIssuer = "certificate-issuer";
    /// The certificate's signed certificate time stamp is missing or does not hold (RFC 6962).
    Sct = "sct";
    /// The log is none of the roots'.
    UnknownLog = "unknown-log";
    /// The log's key was not valid when the entry was made.
    LogWindow = "log-window";
    /// The log's inclusion proof does not lead to its root.
    InclusionProof = "inclusion-proof";
    /// The log's checkpoint does not hold, or is another tree's.
    Checkpoint = "checkpoint";
    /// The log's promise (signed entry time stamp) is missing or does not hold.
    InclusionPromise = "inclusion-promise";
    /// The log's entry is about another signature.
    LogEntry = "log-entry";
    /// The log's time contradicts the certificate or the clock.
    IntegratedTime = "integrated-time";
    /// An RFC 3161 time stamp does not hold.
    TimeStamp = "time-stamp";
    /// The signature is about other bytes.
    Artifact = "artifact";
    /// Signed by somebody else.
    Identity = "identity";
    /// Vouched for by another identity provider.
    Issuer = "issuer";
    /// The bundle lacks what its version demands, or holds what it does not know.
    Bundle = "bundle";
}

/// Characters of hostile text that are shown to a person.
const SHOWN: usize = 240;

/// Hostile text made fit to be shown: bounded, and with no control characters.
pub(crate) fn shown(text: &str) -> String {
    let mut out = String::new();
    for (i, c) in text.chars().enumerate() {
        if i == SHOWN {
            out.push('…');
            break;
        }
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_is_bounded_and_has_no_control_characters() {
        let text = shown(&format!("a\u{1b}[31m\n{}", "x".repeat(10_000)));
        assert!(text.chars().count() < 300 && !text.chars().any(char::is_control), "{text}");
        assert!(text.starts_with("a\\u{1b}[31m\\n"));
    }

    #[test]
    fn what_could_not_be_judged_is_never_invalid() {
        let unsupported = EvidenceError::Unsupported { what: "kind", found: "x".into() };
        assert!(matches!(unsupported.into_state(), EvidenceState::Unreachable { .. }));
        assert!(matches!(EvidenceError::NoTime.into_state(), EvidenceState::Invalid { .. }));
    }
}
