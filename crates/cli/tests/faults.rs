//! Upstreams that misbehave: each fault has its reason, nothing of it reaches the client or stays.

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

use flate2::{Compression, write::GzEncoder};
use serde_json::json;
use std::io::Write as _;
use std::time::Duration;
use support::archives::{wheel, wheel_name, wheel_with};
use support::registries::{Cargo, Npm, OLD, PyFile, Pypi};
use support::server::{Body, Fault, Reply, Upstream};
use support::{Run, Sandbox, cargo, npm, python, skipped};

const PATIENCE: &str = "[patience]\nconnect-seconds = 2\nread-seconds = 1\n";
const JSON: &str = "application/vnd.pypi.simple.v1+json";

fn file() -> String {
    wheel_name("lib", "1.0.0")
}

/// A sandbox whose pip is configured for an index; `None` without pip.
fn sandbox(index: &Pypi<'_>) -> Option<Sandbox> {
    if skipped("python3 with pip", python()) {
        return None;
    }
    let mut s = Sandbox::new();
    s.venv(python()?);
    s.env("PIP_INDEX_URL", index.url()).env("PIP_RETRIES", "0").config(PATIENCE);
    s.deadline = Duration::from_secs(30);
    Some(s)
}

fn download(s: &Sandbox) -> Run {
    s.gate(&["pip", "download", "--no-deps", "-d", "out", "lib"])
}

/// Nothing was delivered, and nothing was kept.
#[track_caller]
fn nothing_came(s: &Sandbox, run: &Run) {
    let out = support::files_below(&s.work().join("out"));
    assert!(out.is_empty(), "{out:?} was delivered\n{}", run.transcript());
    assert!(s.blobs().is_empty(), "bytes were kept\n{}", run.transcript());
    let staged = support::files_below(&s.state().join("staging"));
    assert!(staged.is_empty(), "bytes stayed in staging\n{}", run.transcript());
}

/// Lets the wheel's answer go wrong: it is refused for `reason`, recorded, and the run ends in `code`.
#[track_caller]
fn artifact_fault(
    change: impl Fn(Reply) -> Reply + Send + Sync + 'static,
    reason: &str,
    code: i32,
) {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    up.break_with(&index.file_path(&file()), change);
    let Some(s) = sandbox(&index) else { return };
    let run = download(&s);
    run.expect(code).expect_stopped(&[("lib 1.0.0", reason)]);
    assert!(
        run.artifact("lib 1.0.0")["waive"].is_null(),
        "a waiver cannot lift it\n{}",
        run.transcript()
    );
    nothing_came(&s, &run);
    s.expect_decision("pkg:pypi/lib@1.0.0", "refuse", reason);
    s.fsck();
}

#[test]
fn truncated() {
    artifact_fault(|r| r.fault(Fault::CloseAfter(100)), "upstream-truncated", 90);
}

#[test]
fn truncated_at_the_last_byte() {
    let all = wheel("lib", "1.0.0").len() as u64;
    artifact_fault(move |r| r.fault(Fault::CloseAfter(all - 1)), "upstream-truncated", 90);
}

#[test]
fn truncated_between_chunks() {
    artifact_fault(|r| r.fault(Fault::ChunkedUntil(100)), "upstream-truncated", 90);
}

#[test]
fn truncated_without_an_announced_length() {
    artifact_fault(|r| r.fault(Fault::Unannounced(100)), "upstream-truncated", 90);
}

#[test]
fn announced_too_short() {
    artifact_fault(|r| r.fault(Fault::Announce(100)), "upstream-truncated", 90);
}

#[test]
fn empty() {
    artifact_fault(|_| Reply::file(Vec::new()), "upstream-truncated", 90);
}

#[test]
fn stalled_in_the_middle() {
    artifact_fault(|r| r.fault(Fault::StallAfter(100)), "upstream-stalled", 93);
}

#[test]
fn stalled_after_the_headers() {
    artifact_fault(|r| r.fault(Fault::StallAfter(0)), "upstream-stalled", 93);
}

#[test]
fn stalled_at_once() {
    artifact_fault(|r| r.fault(Fault::StallAtOnce), "upstream-stalled", 93);
}

