//! HTTP between package managers and the engine: a proxy on the loopback interface for one run
//! ([`Gateway`]), and a server with registries of its own for a team ([`Server`]).
//!
//! In a run the client keeps its own addresses and reaches them through the gateway; what is not
//! recognised as a registry's address is closed by the engine. The gateway itself decides nothing.
//! An artifact's bytes leave only through [`respond::artifact`], which takes
//! [`countersign_engine::Admitted`] and nothing else.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr))]

pub mod authority;
mod body;
mod conditional;
mod memory;
mod proxy;
mod respond;
mod secret;
pub mod server;
mod witness;

pub use authority::Authority;
pub use proxy::{Gateway, GatewayError};
pub use secret::Secret;
pub use server::{Server, ServerError, ServerOptions};
pub use witness::{Clock, serve_witness};
