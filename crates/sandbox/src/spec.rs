//! What is to run in the jail, as the stages get it.

use crate::canary::Canaries;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// A run: what lies in the jail, and the commands in their order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Spec {
    /// The commands. One that fails ends the run, unless it says otherwise.
    pub steps: Vec<Step>,
    /// Folders of this machine that can be read in the jail, beside the system's own: the client.
    pub binds: Vec<PathBuf>,
    /// Files that are copied into the jail before the first step.
    pub placed: Vec<Placed>,
    /// What a run may take.
    pub limits: Limits,
    /// Bait in the home folder and the environment.
    pub canaries: Canaries,
}

/// One command in the jail.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Step {
    /// What it does to the artifact: `install`, `start`, `import`.
    pub name: String,
    /// Program and arguments; the program is found in the jail's `PATH`.
    pub command: Vec<String>,
    /// The folder that it starts in.
    pub folder: String,
    /// The environment beside what every step has.
    pub environment: Vec<(String, String)>,
    /// Whether the next step starts even when this one failed.
    pub may_fail: bool,
}

/// A file that lies in the jail when the first step starts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Placed {
    /// Where, an absolute path in the jail.
    pub target: String,
    /// What is in it.
    pub source: Source,
}

/// Where a placed file's content comes from.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// A file of this machine.
    File(PathBuf),
    /// This text.
    Text(String),
}

/// What a run may take. Each limit stops an attack on the machine that it runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// For all steps together, against code that never ends.
    pub time: Duration,
    /// Bytes of memory of all processes together, against exhaustion.
    pub memory: u64,
    /// Bytes of all files that are written, against a full disk (they are kept in memory).
    pub disk: u64,
    /// Processes and threads at a time, against fork bombs.
    pub processes: u64,
    /// Deeds that are recorded; what is beyond is counted.
    pub deeds: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            time: Duration::from_secs(120),
            memory: 2 << 30,
            disk: 1 << 30,
            processes: 256,
            deeds: 4000,
        }
    }
}

/// The home folder in the jail.
pub(crate) const HOME: &str = "/home/dev";
/// Where the artifact is put and installed.
pub(crate) const WORK: &str = "/box";
/// The user's number in the jail.
pub(crate) const USER: u32 = 1000;
