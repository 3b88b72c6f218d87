//! Blobs and staging.

use super::{new_store, reopen};
use countersign_core::Sha256Digest;
use countersign_store::{BlobState, StoreError};
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

fn staged(dir: &Path) -> usize {
    std::fs::read_dir(dir.join("staging")).unwrap().count()
}

#[tokio::test]
async fn what_arrived_is_found_under_its_digest() {
    let (dir, store) = new_store().await;
    let bytes: Vec<u8> = (0..300_000u32).map(|n| n as u8).collect();
    let digest = Sha256Digest::of(&bytes);
    assert!(store.open_blob(&digest).await.unwrap().is_none());
    let mut staging = store.stage().await.unwrap();
    for chunk in bytes.chunks(7001) {
        staging.write(chunk).await.unwrap();
    }
    assert_eq!((staging.size(), staging.sha256()), (300_000, digest));
    assert!(store.open_blob(&digest).await.unwrap().is_none(), "nothing shows before the end");
    let blob = staging.finish(&digest).await.unwrap();
    assert_eq!((blob.size, staged(dir.path())), (300_000, 0));
    let mut blob = store.open_blob(&digest).await.unwrap().unwrap();
    let mut read = Vec::new();
    blob.file.read_to_end(&mut read).unwrap();
    assert!(read == bytes);
    let hex = digest.to_hex();
    assert!(dir.path().join("blobs/sha256").join(&hex[..2]).join(&hex).exists());
    assert_eq!(store.verify_blob(&digest).await.unwrap(), BlobState::Intact);
    assert!(store.remove_blob(&digest).await.unwrap());
    assert!(!store.remove_blob(&digest).await.unwrap());
    assert_eq!(store.verify_blob(&digest).await.unwrap(), BlobState::Missing);
}

#[tokio::test]
async fn other_bytes_never_become_the_blob() {
    let (dir, store) = new_store().await;
    let mut staging = store.stage().await.unwrap();
    staging.write(b"evil").await.unwrap();
    let wanted = Sha256Digest::of(b"good");
    let error = staging.finish(&wanted).await.unwrap_err();
    assert!(matches!(error, StoreError::DigestMismatch { .. }), "{error}");
    assert!(store.open_blob(&wanted).await.unwrap().is_none());
    assert_eq!(staged(dir.path()), 0);
}

#[tokio::test]
async fn a_damaged_blob_is_found_and_healed_by_the_next_arrival() {
    let (dir, store) = new_store().await;
    let digest = Sha256Digest::of(b"good");
    let arrive = async || {
        let mut staging = store.stage().await.unwrap();
        staging.write(b"good").await.unwrap();
        staging.finish(&digest).await.unwrap();
    };
    arrive().await;
    let hex = digest.to_hex();
    std::fs::write(dir.path().join("blobs/sha256").join(&hex[..2]).join(&hex), b"evil").unwrap();
    let found = Sha256Digest::of(b"evil");
    assert_eq!(store.verify_blob(&digest).await.unwrap(), BlobState::Damaged { found });
    arrive().await;
    assert_eq!(store.verify_blob(&digest).await.unwrap(), BlobState::Intact);
}

#[tokio::test]
async fn abandoned_staging_files_go_and_those_in_use_stay() {
    let (dir, store) = new_store().await;
    let mut dropped = store.stage().await.unwrap();
    dropped.write(b"half").await.unwrap();
    drop(dropped);
    assert_eq!(staged(dir.path()), 0);

    let old = SystemTime::now() - Duration::from_secs(25 * 60 * 60);
    let age = |path: &Path| File::options().write(true).open(path).unwrap().set_modified(old);
    let crashed = dir.path().join("staging/arriving-crashed");
    let recent = dir.path().join("staging/arriving-recent");
    std::fs::write(&crashed, b"x").unwrap();
    std::fs::write(&recent, b"x").unwrap();
    age(&crashed).unwrap();
    let held = store.stage().await.unwrap();
    age(held.path()).unwrap();
    let _again = reopen(dir.path()).await;
    assert!(!crashed.exists());
    assert!(recent.exists() && held.path().exists());
}

#[tokio::test]
async fn what_was_flushed_is_there_for_every_reader() {
    let (_dir, store) = new_store().await;
    for size in [0usize, 1, 4096, 256 * 1024 - 1, 256 * 1024, 700_001] {
        let bytes: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
        let mut staging = store.stage().await.unwrap();
        for chunk in bytes.chunks(16_384) {
            staging.write(chunk).await.unwrap();
        }
        staging.flush().await.unwrap();
        assert_eq!(std::fs::read(staging.path()).unwrap(), bytes, "{size}");
        staging.write(b"!").await.unwrap();
        let digest = staging.sha256();
        staging.finish(&digest).await.unwrap();
        let kept = std::fs::read(store.blob_file(&digest).unwrap()).unwrap();
        assert_eq!((kept.len(), kept.last()), (size + 1, Some(&b'!')));
    }
}
