//! The reconciliation at the end: what lies there is what was admitted, or the run says so.

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
use support::archives::{cargo_crate, sdist, wheel_name, wheel_with};
use support::registries::{Cargo, Npm, OLD, PyFile, Pypi};
use support::server::Upstream;
use support::{Run, Sandbox, Venv, cargo, files_below, npm, python, skipped, uv};

fn pip(index: &Pypi<'_>) -> Option<(Sandbox, Venv)> {
    if skipped("python3 with pip", python()) {
        return None;
    }
    let mut s = Sandbox::new();
    let venv = s.venv(python()?);
    s.env("PIP_INDEX_URL", index.url()).env("UV_DEFAULT_INDEX", index.url());
    s.env("VIRTUAL_ENV", &venv.root)
        .env("UV_PYTHON_DOWNLOADS", "never")
        .env("UV_HTTP_RETRIES", "0");
    Some((s, venv))
}

/// Installs the source archive `src`, which runs `payload` while it is built; `before` is there.
fn build(before: bool, payload: &str) -> Option<(Sandbox, Venv, Run)> {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    let (s, venv) = pip(&index)?;
    index.sdist(
        "src",
        "1.0.0",
        &payload.replace("SITE", &format!("{:?}", venv.site.display().to_string())),
    );
    if before {
        s.gate(&["pip", "install", "lib"]).expect(0);
    }
    let run = s.gate(&["pip", "install", "src"]);
    Some((s, venv, run))
}

#[test]
fn a_stray_pth_file_is_named() {
    let Some((_s, _venv, run)) = build(false, "open(SITE + '/stray.pth', 'w').write('import os')")
    else {
        return;
    };
    run.expect_gap("stray.pth");
}

#[test]
fn a_stray_package_is_named() {
    let payload = "os.mkdir(SITE + '/stray')\nopen(SITE + '/stray/__init__.py', 'w').write('')";
    let Some((_s, _venv, run)) = build(false, payload) else { return };
    run.expect_gap("stray");
}

#[test]
fn a_stray_distribution_with_records_of_its_own_is_named() {
    let payload = "d = SITE + '/stray-1.0.0.dist-info'\nos.mkdir(d)\n\
                   open(SITE + '/stray.py', 'w').write('')\n\
                   open(d + '/METADATA', 'w').write('Metadata-Version: 2.1\\nName: stray\\nVersion: 1.0.0\\n')\n\
                   open(d + '/RECORD', 'w').write('stray.py,,\\nstray-1.0.0.dist-info/METADATA,,\\nstray-1.0.0.dist-info/RECORD,,\\n')";
    let Some((_s, _venv, run)) = build(false, payload) else { return };
    run.expect_gap("stray");
}

#[test]
fn a_change_to_what_was_installed_before_is_named() {
    let Some((_s, _venv, run)) =
        build(true, "open(SITE + '/lib/__init__.py', 'a').write('import os')")
    else {
        return;
    };
    run.expect_gap("lib");
}

#[test]
fn a_file_added_to_what_was_installed_before_is_named() {
    let Some((_s, _venv, run)) = build(true, "open(SITE + '/lib/more.py', 'w').write('import os')")
    else {
        return;
    };
    run.expect_gap("more.py");
}

/// Compiled files have no digest in RECORD, and are run all the same.
#[test]
fn a_changed_compiled_file_is_named() {
    let payload = "import glob\nfor f in glob.glob(SITE + '/lib/__pycache__/*.pyc'):\n    open(f, 'ab').write(b'x')";
    let Some((_s, venv, run)) = build(true, payload) else { return };
    assert!(venv.site.join("lib/__pycache__").is_dir(), "pip compiles what it installs");
    run.expect_gap("lib");
}

#[test]
fn a_file_where_python_looks_at_every_start_is_named() {
    for name in ["sitecustomize.py", "usercustomize.py", "_virtualenv.pth"] {
        let payload = format!("open(SITE + '/{name}', 'w').write('import os')");
        let Some((_s, _venv, run)) = build(false, &payload) else { return };
        run.expect_gap(name);
    }
}

