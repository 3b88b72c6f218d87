//! Annotations of policies: what turns a Cedar `forbid` into a rule with a verdict and a reason.

use crate::error::{PolicyError, PolicyFile, position};
use crate::spelling::advice;
use countersign_core::{ReasonCode, Verdict};
use std::ops::Range;

/// What a policy does when it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It lets pass: a version, an artifact, or (for `tolerate`) a finding.
    Permit,
    /// It stands against.
    Forbid,
}

/// One policy of a set, for people who ask why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleInfo {
    /// The policy's `@id`; for a permit without one, `file:line`.
    pub id: String,
    /// What it does when it matches.
    pub effect: Effect,
    /// The actions that it is about: `tolerate`, `resolve`, `install`.
    pub actions: Vec<&'static str>,
    /// The verdict that it gives: `admit` for a permit.
    pub verdict: Verdict,
    /// The reason that it gives; permits give none that anybody sees.
    pub reason: ReasonCode,
    /// Its `@message`, or an empty text.
    pub message: String,
    /// Its `@hours`: the age at which its hold ends, where that is not `cool_down_hours`.
    pub hours: Option<i64>,
    /// Whether a waiver that names the rule or its reason lifts it.
    pub waivable: bool,
    /// Whether it comes with the gate.
    pub shipped: bool,
    /// The file that holds it.
    pub file: String,
    /// The line of that file on which it starts, from 1.
    pub line: usize,
    /// Its text.
    pub text: String,
}

/// The actions of the schema.
pub(crate) const ACTIONS: [&str; 3] = ["tolerate", "resolve", "install"];

const KEYS: [&str; 5] = ["id", "verdict", "reason", "message", "hours"];

/// One policy as Cedar parsed it, with the places that errors point to.
pub(crate) struct RawRule<'a> {
    pub(crate) file: &'a PolicyFile,
    pub(crate) shipped: bool,
    pub(crate) effect: Effect,
    pub(crate) actions: Vec<&'static str>,
    /// The bytes of the file that hold the policy.
    pub(crate) span: Range<usize>,
    /// Key, value, and the bytes from the `@` to the closing bracket.
    pub(crate) annotations: Vec<(String, String, Range<usize>)>,
}

