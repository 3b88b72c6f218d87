//! The clients of a soak: each does what clients do, and checks what it gets.

use super::chance::Chance;
use super::debian;
use super::packages::{Kind, VERSION, file_name, is_bad, name, package, sha256};
use super::wire::{Pace, Reply, Wire};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Packages that are asked for again and again.
const KNOWN: u64 = 240;
/// Of the newest ones, so many are asked for beside them.
const WINDOW: u64 = 20;
/// How many faults are kept word by word.
const NAMED: usize = 20;

/// What all clients share.
pub(super) struct Crowd {
    port: u16,
    seed: u64,
    with_debian: bool,
    began: Instant,
    over: AtomicBool,
    requests: AtomicU64,
    statuses: Mutex<BTreeMap<u16, u64>>,
    /// The digests of all artifacts that came whole with status 200.
    served: Mutex<BTreeSet<String>>,
    wrong: Mutex<Vec<String>>,
    wrongs: AtomicU64,
}

/// What the clients have seen.
pub(super) struct Seen {
    /// Answers by status.
    pub(super) statuses: BTreeMap<u16, u64>,
    /// The digests of all artifacts that came whole with status 200.
    pub(super) served: BTreeSet<String>,
    /// What must not be, as far as it is kept.
    pub(super) wrong: Vec<String>,
    /// How often it was.
    pub(super) wrongs: u64,
}

/// The packages that may be asked for in so many seconds.
pub(super) fn packages_within(seconds: u64) -> u64 {
    KNOWN + WINDOW + seconds
}

impl Crowd {
    /// Clients of the gateway at a port.
    pub(super) fn new(port: u16, seed: u64, with_debian: bool) -> Arc<Self> {
        Arc::new(Self {
            port,
            seed,
            with_debian,
            began: Instant::now(),
            over: AtomicBool::new(false),
            requests: AtomicU64::new(0),
            statuses: Mutex::default(),
            served: Mutex::default(),
            wrong: Mutex::default(),
            wrongs: AtomicU64::new(0),
        })
    }

    /// Answers so far.
    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Has the clients end after the request that they are at.
    pub(super) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// What they have seen.
    pub(super) fn seen(&self) -> Seen {
        Seen {
            statuses: self.statuses.lock().map(|s| s.clone()).unwrap_or_default(),
            served: self.served.lock().map(|s| s.clone()).unwrap_or_default(),
            wrong: self.wrong.lock().map(|w| w.clone()).unwrap_or_default(),
            wrongs: self.wrongs.load(Ordering::Relaxed),
        }
    }

    fn wrong(&self, what: String) {
        self.wrongs.fetch_add(1, Ordering::Relaxed);
        if let Ok(mut wrong) = self.wrong.lock()
            && wrong.len() < NAMED
        {
            wrong.push(what);
        }
    }

    fn count(&self, reply: &Reply) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        if let Ok(mut statuses) = self.statuses.lock() {
            *statuses.entry(reply.status).or_default() += 1;
        }
    }
}

/// One client's way.
pub(super) fn client(crowd: &Arc<Crowd>, number: u64) {
    let chance = Chance::new(crowd.seed, number);
    let mut client = Client { crowd: crowd.clone(), chance, wire: None, tags: HashMap::new() };
    while !crowd.over.load(Ordering::Relaxed) {
        client.turn(number);
    }
}

struct Client {
    crowd: Arc<Crowd>,
    chance: Chance,
    wire: Option<Wire>,
    tags: HashMap<String, String>,
}

/// What is asked for.
struct Wanted {
    kind: Kind,
    n: u64,
}

impl Wanted {
    fn index_path(&self) -> String {
        let name = name(self.n);
        match self.kind {
            Kind::Pypi => format!("/pypi/simple/{name}/"),
            Kind::Npm => format!("/npm/{name}"),
            Kind::Cargo => format!("/cargo/so/ak/{name}"),
            Kind::Debian => "/debian/debian/dists/stable/InRelease".to_owned(),
        }
    }

