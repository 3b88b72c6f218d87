//! The registries of a soak on one loopback port, behind a wire that fails in every way it can.

use super::chance::Chance;
use super::debian::{self, Repository};
use super::packages::{Kind, VERSION, file_name, name, package, sha256};
use serde_json::json;
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The publication time of everything: older than any cool-down.
const PUBLISHED: &str = "2024-01-01T00:00:00Z";

/// How one answer goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// It comes late.
    Delay,
    /// The connection ends without a byte.
    Reset,
    /// The body ends early.
    Cut,
    /// A status of the 500s, or 429.
    Status,
    /// Something that is no HTTP.
    Garbage,
    /// It trickles.
    Slow,
    /// Other bytes than the index promises.
    Lie,
    /// A wrong length is announced.
    Length,
}

impl Fault {
    /// Each with how often it happens in a thousand answers.
    const ODDS: [(Self, u64); 8] = [
        (Self::Delay, 30),
        (Self::Reset, 15),
        (Self::Cut, 12),
        (Self::Status, 15),
        (Self::Garbage, 6),
        (Self::Slow, 8),
        (Self::Lie, 10),
        (Self::Length, 6),
    ];

    fn choose(chance: &mut Chance) -> Option<Self> {
        let mut drawn = chance.below(1000);
        Self::ODDS.iter().find_map(|(fault, odds)| match drawn.checked_sub(*odds) {
            Some(rest) => {
                drawn = rest;
                None
            }
            None => Some(*fault),
        })
    }
}

/// What the registries hold and how often they failed.
pub(super) struct World {
    repository: Option<Repository>,
    faults: Mutex<BTreeMap<Fault, u64>>,
    connections: AtomicU64,
    over: AtomicBool,
    seed: u64,
}

/// A running upstream; it ends when dropped.
pub(super) struct Upstream {
    address: SocketAddr,
    world: Arc<World>,
}

impl Upstream {
    /// Listens on a port that the system chooses.
    ///
    /// # Errors
    ///
    /// When it cannot listen.
    pub(super) fn start(repository: Option<Repository>, seed: u64) -> Result<Self, String> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|e| e.to_string())?;
        let address = listener.local_addr().map_err(|e| e.to_string())?;
        let world = Arc::new(World {
            repository,
            faults: Mutex::default(),
            connections: AtomicU64::new(0),
            over: AtomicBool::new(false),
            seed,
        });
        let shared = world.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if shared.over.load(Ordering::Relaxed) {
                    break;
                }
                let world = shared.clone();
                let number = world.connections.fetch_add(1, Ordering::Relaxed);
                // A gateway that goes away in the middle is no fault of the upstream.
                std::thread::spawn(move || drop(serve(stream, &world, address, number)));
            }
        });
        Ok(Self { address, world })
    }

    /// The configuration that names it to the gateway.
    pub(super) fn configuration(&self) -> String {
        let root = format!("http://{}", self.address);
        let mut all = vec![
            ("pypi", format!("{root}/simple/"), String::new()),
            ("npm", format!("{root}/npm/"), String::new()),
            ("cargo", format!("{root}/index/"), String::new()),
        ];
        if let Some(repository) = &self.world.repository {
            let keyring = format!("keyring = \"{}\"\n", repository.keyring.display());
            all.push(("debian", format!("{root}/debian"), keyring));
        }
        let one = |(ecosystem, url, more): &(&str, String, String)| {
            format!(
                "[[upstream]]\necosystem = \"{ecosystem}\"\nname = \"{ecosystem}\"\nurl = \"{url}\"\n{more}\n"
            )
        };
        all.iter().map(one).collect()
    }

    /// Whether there is a Debian repository.
    pub(super) fn has_debian(&self) -> bool {
        self.world.repository.is_some()
    }

    /// How often it failed in which way.
    pub(super) fn faults(&self) -> BTreeMap<Fault, u64> {
        self.world.faults.lock().map(|f| f.clone()).unwrap_or_default()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.world.over.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(
    stream: TcpStream,
    world: &World,
    address: SocketAddr,
    number: u64,
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(120)))?;
    let mut chance = Chance::new(world.seed, 1_000_000 + number);
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    while let Some((path, condition)) = request(&mut reader)? {
        let path = path.split('?').next().unwrap_or_default().to_owned();
        let answer = answer(world, address, &path);
        let fault = Fault::choose(&mut chance);
        if let (Some(fault), Ok(mut faults)) = (fault, world.faults.lock()) {
            *faults.entry(fault).or_default() += 1;
        }
        if !send(&mut stream, answer, condition, fault, &mut chance)? {
            break;
        }
    }
    Ok(())
}

