//! The one way from a file that an index names to bytes that may be released.

use crate::engine::Engine;
use crate::fetch::Staged;
use crate::http_client::Failure;
use crate::index::FileRef;
use crate::index_digests::index_digests;
use crate::refusal::Refusal;
use crate::report::Entry;
use countersign_core::{
    Algorithm, ArtifactFacts, Check, Decision, Digests, Evidence, EvidenceState, ExpectedDigest,
    FindingKind, Purl, ReasonCode, Sha256Digest, Timestamp, Verdict,
};
use countersign_ledger::statement::{DecisionRecord, Verifier};
use countersign_store::{NewDecision, PinOutcome, Recorded, StoreError};
use futures_util::FutureExt as _;
use http::HeaderMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use tracing::Instrument as _;

/// Bytes that were judged, recorded durably, and may be released. Only this module makes one, and
/// only from a decision to admit that the store says is durable.
#[derive(Debug)]
pub struct Admitted {
    purl: Purl,
    file_name: String,
    blob: PathBuf,
    sha256: Sha256Digest,
    size: u64,
    content_type: &'static str,
    ledger_index: u64,
    state: Option<FileState>,
}

/// A file as it was when its bytes were hashed: size, time of the last change, inode.
type FileState = (u64, i64, i64, u64);

fn state_of(metadata: io::Result<std::fs::Metadata>) -> Option<FileState> {
    use std::os::unix::fs::MetadataExt as _;
    let m = metadata.ok()?;
    Some((m.size(), m.ctime(), m.ctime_nsec(), m.ino()))
}

impl Admitted {
    fn mint(
        blob: PathBuf,
        size: u64,
        file: &FileRef,
        sha256: Sha256Digest,
        recorded: &Recorded,
    ) -> Option<Self> {
        // The record must say "admit", and of these very bytes.
        if recorded.verdict() != Verdict::Admit || recorded.sha256() != Some(&sha256) {
            return None;
        }
        let content_type = content_type_of(&file.file_name);
        let (ledger_index, state) = (recorded.index(), state_of(std::fs::metadata(&blob)));
        let (purl, file_name) = (file.purl().clone(), file.file_name.clone());
        Some(Self { purl, file_name, blob, sha256, size, content_type, ledger_index, state })
    }

    /// Size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The version that it is a file of.
    #[must_use]
    pub fn purl(&self) -> &Purl {
        &self.purl
    }

    /// The file's name.
    #[must_use]
    pub fn file_name(&self) -> &str {
        &self.file_name
    }

    /// The digest of the bytes.
    #[must_use]
    pub fn sha256(&self) -> Sha256Digest {
        self.sha256
    }

    /// The media type that registries use for this kind of file.
    #[must_use]
    pub fn content_type(&self) -> &'static str {
        self.content_type
    }

    /// The decision's index in the ledger.
    #[must_use]
    pub fn ledger_index(&self) -> u64 {
        self.ledger_index
    }

    /// Whether the file that holds the bytes is as it was when they were hashed.
    pub(crate) fn is_untouched(&self) -> bool {
        self.state.is_some() && state_of(std::fs::metadata(&self.blob)) == self.state
    }

    /// Opens the bytes.
    ///
    /// # Errors
    /// When the blob is gone from the store, or its file was changed since it was hashed.
    pub fn open(&self) -> io::Result<std::fs::File> {
        let file = std::fs::File::open(&self.blob)?;
        if self.state.is_none() || state_of(file.metadata()) != self.state {
            let said = format!("the blob {} was changed since it was hashed", self.sha256);
            return Err(io::Error::new(io::ErrorKind::InvalidData, said));
        }
        Ok(file)
    }
}

fn content_type_of(file_name: &str) -> &'static str {
    match file_name.rsplit('.').next() {
        Some("deb") => "application/vnd.debian.binary-package",
        Some("whl" | "zip") => "application/zip",
        Some("crate" | "gz" | "tgz") => "application/gzip",
        _ => "application/octet-stream",
    }
}

/// Whether a decision pins the digest of the file that it is about.
#[derive(Clone, Copy)]
enum Pin {
    WithIt,
    No,
}

/// Another digest is pinned for a file.
struct Changed {
    first: Sha256Digest,
    first_seen: Timestamp,
}

/// How often an artifact is judged anew because the grounds were replaced while it was judged.
const GROUNDS_TRIES: usize = 4;

