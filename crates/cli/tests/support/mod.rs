//! What the tests of the real binary share: a sandbox for each run, clients, an upstream, registries.

pub mod archives;
pub mod node;
pub mod registries;
pub mod server;
pub mod serving;

use serde_json::Value;
use std::ffi::OsString;
use std::io::{Read, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// A run that takes longer hangs, unless a test says otherwise.
const DEADLINE: Duration = Duration::from_secs(75);

/// Says that a test was skipped, and why; true when the client is not there.
pub fn skipped<T>(what: &str, client: Option<&T>) -> bool {
    if client.is_none() {
        eprintln!("skipped: {what} is not installed");
    }
    client.is_none()
}

/// Finds a program as the shell would.
pub fn which(program: &str) -> Option<PathBuf> {
    let dirs = std::env::var_os("PATH")?;
    std::env::split_paths(&dirs).map(|d| d.join(program)).find(|p| p.is_file())
}

/// uv: named by `COUNTERSIGN_TEST_UV`, or on the path.
pub fn uv() -> Option<&'static PathBuf> {
    static UV: OnceLock<Option<PathBuf>> = OnceLock::new();
    let find = || named("COUNTERSIGN_TEST_UV").or_else(|| which("uv"));
    UV.get_or_init(find).as_ref()
}

/// poetry: named by `COUNTERSIGN_TEST_POETRY`, or on the path.
pub fn poetry() -> Option<&'static PathBuf> {
    static POETRY: OnceLock<Option<PathBuf>> = OnceLock::new();
    POETRY.get_or_init(|| named("COUNTERSIGN_TEST_POETRY").or_else(|| which("poetry"))).as_ref()
}

/// pipx: named by `COUNTERSIGN_TEST_PIPX`, or on the path.
pub fn pipx() -> Option<&'static PathBuf> {
    static PIPX: OnceLock<Option<PathBuf>> = OnceLock::new();
    PIPX.get_or_init(|| named("COUNTERSIGN_TEST_PIPX").or_else(|| which("pipx"))).as_ref()
}

/// A program that the environment names.
fn named(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).map(PathBuf::from).filter(|p| p.is_file())
}

/// npm, if it and node are there.
pub fn npm() -> Option<&'static PathBuf> {
    static NPM: OnceLock<Option<PathBuf>> = OnceLock::new();
    NPM.get_or_init(|| which("npm").filter(|_| which("node").is_some())).as_ref()
}

/// The cargo that runs the tests.
pub fn cargo() -> Option<&'static PathBuf> {
    static CARGO: OnceLock<Option<PathBuf>> = OnceLock::new();
    CARGO
        .get_or_init(|| std::env::var_os("CARGO").map(PathBuf::from).filter(|p| p.is_file()))
        .as_ref()
}

/// apt-get.
pub fn apt() -> Option<&'static PathBuf> {
    static APT: OnceLock<Option<PathBuf>> = OnceLock::new();
    APT.get_or_init(|| which("apt-get")).as_ref()
}

/// A Python that has pip.
pub struct Python {
    executable: PathBuf,
    /// The folder that holds the package `pip`.
    site: PathBuf,
    /// Names there that belong to pip.
    parts: Vec<String>,
}

/// Python with pip, if it is there.
pub fn python() -> Option<&'static Python> {
    static PYTHON: OnceLock<Option<Python>> = OnceLock::new();
    PYTHON.get_or_init(find_python).as_ref()
}

/// A sandbox with a virtual environment whose pip is configured for `index`; `None` without pip.
pub fn pip_sandbox(index: &registries::Pypi<'_>) -> Option<(Sandbox, Venv)> {
    if skipped("python3 with pip", python()) {
        return None;
    }
    let mut s = Sandbox::new();
    let venv = s.venv(python()?);
    s.env("PIP_INDEX_URL", index.url());
    Some((s, venv))
}

fn find_python() -> Option<Python> {
    let code = "import sys, os, pip; print(sys.executable); print(os.path.dirname(os.path.dirname(pip.__file__)))";
    let out = Command::new(which("python3")?).args(["-c", code]).output().ok()?;
    let text = String::from_utf8(out.stdout).ok()?;
    let mut lines = text.lines().map(PathBuf::from);
    let (executable, site) = (lines.next()?, lines.next()?);
    let names = std::fs::read_dir(&site)
        .ok()?
        .flatten()
        .map(|e| e.file_name().to_string_lossy().into_owned());
    let parts = names
        .filter(|n| n == "pip" || (n.starts_with("pip-") && n.ends_with(".dist-info")))
        .collect();
    Some(Python { executable, site, parts })
}

