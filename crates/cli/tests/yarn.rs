//! yarn 1 and yarn berry behind the gate, against a synthetic registry.

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

use serde_json::json;
use std::path::PathBuf;
use support::node::{self, clean, installed, matched, project, ungated, yarn, yarn_berry};
use support::registries::{Npm, OLD, advisory};
use support::server::Upstream;
use support::{Sandbox, files_below, skipped};

fn classic(registry: &Npm<'_>) -> Sandbox {
    project(registry)
}

/// A project of yarn berry with a linker.
fn berry_with(registry: &Npm<'_>, linker: &str) -> Sandbox {
    let mut s = project(registry);
    s.write(
        ".yarnrc.yml",
        format!(
            "npmRegistryServer: \"{}\"\nunsafeHttpWhitelist:\n  - 127.0.0.1\nnodeLinker: {linker}\nhttpRetry: 0\nenableImmutableInstalls: false\n",
            registry.url().trim_end_matches('/')
        ),
    );
    s.write("yarn.lock", "");
    s.env("YARN_ENABLE_HARDENED_MODE", "false");
    s
}

fn pnp(registry: &Npm<'_>) -> Sandbox {
    berry_with(registry, "pnp")
}

fn modules(registry: &Npm<'_>) -> Sandbox {
    berry_with(registry, "node-modules")
}

#[test]
fn yarn_1_installs_what_is_admitted() {
    if !skipped("yarn 1", yarn()) {
        node::good(yarn().unwrap(), classic);
    }
}

#[test]
fn yarn_1_is_refused_a_known_vulnerable_version() {
    if !skipped("yarn 1", yarn()) {
        node::vulnerable(yarn().unwrap(), classic);
    }
}

#[test]
fn yarn_1_is_refused_a_tampered_tarball() {
    if !skipped("yarn 1", yarn()) {
        node::tampered(yarn().unwrap(), classic);
    }
}

#[test]
fn yarn_1_finds_addresses_closed() {
    if !skipped("yarn 1", yarn()) {
        node::side_door(yarn().unwrap(), classic);
    }
}

#[test]
fn yarn_1_is_led_by_the_gate_alone() {
    if !skipped("yarn 1", yarn()) {
        node::led_by_the_gate_alone(yarn().unwrap(), classic);
    }
}

#[test]
fn yarn_1_takes_folders_and_no_archives() {
    if !skipped("yarn 1", yarn()) {
        node::local_folder(yarn().unwrap(), classic);
    }
}

/// Archives of an offline mirror, and contents of the cache, never passed the gate.
#[test]
fn yarn_1_takes_nothing_from_mirror_or_cache() {
    if skipped("yarn 1", yarn()) {
        return;
    }
    let up = Upstream::start();
    let registry = Npm::new(&up);
    registry.add("lib", "1.0.0", OLD, json!({}), &[]);
    let s = classic(&registry);
    s.write(".yarnrc", "yarn-offline-mirror \"./mirror\"\n");
    ungated(&s, yarn().unwrap(), &["add", "lib"]);
    assert!(!files_below(&s.work().join("mirror")).is_empty());
    clean(&s, &[]);
    for file in files_below(&s.at("home/.cache")) {
        if file.ends_with("lib/index.js") {
            std::fs::write(file, "evil").unwrap();
        }
    }
    let before = up.count(&Npm::tarball_path("lib", "1.0.0"));
    let run = s.gate(&[yarn().unwrap(), "install"]);
    run.expect(0).expect_admitted(&["lib 1.0.0"]).expect_door("mirror");
    assert_eq!(matched(&run), 1, "{}", run.transcript());
    assert_eq!(up.count(&Npm::tarball_path("lib", "1.0.0")), before + 1);
}

