//! Records beside the ledger: lookups, pins, caches, waivers, feeds.

use super::{NOW, admission, decision, new_store, reopen};
use countersign_core::{
    Algorithm, ExpectedDigest, Purl, ReasonCode, Sha256Digest, Timestamp, Verdict,
};
use countersign_store::{Feed, Newest, PinOutcome, StoreError, Waiver, WaiverTarget};
use serde_json::json;

const FLASK: &str = "pkg:pypi/flask@3.0.0";

fn purl(text: &str) -> Purl {
    text.parse().unwrap()
}

#[tokio::test]
async fn decisions_are_found_by_digest_purl_package_and_place() {
    let (dir, store) = new_store().await;
    let older = "pkg:pypi/flask@2.0.0";
    store
        .record(vec![
            decision(older, "old.whl", Some(b"old"), Verdict::Refuse),
            decision(FLASK, "a.whl", Some(b"a"), Verdict::Hold),
            decision(FLASK, "b.whl", Some(b"b"), Verdict::Admit),
            decision(FLASK, "a.whl", Some(b"a"), Verdict::Admit),
            decision(FLASK, "c.whl", None, Verdict::Refuse),
        ])
        .await
        .unwrap();
    store.close().await.unwrap();
    let store = reopen(dir.path()).await;
    let (a, b) = (Sha256Digest::of(b"a"), Sha256Digest::of(b"b"));
    let places = |v: Vec<countersign_store::StoredDecision>| {
        v.into_iter().map(|d| d.index).collect::<Vec<_>>()
    };
    let latest = store.latest_decision(&a, &purl(FLASK), "a.whl").await.unwrap().unwrap();
    assert_eq!((latest.index, latest.decision.verdict), (3, Verdict::Admit));
    assert_eq!(latest.facts, json!({"file": "a.whl", "checks": ["digest"]}));
    assert_eq!((latest.time, latest.purl), (NOW, purl(FLASK)));
    assert!(store.latest_decision(&a, &purl(older), "a.whl").await.unwrap().is_none());
    assert!(store.latest_decision(&a, &purl(FLASK), "b.whl").await.unwrap().is_none());
    assert_eq!(places(store.decisions_for_purl(&purl(FLASK)).await.unwrap()), [4, 3, 2, 1]);
    assert_eq!(places(store.decisions_for_digest(&a).await.unwrap()), [3, 1]);
    assert_eq!(places(store.history(&purl("pkg:pypi/Flask"), 10).await.unwrap()), [4, 3, 2, 1, 0]);
    assert_eq!(places(store.recent(None, 2).await.unwrap()), [4, 3]);
    assert_eq!(places(store.recent(Some(3), 2).await.unwrap()), [2, 1]);
    assert_eq!(places(store.recent_not_admitted(10).await.unwrap()), [4, 1, 0]);
    let refusal = store.decision_at(0).await.unwrap().unwrap();
    assert_eq!(refusal.decision.leading().unwrap().reason, ReasonCode::KnownVulnerable);
    assert!(store.decision_at(5).await.unwrap().is_none());
    let admitted = store.admitted_by_purl(&purl(FLASK)).await.unwrap();
    assert_eq!(admitted, [(b, "b.whl".to_owned()), (a, "a.whl".to_owned())]);
}

#[tokio::test]
async fn the_latest_decision_about_the_bytes_counts() {
    let (_dir, store) = new_store().await;
    let a = Sha256Digest::of(b"a");
    assert!(!store.is_admitted(&a).await.unwrap());
    store.record(vec![decision(FLASK, "a.whl", Some(b"a"), Verdict::Admit)]).await.unwrap();
    assert!(store.is_admitted(&a).await.unwrap());
    // Turned out bad: under whatever name it is judged, the digest is no longer admitted.
    let again = decision("pkg:pypi/evil@1", "z.whl", Some(b"a"), Verdict::Refuse);
    store.record(vec![again]).await.unwrap();
    assert!(!store.is_admitted(&a).await.unwrap());
    store.record(vec![decision(FLASK, "a.whl", Some(b"a"), Verdict::Refuse)]).await.unwrap();
    assert_eq!(store.admitted_by_purl(&purl(FLASK)).await.unwrap(), []);
}

#[tokio::test]
async fn strong_digests_lead_to_the_artifact_and_weak_ones_do_not() {
    let (_dir, store) = new_store().await;
    let new = admission(0);
    let digests = new.record.digests.clone().unwrap();
    store.record(vec![new]).await.unwrap();
    for other in &digests.others {
        let found = store.artifact_by_digest(other).await.unwrap();
        let strong = other.algorithm() == Algorithm::Sha512;
        assert_eq!(found, strong.then_some(digests.sha256), "{other}");
    }
    let unknown = ExpectedDigest::from_bytes(Algorithm::Sha512, vec![0; 64]).unwrap();
    assert_eq!(store.artifact_by_digest(&unknown).await.unwrap(), None);
}

