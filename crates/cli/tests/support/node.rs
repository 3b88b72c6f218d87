//! pnpm, yarn and bun as the tests find them, and what all of them have to do alike.

use super::archives::npm_tarball;
use super::registries::{Npm, OLD, advisory};
use super::server::{Body, Reply, Upstream};
use super::{Run, Sandbox, which};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A program: named by a variable, or on the path. Its version must begin like this.
fn find(variable: &str, name: &str, version: &[&str]) -> Option<String> {
    let path = std::env::var_os(variable).map(PathBuf::from).filter(|p| p.is_file());
    let path = path.or_else(|| which(name))?;
    let out = Command::new(&path).arg("--version").current_dir("/").output().ok()?;
    let said = String::from_utf8_lossy(&out.stdout).trim().to_owned();
    let fits = version.is_empty() || version.iter().any(|v| said.starts_with(v));
    fits.then(|| path.display().to_string())
}

/// pnpm: named by `COUNTERSIGN_TEST_PNPM`, or on the path.
pub fn pnpm() -> Option<&'static String> {
    static FOUND: OnceLock<Option<String>> = OnceLock::new();
    FOUND.get_or_init(|| find("COUNTERSIGN_TEST_PNPM", "pnpm", &[])).as_ref()
}

/// yarn 1: named by `COUNTERSIGN_TEST_YARN`, or on the path.
pub fn yarn() -> Option<&'static String> {
    static FOUND: OnceLock<Option<String>> = OnceLock::new();
    FOUND.get_or_init(|| find("COUNTERSIGN_TEST_YARN", "yarn", &["1."])).as_ref()
}

/// yarn 2 or later: named by `COUNTERSIGN_TEST_YARN_BERRY`, or on the path.
pub fn yarn_berry() -> Option<&'static String> {
    static FOUND: OnceLock<Option<String>> = OnceLock::new();
    let find = || find("COUNTERSIGN_TEST_YARN_BERRY", "yarn", &["3.", "4.", "5."]);
    FOUND.get_or_init(find).as_ref()
}

/// bun: named by `COUNTERSIGN_TEST_BUN`, or on the path.
pub fn bun() -> Option<&'static String> {
    static FOUND: OnceLock<Option<String>> = OnceLock::new();
    FOUND.get_or_init(|| find("COUNTERSIGN_TEST_BUN", "bun", &[])).as_ref()
}

/// A sandbox with an empty project whose `.npmrc` names the registry.
pub fn project(registry: &Npm<'_>) -> Sandbox {
    let mut s = Sandbox::new();
    s.env("CI", "1");
    s.write("package.json", json!({"name": "project", "version": "1.0.0"}).to_string());
    s.write(".npmrc", format!("registry={}\n", registry.url()));
    s
}

/// Whether a package lies where the project's programs find it.
pub fn installed(s: &Sandbox, name: &str) -> bool {
    s.work().join("node_modules").join(name).join("package.json").exists()
}

/// Runs a client in the sandbox without the gate.
pub fn ungated(s: &Sandbox, client: &str, words: &[&str]) {
    let command = s.command(Path::new(client), words);
    super::finish(command, b"", std::time::Duration::from_secs(60)).expect(0);
}

/// Takes away what was installed, and the lock file when `lock` names one.
pub fn clean(s: &Sandbox, lock: &[&str]) {
    let _ = std::fs::remove_dir_all(s.work().join("node_modules"));
    for name in lock {
        let _ = std::fs::remove_file(s.work().join(name));
    }
}

/// How many things were compared.
pub fn matched(run: &Run) -> u64 {
    run.report["account"]["matched"].as_u64().unwrap_or(0)
}

