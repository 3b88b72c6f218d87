//! pip behind the gate, against a synthetic index.

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

use support::archives::{sha256, wheel, wheel_name, wheel_with};
use support::pip_sandbox as start;
use support::registries::{OLD, PyFile, Pypi, advisory};
use support::server::{Reply, Upstream};

#[test]
fn a_clean_install_is_admitted_recorded_and_installed() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.add(
        "app",
        PyFile::new(
            "app-1.0.0-py3-none-any.whl",
            wheel_with("app", "1.0.0", &[("app.py", b"")], &["lib>=1"]),
            OLD,
        ),
    );
    index.wheel("lib", "1.0.0", OLD);
    let Some((s, venv)) = start(&index) else { return };
    let run = s.gate(&["pip", "install", "app"]);
    run.expect(0).expect_admitted(&["app 1.0.0", "lib 1.0.0"]);
    assert_eq!(run.report["account"]["matched"], 2, "{}", run.transcript());
    assert!(run.gaps().is_empty());
    assert_eq!(venv.names(), ["app-1.0.0.dist-info", "app.py", "lib", "lib-1.0.0.dist-info"]);
    s.expect_decision("pkg:pypi/app@1.0.0", "admit", "");
    s.expect_decision("pkg:pypi/lib@1.0.0", "admit", "");
    s.fsck();
    assert_eq!(s.blobs().len(), 2);
}

#[test]
fn an_html_index_serves_as_well() {
    let up = Upstream::start();
    let index = Pypi::new(&up).html_only();
    index.wheel("lib", "1.0.0", OLD).wheel("lib", "1.1.0", 1);
    let Some((s, venv)) = start(&index) else { return };
    s.gate(&["pip", "install", "lib"]).expect(0).expect_admitted(&["lib 1.0.0"]);
    assert!(venv.has("lib-1.0.0.dist-info"));
}

#[test]
fn what_was_admitted_before_comes_from_the_store() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    let Some((s, _venv)) = start(&index) else { return };
    for _ in 0..2 {
        s.gate(&["pip", "install", "--force-reinstall", "lib"])
            .expect(0)
            .expect_admitted(&["lib 1.0.0"]);
    }
    assert_eq!(up.count(&index.file_path(&wheel_name("lib", "1.0.0"))), 1);
    assert_eq!(s.ledger().len(), 1, "the same decision is not written twice");
}

#[test]
fn a_known_vulnerable_version_is_refused_with_its_advisory() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD).wheel("lib", "1.2.0", OLD);
    let Some((mut s, venv)) = start(&index) else { return };
    s.advisory(&advisory("CVE-2020-0001", "PyPI", "lib", &["1.0.0"], "CRITICAL"));
    let run = s.gate(&["pip", "install", "lib==1.0.0"]);
    run.expect(90).expect_stopped(&[("lib 1.0.0", "known-vulnerable")]);
    run.says("403").says("known-vulnerable").says("CVE-2020-0001");
    assert_eq!(run.artifact("lib 1.0.0")["next_admissible"], "1.2.0");
    assert_eq!(
        up.count(&index.file_path(&wheel_name("lib", "1.0.0"))),
        0,
        "what metadata refuses is not fetched"
    );
    assert!(venv.names().is_empty());
    s.expect_decision("pkg:pypi/lib@1.0.0", "refuse", "known-vulnerable");
}

#[test]
fn the_resolver_chooses_the_newest_admissible_version() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index
        .wheel("lib", "1.0.0", OLD)
        .wheel("lib", "1.1.0", OLD)
        .wheel("lib", "1.2.0", OLD)
        .wheel("lib", "2.0.0", 1);
    let Some((mut s, venv)) = start(&index) else { return };
    s.advisory(&advisory("CVE-2020-0002", "PyPI", "lib", &["1.2.0"], "HIGH"));
    let run = s.gate(&["pip", "install", "lib"]);
    run.expect(0).expect_admitted(&["lib 1.1.0"]);
    assert!(venv.has("lib-1.1.0.dist-info"));
    let left_out: Vec<String> =
        run.list("not_offered").iter().map(|n| format!("{} {}", n["purl"], n["reason"])).collect();
    for want in ["lib@2.0.0\" \"cool-down\"", "lib@1.2.0\" \"known-vulnerable\""] {
        assert!(left_out.iter().any(|l| l.ends_with(want)), "{want}: {left_out:?}");
    }
}

