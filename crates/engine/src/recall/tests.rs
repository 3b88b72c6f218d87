//! Recalls on a store of their own: what is affected, what is recorded, what a crash leaves.

use super::*;
use crate::config::{Config, Lists};
use crate::engine::{Serving, Setup};
use crate::feeds::Feeds;
use crate::index::FileRef;
use crate::pipeline::Outcome;
use crate::upstream::Upstream;
use countersign_core::{
    AdvisedAs, Age, ArtifactFacts, Check, Claim, Decision, Digests, Ecosystem, Evidence,
    EvidenceState, FiredRule, ProofClass, Purl, ReasonCode, Reservation, Sha256Digest, Timestamp,
    Verdict, VersionFacts,
};
use countersign_evidence::sigstore::TrustRoots;
use countersign_ledger::statement::{DecisionRecord, Verifier};
use countersign_policy::PolicySet;
use countersign_store::{FetchNote, NewDecision, OpenMode, Store, Waiver, init_key};
use std::collections::HashMap;
use std::path::Path;

/// A folder of its own with a store and a feed, which goes when the test ends.
struct House {
    dir: tempfile::TempDir,
    store: Store,
}

impl House {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        init_key(&dir.path().join("state"), "gate.example/ledger").await.unwrap();
        let store = Store::open(dir.path().join("state"), OpenMode::Create).await.unwrap();
        std::fs::create_dir(dir.path().join("feed")).unwrap();
        let house = Self { dir, store };
        house.list("GHSA-0", "npm", "never-used", &["1.0.0"]);
        house
    }

    /// Puts an advisory into the feed; `MAL-…` ids are malicious packages.
    fn list(&self, id: &str, ecosystem: &str, name: &str, versions: &[&str]) {
        let record = serde_json::json!({
            "id": id, "modified": "2024-01-01T00:00:00Z", "summary": id,
            "database_specific": {"severity": "CRITICAL"},
            "affected": [{"package": {"ecosystem": ecosystem, "name": name}, "versions": versions}],
        });
        std::fs::write(self.dir.path().join(format!("feed/{id}.json")), record.to_string())
            .unwrap();
    }

    fn feeds(&self) -> Feeds {
        let places = [self.dir.path().join("feed")];
        Feeds::open(&self.dir.path().join("indexes"), &places, Timestamp(0)).unwrap().unwrap()
    }

    async fn engine(&self) -> Engine {
        self.engine_with("baseline", "").await
    }

    async fn engine_with(&self, policy: &str, config: &str) -> Engine {
        self.open(policy, config, None).await
    }

    async fn open(&self, policy: &str, config: &str, serving: Option<Serving>) -> Engine {
        let (config, lists) = Config::parse("countersign.toml", config).unwrap();
        Engine::open(Setup {
            store: self.store.clone(),
            policy: PolicySet::shipped(policy).unwrap(),
            config,
            lists,
            feeds: Some(self.feeds()),
            roots: TrustRoots::embedded().unwrap(),
            evidence: Vec::new(),
            extra_roots: Vec::new(),
            upstreams: Vec::new(),
            pins: Vec::new(),
            locked: HashMap::new(),
            scopes: HashMap::new(),
            installed: Vec::new(),
            client: String::new(),
            debian: Vec::new(),
            serving,
        })
        .await
        .unwrap()
    }

    /// Records that versions 1.0.0 of these packages were admitted.
    async fn admit(&self, names: &[&str]) -> Vec<u64> {
        let new = names.iter().map(|n| decision(&facts(n), Verdict::Admit)).collect();
        self.store.record(new).await.unwrap().iter().map(|r| r.index()).collect()
    }

    async fn latest(&self, name: &str) -> Decision {
        let f = facts(name);
        let latest = self.store.latest_decision(&f.sha256, &f.version.purl, &f.file_name).await;
        latest.unwrap().unwrap().decision
    }
}

