//! The whole of it: an artifact is installed and used in the jail, and what it did is judged.

use crate::baseline::{Baseline, deeds};
use crate::canary::Canaries;
use crate::error::SandboxError;
use crate::event::{Deed, Event, Recorded};
use crate::plan::{Artifact, DEPENDENCIES, Kind, Plan};
use crate::rules::{Own, Seen, findings};
use crate::run::{Program, run};
use crate::spec::{Limits, Spec};
use crate::toolchain::Toolchain;
use countersign_core::{Check, Finding, Severity, Sha256Digest};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The name of the check in reports and policies.
pub const CHECK: &str = "behaviour";

/// The version of steps and rules: results and baselines of another version are not used.
pub const VERSION: u32 = 1;

/// Runs artifacts.
#[derive(Debug, Clone)]
pub struct Detonator {
    /// The program that the stages are in.
    pub program: Program,
    /// Where baselines are kept, where they are.
    pub cache: Option<PathBuf>,
    /// What a run may take.
    pub limits: Limits,
    /// Random bytes, of which the bait's secrets are made.
    pub seed: Vec<u8>,
}

/// What an artifact did.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Detonation {
    /// The client that it was installed with; empty where there was none.
    pub client: String,
    /// What was recorded and is not the client's own behaviour.
    pub record: Vec<Recorded>,
    /// What that means.
    pub findings: Vec<Finding>,
    /// How the check ended.
    pub check: Check,
}

impl Detonator {
    /// Installs and uses an artifact in the jail. That it could not be done is a result, too.
    ///
    /// It blocks until the run is over: call it from a thread that may wait.
    #[must_use]
    pub fn detonate(&self, artifact: &Artifact) -> Detonation {
        self.try_detonate(artifact).unwrap_or_else(|e| Detonation {
            client: String::new(),
            record: Vec::new(),
            findings: Vec::new(),
            check: Check::not_done(CHECK, e.to_string()),
        })
    }

    fn try_detonate(&self, artifact: &Artifact) -> Result<Detonation, SandboxError> {
        let kind = Kind::of(&artifact.file_name)?;
        let tools = kind.toolchain()?;
        let baseline = self.baseline(kind, &tools)?;
        let bait = Canaries::new(&self.seed);
        let record = self.record(&tools, kind.plan(&tools, artifact)?, &bait, self.limits)?;
        let record = own(record, &baseline);
        let seen = seen(&record, &bait, &baseline);
        let findings = findings(&seen);
        let check = check(&record, &findings);
        Ok(Detonation { client: tools.version, record, findings, check })
    }

    fn record(
        &self,
        tools: &Toolchain,
        plan: Plan,
        bait: &Canaries,
        limits: Limits,
    ) -> Result<Vec<Recorded>, SandboxError> {
        let Plan { steps, placed } = plan;
        let (binds, canaries) = (tools.binds.clone(), bait.clone());
        run(&self.program, &Spec { steps, binds, placed, limits, canaries })
    }

    /// The client's own behaviour: as it was kept, or by running it.
    fn baseline(&self, kind: Kind, tools: &Toolchain) -> Result<Baseline, SandboxError> {
        let key =
            format!("{VERSION}\n{}\n{}\n{}", kind.name(), tools.version, tools.program.display());
        let key = Sha256Digest::of(key.as_bytes()).to_hex();
        let kept = self.cache.as_ref().map(|folder| folder.join(format!("{key}.json")));
        if let Some(baseline) = kept.as_deref().and_then(read) {
            return Ok(baseline);
        }
        let folder = tempfile::tempdir().map_err(|e| SandboxError::file(Path::new("/tmp"), e))?;
        let (file_name, bytes) = kind.empty().map_err(|e| SandboxError::file(folder.path(), e))?;
        let path = folder.path().join(&file_name);
        std::fs::write(&path, bytes).map_err(|e| SandboxError::file(&path, e))?;
        let artifact = Artifact { path, file_name, companions: Vec::new() };
        let mut plan = kind.plan(tools, &artifact)?;
        plan.steps.extend(kind.registry(tools));
        // A short time for the artifact is none for the client: half a baseline would accuse it.
        let time = self.limits.time.max(Limits::default().time);
        let limits = Limits { time, ..self.limits };
        let record = self.record(tools, plan, &Canaries::new(&self.seed), limits)?;
        if let Some(limit) = record.iter().find_map(limit) {
            return Err(SandboxError::Ended(format!(
                "the client took more {limit} than a run may have, with a package that does nothing"
            )));
        }
        let baseline = Baseline::of(&record);
        if let Some(file) = kept {
            keep(&file, &baseline);
        }
        Ok(baseline)
    }
}

