//! The first stage: into namespaces of its own.

use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{getegid, geteuid};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};
use std::io::{Read as _, Write as _};
use std::process::Stdio;

use crate::spec::USER;

/// What the caller is told first when it has to write the maps of users, and answers with a line.
pub(crate) const MAP_PLEASE: &str = "map";
/// What it is told first when the maps stand.
const MAPPED: &str = "mapped";

/// Enters new namespaces and starts `init` in them. The specification comes on standard input.
pub(super) fn enter() -> Result<(), String> {
    // Whoever started this is the only one that knows when it must end.
    set_pdeathsig(Signal::SIGKILL).map_err(|e| format!("cannot be tied to its caller: {e}"))?;
    let (user, group) = (geteuid(), getegid());
    let spaces = CloneFlags::CLONE_NEWUSER
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWCGROUP;
    unshare(spaces).map_err(|e| format!("the kernel gives no namespaces to this user: {e}"))?;
    let mut input = std::io::stdin().lock();
    if user.is_root() {
        // Root's code must not stay root outside: the caller maps another user as well.
        println(MAP_PLEASE);
        let mut line = [0; 3];
        input.read_exact(&mut line).map_err(|e| format!("no map of users came: {e}"))?;
    } else {
        map("setgroups", "deny")?;
        map("uid_map", &format!("{USER} {user} 1"))?;
        map("gid_map", &format!("{USER} {group} 1"))?;
        keep_capabilities()?;
        println(MAPPED);
    }
    let mut spec = Vec::new();
    input.read_to_end(&mut spec).map_err(|e| format!("no specification came: {e}"))?;
    start_init(&spec)
}

fn map(file: &str, text: &str) -> Result<(), String> {
    std::fs::write(format!("/proc/self/{file}"), text)
        .map_err(|e| format!("users cannot be mapped ({file}): {e}"))
}

/// A user who is not root loses the new namespace's capabilities with the next program, unless they
/// are ambient.
fn keep_capabilities() -> Result<(), String> {
    let failed = |e| format!("capabilities cannot be kept: {e}");
    let have = capabilities(None).map_err(failed)?;
    let keep = have.permitted;
    let sets = CapabilitySets { inheritable: keep, ..have };
    set_capabilities(None, sets).map_err(failed)?;
    for one in keep.iter().filter(|c| CapabilitySet::all().contains(*c)) {
        rustix::thread::configure_capability_in_ambient_set(one, true).map_err(failed)?;
    }
    Ok(())
}

fn start_init(spec: &[u8]) -> Result<(), String> {
    let failed = |e: std::io::Error| format!("the supervisor cannot be started: {e}");
    let mut init = super::stage("init").stdin(Stdio::piped()).spawn().map_err(failed)?;
    if let Some(mut input) = init.stdin.take() {
        input.write_all(spec).map_err(failed)?;
    }
    let ended = init.wait().map_err(failed)?;
    if ended.success() { Ok(()) } else { Err(format!("the supervisor ended early: {ended}")) }
}

fn println(line: &str) {
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
