//! The life of findings: what was found in which version, since when, and how it stands now.
//!
//! Nothing is kept beside the ledger's decisions: a finding's life is read from them, and how it stands
//! is asked of the present policy, waivers and VEX documents, by the evaluation that judges artifacts.

use crate::exemptions::Exemptions;
use countersign_core::{
    ArtifactFacts, Finding, Purl, Sha256Digest, Timestamp, VersionFacts, VexClaim, VexSource,
};
use countersign_policy::{ActiveWaiver, DecisionContext, PolicySet};
use countersign_store::{Store, StoreError, StoredDecision};
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};

/// How a finding stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Policy does not tolerate it.
    Open,
    /// A waiver lifts it.
    Waived,
    /// A VEX document that policy believes says that it does not stand.
    Vex,
    /// Policy tolerates it as it is.
    Tolerated,
    /// The last judgement of the same file did not find it any more.
    Fixed,
}

impl State {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Waived => "waived",
            Self::Vex => "vex",
            Self::Tolerated => "tolerated",
            Self::Fixed => "fixed",
        }
    }
}

/// One finding about one version, over time.
#[derive(Debug, Clone, Serialize)]
pub struct Record {
    /// Names it for good: it depends on the version, the rule or advisory, and where a scanner saw it on
    /// the file and the text; not on when and by which scan.
    pub id: String,
    /// The version.
    pub purl: Purl,
    /// The files of the version in which it was found.
    pub files: Vec<String>,
    /// How it stands.
    pub state: State,
    /// When it was first recorded.
    pub first_seen: Timestamp,
    /// When it was last recorded.
    pub last_seen: Timestamp,
    /// The waivers that are for it.
    pub waivers: Vec<String>,
    /// The finding, as it was last recorded, with what VEX documents state now.
    pub finding: Finding,
}

/// What findings are judged by.
pub struct Judging<'j> {
    /// The policy.
    pub policy: &'j PolicySet,
    /// The waivers in force, those of files as well.
    pub waivers: &'j [ActiveWaiver],
    /// VEX documents.
    pub exemptions: &'j Exemptions,
    /// The time.
    pub now: Timestamp,
}

/// Decisions that are read at a time.
const PAGE: u32 = 500;

/// All findings that are recorded: of a version, of all versions of a package, or of everything.
///
/// # Errors
/// When the store cannot be read.
pub async fn findings(
    store: &Store,
    purl: Option<&Purl>,
    judging: &Judging<'_>,
) -> Result<Vec<Record>, StoreError> {
    let mut gathered = Gathered::default();
    match purl {
        Some(purl) if purl.version().is_some() => {
            let all = store.decisions_for_purl(purl).await?;
            all.iter().for_each(|d| gathered.take(d));
        }
        Some(purl) => {
            let all = store.history(purl, u32::MAX).await?;
            all.iter().for_each(|d| gathered.take(d));
        }
        None => {
            let mut before = None;
            loop {
                let page = store.recent(before, PAGE).await?;
                page.iter().for_each(|d| gathered.take(d));
                match page.last() {
                    Some(last) if page.len() == PAGE as usize => before = Some(last.index),
                    _ => break,
                }
            }
        }
    }
    Ok(gathered.judged(judging))
}

/// A finding under way: what is known of it, newest first.
struct Seen {
    record: Record,
    version: VersionFacts,
    sha256: Option<Sha256Digest>,
    /// Whether the newest judgement of one of its files still has it.
    present: bool,
}

#[derive(Default)]
struct Gathered {
    seen: BTreeMap<String, Seen>,
    /// Files that a newer decision, with facts, was read of.
    newest: HashSet<(Purl, String)>,
}

