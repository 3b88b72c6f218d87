//! Every crash point of a commit and of its publication: a process that dies there, a disk that is
//! full there, a file that is half written there; and every file of a store lost or set back.

use super::{admission, new_store, reopen};
use countersign_store::{OpenMode, Step, Store, StoreError};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const DIR: &str = "COUNTERSIGN_TEST_STORE";
const HOW: &str = "COUNTERSIGN_TEST_HOW";
const WHEN: &str = "COUNTERSIGN_TEST_WHEN";

/// Entries that the store has before the child starts, so that the child's fill tiles.
const BEFORE: u64 = 200;

/// What the child appends: the first completes a tile of 256, the last is one entry.
const BATCHES: [u64; 3] = [30, 100, 1];

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

pub(crate) fn fresh(image: &Path) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    copy(image, dir.path());
    dir
}

async fn image() -> tempfile::TempDir {
    let (dir, store) = new_store().await;
    store.record((0..BEFORE).map(admission).collect()).await.unwrap();
    store.close().await.unwrap();
    dir
}

fn halve(path: &Path) -> io::Result<()> {
    let file = std::fs::OpenOptions::new().write(true).open(path)?;
    file.set_len(file.metadata()?.len() / 2)
}

fn is_stage(path: &Path) -> bool {
    path.parent().is_some_and(|dir| dir.extension().is_some_and(|e| e == "p"))
}

/// What happens at the step whose turn it is.
fn fault(how: &str, step: Step<'_>) -> io::Result<()> {
    match (how, step) {
        ("full", _) => return Err(io::ErrorKind::StorageFull.into()),
        // Half of the file, and then the power goes; or nothing of it. Full tiles and the checkpoint
        // are synced before they have their names; the stages of a tile are not.
        ("torn", Step::Written(path)) => halve(path)?,
        ("torn", Step::Named(path)) if is_stage(path) => halve(path)?,
        ("empty", Step::Named(path)) if is_stage(path) => {
            std::fs::OpenOptions::new().write(true).open(path)?.set_len(0)?;
        }
        _ => {}
    }
    std::process::abort()
}

/// The child: opens the store, appends, and says `ack <first> <count>` for what it was told is
/// durable. At the given step it dies, or the step fails.
#[test]
#[ignore = "runs only as a child of the tests below"]
fn child() {
    let dir = std::env::var(DIR).expect("this is a part of other tests");
    let how = std::env::var(HOW).unwrap();
    let when: u64 = std::env::var(WHEN).unwrap().parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let turn = AtomicU64::new(0);
        let on_step = move |step: Step<'_>| {
            let turn = turn.fetch_add(1, Ordering::SeqCst);
            if turn == when { fault(&how, step) } else { Ok(()) }
        };
        let store = Store::open_watched(&dir, Arc::new(on_step)).await.unwrap();
        let mut next = BEFORE;
        for count in BATCHES {
            let new = (next..next + count).map(admission).collect();
            next += count;
            let said = match store.record(new).await {
                Ok(recorded) => format!("ack {} {count}", recorded[0].index()),
                Err(e) => format!("failed {e}"),
            };
            writeln!(io::stdout(), "{said}").unwrap();
        }
        store.close().await.unwrap();
        writeln!(io::stdout(), "end").unwrap();
    });
}

struct Ended {
    acknowledged: Vec<(u64, u64)>,
    failed: usize,
    whole: bool,
    aborted: bool,
}

fn run(command: &mut Command, dir: &Path, how: &str, when: u64) -> Ended {
    let mut child = command
        .env(DIR, dir)
        .env(HOW, how)
        .env(WHEN, when.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines: Vec<String> =
        BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok).collect();
    let status = child.wait().unwrap();
    let ack = |line: &String| {
        let mut words = line.strip_prefix("ack ")?.split(' ');
        Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
    };
    Ended {
        acknowledged: lines.iter().filter_map(ack).collect(),
        failed: lines.iter().filter(|l| l.starts_with("failed")).count(),
        whole: lines.iter().any(|l| l == "end"),
        aborted: status.signal().is_some(),
    }
}

