//! Registry protocols and archives: hostile bytes to typed values and back. Sans-I/O.
//!
//! Every reader here takes bytes and limits and gives a typed value or a typed error; none of
//! them touches a file, a socket or a clock. What a registry says stays a claim: a parsed index
//! proves nothing about the artifacts that it lists.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr))]

pub mod archive;
pub mod cargo;
pub mod debian;
pub mod error;
pub mod inventory;
mod json;
mod json_text;
pub mod npm;
pub mod pypi;
pub mod sbom;
mod text;
mod toml_doc;
pub mod version;

pub use error::{IndexError, IndexLimits};
