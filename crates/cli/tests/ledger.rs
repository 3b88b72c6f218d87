//! The ledger from outside: histories, proofs, exports, receipts of many, and those who watch it.

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
use std::path::{Path, PathBuf};
use support::archives::wheel_name;
use support::registries::{OLD, Pypi, advisory};
use support::server::{Reply, Upstream};
use support::{Run, Sandbox, Venv, files_below, pip_sandbox as start};

/// Entries of an artifact that is judged for the first time: first sight, evidence, scan, decision.
const ENTRIES: usize = 4;

/// A sandbox in which two wheels were downloaded through the gate.
fn two_wheels(index: &Pypi<'_>) -> Option<(Sandbox, Venv)> {
    index.wheel("lib", "1.0.0", OLD).wheel("other", "1.0.0", OLD).wheel("third", "1.0.0", OLD);
    let (s, venv) = start(index)?;
    s.gate(&["pip", "download", "-d", "out", "lib", "other"]).expect(0);
    Some((s, venv))
}

fn key(s: &Sandbox) -> String {
    s.countersign(&["ledger", "key"]).expect(0).stdout.trim().to_owned()
}

fn lines(run: &Run) -> Vec<Value> {
    run.expect(0).stdout.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

fn digest(file: &Path) -> String {
    use sha2::Digest as _;
    hex::encode(sha2::Sha256::digest(std::fs::read(file).unwrap()))
}

fn file(s: &Sandbox, name: &str) -> PathBuf {
    s.work().join("out").join(wheel_name(name, "1.0.0"))
}

fn copy(from: &Path, to: &Path) {
    for path in files_below(from) {
        let target = to.join(path.strip_prefix(from).unwrap());
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(path, target).unwrap();
    }
}

#[test]
fn an_artifacts_history_is_a_timeline_of_all_that_concerns_it() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    let Some((s, _venv)) = two_wheels(&index) else { return };
    let waive = [
        "waive",
        "pkg:pypi/lib@1.0.0",
        "--rule",
        "baseline.cool-down",
        "--reason",
        "TICKET-7",
        "--owner",
        "ada",
        "--days",
        "3",
    ];
    s.countersign(&waive).expect(0);
    for subject in ["pkg:pypi/lib", "pkg:pypi/lib@1.0.0"] {
        let log = s.countersign(&["ledger", "log", subject]);
        log.expect(0).says("admit").says("TICKET-7").says("first seen");
        log.says("first-seen").says("evidence").says("scan").says("0 advisories");
        assert!(!log.stdout.contains("other"), "{}", log.stdout);
    }
    let by_file = file(&s, "lib").display().to_string();
    s.countersign(&["ledger", "log", &by_file]).expect(0).says("admit").says("ada");

    // Found by what it says, whoever looks: a person, a digest, a kind, a verdict.
    let found =
        |words: &[&str]| s.countersign(&[&["ledger", "search", "--json"][..], words].concat());
    assert_eq!(lines(&found(&["ada"]))[0]["kind"], "urn:countersign:waiver:v1");
    let of_bytes = lines(&found(&[&digest(&file(&s, "lib"))]));
    assert_eq!(of_bytes[0]["purl"], "pkg:pypi/lib@1.0.0");
    assert_eq!(lines(&found(&["--kind", "waiver"])).len(), 1);
    assert_eq!(lines(&found(&["--kind", "decision", "--verdict", "admit", "lib"])).len(), 1);
    assert_eq!(lines(&found(&["--since", "1d"])).len(), 2 * ENTRIES + 1);
    for kind in ["first-seen", "evidence", "scan"] {
        assert_eq!(lines(&found(&["--kind", kind])).len(), 2, "{kind}");
    }
    assert_eq!(found(&["--until", "2020-01-01"]).code, 1, "nothing is that old");
    assert_eq!(found(&["--since", "yesterday"]).code, 2);

    let shown = s.countersign(&["ledger", "show", "3"]);
    shown.expect(0).says("inclusion proof").says("verificationResult");
    s.countersign(&["ledger", "show", "0"]).expect(0).says("urn:countersign:first-seen:v1");
    s.countersign(&["ledger", "show", "99"]).expect(2);
}

