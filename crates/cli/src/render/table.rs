//! The table that ends a run: what came, what did not, and what to do about it.

use super::{Summary, grouped, relevant_not_offered};
use crate::print::{self, wrap};
use countersign_core::{
    Evidence, EvidenceState, Finding, FindingKind, ProofClass, Severity, Verdict,
};
use countersign_engine::report::Entry;
use owo_colors::{OwoColorize as _, Style};
use std::fmt::Write as _;

/// How many admitted artifacts are listed one by one; the rest is counted.
const LISTED: usize = 30;

/// The report as a table. Empty when it was asked to be quiet and has nothing bad to tell.
pub fn table(s: &Summary<'_>, quiet: bool, to_terminal: bool) -> String {
    let entries = s.engine.report().entries();
    let good = entries.iter().all(|e| e.decision.verdict == Verdict::Admit)
        && s.account.gaps.is_empty()
        && s.account.not_done.is_empty()
        && s.exit_code == 0;
    if quiet && good {
        return String::new();
    }
    let paint = Paint { on: to_terminal && print::colours() };
    let width = if to_terminal { print::width().min(120) } else { 80 };
    let mut out = String::new();
    write_rows(&mut out, &entries, &paint, width, quiet);
    write_provenance(&mut out, &entries, &paint, width);
    write_recorded(&mut out, &entries, &paint, width);
    write_stopped(&mut out, &entries, &paint, width);
    write_not_offered(&mut out, s, width);
    let known = |what: &str| !quiet && s.announced.iter().any(|(w, _, _)| w == what);
    for d in s.engine.report().doors().into_iter().filter(|d| !known(&d.what)) {
        let _ = writeln!(
            out,
            "{} {}",
            paint.warn("closed"),
            wrap(&format!("{}: {}", d.what, d.why), width - 7, 7)
        );
    }
    for g in &s.account.gaps {
        let _ = writeln!(
            out,
            "{} {}",
            paint.bad("UNGATED"),
            wrap(&format!("{}: {}", g.what, g.why), width - 8, 8)
        );
    }
    for n in &s.account.not_done {
        let _ = writeln!(out, "{} {}", paint.bad("NOT RECONCILED"), wrap(n, width - 15, 15));
    }
    for l in &s.account.local {
        let _ = writeln!(out, "local   {}", wrap(l, width - 8, 8));
    }
    write_counts(&mut out, s, &entries, &paint, width);
    out.trim_end().to_owned()
}

/// Colours, where they are wanted.
pub(super) struct Paint {
    on: bool,
}

impl Paint {
    pub(super) fn of(on: bool) -> Self {
        Self { on }
    }
    pub(super) fn strong(&self, text: &str) -> String {
        self.with(text, Style::new().bold())
    }
    fn with(&self, text: &str, style: Style) -> String {
        if self.on { text.style(style).to_string() } else { text.to_owned() }
    }
    pub(super) fn bad(&self, text: &str) -> String {
        self.with(text, Style::new().red().bold())
    }
    pub(super) fn warn(&self, text: &str) -> String {
        self.with(text, Style::new().yellow())
    }
    fn good(&self, text: &str) -> String {
        self.with(text, Style::new().green())
    }
    pub(super) fn dim(&self, text: &str) -> String {
        self.with(text, Style::new().dimmed())
    }
    pub(super) fn verdict(&self, v: Verdict) -> String {
        let text = format!("{:<7}", v.to_string());
        match v {
            Verdict::Admit => self.good(&text),
            Verdict::Hold => self.warn(&text),
            Verdict::Refuse => self.bad(&text),
        }
    }
}

fn write_rows(out: &mut String, entries: &[Entry], paint: &Paint, width: usize, quiet: bool) {
    let mut order: Vec<&Entry> = entries.iter().collect();
    order.sort_by(|a, b| {
        b.decision.verdict.cmp(&a.decision.verdict).then_with(|| a.artifact.cmp(&b.artifact))
    });
    if order.is_empty() {
        return;
    }
    let name = (width * 3 / 8).clamp(20, 40);
    let evidence = (width / 4).clamp(16, 30);
    let rest = width.saturating_sub(name + evidence + 11).max(12);
    let head =
        format!("{:<name$} {:<7} {:<evidence$} {}", "artifact", "verdict", "evidence", "findings");
    let _ = writeln!(out, "{}", paint.dim(&cut(&head, width)));
    let mut shown = 0;
    let mut hidden = 0;
    for e in order {
        let admitted = e.decision.verdict == Verdict::Admit;
        if admitted && (quiet || (shown >= LISTED && plain(e))) {
            hidden += 1;
            continue;
        }
        shown += 1;
        let facts = e.facts.as_ref();
        let without = if e.sha256.is_some() { "not looked for" } else { "not fetched" };
        let ev = facts.map_or_else(|| without.to_owned(), |f| evidence_cell(&f.evidence));
        let found = facts.map_or_else(
            || e.reason().map_or_else(String::new, |r| r.to_string()),
            |f| findings_cell(f.all_findings(), &f.not_done()),
        );
        let _ = writeln!(
            out,
            "{:<name$} {} {:<evidence$} {}",
            cut(&e.artifact, name),
            paint.verdict(e.decision.verdict),
            cut(&ev, evidence),
            cut(&found, rest)
        );
    }
    if hidden > 0 {
        let _ = writeln!(out, "{}", paint.dim(&format!("… and {hidden} more, admitted")));
    }
}

