//! poetry behind the gate, against a synthetic index.

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

use serde_json::Value;
use support::archives::{sha256, wheel, wheel_name, wheel_with};
use support::registries::{OLD, PyFile, Pypi, advisory};
use support::server::{Reply, Upstream};
use support::{Sandbox, pip_sandbox, poetry, python, scripted_pip, skipped};

/// A sandbox with a poetry project whose one source is `index`; `None` without poetry.
fn start(index: &Pypi<'_>, dependencies: &str) -> Option<Sandbox> {
    if skipped("poetry", poetry()) || skipped("python3 with pip", python()) {
        return None;
    }
    let mut s = Sandbox::new();
    s.programs_first(&[poetry()?]);
    s.env("POETRY_VIRTUALENVS_IN_PROJECT", "true").env("POETRY_NO_INTERACTION", "1");
    project(&s, dependencies, &source("own", &index.url(), "primary"));
    Some(s)
}

fn source(name: &str, url: &str, priority: &str) -> String {
    format!(
        "[[tool.poetry.source]]\nname = \"{name}\"\nurl = \"{url}\"\npriority = \"{priority}\"\n"
    )
}

fn project(s: &Sandbox, dependencies: &str, more: &str) {
    let text = format!(
        "[tool.poetry]\nname = \"project\"\nversion = \"0.1.0\"\ndescription = \"\"\nauthors = []\npackage-mode = false\n\
         [tool.poetry.dependencies]\npython = \">=3.8\"\n{dependencies}\n{more}"
    );
    s.write("pyproject.toml", text);
}

/// What lies in the project's environment.
fn has(s: &Sandbox, name: &str) -> bool {
    let all = support::files_below(&s.work().join(".venv"));
    all.iter().any(|p| p.display().to_string().contains(&format!("site-packages/{name}/")))
}

#[test]
fn what_is_added_is_admitted_locked_and_reconciled() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.add(
        "app",
        PyFile::new(
            "app-1.0.0-py3-none-any.whl",
            wheel_with("app", "1.0.0", &[("app/__init__.py", b"")], &["lib>=1"]),
            OLD,
        ),
    );
    index.wheel("lib", "1.0.0", OLD).wheel("lib", "2.0.0", 1);
    let Some(s) = start(&index, "") else { return };
    let run = s.gate(&["poetry", "add", "app"]);
    run.expect(0).expect_admitted(&["app 1.0.0", "lib 1.0.0"]);
    assert_eq!(run.report["account"]["matched"], 2, "{}", run.transcript());
    assert!(has(&s, "app") && has(&s, "lib"));
    let lock = std::fs::read_to_string(s.work().join("poetry.lock")).unwrap();
    assert!(lock.contains(&sha256(&wheel("lib", "1.0.0"))) && lock.contains(&up.host()), "{lock}");
    s.expect_decision("pkg:pypi/lib@1.0.0", "admit", "");
    s.fsck();
    // From the lock file, into an environment elsewhere.
    std::fs::remove_dir_all(s.work().join(".venv")).unwrap();
    let mut s = s;
    s.env("POETRY_VIRTUALENVS_IN_PROJECT", "false");
    let run = s.gate(&["poetry", "install"]);
    run.expect(0).expect_admitted(&["app 1.0.0", "lib 1.0.0"]);
    assert_eq!(run.report["account"]["matched"], 2, "{}", run.transcript());
    let venvs = support::files_below(&s.at("home/.cache/pypoetry/virtualenvs"));
    assert!(venvs.iter().any(|p| p.ends_with("app/__init__.py")), "poetry's own place stays");
}

#[test]
fn a_project_that_is_installed_itself_leaves_no_gap() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    let Some(s) = start(&index, "lib = \"*\"") else { return };
    let text = std::fs::read_to_string(s.work().join("pyproject.toml")).unwrap();
    s.write(
        "pyproject.toml",
        text.replace("package-mode = false", "packages = [{include = \"own\"}]"),
    );
    s.write("own/__init__.py", "");
    let run = s.gate(&["poetry", "install"]);
    run.expect(0).expect_admitted(&["lib 1.0.0"]);
    assert!(run.report["account"]["local"].to_string().contains("project 0.1.0"));
}

