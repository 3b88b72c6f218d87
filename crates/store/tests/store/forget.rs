//! Events beside decisions, and what is forgotten of both.

use super::{NOW, admission, new_store};
use countersign_core::{Sha256Digest, Timestamp};
use countersign_ledger::event::{FORGOTTEN_TYPE, SCAN_TYPE};
use countersign_ledger::statement::event;
use countersign_store::{Forget, NewEvent, Search, Store, StoreError};
use serde_json::json;

fn scan(of: &str, version: &str) -> NewEvent {
    let digest = Sha256Digest::of(of.as_bytes());
    NewEvent {
        statement: event(SCAN_TYPE, of, json!({"scanner": version, "secret": "needle"})),
        time: NOW,
        about: vec![format!("sha256:{digest}"), "pkg:pypi/flask@3.0.0".to_owned()],
        once: Some(format!("scan {digest} {version}")),
    }
}

async fn places(store: &Store, subject: &str) -> Vec<u64> {
    let found = store.events_about(&[subject.to_owned()], 50).await.unwrap();
    found.iter().map(|e| e.index).collect()
}

#[tokio::test]
async fn events_stand_before_their_decision_and_are_found_by_what_they_are_about() {
    let (_dir, store) = new_store().await;
    let file = "flask-0.whl";
    let both = store.new_ones(vec![scan(file, "1"), scan("other", "1")]).await.unwrap();
    let recorded = store.record_with(both, admission(0), true).await.unwrap();
    assert_eq!((recorded.index(), recorded.file_name()), (2, file));
    assert!(store.new_ones(vec![scan(file, "1")]).await.unwrap().is_empty(), "once");
    let again = store.new_ones(vec![scan(file, "2")]).await.unwrap();
    assert_eq!(store.record_about(again[0].clone()).await.unwrap().index(), 3);

    let digest = format!("sha256:{}", Sha256Digest::of(file.as_bytes()));
    assert_eq!(places(&store, &digest).await, [3, 0]);
    assert_eq!(places(&store, "pkg:pypi/flask@3.0.0").await, [3, 1, 0]);
    let all = store.events_of(SCAN_TYPE, Timestamp(0), Timestamp(i64::MAX)).await.unwrap();
    assert_eq!(all.iter().map(|e| e.index).collect::<Vec<_>>(), [0, 1, 3]);
    assert!(store.events_of(SCAN_TYPE, Timestamp(0), NOW).await.unwrap().is_empty());
    assert!(store.fsck(false).await.unwrap().is_clean());
}

