//! npm behind the gate, against a synthetic registry.

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
use support::archives::{integrity, npm_tarball};
use support::registries::{Npm, NpmVersion, OLD, advisory};
use support::server::{Reply, Upstream};
use support::{Run, Sandbox, npm, skipped};

/// A sandbox with an empty project whose npm is configured for `registry`; `None` without npm.
fn start(registry: &Npm<'_>) -> Option<Sandbox> {
    if skipped("npm with node", npm()) {
        return None;
    }
    let mut s = Sandbox::new();
    s.env("npm_config_registry", registry.url())
        .env("npm_config_audit", "false")
        .env("npm_config_fund", "false");
    s.env("npm_config_fetch_retries", "0");
    s.write("package.json", json!({"name": "project", "version": "1.0.0"}).to_string());
    Some(s)
}

/// A lock file of these packages, and the manifest that asks for them.
fn lock(s: &Sandbox, packages: &[(&str, Value)]) {
    let dependencies: Value =
        packages.iter().map(|(n, v)| ((*n).to_owned(), v["version"].clone())).collect();
    let manifest = json!({"name": "project", "version": "1.0.0", "dependencies": dependencies});
    let mut entries = json!({"": manifest});
    for (name, entry) in packages {
        entries[format!("node_modules/{name}")] = entry.clone();
    }
    s.write("package.json", manifest.to_string());
    let file = json!({"name": "project", "version": "1.0.0", "lockfileVersion": 3, "requires": true, "packages": entries});
    s.write("package-lock.json", file.to_string());
}

fn installed(s: &Sandbox, name: &str) -> bool {
    s.work().join("node_modules").join(name).join("package.json").exists()
}

/// Bytes of the same length that are another gzip stream: only the header's time differs.
fn tampered(tarball: &[u8]) -> Vec<u8> {
    let mut other = tarball.to_vec();
    other[5] ^= 1;
    other
}

#[test]
fn a_clean_install_is_admitted_recorded_and_installed() {
    let up = Upstream::start();
    let registry = Npm::new(&up);
    registry.add("app", "1.0.0", OLD, json!({"dependencies": {"@acme/lib": "^1.0.0"}}), &[]);
    registry.add("@acme/lib", "1.0.0", OLD, json!({}), &[]);
    let Some(s) = start(&registry) else { return };
    let run = s.gate(&["npm", "install", "app"]);
    run.expect(0).expect_admitted(&["@acme/lib 1.0.0", "app 1.0.0"]);
    assert_eq!(run.report["account"]["matched"], 2, "{}", run.transcript());
    assert!(installed(&s, "app") && installed(&s, "@acme/lib"));
    let lock = std::fs::read_to_string(s.work().join("package-lock.json")).unwrap();
    assert!(
        lock.contains(&registry.tarball_url("app", "1.0.0")),
        "the lock file keeps the client's own addresses: {lock}"
    );
    s.expect_decision("pkg:npm/app@1.0.0", "admit", "");
    s.fsck();
    // From the lock file alone, with nothing left.
    std::fs::remove_dir_all(s.work().join("node_modules")).unwrap();
    s.gate(&["npm", "ci"]).expect(0).expect_admitted(&["@acme/lib 1.0.0", "app 1.0.0"]);
}

#[test]
fn a_known_vulnerable_version_is_refused_with_its_advisory() {
    let up = Upstream::start();
    let registry = Npm::new(&up);
    registry.add("lib", "1.0.0", OLD, json!({}), &[]).add("lib", "1.0.1", OLD, json!({}), &[]);
    let Some(mut s) = start(&registry) else { return };
    s.advisory(&advisory("GHSA-0000-0000-0001", "npm", "lib", &["1.0.0"], "CRITICAL"));
    let run = s.gate(&["npm", "install", "lib@1.0.0"]);
    run.expect(90)
        .expect_stopped(&[("lib 1.0.0", "known-vulnerable")])
        .says("403")
        .says("GHSA-0000-0000-0001");
    assert_eq!(run.artifact("lib 1.0.0")["next_admissible"], "1.0.1");
    assert_eq!(up.count(&Npm::tarball_path("lib", "1.0.0")), 0);
    assert!(!installed(&s, "lib"));
    s.gate(&["npm", "install", "lib"]).expect(0).expect_admitted(&["lib 1.0.1"]);
}