#[test]
fn a_pinned_version_in_its_cool_down_is_held_and_says_until_when() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD).wheel("lib", "1.1.0", 1);
    let Some((s, _venv)) = start(&index) else { return };
    let run = s.gate(&["pip", "install", "lib==1.1.0"]);
    run.expect(91).expect_stopped(&[("lib 1.1.0", "cool-down")]);
    assert!(run.artifact("lib 1.1.0")["ends"].is_string(), "{}", run.transcript());
}

#[test]
fn nothing_admissible_at_all_is_held_not_missing() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", 1);
    let Some((s, _venv)) = start(&index) else { return };
    let run = s.gate(&["pip", "install", "lib"]);
    run.expect(91);
    assert_eq!(run.list("not_offered").len(), 1, "{}", run.transcript());
}

#[test]
fn a_malicious_name_is_refused_in_every_version() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("reqeusts", "2.0.0", OLD);
    let Some((mut s, venv)) = start(&index) else { return };
    s.advisory(&advisory("MAL-2024-1", "PyPI", "reqeusts", &[], ""));
    let run = s.gate(&["pip", "install", "reqeusts"]);
    run.expect(90);
    assert_eq!(run.list("not_offered")[0]["reason"], "known-malicious", "{}", run.transcript());
    let run = s.gate(&["pip", "install", "reqeusts==2.0.0"]);
    run.expect(90).expect_stopped(&[("reqeusts 2.0.0", "known-malicious")]);
    assert!(run.artifact("reqeusts 2.0.0")["waive"].is_null() || !run.stderr.is_empty());
    assert!(venv.names().is_empty() && s.blobs().is_empty());
}

#[test]
fn other_bytes_than_the_index_says_are_refused() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    let file = wheel_name("lib", "1.0.0");
    let mut other = wheel("lib", "1.0.0");
    let at = other.windows(7).position(|w| w == b"VERSION").unwrap();
    other[at] = b'v';
    index.replace("lib", &file, other.clone(), false);
    let Some((s, venv)) = start(&index) else { return };
    let run = s.gate(&["pip", "install", "lib"]);
    run.expect(90).expect_stopped(&[("lib 1.0.0", "digest-mismatch")]);
    assert!(run.artifact("lib 1.0.0")["waive"].is_null(), "no waiver can lift it");
    assert!(venv.names().is_empty() && s.blobs().is_empty());
    s.expect_decision("pkg:pypi/lib@1.0.0", "refuse", "digest-mismatch");
}

#[test]
fn the_same_version_with_another_digest_is_refused_for_ever() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    let Some((s, _venv)) = start(&index) else { return };
    s.gate(&["pip", "install", "lib"]).expect(0);
    let first = s.blobs();
    let other = wheel_with("lib", "1.0.0", &[("lib/__init__.py", b"import os\n")], &[]);
    index.replace("lib", &wheel_name("lib", "1.0.0"), other.clone(), true);
    for _ in 0..2 {
        let run = s.gate(&["pip", "install", "--force-reinstall", "lib"]);
        run.expect(90).expect_stopped(&[("lib 1.0.0", "digest-changed")]);
    }
    assert_eq!(s.blobs(), first, "the other bytes were not kept");
    assert!(!first.contains(&sha256(&other)));
    s.fsck();
}

#[test]
fn an_index_without_digests_is_not_enough() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    let file = PyFile {
        sha256: String::new(),
        ..PyFile::new(&wheel_name("lib", "1.0.0"), wheel("lib", "1.0.0"), OLD)
    };
    index.add("lib", file);
    let Some((s, venv)) = start(&index) else { return };
    s.gate(&["pip", "install", "lib"]).expect(90).expect_stopped(&[("lib 1.0.0", "digest-weak")]);
    assert!(venv.names().is_empty());
}

