//! The project's own checks and measurements, as a library so that `cargo test` runs the checks too.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr))]

pub mod bench;
pub mod soak;
pub mod tidy;
