//! Judging listed versions: feeds, lists and ledger to facts, facts to decisions.

use super::source::Document;
use super::{Audited, Before, Item, Judged, Judgement, Report};
use crate::config::{Lists, UpstreamConfig};
use crate::exemptions::Exemptions;
use crate::facts::FeedPackage;
use crate::feeds::Feeds;
use countersign_core::{
    AdvisedAs, Age, Algorithm, ArtifactFacts, Decision, Ecosystem, ExpectedDigest, FiredRule,
    ReasonCode, Reservation, Sha256Digest, Timestamp, Verdict, VersionFacts,
};
use countersign_ecosystem::inventory::{Listed, ListedFile};
use countersign_policy::{ActiveWaiver, DecisionContext, PolicySet};
use countersign_store::{Known, Pin, StoredDecision};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use url::Url;

/// What a version's upstream is called where no document says.
const NO_UPSTREAM: &str = "unknown";

/// The feeds, or why there are none.
pub enum Feeding {
    /// They can be asked.
    Open(Box<Feeds>),
    /// They cannot: none is configured, or one cannot be read.
    Closed(String),
}

/// What an audit judges by.
pub struct Auditor {
    /// The policy.
    pub policy: PolicySet,
    /// The configuration's lists.
    pub lists: Lists,
    /// The configuration's upstreams, whose names reservations may use.
    pub upstreams: Vec<UpstreamConfig>,
    /// The feeds.
    pub feeds: Feeding,
    /// The waivers in force.
    pub waivers: Vec<ActiveWaiver>,
    /// VEX documents.
    pub exemptions: Arc<Exemptions>,
    /// What the store knows of the listed versions and digests.
    pub known: Known,
    /// The time of the audit.
    pub now: Timestamp,
}

/// What tells one listed version from another: everything but the line.
type Key<'a> = (
    &'a countersign_core::Purl,
    &'a [ListedFile],
    Option<&'a str>,
    Option<&'a (String, String)>,
    Option<&'a str>,
);

fn key(l: &Listed) -> Key<'_> {
    (&l.purl, &l.files, l.from.as_deref(), l.source.as_ref(), l.release.as_deref())
}

impl Auditor {
    /// Judges all documents. `production` leaves out what only development needs, where a document
    /// tells.
    #[must_use]
    pub fn judge(&self, documents: &[Document], production: bool) -> Report {
        let wanted = |l: &&Listed| !(production && l.dev);
        // A version is often in several documents: it is judged once.
        let mut places: HashMap<Key<'_>, usize> = HashMap::new();
        let mut unique: Vec<&Listed> = Vec::new();
        for listed in documents.iter().flat_map(|d| d.listed.iter().filter(wanted)) {
            places.entry(key(listed)).or_insert_with(|| {
                unique.push(listed);
                unique.len() - 1
            });
        }
        let items = self.judge_all(&unique);
        let audited = documents.iter().map(|d| {
            let of = |l: &Listed| {
                let judgement = items.get(*places.get(&key(l))?)?.clone();
                Some(Item { line: l.line, dev: l.dev, judgement })
            };
            let kept: Vec<Item> = d.listed.iter().filter(wanted).filter_map(of).collect();
            Audited {
                path: d.shown(),
                kind: d.kind,
                left_out: d.listed.len() - kept.len(),
                items: kept,
                skipped: d.skipped.clone(),
                tells_dev: d.tells_dev,
                problem: d.problem.clone(),
            }
        });
        Report { documents: audited.collect() }
    }

