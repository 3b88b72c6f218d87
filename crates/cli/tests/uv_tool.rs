//! `uvx`, `uv tool` and `uv run` behind the gate, against a synthetic index.

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
use support::{Sandbox, python, skipped, uv};

/// A sandbox whose uv and uvx are configured for `index`; `None` without uv.
fn start(index: &Pypi<'_>) -> Option<Sandbox> {
    if skipped("uv", uv()) || skipped("python3 with pip", python()) {
        return None;
    }
    let mut s = Sandbox::new();
    s.programs_first(&[uv()?, &uv()?.with_file_name("uvx")]);
    let (tools, bin) = (s.at("tools"), s.at("tool-bin"));
    s.env("UV_DEFAULT_INDEX", index.url())
        .env("UV_PYTHON_DOWNLOADS", "never")
        .env("UV_HTTP_RETRIES", "0")
        .env("UV_TOOL_DIR", tools)
        .env("UV_TOOL_BIN_DIR", bin);
    Some(s)
}

#[test]
fn a_tool_is_admitted_reconciled_and_then_run_outside_the_gate() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.tool("tool", "1.0.0", &["lib"]).wheel("lib", "1.0.0", OLD);
    let Some(s) = start(&index) else { return };
    for words in
        [&["uvx", "tool", "--with", "x y"][..], &["uv", "tool", "run", "tool", "--with", "x y"]]
    {
        let run = s.gate(words);
        run.expect(0).expect_admitted(&["lib 1.0.0", "tool 1.0.0"]);
        run.says("tool 1.0.0 runs --with x y proxy: None");
        assert_eq!(run.report["account"]["matched"], 2, "{}", run.transcript());
    }
    s.expect_decision("pkg:pypi/tool@1.0.0", "admit", "");
    s.fsck();
}

#[test]
fn options_before_the_command_stay_uvs_own() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.tool("tool", "1.0.0", &[]).tool("tool", "2.0.0", &[]).wheel("lib", "1.0.0", OLD);
    let Some(s) = start(&index) else { return };
    for (words, tool) in [
        (&["uvx", "tool@1.0.0"][..], "1.0.0"),
        (&["uvx", "--from", "tool<2", "-q", "tool"], "1.0.0"),
        (&["uvx", "-n", "--with", "lib", "tool@latest", "-n"], "2.0.0"),
        (&["uvx", "--refresh", "tool"], "2.0.0"),
    ] {
        s.gate(words).expect(0).says(&format!("tool {tool} runs"));
    }
    s.gate(&["uvx", "--version"]).expect(0).expect_admitted(&[]);
    let run = s.gate(&["uvx", "--from", "tool", "nothing"]);
    assert!(run.code != 0 && run.code < 90, "{}", run.transcript());
}

#[test]
fn the_tools_exit_code_is_the_runs() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    let Some(s) = start(&index) else { return };
    let code = "import lib, sys; sys.exit(7)";
    s.gate(&["uvx", "--from", "lib", "python", "-c", code]).expect(7);
}

#[test]
fn a_vulnerable_tool_is_refused_and_never_runs() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.tool("tool", "1.0.0", &["lib==1.0.0"]).wheel("lib", "1.0.0", OLD);
    let Some(mut s) = start(&index) else { return };
    s.advisory(&advisory("CVE-2020-0001", "PyPI", "lib", &["1.0.0"], "CRITICAL"));
    for words in [
        &["uvx", "--from", "tool", "--with", "lib==1.0.0", "tool"][..],
        &["uv", "tool", "install", "--with", "lib==1.0.0", "tool"],
        &["uv", "run", "--no-project", "--with", "lib==1.0.0", "python", "-c", "print('it runs')"],
    ] {
        let run = s.gate(words);
        run.expect(90);
        assert!(!run.stdout.contains("runs"), "{}", run.transcript());
        assert!(run.stopped().contains(&("lib 1.0.0".into(), "known-vulnerable".into())));
    }
    assert!(!s.at("tools/tool").exists());
}

#[test]
fn a_tampered_tool_is_refused_and_never_runs() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.tool("tool", "1.0.0", &[]);
    index.tamper("tool", "1.0.0");
    let Some(s) = start(&index) else { return };
    let run = s.gate(&["uvx", "tool"]);
    run.expect(90).expect_stopped(&[("tool 1.0.0", "digest-mismatch")]);
    assert!(!run.stdout.contains("runs") && s.blobs().is_empty());
}

#[test]
fn an_installed_tool_is_reconciled_and_upgraded() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.tool("tool", "1.0.0", &[]);
    let Some(s) = start(&index) else { return };
    let run = s.gate(&["uv", "tool", "install", "tool"]);
    run.expect(0).expect_admitted(&["tool 1.0.0"]);
    assert_eq!(run.report["account"]["matched"], 1, "{}", run.transcript());
    index.tool("tool", "1.1.0", &[]);
    let run = s.gate(&["uv", "tool", "upgrade", "--all"]);
    run.expect(0).expect_admitted(&["tool 1.1.0"]);
    assert_eq!(run.report["account"]["matched"], 1, "{}", run.transcript());
}

