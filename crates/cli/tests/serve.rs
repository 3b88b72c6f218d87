//! `countersign serve` when things go wrong: upstreams that are gone, names that two upstreams have,
//! feeds that arrive while it runs, clients in their hundreds.

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

use serde_json::{Value, json};
use std::time::{Duration, Instant};
use support::registries::{Cargo, Npm, OLD, Pypi, advisory};
use support::server::{Fault, Reply, Upstream};
use support::serving::{Serving, get, get_with};
use support::{Sandbox, finish};

fn upstream(ecosystem: &str, name: &str, url: &str) -> String {
    format!("[[upstream]]\necosystem = \"{ecosystem}\"\nname = \"{name}\"\nurl = \"{url}\"\n")
}

fn file(project: &str) -> String {
    format!("/pypi/files/{project}/{project}-1.0.0-py3-none-any.whl")
}

/// Asks until the answer is `want`, for as long as a change may take to be noticed.
#[track_caller]
fn becomes(address: &str, path: &str, want: u16) -> String {
    let end = Instant::now() + support::serving::PATIENCE;
    loop {
        let (status, text) = get(address, path, None);
        if status == want {
            return text;
        }
        assert!(Instant::now() < end, "{path} stays {status}:\n{text}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn what_was_admitted_is_served_while_the_upstream_is_down_also_after_a_restart() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("good", "1.0.0", OLD).wheel("late", "1.0.0", OLD);
    let mut s = Sandbox::new();
    // Nothing stays fresh: each answer has to do without the upstream.
    s.config(&format!("{}[serve]\nindex-seconds = 1\n", upstream("pypi", "pypi", &index.url())));
    let gateway = Serving::start(&s, &[]);
    let address = gateway.address();
    assert_eq!(get(&address, &file("good"), None).0, 200);
    for path in [
        index.page_path("good"),
        index.page_path("late"),
        index.file_path("good-1.0.0-py3-none-any.whl"),
    ] {
        up.break_with(&path, |r| r.fault(Fault::CloseAfter(0)));
    }
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(get(&address, &file("good"), None).0, 200);
    assert_eq!(get(&address, "/pypi/simple/good/", None).0, 200);
    let (status, text) = get(&address, &file("late"), None);
    assert_eq!(status, 503, "{text}");
    assert!(text.to_ascii_lowercase().contains("\r\nretry-after: "), "{text}");
    gateway.end();
    let gateway = Serving::start(&s, &[]);
    let address = gateway.address();
    assert_eq!(get(&address, &file("good"), None).0, 200);
    assert_eq!(get(&address, &file("late"), None).0, 503);
    gateway.end();
    s.fsck();
}

#[test]
fn hundreds_who_ask_an_upstream_that_is_silent_do_not_wait_in_turn() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("good", "1.0.0", OLD);
    up.break_with(&index.page_path("good"), |r| r.fault(Fault::StallAtOnce));
    let mut s = Sandbox::new();
    let patience = "[patience]\nread-seconds = 2\n";
    s.config(&format!("{}{patience}", upstream("pypi", "pypi", &index.url())));
    let gateway = Serving::start(&s, &[]);
    let address = gateway.address();
    let began = Instant::now();
    let clients: Vec<_> = (0..200)
        .map(|_| {
            let address = address.clone();
            std::thread::spawn(move || get(&address, &file("good"), None).0)
        })
        .collect();
    for client in clients {
        assert_eq!(client.join().unwrap(), 503);
    }
    // One after the other it would be minutes.
    assert!(began.elapsed() < Duration::from_secs(25), "{:?}", began.elapsed());
    assert!(up.count(&index.page_path("good")) < 20, "{}", up.count(&index.page_path("good")));
    gateway.end();
}

#[test]
fn a_name_belongs_to_the_first_upstream_that_has_it_and_is_not_taken_over() {
    let (own, public) = (Upstream::start(), Upstream::start());
    let (inner, outer) = (Pypi::new(&own), Pypi::new(&public));
    inner.wheel("tools", "1.0.0", OLD);
    outer.wheel("tools", "9.0.0", OLD).wheel("flask", "1.0.0", OLD).wheel("secret", "9.0.0", OLD);
    let mut s = Sandbox::new();
    let reserve = "[[reserve]]\npattern = \"pkg:pypi/secret\"\nupstream = \"own\"\n";
    s.config(&format!(
        "{}{}{reserve}[serve]\nindex-seconds = 1\n",
        upstream("pypi", "own", &inner.url()),
        upstream("pypi", "public", &outer.url())
    ));
    let gateway = Serving::start(&s, &[]);
    let address = gateway.address();
    let page = |name: &str| get(&address, &format!("/pypi/simple/{name}/"), None);
    let (status, text) = page("tools");
    assert!(status == 200 && text.contains("tools-1.0.0") && !text.contains("9.0.0"), "{text}");
    assert_eq!(page("flask").0, 200);
    let (status, text) = page("secret");
    assert!(status != 200 && !text.contains("9.0.0-py3"), "{text}");
    assert_eq!(public.count(&outer.page_path("secret")), 0, "a reserved name was asked elsewhere");
    assert_eq!(get(&address, "/u/public/simple/flask/", None).0, 200);
    // The first upstream loses the name: the second does not get it.
    own.put(&inner.page_path("tools"), Reply::error(404));
    std::thread::sleep(Duration::from_millis(1200));
    let (status, text) = page("tools");
    assert!(status == 404 && !text.contains("9.0.0-py3"), "{status} {text}");
    // While the first cannot be asked, nobody can tell whose a new name is.
    own.put(&inner.page_path("new"), Reply::error(503));
    outer.wheel("new", "1.0.0", OLD);
    let (status, text) = page("new");
    assert_eq!(status, 503, "{text}");
    gateway.end();
}

#[test]
fn a_feed_that_arrives_stops_what_was_admitted_and_a_waiver_lets_it_pass() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("good", "1.0.0", OLD);
    let mut s = Sandbox::new();
    let feeds = s.at("feeds");
    std::fs::create_dir_all(&feeds).unwrap();
    let other = advisory("GHSA-0", "PyPI", "other", &["1.0.0"], "");
    std::fs::write(feeds.join("a.json"), other.to_string()).unwrap();
    s.config(&upstream("pypi", "pypi", &index.url()));
    let place = feeds.display().to_string();
    let gateway = Serving::start(&s, &["--feed", &place]);
    let address = gateway.address();
    let headers = "user-agent: tester/1\r\n";
    assert_eq!(get_with(&address, &file("good"), headers).0, 200);
    // A feed that is torn in the middle changes nothing.
    std::fs::write(feeds.join("b.json"), "{\"id\": \"MAL-1\", \"aff").unwrap();
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(get(&address, &file("good"), None).0, 200, "{}", gateway.said());
    let record = advisory("MAL-2024-1", "PyPI", "good", &["1.0.0"], "");
    std::fs::write(feeds.join("b.json"), record.to_string()).unwrap();
    let refused = becomes(&address, &file("good"), 403);
    assert!(refused.contains("MAL-2024-1"), "{refused}");
    // The recall names who has it.
    let end = Instant::now() + support::serving::PATIENCE;
    let shown = loop {
        let shown = s.countersign(&["who", "pkg:pypi/good@1.0.0"]).stdout;
        if shown.contains("tester/1") && shown.contains("127.0.0.1") {
            break shown;
        }
        assert!(Instant::now() < end, "{shown}");
        std::thread::sleep(Duration::from_millis(200));
    };
    assert!(shown.contains("refuse"), "{shown}");
    let size = || get(&address, "/metrics", None).1;
    let entries = |text: &str| -> u64 {
        let line = text.lines().find(|l| l.starts_with("countersign_ledger_entries ")).unwrap();
        line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64
    };
    // Asking for what is refused, again and again, does not fill the ledger.
    let before = entries(&size());
    for _ in 0..50 {
        assert_eq!(get(&address, &file("good"), None).0, 403);
    }
    assert!(entries(&size()) <= before + 1);
    s.countersign(&[
        "waive",
        "pkg:pypi/good@1.0.0",
        "--rule",
        "MAL-2024-1",
        "--reason",
        "looked at",
        "--owner",
        "me",
        "--days",
        "1",
    ])
    .expect(0);
    becomes(&address, &file("good"), 200);
    gateway.end();
    s.fsck();
}

