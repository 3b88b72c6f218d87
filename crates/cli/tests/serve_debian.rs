//! apt against the gateway: as a mirror, and as a proxy.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "tests say why they were skipped, and fail by panicking"
)]
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "each test uses a part of the shared support"
)]

#[path = "support/debian.rs"]
mod debian;
#[path = "support/pgp.rs"]
mod pgp;
mod support;

// What `support/debian.rs` takes from beside it.
use support::{archives, server};

use debian::Debian;
use pgp::Key;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;
use support::archives::{deb, sha256};
use support::server::{Body, Reply, Upstream};
use support::{Run, Sandbox, apt, skipped};

/// How apt is led to the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Mirror,
    Proxy,
}

/// A gateway in front of one repository; it ends when dropped.
struct Gate {
    s: Sandbox,
    child: Option<Child>,
    address: String,
}

impl Gate {
    fn start(repository: &Debian<'_>, serve: &str) -> Self {
        let mut s = Sandbox::new();
        let keyring = s.at("key.asc");
        std::fs::write(&keyring, repository.key.certificate()).unwrap();
        s.config(&format!(
            "[[upstream]]\necosystem = \"debian\"\nname = \"test\"\nurl = \"{}\"\nkeyring = \"{}\"\n\n\
             [serve]\n{serve}\n\n[patience]\nconnect-seconds = 2\nread-seconds = 3\n",
            repository.url(),
            keyring.display()
        ));
        let mut gate = Self { s, child: None, address: String::new() };
        gate.begin();
        gate
    }

    fn begin(&mut self) {
        let mut command = self.s.countersign_command(&["serve", "--listen", "127.0.0.1:0"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = String::new();
        let address = loop {
            let line =
                lines.next().unwrap_or_else(|| panic!("it does not serve:\n{said}")).unwrap();
            if let Some(at) = line.trim().strip_prefix("listening") {
                break at.trim().trim_start_matches("http://").to_owned();
            }
            said.push_str(&line);
            said.push('\n');
        };
        // What else it says is read, so that it never waits for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        (self.child, self.address) = (Some(child), address);
    }

    fn restart(&mut self) {
        self.stop();
        self.begin();
    }

    fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let pid = rustix::process::Pid::from_raw(child.id().cast_signed()).unwrap();
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            child.wait().unwrap();
        }
    }

    /// Asks for a path below the repository's root: status line with headers, and body.
    fn ask(&self, path: &str, headers: &str) -> (String, Vec<u8>) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let request = format!(
            "GET /debian/test/{path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{headers}\r\n",
            self.address
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        let end = all.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
        (String::from_utf8_lossy(&all[..end]).to_lowercase(), all[end + 4..].to_vec())
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.stop();
    }
}

/// An apt of its own that knows one source; `None` without apt.
struct Apt {
    s: Sandbox,
}

