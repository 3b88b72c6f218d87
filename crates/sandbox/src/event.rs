//! What is recorded of a run.

use serde::{Deserialize, Serialize};

/// Something that was recorded, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// Milliseconds since the jail stood.
    pub at: u64,
    /// What.
    #[serde(flatten)]
    pub event: Event,
}

/// An event of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The jail stands.
    Ready {
        /// What it is made of.
        walls: Vec<String>,
    },
    /// A step begins.
    Step {
        /// Its name.
        name: String,
    },
    /// A process did something.
    Did {
        /// The step that it belongs to.
        step: String,
        /// The programs that led to it, from the step's own, joined by ` > `.
        actor: String,
        /// What it did.
        deed: Deed,
    },
    /// A step is over.
    Ended {
        /// Its name.
        name: String,
        /// The exit code; none when a signal ended it.
        code: Option<i32>,
        /// The end of what it wrote.
        output: String,
        /// Programs that were still running after it.
        left: Vec<String>,
    },
    /// A limit was met, and everything was ended for it.
    Limit {
        /// Which: `time`, `memory`.
        limit: String,
    },
    /// More deeds were done than are recorded.
    Dropped {
        /// How many more.
        deeds: u64,
    },
    /// The jail could not be made, or its supervisor failed.
    Failed {
        /// Why.
        because: String,
    },
}

/// What a process did, or tried to do.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "did", rename_all = "kebab-case")]
pub enum Deed {
    /// Started a program.
    Started {
        /// The program's path.
        program: String,
        /// Its arguments, the first being the name that it was called by.
        arguments: Vec<String>,
    },
    /// Opened a file to read it.
    Read {
        /// The file.
        path: String,
    },
    /// Opened a file to write it, or made, moved or removed it.
    Wrote {
        /// The file.
        path: String,
    },
    /// Opened a connection, or sent to an address.
    Connected {
        /// Address and port, or the path of a socket.
        target: String,
        /// The name that was resolved to the address, where the jail gave it out.
        name: Option<String>,
    },
    /// Asked for a name.
    Resolved {
        /// The name.
        name: String,
    },
    /// Sent data over a connection.
    Sent {
        /// Address and port.
        target: String,
        /// The name that it asked for: of DNS, of the HTTP host, or of the TLS handshake.
        name: Option<String>,
        /// The beginning, as text.
        beginning: String,
        /// Which bait was in it, by the canaries' names.
        bait: Vec<String>,
    },
    /// Called the kernel for what no package needs: another process's memory, mounts, namespaces.
    Refused {
        /// The call's name.
        call: String,
    },
}