#[test]
fn the_resolver_chooses_the_newest_admissible_version() {
    let up = Upstream::start();
    let registry = Npm::new(&up);
    for (version, age) in [("1.0.0", OLD), ("1.1.0", OLD), ("1.2.0", 1)] {
        registry.add("lib", version, age, json!({}), &[]);
    }
    let Some(s) = start(&registry) else { return };
    let run = s.gate(&["npm", "install", "lib@^1.0.0"]);
    run.expect(0).expect_admitted(&["lib 1.1.0"]);
    assert_eq!(run.list("not_offered")[0]["reason"], "cool-down");
    // `latest` points at the version that waits.
    s.write("package.json", json!({"name": "project", "version": "1.0.0"}).to_string());
    std::fs::remove_dir_all(s.work().join("node_modules")).unwrap();
    std::fs::remove_file(s.work().join("package-lock.json")).unwrap();
    s.gate(&["npm", "install", "lib"]).expect(0).expect_admitted(&["lib 1.1.0"]);
    s.gate(&["npm", "install", "lib@1.2.0"])
        .expect(91)
        .expect_stopped(&[("lib 1.2.0", "cool-down")]);
}

#[test]
fn a_malicious_name_is_refused_in_every_version() {
    let up = Upstream::start();
    let registry = Npm::new(&up);
    registry.add("crossenv", "1.0.0", OLD, json!({"scripts": {"postinstall": "touch ran"}}), &[]);
    let Some(mut s) = start(&registry) else { return };
    s.advisory(&advisory("MAL-2017-1", "npm", "crossenv", &[], ""));
    s.gate(&["npm", "install", "crossenv@1.0.0"])
        .expect(90)
        .expect_stopped(&[("crossenv 1.0.0", "known-malicious")]);
    s.gate(&["npm", "install", "crossenv"]).expect(90);
    assert!(!installed(&s, "crossenv") && s.blobs().is_empty());
}

#[test]
fn a_lock_file_with_good_and_bad_names_every_bad_one() {
    let up = Upstream::start();
    let registry = Npm::new(&up);
    for name in ["clean", "vulnerable", "tampered"] {
        registry.add(name, "1.0.0", OLD, json!({}), &[]);
    }
    up.break_with(&Npm::tarball_path("tampered", "1.0.0"), |reply| {
        let support::server::Body::Bytes(bytes) = &reply.body else { return reply };
        Reply::file(tampered(bytes))
    });
    let Some(mut s) = start(&registry) else { return };
    s.advisory(&advisory("GHSA-0000-0000-0002", "npm", "vulnerable", &["1.0.0"], "HIGH"));
    let names = ["clean", "vulnerable", "tampered"];
    let entries: Vec<(&str, Value)> =
        names.iter().map(|n| (*n, registry.lock_entry(n, "1.0.0"))).collect();
    lock(&s, &entries);
    let run = s.gate(&["npm", "ci"]);
    run.expect(90).expect_stopped(&[
        ("tampered 1.0.0", "digest-mismatch"),
        ("vulnerable 1.0.0", "known-vulnerable"),
    ]);
    s.expect_decision("pkg:npm/vulnerable@1.0.0", "refuse", "known-vulnerable");
    s.expect_decision("pkg:npm/tampered@1.0.0", "refuse", "digest-mismatch");
    assert!(!installed(&s, "vulnerable") && !installed(&s, "tampered"));
    assert!(s.blobs().len() <= 1, "at most the clean one was kept");
    s.fsck();
}

