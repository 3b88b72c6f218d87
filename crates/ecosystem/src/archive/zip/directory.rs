//! The end record and the central directory (APPNOTE.TXT, sections 4.3.12 to 4.3.16).

use super::super::watch::{Stop, Watch};
use super::super::{Problem, ProblemCode};
use super::local::Window;
use std::io::{BufReader, Read};
use std::ops::Range;

const END_SIGNATURE: &[u8] = b"PK\x05\x06";
const END64_SIGNATURE: &[u8] = b"PK\x06\x06";
const LOCATOR_SIGNATURE: &[u8] = b"PK\x06\x07";
const CENTRAL_SIGNATURE: &[u8] = b"PK\x01\x02";
const END_RECORD: usize = 22;
const END64_RECORD: usize = 56;
const LOCATOR: usize = 20;
const CENTRAL_HEADER: usize = 46;

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The data of the extra field with that id (section 4.5.1).
pub(super) fn extra_field(mut extra: &[u8], id: u16) -> Option<&[u8]> {
    loop {
        let len = usize::from(u16_at(extra, 2)?);
        let data = extra.get(4..4 + len)?;
        if u16_at(extra, 0)? == id {
            return Some(data);
        }
        extra = extra.get(4 + len..)?;
    }
}

/// One record of the central directory.
pub(super) struct Record {
    pub(super) offset: u64,
    pub(super) packed: u64,
    pub(super) unpacked: u64,
    pub(super) crc: u32,
    pub(super) flags: u16,
    pub(super) method: u16,
    /// Unix permission bits.
    pub(super) mode: u32,
    /// Unix file type and permission bits.
    pub(super) file_type: u32,
    name: Range<usize>,
}

impl Record {
    pub(super) fn is_encrypted(&self) -> bool {
        self.flags & (1 | 1 << 6 | 1 << 13) != 0
    }

    pub(super) fn has_descriptor(&self) -> bool {
        self.flags & (1 << 3) != 0
    }
}

/// The central directory: small records, and all names in one buffer.
pub(super) struct Directory {
    /// In the order of their bytes in the archive.
    pub(super) records: Vec<Record>,
    names: Vec<u8>,
    /// Bytes before the archive proper, which all offsets leave out.
    pub(super) base: u64,
    /// Where the directory begins.
    pub(super) start: u64,
}

impl Directory {
    pub(super) fn raw_name(&self, record: &Record) -> &[u8] {
        self.names.get(record.name.clone()).unwrap_or_default()
    }

    /// The name as text: UTF-8 where it is that. The old code page is not guessed at: a name that
    /// is not UTF-8 keeps its bytes replaced.
    pub(super) fn name(&self, record: &Record) -> String {
        String::from_utf8_lossy(self.raw_name(record)).into_owned()
    }
}

/// Where the end record says that the directory is.
struct End {
    records: u64,
    size: u64,
    offset: u64,
    /// Where the directory has to end: at the first of the end records.
    directory_end: u64,
}

fn mismatch(watch: &mut Watch<'_>, detail: &str) {
    watch.report(Problem::whole(ProblemCode::HeaderMismatch, detail));
}

/// Finds and reads the central directory.
pub(super) fn read(window: &mut Window<'_, '_>, watch: &mut Watch<'_>) -> Result<Directory, Stop> {
    let (at, record) = find_end(window, watch)?;
    let end = parse_end(window, at, &record, watch)?;
    watch.check_entry_count(end.records)?;
    let outside = || Stop::malformed("the central directory lies outside the archive");
    let announced = end.offset.checked_add(end.size).ok_or_else(outside)?;
    let shift = end.directory_end.checked_sub(announced).ok_or_else(outside)?;
    let mut base = 0;
    if shift > 0 {
        // Either something was put before the archive, or something lies after the directory.
        let here = window.bytes_at(end.offset, 4)?;
        if here == CENTRAL_SIGNATURE || here == END_SIGNATURE {
            let detail = format!("{shift} bytes after the central directory");
            watch.report(Problem::whole(ProblemCode::HiddenData, detail));
        } else {
            base = shift;
        }
    }
    let start = end.offset.saturating_add(base);
    let mut directory = Directory { records: Vec::new(), names: Vec::new(), base, start };
    window.seek(start)?;
    directory.fill(BufReader::new(window.by_ref().take(end.size)), watch)?;
    if directory.records.len() as u64 != end.records {
        mismatch(watch, "the number of entries differs from the end record's");
    }
    directory.records.sort_by_key(|r| r.offset);
    Ok(directory)
}