#[test]
fn a_known_vulnerable_version_is_refused() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD).wheel("lib", "1.2.0", OLD);
    let Some(mut s) = start(&index, "lib = \"1.0.0\"") else { return };
    s.gate(&["poetry", "lock"]).expect(0);
    s.advisory(&advisory("CVE-2020-0001", "PyPI", "lib", &["1.0.0"], "CRITICAL"));
    let run = s.gate(&["poetry", "install"]);
    run.expect(90).expect_stopped(&[("lib 1.0.0", "known-vulnerable")]);
    assert!(!has(&s, "lib"));
    // The resolver does not see it, and takes another where it may.
    project(&s, "", &source("own", &index.url(), "primary"));
    std::fs::remove_file(s.work().join("poetry.lock")).unwrap();
    s.gate(&["poetry", "add", "lib"]).expect(0).expect_admitted(&["lib 1.2.0"]);
    s.gate(&["poetry", "add", "lib==1.0.0"]).expect(90);
}

#[test]
fn other_bytes_than_the_index_says_are_refused() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    index.tamper("lib", "1.0.0");
    let Some(s) = start(&index, "") else { return };
    let run = s.gate(&["poetry", "add", "lib"]);
    run.expect(90).expect_stopped(&[("lib 1.0.0", "digest-mismatch")]);
    assert!(!has(&s, "lib") && s.blobs().is_empty());
}

#[test]
fn other_bytes_than_the_lock_file_says_are_not_installed() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    let Some(mut s) = start(&index, "lib = \"*\"") else { return };
    s.gate(&["poetry", "lock"]).expect(0);
    let other = wheel_with("lib", "1.0.0", &[("lib/__init__.py", b"other")], &[]);
    index.replace("lib", &wheel_name("lib", "1.0.0"), other, true);
    s.env("COUNTERSIGN_STATE", s.at("other-state"));
    // poetry sees the difference itself, and asks for nothing.
    let run = s.gate(&["poetry", "install"]);
    assert!(run.code != 0 && run.admitted().is_empty() && !has(&s, "lib"), "{}", run.transcript());
}

#[test]
fn direct_addresses_are_closed_and_their_server_hears_nothing() {
    let (up, elsewhere) = (Upstream::start(), Upstream::start());
    let index = Pypi::new(&up);
    elsewhere.put("/evil-1.0.0-py3-none-any.whl", Reply::file(wheel("evil", "1.0.0")));
    let url = elsewhere.url("/evil-1.0.0-py3-none-any.whl");
    let git = elsewhere.url("/evil.git");
    let Some(s) = start(&index, "") else { return };
    s.gate(&["poetry", "add", &url]).expect(90).expect_door(&elsewhere.host());
    s.gate(&["poetry", "add", &format!("git+{git}")]).expect(90).expect_door(&elsewhere.host());
    for dependency in [format!("evil = {{url = \"{url}\"}}"), format!("evil = {{git = \"{git}\"}}")]
    {
        project(&s, &dependency, &source("own", &index.url(), "primary"));
        let run = s.gate(&["poetry", "install"]);
        run.expect(90).expect_door(&elsewhere.host());
    }
    assert!(!has(&s, "evil"));
    assert!(elsewhere.seen().is_empty(), "{:?}", elsewhere.seen());
}

#[test]
fn a_local_wheel_is_judged_before_poetry_starts() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    let name = wheel_name("evil", "1.0.0");
    let Some(s) = start(&index, "") else { return };
    s.write(&name, wheel("evil", "1.0.0"));
    s.gate(&["poetry", "add", &format!("./{name}")])
        .expect(90)
        .expect_stopped(&[("evil 1.0.0", "digest-weak")]);
    project(&s, &format!("evil = {{path = \"{name}\"}}"), &source("own", &index.url(), "primary"));
    let run = s.gate(&["poetry", "install"]);
    run.expect(90).expect_stopped(&[("evil 1.0.0", "digest-weak")]);
    assert!(!has(&s, "evil"));
}

#[test]
fn a_name_belongs_to_the_first_source_and_explicit_ones_own_none() {
    let (public, private) = (Upstream::start(), Upstream::start());
    let (index, own) = (Pypi::new(&public), Pypi::new(&private));
    own.wheel("acme", "1.0.0", OLD).wheel("lib", "9.0.0", OLD);
    index.wheel("acme", "99.0.0", OLD).wheel("lib", "1.0.0", OLD);
    let Some(s) = start(&index, "acme = \"*\"") else { return };
    let both = |first: &str, second: &str| {
        let (a, b) = (source("own", &own.url(), first), source("all", &index.url(), second));
        format!("{a}{b}")
    };
    project(&s, "acme = \"*\"", &both("primary", "supplemental"));
    s.gate(&["poetry", "install"]).expect(0).expect_admitted(&["acme 1.0.0"]);
    std::fs::remove_file(s.work().join("poetry.lock")).unwrap();
    std::fs::remove_dir_all(s.work().join(".venv")).unwrap();
    let bound = "lib = \"*\"\nacme = {version = \"*\", source = \"own\"}";
    project(&s, bound, &both("explicit", "primary"));
    s.gate(&["poetry", "install"]).expect(0).expect_admitted(&["acme 1.0.0", "lib 1.0.0"]);
}

