//! Debian: signed lists of packages, what apt says about them, and packages' own control files.
//!
//! Trust runs one way: a verified `InRelease` names the digests of `Packages` and `Sources` files,
//! and those name the digests of packages and of sources. Everything here reads bytes that somebody else has verified, or is
//! about to compare.

mod control;
mod deb822;
mod dsc;
mod index_targets;
mod lines;
mod packages;
mod release;
mod sources;

pub use control::{Control, deb_file_name, parse_control};
pub use deb822::{Deb822Error, Deb822Limits, Paragraph, parse_paragraphs};
pub use dsc::{Dsc, parse_dsc};
pub use index_targets::{IndexTarget, parse_index_targets};
pub(crate) use packages::split_source;
pub use packages::{PackageRecord, Packages, PackagesLimits, find_in_packages, parse_packages};
pub use release::{Release, parse_release};
pub use sources::{SourceFile, SourceRecord, Sources, parse_sources};

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
mod sources_tests;
#[cfg(test)]
mod tests;
