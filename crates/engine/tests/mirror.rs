//! The mirror of a Debian repository, against a signed repository of the tests' own.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "tests fail by panicking, and each uses a part of the shared support"
)]

#[path = "../../cli/tests/support/archives.rs"]
mod archives;
#[path = "../../cli/tests/support/debian.rs"]
mod debian;
#[path = "../../cli/tests/support/pgp.rs"]
mod pgp;
#[path = "../../cli/tests/support/server.rs"]
mod server;

use archives::{deb, sha256};
use countersign_core::Ecosystem;
use countersign_engine::config::Config;
use countersign_engine::evidence_kinds::sigstore::TrustRoots;
use countersign_engine::policy::PolicySet;
use countersign_engine::serving::{Asker, Form, Route};
use countersign_engine::store::{OpenMode, Store, init_key};
use countersign_engine::{Answer, Engine, Serving, Setup, Upstream as Registry};
use debian::Debian;
use futures_util::TryStreamExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use pgp::Key;
use server::{Fault, Reply, Upstream};
use std::collections::HashMap;
use std::time::Duration;

/// A gate with a state of its own, in front of one repository.
struct Gate {
    engine: Engine,
    serving: Serving,
    folder: tempfile::TempDir,
    url: String,
}

/// What came of a request.
#[derive(Debug)]
struct Got {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
    /// The reason of a refusal.
    reason: String,
    is_artifact: bool,
}

/// Everything is checked at each request.
const AT_ONCE: Serving = Serving {
    fresh: Duration::ZERO,
    stale: Duration::from_secs(3600),
    memory: 1 << 20,
    tokens_required: false,
};

/// Nothing is checked again.
const LONG: Serving = Serving { fresh: Duration::from_secs(3600), ..AT_ONCE };

async fn open(folder: &std::path::Path, url: &str, serving: Serving) -> Engine {
    let mut upstream = Registry::new(Ecosystem::Debian, url).unwrap();
    upstream.name = "test".to_owned();
    upstream.keyring = Some(folder.join("key.asc").display().to_string());
    let store = Store::open(folder.join("state"), OpenMode::Existing).await.unwrap();
    let (mut config, lists) = Config::parse("c", "").unwrap();
    config.patience.read_seconds = 3;
    let setup = Setup {
        store,
        policy: PolicySet::shipped("baseline").unwrap(),
        config,
        lists,
        feeds: None,
        roots: TrustRoots::embedded().unwrap(),
        evidence: Vec::new(),
        extra_roots: Vec::new(),
        upstreams: vec![(upstream, None)],
        pins: Vec::new(),
        locked: HashMap::new(),
        scopes: HashMap::new(),
        installed: Vec::new(),
        client: "test".to_owned(),
        debian: Vec::new(),
        serving: Some(serving),
    };
    Engine::open(setup).await.unwrap()
}

impl Gate {
    async fn start(repository: &Debian<'_>, serving: Serving) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("key.asc"), repository.key.certificate()).unwrap();
        let state = folder.path().join("state");
        drop(Store::open(&state, OpenMode::Create).await.unwrap());
        init_key(&state, "gate.example/ledger").await.unwrap();
        let url = repository.url();
        let engine = open(folder.path(), &url, serving).await;
        Self { engine, serving, folder, url }
    }

    /// The same gate after it was stopped and started.
    async fn restart(self, serving: Serving) -> Self {
        let Self { engine, folder, url, .. } = self;
        engine.store().clone().close().await.unwrap();
        drop(engine);
        let engine = open(folder.path(), &url, serving).await;
        Self { engine, serving, folder, url }
    }

