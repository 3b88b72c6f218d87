//! Makes an index from OSV records.

use super::classify::{classify, clean_ids, title};
use super::codec::{StoredAdvisory, StoredPackage, encode};
use super::epss::Likelihoods;
use super::error::FeedError;
use super::format;
use super::kev::Catalogue;
use super::key::Domain;
use super::meta::{CatalogueMeta, Coverage, FeedMeta, SourceMeta};
use super::order::VersionTable;
use super::osv::{OsvAffected, OsvRecord, parse_record};
use super::range::{Block, Range};
use super::zip_feed::{FeedLimits, read_zip};
use countersign_core::{Ecosystem, FindingKind, Severity, Timestamp};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{Read, Seek};

/// Gathers records from feeds and writes them as one index.
#[derive(Debug, Default)]
pub struct IndexBuilder {
    packages: BTreeMap<(Domain, String), Vec<Pending>>,
    /// The newest copy of each record: when it was changed, and whether it is withdrawn. Of two
    /// copies of the same time the withdrawn one counts as newer.
    newest: HashMap<String, (Option<Timestamp>, bool)>,
    sources: Vec<SourceMeta>,
    catalogue: Catalogue,
    catalogue_meta: Option<CatalogueMeta>,
    likelihoods: Likelihoods,
    likelihoods_meta: Option<CatalogueMeta>,
}

/// One live record, for one package.
#[derive(Debug, Clone)]
struct Pending {
    advisory: StoredAdvisory,
    affected: Vec<OsvAffected>,
}

impl IndexBuilder {
    /// A builder without records.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens a feed: records added from here on are counted as its own.
    pub fn begin_source(&mut self, name: &str) {
        self.sources.push(SourceMeta { name: name.to_owned(), ..SourceMeta::default() });
    }

    /// Adds a record. A withdrawn one is counted, and removes copies of it that are not newer.
    pub fn add_record(&mut self, record: &OsvRecord) {
        let source = self.source();
        source.records += 1;
        source.newest_modified = source.newest_modified.max(record.modified);
        source.withdrawn += u64::from(record.withdrawn);
        let newest = self.newest.entry(record.id.clone()).or_default();
        *newest = (*newest).max((record.modified, record.withdrawn));
        if record.withdrawn {
            return;
        }
        let mut by_package: BTreeMap<(Domain, String), Vec<OsvAffected>> = BTreeMap::new();
        for affected in &record.affected {
            let Some(package) = &affected.package else { continue };
            let Some(domain) = Domain::from_osv(&package.ecosystem) else { continue };
            let name = domain.ecosystem.canonical_name(&package.name);
            by_package.entry((domain, name)).or_default().push(affected.clone());
        }
        if by_package.is_empty() {
            self.source().elsewhere += 1;
        }
        for (key, affected) in by_package {
            let pending = Pending::new(record, affected);
            self.packages.entry(key).or_default().push(pending);
        }
    }

    /// Counts a record that could not be read, so that the index tells what it lacks.
    pub fn add_unreadable(&mut self) {
        self.source().unreadable += 1;
    }

    /// Adds the catalogue of known exploited vulnerabilities, whose JSON text `json` is.
    ///
    /// # Errors
    /// When the text is not such a catalogue.
    pub fn add_kev(&mut self, json: &[u8]) -> Result<(), FeedError> {
        self.catalogue_meta = Some(self.catalogue.add(json)?);
        Ok(())
    }

    /// Adds likelihoods of being attacked: FIRST's EPSS in CSV, packed by gzip or not, or in JSON.
    ///
    /// # Errors
    /// When the bytes are no such list.
    pub fn add_epss(&mut self, bytes: &[u8]) -> Result<(), FeedError> {
        self.likelihoods_meta = Some(self.likelihoods.add(bytes)?);
        Ok(())
    }

