//! The ledger's key is rotated: old and new keys both follow, also across processes and crashes.

use super::{NOW, admission, new_store, reopen};
use countersign_ledger::{
    KeyHistory, Receipt, SigningKey, VerifierKey, read_rotations, verify_checkpoint, verify_receipt,
};
use countersign_store::{OpenMode, Store, StoreError};
use std::path::Path;

async fn receipt(store: &Store, index: u64) -> Receipt {
    let bytes = store.receipt_for(index).await.unwrap().to_bytes().unwrap();
    Receipt::parse(&bytes).unwrap()
}

/// Two entries, the rotation, two entries.
async fn rotated() -> (tempfile::TempDir, Store, VerifierKey, VerifierKey) {
    let (dir, store) = new_store().await;
    let old = store.verifier_key().unwrap().clone();
    store.record(vec![admission(0), admission(1)]).await.unwrap();
    let (recorded, new) = store.rotate_key("ada", "yearly", NOW).await.unwrap();
    assert_eq!(recorded.index(), 2);
    store.record(vec![admission(3), admission(4)]).await.unwrap();
    store.published().await;
    (dir, store, old, new)
}

fn pem(dir: &Path, name: &str) -> std::path::PathBuf {
    dir.join("keys").join(name)
}

#[tokio::test]
async fn whoever_knows_either_key_follows_and_can_check_every_receipt() {
    let (dir, store, old, new) = rotated().await;
    let before = receipt(&store, 1).await;
    for key in [&old, &new] {
        let head = store.checkpoint().await.unwrap().unwrap();
        assert_eq!(verify_checkpoint(&head, key).unwrap().size(), 5, "both sign");
        for index in 0..5 {
            assert!(verify_receipt(&receipt(&store, index).await, key, None).is_ok(), "{index}");
        }
    }
    let other = SigningKey::from_seed("gate.example/ledger", [9; 32]).unwrap();
    assert!(verify_receipt(&before, other.verifier(), None).is_err());
    let report = store.fsck(false).await.unwrap();
    assert!(report.is_clean(), "{:?}", report.problems);

    let (retired, which) = store.retire_key("ada", NOW).await.unwrap();
    assert_eq!((retired.index(), &which), (5, &old));
    store.record(vec![admission(6)]).await.unwrap();
    let head = store.checkpoint().await.unwrap().unwrap();
    assert!(verify_checkpoint(&head, &old).is_err(), "the old key signs no longer");
    assert!(!pem(dir.path(), "ledger.previous.pem").exists());
    for index in 0..7 {
        for key in [&old, &new] {
            assert!(verify_receipt(&receipt(&store, index).await, key, None).is_ok(), "{index}");
        }
    }
    // The published rotations lead from the old key to the new one.
    let published = std::fs::read(store.ledger_dir().join("rotations.json")).unwrap();
    let history = KeyHistory::resolve(&old, &read_rotations(&published).unwrap()).unwrap();
    assert_eq!(history.verify_checkpoint(&head).unwrap().size(), 7);
    assert!(store.fsck(false).await.unwrap().is_clean());
    store.close().await.unwrap();

    let store = reopen(dir.path()).await;
    assert_eq!(store.verifier_key(), Some(&new));
    assert!(matches!(store.retire_key("ada", NOW).await, Err(StoreError::NotFound { .. })));
    let (_, third) = store.rotate_key("ada", "again", NOW).await.unwrap();
    let again = store.rotate_key("ada", "at once", NOW).await;
    assert!(matches!(again, Err(StoreError::Invalid { .. })), "one overlap at a time");
    for key in [&old, &new, &third] {
        assert!(verify_receipt(&receipt(&store, 1).await, key, None).is_ok());
    }
}