#[test]
fn closed_at_once() {
    artifact_fault(|r| r.fault(Fault::CloseAtOnce), "upstream-failed", 93);
}

#[test]
fn other_bytes_of_the_same_length() {
    let other = |r: Reply| {
        let Body::Bytes(bytes) = &r.body else { return r };
        let mut other = bytes.to_vec();
        *other.last_mut().unwrap() ^= 1;
        Reply::file(other)
    };
    artifact_fault(other, "digest-mismatch", 90);
}

/// Whole as it was announced, and larger than the index says: not cut short, but another file.
#[test]
fn another_and_larger_file() {
    let other = wheel_with("lib", "1.0.0", &[("lib/__init__.py", &[b'#'; 5000])], &[]);
    artifact_fault(move |_| Reply::file(other.clone()), "digest-mismatch", 90);
}

#[test]
fn a_page_instead_of_an_archive() {
    artifact_fault(
        |_| Reply::ok("text/html; charset=utf-8", "<!DOCTYPE html><p>log in"),
        "upstream-type",
        90,
    );
}

#[test]
fn a_page_that_calls_itself_an_archive() {
    artifact_fault(|_| Reply::file("\n  <html><p>log in"), "upstream-type", 90);
}

#[test]
fn a_body_in_another_encoding() {
    let pack = |r: Reply| {
        let Body::Bytes(bytes) = &r.body else { return r };
        let mut gz = GzEncoder::new(Vec::new(), Compression::fast());
        gz.write_all(bytes).unwrap();
        Reply::file(gz.finish().unwrap()).header("content-encoding", "gzip")
    };
    artifact_fault(pack, "upstream-type", 90);
}

#[test]
fn a_redirect_in_a_circle() {
    artifact_fault(
        |_| Reply::redirect(&format!("/files/{}?again", file())),
        "upstream-redirect",
        90,
    );
}

#[test]
fn a_redirect_to_nowhere() {
    artifact_fault(|_| Reply::error(302), "upstream-redirect", 90);
}

#[test]
fn a_redirect_out_of_http() {
    artifact_fault(|_| Reply::redirect("file:///etc/passwd"), "upstream-redirect", 90);
}

#[test]
fn not_found() {
    artifact_fault(|_| Reply::error(404), "upstream-failed", 93);
}

#[test]
fn forbidden() {
    artifact_fault(|_| Reply::error(403), "upstream-failed", 93);
}

#[test]
fn an_error_of_the_server() {
    artifact_fault(|_| Reply::error(500), "upstream-failed", 93);
}

#[test]
fn a_part_that_nobody_asked_for() {
    artifact_fault(
        |r| Reply { status: 206, ..r }.header("content-range", "bytes 0-9/10"),
        "upstream-failed",
        93,
    );
}

#[test]
fn a_redirect_elsewhere_is_not_followed() {
    let (up, elsewhere) = (Upstream::start(), Upstream::start());
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    elsewhere.put("/lib.whl", Reply::file(wheel("lib", "1.0.0")));
    let target = elsewhere.url("/lib.whl");
    up.break_with(&index.file_path(&file()), move |_| Reply::redirect(&target));
    let Some(mut s) = sandbox(&index) else { return };
    let run = download(&s);
    run.expect(90).expect_stopped(&[("lib 1.0.0", "upstream-redirect")]);
    nothing_came(&s, &run);
    assert!(elsewhere.seen().is_empty(), "even the right bytes are not fetched from there");
    // Listed for that upstream, the host may serve downloads.
    s.config(&format!(
        "{PATIENCE}[[upstream]]\necosystem = \"pypi\"\nurl = \"{}\"\nredirects = [\"127.0.0.1\"]\n",
        index.url()
    ));
    download(&s).expect(0).expect_admitted(&["lib 1.0.0"]);
    assert_eq!(elsewhere.count("/lib.whl"), 1);
}

#[test]
fn a_redirect_within_the_upstream_is_followed() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    up.put("/moved/lib.whl", Reply::file(wheel("lib", "1.0.0")));
    up.break_with(&index.file_path(&file()), |_| Reply::redirect("/moved/lib.whl"));
    let Some(s) = sandbox(&index) else { return };
    download(&s).expect(0).expect_admitted(&["lib 1.0.0"]);
}

