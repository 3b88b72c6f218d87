//! `countersign serve` and a crowd: thousands of connections at once, and fewer descriptors than
//! connections.

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

mod support;

use rustix::process::{Resource, getrlimit, setrlimit};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};
use support::Sandbox;
use support::archives::{sha256, wheel};
use support::registries::{OLD, Pypi};
use support::server::Upstream;
use support::serving::Serving;

const CROWD: usize = 2000;
const FILE: &str = "/pypi/files/good/good-1.0.0-py3-none-any.whl";
const PAGE: &str = "/pypi/simple/good/";

/// A request on a connection that stays open: the status and the body.
fn ask(
    stream: &mut BufReader<TcpStream>,
    host: &str,
    path: &str,
) -> std::io::Result<(u16, Vec<u8>)> {
    let head = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\naccept: text/html\r\n\r\n");
    stream.get_mut().write_all(head.as_bytes())?;
    let (mut status, mut length) = (0, 0);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(rest) = line.strip_prefix("http/1.1 ") {
            status = rest.get(..3).and_then(|s| s.parse().ok()).unwrap_or(0);
        }
        if let Some(n) = line.strip_prefix("content-length: ") {
            length = n.parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok((status, body))
}

fn connect(address: &str) -> std::io::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    Ok(BufReader::new(stream))
}

fn configured(up: &Upstream) -> Sandbox {
    let index = Pypi::new(up);
    index.wheel("good", "1.0.0", OLD);
    let mut s = Sandbox::new();
    s.config(&format!(
        "[[upstream]]\necosystem = \"pypi\"\nname = \"pypi\"\nurl = \"{}\"\n",
        index.url()
    ));
    s
}

fn descriptors(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// Asks for index and artifact on each of `count` connections, all of which are open before the
/// first request when `at_once` says so; gives what went wrong.
fn crowd(address: &str, count: usize, at_once: bool, want: &str) -> Vec<String> {
    let open = Arc::new(Barrier::new(if at_once { count } else { 1 }));
    let client = |i: usize| {
        let (address, want, open) = (address.to_owned(), want.to_owned(), open.clone());
        let work = move || -> Result<(), String> {
            let connected = connect(&address);
            if at_once {
                open.wait();
            }
            let said = |e: std::io::Error| format!("client {i}: {e}");
            let mut stream = connected.map_err(said)?;
            let (status, page) = ask(&mut stream, &address, PAGE).map_err(said)?;
            let page = String::from_utf8_lossy(&page).into_owned();
            if status != 200 || !page.contains("good-1.0.0") {
                return Err(format!("client {i}: the index is {status}: {page}"));
            }
            let (status, body) = ask(&mut stream, &address, FILE).map_err(said)?;
            match (status, sha256(&body) == want) {
                (200, true) => Ok(()),
                _ => Err(format!("client {i}: the artifact is {status}, {} bytes", body.len())),
            }
        };
        std::thread::Builder::new().stack_size(128 << 10).spawn(work).unwrap()
    };
    let clients: Vec<_> = (0..count).map(client).collect();
    clients.into_iter().filter_map(|c| c.join().unwrap().err()).collect()
}

#[test]
fn two_thousand_at_once_each_get_index_and_artifact() {
    let limit = getrlimit(Resource::Nofile);
    let needed = 2 * CROWD as u64 + 200;
    if limit.maximum.is_some_and(|m| m < needed) {
        eprintln!("skipped: the hard limit of open descriptors is below {needed}");
        return;
    }
    setrlimit(Resource::Nofile, rustix::process::Rlimit { current: Some(needed), ..limit })
        .unwrap();
    let up = Upstream::start();
    let s = configured(&up);
    // The usual soft limit: it raises that itself.
    let gateway = Serving::start_by(&s, "ulimit -Sn 1024; exec \"$@\"", &[]);
    let address = gateway.address();
    let want = sha256(&wheel("good", "1.0.0"));
    assert_eq!(crowd(&address, 1, true, &want), Vec::<String>::new());
    let before = descriptors(gateway.pid());
    let began = Instant::now();
    let wrong = crowd(&address, CROWD, true, &want);
    let took = began.elapsed();
    assert!(wrong.is_empty(), "{} of {CROWD}, the first: {}", wrong.len(), wrong[0]);
    assert!(took < Duration::from_secs(20), "{took:?}");
    // It notices closed connections by itself.
    let end = Instant::now() + Duration::from_secs(10);
    while descriptors(gateway.pid()) > before + 16 && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(50));
    }
    let after = descriptors(gateway.pid());
    assert!(after <= before + 16, "{before} descriptors before the crowd, {after} after it");
    assert_eq!(up.count("/files/good-1.0.0-py3-none-any.whl"), 1);
    gateway.end();
    s.fsck();
}

#[test]
fn with_few_descriptors_connections_wait_and_no_request_fails() {
    let up = Upstream::start();
    let s = configured(&up);
    let gateway = Serving::start_by(&s, "ulimit -n 160; exec \"$@\"", &[]);
    let address = gateway.address();
    gateway.wait_for("room for fewer connections than are configured");
    let want = sha256(&wheel("good", "1.0.0"));
    let wrong = crowd(&address, 300, false, &want);
    assert!(wrong.is_empty(), "{} of 300, the first: {}", wrong.len(), wrong[0]);
    gateway.end();
    s.fsck();
}
