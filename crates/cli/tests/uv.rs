//! uv behind the gate, against a synthetic index.

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
use support::registries::{OLD, PyFile, Pypi, advisory};
use support::server::{Body, Reply, Upstream};
use support::{Sandbox, Venv, python, skipped, uv};

/// A sandbox with an active virtual environment whose uv is configured for `index`; `None` without uv.
fn start(index: &Pypi<'_>) -> Option<(Sandbox, Venv)> {
    if skipped("uv", uv()) || skipped("python3 with pip", python()) {
        return None;
    }
    let mut s = Sandbox::new();
    let venv = s.venv(python()?);
    s.path_first(uv()?.parent()?);
    s.env("VIRTUAL_ENV", &venv.root)
        .env("UV_DEFAULT_INDEX", index.url())
        .env("UV_PYTHON_DOWNLOADS", "never");
    s.env("UV_HTTP_RETRIES", "0");
    Some((s, venv))
}

/// A project that uv manages.
fn project(s: &Sandbox, dependencies: &str, more: &str) {
    let text = format!(
        "[project]\nname = \"project\"\nversion = \"0.1.0\"\nrequires-python = \">=3.8\"\ndependencies = [{dependencies}]\n{more}\n"
    );
    s.write("pyproject.toml", text);
}

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
    let run = s.gate(&["uv", "pip", "install", "app"]);
    run.expect(0).expect_admitted(&["app 1.0.0", "lib 1.0.0"]);
    assert_eq!(run.report["account"]["matched"], 2, "{}", run.transcript());
    assert!(run.gaps().is_empty(), "{}", run.transcript());
    assert!(venv.has("app.py") && venv.has("lib"));
    s.expect_decision("pkg:pypi/app@1.0.0", "admit", "");
    s.fsck();
}

#[test]
fn a_known_vulnerable_version_is_refused_with_its_advisory() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD).wheel("lib", "1.2.0", OLD);
    let Some((mut s, venv)) = start(&index) else { return };
    s.advisory(&advisory("CVE-2020-0001", "PyPI", "lib", &["1.0.0"], "CRITICAL"));
    let run = s.gate(&["uv", "pip", "install", "lib==1.0.0"]);
    run.expect(90).expect_stopped(&[("lib 1.0.0", "known-vulnerable")]).says("403");
    assert!(venv.names().is_empty());
}

#[test]
fn the_resolver_chooses_the_newest_admissible_version() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD).wheel("lib", "1.1.0", OLD).wheel("lib", "2.0.0", 1);
    let Some((s, venv)) = start(&index) else { return };
    s.gate(&["uv", "pip", "install", "lib"]).expect(0).expect_admitted(&["lib 1.1.0"]);
    assert!(venv.has("lib-1.1.0.dist-info"));
    s.gate(&["uv", "pip", "install", "lib==2.0.0"])
        .expect(91)
        .expect_stopped(&[("lib 2.0.0", "cool-down")]);
}

#[test]
fn a_malicious_name_is_refused_in_every_version() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("reqeusts", "2.0.0", OLD);
    let Some((mut s, venv)) = start(&index) else { return };
    s.advisory(&advisory("MAL-2024-1", "PyPI", "reqeusts", &[], ""));
    s.gate(&["uv", "pip", "install", "reqeusts"]).expect(90);
    s.gate(&["uv", "pip", "install", "reqeusts==2.0.0"])
        .expect(90)
        .expect_stopped(&[("reqeusts 2.0.0", "known-malicious")]);
    assert!(venv.names().is_empty() && s.blobs().is_empty());
}

#[test]
fn other_bytes_than_the_index_says_are_refused() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    up.break_with(&index.file_path(&wheel_name("lib", "1.0.0")), |reply| {
        let Body::Bytes(bytes) = &reply.body else { return reply };
        let mut other = bytes.to_vec();
        let at = other.windows(7).position(|w| w == b"VERSION").unwrap();
        other[at] = b'v';
        Reply::file(other)
    });
    let Some((s, venv)) = start(&index) else { return };
    s.gate(&["uv", "pip", "install", "lib==1.0.0"])
        .expect(90)
        .expect_stopped(&[("lib 1.0.0", "digest-mismatch")]);
    assert!(venv.names().is_empty() && s.blobs().is_empty());
}

