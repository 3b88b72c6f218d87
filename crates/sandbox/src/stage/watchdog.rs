//! What ends a run that does not end by itself, or takes too much.

use super::journal::{Journal, lock};
use crate::event::Event;
use crate::spec::Limits;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How often processes are counted.
const BEAT: Duration = Duration::from_millis(20);

/// The watchdog's state.
pub(super) struct Watchdog {
    journal: Arc<Journal>,
    limits: Limits,
    end: Instant,
    /// When what is left of the step is ended.
    sweep: Mutex<Option<Instant>>,
    sweeping: AtomicBool,
    over: AtomicBool,
}

impl Watchdog {
    /// Starts to watch.
    pub(super) fn start(journal: Arc<Journal>, limits: Limits) -> Arc<Self> {
        let end = Instant::now() + limits.time;
        let (sweeping, over) = (AtomicBool::new(false), AtomicBool::new(false));
        let this = Arc::new(Self { journal, limits, end, sweep: Mutex::new(None), sweeping, over });
        let watching = Arc::clone(&this);
        std::thread::spawn(move || {
            loop {
                std::thread::sleep(BEAT);
                watching.look();
            }
        });
        this
    }

    /// Whether a limit was met: no further step is started.
    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// Whether what dies now dies because its step is over.
    pub(super) fn is_sweeping(&self) -> bool {
        self.sweeping.load(Ordering::SeqCst) && !self.is_over()
    }

    /// Ends what is left of a step after `grace`.
    pub(super) fn sweep_after(&self, grace: Duration) {
        *lock(&self.sweep) = Some(Instant::now() + grace);
    }

    /// The step's processes are gone.
    pub(super) fn swept(&self) {
        *lock(&self.sweep) = None;
        self.sweeping.store(false, Ordering::SeqCst);
    }

    fn look(&self) {
        if !self.is_over() {
            let met = if Instant::now() >= self.end {
                Some("time")
            } else if memory() > self.limits.memory {
                Some("memory")
            } else {
                None
            };
            if let Some(limit) = met {
                self.over.store(true, Ordering::SeqCst);
                self.journal.say(Event::Limit { limit: limit.to_owned() });
            }
        }
        let due = lock(&self.sweep).is_some_and(|at| Instant::now() >= at);
        if due {
            self.sweeping.store(true, Ordering::SeqCst);
        }
        if due || self.is_over() {
            end_all();
        }
    }
}

/// Ends every process of the jail but the first, which calls this.
pub(super) fn end_all() {
    // The first process of a namespace reaches those of its namespace alone (kill(2), NOTES).
    let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
}

/// Bytes that all processes but the first keep for themselves (proc_pid_statm(5): resident less
/// shared pages).
fn memory() -> u64 {
    let Ok(entries) = std::fs::read_dir("/proc") else { return 0 };
    let pids = entries.flatten().filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok());
    let pages = pids.filter(|pid| *pid != 1).map(|pid| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
        let mut fields = text.split(' ').skip(1).map(|n| n.parse::<u64>().unwrap_or(0));
        let (resident, shared) = (fields.next().unwrap_or(0), fields.next().unwrap_or(0));
        resident.saturating_sub(shared)
    });
    pages.sum::<u64>().saturating_mul(rustix::param::page_size() as u64)
}