fn limit(recorded: &Recorded) -> Option<&str> {
    match &recorded.event {
        Event::Limit { limit } => Some(limit),
        _ => None,
    }
}

fn read(file: &Path) -> Option<Baseline> {
    serde_json::from_slice(&std::fs::read(file).ok()?).ok()
}

/// Keeps a baseline. Where that fails the next run makes it again.
fn keep(file: &Path, baseline: &Baseline) {
    let Some(folder) = file.parent() else { return };
    let kept = std::fs::create_dir_all(folder)
        .and_then(|()| tempfile::NamedTempFile::new_in(folder))
        .and_then(|mut new| {
            serde_json::to_writer(&mut new, baseline)?;
            new.persist(file).map_err(|e| e.error)
        });
    drop(kept);
}

/// What is left when the client's own behaviour and that of other packages is taken away.
fn own(record: Vec<Recorded>, baseline: &Baseline) -> Vec<Recorded> {
    let is_own = |r: &Recorded| match &r.event {
        Event::Did { step, actor, deed } => {
            // The step's own command is ours.
            let ours = matches!(deed, Deed::Started { .. }) && !actor.contains(" > ");
            step != DEPENDENCIES && !ours && !baseline.has(step, actor, deed)
        }
        Event::Step { name } | Event::Ended { name, .. } => name != DEPENDENCIES,
        _ => true,
    };
    record.into_iter().filter(is_own).collect()
}

fn seen<'a>(record: &'a [Recorded], bait: &'a Canaries, baseline: &'a Baseline) -> Seen<'a> {
    let mut out = Seen { deeds: Vec::new(), left: Vec::new(), limits: Vec::new(), bait, baseline };
    out.deeds.extend(deeds(record).map(|(step, actor, deed)| Own { step, actor, deed }));
    out.limits.extend(record.iter().filter_map(limit));
    for recorded in record {
        if let Event::Ended { name, left, .. } = &recorded.event {
            out.left.extend(left.iter().map(|l| (name.as_str(), l.as_str())));
        }
    }
    out
}

/// What a client's output says about why it failed: its first error, or its last word.
fn reason(output: &str) -> String {
    let lines = || output.lines().map(str::trim).filter(|l| !l.is_empty());
    let error = lines().find(|l| l.get(..5).is_some_and(|w| w.eq_ignore_ascii_case("error")));
    let line = error.or_else(|| lines().next_back()).unwrap_or("it said nothing");
    line.chars().take(200).collect()
}

/// How the check ended: what was found stands before what could not be done.
fn check(record: &[Recorded], findings: &[Finding]) -> Check {
    let grave: Vec<&Finding> = findings.iter().filter(|f| f.severity > Severity::Low).collect();
    if let Some(worst) = grave.first().filter(|f| f.severity > Severity::Moderate) {
        let more = match grave.len() - 1 {
            0 => String::new(),
            n => format!(", and {n} more"),
        };
        return Check::failed(CHECK, format!("it {}{more}", worst.title));
    }
    for recorded in record {
        let because = match &recorded.event {
            Event::Limit { limit } => format!("the run took more {limit} than it may have"),
            Event::Dropped { deeds } => format!("{deeds} deeds more than are recorded"),
            Event::Ended { name, code, output, .. } if *code != Some(0) => {
                format!("the step `{name}` did not succeed: {}", reason(output))
            }
            _ => continue,
        };
        return Check::not_done(CHECK, because);
    }
    Check::passed(CHECK)
}