    /// Adds records that stand one a line, under a name: the form in which changes to a feed are kept.
    ///
    /// # Errors
    /// When there are lines and none of them is a record.
    pub fn add_lines(&mut self, name: &str, bytes: &[u8]) -> Result<SourceMeta, FeedError> {
        self.begin_source(name);
        for line in bytes.split(|b| *b == b'\n').filter(|l| !l.trim_ascii().is_empty()) {
            match parse_record(line) {
                Ok(record) => self.add_record(&record),
                Err(_) => self.add_unreadable(),
            }
        }
        self.readable(name)
    }

    /// What was counted of the source, unless nothing of it could be read.
    fn readable(&mut self, name: &str) -> Result<SourceMeta, FeedError> {
        let source = self.source().clone();
        if source.records == 0 && source.unreadable > 0 {
            return Err(FeedError::NothingReadable { name: name.to_owned() });
        }
        Ok(source)
    }

    /// Adds a feed in the form of OSV's `all.zip`: one JSON a record. Records that cannot be read
    /// are counted in what is returned and in the index's [`FeedMeta`].
    ///
    /// # Errors
    /// When the archive is unreadable or beyond `limits`, or when it has records and none of them
    /// is readable.
    pub fn add_zip<R: Read + Seek>(
        &mut self,
        name: &str,
        reader: R,
        limits: &FeedLimits,
    ) -> Result<SourceMeta, FeedError> {
        self.begin_source(name);
        read_zip(reader, limits, &mut |_, bytes| match parse_record(bytes) {
            Ok(record) => self.add_record(&record),
            Err(_) => self.add_unreadable(),
        })?;
        self.readable(name)
    }

    /// The index as the bytes of a file. The same records in the same order give the same bytes.
    ///
    /// # Errors
    /// When one package's advisories are larger than the format allows.
    pub fn finish(mut self, built_at: Timestamp) -> Result<Vec<u8>, FeedError> {
        self.drop_superseded();
        self.spread_debian();
        let mut coverage: BTreeMap<String, Coverage> = BTreeMap::new();
        let mut advisories = 0;
        let mut entries = Vec::with_capacity(self.packages.len());
        for ((domain, name), pending) in &self.packages {
            let entry = coverage.entry(domain.name()).or_insert_with_key(|name| Coverage::of(name));
            pending.iter().for_each(|p| entry.count(&p.advisory));
            advisories += pending.len() as u64;
            let package = store(domain, name, pending, &self.catalogue, &self.likelihoods);
            entries.push((package.key.clone(), encode(&package)));
        }
        let meta = FeedMeta {
            built_at,
            sources: self.sources,
            coverage: coverage.into_values().collect(),
            exploited: self.catalogue_meta,
            likelihoods: self.likelihoods_meta,
            packages: entries.len() as u64,
            advisories,
        };
        format::write(&meta, entries)
    }

    fn source(&mut self) -> &mut SourceMeta {
        if self.sources.is_empty() {
            self.begin_source("records");
        }
        let last = self.sources.len() - 1;
        &mut self.sources[last]
    }

    /// Keeps the newest copy of each record, and none where that one is withdrawn.
    fn drop_superseded(&mut self) {
        let newest = &self.newest;
        self.packages.retain(|_, pending| {
            let mut seen = BTreeSet::new();
            pending.retain(|p| {
                let (id, modified) = (&p.advisory.id, p.advisory.modified);
                newest.get(id) == Some(&(modified, false)) && seen.insert(id.clone())
            });
            !pending.is_empty()
        });
    }

    /// Moves what holds for all of Debian to each release that has advisories of its own. An
    /// index without any release does not cover Debian.
    fn spread_debian(&mut self) {
        let (general, own): (BTreeMap<_, _>, BTreeMap<_, _>) = std::mem::take(&mut self.packages)
            .into_iter()
            .partition(|((domain, _), _)| domain.is_all_debian());
        self.packages = own;
        let domains = self.packages.keys().map(|(domain, _)| domain);
        let releases: BTreeSet<Domain> =
            domains.filter(|d| d.ecosystem == Ecosystem::Debian).cloned().collect();
        for ((_, name), pending) in general {
            for release in &releases {
                let key = (release.clone(), name.clone());
                self.packages.entry(key).or_default().extend(pending.iter().cloned());
            }
        }
    }
}