#[test]
fn proofs_and_exports_are_what_the_specifications_say() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    let Some((s, _venv)) = two_wheels(&index) else { return };
    let first = lines(&s.countersign(&["ledger", "prove", "1"])).remove(0);
    // Eight leaves: the proof begins with the hash of the leaf beside it (RFC 6962 section 2.1.1).
    let other = lines(&s.countersign(&["ledger", "prove", "0"])).remove(0);
    assert_eq!(first["inclusionProof"][0], other["leafHash"]);
    assert_eq!(first["inclusionProof"].as_array().unwrap().len(), 3);
    assert_eq!(first["size"], 2 * ENTRIES);
    s.countersign(&["ledger", "prove", "8"]).expect(2);
    s.gate(&["pip", "download", "-d", "out", "third"]).expect(0);
    let grown = lines(&s.countersign(&["ledger", "prove", "--from", "8"])).remove(0);
    assert_eq!((&grown["oldSize"], &grown["newSize"]), (&8.into(), &12.into()));
    assert_eq!(grown["consistencyProof"].as_array().unwrap().len(), 1);

    let all = lines(&s.countersign(&["ledger", "export"]));
    assert_eq!(all.len(), 3 * ENTRIES + 1, "the entries and the checkpoint");
    assert_eq!(all[1]["entry"], first["entry"]);
    assert!(all[0]["envelope"]["payload"].is_string());
    let public = s.countersign(&["ledger", "export", "--public", "--from", "1"]);
    assert_eq!(lines(&public).len(), 3 * ENTRIES);
    for secret in ["envelope", "salt", "payload", "lib"] {
        assert!(!public.stdout.contains(secret), "{secret}: {}", public.stdout);
    }
}

#[test]
fn fsck_counts_missing_blobs_and_names_strangers() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    let Some((s, _venv)) = two_wheels(&index) else { return };
    let report = lines(&s.countersign(&["ledger", "fsck", "--json"])).remove(0);
    assert_eq!((&report["verified"], &report["published"]), (&8.into(), &8.into()));
    assert_eq!((&report["admitted"], &report["withoutBlob"]), (&2.into(), &0.into()));
    let blob = files_below(&s.state().join("blobs")).remove(0);
    std::fs::remove_file(&blob).unwrap();
    // Bytes that were kept once do not go without a word; afterwards is late, and counts.
    let checked = s.countersign(&["ledger", "fsck"]);
    checked.expect(1).says("no entry says why").says("the ledger itself is consistent");
    let bytes = format!("sha256:{}", blob.file_name().unwrap().to_string_lossy());
    let forget = ["ledger", "forget", &bytes, "--owner", "ada", "--reason", "lost with a disk"];
    s.countersign(&forget).expect(0);
    let report = lines(&s.countersign(&["ledger", "fsck", "--json"])).remove(0);
    assert_eq!((&report["withoutBlob"], &report["forgottenBlobs"]), (&1.into(), &1.into()));
    s.countersign(&["ledger", "log", &bytes]).expect(0).says("forgotten").says("lost with a disk");
    std::fs::write(blob.with_file_name("stranger"), "x").unwrap();
    s.countersign(&["ledger", "fsck"]).expect(1).says("stranger");
}

#[test]
fn one_file_of_receipts_covers_a_lock_file_or_is_not_written() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    let Some((s, _venv)) = two_wheels(&index) else { return };
    let pin = |name: &str, hex: &str| format!("{name}==1.0.0 --hash=sha256:{hex}\n");
    let (lib, other) = (digest(&file(&s, "lib")), digest(&file(&s, "other")));
    let lock = s.write("requirements.txt", pin("lib", &lib) + &pin("other", &other));
    let lock = lock.display().to_string();
    let out = s.at("all.receipts.json").display().to_string();
    let made = s.countersign(&["receipt", "--lockfile", &lock, "-o", &out]);
    made.expect(0).says("2 receipts cover the 2 packages");

    // With the public key alone, elsewhere.
    let (key, stranger) = (key(&s), Sandbox::new());
    let verify = |lock: &str| {
        stranger.countersign(&["verify", "receipt", &out, "--key", &key, "--lockfile", lock])
    };
    verify(&lock).expect(0).says("all of its 2 packages are admitted");
    let artifact = file(&s, "lib").display().to_string();
    let with = ["verify", "receipt", &out, "--key", &key, "--artifact", &artifact];
    stranger.countersign(&with).expect(0).says("is admitted");

    // A package more, another digest, one without: not covered, and not written either.
    let text = std::fs::read_to_string(&lock).unwrap();
    for (name, more) in [
        ("more", text.clone() + &pin("third", &"ab".repeat(32))),
        ("changed", text.replace(&other, &"cd".repeat(32))),
        ("open", text.clone() + "third==1.0.0\n"),
        ("address", text.clone() + "third @ https://files.example/third.whl\n"),
    ] {
        let lock = s.write(&format!("{name}-requirements.txt"), more).display().to_string();
        verify(&lock).expect(1);
        let out = s.at(&format!("{name}.json"));
        let made = s.countersign(&["receipt", "--lockfile", &lock, "-o", out.to_str().unwrap()]);
        made.expect(90).says("not covered");
        assert!(!out.exists(), "{name}");
    }
    let changed =
        std::fs::read_to_string(&out).unwrap().replacen("\"leafIndex\":3", "\"leafIndex\":2", 1);
    std::fs::write(&out, changed).unwrap();
    verify(&lock).expect(1);
}

