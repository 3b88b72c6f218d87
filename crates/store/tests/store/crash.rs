//! Processes that die, and processes that write at once: real ones, killed for real.

use super::{admission, new_store, reopen};
use countersign_store::Store;
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const DIR: &str = "COUNTERSIGN_TEST_STORE";
const COUNT: &str = "COUNTERSIGN_TEST_COUNT";
const NAME: &str = "COUNTERSIGN_TEST_NAME";

/// The child: appends and says so on its output, `ack <place> <number>` a line, only after the store
/// has said that it is durable. Without the variables it is not a child and must not be run.
#[test]
#[ignore = "runs only as a child of the tests below"]
fn child() {
    let dir = std::env::var(DIR).expect("this is a part of other tests");
    let count: u64 = std::env::var(COUNT).unwrap().parse().unwrap();
    let name: u64 = std::env::var(NAME).unwrap().parse().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = { runtime }.worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let store = reopen(Path::new(&dir)).await;
        let tasks = (0..8).map(|t| tokio::spawn(append(store.clone(), name + t, count)));
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
    });
}

async fn append(store: Store, task: u64, count: u64) {
    for n in 0..count {
        let number = task * 1_000_000 + n;
        let recorded = store.record(vec![admission(number)]).await.unwrap();
        let mut out = std::io::stdout().lock();
        writeln!(out, "ack {} {number}", recorded[0].index()).unwrap();
        out.flush().unwrap();
    }
}

fn spawn(dir: &Path, name: u64, count: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["crash::child", "--exact", "--ignored", "--nocapture"])
        .env(DIR, dir)
        .env(NAME, (name * 10).to_string())
        .env(COUNT, count.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// What a child said was durable: place to number.
fn acknowledged(child: &mut Child) -> Vec<(u64, u64)> {
    let out = BufReader::new(child.stdout.take().unwrap());
    out.lines().map_while(Result::ok).filter_map(|l| acknowledgement(&l)).collect()
}

fn acknowledgement(line: &str) -> Option<(u64, u64)> {
    let mut words = line.strip_prefix("ack ")?.split(' ');
    Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}

async fn check(store: &Store, acknowledged: &BTreeMap<u64, u64>) {
    for (place, number) in acknowledged {
        let stored = store.decision_at(*place).await.unwrap();
        let stored = stored.unwrap_or_else(|| panic!("entry {place} is lost"));
        assert_eq!(stored.file_name, format!("flask-{number}.whl"), "entry {place} changed");
    }
}

#[tokio::test]
async fn no_acknowledged_entry_is_lost_when_the_process_is_killed() {
    let (dir, store) = new_store().await;
    store.close().await.unwrap();
    let mut all = BTreeMap::new();
    let mut killed_at_work = 0;
    for round in 0..12u64 {
        let mut child = spawn(dir.path(), round, 1_000_000);
        // Different moments: two of the start, the others of a commit or a publication.
        let mut random = [0; 1];
        getrandom::fill(&mut random).unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut said = Vec::new();
        while round >= 2 && said.is_empty() {
            let mut line = String::new();
            assert!(out.read_line(&mut line).unwrap() > 0, "the child ended by itself");
            said.extend(acknowledgement(line.trim_end()));
        }
        std::thread::sleep(Duration::from_millis(u64::from(random[0]) / 4));
        child.kill().unwrap();
        child.wait().unwrap();
        said.extend(out.lines().map_while(Result::ok).filter_map(|l| acknowledgement(&l)));
        killed_at_work += usize::from(!said.is_empty());
        for (place, number) in said {
            assert_eq!(all.insert(place, number), None, "place {place} was given twice");
        }
        let store = reopen(dir.path()).await;
        check(&store, &all).await;
        assert!(store.fsck(true).await.unwrap().is_clean());
        let published = std::fs::read_to_string(dir.path().join("ledger/checkpoint")).unwrap();
        assert_eq!(store.checkpoint().await.unwrap(), Some(published));
        store.close().await.unwrap();
    }
    assert!(killed_at_work >= 10, "only {killed_at_work} children got to work");
    let store = reopen(dir.path()).await;
    let report = store.fsck(false).await.unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert!(report.entries >= u64::try_from(all.len()).unwrap());
    eprintln!("{} acknowledged of {} entries in 12 kills", all.len(), report.entries);
}

#[tokio::test]
async fn two_processes_that_append_at_once_do_not_fork() {
    let (dir, store) = new_store().await;
    let mut children = [spawn(dir.path(), 1, 15), spawn(dir.path(), 2, 15)];
    let mut all = BTreeMap::new();
    for child in &mut children {
        for (place, number) in acknowledged(child) {
            assert_eq!(all.insert(place, number), None, "place {place} was given twice");
        }
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(all.len(), 2 * 8 * 15);
    assert!(all.keys().copied().eq(0..240));
    check(&store, &all).await;
    let report = store.fsck(false).await.unwrap();
    assert!(report.is_clean(), "{report:?}");
    // This process was open all along, and goes on from where the others left.
    assert_eq!(store.record(vec![admission(7)]).await.unwrap()[0].index(), 240);
}
