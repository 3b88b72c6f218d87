//! A recall's work, page by page: read, judge on all cores, record.

use super::judge::{Judge, Judged, Unjudged, advisories_of};
use super::{RecallError, UnjudgedArtifact, Work};
use crate::engine::Engine;
use crate::grounds::Grounds;
use countersign_core::{Digests, Finding, Verdict};
use countersign_ledger::statement::{DecisionRecord, Verifier};
use countersign_policy::DecisionContext;
use countersign_store::{AdmittedRow, NewDecision, RecallState, RecalledRow};
use std::num::NonZero;
use std::sync::Arc;

/// Artifacts that are looked at together: bounds the memory to some megabytes, whatever is admitted.
const PAGE: u32 = 1024;

/// Decisions of one commit.
const BATCH: usize = 512;

/// Artifacts that could not be judged and are named; more are only counted.
const NAMED: usize = 1000;

/// What judging gave for each artifact of a page.
type Results = Vec<(AdmittedRow, Result<Judged, String>)>;

impl Work {
    /// Looks at everything that is admitted. Ends early when the grounds change under it.
    pub(super) async fn pages(&mut self) -> Result<RecallState, RecallError> {
        loop {
            if self.engine.generation() != self.grounds.generation {
                return Ok(RecallState::Superseded);
            }
            let rows = self.engine.store().admitted_from(self.next, PAGE).await?;
            let Some(last) = rows.last().map(|r| r.index) else { return Ok(RecallState::Done) };
            self.counts.looked += rows.len() as u64;
            let affected: Vec<AdmittedRow> =
                rows.into_iter().filter(|r| self.scope.concerns(r, &self.grounds)).collect();
            self.counts.affected += affected.len() as u64;
            if !affected.is_empty() {
                self.judge_page(affected).await?;
            }
            self.next = last + 1;
            if let Some(id) = self.id {
                self.engine.store().advance_recall(id, self.next, &self.counts).await?;
            }
        }
    }

    async fn judge_page(&mut self, affected: Vec<AdmittedRow>) -> Result<(), RecallError> {
        let places: Vec<u64> = affected.iter().map(|r| r.index).collect();
        let facts = self.engine.store().facts_at(&places).await?;
        if facts.len() != affected.len() {
            return Err(RecallError::Internal("decisions vanished from the store".to_owned()));
        }
        let (engine, grounds) = (self.engine.clone(), Arc::clone(&self.grounds));
        let work = affected.into_iter().zip(facts).map(|(row, (_, facts))| (row, facts)).collect();
        let judged = tokio::task::spawn_blocking(move || judge_all(&engine, &grounds, work)).await;
        let judged = judged.map_err(|e| RecallError::Internal(e.to_string()))??;
        let mut recalled = Vec::new();
        for (row, result) in judged {
            match result {
                Ok(judged) => {
                    self.counts.judged += 1;
                    self.counts.not_anew += u64::from(self.roots_changed && judged.roots_matter);
                    if judged.decision.verdict != Verdict::Admit {
                        recalled.push((row, judged));
                    }
                }
                Err(because) => {
                    self.counts.not_done += 1;
                    if self.unjudged.len() < NAMED {
                        let (index, purl) = (row.index, row.purl);
                        self.unjudged.push(UnjudgedArtifact { index, purl, because });
                    }
                }
            }
        }
        while !recalled.is_empty() {
            let rest = recalled.split_off(recalled.len().min(BATCH));
            self.recall_batch(recalled).await?;
            recalled = rest;
        }
        Ok(())
    }

    /// Announces, records and settles; the order is `countersign_store`'s `recalls`.
    async fn recall_batch(&mut self, batch: Vec<(AdmittedRow, Judged)>) -> Result<(), RecallError> {
        let rows: Vec<RecalledRow> =
            batch.iter().map(|(row, judged)| recalled_row(row, judged)).collect();
        let Some(id) = self.begin().await? else {
            self.found.extend(rows);
            return Ok(());
        };
        let store = self.engine.store();
        store.plan_recalled(id, &rows).await?;
        let old: Vec<u64> = rows.iter().map(|r| r.old_index).collect();
        let new = batch
            .into_iter()
            .map(|(row, judged)| self.new_decision(row, judged))
            .collect::<Result<Vec<_>, _>>()?;
        self.engine.note_grounds().await?;
        let recorded = store.record(new).await?;
        let pairs: Vec<(u64, u64)> =
            old.into_iter().zip(recorded.iter().map(|r| r.index())).collect();
        store.settle_recalled(id, &pairs).await?;
        Ok(())
    }