#[test]
fn a_stray_file_is_named_behind_uv_as_well() {
    if skipped("uv", uv()) {
        return;
    }
    let up = Upstream::start();
    let index = Pypi::new(&up);
    let Some((mut s, venv)) = pip(&index) else { return };
    s.path_first(uv().unwrap().parent().unwrap());
    let payload = format!(
        "open({:?} + '/stray.pth', 'w').write('import os')",
        venv.site.display().to_string()
    );
    index.add("src", PyFile::new("src-1.0.0.tar.gz", sdist("src", "1.0.0", &payload), OLD));
    s.gate(&["uv", "pip", "install", "src"]).expect_gap("stray.pth");
}

#[test]
fn scripts_and_data_of_a_wheel_are_accounted_for() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    let files: [(&str, &[u8]); 5] = [
        ("lib/__init__.py", b"def main(): pass\n"),
        ("lib-1.0.0.data/scripts/tool", b"#!python\nprint(1)\n"),
        ("lib-1.0.0.data/purelib/lib_more.py", b""),
        ("lib-1.0.0.data/data/share/lib/readme", b"text"),
        ("lib-1.0.0.dist-info/entry_points.txt", b"[console_scripts]\nlib = lib:main\n"),
    ];
    index.add(
        "lib",
        PyFile::new(&wheel_name("lib", "1.0.0"), wheel_with("lib", "1.0.0", &files, &[]), OLD),
    );
    let Some((mut s, venv)) = pip(&index) else { return };
    let run = s.gate(&["pip", "install", "lib"]);
    run.expect(0);
    assert!(run.gaps().is_empty(), "{}", run.transcript());
    assert!(
        venv.root.join("bin/tool").is_file()
            && venv.root.join("bin/lib").is_file()
            && venv.has("lib_more.py")
    );
    let Some(uv) = uv() else { return };
    s.path_first(uv.parent().unwrap());
    s.gate(&["uv", "pip", "install", "--reinstall", "lib"]).expect(0);
}

#[test]
fn packages_that_share_a_folder_are_accounted_for() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    for name in ["one", "two"] {
        let path = format!("shared/{name}.py");
        let wheel = wheel_with(name, "1.0.0", &[(&path, b"")], &[]);
        index.add(name, PyFile::new(&wheel_name(name, "1.0.0"), wheel, OLD));
    }
    let Some((s, _venv)) = pip(&index) else { return };
    s.gate(&["pip", "install", "one"]).expect(0);
    s.gate(&["pip", "install", "two"]).expect(0);
}

#[test]
fn upgrades_and_removals_leave_no_gap() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD).wheel("lib", "2.0.0", OLD);
    let Some((s, venv)) = pip(&index) else { return };
    s.gate(&["pip", "install", "lib==1.0.0"]).expect(0);
    s.gate(&["pip", "install", "--upgrade", "lib"]).expect(0);
    assert!(venv.has("lib-2.0.0.dist-info"));
    s.gate(&["pip", "uninstall", "-y", "lib"]).expect(0);
    assert!(venv.names().is_empty());
}

#[test]
fn every_place_that_pip_installs_to_is_reconciled() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    let Some((s, _venv)) = pip(&index) else { return };
    index.wheel("lib", "1.0.0", OLD);
    for words in [["--target", "target"], ["--prefix", "prefix"], ["--root", "root"]] {
        let run =
            s.gate(&[&["pip", "install", "--ignore-installed"][..], &words, &["lib"]].concat());
        run.expect(0);
        assert_eq!(run.report["account"]["matched"], 1, "{words:?}: {}", run.transcript());
    }
    let payload = format!(
        "open({:?}, 'w').write('import os')",
        s.work().join("target/stray.pth").display().to_string()
    );
    index.add("src", PyFile::new("src-1.0.0.tar.gz", sdist("src", "1.0.0", &payload), OLD));
    s.gate(&["pip", "install", "--target", "target", "src"]).expect_gap("stray.pth");
}

#[test]
fn a_local_project_is_named_and_is_no_gap() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    let Some((s, venv)) = pip(&index) else { return };
    let archive = sdist("mine", "1.0.0", "pass");
    tar::Archive::new(flate2::read::GzDecoder::new(archive.as_slice())).unpack(s.work()).unwrap();
    let run = s.gate(&["pip", "install", "./mine-1.0.0"]);
    run.expect(0);
    assert!(run.report["account"]["local"].to_string().contains("mine"), "{}", run.transcript());
    assert!(venv.has("mine"));
}

#[test]
fn a_wheel_that_is_built_here_is_named() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.sdist("src", "1.0.0", "pass");
    let Some((s, _venv)) = pip(&index) else { return };
    let run = s.gate(&["pip", "wheel", "-w", "out", "src"]);
    run.expect(0);
    assert!(
        run.report["account"]["local"].to_string().contains("built here"),
        "{}",
        run.transcript()
    );
}

