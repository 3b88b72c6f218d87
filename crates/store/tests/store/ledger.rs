//! Appending: group commit, receipts, published files, several writers.

use super::{NOW, admission, decision, new_store, reopen};
use countersign_core::{Sha256Digest, Timestamp, Verdict};
use countersign_ledger::statement::{VSA_TYPE, event};
use countersign_ledger::{
    Receipt, TileId, TileKind, parse_entry_bundle, verify_checkpoint, verify_consistency,
    verify_receipt,
};
use countersign_store::{OpenMode, Search, Store, StoreError};
use serde_json::json;
use std::time::Instant;

#[tokio::test]
async fn a_recorded_decision_has_a_receipt_that_verifies_offline() {
    let (_dir, store) = new_store().await;
    let recorded = store.record(vec![admission(0), admission(1), admission(2)]).await.unwrap();
    assert_eq!(recorded.iter().map(|r| r.index()).collect::<Vec<_>>(), [0, 1, 2]);
    let one = &recorded[1];
    assert_eq!((one.verdict(), one.file_name()), (Verdict::Admit, "flask-1.whl"));
    assert_eq!(one.durable().tree_size(), 3);
    let key = store.verifier_key().unwrap();
    assert_eq!(verify_checkpoint(one.durable().checkpoint(), key).unwrap().size(), 3);

    let bytes = store.receipt_for(1).await.unwrap().to_bytes().unwrap();
    let receipt = Receipt::parse(&bytes).unwrap();
    let verified = verify_receipt(&receipt, key, one.sha256()).unwrap();
    assert!(verified.admits());
    assert!(verify_receipt(&receipt, key, recorded[0].sha256()).is_err());
    assert!(matches!(store.receipt_for(3).await, Err(StoreError::NotFound { .. })));
}

#[tokio::test]
async fn an_earlier_decision_is_proven_again_from_what_was_signed() {
    let (dir, store) = new_store().await;
    let hold = decision("pkg:pypi/flask@3.0.0", "held.whl", Some(b"held"), Verdict::Hold);
    let now = store.record(vec![hold, admission(1)]).await.unwrap();
    store.close().await.unwrap();
    // A record that was turned into an admission does not help.
    super::open::sql(dir.path(), "UPDATE decisions SET verdict = 'admit'").await;
    let store = reopen(dir.path()).await;
    for recorded in &now {
        assert_eq!(store.recorded_at(recorded.index()).await.unwrap().as_ref(), Some(recorded));
    }
    let started = event("urn:countersign:started:v1", "gate", json!({}));
    store.record_event(&started, NOW).await.unwrap();
    assert_eq!(store.recorded_at(2).await.unwrap(), None);
    assert!(store.recorded_at(3).await.is_err());
    super::open::sql(dir.path(), "UPDATE entries SET salt = zeroblob(32) WHERE idx = 1").await;
    assert!(store.recorded_at(1).await.is_err());
}

#[tokio::test]
async fn an_admission_without_a_digest_is_not_recorded() {
    let (_dir, store) = new_store().await;
    let bad = decision("pkg:pypi/flask@3.0.0", "flask.whl", None, Verdict::Admit);
    assert!(store.record(vec![admission(0), bad]).await.is_err());
    assert_eq!(store.ledger_size().await.unwrap(), 0);
    let refusal = decision("pkg:pypi/flask@3.0.0", "flask.whl", None, Verdict::Refuse);
    let recorded = store.record(vec![refusal]).await.unwrap();
    assert_eq!(recorded[0].sha256(), None);
    let key = store.verifier_key().unwrap();
    let receipt = store.receipt_for(0).await.unwrap();
    assert!(!verify_receipt(&receipt, key, None).unwrap().admits());
}

