//! cargo behind the gate, against a synthetic sparse registry.

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

use support::archives::{cargo_crate, sha256};
use support::registries::{Cargo, OLD, advisory};
use support::server::{Body, Reply, Upstream};
use support::{Sandbox, cargo, files_below, skipped};

/// A sandbox with a project whose cargo takes crates from `registry`; `None` without cargo.
fn start(registry: &Cargo<'_>, dependencies: &str) -> Option<Sandbox> {
    if skipped("cargo", cargo()) {
        return None;
    }
    let mut s = Sandbox::new();
    s.path_first(cargo()?.parent()?);
    let home = s.at("cargo-home");
    std::fs::create_dir(&home).unwrap();
    let config = format!(
        "[source.crates-io]\nreplace-with = \"own\"\n[source.own]\nregistry = \"{}\"\n[net]\nretry = 0\n",
        registry.url()
    );
    std::fs::write(home.join("config.toml"), config).unwrap();
    s.env("CARGO_HOME", &home);
    depend(&s, dependencies);
    s.write("src/lib.rs", "");
    Some(s)
}

/// Writes the project's manifest with these dependencies.
fn depend(s: &Sandbox, dependencies: &str) {
    let manifest = format!(
        "[package]\nname = \"project\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[workspace]\n[dependencies]\n{dependencies}\n"
    );
    s.write("Cargo.toml", manifest);
}