#[test]
fn the_gate_at_deployment_wants_a_receipt_for_every_file() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    let Some((s, _venv)) = two_wheels(&index) else { return };
    let image = s.at("image");
    std::fs::create_dir(&image).unwrap();
    for name in ["lib", "other"] {
        let (from, wheel) = (file(&s, name), wheel_name(name, "1.0.0"));
        std::fs::copy(&from, image.join(&wheel)).unwrap();
        let out = image.join(format!("{wheel}.receipt.json")).display().to_string();
        s.countersign(&["receipt", &from.display().to_string(), "-o", &out]).expect(0);
    }
    let key = key(&s);
    let policy = s.at("deploy.toml").display().to_string();
    let stranger = Sandbox::new();
    let deploy = |text: &str| {
        std::fs::write(&policy, text).unwrap();
        let folder = image.display().to_string();
        stranger.countersign(&["verify", "--receipts", &folder, "--policy", &policy])
    };
    let accepts = format!("key = \"{key}\"\nmax_age_days = 30\n");
    deploy(&accepts).expect(0).says("2 artifacts");
    deploy(&format!("{accepts}policies = [\"{}\"]\n", "ab".repeat(32)))
        .expect(90)
        .says("not accepted");
    deploy(&format!("{accepts}typo = 1\n")).expect(2);
    let other = Sandbox::new();
    other.countersign(&["init"]).expect(0);
    let theirs = other.countersign(&["ledger", "key"]).stdout.trim().to_owned();
    deploy(&format!("key = \"{theirs}\"\n")).expect(90).says("does not hold");

    // A file that nobody admitted, and one byte more in one that somebody did.
    std::fs::write(image.join("extra.so"), "x").unwrap();
    deploy(&accepts).expect(90).says("extra.so");
    std::fs::remove_file(image.join("extra.so")).unwrap();
    let lib = image.join(wheel_name("lib", "1.0.0"));
    let mut bytes = std::fs::read(&lib).unwrap();
    bytes.push(0);
    std::fs::write(&lib, bytes).unwrap();
    deploy(&accepts).expect(90).says("no receipt is for these bytes");
    // An empty folder proves nothing.
    let empty = s.at("empty");
    std::fs::create_dir(&empty).unwrap();
    let empty = empty.display().to_string();
    stranger.countersign(&["verify", "--receipts", &empty, "--policy", &policy]).expect(90);
}

#[test]
fn a_monitor_alarms_when_a_ledger_is_set_back_or_forked() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    let Some((s, _venv)) = two_wheels(&index) else { return };
    let key = key(&s);
    let seen = s.at("seen").display().to_string();
    let published = s.state().join("ledger");
    let watch =
        |place: &str| s.countersign(&["ledger", "monitor", place, "--key", &key, "--seen", &seen]);
    let place = published.display().to_string();
    watch(&place).expect(0).says("first seen").says("8 entries");
    watch(&place).expect(0).says("unchanged");
    let old = s.at("old");
    copy(&published, &old);
    s.gate(&["pip", "download", "-d", "out", "third"]).expect(0);
    // The same over the network, as a web server gives the folder out.
    for path in files_below(&published) {
        let below = path.strip_prefix(&published).unwrap().display().to_string();
        up.put(&format!("/log/{below}"), Reply::file(std::fs::read(&path).unwrap()));
    }
    watch(&up.url("/log")).expect(0).says("continues the 8 that were seen before");
    watch(&up.url("/nowhere")).expect(93);

    // Set back.
    watch(&old.display().to_string()).expect(1).says("ALARM").says("rolled back");
    // Another tile under the same checkpoint.
    let bent = s.at("bent");
    copy(&published, &bent);
    let tile = bent.join("tile/entries/000.p/12");
    let mut bytes = std::fs::read(&tile).unwrap();
    bytes[5] ^= 1;
    std::fs::write(&tile, bytes).unwrap();
    watch(&bent.display().to_string()).expect(1).says("ALARM");
    // Another history under the same key: two stores that began with one key.
    let fork = Sandbox::new();
    let keys = fork.state().join("keys");
    copy(&s.state().join("keys"), &keys);
    for n in 0..16 {
        let purl = format!("pkg:pypi/fork@{n}");
        let words = ["waive", &purl, "--rule", "x", "--reason", "y", "--owner", "z", "--days", "1"];
        if n == 0 {
            fork.countersign(&["run", "--", "pip", "--version"]);
        }
        fork.countersign(&words).expect(0);
    }
    watch(&fork.state().join("ledger").display().to_string()).expect(1).says("forked");
}