#[test]
fn a_server_that_recovers_is_asked_again() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    let asked = std::sync::atomic::AtomicU32::new(0);
    up.break_with(&index.file_path(&file()), move |good| {
        let first = asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0;
        if first { Reply::error(503) } else { good }
    });
    let Some(s) = sandbox(&index) else { return };
    download(&s).expect(0).expect_admitted(&["lib 1.0.0"]);
}

#[test]
fn a_run_after_a_failed_one_tries_again() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    up.break_with(&index.file_path(&file()), |r| r.fault(Fault::CloseAfter(10)));
    let Some(s) = sandbox(&index) else { return };
    download(&s).expect(90);
    up.put(&index.file_path(&file()), Reply::file(wheel("lib", "1.0.0")));
    download(&s).expect(0).expect_admitted(&["lib 1.0.0"]);
    assert_eq!(s.ledger().len(), 2, "both decisions are on record");
    s.fsck();
}

#[test]
fn larger_than_the_limit() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    let Some(mut s) = sandbox(&index) else { return };
    s.config("[limits]\nartifact-bytes = 300\n");
    let all = wheel("lib", "1.0.0").len() as u64;
    for fault in [Fault::None, Fault::Unannounced(all)] {
        up.put(&index.file_path(&file()), Reply::file(wheel("lib", "1.0.0")).fault(fault));
        let run = download(&s);
        run.expect(90).expect_stopped(&[("lib 1.0.0", "too-large")]);
        nothing_came(&s, &run);
    }
}

/// Without a size in the index only the digest can tell.
#[test]
fn announced_too_short_by_an_index_without_sizes() {
    let up = Upstream::start();
    let index = Pypi::new(&up).html_only();
    index.wheel("lib", "1.0.0", OLD);
    up.break_with(&index.file_path(&file()), |r| r.fault(Fault::Announce(100)));
    let Some(s) = sandbox(&index) else { return };
    let run = download(&s);
    run.expect(90).expect_stopped(&[("lib 1.0.0", "digest-mismatch")]);
    nothing_came(&s, &run);
}

/// Lets the project's page go wrong: the client gets no page, the report says why.
#[track_caller]
fn index_fault(
    change: impl Fn(Reply) -> Reply + Send + Sync + 'static,
    config: &str,
    reason: &str,
    code: i32,
) {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    up.break_with(&index.page_path("lib"), change);
    let Some(mut s) = sandbox(&index) else { return };
    s.config(&format!("{PATIENCE}{config}"));
    let run = download(&s);
    run.expect(code);
    let reasons: Vec<String> = run.stopped().into_iter().map(|(_, r)| r).collect();
    assert_eq!(reasons, [reason], "{}", run.transcript());
    nothing_came(&s, &run);
    assert_eq!(up.count(&index.file_path(&file())), 0);
}

fn page(text: impl Into<Vec<u8>>) -> Reply {
    Reply::ok(JSON, text)
}

#[test]
fn an_index_that_is_no_json() {
    index_fault(|_| page("{\"files\": ["), "", "index-malformed", 93);
}

#[test]
fn an_index_that_is_nested_deeply() {
    index_fault(|_| page("[".repeat(500_000)), "", "index-malformed", 93);
    let inside =
        format!("{{\"name\":\"lib\",\"files\":{}{}}}", "[".repeat(200_000), "]".repeat(200_000));
    index_fault(move |_| page(inside.clone()), "", "index-malformed", 93);
}

#[test]
fn the_index_of_another_project() {
    let other = "{\"meta\":{\"api-version\":\"1.0\"},\"name\":\"other\",\"files\":[]}";
    index_fault(move |_| page(other), "", "index-malformed", 93);
}

#[test]
fn an_index_larger_than_the_limit() {
    index_fault(|_| page(vec![b' '; 50_000]), "[limits]\nindex-bytes = 20000\n", "too-large", 90);
}

#[test]
fn an_index_that_unpacks_beyond_the_limit() {
    let mut gz = GzEncoder::new(Vec::new(), Compression::best());
    for _ in 0..64 {
        gz.write_all(&vec![b' '; 1 << 20]).unwrap();
    }
    let packed = gz.finish().unwrap();
    index_fault(
        move |_| page(packed.clone()).header("content-encoding", "gzip"),
        "[limits]\nindex-bytes = 1000000\n",
        "too-large",
        90,
    );
}

