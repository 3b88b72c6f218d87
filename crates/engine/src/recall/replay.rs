//! Replay: recorded decisions judged again under other grounds, to see what would have been.
//!
//! Nothing is written and nothing is fetched. What the bytes are, what was found in them, their
//! evidence and their age at the time are the recorded facts; the policy, the feeds, the lists and
//! the waivers are the given ones.

use super::RecallError;
use super::judge::{Judge, Judged, Unjudged};
use crate::engine::Engine;
use crate::grounds::Grounds;
use countersign_core::{Decision, Timestamp, Verdict};
use countersign_policy::DecisionContext;
use countersign_store::FactsRow;
use serde::Serialize;
use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::Arc;

/// Decisions that are judged together, which bounds the memory.
const PAGE: u32 = 4096;

/// Artifacts of a group that are named; more are only counted.
const NAMED: usize = 5;

/// What judging everything again gave.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ReplayReport {
    /// Decisions that were looked at.
    pub looked: u64,
    /// Those that would have been the same, in verdict and leading rule.
    pub same: u64,
    /// Those that could not be judged again, by why.
    pub not_judged: BTreeMap<String, u64>,
    /// The others, by what differs; the largest group first.
    pub groups: Vec<ReplayGroup>,
}

/// Decisions that differ in the same way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReplayGroup {
    /// The recorded verdict.
    pub was: Verdict,
    /// The verdict now.
    pub now: Verdict,
    /// The rule that led to the recorded one; `None` for an admission without one.
    pub rule_then: Option<String>,
    /// The rule that leads to the one now; `None` for an admission without one.
    pub rule_now: Option<String>,
    /// How many.
    pub count: u64,
    /// The first of them.
    pub examples: Vec<ReplayExample>,
}

/// One decision that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReplayExample {
    /// Its place in the ledger.
    pub index: u64,
    /// The version.
    pub purl: String,
    /// What the rule fires on now, or fired on then where nothing does now.
    pub why: String,
}

/// What tells one group from another.
type Key = (Verdict, Verdict, Option<String>, Option<String>);

#[derive(Default)]
struct Groups(BTreeMap<String, ReplayGroup>);

impl Groups {
    fn add(&mut self, row: &FactsRow, now: &Decision) {
        let rule = |d: &Decision| d.leading().map(|f| f.rule.clone());
        let key: Key = (row.decision.verdict, now.verdict, rule(&row.decision), rule(now));
        let group = self.0.entry(format!("{key:?}")).or_insert_with(|| ReplayGroup {
            was: key.0,
            now: key.1,
            rule_then: key.2,
            rule_now: key.3,
            count: 0,
            examples: Vec::new(),
        });
        group.count += 1;
        if group.examples.len() < NAMED {
            let fired = now.leading().or_else(|| row.decision.leading());
            group.examples.push(ReplayExample {
                index: row.index,
                purl: row.purl.clone(),
                why: fired.map_or_else(String::new, |f| f.detail.clone()),
            });
        }
    }
}

impl Engine {
    /// Judges every decision that was recorded from `since` on again, on all processors, under the
    /// present grounds. Of a decision without the facts of its bytes only the version is known, so
    /// it is counted as not judged.
    ///
    /// # Errors
    /// When the store fails, or the feeds cannot be read.
    pub async fn replay(&self, since: Option<Timestamp>) -> Result<ReplayReport, RecallError> {
        let (mut report, mut groups) = (ReplayReport::default(), Groups::default());
        let (mut next, grounds) = (0, self.grounds());
        // The next page is read while this one is judged.
        let mut page = self.store().facts_from(next, since, PAGE).await?;
        while let Some(last) = page.last() {
            next = last.index + 1;
            report.looked += page.len() as u64;
            let (engine, grounds) = (self.clone(), Arc::clone(&grounds));
            let judging = tokio::task::spawn_blocking(move || judge_all(&engine, &grounds, page));
            let following = self.store().facts_from(next, since, PAGE).await?;
            let judged = judging.await.map_err(|e| RecallError::Internal(e.to_string()))??;
            for (row, result) in judged {
                match result {
                    Ok(now) if same(&row.decision, &now) => report.same += 1,
                    Ok(now) => groups.add(&row, &now),
                    Err(because) => *report.not_judged.entry(because).or_default() += 1,
                }
            }
            page = following;
        }
        report.groups = groups.0.into_values().collect();
        report.groups.sort_by_key(|g| std::cmp::Reverse(g.count));
        Ok(report)
    }
}

fn same(then: &Decision, now: &Decision) -> bool {
    let rule = |d: &Decision| d.leading().map(|f| f.rule.clone());
    then.verdict == now.verdict && rule(then) == rule(now)
}

type Results = Vec<(FactsRow, Result<Decision, String>)>;

/// Judges a page, in as many parts as there are processors.
fn judge_all(
    engine: &Engine,
    grounds: &Grounds,
    mut page: Vec<FactsRow>,
) -> Result<Results, RecallError> {
    let cores = std::thread::available_parallelism().map_or(2, NonZero::get);
    let share = page.len().div_ceil(cores).max(1);
    let mut parts = Vec::new();
    while !page.is_empty() {
        let rest = page.split_off(page.len().min(share));
        parts.push(std::mem::replace(&mut page, rest));
    }
    std::thread::scope(|scope| {
        let start = |part| scope.spawn(move || judge_part(engine, grounds, part));
        let threads: Vec<_> = parts.into_iter().map(start).collect();
        let mut all = Vec::new();
        for thread in threads {
            let lost = |_| RecallError::Internal("a decision could not be judged".to_owned());
            all.extend(thread.join().map_err(lost)??);
        }
        Ok(all)
    })
}

fn judge_part(
    engine: &Engine,
    grounds: &Grounds,
    part: Vec<FactsRow>,
) -> Result<Results, RecallError> {
    let context = DecisionContext {
        now: engine.now(),
        client: engine.inner.client.clone(),
        index_digests: Vec::new(),
    };
    let mut judge = Judge::new(grounds, &engine.inner.config, &context);
    let mut then = context.clone();
    let mut out = Vec::with_capacity(part.len());
    for row in part {
        // Ages are those of then: a cool-down that has passed since did not protect anybody.
        then.now = row.time;
        let result = match judge.judge_at(&row.facts, &then) {
            Ok(Judged { decision, .. }) => Ok(decision),
            Err(Unjudged::Facts(_)) => Err("no facts of its bytes were recorded".to_owned()),
            Err(Unjudged::Feeds(failure)) => return Err(RecallError::Feeds(failure.detail)),
        };
        out.push((row, result));
    }
    Ok(out)
}
