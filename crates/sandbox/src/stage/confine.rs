//! The last stage: it gives up everything and becomes the command.

use super::{STEP_VARIABLE, syscalls};
use crate::spec::{HOME, Limits, Step, USER, WORK};
use landlock::{
    ABI, Access as _, AccessFs, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetStatus, Scope, path_beneath_rules,
};
use nix::sys::ptrace;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{Signal, raise};
use nix::unistd::{Gid, Uid, geteuid, setgroups, setresgid, setresuid, setsid};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
use serde::{Deserialize, Serialize};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

/// A step with what confines it.
#[derive(Serialize, Deserialize)]
pub(super) struct Confined {
    pub(super) step: Step,
    pub(super) limits: Limits,
    pub(super) variables: Vec<(String, String)>,
    /// The client's folders, which may be read and run.
    pub(super) binds: Vec<PathBuf>,
}

/// Becomes the command. Returns only when it could not.
pub(super) fn confine() -> Result<(), String> {
    let text = std::env::var(STEP_VARIABLE).map_err(|_| "there is no step".to_owned())?;
    let confined: Confined = serde_json::from_str(&text).map_err(|e| format!("no step: {e}"))?;
    let Confined { step, limits, variables, binds } = confined;
    let (program, arguments) = step.command.split_first().ok_or("a step without a command")?;
    bound(&limits).map_err(|e| format!("limits cannot be set: {e}"))?;
    setsid().map_err(|e| format!("no session of its own: {e}"))?;
    become_nobody()?;
    std::env::set_current_dir(&step.folder)
        .map_err(|e| format!("`{}` cannot be entered: {e}", step.folder))?;
    keep_to_paths(&binds)?;
    let filters = syscalls::filters()?;
    // The supervisor is the tracer: it learns here that the child is one, and lets it go on.
    ptrace::traceme().map_err(|e| format!("cannot be watched: {e}"))?;
    raise(Signal::SIGSTOP).map_err(|e| format!("cannot wait for the supervisor: {e}"))?;
    let mut command = Command::new(program);
    command.args(arguments).env_clear();
    command.env("HOME", HOME).env("USER", "dev").env("LOGNAME", "dev").env("SHELL", "/bin/bash");
    command.env("LANG", "C.UTF-8").env("TMPDIR", "/tmp").env("TERM", "dumb");
    command.env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin");
    command.envs(variables).envs(step.environment);
    for filter in &filters {
        seccompiler::apply_filter(filter).map_err(|e| format!("calls cannot be filtered: {e}"))?;
    }
    Err(format!("`{program}` cannot be started: {}", command.exec()))
}

fn bound(limits: &Limits) -> nix::Result<()> {
    for (resource, most) in [
        (Resource::RLIMIT_CORE, 0),
        (Resource::RLIMIT_DATA, limits.memory),
        (Resource::RLIMIT_FSIZE, limits.disk),
        (Resource::RLIMIT_MEMLOCK, 1 << 20),
        (Resource::RLIMIT_MSGQUEUE, 0),
        (Resource::RLIMIT_NOFILE, 4096),
        (Resource::RLIMIT_NPROC, limits.processes),
        (Resource::RLIMIT_SIGPENDING, 1024),
    ] {
        // A limit that the caller has already and that is lower stays.
        let most = most.min(nix::sys::resource::getrlimit(resource)?.1);
        setrlimit(resource, most, most)?;
    }
    Ok(())
}

fn become_nobody() -> Result<(), String> {
    let failed = |e: rustix::io::Errno| format!("capabilities cannot be given up: {e}");
    rustix::thread::clear_ambient_capability_set().map_err(failed)?;
    for one in CapabilitySet::all().iter() {
        match rustix::thread::remove_capability_from_bounding_set(one) {
            // The kernel does not know this one yet.
            Ok(()) | Err(rustix::io::Errno::INVAL) => {}
            Err(e) => return Err(failed(e)),
        }
    }
    if geteuid().is_root() {
        let failed = |e| format!("the user cannot be changed: {e}");
        setgroups(&[]).map_err(failed)?;
        let (user, group) = (Uid::from_raw(USER), Gid::from_raw(USER));
        setresgid(group, group, group).map_err(failed)?;
        setresuid(user, user, user).map_err(failed)?;
    }
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
        .map_err(failed)
}

/// A second wall behind the mounts, which also keeps signals and abstract sockets inside.
fn keep_to_paths(binds: &[PathBuf]) -> Result<(), String> {
    let failed = |e: landlock::RulesetError| format!("paths cannot be confined: {e}");
    let abi = ABI::V6;
    let read =
        ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/proc", "/dev"];
    let read = read.into_iter().map(PathBuf::from).chain(binds.iter().cloned());
    let write = [HOME, WORK, "/tmp", "/var/tmp", "/dev/shm"];
    let devices = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(abi))
        .and_then(|r| r.scope(Scope::from_all(abi)))
        .and_then(|r| r.create())
        // Folders may be listed everywhere: nothing secret has a name in the jail.
        .and_then(|r| r.add_rules(path_beneath_rules(["/"], AccessFs::ReadDir)))
        .and_then(|r| r.add_rules(path_beneath_rules(read, AccessFs::from_read(abi))))
        .and_then(|r| r.add_rules(path_beneath_rules(write, AccessFs::from_all(abi))))
        .and_then(|r| {
            let access = AccessFs::ReadFile | AccessFs::WriteFile;
            r.add_rules(path_beneath_rules(devices, access))
        })
        .and_then(|r| r.restrict_self())
        .map_err(failed)?;
    match status.ruleset {
        RulesetStatus::NotEnforced => Err("the kernel has no Landlock".to_owned()),
        RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => Ok(()),
    }
}

/// Whether the kernel has Landlock: asked before anything is built.
pub(super) fn landlock_is_there() -> Result<(), String> {
    // Landlock has been there since 5.13, and may be left out of the kernel or its command line.
    let made = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::Execute)
        .and_then(|r| r.create());
    made.map(drop).map_err(|_| "the kernel has no Landlock, or it is off".to_owned())
}