fn itself() -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["faults::child", "--exact", "--ignored", "--nocapture"]);
    command
}

/// Whatever happened: the store opens, nothing that was acknowledged is lost, it is consistent down
/// to each file, and it goes on.
async fn check(dir: &Path, ended: &Ended, what: &str) {
    let store = reopen(dir).await;
    let size = store.ledger_size().await.unwrap();
    for (first, count) in &ended.acknowledged {
        assert!(first + count <= size, "{what}: entry {first} is lost, there are {size}");
        for index in *first..first + count {
            let receipt = store.recorded_at(index).await.unwrap();
            assert!(receipt.is_some(), "{what}: entry {index}");
        }
    }
    let report = store.fsck(false).await.unwrap();
    assert!(report.is_clean(), "{what}: {report:?}");
    assert_eq!((report.verified, report.published), (size, size), "{what}");
    let next = store.record(vec![admission(9000)]).await.unwrap();
    assert_eq!(next[0].index(), size, "{what}");
    store.close().await.unwrap();
}

#[tokio::test]
async fn each_step_of_a_commit_may_be_the_last_one() {
    let image = image().await;
    let mut points = 0;
    for how in ["killed", "torn", "empty"] {
        for when in 0.. {
            let dir = fresh(image.path());
            let ended = run(&mut itself(), dir.path(), how, when);
            if ended.whole {
                break;
            }
            assert!(ended.aborted, "{how} at step {when}: it ended by itself");
            check(dir.path(), &ended, &format!("{how} at step {when}")).await;
            points += 1;
        }
    }
    assert!(points > 100, "only {points} crash points");
    eprintln!("{points} crash points");
}

#[tokio::test]
async fn each_step_of_a_commit_may_find_the_disk_full() {
    let image = image().await;
    let (mut refused, mut points) = (0, 0);
    for when in 0.. {
        let dir = fresh(image.path());
        let ended = run(&mut itself(), dir.path(), "full", when);
        assert!(ended.whole, "step {when}: a full disk ended the process");
        let all = ended.acknowledged.len() + ended.failed;
        assert_eq!(all, BATCHES.len(), "step {when}: each caller was told one or the other");
        refused += ended.failed;
        check(dir.path(), &ended, &format!("full at step {when}")).await;
        points += 1;
        if when > 200 || (ended.failed == 0 && points > 60) {
            break;
        }
    }
    assert!(refused >= 3 * 5, "only {refused} refusals");
    eprintln!("{points} steps with a full disk, {refused} refusals");
}

/// The system itself ends the process, or its writes, at a given length of a file: SQLite's own
/// writes are torn there, at each page of its log.
#[tokio::test]
async fn the_databases_own_writes_may_be_torn_anywhere() {
    let image = image().await;
    let (mut killed, mut failed) = (0, 0);
    for (trap, how) in [("", "killed"), ("trap '' XFSZ; ", "refused")] {
        // In blocks of 512 or 1024 bytes, as the shell counts: from the first frame of the log on.
        for blocks in (1..1200).step_by(61) {
            let dir = fresh(image.path());
            let exe = std::env::current_exe().unwrap();
            let line = format!(
                "{trap}ulimit -f {blocks}; exec '{}' faults::child --exact --ignored --nocapture",
                exe.display()
            );
            let mut shell = Command::new("sh");
            shell.args(["-c", &line]);
            let ended = run(&mut shell, dir.path(), "never", u64::MAX);
            killed += usize::from(ended.aborted);
            failed += ended.failed;
            check(dir.path(), &ended, &format!("{how} at {blocks} blocks")).await;
        }
    }
    assert!(killed > 5 && failed > 5, "{killed} were killed, {failed} appends were refused");
    eprintln!("{killed} killed by the limit, {failed} appends refused by it");
}