/// A witness of this ledger, and its address and key.
struct Watching {
    child: std::process::Child,
    url: String,
    key: String,
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn witness(s: &Sandbox, log: &str) -> Watching {
    use std::io::BufRead as _;
    let folder = s.at("witness").display().to_string();
    let words = ["--listen", "127.0.0.1:0", "--name", "witness.example/w1", "--log", log];
    let words = [&["witness", "--folder", &folder][..], &words].concat();
    let mut command = s.countersign_command(&words);
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut out = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = |before: &str| {
        let line = out.next().unwrap().unwrap();
        line.strip_prefix(before).unwrap_or_else(|| panic!("{line}")).to_owned()
    };
    let key = next("key ");
    let url = next("listening on ");
    Watching { child, url, key }
}

#[test]
fn a_witness_cosigns_what_grows_and_notices_what_was_set_back() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    let Some((s, _venv)) = two_wheels(&index) else { return };
    let key = key(&s);
    let watching = witness(&s, &key);
    let named = format!("{}={}", watching.url, watching.key);
    let cosign = |s: &Sandbox| s.countersign(&["ledger", "cosign", "--witness", &named]);
    cosign(&s).expect(0).says("witness.example/w1 cosigned 8 entries");
    cosign(&s).expect(0);
    let old = s.at("old-state");
    copy(&s.state(), &old);
    s.gate(&["pip", "download", "-d", "out", "third"]).expect(0);
    cosign(&s).expect(0).says("12 entries");

    // Receipts carry it, and whoever wants the witness is told where it is not.
    let receipt = s.at("third.receipt.json").display().to_string();
    let third = file(&s, "third").display().to_string();
    s.countersign(&["receipt", &third, "-o", &receipt]).expect(0);
    let stranger = Sandbox::new();
    let verify = |witness: &str| {
        stranger.countersign(&["verify", "receipt", &receipt, "--key", &key, "--witness", witness])
    };
    verify(&watching.key).expect(0).says("cosigned:   witness.example/w1");
    let other = witness(&stranger, &key);
    verify(&other.key).expect(1).says("0 of the 1 witnesses");
    let place = s.state().join("ledger").display().to_string();
    let words = ["ledger", "monitor", &place, "--key", &key, "--seen"];
    let seen = s.at("seen").display().to_string();
    let watch = |witness: &str| {
        s.countersign(&[&words[..], &[seen.as_str(), "--witness", witness]].concat())
    };
    watch(&watching.key).expect(0).says("cosigned by witness.example/w1");
    watch(&other.key).expect(1).says("ALARM");

    // Everything from a backup, files and all: only the witness remembers.
    std::fs::remove_dir_all(s.state()).unwrap();
    copy(&old, &s.state());
    let back = cosign(&s);
    back.expect(94).says("rolled back");
    // One that cannot be reached.
    let nowhere = format!("http://127.0.0.1:9={}", watching.key);
    let dead = s.countersign(&["ledger", "cosign", "--witness", &nowhere]);
    dead.expect(93).says("did not cosign");
}

#[test]
fn decisions_are_judged_again_by_another_policy_without_a_network() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    let Some((mut s, _venv)) = two_wheels(&index) else { return };
    let replay = |s: &Sandbox, words: &[&str]| {
        let run = s.countersign(&[&["policy", "replay", "--json"][..], words].concat());
        serde_json::from_str::<Value>(&run.expect(0).stdout).unwrap()
    };
    let asked = up.seen().len();
    let same = replay(&s, &["baseline", "--since", "1d"]);
    assert_eq!((&same["looked"], &same["same"]), (&2.into(), &2.into()));
    assert_eq!(replay(&s, &["baseline", "--since", "2100-01-01"])["looked"], 0);
    // An advisory that came since, and lists that changed: what would have been refused.
    s.advisory(&advisory("MAL-1", "PyPI", "lib", &["1.0.0"], "CRITICAL"));
    s.config("deny = [\"pkg:pypi/other*\"]\n");
    let feed = s.at("feed").display().to_string();
    let other = replay(&s, &["baseline", "--feed", &feed]);
    assert_eq!((&other["looked"], &other["same"]), (&2.into(), &0.into()), "{other}");
    let groups = other["groups"].as_array().unwrap();
    assert!(groups.iter().all(|g| g["was"] == "admit" && g["now"] == "refuse"), "{other}");
    assert_eq!(up.seen().len(), asked, "nothing was fetched");
    assert_eq!(
        lines(&s.countersign(&["ledger", "export"])).len(),
        2 * ENTRIES + 1,
        "nothing was written"
    );
    let words = s.countersign(&["policy", "replay", "baseline", "--feed", &feed]);
    words.expect(0).says("2 different").says("admit → refuse");
}

