//! pnpm behind the gate, against a synthetic registry.

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
use std::os::unix::fs::MetadataExt as _;
use support::node::{self, clean, installed, matched, pnpm, project, ungated};
use support::registries::{Npm, OLD, advisory};
use support::server::Upstream;
use support::{Sandbox, files_below, skipped};

fn start(registry: &Npm<'_>) -> Sandbox {
    project(registry)
}

#[test]
fn a_clean_install_is_admitted_recorded_and_installed() {
    if !skipped("pnpm", pnpm()) {
        node::good(pnpm().unwrap(), start);
    }
}

#[test]
fn a_known_vulnerable_version_is_refused_with_its_advisory() {
    if !skipped("pnpm", pnpm()) {
        node::vulnerable(pnpm().unwrap(), start);
    }
}

#[test]
fn a_tampered_tarball_is_refused() {
    if !skipped("pnpm", pnpm()) {
        node::tampered(pnpm().unwrap(), start);
    }
}

#[test]
fn addresses_are_closed_and_their_server_hears_nothing() {
    if !skipped("pnpm", pnpm()) {
        node::side_door(pnpm().unwrap(), start);
    }
}

#[test]
fn settings_of_the_project_do_not_take_the_gates_place() {
    if !skipped("pnpm", pnpm()) {
        node::led_by_the_gate_alone(pnpm().unwrap(), start);
        let up = Upstream::start();
        let registry = Npm::new(&up);
        registry.add("lib", "1.0.0", OLD, json!({}), &[]);
        let s = start(&registry);
        s.write(
            "pnpm-workspace.yaml",
            "httpsProxy: http://127.0.0.1:1\nhttpProxy: http://127.0.0.1:1\nnoProxy: 127.0.0.1\n",
        );
        let run = s.gate(&[pnpm().unwrap(), "add", "lib"]);
        assert!(run.code == 94 || run.admitted() == ["lib 1.0.0"], "{}", run.transcript());
    }
}

#[test]
fn folders_of_the_user_are_named_and_archives_refused() {
    if !skipped("pnpm", pnpm()) {
        node::local_folder(pnpm().unwrap(), start);
    }
}

#[test]
fn options_that_lead_past_the_gate_are_refused() {
    if skipped("pnpm", pnpm()) {
        return;
    }
    let up = Upstream::start();
    let registry = Npm::new(&up);
    registry.add("lib", "1.0.0", OLD, json!({}), &[]);
    let s = start(&registry);
    for option in ["--config.https-proxy=x", "--config.noproxy=127.0.0.1", "--config.cache-dir=c"] {
        s.gate(&[pnpm().unwrap(), "add", "lib", option]).expect(94);
    }
    assert!(up.seen().is_empty(), "{:?}", up.seen());
}

/// A project whose `lib` was installed without the gate, so that pnpm's store holds it.
fn filled(registry: &Npm<'_>) -> Sandbox {
    let s = start(registry);
    ungated(&s, pnpm().unwrap(), &["add", "lib"]);
    clean(&s, &[]);
    s
}

/// pnpm takes contents out of its store without asking for them: they are judged and compared.
#[test]
fn what_comes_out_of_the_store_is_judged_and_compared() {
    if skipped("pnpm", pnpm()) {
        return;
    }
    let up = Upstream::start();
    let registry = Npm::new(&up);
    registry.add("lib", "1.0.0", OLD, json!({}), &[]);
    let s = filled(&registry);
    let run = s.gate(&[pnpm().unwrap(), "install"]);
    run.expect(0).expect_admitted(&["lib 1.0.0"]);
    assert_eq!(matched(&run), 1, "{}", run.transcript());
}

#[test]
fn a_refused_version_in_the_store_is_not_installed() {
    if skipped("pnpm", pnpm()) {
        return;
    }
    let up = Upstream::start();
    let registry = Npm::new(&up);
    registry.add("lib", "1.0.0", OLD, json!({}), &[]);
    let mut s = filled(&registry);
    s.advisory(&advisory("MAL-2024-1", "npm", "lib", &[], ""));
    let run = s.gate(&[pnpm().unwrap(), "install"]);
    run.expect(90).expect_stopped(&[("lib 1.0.0", "known-malicious")]);
    assert!(!installed(&s, "lib"));
}

/// A file that was changed in the store before the run, its size and time kept, so that pnpm does
/// not look at it again.
#[test]
fn a_file_that_was_changed_in_the_store_is_named() {
    if skipped("pnpm", pnpm()) {
        return;
    }
    let up = Upstream::start();
    let registry = Npm::new(&up);
    registry.add("lib", "1.0.0", OLD, json!({}), &[("good.js", b"good things happen here")]);
    let s = filled(&registry);
    let stores = [s.at("home/.local/share/pnpm"), s.at("home/.pnpm-store"), s.at("home/.cache")];
    let all = stores.iter().flat_map(|p| files_below(p));
    let changed: Vec<_> =
        all.filter(|f| std::fs::read(f).is_ok_and(|b| b == b"good things happen here")).collect();
    assert!(!changed.is_empty(), "the store holds no such file");
    for file in &changed {
        let before = file.metadata().unwrap();
        std::fs::write(file, "evil things happen here").unwrap();
        let time = before.modified().unwrap();
        std::fs::File::options().write(true).open(file).unwrap().set_modified(time).unwrap();
        assert_eq!(file.metadata().unwrap().mtime(), before.mtime());
    }
    let run = s.gate(&[pnpm().unwrap(), "install"]);
    if run.code == 0 {
        // A pnpm that finds it out by itself fetches the file again, through the gate.
        let text = std::fs::read(s.work().join("node_modules/lib/good.js")).unwrap();
        assert_eq!(text, b"good things happen here", "{}", run.transcript());
        run.expect_admitted(&["lib 1.0.0"]);
    } else {
        run.expect_gap("lib 1.0.0");
    }
}

