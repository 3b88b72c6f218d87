//! Folders, the store, the configuration: what subcommands share.

use crate::args::Common;
use countersign_core::Timestamp;
use countersign_engine::config::{Config, Lists};
use countersign_engine::evidence_kinds::sigstore::TrustRoots;
use countersign_engine::feeds::Feeds;
use countersign_engine::policy::{PolicyFile, PolicySet};
use countersign_engine::store::{OpenMode, Store, init_key};
use countersign_engine::trust::{self, TrustConfig};
use countersign_engine::{Engine, Setup};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// An error for people, with the exit code that it ends in.
#[derive(Debug)]
pub struct Failed {
    /// What failed, on what, and what to do next.
    pub message: String,
    /// The exit code.
    pub code: u8,
}

impl Failed {
    /// A failure of the gate itself.
    pub fn internal(message: impl std::fmt::Display) -> Self {
        Self { message: message.to_string(), code: crate::exit::INTERNAL }
    }

    /// A command line or file that cannot be used.
    pub fn usage(message: impl std::fmt::Display) -> Self {
        Self { message: message.to_string(), code: crate::exit::USAGE }
    }
}

impl From<String> for Failed {
    fn from(message: String) -> Self {
        Self::internal(message)
    }
}

impl From<countersign_engine::store::StoreError> for Failed {
    fn from(e: countersign_engine::store::StoreError) -> Self {
        Self::internal(e)
    }
}

/// The folders of this user.
pub struct Context {
    /// The store's folder.
    pub state: PathBuf,
    /// The configuration file, where there is one.
    pub config_file: Option<PathBuf>,
    /// What is logged, where the user says so.
    pub log: Option<String>,
}

fn home_folder(variable: &str, below_home: &str) -> Option<PathBuf> {
    // The XDG base directory specification: an empty or relative value counts as unset.
    let set = std::env::var_os(variable).map(PathBuf::from).filter(|p| p.is_absolute());
    set.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(below_home)))
}

/// The present time.
pub fn now() -> Timestamp {
    Timestamp(jiff::Timestamp::now().as_second())
}

impl Context {
    /// Finds the folders.
    pub fn new(common: &Common) -> Result<Self, Failed> {
        let state = match &common.state {
            Some(dir) => dir.clone(),
            None => home_folder("XDG_DATA_HOME", ".local/share")
                .ok_or_else(|| {
                    Failed::usage(
                        "there is no home folder to keep the ledger in; name one with --state",
                    )
                })?
                .join("countersign"),
        };
        let state = std::path::absolute(&state).map_err(Failed::usage)?;
        let config_file = match &common.config {
            Some(file) => Some(file.clone()),
            None => home_folder("XDG_CONFIG_HOME", ".config")
                .map(|d| d.join("countersign/countersign.toml"))
                .filter(|p| p.is_file()),
        };
        Ok(Self { state, config_file, log: common.log.clone() })
    }

    /// Reads the configuration.
    pub fn config(&self) -> Result<(Config, Lists), Failed> {
        let Some(file) = &self.config_file else {
            return Ok((Config::default(), Lists::default()));
        };
        let text = std::fs::read_to_string(file)
            .map_err(|e| Failed::usage(format!("`{}` cannot be read: {e}", file.display())))?;
        Config::parse(&file.display().to_string(), &text).map_err(Failed::usage)
    }

    /// Whether the store and its key are there.
    pub fn has_key(&self) -> bool {
        self.state.join("keys/ledger.pem").is_file()
    }

    /// The roots that evidence is verified by: as the store's ledger says, else those of the build.
    pub async fn trust_roots(&self, config: &TrustConfig) -> Result<TrustRoots, Failed> {
        if !self.state.join("store.sqlite").is_file() {
            return trust::TrustState::default().roots(config).map_err(Failed::usage);
        }
        let store = Store::open(&self.state, OpenMode::ReadOnly).await?;
        trust::load(&store, config).await.map_err(Failed::usage)
    }

    /// Opens the store, which must be there.
    pub async fn open(&self) -> Result<Store, Failed> {
        if !self.state.join("store.sqlite").is_file() {
            return Err(Failed::usage(format!(
                "there is no store at `{}`; make one with `countersign init`, or name another with --state",
                self.state.display()
            )));
        }
        Ok(Store::open(&self.state, OpenMode::Existing).await?)
    }