impl Apt {
    fn new(repository: &Debian<'_>, gate: &Gate, way: Way) -> Option<Self> {
        if skipped("apt-get", apt()) {
            return None;
        }
        let mut s = Sandbox::new();
        let root = s.at("apt");
        for folder in ["state/lists/partial", "cache/archives/partial", "etc/parts", "log"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        let keyring = root.join("key.asc");
        std::fs::write(&keyring, repository.key.certificate()).unwrap();
        std::fs::write(root.join("status"), "").unwrap();
        let (address, proxy) = match way {
            Way::Mirror => (format!("http://{}/debian/test", gate.address), String::new()),
            Way::Proxy => {
                (repository.url(), format!("Acquire::http::Proxy \"http://{}\";\n", gate.address))
            }
        };
        let options = format!("[arch=amd64 signed-by={}]", keyring.display());
        std::fs::write(
            root.join("sources.list"),
            format!(
                "deb {options} {address} stable main\ndeb-src {options} {address} stable main\n"
            ),
        )
        .unwrap();
        let text = format!(
            "Dir::State \"{0}/state/\";\nDir::State::status \"{0}/status\";\nDir::Cache \"{0}/cache/\";\nDir::Log \"{0}/log/\";\n\
             Dir::Etc \"{0}/etc/\";\nDir::Etc::parts \"{0}/etc/parts/\";\nDir::Etc::sourcelist \"{0}/sources.list\";\n\
             Dir::Etc::sourceparts \"{0}/etc/parts/\";\nDir::Etc::preferencesparts \"{0}/etc/parts/\";\n\
             APT::Architecture \"amd64\";\nAPT::Architectures {{ \"amd64\"; }};\nAcquire::Retries \"0\";\n\
             Acquire::Languages \"none\";\nAPT::Sandbox::User \"\";\n{proxy}",
            root.display()
        );
        let config = root.join("apt.conf");
        std::fs::write(&config, text).unwrap();
        s.env("APT_CONFIG", &config).env("DEBIAN_FRONTEND", "noninteractive");
        Some(Self { s })
    }

    fn run(&self, args: &[&str]) -> Run {
        support::finish(self.s.command(apt().unwrap(), args), b"", Duration::from_secs(60))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.s.work().join(name)
    }

    #[track_caller]
    fn has(&self, name: &str, bytes: &[u8]) {
        let got = std::fs::read(self.file(name)).unwrap_or_else(|e| panic!("`{name}`: {e}"));
        assert!(got == bytes, "`{name}` has other bytes");
    }
}

/// Nothing is asked again within a test, or everything at each request.
const LONG: &str = "index-seconds = 3600";
const AT_ONCE: &str = "index-seconds = 0";

const IN_RELEASE: &str = "dists/stable/InRelease";

#[test]
fn apt_updates_and_downloads_packages_and_sources() {
    for way in [Way::Mirror, Way::Proxy] {
        let up = Upstream::start();
        let repository = Debian::new(&up);
        repository.add("hello", "1.0-1").add_source("hello", "1.0-1");
        let gate = Gate::start(&repository, LONG);
        for _ in 0..2 {
            let Some(apt) = Apt::new(&repository, &gate, way) else { return };
            apt.run(&["update"]).expect(0);
            apt.run(&["download", "hello"]).expect(0);
            apt.has("hello_1.0-1_all.deb", &deb("hello", "1.0-1"));
            apt.run(&["source", "--download-only", "hello"]).expect(0);
            for name in ["hello_1.0-1.dsc", "hello_1.0.orig.tar.gz", "hello_1.0-1.debian.tar.gz"] {
                assert!(apt.file(name).is_file(), "{way:?}: {name}");
            }
            // There is nothing new, and apt is told so.
            let again = apt.run(&["update"]);
            again.expect(0).says("Hit:1");
        }
        assert_eq!(up.count(&format!("/debian/{IN_RELEASE}")), 1, "{way:?}: one for all");
        let lists: Vec<String> =
            up.seen().into_iter().map(|s| s.path).filter(|p| p.contains("/by-hash/")).collect();
        assert_eq!(lists.len(), 2, "{way:?}: {lists:?}");
        gate.s.expect_decision("pkg:deb/debian/hello@1.0-1?arch=all", "admit", "");
        gate.s.expect_decision("pkg:deb/debian/hello@1.0-1?arch=source", "admit", "");
    }
}

#[test]
fn other_bytes_than_the_signed_lists_say_reach_no_client() {
    for way in [Way::Mirror, Way::Proxy] {
        let up = Upstream::start();
        let repository = Debian::new(&up);
        repository.add("hello", "1.0-1").add_source("hello", "1.0-1");
        let gate = Gate::start(&repository, LONG);
        let Some(apt) = Apt::new(&repository, &gate, way) else { return };
        apt.run(&["update"]).expect(0);
        let mut other = deb("hello", "1.0-1");
        // The time of the first member.
        other[24] = b'9';
        up.put(&Debian::deb_path("hello", "1.0-1"), Reply::file(other));
        let run = apt.run(&["download", "hello"]);
        assert_ne!(run.code, 0, "{}", run.transcript());
        run.says("digest-mismatch");
        assert!(!apt.file("hello_1.0-1_all.deb").exists());
        let dsc = format!("/debian/{}", Debian::pool("hello_1.0-1.dsc"));
        up.break_with(&dsc, |reply| match reply.body {
            Body::Bytes(bytes) => {
                let mut other = bytes.to_vec();
                *other.last_mut().unwrap() ^= 1;
                Reply::file(other)
            }
            Body::Padded { .. } => panic!("a description is small"),
        });
        let run = apt.run(&["source", "--download-only", "hello"]);
        assert_ne!(run.code, 0, "{}", run.transcript());
        run.says("digest-mismatch");
        assert!(!apt.file("hello_1.0-1.dsc").exists());
        assert!(gate.s.blobs().len() <= 2, "only the archives that were right");
    }
}

#[test]
fn tampered_lists_reach_no_client() {
    let up = Upstream::start();
    let repository = Debian::new(&up);
    repository.add("hello", "1.0-1");
    let tamper = |path: &str| up.put(path, Reply::file(b"Package: evil\nVersion: 1\n".to_vec()));
    let (by_hash, plain): (Vec<_>, Vec<_>) =
        repository.list_paths().into_iter().partition(|p| p.contains("by-hash"));
    plain.iter().for_each(|p| tamper(p));
    {
        let gate = Gate::start(&repository, LONG);
        let Some(apt) = Apt::new(&repository, &gate, Way::Mirror) else { return };
        apt.run(&["update"]).expect(0);
        // By its digest the list can still be had: the gate asks that way, however it is asked.
        let (status, body) = gate.ask("dists/stable/main/binary-amd64/Packages", "");
        assert!(status.starts_with("http/1.1 200"), "{status}");
        assert!(body.starts_with(b"Package: hello"), "{}", String::from_utf8_lossy(&body));
    }
    by_hash.iter().for_each(|p| tamper(p));
    for way in [Way::Mirror, Way::Proxy] {
        let gate = Gate::start(&repository, LONG);
        let Some(apt) = Apt::new(&repository, &gate, way) else { return };
        let run = apt.run(&["update"]);
        assert_ne!(run.code, 0, "{}", run.transcript());
        run.says("digest-mismatch");
    }
}

#[test]
fn releases_that_may_not_be_used_reach_no_client() {
    let up = Upstream::start();
    let repository = Debian::new(&up);
    repository.add("hello", "1.0-1").valid_for(-60);
    let gate = Gate::start(&repository, AT_ONCE);
    let Some(apt) = Apt::new(&repository, &gate, Way::Mirror) else { return };
    let expired = apt.run(&["update"]);
    assert_ne!(expired.code, 0, "{}", expired.transcript());
    expired.says("index-untrusted");

    repository.valid_for(3600).add("hello", "2.0-1");
    apt.run(&["update"]).expect(0);
    // An older Release, and one by somebody else: the good one stays.
    for spoil in [true, false] {
        if spoil {
            repository.publish_older();
        } else {
            repository.publish_by(&Key::new("Somebody else <else@example.org>"));
        }
        let Some(fresh) = Apt::new(&repository, &gate, Way::Mirror) else { return };
        fresh.run(&["update"]).expect(0);
        fresh.run(&["download", "hello"]).expect(0);
        fresh.has("hello_2.0-1_all.deb", &deb("hello", "2.0-1"));
    }
}

#[test]
fn what_was_verified_is_served_while_the_upstream_is_down() {
    let up = Upstream::start();
    let repository = Debian::new(&up);
    repository.add("hello", "1.0-1").add("other", "1.0-1");
    let mut gate = Gate::start(&repository, "index-seconds = 1");
    let Some(apt) = Apt::new(&repository, &gate, Way::Mirror) else { return };
    apt.run(&["update"]).expect(0);
    apt.run(&["download", "hello"]).expect(0);
    // Nothing is at any address any more: the upstream listens and hangs up.
    for seen in up.seen() {
        up.put(&seen.path, Reply::error(503));
    }
    for name in ["hello", "other"] {
        up.put(&Debian::deb_path(name, "1.0-1"), Reply::error(503));
    }
    std::thread::sleep(Duration::from_millis(1100));
    gate.restart();
    let Some(apt) = Apt::new(&repository, &gate, Way::Mirror) else { return };
    apt.run(&["update"]).expect(0);
    apt.run(&["download", "hello"]).expect(0);
    apt.has("hello_1.0-1_all.deb", &deb("hello", "1.0-1"));
    let (status, _) = gate.ask(&Debian::pool("other_1.0-1_all.deb"), "");
    assert!(status.starts_with("http/1.1 503") && status.contains("retry-after"), "{status}");
    let run = apt.run(&["download", "other"]);
    assert_ne!(run.code, 0, "{}", run.transcript());
}

#[test]
fn a_broken_download_is_taken_up_where_it_ended() {
    let up = Upstream::start();
    let repository = Debian::new(&up);
    repository.add("hello", "1.0-1");
    let gate = Gate::start(&repository, LONG);
    let path = "dists/stable/main/binary-amd64/Packages";
    let (head, whole) = gate.ask(path, "");
    let tag = head.lines().find_map(|l| l.strip_prefix("etag: ")).unwrap().to_owned();
    let (head, part) = gate.ask(path, &format!("Range: bytes=10-\r\nIf-Range: {tag}\r\n"));
    assert!(head.starts_with("http/1.1 206"), "{head}");
    assert!(head.contains(&format!("content-range: bytes 10-{}/{}", whole.len() - 1, whole.len())));
    assert!(part == whole[10..], "{head}");
    let (head, _) = gate.ask(path, &format!("If-None-Match: {tag}\r\n"));
    assert!(head.starts_with("http/1.1 304"), "{head}");
    assert_eq!(tag, format!("\"{}\"", sha256(&whole)));
}

#[test]
fn nothing_but_the_repository_is_there() {
    let up = Upstream::start();
    let repository = Debian::new(&up);
    repository.add("hello", "1.0-1");
    up.put("/debian/pool/main/e/evil/evil_1_all.deb", Reply::file(deb("evil", "1")));
    up.put("/secret", Reply::ok("text/plain", "secret"));
    let gate = Gate::start(&repository, LONG);
    assert!(gate.ask(IN_RELEASE, "").0.starts_with("http/1.1 200"));
    for (path, status) in [
        ("pool/main/e/evil/evil_1_all.deb", "403"),
        ("README", "403"),
        ("dists/stable/main/binary-amd64/Packages.diff/Index", "404"),
        ("dists/stable/main/binary-amd64/by-hash/MD5Sum/00", "404"),
        ("dists/none/InRelease", "404"),
        ("../secret", "400"),
        ("%2e%2e/secret", "400"),
        ("dists/..%2f..%2fsecret", "400"),
    ] {
        let (head, body) = gate.ask(path, "");
        assert!(head.starts_with(&format!("http/1.1 {status}")), "{path}: {head}");
        assert!(!String::from_utf8_lossy(&body).contains("secret\n"), "{path}");
    }
}
