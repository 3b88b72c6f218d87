//! bun behind the gate, against a synthetic registry.

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
use support::node::{self, bun, clean, matched, project, ungated};
use support::registries::{Npm, OLD, advisory};
use support::server::Upstream;
use support::{Sandbox, files_below, skipped};

fn start(registry: &Npm<'_>) -> Sandbox {
    project(registry)
}

#[test]
fn a_clean_install_is_admitted_recorded_and_installed() {
    if !skipped("bun", bun()) {
        node::good(bun().unwrap(), start);
    }
}

#[test]
fn a_known_vulnerable_version_is_refused_with_its_advisory() {
    if !skipped("bun", bun()) {
        node::vulnerable(bun().unwrap(), start);
    }
}

#[test]
fn a_tampered_tarball_is_refused() {
    if !skipped("bun", bun()) {
        node::tampered(bun().unwrap(), start);
    }
}

#[test]
fn addresses_are_closed_and_their_server_hears_nothing() {
    if !skipped("bun", bun()) {
        node::side_door(bun().unwrap(), start);
    }
}

/// A file `.env` of the project would take bun past its proxy.
#[test]
fn settings_of_the_project_do_not_take_the_gates_place() {
    if !skipped("bun", bun()) {
        node::led_by_the_gate_alone(bun().unwrap(), start);
    }
}

#[test]
fn folders_of_the_user_are_named_and_archives_refused() {
    if !skipped("bun", bun()) {
        node::local_folder(bun().unwrap(), start);
    }
}

#[test]
fn options_that_lead_past_the_gate_are_refused() {
    if skipped("bun", bun()) {
        return;
    }
    let up = Upstream::start();
    let registry = Npm::new(&up);
    let s = start(&registry);
    for option in ["--cafile=x", "--cache-dir=c", "--offline", "--config=x.toml", "--no-verify"] {
        s.gate(&[bun().unwrap(), "add", "lib", option]).expect(94);
    }
    assert!(up.seen().is_empty(), "{:?}", up.seen());
}

#[test]
fn the_isolated_layout_is_reconciled() {
    if skipped("bun", bun()) {
        return;
    }
    let up = Upstream::start();
    let registry = Npm::new(&up);
    registry.add("app", "1.0.0", OLD, json!({"dependencies": {"lib": "1.0.0"}}), &[]);
    registry.add("lib", "1.0.0", OLD, json!({}), &[]);
    let s = start(&registry);
    let run = s.gate(&[bun().unwrap(), "add", "app", "--linker", "isolated"]);
    run.expect(0).expect_admitted(&["app 1.0.0", "lib 1.0.0"]);
    assert_eq!(matched(&run), 2, "{}", run.transcript());
}

/// The cache of before is not what is installed from.
#[test]
fn a_changed_cache_is_not_taken() {
    if skipped("bun", bun()) {
        return;
    }
    let up = Upstream::start();
    let registry = Npm::new(&up);
    registry.add("lib", "1.0.0", OLD, json!({}), &[("good.js", b"good")]);
    let s = start(&registry);
    ungated(&s, bun().unwrap(), &["add", "lib"]);
    clean(&s, &[]);
    for file in files_below(&s.at("home/.bun/install/cache")) {
        if file.ends_with("good.js") {
            std::fs::write(file, "evil").unwrap();
        }
    }
    let run = s.gate(&[bun().unwrap(), "install"]);
    run.expect(0).expect_admitted(&["lib 1.0.0"]);
    assert_eq!(matched(&run), 1, "{}", run.transcript());
    assert_eq!(std::fs::read(s.work().join("node_modules/lib/good.js")).unwrap(), b"good");
}

#[test]
fn what_a_hook_changes_is_named() {
    if skipped("bun", bun()) {
        return;
    }
    let up = Upstream::start();
    let registry = Npm::new(&up);
    let hook = b"require('fs').writeFileSync('../lib/index.js', 'evil')";
    let more = json!({"scripts": {"postinstall": "node hook.js"}});
    registry.add("hooked", "1.0.0", OLD, more, &[("hook.js", hook)]);
    registry.add("lib", "1.0.0", OLD, json!({}), &[]);
    let s = start(&registry);
    s.gate(&[bun().unwrap(), "add", "lib"]).expect(0);
    s.gate(&[bun().unwrap(), "add", "--trust", "hooked"]).expect_gap("lib 1.0.0");
}

#[test]
fn bunx_runs_what_was_admitted() {
    if skipped("bun", bun()) {
        return;
    }
    let up = Upstream::start();
    let registry = Npm::new(&up);
    let program: &[u8] = b"#!/usr/bin/env node\nconsole.log('it runs')\n";
    registry.add("tool", "1.0.0", OLD, json!({"bin": "run.js"}), &[("run.js", program)]);
    let mut s = start(&registry);
    // bunx does not read the project's files.
    std::fs::write(s.at("home/.npmrc"), format!("registry={}\n", registry.url())).unwrap();
    let run = s.gate(&[bun().unwrap(), "x", "tool"]);
    run.expect(0).says("it runs").expect_admitted(&["tool 1.0.0"]);
    assert_eq!(matched(&run), 1, "{}", run.transcript());
    s.advisory(&advisory("MAL-2024-1", "npm", "tool", &[], ""));
    let run = s.gate(&[bun().unwrap(), "x", "tool@1.0.0"]);
    assert!(run.code == 90 && !run.stdout.contains("it runs"), "{}", run.transcript());
}

#[test]
fn a_lock_file_that_names_what_is_refused_is_named() {
    if !skipped("bun", bun()) {
        node::refused_by_lock(bun().unwrap(), start);
    }
}
