//! The rounds: each client goes every way once a round, so that what drifts hits all alike.

use super::ask::Upstreams;
use super::client::{Client, Door, Tools, apt_update};
use super::gate::Gate;
use super::peers::Peer;
use super::process::Server;
use super::results::{ClientResult, Phase, Sample, Side, Way};
use super::scratch::Scratch;
use super::stats;
use std::path::{Path, PathBuf};

/// Where a client's packages may come from.
pub(super) enum Source<'a> {
    /// The registries.
    Direct,
    /// The gate before the command.
    Run(&'a Gate),
    /// The gate as a server.
    Serve(&'a Gate),
    /// Another server.
    Peer(&'a Peer),
}

impl Source<'_> {
    fn way(&self) -> Way {
        match self {
            Self::Direct => Way::Direct,
            Self::Run(_) => Way::Run,
            Self::Serve(_) => Way::Serve,
            Self::Peer(peer) => Way::Peer(peer.name().to_owned()),
        }
    }
}

/// What all rounds share.
pub(super) struct Rounds<'a> {
    /// The clients' folders.
    pub(super) scratch: &'a Scratch,
    /// The servers' folders.
    pub(super) states: &'a Scratch,
    /// What the commands share.
    pub(super) tools: &'a Tools,
    /// Where peers fetch from.
    pub(super) upstreams: &'a Upstreams,
    /// How many.
    pub(super) count: usize,
    /// Says what is going on.
    pub(super) say: &'a dyn Fn(&str),
}

/// One client with one set.
pub(super) struct Course<'a> {
    rounds: &'a Rounds<'a>,
    client: Client,
    set: PathBuf,
    result: ClientResult,
}

impl Rounds<'_> {
    /// Measures one client with one set, each round all ways.
    ///
    /// # Errors
    ///
    /// When the client cannot reach its own registries.
    pub(super) fn measure(
        &self,
        client: Client,
        set: &Path,
        sources: &[Source<'_>],
    ) -> Result<ClientResult, String> {
        let mut course = Course::new(self, client, set);
        course.warm_up()?;
        for round in 0..self.count {
            for turn in 0..sources.len() {
                // Whoever comes first meets a machine that has just done something else.
                let Some(source) = sources.get((turn + round) % sources.len()) else { continue };
                course.go(source, round);
            }
        }
        Ok(course.result)
    }
}

impl<'a> Course<'a> {
    fn new(rounds: &'a Rounds<'a>, client: Client, set: &Path) -> Self {
        let name = set.file_name().map(|n| n.to_string_lossy().into_owned());
        let result = ClientResult {
            name: client.name().to_owned(),
            shown: client.shown().to_owned(),
            set: name.unwrap_or_default(),
            packages: 0,
            sides: Vec::new(),
        };
        Self { rounds, client, set: set.to_owned(), result }
    }

    /// Once without a clock, so that the registries' own caches are warm for all, and it is known
    /// how many packages there are.
    fn warm_up(&mut self) -> Result<(), String> {
        let folder = self.folder("first");
        let job = self.client.job(self.rounds.tools, &self.set, &folder, None)?;
        job.measure()?;
        self.result.packages = self.client.count(&folder);
        self.rounds.scratch.done_with(&folder);
        if self.result.packages == 0 {
            return Err("the client got no packages".to_owned());
        }
        Ok(())
    }

    fn folder(&self, name: &str) -> PathBuf {
        let folder = self.rounds.scratch.fresh(&format!("{}-{name}", self.client.name()));
        // A client's log lies beside its folder, which the client's project is made in.
        let _ = std::fs::create_dir_all(&folder);
        folder
    }

    fn go(&mut self, source: &Source<'_>, round: usize) {
        let failed = |s: &Side| s.way == source.way() && s.failed.is_some();
        if self.result.sides.iter().any(failed) {
            return;
        }
        // A registry may stumble; that is not what is measured.
        let mut outcome = self.once(source);
        if outcome.is_err() {
            outcome = self.once(source);
        }
        match outcome {
            Ok(samples) => {
                for (phase, sample) in samples {
                    self.say(round, &source.way(), phase, &sample);
                    self.side(source.way(), phase).samples.push(sample);
                }
            }
            Err(why) => {
                let way = source.way();
                (self.rounds.say)(&format!("{} {}: {why}", self.client.shown(), way.shown()));
                let phases: &[Phase] = match source {
                    Source::Direct => &[Phase::None],
                    _ => &[Phase::Cold, Phase::Warm],
                };
                for phase in phases {
                    self.side(source.way(), *phase).failed = Some(why.clone());
                }
            }
        }
    }

