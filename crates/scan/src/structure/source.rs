//! The parts of a Debian source package that are texts: its description, signatures, and the patch
//! of the old format (dpkg-source(1)).
//!
//! They are no archives, so nothing is walked. What is done instead, and what is not, is said.

use super::contents::{self, Contents};
use super::{Declared, Expected, Notes, StructureReport, compare};
use crate::content::{Package, Pass};
use crate::malware::FileRules;
use countersign_core::{Ecosystem, Severity};
use countersign_ecosystem::archive::{Entry, EntryKind, Limits};
use countersign_ecosystem::debian::{decompress_index, parse_dsc};
use std::io::{self, Read, Seek, SeekFrom};

/// Bytes of a description or of a signature.
const MAX_TEXT: u64 = 1 << 20;

/// Which text a file's name promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Text {
    /// A description (`.dsc`).
    Description,
    /// A detached signature of an upstream archive (`.asc`, `.sig`).
    Signature,
    /// The patch of a source package in format 1.0 (`.diff.gz`).
    Patch,
}

impl Text {
    pub(super) fn of_file_name(file_name: &str) -> Option<Self> {
        let name = file_name.to_ascii_lowercase();
        let ends = |all: &[&str]| all.iter().any(|e| name.ends_with(e));
        if ends(&[".dsc"]) {
            Some(Self::Description)
        } else if ends(&[".asc", ".sig", ".sign"]) {
            Some(Self::Signature)
        } else if ends(&[".diff", ".diff.gz", ".diff.xz", ".diff.bz2", ".diff.lzma"]) {
            Some(Self::Patch)
        } else {
            None
        }
    }
}

/// Looks at a text of a source package.
pub(super) fn scan_text<R: Read + Seek>(
    text: Text,
    file_name: &str,
    expected: Option<&Expected>,
    reader: &mut R,
    limits: &Limits,
    rules: Option<&dyn FileRules>,
) -> Result<StructureReport, String> {
    let unreadable = |e: std::io::Error| format!("could not read the artifact: {e}");
    let mut notes = Notes::default();
    let mut declared = None;
    let mut pass = Pass::new(super::content_scanners(rules));
    let mut cut = None;
    let mut show = |content: &mut dyn Read| pass.file(&entry(file_name), content);
    reader.seek(SeekFrom::Start(0)).map_err(unreadable)?;
    match text {
        Text::Description => {
            let bytes = read_small(reader).map_err(unreadable)?;
            show(&mut bytes.as_slice()).map_err(unreadable)?;
            declared = describe(&bytes, expected, &mut notes);
        }
        Text::Signature => {
            let bytes = read_small(reader).map_err(unreadable)?;
            show(&mut bytes.as_slice()).map_err(unreadable)?;
            signature(&bytes, &mut notes);
        }
        Text::Patch => cut = patch(file_name, reader, limits, &mut show, &mut notes),
    }
    let package = Package {
        ecosystem: Ecosystem::Debian,
        file_name,
        manifest: &[],
        metadata: &[],
        hooks: &[],
    };
    let (findings, checks) = pass.finish(&package, cut);
    let mut report = notes.into_report(Contents::default(), declared);
    report.findings.extend(findings);
    report.content_checks = checks;
    Ok(report)
}

/// At most one byte more than a small text may have.
fn read_small<R: Read>(reader: &mut R) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(MAX_TEXT + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn describe(bytes: &[u8], expected: Option<&Expected>, notes: &mut Notes) -> Option<Declared> {
    let dsc = match parse_dsc(bytes) {
        Ok(dsc) => dsc,
        Err(e) => {
            let title = contents::printable(&e.to_string());
            notes.structure("metadata-malformed", Severity::High, title, None);
            return None;
        }
    };
    if dsc.signed {
        let title = "the description carries its uploader's signature, which was not verified";
        notes.structure("uploader-claim", Severity::Info, title.to_owned(), None);
    }
    let declared = Declared { name: dsc.source, version: dsc.version };
    if let Some(expected) = expected {
        compare(Ecosystem::Debian, &declared, expected, notes);
    }
    Some(declared)
}

/// A detached signature is bytes for somebody else's verifier. An armoured one is told by its first
/// line, a binary one by the first packet's tag (RFC 9580, section 4.2).
fn signature(bytes: &[u8], notes: &mut Notes) {
    let armoured = bytes.trim_ascii_start().starts_with(b"-----BEGIN PGP ");
    let binary = bytes.first().is_some_and(|b| b & 0x80 != 0);
    if bytes.len() as u64 > MAX_TEXT || !(armoured || binary) {
        let title = "the file is no OpenPGP signature".to_owned();
        notes.structure("not-a-signature", Severity::High, title, None);
        return;
    }
    let title = "a signature by the upstream author, which was not verified".to_owned();
    notes.structure("uploader-claim", Severity::Info, title, None);
}

/// The text as if it were a file of an archive.
fn entry(file_name: &str) -> Entry {
    Entry {
        raw_path: file_name.as_bytes().to_vec(),
        path: file_name.trim_end_matches(".gz").to_owned(),
        kind: EntryKind::File,
        mode: 0o644,
        size: 0,
    }
}

/// Reads a patch to its end, under the limits of an archive's entry. Returns why it was not.
fn patch<R: Read>(
    file_name: &str,
    reader: &mut R,
    limits: &Limits,
    show: &mut dyn FnMut(&mut dyn Read) -> io::Result<()>,
    notes: &mut Notes,
) -> Option<&'static str> {
    let limit = limits.max_entry_bytes.min(limits.max_unpacked_bytes);
    let read = decompress_index(&file_name.to_ascii_lowercase(), reader).and_then(|unpacked| {
        let mut bounded = unpacked.take(limit + 1);
        show(&mut bounded)?;
        io::copy(&mut bounded, &mut io::sink())?;
        Ok(bounded.limit() == 0)
    });
    match read {
        Ok(true) => {
            let title = format!("the patch has more than {limit} bytes");
            notes.structure("too-large", Severity::Critical, title, None);
            Some("the patch is larger than the limit")
        }
        Ok(false) => {
            let title = "a patch: what it makes of the files was not looked at".to_owned();
            notes.structure("patch-not-read", Severity::Info, title, None);
            None
        }
        Err(e) => {
            let title = format!("the patch cannot be unpacked: {e}");
            notes.structure("not-an-archive", Severity::Critical, title, None);
            Some("the patch cannot be unpacked")
        }
    }
}
