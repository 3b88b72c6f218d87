//! The report of an audit: a table for people, and four forms for programs.

mod cyclonedx;
mod json;
mod junit;
mod sarif;
mod table;

pub use cyclonedx::cyclonedx;
pub use json::json;
pub use junit::junit;
pub use sarif::sarif;
pub use table::table;

use countersign_core::{FindingKind, FiredRule, ReasonCode, Verdict};
use countersign_ecosystem::inventory::{SkipKind, Skipped};
use countersign_engine::audit::{Audited, Item, Judged, Report};
use countersign_engine::feeds::FeedMeta;
use countersign_engine::policy::PolicySet;
use std::collections::BTreeMap;

/// The feeds that an audit asked.
pub enum FeedState<'s> {
    /// What they hold.
    Open(&'s FeedMeta),
    /// Why they could not be asked.
    Closed(&'s str),
}

/// Everything that a report of an audit tells.
pub struct Summary<'s> {
    /// What was found.
    pub report: &'s Report,
    /// The policy's name.
    pub policy: &'s str,
    /// The policy.
    pub policy_set: &'s PolicySet,
    /// The feeds.
    pub feeds: FeedState<'s>,
    /// Whether what only development needs was left out.
    pub production: bool,
    /// The exit code.
    pub exit_code: u8,
}

/// The last lines of every report: what was judged, and what was not.
pub fn closing(s: &Summary<'_>) -> String {
    let mut out = vec![format!("countersign: {}", counts(s))];
    out.extend(unjudged(s).into_iter().map(|line| format!("NOT CHECKED: {line}")));
    out.join("\n")
}

/// How much was judged, by what.
fn counts(s: &Summary<'_>) -> String {
    let of = |v| s.report.count(v);
    let (all, documents) = (s.report.items().count(), s.report.documents.len());
    let mut verdicts = vec![
        format!("{} refused", grouped(of(Verdict::Refuse))),
        format!("{} held", grouped(of(Verdict::Hold))),
    ];
    let recorded =
        s.report.items().filter(|i| i.decision.audit_only && !i.decision.fired.is_empty());
    match recorded.count() {
        0 => {}
        n => verdicts.push(format!("{} that another policy would not admit", grouped(n))),
    }
    let feeds = match &s.feeds {
        FeedState::Closed(_) => "no feeds".to_owned(),
        FeedState::Open(meta) => {
            let newest = meta.newest_modified();
            let age = newest
                .map_or_else(|| "unknown age".to_owned(), |t| format!("newest of {}", t.date()));
            format!("{} advisories, {age}", grouped(usize::try_from(meta.advisories).unwrap_or(0)))
        }
    };
    let left_out: usize = s.report.documents.iter().map(|d| d.left_out).sum();
    let development = match left_out {
        0 => String::new(),
        n => format!(", {} for development left out", grouped(n)),
    };
    format!(
        "{} {} in {} {}: {}{development}; policy {}; {feeds}",
        grouped(all),
        plural(all, "version", "versions"),
        grouped(documents),
        plural(documents, "place", "places"),
        verdicts.join(", "),
        s.policy,
    )
}

/// What should have been judged and was not, a line for each cause.
fn unjudged(s: &Summary<'_>) -> Vec<String> {
    let mut out = Vec::new();
    if let FeedState::Closed(because) = &s.feeds {
        out.push(format!("advisories: {because}"));
    } else {
        let mut causes: BTreeMap<&str, usize> = BTreeMap::new();
        for item in s.report.items() {
            if let Some(because) = item.unanswered() {
                *causes.entry(because).or_default() += 1;
            }
        }
        out.extend(causes.into_iter().map(|(because, n)| {
            format!("advisories of {} {}: {because}", grouped(n), plural(n, "version", "versions"))
        }));
    }
    for d in &s.report.documents {
        if let Some(problem) = &d.problem {
            out.push(format!("{}: {problem}", d.path));
        }
        for (kind, what) in [
            (SkipKind::Unreadable, "not understood"),
            (SkipKind::Unpinned, "without an exact version"),
        ] {
            let n = d.skipped.iter().filter(|s| s.kind == kind).count();
            if n > 0 {
                out.push(format!("{}: {} {what}", d.path, entries(n)));
            }
        }
    }
    out
}

fn entries(n: usize) -> String {
    format!("{} {}", grouped(n), plural(n, "entry", "entries"))
}

fn plural<'t>(n: usize, one: &'t str, many: &'t str) -> &'t str {
    if n == 1 { one } else { many }
}

/// A number with commas between thousands.
fn grouped(n: usize) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// The findings that stand against a version, or, for one that is admitted, all of them.
fn standing(item: &Item) -> impl Iterator<Item = &Judged> {
    let all = item.decision.fired.is_empty();
    item.findings.iter().filter(move |j| all || !j.tolerated)
}

/// Rules that say more than their findings do.
fn own_words(item: &Item) -> impl Iterator<Item = &FiredRule> {
    item.decision
        .fired
        .iter()
        .filter(|f| !matches!(f.reason, ReasonCode::KnownMalicious | ReasonCode::KnownVulnerable))
}

/// The worst word for a finding: what it is, or how bad.
fn weight(judged: &Judged) -> String {
    match judged.finding.kind {
        FindingKind::Malicious => "malicious".to_owned(),
        _ => judged.finding.severity.to_string(),
    }
}

/// What is not judged because it comes from elsewhere: shown, and no fault.
fn elsewhere(d: &Audited) -> impl Iterator<Item = &Skipped> {
    d.skipped.iter().filter(|s| s.kind == SkipKind::Elsewhere)
}

/// What should have been judged and could not be.
fn open_entries(d: &Audited) -> impl Iterator<Item = &Skipped> {
    d.skipped.iter().filter(|s| matches!(s.kind, SkipKind::Unpinned | SkipKind::Unreadable))
}

/// A text without what a terminal or a parser might obey.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_grouped() {
        for (n, want) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(n), want);
        }
    }
}
