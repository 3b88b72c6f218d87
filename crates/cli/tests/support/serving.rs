//! A running `countersign serve`.

use super::Sandbox;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Something that takes longer does not come.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A running gateway; it is killed when dropped.
pub struct Serving {
    child: Child,
    said: Arc<Mutex<String>>,
}

impl Serving {
    pub fn start(s: &Sandbox, args: &[&str]) -> Self {
        let mut words = vec!["serve", "--listen", "127.0.0.1:0"];
        words.extend(args);
        Self::of(s.countersign_command(&words))
    }

    /// Starts it by a line of the shell, in which `exec "$@"` stands for it.
    pub fn start_by(s: &Sandbox, line: &str, args: &[&str]) -> Self {
        let mut words = vec!["-c", line, "sh", env!("CARGO_BIN_EXE_countersign"), "serve"];
        words.extend(["--listen", "127.0.0.1:0"]);
        words.extend(args);
        Self::of(s.command(std::path::Path::new("/bin/sh"), &words))
    }

    fn of(mut command: std::process::Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let (mut from, into) = (child.stderr.take().unwrap(), said.clone());
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = from.read(&mut buffer) {
                into.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..n]));
            }
        });
        Self { child, said }
    }

    pub fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    #[track_caller]
    pub fn wait_for(&self, text: &str) -> &Self {
        let end = Instant::now() + PATIENCE;
        while !self.said().contains(text) {
            assert!(Instant::now() < end, "`{text}` was not said:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(10));
        }
        self
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.child.id().cast_signed()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Where it listens.
    #[track_caller]
    pub fn address(&self) -> String {
        self.wait_for("listening  http://").wait_for("  key ");
        let said = self.said();
        let rest = said.split("listening  http://").nth(1).unwrap();
        rest.lines().next().unwrap().trim().to_owned()
    }

    /// Asks it to read everything again, and waits for the answer.
    #[track_caller]
    pub fn reload(&self, answer: &str) {
        self.said.lock().unwrap().clear();
        self.signal(rustix::process::Signal::HUP);
        self.wait_for(answer);
    }

    #[track_caller]
    pub fn end(mut self) -> String {
        self.signal(rustix::process::Signal::TERM);
        let end = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < end, "it does not end:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(10));
        };
        assert_eq!(status.code(), Some(0), "{}", self.said());
        self.said()
    }
}

/// A request to a gateway, as plain as can be: the status, and all that came.
pub fn get(address: &str, path: &str, token: Option<&str>) -> (u16, String) {
    let login = token.map(|t| format!("authorization: Bearer {t}\r\n")).unwrap_or_default();
    get_with(address, path, &login)
}

/// A request with more headers, each with its line end.
pub fn get_with(address: &str, path: &str, headers: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let head =
        format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n{headers}connection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    // A server that ends the connection early has said what there was to say.
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let status = text.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
    (status, text)
}

impl Serving {
    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it, as a power cut would.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // Ended already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