/// A virtual environment with a pip of its own.
pub struct Venv {
    pub root: PathBuf,
    /// Its site-packages.
    pub site: PathBuf,
}

impl Venv {
    fn make(python: &Python, root: &Path) -> Self {
        let made = Command::new(&python.executable)
            .args(["-m", "venv", "--without-pip"])
            .arg(root)
            .status()
            .unwrap();
        assert!(made.success(), "a virtual environment could not be made");
        let lib = std::fs::read_dir(root.join("lib")).unwrap().flatten().next().unwrap().path();
        let site = lib.join("site-packages");
        for part in &python.parts {
            std::os::unix::fs::symlink(python.site.join(part), site.join(part)).unwrap();
        }
        let script = format!(
            "#!{}\nimport sys\nfrom pip._internal.cli.main import main\nsys.exit(main())\n",
            root.join("bin/python").display()
        );
        write_program(&root.join("bin/pip"), &script);
        Self { root: root.to_path_buf(), site }
    }

    /// Whether a name lies in site-packages.
    pub fn has(&self, name: &str) -> bool {
        self.site.join(name).exists()
    }

    /// What is installed there beside pip.
    pub fn names(&self) -> Vec<String> {
        let own = |n: &String| {
            !n.starts_with("pip") && n != "__pycache__" && !n.starts_with("_virtualenv")
        };
        let mut all: Vec<String> = std::fs::read_dir(&self.site)
            .unwrap()
            .flatten()
            .map(|e| e.file_name().to_string_lossy().into_owned())
            .filter(own)
            .collect();
        all.sort();
        all
    }
}

/// A client of the test's own in pip's place: a script that speaks to the gate as it likes.
///
/// `ask(url, headers, method)` gives status, headers and body; `PROXY` is the gate's address and
/// `SECRET` what it wants to be shown.
pub fn scripted_pip(venv: &Venv, script: &str) {
    let helpers = r#"
import base64, http.client, os, socket, sys, threading, time, json
from urllib.parse import urlsplit
_p = urlsplit(os.environ["PIP_PROXY"])
PROXY, SECRET = (_p.hostname, _p.port), base64.b64encode(("%s:%s" % (_p.username, _p.password)).encode()).decode()
def ask(url, headers=None, method="GET", body=None):
    c = http.client.HTTPConnection(*PROXY, timeout=30)
    c.putrequest(method, url, skip_host=True, skip_accept_encoding=True)
    sent = {"Host": urlsplit(url).netloc, "Proxy-Authorization": "Basic " + SECRET, **(headers or {})}
    for name, value in sent.items():
        if value is not None:
            c.putheader(name, value)
    if body is not None:
        c.putheader("Content-Length", str(len(body)))
    c.endheaders(body)
    r = c.getresponse()
    return r.status, {k.lower(): v for k, v in r.getheaders()}, r.read()
"#;
    let python = venv.root.join("bin/python");
    write_program(
        &venv.root.join("bin/pip"),
        &format!("#!{}\n{helpers}\n{script}\n", python.display()),
    );
}