#[tokio::test]
async fn the_published_files_are_a_ledger_that_others_can_read() {
    let (dir, store) = new_store().await;
    for n in 0..6 {
        let batch = (n * 50..(n + 1) * 50).map(admission).collect();
        store.record(batch).await.unwrap();
    }
    let ledger = dir.path().join("ledger");
    let note = std::fs::read_to_string(ledger.join("checkpoint")).unwrap();
    let checkpoint = verify_checkpoint(&note, store.verifier_key().unwrap()).unwrap();
    assert_eq!(checkpoint.size(), 300);
    // Read back with nothing but the files.
    struct Files(std::path::PathBuf);
    impl countersign_ledger::TileSource for Files {
        fn tile(&self, tile: TileId) -> Result<Vec<u8>, countersign_ledger::TileError> {
            std::fs::read(self.0.join(tile.path()))
                .map_err(|_| countersign_ledger::TileError::Missing { tile: tile.path() })
        }
    }
    let files = Files(ledger.clone());
    assert_eq!(countersign_ledger::root(300, &files).unwrap(), checkpoint.root());
    let bundle = TileId::in_tree(TileKind::Entries, 1, 300).unwrap();
    let entries = std::fs::read(ledger.join(bundle.path())).unwrap();
    assert_eq!(parse_entry_bundle(&entries).unwrap().len(), 44);
    assert!(!ledger.join("tile/0/000.p").exists(), "stages of a full tile are removed");
    assert!(store.fsck(false).await.unwrap().is_clean());
}

#[tokio::test]
async fn the_ledger_only_ever_continues() {
    let (_dir, store) = new_store().await;
    store.record((0..7).map(admission).collect()).await.unwrap();
    let key = store.verifier_key().unwrap();
    let old = verify_checkpoint(&store.checkpoint().await.unwrap().unwrap(), key).unwrap();
    store.record((7..20).map(admission).collect()).await.unwrap();
    let (note, proof) = store.consistency_from(old.size()).await.unwrap();
    let new = verify_checkpoint(&note, key).unwrap();
    verify_consistency(old.size(), old.root(), new.size(), new.root(), &proof).unwrap();
    assert!(store.consistency_from(21).await.is_err());
}

#[tokio::test]
async fn events_share_the_ledger_and_cannot_pose_as_decisions() {
    let (_dir, store) = new_store().await;
    store.record(vec![admission(0)]).await.unwrap();
    let started = event("urn:countersign:started:v1", "gate", json!({"version": "0.1.0"}));
    assert_eq!(store.record_event(&started, NOW).await.unwrap().index(), 1);
    assert_eq!(store.decision_at(1).await.unwrap(), None);
    let receipt = store.receipt_for(1).await.unwrap();
    let verified = verify_receipt(&receipt, store.verifier_key().unwrap(), None).unwrap();
    assert!(verified.decision().is_none());
    let posing = event(VSA_TYPE, "gate", json!({}));
    assert!(store.record_event(&posing, NOW).await.is_err());
    assert!(store.record_event(&json!({}), NOW).await.is_err());
    let report = store.fsck(false).await.unwrap();
    assert_eq!((report.entries, report.decisions, report.verified), (2, 1, 2));
    assert!(report.is_clean(), "{report:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_appends_share_commits_and_each_gets_its_own_place() {
    let (dir, store) = new_store().await;
    let tasks: Vec<_> = (0..64u64)
        .map(|n| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut places = Vec::new();
                for m in 0..4 {
                    let new = admission(n * 100 + m);
                    let sha256 = new.record.digests.as_ref().unwrap().sha256;
                    let recorded = store.record(vec![new]).await.unwrap();
                    places.push((recorded[0].index(), sha256));
                }
                places
            })
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await.unwrap());
    }
    for (index, sha256) in &all {
        let stored = store.decision_at(*index).await.unwrap().unwrap();
        assert_eq!(stored.sha256.as_ref(), Some(sha256));
    }
    all.sort();
    assert!(all.iter().zip(0..).all(|((index, _), n)| *index == n));
    assert!(store.fsck(false).await.unwrap().is_clean());
    drop(store);
    assert_eq!(reopen(dir.path()).await.ledger_size().await.unwrap(), 256);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_handles_of_one_store_do_not_fork() {
    let (dir, first) = new_store().await;
    let second = reopen(dir.path()).await;
    let mut tasks = Vec::new();
    for n in 0..40u64 {
        let store = if n % 2 == 0 { first.clone() } else { second.clone() };
        tasks.push(tokio::spawn(async move { store.record(vec![admission(n)]).await.unwrap() }));
    }
    let mut places = Vec::new();
    for task in tasks {
        places.extend(task.await.unwrap().iter().map(|r| r.index()));
    }
    places.sort_unstable();
    assert_eq!(places, (0..40).collect::<Vec<_>>());
    assert!(first.fsck(false).await.unwrap().is_clean());
    let note = std::fs::read_to_string(dir.path().join("ledger/checkpoint")).unwrap();
    assert_eq!(verify_checkpoint(&note, first.verifier_key().unwrap()).unwrap().size(), 40);
}