#[test]
fn poetrys_own_cache_is_no_way_round_the_gate() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    let Some(mut s) = start(&index, "lib = \"*\"") else { return };
    // Filled without the gate.
    let plain = s.command(poetry().unwrap(), &["install"]);
    support::finish(plain, b"", std::time::Duration::from_secs(60)).expect(0);
    std::fs::remove_dir_all(s.work().join(".venv")).unwrap();
    s.advisory(&advisory("MAL-2024-5", "PyPI", "lib", &[], ""));
    s.gate(&["poetry", "install"]).expect(90).expect_stopped(&[("lib 1.0.0", "known-malicious")]);
    assert!(!has(&s, "lib"));
}

#[test]
fn what_installs_nothing_leaves_no_gap_and_what_runs_is_refused() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    let Some(s) = start(&index, "lib = \"*\"") else { return };
    for words in [
        vec!["lock"],
        vec!["check"],
        vec!["show", "--tree"],
        vec!["--version"],
        vec!["env", "list"],
    ] {
        let run = s.gate(&[&["poetry"][..], &words].concat());
        run.expect(0);
        assert!(run.gaps().is_empty(), "{}", run.transcript());
    }
    for words in [["run", "python"], ["self", "update"], ["python", "install"], ["bundle", "venv"]]
    {
        s.gate(&[&["poetry"][..], &words].concat()).expect(94).says("cannot be gated");
    }
}

/// poetry asks its built-in index for a release's own document. No test can put another index there,
/// so a client of the test's own asks.
#[test]
fn a_releases_document_is_written_from_the_judged_index() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD).wheel("lib", "1.1.0", OLD).wheel("lib", "2.0.0", 1);
    let told = serde_json::json!({
        "info": {"name": "lib", "summary": "a library", "requires_dist": ["other>=1"], "home_page": "https://x.example"},
        "urls": [{"url": "https://evil.example/lib-1.0.0-py3-none-any.whl", "filename": "lib-1.0.0-py3-none-any.whl",
                  "packagetype": "bdist_wheel", "digests": {"sha256": "0".repeat(64)}}],
    });
    up.put("/pypi/lib/1.0.0/json", Reply::ok("application/json", told.to_string()));
    let Some((s, venv)) = pip_sandbox(&index) else { return };
    let base = up.url("/pypi");
    scripted_pip(
        &venv,
        &format!(
            "for path in ['lib/1.0.0/json', 'lib/1.1.0/json', 'lib/2.0.0/json', 'lib/json', 'none/1.0/json']:\n\
             \x20   print(path, *ask('{base}/' + path)[::2], sep='\\t')\n"
        ),
    );
    let run = s.gate(&["pip", "install", "lib"]);
    let answer = |path: &str| -> (u16, Value) {
        let line = run.stdout.lines().find(|l| l.starts_with(path)).unwrap();
        let mut parts = line.split('\t').skip(1);
        let status = parts.next().unwrap().parse().unwrap();
        let body = parts.next().unwrap().trim_start_matches("b'").trim_end_matches('\'');
        (status, serde_json::from_str(body).unwrap_or(Value::Null))
    };
    let (status, told) = answer("lib/1.0.0");
    assert_eq!(
        (status, &told["info"]["summary"]),
        (200, &"a library".into()),
        "{}",
        run.transcript()
    );
    assert_eq!(told["info"]["requires_dist"], serde_json::json!(["other>=1"]));
    assert!(told["info"]["home_page"].is_null() && !told.to_string().contains("evil"), "{told}");
    assert_eq!(told["urls"][0]["digests"]["sha256"], sha256(&wheel("lib", "1.0.0")));
    // Without an upstream's document the index alone speaks.
    let (status, told) = answer("lib/1.1.0");
    assert_eq!((status, told["urls"].as_array().map(Vec::len)), (200, Some(1)), "{told}");
    assert!(told["info"]["requires_dist"].is_null());
    // What policy does not offer is not there; what is no release is closed.
    assert_eq!(
        (answer("lib/2.0.0").0, answer("none/1.0").0, answer("lib/json").0),
        (404, 404, 403)
    );
}
