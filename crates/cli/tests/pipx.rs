//! pipx behind the gate, against a synthetic index, with pip and with uv below it.

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

use support::archives::{wheel, wheel_name};
use support::registries::{OLD, Pypi, advisory};
use support::server::{Reply, Upstream};
use support::{Sandbox, pipx, python, skipped};

/// A sandbox whose pipx works with pip, configured for `index`; `None` without pipx.
fn start(index: &Pypi<'_>) -> Option<Sandbox> {
    if skipped("pipx", pipx()) || skipped("python3 with pip", python()) {
        return None;
    }
    let mut s = Sandbox::new();
    s.programs_first(&[pipx()?]);
    let (home, bin) = (s.at("pipx"), s.at("pipx-bin"));
    s.env("PIP_INDEX_URL", index.url())
        .env("UV_DEFAULT_INDEX", index.url())
        .env("UV_PYTHON_DOWNLOADS", "never")
        .env("PIPX_HOME", home)
        .env("PIPX_BIN_DIR", bin)
        .env("PIPX_DEFAULT_BACKEND", "pip")
        // The synthetic index has no pip; the one that Python brings along will do.
        .env("PIPX_DISABLE_SHARED_LIBS_AUTO_UPGRADE", "1");
    Some(s)
}

/// A program in one of pipx's environments.
fn installed(s: &Sandbox, name: &str) -> bool {
    s.at("pipx/venvs").join(name).join("bin").join(name).is_file()
}

#[test]
fn an_installed_program_is_admitted_and_reconciled() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.tool("tool", "1.0.0", &["lib"]).wheel("lib", "1.0.0", OLD);
    let Some(s) = start(&index) else { return };
    let run = s.gate(&["pipx", "install", "tool"]);
    run.expect(0).expect_admitted(&["lib 1.0.0", "tool 1.0.0"]);
    assert_eq!(run.report["account"]["matched"], 2, "{}", run.transcript());
    // The pip that Python brings along never passed the gate: it is compared where it comes from.
    let local = run.report["account"]["local"].to_string();
    assert!(local.contains("pip ") && local.contains("new environments"), "{}", run.transcript());
    assert!(installed(&s, "tool"));
    s.fsck();
}

#[test]
fn uv_below_pipx_is_gated_as_well() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.tool("tool", "1.0.0", &[]);
    let Some(mut s) = start(&index) else { return };
    s.env("PIPX_DEFAULT_BACKEND", "uv");
    let asked = s.command(pipx().unwrap(), &["environment"]);
    let asked = support::finish(asked, b"", std::time::Duration::from_secs(60));
    if !asked.stdout.lines().any(|l| l.starts_with("PIPX_UV_BINARY=/")) {
        eprintln!("skipped: this pipx has no uv");
        return;
    }
    let run = s.gate(&["pipx", "install", "tool"]);
    run.expect(0).expect_admitted(&["tool 1.0.0"]);
    assert_eq!(run.report["account"]["matched"], 1, "{}", run.transcript());
    s.advisory(&advisory("CVE-2020-0001", "PyPI", "tool", &["1.0.0"], "CRITICAL"));
    s.gate(&["pipx", "install", "--force", "tool==1.0.0"])
        .expect(90)
        .expect_stopped(&[("tool 1.0.0", "known-vulnerable")]);
    s.gate(&["pipx", "run", "--backend", "uv", "tool"]).expect(94);
}

#[test]
fn a_program_that_is_run_once_is_reconciled_before_it_starts() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.tool("tool", "1.0.0", &["lib"]).wheel("lib", "1.0.0", OLD);
    let Some(s) = start(&index) else { return };
    let run = s.gate(&["pipx", "run", "tool", "--spec", "x y"]);
    run.expect(0).expect_admitted(&["lib 1.0.0", "tool 1.0.0"]);
    run.says("tool 1.0.0 runs --spec x y proxy: None");
    assert_eq!(run.report["account"]["matched"], 2, "{}", run.transcript());
    let run = s.gate(&["pipx", "run", "--spec", "tool==1.0.0", "tool"]);
    run.expect(0).says("tool 1.0.0 runs");
    s.gate(&["pipx", "run", "http://127.0.0.1:9/x.py"]).expect(94);
}