#[tokio::test]
async fn a_call_that_is_dropped_half_way_still_appends_whole() {
    let (_dir, store) = new_store().await;
    for n in 0..20 {
        let record = store.record(vec![admission(n)]);
        let _ = tokio::time::timeout(std::time::Duration::from_micros(n * 150), record).await;
    }
    store.record(vec![admission(99)]).await.unwrap();
    let report = store.fsck(false).await.unwrap();
    assert!(report.is_clean() && report.entries == report.decisions, "{report:?}");
}

#[tokio::test]
async fn a_change_of_a_record_or_an_entry_is_found() {
    let changes: [(&'static str, &str); 9] = [
        ("UPDATE decisions SET verdict = 'refuse' WHERE idx = 3", "record"),
        ("UPDATE decisions SET facts = '{}' WHERE idx = 3", "record"),
        ("UPDATE decisions SET sha256 = NULL WHERE idx = 3", "record"),
        ("DELETE FROM decisions WHERE idx = 3", "recorded"),
        ("UPDATE entries SET envelope = x'7b7d' WHERE idx = 3", "commitment"),
        ("UPDATE entries SET salt = zeroblob(32) WHERE idx = 3", "commitment"),
        ("UPDATE entries SET commitment = zeroblob(32) WHERE idx = 3", "commitment"),
        ("UPDATE tiles SET data = zeroblob(length(data)) WHERE level = 0", "root"),
        ("UPDATE ledger_state SET root = zeroblob(32)", "checkpoint"),
    ];
    for (change, word) in changes {
        let (dir, store) = new_store().await;
        store.record((0..5).map(admission).collect()).await.unwrap();
        assert!(store.fsck(false).await.unwrap().is_clean());
        super::open::sql(dir.path(), change).await;
        let report = store.fsck(false).await.unwrap();
        let found = report.problems.join("; ");
        assert!(found.contains(word), "{change}: {found}");
    }
}

#[tokio::test]
async fn a_change_of_a_folded_bundle_is_found_and_what_lies_elsewhere_is_read_on() {
    let (dir, store) = new_store().await;
    store.record((0..300).map(admission).collect()).await.unwrap();
    let key = store.verifier_key().unwrap().clone();
    for index in [7, 255, 256] {
        let receipt = store.receipt_for(index).await.unwrap();
        assert!(verify_receipt(&receipt, &key, None).unwrap().admits());
    }
    let images = [
        ("UPDATE bundles SET data = substr(data, 1, length(data) - 1)", "entries 0 to 255"),
        ("UPDATE bundles SET data = x'00'", "unknown form"),
        ("DELETE FROM bundles", "covers 300 entries, and there are 44"),
        ("UPDATE bundles SET decisions = 255", "299 decisions are signed"),
    ];
    for (change, word) in images {
        let copy = super::faults::fresh(dir.path());
        super::open::sql(copy.path(), change).await;
        let damaged = reopen(copy.path()).await;
        let found = damaged.fsck(false).await.unwrap().problems.join("; ");
        assert!(found.contains(word), "{change}: {found}");
        assert!(damaged.receipt_for(290).await.is_ok(), "{change}");
    }
}

#[tokio::test]
async fn receipts_do_not_need_the_published_files_and_do_not_believe_them() {
    let (dir, store) = new_store().await;
    store.record((0..600).map(admission).collect()).await.unwrap();
    store.published().await;
    let places = [0, 255, 256, 511, 599];
    let before = store.receipts_for(&places).await.unwrap();
    let tile = dir.path().join("ledger/tile/0/000");
    std::fs::write(&tile, vec![7; 256 * 32]).unwrap();
    assert_eq!(store.receipts_for(&places).await.unwrap(), before);
    std::fs::remove_dir_all(dir.path().join("ledger/tile")).unwrap();
    assert_eq!(store.receipts_for(&places).await.unwrap(), before);
}

#[tokio::test]
async fn a_search_goes_through_folded_bundles_and_rows_alike() {
    let (_dir, store) = new_store().await;
    let mut wanted = Vec::new();
    for n in 0..6u64 {
        store.record((n * 100..n * 100 + 99).map(admission).collect()).await.unwrap();
        let kind = format!("urn:countersign:seen-{}:v1", n % 2);
        let act = event(&kind, &format!("thing-{n}"), json!({"text": "Müller"}));
        let time = Timestamp(NOW.0 + i64::try_from(n).unwrap());
        wanted.insert(0, store.record_event(&act, time).await.unwrap().index());
    }
    let find = async |search: Search| {
        let found = store.search(&Search { limit: 1000, ..search }).await.unwrap();
        found.into_iter().map(|l| l.index).collect::<Vec<_>>()
    };
    let events = || Search { events_only: true, ..Search::default() };
    assert_eq!(find(events()).await, wanted);
    assert!(find(Search::default()).await.into_iter().eq((0..600).rev()));
    let kind = Some("urn:countersign:seen-1:v1".to_owned());
    let odd = [wanted[0], wanted[2], wanted[4]];
    assert_eq!(find(Search { kind: kind.clone(), ..Search::default() }).await, odd);
    let text = Some("müller".to_owned());
    assert_eq!(find(Search { text: text.clone(), ..events() }).await, wanted);
    assert_eq!(find(Search { text, ..Search::default() }).await, wanted);
    let since = Some(Timestamp(NOW.0 + 2));
    let until = Some(Timestamp(NOW.0 + 4));
    assert_eq!(find(Search { since, until, ..events() }).await, wanted[2..4]);
    let thing = Some("thing-4".to_owned());
    assert_eq!(find(Search { text: thing, ..events() }).await, wanted[1..2]);
    let two = store.search(&Search { limit: 2, ..Search::default() }).await.unwrap();
    assert_eq!((two[0].index, two[0].subject.as_deref()), (599, Some("thing-5")));
    assert_eq!(two[1].purl.as_deref(), Some("pkg:pypi/flask@3.0.0"));
}

#[tokio::test]
async fn without_a_key_nothing_is_recorded_and_the_error_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), OpenMode::Create).await.unwrap();
    let error = store.record(vec![admission(0)]).await.unwrap_err();
    assert!(matches!(error, StoreError::NoLedgerKey { .. }));
    assert!(error.to_string().contains("countersign init"), "{error}");
    assert!(!store.is_admitted(&Sha256Digest::of(b"flask-0.whl")).await.unwrap());
}

/// Run with `--ignored --nocapture` for the figure.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement; takes some seconds"]
async fn throughput_of_64_appenders() {
    let (_dir, store) = new_store().await;
    let (callers, each) = (64u64, 100u64);
    let start = Instant::now();
    let tasks: Vec<_> = (0..callers)
        .map(|n| {
            let store = store.clone();
            tokio::spawn(async move {
                for m in 0..each {
                    store.record(vec![admission(n * 1000 + m)]).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let took = start.elapsed();
    let n = callers * each;
    assert_eq!(store.ledger_size().await.unwrap(), n);
    eprintln!("{n} entries, {callers} appenders: {:.0} entries/s", n as f64 / took.as_secs_f64());
    let start = Instant::now();
    for m in 0..200 {
        store.record(vec![admission(900_000 + m)]).await.unwrap();
    }
    eprintln!("one appender: {:.2} ms an entry", start.elapsed().as_secs_f64() * 5.0);
}
