//! apt behind the gate, against a synthetic repository with a key of its own.

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

#[path = "support/pgp.rs"]
mod pgp;
mod support;

use pgp::Key;
use std::sync::Mutex;
use std::time::Duration;
use support::archives::{deb, sha256};
use support::registries::advisory;
use support::server::{Fault, Reply, Upstream};
use support::{Run, Sandbox, apt, skipped, write_program};

/// A Debian repository with one suite (`stable`), one component and packages for all architectures.
struct Repository<'u> {
    upstream: &'u Upstream,
    key: Key,
    packages: Mutex<String>,
}

impl<'u> Repository<'u> {
    fn new(upstream: &'u Upstream) -> Self {
        let r = Self {
            upstream,
            key: Key::new("Test Archive <archive@example.org>"),
            packages: Mutex::default(),
        };
        r.publish(0);
        r
    }

    fn deb_path(name: &str, version: &str) -> String {
        format!("/debian/pool/main/{name}_{version}_all.deb")
    }

    /// Adds a package and publishes the suite again.
    fn add(&self, name: &str, version: &str) -> &Self {
        let bytes = deb(name, version);
        let path = Self::deb_path(name, version);
        let paragraph = format!(
            "Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: Test <test@example.org>\n\
             Filename: {}\nSize: {}\nSHA256: {}\nDescription: a synthetic package\n\n",
            path.trim_start_matches("/debian/"),
            bytes.len(),
            sha256(&bytes)
        );
        self.upstream.put(&path, Reply::file(bytes));
        self.packages.lock().unwrap().push_str(&paragraph);
        self.publish(0);
        self
    }

    /// Publishes Packages, and an InRelease that was made that many hours ago.
    fn publish(&self, hours_ago: i64) {
        self.publish_signed(hours_ago, &self.key);
    }

    fn publish_signed(&self, hours_ago: i64, key: &Key) {
        let packages = self.packages.lock().unwrap().clone();
        let at = jiff::Timestamp::now().as_second() - hours_ago * 3600;
        let date = jiff::Timestamp::from_second(at)
            .unwrap()
            .strftime("%a, %d %b %Y %H:%M:%S UTC")
            .to_string();
        let release = format!(
            "Origin: Test\nLabel: Test\nSuite: stable\nCodename: bookworm\nDate: {date}\nArchitectures: amd64 all\n\
             Components: main\nSHA256:\n {0} {1} main/binary-amd64/Packages\n",
            sha256(packages.as_bytes()),
            packages.len()
        );
        let text = |t: Vec<u8>| Reply::ok("text/plain", t);
        self.upstream
            .put("/debian/dists/stable/main/binary-amd64/Packages", text(packages.into_bytes()));
        self.upstream.put("/debian/dists/stable/InRelease", text(key.clearsign(&release)));
    }
}

/// A sandbox whose apt has this repository's lists; `None` without apt.
fn start(repository: &Repository<'_>) -> Option<Sandbox> {
    let s = start_without_lists(repository)?;
    ungated_update(&s).expect(0);
    Some(s)
}

fn ungated_update(s: &Sandbox) -> Run {
    support::finish(s.command(apt().unwrap(), &["update"]), b"", Duration::from_secs(60))
}

/// A sandbox whose apt knows this repository and nothing of the machine's; `None` without apt.
fn start_without_lists(repository: &Repository<'_>) -> Option<Sandbox> {
    if skipped("apt-get", apt()) {
        return None;
    }
    let mut s = Sandbox::new();
    let root = s.at("apt");
    for folder in ["state/lists/partial", "cache/archives/partial", "etc/parts", "log"] {
        std::fs::create_dir_all(root.join(folder)).unwrap();
    }
    let keyring = root.join("key.asc");
    std::fs::write(&keyring, repository.key.certificate()).unwrap();
    std::fs::write(root.join("status"), "").unwrap();
    let address = repository.upstream.url("/debian");
    std::fs::write(
        root.join("sources.list"),
        format!("deb [arch=amd64 signed-by={}] {address} stable main\n", keyring.display()),
    )
    .unwrap();
    // Notes what it is asked to unpack, and does nothing.
    write_program(
        &root.join("dpkg"),
        &format!(
            "#!/bin/sh\ncase \"$*\" in *--unpack*) echo \"$@\" >> {}/unpacked;; esac\n",
            root.display()
        ),
    );
    let text = format!(
        "Dir::State \"{0}/state/\";\nDir::State::status \"{0}/status\";\nDir::Cache \"{0}/cache/\";\nDir::Log \"{0}/log/\";\n\
         Dir::Etc \"{0}/etc/\";\nDir::Etc::parts \"{0}/etc/parts/\";\nDir::Etc::sourcelist \"{0}/sources.list\";\n\
         Dir::Etc::sourceparts \"{0}/etc/parts/\";\nDir::Etc::preferencesparts \"{0}/etc/parts/\";\n\
         Dir::Bin::dpkg \"{0}/dpkg\";\nAPT::Architecture \"amd64\";\nAPT::Architectures {{ \"amd64\"; }};\n\
         Acquire::Languages \"none\";\nAPT::Sandbox::User \"\";\nDPkg::Use-Pty \"false\";\nquiet \"2\";\n",
        root.display()
    );
    let config = root.join("apt.conf");
    std::fs::write(&config, text).unwrap();
    s.env("APT_CONFIG", &config).env("DEBIAN_FRONTEND", "noninteractive");
    Some(s)
}

