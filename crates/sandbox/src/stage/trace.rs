//! The tracer: it sees each watched call before the kernel does it, and writes down what it means.

use super::journal::Journal;
use super::sinkhole::Sinkhole;
use super::syscalls::REFUSED;
use super::tracee::{self, Address, Call};
use super::watchdog::Watchdog;
use crate::event::Deed;
use crate::spec::{HOME, Spec, WORK};
use nix::libc;
use nix::sys::ptrace::{self, Event as Stop, Options};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::process::{WaitOptions, WaitStatus};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How a step ended.
pub(super) struct Ended {
    /// The exit code; none when a signal ended it.
    pub(super) code: Option<i32>,
    /// Programs that had to be ended after it.
    pub(super) left: Vec<String>,
}

/// What is known of a process or thread.
#[derive(Clone, Default)]
struct Process {
    /// The programs that led to it, before its own.
    from: Arc<str>,
    /// The same with its own program.
    actor: Arc<str>,
    /// The path by which its own program was called.
    called: Arc<str>,
    /// The program that it is about to become.
    next: Option<Next>,
}

/// A program that is about to start.
#[derive(Clone)]
struct Next {
    /// The path that it was called by, which may be a link's.
    called: String,
    program: String,
    arguments: Vec<String>,
}

/// Programs of a chain that are named; deeper ones count to the last.
const DEPTH: usize = 8;

/// The tracer.
pub(super) struct Tracer {
    journal: Arc<Journal>,
    sinkhole: Arc<Sinkhole>,
    watchdog: Arc<Watchdog>,
    binds: Vec<PathBuf>,
    processes: HashMap<i32, Process>,
    /// Those that stopped before the call that made them was seen to its end.
    early: HashSet<i32>,
}

impl Tracer {
    pub(super) fn new(
        journal: Arc<Journal>,
        sinkhole: Arc<Sinkhole>,
        watchdog: Arc<Watchdog>,
        spec: &Spec,
    ) -> Self {
        let binds = spec.binds.clone();
        let (processes, early) = (HashMap::new(), HashSet::new());
        Self { journal, sinkhole, watchdog, binds, processes, early }
    }

    /// Follows a child that asked to be traced, and all that it starts, to the end of the last one.
    /// `ended` is called when the child itself ends.
    pub(super) fn follow(&mut self, child: u32, ended: impl Fn()) -> Result<Ended, String> {
        let child = child.cast_signed();
        self.processes = HashMap::from([(child, Process::default())]);
        self.early.clear();
        let mut out = Ended { code: None, left: Vec::new() };
        // The kernel's `__WALL`: threads of the traced as well.
        let all = WaitOptions::from_bits_retain(libc::__WALL.cast_unsigned());
        let mut optioned = false;
        loop {
            let (pid, status) = match rustix::process::wait(all) {
                Ok(Some((pid, status))) => (pid.as_raw_nonzero().get(), status),
                Ok(None) | Err(rustix::io::Errno::INTR) => continue,
                Err(rustix::io::Errno::CHILD) => return Ok(out),
                Err(e) => return Err(format!("processes cannot be waited for: {e}")),
            };
            if status.exited() || status.signaled() {
                let gone = self.processes.remove(&pid);
                if pid == child {
                    out.code = status.exit_status();
                    ended();
                } else if let Some(gone) = gone
                    && self.watchdog.is_sweeping()
                    && status.terminating_signal() == Some(libc::SIGKILL)
                    && !out.left.contains(&gone.actor.to_string())
                {
                    out.left.push(gone.actor.to_string());
                }
                continue;
            }
            let stopped = Pid::from_raw(pid);
            if pid == child && !optioned {
                optioned = true;
                ptrace::setoptions(stopped, options())
                    .map_err(|e| format!("a process cannot be traced: {e}"))?;
                let _ = ptrace::cont(stopped, None);
                continue;
            }
            self.stopped(stopped, status);
        }
    }

    fn stopped(&mut self, pid: Pid, status: WaitStatus) {
        // ptrace(2): the event stands above the signal in the status.
        let event = status.as_raw() >> 16;
        let is = |stop: Stop| event == stop as i32;
        if is(Stop::PTRACE_EVENT_SECCOMP) {
            if self.call(pid).is_err() {
                // It must not go on with a call that nobody looked at.
                let _ = kill(pid, Signal::SIGKILL);
            }
        } else if is(Stop::PTRACE_EVENT_FORK)
            || is(Stop::PTRACE_EVENT_VFORK)
            || is(Stop::PTRACE_EVENT_CLONE)
        {
            self.forked(pid);
        } else if is(Stop::PTRACE_EVENT_EXEC) {
            self.became(pid);
        } else if event == 0 {
            self.signalled(pid, status);
            return;
        }
        let _ = ptrace::cont(pid, None);
    }

