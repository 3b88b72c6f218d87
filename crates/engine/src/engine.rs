//! The engine: one pipeline for every door, with all that a run knows.

use crate::config::{Config, Lists};
use crate::debian::ListFile;
use crate::feeds::Feeds;
use crate::grounds::Grounds;
use crate::http_client::{Http, Patience};
use crate::index::{FileRef, PackageIndex};
use crate::metrics::Metrics;
use crate::organisation::OrganisationKeys;
use crate::pipeline::Flight;
use crate::report::{Report, SharedReport};
use crate::rules::RuleSet;
use crate::serving::admitted::{REMEMBERED, Remembered};
use crate::shelf::Shelf;
use crate::sources::EvidenceSource;
use crate::upstream::{Upstream, Upstreams};
use countersign_core::{Ecosystem, ExpectedDigest, Purl};
use countersign_ecosystem::IndexLimits;
use countersign_ecosystem::cargo::CargoConfig;
use countersign_evidence::sigstore::TrustRoots;
use countersign_policy::PolicySet;
use countersign_store::Store;
use http::HeaderValue;
use parking_lot::{Mutex, RwLock};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{OnceCell, Semaphore};
use url::Url;

/// What an engine is opened with.
pub struct Setup {
    /// The open store.
    pub store: Store,
    /// The policy that judges.
    pub policy: PolicySet,
    /// The configuration.
    pub config: Config,
    /// The configuration's lists.
    pub lists: Lists,
    /// The advisory feeds, where any are configured.
    pub feeds: Option<Feeds>,
    /// The roots that attestations are verified against.
    pub roots: TrustRoots,
    /// Where evidence is kept by digest.
    pub evidence: Vec<EvidenceSource>,
    /// Certificates that the client trusts beyond the system's, in PEM.
    pub extra_roots: Vec<Vec<u8>>,
    /// The upstreams that the client names, with their credentials.
    pub upstreams: Vec<(Upstream, Option<HeaderValue>)>,
    /// Versions that the user names exactly.
    pub pins: Vec<Purl>,
    /// Digests that the project's lock file demands of a version's only file.
    pub locked: HashMap<Purl, Vec<ExpectedDigest>>,
    /// The registry of each npm scope that has one of its own.
    pub scopes: HashMap<String, String>,
    /// Versions that are installed now.
    pub installed: Vec<Purl>,
    /// The client's name, for policy.
    pub client: String,
    /// Debian's signed lists on this machine.
    pub debian: Vec<ListFile>,
    /// What a long-lived engine keeps; `None` for an engine that serves one run.
    pub serving: Option<Serving>,
}

/// What a long-lived engine keeps in memory and on disk, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Serving {
    /// How long an index counts as fresh.
    pub fresh: Duration,
    /// How long after that it may be used while its upstream cannot be reached.
    pub stale: Duration,
    /// How many bytes of indexes are kept in memory.
    pub memory: u64,
    /// Whether clients must show a token: cargo sends it only where the registry says so.
    pub tokens_required: bool,
}

impl Default for Serving {
    fn default() -> Self {
        let week = Duration::from_secs(7 * 24 * 3600);
        Self {
            fresh: Duration::from_secs(300),
            stale: week,
            memory: 16 << 20,
            tokens_required: false,
        }
    }
}

/// The engine. Cheap to clone; all clones share one state.
#[derive(Clone)]
pub struct Engine {
    pub(crate) inner: Arc<Inner>,
}

type PackageCell = Arc<OnceCell<Arc<PackageIndex>>>;
type KeysCell = Arc<OnceCell<Option<Arc<Vec<u8>>>>>;

pub(crate) struct Inner {
    pub(crate) store: Store,
    pub(crate) config: Config,
    pub(crate) grounds: RwLock<Arc<Grounds>>,
    /// The generation whose grounds are in the ledger.
    pub(crate) noted: tokio::sync::Mutex<Option<u64>>,
    /// Reads of the ledger that are recorded already.
    pub(crate) reads: crate::reading::Reads,
    pub(crate) http: Http,
    pub(crate) upstreams: Upstreams,
    pub(crate) credentials: Mutex<HashMap<String, HeaderValue>>,
    pub(crate) pins: HashSet<Purl>,
    pub(crate) locked: HashMap<Purl, Vec<ExpectedDigest>>,
    pub(crate) scopes: HashMap<String, String>,
    pub(crate) installed: RwLock<HashMap<(Ecosystem, String), Vec<String>>>,
    pub(crate) client: String,
    pub(crate) debian: Vec<ListFile>,
    pub(crate) debian_lists: crate::debian::Lists,
    pub(crate) mirrors: crate::serving::Mirrors,
    pub(crate) packages: Mutex<HashMap<String, PackageCell>>,
    pub(crate) files: Mutex<HashMap<String, Arc<FileRef>>>,
    pub(crate) metadata_files: Mutex<HashMap<String, Vec<ExpectedDigest>>>,
    pub(crate) cargo_configs: Mutex<HashMap<String, (CargoConfig, Instant)>>,
    pub(crate) npm_keys: Mutex<HashMap<String, KeysCell>>,
    pub(crate) flights: Mutex<HashMap<String, Flight>>,
    pub(crate) scanners: Semaphore,
    /// Rules for malicious code that are data.
    pub(crate) rules: RuleSet,
    /// Names that others are compared with.
    pub(crate) popular: countersign_scan::names::Popular,
    pub(crate) index_limits: IndexLimits,
    pub(crate) serving: Option<Serving>,
    /// Whether the gateway's clients have to show a token, at present.
    pub(crate) tokens_required: AtomicBool,
    pub(crate) shelf: Option<Shelf>,
    /// Large indexes that are read at a time.
    pub(crate) parsing: tokio::sync::Semaphore,
    pub(crate) admitted: Option<quick_cache::sync::Cache<String, Remembered>>,
    pub(crate) metrics: Metrics,
    pub(crate) fetches: crate::fetches::FetchLog,
    report: SharedReport,
}

