//! npx and `npm exec` behind the gate, against a synthetic registry.

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
use support::archives::npm_tarball;
use support::node::matched;
use support::registries::{Npm, OLD, advisory};
use support::server::{Body, Reply, Upstream};
use support::{Sandbox, npm, skipped};

const PROGRAM: &[u8] = b"#!/usr/bin/env node\nconsole.log('it runs: ' + process.argv.slice(2))\n";

/// A sandbox whose npm is configured for `registry`; `None` without npm.
fn start(registry: &Npm<'_>) -> Option<Sandbox> {
    if skipped("npm with node", npm()) {
        return None;
    }
    let mut s = Sandbox::new();
    s.env("npm_config_registry", registry.url()).env("npm_config_fetch_retries", "0");
    s.env("npm_config_yes", "true");
    Some(s)
}

fn tool(registry: &Npm<'_>, version: &str) {
    let more = json!({"bin": {"tool": "run.js"}, "dependencies": {"lib": "^1.0.0"}});
    registry.add("tool", version, OLD, more, &[("run.js", PROGRAM)]);
}

#[test]
fn what_is_run_is_admitted_and_reconciled() {
    let up = Upstream::start();
    let registry = Npm::new(&up);
    tool(&registry, "1.0.0");
    registry.add("lib", "1.0.0", OLD, json!({}), &[]);
    let Some(s) = start(&registry) else { return };
    for client in [
        vec!["npx", "tool", "--proxy"],
        vec!["npx", "--package", "tool@1.0.0", "tool", "--proxy"],
        vec!["npm", "exec", "--", "tool", "--proxy"],
        vec!["npm", "x", "tool", "--", "--proxy"],
    ] {
        let run = s.gate(&client);
        run.expect(0).says("it runs: --proxy").expect_admitted(&["lib 1.0.0", "tool 1.0.0"]);
        assert_eq!(matched(&run), 2, "{}", run.transcript());
    }
    s.fsck();
}

#[test]
fn a_refused_version_is_not_run() {
    let up = Upstream::start();
    let registry = Npm::new(&up);
    tool(&registry, "1.0.0");
    tool(&registry, "1.0.1");
    registry.add("lib", "1.0.0", OLD, json!({}), &[]);
    let Some(mut s) = start(&registry) else { return };
    s.advisory(&advisory("GHSA-0000-0000-0001", "npm", "tool", &["1.0.1"], "CRITICAL"));
    let run = s.gate(&["npx", "tool@1.0.1"]);
    run.expect(90).expect_stopped(&[("tool 1.0.1", "known-vulnerable")]);
    assert!(!run.stdout.contains("it runs"), "{}", run.transcript());
    s.gate(&["npx", "tool"])
        .expect(0)
        .says("it runs")
        .expect_admitted(&["lib 1.0.0", "tool 1.0.0"]);
}

#[test]
fn a_tampered_tarball_is_not_run() {
    let up = Upstream::start();
    let registry = Npm::new(&up);
    registry.add("tool", "1.0.0", OLD, json!({"bin": "run.js"}), &[("run.js", PROGRAM)]);
    up.break_with(&Npm::tarball_path("tool", "1.0.0"), |reply| {
        let Body::Bytes(bytes) = &reply.body else { return reply };
        let mut other = bytes.to_vec();
        other[5] ^= 1;
        Reply::file(other)
    });
    let Some(s) = start(&registry) else { return };
    let run = s.gate(&["npx", "tool"]);
    run.expect(90).expect_stopped(&[("tool 1.0.0", "digest-mismatch")]);
    assert!(!run.stdout.contains("it runs"), "{}", run.transcript());
}

#[test]
fn addresses_and_archives_are_no_way_to_run_something() {
    let (up, elsewhere) = (Upstream::start(), Upstream::start());
    let registry = Npm::new(&up);
    let evil = npm_tarball("evil", "1.0.0", json!({"bin": "run.js"}), &[("run.js", PROGRAM)]);
    elsewhere.put("/evil.tgz", Reply::file(evil.clone()));
    let Some(s) = start(&registry) else { return };
    let run = s.gate(&["npx", &elsewhere.url("/evil.tgz")]);
    run.expect(90).expect_door(&elsewhere.host());
    s.write("evil.tgz", evil);
    let run = s.gate(&["npx", "--package", "./evil.tgz", "evil"]);
    run.expect(94);
    assert!(!run.stdout.contains("it runs"), "{}", run.transcript());
    assert!(elsewhere.seen().is_empty(), "{:?}", elsewhere.seen());
}

/// What lies in npm's own cache from before, changed or not, is not what is run.
#[test]
fn an_installed_copy_in_npms_cache_is_not_taken() {
    let up = Upstream::start();
    let registry = Npm::new(&up);
    registry.add("tool", "1.0.0", OLD, json!({"bin": "run.js"}), &[("run.js", PROGRAM)]);
    let Some(s) = start(&registry) else { return };
    support::node::ungated(&s, &npm().unwrap().display().to_string(), &["exec", "tool"]);
    let copies: Vec<_> = support::files_below(&s.at("home/.npm/_npx"))
        .into_iter()
        .filter(|f| f.ends_with("node_modules/tool/run.js"))
        .collect();
    assert_eq!(copies.len(), 1, "{copies:?}");
    std::fs::write(&copies[0], "#!/usr/bin/env node\nconsole.log('evil runs')\n").unwrap();
    let run = s.gate(&["npx", "tool"]);
    run.expect(0).says("it runs").expect_admitted(&["tool 1.0.0"]);
    assert!(!run.stdout.contains("evil"), "{}", run.transcript());
}

/// A package's hook that changes another package is seen in npx's folder as well.
#[test]
fn what_a_hook_changes_is_named() {
    let up = Upstream::start();
    let registry = Npm::new(&up);
    let hook = b"require('fs').writeFileSync('../lib/index.js', 'evil')";
    let more = json!({
        "bin": {"tool": "run.js"}, "scripts": {"postinstall": "node hook.js"},
        "dependencies": {"lib": "1.0.0"},
    });
    registry.add("tool", "1.0.0", OLD, more, &[("run.js", PROGRAM), ("hook.js", hook)]);
    registry.add("lib", "1.0.0", OLD, json!({}), &[]);
    let Some(mut s) = start(&registry) else { return };
    s.env("npm_config_ignore_scripts", "false");
    // npm 12 runs no hook that is not allowed.
    s.env("npm_config_allow_scripts", "tool");
    let run = s.gate(&["npx", "tool"]);
    if run.code == 0 {
        eprintln!("skipped: this npm did not run the hook");
        return;
    }
    run.expect_gap("lib 1.0.0");
}
