//! The page of `countersign report`: one document, without scripts and without anything from elsewhere.

use countersign_engine::compliance::{ControlLine, EcosystemLine, Places, Report};
use std::fmt::Write as _;

/// Places of a line that are shown; the JSON names all of them.
const SHOWN: usize = 4;

const STYLE: &str = include_str!("report.css");

/// The page.
pub fn page(r: &Report) -> String {
    let mut out = String::with_capacity(64 << 10);
    let title = format!("Countersign report, {} to {}", r.since.date(), r.until.date());
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n",
        escaped(&title)
    );
    head(&mut out, r);
    coverage(&mut out, r);
    requirements(&mut out, r);
    stopped(&mut out, r);
    waivers(&mut out, r);
    times(&mut out, r);
    acts(&mut out, r);
    proofs(&mut out, r);
    out.push_str("</main>\n</body>\n</html>\n");
    out
}

/// Text as it may stand in HTML, in an element or a quoted attribute.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // What would turn the reading direction, or is not seen, is shown as what it is.
            c if c.is_control()
                || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') =>
            {
                out.push('\u{fffd}');
            }
            c => out.push(c),
        }
    }
    out
}

fn cell(out: &mut String, text: &str) {
    let _ = write!(out, "<td>{}</td>", escaped(text));
}

fn number(out: &mut String, n: u64) {
    let _ = match n {
        0 => write!(out, "<td class=\"n zero\">0</td>"),
        n => write!(out, "<td class=\"n\">{n}</td>"),
    };
}

/// The entries of a line: the first as links to their proofs, and how many more.
fn places(out: &mut String, places: &Places, r: &Report) {
    out.push_str("<td class=\"p\">");
    let all = places.all();
    for index in all.iter().take(SHOWN) {
        let _ = match r.proofs.contains_key(index) {
            true => write!(out, "<a href=\"#e{index}\">#{index}</a> "),
            false => write!(out, "#{index} "),
        };
    }
    match all.len().saturating_sub(SHOWN) {
        0 if all.is_empty() => out.push_str("<span class=\"zero\">none</span>"),
        0 => {}
        more => {
            let _ = write!(out, "<span class=\"zero\">and {more} more</span>");
        }
    }
    out.push_str("</td>");
}

fn table(out: &mut String, columns: &[&str], rows: impl FnOnce(&mut String)) {
    out.push_str("<div class=\"t\"><table>\n<thead><tr>");
    for column in columns {
        let (class, name) = match column.strip_prefix('#') {
            Some(name) => (" class=\"n\"", name),
            None => ("", *column),
        };
        let _ = write!(out, "<th scope=\"col\"{class}>{name}</th>");
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    rows(out);
    out.push_str("</tbody>\n</table></div>\n");
}

fn head(out: &mut String, r: &Report) {
    let sum = |f: fn(&EcosystemLine) -> u64| r.ecosystems.iter().map(f).sum::<u64>();
    let stopped: u64 = r.stopped.iter().map(|s| s.count).sum();
    let _ = write!(
        out,
        "<header>\n<p class=\"brand\">Countersign</p>\n<h1>What the ledger shows</h1>\n\
         <p class=\"lead\">{} to {}, made {} by countersign {}</p>\n</header>\n<dl class=\"sums\">",
        r.since.date(),
        r.until.date(),
        r.made,
        escaped(r.version)
    );
    for (name, value) in [
        ("artifacts judged", sum(|e| e.artifacts)),
        ("admitted", sum(|e| e.admitted)),
        ("held or refused decisions", stopped),
        ("with verified provenance", sum(|e| e.provenance)),
        ("waivers in force", u64::try_from(r.waivers.len()).unwrap_or(0)),
    ] {
        let _ = write!(out, "<div><dt>{name}</dt><dd>{value}</dd></div>");
    }
    let cosigned = r.ledger.cosigned.map_or_else(
        || "no witness has cosigned it".to_owned(),
        |n| format!("witnesses have cosigned {n} entries"),
    );
    let _ = write!(
        out,
        "</dl>\n<p class=\"note\">Ledger <b>{}</b>, {} entries; {cosigned}. Numbers with # are entries: \
         <code>countersign ledger show N</code> shows one, <code>countersign ledger prove N</code> its proof.</p>\n",
        escaped(&r.ledger.origin),
        r.ledger.size
    );
}

fn coverage(out: &mut String, r: &Report) {
    out.push_str("<section>\n<h2>Artifacts and their evidence</h2>\n");
    out.push_str(
        "<p class=\"note\">Each artifact once, by its latest decision in the period.</p>\n",
    );
    if r.ecosystems.is_empty() {
        out.push_str(
            "<p class=\"none\">No decision was recorded in this period.</p>\n</section>\n",
        );
        return;
    }
    let columns = [
        "Ecosystem",
        "#Artifacts",
        "#Admitted",
        "#Held",
        "#Refused",
        "#Provenance",
        "#Other evidence",
        "#Invalid",
        "#Unreachable",
        "#None",
        "Entries",
    ];
    table(out, &columns, |out| {
        for e in &r.ecosystems {
            let _ = write!(out, "<tr><th scope=\"row\">{}</th>", escaped(&e.ecosystem));
            for n in [
                e.artifacts,
                e.admitted,
                e.held,
                e.refused,
                e.provenance,
                e.other_evidence,
                e.invalid,
                e.unreachable,
                e.none,
            ] {
                number(out, n);
            }
            places(out, &e.proof, r);
            out.push_str("</tr>\n");
        }
    });
    let without: u64 = r.ecosystems.iter().map(|e| e.without_bytes).sum();
    if without > 0 {
        let _ = writeln!(
            out,
            "<p class=\"note\">Decisions that were made before any byte was fetched: {without}.</p>"
        );
    }
    out.push_str("</section>\n");
}

fn state(c: &ControlLine) -> &'static str {
    match c.state {
        "met" => "met",
        "partly met" => "part",
        "not met" => "not",
        _ => "lack",
    }
}

