//! All advisories about one package, ready to judge any number of its versions.

use super::codec::{StoredAdvisory, StoredPackage};
use super::kev::KnownExploited;
use super::order::{BEFORE_ALL, Position, VersionTable};
use super::range::{Affected, Scope};
use super::upgrade::Clear;
use countersign_core::{Ecosystem, Exploitation, Finding, FindingKind, Severity, Timestamp};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// One record of a feed, as far as it concerns one package.
#[derive(Debug, Clone)]
pub struct Advisory {
    /// The record's id.
    pub id: String,
    /// Other ids of the same vulnerability.
    pub aliases: Vec<String>,
    /// Ids of the vulnerabilities that a distribution's advisory is about.
    pub upstream: Vec<String>,
    /// What it is.
    pub kind: FindingKind,
    /// How bad.
    pub severity: Severity,
    /// One line for people, without control characters.
    pub title: String,
    /// When the record was last changed.
    pub modified: Option<Timestamp>,
    /// Whether, by the catalogue that the index was built with, it is exploited in the wild.
    pub known_exploited: Option<KnownExploited>,
    /// How likely it is attacked within 30 days, in permille, where a list says.
    pub epss: Option<u16>,
    pub(super) scope: Scope,
}

/// What the feeds say about one version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Matched {
    /// What affects the version: malicious first, then by falling severity, then by id.
    pub findings: Vec<Finding>,
    /// Ids of advisories of which nobody can tell whether they affect the version: it or their
    /// ranges cannot be ordered, or they do not say which versions. Not to be read as unaffected.
    pub undecided: Vec<String>,
}

impl Matched {
    /// Whether the feeds say nothing about the version, and say so surely.
    #[must_use]
    pub fn is_clear(&self) -> bool {
        self.findings.is_empty() && self.undecided.is_empty()
    }
}

/// All advisories about one package. Parsed once; asking about a version costs a few comparisons.
#[derive(Debug, Clone)]
pub struct PackageAdvisories {
    ecosystem: Ecosystem,
    versions: VersionTable,
    advisories: Vec<Advisory>,
    /// Indexes of the advisories, those about the same thing together.
    groups: Vec<Vec<usize>>,
    /// Versions that nothing is known about, once somebody asked.
    clear: std::sync::OnceLock<Vec<Clear>>,
}

impl PackageAdvisories {
    pub(super) fn none(ecosystem: Ecosystem) -> Self {
        let (versions, advisories, groups) = (VersionTable::default(), Vec::new(), Vec::new());
        Self { ecosystem, versions, advisories, groups, clear: Default::default() }
    }

    pub(super) fn new(ecosystem: Ecosystem, stored: StoredPackage) -> Self {
        let versions = stored.versions;
        let advisories: Vec<Advisory> =
            stored.advisories.into_iter().map(|a| Advisory::new(a, &versions)).collect();
        let groups = group(&advisories);
        Self { ecosystem, versions, advisories, groups, clear: Default::default() }
    }

    /// The advisories, one a record: those about the same thing are not merged here.
    #[must_use]
    pub fn advisories(&self) -> &[Advisory] {
        &self.advisories
    }

    /// The shortest upgrade of `version`: the lowest version above it that no advisory is about, of
    /// its own release line where there is one, else of any later line. Only versions that the feeds
    /// name as fixed are known here; pre-releases count for pre-releases alone.
    #[must_use]
    pub fn upgrade_for(&self, version: &str) -> Option<String> {
        let at = self.versions.locate(self.ecosystem, version)?;
        let clear = self.clear.get_or_init(|| self.clear_versions());
        super::upgrade::shortest(self.ecosystem, clear, at, version).map(str::to_owned)
    }

    fn clear_versions(&self) -> Vec<Clear> {
        let mut fixes: Vec<(Position, &str)> =
            self.advisories.iter().flat_map(|a| a.scope.fixes_after(BEFORE_ALL)).collect();
        fixes.sort_unstable();
        fixes.dedup_by_key(|(at, _)| *at);
        let stands = |a: &Advisory| a.kind != FindingKind::Notice;
        let is_clear = |at: Position, text: &str| {
            let mut all = self.advisories.iter().filter(|a| stands(a));
            all.all(|a| a.affects(Some(at), text) == Affected::No)
        };
        let clear = fixes.into_iter().filter(|(at, text)| is_clear(*at, text));
        clear.map(|(at, text)| Clear::new(self.ecosystem, at, text)).collect()
    }

    /// What the feeds say about every version of the package, whichever it is.
    #[must_use]
    pub fn findings_for_all(&self) -> Vec<Finding> {
        let of_group = |group: &Vec<usize>| {
            let members = group.iter().filter_map(|i| self.advisories.get(*i));
            let hits: Vec<&Advisory> = members.filter(|a| a.scope.affects_all()).collect();
            (!hits.is_empty()).then(|| merge(&hits, None))
        };
        self.groups.iter().filter_map(of_group).collect()
    }