    async fn ask(&self, method: Method, path: &str, headers: &[(HeaderName, &str)]) -> Got {
        let route = Route::Debian { upstream: "test".to_owned(), path: path.to_owned() };
        let mut sent = HeaderMap::new();
        for (name, value) in headers {
            sent.insert(name, HeaderValue::from_str(value).unwrap());
        }
        let none = bytes::Bytes::new();
        let asker = Asker::default();
        let served = self.engine.serve(&route, Form::Plain, &method, &sent, none, &asker).await;
        let mut got = Got {
            status: 200,
            headers: HeaderMap::new(),
            body: Vec::new(),
            reason: String::new(),
            is_artifact: false,
        };
        match served.answer {
            Answer::Document(d) => (got.status, got.body) = (d.status.as_u16(), d.body.to_vec()),
            Answer::Stream(s) => {
                (got.status, got.headers) = (s.status.as_u16(), s.headers);
                let parts: Vec<bytes::Bytes> = s.body.try_collect().await.unwrap();
                got.body = parts.concat();
            }
            Answer::Artifact(admitted) => {
                got.is_artifact = true;
                std::io::Read::read_to_end(&mut admitted.open().unwrap(), &mut got.body).unwrap();
            }
            Answer::Refused(refusal) => {
                got.status = refusal.status().as_u16();
                got.reason = refusal.reason().name().to_owned();
                got.body = refusal.to_text().into_bytes();
            }
        }
        got
    }

    async fn get(&self, path: &str) -> Got {
        self.ask(Method::GET, path, &[]).await
    }

    async fn expect(&self, path: &str, body: &[u8]) -> Got {
        let got = self.get(path).await;
        assert_eq!((got.status, got.reason.as_str()), (200, ""), "{path}: {}", got.text());
        assert!(got.body == body, "{path} has other bytes: {}", got.text());
        got
    }

    async fn refused(&self, path: &str, reason: &str) {
        let got = self.get(path).await;
        assert_eq!(got.reason, reason, "{path}: {} {}", got.status, got.text());
    }

    async fn not_found(&self, path: &str) {
        let got = self.get(path).await;
        assert_eq!((got.status, got.reason.as_str()), (404, ""), "{path}: {}", got.text());
    }
}

impl Got {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).chars().take(400).collect()
    }

    fn header(&self, name: HeaderName) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }
}

