//! Requests that mean two things, addresses that lead elsewhere, hosts and headers that would be
//! reflected, and what is too large. Each is sent byte for byte over a socket.

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

use countersign_core::{Sha256Digest, Timestamp};
use countersign_engine::serving::STAND_IN;
use countersign_gateway::server::{Limits, ServerOptions, Token};
use std::net::SocketAddr;
use support::client::{Reply, exchange, get, replies, request};
use support::{Double, package, project, start};

const PAGE: &str = "/pypi/simple/flask/";

async fn a_server(options: ServerOptions) -> (Double, countersign_gateway::Server, SocketAddr) {
    let double = Double::default();
    double.document(project("flask"), "text/html", format!("<a href=\"{STAND_IN}/x\">x</a>"));
    double.document(package("smuggled"), "application/json", "{}");
    let (server, address) = start(&double, options).await;
    (double, server, address)
}

fn was_smuggled(double: &Double) -> bool {
    double.seen().iter().any(|s| s.route == package("smuggled"))
}

/// Sends what ends in a request that must never be seen, and gives the answers.
async fn smuggle(head: &str, body: &str) -> (Vec<Reply>, bool) {
    let (double, _server, address) = a_server(ServerOptions::default()).await;
    let head = head.replace("HOST", &address.to_string());
    let inner = format!("GET /npm/smuggled HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let bytes = exchange(address, format!("{head}{}", body.replace("INNER", &inner))).await;
    (replies(&bytes, false), was_smuggled(&double))
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_whose_length_could_be_read_in_two_ways_end_the_connection() {
    let post = "POST /npm/-/npm/v1/security/advisories/bulk HTTP/1.1\r\nHost: HOST\r\n";
    let page = "GET /pypi/simple/flask/ HTTP/1.1\r\nHost: HOST\r\n";
    for (name, head, body) in [
        (
            "CL.TE",
            format!("{post}Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n"),
            "0\r\n\r\nINNER",
        ),
        (
            "TE.CL",
            format!("{post}Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n"),
            "0\r\n\r\nINNER",
        ),
        ("TE alone", format!("{post}Transfer-Encoding: chunked\r\n\r\n"), "0\r\n\r\nINNER"),
        (
            "TE twice",
            format!("{post}Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n"),
            "0\r\n\r\nINNER",
        ),
        ("TE unknown", format!("{post}Transfer-Encoding: xchunked\r\n\r\n"), "0\r\n\r\nINNER"),
        (
            "TE with a tab",
            format!("{post}Transfer-Encoding:\tchunked\r\nContent-Length: 4\r\n\r\n"),
            "0\r\n\r\nINNER",
        ),
        (
            "TE of HTTP/1.0",
            "POST /npm/-/npm/v1/x HTTP/1.0\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n"
                .to_owned(),
            "0\r\n\r\nINNER",
        ),
        ("two lengths", format!("{post}Content-Length: 0\r\nContent-Length: 60\r\n\r\n"), "INNER"),
        ("a list of lengths", format!("{post}Content-Length: 0, 60\r\n\r\n"), "INNER"),
        ("a signed length", format!("{post}Content-Length: +5\r\n\r\n"), "INNER"),
        ("a negative length", format!("{post}Content-Length: -1\r\n\r\n"), "INNER"),
        (
            "a huge length",
            format!("{post}Content-Length: 99999999999999999999999\r\n\r\n"),
            "INNER",
        ),
        ("a hexadecimal length", format!("{post}Content-Length: 0x0\r\n\r\n"), "INNER"),
        (
            "a length with a space before the colon",
            format!("{post}Content-Length : 0\r\n\r\n"),
            "INNER",
        ),
        ("a folded header", format!("{post}X-A: b\r\n Content-Length: 0\r\n\r\n"), "INNER"),
        ("a chunked GET", format!("{page}Transfer-Encoding: chunked\r\n\r\n"), "0\r\n\r\nINNER"),
        ("a GET with a body", format!("{page}Content-Length: 5\r\n\r\n"), "INNER"),
        ("a bare CR", format!("{page}X-A: b\rContent-Length: 0\r\n\r\n"), "INNER"),
        ("a NUL in a header", format!("{page}X-A: b\0\r\n\r\n"), "INNER"),
    ] {
        let (replies, smuggled) = smuggle(&head, body).await;
        assert!(!smuggled, "{name}");
        assert_eq!(replies.len(), 1, "{name}: {replies:?}");
        let status = replies[0].status;
        assert!((400..500).contains(&status), "{name}: {status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn chunk_tricks_reach_nobody() {
    let head = "POST /npm/-/npm/v1/security/advisories/bulk HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n";
    for body in [
        "0;INNER\r\n\r\n",
        "1\nx\n0\n\nINNER",
        "ffffffffffffffff0\r\nINNER",
        "-1\r\nINNER",
        "5\r\nabcdeX\r\n0\r\n\r\nINNER",
        "0\r\nContent-Length: 5\r\n\r\nINNER",
    ] {
        let (replies, smuggled) = smuggle(head, body).await;
        assert!(!smuggled && replies.len() == 1 && replies[0].status == 411, "{body}: {replies:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bare_line_feeds_end_lines_and_hide_nothing() {
    // RFC 9112, section 2.2, lets a server take LF for CRLF. What matters is that nothing is hidden
    // from it: what stands behind an LF is a header like any other.
    let (double, _server, address) = a_server(ServerOptions::default()).await;
    let inner = format!("GET /npm/smuggled HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let text = format!(
        "GET {PAGE} HTTP/1.1\r\nHost: {address}\r\nX-A: b\nContent-Length: {}\r\n\r\n{inner}",
        inner.len()
    );
    let bytes = exchange(address, text).await;
    let replies = replies(&bytes, false);
    assert_eq!((replies.len(), replies[0].status), (1, 400));
    assert!(!was_smuggled(&double));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_follows_a_good_body_is_the_next_request() {
    let (double, _server, address) = a_server(ServerOptions::default()).await;
    let text = format!(
        "POST /npm/-/npm/v1/x HTTP/1.1\r\nHost: {address}\r\nContent-Length: 4\r\n\r\n{{}}\r\n\
         GET {PAGE} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    );
    let replies = replies(&exchange(address, text).await, false);
    assert_eq!(replies.iter().map(|r| r.status).collect::<Vec<_>>(), [404, 200]);
    assert_eq!(double.seen()[0].body, "{}\r\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_that_lead_elsewhere_reach_nobody() {
    let (double, _server, address) = a_server(ServerOptions::default()).await;
    for path in [
        "/pypi/../npm/smuggled",
        "/pypi/%2e%2e/npm/smuggled",
        "/pypi/%2E%2E/npm/smuggled",
        "/pypi/.%2e/npm/smuggled",
        "/pypi/simple/..%2f..%2fnpm/smuggled/",
        "/pypi/simple/%252e%252e/npm/smuggled/",
        "/pypi/simple/..%5c..%5cnpm/",
        "/pypi\\..\\npm/smuggled",
        "//npm/smuggled",
        "/npm//smuggled",
        "/npm/smuggled%00",
        "/npm/smuggled%0d%0ax:y",
        "/npm/%c0%ae%c0%ae/smuggled",
        "/npm/@x%2f..%2fsmuggled",
        "/npm/%73%6duggled%2f",
        "/npm/smuggled%3fx",
        "/npm/smuggled%23x",
        "/./npm/smuggled",
        "/npm/./smuggled",
        "*",
    ] {
        let r = get(address, path, &[]).await;
        assert_eq!(r.status, 400, "{path}: {}", r.text());
    }
    for path in ["/npm/smuggled;x=1", "/npm/Smuggled", "/npm/smuggled/", "/NPM/smuggled"] {
        let r = get(address, path, &[]).await;
        assert!(matches!(r.status, 400 | 404), "{path}: {}", r.status);
    }
    assert!(!was_smuggled(&double));
    // Decoding once is not forbidden: this is the same name.
    assert_eq!(get(address, "/npm/%73muggled", &[]).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_not_confused() {
    let (double, _server, address) = a_server(ServerOptions::default()).await;
    for path in [
        "/pypi/simple/fl%C3%A0sk/",
        "/pypi/simple/fla%EF%BD%93k/",
        "/npm/lod%D0%B0sh",
        "/npm/@s%2fn%2fm",
        "/npm/%40s%2f%40t%2fx",
        "/cargo/dl/ser%E2%80%8Bde/1.0.0/download",
        "/pypi/simple/flask%20/",
        "/npm/lodash%09",
    ] {
        assert_eq!(get(address, path, &[]).await.status, 400, "{path}");
    }
    assert_eq!(double.count(), 0);
    // A scope in both spellings is one package, and never the name without its scope.
    for path in ["/npm/@s/n", "/npm/@s%2fn", "/npm/@s%2Fn", "/npm/%40s%2fn"] {
        get(address, path, &[]).await;
    }
    assert!(double.seen().iter().all(|s| s.route == package("@s/n")));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_host_is_reflected_that_is_not_this_servers() {
    let (double, _server, address) = a_server(ServerOptions::default()).await;
    for host in [
        "evil.example",
        "evil.example:80",
        "localhost",
        "127.0.0.1",
        "127.0.0.1:1",
        "x@127.0.0.1",
        "127.0.0.1:x",
        "evil.example/\"><script>",
        "\"onload=alert(1)",
        "a b",
        "",
    ] {
        let r = get(address, PAGE, &[("host", host)]).await;
        assert_eq!(r.status, 400, "{host}");
        assert!(!r.text().contains("evil") && !r.text().contains("script"), "{}", r.text());
    }
    for forwarded in ["x-forwarded-host", "x-host", "x-original-host", "forwarded"] {
        let r = get(address, PAGE, &[(forwarded, "evil.example")]).await;
        assert_eq!(r.status, 200);
        assert!(!r.text().contains("evil"), "{forwarded}: {}", r.text());
    }
    let two = format!(
        "GET {PAGE} HTTP/1.1\r\nHost: {address}\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
    );
    let none = format!("GET {PAGE} HTTP/1.1\r\nConnection: close\r\n\r\n");
    let old = format!("GET {PAGE} HTTP/1.0\r\n\r\n");
    for text in [two, none, old] {
        let r = replies(&exchange(address, &text).await, false);
        assert_eq!((r.len(), r[0].status), (1, 400), "{text}");
    }
    let allowed = double.seen().iter().all(|s| s.route == project("flask"));
    assert!(allowed && double.count() == 1, "one answer, in memory for the only good host");
    let slash = get(address, "/pypi/simple/flask", &[("host", "evil.example")]).await;
    assert_eq!(slash.header("location"), Some("./flask/"), "redirects name no host");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_request_breaks_a_header() {
    let (_double, _server, address) = a_server(ServerOptions::default()).await;
    for (name, value) in [
        ("x-request-id", "a\tSet-Cookie: x=y"),
        ("x-request-id", "<script>"),
        ("origin", "https://evil.example"),
        ("range", "bytes=0-1\tX: y"),
        ("if-none-match", "\"\t\""),
        ("accept-encoding", "gzip\tX"),
    ] {
        let r = get(address, PAGE, &[(name, value)]).await;
        assert_eq!(r.status, 200, "{name}: {value}");
        for (n, v) in &r.headers {
            assert!(!v.contains("evil") && !v.contains('<') && !v.contains('\t'), "{n}: {v}");
            assert!(!n.starts_with("access-control"), "no other origin may read this");
        }
    }
    let r = get(address, "/pypi/simple/a%0d%0aSet-Cookie:%20x=y", &[]).await;
    assert_eq!((r.status, r.header("set-cookie"), r.header("location")), (400, None, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_refused_before_it_is_read() {
    let limits = Limits { header_bytes: 16 << 10, body_bytes: 1000, ..Limits::default() };
    let (double, _server, address) =
        a_server(ServerOptions { limits, ..ServerOptions::default() }).await;
    let ask = |headers: String| format!("GET {PAGE} HTTP/1.1\r\nHost: {address}\r\n{headers}\r\n");
    let one = ask(format!("X-A: {}\r\n", "a".repeat(40 << 10)));
    let many = ask("X-A: b\r\n".repeat(200));
    for (text, what) in [(one, "one header"), (many, "many headers")] {
        let r = replies(&exchange(address, text).await, false);
        assert_eq!((r.len(), r[0].status), (1, 431), "{what}");
    }
    let path = format!("/npm/{}", "a".repeat(3000));
    assert_eq!(get(address, &path, &[]).await.status, 400);
    let line = format!("GET /{} HTTP/1.1\r\nHost: {address}\r\n\r\n", "a".repeat(100 << 10));
    let r = replies(&exchange(address, line).await, false);
    assert!(r.len() == 1 && matches!(r[0].status, 414 | 431), "{r:?}");
    let post = |n: usize, body: &str| {
        format!(
            "POST /npm/-/npm/v1/x HTTP/1.1\r\nHost: {address}\r\nContent-Length: {n}\r\nConnection: close\r\n\r\n{body}"
        )
    };
    // Refused by what it announces: not a byte of it was sent.
    let r = replies(&exchange(address, post(1001, "")).await, false);
    assert_eq!((r.len(), r[0].status), (1, 413));
    let r = replies(&exchange(address, post(1000, &"x".repeat(1000))).await, false);
    assert_eq!(r[0].status, 404);
    assert_eq!(double.count(), 1);
}

fn token(name: &str, secret: &str, expires: Option<Timestamp>) -> Token {
    let (sha256, role) = (Sha256Digest::of(secret.as_bytes()), Default::default());
    Token { name: name.into(), sha256, expires, role }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_end_and_tokens_that_are_taken_away() {
    let past = Timestamp(1_000_000_000);
    let options = ServerOptions {
        tokens: vec![token("ci", "s3cret", None), token("old", "gone", Some(past))],
        ..ServerOptions::default()
    };
    let (double, server, address) = a_server(options).await;
    let bearer = |secret: &str| format!("Bearer {secret}");
    for (path, header, want) in [
        (PAGE, None, 401),
        (PAGE, Some(bearer("wrong")), 401),
        (PAGE, Some(bearer("gone")), 401),
        (PAGE, Some("s3cret".to_owned()), 200),
        (PAGE, Some(bearer("s3cret")), 200),
        (PAGE, Some("Basic eDpzM2NyZXQ=".to_owned()), 200),
        ("/metrics", None, 401),
        ("/metrics", Some(bearer("s3cret")), 200),
        ("/npm/-/whoami", None, 401),
        ("/cargo/config.json", None, 401),
        ("/", None, 200),
        ("/healthz", None, 200),
        ("/readyz", None, 200),
    ] {
        let headers: Vec<_> = header.iter().map(|h| ("authorization", h.as_str())).collect();
        let r = get(address, path, &headers).await;
        assert_eq!(r.status, want, "{path} {header:?}");
        if want == 401 {
            let asks: Vec<_> = r.headers.iter().filter(|(n, _)| n == "www-authenticate").collect();
            assert_eq!(asks.len(), 2, "{asks:?}");
            assert!(asks[0].1.starts_with("Basic ") && asks[1].1.starts_with("Bearer "));
        }
    }
    assert!(get(address, PAGE, &[("authorization", "Bearer gone")]).await.text().contains("ended"));
    let r = get(address, PAGE, &[("authorization", "s3cret")]).await;
    assert!(r.header("cache-control").unwrap().starts_with("private, "));
    let two = [("authorization", "Bearer wrong"), ("authorization", "Bearer s3cret")];
    assert_eq!(get(address, PAGE, &two).await.status, 401, "which of two counts is not guessed");
    assert_eq!(double.seen()[0].asker.token.as_deref(), Some("ci"));
    assert!(double.seen().iter().all(|s| !s.headers.contains_key("authorization")));
    // As a proxy the token comes in another header.
    let proxied = "http://deb.example/x";
    let r = get(address, proxied, &[("authorization", "s3cret")]).await;
    assert_eq!((r.status, r.header("proxy-authenticate").is_some()), (407, true));
    let r = get(address, proxied, &[("proxy-authorization", "Basic eDpzM2NyZXQ=")]).await;
    assert_eq!(r.status, 403);
    server.replace_tokens(vec![token("ci", "n3w", None)]);
    assert_eq!(get(address, PAGE, &[("authorization", "s3cret")]).await.status, 401);
    assert_eq!(get(address, PAGE, &[("authorization", "n3w")]).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_to() {
    let (double, _server, address) = a_server(ServerOptions::default()).await;
    for method in ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"] {
        for path in [PAGE, "/npm/smuggled", "/npm/-/user/x", "/cargo/config.json", "/metrics"] {
            let r = request(address, method, path, &[]).await;
            assert_eq!(r.status, 405, "{method} {path}");
            assert!(r.header("allow").unwrap().starts_with("GET, HEAD"));
        }
    }
    assert_eq!(double.count(), 0);
}
