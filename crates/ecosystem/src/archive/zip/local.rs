//! Local headers and data descriptors (APPNOTE.TXT, sections 4.3.7 and 4.3.9).

use super::super::watch::{Source, Stop};
use super::directory::{Record, extra_field, u16_at, u32_at, u64_at};
use std::io::{self, BufReader, Read, Seek, SeekFrom};

pub(super) const LOCAL_SIGNATURE: &[u8] = b"PK\x03\x04";
const DESCRIPTOR_SIGNATURE: &[u8] = b"PK\x07\x08";
const LOCAL_HEADER: usize = 30;
/// Bit 0: encrypted; bit 3: sizes follow the data; bit 6: strong encryption; bit 11: the name is
/// UTF-8; bit 13: the header is masked.
const COMPARED_FLAGS: u16 = 1 | 1 << 3 | 1 << 6 | 1 << 11 | 1 << 13;

/// The archive's bytes with a position: near seeks keep the buffer.
pub(super) struct Window<'a, 'r> {
    inner: BufReader<&'a mut Source<'r>>,
    at: u64,
    pub(super) len: u64,
}

impl<'a, 'r> Window<'a, 'r> {
    pub(super) fn new(source: &'a mut Source<'r>, len: u64) -> Result<Self, Stop> {
        let mut inner = BufReader::with_capacity(64 << 10, source);
        inner.seek(SeekFrom::Start(0))?;
        Ok(Self { inner, at: 0, len })
    }

    pub(super) fn seek(&mut self, to: u64) -> io::Result<()> {
        match i64::try_from(i128::from(to) - i128::from(self.at)) {
            Ok(delta) => self.inner.seek_relative(delta)?,
            Err(_) => {
                self.inner.seek(SeekFrom::Start(to))?;
            }
        }
        self.at = to;
        Ok(())
    }

    /// Up to `len` bytes at `from`; fewer at the archive's end.
    pub(super) fn bytes_at(&mut self, from: u64, len: usize) -> io::Result<Vec<u8>> {
        self.seek(from)?;
        let mut out = Vec::new();
        self.by_ref().take(len as u64).read_to_end(&mut out)?;
        Ok(out)
    }
}

impl Read for Window<'_, '_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.at = self.at.saturating_add(n as u64);
        Ok(n)
    }
}

/// A local header.
pub(super) struct Local {
    flags: u16,
    method: u16,
    crc: u32,
    packed: u64,
    unpacked: u64,
    name: Vec<u8>,
    pub(super) data_start: u64,
}

/// Reads the local header at `start`.
pub(super) fn read(window: &mut Window<'_, '_>, start: u64) -> Result<Local, Stop> {
    let head = window.bytes_at(start, LOCAL_HEADER)?;
    if !head.starts_with(LOCAL_SIGNATURE) {
        return Err(Stop::malformed("no entry begins where the central directory says"));
    }
    let parse = || {
        let name_len = usize::from(u16_at(&head, 26)?);
        let extra_len = usize::from(u16_at(&head, 28)?);
        Some((name_len, extra_len))
    };
    let cut = || Stop::truncated("a ZIP entry's header ends in the middle");
    let (name_len, extra_len) = parse().ok_or_else(cut)?;
    let rest = window.bytes_at(start.saturating_add(LOCAL_HEADER as u64), name_len + extra_len)?;
    let (name, extra) = rest.split_at_checked(name_len).ok_or_else(cut)?;
    let fields = || {
        let mut local = Local {
            flags: u16_at(&head, 6)?,
            method: u16_at(&head, 8)?,
            crc: u32_at(&head, 14)?,
            packed: u32_at(&head, 18)?.into(),
            unpacked: u32_at(&head, 22)?.into(),
            name: name.to_vec(),
            data_start: start.checked_add((LOCAL_HEADER + name_len + extra_len) as u64)?,
        };
        local.widen(extra);
        Some(local)
    };
    fields().ok_or_else(cut)
}

impl Local {
    /// Takes 64-bit sizes from the extra field (section 4.5.3), in the order in which they are due.
    fn widen(&mut self, extra: &[u8]) {
        let Some(zip64) = extra_field(extra, 1) else { return };
        let mut at = 0;
        for size in [&mut self.unpacked, &mut self.packed] {
            if *size == u64::from(u32::MAX)
                && let Some(wide) = u64_at(zip64, at)
            {
                *size = wide;
                at += 8;
            }
        }
    }

    /// What the local header says otherwise than the central directory.
    pub(super) fn differences(&self, record: &Record, raw_name: &[u8]) -> Vec<String> {
        let mut out = Vec::new();
        let mut differ = |different: bool, what: &str| {
            if different {
                out.push(format!("the local header's {what} differs from the central directory's"));
            }
        };
        differ(self.name != raw_name, "name");
        differ((self.flags ^ record.flags) & COMPARED_FLAGS != 0, "flags");
        differ(self.method != record.method, "compression method");
        // With a descriptor the local header may leave these open.
        let may_be_open = self.flags & (1 << 3) != 0;
        let unequal = |local: u64, central: u64| local != central && !(may_be_open && local == 0);
        differ(unequal(self.packed, record.packed), "packed size");
        differ(unequal(self.unpacked, record.unpacked), "size");
        differ(unequal(self.crc.into(), record.crc.into()), "checksum");
        out
    }
}

/// Looks for a data descriptor at `at`: its end, and whether it says what the directory says. The
/// signature is optional, and sizes have 32 or 64 bits.
pub(super) fn descriptor(
    window: &mut Window<'_, '_>,
    at: u64,
    record: &Record,
) -> Result<(u64, bool), Stop> {
    let bytes = window.bytes_at(at, 24)?;
    let signed = bytes.starts_with(DESCRIPTOR_SIGNATURE);
    let starts: &[usize] = if signed { &[4, 0] } else { &[0] };
    for start in starts {
        if u32_at(&bytes, *start) != Some(record.crc) {
            continue;
        }
        let narrow = [start + 4, start + 8].map(|i| u32_at(&bytes, i).map(u64::from));
        let wide = [start + 4, start + 12].map(|i| u64_at(&bytes, i));
        let want = [Some(record.packed), Some(record.unpacked)];
        for (sizes, len) in [(wide, 20), (narrow, 12)] {
            if sizes == want {
                return Ok((at.saturating_add((start + len) as u64), true));
            }
        }
    }
    let len = if signed { 16 } else { 12 };
    Ok((at.saturating_add(len).min(window.len), false))
}
