//! Bad input: it is named, with the next step, and nothing is lost.

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

use serde_json::Value;
use std::path::Path;
use std::time::Duration;
use support::archives::{wheel, wheel_name};
use support::registries::{OLD, PyFile, Pypi, advisory};
use support::server::Upstream;
use support::{Run, Sandbox, Venv, finish, pip_sandbox as start};

/// Requires an end before the client starts, with a message that names the thing.
#[track_caller]
fn says_what_is_wrong(run: &Run, code: i32, named: &[&str]) {
    run.expect(code);
    for name in named {
        assert!(run.stderr.contains(name), "`{name}` is not named\n{}", run.transcript());
    }
    assert!(run.stderr.lines().count() <= 12, "a message, not a page\n{}", run.transcript());
    for never in ["panicked", "unwrap", "Err(", "Error {", "RUST_BACKTRACE"] {
        assert!(!run.stderr.contains(never), "`{never}`\n{}", run.transcript());
    }
}

#[test]
fn a_broken_policy_is_named_with_its_place() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    let Some((s, _venv)) = start(&index) else { return };
    let run_with =
        |policy: &str| s.gate_with(&["--policy", policy], &["pip", "install", "lib"], b"");
    let folder = s.work().join("policy");
    says_what_is_wrong(&run_with("nonsense"), 2, &["nonsense", "baseline"]);
    std::fs::create_dir(&folder).unwrap();
    let shown = folder.display().to_string();
    let run = run_with(&shown);
    assert_ne!(run.code, 0, "an empty policy admits nothing and is an error: {}", run.transcript());
    std::fs::write(
        folder.join("policy.toml"),
        "mode = \"enforce\"\ncool_down_hours = 72\ntolerate_severity = \"moderate\"\n",
    )
    .unwrap();
    std::fs::write(
        folder.join("rules.cedar"),
        "permit (principal, action, resource)\nwhen { resource.nonsense };\n",
    )
    .unwrap();
    says_what_is_wrong(&run_with(&shown), 2, &["rules.cedar", "nonsense"]);
    std::fs::write(folder.join("rules.cedar"), "permit (principal, action\n").unwrap();
    says_what_is_wrong(&run_with(&shown), 2, &["rules.cedar"]);
    std::fs::remove_file(folder.join("rules.cedar")).unwrap();
    std::fs::write(folder.join("policy.toml"), "cool_down_hors = 72\n").unwrap();
    says_what_is_wrong(&run_with(&shown), 2, &["policy.toml", "cool_down_hors"]);
    assert!(up.seen().is_empty());
}

#[test]
fn a_broken_configuration_is_named_with_its_place() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    let Some((mut s, _venv)) = start(&index) else { return };
    for (text, named) in [
        ("denny = []\n", "denny"),
        ("deny = [\"not a purl\"]\n", "not a purl"),
        ("[limits]\nartifact-bytes = \"many\"\n", "artifact-bytes"),
        ("[[upstream]]\necosystem = \"pypi\"\nurl = \"ftp://x\"\n", "ftp://x"),
        ("policy = \"nonsense\"\n", "nonsense"),
        ("= =", "countersign.toml"),
    ] {
        s.config(text);
        says_what_is_wrong(&s.gate(&["pip", "install", "lib"]), 2, &[named]);
    }
    s.env("COUNTERSIGN_CONFIG", s.at("missing.toml"));
    says_what_is_wrong(&s.gate(&["pip", "install", "lib"]), 2, &["missing.toml"]);
    // A password in a bad address is no part of the message.
    s.config("[[upstream]]\necosystem = \"pypi\"\nurl = \"ftp://me:hunter2@x.example/\"\n");
    let run = s.gate(&["pip", "install", "lib"]);
    assert!(run.code == 2 && !run.stderr.contains("hunter2"), "{}", run.transcript());
    assert!(up.seen().is_empty());
}