#[tokio::test]
async fn a_receipt_proves_nothing_with_a_rotation_that_is_not_in_the_tree() {
    let (_dir, store, old, _) = rotated().await;
    let bytes = receipt(&store, 4).await.to_bytes().unwrap();
    let mut json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    let read = |json: &serde_json::Value| {
        let receipt = Receipt::parse(&serde_json::to_vec(json).unwrap()).unwrap();
        verify_receipt(&receipt, &old, None)
    };
    assert!(read(&json).is_ok());
    let proof = json["keyRotations"][0]["inclusionProof"].take();
    json["keyRotations"][0]["inclusionProof"] = serde_json::json!([]);
    assert!(read(&json).is_err());
    json["keyRotations"][0]["inclusionProof"] = proof;
    json["keyRotations"][0]["leafIndex"] = 1.into();
    assert!(read(&json).is_err(), "the old key's time would end earlier");
    json.as_object_mut().unwrap().remove("keyRotations");
    assert!(read(&json).is_err(), "signed by a key that nobody named");
}

#[tokio::test]
async fn another_process_goes_on_with_the_new_key() {
    let (dir, store) = new_store().await;
    let serving = reopen(dir.path()).await;
    serving.record(vec![admission(0)]).await.unwrap();
    let (_, new) = store.rotate_key("ada", "yearly", NOW).await.unwrap();
    // It signs with the old key, learns of the rotation at the commit, and signs anew.
    let recorded = serving.record(vec![admission(2), admission(3)]).await.unwrap();
    assert_eq!(recorded[0].index(), 2);
    assert!(serving.recorded_at(3).await.unwrap().is_some());
    let keys = serving.key_history().await.unwrap().unwrap();
    assert_eq!(keys.at(2), &new);
    store.retire_key("ada", NOW).await.unwrap();
    serving.record(vec![admission(5)]).await.unwrap();
    let report = serving.fsck(false).await.unwrap();
    assert!(report.is_clean(), "{:?}", report.problems);
    let read_only = Store::open(dir.path(), OpenMode::ReadOnly).await.unwrap();
    assert_eq!(read_only.ledger_size().await.unwrap(), 6);
}

#[tokio::test]
async fn entries_beside_a_rotation_are_signed_by_the_key_of_their_place() {
    let (_dir, store) = new_store().await;
    let tasks: Vec<_> = (0..40)
        .map(|n| {
            let store = store.clone();
            tokio::spawn(async move { store.record(vec![admission(n)]).await.unwrap() })
        })
        .collect();
    store.rotate_key("ada", "under load", NOW).await.unwrap();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(store.ledger_size().await.unwrap(), 41);
    let report = store.fsck(false).await.unwrap();
    assert!(report.is_clean(), "{:?}", report.problems);
}

#[tokio::test]
async fn a_rotation_that_was_cut_off_is_completed_or_forgotten() {
    // Cut off before the commit: a key that nothing names.
    let (dir, store) = new_store().await;
    let old = store.verifier_key().unwrap().clone();
    std::fs::copy(pem(dir.path(), "ledger.pem"), pem(dir.path(), "ledger.next.pem")).unwrap();
    store.record(vec![admission(0)]).await.unwrap();
    let (_, new) = store.rotate_key("ada", "x", NOW).await.unwrap();
    store.close().await.unwrap();

    // Cut off after it, before and between the renames.
    let (now, previous, next) = (
        pem(dir.path(), "ledger.pem"),
        pem(dir.path(), "ledger.previous.pem"),
        pem(dir.path(), "ledger.next.pem"),
    );
    std::fs::rename(&now, &next).unwrap();
    for renamed in [true, false] {
        if !renamed {
            std::fs::rename(&now, &next).unwrap();
            std::fs::rename(&previous, &now).unwrap();
        }
        let store = reopen(dir.path()).await;
        assert_eq!(store.verifier_key(), Some(&new), "{renamed}");
        store.record(vec![admission(5)]).await.unwrap();
        let head = store.checkpoint().await.unwrap().unwrap();
        assert!(verify_checkpoint(&head, &old).is_ok() && verify_checkpoint(&head, &new).is_ok());
        store.close().await.unwrap();
        assert!(now.exists() && previous.exists() && !next.exists());
    }
    // Without the new key the ledger cannot go on.
    std::fs::remove_file(&now).unwrap();
    let opened = Store::open(dir.path(), OpenMode::Existing).await;
    assert!(matches!(opened, Err(StoreError::NoLedgerKey { .. })), "{opened:?}");
}
