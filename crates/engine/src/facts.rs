//! From an index's word and the feeds to facts that policy can judge.

use crate::engine::Engine;
use crate::exemptions::Exemptions;
use crate::feeds::Feeds;
use crate::grounds::Grounds;
use crate::http_client::Failure;
use crate::index::FileRef;
use crate::upstream::Upstream;
use countersign_core::{
    Age, ArtifactFacts, Check, Decision, Ecosystem, Finding, FindingKind, Purl, ReasonCode,
    Severity, Sha256Digest, VersionFacts,
};
use countersign_policy::DecisionContext;
use countersign_scan::advisory::{FeedError, PackageAdvisories};
use std::sync::Arc;

/// What the feeds know of one package, asked once for all its versions.
pub(crate) enum FeedPackage {
    /// The feeds were asked.
    Known {
        /// The package's advisories.
        package: PackageAdvisories,
        /// The package as VEX documents name it, without a version.
        asked: Purl,
        /// What VEX documents state.
        exemptions: Arc<Exemptions>,
    },
    /// The feeds could not be asked.
    NotAsked(String),
}

impl FeedPackage {
    /// Asks the feeds about a package. That no feed covers it is an answer; that a feed which is
    /// there cannot be read is not.
    pub(crate) fn ask(
        feeds: Option<&Feeds>,
        exemptions: &Arc<Exemptions>,
        ecosystem: Ecosystem,
        name: &str,
        release: Option<&str>,
    ) -> Result<Self, Failure> {
        let Some(feeds) = feeds else {
            return Ok(Self::NotAsked("no feed is configured".to_owned()));
        };
        match feeds.package(ecosystem, name, release) {
            Ok(package) => Ok(Self::Known {
                package,
                asked: Purl::new(ecosystem, name, None),
                exemptions: exemptions.clone(),
            }),
            Err(e @ FeedError::NotCovered { .. }) => Ok(Self::NotAsked(e.to_string())),
            Err(e) => Err(Failure::new(
                ReasonCode::Internal,
                format!("the advisory feeds cannot be read: {e}; run `countersign feed list`"),
            )),
        }
    }

    /// What they say of one version, and whether all of it could be decided.
    pub(crate) fn of_version(&self, version: &str) -> (Vec<Finding>, Check) {
        match self {
            Self::NotAsked(because) => (Vec::new(), Check::not_done("advisories", because.clone())),
            Self::Known { package, asked, exemptions } => {
                let mut matched = package.findings_for(version);
                let purl = Purl::new(asked.ecosystem(), asked.name(), Some(version));
                exemptions.vex.apply(&purl, &mut matched.findings);
                let check = if !matched.undecided.is_empty() {
                    let ids = matched.undecided.join(", ");
                    Check::not_done(
                        "advisories",
                        format!("cannot tell whether {ids} affects {version}"),
                    )
                } else if matched.findings.is_empty() {
                    Check::passed("advisories")
                } else {
                    let ids: Vec<&str> = matched.findings.iter().map(|f| f.id.as_str()).collect();
                    Check::failed("advisories", ids.join(", "))
                };
                (matched.findings, check)
            }
        }
    }
}

impl FeedPackage {
    /// The shortest upgrade of a version, where one of these findings asks for one.
    pub(crate) fn upgrade(&self, version: &str, findings: &[Finding]) -> Option<String> {
        let stands = findings.iter().any(|f| f.kind != FindingKind::Notice);
        match self {
            Self::Known { package, .. } if stands => package.upgrade_for(version),
            _ => None,
        }
    }

    /// Says anew what they say of a version.
    pub(crate) fn fill(&self, facts: &mut VersionFacts, version: &str) {
        (facts.findings, facts.advisories) = self.of_version(version);
        facts.upgrade = self.upgrade(version, &facts.findings);
    }
}

impl Grounds {
    /// Asks the feeds about a package; see [`FeedPackage::ask`].
    pub(crate) fn feed_package(
        &self,
        ecosystem: Ecosystem,
        name: &str,
        release: Option<&str>,
    ) -> Result<FeedPackage, Failure> {
        FeedPackage::ask(self.feeds.as_deref(), &self.exemptions, ecosystem, name, release)
    }
}

/// Under what name, version and release the feeds are asked about a version; `None` for a deb whose
/// source package is not known.
pub(crate) fn asked_as(facts: &VersionFacts) -> Option<(String, String, Option<String>)> {
    match &facts.advised_as {
        Some(a) => Some((a.name.clone(), a.version.clone(), a.release.clone())),
        None if facts.purl.ecosystem() == Ecosystem::Debian => None,
        None => {
            let version = facts.purl.version().unwrap_or("").to_owned();
            Some((facts.purl.name().to_owned(), version, None))
        }
    }
}

