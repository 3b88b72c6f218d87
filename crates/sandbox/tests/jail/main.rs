//! The jail, tried from inside, and what is found of what runs in it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, clippy::panic)]

mod escapes;
mod incidents;
mod support;