#[test]
fn a_feed_that_is_none_stops_the_run() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    let Some((s, venv)) = start(&index) else { return };
    s.write("empty/readme", "");
    s.write("text.json", "this is no record");
    s.write("broken.zip", "PK\u{3}\u{4}nonsense");
    s.write("folder/one.json", "{\"id\": 7}");
    for place in ["missing", "empty", "text.json", "broken.zip", "folder"] {
        let run = s.gate_with(&["--feed", place], &["pip", "install", "lib"], b"");
        says_what_is_wrong(&run, 2, &[place]);
    }
    assert!(venv.names().is_empty() && up.seen().is_empty());
    let run = s.countersign(&["feed", "add", "text.json"]);
    assert_ne!(run.code, 0);
    s.countersign(&["feed", "list"]).expect(0).says("no feeds");
}

#[test]
fn a_feed_is_added_used_and_removed() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    let Some((s, _venv)) = start(&index) else { return };
    s.write(
        "osv/one.json",
        advisory("CVE-2020-13", "PyPI", "lib", &["1.0.0"], "CRITICAL").to_string(),
    );
    s.countersign(&["feed", "add", "osv", "--name", "mine"]).expect(0).says("mine");
    s.gate(&["pip", "install", "lib==1.0.0"]).expect(90);
    // A feed that went away is an error, not a feed without records.
    std::fs::rename(s.work().join("osv"), s.work().join("gone")).unwrap();
    let run = s.gate(&["pip", "install", "lib==1.0.0"]);
    says_what_is_wrong(&run, 2, &["osv"]);
    s.countersign(&["feed", "remove", "mine"]).expect(0);
    s.gate(&["pip", "install", "lib==1.0.0"]).expect(0);
}

#[test]
fn a_feed_whose_record_changed_is_read_again() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    let Some((mut s, _venv)) = start(&index) else { return };
    s.advisory(&advisory("CVE-2020-14", "PyPI", "other", &["1.0.0"], "CRITICAL"));
    s.gate(&["pip", "install", "lib==1.0.0"]).expect(0);
    s.advisory(&advisory("CVE-2020-15", "PyPI", "lib", &["1.0.0"], "CRITICAL"));
    s.gate(&["pip", "install", "--force-reinstall", "lib==1.0.0"]).expect(90);
}

#[test]
fn a_state_that_cannot_be_used_is_named() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    let Some((mut s, venv)) = start(&index) else { return };
    let install = ["pip", "install", "lib"];
    s.gate(&["pip", "--version"]).expect(0);
    // A database of a later version.
    let was = format!("was = {:?}\n", s.at("version").display().to_string());
    let later = "open(was, 'w').write(str(c.execute('PRAGMA user_version').fetchone()[0]))\n\
                 c.execute('PRAGMA user_version = 99')";
    sql(&s, &venv, &(was.clone() + later));
    says_what_is_wrong(&s.gate(&install), 94, &["store.sqlite", "99"]);
    let present = "c.execute('PRAGMA user_version = ' + open(was).read())\n\
                   c.execute('PRAGMA wal_checkpoint(TRUNCATE)')";
    sql(&s, &venv, &(was + present));
    let database = s.state().join("store.sqlite");
    let bytes = std::fs::read(&database).unwrap();
    std::fs::write(&database, b"this is no database, whatever its name says").unwrap();
    let run = s.gate(&install);
    says_what_is_wrong(&run, 94, &["store.sqlite"]);
    std::fs::write(&database, &bytes).unwrap();
    s.gate(&["pip", "--version"]).expect(0);
    // The key is gone: no new one takes its place.
    let key = s.state().join("keys/ledger.pem");
    let pem = std::fs::read(&key).unwrap();
    std::fs::remove_file(&key).unwrap();
    says_what_is_wrong(&s.gate(&install), 94, &["ledger.pem"]);
    assert!(!key.exists());
    std::fs::write(&key, b"-----BEGIN NONSENSE-----").unwrap();
    says_what_is_wrong(&s.gate(&install), 94, &["ledger.pem"]);
    std::fs::write(&key, pem).unwrap();
    // A file where the folder should be, and a folder that nobody can write to.
    let file = s.write("file", "");
    for place in
        [file, Path::new("/proc/countersign").to_path_buf(), Path::new("/dev/null/x").to_path_buf()]
    {
        let shown = place.display().to_string();
        s.env("COUNTERSIGN_STATE", place);
        let run = s.gate(&install);
        assert!(run.code == 94 || run.code == 2, "{}", run.transcript());
        assert!(run.stderr.contains(&shown), "`{shown}` is not named\n{}", run.transcript());
    }
    assert!(up.seen().is_empty());
}