/// Why an engine could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The HTTP client could not be set up.
    #[error("cannot set up HTTP: {0}")]
    Http(String),
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] countersign_store::StoreError),
    /// A VEX document or a file of waivers cannot be read.
    #[error("what the configuration names under `vex` and `waivers` cannot be used: {0}")]
    Exemptions(String),
    /// The rules for malicious code, or the lists of popular names, cannot be used.
    #[error("{0}")]
    Rules(String),
    /// A waiver in the store cannot be read.
    #[error(
        "waiver `{id}` cannot be read: {because}; revoke it with `countersign waive --revoke {id}`"
    )]
    Waiver {
        /// The waiver.
        id: String,
        /// What is wrong with it.
        because: String,
    },
    /// The organisation's keys cannot be read.
    #[error("{0}")]
    Keys(String),
}

impl Engine {
    /// Opens an engine.
    ///
    /// # Errors
    /// When HTTP cannot be set up, or the waivers or rules cannot be read.
    pub async fn open(setup: Setup) -> Result<Self, EngineError> {
        let patience = Patience {
            connect: Duration::from_secs(setup.config.patience.connect_seconds),
            read: Duration::from_secs(setup.config.patience.read_seconds),
        };
        let http = Http::new(&setup.extra_roots, patience, &setup.config.upstream)
            .map_err(EngineError::Http)?;
        let (folders, skip) = (setup.config.rules.clone(), setup.config.skip_broken_rules);
        let state = setup.store.dir().to_owned();
        // Thousands of rules compile for seconds.
        let rules =
            tokio::task::spawn_blocking(move || RuleSet::open(&folders, skip, &state)).await;
        let rules =
            rules.map_err(|e| EngineError::Rules(e.to_string()))?.map_err(EngineError::Rules)?;
        let popular =
            crate::rules::read_popular(&setup.config.popular).map_err(EngineError::Rules)?;
        let mut upstreams = Upstreams::default();
        let mut credentials = HashMap::new();
        for (mut upstream, credential) in setup.upstreams {
            configure(&mut upstream, &setup.config);
            if let Some(c) = credential {
                let key = credential_key(&upstream, setup.serving.is_some());
                credentials.insert(key, c);
            }
            upstreams.add(upstream);
        }
        for u in &setup.config.upstream {
            if let Some(mut upstream) = Upstream::new(u.ecosystem, &u.url) {
                configure(&mut upstream, &setup.config);
                upstreams.add(upstream);
            }
        }
        let mut installed: HashMap<(Ecosystem, String), Vec<String>> = HashMap::new();
        for purl in setup.installed {
            let version = purl.version().unwrap_or("").to_owned();
            installed.entry((purl.ecosystem(), purl.name().to_owned())).or_default().push(version);
        }
        let index_limits =
            IndexLimits { max_bytes: setup.config.limits.index_bytes, ..IndexLimits::default() };
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let keys = OrganisationKeys::load(&setup.config, Some(&setup.store)).await;
        let keys = Arc::new(keys.map_err(|e| EngineError::Keys(e.to_string()))?);
        let grounds = Grounds {
            policy: Arc::new(setup.policy),
            lists: Arc::new(setup.lists),
            feeds: setup.feeds.map(Arc::new),
            roots: Arc::new(setup.roots),
            keys,
            evidence: Arc::new(setup.evidence),
            waivers: Arc::default(),
            exemptions: Arc::default(),
            generation: 0,
        };
        let debian_lists = crate::debian::Lists::new(setup.store.dir());
        let engine = Self {
            inner: Arc::new(Inner {
                fetches: crate::fetches::FetchLog::new(setup.store.clone()),
                store: setup.store,
                config: setup.config,
                grounds: RwLock::new(Arc::new(grounds)),
                noted: tokio::sync::Mutex::new(None),
                reads: crate::reading::Reads::default(),
                http,
                upstreams,
                credentials: Mutex::new(credentials),
                pins: setup.pins.into_iter().collect(),
                locked: setup.locked,
                scopes: setup.scopes,
                installed: RwLock::new(installed),
                client: setup.client,
                debian: setup.debian,
                debian_lists,
                mirrors: crate::serving::Mirrors::default(),
                packages: Mutex::default(),
                files: Mutex::default(),
                metadata_files: Mutex::default(),
                cargo_configs: Mutex::default(),
                npm_keys: Mutex::default(),
                flights: Mutex::default(),
                scanners: Semaphore::new(cores),
                rules,
                popular,
                index_limits,
                admitted: setup.serving.map(|_| quick_cache::sync::Cache::new(REMEMBERED)),
                shelf: setup.serving.map(|s| Shelf::new(s.memory)),
                parsing: tokio::sync::Semaphore::new(
                    std::thread::available_parallelism().map_or(2, std::num::NonZero::get),
                ),
                tokens_required: AtomicBool::new(setup.serving.is_some_and(|s| s.tokens_required)),
                serving: setup.serving,
                metrics: Metrics::default(),
                report: Arc::new(Report::new(setup.serving.is_none())),
            }),
        };
        engine.reload_waivers().await?;
        Ok(engine)
    }

