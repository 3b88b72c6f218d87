//! tar: ustar and pax (POSIX.1-2024, `pax`), GNU long names, old V7 headers.

use super::decode::{Codec, GzipExtras, decoder};
use super::tar_header::{BLOCK, Header, checksum_holds, pax_records};
use super::watch::{Exact, Source, Stop, Watch, deliver};
use super::{EntryKind, ProblemCode, Visitor};
use std::cell::Cell;
use std::io::{self, BufReader, Read};

const BUFFER: usize = 64 << 10;
/// Bytes of pax records in one header: long names, ACLs and extended attributes fit.
const MAX_PAX: u64 = 1 << 20;

/// Walks a whole file that is a compressed tar.
pub(super) fn walk_compressed(
    source: &mut Source<'_>,
    codec: Codec,
    watch: &mut Watch<'_>,
    visitor: &mut Visitor<'_>,
) -> Result<(), Stop> {
    let extras = Cell::new(GzipExtras::default());
    let input = BufReader::with_capacity(BUFFER, source);
    let walked = walk_stream(input, codec, "", &extras, watch, visitor);
    report_extras(extras.get(), watch);
    walked
}

/// Walks a compressed tar from `input`, with `prefix` before each path.
pub(super) fn walk_stream<R: io::BufRead>(
    input: R,
    codec: Codec,
    prefix: &str,
    extras: &Cell<GzipExtras>,
    watch: &mut Watch<'_>,
    visitor: &mut Visitor<'_>,
) -> Result<(), Stop> {
    let mut stream = decoder(codec, input, watch.limits.max_decoder_memory, Some(extras))?;
    TarWalk { stream: &mut *stream, prefix, watch, visitor, ahead: Ahead::default() }.run()
}

pub(super) fn report_extras(extras: GzipExtras, watch: &mut Watch<'_>) {
    let mut report = |code, detail: String| watch.report(super::Problem::whole(code, detail));
    if extras.members > 0 {
        let detail = format!("{} gzip members after the first", extras.members);
        report(ProblemCode::SeveralMembers, detail);
    }
    if extras.garbage {
        report(ProblemCode::TrailingData, "bytes after the gzip stream's end".to_owned());
    }
}

/// What extension headers say about the entry that follows them.
#[derive(Default)]
struct Ahead {
    gnu_name: Option<Vec<u8>>,
    gnu_link: Option<Vec<u8>>,
    pax_path: Option<Vec<u8>>,
    pax_link: Option<Vec<u8>>,
    pax_size: Option<u64>,
    sparse: bool,
    any: bool,
}

struct TarWalk<'a, 'l, 'v> {
    stream: &'a mut dyn Read,
    prefix: &'a str,
    watch: &'a mut Watch<'l>,
    visitor: &'a mut Visitor<'v>,
    ahead: Ahead,
}