#[test]
fn the_same_version_with_another_digest_is_refused() {
    let up = Upstream::start();
    let registry = Npm::new(&up);
    registry.add("lib", "1.0.0", OLD, json!({}), &[]);
    let Some(s) = start(&registry) else { return };
    s.gate(&["npm", "install", "lib"]).expect(0);
    // The registry's own document now names other bytes.
    let other = Npm::new(&up);
    other.add("lib", "1.0.0", OLD, json!({}), &[("evil.js", b"1")]);
    std::fs::remove_dir_all(s.work().join("node_modules")).unwrap();
    std::fs::remove_file(s.work().join("package-lock.json")).unwrap();
    s.gate(&["npm", "install", "lib"])
        .expect(90)
        .expect_stopped(&[("lib 1.0.0", "digest-changed")]);
    assert!(!installed(&s, "lib"));
}

#[test]
fn a_weak_digest_alone_is_not_enough() {
    let up = Upstream::start();
    let registry = Npm::new(&up);
    let tarball = npm_tarball("lib", "1.0.0", json!({}), &[]);
    let integrity = String::new();
    registry.add_version(
        "lib",
        NpmVersion { version: "1.0.0".into(), tarball, integrity, age: OLD, more: json!({}) },
    );
    let Some(s) = start(&registry) else { return };
    s.gate(&["npm", "install", "lib"]).expect(90).expect_stopped(&[("lib 1.0.0", "digest-weak")]);
}

#[test]
fn a_dependency_by_address_is_closed_and_its_server_hears_nothing() {
    let (up, elsewhere) = (Upstream::start(), Upstream::start());
    let registry = Npm::new(&up);
    elsewhere.put("/evil.tgz", Reply::file(npm_tarball("evil", "1.0.0", json!({}), &[])));
    registry.add(
        "app",
        "1.0.0",
        OLD,
        json!({"dependencies": {"evil": elsewhere.url("/evil.tgz")}}),
        &[],
    );
    let Some(s) = start(&registry) else { return };
    s.gate(&["npm", "install", &elsewhere.url("/evil.tgz")])
        .expect(90)
        .expect_door(&elsewhere.host());
    // The same one floor below.
    s.gate(&["npm", "install", "app"]).expect(90).expect_door(&elsewhere.host());
    s.write("package.json", json!({"name": "p", "version": "1.0.0", "dependencies": {"evil": elsewhere.url("/evil.tgz")}}).to_string());
    s.gate(&["npm", "install"]).expect(90).expect_door(&elsewhere.host());
    assert!(elsewhere.seen().is_empty(), "{:?}", elsewhere.seen());
    assert!(!installed(&s, "evil"));
}

#[test]
fn a_lock_file_that_points_elsewhere_gets_the_registrys_own_file_or_nothing() {
    let (up, elsewhere) = (Upstream::start(), Upstream::start());
    let registry = Npm::new(&up);
    registry.add("lib", "1.0.0", OLD, json!({}), &[]);
    let evil = npm_tarball("lib", "1.0.0", json!({}), &[("evil.js", b"1")]);
    elsewhere.put("/lib/-/lib-1.0.0.tgz", Reply::file(evil.clone()));
    let Some(s) = start(&registry) else { return };
    let entry = json!({"version": "1.0.0", "resolved": elsewhere.url("/lib/-/lib-1.0.0.tgz"), "integrity": integrity(&evil)});
    lock(&s, &[("lib", entry)]);
    let run = s.gate(&["npm", "ci"]);
    assert_ne!(run.code, 0, "{}", run.transcript());
    assert!(!installed(&s, "lib"));
    // A lock file that was made with another mirror of the same registry.
    let mut entry = registry.lock_entry("lib", "1.0.0");
    entry["resolved"] = elsewhere.url("/lib/-/lib-1.0.0.tgz").into();
    lock(&s, &[("lib", entry)]);
    s.gate(&["npm", "ci"]).expect(0).expect_admitted(&["lib 1.0.0"]);
    // A package that the registry does not know.
    let entry = json!({"version": "1.0.0", "resolved": elsewhere.url("/evil/-/evil-1.0.0.tgz"), "integrity": integrity(&evil)});
    lock(&s, &[("evil", entry)]);
    let run = s.gate(&["npm", "ci"]);
    assert_ne!(run.code, 0, "{}", run.transcript());
    assert!(elsewhere.seen().is_empty(), "{:?}", elsewhere.seen());
    assert!(!installed(&s, "evil"));
}

