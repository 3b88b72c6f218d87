//! A list of packages as a file that is looked up without being read into memory.
//!
//! A list of a Debian suite has about 70,000 packages. As a map it takes 50 MiB; as a table it
//! takes 1 KiB and two small reads a question. A table is made while its list is verified, and
//! belongs to that list's digest. Its own digest is compared when it is opened: a file that was
//! torn or damaged is made again.
//!
//! ```text
//! header   magic, number of records, where the two directories begin, SHA-256 of all that follows
//! records  one after the other
//! by path  (first 8 bytes of SHA-256 of the path, offset of the record), sorted
//! by hash  (first 8 bytes of the package's SHA-256, offset of the record), sorted
//! ```

use countersign_core::Sha256Digest;
use countersign_ecosystem::debian::PackageRecord;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek as _, SeekFrom, Write};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// Of another form than this, a table is made again.
const MAGIC: &[u8; 16] = b"countersign-pt/1";
const HEADER: u64 = 16 + 3 * 8 + 32;
/// Bytes of a directory's entry.
const ENTRY: u64 = 16;
/// Bytes of one record: eight texts that a list's line bounds, and little else.
const MAX_RECORD: u32 = 64 << 10;

/// An open table. The file stays open, so that whatever happens to its name, it is the one that
/// was verified.
#[derive(Debug)]
pub(crate) struct Table {
    file: File,
    count: u64,
    by_path: u64,
    by_digest: u64,
    /// Where the entries of each first byte begin in the directory of paths.
    fan: Vec<u64>,
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the table is damaged")
}

fn key_of_path(path: &str) -> u64 {
    key_of_digest(&Sha256Digest::of(path.as_bytes()))
}

fn key_of_digest(digest: &Sha256Digest) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(digest.0.first_chunk::<8>().unwrap_or(&[0; 8]));
    u64::from_be_bytes(first)
}

/// Writes a table, record by record.
pub(crate) struct TableWriter {
    out: BufWriter<File>,
    hasher: Sha256,
    at: u64,
    by_path: Vec<(u64, u64)>,
    by_digest: Vec<(u64, u64)>,
}

impl TableWriter {
    /// Begins a table in an empty file.
    pub(crate) fn new(file: File) -> io::Result<Self> {
        let mut out = BufWriter::with_capacity(128 << 10, file);
        let header = usize::try_from(HEADER).unwrap_or_default();
        out.write_all(&vec![0; header])?;
        Ok(Self {
            out,
            hasher: Sha256::new(),
            at: HEADER,
            by_path: Vec::new(),
            by_digest: Vec::new(),
        })
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.at += bytes.len() as u64;
        self.out.write_all(bytes)
    }

    /// Adds a record.
    pub(crate) fn add(&mut self, record: &PackageRecord) -> io::Result<()> {
        let bytes = encode(record).ok_or_else(malformed)?;
        let path = record.filename.trim_start_matches("./");
        self.by_path.push((key_of_path(path), self.at));
        if let Some(digest) = &record.sha256 {
            self.by_digest.push((key_of_digest(digest), self.at));
        }
        let length = u32::try_from(bytes.len()).map_err(|_| malformed())?;
        self.put(&length.to_le_bytes())?;
        self.put(&bytes)
    }

    /// Writes the directories and the header.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        let count = self.by_path.len() as u64;
        let mut starts = Vec::new();
        for mut directory in
            [std::mem::take(&mut self.by_path), std::mem::take(&mut self.by_digest)]
        {
            directory.sort_unstable();
            starts.push(self.at);
            for (key, offset) in directory {
                self.put(&key.to_le_bytes())?;
                self.put(&offset.to_le_bytes())?;
            }
        }
        let mut header = MAGIC.to_vec();
        for number in [Some(&count), starts.first(), starts.last()] {
            header.extend_from_slice(&number.copied().unwrap_or_default().to_le_bytes());
        }
        header.extend_from_slice(&self.hasher.finalize());
        self.out.seek(SeekFrom::Start(0))?;
        self.out.write_all(&header)?;
        self.out.flush()
    }
}