/// Installs `app`, whose script runs `script` (JavaScript) after it is unpacked; `lib` is there too.
fn postinstall(script: &str) -> Option<(Sandbox, Run)> {
    if skipped("npm with node", npm()) {
        return None;
    }
    let up = Upstream::start();
    let registry = Npm::new(&up);
    registry.add("lib", "1.0.0", OLD, json!({"bin": {"lib": "index.js"}}), &[]);
    let more =
        json!({"dependencies": {"lib": "1.0.0"}, "scripts": {"postinstall": "node hook.js"}});
    registry.add("app", "1.0.0", OLD, more, &[("hook.js", script.as_bytes())]);
    let mut s = Sandbox::new();
    s.env("npm_config_registry", registry.url())
        .env("npm_config_audit", "false")
        .env("npm_config_ignore_scripts", "false");
    s.write("package.json", json!({"name": "project", "version": "1.0.0"}).to_string());
    let run = s.gate(&["npm", "install", "--foreground-scripts", "app"]);
    Some((s, run))
}

const MODULES: &str = "const fs = require('fs'), m = '../';\n";

fn drop_package(folder: &str, manifest: &Value) -> String {
    format!(
        "{MODULES}fs.mkdirSync(m + '{folder}', {{recursive: true}});\n\
         fs.writeFileSync(m + '{folder}/package.json', {:?});\nfs.writeFileSync(m + '{folder}/index.js', 'evil');\n",
        manifest.to_string()
    )
}

#[test]
fn a_hook_that_does_nothing_leaves_no_gap() {
    let Some((s, run)) = postinstall("require('fs').writeFileSync('ran', '')") else { return };
    run.expect(0).expect_admitted(&["app 1.0.0", "lib 1.0.0"]);
    assert!(
        s.work().join("node_modules/app/ran").exists(),
        "the hook ran, and wrote into its own folder"
    );
}

#[test]
fn a_package_that_a_hook_drops_is_named() {
    let Some((_s, run)) =
        postinstall(&drop_package("evil", &json!({"name": "evil", "version": "1.0.0"})))
    else {
        return;
    };
    run.expect_gap("evil");
}

#[test]
fn a_scoped_package_that_a_hook_drops_is_named() {
    let Some((_s, run)) = postinstall(&drop_package(
        "@evil/deep",
        &json!({"name": "@evil/deep", "version": "1.0.0"}),
    )) else {
        return;
    };
    run.expect_gap("@evil/deep");
}

#[test]
fn a_package_under_the_name_of_an_admitted_one_is_named() {
    let Some((_s, run)) =
        postinstall(&drop_package("evil", &json!({"name": "lib", "version": "1.0.0"})))
    else {
        return;
    };
    run.expect_gap("evil");
}

#[test]
fn a_package_inside_an_admitted_one_is_named() {
    let Some((_s, run)) = postinstall(&drop_package(
        "lib/node_modules/evil",
        &json!({"name": "evil", "version": "1.0.0"}),
    )) else {
        return;
    };
    run.expect_gap("evil");
}

#[test]
fn a_loose_file_that_a_hook_drops_is_named() {
    let Some((_s, run)) = postinstall(&format!("{MODULES}fs.writeFileSync(m + 'evil.js', 'evil')"))
    else {
        return;
    };
    run.expect_gap("evil.js");
}

#[test]
fn a_change_to_another_package_is_named() {
    let Some((_s, run)) =
        postinstall(&format!("{MODULES}fs.writeFileSync(m + 'lib/index.js', 'evil')"))
    else {
        return;
    };
    run.expect_gap("lib");
}

#[test]
fn a_file_added_to_another_package_is_named() {
    let Some((_s, run)) =
        postinstall(&format!("{MODULES}fs.writeFileSync(m + 'lib/more.js', 'evil')"))
    else {
        return;
    };
    run.expect_gap("lib");
}

#[test]
fn a_program_that_a_hook_drops_is_named() {
    let script = format!("{MODULES}fs.writeFileSync(m + '.bin/node', '#!/bin/sh\\n')");
    let Some((_s, run)) = postinstall(&script) else { return };
    run.expect_gap(".bin/node");
}