#[test]
fn a_project_is_locked_and_synced_through_the_gate() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    let Some((mut s, _venv)) = start(&index) else { return };
    s.env("VIRTUAL_ENV", "");
    project(&s, "\"lib\"", "");
    s.gate(&["uv", "sync"]).expect(0).expect_admitted(&["lib 1.0.0"]);
    let lock = std::fs::read_to_string(s.work().join("uv.lock")).unwrap();
    assert!(lock.contains(&up.host()), "the lock file keeps the client's own addresses: {lock}");
    // From the lock file alone.
    std::fs::remove_dir_all(s.work().join(".venv")).unwrap();
    let run = s.gate(&["uv", "sync", "--frozen"]);
    run.expect(0).expect_admitted(&["lib 1.0.0"]);
    assert_eq!(run.report["account"]["matched"], 1, "{}", run.transcript());
    // The lock file is older than what is known now.
    s.advisory(&advisory("CVE-2020-0006", "PyPI", "lib", &["1.0.0"], "HIGH"));
    std::fs::remove_dir_all(s.work().join(".venv")).unwrap();
    s.gate(&["uv", "sync", "--frozen"])
        .expect(90)
        .expect_stopped(&[("lib 1.0.0", "known-vulnerable")]);
}

#[test]
fn what_installs_nothing_leaves_no_gap() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    let Some((mut s, _venv)) = start(&index) else { return };
    s.env("VIRTUAL_ENV", "");
    project(&s, "\"lib\"", "");
    s.write("in.txt", "lib\n");
    for words in [vec!["lock"], vec!["pip", "compile", "in.txt"], vec!["tree"], vec!["--version"]] {
        let run = s.gate(&[&["uv"][..], &words].concat());
        run.expect(0);
        assert!(run.gaps().is_empty(), "{}", run.transcript());
    }
}

#[test]
fn a_lock_file_that_points_elsewhere_is_closed() {
    let (up, elsewhere) = (Upstream::start(), Upstream::start());
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    let Some((mut s, _venv)) = start(&index) else { return };
    s.env("VIRTUAL_ENV", "");
    project(&s, "\"lib\"", "");
    s.gate(&["uv", "lock"]).expect(0);
    let evil = wheel_with("evil", "1.0.0", &[("evil.py", b"")], &[]);
    elsewhere.put("/files/evil-1.0.0-py3-none-any.whl", Reply::file(evil.clone()));
    let lock = std::fs::read_to_string(s.work().join("uv.lock")).unwrap();
    let file = index.file_path(&wheel_name("lib", "1.0.0"));
    let changed = lock
        .replace(&up.url(&file), &elsewhere.url("/files/evil-1.0.0-py3-none-any.whl"))
        .replace(&sha256(&wheel("lib", "1.0.0")), &sha256(&evil));
    assert_ne!(lock, changed);
    s.write("uv.lock", changed);
    let run = s.gate(&["uv", "sync", "--frozen"]);
    run.expect(90).expect_door(&elsewhere.host());
    assert!(elsewhere.seen().is_empty(), "{:?}", elsewhere.seen());
}

#[test]
fn direct_addresses_are_closed_and_their_server_hears_nothing() {
    let (up, elsewhere) = (Upstream::start(), Upstream::start());
    let index = Pypi::new(&up);
    elsewhere.put("/evil-1.0.0-py3-none-any.whl", Reply::file(wheel("evil", "1.0.0")));
    let Some((mut s, venv)) = start(&index) else { return };
    let url = elsewhere.url("/evil-1.0.0-py3-none-any.whl");
    s.gate(&["uv", "pip", "install", &format!("evil @ {url}")])
        .expect(90)
        .expect_door(&elsewhere.host());
    s.gate(&["uv", "pip", "install", &format!("git+{}", elsewhere.url("/evil.git"))])
        .expect(90)
        .expect_door(&elsewhere.host());
    assert!(venv.names().is_empty());
    s.env("VIRTUAL_ENV", "");
    project(&s, "\"evil\"", &format!("[tool.uv.sources]\nevil = {{ url = \"{url}\" }}"));
    s.gate(&["uv", "sync"]).expect(90).expect_door(&elsewhere.host());
    project(
        &s,
        "\"evil\"",
        &format!("[tool.uv.sources]\nevil = {{ git = \"{}\" }}", elsewhere.url("/evil.git")),
    );
    let run = s.gate(&["uv", "sync"]);
    assert_ne!(run.code, 0, "{}", run.transcript());
    assert!(elsewhere.seen().is_empty(), "{:?}", elsewhere.seen());
}

#[test]
fn a_local_wheel_is_judged_like_any_other() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    let Some((s, venv)) = start(&index) else { return };
    let file = s.write(&wheel_name("evil", "1.0.0"), wheel("evil", "1.0.0"));
    let path = file.display().to_string();
    for word in [path.clone(), format!("file://{path}"), format!("evil @ file://{path}")] {
        let run = s.gate(&["uv", "pip", "install", &word]);
        assert!(run.code >= 90, "`{word}`: {}", run.transcript());
        assert!(venv.names().is_empty(), "`{word}` was installed: {}", run.transcript());
    }
    for line in [format!("evil @ file://{path}"), format!("./{}", wheel_name("evil", "1.0.0"))] {
        s.write("requirements.txt", format!("{line}\n"));
        let run = s.gate(&["uv", "pip", "install", "-r", "requirements.txt"]);
        assert!(run.code >= 90, "`{line}`: {}", run.transcript());
        assert!(venv.names().is_empty(), "`{line}` was installed: {}", run.transcript());
    }
}