/// How the pipeline ended for one file.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// It may be released.
    Admitted(Arc<Admitted>),
    /// It may not, and why.
    Refused(Arc<Refusal>),
}

/// A flight that everybody who asks for the same file waits for.
pub(crate) type Flight =
    futures_util::future::Shared<futures_util::future::BoxFuture<'static, Outcome>>;

impl Engine {
    /// Judges a file, fetching it if it is not known. However many ask, one fetch runs; it goes on
    /// when the asker leaves.
    pub(crate) async fn admit(&self, file: Arc<FileRef>, headers: HeaderMap) -> Outcome {
        // One address may be listed for several packages; each is judged for what it is said to be.
        let key = format!("{} {} {:?}", file.url, file.purl(), file.expected);
        if let Some(admitted) = self.admitted_before(&key, &file) {
            return Outcome::Admitted(admitted);
        }
        let flight = {
            let mut flights = self.inner.flights.lock();
            match flights.get(&key) {
                Some(flight) => flight.clone(),
                None => {
                    let flight = self.begin_flight(key.clone(), file, headers);
                    flights.insert(key, flight.clone());
                    flight
                }
            }
        };
        flight.await
    }

    fn begin_flight(&self, key: String, file: Arc<FileRef>, headers: HeaderMap) -> Flight {
        let (label, generation) = (file.purl().label(), self.generation());
        let (engine, judged) = (self.clone(), file.clone());
        // A child of what the first who asks is doing; the others see only that they wait.
        let span =
            tracing::debug_span!(target: "countersign::pipeline", "judge", artifact = %label);
        let task =
            tokio::spawn(async move { engine.judge(judged, headers).await }.instrument(span));
        let engine = self.clone();
        async move {
            let lost = Failure::new(ReasonCode::Internal, "the inspection ended unexpectedly");
            let outcome = match task.await {
                Ok(outcome) => outcome,
                Err(_) => engine.internal_refusal(&label, &lost),
            };
            if engine.serves() {
                if let Outcome::Admitted(admitted) = &outcome {
                    engine.remember_admitted(key.clone(), &file, admitted, generation);
                }
                engine.inner.flights.lock().remove(&key);
            } else if matches!(&outcome, Outcome::Refused(r) if r.reason().is_upstream() || r.reason().is_gate())
            {
                // An upstream's failure may pass: the next one who asks tries again.
                engine.inner.flights.lock().remove(&key);
            }
            outcome
        }
        .boxed()
        .shared()
    }

    fn internal_refusal(&self, what: &str, failure: &Failure) -> Outcome {
        let decision =
            Decision::refused_by_gate(failure.reason, &failure.detail, self.policy_digest());
        Outcome::Refused(Arc::new(Refusal::unrecorded(what, decision, self.now())))
    }

    async fn judge(&self, file: Arc<FileRef>, headers: HeaderMap) -> Outcome {
        let label = file.purl().label();
        self.report().begin(&label);
        let began = Instant::now();
        let outcome = self.judge_on_present_grounds(&file, headers).await;
        self.inner.metrics.judging().add(began.elapsed());
        self.report().end(&label);
        match outcome {
            Ok(outcome) => outcome,
            Err(failure) => {
                // What could not be recorded is refused, and said not to be recorded.
                tracing::error!(artifact = %label, error = %failure, "an artifact could not be judged");
                let outcome = self.internal_refusal(&label, &failure);
                if let Outcome::Refused(r) = &outcome {
                    self.report().add(Entry::of_refusal(r, None));
                }
                outcome
            }
        }
    }

    /// Judges, and judges again when the grounds were replaced meanwhile: an admission on grounds
    /// that are no longer there must not be released.
    async fn judge_on_present_grounds(
        &self,
        file: &Arc<FileRef>,
        headers: HeaderMap,
    ) -> Result<Outcome, Failure> {
        for _ in 0..GROUNDS_TRIES {
            let generation = self.generation();
            let file = self.on_present_grounds(file)?;
            let outcome = self.judge_steps(&file, headers.clone()).await?;
            if generation == self.generation() || matches!(outcome, Outcome::Refused(_)) {
                return Ok(outcome);
            }
        }
        Err(Failure::new(ReasonCode::Internal, "the grounds of the decision keep changing"))
    }