#[test]
fn a_ledger_that_was_lost_is_not_begun_anew() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    let Some((s, _venv)) = start(&index) else { return };
    s.gate(&["pip", "install", "lib"]).expect(0);
    for name in ["store.sqlite", "store.sqlite-wal", "store.sqlite-shm"] {
        let _ = std::fs::remove_file(s.state().join(name));
    }
    let run = s.gate(&["pip", "install", "--force-reinstall", "lib"]);
    run.expect(94);
    assert!(
        run.stderr.contains("restore") || run.stderr.contains("backup"),
        "{}",
        run.transcript()
    );
}

#[test]
fn a_ledger_that_was_changed_is_noticed() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    let Some((s, venv)) = start(&index) else { return };
    s.gate(&["pip", "install", "lib"]).expect(0);
    s.fsck();
    for (table, column) in [
        ("decisions", "verdict"),
        ("decisions", "sha256"),
        ("decisions", "facts"),
        ("entries", "salt"),
        ("entries", "envelope"),
        ("entries", "commitment"),
        ("ledger_state", "root"),
        ("ledger_state", "checkpoint"),
        ("tiles", "data"),
    ] {
        flip(&s, &venv, table, column);
        let run = s.countersign(&["ledger", "fsck"]);
        assert_ne!(run.code, 0, "{table}.{column} was changed unnoticed\n{}", run.transcript());
        flip(&s, &venv, table, column);
    }
    s.fsck();
}

/// Changes one bit in the first row; a second time changes it back.
fn flip(s: &Sandbox, venv: &Venv, table: &str, column: &str) {
    let change = format!(
        "old = c.execute('SELECT {column} FROM {table} ORDER BY rowid LIMIT 1').fetchone()[0]\n\
         new = old[:-3] + chr(ord(old[-3]) ^ 1) + old[-2:] if isinstance(old, str) else old[:-1] + bytes([old[-1] ^ 1])\n\
         c.execute('UPDATE {table} SET {column} = ? WHERE rowid = (SELECT min(rowid) FROM {table})', (new,))"
    );
    sql(s, venv, &change);
}

/// Works on the store's database behind the store's back.
fn sql(s: &Sandbox, venv: &Venv, python: &str) {
    let database = s.state().join("store.sqlite").display().to_string();
    let code = format!(
        "import sqlite3\nc = sqlite3.connect({database:?})\n{python}\nc.commit()\nc.close()"
    );
    finish(s.command(&venv.root.join("bin/python"), &["-c", &code]), b"", Duration::from_secs(20))
        .expect(0);
}

#[test]
fn a_stored_artifact_that_was_changed_is_fetched_again() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    let Some((s, venv)) = start(&index) else { return };
    s.gate(&["pip", "install", "lib"]).expect(0);
    let blob = support::files_below(&s.state().join("blobs")).pop().unwrap();
    let mut bytes = std::fs::read(&blob).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&blob, &bytes).unwrap();
    s.gate(&["pip", "install", "--force-reinstall", "lib"])
        .expect(0)
        .expect_admitted(&["lib 1.0.0"]);
    assert_eq!(up.count(&index.file_path(&wheel_name("lib", "1.0.0"))), 2);
    assert!(venv.has("lib"));
    assert_eq!(std::fs::read(&blob).unwrap(), wheel("lib", "1.0.0"));
}

