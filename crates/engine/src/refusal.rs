//! Refusals that people can act on: what, which rule, since when, what to do instead.

use countersign_core::{Decision, FiredRule, Purl, ReasonCode, Sha256Digest, Timestamp, Verdict};
use http::StatusCode;
use serde::Serialize;

/// Why a request is not answered with what it asked for.
#[derive(Debug, Clone, Serialize)]
pub struct Refusal {
    /// What was asked for, as people call it: `lodash 4.17.4`, or an address.
    pub artifact: String,
    /// Its purl, where it is a package version.
    pub purl: Option<Purl>,
    /// The file's name, where one was asked for.
    pub file_name: Option<String>,
    /// The digest of the bytes, where they were had.
    pub sha256: Option<Sha256Digest>,
    /// The decision with every rule that fired.
    pub decision: Decision,
    /// What evidence there was, in a few words.
    pub evidence: String,
    /// Since when this artifact has been refused here.
    pub since: Timestamp,
    /// The newest version that would be admitted, where the index tells.
    pub next_admissible: Option<String>,
    /// The decision's index in the ledger, once it is recorded.
    pub ledger_index: Option<u64>,
    /// The findings for which the version counts as malicious.
    pub malicious: Vec<String>,
}

impl Refusal {
    /// A refusal that no policy took part in and that is in no ledger: what was asked for is no
    /// artifact, or the gate could not judge it.
    #[must_use]
    pub fn unrecorded(artifact: &str, decision: Decision, now: Timestamp) -> Self {
        Self {
            artifact: artifact.to_owned(),
            purl: None,
            file_name: None,
            sha256: None,
            decision,
            evidence: "none was looked for".to_owned(),
            since: now,
            next_admissible: None,
            ledger_index: None,
            malicious: Vec::new(),
        }
    }

    /// The leading reason.
    #[must_use]
    pub fn reason(&self) -> ReasonCode {
        self.decision.leading().map_or(ReasonCode::Internal, |f| f.reason)
    }

    fn leading(&self) -> Option<&FiredRule> {
        self.decision.leading()
    }

