//! `countersign serve`: its configuration, its check, and how it lives and ends.

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

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Instant;
use support::server::{Reply, Upstream};
use support::serving::{PATIENCE, Serving};
use support::{Sandbox, write_program};

fn pypi(upstream: &Upstream) -> String {
    upstream.put("/simple/", Reply::ok("text/html", "<!DOCTYPE html>"));
    format!(
        "[[upstream]]\necosystem = \"pypi\"\nname = \"pypi\"\nurl = \"{}\"\n",
        upstream.url("/simple/")
    )
}

fn record(id: &str) -> String {
    serde_json::json!({
        "id": id, "modified": "2026-01-01T00:00:00Z",
        "affected": [{"package": {"ecosystem": "PyPI", "name": "demo"}, "versions": ["1.0"]}],
    })
    .to_string()
}

#[test]
fn every_fault_of_the_configuration_is_named_at_once() {
    let mut s = Sandbox::new();
    s.config("polcy = \"x\"\n\n[serve]\nlisten = \"here\"\ngrace-seconds = \"1\"\n");
    for args in [&["serve"][..], &["serve", "--check"]] {
        let run = s.countersign(args);
        run.expect(2).says("countersign.toml:1:1").says("did you mean `policy`?");
        run.says("countersign.toml:4:10").says("`here` is no address to listen on");
        run.says("countersign.toml:5:17").says("without quotes");
    }
    assert!(!s.state().join("store.sqlite").exists(), "a store was made for nothing");
}

#[test]
fn without_an_upstream_it_says_what_to_write() {
    let mut s = Sandbox::new();
    s.env("npm_config_registry", "https://registry.example/npm/");
    if support::skipped("npm", support::npm()) {
        return;
    }
    let run = s.countersign(&["serve"]);
    run.expect(2).says("no upstream is configured");
    run.says("ecosystem = \"npm\"").says("url = \"https://registry.example/npm/\"");
}

#[test]
fn the_check_names_each_point() {
    let upstream = Upstream::start();
    let mut s = Sandbox::new();
    let folder = s.at("policy");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(s.at("token"), "the-s3cret\n").unwrap();
    upstream.require_authorization("Bearer the-s3cret");
    let token = s.at("token").display().to_string();
    s.config(&format!("{}credential = {{ file = \"{token}\" }}\n", pypi(&upstream)));
    let run = s.countersign(&["serve", "--check"]);
    run.expect(0).says("ok    credential  pypi").says("answers 200 OK").says("ok    policy");
    s.expect_nowhere("the-s3cret", &[&run]);
    // The credential is another one now.
    std::fs::write(s.at("token"), "other").unwrap();
    s.countersign(&["serve", "--check"]).expect(0).says("it wants another credential");
    std::fs::remove_file(s.at("token")).unwrap();
    s.countersign(&["serve", "--check"]).expect(2).says("FAIL  credential");
    // An upstream that is away is no fault of the configuration.
    s.config("[[upstream]]\necosystem = \"npm\"\nurl = \"http://127.0.0.1:9/\"\n");
    s.countersign(&["serve", "--check"]).expect(0).says("warn  upstream");
    s.config(&format!(
        "policy = \"nowhere\"\nevidence = [\"/nowhere/e\"]\n{}ca = \"/nowhere/ca.pem\"\n[serve]\ntokens-file = \"/nowhere/t\"\n[serve.tls]\ncertificate = \"/nowhere/c\"\nkey = \"/nowhere/k\"\n",
        pypi(&upstream)
    ));
    let run = s.countersign(&["serve", "--check"]);
    run.expect(2);
    for area in ["policy", "evidence", "ca", "tokens", "tls"] {
        run.says(&format!("FAIL  {area:<11}"));
    }
    let run = s.countersign(&["serve"]);
    run.expect(2).says("policy `nowhere`").says("`/nowhere/e`").says("`/nowhere/t`");
}

#[test]
fn the_check_runs_the_policys_own_tests() {
    let upstream = Upstream::start();
    let mut s = Sandbox::new();
    let folder = s.at("policy");
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies/baseline");
    std::fs::create_dir_all(folder.join("tests")).unwrap();
    for file in std::fs::read_dir(shipped).unwrap().flatten() {
        std::fs::copy(file.path(), folder.join(file.file_name())).unwrap();
    }
    let case = "[[case]]\nname = \"it is as good as any\"\nexpect = \"refuse\"\n";
    std::fs::write(folder.join("tests/own.toml"), case).unwrap();
    s.config(&format!("policy = \"{}\"\n{}", folder.display(), pypi(&upstream)));
    let run = s.countersign(&["serve", "--check"]);
    run.expect(2).says("FAIL  policy");
}

#[test]
fn it_starts_tells_its_manager_reads_again_and_ends() {
    let upstream = Upstream::start();
    let mut s = Sandbox::new();
    let path = s.at("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    s.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "200000");
    let base = pypi(&upstream);
    s.config(&format!("{base}name-was-here = 1\n"));
    s.countersign(&["serve"]).expect(2).says("`name-was-here` is no key of `upstream`");
    s.config(&base);
    let gateway = Serving::start(&s, &[]);
    gateway.wait_for("countersign serves").wait_for("upstream   pypi").wait_for("pip config set");
    let heard = |want: &str| {
        let mut buffer = [0; 200];
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            let n = manager.recv(&mut buffer).unwrap();
            if &buffer[..n] == want.as_bytes() {
                return;
            }
        }
        panic!("the manager was not told `{want}`");
    };
    heard("READY=1");
    heard("WATCHDOG=1");
    heard("WATCHDOG=1");
    s.config(&format!("policy = \"strict\"\n{base}"));
    gateway.reload("configuration read again");
    assert!(gateway.said().contains("strict"), "{}", gateway.said());
    // What is no good leaves everything as it was.
    s.config(&format!("policy = \"stric\"\n{base}"));
    gateway.reload("everything stays as it was");
    s.config("nonsense");
    gateway.reload("everything stays as it was");
    s.config(&format!("policy = \"strict\"\n{base}[serve]\nindex-seconds = 1\n"));
    gateway.reload("takes effect with the next start");
    assert!(gateway.said().contains("serve.index-seconds"), "{}", gateway.said());
    let said = gateway.end();
    assert!(said.contains("stopped"), "{said}");
    heard("STOPPING=1");
}