/// What the registry serves beside packages is passed on, and must not be a way for packages.
#[test]
fn the_registrys_api_is_no_way_for_an_artifact() {
    let up = Upstream::start();
    let registry = Npm::new(&up);
    let evil = npm_tarball("evil", "1.0.0", json!({}), &[]);
    let Some(s) = start(&registry) else { return };
    for (path, kind) in [
        ("/-/evil/evil-1.0.0.tgz", "application/json"),
        ("/-/evil-1.0.0.tgz", "application/octet-stream"),
    ] {
        up.put(path, Reply::ok(kind, evil.clone()));
        lock(
            &s,
            &[(
                "evil",
                json!({"version": "1.0.0", "resolved": up.url(path), "integrity": integrity(&evil)}),
            )],
        );
        let run = s.gate(&["npm", "ci"]);
        assert!(!installed(&s, "evil"), "it was installed from {path}\n{}", run.transcript());
        run.expect(90);
    }
}

#[test]
fn audits_and_pings_still_reach_the_registry() {
    let up = Upstream::start();
    let registry = Npm::new(&up);
    up.put("/-/ping", Reply::ok("application/json", "{}"));
    let Some(s) = start(&registry) else { return };
    s.gate(&["npm", "ping"]).expect(0);
    assert_eq!(up.count("/-/ping"), 1);
}

/// Options that would lead npm past the gate, in every spelling that npm understands.
#[test]
fn options_that_lead_past_the_gate_are_refused() {
    let (up, elsewhere) = (Upstream::start(), Upstream::start());
    let registry = Npm::new(&up);
    registry.add("lib", "1.0.0", OLD, json!({}), &[]);
    let Some(s) = start(&registry) else { return };
    let proxy = elsewhere.url("");
    let requests = || up.seen().len();
    let named = ["--proxy", "--https-proxy", "--noproxy", "--cafile"];
    let shortened = ["--https-prox", "--prox", "--noprox", "--cafil"];
    // Any number of dashes will do.
    let dashed = ["-https-proxy", "---https-proxy", "---noproxy"];
    for option in named.into_iter().chain(shortened).chain(dashed) {
        let value = if option.contains("no") { "127.0.0.1" } else { &proxy };
        for words in [vec![format!("{option}={value}")], vec![option.to_owned(), value.to_owned()]]
        {
            let mut all = vec!["npm", "install", "lib"];
            all.extend(words.iter().map(String::as_str));
            let before = requests();
            let run = s.gate(&all);
            // A gate that is not gone round either refuses the option or judges what came.
            let judged = run.code == 0 && run.admitted() == ["lib 1.0.0"];
            assert!(run.code >= 90 || judged, "`{words:?}`: {}", run.transcript());
            assert!(
                judged || requests() == before,
                "`{words:?}` went past the gate: {}",
                run.transcript()
            );
            let _ = std::fs::remove_dir_all(s.work().join("node_modules"));
        }
    }
    assert!(elsewhere.seen().is_empty(), "{:?}", elsewhere.seen());
}

#[test]
fn settings_of_the_project_do_not_take_the_gates_place() {
    let (up, elsewhere) = (Upstream::start(), Upstream::start());
    let registry = Npm::new(&up);
    registry.add("lib", "1.0.0", OLD, json!({}), &[]);
    let Some(mut s) = start(&registry) else { return };
    let proxy = elsewhere.url("");
    s.write(".npmrc", format!("proxy={proxy}\nhttps-proxy={proxy}\nnoproxy=127.0.0.1\n"));
    s.env("HTTP_PROXY", &proxy)
        .env("HTTPS_PROXY", &proxy)
        .env("NO_PROXY", "127.0.0.1")
        .env("no_proxy", "*");
    // The user's own proxy is the gate's way out as well: it is not there, so nothing may come.
    s.env("HTTP_PROXY", "").env("HTTPS_PROXY", "");
    s.gate(&["npm", "install", "lib"]).expect(0).expect_admitted(&["lib 1.0.0"]);
    assert!(elsewhere.seen().is_empty(), "{:?}", elsewhere.seen());
}