    async fn judge_steps(
        &self,
        file: &Arc<FileRef>,
        headers: HeaderMap,
    ) -> Result<Outcome, Failure> {
        // What metadata alone refuses is not fetched.
        let by_metadata = self.decide_version(&file.facts, &sha256_digests(&file.expected));
        if by_metadata.verdict != Verdict::Admit {
            return self.refuse(file, None, by_metadata, None).await;
        }
        if let Some(known) = self.known_blob(file).await? {
            return self.judge_bytes(file, known).await;
        }
        let span = tracing::debug_span!(target: "countersign::pipeline", "fetch");
        match self.fetch(file, headers).instrument(span).await {
            Ok(staged) => self.judge_bytes(file, staged).await,
            // What the gate could not do says nothing about the artifact: that is no decision.
            Err(failure) if failure.reason.is_gate() => Err(failure),
            Err(failure) => {
                let decision = Decision::refused_by_gate(
                    failure.reason,
                    &failure.detail,
                    self.policy_digest(),
                );
                self.refuse(file, None, decision, None).await
            }
        }
    }

    /// Judges bytes that lie in staging or in the blob store.
    pub(crate) async fn judge_bytes(
        &self,
        file: &Arc<FileRef>,
        staged: Staged,
    ) -> Result<Outcome, Failure> {
        let _working = self.report().working();
        let locked = self.inner.locked.get(file.purl()).map(Vec::as_slice).unwrap_or_default();
        if let Some((reason, detail)) = digest_contradiction(file, locked, &staged) {
            let decision = Decision::refused_by_gate(reason, detail, self.policy_digest());
            return self.refuse(file, Some(&staged.digests), decision, None).await;
        }
        let sha256 = staged.digests.sha256;
        let purl = file.purl().to_string();
        if !file.upstream.is_this_machine() {
            let pinned = self.inner.store.check_identity(&purl, &file.file_name, &sha256).await;
            if let PinOutcome::Changed { first, first_seen } = pinned.map_err(store_failure)? {
                return self.refuse_changed(file, &staged.digests, first, first_seen).await;
            }
        }
        let facts = self.gather_facts(file, &staged).await?;
        let decision = self.decide_artifact(&facts);
        if decision.verdict != Verdict::Admit {
            return self.refuse(file, Some(&staged.digests), decision, Some(facts)).await;
        }
        self.release(file, staged, decision, facts).await
    }

    async fn refuse_changed(
        &self,
        file: &Arc<FileRef>,
        digests: &Digests,
        first: Sha256Digest,
        first_seen: Timestamp,
    ) -> Result<Outcome, Failure> {
        let detail = format!(
            "{} was admitted with sha256 {} on {}, now it has {}",
            file.file_name,
            first.short(),
            first_seen.date(),
            digests.sha256.short()
        );
        let decision =
            Decision::refused_by_gate(ReasonCode::DigestChanged, detail, self.policy_digest());
        self.refuse(file, Some(digests), decision, None).await
    }

    async fn gather_facts(
        &self,
        file: &Arc<FileRef>,
        staged: &Staged,
    ) -> Result<ArtifactFacts, Failure> {
        let confirmed = strong_match(file, &staged.digests);
        let mut checks = vec![if confirmed {
            Check::passed("digest")
        } else {
            Check::not_done("digest", "the index gives no strong digest to compare with")
        }];
        let span = tracing::debug_span!(target: "countersign::pipeline", "scan");
        let structure = self.scan_structure(file, staged).instrument(span).await?;
        checks.extend(structure.checks);
        let (listed, check) = self.against_index(file, structure.listing.as_ref()).await;
        checks.push(check);
        let near = self.inner.popular.finding(file.purl());
        let mut findings: Vec<_> =
            structure.findings.into_iter().chain(listed).chain(near).collect();
        findings.extend(self.dependency_findings(file, &structure.dependencies)?);
        let span = tracing::debug_span!(target: "countersign::pipeline", "evidence");
        let evidence = self.gather_evidence(file, &staged.digests).instrument(span).await;
        checks.push(evidence_check(&evidence));
        let changes = self.changes(file, &evidence).await?;
        let mut facts = ArtifactFacts {
            version: file.facts.clone(),
            file_name: file.file_name.clone(),
            sha256: staged.digests.sha256,
            size: staged.size,
            digest_confirmed: confirmed,
            index_digests: index_digests(&file.expected, &staged.digests),
            evidence,
            findings,
            checks,
            changes,
            dependencies: structure.dependencies,
        };
        let brought = self.brought(file, &facts, structure.listing.as_ref()).await?;
        facts.changes.extend(brought);
        Ok(facts)
    }

