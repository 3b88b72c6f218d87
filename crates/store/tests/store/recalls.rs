//! Recalls: what counts as admitted, and what a crash in the middle leaves behind.

use super::{NOW, admission, decision, new_store};
use countersign_core::Verdict;
use countersign_store::{NewRecall, RecallCounts, RecallState, RecalledRow, Store};
use serde_json::json;

fn new_recall(horizon: u64) -> NewRecall {
    NewRecall {
        started: NOW,
        why: vec!["the feeds changed".into()],
        old_grounds: None,
        new_grounds: json!({"policy": "p"}),
        horizon,
    }
}

async fn planned(store: &Store, old_index: u64) -> RecalledRow {
    let old = store.decision_at(old_index).await.unwrap().unwrap();
    RecalledRow {
        old_index,
        old_time: old.time,
        new_index: None,
        purl: old.purl,
        file_name: old.file_name,
        sha256: old.sha256.unwrap(),
        verdict: "refuse".into(),
        rule: "known-malicious".into(),
        reason: "known-malicious".into(),
        detail: "MAL-1".into(),
        ids: vec!["MAL-1".into()],
        fixed: Some("2".into()),
    }
}

fn refusal_of(n: u64) -> countersign_store::NewDecision {
    let name = format!("flask-{n}.whl");
    decision("pkg:pypi/flask@3.0.0", &name, Some(name.as_bytes()), Verdict::Refuse)
}

#[tokio::test]
async fn only_what_the_latest_decision_admits_is_admitted() {
    let (_dir, store) = new_store().await;
    store.record((0..5).map(admission).collect()).await.unwrap();
    store.record(vec![refusal_of(1), refusal_of(2)]).await.unwrap();
    store.record(vec![admission(2)]).await.unwrap();
    let unfetched = decision("pkg:pypi/flask@3.0.0", "flask-3.whl", None, Verdict::Refuse);
    store.record(vec![unfetched]).await.unwrap();
    let all = store.admitted_from(0, 100).await.unwrap();
    assert_eq!(all.iter().map(|a| a.index).collect::<Vec<_>>(), [0, 3, 4, 7]);
    assert_eq!(all[3].file_name, "flask-2.whl");
    let page = store.admitted_from(4, 1).await.unwrap();
    assert_eq!(page.iter().map(|a| a.index).collect::<Vec<_>>(), [4]);
    let facts = store.facts_at(&[7, 0, 99]).await.unwrap();
    assert_eq!(facts.iter().map(|(i, _)| *i).collect::<Vec<_>>(), [0, 7]);
    assert!(facts[0].1.contains("flask-0.whl"));
}

#[tokio::test]
async fn a_recall_is_kept_with_what_it_found() {
    let (_dir, store) = new_store().await;
    store.record((0..3).map(admission).collect()).await.unwrap();
    assert!(store.newest_recall(RecallState::Done).await.unwrap().is_none());
    let id = store.begin_recall(&new_recall(3)).await.unwrap();
    store.plan_recalled(id, &[planned(&store, 1).await]).await.unwrap();
    let recorded = store.record(vec![refusal_of(1)]).await.unwrap();
    store.settle_recalled(id, &[(1, recorded[0].index())]).await.unwrap();
    let counts = RecallCounts { looked: 3, affected: 2, judged: 2, not_done: 0, not_anew: 1 };
    store.advance_recall(id, 3, &counts).await.unwrap();
    store.finish_recall(id, RecallState::Done, NOW, None).await.unwrap();
    store.move_horizon(id, 9).await.unwrap();
    store.move_horizon(id, 4).await.unwrap();
    let kept = store.newest_recall(RecallState::Done).await.unwrap().unwrap();
    assert_eq!((kept.id, kept.counts, kept.recalled, kept.next), (id, counts, 1, 3));
    assert_eq!(kept.new, new_recall(9), "a horizon never goes back");
    let rows = store.recalled(id).await.unwrap();
    let want = RecalledRow { new_index: Some(3), ..planned(&store, 1).await };
    assert_eq!(rows, [want]);
    assert!(store.refused_since(0).await.unwrap().is_empty(), "it was named already");
}

#[tokio::test]
async fn a_recall_that_was_cut_off_is_settled_or_forgotten() {
    let (_dir, store) = new_store().await;
    store.record((0..3).map(admission).collect()).await.unwrap();
    let id = store.begin_recall(&new_recall(3)).await.unwrap();
    let both = [planned(&store, 0).await, planned(&store, 2).await];
    store.plan_recalled(id, &both).await.unwrap();
    // Of the two announced, one was recorded when the power went.
    store.record(vec![refusal_of(2)]).await.unwrap();
    let running = store.newest_recall(RecallState::Running).await.unwrap().unwrap();
    store.recover_recall(running.id).await.unwrap();
    let rows = store.recalled(id).await.unwrap();
    assert_eq!(rows.iter().map(|r| (r.old_index, r.new_index)).collect::<Vec<_>>(), [(2, Some(3))]);
}

#[tokio::test]
async fn what_was_refused_when_asked_for_is_found_as_well() {
    let (_dir, store) = new_store().await;
    store.record((0..3).map(admission).collect()).await.unwrap();
    store.record(vec![refusal_of(1)]).await.unwrap();
    let never = decision("pkg:npm/x@1.0.0", "x.tgz", Some(b"x"), Verdict::Refuse);
    store.record(vec![never]).await.unwrap();
    let found = store.refused_since(3).await.unwrap();
    assert_eq!(found.len(), 1, "what never was admitted is not recalled");
    assert_eq!((found[0].old_index, found[0].new_index), (1, Some(3)));
    assert_eq!(found[0].rule, "known-vulnerable");
    assert!(store.refused_since(4).await.unwrap().is_empty());
}

#[tokio::test]
async fn one_recall_at_a_time() {
    let (_dir, store) = new_store().await;
    let held = store.recall_lock().await.unwrap();
    let other = store.clone();
    let waits = tokio::spawn(async move { other.recall_lock().await.map(drop) });
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    assert!(!waits.is_finished());
    drop(held);
    waits.await.unwrap().unwrap();
}
