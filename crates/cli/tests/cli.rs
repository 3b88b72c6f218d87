//! The command itself: what passes through, what is said, what stays secret.

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
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};
use support::archives::{wheel, wheel_name};
use support::registries::{Npm, OLD, Pypi, advisory};
use support::server::{Fault, Reply, Upstream};
use support::{Run, Sandbox, Venv, finish, npm, pip_sandbox as start, scripted_pip, skipped};

/// Runs the client itself, without the gate.
fn plain(s: &Sandbox, venv: &Venv, args: &[&str]) -> Run {
    let mut command = s.command(&venv.root.join("bin/pip"), args);
    command.env("PIP_DISABLE_PIP_VERSION_CHECK", "1");
    finish(command, b"", Duration::from_secs(60))
}

#[test]
fn the_clients_own_exit_code_and_output_pass_through() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    let Some((s, venv)) = start(&index) else { return };
    s.gate(&["pip", "install", "lib"]).expect(0);
    for words in
        [vec!["list"], vec!["freeze"], vec!["--version"], vec!["show", "lib"], vec!["check"]]
    {
        let alone = plain(&s, &venv, &words);
        let gated = s.gate(&[&["pip"][..], &words].concat());
        assert_eq!(
            (gated.code, &gated.stdout),
            (alone.code, &alone.stdout),
            "{}",
            gated.transcript()
        );
    }
    for words in [
        vec!["install", "nonexistent"],
        vec!["show", "nonexistent"],
        vec!["install", "--no-such-option"],
        vec!["nonsense"],
    ] {
        let alone = plain(&s, &venv, &words);
        let gated = s.gate(&[&["pip"][..], &words].concat());
        assert_ne!(alone.code, 0);
        assert_eq!(gated.code, alone.code, "{}", gated.transcript());
    }
}

#[test]
fn standard_input_reaches_the_client() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    let Some((s, venv)) = start(&index) else { return };
    // pip reads its requirements from there.
    let run = s.gate_with(&[], &["pip", "install", "-r", "/dev/stdin"], b"lib==1.0.0\n");
    run.expect(0).expect_admitted(&["lib 1.0.0"]);
    assert!(venv.has("lib"));
    // pip asks, and is answered.
    s.gate_with(&[], &["pip", "uninstall", "lib"], b"y\n").expect(0);
    assert!(!venv.has("lib"));
}

#[test]
fn nothing_is_asked_without_a_terminal() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    up.require_login("me:right");
    let Some((mut s, _venv)) = start(&index) else { return };
    s.deadline = Duration::from_secs(20);
    let run = s.gate(&["pip", "install", "lib"]);
    assert_ne!(run.code, 0);
    s.advisory(&advisory("MAL-1", "PyPI", "lib", &[], ""));
    let run = s.gate(&["pip", "install", "lib==1.0.0"]);
    assert_ne!(run.code, 0);
}

#[test]
fn quiet_says_nothing_of_what_went_well() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    let Some((s, _venv)) = start(&index) else { return };
    s.countersign(&["init"]).expect(0);
    let run = s.countersign(&["run", "--quiet", "--", "pip", "install", "-q", "lib"]);
    run.expect(0);
    assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("", ""));
    // What went wrong is said all the same.
    up.break_with(&index.page_path("lib"), |_| Reply::error(500));
    let run = s.countersign(&[
        "run",
        "--quiet",
        "--",
        "pip",
        "install",
        "-q",
        "--force-reinstall",
        "lib",
    ]);
    run.expect(93).says("upstream-failed");
}

#[test]
fn the_table_names_every_artifact_and_leaves_standard_output_alone() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index
        .wheel("good", "1.0.0", OLD)
        .wheel("bad", "1.0.0", OLD)
        .wheel("bad", "1.0.1", OLD)
        .wheel("young", "2.0.0", 1);
    let Some((mut s, _venv)) = start(&index) else { return };
    s.advisory(&advisory("CVE-2020-7", "PyPI", "bad", &["1.0.0"], "CRITICAL"));
    let feed = s.at("feed").display().to_string();
    let run =
        s.countersign(&["run", "--feed", &feed, "--", "pip", "install", "good", "bad==1.0.0"]);
    run.expect(90);
    for want in [
        "good 1.0.0",
        "admit",
        "bad 1.0.0",
        "refuse",
        "CVE-2020-7",
        "known-vulnerable",
        "next admissible version: 1.0.1",
        "countersign waive",
    ] {
        assert!(run.stderr.contains(want), "`{want}` is not in the table\n{}", run.transcript());
    }
    assert!(!run.stdout.contains("countersign: "), "{}", run.transcript());
    let run = s.countersign(&["run", "--feed", &feed, "--", "pip", "install", "young==2.0.0"]);
    run.expect(91).says("held").says("cool-down");
    // Nobody looks at a terminal: no colours, no lines that are drawn over.
    assert!(!run.stderr.contains('\u{1b}') && !run.stderr.contains('\r'), "{:?}", run.stderr);
}