    fn path(&self) -> String {
        let (name, file) = (name(self.n), file_name(self.kind, self.n));
        match self.kind {
            Kind::Pypi => format!("/pypi/files/{name}/{file}"),
            Kind::Npm => format!("/npm/{name}/-/{file}"),
            Kind::Cargo => format!("/cargo/dl/{name}/{VERSION}/download"),
            Kind::Debian => format!("/debian/debian/{}", debian::pool(self.n)),
        }
    }
}

impl Client {
    fn choose(&mut self) -> Wanted {
        let kinds = [Kind::Pypi, Kind::Npm, Kind::Cargo, Kind::Debian];
        let some = if self.crowd.with_debian { 4 } else { 3 };
        let at = usize::try_from(self.chance.below(some)).unwrap_or(0);
        let kind = kinds.get(at).copied().unwrap_or(Kind::Pypi);
        let newest = KNOWN + self.crowd.began.elapsed().as_secs();
        let n = match kind {
            Kind::Debian => self.chance.below(debian::PACKAGES),
            _ if self.chance.permille(200) => newest + self.chance.below(WINDOW) - WINDOW,
            _ => self.chance.below(KNOWN),
        };
        Wanted { kind, n }
    }

    /// One thing that a client does. What kind of client it is, its number says.
    fn turn(&mut self, number: u64) {
        let wanted = self.choose();
        let done = match number % 8 {
            0 | 1 => self.install(&wanted, Pace::Fast, true),
            2 => self.install(&wanted, Pace::Fast, false),
            3 => self.condition(&wanted),
            4 => self.part(&wanted),
            5 => self.install(&wanted, Pace::Slow, true),
            6 => self.leave(&wanted),
            _ => self.nonsense(&wanted),
        };
        if let Err(error) = done {
            self.wire = None;
            // A connection that lay idle may be closed by the gateway at any time; an answer that
            // began comes to its end.
            let closed =
                matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset);
            if !closed {
                self.crowd.wrong(format!("{}: {error}", wanted.path()));
            }
        }
    }

    fn get(&mut self, path: &str, more: &str, pace: Pace, keep: bool) -> io::Result<Reply> {
        let mut wire = match self.wire.take() {
            Some(wire) if keep => wire,
            _ => Wire::open(self.crowd.port)?,
        };
        let close = if keep { "" } else { "Connection: close\r\n" };
        wire.ask(path, &format!("User-Agent: soak/1\r\n{more}{close}"))?;
        let reply = wire.reply(pace)?;
        self.crowd.count(&reply);
        let ends = reply.header("connection").is_some_and(|c| c.eq_ignore_ascii_case("close"));
        if keep && !ends {
            self.wire = Some(wire);
        }
        Ok(reply)
    }

    /// Index, then artifact, as an installer asks.
    fn install(&mut self, wanted: &Wanted, pace: Pace, keep: bool) -> io::Result<()> {
        let reply = self.get(&wanted.index_path(), "", Pace::Fast, keep)?;
        self.check_status(wanted, &reply, &wanted.index_path());
        let reply = self.get(&wanted.path(), "", pace, keep)?;
        self.check_artifact(wanted, &reply);
        Ok(())
    }

    fn check_status(&self, wanted: &Wanted, reply: &Reply, path: &str) {
        // 403: the upstream lied, or a feed lists it; 503: the upstream failed.
        if !matches!(reply.status, 200 | 206 | 304 | 403 | 503) {
            let said = String::from_utf8_lossy(&reply.body);
            let said: String = said.chars().take(300).collect();
            self.crowd.wrong(format!("{path} is {}: {said}", reply.status));
        }
        if reply.status == 503 && reply.header("retry-after").is_none() {
            self.crowd.wrong(format!("{path} is 503 without Retry-After"));
        }
        let bad = is_bad(wanted.kind, wanted.n) && *path == wanted.path();
        if bad && matches!(reply.status, 200 | 206 | 304) {
            self.crowd.wrong(format!("{path} is listed as malicious and was served"));
        }
    }

    fn check_artifact(&self, wanted: &Wanted, reply: &Reply) {
        self.check_status(wanted, reply, &wanted.path());
        if reply.status != 200 {
            return;
        }
        let digest = sha256(&reply.body);
        if !package(wanted.kind, wanted.n).is_ok_and(|made| made.sha256 == digest) {
            self.crowd.wrong(format!("{} came with other bytes", wanted.path()));
        }
        if let Ok(mut served) = self.crowd.served.lock() {
            served.insert(digest);
        }
    }

    /// Asks whether what it has is still what there is.
    fn condition(&mut self, wanted: &Wanted) -> io::Result<()> {
        for path in [wanted.index_path(), wanted.path()] {
            let known = self.tags.get(&path).cloned();
            let more =
                known.as_ref().map(|t| format!("If-None-Match: {t}\r\n")).unwrap_or_default();
            let reply = self.get(&path, &more, Pace::Fast, true)?;
            self.check_status(wanted, &reply, &path);
            if reply.status == 304 && known.is_none() {
                self.crowd.wrong(format!("{path} is 304 without a condition"));
            }
            if let (200, Some(tag)) = (reply.status, reply.header("etag")) {
                self.tags.insert(path.clone(), tag.to_owned());
            }
            if path == wanted.path() && reply.status == 200 {
                self.check_artifact(wanted, &reply);
            }
        }
        Ok(())
    }

    /// Asks for a part.
    fn part(&mut self, wanted: &Wanted) -> io::Result<()> {
        let (start, length) = (self.chance.below(400), 1 + self.chance.below(5000));
        let range = format!("Range: bytes={start}-{}\r\n", start + length - 1);
        let reply = self.get(&wanted.path(), &range, Pace::Fast, true)?;
        self.check_status(wanted, &reply, &wanted.path());
        let (Ok(made), 206) = (package(wanted.kind, wanted.n), reply.status) else { return Ok(()) };
        let place = |n: u64| usize::try_from(n).unwrap_or(usize::MAX).min(made.bytes.len());
        if made.bytes.get(place(start)..place(start + length)) != Some(&reply.body[..]) {
            self.crowd.wrong(format!("{} came with another part", wanted.path()));
        }
        Ok(())
    }

    /// Leaves in the middle, or before anything came.
    fn leave(&mut self, wanted: &Wanted) -> io::Result<()> {
        let mut wire = Wire::open(self.crowd.port)?;
        wire.ask(&wanted.path(), "")?;
        let after = self.chance.below(3) * self.chance.below(20_000);
        if after > 0 {
            wire.abandon(usize::try_from(after).unwrap_or(0));
        }
        Ok(())
    }

    /// Asks for what means two things, or nothing.
    fn nonsense(&mut self, wanted: &Wanted) -> io::Result<()> {
        // Refused at once: without a rest nobody else would have a turn.
        std::thread::sleep(Duration::from_millis(20));
        let path = wanted.path();
        let host = format!("Host: 127.0.0.1:{}\r\n", self.crowd.port);
        let lines = [
            format!("GET {path} HTTP/1.1\r\nHost: elsewhere.example\r\n\r\n"),
            format!("GET /pypi/%2e%2e{path} HTTP/1.1\r\n{host}\r\n"),
            format!(
                "GET {path} HTTP/1.1\r\n{host}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            ),
            format!("PUT {path} HTTP/1.1\r\n{host}Content-Length: 0\r\n\r\n"),
            format!("GET http://files.example{path} HTTP/1.1\r\n{host}\r\n"),
            "\x16\x03\x01\x02\0\x01\0\r\n\r\n".to_owned(),
            format!("GET {path} HTTP/1.1\r\n{host}X-A: {}\r\n\r\n", "a".repeat(60_000)),
        ];
        let at = usize::try_from(self.chance.below(lines.len() as u64)).unwrap_or(0);
        let line = lines.get(at).map(String::as_str).unwrap_or_default();
        let mut wire = Wire::open(self.crowd.port)?;
        wire.send(line.as_bytes())?;
        match wire.reply(Pace::Fast) {
            Ok(reply) => {
                self.crowd.count(&reply);
                if !(400..500).contains(&reply.status) {
                    self.crowd.wrong(format!("nonsense {at} is {}", reply.status));
                }
            }
            // The connection is ended on what is no HTTP.
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {}
            Err(e) => return Err(e),
        }
        Ok(())
    }
}
