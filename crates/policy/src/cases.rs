//! Tests of policies: files of named cases, each a few facts and the verdict that they should get.

use crate::decide::DecisionContext;
use crate::error::{PolicyFile, position};
use crate::load::PolicySet;
use crate::waiver::{ActiveWaiver, WaiverTarget};
use countersign_core::{ArtifactFacts, Decision, Ecosystem, Finding, Purl, Timestamp, Verdict};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

/// How one case of a test file ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestOutcome {
    /// The file that holds the case.
    pub file: String,
    /// The case's name; empty for a file that could not be read.
    pub name: String,
    /// What was expected and what came; `None` when they agree.
    pub failure: Option<String>,
    /// Ids of the rules that fired.
    pub fired: Vec<String>,
}

impl TestOutcome {
    /// Whether the case came out as expected.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.failure.is_none()
    }
}

/// The time of a case that names none: 2026-01-01T00:00:00Z.
const NOW: Timestamp = Timestamp(1_767_225_600);

/// A file of cases.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseFile {
    /// Facts of an artifact that all cases start from.
    #[serde(default)]
    base: Value,
    #[serde(default)]
    case: Vec<TestCase>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TestCase {
    name: String,
    #[serde(default)]
    action: Action,
    now: Option<Timestamp>,
    #[serde(default)]
    client: String,
    /// Facts that differ from the base: a version's for `resolve`, else an artifact's.
    #[serde(default)]
    facts: Value,
    /// Shorthand: hours since the version was published.
    age_hours: Option<i64>,
    /// The finding that `tolerate` is about.
    finding: Option<Value>,
    #[serde(default)]
    waivers: Vec<TestWaiver>,
    expect: Expected,
    /// All rules that fire, in any order.
    rules: Option<Vec<String>>,
    /// The reason of the strictest rule.
    reason: Option<String>,
    /// Texts that the details of the fired rules hold.
    #[serde(default)]
    detail: Vec<String>,
    /// When the hold ends.
    until: Option<Timestamp>,
    /// The waivers that the verdict needs.
    needs: Option<Vec<String>>,
}

#[derive(Deserialize, Default, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum Action {
    #[default]
    Install,
    Resolve,
    Tolerate,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum Expected {
    Admit,
    Hold,
    Refuse,
    Tolerated,
    NotTolerated,
}