#[test]
fn a_waiver_lifts_its_rule_and_an_ended_one_nothing() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    let Some((mut s, venv)) = start(&index) else { return };
    s.advisory(&advisory("CVE-2020-0003", "PyPI", "lib", &["1.0.0"], "CRITICAL"));
    let install = ["pip", "install", "lib==1.0.0"];
    let run = s.gate(&install);
    run.expect(90);
    let offered = run.artifact("lib 1.0.0")["waive"].as_str().unwrap_or_default().to_owned();
    assert!(offered.contains("--rule baseline.known-vulnerable"), "{offered}");
    let grant = |until: &str| {
        let rule = ["waive", "pkg:pypi/lib@1.0.0", "--rule", "baseline.known-vulnerable"];
        s.countersign(
            &[&rule[..], &["--reason", "not reachable", "--owner", "me", "--until", until]]
                .concat(),
        )
    };
    // Ends before the next run does.
    let soon = jiff::Timestamp::now().as_second() + 2;
    grant(&jiff::Timestamp::from_second(soon).unwrap().to_string()).expect(0);
    while jiff::Timestamp::now().as_second() <= soon {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    s.gate(&install).expect(90);
    s.countersign(&["waive", "--list"]).expect(0).says("ended");
    grant("2999-01-01T00:00:00Z").expect(0);
    let run = s.gate(&install);
    run.expect(0).expect_admitted(&["lib 1.0.0"]);
    let waivers = run.artifact("lib 1.0.0")["decision"]["waivers"].clone();
    assert_eq!(
        waivers.as_array().map(Vec::len),
        Some(1),
        "the decision names the waiver: {}",
        run.transcript()
    );
    assert!(venv.has("lib"));
    s.countersign(&[
        "waive",
        "pkg:pypi/lib@1.0.0",
        "--rule",
        "x",
        "--reason",
        "r",
        "--until",
        "2001-01-01T00:00:00Z",
    ])
    .expect(2)
    .says("past");
    s.fsck();
}

#[test]
fn a_revoked_waiver_lifts_nothing() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    let Some((mut s, _venv)) = start(&index) else { return };
    s.advisory(&advisory("CVE-2020-0004", "PyPI", "lib", &["1.0.0"], "CRITICAL"));
    let given = s.countersign(&[
        "waive",
        "pkg:pypi/lib@1.0.0",
        "--rule",
        "known-vulnerable",
        "--reason",
        "r",
        "--days",
        "9",
    ]);
    let id = given.expect(0).stdout.split(':').next().unwrap().to_owned();
    s.countersign(&["waive", "--revoke", &id, "--reason", "changed my mind"]).expect(0);
    s.gate(&["pip", "install", "lib==1.0.0"]).expect(90);
}

#[test]
fn a_denied_name_is_refused() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    let Some((mut s, _venv)) = start(&index) else { return };
    s.config("deny = [\"pkg:pypi/lib\"]\n");
    s.gate(&["pip", "install", "lib==1.0.0"]).expect(90).expect_stopped(&[("lib 1.0.0", "denied")]);
}

#[test]
fn a_name_that_an_extra_index_owns_comes_from_nowhere_else() {
    let (public, private) = (Upstream::start(), Upstream::start());
    let (index, own) = (Pypi::new(&public), Pypi::new(&private));
    own.wheel("acme-tools", "1.0.0", OLD);
    // The public copy is newer: without the gate pip would take it.
    index.wheel("acme-tools", "99.0.0", OLD).wheel("lib", "1.0.0", OLD);
    let Some((s, venv)) = start(&index) else { return };
    let run = s.gate(&["pip", "install", "--extra-index-url", &own.url(), "acme-tools", "lib"]);
    run.expect(0).expect_admitted(&["acme-tools 1.0.0", "lib 1.0.0"]).expect_door("acme-tools");
    assert!(venv.has("acme_tools-1.0.0.dist-info"));
    assert_eq!(public.count(&index.file_path(&wheel_name("acme-tools", "99.0.0"))), 0);
}

#[test]
fn a_reserved_name_is_refused_from_another_upstream() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("acme-tools", "99.0.0", OLD);
    let Some((mut s, venv)) = start(&index) else { return };
    s.config("[[reserve]]\npattern = \"pkg:pypi/acme-*\"\nupstream = \"https://pypi.acme.example/simple\"\n");
    let run = s.gate(&["pip", "install", "acme-tools==99.0.0"]);
    run.expect(90).expect_stopped(&[("acme-tools 99.0.0", "reserved-namespace")]);
    s.gate(&["pip", "install", "acme-tools"]).expect(90);
    assert!(venv.names().is_empty());
}

#[test]
fn a_direct_url_is_closed_and_its_server_hears_nothing() {
    let (up, elsewhere) = (Upstream::start(), Upstream::start());
    let index = Pypi::new(&up);
    elsewhere.put("/evil-1.0.0-py3-none-any.whl", Reply::file(wheel("evil", "1.0.0")));
    let Some((s, venv)) = start(&index) else { return };
    let url = elsewhere.url("/evil-1.0.0-py3-none-any.whl");
    for words in [vec![url.clone()], vec![format!("evil @ {url}")]] {
        let mut all = vec!["pip", "install"];
        all.extend(words.iter().map(String::as_str));
        s.gate(&all).expect(90).expect_door(&elsewhere.host());
    }
    s.write("requirements.txt", format!("evil @ {url}\n"));
    s.gate(&["pip", "install", "-r", "requirements.txt"]).expect(90);
    assert!(elsewhere.seen().is_empty(), "{:?}", elsewhere.seen());
    assert!(venv.names().is_empty());
}