    /// Opens the store, making it and its key where there are none. Says so when it did.
    pub async fn open_or_init(&self) -> Result<(Store, Option<String>), Failed> {
        let fresh = !self.state.join("store.sqlite").exists() && !self.has_key();
        let mut said = None;
        if fresh {
            match self.init(None).await {
                Ok(key) => {
                    said = Some(format!(
                        "first run: made the ledger's key in {}; its public half is {key}",
                        self.state.join("keys").display()
                    ));
                }
                // Another first run was quicker: its key is the one.
                Err(_) if self.has_key() => {}
                Err(e) => return Err(e),
            }
        }
        let store = Store::open(&self.state, OpenMode::Create).await?;
        Ok((store, said))
    }

    /// Makes the key of a new ledger; returns the public key's text.
    pub async fn init(&self, origin: Option<&str>) -> Result<String, Failed> {
        let user = std::env::var("USER")
            .ok()
            .filter(|u| !u.is_empty())
            .unwrap_or_else(|| "gate".to_owned());
        let clean: String =
            user.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-' || *c == '_').collect();
        let origin = origin.map_or_else(|| format!("countersign.local/{clean}"), str::to_owned);
        let key = init_key(&self.state, &origin).await?;
        Ok(key.to_string())
    }

    /// Loads a policy: a shipped one by name, or a folder.
    pub fn policy(&self, name: &str) -> Result<PolicySet, Failed> {
        let loaded = if countersign_engine::policy::SHIPPED_SETS.contains(&name) {
            PolicySet::shipped(name)
        } else {
            let folder = Path::new(name);
            if !folder.is_dir() {
                return Err(Failed::usage(format!(
                    "policy `{name}` is neither {} nor a folder",
                    countersign_engine::policy::SHIPPED_SETS.join(", ")
                )));
            }
            PolicySet::load(name, read_policy_files(folder)?)
        };
        loaded.map_err(|errors| {
            let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
            Failed::usage(format!("policy `{name}` cannot be used:\n{}", lines.join("\n")))
        })
    }

    /// Where the feeds lie: those that are configured, and more that are named.
    pub async fn feed_places(
        &self,
        store: &Store,
        more: &[PathBuf],
    ) -> Result<Vec<PathBuf>, Failed> {
        let mut places = Vec::new();
        for feed in store.feeds().await? {
            places.extend(crate::commands::feed::places(&self.state, &feed));
        }
        for path in more {
            places.push(std::path::absolute(path).map_err(Failed::usage)?);
        }
        places.dedup();
        Ok(places)
    }

    /// The feeds that are configured, and those named for this run.
    pub async fn feeds(&self, store: &Store, more: &[PathBuf]) -> Result<Option<Feeds>, Failed> {
        let places = self.feed_places(store, more).await?;
        let folder = self.state.join("feeds");
        let opened =
            tokio::task::spawn_blocking(move || Feeds::open(&folder, &places, now())).await;
        opened.map_err(Failed::internal)?.map_err(Failed::usage)
    }

    /// An engine over what is recorded: it fetches nothing, serves nobody, and knows no client.
    pub async fn engine_of_records(
        &self,
        (config, lists): (Config, Lists),
        policy: PolicySet,
        more_feeds: &[PathBuf],
    ) -> Result<Engine, Failed> {
        let store = self.open().await?;
        let feeds = self.feeds(&store, more_feeds).await?;
        let evidence = config.evidence.clone();
        let roots = trust::load(&store, &config.trust).await.map_err(Failed::internal)?;
        let setup = Setup {
            store,
            policy,
            config,
            lists,
            feeds,
            roots,
            evidence,
            extra_roots: Vec::new(),
            upstreams: Vec::new(),
            pins: Vec::new(),
            locked: HashMap::new(),
            scopes: HashMap::new(),
            installed: Vec::new(),
            client: String::new(),
            debian: Vec::new(),
            serving: None,
        };
        Engine::open(setup).await.map_err(Failed::internal)
    }
}

/// The files of a policy folder, named as people see them.
pub fn read_policy_files(folder: &Path) -> Result<Vec<PolicyFile>, Failed> {
    let mut out = Vec::new();
    let fail = |p: &Path, e: std::io::Error| {
        Failed::usage(format!("`{}` cannot be read: {e}", p.display()))
    };
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder)
        .map_err(|e| fail(folder, e))?
        .flatten()
        .map(|e| e.path())
        .filter(|p| p.is_file())
        .collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        if name.starts_with('.') {
            continue;
        }
        let text = std::fs::read_to_string(&path).map_err(|e| fail(&path, e))?;
        out.push(PolicyFile::new(name, text));
    }
    Ok(out)
}