    /// What the run has seen.
    #[must_use]
    pub fn report(&self) -> &SharedReport {
        &self.inner.report
    }

    /// What is counted.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// The feeds, where any are configured.
    #[must_use]
    pub fn feeds(&self) -> Option<Arc<Feeds>> {
        self.grounds().feeds.clone()
    }

    /// The digest of the policy that judges.
    #[must_use]
    pub fn policy_digest(&self) -> String {
        self.grounds().policy.digest().to_hex()
    }

    /// The policy that judges.
    #[must_use]
    pub fn policy(&self) -> Arc<PolicySet> {
        self.grounds().policy.clone()
    }

    /// The upstreams of the run.
    #[must_use]
    pub fn upstreams(&self) -> &Upstreams {
        &self.inner.upstreams
    }

    /// Says whether clients have to show a token from now on. Answers that say so, and were given
    /// before, hold until the grounds are replaced ([`Engine::replace_grounds`]).
    pub fn set_tokens_required(&self, required: bool) {
        self.inner.tokens_required.store(required, Ordering::Relaxed);
    }

    /// Sets the credentials that the gate shows to an upstream from now on.
    pub fn set_credential(&self, upstream: &Upstream, value: Option<HeaderValue>) {
        let key = credential_key(upstream, self.serves());
        let mut kept = self.inner.credentials.lock();
        match value {
            Some(mut value) => {
                value.set_sensitive(true);
                kept.insert(key, value);
            }
            None => {
                kept.remove(&key);
            }
        }
    }

    pub(crate) fn credential_of(&self, upstream: &Upstream) -> Option<HeaderValue> {
        self.inner.credentials.lock().get(&credential_key(upstream, self.serves())).cloned()
    }

    pub(crate) fn is_pinned(&self, purl: &Purl) -> bool {
        self.inner.pins.contains(purl)
    }

    pub(crate) fn upstreams_of(&self, ecosystem: Ecosystem) -> Vec<Arc<Upstream>> {
        self.inner.upstreams.of(ecosystem).collect()
    }

    pub(crate) fn upstream_of(&self, url: &Url) -> Option<(Arc<Upstream>, String)> {
        self.inner.upstreams.find(url).map(|(u, rest)| (u, rest.to_owned()))
    }

    /// The npm registry that a package belongs to: its scope's, or else the default one, which is
    /// the first.
    pub(crate) fn npm_upstream_for(&self, name: &str) -> Option<Arc<Upstream>> {
        let scope = name.split_once('/').map(|(scope, _)| scope);
        if let Some(address) = scope.and_then(|s| self.inner.scopes.get(s)) {
            let base = Upstream::new(Ecosystem::Npm, address)?.base;
            return self.inner.upstreams.of(Ecosystem::Npm).find(|u| u.base == base);
        }
        self.inner.upstreams.of(Ecosystem::Npm).next()
    }
}

/// A run's client has its own rules for its credentials, and they are kept by origin; a gateway's
/// belong to one upstream each.
fn credential_key(upstream: &Upstream, serves: bool) -> String {
    if serves { upstream.base.to_string() } else { upstream.base.origin().ascii_serialization() }
}

/// Applies what `countersign.toml` says of an upstream.
fn configure(upstream: &mut Upstream, config: &Config) {
    for c in config.upstream.iter().filter(|c| c.ecosystem == upstream.ecosystem) {
        let same = Upstream::new(c.ecosystem, &c.url).is_some_and(|u| u.base == upstream.base);
        if same {
            upstream.mirror |= c.mirror;
            upstream.redirects.clone_from(&c.redirects);
            if let Some(keyring) = &c.keyring {
                upstream.keyring = Some(keyring.display().to_string());
            }
            if let Some(name) = &c.name {
                upstream.name.clone_from(name);
            }
        }
    }
}