/// The path and the condition of the next request; `None` at the end.
fn request(reader: &mut BufReader<TcpStream>) -> std::io::Result<Option<(String, Option<String>)>> {
    let mut first = String::new();
    if reader.read_line(&mut first)? == 0 {
        return Ok(None);
    }
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let (mut condition, mut length) = (None, 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        match name.to_ascii_lowercase().as_str() {
            "if-none-match" => condition = Some(value.trim().to_owned()),
            "content-length" => length = value.trim().parse().unwrap_or(0),
            _ => {}
        }
    }
    std::io::copy(&mut reader.take(length), &mut std::io::sink())?;
    Ok(Some((path, condition)))
}

struct Answer {
    kind: &'static str,
    body: Vec<u8>,
    /// Whether the index says what its digest is.
    promised: bool,
}

fn answer(world: &World, address: SocketAddr, path: &str) -> Option<Answer> {
    let document =
        |kind, text: String| Some(Answer { kind, body: text.into_bytes(), promised: false });
    let file = |kind, n| {
        let body = package(kind, n).ok()?.bytes.clone();
        Some(Answer { kind: "application/octet-stream", body, promised: true })
    };
    let number = |text: &str| text.strip_prefix("soak")?.get(..5)?.parse::<u64>().ok();
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    match parts.as_slice() {
        ["simple", project] => {
            document("application/vnd.pypi.simple.v1+json", project_page(number(project)?)?)
        }
        ["files", file_name] => file(Kind::Pypi, number(file_name)?),
        ["npm", package] => document("application/json", packument(address, number(package)?)?),
        ["npm", package, "-", _] => file(Kind::Npm, number(package)?),
        ["index", "config.json"] => {
            let dl = format!("http://{address}/crates/{{crate}}/{{version}}/download");
            document("application/json", json!({"dl": dl}).to_string())
        }
        ["index", _, _, package] => document("text/plain", crate_line(number(package)?)?),
        ["crates", package, _, "download"] => file(Kind::Cargo, number(package)?),
        ["debian", rest @ ..] => {
            let path = rest.join("/");
            if let Some(list) = world.repository.as_ref()?.lists.get(&path) {
                return Some(Answer { kind: "text/plain", body: list.clone(), promised: true });
            }
            let n = number(rest.get(3)?).filter(|n| *n < debian::PACKAGES)?;
            file(Kind::Debian, n)
        }
        _ => None,
    }
}

fn project_page(n: u64) -> Option<String> {
    let (made, file) = (package(Kind::Pypi, n).ok()?, file_name(Kind::Pypi, n));
    let entry = json!({
        "filename": file, "url": format!("/files/{file}"), "size": made.bytes.len(),
        "hashes": {"sha256": made.sha256}, "upload-time": PUBLISHED,
    });
    let page = json!({
        "meta": {"api-version": "1.1"}, "name": name(n), "versions": [VERSION], "files": [entry],
    });
    Some(page.to_string())
}

fn packument(address: SocketAddr, n: u64) -> Option<String> {
    let name = name(n);
    let tarball = format!("http://{address}/npm/{name}/-/{}", file_name(Kind::Npm, n));
    let made = package(Kind::Npm, n).ok()?;
    let dist = json!({"tarball": tarball, "integrity": made.integrity});
    let version = json!({"name": name, "version": VERSION, "dist": dist});
    let document = json!({
        "name": name, "dist-tags": {"latest": VERSION}, "versions": {VERSION: version},
        "time": {VERSION: PUBLISHED},
    });
    Some(document.to_string())
}

