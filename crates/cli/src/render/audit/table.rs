//! The table: by document, the worst first, with what to do.

use super::{
    Summary, closing, elsewhere, open_entries, own_words, plain, plural, standing, weight,
};
use super::{entries, grouped};
use crate::print::{self, wrap};
use crate::render::Paint;
use countersign_core::{FindingKind, Severity, Verdict};
use countersign_ecosystem::version::compare;
use countersign_engine::audit::{Audited, Item, Judged};
use std::cmp::Ordering;
use std::fmt::Write as _;

/// How many entries of one kind are listed one by one; the rest is counted.
const LISTED: usize = 20;
/// The columns before a finding.
const INDENT: usize = 10;

/// The report as a table.
pub fn table(s: &Summary<'_>, to_terminal: bool) -> String {
    let paint = Paint::of(to_terminal && print::colours_of_output());
    let width = if to_terminal { print::output_width() } else { 100 };
    let mut out = String::new();
    for document in &s.report.documents {
        write_document(&mut out, document, &paint, width);
    }
    if let Some(hint) = hint(s) {
        let _ = writeln!(out, "{}\n", wrap(&hint, width, 2));
    }
    let _ = write!(out, "{}", wrap_lines(&closing(s), width));
    let note =
        "Ages, signatures and contents are no part of an audit: `countersign run` checks them.";
    let _ = write!(out, "\n{}", paint.dim(&wrap(note, width, 2)));
    out
}

fn wrap_lines(text: &str, width: usize) -> String {
    text.lines().map(|l| wrap(l, width, 2)).collect::<Vec<_>>().join("\n")
}

fn write_document(out: &mut String, d: &Audited, paint: &Paint, width: usize) {
    let count = |v: Verdict| d.items.iter().filter(|i| i.decision.verdict == v).count();
    let mut head =
        format!("{} {}", grouped(d.items.len()), plural(d.items.len(), "version", "versions"));
    for (verdict, word) in [(Verdict::Refuse, "refused"), (Verdict::Hold, "held")] {
        match count(verdict) {
            0 => {}
            n => head.push_str(&format!(", {} {word}", grouped(n))),
        }
    }
    if d.left_out > 0 {
        head.push_str(&format!(", {} for development left out", grouped(d.left_out)));
    }
    let kind = if d.path.ends_with(d.kind) { String::new() } else { format!(" ({})", d.kind) };
    let _ = writeln!(out, "{}{kind}: {head}", paint.strong(&plain(&d.path)));
    if let Some(problem) = &d.problem {
        let text = format!("{} {}", paint.bad("NOT READ"), plain(problem));
        let _ = writeln!(out, "  {}", wrap(&text, width - 2, INDENT));
    }
    let mut order: Vec<&Item> = d.items.iter().filter(|i| is_worth_showing(i)).collect();
    order.sort_by_key(|i| (std::cmp::Reverse(rank(i)), i.line, i.facts.purl.clone()));
    let mut noted = 0;
    for item in order {
        if item.decision.fired.is_empty() {
            noted += 1;
            if noted > LISTED {
                continue;
            }
        }
        write_item(out, item, paint, width);
    }
    if noted > LISTED {
        let _ =
            writeln!(out, "  {} more with findings that policy tolerates", grouped(noted - LISTED));
    }
    write_skipped(out, d, paint, width);
    out.push('\n');
}

/// Refused, held, would be either, noted.
fn rank(item: &Item) -> (Verdict, usize) {
    (item.decision.verdict, item.decision.fired.len())
}

fn is_worth_showing(item: &Item) -> bool {
    let notable = |j: &Judged| {
        j.finding.severity > Severity::Info || j.finding.kind == FindingKind::Malicious
    };
    !item.decision.fired.is_empty()
        || item.findings.iter().any(notable)
        || !item.not_checked.is_empty() && item.not_checked.iter().any(|(what, _)| what != "age")
        || item.before.iter().any(|b| b.verdict != Verdict::Admit)
}

fn write_item(out: &mut String, item: &Item, paint: &Paint, width: usize) {
    let verdict = match (item.decision.fired.is_empty(), item.decision.verdict) {
        (true, _) => paint.dim("noted  "),
        (false, Verdict::Admit) => paint.warn("would  "),
        (false, v) => paint.verdict(v),
    };
    let line = item.line.map(|l| format!(", line {l}")).unwrap_or_default();
    let dev = if item.dev { ", for development" } else { "" };
    let rules: Vec<&str> = item.decision.fired.iter().map(|f| f.rule.as_str()).collect();
    let fix = update(item).map(|v| format!(", update to {v}")).unwrap_or_default();
    let name = format!("{}{line}{dev}{fix}", item.facts.purl.label());
    let pad = (width / 2).saturating_sub(name.chars().count());
    let rules = if rules.is_empty() {
        String::new()
    } else {
        format!("{}  {}", " ".repeat(pad), rules.join(", "))
    };
    let _ = writeln!(out, "  {verdict} {}{}", paint.strong(&name), paint.dim(&rules));
    let findings: Vec<&Judged> = standing(item).collect();
    let columns = Columns::of(&findings);
    for judged in findings.iter().take(LISTED) {
        write_finding(out, judged, &columns, paint, width);
    }
    if findings.len() > LISTED {
        let _ = writeln!(out, "{}{} more", " ".repeat(INDENT), grouped(findings.len() - LISTED));
    }
    for rule in own_words(item) {
        let text = format!("{}: {}", rule.reason, plain(&rule.detail));
        let _ = writeln!(out, "{}{}", " ".repeat(INDENT), wrap(&text, width - INDENT, INDENT));
    }
    for (what, because) in &item.not_checked {
        let text = format!("{what} not checked: {}", plain(because));
        let _ = writeln!(out, "{}{}", " ".repeat(INDENT), wrap(&text, width - INDENT, INDENT));
    }
    for b in item.before.iter().filter(|b| b.verdict != Verdict::Admit) {
        let rule = b.rule.as_deref().unwrap_or("no rule");
        let text = format!(
            "{} had {} before: {rule}, ledger entry {}",
            plain(&b.file_name),
            b.verdict,
            b.index
        );
        let _ = writeln!(out, "{}{}", " ".repeat(INDENT), wrap(&text, width - INDENT, INDENT));
    }
}

