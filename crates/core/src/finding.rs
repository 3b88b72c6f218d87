//! Findings: what a scanner says about a version or an artifact.

use crate::time::Timestamp;
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
    /// Whether and how likely it is attacked, of a vulnerability that a feed says so of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exploitation: Option<Exploitation>,
    /// What VEX documents state about it for this version.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vex: Vec<VexClaim>,
}

/// Whether a vulnerability is attacked, as feeds of their own kind say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exploitation {
    /// Whether a catalogue lists it as exploited in the wild (CISA's KEV).
    #[serde(default)]
    pub known: bool,
    /// The date (`2025-09-15`) by which the catalogue wants it remedied, where it gives one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<String>,
    /// How likely it is attacked within 30 days, in permille (FIRST's EPSS), where a feed says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epss: Option<u16>,
}

impl Exploitation {
    /// Whether the day by which the catalogue wants it remedied is past at `now` (UTC).
    #[must_use]
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        let end = self.due.as_ref().and_then(|d| Timestamp::parse(&format!("{d}T23:59:59Z")));
        self.known && end.is_some_and(|end| end < now)
    }
}

/// What a VEX document states about a vulnerability in a product (OpenVEX and CSAF know the same
/// four).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VexStatus {
    /// The product is not affected.
    NotAffected,
    /// The product is affected.
    Affected,
    /// The product holds a fix.
    Fixed,
    /// Nobody knows yet.
    UnderInvestigation,
}

impl VexStatus {
    /// Its name, as OpenVEX writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NotAffected => "not_affected",
            Self::Affected => "affected",
            Self::Fixed => "fixed",
            Self::UnderInvestigation => "under_investigation",
        }
    }
}

/// Whose a VEX document is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VexSource {
    /// That of whoever runs the gate: a folder that the configuration names as its own.
    Own,
    /// A vendor's: a folder or feed that the configuration names as such.
    Vendor,
    /// The package's own word about itself.
    Package,
}

impl VexSource {
    /// Its name, as policies see it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Vendor => "vendor",
            Self::Package => "package",
        }
    }
}

/// What one VEX document states about one finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VexClaim {
    /// What it states.
    pub status: VexStatus,
    /// Why, in the form's closed words (`vulnerable_code_not_present`); none where none is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub justification: Option<String>,
    /// Whose document it is.
    pub source: VexSource,
    /// The document's id.
    pub document: String,
}

impl VexClaim {
    /// Whether the claim says that the vulnerability does not stand, and why. Without a justification
    /// a claim that a product is not affected is a claim without a ground (OpenVEX demands one).
    #[must_use]
    pub fn clears(&self) -> bool {
        match self.status {
            VexStatus::NotAffected => self.justification.is_some(),
            VexStatus::Fixed => true,
            VexStatus::Affected | VexStatus::UnderInvestigation => false,
        }
    }
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
    fn a_due_date_is_past_when_its_day_is() {
        let of = |known, due: Option<&str>| Exploitation {
            known,
            due: due.map(str::to_owned),
            epss: None,
        };
        for (e, now, want) in [
            (of(true, Some("2025-09-15")), "2025-09-15T23:59:59Z", false),
            (of(true, Some("2025-09-15")), "2025-09-16T00:00:00Z", true),
            (of(false, Some("2025-09-15")), "2026-01-01T00:00:00Z", false),
            (of(true, None), "2026-01-01T00:00:00Z", false),
            (of(true, Some("soon")), "2026-01-01T00:00:00Z", false),
        ] {
            assert_eq!(e.is_overdue(Timestamp::parse(now).unwrap()), want, "{e:?} {now}");
        }
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
