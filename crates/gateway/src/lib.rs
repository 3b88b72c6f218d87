//! HTTP between a package manager and the engine: a proxy on the loopback interface.
//!
//! The client keeps its own addresses and reaches them through the gateway. What the gateway
//! does not recognise as a registry's address is closed by the engine; the gateway itself decides
//! nothing. An artifact's bytes leave only through [`respond::artifact`], which takes
//! [`countersign_engine::Admitted`] and nothing else.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr))]

pub mod authority;
mod proxy;
mod respond;
mod secret;

pub use authority::Authority;
pub use proxy::{Gateway, GatewayError};
pub use secret::Secret;
