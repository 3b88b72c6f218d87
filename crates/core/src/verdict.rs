//! Verdicts: admit, hold or refuse, with the rules that fired.

use crate::reason::ReasonCode;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What is done with an artifact. Ordered from the mildest to the strictest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It may be installed.
    Admit,
    /// It waits: for time to pass, or for a person.
    Hold,
    /// It may not be installed.
    Refuse,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Admit => "admit",
            Self::Hold => "hold",
            Self::Refuse => "refuse",
        })
    }
}

/// One rule that fired against an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FiredRule {
    /// The rule's id: a policy's `@id`, or `gate.<reason>` for what no policy can allow.
    pub rule: String,
    /// The verdict that this rule alone would give.
    pub verdict: Verdict,
    /// The reason from the closed set.
    pub reason: ReasonCode,
    /// What it fired on, in words for people: advisories, ages, digests.
    pub detail: String,
    /// When a hold ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// The outcome of judging one version or artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// What is done.
    pub verdict: Verdict,
    /// Every rule that fired, strictest first. In audit mode the verdict is `admit` while rules
    /// are listed: what would have happened.
    pub fired: Vec<FiredRule>,
    /// Whether the policy only records (audit mode).
    pub audit_only: bool,
    /// The waivers (by id) without which the verdict would have been stricter.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waivers: Vec<String>,
    /// The digest of the policy set that judged.
    pub policy: String,
}

impl Decision {
    /// The decision that `fired` rules give: the strictest of them, or admit where none fired.
    #[must_use]
    pub fn from_fired(mut fired: Vec<FiredRule>, audit_only: bool, policy: String) -> Self {
        fired.sort_by(|a, b| b.verdict.cmp(&a.verdict).then_with(|| a.rule.cmp(&b.rule)));
        let strictest = fired.first().map_or(Verdict::Admit, |f| f.verdict);
        let verdict = if audit_only { Verdict::Admit } else { strictest };
        Self { verdict, fired, audit_only, waivers: Vec::new(), policy }
    }

    /// A refusal that no policy took part in: what arrived is not what was named.
    #[must_use]
    pub fn refused_by_gate(reason: ReasonCode, detail: impl Into<String>, policy: String) -> Self {
        let rule = FiredRule {
            rule: format!("gate.{reason}"),
            verdict: Verdict::Refuse,
            reason,
            detail: detail.into(),
            until: None,
        };
        Self::from_fired(vec![rule], false, policy)
    }

    /// The rule that a short message names: the strictest one that fired.
    #[must_use]
    pub fn leading(&self) -> Option<&FiredRule> {
        self.fired.first()
    }

    /// When the decision ends by itself: all that stands against the artifact are holds with an
    /// end, and this is the last of them.
    #[must_use]
    pub fn ends(&self) -> Option<Timestamp> {
        if self.verdict != Verdict::Hold {
            return None;
        }
        let holds = self.fired.iter().filter(|f| f.verdict > Verdict::Admit);
        holds.map(|f| f.until).collect::<Option<Vec<_>>>()?.into_iter().max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(verdict: Verdict, until: Option<i64>) -> FiredRule {
        FiredRule {
            rule: format!("{verdict}"),
            verdict,
            reason: ReasonCode::Policy,
            detail: String::new(),
            until: until.map(Timestamp),
        }
    }

    #[test]
    fn the_strictest_rule_decides_whatever_the_order() {
        let all = [rule(Verdict::Hold, Some(5)), rule(Verdict::Refuse, None)];
        for fired in [all.to_vec(), all.iter().rev().cloned().collect()] {
            assert_eq!(Decision::from_fired(fired, false, String::new()).verdict, Verdict::Refuse);
        }
        assert_eq!(Decision::from_fired(vec![], false, String::new()).verdict, Verdict::Admit);
    }

    #[test]
    fn audit_admits_and_still_lists() {
        let d = Decision::from_fired(vec![rule(Verdict::Refuse, None)], true, String::new());
        assert_eq!((d.verdict, d.fired.len()), (Verdict::Admit, 1));
    }

    #[test]
    fn a_hold_ends_only_when_all_its_rules_do() {
        let ends = |fired| Decision::from_fired(fired, false, String::new()).ends();
        assert_eq!(
            ends(vec![rule(Verdict::Hold, Some(5)), rule(Verdict::Hold, Some(9))]),
            Some(Timestamp(9))
        );
        assert_eq!(ends(vec![rule(Verdict::Hold, Some(5)), rule(Verdict::Hold, None)]), None);
        assert_eq!(ends(vec![rule(Verdict::Refuse, Some(5))]), None);
    }
}