    async fn release(
        &self,
        file: &Arc<FileRef>,
        staged: Staged,
        decision: Decision,
        facts: ArtifactFacts,
    ) -> Result<Outcome, Failure> {
        let (sha256, size) = (staged.digests.sha256, staged.size);
        let digests = staged.digests.clone();
        // The blob is durable before the record that speaks of it; a crash between the two leaves
        // a blob that nothing names, never a record without its blob.
        let blob = staged.keep(&self.inner.store).await.map_err(store_failure)?;
        // A file of this machine says nothing about what a registry's file of that name is.
        let pin = if file.upstream.is_this_machine() { Pin::No } else { Pin::WithIt };
        let recorded = match self.record(file, Some(&digests), &decision, Some(&facts), pin).await?
        {
            Ok(recorded) => recorded,
            // Of two that raced with other bytes, one is refused.
            Err(Changed { first, first_seen }) => {
                return self.refuse_changed(file, &digests, first, first_seen).await;
            }
        };
        self.count(file, &decision);
        let Some(admitted) = Admitted::mint(blob, size, file, sha256, &recorded) else {
            return Err(Failure::new(
                ReasonCode::Internal,
                "the recorded decision is not the one that was made",
            ));
        };
        self.report().add(Entry {
            artifact: file.purl().label(),
            purl: Some(file.purl().clone()),
            file_name: Some(file.file_name.clone()),
            sha256: Some(sha256),
            decision,
            facts: Some(facts),
            next_admissible: None,
            waive: None,
            ledger_index: Some(recorded.index()),
        });
        Ok(Outcome::Admitted(Arc::new(admitted)))
    }

    async fn refuse(
        &self,
        file: &Arc<FileRef>,
        digests: Option<&Digests>,
        decision: Decision,
        facts: Option<ArtifactFacts>,
    ) -> Result<Outcome, Failure> {
        let recorded = self.record(file, digests, &decision, facts.as_ref(), Pin::No).await?;
        let recorded = recorded.map_err(|_| {
            Failure::new(ReasonCode::Internal, "a refusal was pinned, which must not be")
        })?;
        self.count(file, &decision);
        let since = self.refused_since(file).await?;
        let evidence = facts
            .as_ref()
            .map_or_else(|| "none was looked for".to_owned(), |f| evidence_words(&f.evidence));
        let refusal = Arc::new(Refusal {
            artifact: file.purl().label(),
            purl: Some(file.purl().clone()),
            file_name: Some(file.file_name.clone()),
            sha256: digests.map(|d| d.sha256),
            decision,
            evidence,
            since,
            next_admissible: file.next_admissible.clone(),
            ledger_index: Some(recorded.index()),
            malicious: file
                .facts
                .findings
                .iter()
                .filter(|f| f.kind == FindingKind::Malicious)
                .map(|f| f.id.clone())
                .collect(),
        });
        self.report().add(Entry::of_refusal(&refusal, facts));
        Ok(Outcome::Refused(refusal))
    }