impl Grounds {
    /// Says anew what these lists say of a version.
    pub(crate) fn apply_lists(&self, facts: &mut VersionFacts, upstream: &Upstream) {
        facts.denied = self.lists.denies(&facts.purl);
        facts.allowed = self.lists.allows(&facts.purl);
        facts.reservation = self.lists.reservation(&facts.purl, upstream);
    }
}

impl Engine {
    /// A file with what the present grounds say of its version. An index that was judged on earlier
    /// ones may have given it, and a fetch may have outlived them.
    pub(crate) fn on_present_grounds(&self, file: &Arc<FileRef>) -> Result<Arc<FileRef>, Failure> {
        if !self.serves() {
            // The grounds of a run stay the same.
            return Ok(file.clone());
        }
        let grounds = self.grounds();
        let mut facts = file.facts.clone();
        grounds.apply_lists(&mut facts, &file.upstream);
        if let Some((name, version, release)) = asked_as(&facts) {
            let ecosystem = facts.purl.ecosystem();
            let feed = grounds.feed_package(ecosystem, &name, release.as_deref())?;
            feed.fill(&mut facts, &version);
        }
        if facts == file.facts {
            return Ok(file.clone());
        }
        Ok(Arc::new(FileRef { facts, ..FileRef::clone(file) }))
    }

    /// Asks the present feeds about a package; see [`Grounds::feed_package`].
    pub(crate) fn feed_package(
        &self,
        ecosystem: Ecosystem,
        name: &str,
        release: Option<&str>,
    ) -> Result<FeedPackage, Failure> {
        self.grounds().feed_package(ecosystem, name, release)
    }

    /// The facts of one version.
    pub(crate) fn version_facts(
        &self,
        purl: Purl,
        upstream: &Upstream,
        age: Age,
        yanked: bool,
        feed: &FeedPackage,
    ) -> VersionFacts {
        let version = purl.version().unwrap_or("");
        let (findings, advisories) = feed.of_version(version);
        let upgrade = feed.upgrade(version, &findings);
        let fixes_installed = self.fixes_of_installed(&purl, feed, &findings);
        let lists = self.grounds().lists.clone();
        VersionFacts {
            upstream: upstream.name.clone(),
            age,
            yanked,
            reservation: lists.reservation(&purl, upstream),
            denied: lists.denies(&purl),
            allowed: lists.allows(&purl),
            fixes_installed,
            findings,
            advisories,
            advised_as: None,
            upgrade,
            silent_days: None,
            claimed_repository: None,
            purl,
        }
    }

    /// Vulnerabilities of the installed version of the same package that this version lacks, when
    /// it has no others of its own.
    fn fixes_of_installed(&self, purl: &Purl, feed: &FeedPackage, own: &[Finding]) -> Vec<String> {
        let installed = self.inner.installed.read();
        let Some(versions) = installed.get(&(purl.ecosystem(), purl.name().to_owned())) else {
            return Vec::new();
        };
        let serious = |f: &&Finding| {
            matches!(f.kind, FindingKind::Vulnerability | FindingKind::Malicious)
                && f.severity > Severity::Info
        };
        if own.iter().any(|f| serious(&f)) {
            return Vec::new();
        }
        let mut fixed: Vec<String> = versions
            .iter()
            .flat_map(|v| feed.of_version(v).0)
            .filter(|f| serious(&f) && !own.iter().any(|o| o.id == f.id))
            .map(|f| f.id)
            .collect();
        fixed.sort();
        fixed.dedup();
        fixed
    }

    fn context(&self, index_digests: &[Sha256Digest]) -> DecisionContext {
        DecisionContext {
            now: self.now(),
            client: self.inner.client.clone(),
            index_digests: index_digests.to_vec(),
        }
    }

    /// What policy says of a version's metadata, where the index announces these digests.
    pub(crate) fn decide_version(
        &self,
        facts: &VersionFacts,
        index_digests: &[Sha256Digest],
    ) -> Decision {
        let grounds = self.grounds();
        grounds.policy.decide_version(facts, &grounds.waivers, &self.context(index_digests))
    }

    /// What policy says of an artifact.
    pub(crate) fn decide_artifact(&self, facts: &ArtifactFacts) -> Decision {
        let grounds = self.grounds();
        grounds.policy.decide_artifact(facts, &grounds.waivers, &self.context(&[]))
    }
}