#[test]
fn other_bytes_of_a_known_file_are_refused_and_the_known_ones_kept() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("good", "1.0.0", OLD);
    let mut s = Sandbox::new();
    s.config(&format!("{}[serve]\nindex-seconds = 1\n", upstream("pypi", "pypi", &index.url())));
    let gateway = Serving::start(&s, &[]);
    let address = gateway.address();
    assert_eq!(get(&address, &file("good"), None).0, 200);
    let name = "good-1.0.0-py3-none-any.whl";
    let other =
        support::archives::wheel_with("good", "1.0.0", &[("good/evil.py", b"evil = 1\n")], &[]);
    index.replace("good", name, other, true);
    std::thread::sleep(Duration::from_millis(1200));
    let (status, text) = get(&address, &file("good"), None);
    assert!(status == 403 && text.contains("digest-changed"), "{status} {text}");
    gateway.end();
    s.fsck();
}

#[test]
fn nothing_that_was_handed_out_is_lost_when_it_is_killed() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    let names: Vec<String> = (0..40).map(|i| format!("lib{i}")).collect();
    for name in &names {
        index.wheel(name, "1.0.0", OLD);
    }
    let mut s = Sandbox::new();
    s.config(&upstream("pypi", "pypi", &index.url()));
    let mut got = Vec::new();
    for (round, part) in names.chunks(10).enumerate() {
        let gateway = Serving::start(&s, &[]);
        let address = gateway.address();
        let clients: Vec<_> = part
            .iter()
            .map(|name| {
                let (address, name) = (address.clone(), name.clone());
                std::thread::spawn(move || {
                    let stream = std::net::TcpStream::connect(&address).ok();
                    drop(stream);
                    let answer = std::panic::catch_unwind(|| get(&address, &file(&name), None));
                    (name, answer.map_or(0, |(status, _)| status))
                })
            })
            .collect();
        std::thread::sleep(Duration::from_millis(40 * round as u64));
        gateway.kill();
        got.extend(clients.into_iter().map(|c| c.join().unwrap()).filter(|(_, s)| *s == 200));
    }
    let decided = s.decisions();
    for (name, _) in &got {
        let purl = format!("pkg:pypi/{name}@1.0.0");
        assert!(decided.iter().any(|(p, v, _)| *p == purl && v == "admit"), "{purl} is lost");
    }
    s.fsck();
}

