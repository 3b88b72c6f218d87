//! The file: a header, what the index was made of, a table of keys, and the packages.
//!
//! ```text
//! header   magic (8)  format version (4)  reserved (4)  length of meta (8)  keys (8)
//!          length of the packages (8)  SHA-256 of the above, meta and table (32)
//! meta     JSON
//! table    for each key, sorted: hash (8)  offset (8)  length (4)  checksum (8)
//! packages the bytes of each package, back to back
//! ```
//!
//! Numbers are little-endian. A hash is the head of the SHA-256 of a key, a checksum that of a
//! package's bytes: as the table's own digest covers both, every byte of the file is covered.
//! This finds damage; it is no defence against whoever may write the file.

use super::error::FeedError;
use super::meta::FeedMeta;
use sha2::{Digest as _, Sha256};

/// The first bytes of every index.
const MAGIC: [u8; 8] = *b"CSFEEDIX";
/// The format version that is written, and the one that is read: an index is built again from its
/// feeds when the program has another. 2 added likelihoods.
pub const FORMAT_VERSION: u32 = 2;
/// Length of the header in bytes.
pub(super) const HEADER: usize = 72;
/// Length of the header's part that the digest covers.
const HEADER_COVERED: usize = 40;
/// Length of an entry of the table in bytes.
pub(super) const ENTRY: usize = 28;
/// Largest `meta` in bytes.
const MAX_META: u64 = 16 << 20;
/// Largest package in bytes: bounds what one look-up reads.
const MAX_PACKAGE: u64 = 64 << 20;

/// The head of the SHA-256 of `bytes`, as a number.
pub(super) fn digest64(bytes: &[u8]) -> u64 {
    let digest = Sha256::digest(bytes);
    digest.iter().take(8).fold(0, |n, b| (n << 8) | u64::from(*b))
}

/// The header, read and plausible; its digest is not checked yet.
pub(super) struct UnverifiedHeader {
    covered: [u8; HEADER_COVERED],
    digest: [u8; 32],
    /// Length of meta in bytes.
    pub(super) meta: usize,
    /// Length of the table in bytes.
    pub(super) table: usize,
    /// Length of all packages in bytes.
    pub(super) packages: u64,
}

impl UnverifiedHeader {
    /// Reads the header of a file of `file_len` bytes.
    pub(super) fn parse(bytes: &[u8; HEADER], file_len: u64) -> Result<Self, FeedError> {
        let mut r = Fields(bytes);
        if r.take::<8>() != MAGIC {
            return Err(FeedError::NotAnIndex);
        }
        let version = u32::from_le_bytes(r.take());
        if version > FORMAT_VERSION {
            return Err(FeedError::NewerFormat { found: version, supported: FORMAT_VERSION });
        }
        if version != FORMAT_VERSION || r.take::<4>() != [0; 4] {
            return Err(FeedError::corrupt("the header is not one"));
        }
        let [meta, keys, packages] = [0; 3].map(|_| u64::from_le_bytes(r.take()));
        let digest = r.take();
        let table = keys.checked_mul(ENTRY as u64);
        let parts = [Some(HEADER as u64), Some(meta), table, Some(packages)];
        let sum = parts.into_iter().try_fold(0u64, |sum, part| sum.checked_add(part?));
        if sum != Some(file_len) || meta > MAX_META {
            return Err(FeedError::corrupt("the lengths do not add up to the file's"));
        }
        let fits = |n: Option<u64>| n.and_then(|n| usize::try_from(n).ok());
        let (Some(meta), Some(table)) = (fits(Some(meta)), fits(table)) else {
            return Err(FeedError::corrupt("the table is too large"));
        };
        let covered = Fields(bytes).take();
        Ok(Self { covered, digest, meta, table, packages })
    }

    /// Checks the digest over header and `rest` (meta and table), and parses both.
    pub(super) fn verify(&self, mut rest: Vec<u8>) -> Result<(FeedMeta, Table), FeedError> {
        let mut hash = Sha256::new();
        hash.update(self.covered);
        hash.update(&rest);
        if <[u8; 32]>::from(hash.finalize()) != self.digest || rest.len() < self.meta {
            return Err(FeedError::corrupt("the checksum of its table does not hold"));
        }
        let table = rest.split_off(self.meta);
        let meta = serde_json::from_slice(&rest)
            .map_err(|_| FeedError::corrupt("what it was made of cannot be read"))?;
        Ok((meta, Table::checked(table, self.packages)?))
    }
}