#[test]
fn side_doors_are_closed_and_their_server_hears_nothing() {
    let (up, elsewhere) = (Upstream::start(), Upstream::start());
    let index = Pypi::new(&up);
    index.tool("tool", "1.0.0", &[]);
    elsewhere.put("/evil-1.0.0-py3-none-any.whl", Reply::file(wheel("evil", "1.0.0")));
    let Some(s) = start(&index) else { return };
    let (url, git) = (
        format!("evil @ {}", elsewhere.url("/evil-1.0.0-py3-none-any.whl")),
        format!("git+{}", elsewhere.url("/evil.git")),
    );
    for words in [
        vec!["uvx", "--from", &url, "evil"],
        vec!["uvx", "--with", &git, "tool"],
        vec!["uv", "tool", "install", &git],
        vec!["uv", "run", "--no-project", "--with", &url, "python", "-c", "print('it runs')"],
    ] {
        let run = s.gate(&words);
        run.expect(90).expect_door(&elsewhere.host());
        assert!(!run.stdout.contains("runs"), "{}", run.transcript());
    }
    let script = elsewhere.url("/evil.py");
    s.gate(&["uv", "run", &script]).expect(94);
    s.gate(&["uv", "run", "--isolated", "--with", "lib", "python"]).expect(94);
    let links = elsewhere.url("/links");
    s.gate(&["uvx", "--find-links", &links, "tool"]).expect_door(&elsewhere.host());
    s.gate(&["uvx", "--find-links", "/tmp", "tool"]).expect(94);
    assert!(elsewhere.seen().is_empty(), "{:?}", elsewhere.seen());
}

#[test]
fn a_local_wheel_is_judged_before_uv_starts() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    let Some(s) = start(&index) else { return };
    let file = s.write(&wheel_name("evil", "1.0.0"), wheel("evil", "1.0.0")).display().to_string();
    for words in [["uvx", "--from", &file, "evil"], ["uv", "tool", "install", &file]] {
        let run = s.gate(&words);
        run.expect(90).expect_stopped(&[("evil 1.0.0", "digest-weak")]);
    }
}

#[test]
fn a_project_is_synced_reconciled_and_then_run() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD).wheel("other", "1.0.0", OLD);
    let Some(mut s) = start(&index) else { return };
    s.write(
        "pyproject.toml",
        "[project]\nname = \"project\"\nversion = \"0.1.0\"\nrequires-python = \">=3.8\"\ndependencies = [\"lib\"]\n",
    );
    let code = "import lib, os; print('it runs', lib.VERSION, os.environ.get('HTTPS_PROXY'))";
    let run = s.gate(&["uv", "run", "python", "-c", code]);
    run.expect(0).expect_admitted(&["lib 1.0.0"]).says("it runs 1.0.0 None");
    assert_eq!(run.report["account"]["matched"], 1, "{}", run.transcript());
    // Beside the project's environment, which is there now.
    let code = "import lib, other; print('both run')";
    let run = s.gate(&["uv", "run", "--with", "other", "python", "-c", code]);
    run.expect(0).says("both run");
    assert_eq!(run.report["account"]["matched"], 1, "{}", run.transcript());
    s.write("mod.py", "import lib; print('module', __name__)");
    s.gate(&["uv", "run", "-m", "mod"]).expect(0).says("module __main__");
    // The lock file's digests count.
    std::fs::remove_dir_all(s.work().join(".venv")).unwrap();
    index.replace(
        "lib",
        &wheel_name("lib", "1.0.0"),
        support::archives::tool_wheel("lib", "1.0.0", &[]),
        true,
    );
    s.env("COUNTERSIGN_STATE", s.at("other-state"));
    let run = s.gate(&["uv", "run", "python", "-c", "print('it runs')"]);
    run.expect(90).expect_stopped(&[("lib 1.0.0", "digest-mismatch")]);
    assert!(!run.stdout.contains("runs"));
}

#[test]
fn a_script_with_dependencies_of_its_own_is_prepared_first() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    let Some(mut s) = start(&index) else { return };
    s.write(
        "script.py",
        "# /// script\n# dependencies = [\"lib\"]\n# ///\nimport lib, sys\nprint('script', lib.VERSION, sys.argv[1:])\n",
    );
    let run = s.gate(&["uv", "run", "-q", "script.py", "--script", "a"]);
    run.expect(0).expect_admitted(&["lib 1.0.0"]).says("script 1.0.0 ['--script', 'a']");
    assert_eq!(run.report["account"]["matched"], 1, "{}", run.transcript());
    s.gate(&["uv", "run", "--with", "lib", "script.py"]).expect(94);
    s.advisory(&advisory("MAL-2024-5", "PyPI", "lib", &[], ""));
    let run = s.gate(&["uv", "run", "script.py"]);
    assert!(run.code >= 90 && !run.stdout.contains("script"), "{}", run.transcript());
}

#[test]
fn uvs_own_cache_is_no_way_round_the_gate() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.tool("tool", "1.0.0", &[]);
    let Some(mut s) = start(&index) else { return };
    let cache = s.at("uv-cache").display().to_string();
    s.env("UV_CACHE_DIR", &cache);
    // Filled without the gate.
    let uvx = uv().unwrap().with_file_name("uvx");
    let deadline = std::time::Duration::from_secs(60);
    support::finish(s.command(&uvx, &["tool"]), b"", deadline).expect(0);
    s.advisory(&advisory("MAL-2024-5", "PyPI", "tool", &[], ""));
    for words in [vec!["uvx", "tool"], vec!["uvx", "--offline", "--cache-dir", &cache, "tool"]] {
        let run = s.gate(&words);
        assert!(run.code != 0 && !run.stdout.contains("runs"), "{}", run.transcript());
    }
}