#[test]
fn missing_feeds_are_said_not_hidden() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    let Some((s, _venv)) = start(&index) else { return };
    s.countersign(&["run", "--", "pip", "install", "lib"])
        .expect(0)
        .says("advisories are NOT checked");
    let run = s.gate(&["pip", "install", "--force-reinstall", "lib"]);
    let checks = run.artifact("lib 1.0.0")["checks"].to_string();
    assert!(checks.contains("not-done"), "{checks}");
}

#[test]
fn reports_for_programs_can_be_read() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    let Some((mut s, _venv)) = start(&index) else { return };
    s.advisory(&advisory("CVE-2020-8", "PyPI", "lib", &["1.0.0"], "CRITICAL"));
    let (feed, file) =
        (s.at("feed").display().to_string(), s.at("report.sarif").display().to_string());
    s.countersign(&[
        "run",
        "--feed",
        &feed,
        "--format",
        "sarif",
        "--report",
        &file,
        "--",
        "pip",
        "install",
        "lib==1.0.0",
    ])
    .expect(90);
    let sarif: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(sarif["version"], "2.1.0");
    let result = &sarif["runs"][0]["results"][0];
    assert_eq!(
        (&result["ruleId"], &result["level"]),
        (&json!("baseline.known-vulnerable"), &json!("error")),
        "{sarif:#}"
    );
    let run = s.gate(&["pip", "install", "lib==1.0.0"]);
    assert_eq!(run.report["format"], "countersign-report/v1");
    assert_eq!(
        (&run.report["exit_code"], &run.report["client_exit_code"]),
        (&json!(90), &json!(1))
    );
    let index = run.artifact("lib 1.0.0")["ledger_index"].as_u64().unwrap();
    assert!(s.ledger().iter().any(|d| d["index"] == index));
}

#[test]
fn audit_records_what_it_lets_pass_but_not_what_is_no_matter_of_policy() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD).wheel("changed", "1.0.0", OLD);
    let Some((mut s, venv)) = start(&index) else { return };
    s.advisory(&advisory("CVE-2020-9", "PyPI", "lib", &["1.0.0"], "CRITICAL"));
    let run = s.gate_with(&["--policy", "audit"], &["pip", "install", "lib==1.0.0"], b"");
    run.expect(0).expect_admitted(&["lib 1.0.0"]);
    let decision = run.artifact("lib 1.0.0")["decision"].clone();
    assert_eq!(
        (&decision["audit_only"], &decision["fired"][0]["reason"]),
        (&json!(true), &json!("known-vulnerable"))
    );
    assert!(venv.has("lib"));
    index.replace("changed", &wheel_name("changed", "1.0.0"), wheel("changed", "1.0.1"), false);
    let run = s.gate_with(&["--policy", "audit"], &["pip", "install", "changed"], b"");
    run.expect(90).expect_stopped(&[("changed 1.0.0", "digest-mismatch")]);
}

#[test]
fn what_audit_admitted_the_baseline_judges_again() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    let Some((mut s, _venv)) = start(&index) else { return };
    s.advisory(&advisory("CVE-2020-10", "PyPI", "lib", &["1.0.0"], "CRITICAL"));
    s.gate_with(&["--policy", "audit"], &["pip", "download", "--no-deps", "lib==1.0.0"], b"")
        .expect(0);
    s.gate(&["pip", "install", "lib==1.0.0"]).expect(90);
}

#[test]
fn the_times_of_a_mirror_are_its_own() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", 1);
    let Some((s, _venv)) = start(&index) else { return };
    s.gate(&["pip", "install", "lib"]).expect(91);
    let run = s.gate_with(&["--mirror", &up.host()], &["pip", "install", "lib"], b"");
    run.expect(0).expect_admitted(&["lib 1.0.0"]);
}

