//! Fuzzers for every parser of foreign bytes.
//!
//! Each target is a function from bytes that must return whatever they are: no panic, no hang, no
//! memory beyond the limits. Where a value that was read can be written again, the target also
//! checks that it is read back the same. `fuzz_targets` hands the functions to libFuzzer;
//! `tests/smoke.rs` runs them for a moment each with any toolchain.

mod ecosystem;
mod evidence;
mod inventory;
mod ledger;
mod policy;
mod sandbox;
mod scan;

pub use ecosystem::*;
pub use evidence::*;
pub use inventory::*;
pub use ledger::*;
pub use policy::*;
pub use sandbox::*;
pub use scan::*;

/// A function that must return, whatever it is given.
pub type Target = fn(&[u8]);

/// Every target by its name.
pub const TARGETS: &[(&str, Target)] = &[
    ("archive", archive),
    ("bun_lock", bun_lock),
    ("cargo_config", cargo_config),
    ("cargo_index", cargo_index),
    ("cargo_lock", cargo_lock),
    ("cargo_vcs_info", cargo_vcs_info),
    ("checkpoint", checkpoint),
    ("content", content),
    ("cyclonedx", cyclonedx),
    ("deb822", deb822),
    ("declared", declared),
    ("detached_signature", detached_signature),
    ("dsc", dsc),
    ("dpkg_status", dpkg_status),
    ("dsse", dsse),
    ("feed_index", feed_index),
    ("feed_lists", feed_lists),
    ("image_signature", image_signature),
    ("index_compressed", index_compressed),
    ("index_targets", index_targets),
    ("inrelease", inrelease),
    ("inventory", inventory),
    ("keyed_attestations", keyed_attestations),
    ("lock_relations", lock_relations),
    ("listing", listing),
    ("npm_attestations", npm_attestations),
    ("npm_signatures", npm_signatures),
    ("npm_spec", npm_spec),
    ("osv_record", osv_record),
    ("package_lock", package_lock),
    ("packages", packages),
    ("packed_entries", packed_entries),
    ("packument", packument),
    ("pep740", pep740),
    ("pnpm_lock", pnpm_lock),
    ("poetry_lock", poetry_lock),
    ("policy_load", policy_load),
    ("proofs", proofs),
    ("purl", purl),
    ("purl_pattern", purl_pattern),
    ("pylock", pylock),
    ("pypi_project", pypi_project),
    ("pypi_release", pypi_release),
    ("receipt", receipt),
    ("referrers", referrers),
    ("release", release),
    ("release_gpg", release_gpg),
    ("requirements", requirements),
    ("rotations", rotations),
    ("sigstore_bundle", sigstore_bundle),
    ("sinkhole", sinkhole),
    ("sources", sources),
    ("spdx", spdx),
    ("structure", structure),
    ("sumdb", sumdb),
    ("trusted_root", trusted_root),
    ("uv_lock", uv_lock),
    ("version_order", version_order),
    ("vex", vex),
    ("waiver_file", waiver_file),
    ("witness_request", witness_request),
    ("yarn_lock", yarn_lock),
];

/// The bytes as text; what is no UTF-8 is replaced, so that no input is lost.
fn text(data: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(data)
}

/// The first part up to [`SEPARATOR`], and the rest.
fn split(data: &[u8]) -> (&[u8], &[u8]) {
    let at = data.windows(SEPARATOR.len()).position(|w| w == SEPARATOR);
    match at {
        Some(at) => (&data[..at], &data[at + SEPARATOR.len()..]),
        None => (data, &[]),
    }
}

/// What stands between the parts of an input that has several.
pub const SEPARATOR: &[u8] = b"\n\0\n";
