//! Other servers that stand between clients and registries, where they are installed: each is
//! started on a loopback port with fresh folders, with the upstream of this machine's clients.

use super::ask::Upstreams;
use super::client::{Client, Door};
use super::http;
use super::process::{Job, Server};
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The longest that a peer may take to start.
const START: Duration = Duration::from_secs(60);

/// Who owns devpi's first mirror.
const DEVPI_USER: &str = "root";

/// A server to measure beside the gate.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    kind: Kind,
    /// The program that serves.
    program: PathBuf,
    /// Its version, as it says itself.
    pub(super) version: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Verdaccio,
    Proxpi,
    Devpi,
    AptCacherNg,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Verdaccio, Self::Proxpi, Self::Devpi, Self::AptCacherNg];

    /// The program to look for. proxpi is a module that a server for such modules runs.
    fn program(self) -> &'static str {
        match self {
            Self::Verdaccio => "verdaccio",
            Self::Proxpi => "gunicorn",
            Self::Devpi => "devpi-server",
            Self::AptCacherNg => "apt-cacher-ng",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Proxpi => "proxpi",
            Self::Devpi => "devpi",
            other => other.program(),
        }
    }

    fn version(self, program: &Path) -> Result<String, String> {
        let at = Path::new("/");
        let python = program.with_file_name("python");
        let version_of = |package: &str| {
            let ask = format!("import importlib.metadata as m; print(m.version('{package}'))");
            Job::new([python.as_os_str(), "-c".as_ref(), ask.as_ref()], at).output()
        };
        let out = match self {
            Self::Verdaccio => Job::new([program, Path::new("--version")], at).output(),
            Self::Proxpi => version_of("proxpi"),
            Self::Devpi => version_of("devpi-server"),
            Self::AptCacherNg => {
                let words = ["dpkg-query", "-f", "${Version}", "-W", "apt-cacher-ng"];
                Job::new(words, at).output()
            }
        };
        out.map(|v| v.trim().trim_start_matches('v').to_owned())
    }
}

/// The peers that are installed: below `folder`, then where the shell would find them.
#[must_use]
pub(super) fn find(folder: Option<&Path>) -> Vec<Peer> {
    let mut places = folder.map(below).unwrap_or_default();
    places.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    places.push("/usr/sbin".into());
    let found = Kind::ALL.into_iter().filter_map(|kind| {
        let programs = places.iter().map(|p| p.join(kind.program())).filter(|p| p.is_file());
        let mut asked = programs.filter_map(|program| {
            let version = kind.version(&program).ok()?;
            Some(Peer { kind, program, version })
        });
        asked.next()
    });
    found.collect()
}

/// Folders of programs below a folder: its own, those of environments in it, and node's.
fn below(folder: &Path) -> Vec<PathBuf> {
    let inside = fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path().join("bin"));
    let own = [folder.to_owned(), folder.join("bin"), folder.join("node_modules/.bin")];
    own.into_iter().chain(inside).collect()
}

