//! Rust crates: the sparse index's configuration and entries, download addresses, `Cargo.lock`.

mod config;
mod index;
mod lock;

pub use config::{CargoConfig, download_url, match_download, parse_config};
pub use index::{CrateIndex, IndexLine, index_path, name_from_index_path, parse_index};
pub use lock::{LockedCrate, parse_lock};

/// Longest crate name (the public registry's limit).
const MAX_NAME: usize = 64;

/// Whether the text is a crate name: an ASCII letter or `_` first, then letters, digits, `-` and `_`.
///
/// Cargo itself allows more letters in names; registries do not.
#[must_use]
pub fn validate_name(name: &str) -> bool {
    name.len() <= MAX_NAME
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}
