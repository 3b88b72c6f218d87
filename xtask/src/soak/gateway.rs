//! The gateway under soak: the real program, with a state of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// The longest that it may take to start or to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running `countersign serve`; it is killed when dropped.
pub(super) struct Gateway {
    program: PathBuf,
    folder: PathBuf,
    child: Child,
    /// Where it listens on the loopback interface.
    pub(super) port: u16,
}

impl Gateway {
    /// Starts it with this configuration and feed, and waits until it is ready.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub(super) fn start(program: &Path, folder: &Path, upstreams: &str) -> Result<Self, String> {
        let port = crate::bench::free_port()?;
        let config = format!("{upstreams}{}", settings(port));
        fs::write(folder.join("countersign.toml"), config).map_err(|e| e.to_string())?;
        let log = fs::File::create(folder.join("serve.log")).map_err(|e| e.to_string())?;
        let mut command = Self::command(program, folder);
        command
            .args(["--log", "info,access=off", "serve"])
            .arg("--feed")
            .arg(folder.join("feed.zip"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = command
            .spawn()
            .map_err(|e| format!("`{}` cannot be started: {e}", program.display()))?;
        let (program, folder) = (program.to_owned(), folder.to_owned());
        let mut out = Self { program, folder, child, port };
        out.wait_until_ready()?;
        Ok(out)
    }

    fn command(program: &Path, folder: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(folder).arg("--state").arg(folder.join("state"));
        command.arg("--config").arg(folder.join("countersign.toml"));
        command
    }

    fn wait_until_ready(&mut self) -> Result<(), String> {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("the gateway ended ({status}): {}", self.said()));
            }
            let ready = super::wire::Wire::open(self.port).and_then(|mut w| {
                w.ask("/readyz", "Connection: close\r\n")?;
                w.reply(super::wire::Pace::Fast)
            });
            if ready.is_ok_and(|r| r.status == 200) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err(format!("the gateway is not ready: {}", self.said()))
    }

    /// Its process.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The end of its log.
    pub(super) fn said(&self) -> String {
        let log = fs::read_to_string(self.folder.join("serve.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines.get(lines.len().saturating_sub(8)..).unwrap_or_default().join("\n")
    }

    /// How often a text stands in its log.
    pub(super) fn said_count(&self, text: &str) -> usize {
        let log = fs::read_to_string(self.folder.join("serve.log")).unwrap_or_default();
        log.matches(text).count()
    }

    /// Has it read its configuration again.
    pub(super) fn hang_up(&self) {
        self.signal("-HUP");
    }

    fn signal(&self, signal: &str) {
        // Gone already is seen elsewhere.
        let _ = Command::new("kill").arg(signal).arg(self.pid().to_string()).status();
    }

    /// Ends it in peace.
    ///
    /// # Errors
    ///
    /// When it does not end, or not in peace.
    pub(super) fn end(&mut self) -> Result<(), String> {
        self.signal("-TERM");
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            match self.child.try_wait().map_err(|e| e.to_string())? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(self.ended_badly(status)),
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        }
        Err(format!("the gateway does not end: {}", self.said()))
    }

    fn ended_badly(&self, status: ExitStatus) -> String {
        format!("the gateway ended with {status}: {}", self.said())
    }

    /// Runs another command of the program on its state, and gives what it printed.
    ///
    /// # Errors
    ///
    /// When the command fails.
    pub(super) fn tool(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = Self::command(&self.program, &self.folder);
        let out = command.args(arguments).output().map_err(|e| e.to_string())?;
        if out.status.success() {
            return Ok(String::from_utf8_lossy(&out.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        Err(format!("`countersign {}` fails: {said}", arguments.join(" ")))
    }

    /// Writes its configuration with other lists than before.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub(super) fn reconfigure(&self, upstreams: &str, round: u64) -> std::io::Result<()> {
        let deny = format!("deny = [\"pkg:pypi/elsewhere{round}\"]\n");
        let text = format!("{deny}{upstreams}{}", settings(self.port));
        fs::write(self.folder.join("countersign.toml"), text)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Indexes are asked for often, and the caches are small enough to be full soon: what grows then,
/// leaks.
fn settings(port: u16) -> String {
    format!(
        "[patience]\nconnect-seconds = 2\nread-seconds = 3\n\n\
         [serve]\nlisten = \"127.0.0.1:{port}\"\nindex-seconds = 5\nlog = \"json\"\n\n\
         [serve.memory]\nindex-bytes = 2000000\ndocument-bytes = 1000000\n\
         compressed-bytes = 500000\nartifact-bytes = 4000000\nlargest-artifact-bytes = 500000\n"
    )
}