/// Whether an admitted row would tell nothing of its own.
fn plain(e: &Entry) -> bool {
    e.facts.as_ref().is_some_and(|f| {
        let quiet = |x: &Finding| match x.kind {
            FindingKind::Capability | FindingKind::Licence => true,
            FindingKind::Suspicious => x.severity < Severity::Moderate,
            _ => x.severity <= Severity::Info,
        };
        f.all_findings().all(quiet) && f.evidence.iter().all(|v| v.claim().is_none())
    })
}

/// The state of evidence in a table cell.
fn evidence_cell(evidence: &[Evidence]) -> String {
    let mut best: Option<String> = None;
    for e in evidence {
        match &e.state {
            EvidenceState::Invalid { .. } => return format!("{} INVALID", e.kind),
            EvidenceState::Verified { claim } => {
                let text = match (&claim.repository, &claim.issuer) {
                    (Some(r), _) => {
                        let name: Vec<&str> = r.trim_end_matches('/').rsplitn(3, '/').collect();
                        let path: Vec<&str> = name.iter().take(2).rev().copied().collect();
                        let commit = claim
                            .commit
                            .as_deref()
                            .unwrap_or("")
                            .chars()
                            .take(7)
                            .collect::<String>();
                        format!("✓ {} {commit}", path.join("/"))
                    }
                    (None, Some(i)) => format!("✓ signed, {i}"),
                    (None, None) => format!("✓ {}", e.kind),
                };
                // Provenance says more than a registry's own signature.
                if claim.repository.is_some() || best.is_none() {
                    best = Some(text);
                }
            }
            EvidenceState::Unreachable { .. } => {
                best.get_or_insert_with(|| "unreachable".to_owned());
            }
            EvidenceState::Absent => {}
        }
    }
    best.unwrap_or_else(|| "absent".to_owned())
}

/// The findings in a table cell: what counts most first, and what was not checked.
fn findings_cell<'f>(findings: impl Iterator<Item = &'f Finding>, not_done: &[&str]) -> String {
    let mut all: Vec<&Finding> = findings.collect();
    all.sort_by_key(|f| std::cmp::Reverse(f.severity));
    let mut parts = Vec::new();
    let vulnerable: Vec<&&Finding> =
        all.iter().filter(|f| f.kind == FindingKind::Vulnerability).collect();
    if let Some(worst) = vulnerable.first() {
        let more = if vulnerable.len() > 1 {
            format!(" +{}", vulnerable.len() - 1)
        } else {
            String::new()
        };
        parts.push(format!("{} {}{more}", worst.severity, worst.id));
    }
    for f in all.iter().filter(|f| match f.kind {
        FindingKind::Malicious | FindingKind::Structure => f.severity > Severity::Info,
        FindingKind::Suspicious => f.severity > Severity::Low,
        _ => false,
    }) {
        parts.push(f.id.clone());
    }
    if let Some(hook) = all.iter().find(|f| f.kind == FindingKind::InstallHook) {
        parts.push(hook.id.rsplit('.').next().unwrap_or("install hook").replace('-', " "));
    }
    for n in not_done.iter().filter(|n| **n != "evidence") {
        // Never shown as passed: the opening line says why.
        parts.push(if *n == "advisories" {
            "CVEs unchecked".to_owned()
        } else {
            format!("{n} unchecked")
        });
    }
    if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
}