    /// Writes the decision into the ledger, unless the last entry for these very bytes says the
    /// same for the same reasons under the same policy.
    async fn record(
        &self,
        file: &FileRef,
        digests: Option<&Digests>,
        decision: &Decision,
        facts: Option<&ArtifactFacts>,
        pin: Pin,
    ) -> Result<Result<Recorded, Changed>, Failure> {
        let store = &self.inner.store;
        let seen = self.inspections(file, digests, facts).await.map_err(store_failure)?;
        let before = match digests {
            Some(d) => store.latest_decision(&d.sha256, file.purl(), &file.file_name).await,
            // Of what was refused without its bytes a long-lived gate is asked again and again.
            None if self.serves() => store.latest_without_bytes(file.purl(), &file.file_name).await,
            None => Ok(None),
        };
        if let Some(old) = before.map_err(store_failure)?
            && same_decision(&old.decision, decision)
            && let Some(recorded) = store.recorded_at(old.index).await.map_err(store_failure)?
        {
            for event in seen {
                store.record_about(event).await.map_err(store_failure)?;
            }
            return self
                .pin_apart(file, digests, pin)
                .await
                .map(|pinned| pinned.map(|()| recorded));
        }
        let facts_json = match facts {
            Some(facts) => serde_json::to_value(facts),
            None => serde_json::to_value(&file.facts)
                .map(|version| serde_json::json!({"version": version})),
        };
        let evidence = facts.map_or_else(|| file.evidence.clone(), |f| f.evidence.clone());
        let record = DecisionRecord {
            purl: file.purl().clone(),
            file_name: file.file_name.clone(),
            digests: digests.cloned(),
            decision: decision.clone(),
            time_verified: self.now(),
            policy_uri: format!("urn:countersign:policy:{}", self.grounds().policy.name()),
            verifier: Verifier {
                id: "urn:countersign:gate".to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
            },
            input_attestations: Vec::new(),
            evidence,
            facts_digest: None,
            verified_levels: Vec::new(),
        };
        let facts = facts_json.map_err(|e| {
            Failure::new(ReasonCode::Internal, format!("facts cannot be written: {e}"))
        })?;
        let new = NewDecision { record, facts };
        self.note_grounds().await.map_err(store_failure)?;
        match store.record_with(seen, new, matches!(pin, Pin::WithIt)).await {
            Ok(recorded) => Ok(Ok(recorded)),
            Err(StoreError::PinChanged { first, first_seen, .. }) => {
                Ok(Err(Changed { first, first_seen }))
            }
            Err(e) => Err(store_failure(e)),
        }
    }

    /// Pins a digest whose decision is in the ledger already.
    async fn pin_apart(
        &self,
        file: &FileRef,
        digests: Option<&Digests>,
        pin: Pin,
    ) -> Result<Result<(), Changed>, Failure> {
        let (Pin::WithIt, Some(digests)) = (pin, digests) else { return Ok(Ok(())) };
        let (purl, now, store) = (file.purl().to_string(), self.now(), &self.inner.store);
        let pinned = store.pin_identity(&purl, &file.file_name, &digests.sha256, now).await;
        match pinned.map_err(store_failure)? {
            PinOutcome::Changed { first, first_seen } => Ok(Err(Changed { first, first_seen })),
            PinOutcome::New | PinOutcome::Same => Ok(Ok(())),
        }
    }

    fn count(&self, file: &FileRef, decision: &Decision) {
        let reason = decision.leading().map(|f| f.reason);
        let reason = reason.filter(|_| decision.verdict != Verdict::Admit);
        self.inner.metrics.decided(file.purl().ecosystem(), decision.verdict, reason);
    }

    /// Since when this file has not been admitted here, without a break.
    async fn refused_since(&self, file: &FileRef) -> Result<Timestamp, Failure> {
        let all = self.inner.store.decisions_for_purl(file.purl()).await.map_err(store_failure)?;
        let since = all
            .iter()
            .filter(|d| d.file_name == file.file_name)
            .take_while(|d| d.decision.verdict != Verdict::Admit)
            .last()
            .map(|d| d.time);
        Ok(since.unwrap_or_else(|| self.now()))
    }
}

/// Whether two decisions say the same for the same reasons under the same policy. Words that count
/// hours differ from run to run and say nothing new.
fn same_decision(a: &Decision, b: &Decision) -> bool {
    let rules = |d: &Decision| -> Vec<(String, Verdict)> {
        d.fired.iter().map(|f| (f.rule.clone(), f.verdict)).collect()
    };
    a.verdict == b.verdict
        && a.policy == b.policy
        && a.audit_only == b.audit_only
        && a.waivers == b.waivers
        && rules(a) == rules(b)
}

pub(crate) fn store_failure(error: countersign_store::StoreError) -> Failure {
    let reason = match error {
        StoreError::DiskFull { .. } => ReasonCode::StorageFull,
        _ => ReasonCode::Internal,
    };
    Failure::new(reason, error.to_string())
}

/// The reason for a failure of the gate's own file system.
pub(crate) fn disk_reason(error: &io::Error) -> ReasonCode {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ReasonCode::StorageFull,
        _ => ReasonCode::Internal,
    }
}