fn requirements(out: &mut String, r: &Report) {
    out.push_str("<section>\n<h2>Requirements</h2>\n");
    out.push_str(
        "<p class=\"note\">What the ledger is evidence for, by the mapping in use. <b>Met</b> means that the named \
         measures reach what the mapping asks for, and nothing about an organisation as a whole.</p>\n",
    );
    for f in &r.frameworks {
        let _ =
            writeln!(out, "<h3>{} <small>{}</small></h3>", escaped(&f.name), escaped(&f.source));
        out.push_str("<div class=\"req\">");
        table(out, &["Requirement", "State", "Measured", "Entries"], |out| {
            for c in &f.controls {
                let _ = write!(
                    out,
                    "<tr><th scope=\"row\">{}<span class=\"sub\">{}</span></th>\
                     <td><span class=\"s {}\">{}</span></td>",
                    escaped(&c.id),
                    escaped(&c.text),
                    state(c),
                    c.state
                );
                cell(out, &c.because);
                places(out, &c.proof, r);
                out.push_str("</tr>\n");
            }
        });
        out.push_str("</div>\n");
    }
    out.push_str("</section>\n");
}

fn stopped(out: &mut String, r: &Report) {
    out.push_str("<section>\n<h2>Refusals and holds</h2>\n");
    if r.stopped.is_empty() {
        out.push_str("<p class=\"none\">Nothing was held or refused.</p>\n");
    } else {
        table(out, &["Verdict", "Reason", "#Decisions", "Examples", "Entries"], |out| {
            for s in &r.stopped {
                out.push_str("<tr>");
                cell(out, &s.verdict);
                cell(out, &s.reason);
                number(out, s.count);
                out.push_str("<td>");
                for (purl, detail) in &s.examples {
                    let _ = write!(
                        out,
                        "<div><code>{}</code> <span class=\"sub\">{}</span></div>",
                        escaped(purl),
                        escaped(detail)
                    );
                }
                out.push_str("</td>");
                places(out, &s.proof, r);
                out.push_str("</tr>\n");
            }
        });
    }
    out.push_str("</section>\n");
}

fn waivers(out: &mut String, r: &Report) {
    out.push_str("<section>\n<h2>Waivers</h2>\n");
    if r.waivers.is_empty() {
        out.push_str("<p class=\"none\">No waiver was in force.</p>\n");
    } else {
        let columns = ["Waiver", "For", "Rule", "Who and why", "Until", "State", "Entries"];
        table(out, &columns, |out| {
            for w in &r.waivers {
                out.push_str("<tr>");
                cell(out, &w.id);
                let _ = write!(out, "<td><code>{}</code></td>", escaped(&w.target));
                cell(out, &w.rule);
                cell(out, &format!("{}: {}", w.owner, w.reason));
                cell(out, w.until.date().to_string().as_str());
                let class = if w.state == "active" { "part" } else { "lack" };
                let _ = write!(out, "<td><span class=\"s {class}\">{}</span></td>", w.state);
                places(out, &w.proof, r);
                out.push_str("</tr>\n");
            }
        });
    }
    out.push_str("</section>\n");
}

fn times(out: &mut String, r: &Report) {
    out.push_str("<section>\n<h2>Times</h2>\n");
    table(out, &["What", "Measured", "Entries"], |out| {
        for s in &r.slo {
            out.push_str("<tr>");
            cell(out, &s.name);
            match &s.value {
                Some(value) => cell(out, value),
                None => out.push_str("<td><span class=\"s lack\">no evidence</span></td>"),
            }
            places(out, &s.proof, r);
            out.push_str("</tr>\n");
        }
    });
    out.push_str("</section>\n");
}

fn acts(out: &mut String, r: &Report) {
    out.push_str("<section>\n<h2>Keys, recalls, incidents and changes</h2>\n");
    if r.acts.is_empty() {
        out.push_str("<p class=\"none\">Nothing of this kind was recorded.</p>\n");
    } else {
        table(out, &["When", "Kind", "What", "Entry"], |out| {
            for a in &r.acts {
                out.push_str("<tr>");
                cell(out, &a.time.to_string());
                cell(out, &a.kind);
                cell(out, &a.words);
                places(out, &a.proof, r);
                out.push_str("</tr>\n");
            }
        });
    }
    out.push_str("</section>\n");
}

fn proofs(out: &mut String, r: &Report) {
    let _ = write!(
        out,
        "<section class=\"proofs\">\n<h2>Proofs</h2>\n<p class=\"note\">The signed checkpoint that every entry of this report \
         is proven against; the inclusion proofs are in the JSON form of the report. Public key: <code>{}</code></p>\n<pre>{}</pre>\n",
        escaped(&r.ledger.key),
        checkpoint(&r.ledger.checkpoint)
    );
    table(out, &["Entry", "Commitment in the tree"], |out| {
        for (index, proof) in &r.proofs {
            let _ = writeln!(
                out,
                "<tr id=\"e{index}\"><td>#{index}</td><td><code>{}</code></td></tr>",
                escaped(&proof.entry)
            );
        }
    });
    out.push_str("</section>\n");
}

/// The note with its line ends, which is what is signed.
fn checkpoint(note: &str) -> String {
    note.split('\n').map(escaped).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_becomes_markup() {
        assert_eq!(
            escaped("<script>\"a\" & 'b'\u{202e}\n"),
            "&lt;script&gt;&quot;a&quot; &amp; &#39;b&#39;\u{fffd}\u{fffd}"
        );
    }
}