impl RawRule<'_> {
    fn error(&self, offset: usize, message: impl Into<String>) -> PolicyError {
        PolicyError::at(&self.file.name, &self.file.text, offset, message)
    }

    fn get(&self, key: &str) -> Option<(&str, usize)> {
        self.annotations.iter().find(|(k, _, _)| k == key).map(|(_, v, at)| (v.as_str(), at.start))
    }

    /// The offset of the value of the annotation that starts at `at`: past its opening quote.
    fn value_at(&self, at: usize) -> usize {
        let rest = self.file.text.get(at..).unwrap_or("");
        rest.find('"').map_or(at, |quote| at + quote + 1)
    }

    /// Checks the annotations and makes the rule.
    pub(crate) fn check(&self, errors: &mut Vec<PolicyError>) -> RuleInfo {
        let (line, _, _) = position(&self.file.text, self.span.start);
        let text = self.file.text.get(self.span.clone()).unwrap_or("");
        self.check_keys(errors);
        let id = self.id(line, errors);
        let reason = self.reason(errors);
        let reads_waivers = self.decides() && self.body().contains("context.waived");
        let asks_for = |name: &str| self.body().contains(&format!("\"{name}\""));
        let lifted = asks_for(&id) || (reason != ReasonCode::Policy && asks_for(reason.name()));
        if reads_waivers && !lifted {
            let message =
                format!("`{id}` reads `context.waived` and asks neither for its id nor its reason");
            let e = self.error(self.span.start, message);
            errors.push(e.help(format!(
                "write `context.waived.contains(\"{id}\")`: no waiver could lift it else"
            )));
        }
        RuleInfo {
            verdict: self.verdict(errors),
            hours: self.hours(reason, errors),
            id,
            effect: self.effect,
            actions: self.actions.clone(),
            reason,
            message: self.get("message").map_or(String::new(), |(m, _)| m.trim().to_owned()),
            waivable: reads_waivers && lifted,
            shipped: self.shipped,
            file: self.file.name.clone(),
            line,
            text: text.to_owned(),
        }
    }

    /// The policy's text after its annotations.
    fn body(&self) -> &str {
        let start = self.annotations.iter().map(|(_, _, span)| span.end).max();
        let start = start.unwrap_or(self.span.start);
        self.file.text.get(start..self.span.end).unwrap_or("")
    }

    /// Whether it gives a verdict: a `forbid` about more than findings.
    fn decides(&self) -> bool {
        self.effect == Effect::Forbid && self.actions.iter().any(|a| *a != "tolerate")
    }

    fn check_keys(&self, errors: &mut Vec<PolicyError>) {
        for (key, _, Range { start: at, .. }) in &self.annotations {
            if !KEYS.contains(&key.as_str()) {
                let e = self.error(*at, format!("unknown annotation `@{key}`"));
                errors.push(e.help(advice(key, &KEYS)));
            } else if !self.decides() && !["id", "message"].contains(&key.as_str()) {
                let what = match self.effect {
                    Effect::Permit => "a permit gives no verdict",
                    Effect::Forbid => "a policy about findings alone gives no verdict",
                };
                let e = self.error(*at, format!("`@{key}` has no meaning here: {what}"));
                errors.push(e.help("leave it out"));
            }
        }
    }

    fn id(&self, line: usize, errors: &mut Vec<PolicyError>) -> String {
        let Some((id, at)) = self.get("id") else {
            if self.effect == Effect::Forbid {
                let e = self.error(self.span.start, "a forbid policy without `@id`");
                errors.push(
                    e.help("write `@id(\"my-rule\")` above it: refusals and waivers name it"),
                );
            }
            return format!("{}:{line}", self.file.name);
        };
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-._".contains(c);
        let at = self.value_at(at);
        if id.is_empty() || id.len() > 100 || !id.chars().all(plain) {
            let e = self.error(at, format!("`{id}` cannot be the id of a rule"));
            errors.push(e.help("use at most 100 lower-case letters, digits, `-`, `.` and `_`"));
        } else if id.starts_with("gate.") || [crate::NO_PERMIT, crate::POLICY_ERROR].contains(&id) {
            let e = self.error(at, format!("the id `{id}` is the gate's own"));
            errors.push(e.help("choose another id"));
        } else if ReasonCode::from_name(id).is_some() {
            let e = self.error(at, format!("the id `{id}` is the name of a reason"));
            errors.push(e.help("choose another id: a waiver for one would lift the other"));
        }
        id.to_owned()
    }

    fn verdict(&self, errors: &mut Vec<PolicyError>) -> Verdict {
        if self.effect == Effect::Permit {
            return Verdict::Admit;
        }
        match self.get("verdict") {
            Some(("hold", _)) => Verdict::Hold,
            None | Some(("refuse", _)) => Verdict::Refuse,
            Some((other, at)) => {
                let e = self.error(self.value_at(at), format!("unknown verdict `{other}`"));
                errors.push(e.help(advice(other, &["hold", "refuse"])));
                Verdict::Refuse
            }
        }
    }

    fn reason(&self, errors: &mut Vec<PolicyError>) -> ReasonCode {
        let Some((name, at)) = self.get("reason") else { return ReasonCode::Policy };
        ReasonCode::from_name(name).unwrap_or_else(|| {
            let known: Vec<&str> = ReasonCode::ALL.iter().map(|r| r.name()).collect();
            let e = self.error(self.value_at(at), format!("unknown reason `{name}`"));
            errors.push(e.help(advice(name, &known)));
            ReasonCode::Policy
        })
    }

    fn hours(&self, reason: ReasonCode, errors: &mut Vec<PolicyError>) -> Option<i64> {
        let (text, at) = self.get("hours")?;
        let hours = text.parse::<u32>().ok().map(i64::from);
        if hours.is_none() || !ends_with_age(reason) {
            let e = self.error(at, format!("`@hours(\"{text}\")` is not understood"));
            errors.push(e.help(
                "give whole hours, on a rule with `@reason(\"cool-down\")` or `publisher-silent`",
            ));
        }
        hours
    }
}

/// Whether holds of that reason end by themselves when a version is old enough.
pub(crate) fn ends_with_age(reason: ReasonCode) -> bool {
    matches!(reason, ReasonCode::CoolDown | ReasonCode::PublisherSilent)
}