impl TarWalk<'_, '_, '_> {
    fn run(&mut self) -> Result<(), Stop> {
        let mut block = [0; BLOCK];
        let mut first = true;
        while self.whole_block(&mut block)? {
            if block.iter().all(|b| *b == 0) {
                self.after_end()?;
                return self.end();
            }
            if !checksum_holds(&block) {
                return Err(Stop::malformed("a tar header's checksum does not hold"));
            }
            first = false;
            let header = Header::parse(&block)
                .ok_or_else(|| Stop::malformed("a tar header's number is malformed"))?;
            self.header(header)?;
        }
        if first {
            return Err(Stop::truncated("the tar archive is empty"));
        }
        self.end()
    }

    fn end(&mut self) -> Result<(), Stop> {
        if self.ahead.any {
            self.mismatch("an extension header at the end belongs to no entry");
        }
        Ok(())
    }

    fn mismatch(&mut self, detail: &str) {
        self.watch.report(super::Problem::whole(ProblemCode::HeaderMismatch, detail));
    }

    /// Reads one block, and gives the number of its bytes that there were.
    fn read_block(&mut self, block: &mut [u8; BLOCK]) -> Result<usize, Stop> {
        let mut filled = 0;
        while let Some(rest) = block.get_mut(filled..).filter(|r| !r.is_empty()) {
            match self.stream.read(rest) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
        self.watch.unpacked(filled as u64)?;
        Ok(filled)
    }

    /// Reads one block; false at the stream's end.
    fn whole_block(&mut self, block: &mut [u8; BLOCK]) -> Result<bool, Stop> {
        match self.read_block(block)? {
            0 => Ok(false),
            BLOCK => Ok(true),
            _ => Err(Stop::truncated("the tar archive ends inside a block")),
        }
    }

    fn header(&mut self, header: Header) -> Result<(), Stop> {
        match header.typeflag {
            b'L' | b'K' => {
                let text = self.long_name(header.size)?;
                let link = header.typeflag == b'K';
                let slot = if link { &mut self.ahead.gnu_link } else { &mut self.ahead.gnu_name };
                *slot = Some(text);
                self.ahead.any = true;
                Ok(())
            }
            b'x' | b'X' => self.pax(header.size, false),
            b'g' => self.pax(header.size, true),
            _ => self.entry(header),
        }
    }

    fn small(&mut self, size: u64, limit: u64) -> Result<Vec<u8>, Stop> {
        if size > limit {
            let detail = format!("a tar extension header of {size} bytes; at most {limit}");
            return Err(Stop::Fatal(super::Problem::whole(ProblemCode::PathTooLong, detail)));
        }
        let mut text = Vec::new();
        Exact::new(&mut *self.stream, size).read_to_end(&mut text)?;
        self.watch.unpacked(size)?;
        self.skip_padding(size)?;
        Ok(text)
    }

    fn long_name(&mut self, size: u64) -> Result<Vec<u8>, Stop> {
        let limit = self.watch.limits.max_path_len as u64;
        let mut text = self.small(size, limit.saturating_add(1))?;
        // The length includes the NUL that ends the name; what follows an inner one is not read.
        if let Some(end) = text.iter().position(|b| *b == 0) {
            text.truncate(end);
        }
        Ok(text)
    }

    fn pax(&mut self, size: u64, global: bool) -> Result<(), Stop> {
        let text = self.small(size, MAX_PAX)?;
        let Some(records) = pax_records(&text) else {
            self.mismatch("a pax header is malformed");
            return Ok(());
        };
        let mut seen: Vec<(&[u8], &[u8])> = Vec::new();
        for (key, value) in records {
            if !matches!(key, b"path" | b"linkpath" | b"size") && !key.starts_with(b"GNU.sparse") {
                continue;
            }
            if global {
                self.mismatch("a global pax header names a path or size for all entries");
                continue;
            }
            if seen.iter().any(|(k, v)| *k == key && *v != value) {
                self.mismatch("a pax header names the same thing twice");
            }
            seen.push((key, value));
            match key {
                b"path" => self.ahead.pax_path = Some(value.to_vec()),
                b"linkpath" => self.ahead.pax_link = Some(value.to_vec()),
                b"size" => {
                    let size = std::str::from_utf8(value).ok().and_then(|v| v.parse().ok());
                    self.ahead.pax_size =
                        Some(size.ok_or_else(|| Stop::malformed("a pax size is no number"))?);
                }
                _ => self.ahead.sparse = true,
            }
        }
        self.ahead.any |= !global;
        Ok(())
    }

    fn entry(&mut self, header: Header) -> Result<(), Stop> {
        let ahead = std::mem::take(&mut self.ahead);
        let path = self.choose(ahead.pax_path, ahead.gnu_name, header.path);
        let link = self.choose(ahead.pax_link, ahead.gnu_link, header.link);
        let size = self.choose_size(ahead.pax_size, header.size);
        let kind = kind_of(header.typeflag, &path, &link);
        // Readers disagree on whether these have content: most know that they have none.
        let bodiless = !matches!(kind, EntryKind::File | EntryKind::Other);
        let stored = if bodiless { 0 } else { size };
        let entry = self.watch.admit(path, self.prefix, kind, header.mode, stored)?;
        if bodiless && size != 0 {
            let detail = format!("an entry without content that announces {size} bytes");
            self.watch.report_at(ProblemCode::HeaderMismatch, &entry.path, detail);
        }
        if ahead.sparse || header.typeflag == b'S' {
            self.watch.report_at(ProblemCode::SparseFile, &entry.path, "a sparse file");
            self.skip_sparse_map(header.typeflag == b'S' && header.sparse_continues)?;
        }
        let mut content = Exact::new(&mut *self.stream, stored);
        deliver(&entry, &mut content, self.watch, self.visitor)?;
        self.skip_padding(stored)
    }

    /// The pax value wins over GNU's, and that over the header's own.
    fn choose(&mut self, pax: Option<Vec<u8>>, gnu: Option<Vec<u8>>, own: Vec<u8>) -> Vec<u8> {
        if let (Some(pax), Some(gnu)) = (&pax, &gnu)
            && pax != gnu
        {
            self.mismatch("pax and GNU headers name different paths for one entry");
        }
        pax.or(gnu).unwrap_or(own)
    }

    fn choose_size(&mut self, pax: Option<u64>, own: u64) -> u64 {
        const LARGEST_OCTAL: u64 = 0o77_777_777_777;
        match pax {
            // A size that the header cannot hold is the one reason for the two to differ.
            Some(pax) if pax != own && pax <= LARGEST_OCTAL => {
                self.mismatch("a pax size differs from the header's");
                pax
            }
            Some(pax) => pax,
            None => own,
        }
    }

    /// Skips the blocks with which GNU's sparse map goes on.
    fn skip_sparse_map(&mut self, mut more: bool) -> Result<(), Stop> {
        let mut block = [0; BLOCK];
        while more {
            if !self.whole_block(&mut block)? {
                return Err(Stop::truncated("the tar archive ends in a sparse map"));
            }
            more = block.get(504).is_some_and(|b| *b != 0);
        }
        Ok(())
    }

    fn skip_padding(&mut self, size: u64) -> Result<(), Stop> {
        let padding = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
        io::copy(&mut Exact::new(&mut *self.stream, padding), &mut io::sink())?;
        Ok(())
    }

    /// Reads what follows the first zero block. Readers stop there, or after the second, or not at
    /// all: anything but zeros is seen by some of them.
    fn after_end(&mut self) -> Result<(), Stop> {
        let mut block = [0; BLOCK];
        let mut reported = false;
        loop {
            let filled = self.read_block(&mut block)?;
            if filled == 0 {
                return Ok(());
            }
            if reported || block.iter().take(filled).all(|b| *b == 0) {
                continue;
            }
            reported = true;
            if filled == BLOCK && checksum_holds(&block) {
                self.mismatch("entries follow the end of the tar archive");
            } else {
                let detail = "bytes after the tar archive's end";
                self.watch.report(super::Problem::whole(ProblemCode::TrailingData, detail));
            }
        }
    }
}

fn kind_of(typeflag: u8, path: &[u8], link: &[u8]) -> EntryKind {
    let target = || String::from_utf8_lossy(link).into_owned();
    match typeflag {
        // V7 tar had no kind for directories: a slash at the end marked them.
        b'0' | b'\0' | b'7' if path.ends_with(b"/") => EntryKind::Dir,
        b'0' | b'\0' | b'7' | b'S' => EntryKind::File,
        b'1' => EntryKind::Hardlink { target: target() },
        b'2' => EntryKind::Symlink { target: target() },
        b'3' | b'4' => EntryKind::Device,
        b'5' => EntryKind::Dir,
        b'6' => EntryKind::Fifo,
        _ => EntryKind::Other,
    }
}