#[test]
fn yarn_1_hooks_that_change_other_packages_are_named() {
    if skipped("yarn 1", yarn()) {
        return;
    }
    let up = Upstream::start();
    let registry = Npm::new(&up);
    let hook = b"require('fs').writeFileSync('../lib/index.js', 'evil')";
    let more = json!({"scripts": {"postinstall": "node hook.js"}});
    registry.add("hooked", "1.0.0", OLD, more, &[("hook.js", hook)]);
    registry.add("lib", "1.0.0", OLD, json!({}), &[]);
    let s = classic(&registry);
    s.gate(&[yarn().unwrap(), "add", "lib"]).expect(0);
    s.gate(&[yarn().unwrap(), "add", "hooked"]).expect_gap("lib 1.0.0");
}

#[test]
fn yarn_1_options_and_files_that_lead_past_the_gate_are_refused() {
    if skipped("yarn 1", yarn()) {
        return;
    }
    let up = Upstream::start();
    let registry = Npm::new(&up);
    let s = classic(&registry);
    for option in ["--https-proxy=x", "--cache-folder=c", "--offline"] {
        s.gate(&[yarn().unwrap(), "add", "lib", option]).expect(94);
    }
    s.write(".yarnrc", "--install.cache-folder \"./c\"\n");
    s.gate(&[yarn().unwrap(), "install"]).expect(94);
    assert!(up.seen().is_empty(), "{:?}", up.seen());
}

#[test]
fn berry_installs_what_is_admitted() {
    if !skipped("yarn berry", yarn_berry()) {
        node::good(yarn_berry().unwrap(), modules);
    }
}

#[test]
fn berry_plug_and_play_installs_what_is_admitted() {
    if !skipped("yarn berry", yarn_berry()) {
        node::good(yarn_berry().unwrap(), pnp);
    }
}

#[test]
fn berry_pnpm_layout_installs_what_is_admitted() {
    if !skipped("yarn berry", yarn_berry()) {
        node::good(yarn_berry().unwrap(), |r| berry_with(r, "pnpm"));
    }
}

#[test]
fn berry_is_refused_a_known_vulnerable_version() {
    if !skipped("yarn berry", yarn_berry()) {
        node::vulnerable(yarn_berry().unwrap(), pnp);
    }
}

#[test]
fn berry_is_refused_a_tampered_tarball() {
    if !skipped("yarn berry", yarn_berry()) {
        node::tampered(yarn_berry().unwrap(), pnp);
    }
}

#[test]
fn berry_finds_addresses_closed() {
    if !skipped("yarn berry", yarn_berry()) {
        node::side_door(yarn_berry().unwrap(), modules);
    }
}

#[test]
fn berry_takes_folders_and_no_archives() {
    if !skipped("yarn berry", yarn_berry()) {
        node::local_folder(yarn_berry().unwrap(), modules);
    }
}

#[test]
fn berry_settings_that_lead_past_the_gate_are_refused() {
    if skipped("yarn berry", yarn_berry()) {
        return;
    }
    let up = Upstream::start();
    let registry = Npm::new(&up);
    registry.add("lib", "1.0.0", OLD, json!({}), &[]);
    let s = pnp(&registry);
    let own = std::fs::read_to_string(s.work().join(".yarnrc.yml")).unwrap();
    s.write(
        ".yarnrc.yml",
        format!("{own}networkSettings:\n  \"127.0.0.1\":\n    httpProxy: \"http://127.0.0.1:1\"\n"),
    );
    s.gate(&[yarn_berry().unwrap(), "add", "lib"]).expect(94).says("networkSettings");
    s.write(".yarnrc.yml", format!("{own}httpProxy: \"http://127.0.0.1:1\"\n"));
    s.gate(&[yarn_berry().unwrap(), "add", "lib"]).expect(0).expect_admitted(&["lib 1.0.0"]);
}

/// The zips of a cache that was filled without the gate.
fn zips(s: &Sandbox) -> Vec<PathBuf> {
    let all = files_below(&s.at("home/.yarn")).into_iter().chain(files_below(&s.work()));
    all.filter(|f| f.extension().is_some_and(|e| e == "zip")).collect()
}

