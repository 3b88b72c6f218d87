//! Programs: what they take, and servers that end with the measurement.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The longest that a client may take.
const PATIENCE: Duration = Duration::from_secs(600);
/// The kernel's clock ticks a second in `/proc`: `USER_HZ`, 100 on all of Linux's own platforms.
const TICKS: f64 = 100.0;

/// A command, with what it needs of its surroundings.
#[derive(Debug, Clone)]
pub(super) struct Job {
    /// The program, then its arguments.
    pub(super) words: Vec<OsString>,
    /// Variables that are set, or taken away.
    pub(super) environment: BTreeMap<OsString, Option<OsString>>,
    /// Where it runs.
    pub(super) folder: PathBuf,
}

impl Job {
    /// A command in a folder.
    pub(super) fn new<W: AsRef<OsStr>>(words: impl IntoIterator<Item = W>, folder: &Path) -> Self {
        let words = words.into_iter().map(|w| w.as_ref().to_owned()).collect();
        Self { words, environment: BTreeMap::new(), folder: folder.to_owned() }
    }

    /// Sets a variable.
    pub(super) fn set(&mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Self {
        self.environment.insert(name.as_ref().to_owned(), Some(value.as_ref().to_owned()));
        self
    }

    /// Takes a variable away.
    pub(super) fn unset(&mut self, name: impl AsRef<OsStr>) -> &mut Self {
        self.environment.insert(name.as_ref().to_owned(), None);
        self
    }

    fn command(&self) -> Result<Command, String> {
        let (program, arguments) = self.words.split_first().ok_or("an empty command")?;
        let mut command = Command::new(program);
        command.args(arguments).current_dir(&self.folder).stdin(Stdio::null());
        for (name, value) in &self.environment {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        Ok(command)
    }

    fn name(&self) -> String {
        self.words.first().map(|w| w.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// Runs the command without measuring it, and gives what it printed.
    ///
    /// # Errors
    ///
    /// Says why it could not be started, or the last that it said when it failed.
    pub(super) fn output(&self) -> Result<String, String> {
        let name = self.name();
        let out =
            self.command()?.output().map_err(|e| format!("`{name}` cannot be started: {e}"))?;
        if out.status.success() {
            return Ok(String::from_utf8_lossy(&out.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        Err(format!("`{name}` failed ({}): {}", out.status, last_lines(&said)))
    }

    /// Runs the command without measuring it; its exit code must be one of these.
    ///
    /// # Errors
    ///
    /// Says why it could not be started, or the last that it said when it ended otherwise.
    pub(super) fn ends_with(&self, codes: &[i32]) -> Result<(), String> {
        let name = self.name();
        let out =
            self.command()?.output().map_err(|e| format!("`{name}` cannot be started: {e}"))?;
        if out.status.code().is_some_and(|c| codes.contains(&c)) {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        Err(format!("`{name}` failed ({}): {}", out.status, last_lines(&said)))
    }

    /// Runs the command and measures it; what it prints goes to a file beside its folder.
    ///
    /// # Errors
    ///
    /// Says why it could not be started, or the last that it said when it failed.
    pub(super) fn measure(&self) -> Result<Measured, String> {
        let name = self.name();
        let log = self.folder.with_extension("log");
        let cannot = |e: std::io::Error| format!("`{name}` cannot be started: {e}");
        let out = fs::File::create(&log).map_err(cannot)?;
        let err = out.try_clone().map_err(cannot)?;
        let mut command = self.command()?;
        command.stdout(out).stderr(err);
        let (cpu, busy) = (children_cpu(), machine_busy());
        let start = Instant::now();
        let mut child = command.spawn().map_err(cannot)?;
        let mut peak_kib = 0;
        let mut turns = 0_u32;
        let status = loop {
            if let Some(status) = child.try_wait().map_err(|e| e.to_string())? {
                break status;
            }
            if start.elapsed() > PATIENCE {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("`{name}` did not end within {} s", PATIENCE.as_secs()));
            }
            if turns.is_multiple_of(16) {
                peak_kib = memory(child.id(), "VmHWM:").unwrap_or(0).max(peak_kib);
            }
            turns += 1;
            std::thread::sleep(Duration::from_millis(1));
        };
        let seconds = start.elapsed().as_secs_f64();
        let cpu_seconds = children_cpu() - cpu;
        let machine_seconds = machine_busy() - busy;
        if !status.success() {
            let said = fs::read_to_string(&log).unwrap_or_default();
            return Err(format!("`{name}` failed ({status}): {}", last_lines(&said)));
        }
        Ok(Measured { seconds, cpu_seconds, machine_seconds, peak_kib })
    }
}

/// What a command took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measured {
    /// Time on the wall.
    pub(super) seconds: f64,
    /// Its processor time, and that of whatever it started and waited for.
    pub(super) cpu_seconds: f64,
    /// The processor time of the whole machine meanwhile.
    pub(super) machine_seconds: f64,
    /// The most memory that the program itself had at once, in KiB.
    pub(super) peak_kib: u64,
}

/// A server that ends, by its own process id, when this goes.
pub(super) struct Server {
    child: Child,
    log: PathBuf,
}

impl Server {
    /// Starts a server; what it prints goes to `log`.
    ///
    /// # Errors
    ///
    /// Says why it could not be started.
    pub(super) fn start(job: &Job, log: &Path) -> Result<Self, String> {
        let cannot = |e: std::io::Error| format!("`{}` cannot be started: {e}", job.name());
        let out = fs::File::create(log).map_err(cannot)?;
        let err = out.try_clone().map_err(cannot)?;
        let child = job.command()?.stdout(out).stderr(err).spawn().map_err(cannot)?;
        Ok(Self { child, log: log.to_owned() })
    }

    /// Waits until `ready` says so.
    ///
    /// # Errors
    ///
    /// When the server ends, or is not ready in time.
    pub(super) fn wait_until(
        &mut self,
        within: Duration,
        ready: impl Fn() -> bool,
    ) -> Result<(), String> {
        let start = Instant::now();
        while !ready() {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("the server ended ({status}): {}", self.last_said()));
            }
            if start.elapsed() > within {
                return Err(format!(
                    "the server is not ready after {} s: {}",
                    within.as_secs(),
                    self.last_said()
                ));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// The last that it printed.
    #[must_use]
    pub(super) fn last_said(&self) -> String {
        last_lines(&fs::read_to_string(&self.log).unwrap_or_default())
    }

    /// The processor time of the server and what it started, in seconds.
    #[must_use]
    pub(super) fn cpu_seconds(&self) -> f64 {
        family(self.child.id()).into_iter().filter_map(own_cpu).sum()
    }

    /// The memory of the server and what it started: now, and the sum of each one's peak, in KiB.
    #[must_use]
    pub(super) fn memory_kib(&self) -> (u64, u64) {
        let family = family(self.child.id());
        let sum = |field| family.iter().filter_map(|p| memory(*p, field)).sum();
        (sum("VmRSS:"), sum("VmHWM:"))
    }

    /// Forgets the peak, so that the next one is of what comes (`/proc/PID/clear_refs`, proc(5)).
    pub(super) fn forget_peak(&self) {
        for pid in family(self.child.id()) {
            let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = self.child.id().to_string();
        let asked = Command::new("kill").args(["-TERM", &pid]).status();
        let end = Instant::now() + Duration::from_secs(15);
        while asked.is_ok() && Instant::now() < end {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|l| !l.trim().is_empty()).collect();
    let from = lines.len().saturating_sub(12);
    let said = lines.get(from..).unwrap_or_default().join(" | ");
    if said.is_empty() { "it says nothing".to_owned() } else { said }
}

/// A process and all that descend from it.
fn family(root: u32) -> Vec<u32> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) else {
            continue;
        };
        if let Some(parent) = stat_fields(pid).and_then(|f| f.get(1)?.parse::<u32>().ok()) {
            parents.push((pid, parent));
        }
    }
    let mut out = vec![root];
    let mut next = 0;
    while let Some(parent) = out.get(next).copied() {
        out.extend(parents.iter().filter(|(_, p)| *p == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    out
}

/// The fields of `/proc/PID/stat` from the third (the state) on: a name may hold spaces.
fn stat_fields(process: impl std::fmt::Display) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}

fn ticks(fields: &[String], from: usize) -> Option<f64> {
    let field = |i: usize| fields.get(i)?.parse::<f64>().ok();
    Some((field(from)? + field(from + 1)?) / TICKS)
}

/// `utime` and `stime` of a process.
fn own_cpu(pid: u32) -> Option<f64> {
    ticks(&stat_fields(pid)?, 11)
}

/// `cutime` and `cstime` of this process: of every child that was waited for.
fn children_cpu() -> f64 {
    stat_fields("self").and_then(|f| ticks(&f, 13)).unwrap_or(0.0)
}

/// What all processors of the machine worked since it started: user, nice, system, irq, softirq.
fn machine_busy() -> f64 {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let first = text.lines().next().unwrap_or_default();
    let fields: Vec<f64> =
        first.split_whitespace().skip(1).filter_map(|f| f.parse().ok()).collect();
    [0, 1, 2, 5, 6].iter().filter_map(|i| fields.get(*i)).sum::<f64>() / TICKS
}

/// A figure of `/proc/PID/status`, in KiB.
fn memory(pid: u32, field: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix(field))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir()
            .join(format!("countersign-bench-test-{}-{name}", std::process::id()))
            .join("run");
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn a_command_is_measured() {
        let folder = folder("measured");
        let mut job = Job::new(["sh", "-c", "test \"$GIVEN\" = yes && sleep 0.1"], &folder);
        job.set("GIVEN", "yes").unset("HOME");
        let measured = job.measure().unwrap();
        assert!((0.1..10.0).contains(&measured.seconds), "{measured:?}");
        assert!(measured.peak_kib > 0, "{measured:?}");
        fs::remove_dir_all(folder.parent().unwrap()).unwrap();
    }

    #[test]
    fn a_command_that_fails_says_why() {
        let folder = folder("fails");
        let job = Job::new(["sh", "-c", "echo no such luck >&2; exit 3"], &folder);
        for said in [job.measure().map(|_| ()).unwrap_err(), job.output().unwrap_err()] {
            assert!(said.contains("no such luck") && said.contains('3'), "{said}");
        }
        fs::remove_dir_all(folder.parent().unwrap()).unwrap();
    }

    #[test]
    fn a_server_ends_with_its_guard() {
        let folder = folder("server");
        let job = Job::new(["sh", "-c", "sleep 60 & wait"], &folder);
        let mut server = Server::start(&job, &folder.join("log")).unwrap();
        server.wait_until(Duration::from_secs(5), || true).unwrap();
        let pid = server.child.id();
        assert!(server.memory_kib().0 > 0);
        drop(server);
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
        fs::remove_dir_all(folder.parent().unwrap()).unwrap();
    }

    #[test]
    fn a_server_that_ends_early_is_an_error() {
        let folder = folder("early");
        let job = Job::new(["sh", "-c", "echo taken; exit 1"], &folder);
        let mut server = Server::start(&job, &folder.join("log")).unwrap();
        let said = server.wait_until(Duration::from_secs(5), || false).unwrap_err();
        assert!(said.contains("taken"), "{said}");
        fs::remove_dir_all(folder.parent().unwrap()).unwrap();
    }
}
