//! Reading the ledger for a report.

use super::measure::Measures;
use super::{
    ActLine, EcosystemLine, LedgerLine, Mapping, Places, ProofLine, REPORT_FORMAT, Report, SloLine,
    StoppedLine, WaiverLine, slo,
};
use crate::acts;
use countersign_core::{
    ArtifactFacts, Check, Decision, EvidenceState, Outcome, Purl, Sha256Digest, Timestamp, Verdict,
};
use countersign_ledger::event::{
    FEED_TYPE, FORGOTTEN_TYPE, INCIDENT_CLOSED_TYPE, INCIDENT_TYPE, SIGNING_KEY_TYPE, short_kind,
};
use countersign_ledger::statement::{GROUNDS_TYPE, RECALL_TYPE};
use countersign_ledger::{KEY_RETIRED_TYPE, KEY_ROTATED_TYPE, Prover};
use countersign_scan::{licence, malware, structure};
use countersign_store::{Store, StoreError, StoredEntry, TileFiles};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Decisions that are read at a time.
const PAGE: u32 = 2048;

/// Examples of a line of refusals.
const EXAMPLES: usize = 3;

/// Acts of one kind that are listed; more are counted among the kinds.
const LISTED: usize = 200;

/// Within how many seconds of the period's end a feed must have been read.
const FRESH: i64 = 7 * 86_400;

/// An artifact by its latest decision of the period.
struct Latest {
    ecosystem: String,
    verdict: Verdict,
    index: u64,
    facts: ArtifactFacts,
}

#[derive(Default)]
struct Gathered {
    artifacts: HashMap<(Sha256Digest, String), Latest>,
    /// Ecosystems of decisions without bytes, with their places.
    without_bytes: Vec<(String, u64)>,
    stopped: BTreeMap<(String, String), StoppedLine>,
    /// Of what was not admitted at first: since when.
    waiting: HashMap<Sha256Digest, Timestamp>,
    released: Vec<i64>,
    released_by: Places,
}

/// Makes the report of a period from what is recorded.
///
/// # Errors
/// When the store fails or holds a damaged record.
pub async fn report(
    store: &Store,
    mapping: &Mapping,
    since: Timestamp,
    until: Timestamp,
    now: Timestamp,
) -> Result<Report, StoreError> {
    store.published().await;
    let nothing = || StoreError::NotFound { what: "a ledger".to_owned() };
    let (checkpoint, head) = store.published_checkpoint().await?.ok_or_else(nothing)?;
    let mut measures = Measures::new();
    let gathered = decisions(store, &mut measures, since, until).await?;
    count_artifacts(store, &gathered, &mut measures);
    let waivers = waivers(store, &mut measures, since, until, now).await?;
    let (acts, feed_entries) = acts_of(store, &mut measures, since, until).await?;
    let slo = slo_lines(store, &gathered, &feed_entries, &mut measures, since, until).await?;
    let cosigned = store.cosigned().await?;
    let (cosigned_checkpoint, cosigned) = cosigned.map(|(note, head)| (note, head.size())).unzip();
    measures.count("witnesses", cosigned.is_some(), None);
    incident_measures(store, &mut measures, since, until).await?;
    let measures = measures.into_list();
    let kinds = store.count_events(since, until).await?.into_iter();
    let key = store.verifier_key().map(ToString::to_string).unwrap_or_default();
    let mut report = Report {
        format: REPORT_FORMAT,
        since,
        until,
        made: now,
        version: env!("CARGO_PKG_VERSION"),
        ledger: LedgerLine {
            origin: head.origin().to_owned(),
            key,
            size: head.size(),
            checkpoint,
            cosigned,
            cosigned_checkpoint,
        },
        ecosystems: ecosystems(&gathered),
        stopped: gathered.stopped.into_values().collect(),
        waivers,
        slo,
        acts,
        kinds: kinds.map(|(kind, n)| (short_kind(&kind).to_owned(), n)).collect(),
        frameworks: mapping.judge(&measures),
        measures,
        proofs: BTreeMap::new(),
    };
    report.stopped.sort_by_key(|line| std::cmp::Reverse(line.count));
    report.proofs = proofs(store, &report, head.size()).await?;
    Ok(report)
}