#[test]
fn a_requirements_file_elsewhere_is_closed() {
    let (up, elsewhere) = (Upstream::start(), Upstream::start());
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    elsewhere.put("/requirements.txt", Reply::ok("text/plain", "lib\n"));
    let Some((s, _venv)) = start(&index) else { return };
    let run = s.gate(&["pip", "install", "-r", &elsewhere.url("/requirements.txt")]);
    assert_ne!(run.code, 0, "{}", run.transcript());
    assert!(elsewhere.seen().is_empty());
}

#[test]
fn find_links_are_closed_wherever_they_stand() {
    let (up, elsewhere) = (Upstream::start(), Upstream::start());
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    let link = format!("<a href=\"/{0}\">{0}</a>", wheel_name("lib", "9.0.0"));
    elsewhere.put("/links", Reply::ok("text/html", link));
    elsewhere.put(&format!("/{}", wheel_name("lib", "9.0.0")), Reply::file(wheel("lib", "9.0.0")));
    let links = elsewhere.url("/links");
    let Some((mut s, venv)) = start(&index) else { return };
    let local = s.work().join("wheels");
    std::fs::create_dir(&local).unwrap();
    std::fs::write(local.join(wheel_name("lib", "9.0.0")), wheel("lib", "9.0.0")).unwrap();
    let local = local.display().to_string();
    s.write("links.txt", format!("--find-links {links}\nlib\n"));
    let run = s.gate(&["pip", "install", "-r", "links.txt"]);
    assert_ne!(run.code, 0, "{}", run.transcript());
    run.says("find-links");
    let again = ["pip", "install", "--force-reinstall", "lib"];
    for place in [&links, &local] {
        let named = [&again[..], &["--find-links", place]].concat();
        s.gate(&named).expect(0).expect_admitted(&["lib 1.0.0"]);
        // optparse takes any prefix that no other option shares.
        let short = [&again[..], &["--find-l", place]].concat();
        let run = s.gate(&short);
        assert!(
            run.code == 0 && run.admitted() == ["lib 1.0.0"] || run.code >= 90,
            "{}",
            run.transcript()
        );
        s.env("PIP_FIND_LINKS", place);
        s.gate(&again).expect(0).expect_admitted(&["lib 1.0.0"]);
        s.env("PIP_FIND_LINKS", "");
    }
    s.write("pip.conf", format!("[global]\nfind-links = {local}\n"));
    s.env("PIP_CONFIG_FILE", s.work().join("pip.conf"));
    s.gate(&again).expect(0).expect_admitted(&["lib 1.0.0"]);
    assert!(venv.has("lib-1.0.0.dist-info") && !venv.has("lib-9.0.0.dist-info"));
    assert!(elsewhere.seen().is_empty(), "{:?}", elsewhere.seen());
}

#[test]
fn a_local_wheel_is_judged_like_any_other() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    let Some((s, venv)) = start(&index) else { return };
    let file = s.write(&wheel_name("evil", "1.0.0"), wheel("evil", "1.0.0"));
    let run = s.gate(&["pip", "install", &file.display().to_string()]);
    run.expect(90).expect_stopped(&[("evil 1.0.0", "digest-weak")]);
    // The same file by its address.
    let run = s.gate(&["pip", "install", &format!("file://{}", file.display())]);
    assert!(run.code >= 90, "{}", run.transcript());
    assert!(venv.names().is_empty(), "it was installed: {:?}", venv.names());
}

/// Options that would lead pip past the gate, in every spelling that pip understands.
#[test]
fn options_that_lead_past_the_gate_are_refused() {
    let (up, elsewhere) = (Upstream::start(), Upstream::start());
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    let Some((s, venv)) = start(&index) else { return };
    let proxy = elsewhere.url("");
    for option in [
        format!("--proxy={proxy}"),
        format!("--prox={proxy}"),
        "--cert=/dev/null".into(),
        "--cer=/dev/null".into(),
    ] {
        let run = s.gate(&["pip", "install", &option, "lib"]);
        assert!(run.code >= 90, "`{option}`: {}", run.transcript());
        let run = s.gate(&["pip", &option, "install", "lib"]);
        assert!(run.code >= 90, "`{option}` first: {}", run.transcript());
    }
    assert!(elsewhere.seen().is_empty(), "{:?}", elsewhere.seen());
    assert!(venv.names().is_empty());
}