#[test]
fn commands_that_are_no_client_are_turned_down() {
    let s = Sandbox::new();
    says_what_is_wrong(&s.gate(&["bash", "-c", "ls"]), 94, &["bash", "pip", "npm", "cargo"]);
    says_what_is_wrong(&s.gate(&["sudo", "pip", "install", "x"]), 94, &["sudo"]);
    s.countersign(&["run"]).expect(2);
    s.countersign(&["run", "--"]).expect(2);
    s.countersign(&["nonsense"]).expect(2);
    s.countersign(&["--help"]).expect(0).says("countersign run");
    s.countersign(&["run", "--help"]).expect(0).says("90").says("92");
    s.countersign(&["--version"]).expect(0);
}

#[test]
fn a_client_that_is_not_installed_is_named() {
    let mut s = Sandbox::new();
    let empty = s.at("empty");
    std::fs::create_dir(&empty).unwrap();
    s.env("PATH", &empty);
    for client in ["pip", "uv", "npm", "cargo"] {
        let run = s.gate(&[client, "install", "x"]);
        run.expect(94);
        assert!(run.stderr.contains(client), "{}", run.transcript());
    }
}

#[test]
fn evidence_folders_must_be_there() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    let Some((s, _venv)) = start(&index) else { return };
    let run = s.gate_with(&["--evidence", "missing"], &["pip", "install", "lib"], b"");
    says_what_is_wrong(&run, 2, &["missing"]);
}

#[test]
fn evidence_that_does_not_hold_is_refused_and_evidence_that_is_garbage_too() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    let bytes = wheel("lib", "1.0.0");
    index.add("lib", PyFile::new(&wheel_name("lib", "1.0.0"), bytes.clone(), OLD));
    let Some((s, _venv)) = start(&index) else { return };
    let place = format!("evidence/{}/pep740-provenance.json", support::archives::sha256(&bytes));
    s.write(
        &place,
        "{\"version\": 1, \"attestation_bundles\": [{\"publisher\": {}, \"attestations\": [{}]}]}",
    );
    let run = s.gate_with(&["--evidence", "evidence"], &["pip", "install", "lib"], b"");
    run.expect(90).expect_stopped(&[("lib 1.0.0", "evidence-invalid")]);
}

#[test]
fn doctor_says_what_works() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    let Some((mut s, _venv)) = start(&index) else { return };
    let only = s.at("venv/bin");
    s.env("PATH", &only);
    let run = s.countersign(&["doctor", "--json"]);
    let lines: Value = serde_json::from_str(&run.stdout).unwrap();
    let of = |area: &str, name: &str| {
        lines
            .as_array()
            .unwrap()
            .iter()
            .find(|l| l["area"] == area && l["name"] == name)
            .cloned()
            .unwrap_or_default()
    };
    assert_eq!(of("client", "pip")["ok"], true, "{}", run.transcript());
    assert_eq!(of("client", "npm")["ok"], Value::Null);
    assert_eq!(of("upstream", "pip")["ok"], true);
    run.expect(0);
    s.env("PIP_INDEX_URL", "http://127.0.0.1:9/simple");
    s.countersign(&["doctor"]).expect(1).says("FAIL");
}

/// pip as a program does not look into the working folder; neither may the question to it.
#[test]
fn a_question_runs_nothing_that_lies_in_the_working_folder() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    let Some((s, venv)) = start(&index) else { return };
    let ran = s.at("ran");
    for name in
        ["json.py", "sysconfig.py", "site.py", "pip/__init__.py", "argparse.py", "logging.py"]
    {
        s.write(name, format!("open({:?}, 'a').write(__file__)\n", ran.display().to_string()));
    }
    s.gate(&["pip", "install", "lib"]).expect(0).expect_admitted(&["lib 1.0.0"]);
    assert!(venv.has("lib"));
    assert!(!ran.exists(), "{} was run", std::fs::read_to_string(&ran).unwrap());
}