#[test]
fn logs_are_lines_of_json_where_that_is_wanted() {
    let upstream = Upstream::start();
    let mut s = Sandbox::new();
    s.config(&format!("{}[serve]\nlog = \"json\"\n", pypi(&upstream)));
    let gateway = Serving::start(&s, &[]);
    gateway.wait_for("\"ready\"");
    let said = gateway.end();
    for line in said.lines() {
        let value: serde_json::Value =
            serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert!(value["timestamp"].is_string() && value["level"].is_string(), "{line}");
    }
}

#[test]
fn a_torn_feed_leaves_the_old_one_and_a_whole_one_takes_its_place() {
    let upstream = Upstream::start();
    let mut s = Sandbox::new();
    s.config(&pypi(&upstream));
    std::fs::write(s.at("feed/A.json"), record("A-1")).unwrap();
    let feed = s.at("feed").display().to_string();
    let gateway = Serving::start(&s, &["--feed", &feed]);
    gateway.wait_for("1 advisories about 1 packages");
    let address = gateway.address();
    std::fs::write(s.at("feed/B.zip"), b"PK\x03\x04 torn in the middle").unwrap();
    gateway.reload("feeds stay as they were");
    let (_, metrics) = support::serving::get(&address, "/metrics", None);
    assert!(metrics.contains("countersign_feed_changes_total{result=\"failed\"} 1"), "{metrics}");
    std::fs::remove_file(s.at("feed/B.zip")).unwrap();
    std::fs::write(s.at("feed/B.json"), record("B-1")).unwrap();
    // Noticed without being asked, too.
    gateway.wait_for("feeds replaced").wait_for("advisories=2");
    gateway.end();
}

#[test]
fn a_feed_with_an_address_is_fetched_on_time_and_only_when_it_changed() {
    let upstream = Upstream::start();
    let zip = |id: &str| {
        let mut out = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        let options: zip::write::SimpleFileOptions = Default::default();
        out.start_file(format!("{id}.json"), options).unwrap();
        std::io::Write::write_all(&mut out, record(id).as_bytes()).unwrap();
        out.finish().unwrap().into_inner()
    };
    let (first, second) = (zip("A-1"), zip("B-2"));
    let serve = |upstream: &Upstream, tag: &'static str, bytes: Vec<u8>| {
        upstream.put_fn("/feed.zip", move |seen| match seen.header("if-none-match") == Some(tag) {
            true => Reply::error(304),
            false => Reply::file(bytes.clone()).header("etag", tag),
        });
    };
    serve(&upstream, "\"one\"", first);
    let mut s = Sandbox::new();
    s.config(&pypi(&upstream));
    s.countersign(&["feed", "add", &upstream.url("/feed.zip")]).expect(0).says("1 advisories");
    s.countersign(&["feed", "sync"]).expect(0);
    assert!(upstream.seen().iter().any(|r| r.header("if-none-match") == Some("\"one\"")));
    s.config(&format!("{}[serve]\nfeed-seconds = 10\n", pypi(&upstream)));
    let gateway = Serving::start(&s, &[]);
    gateway.wait_for("1 advisories");
    serve(&upstream, "\"two\"", second);
    gateway.wait_for("feed fetched").wait_for("feeds replaced");
    // What is cut off in the middle is not used.
    upstream.put("/feed.zip", Reply::file(b"PK\x03\x04 torn".to_vec()));
    gateway.wait_for("feed not fetched").wait_for("stays in use");
    gateway.end();
}

#[test]
fn a_token_is_printed_once_and_the_configuration_gets_its_digest() {
    let mut s = Sandbox::new();
    let run = s.countersign(&["token", "new", "ci"]);
    run.expect(0);
    let token = run.stdout.trim().to_owned();
    let line = run.stderr.lines().find(|l| l.contains("tokens = [")).unwrap().trim().to_owned();
    let digest = countersign_core::Sha256Digest::of(token.as_bytes()).to_hex();
    assert!(line.contains(&digest) && !run.stderr.contains(&token), "{}", run.transcript());
    let upstream = Upstream::start();
    s.config(&format!("{}[serve]\n{line}\n", pypi(&upstream)));
    s.countersign(&["serve", "--check"]).expect(0).says("1 tokens");
    s.countersign(&["token", "new", "two words"]).expect(2).says("no name of a token");
}

#[test]
fn a_program_that_gives_credentials_is_asked_and_its_output_shown_nowhere() {
    let upstream = Upstream::start();
    upstream.require_login("gate:s3cret-word");
    let mut s = Sandbox::new();
    let program: PathBuf = s.at("give");
    write_program(&program, "#!/bin/sh\necho noise s3cret-word >&2\necho gate:s3cret-word\n");
    s.config(&format!(
        "{}credential = {{ command = [\"{}\"], scheme = \"basic\" }}\n",
        pypi(&upstream),
        program.display()
    ));
    let run = s.countersign(&["serve", "--check"]);
    run.expect(0).says("answers 200 OK");
    s.expect_nowhere("s3cret-word", &[&run]);
}
