//! The project's own checks, as a library so that `cargo test` runs them too.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr))]

pub mod tidy;
