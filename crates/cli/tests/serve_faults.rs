//! `countersign serve` when upstreams, disk, clock and feeds fail it: what was admitted goes on being
//! served, what is unknown is refused with a remedy, and it recovers by itself.

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

use serde_json::json;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::archives::{sha256, wheel, wheel_name, wheel_with};
use support::registries::{Cargo, Npm, OLD, PyFile, Pypi, advisory};
use support::server::{Fault, Reply, Upstream};
use support::serving::{PATIENCE, Serving, get, get_with};
use support::{Sandbox, files_below};

fn upstream(ecosystem: &str, url: &str) -> String {
    format!("[[upstream]]\necosystem = \"{ecosystem}\"\nname = \"{ecosystem}\"\nurl = \"{url}\"\n")
}

fn file(project: &str) -> String {
    format!("/pypi/files/{project}/{}", wheel_name(project, "1.0.0"))
}

/// Asks until the answer is `want`, for as long as a change may take to be noticed.
#[track_caller]
fn becomes(address: &str, path: &str, headers: &str, want: u16) -> String {
    let end = Instant::now() + PATIENCE;
    loop {
        let (status, text) = get_with(address, path, headers);
        if status == want {
            return text;
        }
        assert!(Instant::now() < end, "{path} stays {status}:\n{text}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn retry_after(text: &str) -> bool {
    text.to_ascii_lowercase().contains("\r\nretry-after: ")
}

/// How an upstream may answer a request for a file, and what its client then gets.
fn ways_to_fail(length: u64) -> Vec<(&'static str, Fault, u16)> {
    vec![
        ("closes", Fault::CloseAtOnce, 503),
        ("hangs", Fault::StallAtOnce, 503),
        ("cuts", Fault::CloseAfter(length / 2), 503),
        ("cutslast", Fault::CloseAfter(length - 1), 503),
        ("stops", Fault::StallAfter(length / 2), 503),
        ("empty", Fault::CloseAfter(0), 503),
        ("longer", Fault::Announce(length + 10), 503),
        ("shorter", Fault::Announce(length - 10), 503),
        ("unannounced", Fault::Unannounced(length / 2), 503),
        ("chunked", Fault::ChunkedUntil(length / 2), 503),
    ]
}

#[test]
fn whatever_an_upstream_does_to_a_file_the_known_go_on_and_the_unknown_wait() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("good", "1.0.0", OLD);
    let ways = ways_to_fail(wheel("cuts", "1.0.0").len() as u64);
    for (name, fault, _) in &ways {
        index.wheel(name, "1.0.0", OLD);
        let fault = *fault;
        up.break_with(&index.file_path(&wheel_name(name, "1.0.0")), move |r| r.fault(fault));
    }
    let answers: [(&str, Reply, u16); 4] = [
        ("failing", Reply::error(500), 503),
        ("busy", Reply::error(429), 503),
        ("page", Reply::ok("text/html", "<!DOCTYPE html><p>log in"), 403),
        ("elsewhere", Reply::redirect("http://127.0.0.2:9/x"), 403),
    ];
    for (name, reply, _) in &answers {
        index.wheel(name, "1.0.0", OLD);
        up.put(&index.file_path(&wheel_name(name, "1.0.0")), reply.clone());
    }
    index.wheel("other", "1.0.0", OLD).tamper("other", "1.0.0");
    let mut s = Sandbox::new();
    let patience =
        "[patience]\nconnect-seconds = 1\nread-seconds = 1\n[serve]\nindex-seconds = 1\n";
    s.config(&format!("{}{patience}", upstream("pypi", &index.url())));
    let gateway = Serving::start(&s, &[]);
    let address = gateway.address();
    assert_eq!(get(&address, &file("good"), None).0, 200);
    let mut wanted: Vec<(&str, u16)> = ways.iter().map(|(n, _, s)| (*n, *s)).collect();
    wanted.extend(answers.iter().map(|(n, _, s)| (*n, *s)));
    wanted.push(("other", 403));
    let asked: Vec<_> = wanted
        .iter()
        .map(|(name, want)| {
            let (name, want, address) = ((*name).to_owned(), *want, address.clone());
            std::thread::spawn(move || (get(&address, &file(&name), None), name, want))
        })
        .collect();
    // Meanwhile what is known is served.
    for _ in 0..20 {
        assert_eq!(get(&address, &file("good"), None).0, 200);
        std::thread::sleep(Duration::from_millis(100));
    }
    for asked in asked {
        let ((status, text), name, want) = asked.join().unwrap();
        assert_eq!(status, want, "{name}: {text}");
        assert_eq!(retry_after(&text), want == 503, "{name}: {text}");
        assert!(text.contains("countersign"), "{name} says nothing: {text}");
        assert!(!text.contains("Metadata-Version"), "bytes of {name} came");
    }
    // What failed once is fetched when the upstream is well, and nothing of it was pinned.
    for (name, _, _) in &ways {
        up.put(&index.file_path(&wheel_name(name, "1.0.0")), Reply::file(wheel(name, "1.0.0")));
    }
    for (name, _, _) in &ways {
        becomes(&address, &file(name), "", 200);
    }
    gateway.end();
    for (purl, verdict, reason) in s.decisions() {
        let failed = answers.iter().any(|(n, ..)| purl.contains(n)) || purl.contains("other");
        assert!(!failed || verdict != "admit", "{purl}: {reason}");
    }
    s.fsck();
}

#[test]
fn an_index_that_does_not_come_whole_hides_nothing_and_shows_nothing() {
    let up = Upstream::start();
    let (index, npm, cargo) = (Pypi::new(&up), Npm::new(&up), Cargo::new(&up));
    index.wheel("good", "1.0.0", OLD).wheel("new", "1.0.0", OLD);
    for name in ["good", "new"] {
        npm.add(name, "1.0.0", OLD, json!({}), &[("lib.js", b"1")]);
        cargo.add(name, "1.0.0", OLD);
    }
    let mut s = Sandbox::new();
    s.config(&format!(
        "{}{}{}[patience]\nconnect-seconds = 1\nread-seconds = 1\n[serve]\nindex-seconds = 1\n",
        upstream("pypi", &index.url()),
        upstream("npm", &npm.url()),
        upstream("cargo", &cargo.url()),
    ));
    let gateway = Serving::start(&s, &[]);
    let address = gateway.address();
    let paths = |name: &str| {
        let index = match name {
            "new" => "/cargo/3/n/new".to_owned(),
            _ => format!("/cargo/{}/{}/{name}", &name[..2], &name[2..4]),
        };
        let files = [format!("/npm/{name}/-/{name}-1.0.0.tgz"), file(name)];
        (vec![format!("/pypi/simple/{name}/"), format!("/npm/{name}"), index], files)
    };
    let (documents, files) = paths("good");
    for path in documents.iter().chain(&files) {
        assert_eq!(get(&address, path, None).0, 200, "{path}");
    }
    let pages = |name: &str, third: &str| [index.page_path(name), format!("/{name}"), third.into()];
    for fault in [Fault::CloseAfter(40), Fault::StallAfter(40), Fault::Announce(1 << 20)] {
        for path in pages("good", "/index/go/od/good").iter().chain(&pages("new", "/index/3/n/new"))
        {
            up.break_with(path, move |r| r.fault(fault));
        }
        std::thread::sleep(Duration::from_millis(1100));
        let ask = |path: String| {
            let address = address.clone();
            std::thread::spawn(move || (get(&address, &path, None), path))
        };
        let (documents, files) = paths("good");
        let known: Vec<_> = documents.into_iter().chain(files).map(ask).collect();
        let (documents, files) = paths("new");
        let unknown: Vec<_> = documents.into_iter().chain(files).map(ask).collect();
        for asked in known {
            let ((status, text), path) = asked.join().unwrap();
            assert_eq!(status, 200, "{fault:?} {path}: {text}");
        }
        for asked in unknown {
            let ((status, text), path) = asked.join().unwrap();
            assert_eq!(status, 503, "{fault:?} {path}: {text}");
            assert!(retry_after(&text), "{fault:?} {path}: {text}");
        }
    }
    gateway.end();
}

/// Advisories as OSV's own files have them.
fn feed_zip(records: &[serde_json::Value]) -> Vec<u8> {
    let options = zip::write::SimpleFileOptions::default();
    let mut out = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for record in records {
        out.start_file(format!("{}.json", record["id"].as_str().unwrap()), options).unwrap();
        out.write_all(record.to_string().as_bytes()).unwrap();
    }
    out.finish().unwrap().into_inner()
}

#[test]
fn a_feed_that_is_cut_in_place_stays_as_it_was_and_readyz_and_metrics_say_so() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("bad", "1.0.0", OLD).wheel("later", "1.0.0", OLD).wheel("fine", "1.0.0", OLD);
    let mut s = Sandbox::new();
    s.config(&upstream("pypi", &index.url()));
    let mut records = vec![advisory("MAL-1", "PyPI", "bad", &["1.0.0"], "")];
    records.extend((0..200).map(|i| advisory(&format!("GHSA-{i}"), "PyPI", "x", &["1.0.0"], "")));
    let feed = s.at("feed/all.zip");
    std::fs::write(&feed, feed_zip(&records)).unwrap();
    let place = feed.display().to_string();
    let gateway = Serving::start(&s, &["--feed", &place]);
    let address = gateway.address();
    let (_, ready) = get(&address, "/readyz", None);
    assert!(ready.contains("\"ready\":true") && !ready.contains("warnings"), "{ready}");
    records.push(advisory("MAL-2", "PyPI", "later", &["1.0.0"], ""));
    let next = feed_zip(&records);
    // Cut at several places, the last of them in the directory at the end, in the very file.
    for cut in [0, 10, next.len() / 2, next.len() - 30] {
        std::fs::write(&feed, &next[..cut]).unwrap();
        gateway.reload("feeds stay as they were");
        let (status, text) = get(&address, &file("bad"), None);
        assert!(status == 403 && text.contains("MAL-1"), "cut at {cut}: {status} {text}");
        assert_eq!(get(&address, &file("fine"), None).0, 200, "cut at {cut}");
        let (status, ready) = get(&address, "/readyz", None);
        assert_eq!(status, 200);
        assert!(ready.contains("the older ones stay"), "cut at {cut}: {ready}");
        let (_, metrics) = get(&address, "/metrics", None);
        assert!(metrics.contains("\ncountersign_feeds_behind 1\n"), "cut at {cut}: {metrics}");
    }
    std::fs::write(&feed, &next).unwrap();
    gateway.reload("feeds replaced");
    assert_eq!(get(&address, &file("later"), None).0, 403);
    let (_, ready) = get(&address, "/readyz", None);
    assert!(!ready.contains("warnings"), "{ready}");
    assert!(get(&address, "/metrics", None).1.contains("\ncountersign_feeds_behind 0\n"));
    gateway.end();
}

