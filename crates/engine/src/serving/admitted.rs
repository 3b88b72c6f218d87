//! What was admitted lately, so that nothing is hashed and judged for each client anew.

use crate::engine::Engine;
use crate::index::FileRef;
use crate::pipeline::Admitted;
use countersign_core::Sha256Digest;
use std::sync::Arc;

/// How many admissions are remembered.
pub(crate) const REMEMBERED: usize = 20_000;

/// An admission, with everything that it holds for.
#[derive(Clone)]
pub(crate) struct Remembered {
    admitted: Arc<Admitted>,
    /// The grounds of the decision.
    generation: u64,
    /// The digest of the facts that the index gives.
    facts: Sha256Digest,
}

impl Engine {
    /// The admission of this very file on the present grounds and the same facts, if its bytes are
    /// as they were when they were hashed.
    pub(crate) fn admitted_before(&self, key: &str, file: &FileRef) -> Option<Arc<Admitted>> {
        let remembered = self.inner.admitted.as_ref()?.get(key)?;
        let holds = remembered.generation == self.generation()
            && Some(remembered.facts) == facts_of(file)
            && remembered.admitted.is_untouched();
        holds.then_some(remembered.admitted)
    }

    /// Remembers an admission. It was decided on grounds of `generation` at the earliest; when they
    /// were replaced since, it does not count.
    pub(crate) fn remember_admitted(
        &self,
        key: String,
        file: &FileRef,
        admitted: &Arc<Admitted>,
        generation: u64,
    ) {
        if let (Some(kept), Some(facts)) = (&self.inner.admitted, facts_of(file)) {
            kept.insert(key, Remembered { admitted: admitted.clone(), generation, facts });
        }
    }
}

fn facts_of(file: &FileRef) -> Option<Sha256Digest> {
    serde_json::to_vec(&file.facts).ok().map(|json| Sha256Digest::of(&json))
}