    /// What the feeds say about `version`. Records about the same thing become one finding.
    ///
    /// Where a version cannot be compared with an advisory's ranges, a malicious package counts as
    /// found, and a vulnerability as undecided.
    #[must_use]
    pub fn findings_for(&self, version: &str) -> Matched {
        let at = self.versions.locate(self.ecosystem, version);
        let mut matched = Matched::default();
        for group in &self.groups {
            let members: Vec<&Advisory> =
                group.iter().filter_map(|i| self.advisories.get(*i)).collect();
            let answers = members.iter().map(|a| (*a, a.affects(at, version)));
            let (hits, unsure): (Vec<_>, Vec<_>) = answers
                .filter(|(_, answer)| *answer != Affected::No)
                .partition(|(_, answer)| *answer == Affected::Yes);
            if hits.is_empty() {
                matched.undecided.extend(unsure.first().map(|(a, _)| a.id.clone()));
                continue;
            }
            let hits: Vec<&Advisory> = hits.into_iter().map(|(a, _)| a).collect();
            let fixed_in = at.and_then(|at| fixed_in(&members, &hits, at));
            matched.findings.push(merge(&hits, fixed_in));
        }
        matched.findings.sort_by(|a, b| {
            (a.kind, Reverse(a.severity), &a.id).cmp(&(b.kind, Reverse(b.severity), &b.id))
        });
        matched
    }
}

/// The smallest fix after the version that no record about the same thing contradicts.
fn fixed_in(members: &[&Advisory], hits: &[&Advisory], at: Position) -> Option<String> {
    let fixes: BTreeSet<(Position, &str)> =
        hits.iter().flat_map(|a| a.scope.fixes_after(at)).collect();
    let is_clear = |p, text: &str| members.iter().all(|a| a.affects(Some(p), text) == Affected::No);
    fixes.into_iter().find(|(p, text)| is_clear(*p, text)).map(|(_, text)| text.to_owned())
}

/// One finding of records about the same thing.
fn merge(hits: &[&Advisory], fixed_in: Option<String>) -> Finding {
    let kind = hits.iter().map(|a| a.kind).min().unwrap_or(FindingKind::Vulnerability);
    let leads = |a: &&&Advisory| (a.kind != kind, rank_of_id(&a.id), a.id.clone());
    let lead = hits.iter().min_by_key(leads);
    let id = lead.map_or_else(String::new, |a| a.id.clone());
    // A notice's severity is by its kind; it does not count for a vulnerability.
    let stated = hits.iter().filter(|a| a.kind == kind).map(|a| a.severity);
    let severity = stated.filter(|s| *s != Severity::Unknown).max().unwrap_or(Severity::Unknown);
    let mut aliases: BTreeSet<&String> = BTreeSet::new();
    for hit in hits {
        aliases.extend(hit.aliases.iter().chain(&hit.upstream).chain([&hit.id]));
    }
    aliases.remove(&id);
    let mut title = lead.map_or_else(String::new, |a| a.title.clone());
    if let Some(exploited) = hits.iter().find_map(|a| a.known_exploited.as_ref()) {
        title.push_str(&match &exploited.due {
            Some(due) => format!(" (known exploited, due {due})"),
            None => " (known exploited)".to_owned(),
        });
    }
    let aliases = aliases.into_iter().cloned().collect();
    Finding {
        id,
        aliases,
        kind,
        severity,
        title,
        fixed_in,
        path: None,
        observed: None,
        exploitation: exploitation(hits),
        vex: Vec::new(),
    }
}

/// The worst that is known of any of the records: the earliest due date, the highest likelihood.
fn exploitation(hits: &[&Advisory]) -> Option<Exploitation> {
    let listed = || hits.iter().filter_map(|a| a.known_exploited.as_ref());
    let known = listed().next().is_some();
    let due = listed().filter_map(|k| k.due.clone()).min();
    let epss = hits.iter().filter_map(|a| a.epss).max();
    (known || epss.is_some()).then_some(Exploitation { known, due, epss })
}

impl Advisory {
    fn new(stored: StoredAdvisory, versions: &VersionTable) -> Self {
        Self {
            scope: Scope::new(&stored.blocks, versions),
            id: stored.id,
            aliases: stored.aliases,
            upstream: stored.upstream,
            kind: stored.kind,
            severity: stored.severity,
            title: stored.title,
            modified: stored.modified,
            known_exploited: stored.exploited,
            epss: stored.epss,
        }
    }

    /// Malicious packages fail closed: what cannot be decided counts as affected.
    fn affects(&self, at: Option<Position>, version: &str) -> Affected {
        match self.scope.affects(at, version) {
            Affected::Undecided if self.kind == FindingKind::Malicious => Affected::Yes,
            answer => answer,
        }
    }
}

/// Which record's id names a finding: lower comes first.
fn rank_of_id(id: &str) -> u8 {
    match id.split('-').next() {
        Some("MAL") => 0,
        Some("GHSA") => 1,
        Some("RUSTSEC" | "PYSEC" | "DSA" | "DLA" | "DEBIAN") => 2,
        _ => 3,
    }
}

/// Indexes of the advisories, with those together that share an id or alias, directly or through
/// others. What several advisories are `upstream` of does not join them: a distribution's advisory
/// covers many vulnerabilities.
fn group(advisories: &[Advisory]) -> Vec<Vec<usize>> {
    let mut parents: Vec<usize> = (0..advisories.len()).collect();
    let mut owners: HashMap<&str, usize> = HashMap::new();
    for (index, advisory) in advisories.iter().enumerate() {
        for id in std::iter::once(&advisory.id).chain(&advisory.aliases) {
            let other = *owners.entry(id).or_insert(index);
            let (a, b) = (root(&parents, index), root(&parents, other));
            if let Some(parent) = parents.get_mut(a.max(b)) {
                *parent = a.min(b);
            }
        }
    }
    let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for index in 0..parents.len() {
        groups.entry(root(&parents, index)).or_default().push(index);
    }
    groups.into_values().collect()
}

/// The root of a tree in which a parent's index is never above its child's.
fn root(parents: &[usize], mut index: usize) -> usize {
    while let Some(parent) = parents.get(index).copied().filter(|p| *p < index) {
        index = parent;
    }
    index
}
