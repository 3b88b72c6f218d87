//! Evidence about a crate in an OCI registry, through the whole pipeline: a registry and a mint of
//! the tests' own on the loopback interface.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "tests fail by panicking, and each uses a part of the shared support"
)]

#[path = "../../cli/tests/support/archives.rs"]
mod archives;
#[path = "../../evidence/tests/mint/mod.rs"]
mod mint;
#[path = "../../cli/tests/support/registries.rs"]
mod registries;
#[path = "../../cli/tests/support/server.rs"]
mod server;

use archives::{cargo_crate, sha256};
use base64::Engine as _;
use countersign_core::{Ecosystem, Evidence, EvidenceState, Purl, Sha256Digest};
use countersign_engine::config::Config;
use countersign_engine::evidence_kinds::sigstore::TrustRoots;
use countersign_engine::policy::PolicySet;
use countersign_engine::serving::{Asker, Form, Route, View};
use countersign_engine::store::{OpenMode, Store, init_key};
use countersign_engine::{Answer, Engine, EvidenceSource, Serving, Setup, Upstream as Registry};
use http::{HeaderMap, Method};
use mint::{Kind, Mint, Recipe, Rekor, Version};
use registries::{Cargo, OLD};
use serde_json::{Value, json};
use server::{Fault, Reply, Upstream};
use std::collections::HashMap;
use std::time::Duration;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const REPOSITORY: &str = "/v2/team/evidence";
const PURL: &str = "pkg:cargo/clean@1.0.0";

/// A crate in a registry, a place for evidence, and a gate that asks it.
struct Gate {
    crates: Upstream,
    evidence: Upstream,
    mint: Mint,
    folder: tempfile::TempDir,
    bytes: Vec<u8>,
}

fn digest_of(bytes: &[u8]) -> String {
    format!("sha256:{}", sha256(bytes))
}

fn descriptor(kind: &str, bytes: &[u8]) -> Value {
    json!({
        "mediaType": kind, "artifactType": BUNDLE, "size": bytes.len(), "digest": digest_of(bytes),
    })
}

fn index(manifests: &[Value]) -> Vec<u8> {
    json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}).to_string().into()
}

impl Gate {
    async fn start() -> Self {
        let (crates, evidence) = (Upstream::start(), Upstream::start());
        let bytes = cargo_crate("clean", "1.0.0", &[]);
        Cargo::new(&crates).add_bytes("clean", "1.0.0", OLD, bytes.clone());
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        drop(Store::open(&state, OpenMode::Create).await.unwrap());
        init_key(&state, "gate.example/ledger").await.unwrap();
        Self { crates, evidence, mint: Mint::new(), folder, bytes }
    }

    fn source(&self) -> String {
        format!("oci+{}", self.evidence.url("/team/evidence"))
    }

    async fn store(&self) -> Store {
        Store::open(self.folder.path().join("state"), OpenMode::Existing).await.unwrap()
    }

    fn bundle(&self, name: &str) -> Vec<u8> {
        let mut recipe = Recipe::new(Version::V03, Kind::Statement, Rekor::First);
        recipe.payload["subject"][0] =
            json!({"name": name, "digest": {"sha256": sha256(&self.bytes)}});
        self.mint.bundle(&recipe).to_string().into_bytes()
    }

