//! The fetch log: one line for each client and artifact, whatever the client calls itself.

use super::{NOW, new_store, reopen};
use countersign_core::{Sha256Digest, Timestamp};
use countersign_store::FetchNote;

fn note(bytes: &[u8], address: &str, agent: &str, at: i64) -> FetchNote {
    FetchNote {
        sha256: Sha256Digest::of(bytes),
        purl: "pkg:pypi/flask@3.0.0".parse().unwrap(),
        file_name: "flask.whl".into(),
        token: None,
        address: Some(address.into()),
        agent: Some(agent.into()),
        first: Timestamp(NOW.0 + at),
        last: Timestamp(NOW.0 + at),
        count: 1,
    }
}

#[tokio::test]
async fn fetches_of_one_client_are_one_line() {
    let (dir, store) = new_store().await;
    store
        .note_fetches(vec![note(b"a", "10.0.0.1", "pip/1", 5), note(b"a", "10.0.0.2", "uv/1", 7)])
        .await
        .unwrap();
    store.note_fetches(vec![note(b"a", "10.0.0.1", "pip/1", 9)]).await.unwrap();
    store.note_fetches(vec![note(b"a", "10.0.0.1", "pip/1", 2)]).await.unwrap();
    store.note_fetches(vec![note(b"b", "10.0.0.9", "pip/1", 1)]).await.unwrap();
    store.close().await.unwrap();
    let store = reopen(dir.path()).await;
    let who = store.who_fetched(&Sha256Digest::of(b"a")).await.unwrap();
    assert_eq!(who.len(), 2);
    assert_eq!(who[0].address.as_deref(), Some("10.0.0.1"), "the latest first");
    assert_eq!((who[0].first.0, who[0].last.0, who[0].count), (NOW.0 + 2, NOW.0 + 9, 3));
    assert_eq!((who[1].token.as_deref(), who[1].count), (None, 1));
}

#[tokio::test]
async fn a_client_with_many_names_does_not_fill_the_log() {
    let (_dir, store) = new_store().await;
    for round in 0..60 {
        let name = format!("agent/{round}");
        store.note_fetches(vec![note(b"a", "10.0.0.1", &name, round)]).await.unwrap();
    }
    store.note_fetches(vec![note(b"a", "10.0.0.1", "agent/3", 90)]).await.unwrap();
    let who = store.who_fetched(&Sha256Digest::of(b"a")).await.unwrap();
    assert_eq!(who.len(), 17);
    assert_eq!(who.iter().map(|w| w.count).sum::<u64>(), 61, "none is lost");
    let others = who.iter().find(|w| w.agent.as_deref() == Some("(others)")).unwrap();
    assert_eq!(others.count, 44);
    let third = who.iter().find(|w| w.agent.as_deref() == Some("agent/3")).unwrap();
    assert_eq!(third.count, 2, "a known name goes on being counted as itself");
}

#[tokio::test]
async fn many_at_once_are_all_kept() {
    let (_dir, store) = new_store().await;
    let notes: Vec<FetchNote> =
        (0..1500).map(|n| note(b"a", &format!("10.0.{}.{}", n / 250, n % 250), "pip", n)).collect();
    store.note_fetches(notes).await.unwrap();
    assert_eq!(store.who_fetched(&Sha256Digest::of(b"a")).await.unwrap().len(), 1500);
}