fn unpacked(s: &Sandbox) -> String {
    std::fs::read_to_string(s.at("apt/unpacked")).unwrap_or_default()
}

fn downloaded(s: &Sandbox) -> Vec<String> {
    let mut all: Vec<String> = std::fs::read_dir(s.work())
        .unwrap()
        .flatten()
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .collect();
    all.sort();
    all
}

#[test]
fn the_first_update_goes_through_the_gate() {
    let up = Upstream::start();
    let repository = Repository::new(&up);
    repository.add("hello", "1.0-1");
    let Some(s) = start_without_lists(&repository) else { return };
    s.gate(&["apt-get", "update"]).expect(0);
    s.gate(&["apt-get", "download", "hello"]).expect(0).expect_admitted(&["hello 1.0-1"]);
}

#[test]
fn a_clean_download_is_admitted_by_the_signed_lists() {
    let up = Upstream::start();
    let repository = Repository::new(&up);
    repository.add("hello", "1.0-1");
    let Some(s) = start(&repository) else { return };
    s.gate(&["apt-get", "update"]).expect(0);
    let run = s.gate(&["apt-get", "download", "hello"]);
    run.expect(0).expect_admitted(&["hello 1.0-1"]);
    assert_eq!(run.report["account"]["matched"], 1, "{}", run.transcript());
    assert_eq!(downloaded(&s), ["hello_1.0-1_all.deb"]);
    let evidence = run.artifact("hello 1.0-1")["evidence"].to_string();
    assert!(evidence.contains("debian-release") && evidence.contains("verified"), "{evidence}");
    s.expect_decision("pkg:deb/debian/hello@1.0-1?arch=all", "admit", "");
    s.fsck();
}

#[test]
fn an_installation_is_judged_before_dpkg_sees_it() {
    let up = Upstream::start();
    let repository = Repository::new(&up);
    repository.add("hello", "1.0-1");
    let Some(s) = start(&repository) else { return };
    s.gate(&["apt-get", "update"]).expect(0);
    s.gate(&["apt-get", "install", "-y", "hello"]).expect(0).expect_admitted(&["hello 1.0-1"]);
    assert!(unpacked(&s).contains("hello_1.0-1_all.deb"), "{}", unpacked(&s));
}

#[test]
fn a_deb_that_no_signed_list_names_is_refused_before_dpkg_sees_it() {
    let up = Upstream::start();
    let repository = Repository::new(&up);
    repository.add("hello", "1.0-1");
    let Some(s) = start(&repository) else { return };
    s.gate(&["apt-get", "update"]).expect(0);
    s.write("evil_1.0_all.deb", deb("evil", "1.0"));
    let run = s.gate(&["apt-get", "install", "-y", "./evil_1.0_all.deb"]);
    run.expect(90);
    assert_eq!(run.stopped().len(), 1, "{}", run.transcript());
    assert_eq!(unpacked(&s), "", "dpkg was given something");
    assert!(s.blobs().is_empty());
}

/// Settings that would take the gate out of apt's way.
#[test]
fn options_that_lead_past_the_gate_are_refused() {
    let (up, elsewhere) = (Upstream::start(), Upstream::start());
    let repository = Repository::new(&up);
    repository.add("hello", "1.0-1");
    let Some(s) = start(&repository) else { return };
    s.gate(&["apt-get", "update"]).expect(0);
    s.write("evil_1.0_all.deb", deb("evil", "1.0"));
    let proxy = elsewhere.url("/");
    let file = s.write(
        "mine.conf",
        format!("#clear DPkg::Pre-Install-Pkgs;\nAcquire::http::Proxy \"{proxy}\";\n"),
    );
    let file = file.display().to_string();
    let proxy = format!("Acquire::http::Proxy={proxy}");
    for options in [
        vec!["-c", &file],
        vec!["--config-file", &file],
        vec![&format!("-c={file}")],
        vec![&format!("-c{file}")],
        vec!["-o", &proxy],
        vec!["-o", "DPkg::Pre-Install-Pkgs::=true"],
        vec!["--option", &proxy],
        vec![&format!("-o={proxy}")],
    ] {
        for target in ["hello", "./evil_1.0_all.deb"] {
            let words = [&["apt-get"][..], &options, &["install", "-y", target]].concat();
            let run = s.gate(&words);
            let judged = run.code == 0 && run.admitted() == ["hello 1.0-1"];
            assert!(run.code >= 90 || judged, "{}", run.transcript());
            assert!(!unpacked(&s).contains("evil"), "dpkg was given it: {}", run.transcript());
            assert!(elsewhere.seen().is_empty(), "it led past the gate: {}", run.transcript());
        }
    }
}