async fn decisions(
    store: &Store,
    measures: &mut Measures,
    since: Timestamp,
    until: Timestamp,
) -> Result<Gathered, StoreError> {
    let mut out = Gathered::default();
    let mut from = 0;
    loop {
        let page = store.facts_from(from, Some(since), PAGE).await?;
        let Some(last) = page.last() else { return Ok(out) };
        from = last.index.saturating_add(1);
        for row in page.into_iter().filter(|r| r.time < until) {
            let ecosystem = row.purl.parse::<Purl>().map(|p| p.ecosystem().to_string());
            let ecosystem = ecosystem.unwrap_or_default();
            measures.count("enforced", !row.decision.audit_only, Some(row.index));
            out.stop(&row.decision, &row.purl, row.index, measures);
            match serde_json::from_str::<ArtifactFacts>(&row.facts) {
                Ok(facts) => {
                    out.wait(&facts.sha256, row.decision.verdict, row.time, row.index);
                    let key = (facts.sha256, row.purl);
                    let (verdict, index) = (row.decision.verdict, row.index);
                    out.artifacts.insert(key, Latest { ecosystem, verdict, index, facts });
                }
                Err(_) => out.without_bytes.push((ecosystem, row.index)),
            }
        }
    }
}

impl Gathered {
    fn stop(&mut self, decision: &Decision, purl: &str, index: u64, measures: &mut Measures) {
        if decision.verdict == Verdict::Admit {
            return;
        }
        let Some(leading) = decision.leading() else { return };
        let (verdict, reason) = (decision.verdict.to_string(), leading.reason.name().to_owned());
        measures.count("stopped", true, Some(index));
        if reason.contains("malicious") {
            measures.count("malicious", true, Some(index));
        }
        let line = self.stopped.entry((verdict.clone(), reason.clone()));
        let line = line.or_insert_with(|| StoppedLine {
            verdict,
            reason,
            count: 0,
            examples: Vec::new(),
            proof: Places::default(),
        });
        line.count = line.count.saturating_add(1);
        line.proof.add(index);
        if line.examples.len() < EXAMPLES && line.examples.iter().all(|(p, _)| p != purl) {
            line.examples.push((purl.to_owned(), leading.detail.clone()));
        }
    }

    /// How long what was held or refused waited until it was admitted.
    fn wait(&mut self, sha256: &Sha256Digest, verdict: Verdict, time: Timestamp, index: u64) {
        if verdict != Verdict::Admit {
            self.waiting.entry(*sha256).or_insert(time);
        } else if let Some(began) = self.waiting.remove(sha256) {
            self.released.push(time.0.saturating_sub(began.0));
            self.released_by.add(index);
        }
    }
}

fn done(checks: &[Check], name: &str) -> bool {
    let done = |c: &&Check| !matches!(c.outcome, Outcome::NotDone { .. });
    checks.iter().filter(|c| c.name == name).any(|c| done(&c))
}

fn has_provenance(facts: &ArtifactFacts) -> bool {
    facts.evidence.iter().filter_map(|e| e.claim()).any(|c| c.repository.is_some())
}

fn has_evidence(facts: &ArtifactFacts) -> bool {
    facts.evidence.iter().any(|e| e.claim().is_some())
}

fn count_artifacts(store: &Store, gathered: &Gathered, measures: &mut Measures) {
    let mut latest: Vec<&Latest> = gathered.artifacts.values().collect();
    latest.sort_by_key(|l| l.index);
    for l in latest {
        let (facts, entry) = (&l.facts, Some(l.index));
        measures.count("decided", true, entry);
        if l.verdict != Verdict::Admit {
            continue;
        }
        let advised = !matches!(facts.version.advisories.outcome, Outcome::NotDone { .. });
        for (name, good) in [
            ("digests", facts.digest_confirmed),
            ("evidence", has_evidence(facts)),
            ("provenance", has_provenance(facts)),
            ("content-scanned", done(&facts.checks, structure::CHECK)),
            ("malware-scanned", done(&facts.checks, malware::CHECK)),
            ("licences", done(&facts.checks, licence::CHECK)),
            ("advisories", advised),
            ("blobs", store.blob_file(&facts.sha256).is_some()),
        ] {
            measures.count(name, good, entry);
        }
    }
}

