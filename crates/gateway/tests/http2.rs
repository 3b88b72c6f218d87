//! HTTP/2 in raw frames (RFC 9113): prior knowledge, many streams, streams that are reset at once,
//! windows that are never opened.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    missing_docs,
    dead_code,
    unreachable_pub,
    reason = "tests fail by panicking, and each uses a part of the shared support"
)]

mod support;

use countersign_engine::serving::Served;
use countersign_engine::{Answer, Document};
use countersign_gateway::server::{Limits, ServerOptions};
use futures_util::FutureExt as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use support::minted::minted;
use support::{Double, file, minute, package, project, start};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

/// A header list in HPACK (RFC 7541), without tables: each field a literal.
fn fields(list: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    let text = |out: &mut Vec<u8>, t: &str| {
        assert!(t.len() < 127);
        out.push(u8::try_from(t.len()).unwrap());
        out.extend(t.as_bytes());
    };
    for (name, value) in list {
        out.push(0);
        text(&mut out, name);
        text(&mut out, value);
    }
    out
}

fn get_fields(address: SocketAddr, path: &str) -> Vec<u8> {
    let authority = address.to_string();
    fields(&[(":method", "GET"), (":scheme", "http"), (":path", path), (":authority", &authority)])
}

struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    async fn new(address: SocketAddr, settings: &[(u16, u32)]) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let mut payload = Vec::new();
        for (id, value) in settings {
            payload.extend(id.to_be_bytes());
            payload.extend(value.to_be_bytes());
        }
        stream.write_all(PREFACE).await.unwrap();
        stream.write_all(&frame(SETTINGS, 0, 0, &payload)).await.unwrap();
        Self { stream, buffer: Vec::new() }
    }

    /// Sends; false when the server closed the connection.
    async fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok()
    }

    /// The next frame; `None` when the connection is closed.
    async fn next(&mut self) -> Option<Frame> {
        loop {
            if self.buffer.len() >= 9 {
                let length =
                    u32::from_be_bytes([0, self.buffer[0], self.buffer[1], self.buffer[2]]);
                let end = 9 + length as usize;
                if self.buffer.len() >= end {
                    let all: Vec<u8> = self.buffer.drain(..end).collect();
                    let stream = u32::from_be_bytes([all[5], all[6], all[7], all[8]]);
                    return Some(Frame {
                        kind: all[3],
                        flags: all[4],
                        stream,
                        payload: all[9..].to_vec(),
                    });
                }
            }
            let mut part = vec![0; 64 << 10];
            let read = tokio::time::timeout(Duration::from_secs(20), self.stream.read(&mut part));
            match read.await.expect("the server says nothing") {
                Ok(0) | Err(_) => return None,
                Ok(n) => self.buffer.extend_from_slice(&part[..n]),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn prior_knowledge_is_enough() {
    let double = Double::default();
    double.document(project("flask"), "text/html", "x".repeat(9000));
    let (_server, address) = start(&double, ServerOptions::default()).await;
    let mut client = Client::new(address, &[]).await;
    client.send(&frame(HEADERS, 5, 1, &get_fields(address, "/pypi/simple/flask/"))).await;
    let mut body = Vec::new();
    loop {
        let f = client.next().await.unwrap();
        if f.stream == 1 && f.kind == DATA {
            body.extend(f.payload);
            if f.flags & 1 == 1 {
                break;
            }
        }
    }
    assert_eq!(body.len(), 9000);
}

/// Sends a request that asks for HTTP/2, and gives what comes back before anything else.
async fn ask_for_change(stream: &mut TcpStream, request: &str) -> String {
    let asking = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
                  HTTP2-Settings: AAMAAABkAAQAAQAAAAIAAAAA\r\n\r\n";
    stream.write_all(format!("{request}\r\n{asking}").as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_changes_to_http2_when_the_client_asks() {
    let double = Double::default();
    double.document(project("flask"), "text/html", "x".repeat(90_000));
    double.document(project("rich"), "text/html", "y".repeat(70_000));
    let (_server, address) = start(&double, ServerOptions::default()).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET /pypi/simple/flask/ HTTP/1.1\r\nHost: {address}\r\nX-A: b");
    let head = ask_for_change(&mut stream, &request).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(head.to_ascii_lowercase().contains("\r\nupgrade: h2c\r\n"), "{head}");
    stream.write_all(PREFACE).await.unwrap();
    // A window wide enough for both bodies.
    stream.write_all(&frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0])).await.unwrap();
    let _ = stream.set_nodelay(true);
    let mut client = Client { stream, buffer: Vec::new() };
    client.send(&frame(WINDOW_UPDATE, 0, 0, &(1u32 << 20).to_be_bytes())).await;
    client.send(&frame(HEADERS, 5, 3, &get_fields(address, "/pypi/simple/rich/"))).await;
    let mut bodies: [Vec<u8>; 2] = [Vec::new(), Vec::new()];
    let mut ended = 0;
    while ended < 2 {
        let f = client.next().await.expect("the connection stays");
        assert!(![RST_STREAM, GOAWAY].contains(&f.kind), "{} {:?}", f.kind, f.payload);
        if f.kind == DATA {
            let body = &mut bodies[usize::from(f.stream == 3)];
            body.extend(&f.payload);
            ended += usize::from(f.flags & 1);
            let more = u32::try_from(f.payload.len()).unwrap().to_be_bytes();
            if !f.payload.is_empty() {
                client.send(&frame(WINDOW_UPDATE, 0, f.stream, &more)).await;
            }
        }
    }
    assert_eq!(bodies, [vec![b'x'; 90_000], vec![b'y'; 70_000]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_change_is_answered_as_it_came() {
    let double = Double::default();
    let (_server, address) = start(&double, ServerOptions::default()).await;
    for (request, status) in [
        (format!("POST /healthz HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0"), "405"),
        (format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\nContent-Length: 5"), "400"),
        (format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\nHTTP2-Settings: AA"), "200"),
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = ask_for_change(&mut stream, &request).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {head}");
    }
    // From a proxy, the change would open a way past it.
    let behind = ServerOptions {
        trusted_proxies: vec!["127.0.0.1".parse().unwrap()],
        ..ServerOptions::default()
    };
    let (_server, address) = start(&double, behind).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {address}");
    let head = ask_for_change(&mut stream, &request).await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_is_never_finished_ends() {
    let limits = Limits { read_timeout: Duration::from_millis(300), ..Limits::default() };
    let double = Double::default();
    let (_server, address) =
        start(&double, ServerOptions { limits, ..ServerOptions::default() }).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {address}");
    let head = ask_for_change(&mut stream, &request).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    stream.write_all(&PREFACE[..10]).await.unwrap();
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "the connection stays open");
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_on_one_connection_are_bounded() {
    let double = Double::default();
    double.put(package("slow"), |generation| {
        async move {
            tokio::time::sleep(Duration::from_secs(2)).await;
            let document = Document::ok("text/plain", b"slow".to_vec());
            Served { answer: Answer::Document(document), keep: minute(generation) }
        }
        .boxed()
    });
    let limits = Limits { streams: 10, ..Limits::default() };
    let (_server, address) = start(&double, ServerOptions { limits, ..Default::default() }).await;
    let mut client = Client::new(address, &[]).await;
    let said = client.next().await.unwrap();
    assert_eq!(said.kind, SETTINGS);
    let most = said.payload.chunks(6).find(|s| s[..2] == [0, 3]).map(|s| s[2..].to_vec());
    assert_eq!(most, Some(vec![0, 0, 0, 10]), "MAX_CONCURRENT_STREAMS is said");
    for i in 0..12u32 {
        client.send(&frame(HEADERS, 5, 2 * i + 1, &get_fields(address, "/npm/slow"))).await;
    }
    let mut refused = 0;
    while refused < 2 {
        let f = client.next().await.expect("the connection stays");
        if f.kind == RST_STREAM && f.payload == [0, 0, 0, 7] {
            refused += 1;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_are_reset_at_once_end_the_connection() {
    let m = minted(&[2 << 20]).await;
    let double = Double::default();
    double.artifact(file("x", "x.whl"), m.artifacts[0].0.clone());
    let (_server, address) = start(&double, ServerOptions::default()).await;
    let mut client = Client::new(address, &[]).await;
    let ask = get_fields(address, "/pypi/files/x/x.whl");
    let mut stream = 1u32;
    let mut open = true;
    let began = Instant::now();
    while open && stream < 200_000 && began.elapsed() < Duration::from_secs(15) {
        let mut burst = Vec::new();
        for _ in 0..200 {
            burst.extend(frame(HEADERS, 5, stream, &ask));
            burst.extend(frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]));
            stream += 2;
        }
        open = client.send(&burst).await;
    }
    let mut said = false;
    while let Some(f) = client.next().await {
        // ENHANCE_YOUR_CALM
        said |= f.kind == GOAWAY && f.payload.get(4..8) == Some(&[0, 0, 0, 11]);
    }
    assert!(said, "after {stream} streams in {:?}", began.elapsed());
    assert!(double.count() <= 2, "resets do not multiply questions: {}", double.count());
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_without_end_are_refused() {
    let double = Double::default();
    let (_server, address) = start(&double, ServerOptions::default()).await;
    let mut client = Client::new(address, &[]).await;
    client.send(&frame(HEADERS, 1, 1, &get_fields(address, "/healthz"))).await;
    let long = "a".repeat(120);
    let more = fields(&[("x-a", long.as_str()); 100]);
    let mut sent = 0;
    // More than both ends' sockets can hold: what fits into those is sent before anybody reads it.
    let most = 64 << 20;
    while sent < most && client.send(&frame(CONTINUATION, 0, 1, &more)).await {
        sent += more.len();
    }
    assert!(sent < most, "the server took {sent} bytes of headers");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_is_never_opened_is_let_go() {
    let m = minted(&[2 << 20]).await;
    let double = Double::default();
    double.artifact(file("x", "x.whl"), m.artifacts[0].0.clone());
    let limits = Limits { write_timeout: Duration::from_millis(600), ..Limits::default() };
    let (_server, address) = start(&double, ServerOptions { limits, ..Default::default() }).await;
    // SETTINGS_INITIAL_WINDOW_SIZE 0: not a byte of a body may be sent.
    let mut client = Client::new(address, &[(4, 0)]).await;
    for i in 0..20u32 {
        let ask = get_fields(address, "/pypi/files/x/x.whl");
        client.send(&frame(HEADERS, 5, 2 * i + 1, &ask)).await;
    }
    let began = Instant::now();
    while client.next().await.is_some() {}
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_opens_slowly_is_enough() {
    let m = minted(&[300_000]).await;
    let double = Double::default();
    double.artifact(file("x", "x.whl"), m.artifacts[0].0.clone());
    let limits = Limits {
        write_timeout: Duration::from_millis(500),
        min_progress: 1000,
        ..Limits::default()
    };
    let (_server, address) = start(&double, ServerOptions { limits, ..Default::default() }).await;
    let mut client = Client::new(address, &[(4, 16_384)]).await;
    client.send(&frame(HEADERS, 5, 1, &get_fields(address, "/pypi/files/x/x.whl"))).await;
    let size = m.artifacts[0].1.len();
    let mut got = 0;
    while got < size {
        let f = client.next().await.expect("it goes on");
        if f.kind == DATA {
            got += f.payload.len();
            tokio::time::sleep(Duration::from_millis(100)).await;
            let more = u32::try_from(f.payload.len()).unwrap().to_be_bytes();
            client.send(&frame(WINDOW_UPDATE, 0, 1, &more)).await;
            client.send(&frame(WINDOW_UPDATE, 0, 0, &more)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hosts_in_one_request_are_refused() {
    let double = Double::default();
    double.document(project("flask"), "text/html", "x");
    let (_server, address) = start(&double, ServerOptions::default()).await;
    let mut client = Client::new(address, &[]).await;
    let own = address.to_string();
    for (stream, host) in [(1u32, "evil.example"), (3, own.as_str())] {
        let list = fields(&[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/pypi/simple/flask/"),
            (":authority", &own),
            ("host", host),
        ]);
        client.send(&frame(HEADERS, 5, stream, &list)).await;
    }
    let mut bodies = std::collections::BTreeMap::new();
    while bodies.len() < 2 {
        let f = client.next().await.unwrap();
        if f.kind == DATA {
            bodies.insert(f.stream, String::from_utf8(f.payload).unwrap());
        }
    }
    assert!(bodies[&1].contains("several hosts"), "{bodies:?}");
    assert_eq!(bodies[&3], "x");
}