/// Writes an executable script.
pub fn write_program(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// How a program ended.
#[derive(Debug, Clone)]
pub struct Run {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    /// The JSON report of `countersign run`; null for other commands.
    pub report: Value,
    pub took: Duration,
    shown: String,
}

impl Run {
    /// Everything that there is to know, for a failing assertion.
    pub fn transcript(&self) -> String {
        let report = serde_json::to_string_pretty(&self.report).unwrap_or_default();
        format!(
            "$ {}\nexit code {} after {:.1} s\n--- stdout\n{}\n--- stderr\n{}\n--- report\n{report}\n",
            self.shown,
            self.code,
            self.took.as_secs_f64(),
            self.stdout,
            self.stderr
        )
    }

    /// Requires an exit code.
    #[track_caller]
    pub fn expect(&self, code: i32) -> &Self {
        assert_eq!(self.code, code, "wrong exit code\n{}", self.transcript());
        self
    }

    /// Requires a text somewhere in what was printed.
    #[track_caller]
    pub fn says(&self, text: &str) -> &Self {
        assert!(
            self.stdout.contains(text) || self.stderr.contains(text),
            "`{text}` was not said\n{}",
            self.transcript()
        );
        self
    }

    /// What stands in the report under `key`, as a list.
    pub fn list(&self, key: &str) -> Vec<Value> {
        self.report.get(key).and_then(Value::as_array).cloned().unwrap_or_default()
    }

    /// The report's entry of an artifact (`demo 1.0.0`).
    #[track_caller]
    pub fn artifact(&self, label: &str) -> Value {
        let found = self.list("artifacts").into_iter().find(|a| a["artifact"] == label);
        found.unwrap_or_else(|| panic!("`{label}` is not in the report\n{}", self.transcript()))
    }

    /// Artifacts that were admitted.
    pub fn admitted(&self) -> Vec<String> {
        let all = self.list("artifacts").into_iter().filter(|a| a["verdict"] == "admit");
        all.filter_map(|a| a["artifact"].as_str().map(str::to_owned)).collect()
    }

    /// Artifacts that were not, each with its reason.
    pub fn stopped(&self) -> Vec<(String, String)> {
        let text = |v: &Value| v.as_str().unwrap_or("").to_owned();
        let all = self.list("artifacts").into_iter().filter(|a| a["verdict"] != "admit");
        all.map(|a| (text(&a["artifact"]), text(&a["reason"]))).collect()
    }

    /// Requires that exactly these artifacts were stopped, for these reasons.
    #[track_caller]
    pub fn expect_stopped(&self, want: &[(&str, &str)]) -> &Self {
        let mut want: Vec<_> =
            want.iter().map(|(a, r)| ((*a).to_owned(), (*r).to_owned())).collect();
        let mut got = self.stopped();
        want.sort();
        got.sort();
        assert_eq!(got, want, "other artifacts were stopped\n{}", self.transcript());
        self
    }

    /// Requires that exactly these artifacts were admitted.
    #[track_caller]
    pub fn expect_admitted(&self, want: &[&str]) -> &Self {
        let mut got = self.admitted();
        got.sort();
        let mut want = want.to_vec();
        want.sort_unstable();
        assert_eq!(got, want, "other artifacts were admitted\n{}", self.transcript());
        self
    }

    /// Gaps that the reconciliation found, as `what: why`.
    pub fn gaps(&self) -> Vec<String> {
        let all = self.report["account"]["gaps"].as_array().cloned().unwrap_or_default();
        all.iter()
            .map(|g| {
                format!("{}: {}", g["what"].as_str().unwrap_or(""), g["why"].as_str().unwrap_or(""))
            })
            .collect()
    }

    /// Requires exit code 92 and a gap that names `what`.
    #[track_caller]
    pub fn expect_gap(&self, what: &str) -> &Self {
        assert!(
            self.gaps().iter().any(|g| g.contains(what)),
            "no gap names `{what}`\n{}",
            self.transcript()
        );
        self.expect(92)
    }

    /// Requires that a closed door names `what`.
    #[track_caller]
    pub fn expect_door(&self, what: &str) -> &Self {
        let doors = self.list("closed_doors");
        let named = doors.iter().any(|d| d["what"].as_str().is_some_and(|w| w.contains(what)));
        assert!(named, "no closed door names `{what}`\n{}", self.transcript());
        self
    }
}

/// A home, a state, a working folder and an environment of its own, for one test.
pub struct Sandbox {
    folder: tempfile::TempDir,
    env: Vec<(String, OsString)>,
    path: Vec<PathBuf>,
    /// Whether the machine's own environment and home apply: its configured registries.
    inherit: bool,
    /// Options of `countersign run` that every run gets.
    pub options: Vec<String>,
    /// A run that takes longer hangs.
    pub deadline: Duration,
    count: std::cell::Cell<u32>,
}

impl Sandbox {
    pub fn new() -> Self {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::Builder::new().prefix("cs-").tempdir().unwrap();
        // apt's methods run as another user.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["home", "work", "tmp", "feed"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let shared = std::fs::Permissions::from_mode(0o1777);
        std::fs::set_permissions(folder.path().join("tmp"), shared).unwrap();
        let path = std::env::split_paths(&std::env::var_os("PATH").unwrap()).collect();
        Self {
            folder,
            env: Vec::new(),
            path,
            inherit: false,
            options: Vec::new(),
            deadline: DEADLINE,
            count: std::cell::Cell::new(0),
        }
    }

    /// A sandbox in which the clients keep the machine's own configuration.
    pub fn with_the_machines_own_registries() -> Self {
        Self { inherit: true, ..Self::new() }
    }

    /// A place in the sandbox.
    pub fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The folder that clients work in.
    pub fn work(&self) -> PathBuf {
        self.at("work")
    }

    /// The folder of store and ledger.
    pub fn state(&self) -> PathBuf {
        self.at("state")
    }

    /// Sets a variable for every run.
    pub fn env(&mut self, name: &str, value: impl Into<OsString>) -> &mut Self {
        self.env.retain(|(n, _)| n != name);
        self.env.push((name.to_owned(), value.into()));
        self
    }

    /// Takes a variable away from every run.
    pub fn unset(&mut self, name: &str) -> &mut Self {
        self.env.retain(|(n, _)| n != name);
        self
    }

    /// Puts a folder first on the path.
    pub fn path_first(&mut self, folder: &Path) -> &mut Self {
        self.path.insert(0, folder.to_path_buf());
        self
    }

    /// Puts programs first on the path, and nothing of what lies beside them.
    pub fn programs_first(&mut self, programs: &[&Path]) -> &mut Self {
        let folder = self.at("programs");
        std::fs::create_dir_all(&folder).unwrap();
        for program in programs {
            let link = folder.join(program.file_name().unwrap());
            std::os::unix::fs::symlink(program, link).unwrap();
        }
        self.path_first(&folder)
    }

    /// Writes a file in the working folder.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.work().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Writes `countersign.toml` and names it to every run.
    pub fn config(&mut self, text: &str) -> &mut Self {
        let file = self.at("countersign.toml");
        std::fs::write(&file, text).unwrap();
        self.env("COUNTERSIGN_CONFIG", file)
    }

    /// Adds an OSV record to the feed that every run is given.
    pub fn advisory(&mut self, record: &Value) -> &mut Self {
        let file = self.at("feed").join(format!("{}.json", record["id"].as_str().unwrap()));
        std::fs::write(file, record.to_string()).unwrap();
        if self.options.iter().all(|o| o != "--feed") {
            let feed = self.at("feed").display().to_string();
            self.options.extend(["--feed".to_owned(), feed]);
        }
        self
    }

    /// A virtual environment, first on the path.
    pub fn venv(&mut self, python: &Python) -> Venv {
        let venv = Venv::make(python, &self.at("venv"));
        self.path_first(&venv.root.join("bin"));
        venv
    }

    /// A command in this sandbox's environment and nobody else's.
    pub fn command(&self, program: &Path, args: &[&str]) -> Command {
        let mut c = Command::new(program);
        c.args(args).current_dir(self.work());
        if self.inherit {
            c.env_remove("COUNTERSIGN_CONFIG");
        } else {
            c.env_clear().env("HOME", self.at("home"));
        }
        c.env("PATH", std::env::join_paths(&self.path).unwrap())
            .env("TMPDIR", self.at("tmp"))
            .env("LANG", "C.UTF-8")
            .env("COUNTERSIGN_STATE", self.state())
            .envs(self.env.iter().map(|(n, v)| (n, v)));
        c
    }

    /// The command `countersign …`.
    pub fn countersign_command(&self, args: &[&str]) -> Command {
        self.command(Path::new(env!("CARGO_BIN_EXE_countersign")), args)
    }

    /// Runs `countersign …`.
    pub fn countersign(&self, args: &[&str]) -> Run {
        finish(self.countersign_command(args), b"", self.deadline)
    }

    /// Where the report of the next [`Sandbox::gate`] goes.
    fn next_report(&self) -> PathBuf {
        self.count.set(self.count.get() + 1);
        self.at(&format!("report-{}.json", self.count.get()))
    }

    /// Runs a client behind the gate, and reads the report.
    pub fn gate(&self, client: &[&str]) -> Run {
        self.gate_with(&[], client, b"")
    }

    /// Runs a client behind the gate, with more options and something on its standard input.
    pub fn gate_with(&self, options: &[&str], client: &[&str], input: &[u8]) -> Run {
        let file = self.next_report();
        let shown = file.display().to_string();
        let mut args = vec!["run", "--format", "json", "--report", &shown];
        args.extend(self.options.iter().map(String::as_str));
        args.extend(options);
        args.push("--");
        args.extend(client);
        let mut run = finish(self.countersign_command(&args), input, self.deadline);
        let text = std::fs::read(&file).unwrap_or_default();
        run.report = serde_json::from_slice(&text).unwrap_or(Value::Null);
        run
    }

    /// The ledger's decisions, newest first.
    #[track_caller]
    pub fn ledger(&self) -> Vec<Value> {
        let run = self.countersign(&["ledger", "log", "--json", "--limit", "10000"]);
        run.expect(0);
        run.stdout.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
    }

    /// The ledger's decisions as (purl, verdict, leading reason).
    #[track_caller]
    pub fn decisions(&self) -> Vec<(String, String, String)> {
        let text = |v: &Value| v.as_str().unwrap_or("").to_owned();
        let one = |d: &Value| {
            (
                text(&d["purl"]),
                text(&d["decision"]["verdict"]),
                text(&d["decision"]["fired"][0]["reason"]),
            )
        };
        self.ledger().iter().map(one).collect()
    }

    /// Requires that the ledger holds a decision.
    #[track_caller]
    pub fn expect_decision(&self, purl: &str, verdict: &str, reason: &str) {
        let all = self.decisions();
        let found = all
            .iter()
            .any(|(p, v, r)| p == purl && v == verdict && (verdict == "admit" || r == reason));
        assert!(found, "no entry says {verdict} ({reason}) of {purl}: {all:#?}");
    }

    /// Requires a clean ledger.
    #[track_caller]
    pub fn fsck(&self) {
        self.countersign(&["ledger", "fsck"]).expect(0).says("consistent");
    }

    /// The digests of all blobs.
    pub fn blobs(&self) -> Vec<String> {
        let mut all: Vec<String> = files_below(&self.state().join("blobs"))
            .iter()
            .filter_map(|p| Some(p.file_name()?.to_string_lossy().into_owned()))
            .collect();
        all.sort();
        all
    }

    /// Requires that a text is nowhere: not in what a run printed, and in no file of the sandbox
    /// that the gate wrote.
    #[track_caller]
    pub fn expect_nowhere(&self, secret: &str, runs: &[&Run]) {
        for r in runs {
            assert!(
                !r.stdout.contains(secret) && !r.stderr.contains(secret),
                "`{secret}` was printed\n{}",
                r.transcript()
            );
            assert!(
                !r.report.to_string().contains(secret),
                "`{secret}` is in the report\n{}",
                r.transcript()
            );
        }
        for file in files_below(&self.state()) {
            let bytes = std::fs::read(&file).unwrap();
            let found = bytes.windows(secret.len()).any(|w| w == secret.as_bytes());
            assert!(!found, "`{secret}` is in {}", file.display());
        }
    }
}

/// All files below a folder.
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            out.extend(files_below(&path));
        } else {
            out.push(path);
        }
    }
    out
}

/// Runs a command to its end. One that hangs is killed with all that it started, and fails.
pub fn finish(mut command: Command, input: &[u8], deadline: Duration) -> Run {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let shown = words.map(|w| w.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ");
    command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let started = Instant::now();
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // A client that reads nothing closes its end.
    let feeder = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let stdout = drain(child.stdout.take().unwrap());
    let stderr = drain(child.stderr.take().unwrap());
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break Some(status);
        }
        if started.elapsed() > deadline {
            kill_group(child.id());
            child.wait().unwrap();
            break None;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    feeder.join().unwrap();
    let (stdout, stderr) = (stdout.join().unwrap(), stderr.join().unwrap());
    let code = status.map_or(-1, |s| s.code().unwrap_or_else(|| 128 + s.signal().unwrap_or(0)));
    let run = Run { code, stdout, stderr, report: Value::Null, took: started.elapsed(), shown };
    assert!(status.is_some(), "it hangs\n{}", run.transcript());
    run
}

fn drain(mut from: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Kills a process and all that it started, at once.
pub fn kill_group(leader: u32) {
    let pid = rustix::process::Pid::from_raw(leader.cast_signed()).unwrap();
    // Gone already is as good.
    let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
}