/// Whether a small file system of one's own can be had here without being root.
fn can_mount() -> bool {
    let line = "mount -t tmpfs -o size=1m none /mnt && test -d /proc/self/root";
    let mut probe = Command::new("unshare");
    probe.args(["-rm", "/bin/sh", "-c", line]);
    probe.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    probe.status().is_ok_and(|s| s.success())
}

/// Takes all room but `left` bytes of the file system that a folder lies on.
fn fill(filler: &Path, left: usize) {
    let _ = std::fs::remove_file(filler);
    let mut out = std::fs::File::create(filler).unwrap();
    for block in [1 << 20, 4096, 1] {
        let zeros = vec![0u8; block];
        while out.write_all(&zeros).is_ok() {}
    }
    let size = out.metadata().unwrap().len();
    out.set_len(size.saturating_sub(left as u64)).unwrap();
}

#[test]
fn on_a_full_disk_the_known_go_on_and_nothing_is_admitted_unrecorded() {
    if !can_mount() {
        eprintln!("skipped: no file system can be mounted in a namespace here");
        return;
    }
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("good", "1.0.0", OLD);
    let levels = [0usize, 4 << 10, 16 << 10, 48 << 10, 96 << 10, 256 << 10];
    let names: Vec<String> =
        levels.iter().flat_map(|l| (0..3).map(move |i| format!("late{l}n{i}"))).collect();
    for name in &names {
        let text: Vec<u8> = name.bytes().cycle().take(20_000).collect();
        let module = format!("{name}/__init__.py");
        let bytes = wheel_with(name, "1.0.0", &[(&module, &text)], &[]);
        index.add(name, PyFile::new(&wheel_name(name, "1.0.0"), bytes, OLD));
    }
    let mut s = Sandbox::new();
    s.config(&format!("{}[serve]\nindex-seconds = 1\n", upstream("pypi", &index.url())));
    let line = "mkdir -p \"$COUNTERSIGN_STATE\" && exec unshare -rm /bin/sh -c \
                'mount -t tmpfs -o size=12m none \"$COUNTERSIGN_STATE\" && exec \"$@\"' sh \"$@\"";
    let gateway = Serving::start_by(&s, line, &[]);
    let address = gateway.address();
    assert_eq!(get(&address, &file("good"), None).0, 200);
    // The state as the gateway sees it.
    let state = PathBuf::from(format!("/proc/{}/root{}", gateway.pid(), s.state().display()));
    let filler = state.join("filler");
    let mut admitted = vec!["good".to_owned()];
    let mut turned_down = 0;
    for (level, names) in levels.iter().zip(names.chunks(3)) {
        fill(&filler, *level);
        for name in names {
            let (status, text) = get(&address, &file(name), None);
            match status {
                200 => admitted.push(name.clone()),
                507 => {
                    turned_down += 1;
                    assert!(text.contains("storage-full") && text.contains("free space"), "{text}");
                    assert!(retry_after(&text), "{text}");
                }
                _ => panic!("{level} bytes are left, {name}: {text}\n{}", gateway.said()),
            }
        }
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(get(&address, &file("good"), None).0, 200, "{level} bytes are left");
        assert_eq!(get(&address, "/pypi/simple/good/", None).0, 200, "{level} bytes are left");
        assert_eq!(get(&address, "/readyz", None).0, 200, "{level} bytes are left");
    }
    assert!(turned_down >= 3, "the disk was never full: {admitted:?}");
    // All that was handed out is on record. Nothing else was read or written since.
    std::fs::remove_file(&filler).unwrap();
    let decided = copied(&s, &gateway, &state, "before").decisions();
    for name in &admitted {
        let purl = format!("pkg:pypi/{name}@1.0.0");
        assert!(decided.iter().any(|(p, v, _)| *p == purl && v == "admit"), "{purl} is lost");
    }
    let recorded = decided.iter().filter(|(_, v, _)| v == "admit").count();
    assert!(recorded >= admitted.len(), "{decided:?}");
    for name in &names {
        assert_eq!(get(&address, &file(name), None).0, 200, "{name}: {}", gateway.said());
    }
    let left: Vec<PathBuf> = files_below(&state.join("staging"));
    assert!(left.is_empty(), "{left:?}");
    let s = copied(&s, &gateway, &state, "after");
    assert_eq!(s.decisions().iter().filter(|(_, v, _)| v == "admit").count(), names.len() + 1);
    s.fsck();
    gateway.end();
}

