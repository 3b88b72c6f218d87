//! Asking programs: where they lie, and what they have built in.

use std::ffi::OsStr;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// What was learned of a program before, kept as long as the program does not change.
pub trait Memory {
    /// What is remembered under `key`.
    fn get(&mut self, key: &str) -> Option<String>;
    /// Remembers `value` under `key`.
    fn put(&mut self, key: &str, value: &str);
}

/// Remembers nothing.
pub struct NoMemory;

impl Memory for NoMemory {
    fn get(&mut self, _key: &str) -> Option<String> {
        None
    }
    fn put(&mut self, _key: &str, _value: &str) {}
}

/// The environment of a question: whatever a client makes of it, it must not fetch anything. Port 9
/// is the discard service (RFC 863), at which nothing listens.
pub const NO_NETWORK: [(&str, &str); 12] = [
    ("NO_PROXY", ""),
    ("no_proxy", ""),
    ("npm_config_update_notifier", "false"),
    ("npm_config_noproxy", "countersign.invalid"),
    ("PIP_PROXY", "http://127.0.0.1:9"),
    ("npm_config_proxy", "http://127.0.0.1:9"),
    ("npm_config_https_proxy", "http://127.0.0.1:9"),
    ("HTTP_PROXY", "http://127.0.0.1:9"),
    ("HTTPS_PROXY", "http://127.0.0.1:9"),
    ("http_proxy", "http://127.0.0.1:9"),
    ("https_proxy", "http://127.0.0.1:9"),
    ("ALL_PROXY", "http://127.0.0.1:9"),
];

/// A file in a folder of shims that says so.
pub const SHIMS_MARK: &str = ".countersign-shims";

/// Finds a program as the shell would, but for the shims that `countersign setup` puts before it.
pub fn which(program: &OsStr) -> Option<PathBuf> {
    let path = Path::new(program);
    if path.components().count() > 1 {
        return path.is_file().then(|| path.to_path_buf());
    }
    on_path(program).find(|p| !is_shim(p))
}

/// Finds a program as the shell would, and be it a shim.
pub fn first_on_path(program: &OsStr) -> Option<PathBuf> {
    on_path(program).next()
}

/// Whether a program lies in a folder of shims.
pub fn is_shim(program: &Path) -> bool {
    program.parent().is_some_and(|d| d.join(SHIMS_MARK).is_file())
}

fn on_path(program: &OsStr) -> impl Iterator<Item = PathBuf> {
    let dirs = std::env::var_os("PATH").unwrap_or_default();
    let all: Vec<PathBuf> = std::env::split_paths(&dirs).map(|d| d.join(program)).collect();
    let runs = |m: std::fs::Metadata| m.is_file() && m.permissions().mode() & 0o111 != 0;
    all.into_iter().filter(move |p| p.metadata().is_ok_and(runs))
}

/// The program that is meant by a name whose shim comes first on the path.
pub fn behind_shim(program: &OsStr) -> Option<PathBuf> {
    let bare = Path::new(program).components().count() == 1;
    let shimmed = bare && first_on_path(program).is_some_and(|p| is_shim(&p));
    shimmed.then(|| which(program)).flatten()
}

/// A key that changes whenever the program's file does.
pub fn identity(program: &Path) -> String {
    let real = program.canonicalize().unwrap_or_else(|_| program.to_path_buf());
    match real.metadata() {
        Ok(m) => format!("{} {} {}.{}", real.display(), m.len(), m.mtime(), m.mtime_nsec()),
        Err(_) => real.display().to_string(),
    }
}

/// Runs a program without a terminal and gives what it printed, if it ended well.
pub fn output(program: &OsStr, args: &[&str]) -> Result<String, String> {
    output_in(program, args, &[], Path::new("."))
}

/// The same in a folder, with more in its environment.
pub fn output_in(
    program: &OsStr,
    args: &[&str],
    env: &[(String, String)],
    folder: &Path,
) -> Result<String, String> {
    let shown = program.to_string_lossy();
    // A path is meant from where the user is.
    let path = Path::new(program);
    let whole = (path.components().count() > 1).then(|| std::path::absolute(path));
    let whole = whole.and_then(Result::ok).unwrap_or_else(|| path.to_path_buf());
    let out = std::process::Command::new(whole)
        .args(args)
        .current_dir(folder)
        .envs(NO_NETWORK)
        .envs(env.iter().map(|(n, v)| (n, v)))
        .stdin(std::process::Stdio::null())
        .output()
        .map_err(|e| format!("`{shown}` cannot be started: {e}"))?;
    if !out.status.success() {
        // pnpm and yarn say on their standard output what went wrong.
        let (why, more) =
            (String::from_utf8_lossy(&out.stderr), String::from_utf8_lossy(&out.stdout));
        let said = why.lines().chain(more.lines()).find(|l| !l.trim().is_empty());
        return Err(format!(
            "`{shown} {}` failed: {}",
            args.join(" "),
            said.unwrap_or("it says nothing")
        ));
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}