impl Gathered {
    /// Takes up a decision; they come newest first.
    fn take(&mut self, decision: &StoredDecision) {
        // A decision that was made without the bytes has the facts of the version, or none at all.
        let artifact: Option<ArtifactFacts> = serde_json::from_value(decision.facts.clone()).ok();
        let (version, all) = match artifact {
            Some(facts) => {
                let all: Vec<Finding> = facts.all_findings().cloned().collect();
                (facts.version, all)
            }
            None => match serde_json::from_value::<VersionFacts>(decision.facts.clone()) {
                Ok(facts) => {
                    let all = facts.findings.clone();
                    (facts, all)
                }
                Err(_) => return,
            },
        };
        let file = (decision.purl.clone(), decision.file_name.clone());
        let is_newest = self.newest.insert(file);
        for finding in all {
            let id = id(&decision.purl, &finding);
            let seen = self.seen.entry(id.clone()).or_insert_with(|| Seen {
                record: Record {
                    id,
                    purl: decision.purl.clone(),
                    files: Vec::new(),
                    state: State::Fixed,
                    first_seen: decision.time,
                    last_seen: decision.time,
                    waivers: Vec::new(),
                    finding,
                },
                version: version.clone(),
                sha256: decision.sha256,
                present: false,
            });
            seen.present |= is_newest;
            let record = &mut seen.record;
            record.first_seen = record.first_seen.min(decision.time);
            record.last_seen = record.last_seen.max(decision.time);
            if !record.files.contains(&decision.file_name) {
                record.files.push(decision.file_name.clone());
            }
        }
    }

    fn judged(self, judging: &Judging<'_>) -> Vec<Record> {
        let context = DecisionContext::at(judging.now);
        let mut out: Vec<Record> = Vec::with_capacity(self.seen.len());
        for mut seen in self.seen.into_values() {
            let finding = &mut seen.record.finding;
            // What a package says of itself was read from its bytes; what others say is asked anew.
            finding.vex.retain(|c| c.source == VexSource::Package);
            judging.exemptions.vex.apply(&seen.record.purl, std::slice::from_mut(finding));
            let tolerates = |finding: &Finding, waivers: &[ActiveWaiver]| {
                judging.policy.judge_finding(finding, &seen.version, seen.sha256, waivers, &context)
            };
            let unstated = Finding { vex: Vec::new(), ..finding.clone() };
            seen.record.state = match seen.present {
                false => State::Fixed,
                true if tolerates(&unstated, &[]) => State::Tolerated,
                true if tolerates(finding, &[]) => State::Vex,
                true if tolerates(finding, judging.waivers) => State::Waived,
                true => State::Open,
            };
            if seen.record.state == State::Waived {
                let alone = |w: &&ActiveWaiver| tolerates(finding, std::slice::from_ref(*w));
                let needed = judging.waivers.iter().filter(alone);
                seen.record.waivers = needed.map(|w| w.id.clone()).collect();
            }
            out.push(seen.record);
        }
        out.sort_by(|a, b| {
            let by = |r: &Record| (r.state, std::cmp::Reverse(r.finding.severity));
            by(a).cmp(&by(b)).then_with(|| a.purl.cmp(&b.purl)).then_with(|| a.id.cmp(&b.id))
        });
        out
    }
}

/// A finding's id for good.
fn id(purl: &Purl, finding: &Finding) -> String {
    // Of several dependencies with one rule, the first alias says which it is.
    let of_dependency = finding.id.starts_with(crate::dependencies::PREFIX);
    let dependency = finding.aliases.iter().filter(|_| of_dependency).map(String::as_str);
    let dependency = dependency.collect::<Vec<_>>().join(" ");
    let key = match &finding.observed {
        Some(observed) => observed.key.as_str(),
        None => finding.path.as_deref().unwrap_or(&dependency),
    };
    let text = format!("{purl}\n{}\n{key}", finding.id);
    format!("F-{}", Sha256Digest::of(text.as_bytes()).short())
}