/// The facts of an old and clean npm package of that name.
fn facts(name: &str) -> ArtifactFacts {
    ArtifactFacts {
        version: VersionFacts {
            purl: Purl::new(Ecosystem::Npm, name, Some("1.0.0")),
            upstream: "https://registry.example".to_owned(),
            age: Age::Known { published: Timestamp(1_600_000_000) },
            yanked: false,
            reservation: Reservation::None,
            denied: false,
            allowed: false,
            fixes_installed: Vec::new(),
            findings: Vec::new(),
            advisories: Check::passed("advisories"),
            advised_as: None,
            upgrade: None,
            silent_days: None,
            claimed_repository: None,
        },
        file_name: format!("{name}-1.0.0.tgz"),
        sha256: Sha256Digest::of(name.as_bytes()),
        size: 1,
        digest_confirmed: true,
        index_digests: Vec::new(),
        evidence: Vec::new(),
        findings: Vec::new(),
        checks: vec![Check::passed("digest"), Check::passed("archive")],
        changes: Vec::new(),
        dependencies: Vec::new(),
    }
}

fn decision(facts: &ArtifactFacts, verdict: Verdict) -> NewDecision {
    let rule = FiredRule {
        rule: "baseline.known-malicious".into(),
        verdict,
        reason: ReasonCode::KnownMalicious,
        detail: "MAL-9".into(),
        until: None,
    };
    let fired = if verdict == Verdict::Admit { Vec::new() } else { vec![rule] };
    NewDecision {
        record: DecisionRecord {
            purl: facts.version.purl.clone(),
            file_name: facts.file_name.clone(),
            digests: Some(Digests { sha256: facts.sha256, others: Vec::new() }),
            decision: Decision::from_fired(fired, false, "ab".repeat(32)),
            time_verified: Timestamp(1_700_000_000),
            policy_uri: "urn:countersign:policy:baseline".into(),
            verifier: Verifier { id: "urn:countersign:gate".into(), version: "0".into() },
            input_attestations: Vec::new(),
            evidence: facts.evidence.clone(),
            facts_digest: None,
            verified_levels: Vec::new(),
        },
        facts: serde_json::to_value(facts).unwrap(),
    }
}

fn names(report: &RecallReport) -> Vec<&str> {
    report.recalled.iter().map(|r| r.purl.name()).collect()
}

async fn recall(engine: &Engine) -> RecallReport {
    engine.recall(RecallOptions::default()).await.unwrap()
}

#[tokio::test]
async fn a_feed_change_judges_the_packages_that_differ_and_no_others() {
    let house = House::new().await;
    let admitted = house.admit(&["a", "b", "c", "d"]).await;
    let first = recall(&house.engine().await).await;
    assert_eq!((first.counts.looked, first.counts.judged, names(&first).len()), (4, 4, 0));
    assert_eq!(first.why, ["nothing was recalled before"]);

    house.list("MAL-1", "npm", "b", &[]);
    let note = FetchNote {
        sha256: facts("b").sha256,
        purl: facts("b").version.purl,
        file_name: "b-1.0.0.tgz".into(),
        token: Some("ci".into()),
        address: Some("10.0.0.7".into()),
        agent: None,
        first: Timestamp(5),
        last: Timestamp(9),
        count: 3,
    };
    house.store.note_fetches(vec![note]).await.unwrap();
    let engine = house.engine().await;
    assert!(engine.recall_is_due().await.unwrap());
    let report = recall(&engine).await;
    assert_eq!(report.why, ["the feeds changed"]);
    let c = report.counts;
    assert_eq!((c.looked, c.affected, c.judged), (4, 1, 1), "only the package that differs");
    assert_eq!(names(&report), ["b"]);
    let b = &report.recalled[0];
    assert_eq!((b.admitted_index, b.verdict.as_str()), (admitted[1], "refuse"));
    assert_eq!(
        (b.reason.as_str(), b.ids.as_slice()),
        ("known-malicious", &["MAL-1".to_owned()][..])
    );
    assert_eq!(b.fetched[0].address.as_deref(), Some("10.0.0.7"));

    let stored = house.store.decision_at(b.index.unwrap()).await.unwrap().unwrap();
    assert_eq!(stored.decision.verdict, Verdict::Refuse);
    assert_eq!(stored.facts["version"]["findings"][0]["id"], "MAL-1");
    assert!(
        house.store.decision_at(admitted[1]).await.unwrap().unwrap().decision.verdict
            == Verdict::Admit
    );
    let entry = house.store.receipt_for(report.ledger_index.unwrap()).await.unwrap();
    let key = house.store.verifier_key().unwrap();
    let verified = countersign_ledger::verify_receipt(&entry, key, None).unwrap();
    assert_eq!(verified.statement().predicate_type(), RECALL_TYPE);
    assert!(house.store.fsck(false).await.unwrap().is_clean());

    assert!(!engine.recall_is_due().await.unwrap());
    let again = recall(&engine).await;
    assert_eq!((again.id, again.counts.judged, names(&again).len()), (None, 0, 0));
    let kept = RecallReport::kept(&house.store, report.id.unwrap()).await.unwrap().unwrap();
    assert_eq!(names(&kept), ["b"]);
    assert_eq!(kept.recalled[0].fetched.len(), 1);
}

