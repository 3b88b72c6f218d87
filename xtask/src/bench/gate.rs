//! The gate itself: a state that knows the feeds and no package, `run` before a command, `serve`.

use super::ask::Upstreams;
use super::client::Door;
use super::http;
use super::process::{Job, Server};
use super::scratch::{Scratch, copy_folder};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The longest that the gate may take to start.
const START: Duration = Duration::from_secs(30);

/// The program, and a state to begin from.
pub(super) struct Gate {
    program: PathBuf,
    /// Has a key and the feeds, and no decision.
    template: PathBuf,
    config: PathBuf,
    upstreams: Upstreams,
}

/// What is configured: the policy's cool-down is lifted, because sets hold the newest versions.
/// Everything else of the policy holds.
const CONFIG: &str = "policy = \"baseline\"\nallow = [\"pkg:pypi/*\", \"pkg:npm/*\", \"pkg:cargo/*\", \"pkg:deb/*\"]\n";

impl Gate {
    /// Makes the state that every fresh one is a copy of.
    ///
    /// # Errors
    ///
    /// Says what the program said.
    pub(super) fn new(
        program: &Path,
        feeds: &Path,
        states: &Scratch,
        upstreams: Upstreams,
    ) -> Result<Self, String> {
        let template = states.fresh("gate-template");
        let config = states.fresh("gate-config");
        fs::create_dir_all(&config).map_err(|e| e.to_string())?;
        let config = config.join("countersign.toml");
        fs::write(&config, CONFIG).map_err(|e| e.to_string())?;
        let out = Self { program: program.to_owned(), template, config, upstreams };
        out.tool(&["init"])?;
        if feeds.exists() {
            out.tool(&["feed", "add", &feeds.display().to_string()])?;
        }
        Ok(out)
    }

    fn tool(&self, arguments: &[&str]) -> Result<String, String> {
        self.command(&self.template, arguments).output()
    }

    /// A subcommand with a state.
    #[must_use]
    pub(super) fn command(&self, state: &Path, arguments: &[&str]) -> Job {
        let mut job = Job::new([&self.program], Path::new("/"));
        job.words.extend(self.common(state));
        job.words.extend(arguments.iter().map(Into::into));
        job
    }

    fn common(&self, state: &Path) -> [std::ffi::OsString; 4] {
        ["--state".into(), state.into(), "--config".into(), self.config.clone().into()]
    }

    /// The program's version.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub(super) fn version(&self) -> Result<String, String> {
        Job::new([self.program.as_os_str(), "--version".as_ref()], Path::new("/")).output()
    }

    /// A state that knows the feeds and no package.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub(super) fn fresh_state(&self, states: &Scratch) -> Result<PathBuf, String> {
        let state = states.fresh("gate");
        copy_folder(&self.template, &state)
            .map_err(|e| format!("`{}` cannot be made: {e}", state.display()))?;
        Ok(state)
    }

    /// The command behind `countersign run`.
    #[must_use]
    pub(super) fn run(&self, state: &Path, mut job: Job) -> Job {
        let command = std::mem::take(&mut job.words);
        job.words = vec![self.program.clone().into()];
        job.words.extend(self.common(state));
        job.words.extend(["run".into(), "--quiet".into(), "--".into()]);
        job.words.extend(command);
        job
    }

    /// Starts `countersign serve` with a state, and waits until it is ready.
    ///
    /// # Errors
    ///
    /// When it does not start, or is not ready in time.
    pub(super) fn serve(
        &self,
        state: &Path,
        states: &Scratch,
    ) -> Result<(Server, Door, u16), String> {
        let port = http::free_port()?;
        let folder = states.fresh("gate-serve");
        fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
        let config = folder.join("countersign.toml");
        fs::write(&config, self.serve_config(port)).map_err(|e| e.to_string())?;
        let mut job = Job::new([&self.program], &folder);
        job.words.extend(["--state".into(), state.into(), "--config".into(), config.into()]);
        job.words.push("serve".into());
        let mut server = Server::start(&job, &folder.with_extension("log"))?;
        server
            .wait_until(START, || http::get(port, "/readyz", &[]).is_ok_and(|r| r.status == 200))?;
        let root = format!("http://127.0.0.1:{port}");
        let door = Door {
            pypi: Some(format!("{root}/pypi/simple/")),
            npm: Some(format!("{root}/npm/")),
            cargo: Some(format!("sparse+{root}/cargo/")),
            apt: Some(root),
        };
        Ok((server, door, port))
    }

    fn serve_config(&self, port: u16) -> String {
        let mut text = CONFIG.to_owned();
        text.push_str(&format!("\n[serve]\nlisten = \"127.0.0.1:{port}\"\n"));
        let mut upstream = |ecosystem: &str, name: &str, url: &str, keyring: Option<&str>| {
            text.push_str(&format!(
                "\n[[upstream]]\necosystem = \"{ecosystem}\"\nname = \"{name}\"\nurl = \"{url}\"\n"
            ));
            if let Some(keyring) = keyring {
                text.push_str(&format!("keyring = \"{keyring}\"\n"));
            }
        };
        if let Some(url) = &self.upstreams.pypi {
            upstream("pypi", "python", url, None);
        }
        if let Some(url) = &self.upstreams.npm {
            upstream("npm", "node", url, None);
        }
        if let Some(url) = &self.upstreams.cargo {
            upstream("cargo", "crates", url, None);
        }
        for (i, repository) in self.upstreams.debian.iter().enumerate() {
            let name = format!("debian-{i}");
            upstream("debian", &name, &repository.url, repository.keyring.as_deref());
        }
        text
    }
}