/// Fixed fields, one after the other; what lies beyond the end is zero.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        let (head, rest) = self.0.split_at_checked(N).unwrap_or((self.0, &[]));
        for (to, from) in out.iter_mut().zip(head) {
            *to = *from;
        }
        self.0 = rest;
        out
    }
}

/// Where one package's bytes lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    hash: u64,
    /// Offset from the start of the packages.
    pub(super) offset: u64,
    /// Length in bytes.
    pub(super) length: u32,
    /// Checksum of the bytes.
    pub(super) checksum: u64,
}

/// The table of keys, as it lies in the file: 28 bytes a package are all that stays in memory.
#[derive(Debug)]
pub(super) struct Table(Vec<u8>);

impl Table {
    fn checked(bytes: Vec<u8>, packages: u64) -> Result<Self, FeedError> {
        let table = Self(bytes);
        let mut last = 0;
        for entry in (0..table.len()).filter_map(|i| table.entry(i)) {
            let end = entry.offset.checked_add(u64::from(entry.length));
            if entry.hash < last || end.is_none_or(|end| end > packages) {
                return Err(FeedError::corrupt("its table is out of order"));
            }
            last = entry.hash;
        }
        Ok(table)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len() / ENTRY
    }

    fn entry(&self, index: usize) -> Option<Entry> {
        let start = index.checked_mul(ENTRY)?;
        let mut r = Fields(self.0.get(start..start.checked_add(ENTRY)?)?);
        Some(Entry {
            hash: u64::from_le_bytes(r.take()),
            offset: u64::from_le_bytes(r.take()),
            length: u32::from_le_bytes(r.take()),
            checksum: u64::from_le_bytes(r.take()),
        })
    }

    /// The entries under the hash of `key`: none, one, or several keys with the same hash.
    pub(super) fn find(&self, key: &str) -> impl Iterator<Item = Entry> {
        let hash = digest64(key.as_bytes());
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.entry(middle).is_some_and(|e| e.hash < hash) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        (low..self.len()).map_while(|i| self.entry(i)).take_while(move |e| e.hash == hash)
    }
}

/// The bytes of an index of these packages (key and bytes).
pub(super) fn write(
    meta: &FeedMeta,
    packages: Vec<(String, Vec<u8>)>,
) -> Result<Vec<u8>, FeedError> {
    let meta = serde_json::to_vec(meta)
        .map_err(|_| FeedError::corrupt("what it was made of cannot be written"))?;
    let mut packages: Vec<(u64, Vec<u8>)> =
        packages.into_iter().map(|(key, bytes)| (digest64(key.as_bytes()), bytes)).collect();
    packages.sort_by_key(|(hash, _)| *hash);
    let mut table = Vec::with_capacity(packages.len() * ENTRY);
    let mut offset = 0u64;
    for (hash, bytes) in &packages {
        let too_large = FeedError::Limit { what: "one package's advisories", limit: MAX_PACKAGE };
        let length = u32::try_from(bytes.len())
            .ok()
            .filter(|n| u64::from(*n) <= MAX_PACKAGE)
            .ok_or(too_large)?;
        table.extend(hash.to_le_bytes());
        table.extend(offset.to_le_bytes());
        table.extend(length.to_le_bytes());
        table.extend(digest64(bytes).to_le_bytes());
        offset += u64::from(length);
    }
    let mut out = Vec::with_capacity(HEADER + meta.len() + table.len());
    out.extend(MAGIC);
    out.extend(FORMAT_VERSION.to_le_bytes());
    out.extend([0; 4]);
    for length in [meta.len() as u64, packages.len() as u64, offset] {
        out.extend(length.to_le_bytes());
    }
    let mut hash = Sha256::new();
    hash.update(&out);
    hash.update(&meta);
    hash.update(&table);
    out.extend(hash.finalize());
    out.extend(meta);
    out.extend(table);
    packages.iter().for_each(|(_, bytes)| out.extend(bytes));
    Ok(out)
}
