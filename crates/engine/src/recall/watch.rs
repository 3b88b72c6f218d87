//! Recalls by themselves, for an engine that lives long.

use super::RecallOptions;
use crate::engine::Engine;
use std::time::{Duration, Instant};

/// How often the generation is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// How often what was admitted since the last recall is looked at: other processes admit into the
/// same store on grounds of their own, and a decision that was under way when the grounds changed
/// is recorded after the recall has passed.
const SWEEP: Duration = Duration::from_secs(60);

/// How long a recall that failed waits.
const AGAIN: Duration = Duration::from_secs(30);

impl Engine {
    /// Recalls whenever the grounds have changed, at first if they changed while nobody watched, or
    /// a recall was cut off. Never returns; what fails is logged and tried again. One such task for
    /// each long-lived engine.
    pub async fn recall_watch(self) {
        let mut judged = None;
        let mut due = Instant::now();
        loop {
            let generation = self.generation();
            let changed = judged != Some(generation);
            if (changed || due <= Instant::now()) && self.is_settled(generation).await {
                match self.recall_and_say().await {
                    Ok(()) => (judged, due) = (Some(generation), Instant::now() + SWEEP),
                    Err(()) => tokio::time::sleep(AGAIN).await,
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Whether the grounds stay the same for a moment: several changes at once are one recall.
    async fn is_settled(&self, generation: u64) -> bool {
        tokio::time::sleep(LOOK).await;
        self.generation() == generation
    }

    async fn recall_and_say(&self) -> Result<(), ()> {
        match self.recall(RecallOptions::default()).await {
            Ok(report) => {
                if let Some(id) = report.id {
                    tracing::info!(
                        id,
                        why = report.why.join(", "),
                        looked = report.counts.looked,
                        judged = report.counts.judged,
                        recalled = report.recalled.len(),
                        "recall {}",
                        report.state.name()
                    );
                }
                for r in &report.recalled {
                    tracing::warn!(
                        purl = %r.purl,
                        rule = r.rule,
                        fetched_by = r.fetched.len(),
                        "recalled; see `countersign recall show`"
                    );
                }
                Ok(())
            }
            Err(error) => {
                tracing::error!(%error, "the recall is tried again");
                Err(())
            }
        }
    }
}
