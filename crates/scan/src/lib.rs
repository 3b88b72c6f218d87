//! Facts about content: advisories and VEX, archive structure, licences and malicious code. Sans-I/O.
//!
//! Scanners here take bytes, or something that bytes can be read from, and give findings. They know
//! no clock, no file system and no network, and judge nothing: what a finding means is policy's.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr))]

pub mod advisory;
pub mod configuration;
pub mod content;
pub mod dependency;
pub mod diff;
pub mod licence;
pub mod malware;
pub mod names;
pub mod structure;
pub mod vex;
#[cfg(feature = "yara")]
pub mod yara;
