//! `Packages` files: one paragraph a package, tens of megabytes, read as a stream.

use super::deb822::Deb822Error;
use super::lines::Lines;
use countersign_core::Sha256Digest;
use std::collections::HashSet;
use std::io::BufRead;

/// Bounds on a `Packages` file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackagesLimits {
    /// Unpacked bytes of the whole file; against a compressed index that never ends.
    pub max_bytes: u64,
    /// Bytes of one line; against a line that fills memory.
    pub max_line_bytes: usize,
}

impl Default for PackagesLimits {
    fn default() -> Self {
        Self { max_bytes: 2 << 30, max_line_bytes: 4 << 20 }
    }
}

/// What a `Packages` file says about one package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageRecord {
    /// The binary package's name.
    pub package: String,
    /// Its version, with epoch and revision.
    pub version: String,
    /// Its architecture, or `all`.
    pub architecture: String,
    /// Its path below the repository's root.
    pub filename: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its SHA-256 digest, where the file gives one.
    pub sha256: Option<Sha256Digest>,
    /// The source package's name; the package's own where the file says nothing.
    pub source: String,
    /// The source package's version; the package's own where the file says nothing.
    pub source_version: String,
}

/// The fields that are read, in the order of [`RawRecord::values`].
const FIELDS: [&str; 7] =
    ["Package", "Version", "Architecture", "Filename", "Size", "SHA256", "Source"];
const PACKAGE: usize = 0;
const VERSION: usize = 1;
const ARCHITECTURE: usize = 2;
const FILENAME: usize = 3;
const SIZE: usize = 4;
const SHA256: usize = 5;
const SOURCE: usize = 6;

/// One paragraph's wanted values as bytes; the buffers are used again for the next.
#[derive(Default)]
struct RawRecord {
    values: [Vec<u8>; FIELDS.len()],
    present: [bool; FIELDS.len()],
    any: bool,
}

impl RawRecord {
    fn clear(&mut self) {
        self.values.iter_mut().for_each(Vec::clear);
        self.present = [false; FIELDS.len()];
        self.any = false;
    }

    fn value(&self, field: usize) -> &[u8] {
        self.values.get(field).map(Vec::as_slice).unwrap_or_default()
    }

    fn text(&self, field: usize) -> Result<String, Deb822Error> {
        let text = std::str::from_utf8(self.value(field)).map_err(|_| Deb822Error::NotUtf8)?;
        Ok(text.to_owned())
    }

    fn required(&self, field: usize, line: u64) -> Result<String, Deb822Error> {
        match self.text(field)? {
            text if text.is_empty() => {
                Err(Deb822Error::missing(line, FIELDS.get(field).copied().unwrap_or_default()))
            }
            text => Ok(text),
        }
    }

    fn record(&self, line: u64) -> Result<PackageRecord, Deb822Error> {
        let package = self.required(PACKAGE, line)?;
        let version = self.required(VERSION, line)?;
        let size = self.required(SIZE, line)?;
        let sha256 = self.text(SHA256)?;
        let (source, source_version) = split_source(&self.text(SOURCE)?, &package, &version);
        Ok(PackageRecord {
            architecture: self.required(ARCHITECTURE, line)?,
            filename: self.required(FILENAME, line)?,
            size: size.parse().map_err(|_| Deb822Error::bad_value("Size", &size))?,
            sha256: match sha256.as_str() {
                "" => None,
                text => Some(text.parse().map_err(|_| Deb822Error::bad_value("SHA256", text))?),
            },
            source,
            source_version,
            package,
            version,
        })
    }
}

/// `name`, or `name (version)` where the source's version is another.
pub(crate) fn split_source(source: &str, package: &str, version: &str) -> (String, String) {
    let (name, rest) = source.split_once(' ').unwrap_or((source, ""));
    let given = rest.trim().strip_prefix('(').and_then(|v| v.strip_suffix(')'));
    let name = if name.is_empty() { package } else { name };
    (name.to_owned(), given.unwrap_or(version).to_owned())
}

/// A stream over the records of a `Packages` file. Ends after the first error.
pub struct Packages<R> {
    lines: Lines<R>,
    record: RawRecord,
    ended: bool,
}

/// Reads a `Packages` file, already unpacked, record by record.
pub fn parse_packages<R: BufRead>(reader: R, limits: PackagesLimits) -> Packages<R> {
    Packages { lines: Lines::new(reader, limits), record: RawRecord::default(), ended: false }
}

/// The records of a `Packages` file whose `Filename` is one of `wanted`.
///
/// # Errors
/// When the file cannot be read or is malformed anywhere.
pub fn find_in_packages<R: BufRead>(
    reader: R,
    wanted: &[&str],
    limits: PackagesLimits,
) -> Result<Vec<PackageRecord>, Deb822Error> {
    let wanted: HashSet<&[u8]> = wanted.iter().map(|w| w.as_bytes()).collect();
    let mut packages = parse_packages(reader, limits);
    let mut found = Vec::new();
    while packages.next_raw()? {
        if wanted.contains(packages.record.value(FILENAME)) {
            found.push(packages.record.record(packages.lines.number())?);
        }
    }
    Ok(found)
}

impl<R: BufRead> Packages<R> {
    /// Reads the next paragraph; false at the end.
    fn next_raw(&mut self) -> Result<bool, Deb822Error> {
        self.record.clear();
        while self.lines.advance()? {
            match self.lines.line().first() {
                None if self.record.any => return Ok(true),
                None => {}
                Some(b' ' | b'\t') if self.record.any => {}
                Some(b' ' | b'\t') => return Err(self.lines.no_field()),
                Some(b'#') => {}
                Some(_) => self.field()?,
            }
        }
        Ok(self.record.any)
    }

    fn field(&mut self) -> Result<(), Deb822Error> {
        let (name, value) = self.lines.field()?;
        self.record.any = true;
        // Most lines are of other fields: the length tells them apart before any comparison.
        if !(4..=12).contains(&name.len()) {
            return Ok(());
        }
        let Some(field) = FIELDS.iter().position(|f| name.eq_ignore_ascii_case(f.as_bytes()))
        else {
            return Ok(());
        };
        let (Some(slot), Some(present)) =
            (self.record.values.get_mut(field), self.record.present.get_mut(field))
        else {
            return Ok(());
        };
        if *present {
            return Err(self.lines.duplicate(name));
        }
        *present = true;
        slot.extend_from_slice(value);
        Ok(())
    }
}

impl<R: BufRead> Iterator for Packages<R> {
    type Item = Result<PackageRecord, Deb822Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let item = match self.next_raw() {
            Ok(true) => self.record.record(self.lines.number()),
            Ok(false) => {
                self.ended = true;
                return None;
            }
            Err(e) => Err(e),
        };
        self.ended = item.is_err();
        Some(item)
    }
}
