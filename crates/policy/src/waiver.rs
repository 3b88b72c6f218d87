//! Waivers: a person's word that one rule or finding shall not stand, for one thing, for a time.

use countersign_core::{Finding, Purl, Sha256Digest, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// What a waiver is for: one version, or one file by its digest. Never a name alone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum WaiverTarget {
    /// Every file of exactly this version.
    Version(Purl),
    /// Exactly these bytes.
    Digest(Sha256Digest),
}

/// A text that no waiver can be for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no target of a waiver: {because}\n\
     name a version (`pkg:npm/left-pad@1.3.0`) or a file's digest (`sha256:…`)"
)]
pub struct WaiverTargetError {
    /// The text as given.
    pub text: String,
    /// What is wrong with it.
    pub because: String,
}

impl FromStr for WaiverTarget {
    type Err = WaiverTargetError;
    fn from_str(text: &str) -> Result<Self, WaiverTargetError> {
        let err = |because: String| WaiverTargetError { text: text.to_owned(), because };
        if !text.starts_with("pkg:") {
            return text.parse().map(Self::Digest).map_err(|e| err(e.to_string()));
        }
        let purl: Purl = text.parse().map_err(|e: countersign_core::PurlError| err(e.because))?;
        match purl.version() {
            Some(v) if !v.is_empty() => Ok(Self::Version(purl)),
            _ => Err(err("it names no version".to_owned())),
        }
    }
}

impl fmt::Display for WaiverTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(purl) => write!(f, "{purl}"),
            Self::Digest(digest) => write!(f, "sha256:{digest}"),
        }
    }
}

impl Serialize for WaiverTarget {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for WaiverTarget {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A waiver that somebody approved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActiveWaiver {
    /// The waiver's id, as decisions name it.
    pub id: String,
    /// What it is for.
    pub target: WaiverTarget,
    /// What it lifts: a rule's id, a reason's name, or the id (or alias) of a finding.
    pub covers: String,
    /// When it ends; from then on it is inert.
    pub until: Timestamp,
}

/// What is judged, as far as waivers are concerned.
#[derive(Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) purl: &'a Purl,
    /// The artifact's digest, or those that the index announces for the version.
    pub(crate) digests: &'a [Sha256Digest],
}

impl ActiveWaiver {
    /// Whether it is in force at `now` and for `subject`.
    pub(crate) fn applies(&self, subject: Subject<'_>, now: Timestamp) -> bool {
        now < self.until
            && match &self.target {
                WaiverTarget::Digest(digest) => subject.digests.contains(digest),
                WaiverTarget::Version(purl) => {
                    let p = subject.purl;
                    // A target without qualifiers is for every architecture of the version.
                    purl == p || *purl == Purl::new(p.ecosystem(), p.name(), p.version())
                }
            }
    }
}

/// The words that policies see as `context.waived`: what `waivers` cover, and for a finding that is
/// covered under another spelling, the spelling that the finding itself uses.
pub(crate) fn waived_words<'a>(
    waivers: &[&'a ActiveWaiver],
    findings: impl Iterator<Item = &'a Finding> + Clone,
) -> Vec<&'a str> {
    let mut words = Vec::new();
    for waiver in waivers {
        words.push(waiver.covers.as_str());
        for finding in findings.clone().filter(|f| f.is_named(&waiver.covers)) {
            let names = std::iter::once(&finding.id).chain(&finding.aliases);
            words.extend(
                names.filter(|n| n.eq_ignore_ascii_case(&waiver.covers)).map(String::as_str),
            );
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:0101010101010101010101010101010101010101010101010101010101010101";

    fn waiver(target: &str) -> ActiveWaiver {
        ActiveWaiver {
            id: "w1".into(),
            target: target.parse().unwrap(),
            covers: "cool-down".into(),
            until: Timestamp(100),
        }
    }

    #[test]
    fn targets_round_trip_and_a_name_alone_is_none() {
        for text in ["pkg:npm/left-pad@1.3.0", "pkg:deb/debian/hello@2.10-3?arch=amd64", DIGEST] {
            assert_eq!(text.parse::<WaiverTarget>().unwrap().to_string(), text);
        }
        for text in ["pkg:npm/left-pad", "left-pad", "sha256:00", "pkg:gem/rails@7", ""] {
            let e = text.parse::<WaiverTarget>().unwrap_err();
            assert!(e.to_string().contains("name a version"), "{e}");
        }
    }

    #[test]
    fn a_waiver_applies_to_its_target_until_it_ends() {
        let digests = ["0".repeat(64).parse().unwrap(), DIGEST.parse().unwrap()];
        for (target, purl, now, want) in [
            ("pkg:npm/a@1.0.0", "pkg:npm/a@1.0.0", 99, true),
            ("pkg:npm/a@1.0.0", "pkg:npm/a@1.0.0", 100, false),
            ("pkg:npm/a@1.0.0", "pkg:npm/a@1.0.1", 0, false),
            ("pkg:npm/a@1.0.0", "pkg:pypi/a@1.0.0", 0, false),
            ("pkg:pypi/A_b@1.0.0", "pkg:pypi/a-b@1.0.0", 0, true),
            ("pkg:deb/debian/a@1", "pkg:deb/debian/a@1?arch=amd64", 0, true),
            ("pkg:deb/debian/a@1?arch=arm64", "pkg:deb/debian/a@1?arch=amd64", 0, false),
            (DIGEST, "pkg:npm/b@1.0.0", 0, true),
            (DIGEST, "pkg:npm/b@1.0.0", 100, false),
        ] {
            let purl: Purl = purl.parse().unwrap();
            let subject = Subject { purl: &purl, digests: &digests };
            assert_eq!(waiver(target).applies(subject, Timestamp(now)), want, "{target} {purl}");
        }
        let purl: Purl = "pkg:npm/b@1.0.0".parse().unwrap();
        let other = Subject { purl: &purl, digests: &digests[..1] };
        assert!(!waiver(DIGEST).applies(other, Timestamp(0)));
    }
}