/// `pip --python` starts pip again in another interpreter.
#[test]
fn another_interpreter_is_no_way_round_the_gate() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    let Some((mut s, venv)) = start(&index) else { return };
    s.advisory(&advisory("MAL-2024-2", "PyPI", "lib", &[], ""));
    let python = venv.root.join("bin/python").display().to_string();
    let run = s.gate(&["pip", "--python", &python, "install", "lib==1.0.0"]);
    assert!(run.code >= 90, "{}", run.transcript());
    assert!(venv.names().is_empty(), "it was installed: {}", run.transcript());
    s.env("PIP_PYTHON", &python);
    let run = s.gate(&["pip", "install", "lib==1.0.0"]);
    assert!(run.code >= 90, "{}", run.transcript());
    assert!(venv.names().is_empty(), "it was installed: {}", run.transcript());
    assert_eq!(up.count(&index.file_path(&wheel_name("lib", "1.0.0"))), 0);
}

#[test]
fn proxies_of_the_user_do_not_take_the_gates_place() {
    let (up, elsewhere) = (Upstream::start(), Upstream::start());
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    let Some((mut s, _venv)) = start(&index) else { return };
    s.write(
        "pip.conf",
        format!("[global]\nproxy = {0}\n[install]\nproxy = {0}\n", elsewhere.url("")),
    );
    s.env("PIP_CONFIG_FILE", s.work().join("pip.conf"));
    s.env("NO_PROXY", "127.0.0.1").env("no_proxy", "*");
    s.gate(&["pip", "install", "lib"]).expect(0).expect_admitted(&["lib 1.0.0"]);
    assert!(elsewhere.seen().is_empty());
}

#[test]
fn downloads_are_reconciled_by_digest() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD).sdist("src", "1.0.0", "pass");
    let Some((s, _venv)) = start(&index) else { return };
    let run = s.gate(&["pip", "download", "-d", "out", "lib"]);
    run.expect(0).expect_admitted(&["lib 1.0.0"]);
    assert_eq!(run.report["account"]["matched"], 1);
    let file = s.work().join("out").join(wheel_name("lib", "1.0.0"));
    assert_eq!(std::fs::read(file).unwrap(), wheel("lib", "1.0.0"));
    s.gate(&["pip", "download", "--no-deps", "--no-binary", ":all:", "-d", "out", "src"])
        .expect(0)
        .expect_admitted(&["src 1.0.0"]);
}

#[test]
fn a_source_archive_is_built_and_said_to_be_local() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.sdist("src", "1.0.0", "pass");
    let Some((s, venv)) = start(&index) else { return };
    let run = s.gate(&["pip", "install", "src"]);
    run.expect(0).expect_admitted(&["src 1.0.0"]);
    assert!(venv.has("src"), "{}", run.transcript());
    assert!(
        run.report["account"]["local"].to_string().contains("built here"),
        "{}",
        run.transcript()
    );
}

#[test]
fn a_hashed_requirements_file_keeps_working() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    let Some((s, _venv)) = start(&index) else { return };
    s.write("locked.txt", format!("lib==1.0.0 --hash=sha256:{}\n", sha256(&wheel("lib", "1.0.0"))));
    s.gate(&["pip", "install", "--require-hashes", "-r", "locked.txt"])
        .expect(0)
        .expect_admitted(&["lib 1.0.0"]);
    s.write("wrong.txt", format!("lib==1.0.0 --hash=sha256:{}\n", "0".repeat(64)));
    let run =
        s.gate(&["pip", "install", "--force-reinstall", "--require-hashes", "-r", "wrong.txt"]);
    run.expect(1).says("DO NOT MATCH");
}

#[test]
fn upgrading_to_the_fix_does_not_wait_for_the_cool_down() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    let Some((mut s, venv)) = start(&index) else { return };
    s.gate(&["pip", "install", "lib"]).expect(0);
    index.wheel("lib", "1.0.1", 1);
    s.gate(&["pip", "install", "--upgrade", "lib"]).expect(0);
    assert!(venv.has("lib-1.0.0.dist-info"), "a young version without a fix waits");
    s.advisory(&advisory("CVE-2020-0005", "PyPI", "lib", &["1.0.0"], "HIGH"));
    s.gate(&["pip", "install", "--upgrade", "lib"]).expect(0).expect_admitted(&["lib 1.0.1"]);
    assert!(venv.has("lib-1.0.1.dist-info"));
}

