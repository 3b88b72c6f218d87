//! The stages: one program that starts itself again, each time with less power.
//!
//! | stage | is | gives up |
//! |---|---|---|
//! | `enter` | the caller's child | its namespaces |
//! | `init` | the first process of the new ones: builds, watches, ends with all below it | the old root |
//! | `confine` | the child that becomes the command | user, capabilities, calls, paths |

mod confine;
mod enter;
mod init;
mod journal;
mod mounts;
mod network;
mod sinkhole;
mod syscalls;
mod trace;
mod tracee;
mod watchdog;
mod wire;

pub(crate) use enter::MAP_PLEASE;
use std::ffi::OsString;
use std::process::{Command, ExitCode};

/// The variable in which `init` hands a step to `confine`, which does not pass it on.
const STEP_VARIABLE: &str = "COUNTERSIGN_STEP";

/// Parsers of what comes out of the jail, for fuzzing.
pub mod fuzzing {
    /// A DNS question and what the sinkhole answers.
    pub fn dns(data: &[u8]) {
        if let Some(question) = super::wire::dns_question(data) {
            let answer = super::wire::dns_answer(data, &question, std::net::Ipv4Addr::LOCALHOST);
            // It answers the question that was asked.
            assert_eq!(answer.get(..2), data.get(..2));
        }
    }

    /// The first bytes of a connection.
    pub fn stream(data: &[u8]) {
        let _ = super::wire::host(data);
        let _ = super::wire::beginning(data);
        let _ = super::wire::http_length(data);
    }
}

/// Runs a stage: what a program does that was started as [`Program`](crate::Program) says. The last
/// argument names the stage.
#[must_use]
pub fn enter(arguments: Vec<OsString>) -> ExitCode {
    let stage = arguments.last().and_then(|a| a.to_str()).unwrap_or_default();
    let ended = match stage {
        "enter" => enter::enter(),
        "init" => init::init(),
        "confine" => confine::confine(),
        other => Err(format!("there is no stage `{other}`")),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(because) => {
            // `confine` speaks on the command's own output, the others to the caller.
            journal::say_failed(stage, &because);
            ExitCode::from(125)
        }
    }
}

/// This program again, as another stage, with the arguments that lead to stages.
fn stage(name: &str) -> Command {
    let all: Vec<OsString> = std::env::args_os().skip(1).collect();
    let leading = all.split_last().map_or(&[][..], |(_, leading)| leading);
    // The link and not the path: inside the jail the path leads nowhere.
    let mut command = Command::new("/proc/self/exe");
    command.args(leading).arg(name);
    command
}