/// The version that is free of everything that stands against this one: the newest of the fixes,
/// where each finding has one.
fn update(item: &Item) -> Option<&str> {
    if standing(item).next().is_some() && item.facts.upgrade.is_some() {
        return item.facts.upgrade.as_deref();
    }
    let ecosystem = item.facts.purl.ecosystem();
    let mut fixes = standing(item).map(|j| j.finding.fixed_in.as_deref());
    fixes.try_fold(None, |newest: Option<&str>, fix| {
        let fix = fix?;
        let later = newest.is_none_or(|n| compare(ecosystem, fix, n) == Some(Ordering::Greater));
        Some(if later { Some(fix) } else { newest })
    })?
}

/// The widths of the columns of one version's findings.
struct Columns {
    weight: usize,
    ids: usize,
}

impl Columns {
    fn of(findings: &[&Judged]) -> Self {
        let widest = |of: fn(&Judged) -> usize| findings.iter().map(|j| of(j)).max().unwrap_or(0);
        Self {
            weight: widest(|j| weight(j).chars().count()),
            ids: widest(|j| ids(j).chars().count()).min(48),
        }
    }
}

/// The id and what it is best known by.
fn ids(judged: &Judged) -> String {
    let f = &judged.finding;
    let cve = f.aliases.iter().find(|a| a.starts_with("CVE-"));
    cve.map_or_else(|| f.id.clone(), |cve| format!("{} {cve}", f.id))
}

fn write_finding(
    out: &mut String,
    judged: &Judged,
    columns: &Columns,
    paint: &Paint,
    width: usize,
) {
    let f = &judged.finding;
    let weight = format!("{:<w$}", weight(judged), w = columns.weight);
    let weight = match (f.kind, f.severity) {
        (FindingKind::Malicious, _) | (_, Severity::Critical | Severity::High) => {
            paint.bad(&weight)
        }
        (_, Severity::Moderate | Severity::Unknown) => paint.warn(&weight),
        _ => paint.dim(&weight),
    };
    let fix = match (&f.fixed_in, f.kind) {
        (Some(version), _) => format!("fixed in {version}"),
        (None, FindingKind::Malicious) => "remove it".to_owned(),
        (None, FindingKind::Vulnerability) => "no fix is known".to_owned(),
        (None, _) => String::new(),
    };
    let ids = format!("{:<w$}", plain(&ids(judged)), w = columns.ids);
    let used = INDENT + columns.weight + columns.ids + 4;
    let rest = format!("{fix:<18} {}", plain(&f.title));
    let rest = cut(rest.trim(), width.saturating_sub(used).max(20));
    let _ = writeln!(out, "{}{weight}  {ids}  {rest}", " ".repeat(INDENT));
}

fn write_skipped(out: &mut String, d: &Audited, paint: &Paint, width: usize) {
    let open: Vec<_> = open_entries(d).collect();
    for s in open.iter().take(LISTED) {
        let line = s.line.map(|l| format!(", line {l}")).unwrap_or_default();
        let text = format!("{}{line}: {}", plain(&s.what), plain(&s.because));
        let _ =
            writeln!(out, "  {} {}", paint.warn("open   "), wrap(&text, width - INDENT, INDENT));
    }
    if open.len() > LISTED {
        let _ = writeln!(out, "  {} more that could not be judged", grouped(open.len() - LISTED));
    }
    let other: Vec<String> = elsewhere(d).map(|s| plain(&s.what)).collect();
    if !other.is_empty() {
        let shown = other.iter().take(LISTED).cloned().collect::<Vec<_>>().join(", ");
        let more = if other.len() > LISTED { ", …" } else { "" };
        let text = format!("{} from no registry: {shown}{more}", entries(other.len()));
        let _ = writeln!(out, "  {} {}", paint.dim("other  "), wrap(&text, width - INDENT, INDENT));
    }
}

/// How to accept the first thing that can be accepted.
fn hint(s: &Summary<'_>) -> Option<String> {
    let stopped = s.report.items().filter(|i| i.decision.verdict != Verdict::Admit);
    let waivable = |i: &Item| {
        let first = i.decision.leading()?;
        let rule = s.policy_set.rule(&first.rule)?;
        let finding =
            i.findings.iter().find(|j| !j.tolerated && j.finding.kind == FindingKind::Malicious);
        let id = match (rule.waivable, finding) {
            (true, _) => rule.id.clone(),
            (false, Some(j)) => j.finding.id.clone(),
            (false, None) => return None,
        };
        Some(format!("countersign waive '{}' --rule {id} --reason '…' --days 14", i.facts.purl))
    };
    let mut commands = stopped.filter_map(waivable);
    Some(format!("To accept a risk: {}", commands.next()?))
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