#[tokio::test]
async fn a_body_is_forgotten_and_every_proof_still_holds() {
    let (dir, store) = new_store().await;
    store.record_with(vec![scan("flask-0.whl", "1")], admission(0), false).await.unwrap();
    store.record(vec![admission(2)]).await.unwrap();
    let receipt = store.receipt_for(2).await.unwrap();
    for (index, by) in [(0, 3), (1, 4)] {
        let done = store.forget(&Forget::Entry(index), "ada", "GDPR, case 7", NOW).await.unwrap();
        assert_eq!(done.index(), by);
        assert!(matches!(store.receipt_for(index).await, Err(StoreError::Forgotten { .. })));
        assert!(store.entry(index).await.unwrap().is_none());
        assert!(store.inclusion_of(index).await.is_ok(), "the commitment stays");
    }
    assert!(store.decision_at(1).await.unwrap().is_none());
    let raw = store.entries(0, 10).await.unwrap();
    let kept: Vec<bool> = raw.iter().map(|e| e.content.is_some()).collect();
    assert_eq!(kept, [false, false, true, true, true]);
    let said = Search { text: Some("needle".into()), limit: 9, ..Search::default() };
    assert!(store.search(&said).await.unwrap().is_empty());
    let key = store.verifier_key().unwrap();
    assert!(countersign_ledger::verify_receipt(&receipt, key, None).is_ok());
    let report = store.fsck(false).await.unwrap();
    assert!(report.is_clean(), "{:?}", report.problems);
    assert_eq!((report.forgotten, report.verified), (2, 3));

    // Nothing of it is left in the database's files.
    let payload = base64(br#""secret":"needle""#);
    for name in ["store.sqlite", "store.sqlite-wal"] {
        let bytes = std::fs::read(dir.path().join(name)).unwrap_or_default();
        let holds = |text: &[u8]| bytes.windows(text.len()).any(|w| w == text);
        assert!(payload.iter().all(|p| !holds(p)), "{name}");
        assert!(name.ends_with("wal") || holds(&base64(br#""case 7""#[1..7].as_ref())[0]));
    }

    // What others rest on stays, and nothing is forgotten twice or without a reason.
    for (index, reason) in [(3, "x"), (0, "x"), (9, "x"), (2, " ")] {
        assert!(store.forget(&Forget::Entry(index), "ada", reason, NOW).await.is_err(), "{index}");
    }
    store.close().await.unwrap();
    // An erasure that nobody recorded is noticed, and so is one that names another.
    for change in [
        "UPDATE entries SET salt = x'', envelope = x'' WHERE idx = 2",
        "UPDATE forgotten SET by_idx = 4 WHERE idx = 0",
    ] {
        let copy = tempfile::tempdir().unwrap();
        copy_all(dir.path(), copy.path());
        super::open::sql(copy.path(), change).await;
        let store = super::reopen(copy.path()).await;
        assert!(!store.fsck(false).await.unwrap().is_clean(), "{change}");
    }
}

#[tokio::test]
async fn a_body_in_a_folded_bundle_is_forgotten_as_well() {
    let (dir, store) = new_store().await;
    for n in 0..3 {
        store.record((n * 2..n * 2 + 2).map(admission).collect()).await.unwrap();
        store.record_about(scan(&format!("scan-{n}"), "1")).await.unwrap();
    }
    store.record((10..400).map(admission).collect()).await.unwrap();
    let others = store.receipts_for(&[4, 6, 255, 256]).await.unwrap();
    for (index, by) in [(2, 399), (5, 400), (3, 401)] {
        let done = store.forget(&Forget::Entry(index), "ada", "case 7", NOW).await.unwrap();
        assert_eq!(done.index(), by);
        assert!(store.forget(&Forget::Entry(index), "ada", "case 7", NOW).await.is_err());
        assert!(matches!(store.receipt_for(index).await, Err(StoreError::Forgotten { .. })));
        assert!(store.inclusion_of(index).await.is_ok(), "the commitment stays");
    }
    let key = store.verifier_key().unwrap().clone();
    let again = store.receipts_for(&[4, 6, 255, 256]).await.unwrap();
    for receipt in others.iter().chain(&again) {
        assert!(countersign_ledger::verify_receipt(receipt, &key, None).is_ok());
    }
    let report = store.fsck(false).await.unwrap();
    assert!(report.is_clean(), "{:?}", report.problems);
    assert_eq!((report.forgotten, report.verified), (3, 399));
    let bytes = std::fs::read(dir.path().join("store.sqlite")).unwrap();
    let holds = |text: &[u8]| bytes.windows(text.len()).any(|w| w == text);
    // One scan is left, and lies in the bundle, compressed; no row of it is left anywhere.
    assert!(base64(br#""secret":"needle""#).iter().all(|p| !holds(p)));
    store.close().await.unwrap();
    super::open::sql(dir.path(), "DELETE FROM forgotten WHERE idx = 5").await;
    let store = super::reopen(dir.path()).await;
    let problems = store.fsck(false).await.unwrap().problems;
    assert_eq!(problems, ["entry 5: its content is gone, and no entry says why"]);
}

/// The three ways in which base64 may hold some bytes, without the characters at the edges.
fn base64(text: &[u8]) -> Vec<Vec<u8>> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let encode = |skip: usize| -> Vec<u8> {
        let padded: Vec<u8> = std::iter::repeat_n(0, skip).chain(text.iter().copied()).collect();
        let whole = padded.chunks_exact(3).flat_map(|c| {
            let n = u32::from(c[0]) << 16 | u32::from(c[1]) << 8 | u32::from(c[2]);
            [18, 12, 6, 0].map(|s| ALPHABET[(n >> s & 63) as usize])
        });
        whole.skip(4).collect()
    };
    (0..3).map(encode).collect()
}

fn copy_all(from: &std::path::Path, to: &std::path::Path) {
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir_all(&target).unwrap();
            copy_all(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test]
async fn bytes_are_forgotten_with_a_record_and_missed_without_one() {
    let (_dir, store) = new_store().await;
    let mut digests = Vec::new();
    for n in 0..2 {
        let name = format!("flask-{n}.whl");
        let mut staging = store.stage().await.unwrap();
        staging.write(name.as_bytes()).await.unwrap();
        let digest = Sha256Digest::of(name.as_bytes());
        staging.finish(&digest).await.unwrap();
        store.record_with(vec![], admission(n), true).await.unwrap();
        digests.push(digest);
    }
    store.forget(&Forget::Blob(digests[0]), "ada", "retention, 400 days", NOW).await.unwrap();
    assert!(store.blob_file(&digests[0]).is_none());
    assert!(store.is_blob_forgotten(&digests[0]).await.unwrap());
    let report = store.fsck(false).await.unwrap();
    assert!(report.is_clean(), "{:?}", report.problems);
    assert_eq!((report.admitted, report.without_blob, report.forgotten_blobs), (2, 1, 1));
    std::fs::remove_file(store.blob_file(&digests[1]).unwrap()).unwrap();
    let report = store.fsck(false).await.unwrap();
    assert!(report.problems.iter().any(|p| p.contains("no entry says why")), "{report:?}");
    // Recording it afterwards is the remedy.
    store.forget(&Forget::Blob(digests[1]), "ada", "lost with a disk", NOW).await.unwrap();
    assert!(store.fsck(false).await.unwrap().is_clean());
    let all = store.events_of(FORGOTTEN_TYPE, Timestamp(0), Timestamp(i64::MAX)).await.unwrap();
    assert_eq!(all.len(), 2);
}