fn ecosystems(gathered: &Gathered) -> Vec<EcosystemLine> {
    let mut lines: BTreeMap<String, EcosystemLine> = BTreeMap::new();
    let of = |lines: &mut BTreeMap<String, EcosystemLine>,
              ecosystem: &str,
              index: u64,
              f: &dyn Fn(&mut EcosystemLine)| {
        let line = lines.entry(ecosystem.to_owned()).or_default();
        line.ecosystem = ecosystem.to_owned();
        line.proof.add(index);
        f(line);
    };
    let mut latest: Vec<&Latest> = gathered.artifacts.values().collect();
    latest.sort_by_key(|l| l.index);
    for l in latest {
        of(&mut lines, &l.ecosystem, l.index, &|line| line.add(l));
    }
    for (ecosystem, index) in &gathered.without_bytes {
        of(&mut lines, ecosystem, *index, &|line| line.without_bytes += 1);
    }
    lines.into_values().collect()
}

impl EcosystemLine {
    fn add(&mut self, l: &Latest) {
        self.artifacts += 1;
        match l.verdict {
            Verdict::Admit => self.admitted += 1,
            Verdict::Hold => self.held += 1,
            Verdict::Refuse => self.refused += 1,
        }
        let any = |f: fn(&EvidenceState) -> bool| l.facts.evidence.iter().any(|e| f(&e.state));
        let counter = if any(|s| matches!(s, EvidenceState::Invalid { .. })) {
            &mut self.invalid
        } else if has_provenance(&l.facts) {
            &mut self.provenance
        } else if has_evidence(&l.facts) {
            &mut self.other_evidence
        } else if any(|s| matches!(s, EvidenceState::Unreachable { .. })) {
            &mut self.unreachable
        } else {
            &mut self.none
        };
        *counter += 1;
    }
}

async fn waivers(
    store: &Store,
    measures: &mut Measures,
    since: Timestamp,
    until: Timestamp,
    now: Timestamp,
) -> Result<Vec<WaiverLine>, StoreError> {
    let mut out = Vec::new();
    for w in store.waivers().await? {
        let v = &w.waiver;
        let ended = w.revoked.unwrap_or(v.until).min(v.until);
        if v.created >= until || ended < since {
            continue;
        }
        let whole = !v.owner.trim().is_empty() && !v.reason.trim().is_empty();
        measures.count("waivers", whole && v.until > v.created, Some(w.index));
        let state = match (w.revoked, v.until <= now) {
            (Some(_), _) => "revoked",
            (None, true) => "expired",
            (None, false) => "active",
        };
        let mut proof = Places::from(w.index);
        w.revoked_index.into_iter().for_each(|i| proof.add(i));
        out.push(WaiverLine {
            id: v.id.clone(),
            target: v.target.to_string(),
            rule: v.rule.clone(),
            owner: v.owner.clone(),
            reason: v.reason.clone(),
            created: v.created,
            until: v.until,
            state,
            proof,
        });
    }
    Ok(out)
}

/// The acts of the period, and the entries of feeds among them.
async fn acts_of(
    store: &Store,
    measures: &mut Measures,
    since: Timestamp,
    until: Timestamp,
) -> Result<(Vec<ActLine>, Places), StoreError> {
    let mut out = Vec::new();
    let mut feeds = Places::default();
    for kind in [
        KEY_ROTATED_TYPE,
        KEY_RETIRED_TYPE,
        SIGNING_KEY_TYPE,
        RECALL_TYPE,
        INCIDENT_TYPE,
        INCIDENT_CLOSED_TYPE,
        GROUNDS_TYPE,
        FEED_TYPE,
        FORGOTTEN_TYPE,
    ] {
        let entries = store.events_of(kind, since, until).await?;
        for entry in &entries {
            match kind {
                GROUNDS_TYPE => measures.count("grounds", true, Some(entry.index)),
                KEY_ROTATED_TYPE => measures.count("rotations", true, Some(entry.index)),
                FEED_TYPE => feeds.add(entry.index),
                _ => {}
            }
        }
        out.extend(entries.iter().rev().take(LISTED).map(act));
    }
    out.sort_by_key(|a| (a.time, a.proof.all().first().copied()));
    Ok((out, feeds))
}

