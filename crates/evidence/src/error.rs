//! Why evidence does not hold, or could not be judged.

use countersign_core::{EvidenceState, Timestamp};

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
        /// What does not verify.
        because: String,
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
            Self::TrustMaterial { .. } | Self::Unsupported { .. } => {
                EvidenceState::Unreachable { because }
            }
            _ => EvidenceState::Invalid { because },
        }
    }

    pub(crate) fn malformed(what: &'static str, because: impl AsRef<str>) -> Self {
        Self::Malformed { what, because: shown(because.as_ref()) }
    }

    pub(crate) fn signature(because: impl AsRef<str>) -> Self {
        Self::Signature { because: shown(because.as_ref()) }
    }

    pub(crate) fn material(what: &'static str, because: impl AsRef<str>) -> Self {
        Self::TrustMaterial { what, because: shown(because.as_ref()) }
    }
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
