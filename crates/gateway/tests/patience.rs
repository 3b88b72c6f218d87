//! Clients that are slow, leave, come in crowds, and servers that end while they are at it.

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
use countersign_gateway::server::{Limits, Memory, ServerOptions};
use futures_util::FutureExt as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use support::client::{get, read_to_end, replies};
use support::minted::minted;
use support::{Double, file, minute, package, project, start};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const PAGE: &str = "/pypi/simple/flask/";

fn impatient() -> ServerOptions {
    let limits = Limits {
        read_timeout: Duration::from_millis(400),
        idle_timeout: Duration::from_millis(1200),
        write_timeout: Duration::from_millis(600),
        min_progress: 64 << 10,
        ..Limits::default()
    };
    ServerOptions { limits, ..ServerOptions::default() }
}

/// How long the server leaves a connection open on which this was sent.
async fn open_for(address: SocketAddr, bytes: &[u8]) -> Duration {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let began = Instant::now();
    read_to_end(&mut stream).await;
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_no_whole_request_is_let_go() {
    let double = Double::default();
    let (_server, address) = start(&double, impatient()).await;
    let limit = Duration::from_millis(400)..Duration::from_millis(1100);
    for (what, bytes) in [
        ("nothing", &b""[..]),
        ("half a line", b"GET /hea"),
        ("half a head", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: "),
        ("half of HTTP/2's beginning", b"PRI * HTTP/2.0\r\n"),
    ] {
        let took = open_for(address, bytes).await;
        assert!(limit.contains(&took), "{what}: {took:?}");
    }
    let idle =
        open_for(address, format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes())
            .await;
    assert!((Duration::from_millis(1200)..Duration::from_millis(2500)).contains(&idle), "{idle:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_byte_now_and_then_is_no_whole_request_either() {
    let double = Double::default();
    let (_server, address) = start(&double, impatient()).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let began = Instant::now();
    let line = format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\nX-A: {}", "a".repeat(1000));
    for byte in line.bytes() {
        if stream.write_all(&[byte]).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        if began.elapsed() > Duration::from_secs(5) {
            break;
        }
    }
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_come_is_408() {
    let double = Double::default();
    let (_server, address) = start(&double, impatient()).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let text =
        format!("POST /npm/-/npm/v1/x HTTP/1.1\r\nHost: {address}\r\nContent-Length: 9\r\n\r\n12");
    stream.write_all(text.as_bytes()).await.unwrap();
    let bytes = read_to_end(&mut stream).await;
    assert_eq!(replies(&bytes, false)[0].status, 408);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_nothing_is_let_go_and_who_takes_slowly_is_not() {
    let m = minted(&[24 << 20]).await;
    let (admitted, bytes) = m.artifacts[0].clone();
    let double = Double::default();
    double.artifact(file("x", "x.whl"), admitted);
    let (_server, address) = start(&double, impatient()).await;
    let ask =
        format!("GET /pypi/files/x/x.whl HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");

    let mut never = TcpStream::connect(address).await.unwrap();
    never.write_all(ask.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let got = read_until_error(&mut never).await;
    assert!(got < bytes.len(), "let go with {got} bytes that the system still held");

    let mut slow = TcpStream::connect(address).await.unwrap();
    slow.write_all(ask.as_bytes()).await.unwrap();
    let mut all = Vec::new();
    let mut part = vec![0; 512 << 10];
    let began = Instant::now();
    loop {
        match slow.read(&mut part).await.unwrap() {
            0 => break,
            n => all.extend_from_slice(&part[..n]),
        }
        // Ten times the limit's rate, far longer than the limit in all.
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    assert!(began.elapsed() > Duration::from_millis(1200), "{:?}", began.elapsed());
    assert_eq!(replies(&all, false)[0].body, bytes);
}

async fn read_until_error(stream: &mut TcpStream) -> usize {
    let mut part = vec![0; 1 << 20];
    let mut got = 0;
    loop {
        match tokio::time::timeout(Duration::from_secs(5), stream.read(&mut part)).await {
            Ok(Ok(0)) | Ok(Err(_)) => return got,
            Ok(Ok(n)) => got += n,
            Err(_) => panic!("the connection is still open"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_one_after_the_other_without_waiting() {
    let double = Double::default();
    for name in ["a", "b", "c"] {
        double.put(package(name), move |generation| {
            async move {
                // The first takes longest: answers keep their order all the same.
                let wait = if name == "a" { 200 } else { 0 };
                tokio::time::sleep(Duration::from_millis(wait)).await;
                let document = Document::ok("text/plain", name.as_bytes().to_vec());
                Served { answer: Answer::Document(document), keep: minute(generation) }
            }
            .boxed()
        });
    }
    let (_server, address) = start(&double, ServerOptions::default()).await;
    let mut text = String::new();
    for i in 0..60 {
        let name = ["a", "b", "c"][i % 3];
        let end = if i == 59 { "Connection: close\r\n" } else { "" };
        text.push_str(&format!("GET /npm/{name} HTTP/1.1\r\nHost: {address}\r\n{end}\r\n"));
    }
    let replies = replies(&support::client::exchange(address, text).await, false);
    let bodies: Vec<String> = replies.iter().map(support::client::Reply::text).collect();
    let want: Vec<String> = (0..60).map(|i| ["a", "b", "c"][i % 3].to_owned()).collect();
    assert_eq!(bodies, want);
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelled_requests_leave_nothing_behind() {
    let m = minted(&[9 << 20]).await;
    let double = Double::default();
    double.artifact(file("x", "x.whl"), m.artifacts[0].0.clone());
    let handed = Arc::new(AtomicUsize::new(0));
    let inside = handed.clone();
    let options = ServerOptions {
        on_fetch: Some(Arc::new(move |_, _, _| {
            inside.fetch_add(1, Ordering::SeqCst);
        })),
        ..ServerOptions::default()
    };
    let (server, address) = start(&double, options).await;
    for i in 0..60u64 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let ask = format!("GET /pypi/files/x/x.whl HTTP/1.1\r\nHost: {address}\r\n\r\n");
        stream.write_all(ask.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(i % 7)).await;
        if i % 2 == 0 {
            let _ = stream.read(&mut [0; 1000]).await;
        }
    }
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let text = get(address, "/metrics", &[]).await.text();
        // The one is the request that asks.
        if value(&text, "countersign_connections") == 1
            && value(&text, "countersign_requests_in_flight") == 1
        {
            break;
        }
        assert!(Instant::now() < end, "{text}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(handed.load(Ordering::SeqCst) >= 30, "a part counts as handed out");
    assert!(server.shutdown(Duration::from_secs(5)).await.is_clean());
}

fn value(metrics: &str, name: &str) -> u64 {
    let line = metrics.lines().find(|l| l.split([' ', '{']).next() == Some(name));
    line.unwrap().rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_connections_at_once() {
    let double = Double::default();
    double.document(project("flask"), "text/html", "x".repeat(20_000));
    let (_server, address) = start(&double, ServerOptions::default()).await;
    raise_descriptors();
    let mut streams = Vec::new();
    for _ in 0..1000 {
        streams.push(TcpStream::connect(address).await.unwrap());
    }
    let ask = format!("GET {PAGE} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    for stream in &mut streams {
        stream.write_all(ask.as_bytes()).await.unwrap();
    }
    let reading = streams.into_iter().map(|mut stream| {
        tokio::spawn(async move {
            let bytes = read_to_end(&mut stream).await;
            let r = replies(&bytes, false);
            (r.len(), r[0].status, r[0].body.len())
        })
    });
    for task in reading.collect::<Vec<_>>() {
        assert_eq!(task.await.unwrap(), (1, 200, 20_000));
    }
    assert_eq!(double.count(), 1);
}

fn raise_descriptors() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn more_connections_than_there_is_room_for_wait() {
    let double = Double::default();
    let limits = Limits { connections: 3, ..Limits::default() };
    let (_server, address) = start(&double, ServerOptions { limits, ..Default::default() }).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let ask = format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\n\r\n");
        stream.write_all(ask.as_bytes()).await.unwrap();
        let mut part = [0; 1000];
        assert!(stream.read(&mut part).await.unwrap() > 0);
        held.push(stream);
    }
    let waiting = tokio::spawn(async move { get(address, "/healthz", &[]).await.status });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!waiting.is_finished());
    held.pop();
    assert_eq!(tokio::time::timeout(Duration::from_secs(5), waiting).await.unwrap().unwrap(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_requests_than_are_answered_at_once_may_come_back() {
    let double = Double::default();
    double.put(package("slow"), |generation| {
        async move {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let document = Document::ok("text/plain", b"slow".to_vec());
            Served { answer: Answer::Document(document), keep: minute(generation) }
        }
        .boxed()
    });
    let limits = Limits { requests: 2, ..Limits::default() };
    let (_server, address) = start(&double, ServerOptions { limits, ..Default::default() }).await;
    let slow = |_| tokio::spawn(async move { get(address, "/npm/slow", &[]).await.status });
    let two: Vec<_> = (0..2).map(slow).collect();
    tokio::time::sleep(Duration::from_millis(150)).await;
    let r = get(address, "/npm/slow", &[]).await;
    assert_eq!((r.status, r.header("retry-after")), (503, Some("1")));
    for task in two {
        assert_eq!(task.await.unwrap(), 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ending_waits_for_what_is_being_sent_and_takes_nothing_new() {
    let m = minted(&[24 << 20]).await;
    let (admitted, bytes) = m.artifacts[0].clone();
    let double = Double::default();
    double.artifact(file("x", "x.whl"), admitted);
    let options = ServerOptions { drain: Duration::from_millis(400), ..ServerOptions::default() };
    let (server, address) = start(&double, options).await;
    let ask = format!("GET /pypi/files/x/x.whl HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let mut transfer = TcpStream::connect(address).await.unwrap();
    transfer.write_all(ask.as_bytes()).await.unwrap();
    let mut all = vec![0; 100_000];
    transfer.read_exact(&mut all).await.unwrap();
    let mut idle = TcpStream::connect(address).await.unwrap();
    idle.write_all(format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let mut half = TcpStream::connect(address).await.unwrap();
    half.write_all(b"GET /hea").await.unwrap();

    let ending = tokio::spawn(server.shutdown(Duration::from_secs(20)));
    tokio::time::sleep(Duration::from_millis(150)).await;
    let r = get(address, "/readyz", &[]).await;
    assert_eq!(r.status, 503);
    assert!(r.text().contains("shutting down"), "{}", r.text());
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(TcpStream::connect(address).await.is_err(), "nothing new is taken");
    assert!(!ending.is_finished(), "the transfer is waited for");
    let mut part = vec![0; 1 << 20];
    loop {
        match transfer.read(&mut part).await.unwrap() {
            0 => break,
            n => all.extend_from_slice(&part[..n]),
        }
    }
    assert_eq!(replies(&all, false)[0].body, bytes, "whole, and then the connection ends");
    let ended = tokio::time::timeout(Duration::from_secs(10), ending).await.unwrap().unwrap();
    assert!(ended.is_clean(), "{ended:?}");
    read_to_end(&mut idle).await;
    read_to_end(&mut half).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ending_says_what_was_given_up() {
    let double = Double::default();
    double.put(package("slow"), |generation| {
        async move {
            tokio::time::sleep(Duration::from_secs(30)).await;
            let document = Document::ok("text/plain", b"slow".to_vec());
            Served { answer: Answer::Document(document), keep: minute(generation) }
        }
        .boxed()
    });
    let (server, address) = start(&double, ServerOptions::default()).await;
    let asking = tokio::spawn(async move {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let ask = format!("GET /npm/slow HTTP/1.1\r\nHost: {address}\r\n\r\n");
        stream.write_all(ask.as_bytes()).await.unwrap();
        read_to_end(&mut stream).await.len()
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    let began = Instant::now();
    let ended = server.shutdown(Duration::from_millis(500)).await;
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert_eq!((ended.requests_left, ended.questions_left), (1, 1));
    assert_eq!(asking.await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_nobody_waits_for_is_still_waited_for_at_the_end() {
    let double = Double::default();
    let done = Arc::new(AtomicUsize::new(0));
    let inside = done.clone();
    double.put(package("slow"), move |generation| {
        let done = inside.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(700)).await;
            done.fetch_add(1, Ordering::SeqCst);
            let document = Document::ok("text/plain", b"slow".to_vec());
            Served { answer: Answer::Document(document), keep: minute(generation) }
        }
        .boxed()
    });
    let options = ServerOptions { memory: Memory::default(), ..ServerOptions::default() };
    let (server, address) = start(&double, options).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let ask = format!("GET /npm/slow HTTP/1.1\r\nHost: {address}\r\n\r\n");
    stream.write_all(ask.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    drop(stream);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(server.shutdown(Duration::from_secs(10)).await.is_clean());
    assert_eq!(done.load(Ordering::SeqCst), 1, "no decision is lost");
}

/// Resident memory of this process in bytes, where the system tells.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_take_a_large_artifact_does_not_have_it_put_in_memory() {
    let m = minted(&[24 << 20]).await;
    let double = Double::default();
    double.artifact(file("x", "x.whl"), m.artifacts[0].0.clone());
    let (_server, address) = start(&double, ServerOptions::default()).await;
    let Some(before) = resident() else {
        eprintln!("skipped: this system does not tell how much memory is in use");
        return;
    };
    let ask = format!("GET /pypi/files/x/x.whl HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let mut held = Vec::new();
    for _ in 0..40 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(ask.as_bytes()).await.unwrap();
        held.push(stream);
    }
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let grown = resident().unwrap().saturating_sub(before);
    // 40 times 24 MiB would be 960 MiB. Other tests run beside this one, so there is some room.
    assert!(grown < 300 << 20, "{} MiB for clients that take nothing", grown >> 20);
}
