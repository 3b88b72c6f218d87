//! Debian: signed lists of packages, what apt says about them, and packages' own control files.
//!
//! Trust runs one way: a verified `InRelease` names the digests of `Packages` files, and those name
//! the digests of packages. Everything here reads bytes that somebody else has verified, or is
//! about to compare.

mod control;
mod deb822;
mod index_targets;
mod packages;
mod release;

pub use control::{Control, deb_file_name, parse_control};
pub use deb822::{Deb822Error, Deb822Limits, Paragraph, parse_paragraphs};
pub use index_targets::{IndexTarget, parse_index_targets};
pub(crate) use packages::split_source;
pub use packages::{PackageRecord, Packages, PackagesLimits, find_in_packages, parse_packages};
pub use release::{Release, parse_release};

use crate::archive::{Codec, decoder};
use std::io::{self, BufReader, Read};

/// Memory that a decompressor of an index may ask for: xz at its highest level needs 65 MiB.
const DECODER_MEMORY: u64 = 128 << 20;

/// Unpacks an index by its file name's suffix: `.gz`, `.xz`, `.lzma`, `.lz4`, `.zst`, `.bz2`; all
/// others are plain. Whoever reads sets the limit on how much.
///
/// # Errors
/// When the decompressor cannot be set up.
pub fn decompress_index<'a>(
    file_name: &str,
    input: impl Read + 'a,
) -> io::Result<Box<dyn Read + 'a>> {
    let input = BufReader::with_capacity(128 << 10, input);
    decoder(Codec::of_file_name(file_name), input, DECODER_MEMORY, None)
}

#[cfg(test)]
mod tests;