fn crate_line(n: u64) -> Option<String> {
    let made = package(Kind::Cargo, n).ok()?;
    let line = json!({
        "name": name(n), "vers": VERSION, "deps": [], "cksum": made.sha256, "features": {},
        "yanked": false, "pubtime": PUBLISHED,
    });
    Some(format!("{line}\n"))
}

/// Sends an answer with its fault; false when the connection cannot be used again.
fn send(
    stream: &mut TcpStream,
    answer: Option<Answer>,
    condition: Option<String>,
    fault: Option<Fault>,
    chance: &mut Chance,
) -> std::io::Result<bool> {
    let Some(Answer { kind, mut body, promised }) = answer else {
        stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")?;
        return Ok(true);
    };
    let tag = format!("\"{}\"", sha256(&body));
    let mut announced = body.len();
    match fault {
        Some(Fault::Reset) => return Ok(false),
        Some(Fault::Garbage) => {
            stream.write_all(b"\x16\x03\x01 this is no answer \0\r\n\r\n")?;
            return Ok(false);
        }
        Some(Fault::Status) => {
            let status = [500, 502, 503, 429].get(usize::try_from(chance.below(4)).unwrap_or(0));
            let head =
                format!("HTTP/1.1 {} Said\r\nContent-Length: 0\r\n\r\n", status.unwrap_or(&500));
            stream.write_all(head.as_bytes())?;
            return Ok(true);
        }
        Some(Fault::Delay) => std::thread::sleep(Duration::from_millis(chance.below(400))),
        Some(Fault::Cut) => body.truncate(body.len() / 2),
        Some(Fault::Length) => announced += 7,
        // Only where the digest is known beforehand: whom else could one believe?
        Some(Fault::Lie) if promised => {
            let at = body.len() / 2;
            if let Some(byte) = body.get_mut(at) {
                *byte ^= 1;
            }
        }
        Some(Fault::Slow | Fault::Lie) | None => {}
    }
    if condition.is_some_and(|c| c == tag) && fault.is_none() {
        let head = format!("HTTP/1.1 304 Not Modified\r\nETag: {tag}\r\n\r\n");
        stream.write_all(head.as_bytes())?;
        return Ok(true);
    }
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nETag: {tag}\r\nContent-Length: {announced}\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    if fault == Some(Fault::Slow) {
        for part in body.chunks((body.len() / 20).max(1)) {
            stream.write_all(part)?;
            std::thread::sleep(Duration::from_millis(40));
        }
    } else {
        stream.write_all(&body)?;
    }
    Ok(body.len() == announced)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_come_as_often_as_they_should() {
        let mut chance = Chance::new(1, 1);
        let mut counts = BTreeMap::new();
        for _ in 0..20_000 {
            *counts.entry(Fault::choose(&mut chance)).or_insert(0u64) += 1;
        }
        for (fault, odds) in Fault::ODDS {
            let seen = counts[&Some(fault)];
            assert!((odds * 10..odds * 30).contains(&seen), "{fault:?}: {seen} of {}", odds * 20);
        }
        assert!(counts[&None] > 17_000);
    }

    #[test]
    fn what_an_index_promises_is_what_is_served() {
        let upstream = Upstream::start(None, 1).unwrap();
        let at = |path: &str| answer(&upstream.world, upstream.address, path);
        let page: serde_json::Value =
            serde_json::from_slice(&at("/simple/soak00003/").unwrap().body).unwrap();
        let file = at(page["files"][0]["url"].as_str().unwrap()).unwrap();
        assert_eq!(page["files"][0]["hashes"]["sha256"], sha256(&file.body));
        let line = at("/index/so/ak/soak00004").unwrap();
        let line: serde_json::Value = serde_json::from_slice(&line.body).unwrap();
        let file = at("/crates/soak00004/1.0.0/download").unwrap();
        assert_eq!(line["cksum"], sha256(&file.body));
        for none in ["/", "/simple/other", "/debian/dists/stable/InRelease", "/npm/soakx"] {
            assert!(at(none).is_none(), "{none}");
        }
    }
}