#[tokio::test]
async fn an_index_that_is_gone_makes_everything_affected() {
    let house = House::new().await;
    house.admit(&["a", "b"]).await;
    recall(&house.engine().await).await;
    std::fs::remove_dir_all(house.dir.path().join("indexes")).unwrap();
    house.list("MAL-1", "npm", "b", &[]);
    let report = recall(&house.engine().await).await;
    assert_eq!((report.counts.affected, names(&report)), (2, vec!["b"]));
}

#[tokio::test]
async fn policy_lists_waivers_and_roots_concern_everything() {
    let house = House::new().await;
    house.list("GHSA-1", "npm", "b", &["1.0.0"]);
    house.admit(&["a", "b"]).await;
    let none = recall(&house.engine_with("audit", "").await).await;
    assert!(none.recalled.is_empty(), "a policy that only records recalls nothing");
    let report = recall(&house.engine().await).await;
    assert_eq!(report.why, ["the policy changed"]);
    assert_eq!((report.counts.judged, names(&report)), (2, vec!["b"]));
    assert_eq!(report.recalled[0].reason, "known-vulnerable");

    let report = recall(&house.engine_with("baseline", "deny = [\"pkg:npm/a\"]").await).await;
    assert_eq!(report.why, ["the configuration's lists changed"]);
    assert_eq!((report.counts.judged, names(&report)), (1, vec!["a"]));
    assert_eq!(house.latest("a").await.leading().unwrap().reason, ReasonCode::Denied);

    house.admit(&["b"]).await;
    let waiver = Waiver {
        id: "W-1".into(),
        target: "pkg:npm/b@1.0.0".parse().unwrap(),
        rule: "known-vulnerable".into(),
        reason: "not reachable".into(),
        owner: "a person".into(),
        created: Timestamp(1_700_000_000),
        until: Timestamp(4_000_000_000),
    };
    house.store.add_waiver(waiver).await.unwrap();
    let denied = "deny = [\"pkg:npm/a\"]";
    let report = recall(&house.engine_with("baseline", denied).await).await;
    assert_eq!(
        (report.why.as_slice(), names(&report).len()),
        (&["the waivers changed".to_owned()][..], 0)
    );
    let now = Timestamp(1_800_000_000);
    house.store.revoke_waiver("W-1", "a person", "reachable after all", now).await.unwrap();
    let report = recall(&house.engine_with("baseline", denied).await).await;
    assert_eq!(names(&report), ["b"], "what a waiver admitted is recalled when it is revoked");
}