#[test]
fn credentials_reach_the_upstream_and_nothing_else() {
    let (up, files) = (Upstream::start(), Upstream::start());
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    // A file that the index says lies elsewhere: fetched, but nobody is to be told the password.
    let own = wheel("far", "1.0.0");
    files.put("/far-1.0.0-py3-none-any.whl", Reply::file(own.clone()));
    let entry = json!({
        "filename": wheel_name("far", "1.0.0"), "url": files.url("/far-1.0.0-py3-none-any.whl"),
        "hashes": {"sha256": support::archives::sha256(&own)}, "upload-time": support::registries::hours_ago(OLD),
    });
    let page =
        json!({"meta": {"api-version": "1.1"}, "name": "far", "versions": [], "files": [entry]});
    up.put("/simple/far/", Reply::ok("application/vnd.pypi.simple.v1+json", page.to_string()));
    up.require_login("reader:s3cr3t-w0rd");
    let Some((mut s, venv)) = start(&index) else { return };
    s.env("PIP_INDEX_URL", index.url_with("reader:s3cr3t-w0rd")).env("COUNTERSIGN_LOG", "debug");
    let good = s.gate(&["pip", "install", "lib", "far"]);
    good.expect(0).expect_admitted(&["far 1.0.0", "lib 1.0.0"]);
    assert!(venv.has("lib") && venv.has("far"));
    assert!(up.seen().iter().any(|r| r.header("authorization").is_some()));
    assert!(
        files
            .seen()
            .iter()
            .all(|r| r.header("authorization").is_none() && r.header("cookie").is_none())
    );
    // And in everything that can be said of a failure.
    s.advisory(&advisory("CVE-2020-11", "PyPI", "lib", &["1.0.0"], "CRITICAL"));
    let refused = s.gate(&["pip", "install", "--force-reinstall", "lib==1.0.0"]);
    refused.expect(90);
    up.break_with(&index.page_path("lib"), |r| r.fault(Fault::CloseAtOnce));
    let failed = s.gate(&["pip", "install", "--force-reinstall", "lib"]);
    failed.expect(93);
    let closed =
        s.gate(&["pip", "install", "http://me:s3cr3t-w0rd@files.example/x-1.0.0-py3-none-any.whl"]);
    assert!(closed.code >= 90);
    let table = s.countersign(&["run", "--", "pip", "install", "--force-reinstall", "lib==1.0.0"]);
    let encoded = {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode("reader:s3cr3t-w0rd")
    };
    for secret in ["s3cr3t-w0rd", &encoded] {
        s.expect_nowhere(secret, &[&good, &refused, &failed, &closed, &table]);
    }
}

#[test]
fn a_token_of_npm_reaches_its_registry_and_nothing_else() {
    if skipped("npm with node", npm()) {
        return;
    }
    let (up, other) = (Upstream::start(), Upstream::start());
    let registry = Npm::new(&up);
    registry.add("lib", "1.0.0", OLD, json!({}), &[]);
    up.require_authorization("Bearer t0ken-of-mine");
    let mut s = Sandbox::new();
    s.env("npm_config_registry", registry.url())
        .env("npm_config_audit", "false")
        .env("COUNTERSIGN_LOG", "debug");
    s.write("package.json", json!({"name": "project", "version": "1.0.0"}).to_string());
    std::fs::write(
        s.at("home/.npmrc"),
        format!("//{}/:_authToken=t0ken-of-mine\n@own:registry={}\n", up.host(), other.url("/")),
    )
    .unwrap();
    let run = s.gate(&["npm", "install", "lib"]);
    run.expect(0).expect_admitted(&["lib 1.0.0"]);
    let missing = s.gate(&["npm", "install", "@own/thing"]);
    assert_ne!(missing.code, 0);
    assert!(!other.seen().is_empty());
    assert!(other.seen().iter().all(|r| r.header("authorization").is_none()), "{:?}", other.seen());
    s.expect_nowhere("t0ken-of-mine", &[&run, &missing]);
}

#[test]
fn a_wrong_login_is_the_clients_to_explain() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    up.require_login("reader:right");
    let Some((mut s, _venv)) = start(&index) else { return };
    s.env("PIP_INDEX_URL", index.url_with("reader:wrong"));
    let run = s.gate(&["pip", "install", "--no-input", "lib"]);
    assert_ne!(run.code, 0);
    s.expect_nowhere("wrong", &[&run]);
}

#[test]
fn the_secret_of_a_run_is_said_to_the_client_alone() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    let Some((mut s, venv)) = start(&index) else { return };
    s.env("COUNTERSIGN_LOG", "debug");
    let told = s.at("told").display().to_string();
    scripted_pip(
        &venv,
        &format!(
            "open({told:?}, 'w').write(_p.password)\nask({:?})\nsys.exit(3)",
            format!("{}lib/", index.url())
        ),
    );
    let run = s.gate(&["pip", "install", "lib"]);
    run.expect(3);
    let secret = std::fs::read_to_string(&told).unwrap();
    assert!(secret.len() >= 32, "{secret}");
    s.expect_nowhere(&secret, &[&run]);
    for seen in up.seen() {
        assert!(seen.header("proxy-authorization").is_none(), "{seen:?}");
    }
    let left = support::files_below(&s.at("tmp"));
    assert!(left.is_empty(), "the run's folder is gone: {left:?}");
}