impl Pending {
    fn new(record: &OsvRecord, affected: Vec<OsvAffected>) -> Self {
        let judged = affected.iter().map(|a| classify(record, a));
        let (kind, severity) = judged
            .min_by_key(|(kind, severity)| (*kind, std::cmp::Reverse(*severity)))
            .unwrap_or((FindingKind::Vulnerability, Severity::Unknown));
        let advisory = StoredAdvisory {
            id: record.id.clone(),
            kind,
            severity,
            modified: record.modified,
            title: title(record),
            exploited: None,
            epss: None,
            aliases: clean_ids(&record.aliases, &record.id),
            upstream: clean_ids(&record.upstream, &record.id),
            blocks: Vec::new(),
        };
        let slim = affected.into_iter().map(OsvAffected::versions_only).collect();
        Self { advisory, affected: slim }
    }
}

impl OsvAffected {
    /// What matching needs; the rest was judged already.
    fn versions_only(mut self) -> Self {
        self.package = None;
        self.severity = Vec::new();
        self.database_specific = serde_json::Value::Null;
        self.ranges.retain(|r| !r.kind.eq_ignore_ascii_case("GIT"));
        self
    }
}

impl Coverage {
    fn of(ecosystem: &str) -> Self {
        Self {
            ecosystem: ecosystem.to_owned(),
            vulnerabilities: 0,
            malicious: 0,
            newest_modified: None,
        }
    }

    fn count(&mut self, advisory: &StoredAdvisory) {
        match advisory.kind {
            FindingKind::Malicious => self.malicious += 1,
            _ => self.vulnerabilities += 1,
        }
        self.newest_modified = self.newest_modified.max(advisory.modified);
    }
}

/// A package in the form that is stored: versions in one table, events as indexes into it.
fn store(
    domain: &Domain,
    name: &str,
    pending: &[Pending],
    catalogue: &Catalogue,
    likelihoods: &Likelihoods,
) -> StoredPackage {
    let mut named: Vec<String> = Vec::new();
    let mut raw: HashMap<String, u32> = HashMap::new();
    let mut provisional = |text: &str| -> u32 {
        *raw.entry(text.to_owned()).or_insert_with(|| {
            named.push(text.to_owned());
            u32::try_from(named.len() - 1).unwrap_or(u32::MAX)
        })
    };
    let mut advisories: Vec<StoredAdvisory> = Vec::with_capacity(pending.len());
    for p in pending {
        let mut advisory = p.advisory.clone();
        advisory.blocks = p.affected.iter().map(|a| block(a, &mut provisional)).collect();
        let all = [advisory.id.clone()];
        let ids = || all.iter().chain(&p.advisory.aliases).chain(&p.advisory.upstream);
        advisory.exploited = catalogue.find(ids());
        advisory.epss = likelihoods.find(ids());
        advisories.push(advisory);
    }
    let versions = VersionTable::build(domain.ecosystem, named.iter().map(String::as_str));
    let order = versions.indexes();
    let renumber = |index: &mut u32| {
        let text = named.get(*index as usize).map_or("", String::as_str);
        *index = order.get(text).copied().unwrap_or(u32::MAX);
    };
    for advisory in &mut advisories {
        advisory.blocks.iter_mut().flat_map(Block::indexes_mut).for_each(renumber);
    }
    StoredPackage { key: domain.key(name), versions, advisories }
}

fn block(affected: &OsvAffected, index: &mut impl FnMut(&str) -> u32) -> Block {
    let mut block = Block::default();
    for range in &affected.ranges {
        let known = ["SEMVER", "ECOSYSTEM"].iter().any(|k| range.kind.eq_ignore_ascii_case(k));
        match Range::from_osv(&range.events, &mut *index).filter(|_| known) {
            Some(range) => block.ranges.push(range),
            None => block.opaque = true,
        }
    }
    block.versions = affected.versions.iter().map(|v| index(v)).collect();
    block
}