#[tokio::test]
async fn evidence_that_rests_on_changed_roots_is_said_not_to_be_checked_anew() {
    let house = House::new().await;
    let mut signed = facts("signed");
    signed.evidence = vec![verified("npm-provenance")];
    house.store.record(vec![decision(&signed, Verdict::Admit)]).await.unwrap();
    house.admit(&["unsigned"]).await;
    let engine = house.engine().await;
    recall(&engine).await;
    let last = house.store.newest_recall(RecallState::Done).await.unwrap().unwrap();
    let mut other = last.new.clone();
    other.new_grounds["roots"] = "other".into();
    let id = house.store.begin_recall(&other).await.unwrap();
    house.store.finish_recall(id, RecallState::Done, Timestamp(1), None).await.unwrap();
    let report = recall(&engine).await;
    assert_eq!(report.why, ["the trust roots changed"]);
    assert_eq!((report.counts.judged, report.counts.not_anew), (2, 1));
}

fn verified(kind: &str) -> Evidence {
    let json = serde_json::json!({
        "kind": kind, "signer": "someone", "proof": ProofClass::InclusionProof,
    });
    let claim: Claim = serde_json::from_value(json).unwrap();
    let state = EvidenceState::Verified { claim: Box::new(claim) };
    Evidence { kind: kind.into(), source: "a test".into(), state }
}

#[tokio::test]
async fn a_dry_run_finds_the_same_and_writes_nothing() {
    let house = House::new().await;
    house.list("MAL-1", "npm", "b", &[]);
    house.admit(&["a", "b"]).await;
    let engine = house.engine().await;
    let size = house.store.ledger_size().await.unwrap();
    let dry = engine.recall(RecallOptions { dry_run: true, all: false }).await.unwrap();
    assert_eq!((names(&dry), dry.id, dry.recalled[0].index), (vec!["b"], None, None));
    assert_eq!(dry.recalled[0].admitted, Timestamp(1_700_000_000));
    assert_eq!(house.store.ledger_size().await.unwrap(), size);
    assert!(house.store.recalls(9).await.unwrap().is_empty());
    assert_eq!(names(&recall(&engine).await), ["b"]);
}

#[tokio::test]
async fn what_is_admitted_after_a_recall_is_judged_by_the_next_one() {
    let house = House::new().await;
    house.list("MAL-1", "npm", "b", &[]);
    let engine = house.engine().await;
    house.admit(&["a"]).await;
    recall(&engine).await;
    // Another process, with other grounds, admits into the same store.
    house.admit(&["c"]).await;
    let clean = recall(&engine).await;
    assert_eq!((clean.id, clean.counts.looked, clean.counts.judged), (None, 1, 1));
    let moved = house.store.newest_recall(RecallState::Done).await.unwrap().unwrap();
    assert_eq!(moved.new.horizon, house.store.ledger_size().await.unwrap());
    house.admit(&["b"]).await;
    let found = recall(&engine).await;
    assert_eq!((found.counts.looked, names(&found)), (1, vec!["b"]));
    assert_eq!(found.why, ["admitted since the last recall"]);
    let all = engine.recall(RecallOptions { all: true, dry_run: false }).await.unwrap();
    assert_eq!((all.counts.judged, names(&all).len()), (2, 0));
}

#[tokio::test]
async fn what_was_refused_when_asked_for_is_named_all_the_same() {
    let house = House::new().await;
    house.admit(&["a", "b"]).await;
    recall(&house.engine().await).await;
    house.list("MAL-9", "npm", "b", &[]);
    let mut now_listed = facts("b");
    let engine = house.engine().await;
    let package = engine.feed_package(Ecosystem::Npm, "b", None).unwrap();
    (now_listed.version.findings, now_listed.version.advisories) = package.of_version("1.0.0");
    house.store.record(vec![decision(&now_listed, Verdict::Refuse)]).await.unwrap();
    let report = recall(&engine).await;
    assert_eq!((report.counts.judged, names(&report)), (0, vec!["b"]));
    assert_eq!(report.recalled[0].ids, ["MAL-9"]);
    assert!(recall(&engine).await.recalled.is_empty(), "it is named once");
}