    /// Judges in as many threads as there are cores; the order stays.
    fn judge_all(&self, unique: &[&Listed]) -> Vec<Arc<Judgement>> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let share = unique.len().div_ceil(cores).max(64);
        std::thread::scope(|scope| {
            let work = |part: &[&Listed]| -> Vec<Arc<Judgement>> {
                part.iter().map(|listed| Arc::new(self.judge_one(listed))).collect()
            };
            let mut parts = unique.chunks(share);
            let first = parts.next();
            let others: Vec<_> = parts.map(|part| scope.spawn(move || work(part))).collect();
            let mut out = first.map(work).unwrap_or_default();
            for other in others {
                match other.join() {
                    Ok(items) => out.extend(items),
                    // What a thread could not judge must not be missing from the report.
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            out
        })
    }

    fn feed(&self, listed: &Listed) -> FeedPackage {
        let name = listed.source.as_ref().map_or(listed.purl.name(), |(name, _)| name);
        match &self.feeds {
            Feeding::Closed(because) => FeedPackage::NotAsked(because.clone()),
            Feeding::Open(feeds) => {
                let (ecosystem, release) = (listed.purl.ecosystem(), listed.release.as_deref());
                FeedPackage::ask(Some(&**feeds), &self.exemptions, ecosystem, name, release)
                    .unwrap_or_else(|failure| FeedPackage::NotAsked(failure.detail))
            }
        }
    }

    /// The facts of a listed version, with what was known of its bytes before.
    fn facts(&self, listed: &Listed, old: &[ArtifactFacts]) -> VersionFacts {
        let purl = listed.purl.clone();
        let version = match &listed.source {
            Some((_, version)) => version,
            None => purl.version().unwrap_or(""),
        };
        let feed = self.feed(listed);
        let (findings, advisories) = feed.of_version(version);
        let upgrade = feed.upgrade(version, &findings);
        let known_age = old.iter().map(|f| f.version.age).find(|a| *a != Age::Unknown);
        VersionFacts {
            upstream: self.upstream(listed),
            age: known_age.unwrap_or(Age::Unknown),
            yanked: old.iter().any(|f| f.version.yanked),
            reservation: self.reservation(listed),
            denied: self.lists.denies(&purl),
            allowed: self.lists.allows(&purl),
            fixes_installed: Vec::new(),
            findings,
            advisories,
            silent_days: old.iter().find_map(|f| f.version.silent_days),
            claimed_repository: old.iter().find_map(|f| f.version.claimed_repository.clone()),
            advised_as: listed.source.as_ref().map(|(name, version)| AdvisedAs {
                name: name.clone(),
                version: version.clone(),
                release: listed.release.clone(),
            }),
            upgrade,
            purl,
        }
    }

    fn judge_one(&self, listed: &Listed) -> Judgement {
        let stored = self.stored(listed);
        let old: Vec<ArtifactFacts> =
            stored.iter().filter_map(|d| serde_json::from_value(d.facts.clone()).ok()).collect();
        let facts = self.facts(listed, &old);
        let context = DecisionContext {
            now: self.now,
            client: String::new(),
            index_digests: sha256s(listed).collect(),
        };
        let mut decision = self.policy.decide_version(&facts, &self.waivers, &context);
        let mut findings: Vec<Judged> = Vec::new();
        let mut add = |finding: &countersign_core::Finding, sha256: Option<Sha256Digest>| {
            if findings.iter().any(|j| j.finding == *finding) {
                return;
            }
            let tolerated =
                self.policy.judge_finding(finding, &facts, sha256, &self.waivers, &context);
            findings.push(Judged { finding: finding.clone(), tolerated });
        };
        for finding in &facts.findings {
            add(finding, None);
        }
        for artifact in old {
            let artifact = ArtifactFacts { version: facts.clone(), ..artifact };
            let again = self.policy.decide_artifact(&artifact, &self.waivers, &context);
            decision.fired.extend(again.fired);
            decision.waivers.extend(again.waivers);
            for finding in &artifact.findings {
                add(finding, Some(artifact.sha256));
            }
        }
        let gate = self.gate_rules(listed, &stored);
        let (decision, not_checked) = self.concluded(listed, &facts, decision, gate);
        let before = stored.iter().filter_map(|d| before(d)).collect();
        Judgement { facts, decision, findings, not_checked, before }
    }

    /// The decision without what nobody can know here: a rule that only wants to know the age is
    /// not checked, which is neither passed nor failed.
    fn concluded(
        &self,
        listed: &Listed,
        facts: &VersionFacts,
        decided: Decision,
        gate: Vec<FiredRule>,
    ) -> (Decision, Vec<(String, String)>) {
        let mut not_checked = Vec::new();
        let of_gate = !gate.is_empty();
        let mut seen = HashSet::new();
        let mut fired: Vec<FiredRule> = decided.fired.into_iter().chain(gate).collect();
        fired.retain(|f| {
            let unknowable = f.reason == ReasonCode::AgeUnknown;
            let fresh = seen.insert(f.rule.clone());
            if unknowable && fresh {
                let because = format!("{} wants to know when it was published", f.rule);
                not_checked.push(("age".to_owned(), because));
            }
            !unknowable && fresh
        });
        if facts.reservation == Reservation::None
            && listed.from.is_none()
            && self.lists.owners(&listed.purl).next().is_some()
        {
            let because = "the name is reserved, and the document does not say where it comes from";
            not_checked.push(("reservation".to_owned(), because.to_owned()));
        }
        // What no policy can allow is refused by policies that only record too.
        let audit_only = decided.audit_only && !of_gate;
        let mut decision = Decision::from_fired(fired, audit_only, decided.policy);
        decision.waivers = decided.waivers;
        decision.waivers.sort();
        decision.waivers.dedup();
        (decision, not_checked)
    }

    /// The newest decisions about the listed digests under this version's name.
    fn stored(&self, listed: &Listed) -> Vec<&StoredDecision> {
        let strong = listed.files.iter().flat_map(|f| &f.digests);
        let digests = strong.filter(|d| !d.algorithm().is_weak());
        let mut seen = HashSet::new();
        digests
            .filter_map(|d| self.known.sha256_of(d))
            .filter(|sha256| seen.insert(*sha256))
            .flat_map(|sha256| self.known.decisions(&sha256))
            .filter(|d| d.purl == listed.purl)
            .collect()
    }

    /// What stands against it whatever the policy: a digest other than the one that was admitted,
    /// and bytes that the gate itself refused.
    fn gate_rules(&self, listed: &Listed, stored: &[&StoredDecision]) -> Vec<FiredRule> {
        let pins = self.known.pins(&listed.purl).iter();
        let changed = pins.filter_map(|pin| contradiction(listed, pin)).map(|detail| FiredRule {
            rule: format!("gate.{}", ReasonCode::DigestChanged),
            verdict: Verdict::Refuse,
            reason: ReasonCode::DigestChanged,
            detail,
            until: None,
        });
        let refused = stored.iter().flat_map(|d| {
            d.decision.fired.iter().filter(|f| is_about_bytes(f)).map(|f| FiredRule {
                detail: format!("{} (ledger entry {})", f.detail, d.index),
                ..f.clone()
            })
        });
        changed.chain(refused).collect()
    }

    /// Where the document says that the version comes from, as policies and reports name it.
    fn upstream(&self, listed: &Listed) -> String {
        let Some(url) = address(listed) else { return NO_UPSTREAM.to_owned() };
        if let Some(u) = self.upstreams.iter().find(|u| lies_under(&url, &u.url)) {
            return u.name.clone().unwrap_or_else(|| crate::shown_address(&u.url));
        }
        match listed.purl.ecosystem() {
            // The address is that of the tarball.
            Ecosystem::Npm => url.origin().ascii_serialization(),
            _ => crate::shown_address(url.as_str()),
        }
    }

    /// Whether the name is reserved for another place than the document names.
    fn reservation(&self, listed: &Listed) -> Reservation {
        let owners: Vec<&str> = self.lists.owners(&listed.purl).collect();
        let (Some(url), Some(first)) = (address(listed), owners.first()) else {
            return Reservation::None;
        };
        let here = |owner: &&str| {
            let named = self.upstreams.iter().filter(|u| u.name.as_deref() == Some(*owner));
            lies_under(&url, owner) || named.into_iter().any(|u| lies_under(&url, &u.url))
        };
        if owners.iter().any(here) {
            Reservation::Here
        } else {
            Reservation::Elsewhere { owner: (*first).to_owned() }
        }
    }
}

fn sha256s(listed: &Listed) -> impl Iterator<Item = Sha256Digest> {
    let all = listed.files.iter().flat_map(|f| &f.digests);
    all.filter(|d| d.algorithm() == Algorithm::Sha256)
        .filter_map(|d| d.as_bytes().try_into().ok().map(Sha256Digest))
}

fn before(d: &StoredDecision) -> Option<Before> {
    Some(Before {
        index: d.index,
        file_name: d.file_name.clone(),
        sha256: d.sha256?,
        verdict: d.decision.verdict,
        rule: d.decision.leading().map(|f| f.rule.clone()),
    })
}

/// Whether a rule of the gate is about the bytes: others of its rules are about how they came.
fn is_about_bytes(fired: &FiredRule) -> bool {
    let reasons = [ReasonCode::DigestMismatch, ReasonCode::DigestChanged];
    fired.rule.starts_with("gate.") && reasons.contains(&fired.reason)
}

/// How the digests that a document gives contradict a pin; `None` when they do not, or cannot be
/// compared.
fn contradiction(listed: &Listed, pin: &Pin) -> Option<String> {
    // A Python version has many files, and a digest belongs to the one that it is given for.
    let named = listed.purl.ecosystem() == Ecosystem::Pypi;
    let files =
        listed.files.iter().filter(|f| !named || f.name.as_deref() == Some(pin.file_name.as_str()));
    let given: Vec<&ExpectedDigest> = files.flat_map(|f| &f.digests).collect();
    for algorithm in [Algorithm::Sha256, Algorithm::Sha384, Algorithm::Sha512] {
        let mut of_kind = given.iter().filter(|d| d.algorithm() == algorithm).peekable();
        let Some(first) = of_kind.peek() else { continue };
        let own = |d: &ExpectedDigest| match algorithm {
            Algorithm::Sha256 => Some(d.as_bytes() == pin.sha256.0),
            _ => {
                let known: Vec<_> =
                    pin.others.iter().filter(|o| o.algorithm() == algorithm).collect();
                (!known.is_empty()).then(|| known.contains(&d))
            }
        };
        let first = (*first).to_string();
        let compared: Vec<bool> = of_kind.filter_map(|d| own(d)).collect();
        if !compared.is_empty() && !compared.contains(&true) {
            return Some(format!(
                "{}: {first} is named, and other bytes ({}) were admitted on {}",
                pin.file_name,
                pin.sha256,
                pin.first_seen.date()
            ));
        }
    }
    None
}

/// The address that a document names, without cargo's prefix.
fn address(listed: &Listed) -> Option<Url> {
    let from = listed.from.as_deref()?;
    Url::parse(from.strip_prefix("sparse+").unwrap_or(from)).ok().filter(Url::has_host)
}

/// Whether an address lies under a base.
fn lies_under(url: &Url, base: &str) -> bool {
    let Ok(base) = Url::parse(base.strip_prefix("sparse+").unwrap_or(base)) else { return false };
    let root = base.path().trim_end_matches('/');
    let below = url.path().strip_prefix(root).is_some_and(|r| r.is_empty() || r.starts_with('/'));
    url.scheme() == base.scheme() && url.origin() == base.origin() && below
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_lies_under_its_base_and_no_other() {
        for (url, base, want) in [
            ("https://h.example/a/b.tgz", "https://h.example/a/", true),
            ("https://h.example/a", "https://h.example/a/", true),
            ("https://h.example/ab", "https://h.example/a", false),
            ("http://h.example/a/b", "https://h.example/a", false),
            ("https://h.example:8443/a/b", "https://h.example/a", false),
            ("https://h.example/a", "name", false),
        ] {
            assert_eq!(lies_under(&Url::parse(url).unwrap(), base), want, "{url} {base}");
        }
    }

    fn listed(purl: &str, files: &[(Option<&str>, &[ExpectedDigest])]) -> Listed {
        let file = |(name, digests): &(Option<&str>, &[ExpectedDigest])| ListedFile {
            name: name.map(str::to_owned),
            digests: digests.to_vec(),
        };
        Listed {
            purl: purl.parse().unwrap(),
            files: files.iter().map(file).collect(),
            line: None,
            from: None,
            source: None,
            release: None,
            dev: false,
        }
    }

    #[test]
    fn only_digests_of_the_pinned_file_contradict_its_pin() {
        let digest = |algorithm: Algorithm, byte: u8| {
            ExpectedDigest::from_bytes(algorithm, vec![byte; algorithm.digest_len()]).unwrap()
        };
        let (one, two) = (digest(Algorithm::Sha256, 1), digest(Algorithm::Sha256, 2));
        let long = digest(Algorithm::Sha512, 9);
        let pin = |others: &[ExpectedDigest]| Pin {
            file_name: "a-1.0.tar.gz".to_owned(),
            sha256: Sha256Digest([1; 32]),
            first_seen: Timestamp(0),
            others: others.to_vec(),
        };
        let (pypi, npm) = ("pkg:pypi/a@1.0", "pkg:npm/a@1.0.0");
        let ours = Some("a-1.0.tar.gz");
        for (purl, name, digests, others, want) in [
            (pypi, ours, vec![one.clone()], vec![], false),
            (pypi, ours, vec![two.clone()], vec![], true),
            (pypi, ours, vec![two.clone(), one.clone()], vec![], false),
            (pypi, Some("a-1.0-py3-none-any.whl"), vec![two.clone()], vec![], false),
            (pypi, None, vec![two.clone()], vec![], false),
            (npm, None, vec![two.clone()], vec![], true),
            (npm, None, vec![long.clone()], vec![], false),
            (npm, None, vec![long.clone()], vec![long.clone()], false),
            (npm, None, vec![long.clone()], vec![digest(Algorithm::Sha512, 8)], true),
            (npm, None, vec![digest(Algorithm::Sha1, 3)], vec![], false),
        ] {
            let listed = listed(purl, &[(name, &digests)]);
            let got = contradiction(&listed, &pin(&others)).is_some();
            assert_eq!(got, want, "{purl} {name:?} {digests:?} {others:?}");
        }
    }
}
