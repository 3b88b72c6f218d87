//! ZIP (PKWARE's APPNOTE.TXT): the central directory, with every local header checked against it.
//!
//! A wheel's readers disagree in which of the two they believe, and streaming readers know only
//! local headers; whatever lets them see different files is reported.

mod directory;
mod local;

use super::decode::{Codec, decoder};
use super::watch::{Exact, Source, Stop, Watch, deliver};
use super::{Entry, EntryKind, Problem, ProblemCode, Visitor, path};
use directory::{Directory, Record};
use flate2::Crc;
use local::Window;
use std::io::{self, Cursor, Read};

const S_IFMT: u32 = 0o170_000;

/// Walks a ZIP archive of `len` bytes.
pub(super) fn walk_zip(
    source: &mut Source<'_>,
    len: u64,
    watch: &mut Watch<'_>,
    visitor: &mut Visitor<'_>,
) -> Result<(), Stop> {
    let mut window = Window::new(source, len)?;
    let directory = directory::read(&mut window, watch)?;
    let mut at = 0;
    for (i, record) in directory.records.iter().enumerate() {
        let start = directory.base.saturating_add(record.offset);
        if start < at && i > 0 {
            let name = directory.name(record);
            let detail = "the entry shares bytes with the one before it";
            watch.report_at(ProblemCode::OverlappingEntries, &path::normalize(&name), detail);
        } else {
            gap(&mut window, at, start, i == 0, watch)?;
        }
        let end = entry(&mut window, &directory, record, start, watch, visitor)?;
        at = at.max(end);
    }
    if at > directory.start {
        let detail = "an entry shares bytes with the central directory";
        watch.report(Problem::whole(ProblemCode::OverlappingEntries, detail));
        return Ok(());
    }
    gap(&mut window, at, directory.start, directory.records.is_empty(), watch)
}

/// Looks at bytes that no entry of the directory covers.
fn gap(
    window: &mut Window<'_, '_>,
    from: u64,
    to: u64,
    first: bool,
    watch: &mut Watch<'_>,
) -> Result<(), Stop> {
    let len = to.saturating_sub(from);
    if len == 0 {
        return Ok(());
    }
    window.seek(from)?;
    let mut start = Vec::new();
    window.by_ref().take(len.min(64 << 10)).read_to_end(&mut start)?;
    let detail = format!("{len} bytes at {from} that the central directory does not name");
    let code = match &*start {
        _ if first => ProblemCode::PrependedData,
        s if s.starts_with(local::LOCAL_SIGNATURE) => ProblemCode::HeaderMismatch,
        // Padding that aligns entries.
        s if s.len() as u64 == len && s.iter().all(|b| *b == 0) => return Ok(()),
        _ => ProblemCode::HiddenData,
    };
    watch.report(Problem::whole(code, detail));
    Ok(())
}

/// Walks one entry; returns the offset of its end.
fn entry(
    window: &mut Window<'_, '_>,
    directory: &Directory,
    record: &Record,
    start: u64,
    watch: &mut Watch<'_>,
    visitor: &mut Visitor<'_>,
) -> Result<u64, Stop> {
    let raw_name = directory.raw_name(record);
    let name = directory.name(record);
    let shown = path::normalize(&name);
    let local = local::read(window, start)?;
    for difference in local.differences(record, raw_name) {
        watch.report_at(ProblemCode::HeaderMismatch, &shown, difference);
    }
    let data_end = local.data_start.checked_add(record.packed);
    let Some(data_end) = data_end.filter(|end| *end <= directory.start) else {
        let detail = format!("`{}` ends outside the archive", path::shown(&shown));
        return Err(Stop::truncated(detail));
    };
    let mut end = data_end;
    if record.has_descriptor() {
        let (after, holds) = local::descriptor(window, data_end, record)?;
        end = after;
        if !holds {
            let detail = "the data descriptor differs from the central directory";
            watch.report_at(ProblemCode::HeaderMismatch, &shown, detail);
        }
    }
    let target = link_target(window, record, local.data_start, watch)?;
    let kind = kind_of(record, &name, target.as_deref());
    let entry = watch.admit(raw_name.to_vec(), "", kind, record.mode, record.unpacked)?;
    if entry.kind == EntryKind::Dir && record.unpacked > 0 {
        let detail = format!("a directory that announces {} bytes", record.unpacked);
        watch.report_at(ProblemCode::HeaderMismatch, &entry.path, detail);
    }
    if record.is_encrypted() {
        watch.report_at(ProblemCode::EncryptedEntry, &entry.path, "the entry is encrypted");
    } else {
        window.seek(local.data_start)?;
        content(window, record, &entry, target, watch, visitor)?;
    }
    Ok(end)
}