    fn manifest(&self, bundle: &[u8]) -> Vec<u8> {
        json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": BUNDLE,
            "config": descriptor("application/vnd.oci.empty.v1+json", b"{}"),
            "layers": [descriptor(BUNDLE, bundle)],
            "subject": descriptor(MANIFEST, &self.bytes),
        })
        .to_string()
        .into()
    }

    fn put(&self, path: &str, kind: &str, bytes: &[u8]) {
        self.evidence.put(&format!("{REPOSITORY}/{path}"), Reply::ok(kind, bytes));
    }

    fn break_with(&self, path: &str, change: fn(Reply) -> Reply) {
        self.evidence.break_with(&format!("{REPOSITORY}/{path}"), change);
    }

    fn listed(&self) -> String {
        format!("referrers/{}", digest_of(&self.bytes))
    }

    /// Attaches a bundle; where its manifest and its blob lie.
    fn attach(&self, bundle: &[u8]) -> (String, String) {
        let manifest = self.manifest(bundle);
        let manifests = format!("manifests/{}", digest_of(&manifest));
        let blob = format!("blobs/{}", digest_of(bundle));
        self.put(&self.listed(), INDEX, &index(&[descriptor(MANIFEST, &manifest)]));
        self.put(&manifests, MANIFEST, &manifest);
        self.put(&blob, "application/octet-stream", bundle);
        (manifests, blob)
    }

    /// Asks the gate for the crate; what the ledger holds about its evidence.
    async fn evidence(&self) -> Vec<Evidence> {
        let upstream = Registry::new(Ecosystem::Cargo, &self.crates.url("/index/")).unwrap();
        let (mut config, lists) = Config::parse("c", "").unwrap();
        config.patience.read_seconds = 2;
        let roots = self.mint.trusted_root().to_string();
        let setup = Setup {
            store: self.store().await,
            policy: PolicySet::shipped("audit").unwrap(),
            config,
            lists,
            feeds: None,
            roots: TrustRoots::from_trusted_root_json(roots.as_bytes()).unwrap(),
            evidence: vec![self.source().parse::<EvidenceSource>().unwrap()],
            extra_roots: Vec::new(),
            upstreams: vec![(upstream, None)],
            pins: Vec::new(),
            locked: HashMap::new(),
            scopes: HashMap::new(),
            installed: Vec::new(),
            client: "test".to_owned(),
            debian: Vec::new(),
            serving: Some(Serving {
                fresh: Duration::ZERO,
                stale: Duration::from_secs(3600),
                memory: 1 << 20,
                tokens_required: false,
            }),
        };
        let engine = Engine::open(setup).await.unwrap();
        let (name, version) = ("clean".to_owned(), "1.0.0".to_owned());
        let route = Route::CargoDownload { view: View::All, name, version };
        let (headers, asker) = (HeaderMap::new(), Asker::default());
        let none = bytes::Bytes::new();
        let served = engine.serve(&route, Form::Plain, &Method::GET, &headers, none, &asker).await;
        if let Answer::Refused(refusal) = &served.answer {
            eprintln!("{}", refusal.to_text());
        }
        let purl: Purl = PURL.parse().unwrap();
        let decisions = engine.store().decisions_for_purl(&purl).await.unwrap();
        let facts = &decisions.first().unwrap().facts;
        serde_json::from_value(facts["evidence"].clone()).unwrap()
    }

    /// The state of the one piece of evidence of that source.
    async fn state(&self) -> EvidenceState {
        let all = self.evidence().await;
        let of_source: Vec<&Evidence> = all.iter().filter(|e| e.source == self.source()).collect();
        assert_eq!(of_source.len(), 1, "{all:?}");
        of_source[0].state.clone()
    }

    /// What the store keeps of the source's answer.
    async fn kept(&self) -> Option<Value> {
        let digest = Sha256Digest::of(&self.bytes);
        let question = format!("sigstore-bundle.json {}", self.source());
        self.store().await.get_result(&digest, "evidence-source", &question).await.unwrap()
    }
}

#[track_caller]
fn expect_invalid(state: &EvidenceState, word: &str) {
    let EvidenceState::Invalid { because, .. } = state else { panic!("{state:?}") };
    assert!(because.contains(word), "{because}");
}

#[track_caller]
fn expect_unreachable(state: &EvidenceState, word: &str) {
    let EvidenceState::Unreachable { because } = state else { panic!("{state:?}") };
    assert!(because.contains(word), "{because}");
}

#[tokio::test]
async fn a_crate_s_attestation_is_found_among_its_referrers_and_kept() {
    let gate = Gate::start().await;
    let bundle = gate.bundle(PURL);
    gate.attach(&bundle);
    let state = gate.state().await;
    let EvidenceState::Verified { claim } = &state else { panic!("{state:?}") };
    assert_eq!(claim.repository.as_deref(), Some("https://forge.example/o/r"));
    assert_eq!(claim.repository_id.as_deref(), Some("12"));
    let kept = gate.kept().await.unwrap();
    let encoded = base64::prelude::BASE64_STANDARD.encode(&bundle);
    assert_eq!(kept["documents"], json!([encoded]));
}

#[tokio::test]
async fn a_registry_without_the_list_is_asked_for_the_tag() {
    let gate = Gate::start().await;
    let (listed, tag) = (gate.listed(), format!("manifests/sha256-{}", sha256(&gate.bytes)));
    // What the list said stands under the tag now.
    let bundle = gate.bundle("clean-1.0.0.crate");
    let manifest = gate.manifest(&bundle);
    gate.attach(&bundle);
    gate.put(&tag, INDEX, &index(&[descriptor(MANIFEST, &manifest)]));
    gate.break_with(&listed, |_| Reply::error(404));
    assert!(matches!(gate.state().await, EvidenceState::Verified { .. }));
}

#[tokio::test]
async fn the_list_may_have_pages() {
    let gate = Gate::start().await;
    let bundle = gate.bundle(PURL);
    let manifest = gate.manifest(&bundle);
    gate.attach(&bundle);
    let (listed, path) = (gate.listed(), format!("{REPOSITORY}/{}", gate.listed()));
    let second = index(&[descriptor(MANIFEST, &manifest)]);
    gate.evidence.put_fn(&path, move |seen| {
        if seen.path.contains("last=1") {
            return Reply::ok(INDEX, second.clone());
        }
        let next = format!("<{REPOSITORY}/{listed}?last=1>; rel=\"next\"");
        Reply::ok(INDEX, index(&[])).header("link", &next)
    });
    assert!(matches!(gate.state().await, EvidenceState::Verified { .. }));
}