impl Table {
    /// Opens a table and compares it with its own digest.
    ///
    /// # Errors
    /// When it cannot be read or is not what was written.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        let mut reader = BufReader::with_capacity(256 << 10, &file);
        let mut header = [0; HEADER as usize];
        reader.read_exact(&mut header)?;
        let number = |at: usize| -> u64 {
            let bytes = header.get(at..at + 8).and_then(|b| <[u8; 8]>::try_from(b).ok());
            bytes.map_or(u64::MAX, u64::from_le_bytes)
        };
        let (count, by_path, by_digest) = (number(16), number(24), number(32));
        let sound = header.starts_with(MAGIC)
            && by_path >= HEADER
            && count.checked_mul(ENTRY).and_then(|n| n.checked_add(by_path)) == Some(by_digest)
            && by_digest <= size
            && (size - by_digest) % ENTRY == 0;
        if !sound {
            return Err(malformed());
        }
        let mut hashing = Hashing { inner: reader, hasher: Sha256::new() };
        io::copy(&mut (&mut hashing).take(by_path - HEADER), &mut io::sink())?;
        let fan = read_fan(&mut hashing, count)?;
        io::copy(&mut hashing, &mut io::sink())?;
        if header.get(40..) != Some(&hashing.hasher.finalize()[..]) {
            return Err(malformed());
        }
        Ok(Self { file, count, by_path, by_digest, fan })
    }

    /// The record of a package by its path below the repository's root.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub(crate) fn by_path(&self, path: &str) -> io::Result<Option<PackageRecord>> {
        let key = key_of_path(path);
        let bucket = usize::from(key.to_be_bytes()[0]);
        let (Some(start), Some(end)) = (self.fan.get(bucket), self.fan.get(bucket + 1)) else {
            return Err(malformed());
        };
        let mut bytes = vec![0; usize::try_from((end - start) * ENTRY).map_err(|_| malformed())?];
        self.file.read_exact_at(&mut bytes, self.by_path + start * ENTRY)?;
        let (entries, _) = bytes.as_chunks::<16>();
        let first = entries.partition_point(|e| entry(e).0 < key);
        for (found, offset) in entries.iter().skip(first).map(entry) {
            if found != key {
                break;
            }
            let record = self.record(offset)?;
            if record.filename.trim_start_matches("./") == path {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    /// The record of a package by its digest.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub(crate) fn by_digest(&self, digest: &Sha256Digest) -> io::Result<Option<PackageRecord>> {
        let key = key_of_digest(digest);
        let size = self.file.metadata()?.len();
        let (mut low, mut high) = (0, size.saturating_sub(self.by_digest) / ENTRY);
        let read = |at: u64| -> io::Result<(u64, u64)> {
            let mut bytes = [0; ENTRY as usize];
            self.file.read_exact_at(&mut bytes, self.by_digest + at * ENTRY)?;
            Ok(entry(&bytes))
        };
        let end = high;
        while low < high {
            let middle = low + (high - low) / 2;
            if read(middle)?.0 < key { low = middle + 1 } else { high = middle }
        }
        while low < end {
            let (found, offset) = read(low)?;
            if found != key {
                break;
            }
            let record = self.record(offset)?;
            if record.sha256.as_ref() == Some(digest) {
                return Ok(Some(record));
            }
            low += 1;
        }
        Ok(None)
    }

    /// How many packages it lists.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    fn record(&self, offset: u64) -> io::Result<PackageRecord> {
        let mut length = [0; 4];
        self.file.read_exact_at(&mut length, offset)?;
        let length = u32::from_le_bytes(length);
        if length > MAX_RECORD {
            return Err(malformed());
        }
        let mut bytes = vec![0; usize::try_from(length).map_err(|_| malformed())?];
        self.file.read_exact_at(&mut bytes, offset + 4)?;
        decode(&bytes).ok_or_else(malformed)
    }
}

fn entry(bytes: &[u8; 16]) -> (u64, u64) {
    let (key, offset) = bytes.split_at(8);
    let number = |b: &[u8]| <[u8; 8]>::try_from(b).map_or(0, u64::from_le_bytes);
    (number(key), number(offset))
}

/// Where each first byte's entries begin: 257 numbers, the last one being the count.
fn read_fan(reader: &mut impl Read, count: u64) -> io::Result<Vec<u64>> {
    let mut fan = Vec::with_capacity(257);
    for at in 0..count {
        let mut bytes = [0; ENTRY as usize];
        reader.read_exact(&mut bytes)?;
        let bucket = usize::from(entry(&bytes).0.to_be_bytes()[0]);
        while fan.len() <= bucket {
            fan.push(at);
        }
    }
    fan.resize(257, count);
    Ok(fan)
}