impl Peer {
    /// What to call it.
    #[must_use]
    pub(super) fn name(&self) -> &'static str {
        self.kind.name()
    }

    /// Whether it is measured with this client.
    #[must_use]
    pub(super) fn serves(&self, client: Client) -> bool {
        match self.kind {
            Kind::Verdaccio => matches!(client, Client::NpmInstall | Client::NpmCi),
            Kind::Proxpi | Kind::Devpi => matches!(client, Client::PipDownload | Client::Uv),
            Kind::AptCacherNg => client == Client::AptDownload,
        }
    }

    /// Starts it in a fresh folder and waits until it answers.
    ///
    /// # Errors
    ///
    /// When it does not start, or its upstream is not known.
    pub(super) fn start(
        &self,
        folder: &Path,
        upstreams: &Upstreams,
    ) -> Result<(Server, Door), String> {
        fs::create_dir_all(folder).map_err(|e| e.to_string())?;
        let port = match self.kind {
            Kind::AptCacherNg => low_port()?,
            _ => http::free_port()?,
        };
        let root = format!("http://127.0.0.1:{port}");
        let log = folder.with_extension("log");
        let index = || upstreams.pypi.as_deref().ok_or("pip does not say where it fetches from");
        let mut door = Door::default();
        let (job, probe) = match self.kind {
            Kind::Verdaccio => {
                let registry = upstreams.npm.as_deref();
                let registry = registry.ok_or("npm does not say where it fetches from")?;
                door.npm = Some(format!("{root}/"));
                (self.verdaccio(folder, port, registry)?, "/-/ping")
            }
            Kind::Proxpi => {
                door.pypi = Some(format!("{root}/index/"));
                (self.proxpi(folder, port, index()?), "/health")
            }
            Kind::Devpi => {
                door.pypi = Some(format!("{root}/{DEVPI_USER}/pypi/+simple/"));
                (self.devpi(folder, port)?, "/+api")
            }
            Kind::AptCacherNg => {
                door.apt = Some(root);
                (self.apt_cacher_ng(folder, port)?, "/")
            }
        };
        let mut server = Server::start(&job, &log)?;
        server.wait_until(START, || http::get(port, probe, &[]).is_ok())?;
        if self.kind == Kind::Devpi {
            devpi_upstream(port, index()?)?;
        }
        Ok((server, door))
    }

    fn verdaccio(&self, folder: &Path, port: u16, registry: &str) -> Result<Job, String> {
        let config = folder.join("config.yaml");
        let text = format!(
            "storage: {0}/storage\nauth:\n  htpasswd:\n    file: {0}/htpasswd\nuplinks:\n  up:\n    url: {registry}\n\
             packages:\n  '@*/*':\n    access: $all\n    proxy: up\n  '**':\n    access: $all\n    proxy: up\n\
             log: {{ type: stdout, format: pretty, level: error }}\n",
            folder.display()
        );
        fs::write(&config, text).map_err(|e| e.to_string())?;
        let mut job = Job::new([&self.program], folder);
        job.words.extend(["--config".into(), config.into(), "--listen".into()]);
        job.words.push(format!("127.0.0.1:{port}").into());
        Ok(job)
    }

    fn proxpi(&self, folder: &Path, port: u16, index: &str) -> Job {
        let mut job = Job::new([&self.program], folder);
        let bind = format!("127.0.0.1:{port}");
        let words = ["--preload", "--threads", "16", "--bind", &bind, "proxpi.server:app"];
        job.words.extend(words.map(Into::into));
        job.set("PROXPI_INDEX_URL", index).set("PROXPI_CACHE_DIR", folder.join("cache"));
        job.set("PROXPI_LOGGING_LEVEL", "ERROR");
        job
    }

    fn devpi(&self, folder: &Path, port: u16) -> Result<Job, String> {
        let data = folder.join("data");
        let mut make = Job::new([self.program.with_file_name("devpi-init")], folder);
        make.words.extend(["--serverdir".into(), data.clone().into()]);
        make.output()?;
        let mut job = Job::new([&self.program], folder);
        job.words.extend(["--serverdir".into(), data.into(), "--host".into(), "127.0.0.1".into()]);
        job.words.extend(["--port".into(), port.to_string().into()]);
        Ok(job)
    }

    fn apt_cacher_ng(&self, folder: &Path, port: u16) -> Result<Job, String> {
        let text = format!(
            "CacheDir: {0}/cache\nLogDir: {0}/log\nSocketPath: {0}/socket\nPort: {port}\n\
             BindAddress: 127.0.0.1\nForeGround: 1\nReportPage: report.html\n",
            folder.display()
        );
        for part in ["etc", "cache", "log"] {
            fs::create_dir_all(folder.join(part)).map_err(|e| e.to_string())?;
        }
        fs::write(folder.join("etc/acng.conf"), text).map_err(|e| e.to_string())?;
        let mut job = Job::new([&self.program], folder);
        job.words.extend(["-c".into(), folder.join("etc").into()]);
        Ok(job)
    }
}

/// A free port that a signed number of 16 bits can hold: apt-cacher-ng takes no other.
fn low_port() -> Result<u16, String> {
    let least = 20_000 + u16::try_from(std::process::id() % 10_000).unwrap_or(0);
    let highest = i16::MAX as u16;
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    (least..=highest).find(free).ok_or_else(|| "no port is free".to_owned())
}

/// devpi comes with a mirror of its own choice; it is led to the clients' index.
fn devpi_upstream(port: u16, index: &str) -> Result<(), String> {
    let json = [("Content-Type", "application/json"), ("Accept", "application/json")];
    let login = serde_json::json!({ "user": DEVPI_USER, "password": "" }).to_string();
    let reply = http::ask(port, "POST", "/+login", &json, login.as_bytes())?;
    let answer: serde_json::Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    let token = answer["result"]["password"].as_str().ok_or("devpi lets nobody in")?;
    let credential = super::base64(format!("{DEVPI_USER}:{token}").as_bytes());
    let fields = [json[0], json[1], ("X-Devpi-Auth", &credential)];
    let change = serde_json::json!([format!("mirror_url={index}")]).to_string();
    let reply =
        http::ask(port, "PATCH", &format!("/{DEVPI_USER}/pypi"), &fields, change.as_bytes())?;
    match reply.status {
        200 => Ok(()),
        other => Err(format!("devpi does not take its upstream (status {other})")),
    }
}