#[test]
fn a_change_of_policy_leaves_its_trace() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    let Some((s, _venv)) = two_wheels(&index) else { return };
    let changes = |s: &Sandbox| s.countersign(&["ledger", "search", "--kind", "grounds", "--json"]);
    assert_eq!(changes(&s).code, 1, "nothing changed yet");
    let audit = ["--policy", "audit"];
    s.gate_with(&audit, &["pip", "download", "-d", "out", "third"], b"").expect(0);
    let found = lines(&changes(&s));
    assert_eq!((found.len(), &found[0]["subject"]), (1, &"grounds".into()));
    let place = found[0]["index"].to_string();
    s.countersign(&["ledger", "show", &place]).expect(0).says("the policy changed");
    s.fsck();
}

#[test]
fn a_rotated_key_is_followed_by_whoever_knows_the_old_one() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    let Some((s, _venv)) = two_wheels(&index) else { return };
    let old = key(&s);
    let seen = s.at("seen").display().to_string();
    let place = s.state().join("ledger").display().to_string();
    let watch =
        |key: &str| s.countersign(&["ledger", "monitor", &place, "--key", key, "--seen", &seen]);
    watch(&old).expect(0);
    s.countersign(&["ledger", "rotate-key"]).expect(2);
    let rotate = ["ledger", "rotate-key", "--reason", "yearly", "--owner", "ada"];
    let new = s.countersign(&rotate).expect(0).stdout.trim().to_owned();
    assert_eq!(key(&s), new);
    s.gate(&["pip", "download", "-d", "out", "third"]).expect(0);
    watch(&old).expect(0).says(&new);

    // Receipts of before and after, with the old key alone and with the new one alone.
    let stranger = Sandbox::new();
    let verify = |name: &str, key: &str| {
        let (out, of) = (s.at("r.json").display().to_string(), file(&s, name));
        s.countersign(&["receipt", &of.display().to_string(), "-o", &out]).expect(0);
        stranger.countersign(&["verify", "receipt", &out, "--key", key])
    };
    for name in ["lib", "third"] {
        for key in [&old, &new] {
            verify(name, key).expect(0).says("the receipt holds");
        }
    }
    s.countersign(&["ledger", "rotate-key", "--finish"]).expect(0).says(&old);
    s.countersign(&["ledger", "rotate-key", "--finish"]).expect(94);
    watch(&old).expect(0).says(&new);
    watch(&new).expect(0);
    verify("third", &old).expect(0);
    s.countersign(&["ledger", "search", "--kind", "key-rotated"]).expect(0).says("key-rotated");
    s.fsck();
}

#[test]
fn incidents_are_on_the_record_of_what_they_are_about() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    let Some((s, _venv)) = two_wheels(&index) else { return };
    let open = ["incident", "open", "token stolen, TICKET-9", "--about", "pkg:pypi/lib"];
    let said = s.countersign(&open).expect(0).stdout.clone();
    let id = said.split_whitespace().next().unwrap().to_owned();
    s.countersign(&["incident", "list", "--open"]).expect(0).says(&id).says("TICKET-9");
    s.countersign(&["ledger", "log", "pkg:pypi/lib@1.0.0"]).expect(0).says("TICKET-9");
    s.countersign(&["incident", "close", &id, "--reason", "revoked"]).expect(0);
    s.countersign(&["incident", "close", &id, "--reason", "again"]).expect(94);
    s.countersign(&["incident", "list", "--open"]).expect(0).says("no incidents");
    let listed = lines(&s.countersign(&["incident", "list", "--json"])).remove(0);
    assert_eq!(listed["closed"]["reason"], "revoked");
    s.countersign(&["ledger", "search", "TICKET-9"]).expect(0).says("incident");
    s.countersign(&["incident", "open", "x", "--about", "lib"]).expect(94).says("neither a purl");
}