struct Hashing<R> {
    inner: R,
    hasher: Sha256,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.hasher.update(buffer.get(..n).unwrap_or_default());
        Ok(n)
    }
}

/// The texts of a record with their lengths, its size and its digest; `None` for one that is too
/// large to be a package's.
fn encode(r: &PackageRecord) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(&r.size.to_le_bytes());
    match &r.sha256 {
        Some(digest) => {
            out.push(1);
            out.extend_from_slice(&digest.0);
        }
        None => out.push(0),
    }
    for text in [&r.package, &r.version, &r.architecture, &r.filename, &r.source, &r.source_version]
    {
        out.extend_from_slice(&u16::try_from(text.len()).ok()?.to_le_bytes());
        out.extend_from_slice(text.as_bytes());
    }
    (out.len() as u64 <= u64::from(MAX_RECORD)).then_some(out)
}

fn decode(bytes: &[u8]) -> Option<PackageRecord> {
    let (size, rest) = bytes.split_first_chunk::<8>()?;
    let (has_digest, mut rest) = rest.split_first()?;
    let sha256 = match has_digest {
        0 => None,
        _ => {
            let (digest, after) = rest.split_first_chunk::<32>()?;
            rest = after;
            Some(Sha256Digest(*digest))
        }
    };
    let mut text = || -> Option<String> {
        let (length, after) = rest.split_first_chunk::<2>()?;
        let (text, after) = after.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
        rest = after;
        String::from_utf8(text.to_vec()).ok()
    };
    Some(PackageRecord {
        package: text()?,
        version: text()?,
        architecture: text()?,
        filename: text()?,
        size: u64::from_le_bytes(*size),
        sha256,
        source: text()?,
        source_version: text()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(n: u32) -> PackageRecord {
        PackageRecord {
            package: format!("p{n}"),
            version: "1:2-3".into(),
            architecture: "amd64".into(),
            filename: format!("./pool/p{n}_2-3_amd64.deb"),
            size: u64::from(n),
            sha256: (!n.is_multiple_of(5)).then(|| Sha256Digest::of(&n.to_le_bytes())),
            source: "src".into(),
            source_version: "4".into(),
        }
    }

    fn written(folder: &Path, count: u32) -> std::path::PathBuf {
        let path = folder.join("t.table");
        let mut writer = TableWriter::new(File::create(&path).unwrap()).unwrap();
        (0..count).for_each(|n| writer.add(&record(n)).unwrap());
        writer.finish().unwrap();
        path
    }

    #[test]
    fn what_is_written_is_found() {
        let folder = tempfile::tempdir().unwrap();
        for count in [0, 1, 3000] {
            let table = Table::open(&written(folder.path(), count)).unwrap();
            assert_eq!(table.count(), u64::from(count));
            for n in 0..count {
                let want = record(n);
                let path = format!("pool/p{n}_2-3_amd64.deb");
                assert_eq!(table.by_path(&path).unwrap(), Some(want.clone()));
                if let Some(digest) = &want.sha256 {
                    assert_eq!(table.by_digest(digest).unwrap(), Some(want));
                }
            }
            assert_eq!(table.by_path("pool/other").unwrap(), None);
            assert_eq!(table.by_digest(&Sha256Digest([7; 32])).unwrap(), None);
        }
    }

    #[test]
    fn one_changed_byte_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = written(folder.path(), 20);
        let good = std::fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            std::fs::write(&path, &bad).unwrap();
            assert!(Table::open(&path).is_err(), "byte {at}");
        }
        for length in [0, 10, 72, 100, good.len() - 1, good.len() - 16] {
            std::fs::write(&path, &good[..length]).unwrap();
            assert!(Table::open(&path).is_err(), "cut to {length}");
        }
        std::fs::write(&path, &good).unwrap();
        assert!(Table::open(&path).is_ok());
    }

    #[test]
    fn a_record_that_no_package_has_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = TableWriter::new(File::create(folder.path().join("x")).unwrap()).unwrap();
        let huge = PackageRecord { version: "9".repeat(70_000), ..record(1) };
        assert!(writer.add(&huge).is_err());
    }
}