/// A good package with a dependency is admitted, installed and reconciled, first by name and then
/// from the lock file alone.
pub fn good(client: &str, start: impl Fn(&Npm<'_>) -> Sandbox) {
    let up = Upstream::start();
    let registry = Npm::new(&up);
    let program = json!({"dependencies": {"@acme/lib": "^1.0.0"}, "bin": {"app": "run.js"}});
    let script: &[u8] = b"#!/usr/bin/env node\nconsole.log('hello from app')\n";
    registry.add("app", "1.0.0", OLD, program, &[("run.js", script), ("docs/a.txt", b"a")]);
    registry.add("@acme/lib", "1.0.0", OLD, json!({}), &[]);
    let s = start(&registry);
    let run = s.gate(&[client, "add", "app"]);
    run.expect(0).expect_admitted(&["@acme/lib 1.0.0", "app 1.0.0"]);
    assert_eq!(matched(&run), 2, "{}", run.transcript());
    s.expect_decision("pkg:npm/app@1.0.0", "admit", "");
    s.fsck();
    clean(&s, &[]);
    let _ = std::fs::remove_file(s.work().join(".pnp.cjs"));
    let run = s.gate(&[client, "install"]);
    run.expect(0).expect_admitted(&["@acme/lib 1.0.0", "app 1.0.0"]);
    assert_eq!(matched(&run), 2, "{}", run.transcript());
    // Nothing is left to do.
    s.gate(&[client, "install"]).expect(0);
}

/// A version with an advisory is refused with it, and the next one is taken.
pub fn vulnerable(client: &str, start: impl Fn(&Npm<'_>) -> Sandbox) {
    let up = Upstream::start();
    let registry = Npm::new(&up);
    registry.add("lib", "1.0.0", OLD, json!({}), &[]).add("lib", "1.0.1", OLD, json!({}), &[]);
    let mut s = start(&registry);
    s.advisory(&advisory("GHSA-0000-0000-0001", "npm", "lib", &["1.0.0"], "CRITICAL"));
    let run = s.gate(&[client, "add", "lib@1.0.0"]);
    run.expect(90).expect_stopped(&[("lib 1.0.0", "known-vulnerable")]);
    let entry = run.artifact("lib 1.0.0");
    assert!(entry.to_string().contains("GHSA-0000-0000-0001"), "{}", run.transcript());
    assert_eq!(entry["next_admissible"], "1.0.1");
    assert_eq!(up.count(&Npm::tarball_path("lib", "1.0.0")), 0);
    assert!(!installed(&s, "lib"));
    let run = s.gate(&[client, "add", "lib"]);
    run.expect(0).expect_admitted(&["lib 1.0.1"]);
}

/// A version that the lock file names, and that is known to be bad by now, is refused by name, also
/// when a store or cache of the client holds it from before.
pub fn refused_by_lock(client: &str, start: impl Fn(&Npm<'_>) -> Sandbox) {
    let up = Upstream::start();
    let registry = Npm::new(&up);
    registry.add("lib", "1.0.0", OLD, json!({}), &[]);
    let mut s = start(&registry);
    s.gate(&[client, "add", "lib"]).expect(0);
    clean(&s, &[]);
    let _ = std::fs::remove_file(s.work().join(".pnp.cjs"));
    s.advisory(&advisory("MAL-2024-1", "npm", "lib", &[], ""));
    let run = s.gate(&[client, "install"]);
    run.expect(90).expect_stopped(&[("lib 1.0.0", "known-malicious")]);
    assert!(!installed(&s, "lib") && !s.work().join(".pnp.cjs").exists());
}

/// Other bytes than those that the registry's own document names are refused.
pub fn tampered(client: &str, start: impl Fn(&Npm<'_>) -> Sandbox) {
    let up = Upstream::start();
    let registry = Npm::new(&up);
    registry.add("lib", "1.0.0", OLD, json!({}), &[]);
    up.break_with(&Npm::tarball_path("lib", "1.0.0"), |reply| {
        let Body::Bytes(bytes) = &reply.body else { return reply };
        let mut other = bytes.to_vec();
        other[5] ^= 1;
        Reply::file(other)
    });
    let s = start(&registry);
    let run = s.gate(&[client, "add", "lib"]);
    run.expect(90).expect_stopped(&[("lib 1.0.0", "digest-mismatch")]);
    assert!(!installed(&s, "lib") && s.blobs().is_empty());
}

/// An address that no registry lists is closed and named, on the command line, in package.json and
/// one floor below, and its server hears nothing.
pub fn side_door(client: &str, start: impl Fn(&Npm<'_>) -> Sandbox) {
    let (up, elsewhere) = (Upstream::start(), Upstream::start());
    let registry = Npm::new(&up);
    let address = elsewhere.url("/evil.tgz");
    elsewhere.put("/evil.tgz", Reply::file(npm_tarball("evil", "1.0.0", json!({}), &[])));
    registry.add("app", "1.0.0", OLD, json!({"dependencies": {"evil": address}}), &[]);
    let s = start(&registry);
    let named = format!("evil@{address}");
    s.gate(&[client, "add", &named]).expect_door(&elsewhere.host()).expect(90);
    s.gate(&[client, "add", "app"]).expect_door(&elsewhere.host()).expect(90);
    let git = format!("git+{}", elsewhere.url("/evil.git"));
    for address in [address, git] {
        let manifest: Value =
            json!({"name": "p", "version": "1.0.0", "dependencies": {"evil": address}});
        s.write("package.json", manifest.to_string());
        let run = s.gate(&[client, "install"]);
        assert_ne!(run.code, 0, "{}", run.transcript());
        run.expect_door(&elsewhere.host());
    }
    assert!(elsewhere.seen().is_empty(), "{:?}", elsewhere.seen());
    assert!(!installed(&s, "evil"));
}

/// A proxy that the project or the user's environment names does not take the gate's place.
pub fn led_by_the_gate_alone(client: &str, start: impl Fn(&Npm<'_>) -> Sandbox) {
    let (up, elsewhere) = (Upstream::start(), Upstream::start());
    let registry = Npm::new(&up);
    registry.add("lib", "1.0.0", OLD, json!({}), &[]);
    let mut s = start(&registry);
    s.env("NO_PROXY", "127.0.0.1").env("no_proxy", "*");
    s.write(".env", "NO_PROXY=*\nno_proxy=*\n");
    let rc = std::fs::read_to_string(s.work().join(".npmrc")).unwrap();
    let proxy = elsewhere.url("");
    s.write(".npmrc", format!("{rc}proxy={proxy}\nhttps-proxy={proxy}\nnoproxy=127.0.0.1\n"));
    let run = s.gate(&[client, "add", "lib"]);
    // Either the gate's setting counts, or the run says that the client's own would.
    if run.code == 0 {
        run.expect_admitted(&["lib 1.0.0"]);
    } else {
        run.expect(94);
        assert!(!installed(&s, "lib"));
    }
    assert!(elsewhere.seen().is_empty(), "{:?}", elsewhere.seen());
}

/// A folder of the user that the project names is said to be one, and is no gap.
pub fn local_folder(client: &str, start: impl Fn(&Npm<'_>) -> Sandbox) {
    let up = Upstream::start();
    let registry = Npm::new(&up);
    let s = start(&registry);
    s.write("own/package.json", json!({"name": "own", "version": "1.0.0"}).to_string());
    s.write("own/index.js", "1");
    s.write(
        "package.json",
        json!({"name": "p", "version": "1.0.0", "dependencies": {"own": "file:./own"}}).to_string(),
    );
    s.gate(&[client, "install"]).expect(0);
    // An archive of this machine is somebody's package.
    s.write("evil.tgz", npm_tarball("evil", "1.0.0", json!({}), &[]));
    let run = s.gate(&[client, "add", "./evil.tgz"]);
    run.expect(94);
    assert!(!installed(&s, "evil"));
}