/// What verified provenance says: repository, commit, workflow and builder.
fn write_provenance(out: &mut String, entries: &[Entry], paint: &Paint, width: usize) {
    for e in entries {
        let Some(facts) = &e.facts else { continue };
        for v in &facts.evidence {
            let Some(claim) = v.claim() else { continue };
            let Some(repository) = &claim.repository else { continue };
            let mut text = format!("{}: built from {repository}", e.artifact);
            if let Some(commit) = &claim.commit {
                text.push_str(&format!(" at commit {commit}"));
            }
            if let Some(workflow) = &claim.workflow {
                text.push_str(&format!(", workflow {workflow}"));
            }
            if let Some(builder) = &claim.builder {
                text.push_str(&format!(", builder {builder}"));
            }
            let proof = match claim.proof {
                ProofClass::InclusionProof => "proven in a transparency log",
                ProofClass::InclusionPromise => "promised by a transparency log",
                ProofClass::KeyOnly => "signed by a key alone",
            };
            text.push_str(&format!(" ({}, {proof})", v.kind));
            let _ = writeln!(out, "{} {}", paint.good("verified"), wrap(&text, width - 9, 9));
        }
    }
}

/// What a policy that only records would have done.
fn write_recorded(out: &mut String, entries: &[Entry], paint: &Paint, width: usize) {
    for e in entries.iter().filter(|e| e.decision.audit_only) {
        for r in &e.decision.fired {
            let text = format!("{} would {} {}: {}", r.rule, r.verdict, e.artifact, r.detail);
            let _ = writeln!(out, "{} {}", paint.warn("recorded"), wrap(&text, width - 9, 9));
        }
    }
}

/// What was refused or held, each with rule, reason and next step.
fn write_stopped(out: &mut String, entries: &[Entry], paint: &Paint, width: usize) {
    for e in entries.iter().filter(|e| e.decision.verdict != Verdict::Admit) {
        let word = if e.decision.verdict == Verdict::Hold {
            paint.warn("held")
        } else {
            paint.bad("refused")
        };
        let _ = writeln!(out, "\n{word} {}", e.artifact);
        for r in e.decision.fired.iter().filter(|r| r.verdict > Verdict::Admit) {
            let _ = writeln!(out, "  {}", wrap(&format!("{}: {}", r.rule, r.detail), width - 2, 4));
        }
        if let Some(until) = e.decision.ends() {
            let _ = writeln!(out, "  ends by itself: {until}");
        }
        if let Some(next) = &e.next_admissible {
            let _ = writeln!(out, "  next admissible version: {next}");
        }
        if let Some(waive) = &e.waive {
            let _ = writeln!(out, "  to accept the risk: {waive}");
        }
    }
}

fn write_not_offered(out: &mut String, s: &Summary<'_>, width: usize) {
    let list = relevant_not_offered(s.engine, s.client_code);
    for (name, count, newest) in grouped(&list).into_iter().take(12) {
        let more = if count > 1 { format!(" and {} more", count - 1) } else { String::new() };
        let verb = if newest.verdict == Verdict::Hold { "held" } else { "not offered" };
        let text = format!(
            "{verb}: {name} {}{more}: {}: {}",
            newest.purl.version().unwrap_or(""),
            newest.reason,
            newest.detail
        );
        let _ = writeln!(out, "{}", wrap(&text, width, 2));
    }
}

fn write_counts(out: &mut String, s: &Summary<'_>, entries: &[Entry], paint: &Paint, width: usize) {
    let count = |v: Verdict| entries.iter().filter(|e| e.decision.verdict == v).count();
    let (admitted, held, refused) =
        (count(Verdict::Admit), count(Verdict::Hold), count(Verdict::Refuse));
    let mut parts = vec![format!("{admitted} admitted")];
    if held > 0 {
        parts.push(paint.warn(&format!("{held} held")));
    }
    if refused > 0 {
        parts.push(paint.bad(&format!("{refused} refused")));
    }
    if !s.account.gaps.is_empty() {
        parts.push(paint.bad(&format!("{} UNGATED", s.account.gaps.len())));
    } else if s.account.matched > 0 {
        parts.push(format!("{} installed as admitted", s.account.matched));
    }
    let worked = s.engine.report().worked();
    let audit =
        if entries.iter().any(|e| e.decision.audit_only) { " (audit: recorded only)" } else { "" };
    let text = format!(
        "countersign: {}{audit}; the gate worked {:.1} s of {:.1} s",
        parts.join(", "),
        worked.as_secs_f64(),
        s.elapsed.as_secs_f64()
    );
    let _ = writeln!(out, "{}", wrap(&text, width, 2));
    if s.client_code.is_none() {
        let _ = writeln!(out, "countersign: {} was not started", s.command.client.name());
    }
}

/// A text cut to a number of columns.
fn cut(text: &str, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text.to_owned();
    }
    let mut out: String = text.chars().take(columns.saturating_sub(1)).collect();
    out.push('…');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cutting_counts_characters() {
        assert_eq!(cut("äöüß", 3), "äö…");
        assert_eq!(cut("abc", 3), "abc");
    }
}
