//! The gate killed at any moment, and the gate under a load of bytes.

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

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use support::archives::{large_wheel, sha256, wheel_name, wheel_with};
use support::registries::{OLD, PyFile, Pypi};
use support::server::Upstream;
use support::{Sandbox, files_below, kill_group, python, scripted_pip, skipped};

/// A moment that nobody chose, in milliseconds below `end`.
fn any_moment(end: u64) -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(Instant::now()) % end
}

/// Packages of one round, each large enough to take a while.
fn add_round(index: &Pypi<'_>, round: usize, count: usize) -> Vec<String> {
    (0..count)
        .map(|i| {
            let name = format!("p{round}x{i}");
            let module = format!("{name}.py");
            let filler: Vec<u8> =
                (0..200_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
            let bytes = wheel_with(&name, "1.0.0", &[(&module, &filler)], &[]);
            index.add(&name, PyFile::new(&wheel_name(&name, "1.0.0"), bytes, OLD));
            name
        })
        .collect()
}

/// Starts the gate with this client, and kills both `after` that long from the moment in which the
/// upstream is asked for `path`; what ended before is left to itself.
fn kill_in_the_middle(s: &Sandbox, up: &Upstream, client: &[&str], path: &str, after: Duration) {
    use std::os::unix::process::CommandExt as _;
    let args = [&["run", "--quiet", "--"][..], client].concat();
    let mut command = s.countersign_command(&args);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    let mut child = command.spawn().unwrap();
    assert!(up.wait_for(path, Duration::from_secs(40)), "{path} was never asked for");
    std::thread::sleep(after);
    kill_group(child.id());
    child.wait().unwrap();
}

/// The ledger is whole, every blob is what its name says, and whatever came to the client — even a
/// part of it — has an entry that admits it.
#[track_caller]
fn all_is_accounted_for(s: &Sandbox, delivered: &[PathBuf], moment: &str) {
    let run = s.countersign(&["ledger", "fsck"]);
    assert!(run.code == 0 && run.stdout.contains("consistent"), "{moment}: {}", run.transcript());
    let admitted: HashSet<String> = s
        .ledger()
        .iter()
        .filter(|d| d["decision"]["verdict"] == "admit")
        .map(|d| d["file"].as_str().unwrap().to_owned())
        .collect();
    for file in delivered.iter().filter(|f| f.metadata().is_ok_and(|m| m.len() > 0)) {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        assert!(
            admitted.contains(&name),
            "{moment}: {name} came to the client and the ledger does not admit it"
        );
    }
    for blob in files_below(&s.state().join("blobs")) {
        let name = blob.file_name().unwrap().to_string_lossy().into_owned();
        assert_eq!(
            sha256(&std::fs::read(&blob).unwrap()),
            name,
            "{moment}: a blob is not what its name says"
        );
    }
}

/// A client that takes one file after the other and writes down every byte at once.
const GREEDY: &str = r#"
import hashlib
out, base, files, names = OUT, BASE, FILES, sys.argv[2:]
os.makedirs(out, exist_ok=True)
for name in names:
    ask(base + name + "/")
    file = "%s-1.0.0-py3-none-any.whl" % name
    s = socket.create_connection(PROXY)
    s.sendall(("GET %s%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nProxy-Authorization: Basic %s\r\n\r\n" % (files, file, SECRET)).encode())
    f, head = s.makefile("rb"), b""
    while not head.endswith(b"\r\n\r\n"):
        head += f.read(1)
    if b" 200 " not in head.split(b"\r\n")[0]:
        sys.exit(1)
    with open(os.path.join(out, file), "wb", buffering=0) as to:
        while True:
            part = f.read1(4096)
            if not part: break
            to.write(part)
"#;

#[test]
fn killed_at_any_moment_nothing_came_that_is_not_on_record() {
    if skipped("python3 with pip", python()) {
        return;
    }
    let up = Upstream::start();
    let index = Pypi::new(&up);
    let mut s = Sandbox::new();
    let venv = s.venv(python().unwrap());
    s.env("PIP_INDEX_URL", index.url());
    let out = s.work().join("out");
    let script = GREEDY
        .replace("OUT", &format!("{:?}", out.display().to_string()))
        .replace("BASE", &format!("{:?}", index.url()))
        .replace("FILES", &format!("{:?}", up.url("/files/")));
    scripted_pip(&venv, &script);
    s.countersign(&["init"]).expect(0);
    for round in 0..24 {
        let names = add_round(&index, round, 6);
        let client: Vec<&str> =
            ["pip", "download"].into_iter().chain(names.iter().map(String::as_str)).collect();
        let after = Duration::from_millis(any_moment(160));
        kill_in_the_middle(
            &s,
            &up,
            &client,
            &index.file_path(&wheel_name(&names[0], "1.0.0")),
            after,
        );
        all_is_accounted_for(
            &s,
            &files_below(&out),
            &format!("round {round}, killed {after:?} after the first request"),
        );
    }
    // And life goes on.
    let names = add_round(&index, 99, 6);
    let client: Vec<&str> =
        ["pip", "download"].into_iter().chain(names.iter().map(String::as_str)).collect();
    let run = s.gate(&client);
    assert_eq!(run.admitted().len(), 6, "{}", run.transcript());
    let delivered = files_below(&out);
    assert!(delivered.len() > 6, "the kills came too early to tell anything");
    all_is_accounted_for(&s, &delivered, "at the end");
}

#[test]
fn pip_killed_with_the_gate_leaves_only_what_is_on_record() {
    if skipped("python3 with pip", python()) {
        return;
    }
    let up = Upstream::start();
    let index = Pypi::new(&up);
    let mut s = Sandbox::new();
    s.venv(python().unwrap());
    s.env("PIP_INDEX_URL", index.url());
    s.countersign(&["init"]).expect(0);
    for round in 0..10 {
        let names = add_round(&index, round, 4);
        let client: Vec<&str> = ["pip", "download", "--no-deps", "-d", "out"]
            .into_iter()
            .chain(names.iter().map(String::as_str))
            .collect();
        let after = Duration::from_millis(any_moment(500));
        kill_in_the_middle(
            &s,
            &up,
            &client,
            &index.file_path(&wheel_name(&names[0], "1.0.0")),
            after,
        );
        // What pip had not moved to its place yet lies in its temporary folder.
        let mut delivered = files_below(&s.work().join("out"));
        delivered.extend(
            files_below(&s.at("tmp"))
                .into_iter()
                .filter(|p| p.extension().is_some_and(|e| e == "whl")),
        );
        all_is_accounted_for(
            &s,
            &delivered,
            &format!("round {round}, killed {after:?} after the first request"),
        );
    }
}

#[test]
fn the_first_run_killed_at_any_moment_leaves_a_state_that_works() {
    if skipped("python3 with pip", python()) {
        return;
    }
    use std::os::unix::process::CommandExt as _;
    for round in 0..12 {
        let s = Sandbox::new();
        let mut command = s.countersign_command(&["init"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let mut child = command.spawn().unwrap();
        std::thread::sleep(Duration::from_millis(any_moment(60)));
        kill_group(child.id());
        child.wait().unwrap();
        let run = s.countersign(&["feed", "list"]);
        assert!(run.code == 0 || !run.stderr.is_empty(), "{}", run.transcript());
        assert_eq!(
            run.code,
            0,
            "round {round}: a first run that was cut off is taken up again\n{}",
            run.transcript()
        );
        s.fsck();
    }
}

/// Peak resident memory of a process so far, in bytes (proc(5), `VmHWM`).
fn peak_memory(pid: u32) -> Option<u64> {
    let text =
        std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status")).ok()?;
    let line = text.lines().find(|l| l.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
}

#[test]
fn a_gibibyte_passes_in_little_memory() {
    if skipped("python3 with pip", python()) {
        return;
    }
    let up = Upstream::start();
    let index = Pypi::new(&up);
    let (body, digest) = large_wheel("big", "1.0.0", 1 << 30);
    index.add(
        "big",
        PyFile {
            name: wheel_name("big", "1.0.0"),
            body,
            sha256: digest.clone(),
            age: Some(OLD),
            size: None,
        },
    );
    let mut s = Sandbox::new();
    s.venv(python().unwrap());
    s.env("PIP_INDEX_URL", index.url());
    let mut command = s.countersign_command(&[
        "run",
        "--quiet",
        "--",
        "pip",
        "download",
        "-q",
        "--no-deps",
        "-d",
        "out",
        "big",
    ]);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let (started, mut peak) = (Instant::now(), 0);
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        peak = peak_memory(child.id()).unwrap_or(0).max(peak);
        assert!(started.elapsed() < Duration::from_secs(300), "it hangs");
        std::thread::sleep(Duration::from_millis(20));
    };
    eprintln!("1 GiB in {:.1} s, peak memory {} MiB", started.elapsed().as_secs_f64(), peak >> 20);
    assert!(status.success());
    assert_eq!(s.blobs(), [digest]);
    assert!(peak > 0 && peak < 128 << 20, "peak memory {} MiB", peak >> 20);
}