#[test]
fn an_archive_that_attacks_is_refused() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    let attack = wheel_with("lib", "1.0.0", &[("../../escape.py", b"x = 1\n")], &[]);
    index.add("lib", PyFile::new(&wheel_name("lib", "1.0.0"), attack, OLD));
    let Some((s, venv)) = start(&index) else { return };
    s.gate(&["pip", "install", "lib"])
        .expect(90)
        .expect_stopped(&[("lib 1.0.0", "archive-unsafe")]);
    assert!(venv.names().is_empty());
}

#[test]
fn the_age_that_counts_is_the_files_own() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    // The wheel joined its version long after the source archive did.
    index.sdist("lib", "1.0.0", "pass").wheel("lib", "1.0.0", 1);
    let Some((s, _venv)) = start(&index) else { return };
    let run = s.gate(&["pip", "download", "--no-deps", "-d", "out", "lib"]);
    run.expect(0);
    assert_eq!(run.artifact("lib 1.0.0")["file"], "lib-1.0.0.tar.gz", "{}", run.transcript());
}

#[test]
fn a_time_in_the_future_is_young_and_a_missing_one_unknown() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("future", "1.0.0", -48);
    let file = PyFile {
        age: None,
        ..PyFile::new(&wheel_name("timeless", "1.0.0"), wheel("timeless", "1.0.0"), OLD)
    };
    index.add("timeless", file);
    let Some((s, _venv)) = start(&index) else { return };
    s.gate(&["pip", "install", "future"]).expect(91);
    s.gate(&["pip", "install", "timeless"]).expect(0).expect_admitted(&["timeless 1.0.0"]);
    let run = s.gate_with(
        &["--policy", "strict"],
        &["pip", "install", "--force-reinstall", "timeless"],
        b"",
    );
    assert!(run.code == 90 || run.code == 91, "strict wants to know the age: {}", run.transcript());
}

/// Other version control systems than git would fetch by themselves.
#[test]
fn a_requirement_under_version_control_starts_no_program() {
    let (up, elsewhere) = (Upstream::start(), Upstream::start());
    let index = Pypi::new(&up);
    let Some((s, venv)) = start(&index) else { return };
    let ran = s.at("ran");
    for program in ["hg", "svn", "bzr"] {
        let script = format!(
            "#!/bin/sh\ncase \"$1\" in --version|version) exit 0;; esac\necho $0 \"$@\" >> {}\nexit 1\n",
            ran.display()
        );
        support::write_program(&venv.root.join("bin").join(program), &script);
        let run = s.gate(&["pip", "install", &format!("{program}+{}", elsewhere.url("/repo"))]);
        assert!(run.code >= 90, "{}", run.transcript());
        s.write("requirements.txt", format!("evil @ {program}+{}\n", elsewhere.url("/repo")));
        let run = s.gate(&["pip", "install", "-r", "requirements.txt"]);
        assert!(run.code >= 90, "{}", run.transcript());
    }
    s.gate(&["pip", "install", &format!("git+{}", elsewhere.url("/repo.git"))])
        .expect(90)
        .expect_door(&elsewhere.host());
    assert!(!ran.exists(), "{}", std::fs::read_to_string(&ran).unwrap());
    assert!(elsewhere.seen().is_empty(), "{:?}", elsewhere.seen());
}

/// The client's own cache, filled without the gate and named on the command line.
#[test]
fn a_cache_on_the_command_line_is_no_way_round_the_gate() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    up.break_with(&index.file_path(&wheel_name("lib", "1.0.0")), |r| {
        r.header("cache-control", "max-age=365000000, immutable")
    });
    let Some((mut s, venv)) = start(&index) else { return };
    let cache = s.at("pip-cache").display().to_string();
    let fill = s.command(
        &venv.root.join("bin/pip"),
        &["download", "--cache-dir", &cache, "--no-deps", "-d", "filled", "lib"],
    );
    support::finish(fill, b"", std::time::Duration::from_secs(60)).expect(0);
    s.advisory(&advisory("MAL-2024-6", "PyPI", "lib", &[], ""));
    let run = s.gate(&["pip", "install", "--cache-dir", &cache, "lib==1.0.0"]);
    assert!(run.code >= 90, "{}", run.transcript());
    assert!(venv.names().is_empty(), "it was installed: {}", run.transcript());
}