/// The crates that lie in cargo's cache.
fn cached(s: &Sandbox) -> Vec<String> {
    let mut all: Vec<String> = files_below(&s.at("cargo-home/registry/cache"))
        .iter()
        .map(|p| p.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    all.sort();
    all
}

/// The lock file's checksum of every crate.
fn locked(s: &Sandbox) -> String {
    std::fs::read_to_string(s.work().join("Cargo.lock")).unwrap_or_default()
}

#[test]
fn a_clean_fetch_is_admitted_and_recorded() {
    let up = Upstream::start();
    let registry = Cargo::new(&up);
    registry.add("clean", "1.0.0", OLD);
    let Some(s) = start(&registry, "clean = \"1\"") else { return };
    let run = s.gate(&["cargo", "fetch"]);
    run.expect(0).expect_admitted(&["clean 1.0.0"]);
    assert_eq!(run.report["account"]["matched"], 1, "{}", run.transcript());
    assert_eq!(cached(&s), ["clean-1.0.0.crate"]);
    s.expect_decision("pkg:cargo/clean@1.0.0", "admit", "");
    s.fsck();
    // What lies in cargo's cache is judged again by what is known now.
    let run = s.gate(&["cargo", "build", "--offline"]);
    run.expect(0).expect_admitted(&["clean 1.0.0"]);
}

#[test]
fn a_known_vulnerable_version_is_refused_with_its_advisory() {
    let up = Upstream::start();
    let registry = Cargo::new(&up);
    registry.add("weak", "1.0.0", OLD).add("weak", "1.0.1", OLD);
    let Some(mut s) = start(&registry, "weak = \"=1.0.0\"") else { return };
    // The lock file was made before the advisory was.
    s.gate(&["cargo", "generate-lockfile"]).expect(0);
    s.advisory(&advisory("RUSTSEC-2020-0001", "crates.io", "weak", &["1.0.0"], "HIGH"));
    let run = s.gate(&["cargo", "fetch", "--locked"]);
    run.expect(90).expect_stopped(&[("weak 1.0.0", "known-vulnerable")]).says("403");
    assert_eq!(run.artifact("weak 1.0.0")["next_admissible"], "1.0.1");
    assert_eq!(up.count(&Cargo::crate_path("weak", "1.0.0")), 0);
    assert!(cached(&s).is_empty());
}

#[test]
fn a_cached_crate_that_is_now_known_bad_stops_the_build_before_it_starts() {
    let up = Upstream::start();
    let registry = Cargo::new(&up);
    registry.add("weak", "1.0.0", OLD);
    let Some(mut s) = start(&registry, "weak = \"1\"") else { return };
    s.gate(&["cargo", "fetch"]).expect(0);
    s.advisory(&advisory("RUSTSEC-2020-0002", "crates.io", "weak", &["1.0.0"], "CRITICAL"));
    let run = s.gate(&["cargo", "build", "--offline"]);
    run.expect(90).expect_stopped(&[("weak 1.0.0", "known-vulnerable")]);
    assert!(run.report["client_exit_code"].is_null(), "cargo was not started");
    assert!(!s.work().join("target").exists());
}

#[test]
fn a_crate_that_was_swapped_in_cargos_cache_is_refused() {
    let up = Upstream::start();
    let registry = Cargo::new(&up);
    registry.add("clean", "1.0.0", OLD);
    let Some(s) = start(&registry, "clean = \"1\"") else { return };
    s.gate(&["cargo", "fetch"]).expect(0);
    let file = files_below(&s.at("cargo-home/registry/cache")).pop().unwrap();
    std::fs::write(file, cargo_crate("clean", "1.0.0", &[("build.rs", b"fn main() {}")])).unwrap();
    let run = s.gate(&["cargo", "build", "--offline"]);
    run.expect(90).expect_stopped(&[("clean 1.0.0", "digest-mismatch")]);
}

#[test]
fn the_resolver_chooses_the_newest_admissible_version() {
    let up = Upstream::start();
    let registry = Cargo::new(&up);
    registry.add("lib", "1.0.0", OLD).add("lib", "1.1.0", OLD).add("lib", "1.2.0", 1);
    let Some(s) = start(&registry, "lib = \"1\"") else { return };
    let run = s.gate(&["cargo", "fetch"]);
    run.expect(0).expect_admitted(&["lib 1.1.0"]);
    assert_eq!(run.list("not_offered")[0]["reason"], "cool-down", "{}", run.transcript());
    assert!(locked(&s).contains("1.1.0"));
}

#[test]
fn a_malicious_name_is_refused_in_every_version() {
    let up = Upstream::start();
    let registry = Cargo::new(&up);
    registry.add("rustdecimal", "1.0.0", OLD);
    let Some(mut s) = start(&registry, "rustdecimal = \"1\"") else { return };
    s.advisory(&advisory("MAL-2022-1", "crates.io", "rustdecimal", &[], ""));
    let run = s.gate(&["cargo", "fetch"]);
    run.expect(90);
    assert_eq!(run.list("not_offered")[0]["reason"], "known-malicious", "{}", run.transcript());
    assert!(cached(&s).is_empty());
}

#[test]
fn other_bytes_than_the_index_says_are_refused() {
    let up = Upstream::start();
    let registry = Cargo::new(&up);
    registry.add("lib", "1.0.0", OLD);
    up.break_with(&Cargo::crate_path("lib", "1.0.0"), |reply| {
        let Body::Bytes(bytes) = &reply.body else { return reply };
        let mut other = bytes.to_vec();
        other[5] ^= 1;
        Reply::file(other)
    });
    let Some(s) = start(&registry, "lib = \"1\"") else { return };
    s.gate(&["cargo", "fetch"]).expect(90).expect_stopped(&[("lib 1.0.0", "digest-mismatch")]);
    assert!(cached(&s).is_empty() && s.blobs().is_empty());
}

#[test]
fn the_same_version_with_another_checksum_is_refused() {
    let up = Upstream::start();
    let Some(s) = start(Cargo::new(&up).add("lib", "1.0.0", OLD), "lib = \"1\"") else { return };
    s.gate(&["cargo", "fetch"]).expect(0);
    let first = s.blobs();
    let other = cargo_crate("lib", "1.0.0", &[("build.rs", b"fn main() {}")]);
    Cargo::new(&up).add_bytes("lib", "1.0.0", OLD, other.clone());
    std::fs::remove_file(s.work().join("Cargo.lock")).unwrap();
    std::fs::remove_dir_all(s.at("cargo-home/registry")).unwrap();
    s.gate(&["cargo", "fetch"]).expect(90).expect_stopped(&[("lib 1.0.0", "digest-changed")]);
    assert_eq!(s.blobs(), first);
    assert!(!first.contains(&sha256(&other)));
}

#[test]
fn a_crate_that_lies_outside_its_folder_is_refused() {
    let up = Upstream::start();
    let registry = Cargo::new(&up);
    // The archive's folder is that of another crate.
    registry.add_bytes("lib", "1.0.0", OLD, cargo_crate("other", "1.0.0", &[]));
    let Some(s) = start(&registry, "lib = \"1\"") else { return };
    s.gate(&["cargo", "fetch"]).expect(90).expect_stopped(&[("lib 1.0.0", "archive-unsafe")]);
    assert!(cached(&s).is_empty());
}

#[test]
fn a_git_dependency_is_closed_and_its_server_hears_nothing() {
    let (up, elsewhere) = (Upstream::start(), Upstream::start());
    let registry = Cargo::new(&up);
    let Some(s) =
        start(&registry, &format!("evil = {{ git = \"{}\" }}", elsewhere.url("/evil.git")))
    else {
        return;
    };
    let run = s.gate(&["cargo", "fetch"]);
    run.expect(90).expect_door(&elsewhere.host());
    assert!(elsewhere.seen().is_empty(), "{:?}", elsewhere.seen());
}

#[test]
fn another_registry_than_the_configured_is_closed() {
    let (up, elsewhere) = (Upstream::start(), Upstream::start());
    let registry = Cargo::new(&up);
    let other = Cargo::new(&elsewhere);
    other.add("lib", "9.0.0", OLD);
    let Some(s) = start(
        &registry,
        &format!("lib = {{ version = \"9\", registry-index = \"{}\" }}", other.url()),
    ) else {
        return;
    };
    let run = s.gate(&["cargo", "fetch"]);
    run.expect(90).expect_door(&elsewhere.host());
    assert!(elsewhere.seen().is_empty(), "{:?}", elsewhere.seen());
}

#[test]
fn downloads_that_the_registry_leads_elsewhere_are_closed() {
    let (up, elsewhere) = (Upstream::start(), Upstream::start());
    let registry = Cargo::new(&up);
    registry.add("lib", "1.0.0", OLD);
    let path = Cargo::crate_path("lib", "1.0.0");
    up.put(&path, Reply::redirect(&elsewhere.url(&path)));
    elsewhere.put(&path, Reply::file(cargo_crate("lib", "1.0.0", &[])));
    let Some(s) = start(&registry, "lib = \"1\"") else { return };
    let run = s.gate(&["cargo", "fetch"]);
    run.expect(90).expect_stopped(&[("lib 1.0.0", "upstream-redirect")]);
    assert!(elsewhere.seen().is_empty());
}

/// Ways to give cargo another proxy, or a proxy of one's own to trust.
#[test]
fn settings_that_lead_past_the_gate_do_not() {
    let (up, elsewhere) = (Upstream::start(), Upstream::start());
    let registry = Cargo::new(&up);
    registry.add("lib", "1.0.0", OLD);
    let Some(mut s) = start(&registry, "lib = \"1\"") else { return };
    let proxy = elsewhere.host();
    let file = s.write("more.toml", format!("[http]\nproxy = \"{proxy}\"\n")).display().to_string();
    let value = format!("http.proxy=\"{proxy}\"");
    let table = format!("http={{proxy=\"{proxy}\"}}");
    for words in [
        vec!["--config", &value, "fetch"],
        vec!["--config", &table, "fetch"],
        vec!["--config", &file, "fetch"],
        vec!["fetch", "--config", &file],
        vec!["fetch", &format!("--config={file}")],
    ] {
        let run = s.gate(&[&["cargo"][..], &words].concat());
        let judged = run.code == 0 && run.admitted() == ["lib 1.0.0"];
        assert!(run.code >= 90 || judged, "{}", run.transcript());
        assert!(elsewhere.seen().is_empty(), "{words:?} led past the gate: {:?}", elsewhere.seen());
        let _ = std::fs::remove_dir_all(s.at("cargo-home/registry"));
    }
    // The project's own settings and the environment give way to the gate's.
    s.write(".cargo/config.toml", format!("[http]\nproxy = \"{proxy}\"\n"));
    s.env("http_proxy", "").env("NO_PROXY", "127.0.0.1").env("no_proxy", "*");
    s.gate(&["cargo", "fetch"]).expect(0).expect_admitted(&["lib 1.0.0"]);
    assert!(elsewhere.seen().is_empty());
}

#[test]
fn a_tool_is_installed_through_an_empty_cache() {
    let up = Upstream::start();
    let registry = Cargo::new(&up);
    registry.add_bytes(
        "tool",
        "1.0.0",
        OLD,
        cargo_crate("tool", "1.0.0", &[("src/main.rs", b"fn main() {}")]),
    );
    let Some(mut s) = start(&registry, "") else { return };
    s.env("CARGO_INSTALL_ROOT", s.at("tools"));
    let run = s.gate(&["cargo", "install", "tool"]);
    run.expect(0).expect_admitted(&["tool 1.0.0"]);
    assert!(s.at("tools/bin/tool").is_file());
    assert!(cached(&s).is_empty(), "the user's own cache is left alone");
    s.advisory(&advisory("MAL-2024-4", "crates.io", "tool", &[], ""));
    s.gate(&["cargo", "install", "--force", "tool@1.0.0"])
        .expect(90)
        .expect_stopped(&[("tool 1.0.0", "known-malicious")]);
}