/// All files of a store, as paths below it.
fn files(dir: &Path) -> Vec<PathBuf> {
    fn walk(dir: &Path, below: &Path, out: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
            let below = below.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                walk(&entry.path(), &below, out);
            } else {
                out.push(below);
            }
        }
    }
    let mut out = Vec::new();
    walk(dir, Path::new(""), &mut out);
    out.sort();
    out
}

/// What may come of a store in which a file was lost or set back: it opens and holds everything (in
/// which case a damaged published file is named, and written again on request), or it refuses and
/// says what to do. It never goes on from less.
async fn whole_or_refused(dir: &Path, size: u64, what: &str) -> bool {
    let store = match Store::open(dir, OpenMode::Existing).await {
        Ok(store) => store,
        Err(e) => {
            let told = matches!(
                e,
                StoreError::RolledBack { .. }
                    | StoreError::Forked { .. }
                    | StoreError::NoLedgerKey { .. }
                    | StoreError::WrongKey { .. }
                    | StoreError::Missing { .. }
                    | StoreError::Corrupt { .. }
            );
            assert!(told, "{what}: {e:?}");
            assert!(e.to_string().contains('\n'), "{what}: no remedy in `{e}`");
            return false;
        }
    };
    assert_eq!(store.ledger_size().await.unwrap(), size, "{what}: it went on from less");
    let report = store.fsck(false).await.unwrap();
    if !report.is_clean() {
        store.republish().await.unwrap();
        let again = store.fsck(false).await.unwrap();
        assert!(again.is_clean(), "{what}: {again:?}");
    }
    assert_eq!(store.record(vec![admission(9001)]).await.unwrap()[0].index(), size, "{what}");
    store.close().await.unwrap();
    true
}

#[tokio::test]
async fn no_file_can_be_lost_or_set_back_unnoticed() {
    let old = image().await;
    let new = fresh(old.path());
    let store = reopen(new.path()).await;
    store.record((BEFORE..600).map(admission).collect()).await.unwrap();
    store.close().await.unwrap();
    let all = files(new.path());
    assert!(all.len() > 8, "{all:?}");
    let (mut refused, mut went_on) = (0, 0);
    for file in &all {
        let mut turns: Vec<(&str, Option<Vec<u8>>)> = vec![("lost", None)];
        turns.push(("emptied", Some(Vec::new())));
        if let Ok(before) = std::fs::read(old.path().join(file)) {
            turns.push(("set back", Some(before)));
        }
        for (how, content) in turns {
            let dir = fresh(new.path());
            let target = dir.path().join(file);
            match content {
                None => std::fs::remove_file(&target).unwrap(),
                Some(bytes) => std::fs::write(&target, bytes).unwrap(),
            }
            let what = format!("`{}` {how}", file.display());
            if whole_or_refused(dir.path(), 600, &what).await {
                went_on += 1;
            } else {
                refused += 1;
            }
        }
    }
    assert!(refused >= 5 && went_on >= 5, "{refused} refused, {went_on} went on");
    eprintln!("{} files: {refused} refusals, {went_on} went on whole", all.len());
}