#[test]
fn a_signal_reaches_the_client_and_ends_the_run() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    up.break_with(&index.file_path(&wheel_name("lib", "1.0.0")), |r| {
        r.fault(Fault::StallAfter(10))
    });
    let Some((s, _venv)) = start(&index) else { return };
    let mut command = s.countersign_command(&["run", "--", "pip", "download", "lib"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    assert!(up.wait_for(&index.file_path(&wheel_name("lib", "1.0.0")), Duration::from_secs(30)));
    let pid = rustix::process::Pid::from_raw(child.id().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let asked = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        assert!(asked.elapsed() < Duration::from_secs(15), "it goes on");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_ne!(status.code(), Some(0));
    s.fsck();
}

#[test]
fn a_receipt_holds_for_its_artifact_and_for_nothing_else() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD).wheel("other", "1.0.0", OLD);
    let Some((s, _venv)) = start(&index) else { return };
    s.gate(&["pip", "download", "-d", "out", "lib", "other"]).expect(0);
    let file = s.work().join("out").join(wheel_name("lib", "1.0.0")).display().to_string();
    let other = s.work().join("out").join(wheel_name("other", "1.0.0")).display().to_string();
    let receipt = s.at("lib.receipt").display().to_string();
    s.countersign(&["receipt", &file, "--output", &receipt]).expect(0);
    let key = s.countersign(&["ledger", "key"]);
    let key = key.expect(0).stdout.trim().to_owned();
    let verify = |receipt: &str, key: &str, artifact: &str| {
        s.countersign(&["verify", "receipt", receipt, "--key", key, "--artifact", artifact])
    };
    verify(&receipt, &key, &file).expect(0).says("admit").says("lib");
    verify(&receipt, &key, &other).expect(1);
    let stranger = Sandbox::new();
    stranger.countersign(&["init"]).expect(0);
    let wrong = stranger.countersign(&["ledger", "key"]).stdout.trim().to_owned();
    verify(&receipt, &wrong, &file).expect(1);
    assert_eq!(verify(&receipt, "nonsense", &file).code, 2);
    // The key in a file, the receipt on standard output, by purl.
    let key_file = s.at("key").display().to_string();
    std::fs::write(&key_file, &key).unwrap();
    verify(&receipt, &key_file, &file).expect(0);
    let printed = s.countersign(&["receipt", "pkg:pypi/lib@1.0.0"]);
    printed.expect(0);
    assert_eq!(printed.stdout.trim(), std::fs::read_to_string(&receipt).unwrap().trim());
    // Any changed character breaks it, or changes nothing that it says.
    let bytes = std::fs::read(&receipt).unwrap();
    let changed = s.at("changed.receipt");
    for at in (0..bytes.len()).step_by(bytes.len() / 40) {
        let mut other = bytes.clone();
        other[at] = if other[at] == b'A' { b'B' } else { b'A' };
        std::fs::write(&changed, other).unwrap();
        let run = verify(&changed.display().to_string(), &key, &file);
        assert_eq!(run.code, 1, "a changed byte at {at} was not noticed\n{}", run.transcript());
    }
    let unknown = s.write("unknown.bin", "nothing");
    s.countersign(&["receipt", &unknown.display().to_string()]).expect(2).says("no decision");
}

#[test]
fn a_receipt_of_a_refusal_says_refuse() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    let Some((mut s, _venv)) = start(&index) else { return };
    s.advisory(&advisory("CVE-2020-12", "PyPI", "lib", &["1.0.0"], "CRITICAL"));
    s.gate(&["pip", "install", "lib==1.0.0"]).expect(90);
    let receipt = s.at("r").display().to_string();
    s.countersign(&["receipt", "pkg:pypi/lib@1.0.0", "-o", &receipt]).expect(0);
    let key = s.countersign(&["ledger", "key"]).stdout.trim().to_owned();
    s.countersign(&["verify", "receipt", &receipt, "--key", &key]).expect(0).says("refuse");
}

#[test]
fn two_runs_at_once_share_one_ledger() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    let names = ["one", "two", "three", "four"];
    for name in names {
        index.wheel(name, "1.0.0", OLD);
    }
    let Some((s, _venv)) = start(&index) else { return };
    s.countersign(&["init"]).expect(0);
    let children: Vec<_> = names
        .iter()
        .map(|name| {
            let mut c = s.countersign_command(&[
                "run", "--quiet", "--", "pip", "download", "-q", "-d", name, name,
            ]);
            c.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for child in children {
        let out = child.wait_with_output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    }
    assert_eq!(s.ledger().len(), names.len());
    s.fsck();
}

#[test]
fn keys_and_state_are_the_users_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let s = Sandbox::new();
    s.countersign(&["init"]).expect(0);
    let mode = |p: &Path| std::fs::metadata(p).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&s.state().join("keys/ledger.pem")), 0o600);
    assert_eq!(mode(&s.state().join("keys")), 0o700);
    assert_eq!(mode(&s.state()), 0o700);
    // It is made once.
    let again = s.countersign(&["init"]);
    assert_ne!(again.code, 0, "{}", again.transcript());
}
