//! The access log and the spans: one line a request, and never a secret. In a process of its own,
//! since the subscriber is the process's.

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

use countersign_core::Sha256Digest;
use countersign_gateway::server::{ServerOptions, Token};
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use support::client::get;
use support::{Double, package, start};

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_for_each_request_and_no_secret_in_any() {
    let lines = Lines::default();
    let writer = lines.clone();
    tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(tracing::Level::TRACE)
        .with_span_events(tracing_subscriber::fmt::format::FmtSpan::NEW)
        .with_writer(move || writer.clone())
        .init();
    let double = Double::default();
    double.document(package("lodash"), "application/json", "{\"a\":1}");
    let (sha256, role) = (Sha256Digest::of(b"s3cret"), Default::default());
    let token = Token { name: "ci".into(), sha256, expires: None, role };
    let options = ServerOptions {
        tokens: vec![token],
        trusted_proxies: vec!["127.0.0.1".parse().unwrap()],
        allowed_hosts: vec!["gate.example".into()],
        ..ServerOptions::default()
    };
    let (_server, address) = start(&double, options).await;
    let common = [("host", "gate.example"), ("x-forwarded-for", "198.51.100.7")];
    let bearer = ("authorization", "Bearer s3cret");
    let id = ("x-request-id", "id-1");
    get(address, "/npm/lodash?token=s3cret", &[common[0], common[1], bearer, id]).await;
    get(address, "/npm/lodash", &[common[0], common[1], ("authorization", "wr0ng")]).await;
    // The line is written when the body was handed over, which may be after it arrived.
    let end = std::time::Instant::now() + std::time::Duration::from_secs(5);
    let text = loop {
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        if text.matches("INFO access").count() == 2 || std::time::Instant::now() > end {
            break text;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    };
    let access: Vec<&str> = text.lines().filter(|l| l.contains(" access")).collect();
    assert_eq!(access.len(), 2, "{text}");
    for part in [
        "method=GET",
        "path=/npm/lodash ",
        "status=200",
        "bytes=7",
        "duration_us=",
        "token=\"ci\"",
        "address=198.51.100.7",
        "request_id=\"id-1\"",
    ] {
        assert!(access[0].contains(part), "{part} in {}", access[0]);
    }
    assert!(access[1].contains("status=401") && access[1].contains("token=\"-\""), "{}", access[1]);
    let span = text.lines().find(|l| l.contains("countersign::request")).unwrap();
    assert!(span.contains("ecosystem=npm") && span.contains("route=\"npm-package\""), "{span}");
    let own = text.lines().filter(|l| l.contains("countersign") || l.contains(" access"));
    for line in own {
        assert!(!line.contains("s3cret") && !line.contains("wr0ng"), "{line}");
    }
}