#[test]
fn npm_is_told_why_and_installs_the_rest() {
    let Some(npm) = support::npm() else {
        eprintln!("skipped: no npm here");
        return;
    };
    let up = Upstream::start();
    let registry = Npm::new(&up);
    registry.add("good", "1.0.0", OLD, json!({}), &[("lib.js", b"module.exports = 1\n")]);
    registry.add("bad", "1.0.0", OLD, json!({}), &[("lib.js", b"module.exports = 2\n")]);
    let mut s = Sandbox::new();
    s.config(&upstream("npm", "npm", &registry.url()));
    let record = advisory(
        "GHSA-1",
        "npm",
        "bad",
        &["1.0.0"],
        "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H",
    );
    let feed = s.at("bad.json");
    std::fs::write(&feed, record.to_string()).unwrap();
    let gateway = Serving::start(&s, &["--feed", &feed.display().to_string()]);
    let address = gateway.address();
    s.write("package.json", "{\"name\":\"p\",\"version\":\"1.0.0\"}");
    let registry = format!("http://{address}/npm/");
    let run = |words: &[&str]| {
        let mut all = words.to_vec();
        all.extend([
            "--registry",
            &registry,
            "--no-audit",
            "--no-fund",
            "--replace-registry-host=always",
        ]);
        finish(s.command(npm, &all), b"", Duration::from_secs(90))
    };
    run(&["install", "good"]).expect(0);
    assert!(s.work().join("node_modules/good/lib.js").is_file());
    let refused = run(&["install", "bad@1.0.0"]);
    assert_ne!(refused.code, 0);
    assert!(refused.transcript().contains("GHSA-1"), "{}", refused.transcript());
    std::fs::remove_dir_all(s.work().join("node_modules")).unwrap();
    run(&["ci"]).expect(0);
    assert!(s.work().join("node_modules/good/lib.js").is_file());
    let (status, text) = get(&address, "/npm/good/latest", None);
    let body: Value = serde_json::from_str(text.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!((status, &body["version"]), (200, &"1.0.0".into()));
    assert_eq!(get(&address, "/npm/-/ping", None).0, 200);
    gateway.end();
}

#[test]
fn cargo_fetches_through_the_gateway() {
    let Some(cargo) = support::cargo() else {
        eprintln!("skipped: no cargo here");
        return;
    };
    let up = Upstream::start();
    let registry = Cargo::new(&up);
    registry.add("good", "1.0.0", OLD).add("young", "1.0.0", 1);
    let mut s = Sandbox::new();
    s.path_first(cargo.parent().unwrap());
    s.env("CARGO_HOME", s.at("cargo-home"));
    s.config(&upstream("cargo", "cargo", &registry.url()));
    let gateway = Serving::start(&s, &[]);
    let address = gateway.address();
    let fetch = |name: &str| {
        let toml = format!(
            "[package]\nname = \"p\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[workspace]\n[dependencies]\n{name} = \"1\"\n"
        );
        s.write("Cargo.toml", toml);
        s.write("src/lib.rs", "");
        s.write(
            ".cargo/config.toml",
            format!(
                "[source.crates-io]\nreplace-with = \"gate\"\n[source.gate]\nregistry = \"sparse+http://{address}/cargo/\"\n[net]\nretry = 0\n"
            ),
        );
        finish(s.command(cargo, &["fetch"]), b"", Duration::from_secs(90))
    };
    fetch("good").expect(0);
    assert_ne!(fetch("young").code, 0);
    gateway.end();
    s.expect_decision("pkg:cargo/good@1.0.0", "admit", "");
}