impl Expected {
    fn name(self) -> &'static str {
        match self {
            Self::Admit => "admit",
            Self::Hold => "hold",
            Self::Refuse => "refuse",
            Self::Tolerated => "tolerated",
            Self::NotTolerated => "not tolerated",
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TestWaiver {
    #[serde(default = "waiver_id")]
    id: String,
    covers: String,
    /// The version of the case, when left out.
    target: Option<WaiverTarget>,
    /// An hour after the case's time, when left out.
    until: Option<Timestamp>,
}

fn waiver_id() -> String {
    "waiver".to_owned()
}

/// Runs the cases of `files` (TOML, or JSON where the name ends in `.json`) against `set`. A file
/// that cannot be read or holds no cases is one failed outcome.
#[must_use]
pub fn run_tests(set: &PolicySet, files: &[PolicyFile]) -> Vec<TestOutcome> {
    files.iter().flat_map(|file| run_file(set, file)).collect()
}

fn run_file(set: &PolicySet, file: &PolicyFile) -> Vec<TestOutcome> {
    let outcome = |name: &str, failure: Option<String>, fired: Vec<String>| TestOutcome {
        file: file.name.clone(),
        name: name.to_owned(),
        failure,
        fired,
    };
    let cases = match read(file) {
        Ok(cases) if cases.case.is_empty() => {
            return vec![outcome("", Some("the file holds no `[[case]]`".to_owned()), vec![])];
        }
        Ok(cases) => cases,
        Err(message) => return vec![outcome("", Some(message), vec![])],
    };
    let run = |case: &TestCase| match case.run(set, &cases.base) {
        Ok((failures, fired)) => {
            let failure = (!failures.is_empty()).then(|| failures.join("; "));
            outcome(&case.name, failure, fired)
        }
        Err(message) => outcome(&case.name, Some(message), vec![]),
    };
    cases.case.iter().map(run).collect()
}

fn read(file: &PolicyFile) -> Result<CaseFile, String> {
    if file.name.ends_with(".json") {
        return serde_json::from_str(&file.text).map_err(|e| e.to_string());
    }
    toml::from_str(&file.text).map_err(|e| {
        let (line, column, _) = position(&file.text, e.span().map_or(0, |s| s.start));
        format!("line {line}, column {column}: {}", e.message())
    })
}

/// What does not agree, and the rules that fired.
type Judgement = (Vec<String>, Vec<String>);

impl TestCase {
    fn run(&self, set: &PolicySet, base: &Value) -> Result<Judgement, String> {
        let ctx = DecisionContext {
            client: self.client.clone(),
            ..DecisionContext::at(self.now.unwrap_or(NOW))
        };
        let given = match self.action {
            Action::Resolve => json!({ "version": self.facts }),
            Action::Install | Action::Tolerate => self.facts.clone(),
        };
        let facts = self.artifact(base, given, ctx.now)?;
        let waivers = self.waivers(&facts.version.purl, ctx.now);
        let decision = match self.action {
            Action::Install => set.decide_artifact(&facts, &waivers, &ctx),
            Action::Resolve => set.decide_version(&facts.version, &waivers, &ctx),
            Action::Tolerate => {
                let tolerated = set.judge_finding(
                    &self.finding()?,
                    &facts.version,
                    Some(facts.sha256),
                    &waivers,
                    &ctx,
                );
                let want = if tolerated { Expected::Tolerated } else { Expected::NotTolerated };
                let failure =
                    (self.expect != want).then(|| format!("the finding is {}", want.name()));
                return Ok((failure.into_iter().collect(), vec![]));
            }
        };
        let fired = decision.fired.iter().map(|f| f.rule.clone()).collect();
        Ok((self.compare(&decision), fired))
    }

    /// The built-in facts, the file's and the case's, each over the one before.
    fn artifact(
        &self,
        base: &Value,
        given: Value,
        now: Timestamp,
    ) -> Result<ArtifactFacts, String> {
        let mut facts = defaults(now);
        merge(&mut facts, base);
        merge(&mut facts, &given);
        if let Some(hours) = self.age_hours {
            let published = now.plus_seconds(hours.saturating_mul(-3600));
            let age = json!({ "version": { "age": "known", "published": published } });
            merge(&mut facts, &age);
        }
        for list in ["/findings", "/version/findings"] {
            let findings = facts.pointer_mut(list).and_then(Value::as_array_mut);
            findings.into_iter().flatten().for_each(complete_finding);
        }
        complete_evidence(&mut facts);
        let facts: ArtifactFacts = parse(facts)?;
        known_keys("facts", base, &facts)?;
        known_keys("facts", &given, &facts)?;
        Ok(facts)
    }

    fn finding(&self) -> Result<Finding, String> {
        let mut value = self.finding.clone().ok_or("`action = \"tolerate\"` needs a `finding`")?;
        let given = value.clone();
        complete_finding(&mut value);
        let finding = parse(value)?;
        known_keys("finding", &given, &finding)?;
        Ok(finding)
    }

    fn waivers(&self, purl: &Purl, now: Timestamp) -> Vec<ActiveWaiver> {
        let waiver = |w: &TestWaiver| ActiveWaiver {
            id: w.id.clone(),
            target: w.target.clone().unwrap_or_else(|| WaiverTarget::Version(purl.clone())),
            covers: w.covers.clone(),
            until: w.until.unwrap_or(now.plus_seconds(3600)),
        };
        self.waivers.iter().map(waiver).collect()
    }

    fn compare(&self, decision: &Decision) -> Vec<String> {
        let mut failures = Vec::new();
        let got = match decision.verdict {
            Verdict::Admit => Expected::Admit,
            Verdict::Hold => Expected::Hold,
            Verdict::Refuse => Expected::Refuse,
        };
        let details: Vec<String> =
            decision.fired.iter().map(|f| format!("{} ({})", f.rule, f.detail)).collect();
        if self.expect != got {
            failures.push(format!(
                "the verdict is {}, not {}; fired: {}",
                decision.verdict,
                self.expect.name(),
                details.join(", ")
            ));
        }
        let mut fired: Vec<&str> = decision.fired.iter().map(|f| f.rule.as_str()).collect();
        fired.sort_unstable();
        if let Some(rules) = &self.rules {
            let mut rules: Vec<&str> = rules.iter().map(String::as_str).collect();
            rules.sort_unstable();
            if rules != fired {
                failures.push(format!("fired {fired:?}, not {rules:?}"));
            }
        }
        let reason = decision.leading().map(|f| f.reason.name());
        if self.reason.is_some() && self.reason.as_deref() != reason {
            failures.push(format!("the reason is `{}`", reason.unwrap_or("none")));
        }
        for part in &self.detail {
            if !details.iter().any(|d| d.contains(part)) {
                failures.push(format!("no detail holds `{part}`: {details:?}"));
            }
        }
        if self.until.is_some() && self.until != decision.ends() {
            let ends = decision.ends().map_or("never".to_owned(), |t| t.to_string());
            failures.push(format!("the hold ends {ends}"));
        }
        if self.needs.as_ref().is_some_and(|n| *n != decision.waivers) {
            failures.push(format!("the verdict needs the waivers {:?}", decision.waivers));
        }
        failures
    }
}

/// An artifact that nothing is known against: old, checked, scanned.
fn defaults(now: Timestamp) -> Value {
    json!({
        "version": {
            "purl": "pkg:npm/example@1.0.0",
            "upstream": "public",
            "age": "known",
            "published": now.plus_seconds(-365 * 24 * 3600),
            "yanked": false,
            "reservation": "none",
            "denied": false,
            "allowed": false,
            "findings": [],
            "advisories": { "name": "advisories", "outcome": "passed" },
        },
        "file_name": "example-1.0.0.tgz",
        "sha256": "a".repeat(64),
        "size": 1000,
        "digest_confirmed": true,
        "findings": [],
        "checks": [
            { "name": "digest", "outcome": "passed" },
            { "name": "archive", "outcome": "passed" },
            { "name": "evidence", "outcome": "passed" },
        ],
    })
}

/// Puts `over` onto `value`: objects key by key, all else as a whole.
fn merge(value: &mut Value, over: &Value) {
    match (value, over) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, more) in from {
                merge(into.entry(key.clone()).or_insert(Value::Null), more);
            }
        }
        (_, Value::Null) => {}
        (value, over) => *value = over.clone(),
    }
}