/// The end record and its offset: the last one in the file, as readers search from the end.
fn find_end(window: &mut Window<'_, '_>, watch: &mut Watch<'_>) -> Result<(u64, Vec<u8>), Stop> {
    let tail_len = window.len.min((END_RECORD + usize::from(u16::MAX)) as u64);
    let tail_start = window.len - tail_len;
    let tail = window.bytes_at(tail_start, usize::try_from(tail_len).unwrap_or(usize::MAX))?;
    let ends_at = |i: usize| Some(i + END_RECORD + usize::from(u16_at(&tail, i + 20)?));
    let signed = tail.windows(END_SIGNATURE.len()).enumerate();
    let signed: Vec<(usize, usize)> = signed
        .filter(|(_, w)| *w == END_SIGNATURE)
        .filter_map(|(i, _)| Some((i, ends_at(i)?)))
        .collect();
    let Some((last, end)) = signed.iter().rev().find(|(_, e)| *e <= tail.len()).copied() else {
        return Err(match window.bytes_at(0, 4)? == super::local::LOCAL_SIGNATURE {
            true => Stop::truncated("the ZIP archive has no end record"),
            false => Stop::malformed("not a ZIP archive: no end record"),
        });
    };
    // Another record that reaches the end has this one in its comment, or the other way round.
    let rivals = signed.iter().filter(|(i, e)| *i > last || (*i < last && *e == tail.len()));
    if rivals.count() > 0 {
        mismatch(watch, "more than one end record: readers see different archives");
    }
    if end < tail.len() {
        let detail = format!("{} bytes after the end record", tail.len() - end);
        watch.report(Problem::whole(ProblemCode::TrailingData, detail));
    }
    let record = tail.get(last..).unwrap_or_default().to_vec();
    Ok((tail_start + last as u64, record))
}

fn parse_end(
    window: &mut Window<'_, '_>,
    at: u64,
    record: &[u8],
    watch: &mut Watch<'_>,
) -> Result<End, Stop> {
    let narrow = || {
        let (disk, start_disk) = (u16_at(record, 4)?, u16_at(record, 6)?);
        let end = End {
            records: u16_at(record, 10)?.into(),
            size: u32_at(record, 12)?.into(),
            offset: u32_at(record, 16)?.into(),
            directory_end: at,
        };
        Some((end, disk, start_disk))
    };
    let (end, disk, start_disk) =
        narrow().ok_or_else(|| Stop::truncated("the ZIP archive's end record is cut"))?;
    if let Some(wide) = parse_end64(window, at)? {
        let fits = |small: u64, wide: u64, max: u64| small == max || small == wide;
        let agree = fits(end.records, wide.records, u16::MAX.into())
            && fits(end.size, wide.size, u32::MAX.into())
            && fits(end.offset, wide.offset, u32::MAX.into());
        if !agree {
            mismatch(watch, "the ZIP64 end record differs from the end record");
        }
        return Ok(wide);
    }
    if disk != 0 || start_disk != 0 {
        return Err(Stop::malformed("a ZIP archive in several parts"));
    }
    Ok(end)
}