/// Unpacks an entry's content for the visitor and compares it with what the directory says.
fn content(
    window: &mut Window<'_, '_>,
    record: &Record,
    entry: &Entry,
    target: Option<Vec<u8>>,
    watch: &mut Watch<'_>,
    visitor: &mut Visitor<'_>,
) -> Result<(), Stop> {
    let mut packed = Exact::new(window, record.packed);
    let mut input = io::BufReader::with_capacity(32 << 10, &mut packed);
    let Some(inner) = unpacker(record.method, &mut input, watch.limits.max_decoder_memory)? else {
        let detail = format!("compression method {} is not read", record.method);
        watch.report_at(ProblemCode::UnsupportedCompression, &entry.path, detail);
        return Ok(());
    };
    let mut summed = Summed { inner, crc: Crc::new() };
    let size = match target {
        Some(target) => {
            deliver(entry, &mut Cursor::new(target), watch, visitor)?;
            io::copy(&mut summed, &mut io::sink())?
        }
        None => deliver(entry, &mut summed, watch, visitor)?,
    };
    let crc = summed.crc.sum();
    drop(summed);
    let left = io::copy(&mut input, &mut io::sink())?;
    for (wrong, detail) in [
        (size != record.unpacked, "the content's size differs from the central directory's"),
        (crc != record.crc, "the content's checksum differs from the central directory's"),
        (left > 0, "bytes after the end of the entry's compressed data"),
    ] {
        if wrong {
            watch.report_at(ProblemCode::HeaderMismatch, &entry.path, detail);
        }
    }
    Ok(())
}

/// A symlink's target is its content: it is read before the entry is shown to anyone.
fn link_target(
    window: &mut Window<'_, '_>,
    record: &Record,
    data_start: u64,
    watch: &mut Watch<'_>,
) -> Result<Option<Vec<u8>>, Stop> {
    if record.file_type & S_IFMT != 0o120_000 || record.is_encrypted() {
        return Ok(None);
    }
    window.seek(data_start)?;
    let mut input = io::BufReader::new(Exact::new(&mut *window, record.packed));
    let Some(content) = unpacker(record.method, &mut input, watch.limits.max_decoder_memory)?
    else {
        return Ok(None);
    };
    let mut target = Vec::new();
    content.take(watch.limits.max_path_len as u64 + 1).read_to_end(&mut target)?;
    watch.name_of_len(target.len())?;
    Ok(Some(target))
}

fn kind_of(record: &Record, name: &str, target: Option<&[u8]>) -> EntryKind {
    match (record.file_type & S_IFMT, target) {
        (_, Some(target)) => {
            EntryKind::Symlink { target: String::from_utf8_lossy(target).into_owned() }
        }
        _ if name.ends_with('/') => EntryKind::Dir,
        (0o020_000 | 0o060_000, _) => EntryKind::Device,
        (0o010_000 | 0o140_000, _) => EntryKind::Fifo,
        _ => EntryKind::File,
    }
}

/// A reader of an entry's content, or none for methods that are not read here.
fn unpacker<'a, R: io::BufRead + 'a>(
    method: u16,
    input: R,
    memory: u64,
) -> io::Result<Option<Box<dyn Read + 'a>>> {
    // APPNOTE.TXT, section 4.4.5.
    let content: Box<dyn Read + 'a> = match method {
        0 => Box::new(input),
        8 => Box::new(flate2::bufread::DeflateDecoder::new(input)),
        12 => decoder(Codec::Bzip2, input, memory, None)?,
        93 => decoder(Codec::Zstd, input, memory, None)?,
        _ => return Ok(None),
    };
    Ok(Some(content))
}

/// Sums what passes.
struct Summed<'a> {
    inner: Box<dyn Read + 'a>,
    crc: Crc,
}

impl Read for Summed<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.crc.update(buf.get(..n).unwrap_or_default());
        Ok(n)
    }
}