#[tokio::test]
async fn a_list_without_an_end_or_that_leads_elsewhere_is_unreachable() {
    for (target, word) in [("/v2/team/evidence/more", "pages"), ("http://other.example/", "origin")]
    {
        let gate = Gate::start().await;
        let link = format!("<{target}>; rel=\"next\"");
        let page = Reply::ok(INDEX, index(&[])).header("link", &link);
        gate.evidence.put(&format!("{REPOSITORY}/{}", gate.listed()), page.clone());
        gate.evidence.put(&format!("{REPOSITORY}/more"), page);
        expect_unreachable(&gate.state().await, word);
        assert_eq!(gate.kept().await, None);
    }
}

#[tokio::test]
async fn nothing_there_is_absent_and_remembered_for_a_while() {
    let gate = Gate::start().await;
    let all = gate.evidence().await;
    assert!(all.iter().all(|e| e.source != gate.source()), "{all:?}");
    assert_eq!(gate.evidence.count(&format!("{REPOSITORY}/{}", gate.listed())), 1);
    assert_eq!(gate.kept().await.unwrap()["documents"], json!([]));
}

#[tokio::test]
async fn what_was_kept_is_verified_without_asking() {
    let gate = Gate::start().await;
    let digest = Sha256Digest::of(&gate.bytes);
    let question = format!("sigstore-bundle.json {}", gate.source());
    let keep = |bundle: Vec<u8>| {
        let encoded = base64::prelude::BASE64_STANDARD.encode(bundle);
        json!({"at": 0, "documents": [encoded]})
    };
    let store = gate.store().await;
    let value = keep(gate.bundle(PURL));
    store.put_result(&digest, "evidence-source", &question, &value).await.unwrap();
    store.close().await.unwrap();
    assert!(matches!(gate.state().await, EvidenceState::Verified { .. }));
    assert!(gate.evidence.seen().is_empty());

    // That it was kept proves nothing.
    let gate = Gate::start().await;
    let question = format!("sigstore-bundle.json {}", gate.source());
    let value = keep(gate.bundle("pkg:cargo/other@1.0.0"));
    let store = gate.store().await;
    store.put_result(&digest, "evidence-source", &question, &value).await.unwrap();
    store.close().await.unwrap();
    expect_invalid(&gate.state().await, "other");
}

#[tokio::test]
async fn what_cannot_be_had_is_unreachable_and_not_kept() {
    type Break = fn(&Gate, &(String, String));
    let breaks: [(Break, &str); 6] = [
        (|g, _| g.break_with(&g.listed(), |_| Reply::error(500)), "500"),
        (|g, _| g.break_with(&g.listed(), |_| Reply::error(401)), "401"),
        (|g, _| g.break_with(&g.listed(), |r| r.fault(Fault::CloseAtOnce)), ""),
        (
            |g, p| g.evidence.break_with(&format!("{REPOSITORY}/{}", p.0), |_| Reply::error(404)),
            "lacks",
        ),
        (
            |g, p| g.evidence.break_with(&format!("{REPOSITORY}/{}", p.1), |_| Reply::error(404)),
            "lacks",
        ),
        (
            |g, p| {
                g.evidence.break_with(&format!("{REPOSITORY}/{}", p.1), |r| {
                    r.fault(Fault::StallAfter(10))
                })
            },
            "",
        ),
    ];
    for (change, word) in breaks {
        let gate = Gate::start().await;
        let places = gate.attach(&gate.bundle(PURL));
        change(&gate, &places);
        expect_unreachable(&gate.state().await, word);
        assert_eq!(gate.kept().await, None);
    }
}

#[tokio::test]
async fn what_is_not_what_it_is_named_to_be_is_invalid_and_not_kept() {
    type Break = fn(&Gate, &(String, String));
    let breaks: [(Break, &str); 5] = [
        (|g, _| g.put(&g.listed(), INDEX, b"<html>"), "malformed"),
        (|g, p| g.put(&p.0, MANIFEST, b"{}"), "digest"),
        (|g, p| g.put(&p.1, BUNDLE, &g.bundle(PURL)), "digest"),
        (|g, _| drop(g.attach(&g.bundle("pkg:cargo/other@1.0.0"))), "other"),
        (|g, _| drop(g.attach(b"{}")), "malformed"),
    ];
    for (change, word) in breaks {
        let gate = Gate::start().await;
        let places = gate.attach(&gate.bundle(PURL));
        change(&gate, &places);
        expect_invalid(&gate.state().await, word);
        assert_eq!(gate.kept().await, None);
    }
}

#[tokio::test]
async fn a_manifest_of_another_artifact_is_invalid() {
    let gate = Gate::start().await;
    let bundle = gate.bundle(PURL);
    let hex = sha256(&gate.bytes);
    let text = String::from_utf8(gate.manifest(&bundle)).unwrap();
    let manifest = text.replace(&hex, &"0".repeat(64)).into_bytes();
    gate.put(&gate.listed(), INDEX, &index(&[descriptor(MANIFEST, &manifest)]));
    gate.put(&format!("manifests/{}", digest_of(&manifest)), MANIFEST, &manifest);
    expect_invalid(&gate.state().await, "digest");
}