#[test]
fn other_bytes_than_the_list_says_are_refused() {
    let up = Upstream::start();
    let repository = Repository::new(&up);
    repository.add("hello", "1.0-1");
    let mut other = deb("hello", "1.0-1");
    // The time of the first member.
    other[24] = b'9';
    up.put(&Repository::deb_path("hello", "1.0-1"), Reply::file(other));
    let Some(s) = start(&repository) else { return };
    s.gate(&["apt-get", "update"]).expect(0);
    s.gate(&["apt-get", "download", "hello"])
        .expect(90)
        .expect_stopped(&[("hello 1.0-1", "digest-mismatch")]);
    assert!(downloaded(&s).is_empty() && s.blobs().is_empty());
}

#[test]
fn a_list_that_was_changed_on_disk_counts_for_nothing() {
    let up = Upstream::start();
    let repository = Repository::new(&up);
    repository.add("hello", "1.0-1");
    let Some(s) = start(&repository) else { return };
    s.gate(&["apt-get", "update"]).expect(0);
    let lists = support::files_below(&s.at("apt/state/lists"));
    let list = lists.iter().find(|p| p.to_string_lossy().ends_with("Packages")).unwrap();
    let evil = deb("hello", "1.0-1").into_iter().chain([0]).collect::<Vec<u8>>();
    let text = std::fs::read_to_string(list).unwrap();
    let changed = text
        .replace(&sha256(&deb("hello", "1.0-1")), &sha256(&evil))
        .replace(&format!("Size: {}", evil.len() - 1), &format!("Size: {}", evil.len()));
    assert_ne!(text, changed);
    std::fs::write(list, changed).unwrap();
    up.put(&Repository::deb_path("hello", "1.0-1"), Reply::file(evil));
    let run = s.gate(&["apt-get", "download", "hello"]);
    assert!(run.code >= 90, "{}", run.transcript());
    run.says("index-untrusted");
    assert!(downloaded(&s).is_empty());
}

#[test]
fn a_repository_signed_by_another_key_is_not_trusted() {
    let up = Upstream::start();
    let repository = Repository::new(&up);
    repository.add("hello", "1.0-1");
    let Some(s) = start_without_lists(&repository) else { return };
    repository.publish_signed(0, &Key::new("Somebody Else <else@example.org>"));
    let run = ungated_update(&s);
    assert_ne!(run.code, 0, "apt itself refuses it: {}", run.transcript());
    // A source that tells apt not to look does not tell the gate not to look.
    let sources = s.at("apt/sources.list");
    let text = std::fs::read_to_string(&sources).unwrap();
    std::fs::write(&sources, text.replace("[arch", "[trusted=yes arch")).unwrap();
    ungated_update(&s).expect(0);
    let run = s.gate(&["apt-get", "download", "hello"]);
    assert!(run.code >= 90, "{}", run.transcript());
    assert!(downloaded(&s).is_empty(), "{}", run.transcript());
}

#[test]
fn an_older_release_than_was_seen_is_a_replay() {
    let up = Upstream::start();
    let repository = Repository::new(&up);
    repository.add("hello", "1.0-1");
    let Some(s) = start(&repository) else { return };
    s.gate(&["apt-get", "update"]).expect(0);
    s.gate(&["apt-get", "download", "hello"]).expect(0);
    std::fs::remove_file(s.work().join("hello_1.0-1_all.deb")).unwrap();
    std::fs::remove_dir_all(s.at("apt/state/lists")).unwrap();
    std::fs::create_dir_all(s.at("apt/state/lists/partial")).unwrap();
    repository.publish(48);
    ungated_update(&s).expect(0);
    let run = s.gate(&["apt-get", "download", "hello"]);
    assert!(run.code >= 90, "{}", run.transcript());
    run.says("index-untrusted");
    assert!(downloaded(&s).is_empty());
}

#[test]
fn a_known_vulnerable_version_is_refused_with_its_advisory() {
    let up = Upstream::start();
    let repository = Repository::new(&up);
    repository.add("hello", "1.0-1");
    let Some(mut s) = start(&repository) else { return };
    s.advisory(&advisory("DSA-1-1", "Debian:12", "hello", &["1.0-1"], "HIGH"));
    s.gate(&["apt-get", "update"]).expect(0);
    let run = s.gate(&["apt-get", "download", "hello"]);
    run.expect(90).expect_stopped(&[("hello 1.0-1", "known-vulnerable")]).says("known-vulnerable");
    assert!(downloaded(&s).is_empty());
}

#[test]
fn an_index_that_stalls_does_not_hang_apt() {
    let up = Upstream::start();
    let repository = Repository::new(&up);
    repository.add("hello", "1.0-1");
    for path in
        ["/debian/dists/stable/InRelease", "/debian/dists/stable/main/binary-amd64/Packages"]
    {
        let Some(mut s) = start(&repository) else { return };
        s.config("[patience]\nconnect-seconds = 2\nread-seconds = 2\n");
        s.deadline = Duration::from_secs(20);
        up.break_with(path, |reply| reply.fault(Fault::StallAfter(20)));
        s.gate(&["apt-get", "update"]);
        repository.publish(0);
    }
}
