//! The caller's side of a run.

use crate::error::SandboxError;
use crate::event::{Event, Recorded};
use crate::spec::{Spec, USER};
use crate::stage::MAP_PLEASE;
use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// The program whose stages run: it calls [`enter`](crate::enter) when it is started with these
/// arguments and one more.
#[derive(Debug, Clone)]
pub struct Program {
    /// The program.
    pub path: PathBuf,
    /// The arguments that lead to the stages.
    pub arguments: Vec<OsString>,
}

/// How much longer than the run's own limit the jail is waited for, before it is ended from outside.
const PATIENCE: Duration = Duration::from_secs(15);

/// Bytes of the record that are read.
const RECORD: u64 = 64 << 20;

/// The user outside that root's runs belong to: `nobody`, who owns nothing.
const NOBODY: u32 = 65534;

/// Runs the steps in a jail of their own and gives what was recorded.
///
/// It blocks until the run is over: call it from a thread that may wait, and that lives as long.
///
/// # Errors
/// When the kernel does not give a jail, or the jail ended before its record did. What the steps
/// themselves do is never an error.
pub fn run(program: &Program, spec: &Spec) -> Result<Vec<Recorded>, SandboxError> {
    let unavailable = |e: std::io::Error| SandboxError::Unavailable(e.to_string());
    let text = serde_json::to_vec(spec).map_err(|e| SandboxError::Ended(e.to_string()))?;
    let mut child = Command::new(&program.path)
        .args(&program.arguments)
        .arg("enter")
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| SandboxError::file(&program.path, e))?;
    let over = watch(spec.limits.time + PATIENCE, child.id());
    let read = talk(&mut child, &text);
    drop(over);
    // Whatever happened: without its first stage, the kernel ends the rest.
    let _ = child.kill();
    let said = errors(&mut child);
    child.wait().map_err(unavailable)?;
    judge(read.map_err(unavailable)?, &said)
}

fn talk(child: &mut Child, spec: &[u8]) -> std::io::Result<Vec<Recorded>> {
    let pid = child.id();
    let (Some(mut input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
        return Ok(Vec::new());
    };
    let mut output = BufReader::new(output.take(RECORD));
    let mut line = String::new();
    output.read_line(&mut line)?;
    if line.trim() == MAP_PLEASE {
        for file in ["uid_map", "gid_map"] {
            let map = format!("0 0 1\n{USER} {NOBODY} 1\n");
            std::fs::write(format!("/proc/{pid}/{file}"), map)?;
        }
        input.write_all(b"go\n")?;
    }
    // The jail may have ended already; then its record says why.
    let _ = input.write_all(spec);
    drop(input);
    // The first line is a failure when it is neither of the two words.
    let mut out: Vec<Recorded> = serde_json::from_str(&line).into_iter().collect();
    for line in output.lines() {
        out.extend(serde_json::from_str(&line?));
    }
    Ok(out)
}

/// Ends the process when the time is over, unless what is returned is dropped before.
fn watch(time: Duration, pid: u32) -> mpsc::Sender<()> {
    let (over, waits) = mpsc::channel::<()>();
    std::thread::spawn(move || {
        let timed_out = waits.recv_timeout(time) == Err(mpsc::RecvTimeoutError::Timeout);
        if let (true, Some(pid)) = (timed_out, rustix::process::Pid::from_raw(pid.cast_signed())) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    });
    over
}

fn errors(child: &mut Child) -> String {
    let mut said = Vec::new();
    if let Some(errors) = child.stderr.take() {
        let _ = errors.take(4096).read_to_end(&mut said);
    }
    String::from_utf8_lossy(&said).trim().to_owned()
}

fn judge(record: Vec<Recorded>, said: &str) -> Result<Vec<Recorded>, SandboxError> {
    let failed = record.iter().find_map(|r| match &r.event {
        Event::Failed { because } => Some(because.clone()),
        _ => None,
    });
    let stood = record.iter().any(|r| matches!(r.event, Event::Ready { .. }));
    match (stood, failed) {
        (true, None) => Ok(record),
        (true, Some(because)) => Err(SandboxError::Ended(because)),
        (false, Some(because)) => Err(SandboxError::Unavailable(because)),
        (false, None) if said.is_empty() => {
            Err(SandboxError::Unavailable("it said nothing".to_owned()))
        }
        (false, None) => Err(SandboxError::Unavailable(said.to_owned())),
    }
}
