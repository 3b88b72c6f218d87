//! `countersign serve` from end to end: real clients, a synthetic upstream, tokens, traces.

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

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use support::pip_sandbox;
use support::registries::{OLD, Pypi};
use support::server::Upstream;
use support::serving::{Serving, get};

fn upstream_of(index: &Pypi<'_>) -> String {
    format!("[[upstream]]\necosystem = \"pypi\"\nname = \"pypi\"\nurl = \"{}\"\n", index.url())
}

#[test]
fn pip_installs_through_the_gateway_what_is_admitted_and_nothing_else() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("good", "1.0.0", OLD).wheel("young", "1.0.0", 1);
    let Some((mut s, venv)) = pip_sandbox(&index) else { return };
    s.config(&upstream_of(&index));
    let gateway = Serving::start(&s, &[]);
    let address = gateway.address();
    s.env("PIP_INDEX_URL", format!("http://{address}/pypi/simple/"));
    let pip = venv.root.join("bin/pip");
    let run = |what: &str| {
        support::finish(s.command(&pip, &["install", what]), b"", Duration::from_secs(60))
    };
    run("good").expect(0);
    assert!(venv.has("good-1.0.0.dist-info"));
    assert_ne!(run("young").code, 0);
    assert!(!venv.has("young-1.0.0.dist-info"));
    assert_eq!(get(&address, "/healthz", None).0, 200);
    let said = gateway.end();
    assert!(said.contains("/pypi/simple/good/"), "no access log:\n{said}");
    s.expect_decision("pkg:pypi/good@1.0.0", "admit", "");
    s.fsck();
}

#[test]
fn tokens_are_asked_for_and_replaced_while_it_runs() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("good", "1.0.0", OLD);
    let mut s = support::Sandbox::new();
    let make = |name: &str| {
        let run = s.countersign(&["token", "new", name]);
        let line = run.stderr.lines().find(|l| l.contains("tokens = [")).unwrap().to_owned();
        (run.stdout.trim().to_owned(), line)
    };
    let (first, line) = make("ci");
    let (second, other) = make("laptop");
    s.config(&format!("{}[serve]\n{line}\n", upstream_of(&index)));
    let gateway = Serving::start(&s, &[]);
    let address = gateway.address();
    let status = |token| get(&address, "/pypi/simple/good/", token).0;
    assert_eq!((status(None), status(Some("wrong"))), (401, 401));
    assert_eq!((status(Some(&first)), status(Some(&second))), (200, 401));
    s.config(&format!("{}[serve]\n{other}\n", upstream_of(&index)));
    gateway.reload("configuration read again");
    assert_eq!((status(Some(&first)), status(Some(&second))), (401, 200));
    let said = gateway.end();
    assert!(!said.contains(&first) && !said.contains(&second), "a token was logged");
}

#[test]
fn the_upstreams_credential_is_renewed_when_it_is_refused() {
    let up = Upstream::start();
    up.require_authorization("Bearer one");
    let index = Pypi::new(&up);
    index.wheel("a", "1.0.0", OLD).wheel("b", "1.0.0", OLD);
    let mut s = support::Sandbox::new();
    std::fs::write(s.at("token"), "one").unwrap();
    let place = s.at("token").display().to_string();
    s.config(&format!("{}credential = {{ file = \"{place}\" }}\n", upstream_of(&index)));
    let gateway = Serving::start(&s, &[]);
    let address = gateway.address();
    assert_eq!(get(&address, "/pypi/simple/a/", Some("the-clients-own")).0, 200);
    up.require_authorization("Bearer two");
    std::fs::write(s.at("token"), "two").unwrap();
    assert_eq!(get(&address, "/pypi/simple/b/", None).0, 200);
    let forwarded =
        up.seen().iter().any(|r| r.header("authorization") == Some("Bearer the-clients-own"));
    assert!(!forwarded, "a client's credential for the gateway went upstream");
    gateway.end();
}