#[test]
fn a_local_wheel_among_a_projects_sources_is_judged_too() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    let Some((mut s, _venv)) = start(&index) else { return };
    s.env("VIRTUAL_ENV", "");
    let name = wheel_name("evil", "1.0.0");
    s.write(&name, wheel("evil", "1.0.0"));
    project(&s, "\"evil\"", &format!("[tool.uv.sources]\nevil = {{ path = \"{name}\" }}"));
    let run = s.gate(&["uv", "sync"]);
    assert!(run.code >= 90, "{}", run.transcript());
    let installed = support::files_below(&s.work().join(".venv"))
        .iter()
        .any(|p| p.ends_with("evil/__init__.py"));
    assert!(!installed, "it was installed: {}", run.transcript());
}

#[test]
fn find_links_are_closed() {
    let (up, elsewhere) = (Upstream::start(), Upstream::start());
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    let link = format!("<a href=\"/{0}\">{0}</a>", wheel_name("lib", "9.0.0"));
    elsewhere.put("/links", Reply::ok("text/html", link));
    let Some((mut s, venv)) = start(&index) else { return };
    let local = s.work().join("wheels");
    std::fs::create_dir(&local).unwrap();
    std::fs::write(local.join(wheel_name("lib", "9.0.0")), wheel("lib", "9.0.0")).unwrap();
    for place in [elsewhere.url("/links"), local.display().to_string()] {
        let run = s.gate(&["uv", "pip", "install", "--find-links", &place, "lib"]);
        assert!(!venv.has("lib-9.0.0.dist-info"), "{place} was taken\n{}", run.transcript());
        s.env("UV_FIND_LINKS", &place);
        let run = s.gate(&["uv", "pip", "install", "--reinstall", "lib"]);
        assert!(!venv.has("lib-9.0.0.dist-info"), "{place} was taken\n{}", run.transcript());
        s.env("UV_FIND_LINKS", "");
    }
    assert!(elsewhere.seen().is_empty(), "{:?}", elsewhere.seen());
}

#[test]
fn a_name_that_another_index_owns_comes_from_nowhere_else() {
    let (public, private) = (Upstream::start(), Upstream::start());
    let (index, own) = (Pypi::new(&public), Pypi::new(&private));
    own.wheel("acme-tools", "1.0.0", OLD);
    index.wheel("acme-tools", "99.0.0", OLD);
    let Some((s, venv)) = start(&index) else { return };
    // Without the gate this strategy would take the newest of all.
    let words = [
        "uv",
        "pip",
        "install",
        "--index-strategy",
        "unsafe-best-match",
        "--index",
        &own.url(),
        "acme-tools",
    ];
    s.gate(&words).expect(0).expect_admitted(&["acme-tools 1.0.0"]).expect_door("acme-tools");
    assert!(venv.has("acme_tools-1.0.0.dist-info"));
}

#[test]
fn uvs_own_cache_is_no_way_round_the_gate() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    let Some((mut s, venv)) = start(&index) else { return };
    s.env("UV_CACHE_DIR", s.at("uv-cache"));
    // Filled without the gate.
    let target = s.at("elsewhere").display().to_string();
    let plain = support::finish(
        s.command(uv().unwrap(), &["pip", "install", "--target", &target, "lib"]),
        b"",
        std::time::Duration::from_secs(60),
    );
    plain.expect(0);
    s.advisory(&advisory("MAL-2024-5", "PyPI", "lib", &[], ""));
    for words in [
        vec!["uv", "pip", "install", "lib==1.0.0"],
        vec!["uv", "pip", "install", "--offline", "lib==1.0.0"],
    ] {
        let run = s.gate(&words);
        assert_ne!(run.code, 0, "{}", run.transcript());
        assert!(venv.names().is_empty(), "{}", run.transcript());
    }
}

#[test]
fn a_target_folder_holds_what_was_admitted_and_uvs_own_lock() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    let Some((s, _)) = start(&index) else { return };
    let target = s.work().join("lib-here");
    let shown = target.display().to_string();
    let install = ["uv", "pip", "install", "--target", &shown, "lib"];
    s.gate(&install).expect(0).expect_admitted(&["lib 1.0.0"]);
    assert!(target.join("lib/__init__.py").is_file());
}
