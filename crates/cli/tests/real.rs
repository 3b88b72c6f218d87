//! Each client against the registries that this machine is configured for, from end to end.
//!
//! A registry that cannot be reached fails the test; `COUNTERSIGN_TEST_OFFLINE` skips them all.

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
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use support::node::{bun, matched, pnpm, yarn, yarn_berry};
use support::registries::{OLD, Pypi};
use support::server::Upstream;
use support::{Run, Sandbox, apt, cargo, npm, pipx, poetry, python, skipped, uv};

/// A sandbox with the machine's own registries; `None` when there is to be no network.
fn start() -> Option<Sandbox> {
    if std::env::var_os("COUNTERSIGN_TEST_OFFLINE").is_some() {
        eprintln!("skipped: COUNTERSIGN_TEST_OFFLINE is set");
        return None;
    }
    let mut s = Sandbox::with_the_machines_own_registries();
    s.deadline = Duration::from_secs(300);
    Some(s)
}

/// Data that is shared between projects: `COUNTERSIGN_SHARED`, or beside the checkout.
fn shared(what: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let place = std::env::var_os("COUNTERSIGN_SHARED").map_or(beside, PathBuf::from).join(what);
    if !place.exists() {
        eprintln!("skipped: the shared `{what}` is not there; COUNTERSIGN_SHARED names its folder");
        return None;
    }
    Some(place)
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// Verified evidence of an artifact that names a repository.
#[track_caller]
fn provenance(run: &Run, label: &str, kind: &str) -> Value {
    let evidence = run.artifact(label)["evidence"].as_array().cloned().unwrap_or_default();
    let named = |e: &&Value| {
        e["kind"].as_str().is_some_and(|k| k.contains(kind))
            && e["state"] == "verified"
            && e["claim"]["repository"].is_string()
    };
    let found = evidence.iter().find(named);
    found.unwrap_or_else(|| panic!("no verified {kind} of {label}\n{}", run.transcript()))["claim"]
        .clone()
}

fn is_commit(claim: &Value) -> bool {
    claim["commit"]
        .as_str()
        .is_some_and(|c| c.len() == 40 && c.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[test]
fn pip_installs_into_a_virtual_environment() {
    let Some(mut s) = start() else { return };
    if skipped("python3 with pip", python()) {
        return;
    }
    let venv = s.venv(python().unwrap());
    let run = s.gate(&["pip", "install", "six"]);
    run.expect(0);
    assert_eq!(
        (run.admitted().len(), &run.report["account"]["matched"]),
        (1, &json!(1)),
        "{}",
        run.transcript()
    );
    assert!(venv.has("six.py"));
    s.fsck();
}

#[test]
fn uv_installs_into_a_virtual_environment() {
    let Some(mut s) = start() else { return };
    if skipped("uv", uv()) || skipped("python3 with pip", python()) {
        return;
    }
    let venv = s.venv(python().unwrap());
    s.path_first(uv().unwrap().parent().unwrap());
    s.env("VIRTUAL_ENV", &venv.root).env("UV_PYTHON_DOWNLOADS", "never");
    let run = s.gate(&["uv", "pip", "install", "six"]);
    run.expect(0);
    assert_eq!(
        (run.admitted().len(), &run.report["account"]["matched"]),
        (1, &json!(1)),
        "{}",
        run.transcript()
    );
    assert!(venv.has("six.py"));
}

/// Requires that something was admitted, and that all of it was installed as admitted.
#[track_caller]
fn expect_all_reconciled(run: &Run, least: usize) {
    run.expect(0);
    let (admitted, matched) = (run.admitted().len(), &run.report["account"]["matched"]);
    assert!(admitted >= least, "{}", run.transcript());
    assert_eq!(matched, admitted, "{}", run.transcript());
    assert!(run.gaps().is_empty(), "{}", run.transcript());
}

#[test]
fn uvx_runs_a_tool_when_it_is_reconciled() {
    let Some(mut s) = start() else { return };
    if skipped("uv", uv()) || skipped("python3 with pip", python()) {
        return;
    }
    s.programs_first(&[uv().unwrap(), &uv().unwrap().with_file_name("uvx")]);
    let home = s.at("home");
    s.env("HOME", home).env("UV_PYTHON_DOWNLOADS", "never");
    let run = s.gate(&["uvx", "cowsay", "-t", "countersigned"]);
    expect_all_reconciled(&run, 1);
    run.says("| countersigned |");
    s.write(
        "pyproject.toml",
        "[project]\nname = \"project\"\nversion = \"0.1.0\"\nrequires-python = \">=3.8\"\ndependencies = [\"six\"]\n",
    );
    let run = s.gate(&["uv", "run", "python", "-c", "import six; print(six.__name__)"]);
    expect_all_reconciled(&run, 1);
    run.says("six");
    expect_all_reconciled(&s.gate(&["uv", "tool", "install", "cowsay"]), 1);
}

#[test]
fn pipx_installs_and_runs_programs() {
    let Some(mut s) = start() else { return };
    if skipped("pipx", pipx()) || skipped("python3 with pip", python()) {
        return;
    }
    s.programs_first(&[pipx().unwrap()]);
    let home = s.at("home");
    s.env("HOME", home).env("PIPX_DEFAULT_BACKEND", "pip");
    expect_all_reconciled(&s.gate(&["pipx", "install", "cowsay"]), 1);
    let run = s.gate(&["pipx", "run", "cowsay", "-t", "countersigned"]);
    expect_all_reconciled(&run, 1);
    run.says("| countersigned |");
    s.fsck();
}

#[test]
fn poetry_adds_to_a_project_from_its_built_in_source() {
    let Some(mut s) = start() else { return };
    if skipped("poetry", poetry()) || skipped("python3 with pip", python()) {
        return;
    }
    s.programs_first(&[poetry().unwrap()]);
    let home = s.at("home");
    s.env("HOME", home);
    s.write(
        "pyproject.toml",
        "[tool.poetry]\nname = \"project\"\nversion = \"0.1.0\"\ndescription = \"\"\nauthors = []\npackage-mode = false\n\
         [tool.poetry.dependencies]\npython = \">=3.9\"\n",
    );
    let run = s.gate(&["poetry", "add", "six", "--no-interaction"]);
    expect_all_reconciled(&run, 1);
    let lock = std::fs::read_to_string(s.work().join("poetry.lock")).unwrap();
    assert!(lock.contains("sha256:"), "{lock}");
    s.fsck();
}

#[test]
fn npm_installs_into_a_project() {
    let Some(s) = start() else { return };
    if skipped("npm with node", npm()) {
        return;
    }
    s.write("package.json", "{\"name\": \"project\", \"version\": \"1.0.0\"}");
    let run = s.gate(&["npm", "install", "is-number@7.0.0"]);
    run.expect(0).expect_admitted(&["is-number 7.0.0"]);
    assert_eq!(run.report["account"]["matched"], 1, "{}", run.transcript());
    s.fsck();
}

#[test]
fn npx_runs_a_program() {
    let Some(s) = start() else { return };
    if skipped("npm with node", npm()) {
        return;
    }
    let run = s.gate(&["npx", "--yes", "cowsay@1.6.0", "countersigned"]);
    run.expect(0).says("countersigned");
    assert!(run.admitted().contains(&"cowsay 1.6.0".to_owned()), "{}", run.transcript());
    assert!(matched(&run) >= 20, "{}", run.transcript());
}

/// pnpm, yarn and bun each add a package with a program to an empty project.
#[test]
fn pnpm_yarn_and_bun_add_to_a_project() {
    let clients =
        [("pnpm", pnpm()), ("yarn 1", yarn()), ("yarn berry", yarn_berry()), ("bun", bun())];
    for (what, client) in clients {
        let Some(mut s) = start() else { return };
        if skipped(what, client) {
            continue;
        }
        // Stores and caches of the test's own, with the machine's settings.
        for (name, folder) in [
            ("pnpm_config_store_dir", "store"),
            ("npm_config_store_dir", "store"),
            ("YARN_GLOBAL_FOLDER", "yarn"),
        ] {
            s.env(name, s.at(folder));
        }
        s.write("package.json", "{\"name\": \"project\", \"version\": \"1.0.0\"}");
        s.write("yarn.lock", "");
        let run = s.gate(&[client.unwrap(), "add", "semver@7.7.2", "is-number@7.0.0"]);
        run.expect(0).expect_admitted(&["is-number 7.0.0", "semver 7.7.2"]);
        assert_eq!(matched(&run), 2, "{what}: {}", run.transcript());
        s.fsck();
    }
}

#[test]
fn cargo_fetches_for_a_project() {
    let Some(mut s) = start() else { return };
    if skipped("cargo", cargo()) {
        return;
    }
    s.path_first(cargo().unwrap().parent().unwrap());
    // An empty cache, with the machine's own settings.
    let own = s.at("cargo-home");
    std::fs::create_dir(&own).unwrap();
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    for name in ["config.toml", "config", "credentials.toml"] {
        if let Some(file) = home.as_ref().map(|h| h.join(name)).filter(|f| f.is_file()) {
            std::os::unix::fs::symlink(file, own.join(name)).unwrap();
        }
    }
    s.env("CARGO_HOME", &own);
    s.write("Cargo.toml", "[package]\nname = \"project\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[workspace]\n[dependencies]\nitoa = \"1\"\n");
    s.write("src/lib.rs", "");
    let run = s.gate(&["cargo", "fetch"]);
    run.expect(0);
    assert!(run.admitted().iter().any(|a| a.starts_with("itoa 1.")), "{}", run.transcript());
    s.fsck();
}

#[test]
fn apt_downloads_by_the_signed_lists() {
    let Some(s) = start() else { return };
    if skipped("apt-get", apt()) {
        return;
    }
    let lists = std::fs::read_dir("/var/lib/apt/lists").into_iter().flatten().flatten();
    if !lists.into_iter().any(|e| e.file_name().to_string_lossy().contains("Packages")) {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: apt has no lists, and only root can fetch them");
            return;
        }
        s.gate(&["apt-get", "update"]).expect(0);
    }
    let run = s.gate(&["apt-get", "download", "hello"]);
    run.expect(0);
    let label = run
        .admitted()
        .into_iter()
        .find(|a| a.starts_with("hello "))
        .unwrap_or_else(|| panic!("{}", run.transcript()));
    assert!(
        run.artifact(&label)["evidence"].to_string().contains("\"state\":\"verified\""),
        "{}",
        run.transcript()
    );
    assert!(
        std::fs::read_dir(s.work())
            .unwrap()
            .flatten()
            .any(|e| e.file_name().to_string_lossy().ends_with(".deb"))
    );
}

#[test]
fn npm_provenance_is_verified_down_to_the_commit() {
    let (Some(s), Some(evidence)) = (start(), shared("evidence")) else { return };
    if skipped("npm with node", npm()) {
        return;
    }
    s.write("package.json", "{\"name\": \"project\", \"version\": \"1.0.0\"}");
    let run =
        s.gate_with(&["--evidence", &text(&evidence)], &["npm", "install", "sigstore@2.3.1"], b"");
    run.expect(0);
    let claim = provenance(&run, "sigstore 2.3.1", "npm-provenance");
    assert!(claim["repository"].as_str().unwrap().ends_with("sigstore/sigstore-js"), "{claim}");
    assert!(is_commit(&claim) && claim["workflow"].is_string(), "{claim}");
}

#[test]
fn pep_740_attestations_are_verified_down_to_the_repository() {
    let (Some(mut s), Some(evidence)) = (start(), shared("evidence")) else { return };
    if skipped("python3 with pip", python()) {
        return;
    }
    s.venv(python().unwrap());
    let client = [
        "pip",
        "download",
        "pypi-attestations==0.0.19",
        "--no-binary",
        "pypi-attestations",
        "--no-deps",
        "-d",
        "out",
    ];
    let run = s.gate_with(&["--evidence", &text(&evidence)], &client, b"");
    run.expect(0);
    let claim = provenance(&run, "pypi-attestations 0.0.19", "pep740");
    assert!(claim["repository"].as_str().unwrap().ends_with("pypi-attestations"), "{claim}");
}

#[test]
fn feeds_refuse_what_is_known_and_lead_to_what_is_not() {
    let (Some(mut s), Some(feeds)) = (start(), shared("feeds")) else { return };
    let feed = text(&feeds);
    if !skipped("npm with node", npm()) {
        s.write("package.json", "{\"name\": \"project\", \"version\": \"1.0.0\"}");
        let run = s.gate_with(&["--feed", &feed], &["npm", "install", "lodash@4.17.4"], b"");
        run.expect(90).expect_stopped(&[("lodash 4.17.4", "known-vulnerable")]);
        let entry = run.artifact("lodash 4.17.4");
        assert!(entry.to_string().contains("CVE-20"), "{}", run.transcript());
        assert!(
            entry["next_admissible"].as_str().is_some_and(|v| v.starts_with("4.17.")),
            "{}",
            run.transcript()
        );
    }
    if !skipped("python3 with pip", python()) {
        s.venv(python().unwrap());
        let run = s.gate_with(
            &["--feed", &feed],
            &["pip", "download", "--no-deps", "-d", "out", "jinja2"],
            b"",
        );
        run.expect(0);
        let entry = &run.list("artifacts")[0];
        assert_eq!(
            (&entry["verdict"], &entry["purl"].as_str().unwrap()[..16]),
            (&json!("admit"), "pkg:pypi/jinja2@")
        );
        let checks = entry["checks"].to_string();
        assert!(checks.contains("{\"name\":\"advisories\",\"outcome\":\"passed\"}"), "{checks}");
    }
}

/// The names of that list are gone from the registry: a synthetic one brings one of them back.
#[test]
fn a_name_of_the_malicious_list_is_refused() {
    let Some(feed) = shared("feeds/malicious-PyPI.zip") else { return };
    if skipped("python3 with pip", python()) {
        return;
    }
    let mut archive = zip::ZipArchive::new(std::fs::File::open(&feed).unwrap()).unwrap();
    let name = (0..archive.len())
        .find_map(|i| {
            let mut json = String::new();
            archive.by_index(i).unwrap().read_to_string(&mut json).unwrap();
            let record: Value = serde_json::from_str(&json).unwrap();
            let whole =
                record["affected"][0]["ranges"][0]["events"] == json!([{"introduced": "0"}]);
            let name = record["affected"][0]["package"]["name"].as_str()?.to_owned();
            let plain = name.bytes().all(|b| b.is_ascii_lowercase());
            (whole && plain && record["withdrawn"].is_null()).then_some(name)
        })
        .unwrap();
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel(&name, "1.0.0", OLD);
    let mut s = Sandbox::new();
    let venv = s.venv(python().unwrap());
    s.env("PIP_INDEX_URL", index.url());
    let run =
        s.gate_with(&["--feed", &text(&feed)], &["pip", "install", &format!("{name}==1.0.0")], b"");
    run.expect(90).expect_stopped(&[(&format!("{name} 1.0.0"), "known-malicious")]);
    s.gate_with(&["--feed", &text(&feed)], &["pip", "install", &name], b"").expect(90);
    assert!(venv.names().is_empty());
}