#[test]
fn a_scope_comes_from_its_own_registry() {
    let (public, private) = (Upstream::start(), Upstream::start());
    let (registry, own) = (Npm::new(&public), Npm::new(&private));
    registry.add("@acme/lib", "99.0.0", OLD, json!({}), &[]);
    own.add("@acme/lib", "1.0.0", OLD, json!({}), &[]);
    let Some(mut s) = start(&registry) else { return };
    s.write(".npmrc", format!("@acme:registry={}\n", own.url()));
    s.gate(&["npm", "install", "@acme/lib"]).expect(0).expect_admitted(&["@acme/lib 1.0.0"]);
    assert!(public.seen().is_empty(), "{:?}", public.seen());
    // Reserved, the scope does not come from the public registry even when nobody configures it.
    s.write(".npmrc", "");
    s.config(&format!(
        "[[reserve]]\npattern = \"pkg:npm/@acme/*\"\nupstream = \"{}\"\n",
        own.url()
    ));
    let run = s.gate(&["npm", "install", "--no-save", "@acme/lib@99.0.0"]);
    run.expect(90).expect_stopped(&[("@acme/lib 99.0.0", "reserved-namespace")]);
}

#[test]
fn an_optional_dependency_that_is_refused_does_not_stop_the_rest() {
    let up = Upstream::start();
    let registry = Npm::new(&up);
    registry.add("app", "1.0.0", OLD, json!({"optionalDependencies": {"extra": "1.0.0"}}), &[]);
    registry.add("extra", "1.0.0", OLD, json!({}), &[]);
    let Some(mut s) = start(&registry) else { return };
    s.advisory(&advisory("MAL-2024-3", "npm", "extra", &[], ""));
    let run: Run = s.gate(&["npm", "install", "app"]);
    run.expect(0).expect_admitted(&["app 1.0.0"]);
    assert!(!installed(&s, "extra"));
}

#[test]
fn a_global_install_is_reconciled_where_it_lands() {
    let up = Upstream::start();
    let registry = Npm::new(&up);
    registry.add("tool", "1.0.0", OLD, json!({"bin": {"tool": "index.js"}}), &[]);
    let Some(mut s) = start(&registry) else { return };
    s.env("npm_config_prefix", s.at("global"));
    let run = s.gate(&["npm", "install", "--global", "tool"]);
    run.expect(0).expect_admitted(&["tool 1.0.0"]);
    assert_eq!(run.report["account"]["matched"], 1, "{}", run.transcript());
    assert!(s.at("global/lib/node_modules/tool").exists());
}

/// The client's own cache, filled without the gate and named on the command line.
#[test]
fn a_cache_on_the_command_line_is_no_way_round_the_gate() {
    let up = Upstream::start();
    let registry = Npm::new(&up);
    registry.add(
        "lib",
        "1.0.0",
        OLD,
        json!({"scripts": {"postinstall": "node hook.js"}}),
        &[("hook.js", b"require('fs').writeFileSync(process.env.INIT_CWD + '/ran', '')")],
    );
    let Some(mut s) = start(&registry) else { return };
    let cache = s.at("npm-cache").display().to_string();
    lock(&s, &[("lib", registry.lock_entry("lib", "1.0.0"))]);
    let fill = s.command(npm().unwrap(), &["ci", "--ignore-scripts", "--cache", &cache]);
    support::finish(fill, b"", std::time::Duration::from_secs(60)).expect(0);
    std::fs::remove_dir_all(s.work().join("node_modules")).unwrap();
    s.advisory(&advisory("MAL-2024-6", "npm", "lib", &[], ""));
    for words in [
        vec!["--cache", &cache, "--prefer-offline"],
        vec!["--cache", &cache, "--offline"],
        vec!["--offline"],
    ] {
        let run = s.gate(&[&["npm", "ci"][..], &words].concat());
        assert_ne!(run.code, 0, "{}", run.transcript());
        assert!(
            !installed(&s, "lib") && !s.work().join("ran").exists(),
            "it was installed: {}",
            run.transcript()
        );
    }
}

