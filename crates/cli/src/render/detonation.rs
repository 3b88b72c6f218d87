//! What an artifact did in the jail, for people and for machines.

use super::table::Paint;
use crate::commands::detonate::Subject;
use crate::print::{self, wrap};
use countersign_core::{Outcome, Severity};
use countersign_engine::sandbox::{Deed, Detonation, Event, Recorded};
use std::fmt::Write as _;

/// Deeds of one step that are listed; JSON has all.
const LISTED: usize = 60;

/// The report for machines.
pub fn json(subject: &Subject, ran: &Detonation) -> serde_json::Value {
    serde_json::json!({
        "file": subject.file_name, "purl": subject.purl, "sha256": subject.sha256,
        "client": ran.client, "check": ran.check, "findings": ran.findings, "record": ran.record,
    })
}

/// The report for people.
pub fn text(subject: &Subject, ran: &Detonation) -> String {
    let paint = Paint::of(print::colours_of_output());
    let width = print::output_width();
    let mut out =
        format!("{}\n  sha256 {}\n", paint.strong(&clean(&subject.file_name)), subject.sha256);
    if !ran.client.is_empty() {
        let _ = writeln!(out, "  client {}", wrap(&clean(&ran.client), width - 9, 9));
    }
    write_steps(&mut out, &ran.record, &paint, width);
    for finding in &ran.findings {
        let severity = format!("{:<9}", finding.severity.to_string());
        let severity = match finding.severity {
            Severity::Critical | Severity::High => paint.bad(&severity),
            Severity::Moderate | Severity::Unknown => paint.warn(&severity),
            Severity::Low | Severity::Info => severity,
        };
        let rule = finding.id.trim_start_matches("behaviour.");
        let line = format!("{rule:<17} {}", clean(&finding.title));
        let _ = writeln!(out, "  {severity} {}", wrap(&line, width - 12, 30));
    }
    let outcome = match &ran.check.outcome {
        Outcome::Passed if ran.findings.is_empty() => {
            "nothing was seen that the client does not do by itself".to_owned()
        }
        Outcome::Passed => "nothing above moderate was seen".to_owned(),
        Outcome::Failed { because } => format!("{}: {}", paint.bad("FAILED"), clean(because)),
        Outcome::NotDone { because } => format!("{}: {}", paint.bad("NOT CHECKED"), clean(because)),
    };
    let _ = write!(out, "  {}", wrap(&outcome, width - 2, 2));
    out
}

fn write_steps(out: &mut String, record: &[Recorded], paint: &Paint, width: usize) {
    let mut listed = 0;
    for recorded in record {
        let at = recorded.at;
        let line = match &recorded.event {
            Event::Ready { walls } => {
                let _ = writeln!(out, "  jail   {}", walls.join(", "));
                continue;
            }
            Event::Step { name } => {
                listed = 0;
                let _ = writeln!(out, "  {}", paint.strong(name));
                continue;
            }
            Event::Did { actor, deed, .. } => {
                listed += 1;
                match listed {
                    ..=LISTED => {
                        format!("{} {}", did(deed), paint.dim(&format!("({})", clean(actor))))
                    }
                    _ if listed == LISTED + 1 => "… and more, which --json shows".to_owned(),
                    _ => continue,
                }
            }
            Event::Ended { code: Some(0), .. } => continue,
            Event::Ended { code, .. } => match code {
                Some(code) => format!("ended with exit code {code}"),
                None => "ended by a signal".to_owned(),
            },
            Event::Limit { limit } => paint.bad(&format!("ended: too much {limit}")),
            Event::Dropped { deeds } => format!("{deeds} more deeds, not recorded"),
            Event::Failed { because } => clean(because),
        };
        let _ =
            writeln!(out, "  {:>6}.{:03} {}", at / 1000, at % 1000, wrap(&line, width - 14, 23));
    }
}

fn did(deed: &Deed) -> String {
    let named = |target: &str, name: &Option<String>| match name {
        Some(name) => clean(&format!("{name} ({target})")),
        None => clean(target),
    };
    match deed {
        Deed::Started { program, arguments } => {
            let line = arguments.iter().skip(1).cloned().collect::<Vec<_>>().join(" ");
            let line: String = line.chars().take(300).collect();
            format!("started  {} {}", clean(program), clean(&line))
        }
        Deed::Read { path } => format!("read     {}", clean(path)),
        Deed::Wrote { path } => format!("wrote    {}", clean(path)),
        Deed::Connected { target, name } => format!("connect  {}", named(target, name)),
        Deed::Resolved { name } => format!("resolve  {}", clean(name)),
        Deed::Sent { target, name, beginning, bait } => {
            let first = clean(beginning.lines().next().unwrap_or_default());
            let bait = match bait.as_slice() {
                [] => String::new(),
                some => format!(", with {}", some.join(", ")),
            };
            format!("sent     to {}: `{first}`{bait}", named(target, name))
        }
        Deed::Refused { call } => format!("refused  {call}"),
    }
}

/// A hostile text on one line, with nothing in it that a terminal acts upon.
fn clean(text: &str) -> String {
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}')
    };
    text.chars().map(|c| if hidden(c) { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_artifact_says_does_not_reach_the_terminal() {
        let deed = Deed::Started {
            program: "/box/\u{1b}[2Jx".to_owned(),
            arguments: vec!["x".to_owned(), "a\nb\u{202e}c".to_owned()],
        };
        assert_eq!(did(&deed), "started  /box/ [2Jx a b c");
    }
}
