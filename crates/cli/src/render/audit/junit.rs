//! JUnit XML: a suite for each document, a case for each version.

use super::{Summary, open_entries, standing, weight};
use countersign_core::Verdict;
use countersign_ecosystem::inventory::SkipKind;
use countersign_engine::audit::{Audited, Item};
use std::fmt::Write as _;

/// The report as JUnit XML. Refused and held versions are failures; what should have been judged
/// and could not be is an error.
pub fn junit(s: &Summary<'_>) -> String {
    let suites: Vec<Suite> = s.report.documents.iter().map(suite).collect();
    let sum = |of: fn(&Suite) -> usize| suites.iter().map(of).sum::<usize>();
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(
        out,
        "<testsuites name=\"countersign audit\" tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\">",
        sum(|x| x.tests),
        sum(|x| x.failures),
        sum(|x| x.errors),
        sum(|x| x.skipped)
    );
    for x in &suites {
        let _ = writeln!(
            out,
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\">",
            escaped(&x.name),
            x.tests,
            x.failures,
            x.errors,
            x.skipped
        );
        out.push_str(&x.cases);
        out.push_str("  </testsuite>\n");
    }
    out.push_str("</testsuites>");
    out
}

#[derive(Default)]
struct Suite {
    name: String,
    tests: usize,
    failures: usize,
    errors: usize,
    skipped: usize,
    cases: String,
}

fn suite(d: &Audited) -> Suite {
    let mut suite = Suite { name: d.path.clone(), ..Suite::default() };
    if let Some(problem) = &d.problem {
        suite.errors += 1;
        suite.case(d, "the document", Some(("error", "not-read", problem, "")));
    }
    for item in &d.items {
        version(&mut suite, d, item);
    }
    for s in open_entries(d) {
        suite.errors += 1;
        suite.case(d, &s.what, Some(("error", "not-judged", &s.because, "")));
    }
    for s in d.skipped.iter().filter(|s| s.kind == SkipKind::Elsewhere) {
        suite.skipped += 1;
        suite.case(d, &s.what, Some(("skipped", "", &s.because, "")));
    }
    suite
}

fn version(suite: &mut Suite, d: &Audited, item: &Item) {
    let name = item.facts.purl.label();
    if item.decision.verdict != Verdict::Admit {
        suite.failures += 1;
        let leading = item.decision.leading();
        let kind = leading.map_or("", |f| f.reason.name());
        let message = leading.map_or(String::new(), |f| format!("{}: {}", f.rule, f.detail));
        let mut body = String::new();
        for j in standing(item) {
            let fix = j.finding.fixed_in.as_ref();
            let fix = fix.map(|v| format!(", fixed in {v}")).unwrap_or_default();
            let _ = writeln!(body, "{} {}{fix}: {}", weight(j), j.finding.id, j.finding.title);
        }
        for f in item.decision.fired.iter().skip(1) {
            let _ = writeln!(body, "{}: {}", f.rule, f.detail);
        }
        suite.case(d, &name, Some(("failure", kind, &message, &body)));
    } else if let Some(because) = item.unanswered() {
        suite.errors += 1;
        suite.case(d, &name, Some(("error", "not-checked", because, "")));
    } else {
        suite.case(d, &name, None);
    }
}

impl Suite {
    /// Adds a case, with what is wrong with it: element, type, message and text.
    fn case(&mut self, d: &Audited, name: &str, wrong: Option<(&str, &str, &str, &str)>) {
        self.tests += 1;
        let head =
            format!("    <testcase classname=\"{}\" name=\"{}\"", escaped(&d.path), escaped(name));
        let _ = match wrong {
            None => writeln!(self.cases, "{head}/>"),
            Some((element, kind, message, body)) => {
                let kind = match kind {
                    "" => String::new(),
                    kind => format!(" type=\"{}\"", escaped(kind)),
                };
                writeln!(
                    self.cases,
                    "{head}>\n      <{element}{kind} message=\"{}\">{}</{element}>\n    </testcase>",
                    escaped(message),
                    escaped(body)
                )
            }
        };
    }
}

/// Text for XML 1.0: marks as entities, characters that XML does not have as spaces.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push('\n'),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn marks_and_controls_do_not_reach_the_document() {
        assert_eq!(escaped("a<b>&\"\u{1b}[\u{ffff}x"), "a&lt;b&gt;&amp;&quot; [ x");
    }
}
