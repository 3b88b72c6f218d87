//! `Sources` files: one paragraph a source package, read as a stream (Debian Policy, section 5.4;
//! Debian's repository format, "Sources indices").

use super::deb822::Deb822Error;
use super::lines::Lines;
use super::packages::PackagesLimits;
use countersign_core::Sha256Digest;
use std::io::BufRead;

/// Files of one source package; the largest have a few dozen upstream archives.
const MAX_FILES: usize = 2000;

/// What a `Sources` file says about one source package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceRecord {
    /// The source package's name.
    pub package: String,
    /// Its version, with epoch and revision.
    pub version: String,
    /// The folder of its files below the repository's root.
    pub directory: String,
    /// Its files with their strong digests. Files that only weak digests vouch for are not here.
    pub files: Vec<SourceFile>,
}

/// One file of a source package: its description (`.dsc`), an archive, a patch or a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Its name, without any folder.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its SHA-256 digest.
    pub sha256: Sha256Digest,
}

impl SourceRecord {
    /// A file's path below the repository's root.
    #[must_use]
    pub fn path_of(&self, file: &SourceFile) -> String {
        match self.directory.trim_start_matches("./").trim_end_matches('/') {
            "" | "." => file.name.clone(),
            folder => format!("{folder}/{}", file.name),
        }
    }
}

/// The fields that are read; all others are passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Package,
    Version,
    Directory,
    Checksums,
}

impl Field {
    const ALL: [(&str, Self); 4] = [
        ("Package", Self::Package),
        ("Version", Self::Version),
        ("Directory", Self::Directory),
        ("Checksums-Sha256", Self::Checksums),
    ];

    fn of(name: &[u8]) -> Option<Self> {
        let found = Self::ALL.iter().find(|(n, _)| name.eq_ignore_ascii_case(n.as_bytes()));
        found.map(|(_, field)| *field)
    }
}

/// A paragraph while it is read.
#[derive(Default)]
struct Draft {
    package: Option<String>,
    version: Option<String>,
    directory: Option<String>,
    files: Option<Vec<SourceFile>>,
    any: bool,
}

impl Draft {
    fn record(self, line: u64) -> Result<SourceRecord, Deb822Error> {
        let filled = |value: Option<String>, name: &str| {
            value.filter(|v| !v.is_empty()).ok_or_else(|| Deb822Error::missing(line, name))
        };
        Ok(SourceRecord {
            package: filled(self.package, "Package")?,
            version: filled(self.version, "Version")?,
            directory: filled(self.directory, "Directory")?,
            files: self.files.unwrap_or_default(),
        })
    }
}

/// A stream over the records of a `Sources` file. Ends after the first error.
pub struct Sources<R> {
    lines: Lines<R>,
    ended: bool,
}

/// Reads a `Sources` file, already unpacked, record by record.
pub fn parse_sources<R: BufRead>(reader: R, limits: PackagesLimits) -> Sources<R> {
    Sources { lines: Lines::new(reader, limits), ended: false }
}

impl<R: BufRead> Sources<R> {
    /// Reads the next paragraph; `None` at the end.
    fn next_draft(&mut self) -> Result<Option<Draft>, Deb822Error> {
        let mut draft = Draft::default();
        let mut within = None;
        while self.lines.advance()? {
            match self.lines.line().first() {
                None if draft.any => return Ok(Some(draft)),
                None | Some(b'#') => {}
                Some(b' ' | b'\t') if draft.any => {
                    if within == Some(Field::Checksums) {
                        self.checksum(&mut draft)?;
                    }
                }
                Some(b' ' | b'\t') => return Err(self.lines.no_field()),
                Some(_) => within = self.field(&mut draft)?,
            }
        }
        Ok(draft.any.then_some(draft))
    }

    fn field(&self, draft: &mut Draft) -> Result<Option<Field>, Deb822Error> {
        let (name, value) = self.lines.field()?;
        draft.any = true;
        let Some(field) = Field::of(name) else { return Ok(None) };
        let text = || {
            let text = std::str::from_utf8(value).map_err(|_| Deb822Error::NotUtf8)?;
            Ok(text.to_owned())
        };
        let again = match field {
            Field::Package => draft.package.replace(text()?).is_some(),
            Field::Version => draft.version.replace(text()?).is_some(),
            Field::Directory => draft.directory.replace(text()?).is_some(),
            Field::Checksums if !value.is_empty() => return Err(self.bad_checksum()),
            Field::Checksums => draft.files.replace(Vec::new()).is_some(),
        };
        if again { Err(self.lines.duplicate(name)) } else { Ok(Some(field)) }
    }

    /// A line of `digest size name`.
    fn checksum(&self, draft: &mut Draft) -> Result<(), Deb822Error> {
        let text = std::str::from_utf8(self.lines.line()).map_err(|_| Deb822Error::NotUtf8)?;
        let mut words = text.split_ascii_whitespace();
        let (Some(digest), Some(size), Some(name), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(self.bad_checksum());
        };
        // A name with a folder in it would be another path than the one that is asked for.
        if name.contains('/') || matches!(name, "." | "..") {
            return Err(self.bad_checksum());
        }
        let file = SourceFile {
            name: name.to_owned(),
            size: size.parse().map_err(|_| self.bad_checksum())?,
            sha256: digest.parse().map_err(|_| self.bad_checksum())?,
        };
        let files = draft.files.get_or_insert_default();
        if files.len() >= MAX_FILES {
            return Err(Deb822Error::TooLarge { what: "files", limit: MAX_FILES as u64 });
        }
        files.push(file);
        Ok(())
    }

    fn bad_checksum(&self) -> Deb822Error {
        Deb822Error::bad_value("Checksums-Sha256", &String::from_utf8_lossy(self.lines.line()))
    }
}

impl<R: BufRead> Iterator for Sources<R> {
    type Item = Result<SourceRecord, Deb822Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let item = match self.next_draft() {
            Ok(Some(draft)) => draft.record(self.lines.number()),
            Ok(None) => {
                self.ended = true;
                return None;
            }
            Err(e) => Err(e),
        };
        self.ended = item.is_err();
        Some(item)
    }
}