#[test]
fn a_program_that_a_hook_leads_elsewhere_is_named() {
    let script = format!(
        "{MODULES}fs.unlinkSync(m + '.bin/lib');\nfs.symlinkSync('../app/hook.js', m + '.bin/lib');\n"
    );
    let Some((_s, run)) = postinstall(&script) else { return };
    run.expect_gap(".bin/lib");
}

#[test]
fn a_hidden_package_that_a_hook_drops_is_named() {
    let Some((_s, run)) =
        postinstall(&drop_package(".evil", &json!({"name": "evil", "version": "1.0.0"})))
    else {
        return;
    };
    run.expect_gap(".evil");
}

/// npm's own record of what it installed is the attacker's to change.
#[test]
fn a_forged_record_of_npm_explains_nothing() {
    let evil = drop_package("evil", &json!({"name": "evil", "version": "1.0.0"}));
    let script = format!(
        "{evil}const lock = JSON.parse(fs.readFileSync(m + '.package-lock.json'));\n\
         lock.packages['node_modules/evil'] = lock.packages['node_modules/lib'];\n\
         fs.writeFileSync(m + '.package-lock.json', JSON.stringify(lock));\n"
    );
    // npm writes its record after the hooks: what a hook leaves running comes later.
    let script = format!(
        "require('child_process').spawn(process.execPath, ['-e', {script:?}], {{detached: true, stdio: 'ignore'}}).unref();\n\
         const until = Date.now() + 300; while (Date.now() < until);\n"
    );
    let Some((_s, run)) = postinstall(&script) else { return };
    run.expect_gap("evil");
}

#[test]
fn bundled_dependencies_are_no_gap() {
    if skipped("npm with node", npm()) {
        return;
    }
    let up = Upstream::start();
    let registry = Npm::new(&up);
    let inner = json!({"name": "inner", "version": "1.0.0"}).to_string();
    let more = json!({"dependencies": {"inner": "1.0.0"}, "bundleDependencies": ["inner"]});
    registry.add(
        "app",
        "1.0.0",
        OLD,
        more,
        &[("node_modules/inner/package.json", inner.as_bytes())],
    );
    let mut s = Sandbox::new();
    s.env("npm_config_registry", registry.url()).env("npm_config_audit", "false");
    s.write("package.json", json!({"name": "project", "version": "1.0.0"}).to_string());
    s.gate(&["npm", "install", "app"]).expect(0).expect_admitted(&["app 1.0.0"]);
    assert!(s.work().join("node_modules/app/node_modules/inner").is_dir());
}

/// cargo compiles what lies unpacked in its home, and looks at no digest again.
#[test]
fn a_build_script_that_changes_another_crate_is_named() {
    if skipped("cargo", cargo()) {
        return;
    }
    let up = Upstream::start();
    let registry = Cargo::new(&up);
    registry.add("victim", "1.0.0", OLD);
    let script = "fn main() {\n    let home = std::env::var(\"CARGO_HOME\").unwrap();\n    \
                  let src = std::fs::read_dir(home + \"/registry/src\").unwrap().next().unwrap().unwrap().path();\n    \
                  std::fs::write(src.join(\"victim-1.0.0/src/lib.rs\"), \"pub fn evil() {}\").unwrap();\n}\n";
    registry.add_bytes(
        "attacker",
        "1.0.0",
        OLD,
        cargo_crate("attacker", "1.0.0", &[("build.rs", script.as_bytes())]),
    );
    let mut s = Sandbox::new();
    s.path_first(cargo().unwrap().parent().unwrap());
    let home = s.at("cargo-home");
    std::fs::create_dir(&home).unwrap();
    let config = format!(
        "[source.crates-io]\nreplace-with = \"own\"\n[source.own]\nregistry = \"{}\"\n",
        registry.url()
    );
    std::fs::write(home.join("config.toml"), config).unwrap();
    s.env("CARGO_HOME", &home);
    s.write("Cargo.toml", "[package]\nname = \"project\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[workspace]\n[dependencies]\nattacker = \"1\"\nvictim = \"1\"\n");
    s.write("src/lib.rs", "");
    let run = s.gate(&["cargo", "build"]);
    let changed = files_below(&home.join("registry/src"))
        .into_iter()
        .find(|p| p.ends_with("victim-1.0.0/src/lib.rs"))
        .unwrap();
    assert!(
        std::fs::read_to_string(changed).unwrap().contains("evil"),
        "the script ran: {}",
        run.transcript()
    );
    run.expect_gap("victim");
}