#[test]
fn an_index_that_is_truncated() {
    index_fault(|r| r.fault(Fault::CloseAfter(40)), "", "upstream-truncated", 93);
}

#[test]
fn an_index_that_stalls() {
    index_fault(|r| r.fault(Fault::StallAfter(40)), "", "upstream-stalled", 93);
    index_fault(|r| r.fault(Fault::StallAtOnce), "", "upstream-stalled", 93);
}

#[test]
fn an_index_whose_server_fails() {
    index_fault(|_| Reply::error(500), "", "upstream-failed", 93);
    index_fault(|r| r.fault(Fault::CloseAtOnce), "", "upstream-failed", 93);
}

#[test]
fn an_index_that_redirects_elsewhere() {
    let elsewhere = Upstream::start();
    let target = elsewhere.url("/simple/lib/");
    index_fault(move |_| Reply::redirect(&target), "", "upstream-redirect", 93);
    assert!(elsewhere.seen().is_empty());
}

#[test]
fn an_index_that_is_not_there_is_the_clients_to_explain() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    let Some(s) = sandbox(&index) else { return };
    let run = download(&s);
    run.expect(1).says("No matching distribution found for lib");
    assert!(run.stopped().is_empty(), "{}", run.transcript());
}

#[test]
fn a_registry_that_nobody_answers_for() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    let Some(mut s) = sandbox(&index) else { return };
    let gone = {
        let other = Upstream::start();
        other.url("/simple/")
    };
    s.env("PIP_INDEX_URL", gone);
    let run = download(&s);
    run.expect(93);
    assert_eq!(
        run.stopped().into_iter().map(|(_, r)| r).collect::<Vec<_>>(),
        ["upstream-failed"],
        "{}",
        run.transcript()
    );
}

#[test]
fn an_index_in_gzip_is_read() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    up.break_with(&index.page_path("lib"), |r| {
        let Body::Bytes(bytes) = &r.body else { return r };
        let mut gz = GzEncoder::new(Vec::new(), Compression::fast());
        gz.write_all(bytes).unwrap();
        Reply { body: Body::Bytes(gz.finish().unwrap().into()), ..r }
            .header("content-encoding", "gzip")
    });
    let Some(s) = sandbox(&index) else { return };
    download(&s).expect(0).expect_admitted(&["lib 1.0.0"]);
}

#[test]
fn a_file_of_another_project_is_not_offered() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    index.add("lib", PyFile::new(&wheel_name("evil", "9.0.0"), wheel("evil", "9.0.0"), OLD));
    let Some(s) = sandbox(&index) else { return };
    download(&s).expect(0).expect_admitted(&["lib 1.0.0"]);
    // Asked for by its address, it is in no index that the gate knows.
    let run = s.gate(&[
        "pip",
        "download",
        "--no-deps",
        "-d",
        "out",
        &up.url(&index.file_path(&wheel_name("evil", "9.0.0"))),
    ]);
    assert!(run.code >= 90, "{}", run.transcript());
    assert_eq!(up.count(&index.file_path(&wheel_name("evil", "9.0.0"))), 0);
}

/// Lets npm's document go wrong.
#[track_caller]
fn packument_fault(
    change: impl Fn(Reply) -> Reply + Send + Sync + 'static,
    reason: &str,
    code: i32,
) {
    if skipped("npm with node", npm()) {
        return;
    }
    let up = Upstream::start();
    let registry = Npm::new(&up);
    registry.add("lib", "1.0.0", OLD, json!({}), &[]);
    up.break_with("/lib", change);
    let mut s = Sandbox::new();
    s.env("npm_config_registry", registry.url()).env("npm_config_audit", "false");
    s.env("npm_config_fetch_retries", "0").config(PATIENCE);
    s.deadline = Duration::from_secs(30);
    s.write("package.json", "{\"name\": \"project\", \"version\": \"1.0.0\"}");
    let run = s.gate(&["npm", "install", "lib"]);
    run.expect(code);
    let reasons: Vec<String> = run.stopped().into_iter().map(|(_, r)| r).collect();
    assert_eq!(reasons, [reason], "{}", run.transcript());
    assert_eq!(up.count(&Npm::tarball_path("lib", "1.0.0")), 0);
    assert!(s.blobs().is_empty() && !s.work().join("node_modules/lib").exists());
}