/// The ZIP64 end record, where a locator stands before the end record.
fn parse_end64(window: &mut Window<'_, '_>, at: u64) -> Result<Option<End>, Stop> {
    let Some(locator_at) = at.checked_sub(LOCATOR as u64) else { return Ok(None) };
    let locator = window.bytes_at(locator_at, LOCATOR)?;
    if !locator.starts_with(LOCATOR_SIGNATURE) {
        return Ok(None);
    }
    let named = u64_at(&locator, 8).unwrap_or_default();
    // With bytes put before the archive the record is not where the locator says, but before it.
    let before = locator_at.saturating_sub(END64_RECORD as u64);
    for start in [named, before] {
        if start > locator_at {
            continue;
        }
        let record = window.bytes_at(start, END64_RECORD)?;
        if !record.starts_with(END64_SIGNATURE) {
            continue;
        }
        let fields = || {
            Some(End {
                records: u64_at(&record, 32)?,
                size: u64_at(&record, 40)?,
                offset: u64_at(&record, 48)?,
                directory_end: start,
            })
        };
        return match fields() {
            Some(end) => Ok(Some(end)),
            None => Err(Stop::truncated("the ZIP64 end record is cut")),
        };
    }
    Err(Stop::malformed("no ZIP64 end record where its locator says"))
}

impl Directory {
    fn fill(&mut self, mut input: impl Read, watch: &mut Watch<'_>) -> Result<(), Stop> {
        let mut head = [0; CENTRAL_HEADER];
        let mut variable = Vec::new();
        loop {
            match input.read(head.get_mut(..1).unwrap_or_default())? {
                0 => return Ok(()),
                _ => input.read_exact(head.get_mut(1..).unwrap_or_default())?,
            }
            if !head.starts_with(CENTRAL_SIGNATURE) {
                return Err(Stop::malformed("the ZIP archive's central directory is malformed"));
            }
            watch.check_entry_count(self.records.len() as u64 + 1)?;
            let lens = [28, 30, 32].map(|at| u16_at(&head, at).map_or(0, usize::from));
            variable.clear();
            let wanted = lens.iter().sum::<usize>() as u64;
            if input.by_ref().take(wanted).read_to_end(&mut variable)? as u64 != wanted {
                return Err(Stop::truncated("the central directory ends in the middle"));
            }
            let record = self.record(&head, &variable, lens, watch)?;
            self.records.push(record);
        }
    }

    fn record(
        &mut self,
        head: &[u8],
        variable: &[u8],
        [name_len, extra_len, _]: [usize; 3],
        watch: &mut Watch<'_>,
    ) -> Result<Record, Stop> {
        let name = variable.get(..name_len).unwrap_or_default();
        let extra = variable.get(name_len..name_len + extra_len).unwrap_or_default();
        if name_len > watch.limits.max_path_len
            || self.names.len() as u64 > watch.limits.max_names_bytes
        {
            watch.name_of_len(name_len)?;
            return Err(Stop::Fatal(Problem::whole(
                ProblemCode::TooManyEntries,
                format!("names of more than {} bytes", watch.limits.max_names_bytes),
            )));
        }
        // Info-ZIP's Unicode path: some readers take the name from there (section 4.6.9).
        let other_name = extra_field(extra, 0x7075).and_then(|f| f.get(5..));
        if other_name.is_some_and(|other| other != name) && name.is_ascii() {
            mismatch(watch, "an entry has a second name that differs from its first");
        }
        let from = self.names.len();
        self.names.extend_from_slice(name);
        let fields = || {
            let attributes = u32_at(head, 38)?;
            let mut record = Record {
                offset: u32_at(head, 42)?.into(),
                packed: u32_at(head, 20)?.into(),
                unpacked: u32_at(head, 24)?.into(),
                crc: u32_at(head, 16)?,
                flags: u16_at(head, 8)?,
                method: u16_at(head, 10)?,
                mode: (attributes >> 16) & 0o7777,
                file_type: attributes >> 16,
                name: from..from + name_len,
            };
            record.widen(extra)?;
            Some(record)
        };
        fields().ok_or_else(|| Stop::malformed("a ZIP64 size is missing"))
    }
}

impl Record {
    /// Takes 64-bit values from the extra field (section 4.5.3); `None` when one that is due is
    /// missing.
    fn widen(&mut self, extra: &[u8]) -> Option<()> {
        let zip64 = extra_field(extra, 1).unwrap_or_default();
        let mut at = 0;
        for value in [&mut self.unpacked, &mut self.packed, &mut self.offset] {
            if *value == u64::from(u32::MAX) {
                *value = u64_at(zip64, at)?;
                at += 8;
            }
        }
        Some(())
    }
}