fn act(entry: &StoredEntry) -> ActLine {
    ActLine {
        kind: short_kind(entry.statement.predicate_type()).to_owned(),
        time: entry.time,
        words: acts::words(entry),
        proof: Places::from(entry.index),
    }
}

async fn slo_lines(
    store: &Store,
    gathered: &Gathered,
    feed_entries: &Places,
    measures: &mut Measures,
    since: Timestamp,
    until: Timestamp,
) -> Result<Vec<SloLine>, StoreError> {
    let mut recalls = store.recalls(u32::MAX).await?;
    recalls.retain(|r| r.new.started >= since && r.new.started < until);
    for recall in &recalls {
        let whole = recall.finished.is_some() && recall.counts.not_done == 0;
        measures.count("recalls", whole, recall.index);
    }
    let feeds = store.feeds().await?;
    for feed in &feeds {
        let fresh = feed.last_synced.is_some_and(|t| until.0.saturating_sub(t.0) <= FRESH);
        // The entry that says what it last brought, also from before the period.
        let named = store.events_about(&[format!("feed {}", feed.name)], 1).await?;
        measures.count("feeds", fresh, named.first().map(|e| e.index));
    }
    let released = slo::figures(
        "release, from the first hold or refusal of an artifact to its admission",
        gathered.released.clone(),
        gathered.released_by.clone(),
    );
    let latency = SloLine {
        name: "decision, from the request to the verdict (in /metrics, not in the ledger)".into(),
        value: None,
        proof: Places::default(),
    };
    Ok(vec![latency, released, slo::recalls(&recalls), slo::feeds(&feeds, until, feed_entries)])
}

async fn incident_measures(
    store: &Store,
    measures: &mut Measures,
    since: Timestamp,
    until: Timestamp,
) -> Result<(), StoreError> {
    for incident in acts::incidents(store).await? {
        let open_then = incident.closed.as_ref().is_none_or(|end| end.time >= since);
        if incident.opened < until && open_then {
            let end = incident.closed.as_ref().filter(|end| end.time < until);
            measures.count("incidents", end.is_some(), end.map(|e| e.index));
        }
    }
    Ok(())
}

/// Proofs of the first entries of every line, under the report's checkpoint.
async fn proofs(
    store: &Store,
    report: &Report,
    size: u64,
) -> Result<BTreeMap<u64, ProofLine>, StoreError> {
    let lines = report.ecosystems.iter().map(|l| &l.proof);
    let lines = lines.chain(report.stopped.iter().map(|l| &l.proof));
    let lines = lines.chain(report.waivers.iter().map(|l| &l.proof));
    let lines = lines.chain(report.slo.iter().map(|l| &l.proof));
    let lines = lines.chain(report.acts.iter().map(|l| &l.proof));
    let controls = report.frameworks.iter().flat_map(|f| &f.controls).map(|c| &c.proof);
    let all: BTreeSet<u64> =
        lines.chain(controls).flat_map(|p| p.proven().iter().copied()).collect();
    let mut prover = Prover::new(TileFiles::new(store.ledger_dir()), size, 512);
    let mut out = BTreeMap::new();
    for index in all.into_iter().filter(|i| *i < size) {
        let Some(raw) = store.entries(index, 1).await?.pop() else { continue };
        let proof = prover.inclusion(index);
        let proof = proof.map_err(|e| StoreError::Ledger { because: e.to_string() })?;
        let inclusion_proof = proof.iter().map(ToString::to_string).collect();
        out.insert(index, ProofLine { entry: hex::encode(raw.commitment), inclusion_proof });
    }
    Ok(out)
}