/// A copy of a gateway's state, taken while it stands still.
fn copied(s: &Sandbox, gateway: &Serving, state: &Path, name: &str) -> Sandbox {
    gateway.signal(rustix::process::Signal::STOP);
    let mut copy = Sandbox::new();
    let to = s.at(name);
    for file in files_below(state) {
        let target = to.join(file.strip_prefix(state).unwrap());
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(&file, &target).unwrap();
    }
    gateway.signal(rustix::process::Signal::CONT);
    copy.env("COUNTERSIGN_STATE", to);
    copy
}

/// The library that changes a program's clock, where it is installed (Debian's `libfaketime`).
fn faketime() -> Option<PathBuf> {
    let places = std::fs::read_dir("/usr/lib").ok()?.flatten().map(|e| e.path());
    let library = |p: PathBuf| p.join("faketime/libfaketimeMT.so.1");
    places.map(library).find(|p| p.is_file())
}

#[test]
fn a_clock_that_jumps_opens_nothing_and_stops_nothing() {
    let Some(library) = faketime() else {
        eprintln!("skipped: libfaketime is not installed");
        return;
    };
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("good", "1.0.0", OLD).wheel("young", "1.0.0", 1).wheel("bad", "1.0.0", OLD);
    index.wheel("tomorrow", "1.0.0", -24).wheel("late", "1.0.0", OLD);
    let mut s = Sandbox::new();
    let until = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * 30);
    let token = |name: &str, more: &str| {
        format!(
            "[[serve.tokens]]\nname = \"{name}\"\nsha256 = \"{}\"\n{more}",
            sha256(name.as_bytes())
        )
    };
    s.config(&format!(
        "{}[serve]\nindex-seconds = 1\n{}{}",
        upstream("pypi", &index.url()),
        token("ends", &format!("expires = \"{until}\"\n")),
        token("stays", "")
    ));
    s.advisory(&advisory("MAL-1", "PyPI", "bad", &["1.0.0"], ""));
    let waiver = ["--rule", "MAL-1", "--reason", "looked at", "--owner", "me", "--days", "7"];
    s.countersign(&[&["waive", "pkg:pypi/bad@1.0.0"], &waiver[..]].concat()).expect(0);
    let clock = s.at("clock");
    let jump = |by: &str| std::fs::write(&clock, by).unwrap();
    jump("+0d\n");
    s.env("LD_PRELOAD", &library)
        .env("FAKETIME_TIMESTAMP_FILE", &clock)
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .env("NO_FAKE_STAT", "1");
    let feed = s.at("feed").display().to_string();
    let gateway = Serving::start(&s, &["--feed", &feed]);
    let address = gateway.address();
    let (ends, stays) = ("authorization: Bearer ends\r\n", "authorization: Bearer stays\r\n");
    let status = |name: &str, login: &str| get_with(&address, &file(name), login).0;
    assert_eq!((status("good", ends), status("good", stays), status("good", "")), (200, 200, 401));
    assert_eq!((status("young", stays), status("tomorrow", stays)), (403, 403));
    assert_eq!(status("bad", stays), 200);
    // Backward by a day: what is younger than now is as young as can be, and never of unknown age.
    jump("-1d\n");
    std::thread::sleep(Duration::from_millis(1200));
    assert_eq!((status("good", stays), status("good", ends)), (200, 200));
    for name in ["young", "tomorrow"] {
        let (code, text) = get_with(&address, &file(name), stays);
        assert!(code == 403 && text.contains("cool-down"), "{name}: {text}");
    }
    assert_eq!(status("late", stays), 200);
    assert_eq!(get(&address, "/readyz", None).0, 200);
    assert_eq!(get_with(&address, "/metrics", stays).0, 200);
    // Forward by a year: a token and a waiver have ended, and what was young is old.
    jump("+365d\n");
    becomes(&address, &file("bad"), stays, 403);
    assert_eq!((status("good", ends), status("good", stays)), (401, 200));
    becomes(&address, &file("young"), stays, 200);
    // And back again: what was let in by the wrong time is held again.
    jump("+0d\n");
    becomes(&address, &file("bad"), stays, 200);
    becomes(&address, &file("young"), stays, 403);
    assert_eq!((status("good", ends), status("good", stays)), (200, 200));
    let said = gateway.end();
    assert!(!said.contains("panicked"), "{said}");
    s.fsck();
}