    fn once(&self, source: &Source<'_>) -> Result<Vec<(Phase, Sample)>, String> {
        let Rounds { states, upstreams, .. } = self.rounds;
        match source {
            Source::Direct => Ok(vec![(Phase::None, self.sample(None, None, None)?)]),
            Source::Run(gate) => {
                let state = gate.fresh_state(states)?;
                let behind = Some((*gate, state.as_path()));
                let cold = self.sample(behind, None, None)?;
                let warm = self.sample(behind, None, None)?;
                states.done_with(&state);
                Ok(vec![(Phase::Cold, cold), (Phase::Warm, warm)])
            }
            Source::Serve(gate) => {
                let state = gate.fresh_state(states)?;
                let (server, door, _) = gate.serve(&state, states)?;
                let samples = self.through(&server, &door);
                drop(server);
                states.done_with(&state);
                samples
            }
            Source::Peer(peer) => {
                let folder = states.fresh(peer.name());
                let (server, door) = peer.start(&folder, upstreams)?;
                let samples = self.through(&server, &door);
                drop(server);
                states.done_with(&folder);
                samples
            }
        }
    }

    /// By way of a server that was just started: cold, then warm.
    fn through(&self, server: &Server, door: &Door) -> Result<Vec<(Phase, Sample)>, String> {
        // apt's lists are not part of a download, but they come the same way.
        let lists = self.folder("lists");
        if self.client == Client::AptDownload {
            apt_update(&lists, self.client.entry(door))?;
        }
        let mut out = Vec::new();
        for phase in [Phase::Cold, Phase::Warm] {
            server.forget_peak();
            let tools = Tools { apt: lists.clone(), ..self.rounds.tools.clone() };
            out.push((phase, self.sample(None, Some((server, door)), Some(&tools))?));
        }
        self.rounds.scratch.done_with(&lists);
        Ok(out)
    }

    fn sample(
        &self,
        behind: Option<(&Gate, &Path)>,
        through: Option<(&Server, &Door)>,
        tools: Option<&Tools>,
    ) -> Result<Sample, String> {
        let folder = self.folder("round");
        let tools = tools.unwrap_or(self.rounds.tools);
        let door = through.map(|(_, door)| door);
        let mut job = self.client.job(tools, &self.set, &folder, door)?;
        if let Some((gate, state)) = behind {
            job = gate.run(state, job);
        }
        let before = through.map_or(0.0, |(server, _)| server.cpu_seconds());
        let measured = job.measure()?;
        let server_cpu = through.map_or(0.0, |(server, _)| server.cpu_seconds() - before);
        let (after_kib, server_peak) = through.map_or((0, 0), |(server, _)| server.memory_kib());
        let gates_peak = if behind.is_some() { measured.peak_kib } else { 0 };
        let count = self.client.count(&folder);
        if count != self.result.packages {
            let expected = self.result.packages;
            return Err(format!("the client got {count} packages, and {expected} directly"));
        }
        self.rounds.scratch.done_with(&folder);
        Ok(Sample {
            seconds: measured.seconds,
            client_cpu: measured.cpu_seconds,
            server_cpu,
            foreign_cpu: (measured.machine_seconds - measured.cpu_seconds - server_cpu).max(0.0),
            peak_kib: gates_peak.max(server_peak),
            after_kib,
        })
    }

    fn side(&mut self, way: Way, phase: Phase) -> &mut Side {
        let sides = &mut self.result.sides;
        let at = sides.iter().position(|s| s.way == way && s.phase == phase);
        let at = at.unwrap_or_else(|| {
            sides.push(Side { way, phase, samples: Vec::new(), failed: None });
            sides.len() - 1
        });
        &mut sides[at]
    }

    fn say(&self, round: usize, way: &Way, phase: Phase, sample: &Sample) {
        let direct = self.result.side(&Way::Direct, Phase::None).map(Side::seconds);
        let direct = direct.as_deref().and_then(stats::median);
        let ratio = direct.map(|d| format!(", {:.2} of direct", sample.seconds / d));
        (self.rounds.say)(&format!(
            "{} {}/{}: {} {} {:.2} s{}",
            self.client.shown(),
            round + 1,
            self.rounds.count,
            way.shown(),
            phase.shown(),
            sample.seconds,
            ratio.unwrap_or_default()
        ));
    }
}