    /// The HTTP status: 403, 502 where the upstream is at fault and trying again may help, 500 or 507
    /// (RFC 4918, section 11.5) where the gate is.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self.reason() {
            ReasonCode::UpstreamFailed | ReasonCode::UpstreamStalled => StatusCode::BAD_GATEWAY,
            ReasonCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            ReasonCode::StorageFull => StatusCode::INSUFFICIENT_STORAGE,
            _ => StatusCode::FORBIDDEN,
        }
    }

    fn verb(&self) -> &'static str {
        match self.decision.verdict {
            Verdict::Hold => "held",
            _ => "refused",
        }
    }

    /// One line: the artifact, what happened to it and why.
    #[must_use]
    pub fn headline(&self) -> String {
        let detail = self.leading().map_or("", |f| f.detail.as_str());
        let mut line =
            format!("{} {} by countersign: {}", self.artifact, self.verb(), self.reason());
        if !detail.is_empty() {
            line.push_str(": ");
            line.push_str(detail);
        }
        line
    }

    /// The HTTP/1.1 reason phrase: ASCII, one line, short enough for every client to show.
    #[must_use]
    pub fn reason_phrase(&self) -> String {
        let mut phrase = self.headline();
        if let Some(next) = &self.next_admissible {
            phrase.push_str(&format!("; next admissible version: {next}"));
        }
        if let Some(until) = self.decision.ends() {
            phrase.push_str(&format!("; ends {until}"));
        }
        let clean = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
        let mut phrase: String = phrase.replace('…', "...").chars().map(clean).take(300).collect();
        phrase.truncate(phrase.trim_end().len());
        phrase
    }

    /// The command that lifts the leading rule, where a waiver can.
    #[must_use]
    pub fn waive_command(&self) -> Option<String> {
        let rules: Vec<_> =
            self.decision.fired.iter().filter(|f| f.verdict > Verdict::Admit).collect();
        if rules.is_empty() || rules.iter().any(|f| f.reason.is_final()) {
            return None;
        }
        // What no index vouches for is accepted for these very bytes alone.
        let target = match (self.reason(), self.sha256) {
            (ReasonCode::DigestWeak, Some(digest)) => format!("sha256:{digest}"),
            _ => self.purl.as_ref()?.to_string(),
        };
        let mut lifted = Vec::new();
        for rule in rules {
            // What is listed as malicious is only let in by the name of the very listing.
            match rule.reason {
                ReasonCode::KnownMalicious => {
                    lifted.extend(self.malicious.iter().map(String::as_str))
                }
                _ => lifted.push(rule.rule.as_str()),
            }
        }
        let rules: Vec<String> = lifted.into_iter().map(|r| format!("--rule {r}")).collect();
        Some(format!("countersign waive '{target}' {} --reason '…' --days 14", rules.join(" ")))
    }

    fn lines(&self) -> Vec<(&'static str, String)> {
        let mut out = vec![("artifact", self.artifact.clone())];
        if let Some(p) = &self.purl {
            out.push(("purl", p.to_string()));
        }
        if let Some(f) = &self.file_name {
            out.push(("file", f.clone()));
        }
        if let Some(d) = self.sha256 {
            out.push(("sha256", d.to_hex()));
        }
        out.push(("verdict", self.decision.verdict.to_string()));
        for rule in &self.decision.fired {
            out.push(("rule", format!("{} [{}]: {}", rule.rule, rule.reason, rule.detail)));
        }
        out.push(("evidence", self.evidence.clone()));
        out.push(("since", self.since.to_string()));
        if let Some(until) = self.decision.ends() {
            out.push(("ends by itself", until.to_string()));
        }
        let next = self.next_admissible.clone();
        if self.purl.is_some() {
            out.push(("next admissible version", next.unwrap_or_else(|| "none known".to_owned())));
        }
        if let Some(i) = self.ledger_index {
            out.push(("ledger entry", i.to_string()));
        }
        out.push(("what to do", self.advice()));
        out
    }

    /// What the person can do next.
    #[must_use]
    pub fn advice(&self) -> String {
        let accept =
            |command: String| format!("to accept the risk, with a reason and an end: {command}");
        match (self.reason(), &self.next_admissible, self.waive_command()) {
            (ReasonCode::UpstreamFailed | ReasonCode::UpstreamStalled, _, _) => {
                "try again; if it stays, run `countersign doctor`".to_owned()
            }
            (ReasonCode::StorageFull, _, _) => "whoever runs the gate has to free space on the disk \
                that holds its state; it goes on by itself then"
                .to_owned(),
            (ReasonCode::Internal, _, _) => "whoever runs the gate finds the cause in its log; \
                `countersign doctor` looks for it"
                .to_owned(),
            (ReasonCode::ClosedDoor, _, _) => "configure that address as an index or registry of \
                the client, or add it as an [[upstream]] in countersign.toml"
                .to_owned(),
            (ReasonCode::UpstreamRedirect, _, _) => "if that host is right, list it under \
                `redirects` of the [[upstream]] in countersign.toml"
                .to_owned(),
            (ReasonCode::DigestMismatch | ReasonCode::DigestChanged, _, _) => "do not install it; \
                tell the registry's or mirror's operator that these bytes are not what was published"
                .to_owned(),
            (_, Some(next), Some(command)) => format!("ask for {next} instead; or, {}", accept(command)),
            (_, Some(next), None) => format!("ask for {next} instead"),
            (_, None, Some(command)) => accept(command),
            (_, None, None) => "no waiver can lift this; ask who keeps the policy".to_owned(),
        }
    }

    /// The refusal as plain text.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut out = self.headline();
        out.push('\n');
        for (name, value) in self.lines() {
            out.push_str(&format!("  {name}: {value}\n"));
        }
        out
    }

    /// The refusal as a small page.
    #[must_use]
    pub fn to_html(&self) -> String {
        let rows: String = self
            .lines()
            .into_iter()
            .map(|(n, v)| format!("<tr><th>{}</th><td>{}</td></tr>\n", escape(n), escape(&v)))
            .collect();
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{0}</title>\
             <style>body{{font:16px/1.5 system-ui,sans-serif;max-width:50rem;margin:3rem auto;padding:0 1rem;color:#1a1a1a;background:#fff}}\
             h1{{font-size:1.2rem}}th{{text-align:left;vertical-align:top;padding-right:1.5rem;font-weight:600;white-space:nowrap}}td{{overflow-wrap:anywhere}}</style>\
             </head><body><h1>{0}</h1><table>\n{rows}</table></body></html>\n",
            escape(&format!(
                "{} {} by countersign: {}",
                self.artifact,
                self.verb(),
                self.reason().short()
            ))
        )
    }

    /// The refusal as problem details (RFC 9457), with an `error` member for npm.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut value = serde_json::to_value(self).unwrap_or_default();
        if let Some(map) = value.as_object_mut() {
            let mut line = self.headline();
            if let Some(next) = &self.next_admissible {
                line.push_str(&format!("; next admissible version: {next}"));
            }
            map.insert("title".into(), line.clone().into());
            map.insert("error".into(), line.into());
            map.insert("detail".into(), self.advice().into());
            map.insert("reason".into(), self.reason().name().into());
            map.insert("ends".into(), self.decision.ends().map(|t| t.to_string()).into());
            map.insert("waive".into(), self.waive_command().into());
            map.insert("status".into(), self.status().as_u16().into());
        }
        value.to_string()
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Refusal {
        let fired = FiredRule {
            rule: "baseline.known-vulnerable".into(),
            verdict: Verdict::Refuse,
            reason: ReasonCode::KnownVulnerable,
            detail: "GHSA-1 (critical) <b>\u{e9}\r\nX: y".into(),
            until: None,
        };
        Refusal {
            artifact: "lodash 4.17.4".into(),
            purl: "pkg:npm/lodash@4.17.4".parse().ok(),
            file_name: None,
            sha256: None,
            decision: Decision::from_fired(vec![fired], false, "p".into()),
            evidence: "none".into(),
            since: Timestamp(0),
            next_admissible: Some("4.17.21".into()),
            ledger_index: Some(7),
            malicious: Vec::new(),
        }
    }

    #[test]
    fn the_reason_phrase_is_one_ascii_line() {
        let phrase = sample().reason_phrase();
        assert!(phrase.starts_with("lodash 4.17.4 refused by countersign: known-vulnerable"));
        assert!(phrase.bytes().all(|b| (0x20..0x7f).contains(&b)), "{phrase}");
        assert!(phrase.contains("next admissible version: 4.17.21"));
    }

    #[test]
    fn every_form_names_artifact_rule_and_next_step() {
        let r = sample();
        for text in [r.to_text(), r.to_html(), r.to_json()] {
            for want in
                ["lodash 4.17.4", "baseline.known-vulnerable", "4.17.21", "countersign waive"]
            {
                assert!(text.contains(want), "{want} in {text}");
            }
        }
        assert!(!r.to_html().contains("<b>"));
    }

    #[test]
    fn what_is_final_offers_no_waiver() {
        let mut r = sample();
        r.decision = Decision::refused_by_gate(ReasonCode::DigestMismatch, "x", String::new());
        assert_eq!(r.waive_command(), None);
        assert_eq!(r.status(), StatusCode::FORBIDDEN);
    }
}