/// What lies in yarn's cache passes no gate when it is taken: it is judged and compared.
#[test]
fn berry_zips_of_the_cache_are_judged_and_compared() {
    if skipped("yarn berry", yarn_berry()) {
        return;
    }
    let up = Upstream::start();
    let registry = Npm::new(&up);
    registry.add("lib", "1.0.0", OLD, json!({}), &[("good.js", b"good things happen here")]);
    let mut s = pnp(&registry);
    s.write(
        "package.json",
        json!({"name": "p", "version": "1.0.0", "dependencies": {"lib": "1.0.0"}}).to_string(),
    );
    ungated(&s, yarn_berry().unwrap(), &["install"]);
    let again = |s: &Sandbox| {
        for name in [".pnp.cjs", "yarn.lock"] {
            let _ = std::fs::remove_file(s.work().join(name));
        }
        let _ = std::fs::remove_dir_all(s.work().join(".yarn"));
        s.write("yarn.lock", "");
        s.gate(&[yarn_berry().unwrap(), "install"])
    };
    let run = again(&s);
    run.expect(0).expect_admitted(&["lib 1.0.0"]);
    assert_eq!(matched(&run), 1, "{}", run.transcript());
    // A file inside the zip is changed; its checksum is not in the new lock file.
    let zip = zips(&s).into_iter().find(|z| z.to_string_lossy().contains("lib-npm")).unwrap();
    rewrite(&zip, "good.js", b"evil things happen here");
    let run = again(&s);
    run.expect_gap("lib 1.0.0");
    // A version that is refused is named, although nobody asked for its archive.
    s.advisory(&advisory("MAL-2024-1", "npm", "lib", &[], ""));
    let run = again(&s);
    assert!(run.code == 90 || run.code == 92, "{}", run.transcript());
    assert!(run.stopped().iter().any(|(a, _)| a == "lib 1.0.0"), "{}", run.transcript());
}

/// Replaces a file in a zip.
fn rewrite(zip: &std::path::Path, name: &str, content: &[u8]) {
    use std::io::{Read as _, Write as _};
    let mut old = zip::ZipArchive::new(std::fs::File::open(zip).unwrap()).unwrap();
    let mut new = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for i in 0..old.len() {
        let mut entry = old.by_index(i).unwrap();
        let options = zip::write::SimpleFileOptions::default()
            .compression_method(zip::CompressionMethod::Stored);
        if entry.is_dir() {
            new.add_directory(entry.name().unwrap().into_owned(), options).unwrap();
            continue;
        }
        new.start_file(entry.name().unwrap().into_owned(), options).unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        let changed = entry.name().unwrap().ends_with(name);
        new.write_all(if changed { content } else { &bytes }).unwrap();
    }
    std::fs::write(zip, new.finish().unwrap().into_inner()).unwrap();
}

#[test]
fn berry_dlx_runs_what_was_admitted() {
    if skipped("yarn berry", yarn_berry()) {
        return;
    }
    let up = Upstream::start();
    let registry = Npm::new(&up);
    let program: &[u8] = b"#!/usr/bin/env node\nconsole.log('it runs')\n";
    registry.add("tool", "1.0.0", OLD, json!({"bin": "run.js"}), &[("run.js", program)]);
    let mut s = pnp(&registry);
    let run = s.gate(&[yarn_berry().unwrap(), "dlx", "tool"]);
    run.expect(0).says("it runs").expect_admitted(&["tool 1.0.0"]);
    assert_eq!(matched(&run), 1, "{}", run.transcript());
    s.advisory(&advisory("MAL-2024-1", "npm", "tool", &[], ""));
    let run = s.gate(&[yarn_berry().unwrap(), "dlx", "tool@1.0.0"]);
    assert!(run.code == 90 && !run.stdout.contains("it runs"), "{}", run.transcript());
    assert!(!installed(&s, "tool"));
}

#[test]
fn yarn_1_a_lock_file_that_names_what_is_refused_is_named() {
    if !skipped("yarn 1", yarn()) {
        node::refused_by_lock(yarn().unwrap(), classic);
    }
}

#[test]
fn berry_a_lock_file_that_names_what_is_refused_is_named() {
    if !skipped("yarn berry", yarn_berry()) {
        node::refused_by_lock(yarn_berry().unwrap(), pnp);
    }
}
