//! The figures of one run of the bench, as they are kept and as the document is made from them.

use serde::{Deserialize, Serialize};

/// Everything that one run measured.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Results {
    /// Where and when.
    pub(super) surroundings: Surroundings,
    /// Rounds of each client.
    pub(super) rounds: usize,
    /// The clients.
    pub(super) clients: Vec<ClientResult>,
    /// What was asked of servers at full load.
    pub(super) loads: Vec<Load>,
    /// Single figures of the gate.
    pub(super) figures: Vec<Figure>,
    /// What may have disturbed the measurements, and what was not measured.
    pub(super) notes: Vec<String>,
}

/// The machine, the day and the programs.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Surroundings {
    /// The day, as `YYYY-MM-DD`.
    pub(super) date: String,
    /// The commit that was measured, or that it is not known.
    pub(super) commit: String,
    /// The processor's own name for itself, and how many there are.
    pub(super) processor: String,
    /// Memory in GiB.
    pub(super) memory_gib: u64,
    /// The kernel's release.
    pub(super) kernel: String,
    /// The file systems: of the clients' folders, of the servers'.
    pub(super) filesystems: (String, String),
    /// Programs and their versions.
    pub(super) versions: Vec<(String, String)>,
}

/// One client with one set.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ClientResult {
    /// The part's name, such as `npm-ci`.
    pub(super) name: String,
    /// The command, such as `npm ci`.
    pub(super) shown: String,
    /// The set's folder.
    pub(super) set: String,
    /// How many packages the client got from its registries.
    pub(super) packages: usize,
    /// The sides, with *direct* first.
    pub(super) sides: Vec<Side>,
}

/// Which way the packages came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Way {
    /// From the registries themselves.
    Direct,
    /// Behind `countersign run`.
    Run,
    /// By way of `countersign serve`.
    Serve,
    /// By way of another server.
    Peer(String),
}

impl Way {
    /// What to call it.
    #[must_use]
    pub(super) fn shown(&self) -> &str {
        match self {
            Self::Direct => "direct",
            Self::Run => "countersign run",
            Self::Serve => "countersign serve",
            Self::Peer(name) => name,
        }
    }
}

/// What the side knew when the client began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Phase {
    /// Nothing: there is nothing between the client and the registries.
    None,
    /// Nothing of any package.
    Cold,
    /// Everything that the client asks for.
    Warm,
}

impl Phase {
    /// What to call it.
    #[must_use]
    pub(super) fn shown(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Cold => "cold",
            Self::Warm => "warm",
        }
    }
}

/// One client going one way.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Side {
    /// Which.
    pub(super) way: Way,
    /// What it knew.
    pub(super) phase: Phase,
    /// One for each round.
    pub(super) samples: Vec<Sample>,
    /// Why there are not as many samples as rounds.
    pub(super) failed: Option<String>,
}

impl Side {
    /// The times on the wall, in seconds.
    #[must_use]
    pub(super) fn seconds(&self) -> Vec<f64> {
        self.samples.iter().map(|s| s.seconds).collect()
    }
}

/// One command.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Sample {
    /// Time on the wall.
    pub(super) seconds: f64,
    /// Processor time of the command, in seconds; behind `run` the gate's is in it.
    pub(super) client_cpu: f64,
    /// Processor time of the server, in seconds; 0 where there is none.
    pub(super) server_cpu: f64,
    /// Processor time that the rest of the machine took meanwhile, in seconds.
    pub(super) foreign_cpu: f64,
    /// The most memory that the gate or the server had meanwhile, in KiB.
    pub(super) peak_kib: u64,
    /// The memory of the server just after, in KiB.
    pub(super) after_kib: u64,
}

impl ClientResult {
    /// One side.
    #[must_use]
    pub(super) fn side(&self, way: &Way, phase: Phase) -> Option<&Side> {
        self.sides.iter().find(|s| s.way == *way && s.phase == phase)
    }
}

/// One body, asked for again and again, from the gate and from nginx.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Load {
    /// What it is: `index document`, `packument`, `artifact`.
    pub(super) what: String,
    /// Its length in bytes.
    pub(super) bytes: usize,
    /// Who served it, and its requests a second in each turn.
    pub(super) servers: Vec<(String, Vec<f64>)>,
}

/// A figure that stands by itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Figure {
    /// Its stable name; see [`super::targets`].
    pub(super) name: String,
    /// What it is, in words.
    pub(super) what: String,
    /// Its unit, such as `ms`.
    pub(super) unit: String,
    /// The values of all turns, or the one value.
    pub(super) values: Vec<f64>,
}