#[test]
fn a_local_tarball_is_judged_before_its_scripts_run() {
    let up = Upstream::start();
    let registry = Npm::new(&up);
    let Some(s) = start(&registry) else { return };
    let hook = b"require('fs').writeFileSync(process.env.INIT_CWD + '/ran', '')";
    let evil = npm_tarball(
        "evil",
        "1.0.0",
        json!({"scripts": {"postinstall": "node hook.js"}}),
        &[("hook.js", hook)],
    );
    let path = s.write("evil.tgz", evil).display().to_string();
    for word in
        ["./evil.tgz".to_owned(), format!("file:{path}"), path.clone(), format!("evil@file:{path}")]
    {
        let run = s.gate(&["npm", "install", &word]);
        assert!(run.code >= 90, "`{word}`: {}", run.transcript());
        assert!(
            !installed(&s, "evil") && !s.work().join("ran").exists(),
            "`{word}` was installed: {}",
            run.transcript()
        );
    }
    s.write(
        "package.json",
        json!({"name": "p", "version": "1.0.0", "dependencies": {"evil": "file:evil.tgz"}})
            .to_string(),
    );
    let run = s.gate(&["npm", "install"]);
    assert!(run.code >= 90, "{}", run.transcript());
    assert!(
        !installed(&s, "evil") && !s.work().join("ran").exists(),
        "it was installed: {}",
        run.transcript()
    );
}

#[test]
fn a_git_dependency_is_closed_and_its_server_hears_nothing() {
    let (up, elsewhere) = (Upstream::start(), Upstream::start());
    let registry = Npm::new(&up);
    let git = format!("git+{}", elsewhere.url("/evil.git"));
    registry.add("app", "1.0.0", OLD, json!({"dependencies": {"evil": git}}), &[]);
    let Some(s) = start(&registry) else { return };
    for word in [git.as_str(), "app"] {
        let run = s.gate(&["npm", "install", word]);
        assert_ne!(run.code, 0, "{}", run.transcript());
    }
    assert!(elsewhere.seen().is_empty(), "{:?}", elsewhere.seen());
}

#[test]
fn a_project_of_workspaces_is_no_gap() {
    let up = Upstream::start();
    let registry = Npm::new(&up);
    registry.add("lib", "1.0.0", OLD, json!({}), &[]);
    let Some(s) = start(&registry) else { return };
    s.write(
        "package.json",
        json!({"name": "project", "version": "1.0.0", "workspaces": ["packages/*"]}).to_string(),
    );
    s.write(
        "packages/one/package.json",
        json!({"name": "one", "version": "1.0.0", "dependencies": {"lib": "1.0.0"}}).to_string(),
    );
    s.gate(&["npm", "install"]).expect(0).expect_admitted(&["lib 1.0.0"]);
    assert!(installed(&s, "lib"));
}

#[test]
fn an_alias_is_reconciled_with_what_it_stands_for() {
    let up = Upstream::start();
    let registry = Npm::new(&up);
    registry.add("lib", "1.0.0", OLD, json!({}), &[]);
    let Some(s) = start(&registry) else { return };
    let run = s.gate(&["npm", "install", "other@npm:lib@1.0.0"]);
    run.expect(0).expect_admitted(&["lib 1.0.0"]);
    assert_eq!(run.report["account"]["matched"], 1, "{}", run.transcript());
    assert!(installed(&s, "other"));
}
