//! Findings: what a scanner says about a version or an artifact.

use serde::{Deserialize, Serialize};
use std::fmt;

/// How bad a finding is. `Unknown` is not "harmless": policy decides what it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// For information (an unmaintained crate, for example).
    Info,
    /// Low.
    Low,
    /// Moderate ("medium" in CVSS).
    Moderate,
    /// Nobody has said how bad it is.
    Unknown,
    /// High.
    High,
    /// Critical.
    Critical,
}

impl Severity {
    /// The rank that policies compare: 0 info, 1 low, 2 moderate, 3 high, 4 critical; an unknown
    /// severity has no rank.
    #[must_use]
    pub fn rank(self) -> Option<i64> {
        match self {
            Self::Info => Some(0),
            Self::Low => Some(1),
            Self::Moderate => Some(2),
            Self::Unknown => None,
            Self::High => Some(3),
            Self::Critical => Some(4),
        }
    }

    /// The severity of a CVSS base score (CVSS v3.1 specification, section 5; 0.0 is `Info`).
    #[must_use]
    pub fn from_cvss_score(score: f64) -> Self {
        match score {
            s if s >= 9.0 => Self::Critical,
            s if s >= 7.0 => Self::High,
            s if s >= 4.0 => Self::Moderate,
            s if s > 0.0 => Self::Low,
            _ => Self::Info,
        }
    }

    /// The severity of a word as databases write it (`MODERATE`, `medium`, …).
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        match word.to_ascii_lowercase().as_str() {
            "critical" => Some(Self::Critical),
            "high" | "important" => Some(Self::High),
            "moderate" | "medium" => Some(Self::Moderate),
            "low" | "minor" => Some(Self::Low),
            "none" | "info" | "informational" => Some(Self::Info),
            _ => None,
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Moderate => "moderate",
            Self::Unknown => "unknown",
            Self::High => "high",
            Self::Critical => "critical",
        })
    }
}

/// What kind of thing was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FindingKind {
    /// A feed lists this version as malicious.
    Malicious,
    /// A feed lists a vulnerability that affects this version.
    Vulnerability,
    /// A feed says something that is no vulnerability (unmaintained, unsound, …).
    Notice,
    /// The archive's structure attacks whoever unpacks it, or is not what it claims to be.
    Structure,
    /// The archive runs code when it is installed.
    InstallHook,
    /// What the code in the archive can do (open connections, start programs, …): shown, and
    /// compared with other versions; nothing is wrong with it by itself.
    Capability,
    /// Several capabilities meet in one place as they do in malicious code. A scanner's judgement,
    /// not a feed's: it may be wrong.
    Suspicious,
    /// What is declared about the licence, what is found, and where the two do not agree.
    Licence,
}

impl FindingKind {
    /// The kind's stable name, as policies see it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Malicious => "malicious",
            Self::Vulnerability => "vulnerability",
            Self::Notice => "notice",
            Self::Structure => "structure",
            Self::InstallHook => "install-hook",
            Self::Capability => "capability",
            Self::Suspicious => "suspicious",
            Self::Licence => "licence",
        }
    }
}

/// One finding about a version or an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Stable identity: the advisory's id (`GHSA-…`, `MAL-…`), or a scanner's rule id.
    pub id: String,
    /// Other names of the same thing (`CVE-…`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// The kind.
    pub kind: FindingKind,
    /// How bad.
    pub severity: Severity,
    /// One line for people.
    pub title: String,
    /// The first version that is not affected, where one is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed_in: Option<String>,
    /// The file inside the artifact, where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Where in the file and how surely, of what a scanner saw in content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<Observed>,
}

/// How sure a scanner is that what it saw is what its rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    /// Harmless code often looks like that.
    Low,
    /// Harmless code may look like that.
    Medium,
    /// Harmless code hardly looks like that.
    High,
}

/// What a content scanner saw, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// The line, from 1, where the content has lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// What the code can do there (`network`, `execute`), several joined by `+`.
    pub capability: String,
    /// How sure the scanner is.
    pub confidence: Confidence,
    /// Names this finding among all scans of this and other versions: it depends on the rule, the
    /// file's name and the text that was found, and not on the line.
    pub key: String,
}

impl Finding {
    /// Whether `id` is this finding's id or one of its aliases.
    #[must_use]
    pub fn is_named(&self, id: &str) -> bool {
        self.id.eq_ignore_ascii_case(id) || self.aliases.iter().any(|a| a.eq_ignore_ascii_case(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_severity_has_no_rank_and_sorts_above_moderate() {
        assert_eq!(Severity::Unknown.rank(), None);
        assert!(Severity::Unknown > Severity::Moderate);
        assert!(Severity::Unknown < Severity::High);
    }

    #[test]
    fn cvss_bands() {
        for (score, want) in [
            (0.0, Severity::Info),
            (0.1, Severity::Low),
            (3.9, Severity::Low),
            (4.0, Severity::Moderate),
            (7.0, Severity::High),
            (8.9, Severity::High),
            (9.0, Severity::Critical),
        ] {
            assert_eq!(Severity::from_cvss_score(score), want, "{score}");
        }
    }
}