    fn new_decision(&self, row: AdmittedRow, judged: Judged) -> Result<NewDecision, RecallError> {
        let facts = serde_json::to_value(&judged.facts)
            .map_err(|e| RecallError::Internal(format!("facts cannot be written: {e}")))?;
        self.engine.metrics().decided(
            row.purl.ecosystem(),
            judged.decision.verdict,
            judged.decision.leading().map(|f| f.reason),
        );
        let record = DecisionRecord {
            purl: row.purl,
            file_name: row.file_name,
            digests: Some(Digests { sha256: row.sha256, others: Vec::new() }),
            decision: judged.decision,
            time_verified: self.engine.now(),
            policy_uri: format!("urn:countersign:policy:{}", self.grounds.policy.name()),
            verifier: Verifier {
                id: "urn:countersign:gate".to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
            },
            input_attestations: Vec::new(),
            evidence: judged.facts.evidence,
            facts_digest: None,
            verified_levels: Vec::new(),
        };
        Ok(NewDecision { record, facts })
    }

    /// Names what was asked for since the change, and refused then, before this recall came to it.
    pub(super) async fn add_refused_meanwhile(&mut self) -> Result<(), RecallError> {
        let store = self.engine.store().clone();
        let mut rows = store.refused_since(self.since).await?;
        if rows.is_empty() {
            return Ok(());
        }
        let mut places: Vec<u64> = rows.iter().filter_map(|r| r.new_index).collect();
        places.sort_unstable();
        let facts = store.facts_at(&places).await?;
        for row in &mut rows {
            let own = facts.iter().find(|(index, _)| Some(*index) == row.new_index);
            let findings = own
                .and_then(|(_, text)| serde_json::from_str::<serde_json::Value>(text).ok())
                .and_then(|json| json.pointer("/version/findings").cloned())
                .and_then(|json| serde_json::from_value::<Vec<Finding>>(json).ok());
            (row.ids, row.fixed) =
                advisories_of(row.purl.ecosystem(), &findings.unwrap_or_default());
        }
        match self.begin().await? {
            Some(id) => store.plan_recalled(id, &rows).await?,
            None => self.found.extend(rows),
        }
        Ok(())
    }
}

fn recalled_row(row: &AdmittedRow, judged: &Judged) -> RecalledRow {
    let first = judged.decision.leading();
    let (ids, fixed) = advisories_of(row.purl.ecosystem(), &judged.facts.version.findings);
    RecalledRow {
        old_index: row.index,
        old_time: row.time,
        new_index: None,
        purl: row.purl.clone(),
        file_name: row.file_name.clone(),
        sha256: row.sha256,
        verdict: judged.decision.verdict.to_string(),
        rule: first.map_or_else(String::new, |f| f.rule.clone()),
        reason: first.map_or_else(String::new, |f| f.reason.to_string()),
        detail: first.map_or_else(String::new, |f| f.detail.clone()),
        ids,
        fixed,
    }
}

/// Judges on all cores. What one artifact's facts say wrong is its own; feeds that cannot be read
/// end the whole: an artifact must not pass because nobody could ask.
fn judge_all(
    engine: &Engine,
    grounds: &Grounds,
    work: Vec<(AdmittedRow, String)>,
) -> Result<Results, RecallError> {
    let context = DecisionContext {
        now: engine.now(),
        client: engine.inner.client.clone(),
        index_digests: Vec::new(),
    };
    let cores = std::thread::available_parallelism().map_or(2, NonZero::get);
    let share = work.len().div_ceil(cores).max(1);
    let mut parts = Vec::new();
    let mut work = work.into_iter();
    loop {
        let part: Vec<(AdmittedRow, String)> = work.by_ref().take(share).collect();
        if part.is_empty() {
            break;
        }
        parts.push(part);
    }
    let config = &engine.inner.config;
    let judge_part = |part: Vec<(AdmittedRow, String)>| -> Result<Results, RecallError> {
        let mut judge = Judge::new(grounds, config, &context);
        part.into_iter()
            .map(|(row, facts)| match judge.judge(&facts) {
                Ok(judged) => Ok((row, Ok(judged))),
                Err(Unjudged::Facts(because)) => Ok((row, Err(because))),
                Err(Unjudged::Feeds(failure)) => Err(RecallError::Feeds(failure.detail)),
            })
            .collect()
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            parts.into_iter().map(|part| scope.spawn(|| judge_part(part))).collect();
        let mut all = Vec::new();
        for thread in threads {
            let lost = |_| RecallError::Internal("an artifact could not be judged".to_owned());
            all.extend(thread.join().map_err(lost)??);
        }
        Ok(all)
    })
}