/// The log that SQLite keeps beside the database, cut off anywhere or damaged within the last
/// commit: either that commit is whole, or it never was; and when it was published, its loss is
/// noticed.
#[tokio::test]
async fn a_torn_log_of_the_database_is_an_earlier_ledger_or_a_refusal() {
    let image = image().await;
    let live = fresh(image.path());
    let store = reopen(live.path()).await;
    store.record((BEFORE..BEFORE + 20).map(admission).collect()).await.unwrap();
    store.published().await;
    // While it is open: the log is there, the database file is as it was.
    let first = fresh(live.path());
    let published_before = fresh(&live.path().join("ledger"));
    store.record((BEFORE + 20..BEFORE + 40).map(admission).collect()).await.unwrap();
    store.published().await;
    let second = fresh(live.path());
    store.close().await.unwrap();
    let wal = "store.sqlite-wal";
    let (from, upto) = (len(first.path(), wal), len(second.path(), wal));
    assert!(upto > from, "the second commit is in the log");
    let (mut earlier, mut refused) = (0, 0);
    for cut in (from..=upto).step_by(1543) {
        for published in [false, true] {
            let dir = fresh(second.path());
            let file = std::fs::OpenOptions::new().write(true).open(dir.path().join(wal)).unwrap();
            file.set_len(cut).unwrap();
            drop(file);
            let _ = std::fs::remove_file(dir.path().join("store.sqlite-shm"));
            if !published {
                std::fs::remove_dir_all(dir.path().join("ledger")).unwrap();
                copy(published_before.path(), &dir.path().join("ledger"));
            }
            match Store::open(dir.path(), OpenMode::Existing).await {
                Ok(store) => {
                    let size = store.ledger_size().await.unwrap();
                    let whole = size == BEFORE + 40 && cut == upto;
                    assert!(whole || (size == BEFORE + 20 && !published), "cut at {cut}: {size}");
                    assert!(store.fsck(false).await.unwrap().is_clean(), "cut at {cut}");
                    let next = store.record(vec![admission(7)]).await.unwrap()[0].index();
                    assert_eq!(next, size);
                    earlier += 1;
                }
                Err(e) => {
                    assert!(published, "cut at {cut}: {e}");
                    assert!(matches!(e, StoreError::RolledBack { .. }), "cut at {cut}: {e:?}");
                    refused += 1;
                }
            }
        }
    }
    assert!(earlier > 10 && refused > 10, "{earlier} opened, {refused} refused");
}

fn len(dir: &Path, name: &str) -> u64 {
    std::fs::metadata(dir.join(name)).unwrap().len()
}

#[tokio::test]
async fn a_store_that_was_set_back_as_a_whole_is_told_by_its_tiles() {
    let old = image().await;
    for more in [1, 55, 56, 57, 400] {
        let new = fresh(old.path());
        let store = reopen(new.path()).await;
        store.record((BEFORE..BEFORE + more).map(admission).collect()).await.unwrap();
        store.close().await.unwrap();
        for file in ["store.sqlite", "ledger/checkpoint"] {
            std::fs::copy(old.path().join(file), new.path().join(file)).unwrap();
        }
        let Err(e) = Store::open(new.path(), OpenMode::Existing).await else {
            panic!("{more} entries were forgotten")
        };
        assert!(matches!(e, StoreError::RolledBack { database: BEFORE, .. }), "{more}: {e}");
    }
}

#[tokio::test]
async fn what_witnesses_have_cosigned_cannot_be_forgotten() {
    let old = image().await;
    let new = fresh(old.path());
    let store = reopen(new.path()).await;
    store.record((BEFORE..300).map(admission).collect()).await.unwrap();
    let note = store.checkpoint().await.unwrap().unwrap();
    store.keep_cosigned(&note).await.unwrap();
    let (kept, head) = store.cosigned().await.unwrap().unwrap();
    assert_eq!((kept, head.size()), (note, 300));
    store.record(vec![admission(400)]).await.unwrap();
    // Receipts are under what witnesses have signed, as soon as that covers them.
    let receipts = store.receipts_for(&[3, 299]).await.unwrap();
    let key = store.verifier_key().unwrap();
    for receipt in &receipts {
        let verified = countersign_ledger::verify_receipt(receipt, key, None).unwrap();
        assert_eq!(verified.checkpoint().size(), 300);
    }
    let newest = store.receipt_for(300).await.unwrap();
    let verified = countersign_ledger::verify_receipt(&newest, key, None).unwrap();
    assert_eq!(verified.checkpoint().size(), 301);
    store.close().await.unwrap();
    // The whole store from a backup, with nothing left but what the witnesses signed.
    let cosigned = std::fs::read(new.path().join("ledger/checkpoint.cosigned")).unwrap();
    let back = fresh(old.path());
    std::fs::write(back.path().join("ledger/checkpoint.cosigned"), cosigned).unwrap();
    let Err(e) = Store::open(back.path(), OpenMode::Existing).await else {
        panic!("100 entries were forgotten")
    };
    assert!(matches!(e, StoreError::RolledBack { published: 300, database: BEFORE }), "{e}");
}