#[test]
fn a_vulnerable_program_is_refused_and_never_runs() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.tool("tool", "1.0.0", &[]);
    let Some(mut s) = start(&index) else { return };
    s.advisory(&advisory("CVE-2020-0001", "PyPI", "tool", &["1.0.0"], "CRITICAL"));
    for words in
        [&["pipx", "install", "tool==1.0.0"][..], &["pipx", "run", "--spec", "tool==1.0.0", "tool"]]
    {
        let run = s.gate(words);
        run.expect(90).expect_stopped(&[("tool 1.0.0", "known-vulnerable")]);
        assert!(!run.stdout.contains("runs"), "{}", run.transcript());
    }
    assert!(!installed(&s, "tool"));
}

#[test]
fn a_tampered_program_is_refused() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.tool("tool", "1.0.0", &[]);
    index.tamper("tool", "1.0.0");
    let Some(s) = start(&index) else { return };
    s.gate(&["pipx", "install", "tool"])
        .expect(90)
        .expect_stopped(&[("tool 1.0.0", "digest-mismatch")]);
    assert!(!installed(&s, "tool") && s.blobs().is_empty());
}

#[test]
fn upgrades_and_injected_packages_are_reconciled() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.tool("tool", "1.0.0", &[]).wheel("lib", "1.0.0", OLD);
    let Some(s) = start(&index) else { return };
    s.gate(&["pipx", "install", "tool"]).expect(0);
    index.tool("tool", "1.1.0", &[]);
    let run = s.gate(&["pipx", "upgrade", "tool"]);
    run.expect(0).expect_admitted(&["tool 1.1.0"]);
    assert_eq!(run.report["account"]["matched"], 1, "{}", run.transcript());
    let run = s.gate(&["pipx", "inject", "tool", "lib"]);
    run.expect(0).expect_admitted(&["lib 1.0.0"]);
    assert_eq!(run.report["account"]["matched"], 1, "{}", run.transcript());
    let run = s.gate(&["pipx", "reinstall-all"]);
    run.expect(0).expect_admitted(&["lib 1.0.0", "tool 1.1.0"]);
    assert_eq!(run.report["account"]["matched"], 2, "{}", run.transcript());
    s.gate(&["pipx", "list"]).expect(0).says("tool 1.1.0");
    s.gate(&["pipx", "exec", "tool"]).expect(94);
}

#[test]
fn side_doors_are_closed_and_their_server_hears_nothing() {
    let (up, elsewhere) = (Upstream::start(), Upstream::start());
    let index = Pypi::new(&up);
    index.tool("tool", "1.0.0", &[]);
    elsewhere.put("/evil-1.0.0-py3-none-any.whl", Reply::file(wheel("evil", "1.0.0")));
    let Some(mut s) = start(&index) else { return };
    let url = format!("evil @ {}", elsewhere.url("/evil-1.0.0-py3-none-any.whl"));
    let git = format!("git+{}", elsewhere.url("/evil.git"));
    for words in [["pipx", "install", &url], ["pipx", "install", &git], ["pipx", "run", &git]] {
        s.gate(&words).expect(90).expect_door(&elsewhere.host());
    }
    let links = format!("--pip-args=--find-links {}", elsewhere.url("/links"));
    s.gate(&["pipx", "install", &links, "tool"]).expect(94);
    s.gate(&["pipx", "install", "--pip-args=--proxy=http://127.0.0.1:9", "tool"]).expect(94);
    s.env("PIP_FIND_LINKS", elsewhere.url("/links"));
    s.gate(&["pipx", "install", "tool"]).expect(0).expect_door(&elsewhere.host());
    assert!(elsewhere.seen().is_empty(), "{:?}", elsewhere.seen());
}

#[test]
fn a_local_wheel_is_judged_before_pipx_starts() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    let Some(s) = start(&index) else { return };
    let file = s.write(&wheel_name("evil", "1.0.0"), wheel("evil", "1.0.0")).display().to_string();
    s.gate(&["pipx", "install", &file]).expect(90).expect_stopped(&[("evil 1.0.0", "digest-weak")]);
}