fn fill(object: &mut Map<String, Value>, key: &str, value: Value) {
    object.entry(key.to_owned()).or_insert(value);
}

fn complete_finding(finding: &mut Value) {
    if let Value::Object(finding) = finding {
        fill(finding, "title", json!(""));
        fill(finding, "severity", json!("unknown"));
    }
}

/// Fills in the evidence that is usual for the ecosystem, and what a listed piece leaves out.
fn complete_evidence(facts: &mut Value) {
    let purl = facts.pointer("/version/purl").and_then(Value::as_str).unwrap_or("");
    let kinds: &[&str] = match purl.parse::<Purl>().map(|p| p.ecosystem()) {
        Ok(Ecosystem::Npm) => &["npm-publish", "npm-provenance"],
        Ok(Ecosystem::Pypi) => &["pep740"],
        Ok(Ecosystem::Debian) => &["debian-release"],
        _ => &[],
    };
    let usual = kinds.iter().map(|k| json!({ "kind": k, "state": "verified" })).collect();
    let Value::Object(facts) = facts else { return };
    fill(facts, "evidence", Value::Array(usual));
    let evidence = facts.get_mut("evidence").and_then(Value::as_array_mut);
    for piece in evidence.into_iter().flatten() {
        let Value::Object(piece) = piece else { continue };
        fill(piece, "source", json!("index"));
        if piece.get("state").and_then(Value::as_str) == Some("verified") {
            let kind = piece.get("kind").cloned().unwrap_or_default();
            fill(piece, "claim", json!({}));
            if let Some(Value::Object(claim)) = piece.get_mut("claim") {
                fill(claim, "kind", kind);
                fill(claim, "signer", json!("a signer"));
                fill(claim, "proof", json!("inclusion-proof"));
            }
        }
    }
}

fn parse<T: DeserializeOwned>(value: Value) -> Result<T, String> {
    serde_json::from_value(value).map_err(|e| format!("the facts are not understood: {e}"))
}

/// A key that is not in the facts after they were read was misspelt: it would test nothing.
fn known_keys(at: &str, given: &Value, facts: &impl serde::Serialize) -> Result<(), String> {
    let read = serde_json::to_value(facts).map_err(|e| e.to_string())?;
    unknown_key(at, given, &read).map_or(Ok(()), |key| Err(format!("unknown key `{key}`")))
}

fn unknown_key(at: &str, given: &Value, read: &Value) -> Option<String> {
    match (given, read) {
        (Value::Object(given), Value::Object(read)) => given.iter().find_map(|(key, value)| {
            let at = format!("{at}.{key}");
            match read.get(key) {
                Some(read) => unknown_key(&at, value, read),
                // Empty lists and unset options are left out when facts are written.
                None if value.as_array().is_some_and(Vec::is_empty) || value.is_null() => None,
                None => Some(at),
            }
        }),
        (Value::Array(given), Value::Array(read)) => given
            .iter()
            .zip(read)
            .enumerate()
            .find_map(|(i, (given, read))| unknown_key(&format!("{at}[{i}]"), given, read)),
        _ => None,
    }
}

/// The facts of a case that differs from the built-in facts in `facts` alone.
#[cfg(test)]
pub(crate) fn artifact_for_tests(facts: Value, now: Timestamp) -> ArtifactFacts {
    let case: TestCase = serde_json::from_value(json!({ "name": "", "expect": "admit" })).unwrap();
    case.artifact(&Value::Null, facts, now).unwrap()
}

/// The version of [`artifact_for_tests`].
#[cfg(test)]
pub(crate) fn version_for_tests(facts: Value, now: Timestamp) -> countersign_core::VersionFacts {
    artifact_for_tests(json!({ "version": facts }), now).version
}

#[cfg(test)]
mod tests;
