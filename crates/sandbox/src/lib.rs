//! The one room where a package's code runs: a jail, what is seen in it, and what that means.
//!
//! [`run`] starts three stages of one program, each with less power than the one before. The first
//! enters namespaces of its own; the second is their first process, builds the file system and the
//! network, and watches; the third gives up everything and becomes the command. When the second
//! ends, the kernel ends everything that it started.
//!
//! Nothing here fetches anything, and nothing here decides: what the artifact did becomes findings,
//! which policy judges.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr))]

mod baseline;
mod canary;
mod detonate;
mod error;
mod event;
mod plan;
mod rules;
mod run;
mod spec;
mod stage;
mod toolchain;

pub use canary::Canaries;
pub use detonate::{CHECK, Detonation, Detonator, VERSION};
pub use error::SandboxError;
pub use event::{Deed, Event, Recorded};
pub use plan::Artifact;
pub use run::{Program, run};
pub use spec::{Limits, Placed, Source, Spec, Step};
pub use stage::{enter, fuzzing};
