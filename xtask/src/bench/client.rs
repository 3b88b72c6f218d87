//! The clients: the same command with the same flags for all sides, each from its own empty cache.

use super::process::Job;
use super::scratch::copy_folder;
use std::fs;
use std::path::{Path, PathBuf};

/// A client command that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Client {
    /// `pip download`.
    PipDownload,
    /// `pip install`.
    PipInstall,
    /// `uv pip install`.
    Uv,
    /// `npm install`, without a lock file.
    NpmInstall,
    /// `npm ci`.
    NpmCi,
    /// `cargo fetch`.
    CargoFetch,
    /// `apt-get download`.
    AptDownload,
}

/// What leads a client elsewhere than where its configuration does: a server on this machine.
#[derive(Debug, Clone, Default)]
pub(super) struct Door {
    /// A Python index.
    pub(super) pypi: Option<String>,
    /// An npm registry.
    pub(super) npm: Option<String>,
    /// A sparse cargo registry, with its `sparse+`.
    pub(super) cargo: Option<String>,
    /// A proxy for apt's http sources.
    pub(super) apt: Option<String>,
}

/// What all commands share.
#[derive(Debug, Clone)]
pub(super) struct Tools {
    /// The interpreter whose pip is measured.
    pub(super) python: String,
    /// The Python that wheels are chosen for; `None` for the interpreter's own.
    pub(super) python_version: Option<String>,
    /// The folder of apt's lists; see [`apt_update`].
    pub(super) apt: PathBuf,
}

impl Client {
    /// All of them.
    pub(super) const ALL: [Self; 7] = [
        Self::PipDownload,
        Self::PipInstall,
        Self::Uv,
        Self::NpmInstall,
        Self::NpmCi,
        Self::CargoFetch,
        Self::AptDownload,
    ];