/// One line on whose VEX documents say what.
#[must_use]
pub fn vex_words(claims: &[VexClaim]) -> String {
    let one = |c: &VexClaim| {
        let why = c.justification.as_ref().map(|j| format!(", {j}")).unwrap_or_default();
        format!("{}: {}{why} ({})", c.source.name(), c.status.name(), c.document)
    };
    claims.iter().map(one).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_core::{Decision, FindingKind, ReasonCode, Severity, VexStatus};
    use countersign_scan::vex;
    use serde_json::{Value, json};

    fn decision(index: u64, findings: &[Value]) -> StoredDecision {
        let purl: Purl = "pkg:npm/a@1.0.0".parse().unwrap();
        let facts = json!({
            "version": {
                "purl": purl, "upstream": "npm", "age": "unknown", "yanked": false,
                "reservation": "none", "denied": false, "allowed": false, "findings": findings,
                "advisories": {"name": "advisories", "outcome": "passed"},
            },
            "file_name": "a-1.0.0.tgz", "sha256": "0".repeat(64), "size": 1,
            "digest_confirmed": true, "evidence": [], "findings": [], "checks": [],
        });
        serde_json::from_value::<ArtifactFacts>(facts.clone()).unwrap();
        StoredDecision {
            index,
            purl,
            file_name: "a-1.0.0.tgz".to_owned(),
            sha256: Some(Sha256Digest([0; 32])),
            decision: Decision::refused_by_gate(ReasonCode::Policy, String::new(), String::new()),
            facts,
            time: Timestamp(1000 + i64::try_from(index).unwrap()),
        }
    }

    fn finding(id: &str, severity: Severity) -> Value {
        json!({"id": id, "kind": FindingKind::Vulnerability, "severity": severity, "title": id})
    }

    fn states(decisions: &[StoredDecision], waivers: &[ActiveWaiver], own: &str) -> Vec<Record> {
        let mut exemptions = Exemptions::default();
        if !own.is_empty() {
            exemptions.vex.add(vex::parse(own.as_bytes()).unwrap(), VexSource::Own);
        }
        let policy = PolicySet::shipped("baseline").unwrap();
        let now = Timestamp(5000);
        let judging = Judging { policy: &policy, waivers, exemptions: &exemptions, now };
        let mut gathered = Gathered::default();
        decisions.iter().rev().for_each(|d| gathered.take(d));
        gathered.judged(&judging)
    }

    #[test]
    fn a_finding_lives_from_its_first_record_to_its_end() {
        let all = [
            decision(1, &[finding("GHSA-1", Severity::High), finding("GHSA-2", Severity::High)]),
            decision(2, &[finding("GHSA-1", Severity::Critical), finding("GHSA-3", Severity::Low)]),
        ];
        let records = states(&all, &[], "");
        let told: Vec<_> = records
            .iter()
            .map(|r| (r.finding.id.as_str(), r.state, r.first_seen.0, r.last_seen.0))
            .collect();
        assert_eq!(
            told,
            [
                ("GHSA-1", State::Open, 1001, 1002),
                ("GHSA-3", State::Tolerated, 1002, 1002),
                ("GHSA-2", State::Fixed, 1001, 1001),
            ]
        );
        // What is newest of it counts, and its id is the one that it had.
        assert_eq!(records[0].finding.severity, Severity::Critical);
        let before = states(&all[..1], &[], "");
        assert!(before.iter().any(|r| r.id == records[0].id));
    }

    #[test]
    fn waivers_and_vex_are_told_by_the_evaluation_that_judges() {
        let all =
            [decision(1, &[finding("GHSA-1", Severity::High), finding("GHSA-2", Severity::High)])];
        let waiver = ActiveWaiver {
            id: "W-1".to_owned(),
            target: "pkg:npm/a@1.0.0".parse().unwrap(),
            covers: "GHSA-1".to_owned(),
            until: Timestamp(9000),
        };
        let own = json!({"@context": "https://openvex.dev/ns", "@id": "d", "statements": [{
            "vulnerability": "GHSA-2", "products": ["pkg:npm/a@1.0.0"], "status": "not_affected",
            "justification": "component_not_present"}]});
        let records = states(&all, std::slice::from_ref(&waiver), &own.to_string());
        let told: Vec<_> = records.iter().map(|r| (r.finding.id.as_str(), r.state)).collect();
        assert_eq!(told, [("GHSA-1", State::Waived), ("GHSA-2", State::Vex)]);
        assert_eq!(records[0].waivers, ["W-1"]);
        assert_eq!(records[1].finding.vex[0].status, VexStatus::NotAffected);
        assert!(vex_words(&records[1].finding.vex).contains("own: not_affected"));
        let ended = ActiveWaiver { until: Timestamp(4000), ..waiver };
        assert_eq!(states(&all, &[ended], "")[0].state, State::Open);
    }
}