#[tokio::test]
async fn a_recall_that_was_cut_off_goes_on() {
    // 0: begun. 1: announced. 2: recorded and not settled. 3: half a page done.
    for crash in 0..4 {
        let house = House::new().await;
        house.admit(&["a", "b", "c"]).await;
        recall(&house.engine().await).await;
        house.list("MAL-1", "npm", "a", &[]);
        house.list("MAL-2", "npm", "c", &[]);
        let engine = house.engine().await;
        let mut work = Work::prepare(&engine, RecallOptions::default()).await.unwrap();
        let id = work.id.unwrap();
        let rows = |n: usize| {
            let name = ["a", "b", "c"][n];
            RecalledRow {
                old_index: n as u64,
                old_time: Timestamp(0),
                new_index: None,
                purl: facts(name).version.purl,
                file_name: facts(name).file_name,
                sha256: facts(name).sha256,
                verdict: "refuse".into(),
                rule: "baseline.known-malicious".into(),
                reason: "known-malicious".into(),
                detail: "listed".into(),
                ids: vec!["MAL".into()],
                fixed: None,
            }
        };
        if crash >= 1 {
            house.store.plan_recalled(id, &[rows(0), rows(2)]).await.unwrap();
        }
        if crash >= 2 {
            let new = vec![decision(&facts("a"), Verdict::Refuse)];
            let new = house.store.record(new).await.unwrap()[0].index();
            if crash == 3 {
                house.store.settle_recalled(id, &[(0, new)]).await.unwrap();
                work.counts.looked = 1;
                house.store.advance_recall(id, 1, &work.counts).await.unwrap();
            }
        }
        drop((work, engine));

        let engine = house.engine().await;
        assert!(engine.recall_is_due().await.unwrap());
        let report = recall(&engine).await;
        assert_eq!((report.id, names(&report)), (Some(id), vec!["a", "c"]), "crash {crash}");
        for r in &report.recalled {
            let new = house.store.decision_at(r.index.unwrap()).await.unwrap().unwrap();
            assert_eq!((new.purl, new.decision.verdict), (r.purl.clone(), Verdict::Refuse));
        }
        assert_eq!(house.latest("b").await.verdict, Verdict::Admit);
        let refusals = house.store.recent_not_admitted(9).await.unwrap().len();
        assert_eq!(refusals, 2, "crash {crash}: none is recorded twice");
        assert!(house.store.newest_recall(RecallState::Running).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn a_recall_that_was_cut_off_under_other_grounds_is_closed() {
    let house = House::new().await;
    house.admit(&["a", "b"]).await;
    let engine = house.engine().await;
    let old = Work::prepare(&engine, RecallOptions::default()).await.unwrap().id.unwrap();
    house.list("MAL-1", "npm", "b", &[]);
    let report = recall(&house.engine().await).await;
    assert_eq!(names(&report), ["b"]);
    assert_ne!(report.id, Some(old));
    assert_eq!(house.store.recall(old).await.unwrap().unwrap().state, RecallState::Superseded);
}

#[tokio::test]
async fn grounds_that_change_meanwhile_end_a_recall() {
    let house = House::new().await;
    house.admit(&["a"]).await;
    let engine = house.engine().await;
    let mut work = Work::prepare(&engine, RecallOptions::default()).await.unwrap();
    engine.replace_grounds(|g| g.lists = std::sync::Arc::new(Lists::default()));
    let state = work.pages().await.unwrap();
    let report = work.finish(state).await.unwrap();
    assert_eq!((report.state, report.ledger_index), (RecallState::Superseded, None));
    assert_eq!(recall(&engine).await.state, RecallState::Done);
}

#[tokio::test]
async fn facts_that_cannot_be_read_are_named_and_not_passed_over() {
    let house = House::new().await;
    house.admit(&["a"]).await;
    let mut broken = decision(&facts("b"), Verdict::Admit);
    broken.facts = serde_json::json!({"version": 7});
    house.store.record(vec![broken]).await.unwrap();
    let report = recall(&house.engine().await).await;
    assert_eq!((report.counts.looked, report.counts.judged, report.counts.not_done), (2, 1, 1));
    assert_eq!(report.unjudged[0].purl.name(), "b");
}

#[tokio::test]
async fn debs_are_judged_by_their_source_package() {
    let house = House::new().await;
    house.list("GHSA-5", "Debian:12", "something-else", &["1"]);
    let deb = |name: &str, advised_as: Option<AdvisedAs>| {
        let mut f = facts(name);
        f.version.purl =
            Purl::new(Ecosystem::Debian, name, Some("2-1")).with_qualifier("arch", "amd64");
        f.version.advised_as = advised_as;
        f.evidence = vec![verified("debian-release")];
        decision(&f, Verdict::Admit)
    };
    let source = |name: &str| {
        let release = Some("bookworm".to_owned());
        Some(AdvisedAs { name: name.to_owned(), version: "2-1".to_owned(), release })
    };
    let new = vec![deb("libfoo1", source("foo")), deb("libbar1", source("bar")), deb("old", None)];
    house.store.record(new).await.unwrap();
    recall(&house.engine().await).await;
    house.list("DSA-1", "Debian:12", "foo", &["2-1"]);
    let report = recall(&house.engine().await).await;
    assert_eq!(names(&report), ["libfoo1"]);
    assert_eq!(report.counts.affected, 2, "of the one without a source package nobody can tell");
    assert_eq!(report.recalled[0].ids, ["DSA-1"]);
    // What was not asked anew is a check that was not done: a strict policy holds it.
    let strict = recall(&house.engine_with("strict", "").await).await;
    let old = strict.recalled.iter().find(|r| r.purl.name() == "old").unwrap();
    assert_eq!(old.verdict, "hold", "{old:?}");
}

#[tokio::test]
async fn a_feed_that_cannot_be_read_recalls_and_clears_nothing() {
    let house = House::new().await;
    house.admit(&["a", "b"]).await;
    recall(&house.engine().await).await;
    house.list("MAL-1", "npm", "b", &[]);
    let engine = house.engine().await;
    for entry in std::fs::read_dir(house.dir.path().join("indexes")).unwrap().flatten() {
        tear(&entry.path());
    }
    let size = house.store.ledger_size().await.unwrap();
    let error = engine.recall(RecallOptions::default()).await.unwrap_err();
    assert!(matches!(error, RecallError::Feeds(_)), "{error}");
    assert_eq!(house.store.ledger_size().await.unwrap(), size);
    assert!(engine.recall_is_due().await.unwrap(), "it is not done");
    drop(engine);
    let report = recall(&house.engine().await).await;
    assert_eq!(names(&report), ["b"], "it goes on when the index is whole again");
}

/// Spoils all bytes of an index under whoever has it open; its table was read before.
fn tear(path: &Path) {
    use std::os::unix::fs::FileExt as _;
    let bytes: Vec<u8> = std::fs::read(path).unwrap().iter().map(|b| b ^ 0xff).collect();
    std::fs::OpenOptions::new().write(true).open(path).unwrap().write_all_at(&bytes, 0).unwrap();
}

#[tokio::test]
async fn many_are_recalled_in_batches() {
    let house = House::new().await;
    let all: Vec<String> = (0..1300).map(|n| format!("p{n}")).collect();
    house.admit(&all.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let engine = house.engine_with("baseline", "deny = [\"pkg:npm/p*\"]").await;
    let report = recall(&engine).await;
    assert_eq!((report.counts.judged, report.recalled.len()), (1300, 1300));
    assert!(report.recalled.iter().all(|r| r.index.is_some()));
    assert_eq!(house.store.ledger_size().await.unwrap(), 2601);
}

#[tokio::test]
async fn whoever_is_named_is_told() {
    let house = House::new().await;
    house.list("MAL-1", "npm", "b", &[]);
    house.admit(&["b"]).await;
    let file = house.dir.path().join("told.json");
    let config = format!("[recall]\ncommand = [\"sh\", \"-c\", \"cat > '{}'\"]\n", file.display());
    let report = recall(&house.engine_with("baseline", &config).await).await;
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    let told: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(told["recalled"][0]["ids"][0], "MAL-1");
    assert_eq!(told["id"], report.id.unwrap());

    house.admit(&["b"]).await;
    let config = "[recall]\ncommand = [\"false\"]\nwebhook = \"http://127.0.0.1:1/secret\"\n";
    let report = recall(&house.engine_with("baseline", config).await).await;
    assert_eq!((report.recalled.len(), report.problems.len()), (1, 2));
    assert!(!report.problems.concat().contains("secret"), "{:?}", report.problems);
    let bad = Config::parse("c", "[recall]\nwebhook = \"file:///etc/passwd\"\n").unwrap_err();
    assert!(bad.to_string().contains("http or https"), "{bad}");
}

#[tokio::test]
async fn a_webhook_gets_the_recall() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let got = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut text = String::new();
        let mut buffer = [0; 4096];
        while !text.contains("\"problems\":[]}") {
            let n = socket.read(&mut buffer).await.unwrap();
            assert!(n > 0, "{text}");
            text.push_str(&String::from_utf8_lossy(&buffer[..n]));
        }
        socket.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        text
    });
    let house = House::new().await;
    house.list("MAL-1", "npm", "b", &[]);
    house.admit(&["b"]).await;
    let config = format!("[recall]\nwebhook = \"http://127.0.0.1:{port}/hook\"\n");
    let report = recall(&house.engine_with("baseline", &config).await).await;
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    let text = got.await.unwrap();
    assert!(text.starts_with("POST /hook HTTP/1.1\r\n") && text.contains("MAL-1"), "{text}");
}

#[tokio::test]
async fn the_watch_recalls_at_the_start_and_after_each_change() {
    let house = House::new().await;
    house.admit(&["a", "b", "c"]).await;
    house.list("MAL-1", "npm", "a", &[]);
    let engine = house.engine().await;
    let watch = tokio::spawn(engine.clone().recall_watch());
    wait_for(&house, "a").await;
    assert_eq!(house.latest("b").await.verdict, Verdict::Admit);
    house.list("MAL-2", "npm", "b", &[]);
    let feeds = std::sync::Arc::new(house.feeds());
    engine.replace_grounds(|g| g.feeds = Some(feeds));
    wait_for(&house, "b").await;
    assert_eq!(house.latest("c").await.verdict, Verdict::Admit);
    watch.abort();
}

async fn wait_for(house: &House, name: &str) {
    for _ in 0..100 {
        if house.latest(name).await.verdict == Verdict::Refuse {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("{name} was not recalled");
}

#[tokio::test]
async fn a_file_of_an_index_that_was_judged_before_is_judged_on_the_present_grounds() {
    let house = House::new().await;
    let engine = house.open("baseline", "", Some(Serving::default())).await;
    let upstream = Upstream::new(Ecosystem::Npm, "http://127.0.0.1:1/").unwrap();
    let file = std::sync::Arc::new(FileRef {
        facts: facts("b").version,
        file_name: "b-1.0.0.tgz".into(),
        url: upstream.base.join("b/-/b-1.0.0.tgz").unwrap(),
        expected: Vec::new(),
        size: None,
        attestations: None,
        signatures: Vec::new(),
        evidence: Vec::new(),
        upstream: std::sync::Arc::new(upstream),
        next_admissible: None,
    });
    house.list("MAL-1", "npm", "b", &[]);
    let feeds = std::sync::Arc::new(house.feeds());
    engine.replace_grounds(|g| g.feeds = Some(feeds));
    match engine.admit(file, http::HeaderMap::new()).await {
        Outcome::Refused(r) => assert_eq!(r.reason(), ReasonCode::KnownMalicious),
        Outcome::Admitted(_) => panic!("released on what an old feed said"),
    }
}