    /// The name of this part of the bench.
    #[must_use]
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::PipDownload => "pip-download",
            Self::PipInstall => "pip-install",
            Self::Uv => "uv",
            Self::NpmInstall => "npm-install",
            Self::NpmCi => "npm-ci",
            Self::CargoFetch => "cargo-fetch",
            Self::AptDownload => "apt-download",
        }
    }

    /// The command as people know it.
    #[must_use]
    pub(super) fn shown(self) -> &'static str {
        match self {
            Self::PipDownload => "pip download",
            Self::PipInstall => "pip install",
            Self::Uv => "uv pip install",
            Self::NpmInstall => "npm install",
            Self::NpmCi => "npm ci",
            Self::CargoFetch => "cargo fetch",
            Self::AptDownload => "apt-get download",
        }
    }

    /// The file that makes a folder a set for this client.
    #[must_use]
    pub(super) fn marker(self) -> &'static str {
        match self {
            Self::PipDownload | Self::PipInstall | Self::Uv => "requirements.txt",
            Self::NpmInstall => "package.json",
            Self::NpmCi => "package-lock.json",
            Self::CargoFetch => "Cargo.lock",
            Self::AptDownload => "packages.txt",
        }
    }

    /// The program whose version is of interest.
    #[must_use]
    pub(super) fn version(self, tools: &Tools) -> Vec<String> {
        let words: Vec<&str> = match self {
            Self::PipDownload | Self::PipInstall => vec![&tools.python, "-m", "pip", "--version"],
            Self::Uv => vec!["uv", "--version"],
            Self::NpmInstall | Self::NpmCi => vec!["npm", "--version"],
            Self::CargoFetch => vec!["cargo", "--version"],
            Self::AptDownload => vec!["apt-get", "--version"],
        };
        words.into_iter().map(str::to_owned).collect()
    }

    /// Where a door leads this client, if it is one for it.
    #[must_use]
    pub(super) fn entry(self, door: &Door) -> Option<&str> {
        match self {
            Self::PipDownload | Self::PipInstall | Self::Uv => door.pypi.as_deref(),
            Self::NpmInstall | Self::NpmCi => door.npm.as_deref(),
            Self::CargoFetch => door.cargo.as_deref(),
            Self::AptDownload => door.apt.as_deref(),
        }
    }

    /// Makes the client's fresh folder ready, and gives the command in it.
    ///
    /// # Errors
    ///
    /// When the folder cannot be made, or the set cannot be read.
    pub(super) fn job(
        self,
        tools: &Tools,
        set: &Path,
        folder: &Path,
        door: Option<&Door>,
    ) -> Result<Job, String> {
        let cannot = |e: std::io::Error| format!("`{}` cannot be made: {e}", folder.display());
        let at = folder.join("project");
        copy_folder(set, &at).map_err(cannot)?;
        fs::create_dir_all(folder.join("tmp")).map_err(cannot)?;
        let entry = match door {
            Some(door) => Some(self.entry(door).ok_or("this server has no door for the client")?),
            None => None,
        };
        let mut job = match self {
            Self::PipDownload | Self::PipInstall => {
                let into: &[&str] = match self {
                    Self::PipDownload => &["download", "-q", "-d", "out"],
                    _ => &["install", "-q", "--target", "out"],
                };
                let mut job = Job::new([&tools.python, "-m", "pip"], &at);
                job.words.extend(into.iter().map(Into::into));
                for_python(&mut job, tools);
                if self == Self::PipInstall && tools.python_version.is_some() {
                    // pip compares what it puts into the folder with the Python that it runs on.
                    job.words.push("--ignore-requires-python".into());
                }
                job.words.extend(["-r", self.marker()].map(Into::into));
                job
            }
            Self::Uv => {
                let words = ["uv", "pip", "install", "-q", "--no-cache", "--target", "out"];
                let mut job = Job::new(words, &at);
                for_python(&mut job, tools);
                job.words.extend(["-r", self.marker()].map(Into::into));
                job
            }
            Self::NpmInstall => {
                let _ = fs::remove_file(at.join("package-lock.json"));
                Job::new(["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund"], &at)
            }
            Self::NpmCi => {
                Job::new(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], &at)
            }
            Self::CargoFetch => Job::new(["cargo", "fetch", "-q", "--locked"], &at),
            Self::AptDownload => {
                let list = fs::read_to_string(at.join(self.marker())).map_err(cannot)?;
                let names = list.split_whitespace();
                Job::new(["apt-get", "download", "-q"].into_iter().chain(names), &at)
            }
        };
        without_the_benchs_own(&mut job);
        job.set("TMPDIR", folder.join("tmp"));
        match self {
            Self::PipDownload | Self::PipInstall => {
                job.set("PIP_NO_CACHE_DIR", "1").set("PIP_DISABLE_PIP_VERSION_CHECK", "1");
                job.unset("PIP_FIND_LINKS");
                if let Some(index) = entry {
                    job.set("PIP_INDEX_URL", index).unset("PIP_EXTRA_INDEX_URL");
                }
            }
            Self::Uv => lead_uv(&mut job, tools, entry),
            Self::NpmInstall | Self::NpmCi => {
                job.set("npm_config_cache", folder.join("cache"));
                job.set("npm_config_update_notifier", "false");
                if let Some(registry) = entry {
                    job.set("npm_config_registry", registry);
                }
            }
            Self::CargoFetch => lead_cargo(&mut job, folder, entry).map_err(cannot)?,
            Self::AptDownload => {
                let base = folder.join("apt");
                apt_settings(&base, &tools.apt, entry).map_err(cannot)?;
                job.set("APT_CONFIG", base.join("apt.conf"));
            }
        }
        Ok(job)
    }

    /// How many packages the client got.
    #[must_use]
    pub(super) fn count(self, folder: &Path) -> usize {
        let at = folder.join("project");
        match self {
            Self::PipDownload => entries(&at.join("out"), ""),
            Self::PipInstall | Self::Uv => entries(&at.join("out"), ".dist-info"),
            Self::NpmInstall | Self::NpmCi => {
                let lock = at.join("node_modules/.package-lock.json");
                let text = fs::read_to_string(lock).unwrap_or_default();
                let lock: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
                lock["packages"].as_object().map_or(0, |p| p.len())
            }
            Self::CargoFetch => {
                let caches = fs::read_dir(folder.join("cargo/registry/cache"));
                let caches = caches.into_iter().flatten().flatten();
                caches.map(|c| entries(&c.path(), ".crate")).sum()
            }
            Self::AptDownload => entries(&at, ".deb"),
        }
    }
}

