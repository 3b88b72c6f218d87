//! One admitted artifact, judged again: its own facts as they were stored, all else as it is now.

use crate::config::Config;
use crate::dependencies;
use crate::facts::{FeedPackage, asked_as};
use crate::grounds::Grounds;
use crate::http_client::Failure;
use crate::upstream::{THIS_MACHINE, Upstream};
use countersign_core::{
    ArtifactFacts, Check, Decision, Ecosystem, EvidenceState, Finding, FindingKind, Outcome,
    Severity, VersionFacts,
};
use countersign_ecosystem::version;
use countersign_policy::DecisionContext;
use std::cmp::Ordering;
use std::collections::HashMap;

/// What judging again gave.
pub(super) struct Judged {
    pub(super) facts: ArtifactFacts,
    pub(super) decision: Decision,
    /// Whether evidence that rests on the trust roots was taken as it was verified then.
    pub(super) roots_matter: bool,
}

/// Why an artifact could not be judged again.
pub(super) enum Unjudged {
    /// What was stored of it cannot be read.
    Facts(String),
    /// The feeds cannot be read: then nothing can be judged.
    Feeds(Failure),
}

/// Judges artifacts under one set of grounds. Each thread has its own.
pub(super) struct Judge<'g> {
    grounds: &'g Grounds,
    config: &'g Config,
    context: &'g DecisionContext,
    /// What the feeds say of packages that were asked for already.
    asked: HashMap<(Ecosystem, String, Option<String>), FeedPackage>,
}

/// Packages that are remembered; then all are forgotten.
const REMEMBERED: usize = 2048;

impl<'g> Judge<'g> {
    pub(super) fn new(
        grounds: &'g Grounds,
        config: &'g Config,
        context: &'g DecisionContext,
    ) -> Self {
        Self { grounds, config, context, asked: HashMap::new() }
    }

    /// Judges an artifact by its stored facts.
    ///
    /// What the bytes are, what was found in them, its evidence, its age, and which vulnerabilities
    /// of an installed version it fixed when it was admitted stay as they were; advisories, lists
    /// and reservations are looked up anew.
    pub(super) fn judge(&mut self, stored: &str) -> Result<Judged, Unjudged> {
        self.judge_at(stored, self.context)
    }

    /// As [`Judge::judge`], at the time and for the client of another context.
    pub(super) fn judge_at(
        &mut self,
        stored: &str,
        context: &DecisionContext,
    ) -> Result<Judged, Unjudged> {
        let mut facts: ArtifactFacts =
            serde_json::from_str(stored).map_err(|e| Unjudged::Facts(e.to_string()))?;
        self.ask_feeds(&mut facts.version).map_err(Unjudged::Feeds)?;
        self.ask_about_dependencies(&mut facts).map_err(Unjudged::Feeds)?;
        if let Some(upstream) = self.upstream(&facts.version) {
            self.grounds.apply_lists(&mut facts.version, &upstream);
        }
        // What a key signed that was revoked or is not pinned any more, as far as the facts tell.
        let restrictions = self.grounds.roots.restrictions();
        facts.evidence.iter_mut().for_each(|e| restrictions.apply(e, context.now));
        let decision = self.grounds.policy.decide_artifact(&facts, &self.grounds.waivers, context);
        let roots_matter = facts.evidence.iter().any(|e| {
            e.kind != "debian-release" && matches!(e.state, EvidenceState::Verified { .. })
        });
        Ok(Judged { facts, decision, roots_matter })
    }

    fn ask_feeds(&mut self, facts: &mut VersionFacts) -> Result<(), Failure> {
        let ecosystem = facts.purl.ecosystem();
        let Some((name, version, release)) = asked_as(facts) else {
            // An earlier version of the gate did not keep the source package: what was found then
            // still counts, and that nobody asked again is said.
            if !matches!(facts.advisories.outcome, Outcome::NotDone { .. }) {
                let because = "the source package was not recorded when it was admitted";
                facts.advisories = Check::not_done("advisories", because);
            }
            return Ok(());
        };
        let key = (ecosystem, name, release);
        if !self.asked.contains_key(&key) {
            if self.asked.len() >= REMEMBERED {
                self.asked.clear();
            }
            let package = self.grounds.feed_package(ecosystem, &key.1, key.2.as_deref())?;
            self.asked.insert(key.clone(), package);
        }
        if let Some(package) = self.asked.get(&key) {
            package.fill(facts, &version);
        }
        Ok(())
    }

    /// What the feeds say now of what it needs; what an index said then stays.
    fn ask_about_dependencies(&self, facts: &mut ArtifactFacts) -> Result<(), Failure> {
        if facts.dependencies.is_empty() {
            return Ok(());
        }
        let ecosystem = facts.version.purl.ecosystem();
        let by_feeds = ["malicious", "notice", "vulnerable"];
        facts.findings.retain(|f| {
            f.id.strip_prefix(dependencies::PREFIX).is_none_or(|id| !by_feeds.contains(&id))
        });
        let now = dependencies::by_feeds(self.grounds, ecosystem, &facts.dependencies)?;
        facts.findings.extend(now);
        Ok(())
    }

    /// The upstream that an artifact came from, as far as reservations look at it.
    fn upstream(&self, facts: &VersionFacts) -> Option<Upstream> {
        let ecosystem = facts.purl.ecosystem();
        let named = |u: &&crate::config::UpstreamConfig| {
            u.ecosystem == ecosystem && u.name.as_deref() == Some(&facts.upstream)
        };
        let configured = self.config.upstream.iter().find(named).map(|u| u.url.as_str());
        let address = configured.unwrap_or(&facts.upstream);
        // A name that no configuration explains: only reservations by that name are its own.
        let mut upstream =
            Upstream::new(ecosystem, address).or_else(|| Upstream::new(ecosystem, THIS_MACHINE))?;
        upstream.name.clone_from(&facts.upstream);
        Some(upstream)
    }
}

/// The advisories that stand against a version, and the lowest version that none of them affects.
pub(super) fn advisories_of(
    ecosystem: Ecosystem,
    findings: &[Finding],
) -> (Vec<String>, Option<String>) {
    let serious: Vec<&Finding> = findings
        .iter()
        .filter(|f| matches!(f.kind, FindingKind::Vulnerability | FindingKind::Malicious))
        .filter(|f| f.severity > Severity::Info)
        .collect();
    let ids = serious.iter().map(|f| f.id.clone()).collect();
    let fixes: Option<Vec<&String>> = serious.iter().map(|f| f.fixed_in.as_ref()).collect();
    // All of them must be fixed: the highest of the lowest, and none where one has no fix.
    let later =
        |a: &&String, b: &&String| version::compare(ecosystem, a, b).unwrap_or(Ordering::Equal);
    let fixed = fixes.and_then(|all| all.into_iter().max_by(later).cloned());
    (ids, fixed)
}