#[test]
fn a_packument_that_is_none() {
    packument_fault(
        |_| Reply::ok("application/json", "{\"name\": \"lib\", \"versions\": 7}"),
        "index-malformed",
        93,
    );
    packument_fault(|_| Reply::ok("text/html", "<html>log in"), "index-malformed", 93);
    packument_fault(|_| Reply::ok("application/json", "[".repeat(300_000)), "index-malformed", 93);
}

#[test]
fn the_packument_of_another_package() {
    let other = json!({"name": "other", "dist-tags": {}, "versions": {}}).to_string();
    packument_fault(move |_| Reply::ok("application/json", other.clone()), "index-malformed", 93);
}

#[test]
fn a_packument_that_stalls_or_fails() {
    packument_fault(|r| r.fault(Fault::StallAfter(10)), "upstream-stalled", 93);
    packument_fault(|r| r.fault(Fault::CloseAfter(10)), "upstream-truncated", 93);
    packument_fault(|_| Reply::error(503), "upstream-failed", 93);
}

/// Lets a file of cargo's registry go wrong.
#[track_caller]
fn crate_index_fault(
    path: &str,
    change: impl Fn(Reply) -> Reply + Send + Sync + 'static,
    reason: &str,
    code: i32,
) {
    if skipped("cargo", cargo()) {
        return;
    }
    let up = Upstream::start();
    let registry = Cargo::new(&up);
    registry.add("library", "1.0.0", OLD);
    up.break_with(path, change);
    let mut s = Sandbox::new();
    s.path_first(cargo().unwrap().parent().unwrap());
    let home = s.at("cargo-home");
    std::fs::create_dir(&home).unwrap();
    let config = format!(
        "[source.crates-io]\nreplace-with = \"own\"\n[source.own]\nregistry = \"{}\"\n[net]\nretry = 0\n",
        registry.url()
    );
    std::fs::write(home.join("config.toml"), config).unwrap();
    s.env("CARGO_HOME", &home).config(PATIENCE);
    s.deadline = Duration::from_secs(30);
    s.write("Cargo.toml", "[package]\nname = \"project\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[workspace]\n[dependencies]\nlibrary = \"1\"\n");
    s.write("src/lib.rs", "");
    let run = s.gate(&["cargo", "fetch"]);
    run.expect(code);
    let reasons: Vec<String> = run.stopped().into_iter().map(|(_, r)| r).collect();
    assert!(!reasons.is_empty() && reasons.iter().all(|r| r == reason), "{}", run.transcript());
    assert!(s.blobs().is_empty());
}

const CRATE_INDEX: &str = "/index/li/br/library";

#[test]
fn a_crate_index_that_is_none() {
    crate_index_fault(
        CRATE_INDEX,
        |_| Reply::ok("text/plain", "[".repeat(300_000)),
        "index-malformed",
        93,
    );
    crate_index_fault(
        "/index/config.json",
        |_| Reply::ok("application/json", "{}"),
        "index-malformed",
        93,
    );
    crate_index_fault(
        "/index/config.json",
        |_| Reply::ok("application/json", "{\"dl\": \"file:///etc\"}"),
        "index-malformed",
        93,
    );
}

#[test]
fn a_crate_index_that_stalls_or_fails() {
    crate_index_fault(CRATE_INDEX, |r| r.fault(Fault::StallAfter(10)), "upstream-stalled", 93);
    crate_index_fault(CRATE_INDEX, |r| r.fault(Fault::CloseAfter(10)), "upstream-truncated", 93);
    crate_index_fault("/index/config.json", |_| Reply::error(500), "upstream-failed", 93);
}

#[test]
fn a_crate_that_is_truncated() {
    let path = Cargo::crate_path("library", "1.0.0");
    crate_index_fault(&path, |r| r.fault(Fault::CloseAfter(10)), "upstream-truncated", 90);
    crate_index_fault(&path, |_| Reply::ok("text/html", "<html>log in"), "upstream-type", 90);
}