#[tokio::test]
async fn the_first_digest_of_a_file_is_pinned_forever() {
    let (dir, store) = new_store().await;
    let (a, b) = (Sha256Digest::of(b"a"), Sha256Digest::of(b"b"));
    let later = NOW.plus_seconds(60);
    let pin = async |s: &countersign_store::Store, d, t| s.pin_identity(FLASK, "a.whl", d, t).await;
    assert_eq!(pin(&store, &a, NOW).await.unwrap(), PinOutcome::New);
    assert_eq!(pin(&store, &a, later).await.unwrap(), PinOutcome::Same);
    let changed = PinOutcome::Changed { first: a, first_seen: NOW };
    for _ in 0..3 {
        assert_eq!(pin(&store, &b, later).await.unwrap(), changed);
    }
    store.close().await.unwrap();
    let store = reopen(dir.path()).await;
    assert_eq!(pin(&store, &b, later).await.unwrap(), changed);
    assert_eq!(pin(&store, &a, later).await.unwrap(), PinOutcome::Same);
    assert_eq!(store.pin_identity(FLASK, "b.whl", &b, NOW).await.unwrap(), PinOutcome::New);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_concurrent_pins_exactly_one_is_the_first() {
    let (dir, store) = new_store().await;
    let other = reopen(dir.path()).await;
    let tasks: Vec<_> = (0..16u8)
        .map(|n| {
            let store = if n % 2 == 0 { store.clone() } else { other.clone() };
            let pin = async move {
                store.pin_identity(FLASK, "a.whl", &Sha256Digest::of(&[n]), NOW).await.unwrap()
            };
            tokio::spawn(pin)
        })
        .collect();
    let mut new = 0;
    for task in tasks {
        new += usize::from(task.await.unwrap() == PinOutcome::New);
    }
    assert_eq!(new, 1);
}

#[tokio::test]
async fn caches_keep_what_was_put_under_its_whole_key() {
    let (dir, store) = new_store().await;
    let a = Sha256Digest::of(b"a");
    store.put_result(&a, "malware", "rules-1", &json!({"score": 1})).await.unwrap();
    store.put_result(&a, "malware", "rules-1", &json!({"score": 2})).await.unwrap();
    store.put_manifest(&a, b"\x1f\x8b manifest").await.unwrap();
    store.meta_put("upstream.pypi", "https://registry.example/simple").await.unwrap();
    store.close().await.unwrap();
    let store = reopen(dir.path()).await;
    let got = store.get_result(&a, "malware", "rules-1").await.unwrap();
    assert_eq!(got, Some(json!({"score": 2})));
    assert_eq!(store.get_result(&a, "malware", "rules-2").await.unwrap(), None);
    assert_eq!(store.get_result(&a, "licence", "rules-1").await.unwrap(), None);
    assert_eq!(store.get_manifest(&a).await.unwrap().as_deref(), Some(&b"\x1f\x8b manifest"[..]));
    assert_eq!(store.get_manifest(&Sha256Digest::of(b"b")).await.unwrap(), None);
    let upstream = store.meta_get("upstream.pypi").await.unwrap();
    assert_eq!(upstream.as_deref(), Some("https://registry.example/simple"));
    assert_eq!(store.meta_get("upstream.npm").await.unwrap(), None);
}

#[tokio::test]
async fn the_newest_time_never_goes_back() {
    let (_dir, store) = new_store().await;
    let bump = async |t| store.bump_newest("bookworm", Timestamp(t)).await.unwrap();
    assert_eq!(store.newest_seen("bookworm").await.unwrap(), None);
    assert_eq!(bump(100).await, Newest::Advanced);
    assert_eq!(bump(100).await, Newest::Same);
    assert_eq!(bump(50).await, Newest::Older { newest: Timestamp(100) });
    assert_eq!(bump(150).await, Newest::Advanced);
    assert_eq!(store.newest_seen("bookworm").await.unwrap(), Some(Timestamp(150)));
    assert_eq!(store.newest_seen("trixie").await.unwrap(), None);
}

fn waiver(id: &str) -> Waiver {
    Waiver {
        id: id.into(),
        target: WaiverTarget::Purl(purl(FLASK)),
        rule: "GHSA-xxxx".into(),
        reason: "not reachable".into(),
        owner: "alice@gate.example".into(),
        created: NOW,
        until: NOW.plus_seconds(100),
    }
}

#[tokio::test]
async fn waivers_are_entries_and_end() {
    let (dir, store) = new_store().await;
    let by_digest =
        Waiver { target: WaiverTarget::Sha256(Sha256Digest::of(b"a")), ..waiver("W-2") };
    assert_eq!(store.add_waiver(waiver("W-1")).await.unwrap().index(), 0);
    assert_eq!(store.add_waiver(by_digest.clone()).await.unwrap().index(), 1);
    store.close().await.unwrap();
    let store = reopen(dir.path()).await;
    let active = async |t| {
        let all = store.active_waivers(Timestamp(t)).await.unwrap();
        all.into_iter().map(|w| w.id).collect::<Vec<_>>()
    };
    assert_eq!(active(NOW.0 - 1).await, [""; 0]);
    assert_eq!(active(NOW.0).await, ["W-1", "W-2"]);
    assert_eq!(active(NOW.0 + 100).await, [""; 0]);
    let later = NOW.plus_seconds(5);
    let revoked = store.revoke_waiver("W-1", "bob@gate.example", "wrong", later).await.unwrap();
    assert_eq!(revoked.index(), 2);
    assert_eq!(active(NOW.0 + 6).await, ["W-2"]);
    let all = store.waivers().await.unwrap();
    assert_eq!((all[0].revoked, all[0].index), (Some(later), 0));
    assert_eq!(all[1].waiver, by_digest);
    for id in ["W-1", "W-9"] {
        let again = store.revoke_waiver(id, "bob@gate.example", "wrong", later).await;
        assert!(matches!(again, Err(StoreError::NotFound { .. })), "{id}");
    }
    let report = store.fsck(false).await.unwrap();
    assert!(report.is_clean() && report.entries == 3, "{report:?}");
}

#[tokio::test]
async fn a_waiver_that_was_changed_behind_the_ledger_is_found() {
    for change in [
        "UPDATE waivers SET until = until + 1",
        "UPDATE waivers SET target = 'pkg:pypi/evil@1' WHERE id = 'W-1'",
        "UPDATE waivers SET revoked = NULL, revoked_idx = NULL WHERE id = 'W-2'",
        "DELETE FROM waivers WHERE id = 'W-2'",
    ] {
        let (dir, store) = new_store().await;
        store.add_waiver(waiver("W-1")).await.unwrap();
        store.add_waiver(waiver("W-2")).await.unwrap();
        store.revoke_waiver("W-2", "bob@gate.example", "wrong", NOW).await.unwrap();
        assert!(store.fsck(false).await.unwrap().is_clean());
        super::open::sql(dir.path(), change).await;
        let report = store.fsck(false).await.unwrap();
        assert!(report.problems.iter().any(|p| p.contains("waiver")), "{change}: {report:?}");
    }
}

#[tokio::test]
async fn waivers_that_would_rot_are_refused() {
    let (_dir, store) = new_store().await;
    let name_only = WaiverTarget::Purl(purl("pkg:pypi/flask"));
    for bad in [
        Waiver { id: " ".into(), ..waiver("") },
        Waiver { owner: String::new(), ..waiver("W-1") },
        Waiver { reason: String::new(), ..waiver("W-1") },
        Waiver { rule: String::new(), ..waiver("W-1") },
        Waiver { target: name_only, ..waiver("W-1") },
        Waiver { until: NOW, ..waiver("W-1") },
    ] {
        assert!(store.add_waiver(bad.clone()).await.is_err(), "{bad:?}");
    }
    assert_eq!(store.ledger_size().await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_record_does_not_spoil_its_batch() {
    let (_dir, store) = new_store().await;
    store.add_waiver(waiver("W-1")).await.unwrap();
    let tasks: Vec<_> = (0..30u64)
        .map(|n| {
            let store = store.clone();
            tokio::spawn(async move {
                match n % 3 {
                    0 => store.add_waiver(waiver("W-1")).await.map(drop),
                    _ => store.record(vec![admission(n)]).await.map(drop),
                }
            })
        })
        .collect();
    let mut refused = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(()) => {}
            Err(StoreError::Exists { what }) => {
                assert!(what.contains("W-1"), "{what}");
                refused += 1;
            }
            Err(e) => panic!("{e}"),
        }
    }
    assert_eq!((refused, store.ledger_size().await.unwrap()), (10, 21));
    assert!(store.fsck(false).await.unwrap().is_clean());
}

#[tokio::test]
async fn feeds_are_kept_and_remember_their_last_sync() {
    let (_dir, store) = new_store().await;
    let feed = Feed {
        name: "osv".into(),
        location: "https://feeds.example/osv.zip".into(),
        kind: "osv".into(),
        added: NOW,
        last_synced: None,
        sha256: None,
        etag: None,
    };
    store.put_feed(&feed).await.unwrap();
    store.put_feed(&Feed { name: "mal".into(), ..feed.clone() }).await.unwrap();
    let digest = Sha256Digest::of(b"zip");
    let later = NOW.plus_seconds(60);
    store.note_feed_sync("osv", later, Some(&digest), Some("\"e1\"")).await.unwrap();
    let want = Feed {
        last_synced: Some(later),
        sha256: Some(digest),
        etag: Some("\"e1\"".into()),
        ..feed.clone()
    };
    assert_eq!(store.feed("osv").await.unwrap(), Some(want));
    assert_eq!(store.feeds().await.unwrap().len(), 2);
    assert!(store.remove_feed("mal").await.unwrap());
    assert!(!store.remove_feed("mal").await.unwrap());
    assert!(store.note_feed_sync("mal", later, None, None).await.is_err());
}

#[tokio::test]
async fn many_versions_and_digests_are_asked_for_at_once() {
    let (_dir, store) = new_store().await;
    let new = admission(0);
    let digests = new.record.digests.clone().unwrap();
    store.record(vec![new]).await.unwrap();
    let refused = decision(FLASK, "flask-0.whl", Some(b"flask-0.whl"), Verdict::Refuse);
    store.record(vec![refused]).await.unwrap();
    store.pin_identity(FLASK, "flask-0.whl", &digests.sha256, NOW).await.unwrap();
    let sha512 = digests.others.iter().find(|d| d.algorithm() == Algorithm::Sha512).unwrap();
    let unknown = ExpectedDigest::from_bytes(Algorithm::Sha512, vec![9; 64]).unwrap();
    let other = purl("pkg:npm/other@1.0.0");
    let asked = [sha512.clone(), unknown.clone()];
    let known = store.known(&[purl(FLASK), other.clone()], &asked).await.unwrap();
    let [pin] = known.pins(&purl(FLASK)) else { panic!("{known:?}") };
    assert_eq!((pin.file_name.as_str(), pin.sha256), ("flask-0.whl", digests.sha256));
    assert_eq!(pin.others, std::slice::from_ref(sha512));
    assert_eq!(known.pins(&other), []);
    assert_eq!((known.sha256_of(sha512), known.sha256_of(&unknown)), (Some(digests.sha256), None));
    // Of one file the latest decision alone.
    let found: Vec<_> = known.decisions(&digests.sha256).iter().map(|d| d.index).collect();
    assert_eq!(found, [1]);
    let own = ExpectedDigest::from_bytes(Algorithm::Sha256, digests.sha256.0.to_vec()).unwrap();
    let known = store.known(&[], std::slice::from_ref(&own)).await.unwrap();
    assert_eq!(known.decisions(&known.sha256_of(&own).unwrap()).len(), 1);
    assert_eq!(store.known(&[], &[]).await.unwrap(), countersign_store::Known::default());
}

#[tokio::test]
async fn an_admission_and_its_pin_come_together_or_not_at_all() {
    let (_dir, store) = new_store().await;
    let first = admission(1);
    let recorded = store.record_pinned(first.clone()).await.unwrap();
    assert_eq!(recorded.index(), 0);
    let r = &first.record;
    let (purl, sha256) = (r.purl.to_string(), r.digests.as_ref().unwrap().sha256);
    let same = store.check_identity(&purl, &r.file_name, &sha256).await.unwrap();
    assert_eq!(same, PinOutcome::Same);
    // The same again is another entry; other bytes under the name are none, whoever else is there.
    assert_eq!(store.record_pinned(first.clone()).await.unwrap().index(), 1);
    let mut other = admission(2);
    other.record.purl = r.purl.clone();
    other.record.file_name.clone_from(&r.file_name);
    let (changed, fine) =
        tokio::join!(store.record_pinned(other), store.record(vec![admission(3)]));
    match changed.unwrap_err() {
        StoreError::PinChanged { first, what, .. } => {
            assert_eq!(first, sha256);
            assert!(what.contains(&r.file_name), "{what}");
        }
        e => panic!("{e}"),
    }
    assert_eq!(fine.unwrap()[0].index(), 2);
    assert_eq!(store.ledger_size().await.unwrap(), 3);
    assert!(store.fsck(true).await.unwrap().is_clean());
}
