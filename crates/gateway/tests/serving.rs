//! What the server does with the engine's answers: forms, codings, conditions, ranges, memory.

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

use countersign_core::{Decision, Ecosystem, ReasonCode, Timestamp};
use countersign_engine::serving::{Form, Route, STAND_IN, Served, View};
use countersign_engine::{Answer, Document, PassedOn, Refusal, Upstream};
use countersign_gateway::server::{Memory, ServerOptions};
use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use std::io::Read as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::client::{get, request};
use support::minted::minted;
use support::{Double, file, minute, package, project, start};

const PAGE: &str = "/pypi/simple/flask/";

fn page() -> String {
    format!("<a href=\"{STAND_IN}/files/flask/flask-1.0.tar.gz\">flask</a>\n").repeat(200)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_carries_the_address_that_the_client_asked() {
    let double = Double::default();
    double.document(project("flask"), "text/html", page());
    let (_server, address) = start(&double, ServerOptions::default()).await;
    let r = get(address, PAGE, &[]).await;
    assert_eq!((r.status, r.header("content-type")), (200, Some("text/html")));
    let want = format!("http://{address}/pypi/files/flask/flask-1.0.tar.gz");
    assert!(r.text().contains(&want) && !r.text().contains(STAND_IN), "{}", r.text());
    assert_eq!(r.header("vary"), Some("Accept, Accept-Encoding"));
    let kept = r.header("cache-control").unwrap().strip_prefix("max-age=").unwrap();
    assert!((55..=60).contains(&kept.parse::<u64>().unwrap()), "{kept}");
    let (_, port) = want.rsplit_once(':').unwrap();
    let other = format!("localhost:{}", port.split('/').next().unwrap());
    let r = get(address, PAGE, &[("host", &other)]).await;
    assert!(r.text().contains(&format!("http://{other}/pypi/files/")), "{}", r.text());
    assert_eq!(double.count(), 2, "one question for each address of this server");
    assert_eq!(get(address, PAGE, &[]).await.status, 200);
    assert_eq!(double.count(), 2, "the third is answered from memory");
}

#[tokio::test(flavor = "multi_thread")]
async fn head_conditions_and_their_tags() {
    let double = Double::default();
    double.document(project("flask"), "text/html", page());
    let (_server, address) = start(&double, ServerOptions::default()).await;
    let whole = get(address, PAGE, &[]).await;
    let etag = whole.header("etag").unwrap().to_owned();
    assert!(etag.starts_with('"') && etag.ends_with('"'), "strong: {etag}");
    let head = request(address, "HEAD", PAGE, &[]).await;
    assert_eq!((head.status, head.header("etag")), (200, Some(&*etag)));
    assert_eq!(head.header("content-length"), Some(&*whole.body.len().to_string()));
    for (sent, want) in [
        (etag.clone(), 304),
        (format!("W/{etag}"), 304),
        (format!("\"x\", {etag}"), 304),
        ("*".to_owned(), 304),
        ("\"x\"".to_owned(), 200),
    ] {
        let r = get(address, PAGE, &[("if-none-match", &sent)]).await;
        assert_eq!(r.status, want, "{sent}");
        assert_eq!(r.header("etag"), Some(&*etag));
        assert_eq!(r.body.is_empty(), want == 304);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn codings_are_each_their_own_representation() {
    let double = Double::default();
    double.document(project("flask"), "text/html", page());
    double.document(project("small"), "text/html", "<a>small</a>");
    // A client elsewhere: behind a trusted proxy.
    let options = ServerOptions {
        trusted_proxies: vec!["127.0.0.1".parse().unwrap()],
        public_url: Some("https://gate.example".parse().unwrap()),
        ..ServerOptions::default()
    };
    let (_server, address) = start(&double, options).await;
    let far =
        |coding: &'static str| [("x-forwarded-for", "198.51.100.7"), ("accept-encoding", coding)];
    let plain = get(address, PAGE, &far("identity")).await;
    let mut tags = vec![plain.header("etag").unwrap().to_owned()];
    for coding in ["gzip", "br", "zstd"] {
        let r = get(address, PAGE, &far(coding)).await;
        assert_eq!((r.status, r.header("content-encoding")), (200, Some(coding)));
        let unpacked = match coding {
            "zstd" => zstd::decode_all(r.body.as_slice()).unwrap(),
            "br" => {
                let mut out = Vec::new();
                brotli::Decompressor::new(&*r.body, 4096).read_to_end(&mut out).unwrap();
                out
            }
            _ => {
                let mut out = Vec::new();
                flate2::read::GzDecoder::new(&*r.body).read_to_end(&mut out).unwrap();
                out
            }
        };
        assert_eq!(unpacked, plain.body, "{coding}");
        let tag = r.header("etag").unwrap().to_owned();
        let [a, b] = far(coding);
        let again = get(address, PAGE, &[a, b, ("if-none-match", &tag)]).await;
        assert_eq!(again.status, 304, "{coding}");
        tags.push(tag);
    }
    for (i, tag) in tags.iter().enumerate() {
        assert!(!tags[i + 1..].contains(tag), "{tags:?}");
    }
    // One tag does not stand for another coding.
    let [a, b] = far("br");
    assert_eq!(get(address, PAGE, &[a, b, ("if-none-match", &tags[1])]).await.status, 200);
    assert_eq!(get(address, PAGE, &far("identity;q=0, *;q=0")).await.status, 406);
    let near = get(address, PAGE, &[("accept-encoding", "gzip, br, zstd")]).await;
    assert_eq!(near.header("content-encoding"), None, "this machine gets it as it is");
    let forced = get(address, PAGE, &[("accept-encoding", "gzip, identity;q=0")]).await;
    assert_eq!(forced.header("content-encoding"), Some("gzip"));
    let small = get(address, "/pypi/simple/small/", &far("gzip")).await;
    assert_eq!(small.header("content-encoding"), None);
    assert_eq!(double.count(), 2, "codings are no new questions");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_who_ask_for_the_same_are_one_question() {
    let double = Double::default();
    double.put(package("lodash"), |generation| {
        async move {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let document = Document::ok("application/json", b"{}".to_vec());
            Served { answer: Answer::Document(document), keep: minute(generation) }
        }
        .boxed()
    });
    let (_server, address) = start(&double, ServerOptions::default()).await;
    let clients: Vec<_> = (0..400)
        .map(|_| tokio::spawn(async move { get(address, "/npm/lodash", &[]).await.status }))
        .collect();
    for client in clients {
        assert_eq!(client.await.unwrap(), 200);
    }
    assert_eq!(double.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_does_not_end_the_question_of_the_others() {
    let double = Double::default();
    let ended = Arc::new(AtomicUsize::new(0));
    let inside = ended.clone();
    double.put(package("slow"), move |generation| {
        let ended = inside.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(300)).await;
            ended.fetch_add(1, Ordering::SeqCst);
            let document = Document::ok("application/json", b"{}".to_vec());
            Served { answer: Answer::Document(document), keep: minute(generation) }
        }
        .boxed()
    });
    let (_server, address) = start(&double, ServerOptions::default()).await;
    let leaving = tokio::spawn(async move { get(address, "/npm/slow", &[]).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    leaving.abort();
    assert_eq!(get(address, "/npm/slow", &[]).await.status, 200);
    assert_eq!((double.count(), ended.load(Ordering::SeqCst)), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_given_on_grounds_that_are_gone() {
    let m = minted(&[1000]).await;
    let (admitted, bytes) = m.artifacts[0].clone();
    let double = Double::default();
    double.artifact(file("flask", "flask-1.0.whl"), admitted.clone());
    let (_server, address) = start(&double, ServerOptions::default()).await;
    let path = "/pypi/files/flask/flask-1.0.whl";
    assert_eq!(get(address, path, &[]).await.body, bytes);
    assert_eq!(get(address, path, &[]).await.status, 200);
    assert_eq!(double.count(), 1);
    // Recalled: the engine refuses it now. What lies in memory must not be given.
    double.put(file("flask", "flask-1.0.whl"), |generation| {
        let decision = Decision::refused_by_gate(ReasonCode::KnownMalicious, "MAL-1", "p".into());
        let refusal = Refusal::unrecorded("flask 1.0", decision, Timestamp(0));
        let served =
            Served { answer: Answer::Refused(Arc::new(refusal)), keep: minute(generation) };
        async move { served }.boxed()
    });
    assert_eq!(get(address, path, &[]).await.status, 200, "still on the old grounds");
    double.next_generation();
    let r = get(address, path, &[]).await;
    assert_eq!((r.status, r.header("countersign-reason")), (403, Some("known-malicious")));
    assert!(!r.body.windows(16).any(|w| bytes.windows(16).any(|b| b == w)));
    let conditional = format!("\"{}\"", admitted.sha256());
    let r = get(address, path, &[("if-none-match", &conditional)]).await;
    assert_eq!(r.status, 403, "a client that has it is told as well");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flight_that_the_grounds_changed_under_is_flown_again() {
    let double = Double::default();
    let inside = double.clone();
    double.put(package("x"), move |generation| {
        let double = inside.clone();
        async move {
            if generation == 0 {
                double.next_generation();
            }
            let text = format!("{{\"generation\":{generation}}}");
            let document = Document::ok("application/json", text.into_bytes());
            Served { answer: Answer::Document(document), keep: minute(generation) }
        }
        .boxed()
    });
    let (_server, address) = start(&double, ServerOptions::default()).await;
    assert_eq!(get(address, "/npm/x", &[]).await.text(), "{\"generation\":1}");
}

#[tokio::test(flavor = "multi_thread")]
async fn artifacts_whole_in_parts_and_from_both_places() {
    let m = minted(&[40_000, 900_000]).await;
    let double = Double::default();
    let names = ["small-1.0.whl", "large-1.0.whl"];
    for (name, (admitted, _)) in names.iter().zip(&m.artifacts) {
        double.artifact(file("x", name), admitted.clone());
    }
    let fetched = Arc::new(Mutex::new(Vec::new()));
    let inside = fetched.clone();
    // The second is too large for the memory, and is read while it is sent.
    let options = ServerOptions {
        memory: Memory { artifact: 100_000, ..Memory::default() },
        on_fetch: Some(Arc::new(move |admitted, route, asker| {
            inside.lock().unwrap().push((admitted.sha256(), route.clone(), asker.clone()));
        })),
        ..ServerOptions::default()
    };
    let (_server, address) = start(&double, options).await;
    let mut expected = 0;
    for (name, (admitted, bytes)) in names.iter().zip(&m.artifacts) {
        let path = format!("/pypi/files/x/{name}");
        let (etag, size) = (format!("\"{}\"", admitted.sha256()), bytes.len());
        let whole = get(address, &path, &[("user-agent", "pip/25")]).await;
        assert_eq!((whole.status, whole.body == *bytes), (200, true), "{name}");
        assert_eq!(whole.header("etag"), Some(&*etag));
        assert_eq!(whole.header("cache-control"), Some("no-cache"));
        assert_eq!(whole.header("accept-ranges"), Some("bytes"));
        for (range, want) in [
            ("bytes=0-99", 0..100),
            ("bytes=100-", 100..size),
            ("bytes=-7", size - 7..size),
            ("bytes=30000-30000", 30_000..30_001),
        ] {
            let r = get(address, &path, &[("range", range)]).await;
            assert_eq!(r.status, 206, "{name} {range}");
            assert_eq!(r.body, bytes[want.clone()], "{name} {range}");
            let said = format!("bytes {}-{}/{size}", want.start, want.end - 1);
            assert_eq!(r.header("content-range"), Some(&*said));
        }
        let good = get(address, &path, &[("range", "bytes=1-2"), ("if-range", &etag)]).await;
        assert_eq!((good.status, good.body.len()), (206, 2));
        let bad = get(address, &path, &[("range", "bytes=1-2"), ("if-range", "\"x\"")]).await;
        assert_eq!((bad.status, bad.body.len()), (200, size));
        expected += 7;
        let beyond = get(address, &path, &[("range", "bytes=99999999-")]).await;
        assert_eq!(beyond.status, 416);
        assert_eq!(beyond.header("content-range"), Some(&*format!("bytes */{size}")));
        let head = request(address, "HEAD", &path, &[]).await;
        assert_eq!(head.header("content-length"), Some(&*size.to_string()));
        let had = get(address, &path, &[("if-none-match", &etag)]).await;
        assert_eq!((had.status, had.body.len()), (304, 0));
    }
    let fetched = fetched.lock().unwrap();
    assert_eq!(fetched.len(), expected, "HEAD, 304 and 416 hand nothing out");
    assert_eq!(fetched[0].0, m.artifacts[0].0.sha256());
    assert_eq!(fetched[0].1, file("x", names[0]));
    assert_eq!(fetched[0].2.agent.as_deref(), Some("pip/25"));
    assert_eq!(double.count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_was_changed_is_not_sent() {
    let m = minted(&[40_000, 900_000]).await;
    let double = Double::default();
    for (i, (admitted, _)) in m.artifacts.iter().enumerate() {
        double.artifact(file("x", &format!("{i}.whl")), admitted.clone());
    }
    let memory = Memory { artifact: 100_000, ..Memory::default() };
    let (_server, address) = start(&double, ServerOptions { memory, ..Default::default() }).await;
    for (i, (admitted, bytes)) in m.artifacts.iter().enumerate() {
        let blob = m.engine.store().blob_file(&admitted.sha256()).unwrap();
        let mut changed = bytes.clone();
        changed[20_000] ^= 1;
        let mut mode = std::fs::metadata(&blob).unwrap().permissions();
        #[expect(clippy::permissions_set_readonly_false, reason = "a file of this test's own")]
        mode.set_readonly(false);
        std::fs::set_permissions(&blob, mode).unwrap();
        std::fs::write(&blob, changed).unwrap();
        let r = get(address, &format!("/pypi/files/x/{i}.whl"), &[]).await;
        assert_eq!(r.status, 500, "{i}");
        assert!(r.text().contains("countersign doctor"), "{}", r.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_are_told_apart_and_credentials_stay_here() {
    let double = Double::default();
    for route in [project("flask"), package("lodash")] {
        double.document(route, "application/json", "{}");
    }
    let (_server, address) = start(&double, ServerOptions::default()).await;
    let json = ("accept", "application/vnd.pypi.simple.v1+json");
    let secret = ("authorization", "Bearer s3cret");
    let rest = [("cookie", "a=b"), ("if-none-match", "\"x\""), ("range", "bytes=0-1")];
    get(address, PAGE, &[json, secret, rest[0], rest[1], rest[2], ("user-agent", "pip/25")]).await;
    get(address, PAGE, &[]).await;
    get(address, "/npm/lodash", &[("accept", "application/vnd.npm.install-v1+json")]).await;
    get(address, "/npm/lodash", &[]).await;
    let seen = double.seen();
    let forms: Vec<Form> = seen.iter().map(|s| s.form).collect();
    assert_eq!(forms, [Form::PypiJson, Form::Plain, Form::NpmAbbreviated, Form::Plain]);
    let names: Vec<&str> = seen[0].headers.keys().map(http::HeaderName::as_str).collect();
    assert_eq!(names, ["user-agent", "accept"], "{names:?}");
    assert_eq!(seen[0].asker.agent.as_deref(), Some("pip/25"));
    assert_eq!(seen[0].asker.address, Some(address.ip()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_cannot_be_reached_is_503_and_everything_else_says_why() {
    let double = Double::default();
    for (name, reason) in [
        ("failed", ReasonCode::UpstreamFailed),
        ("stalled", ReasonCode::UpstreamStalled),
        ("vulnerable", ReasonCode::KnownVulnerable),
        ("internal", ReasonCode::Internal),
    ] {
        double.put(package(name), move |_| {
            let decision = Decision::refused_by_gate(reason, "because", "p".into());
            let refusal = Arc::new(Refusal::unrecorded(name, decision, Timestamp(0)));
            async move { Served { answer: Answer::Refused(refusal), keep: None } }.boxed()
        });
    }
    let (_server, address) = start(&double, ServerOptions::default()).await;
    for (name, status, retry) in [
        ("failed", 503, Some("10")),
        ("stalled", 503, Some("10")),
        ("vulnerable", 403, None),
        ("internal", 500, None),
    ] {
        let r = get(address, &format!("/npm/{name}"), &[("user-agent", "npm/10")]).await;
        assert_eq!((r.status, r.header("retry-after")), (status, retry), "{name}");
        assert_eq!(r.header("cache-control"), Some("no-store"));
        let problem: serde_json::Value = serde_json::from_slice(&r.body).unwrap();
        assert_eq!(problem["status"], status, "{name}");
        assert!(r.line.contains("countersign"), "the reason phrase says why: {}", r.line);
    }
    get(address, "/npm/failed", &[]).await;
    assert_eq!(double.count(), 5, "failures are not kept");
}

fn passing(status: StatusCode, headers: &[(http::HeaderName, &'static str)]) -> PassedOn {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(name.clone(), HeaderValue::from_static(value));
    }
    let parts = ["Origin: ", "Debian\n"].map(|t| Ok(bytes::Bytes::from_static(t.as_bytes())));
    PassedOn { status, headers: map, body: Box::pin(futures_util::stream::iter(parts)) }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_passed_on_keeps_only_what_describes_it() {
    let double = Double::default();
    let upstream = Upstream { name: "bookworm".into(), ..debian("http://deb.example/debian") };
    double.upstream(upstream);
    let route =
        Route::Debian { upstream: "bookworm".into(), path: "dists/stable/InRelease".into() };
    double.put(route, |_| {
        let headers = [
            (header::LAST_MODIFIED, "Sat, 12 Jul 2025 08:30:01 GMT"),
            (header::CONTENT_TYPE, "text/plain"),
            (header::SET_COOKIE, "a=b"),
            (header::SERVER, "nginx"),
            (header::STRICT_TRANSPORT_SECURITY, "max-age=1"),
        ];
        let stream = passing(StatusCode::OK, &headers);
        async move { Served { answer: Answer::Stream(stream), keep: None } }.boxed()
    });
    let (_server, address) = start(&double, ServerOptions::default()).await;
    let path = "/debian/bookworm/dists/stable/InRelease";
    for _ in 0..2 {
        let r = get(address, path, &[]).await;
        assert_eq!((r.status, r.text()), (200, "Origin: Debian\n".to_owned()));
        assert_eq!(r.header("last-modified"), Some("Sat, 12 Jul 2025 08:30:01 GMT"));
        for not in ["set-cookie", "server", "strict-transport-security"] {
            assert_eq!(r.header(not), None, "{not}");
        }
    }
    let same = [("if-modified-since", "Sat, 12 Jul 2025 08:30:01 GMT")];
    assert_eq!(get(address, path, &same).await.status, 304);
    let other = [("if-modified-since", "Sat, 12 Jul 2025 08:30:02 GMT")];
    assert_eq!(get(address, path, &other).await.status, 200);
    // As a proxy, the same.
    let proxied = "http://deb.example/debian/dists/stable/InRelease";
    let r = get(address, proxied, &[("host", "deb.example")]).await;
    assert_eq!((r.status, r.text()), (200, "Origin: Debian\n".to_owned()));
}

fn debian(base: &str) -> Upstream {
    Upstream::new(Ecosystem::Debian, base).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn as_a_proxy_it_reads_debian_upstreams_and_nothing_else() {
    let double = Double::default();
    double.upstream(Upstream { name: "main".into(), ..debian("http://deb.example/debian/") });
    double
        .upstream(Upstream { name: "sec".into(), ..debian("http://deb.example/debian/security") });
    double.upstream(Upstream {
        name: "py".into(),
        ..Upstream::new(Ecosystem::Pypi, "http://py.example/simple/").unwrap()
    });
    let path =
        |upstream: &str, path: &str| Route::Debian { upstream: upstream.into(), path: path.into() };
    for route in
        [path("main", "pool/a_1%2b.deb".replace("%2b", "+").as_str()), path("sec", "dists/x")]
    {
        double.document(route, "text/plain", "yes");
    }
    let (_server, address) = start(&double, ServerOptions::default()).await;
    for good in [
        "http://deb.example/debian/pool/a_1%2b.deb",
        "http://DEB.example:80/debian/pool/a_1+.deb",
        "http://deb.example/debian/security/dists/x",
    ] {
        let r = get(address, good, &[("host", "deb.example")]).await;
        assert_eq!((r.status, r.text()), (200, "yes".to_owned()), "{good}");
    }
    let here = format!("http://{address}/npm/lodash");
    for (bad, status) in [
        ("http://evil.example/debian/pool/a.deb", 403),
        ("http://deb.example:8080/debian/pool/a.deb", 403),
        ("https://deb.example/debian/pool/a.deb", 403),
        ("http://deb.example/debianx/pool/a.deb", 403),
        ("http://deb.example/other/x", 403),
        ("http://py.example/simple/flask/", 403),
        (&here, 403),
        ("http://deb.example/debian/../etc/passwd", 400),
        ("http://deb.example/debian/%2e%2e/x", 400),
        ("http://deb.example/debian//x", 400),
        ("http://me:pw@deb.example/debian/pool/a.deb", 400),
        ("http://deb.example/debian/", 404),
    ] {
        let r = get(address, bad, &[("host", "deb.example")]).await;
        assert_eq!(r.status, status, "{bad}: {}", r.text());
    }
    let put = request(address, "PUT", "http://deb.example/debian/x", &[]).await;
    assert_eq!(put.status, 403);
    let r = request(address, "CONNECT", "deb.example:443", &[]).await;
    assert_eq!(r.status, 403);
    assert!(r.line.contains("/debian/<name>/"), "apt shows the line alone: {}", r.line);
    assert_eq!(double.count(), 2, "refused addresses ask nothing of the engine");
}

#[tokio::test(flavor = "multi_thread")]
async fn named_upstreams_have_registries_of_their_own() {
    let double = Double::default();
    double.upstream(Upstream {
        name: "acme".into(),
        ..Upstream::new(Ecosystem::Pypi, "http://py.acme.example/simple/").unwrap()
    });
    let route = Route::PypiProject { view: View::Named("acme".into()), project: "tools".into() };
    double.document(route, "text/html", page());
    let (_server, address) = start(&double, ServerOptions::default()).await;
    let r = get(address, "/u/acme/simple/tools/", &[]).await;
    assert!(r.text().contains(&format!("http://{address}/u/acme/files/flask/")), "{}", r.text());
    assert_eq!(get(address, "/u/other/simple/tools/", &[]).await.status, 404);
    let moved = get(address, "/u/acme/simple/tools", &[]).await;
    assert_eq!((moved.status, moved.header("location")), (301, Some("./tools/")));
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_of_npms_api_are_asked_one_by_one_with_their_bodies() {
    let double = Double::default();
    let api = "npm/v1/security/advisories/bulk".to_owned();
    let api = Route::NpmApi { view: View::All, api, query: None };
    double.document(api.clone(), "application/json", "{}");
    let (_server, address) = start(&double, ServerOptions::default()).await;
    for body in ["{\"a\":[\"1\"]}", "{\"b\":[\"2\"]}"] {
        let text = format!(
            "POST /npm/-/npm/v1/security/advisories/bulk HTTP/1.1\r\nhost: {address}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        let bytes = support::client::exchange(address, text).await;
        assert_eq!(support::client::replies(&bytes, false)[0].status, 200);
    }
    let seen = double.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[1].body, "{\"b\":[\"2\"]}");
    assert!(seen[1].headers.contains_key("content-type"));
}

#[tokio::test(flavor = "multi_thread")]
async fn request_ids_are_taken_over_when_they_are_sane() {
    let double = Double::default();
    let (_server, address) = start(&double, ServerOptions::default()).await;
    let r = get(address, "/healthz", &[("x-request-id", "abc-123")]).await;
    assert_eq!(r.header("x-request-id"), Some("abc-123"));
    let a = get(address, "/healthz", &[("x-request-id", "a b\"c")]).await;
    let b = get(address, "/healthz", &[]).await;
    let ids = (a.header("x-request-id").unwrap(), b.header("x-request-id").unwrap());
    assert!(ids.0 != ids.1 && ids.0 != "a b\"c", "{ids:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_says_what_is_missing() {
    let double = Double::default();
    let (_server, address) = start(&double, ServerOptions::default()).await;
    let ready = get(address, "/readyz", &[]).await;
    assert_eq!((ready.status, ready.text()), (200, "{\"ready\":true,\"reasons\":[]}\n".to_owned()));
    double.break_ledger("disk I/O error");
    let not = get(address, "/readyz", &[]).await;
    assert_eq!(not.status, 503);
    assert!(not.text().contains("disk I/O error"), "{}", not.text());
    assert_eq!(get(address, "/healthz", &[]).await.status, 200);
}
