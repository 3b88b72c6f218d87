//! The first process of the new namespaces: it builds the jail, watches it, and ends it by ending.

use super::confine::{Confined, landlock_is_there};
use super::journal::Journal;
use super::sinkhole::Sinkhole;
use super::trace::{Ended, Tracer};
use super::watchdog::{Watchdog, end_all};
use super::{STEP_VARIABLE, mounts, network, tracee};
use crate::event::Event;
use crate::spec::{Spec, Step};
use nix::sys::prctl::{set_dumpable, set_pdeathsig};
use nix::sys::signal::Signal;
use nix::unistd::sethostname;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

/// How long what a step leaves behind may run on, to be seen at work.
const GRACE: Duration = Duration::from_secs(2);

/// What is kept of a step's output: its end.
const OUTPUT: u64 = 16 << 10;

/// Builds the jail and runs the steps.
pub(super) fn init() -> Result<(), String> {
    set_pdeathsig(Signal::SIGKILL).map_err(|e| format!("cannot be tied to its caller: {e}"))?;
    let mut text = Vec::new();
    std::io::stdin().read_to_end(&mut text).map_err(|e| format!("no specification: {e}"))?;
    let spec: Spec = serde_json::from_slice(&text).map_err(|e| format!("no specification: {e}"))?;
    if !tracee::READABLE {
        return Err(format!("calls cannot be watched on {}", std::env::consts::ARCH));
    }
    landlock_is_there()?;
    mounts::build(&spec)?;
    network::raise()?;
    sethostname("dev").map_err(|e| format!("the host's name cannot be hidden: {e}"))?;
    // Processes of the same user could read this one's memory otherwise.
    set_dumpable(false).map_err(|e| format!("the supervisor cannot be hidden: {e}"))?;
    let journal = Arc::new(Journal::new(spec.limits.deeds));
    let sinkhole = Sinkhole::open(Arc::clone(&journal), spec.canaries.clone())?;
    let watchdog = Watchdog::start(Arc::clone(&journal), spec.limits);
    let walls = ["namespaces", "landlock", "seccomp", "limits", "sinkhole"];
    journal.say(Event::Ready { walls: walls.map(str::to_owned).to_vec() });
    let mut tracer = Tracer::new(Arc::clone(&journal), sinkhole, Arc::clone(&watchdog), &spec);
    for step in &spec.steps {
        let succeeded = run(&spec, step, &journal, &watchdog, &mut tracer)?;
        if watchdog.is_over() || !(succeeded || step.may_fail) {
            break;
        }
    }
    end_all();
    journal.close();
    Ok(())
}

/// Runs one step to its end and the end of all that it started. Returns whether it succeeded.
fn run(
    spec: &Spec,
    step: &Step,
    journal: &Journal,
    watchdog: &Watchdog,
    tracer: &mut Tracer,
) -> Result<bool, String> {
    let failed = |e: std::io::Error| format!("the step `{}` cannot be started: {e}", step.name);
    journal.say(Event::Step { name: step.name.clone() });
    let confined = Confined {
        step: step.clone(),
        limits: spec.limits,
        variables: spec.canaries.variables.clone(),
        binds: spec.binds.clone(),
    };
    let confined = serde_json::to_string(&confined).map_err(|e| failed(e.into()))?;
    let flags = rustix::fs::MemfdFlags::CLOEXEC;
    let output = rustix::fs::memfd_create("output", flags).map_err(|e| failed(e.into()))?;
    let mut output = File::from(output);
    let child = super::stage("confine")
        .env(STEP_VARIABLE, confined)
        .stdin(Stdio::null())
        .stdout(output.try_clone().map_err(failed)?)
        .stderr(output.try_clone().map_err(failed)?)
        .spawn()
        .map_err(failed)?;
    let Ended { code, left } = tracer.follow(child.id(), || watchdog.sweep_after(GRACE))?;
    watchdog.swept();
    let output = tail(&mut output).map_err(failed)?;
    journal.say(Event::Ended { name: step.name.clone(), code, output, left });
    Ok(code == Some(0))
}

fn tail(output: &mut File) -> std::io::Result<String> {
    let length = output.seek(SeekFrom::End(0))?;
    output.seek(SeekFrom::Start(length.saturating_sub(OUTPUT)))?;
    let mut bytes = Vec::new();
    output.take(OUTPUT).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