    /// A signal is passed on, but for those that stop: a stopped process would never end.
    fn signalled(&mut self, pid: Pid, status: WaitStatus) {
        if !self.processes.contains_key(&pid.as_raw()) {
            self.early.insert(pid.as_raw());
            return;
        }
        let signal = status.stopping_signal().and_then(|s| Signal::try_from(s).ok());
        let stops = [Signal::SIGSTOP, Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU];
        let passed = signal.filter(|s| !stops.contains(s) && *s != Signal::SIGTRAP);
        let _ = ptrace::cont(pid, passed);
    }

    fn forked(&mut self, parent: Pid) {
        let Ok(child) = ptrace::getevent(parent) else { return };
        let Ok(child) = i32::try_from(child) else { return };
        let actor = self.processes.get(&parent.as_raw()).map(|p| Arc::clone(&p.actor));
        let actor = actor.unwrap_or_default();
        let process = Process { from: Arc::clone(&actor), actor, ..Process::default() };
        self.processes.insert(child, process);
        if self.early.remove(&child) {
            let _ = ptrace::cont(Pid::from_raw(child), None);
        }
    }

    /// A program has replaced another. Of several threads the one that did it is told by the event.
    fn became(&mut self, pid: Pid) {
        let former = ptrace::getevent(pid).ok().and_then(|p| i32::try_from(p).ok());
        let next = former.and_then(|f| self.processes.get_mut(&f)).and_then(|p| p.next.take());
        let (Some(next), Some(process)) = (next, self.processes.get_mut(&pid.as_raw())) else {
            return;
        };
        let Next { called, program, arguments } = next;
        // A script's interpreter, found by `env`: the script is what runs.
        let interprets = !process.called.is_empty()
            && arguments.iter().skip(1).take(2).any(|a| **a == *process.called);
        let name = called.rsplit('/').next().unwrap_or_default();
        let depth = process.from.matches(" > ").count() + 1;
        process.actor = match &*process.from {
            _ if interprets => Arc::clone(&process.actor),
            "" => Arc::from(name),
            from if depth >= DEPTH => Arc::from(from),
            from => Arc::from(format!("{from} > {name}")),
        };
        if !interprets {
            process.called = Arc::from(called);
        }
        let actor = Arc::clone(&process.actor);
        self.journal.did(&actor, Deed::Started { program, arguments });
    }

    fn call(&mut self, pid: Pid) -> nix::Result<()> {
        let call = tracee::call(pid)?;
        let actor = self.processes.get(&pid.as_raw()).map(|p| Arc::clone(&p.actor));
        let actor = actor.unwrap_or_default();
        if let Some((_, name)) = REFUSED.iter().find(|(n, _)| *n == call.number) {
            self.journal.did(&actor, Deed::Refused { call: (*name).to_owned() });
            return tracee::refuse(pid);
        }
        let [a, b, c, d, e, f] = call.arguments;
        match call.number {
            libc::SYS_execve => self.starts(pid, AT_CWD, a, b),
            libc::SYS_execveat => self.starts(pid, a, b, c),
            libc::SYS_connect => self.connects(pid, &actor, b, c),
            libc::SYS_sendto => self.connects(pid, &actor, e, f),
            // msghdr begins with the address and its length.
            libc::SYS_sendmsg | libc::SYS_sendmmsg => {
                let (at, length) = (tracee::word(pid, b, 8), tracee::word(pid, b + 8, 4));
                if at != 0 {
                    self.connects(pid, &actor, at, length);
                }
            }
            _ => {
                for (path, writes) in files(pid, &call, d) {
                    self.touches(&actor, path, writes);
                }
            }
        }
        Ok(())
    }

    fn starts(&mut self, pid: Pid, folder: u64, path: u64, arguments: u64) {
        let mut called = tracee::string(pid, path);
        if called.is_empty() {
            // A program without a name, by its descriptor.
            called = format!("/proc/self/fd/{folder}");
        }
        let program = tracee::path(pid, folder, &called);
        let arguments = tracee::strings(pid, arguments);
        if let Some(process) = self.processes.get_mut(&pid.as_raw()) {
            // Only when it succeeded is it told: shells try each folder of the path.
            process.next = Some(Next { called, program, arguments });
        }
    }