/// What was posted: paths and bodies.
type Posts = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

/// A collector that keeps what is posted to it.
struct Collector {
    address: String,
    bodies: Posts,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let bodies = Posts::default();
        let kept = bodies.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let kept = kept.clone();
                std::thread::spawn(move || {
                    while let Some(post) = take(&stream) {
                        kept.lock().unwrap().push(post);
                        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                        if (&stream).write_all(answer.as_bytes()).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { address, bodies }
    }
}

fn take(stream: &TcpStream) -> Option<(String, Vec<u8>)> {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first).ok().filter(|n| *n > 0)?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(n) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = n.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((first.split(' ').nth(1)?.to_owned(), body))
}

/// The fields of a protobuf message that hold bytes (wire type 2), with their numbers.
fn fields(mut bytes: &[u8]) -> Vec<(u64, &[u8])> {
    fn varint(bytes: &mut &[u8]) -> u64 {
        let (mut value, mut shift) = (0, 0);
        while let Some((b, rest)) = bytes.split_first() {
            *bytes = rest;
            value |= u64::from(b & 0x7f) << shift;
            shift += 7;
            if b & 0x80 == 0 {
                break;
            }
        }
        value
    }
    let mut out = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let skip = match key & 7 {
            0 => {
                varint(&mut bytes);
                continue;
            }
            1 => 8,
            2 => usize::try_from(varint(&mut bytes)).unwrap(),
            5 => 4,
            other => panic!("wire type {other}"),
        };
        let (field, rest) = bytes.split_at(skip);
        if key & 7 == 2 {
            out.push((key >> 3, field));
        }
        bytes = rest;
    }
    out
}

fn below(message: &[u8], number: u64) -> Vec<&[u8]> {
    fields(message).into_iter().filter(|(n, _)| *n == number).map(|(_, f)| f).collect()
}

#[test]
fn traces_reach_a_collector() {
    let collector = Collector::start();
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("good", "1.0.0", OLD);
    let Some((mut s, venv)) = pip_sandbox(&index) else { return };
    let otlp = format!("[serve]\notlp = \"http://{}\"\n", collector.address);
    s.config(&format!("{}{otlp}", upstream_of(&index)));
    let gateway = Serving::start(&s, &[]);
    s.env("PIP_INDEX_URL", format!("http://{}/pypi/simple/", gateway.address()));
    let install = s.command(&venv.root.join("bin/pip"), &["install", "good"]);
    support::finish(install, b"", Duration::from_secs(60)).expect(0);
    gateway.end();
    // ExportTraceServiceRequest.resource_spans.scope_spans.spans.name of OTLP's protobuf.
    let mut names = Vec::new();
    let end = Instant::now() + Duration::from_secs(10);
    while names.is_empty() && Instant::now() < end {
        for (path, body) in collector.bodies.lock().unwrap().iter() {
            assert_eq!(path, "/v1/traces");
            for resource in below(body, 1) {
                for scope in below(resource, 2) {
                    for span in below(scope, 2) {
                        names.extend(
                            below(span, 5).iter().map(|n| String::from_utf8_lossy(n).into_owned()),
                        );
                    }
                }
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    for want in ["request", "judge", "fetch", "scan", "evidence"] {
        assert!(names.iter().any(|n| n == want), "no span `{want}`: {names:?}");
    }
}

#[test]
fn a_collector_that_is_away_stops_nothing() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("good", "1.0.0", OLD);
    let mut s = support::Sandbox::new();
    s.env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9");
    s.config(&upstream_of(&index));
    let gateway = Serving::start(&s, &[]);
    assert_eq!(get(&gateway.address(), "/pypi/simple/good/", None).0, 200);
    gateway.end();
    s.env("OTEL_EXPORTER_OTLP_ENDPOINT", "nonsense");
    s.countersign(&["serve"]).expect(2).says("no http or https address");
}
