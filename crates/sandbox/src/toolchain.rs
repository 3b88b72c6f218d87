//! The clients of this machine that install artifacts: where they are, and what the jail must show.

use crate::error::SandboxError;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A client with what it needs.
#[derive(Debug, Clone)]
pub(crate) struct Toolchain {
    /// The client's main program.
    pub(crate) program: PathBuf,
    /// Client and version, as it says itself: what a baseline holds for.
    pub(crate) version: String,
    /// Folders beside the system's own that it is in.
    pub(crate) binds: Vec<PathBuf>,
    /// The value of `PATH` in the jail.
    pub(crate) search: String,
}

const SYSTEM_PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";

impl Toolchain {
    fn new(program: PathBuf, version: String, prefixes: &[&Path]) -> Self {
        let mut binds: Vec<PathBuf> = prefixes
            .iter()
            .filter(|p| !p.starts_with("/usr") && p.components().count() > 1)
            .map(|p| p.to_path_buf())
            .collect();
        binds.dedup();
        let bins: Vec<String> = binds.iter().map(|b| b.join("bin").display().to_string()).collect();
        let search = bins.into_iter().chain([SYSTEM_PATH.to_owned()]).collect::<Vec<_>>().join(":");
        Self { program, version, binds, search }
    }

    /// Python with pip.
    pub(crate) fn python() -> Result<Self, SandboxError> {
        let ask = "import sys; print(sys.executable); print(sys.base_prefix); print(sys.version)";
        let said = say("python3", &["-c", ask])?;
        let pip = say("python3", &["-m", "pip", "--version"])?;
        let mut lines = said.lines();
        let program = PathBuf::from(lines.next().unwrap_or_default());
        let prefix = PathBuf::from(lines.next().unwrap_or_default());
        // An environment's python is a link to the one that the prefix holds.
        let program = program.canonicalize().unwrap_or(program);
        Ok(Self::new(program, format!("{pip} {}", lines.collect::<String>()), &[&prefix]))
    }

    /// Node with npm.
    pub(crate) fn npm() -> Result<Self, SandboxError> {
        let node = PathBuf::from(say("node", &["-p", "process.execPath"])?);
        let node_version = say("node", &["--version"])?;
        let npm_version = say("npm", &["--version"])?;
        let npm = found("npm")?;
        let version = format!("npm {npm_version} node {node_version}");
        let prefix = |p: &Path| p.parent().and_then(Path::parent).map(Path::to_path_buf);
        // npm is `lib/node_modules/npm/bin/npm-cli.js` of its prefix, where it is no shim.
        let real = npm.canonicalize().unwrap_or_else(|_| npm.clone());
        let at_npm = real.ancestors().nth(5).map(Path::to_path_buf).unwrap_or_default();
        let at_node = prefix(&node).unwrap_or_default();
        Ok(Self::new(npm, version, &[&at_node, &at_npm]))
    }

    /// cargo with rustc.
    pub(crate) fn cargo() -> Result<Self, SandboxError> {
        let root = PathBuf::from(say("rustc", &["--print", "sysroot"])?);
        let version = say("rustc", &["--version"])?;
        let program = root.join("bin/cargo");
        let program = if program.is_file() { program } else { found("cargo")? };
        Ok(Self::new(program, version, &[&root]))
    }

    /// dpkg.
    pub(crate) fn dpkg() -> Result<Self, SandboxError> {
        let version = say("dpkg", &["--version"])?;
        let version = version.lines().next().unwrap_or_default().to_owned();
        Ok(Self::new(found("dpkg")?, version, &[]))
    }
}

/// What a client says about itself, from the folder of nobody's project.
fn say(program: &str, arguments: &[&str]) -> Result<String, SandboxError> {
    let missing = |why: String| {
        SandboxError::NoClient(format!(
            "`{program} {}` does not work here: {why}",
            arguments.join(" ")
        ))
    };
    let ran = Command::new(program)
        .args(arguments)
        .current_dir("/")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .map_err(|e| missing(e.to_string()))?;
    if !ran.status.success() {
        return Err(missing(ran.status.to_string()));
    }
    Ok(String::from_utf8_lossy(&ran.stdout).trim().to_owned())
}

/// A program of the search path.
fn found(name: &str) -> Result<PathBuf, SandboxError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let at = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|p| p.is_file());
    at.ok_or_else(|| SandboxError::NoClient(format!("`{name}` is not there")))
}