/// Nothing but links and pnpm's own records belongs into `node_modules`.
#[test]
fn a_package_that_a_hook_drops_is_named() {
    if skipped("pnpm", pnpm()) {
        return;
    }
    let up = Upstream::start();
    let registry = Npm::new(&up);
    let hook = b"const fs = require('fs'), at = process.env.INIT_CWD + '/node_modules/';\n\
        fs.mkdirSync(at + 'stray', {recursive: true});\n\
        fs.writeFileSync(at + 'stray/package.json', '{\"name\": \"stray\", \"version\": \"6.6.6\"}');\n\
        fs.mkdirSync(at + '.bin', {recursive: true});\n\
        fs.writeFileSync(at + '.bin/ls', '#!/bin/sh\\necho evil\\n');\n";
    let more = json!({"scripts": {"postinstall": "node hook.js"}});
    registry.add("hooked", "1.0.0", OLD, more, &[("hook.js", hook)]);
    let s = start(&registry);
    s.write(
        "package.json",
        json!({
            "name": "p", "version": "1.0.0", "dependencies": {"hooked": "1.0.0"},
            "pnpm": {"onlyBuiltDependencies": ["hooked"]},
        })
        .to_string(),
    );
    s.write(
        "pnpm-workspace.yaml",
        "packages: []\nallowBuilds:\n  hooked: true\nonlyBuiltDependencies:\n  - hooked\n",
    );
    let run = s.gate(&[pnpm().unwrap(), "install"]);
    assert!(s.work().join("node_modules/stray").exists(), "{}", run.transcript());
    run.expect_gap("stray").expect_gap(".bin/ls");
}

#[test]
fn a_workspaces_projects_are_reconciled() {
    if skipped("pnpm", pnpm()) {
        return;
    }
    let up = Upstream::start();
    let registry = Npm::new(&up);
    registry.add("lib", "1.0.0", OLD, json!({"bin": {"lib": "index.js"}}), &[]);
    let s = start(&registry);
    s.write("pnpm-workspace.yaml", "packages:\n  - packages/*\n");
    s.write(
        "packages/one/package.json",
        json!({"name": "one", "version": "1.0.0", "dependencies": {"lib": "1.0.0"}}).to_string(),
    );
    let run = s.gate(&[pnpm().unwrap(), "install"]);
    run.expect(0).expect_admitted(&["lib 1.0.0"]);
    assert!(s.work().join("packages/one/node_modules/lib/package.json").exists());
    assert_eq!(matched(&run), 1, "{}", run.transcript());
}

#[test]
fn other_layouts_are_reconciled() {
    if skipped("pnpm", pnpm()) {
        return;
    }
    let up = Upstream::start();
    let registry = Npm::new(&up);
    registry.add("app", "1.0.0", OLD, json!({"dependencies": {"lib": "1.0.0"}}), &[]);
    registry.add("lib", "1.0.0", OLD, json!({}), &[]);
    for setting in ["nodeLinker: hoisted", "enableGlobalVirtualStore: true"] {
        let s = start(&registry);
        s.write("pnpm-workspace.yaml", format!("packages: []\n{setting}\n"));
        let run = s.gate(&[pnpm().unwrap(), "add", "app"]);
        run.expect(0).expect_admitted(&["app 1.0.0", "lib 1.0.0"]);
        assert_eq!(matched(&run), 2, "`{setting}`: {}", run.transcript());
    }
}

#[test]
fn dlx_runs_what_was_admitted() {
    if skipped("pnpm", pnpm()) {
        return;
    }
    let up = Upstream::start();
    let registry = Npm::new(&up);
    let program: &[u8] = b"#!/usr/bin/env node\nconsole.log('it runs')\n";
    registry.add("tool", "1.0.0", OLD, json!({"bin": "run.js"}), &[("run.js", program)]);
    let mut s = start(&registry);
    let run = s.gate(&[pnpm().unwrap(), "dlx", "tool"]);
    run.expect(0).says("it runs").expect_admitted(&["tool 1.0.0"]);
    assert_eq!(matched(&run), 1, "{}", run.transcript());
    s.advisory(&advisory("MAL-2024-1", "npm", "tool", &[], ""));
    let run = s.gate(&[pnpm().unwrap(), "dlx", "tool@1.0.0"]);
    assert!(run.code == 90 && !run.stdout.contains("it runs"), "{}", run.transcript());
}

#[test]
fn a_lock_file_that_names_what_is_refused_is_named() {
    if !skipped("pnpm", pnpm()) {
        node::refused_by_lock(pnpm().unwrap(), start);
    }
}