/// What the upstream serves at a path below the repository's root.
async fn upstreams(up: &Upstream, path: &str) -> Vec<u8> {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(up.host()).unwrap();
    let request = format!("GET /debian/{path} HTTP/1.1\r\nHost: x\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    assert!(all.starts_with(b"HTTP/1.1 200"), "{path}");
    let end = all.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    all.split_off(end + 4)
}

const IN_RELEASE: &str = "dists/stable/InRelease";
const PACKAGES: &str = "dists/stable/main/binary-amd64/Packages.gz";

fn pool(file: &str) -> String {
    Debian::pool(file)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suite_is_given_out_byte_for_byte() {
    let up = Upstream::start();
    let repository = Debian::new(&up);
    repository.add("hello", "1.0-1");
    let gate = Gate::start(&repository, LONG).await;
    for path in [IN_RELEASE, "dists/stable/Release", "dists/stable/Release.gpg", PACKAGES] {
        gate.expect(path, &upstreams(&up, path).await).await;
    }
    let deb = gate.expect(&pool("hello_1.0-1_all.deb"), &deb("hello", "1.0-1")).await;
    assert!(deb.is_artifact);
    // All of it is fetched once; the unpacked list, which the gate needs not, never.
    for path in [IN_RELEASE, PACKAGES] {
        gate.expect(path, &upstreams(&up, path).await).await;
    }
    assert_eq!(up.count(&format!("/debian/{IN_RELEASE}")), 3, "the test's own and the gate's one");
    let in_release = gate.get("./dists/stable/./InRelease").await;
    assert_eq!(in_release.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_ranges_and_heads_are_answered() {
    let up = Upstream::start();
    let repository = Debian::new(&up);
    repository.add("hello", "1.0-1");
    let gate = Gate::start(&repository, LONG).await;
    // No suite was asked for yet, but the path tells which it is.
    let whole = gate.get(PACKAGES).await;
    let tag = whole.header(header::ETAG).to_owned();
    let modified = whole.header(header::LAST_MODIFIED).to_owned();
    let size = whole.body.len();
    assert_eq!(whole.header(header::CONTENT_LENGTH), size.to_string());
    let head = gate.ask(Method::HEAD, PACKAGES, &[]).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header(header::CONTENT_LENGTH), size.to_string());
    let unchanged = gate.ask(Method::GET, PACKAGES, &[(header::IF_NONE_MATCH, &tag)]).await;
    assert_eq!((unchanged.status, unchanged.body.len()), (304, 0));
    // A later index may have the same name: its time says nothing.
    let since = gate.ask(Method::GET, PACKAGES, &[(header::IF_MODIFIED_SINCE, &modified)]).await;
    assert_eq!(since.status, 200);
    for (range, more, status, want) in [
        ("bytes=2-4", vec![], 206, &whole.body[2..5]),
        ("bytes=-3", vec![], 206, &whole.body[size - 3..]),
        ("bytes=5-", vec![(header::IF_RANGE, tag.as_str())], 206, &whole.body[5..]),
        ("bytes=5-", vec![(header::IF_RANGE, modified.as_str())], 206, &whole.body[5..]),
        ("bytes=5-", vec![(header::IF_RANGE, "\"other\"")], 200, &whole.body[..]),
        ("bytes=1-2,4-5", vec![], 200, &whole.body[..]),
        ("bytes=999999-", vec![], 416, &[]),
    ] {
        let headers = [&[(header::RANGE, range)][..], &more].concat();
        let got = gate.ask(Method::GET, PACKAGES, &headers).await;
        assert_eq!((got.status, &got.body[..]), (status, want), "{headers:?}");
    }
    let release = gate.get(IN_RELEASE).await;
    let modified = release.header(header::LAST_MODIFIED);
    let again = gate.ask(Method::GET, IN_RELEASE, &[(header::IF_MODIFIED_SINCE, modified)]).await;
    assert_eq!(again.status, 304);
    let written = gate.ask(Method::PUT, PACKAGES, &[]).await;
    assert_eq!(written.reason, "closed-door");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_does_not_verify_is_never_given_out() {
    let up = Upstream::start();
    let repository = Debian::new(&up);
    repository.add("hello", "1.0-1").add_source("hello", "1.0-1");
    repository.publish_by(&Key::new("Somebody else <else@example.org>"));
    let gate = Gate::start(&repository, AT_ONCE).await;
    gate.refused(IN_RELEASE, "index-untrusted").await;
    gate.refused("dists/stable/Release", "index-untrusted").await;
    gate.refused(PACKAGES, "index-untrusted").await;
    gate.refused(&pool("hello_1.0-1_all.deb"), "not-in-index").await;
    // Then comes a good one, and then a bad one again: the good one stays.
    repository.publish();
    let good = upstreams(&up, IN_RELEASE).await;
    gate.expect(IN_RELEASE, &good).await;
    repository.publish_by(&Key::new("Somebody else <else@example.org>"));
    gate.expect(IN_RELEASE, &good).await;
    gate.expect(&pool("hello_1.0-1_all.deb"), &deb("hello", "1.0-1")).await;
    up.put(&format!("/debian/{IN_RELEASE}"), Reply::ok("text/html", "<html>sign in</html>"));
    gate.expect(IN_RELEASE, &good).await;
    repository.publish_of("testing");
    gate.expect(IN_RELEASE, &good).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_release_is_a_replay_also_after_a_restart() {
    let up = Upstream::start();
    let repository = Debian::new(&up);
    repository.add("hello", "1.0-1");
    let gate = Gate::start(&repository, AT_ONCE).await;
    let good = upstreams(&up, IN_RELEASE).await;
    gate.expect(IN_RELEASE, &good).await;
    repository.publish_older();
    gate.expect(IN_RELEASE, &good).await;
    let gate = gate.restart(AT_ONCE).await;
    gate.expect(IN_RELEASE, &good).await;
    // Without what was kept, the date is still remembered.
    std::fs::remove_dir_all(gate.folder.path().join("state/cache")).unwrap();
    let gate = gate.restart(AT_ONCE).await;
    gate.refused(IN_RELEASE, "index-untrusted").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_ends_when_it_says() {
    let up = Upstream::start();
    let repository = Debian::new(&up);
    repository.add("hello", "1.0-1").valid_for(-5);
    let gate = Gate::start(&repository, LONG).await;
    gate.refused(IN_RELEASE, "index-untrusted").await;
    repository.valid_for(2);
    let good = upstreams(&up, IN_RELEASE).await;
    gate.expect(IN_RELEASE, &good).await;
    gate.expect(&pool("hello_1.0-1_all.deb"), &deb("hello", "1.0-1")).await;
    tokio::time::sleep(Duration::from_millis(3100)).await;
    gate.refused(IN_RELEASE, "index-untrusted").await;
    gate.refused(PACKAGES, "index-untrusted").await;
    gate.refused(&pool("hello_1.0-1_all.deb"), "index-untrusted").await;
    repository.valid_for(3600);
    tokio::time::sleep(Duration::from_millis(2100)).await;
    gate.expect(IN_RELEASE, &upstreams(&up, IN_RELEASE).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_verified_is_given_out_while_the_upstream_is_down() {
    let up = Upstream::start();
    let repository = Debian::new(&up);
    repository.add("hello", "1.0-1").add("other", "1.0-1");
    let gate = Gate::start(&repository, AT_ONCE).await;
    let hello = pool("hello_1.0-1_all.deb");
    let release = gate.get(IN_RELEASE).await.body;
    let packages = gate.get(PACKAGES).await.body;
    gate.expect(&hello, &deb("hello", "1.0-1")).await;
    drop(up);
    let gate = gate.restart(AT_ONCE).await;
    gate.expect(IN_RELEASE, &release).await;
    gate.expect(PACKAGES, &packages).await;
    gate.expect(&hello, &deb("hello", "1.0-1")).await;
    gate.refused(&pool("other_1.0-1_all.deb"), "upstream-failed").await;
    gate.refused(&pool("unknown_1.0-1_all.deb"), "upstream-failed").await;
    // Beyond what counts as stale, nothing is.
    let gate = gate.restart(Serving { stale: Duration::ZERO, ..AT_ONCE }).await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    gate.refused(IN_RELEASE, "upstream-failed").await;
    gate.refused(&hello, "upstream-failed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_a_release_names_is_given_out() {
    let up = Upstream::start();
    let repository = Debian::new(&up);
    repository.add("hello", "1.0-1");
    let gate = Gate::start(&repository, LONG).await;
    let packages = upstreams(&up, PACKAGES).await;
    let folder = "dists/stable/main/binary-amd64";
    gate.expect(&format!("{folder}/by-hash/SHA256/{}", sha256(&packages)), &packages).await;
    for path in [
        format!("{folder}/by-hash/SHA256/{}", "0".repeat(64)),
        format!("{folder}/by-hash/MD5Sum/{}", "0".repeat(32)),
        format!("{folder}/by-hash/SHA1/{}", "0".repeat(40)),
        // Of another folder.
        format!("dists/stable/main/source/by-hash/SHA256/{}", sha256(&packages)),
        format!("{folder}/Packages.diff/Index"),
        format!("{folder}/Contents-amd64.gz"),
        "dists/unknown/InRelease".to_owned(),
        "dists/unknown/main/binary-amd64/Packages.gz".to_owned(),
        "dists/stable/../../etc/passwd".to_owned(),
        "../../etc/passwd".to_owned(),
        "dists/stable/InRelease\0".to_owned(),
    ] {
        gate.not_found(&path).await;
    }
    up.put("/debian/evil.deb", Reply::file(deb("evil", "1.0")));
    up.put("/debian/dists/stable/evil.deb", Reply::file(deb("evil", "1.0")));
    for path in ["evil.deb", "dists/stable/evil.deb", "pool/x", "README"] {
        gate.refused(path, "not-in-index").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_bytes_than_the_lists_say_are_refused() {
    let up = Upstream::start();
    let repository = Debian::new(&up);
    repository.add("hello", "1.0-1");
    let gate = Gate::start(&repository, LONG).await;
    let packages = upstreams(&up, PACKAGES).await;
    let by_hash = format!("dists/stable/main/binary-amd64/by-hash/SHA256/{}", sha256(&packages));
    let mut other = packages.clone();
    *other.last_mut().unwrap() ^= 1;
    for bytes in [other, packages[..10].to_vec(), [&packages[..], b"more"].concat()] {
        for path in [PACKAGES, &by_hash] {
            up.put(&format!("/debian/{path}"), Reply::file(bytes.clone()));
        }
        gate.refused(PACKAGES, "digest-mismatch").await;
        gate.refused(&by_hash, "digest-mismatch").await;
    }
    // Either address will do, if what is there is right.
    up.put(&format!("/debian/{PACKAGES}"), Reply::file(packages.clone()));
    gate.expect(&by_hash, &packages).await;
    let mut other = deb("hello", "1.0-1");
    other[24] = b'9';
    up.put(&Debian::deb_path("hello", "1.0-1"), Reply::file(other));
    gate.refused(&pool("hello_1.0-1_all.deb"), "digest-mismatch").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_that_is_new_is_found_by_asking_again() {
    let up = Upstream::start();
    let repository = Debian::new(&up);
    repository.add("hello", "1.0-1");
    let gate = Gate::start(&repository, LONG).await;
    gate.refused(&pool("hello_1.0-1_all.deb"), "not-in-index").await;
    let old = gate.get(IN_RELEASE).await.body;
    gate.expect(&pool("hello_1.0-1_all.deb"), &deb("hello", "1.0-1")).await;
    let packages = gate.get(PACKAGES).await.body;
    repository.add("newer", "2.0-1");
    gate.expect(IN_RELEASE, &old).await;
    tokio::time::sleep(Duration::from_millis(2100)).await;
    gate.expect(&pool("newer_2.0-1_all.deb"), &deb("newer", "2.0-1")).await;
    // What the Release before names can still be had by its digest, also after a restart.
    let by_hash = format!("dists/stable/main/binary-amd64/by-hash/SHA256/{}", sha256(&packages));
    let gate = gate.restart(LONG).await;
    gate.expect(&by_hash, &packages).await;
    assert_ne!(gate.get(IN_RELEASE).await.body, old);
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_go_through_the_pipeline() {
    let up = Upstream::start();
    let repository = Debian::new(&up);
    repository.add("hello", "1.0-1").add_source("hello", "1.0-1");
    let gate = Gate::start(&repository, LONG).await;
    assert_eq!(gate.get(IN_RELEASE).await.status, 200);
    for file in ["hello_1.0-1.dsc", "hello_1.0.orig.tar.gz", "hello_1.0-1.debian.tar.gz"] {
        let want = upstreams(&up, &pool(file)).await;
        assert!(gate.expect(&pool(file), &want).await.is_artifact, "{file}");
    }
    let purl = "pkg:deb/debian/hello@1.0-1?arch=source".parse().unwrap();
    assert_eq!(gate.engine.store().decisions_for_purl(&purl).await.unwrap().len(), 3);
    repository.add_source("evil", "1.0-1");
    let other = upstreams(&up, &pool("hello_1.0-1.dsc")).await;
    up.put(&format!("/debian/{}", pool("evil_1.0-1.dsc")), Reply::file(other));
    tokio::time::sleep(Duration::from_millis(2100)).await;
    gate.refused(&pool("evil_1.0-1.dsc"), "digest-mismatch").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_clients_cost_one_fetch() {
    let up = Upstream::start();
    let repository = Debian::new(&up);
    repository.add("hello", "1.0-1");
    for path in [IN_RELEASE, PACKAGES] {
        up.break_with(&format!("/debian/{path}"), |r| r.delay(Duration::from_millis(200)));
    }
    let gate = Gate::start(&repository, LONG).await;
    let asked = futures_util::future::join_all((0..40).map(|n| {
        let path = if n % 2 == 0 { IN_RELEASE } else { PACKAGES };
        gate.get(path)
    }));
    assert!(asked.await.iter().all(|g| g.status == 200));
    assert_eq!(up.count(&format!("/debian/{IN_RELEASE}")), 1);
    let lists = up.seen().iter().filter(|s| s.path.contains("binary-amd64")).count();
    assert_eq!(lists, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_on_disk_is_fetched_again() {
    let up = Upstream::start();
    let repository = Debian::new(&up);
    repository.add("hello", "1.0-1");
    let gate = Gate::start(&repository, LONG).await;
    let hello = pool("hello_1.0-1_all.deb");
    let release = gate.get(IN_RELEASE).await.body;
    let packages = gate.get(PACKAGES).await.body;
    gate.expect(&hello, &deb("hello", "1.0-1")).await;
    let cache = gate.folder.path().join("state/cache/debian");
    let mut damaged = 0;
    let mut folders = vec![cache];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                let mut bytes = std::fs::read(entry.path()).unwrap();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 0x20;
                std::fs::write(entry.path(), bytes).unwrap();
                damaged += 1;
            }
        }
    }
    assert!(damaged >= 4, "{damaged}");
    let gate = gate.restart(LONG).await;
    gate.expect(IN_RELEASE, &release).await;
    gate.expect(PACKAGES, &packages).await;
    gate.expect(&hello, &deb("hello", "1.0-1")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_gone_sign_no_longer() {
    let up = Upstream::start();
    let repository = Debian::new(&up);
    repository.add("hello", "1.0-1");
    let gate = Gate::start(&repository, AT_ONCE).await;
    assert_eq!(gate.get(IN_RELEASE).await.status, 200);
    let other = Key::new("Somebody else <else@example.org>").certificate();
    std::fs::write(gate.folder.path().join("key.asc"), &other).unwrap();
    gate.refused(IN_RELEASE, "index-untrusted").await;
    gate.refused(PACKAGES, "index-untrusted").await;
    std::fs::remove_file(gate.folder.path().join("key.asc")).unwrap();
    gate.refused(IN_RELEASE, "index-untrusted").await;
    std::fs::write(gate.folder.path().join("key.asc"), repository.key.certificate()).unwrap();
    assert_eq!(gate.get(IN_RELEASE).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_breaks_off_gives_nothing() {
    let up = Upstream::start();
    let repository = Debian::new(&up);
    repository.add("hello", "1.0-1");
    let gate = Gate::start(&repository, LONG).await;
    assert_eq!(gate.get(IN_RELEASE).await.status, 200);
    let packages = upstreams(&up, PACKAGES).await;
    for path in [
        PACKAGES.to_owned(),
        format!("dists/stable/main/binary-amd64/by-hash/SHA256/{}", sha256(&packages)),
    ] {
        up.break_with(&format!("/debian/{path}"), |r| r.fault(Fault::CloseAfter(20)));
    }
    gate.refused(PACKAGES, "upstream-truncated").await;
    let left = std::fs::read_dir(gate.folder.path().join("state/cache/debian"));
    let half: Vec<_> = left
        .unwrap()
        .flatten()
        .flat_map(|e| std::fs::read_dir(e.path().join("files")).into_iter().flatten().flatten())
        .filter(|e| e.file_name().to_string_lossy().starts_with('.'))
        .collect();
    assert!(half.is_empty(), "{half:?}");
}
