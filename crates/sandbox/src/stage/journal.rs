//! What the supervisor writes to its caller: one JSON object a line.

use crate::event::{Deed, Event, Recorded};
use std::collections::HashSet;
use std::io::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The record of a run.
pub(super) struct Journal {
    start: Instant,
    most: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    step: String,
    seen: HashSet<(String, String, Deed)>,
    dropped: u64,
}

/// The state even if a thread failed while it held it: a record with a gap is better than none.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Journal {
    /// A record of at most `most` deeds.
    pub(super) fn new(most: usize) -> Self {
        Self { start: Instant::now(), most, state: Mutex::default() }
    }

    /// Writes an event.
    pub(super) fn say(&self, event: Event) {
        let at = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        if let Event::Step { name } = &event {
            lock(&self.state).step.clone_from(name);
        }
        write(&Recorded { at, event });
    }

    /// Writes a deed, once for each actor and step.
    pub(super) fn did(&self, actor: &str, deed: Deed) {
        let mut state = lock(&self.state);
        let step = state.step.clone();
        let key = (step.clone(), actor.to_owned(), deed.clone());
        if state.seen.contains(&key) {
            return;
        }
        if state.seen.len() >= self.most {
            state.dropped += 1;
            return;
        }
        state.seen.insert(key);
        drop(state);
        self.say(Event::Did { step, actor: actor.to_owned(), deed });
    }

    /// Writes how many deeds were not written.
    pub(super) fn close(&self) {
        let deeds = lock(&self.state).dropped;
        if deeds > 0 {
            self.say(Event::Dropped { deeds });
        }
    }
}

fn write(recorded: &Recorded) {
    let Ok(line) = serde_json::to_string(recorded) else { return };
    let mut out = std::io::stdout().lock();
    // Nobody listens any more: then nobody lacks it, and the run ends with its caller.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Tells why a stage failed: the caller in its own form, or people on the command's output.
pub(super) fn say_failed(stage: &str, because: &str) {
    if stage == "confine" {
        let _ = writeln!(std::io::stderr(), "countersign: {because}");
    } else {
        write(&Recorded { at: 0, event: Event::Failed { because: because.to_owned() } });
    }
}