fn entries(folder: &Path, ending: &str) -> usize {
    let found = fs::read_dir(folder).into_iter().flatten().flatten();
    found.filter(|e| e.file_name().to_string_lossy().ends_with(ending)).count()
}

/// `cargo xtask` runs below cargo, which leaves variables of its own behind.
fn without_the_benchs_own(job: &mut Job) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let of_the_build = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"];
        if of_the_build.iter().any(|p| text.starts_with(p)) || text.starts_with("COUNTERSIGN_") {
            job.unset(&name);
        }
    }
    for name in ["CARGO", "CARGO_TARGET_DIR", "CARGO_PRIMARY_PACKAGE", "LD_LIBRARY_PATH"] {
        job.unset(name);
    }
}

/// Lets pip or uv choose the wheels of another Python than the one that runs.
fn for_python(job: &mut Job, tools: &Tools) {
    if let Some(version) = &tools.python_version {
        job.words.extend(["--only-binary=:all:", "--python-version", version].map(Into::into));
    }
}

fn lead_uv(job: &mut Job, tools: &Tools, entry: Option<&str>) {
    job.set("UV_PYTHON_DOWNLOADS", "never").set("UV_PYTHON", &tools.python);
    if let Some(index) = entry {
        job.set("UV_DEFAULT_INDEX", index).unset("UV_INDEX").unset("UV_EXTRA_INDEX_URL");
    }
}

fn lead_cargo(job: &mut Job, folder: &Path, entry: Option<&str>) -> std::io::Result<()> {
    let home = folder.join("cargo");
    fs::create_dir_all(&home)?;
    if let Some(registry) = entry {
        let replaced = format!(
            "[source.crates-io]\nreplace-with = \"gate\"\n[source.gate]\nregistry = \"{registry}\"\n"
        );
        fs::write(home.join("config.toml"), replaced)?;
    } else {
        for name in ["config.toml", "config", "credentials.toml"] {
            if let Some(own) = cargo_home().map(|h| h.join(name)).filter(|f| f.is_file()) {
                std::os::unix::fs::symlink(own, home.join(name))?;
            }
        }
    }
    job.set("CARGO_HOME", home);
    Ok(())
}

fn cargo_home() -> Option<PathBuf> {
    let set = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    set.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")))
}

/// Settings with which apt keeps everything in folders of its own: its configuration in `base`, its
/// lists and their cache in `lists`. The sources are the machine's.
fn apt_settings(base: &Path, lists: &Path, proxy: Option<&str>) -> std::io::Result<()> {
    for folder in ["state/lists/partial", "cache/archives/partial", "log"] {
        fs::create_dir_all(base.join(folder))?;
        fs::create_dir_all(lists.join(folder))?;
    }
    fs::write(lists.join("status"), "")?;
    let mut text = format!(
        "Dir::State \"{0}/state/\";\nDir::State::status \"{0}/status\";\nDir::Cache \"{0}/cache/\";\n\
         Dir::Log \"{1}/log/\";\nAPT::Sandbox::User \"\";\nAcquire::Languages \"none\";\n",
        lists.display(),
        base.display()
    );
    if let Some(proxy) = proxy {
        text.push_str(&format!("Acquire::http::Proxy \"{proxy}\";\n"));
    }
    fs::write(base.join("apt.conf"), text)
}

/// Fetches apt's lists into `base`, by way of a proxy if one is given. Not measured.
///
/// # Errors
///
/// Says what apt said.
pub(super) fn apt_update(base: &Path, proxy: Option<&str>) -> Result<(), String> {
    apt_settings(base, base, proxy).map_err(|e| e.to_string())?;
    let mut job = Job::new(["apt-get", "update", "-q"], base);
    without_the_benchs_own(&mut job);
    job.set("APT_CONFIG", base.join("apt.conf")).output().map(|_| ())
}