#[test]
fn small_questions_are_answered_as_they_were_asked() {
    let up = Upstream::start();
    let (npm, cargo) = (Npm::new(&up), Cargo::new(&up));
    npm.add("@s/n", "1.0.0", OLD, json!({}), &[("lib.js", b"1")]);
    up.put_fn("/-/v1/search", |seen| {
        Reply::ok("application/json", json!({"asked": seen.path}).to_string())
    });
    up.put("/-/npm/v1/attestations/@s%2fn@1.0.0", Reply::ok("application/json", "{\"of\":\"n\"}"));
    let mut s = Sandbox::new();
    let base = format!("{}{}", upstream("npm", &npm.url()), upstream("cargo", &cargo.url()));
    s.config(&base);
    let gateway = Serving::start(&s, &[]);
    let address = gateway.address();
    let (status, text) = get(&address, "/npm/-/v1/search?text=left%20pad&size=2", None);
    assert!(status == 200 && text.contains("search?text=left%20pad&size=2"), "{status} {text}");
    for path in ["@s%2fn@1.0.0", "@s%2Fn@1.0.0", "%40s%2fn@1.0.0", "@s/n@1.0.0"] {
        let (status, text) = get(&address, &format!("/npm/-/npm/v1/attestations/{path}"), None);
        assert!(status == 200 && text.contains("\"of\":\"n\""), "{path}: {status} {text}");
    }
    // Tokens that come with a reload are asked of cargo at once.
    let config = |token| get(&address, "/cargo/config.json", token).1;
    assert!(!config(None).contains("auth-required"));
    let token = format!("[[serve.tokens]]\nname = \"t\"\nsha256 = \"{}\"\n", sha256(b"t"));
    s.config(&format!("{base}{token}"));
    gateway.reload("configuration read again");
    assert!(config(Some("t")).contains("\"auth-required\":true"), "{}", config(Some("t")));
    // What wants a start is said each time, for as long as it is not in force.
    s.config(&format!("{base}{token}[limits]\nindex-bytes = 1000000\n"));
    for _ in 0..2 {
        gateway.reload("configuration read again");
        gateway.wait_for("takes effect with the next start").wait_for("setting=\"limits\"");
    }
    s.config(&base);
    gateway.reload("configuration read again");
    assert!(!gateway.said().contains("next start"), "{}", gateway.said());
    assert!(!config(None).contains("auth-required"));
    gateway.end();
}