    fn connects(&self, pid: Pid, actor: &str, at: u64, length: u64) {
        match tracee::address(pid, at, length) {
            Some(Address::Net(to)) => {
                self.sinkhole.expect(actor, to);
                let asks_names = to.port() == 53 && to.ip().is_loopback();
                // A connection to no port only asks which address would be used (RFC 6724).
                if !asks_names && to.port() != 0 {
                    let name = self.sinkhole.name_of(to.ip());
                    self.journal.did(actor, Deed::Connected { target: to.to_string(), name });
                }
            }
            // The C library asks its name service cache first, everywhere.
            Some(Address::Local(path)) if path.contains("/nscd/") => {}
            Some(Address::Local(path)) if path.starts_with(WORK) || path.starts_with("/tmp/") => {}
            Some(Address::Local(target)) => {
                self.journal.did(actor, Deed::Connected { target, name: None });
            }
            None => {}
        }
    }

    fn touches(&self, actor: &str, path: String, writes: bool) {
        if self.is_own(&path, writes) {
            return;
        }
        let deed = if writes { Deed::Wrote { path } } else { Deed::Read { path } };
        self.journal.did(actor, deed);
    }

    /// Whether a file is the artifact's, the client's or the system's: reading it says nothing.
    fn is_own(&self, path: &str, writes: bool) -> bool {
        const SCRATCH: [&str; 4] = [WORK, "/tmp", "/var/tmp", "/dev"];
        const SYSTEM: [&str; 8] =
            ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc", "/proc"];
        let at = Path::new(path);
        if let Some(process) = at.strip_prefix("/proc").ok().and_then(|p| p.iter().next())
            && process.to_str().is_some_and(|p| p.parse::<u32>().is_ok())
        {
            return !matches!(at.file_name().and_then(|n| n.to_str()), Some("environ" | "mem"));
        }
        if SCRATCH.iter().any(|f| at.starts_with(f)) || at.starts_with("/proc/self") {
            return true;
        }
        if writes || path.starts_with(HOME) || path.starts_with("/etc/shadow") {
            return false;
        }
        path == "/"
            || SYSTEM.iter().any(|f| at.starts_with(f))
            || self.binds.iter().any(|bind| at.starts_with(bind) || bind.starts_with(at))
    }
}

const AT_CWD: u64 = libc::AT_FDCWD as u32 as u64;

fn options() -> Options {
    Options::PTRACE_O_EXITKILL
        | Options::PTRACE_O_TRACESECCOMP
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEEXEC
}

/// The files that a call opens or changes, and whether it writes.
fn files(pid: Pid, call: &Call, fourth: u64) -> Vec<(String, bool)> {
    let [a, b, c, ..] = call.arguments;
    let at = |folder, name| tracee::path(pid, folder, &tracee::string(pid, name));
    let writes = |flags: u64| {
        let write = (libc::O_WRONLY | libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC).cast_unsigned();
        flags & u64::from(write) != 0
    };
    match call.number {
        libc::SYS_open => vec![(at(AT_CWD, a), writes(b))],
        libc::SYS_openat => vec![(at(a, b), writes(c))],
        // open_how begins with the flags.
        libc::SYS_openat2 => vec![(at(a, b), writes(tracee::word(pid, c, 8)))],
        libc::SYS_creat | libc::SYS_truncate | libc::SYS_unlink => vec![(at(AT_CWD, a), true)],
        libc::SYS_unlinkat => vec![(at(a, b), true)],
        libc::SYS_rename => vec![(at(AT_CWD, a), true), (at(AT_CWD, b), true)],
        libc::SYS_renameat | libc::SYS_renameat2 => vec![(at(a, b), true), (at(c, fourth), true)],
        // A second name of a file is a way to read it.
        libc::SYS_link => vec![(at(AT_CWD, a), false), (at(AT_CWD, b), true)],
        libc::SYS_linkat => vec![(at(a, b), false), (at(c, fourth), true)],
        libc::SYS_symlink => vec![(at(AT_CWD, b), true)],
        libc::SYS_symlinkat => vec![(at(b, c), true)],
        _ => Vec::new(),
    }
}
