//! The closed set of reasons: every refusal and hold that a person sees carries one of these.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, $short:literal;)+) => {
        /// Why something was not admitted. Clients and policies see the stable name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum ReasonCode {
            $($(#[doc = $doc])+ #[serde(rename = $name)] $variant,)+
        }

        impl ReasonCode {
            /// Every reason, in the order of the documentation.
            pub const ALL: &'static [ReasonCode] = &[$(Self::$variant,)+];

            /// The stable name (`known-vulnerable`).
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// A few words for a status line.
            #[must_use]
            pub fn short(self) -> &'static str {
                match self { $(Self::$variant => $short,)+ }
            }
        }
    };
}

reasons! {
    /// The bytes differ from the digest that the index, lock file or signed list gives.
    DigestMismatch = "digest-mismatch", "bytes differ from the index's digest";
    /// The same name, version and file were seen with another digest before.
    DigestChanged = "digest-changed", "same version seen before with other bytes";
    /// The index gives no digest, or only a broken one.
    DigestWeak = "digest-weak", "the index gives no strong digest";
    /// A feed lists this version as malicious.
    KnownMalicious = "known-malicious", "listed as malicious";
    /// A feed lists a vulnerability that policy does not tolerate.
    KnownVulnerable = "known-vulnerable", "known vulnerability";
    /// Published more recently than policy wants.
    CoolDown = "cool-down", "too new, cool-down";
    /// Nobody says when it was published, and policy wants to know.
    AgeUnknown = "age-unknown", "publish time unknown";
    /// The name is reserved for another upstream.
    ReservedNamespace = "reserved-namespace", "name reserved for another upstream";
    /// A deny list names it.
    Denied = "denied", "on the deny list";
    /// Withdrawn by its publisher.
    Yanked = "yanked", "yanked by its publisher";
    /// Evidence was offered and does not hold.
    EvidenceInvalid = "evidence-invalid", "evidence does not verify";
    /// Evidence rests on an algorithm or a key that policy holds to be too weak.
    AlgorithmWeak = "algorithm-weak", "evidence rests on a weak algorithm";
    /// Policy asks for evidence and there is none.
    EvidenceMissing = "evidence-missing", "required evidence is missing";
    /// Earlier versions had evidence that this one lacks, or came from another repository.
    ProvenanceLost = "provenance-lost", "evidence of earlier versions is gone or elsewhere";
    /// It was built or published otherwise than the versions before it.
    ProvenanceChanged = "provenance-changed", "built or published otherwise than before";
    /// The first release after a year without one, and still young.
    PublisherSilent = "publisher-silent", "first release after a long silence";
    /// The archive attacks whoever unpacks it, or is none.
    ArchiveUnsafe = "archive-unsafe", "unsafe or malformed archive";
    /// Capabilities meet in its code as they do in malicious code.
    SuspiciousCode = "suspicious-code", "looks like malicious code";
    /// A scan that policy asks for could not be done.
    ScanIncomplete = "scan-incomplete", "a required scan was not done";
    /// The artifact is in no index that the gate knows.
    NotInIndex = "not-in-index", "in no index that the gate knows";
    /// A side door: an address outside the configured upstreams.
    ClosedDoor = "closed-door", "address outside the configured upstreams";
    /// The index could not be understood.
    IndexMalformed = "index-malformed", "upstream index is malformed";
    /// The upstream's index is not signed by a key that the client trusts.
    IndexUntrusted = "index-untrusted", "upstream index is not trusted";
    /// The upstream sent fewer or more bytes than it announced.
    UpstreamTruncated = "upstream-truncated", "upstream sent another length";
    /// The upstream stopped sending.
    UpstreamStalled = "upstream-stalled", "upstream stopped sending";
    /// The upstream answered with a redirect that leads elsewhere.
    UpstreamRedirect = "upstream-redirect", "upstream redirected elsewhere";
    /// The upstream answered with an error or could not be reached.
    UpstreamFailed = "upstream-failed", "upstream failed";
    /// The upstream sent a page where an archive was expected.
    UpstreamType = "upstream-type", "upstream sent another kind of content";
    /// Larger than the configured limit.
    TooLarge = "too-large", "larger than the limit";
    /// A rule of the user's own policy.
    Policy = "policy", "refused by a policy rule";
    /// The policy could not be evaluated: treated as a refusal.
    PolicyError = "policy-error", "policy could not be evaluated";
    /// The gate's disk is full, so that nothing new can be recorded: treated as a refusal.
    StorageFull = "storage-full", "the gate's disk is full";
    /// The gate itself failed: treated as a refusal.
    Internal = "internal", "the gate failed";
}

impl ReasonCode {
    /// The reason of that stable name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|r| r.name() == name)
    }

    /// Whether the upstream, not the artifact, is at fault, so that trying again may help.
    #[must_use]
    pub fn is_upstream(self) -> bool {
        matches!(
            self,
            Self::UpstreamTruncated
                | Self::UpstreamStalled
                | Self::UpstreamRedirect
                | Self::UpstreamFailed
                | Self::UpstreamType
                | Self::IndexMalformed
        )
    }

    /// Whether the gate, not the artifact, is at fault.
    #[must_use]
    pub fn is_gate(self) -> bool {
        matches!(self, Self::StorageFull | Self::Internal)
    }

    /// Whether no waiver can lift it: what arrived is not what was named, or the gate is unsure.
    #[must_use]
    pub fn is_final(self) -> bool {
        self.is_upstream()
            || self.is_gate()
            || matches!(
                self,
                Self::DigestMismatch
                    | Self::DigestChanged
                    | Self::EvidenceInvalid
                    | Self::IndexUntrusted
                    | Self::NotInIndex
                    | Self::ClosedDoor
                    | Self::TooLarge
                    | Self::PolicyError
            )
    }
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found_again() {
        for r in ReasonCode::ALL {
            assert_eq!(ReasonCode::from_name(r.name()), Some(*r));
        }
    }

    #[test]
    fn serde_uses_the_stable_name() {
        for r in ReasonCode::ALL {
            assert_eq!(serde_json::to_string(r).unwrap(), format!("\"{}\"", r.name()));
        }
    }
}