/// The SHA-256 digests among those that an index gives.
pub(crate) fn sha256_digests(expected: &[ExpectedDigest]) -> Vec<Sha256Digest> {
    expected
        .iter()
        .filter(|e| e.algorithm() == Algorithm::Sha256)
        .filter_map(|e| <[u8; 32]>::try_from(e.as_bytes()).ok().map(Sha256Digest))
        .collect()
}

/// Whether a strong digest that the index gives equals the computed one.
fn strong_match(file: &FileRef, digests: &Digests) -> bool {
    file.expected.iter().any(|e| !e.algorithm().is_weak() && digests.matches(e) == Some(true))
}

/// What contradicts the index: a digest (weak ones count against, never for) or the size.
fn digest_contradiction(
    file: &FileRef,
    locked: &[ExpectedDigest],
    staged: &Staged,
) -> Option<(ReasonCode, String)> {
    if let Some(wrong) = contradicted(locked, &staged.digests) {
        let detail = format!(
            "{} is not the file that the lock file names ({}:{}…)",
            file.file_name,
            wrong.algorithm().name(),
            wrong.to_hex().chars().take(12).collect::<String>()
        );
        return Some((ReasonCode::DigestMismatch, detail));
    }
    let wrong = contradicted(&file.expected, &staged.digests)?;
    let reason = if staged.looks_like_a_page {
        ReasonCode::UpstreamType
    } else if file.size.is_some_and(|s| s > staged.size) {
        ReasonCode::UpstreamTruncated
    } else {
        ReasonCode::DigestMismatch
    };
    let got = staged.digests.sha256.short();
    let detail = format!(
        "{} has {} bytes, sha256 {got}…; the index says {}:{}…{}",
        file.file_name,
        staged.size,
        wrong.algorithm().name(),
        wrong.to_hex().chars().take(12).collect::<String>(),
        file.size.map_or_else(String::new, |s| format!(", {s} bytes"))
    );
    Some((reason, detail))
}

/// The first digest of a list that contradicts the computed ones. Several of one algorithm are
/// alternatives, of which one must match (W3C Subresource Integrity, section 3.3.4).
fn contradicted<'e>(list: &'e [ExpectedDigest], digests: &Digests) -> Option<&'e ExpectedDigest> {
    list.iter().find(|e| {
        let same = |o: &&ExpectedDigest| o.algorithm() == e.algorithm();
        digests.matches(e) == Some(false)
            && !list.iter().filter(same).any(|o| digests.matches(o) == Some(true))
    })
}

fn evidence_check(evidence: &[Evidence]) -> Check {
    let mut because = None;
    let mut verified = false;
    for e in evidence {
        match &e.state {
            EvidenceState::Invalid { because, .. } => {
                return Check::failed("evidence", format!("{}: {because}", e.kind));
            }
            EvidenceState::Verified { .. } => verified = true,
            EvidenceState::Absent => {}
            EvidenceState::Unreachable { because: b } => because = Some(format!("{}: {b}", e.kind)),
        }
    }
    match because {
        Some(b) if !verified => Check::not_done("evidence", b),
        _ if verified => Check::passed("evidence"),
        _ => Check::not_done("evidence", "there is none"),
    }
}

/// The state of an artifact's evidence in a few words.
#[must_use]
pub fn evidence_words(evidence: &[Evidence]) -> String {
    let mut words = Vec::new();
    for e in evidence {
        match &e.state {
            EvidenceState::Verified { claim } => {
                let from = claim.repository.as_deref().unwrap_or(&claim.signer);
                words.push(format!("{} verified: {from}", e.kind));
            }
            EvidenceState::Invalid { because, .. } => {
                words.push(format!("{} INVALID: {because}", e.kind))
            }
            EvidenceState::Unreachable { because } => {
                words.push(format!("{} unreachable: {because}", e.kind))
            }
            EvidenceState::Absent => {}
        }
    }
    if words.is_empty() { "none".to_owned() } else { words.join("; ") }
}

/// The digests that are computed beside SHA-256, in one pass over the bytes.
pub(crate) fn wanted_algorithms(expected: &[ExpectedDigest]) -> Vec<Algorithm> {
    let mut out = vec![Algorithm::Sha512];
    out.extend(
        expected
            .iter()
            .map(|e| e.algorithm())
            .filter(|a| matches!(a, Algorithm::Sha1 | Algorithm::Sha384)),
    );
    out.sort();
    out.dedup();
    out
}
