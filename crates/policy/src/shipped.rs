//! The policy sets that come with the gate, embedded in the program.

use crate::error::PolicyFile;

/// The schema that every policy is checked against, as Cedar text.
pub const SCHEMA: &str = include_str!("../../../policies/countersign.cedarschema");

/// Names of the shipped sets, from the mildest to the strictest.
pub const SHIPPED_SETS: [&str; 3] = ["audit", "baseline", "strict"];

macro_rules! files {
    ($($name:literal),+ $(,)?) => {
        &[$(($name, include_str!(concat!("../../../policies/", $name)))),+]
    };
}

const AUDIT: &[(&str, &str)] = files!["audit/policy.toml"];

const BASELINE: &[(&str, &str)] = files![
    "baseline/policy.toml",
    "baseline/algorithms.toml",
    "baseline/admit.cedar",
    "baseline/advisories.cedar",
    "baseline/artifact.cedar",
    "baseline/release.cedar",
    "baseline/tolerate.cedar",
];

const STRICT: &[(&str, &str)] = files![
    "strict/policy.toml",
    "strict/algorithms.toml",
    "strict/artifact.cedar",
    "strict/release.cedar",
];

/// The files of a shipped set without those that it extends; `None` when there is no such set.
///
/// Names start with the set's (`baseline/release.cedar`).
#[must_use]
pub fn shipped_files(set: &str) -> Option<Vec<PolicyFile>> {
    let files = match set {
        "audit" => AUDIT,
        "baseline" => BASELINE,
        "strict" => STRICT,
        _ => return None,
    };
    Some(files.iter().map(|(name, text)| PolicyFile::new(*name, *text)).collect())
}
