//! How an ELF program or library was linked (System V ABI, chapters 4 and 5; ld(1), `-z`).
//!
//! A library may have gigabytes, so its parts are taken as they pass: the program headers from the first
//! window, the dynamic section where they say that it lies, and names from what of the file's beginning
//! is kept. What lies elsewhere is not known, and then nothing is said of it.

use super::{LAZY, NO_CANARY, NO_RELRO, NOT_PIE, OUTSIDE, STACK, WRITABLE_CODE, Weakness};
use crate::content::Window;
use goblin::container::{Container, Ctx, Endian};
use goblin::elf::Elf as Goblin;
use goblin::elf::dynamic::{
    DF_1_NOW, DF_1_PIE, DF_BIND_NOW, DT_BIND_NOW, DT_FLAGS, DT_FLAGS_1, DT_NULL, DT_RPATH,
    DT_RUNPATH, DT_STRTAB,
};
use goblin::elf::header::{EI_CLASS, EI_DATA, ELFCLASS64, ELFDATA2MSB, ET_DYN, ET_EXEC, Header};
use goblin::elf::program_header::{
    PF_W, PF_X, PT_DYNAMIC, PT_GNU_RELRO, PT_GNU_STACK, PT_INTERP, PT_LOAD, ProgramHeader,
};

/// Bytes of a file's beginning that are kept, for the names that its dynamic section points at.
const HEAD: usize = 1 << 20;
/// Bytes of a dynamic section; an honest one has a few hundred.
const DYNAMIC: u64 = 64 << 10;
/// Program headers that are read.
const HEADERS: usize = 128;
/// Letters of a library path.
const PATH: usize = 4096;

/// The function that a guarded function calls when its stack was overwritten.
const CANARY: &[u8] = b"__stack_chk_fail\0";

/// A program on its way through the windows.
pub(super) struct Elf {
    kind: u16,
    is_64: bool,
    is_little: bool,
    segments: Vec<ProgramHeader>,
    head: Vec<u8>,
    /// Where the dynamic section lies in the file, and what of it has passed.
    dynamic_at: Option<(u64, u64)>,
    dynamic: Vec<u8>,
    canary: bool,
    size: u64,
}

impl Elf {
    /// Reads the headers; `None` when they are none.
    pub(super) fn begin(bytes: &[u8]) -> Option<Self> {
        let header = Goblin::parse_header(bytes).ok()?;
        let (is_64, is_little) = class(&header)?;
        let container = if is_64 { Container::Big } else { Container::Little };
        let endian = if is_little { Endian::Little } else { Endian::Big };
        let (at, count) = (usize::try_from(header.e_phoff).ok()?, usize::from(header.e_phnum));
        let segments =
            ProgramHeader::parse(bytes, at, count.min(HEADERS), Ctx::new(container, endian));
        let segments = segments.unwrap_or_default();
        let dynamic = segments.iter().find(|s| s.p_type == PT_DYNAMIC);
        let dynamic_at = dynamic.map(|s| (s.p_offset, s.p_filesz.min(DYNAMIC)));
        Some(Self {
            kind: header.e_type,
            is_64,
            is_little,
            segments,
            head: bytes.get(..HEAD.min(bytes.len())).unwrap_or_default().to_vec(),
            dynamic_at,
            dynamic: Vec::new(),
            canary: false,
            size: 0,
        })
    }

    /// Takes what is wanted out of a window.
    pub(super) fn window(&mut self, window: &Window<'_>) {
        self.canary |= memchr::memmem::find(window.bytes, CANARY).is_some();
        self.size = window.offset + window.bytes.len() as u64;
        let Some((begin, len)) = self.dynamic_at else { return };
        // Windows overlap: what of it is there already is not taken twice.
        let from = begin.saturating_add(self.dynamic.len() as u64);
        let Some(end) = begin.checked_add(len).filter(|end| from < *end) else { return };
        let index = |at: u64| usize::try_from(at.saturating_sub(window.offset)).ok();
        let (Some(from_index), Some(end_index)) = (index(from), index(end)) else { return };
        if from >= window.offset {
            let part = window.bytes.get(from_index..end_index.min(window.bytes.len()));
            self.dynamic.extend_from_slice(part.unwrap_or_default());
        }
    }

    /// What is weak, with what was seen.
    pub(super) fn weaknesses(&self) -> Vec<(Weakness, String)> {
        let mut out = Vec::new();
        // Object files and core dumps are not loaded.
        if !matches!(self.kind, ET_EXEC | ET_DYN) || self.segments.is_empty() {
            return out;
        }
        let mut say = |weakness: Weakness| out.push((weakness, String::new()));
        let entries = self.entries();
        let has = |kind| self.segments.iter().any(|s| s.p_type == kind);
        let flags = |tag| {
            entries.iter().filter(|(t, _)| *t == tag).fold(0, |flags, (_, value)| flags | value)
        };
        let is_program =
            self.kind == ET_EXEC || has(PT_INTERP) || flags(DT_FLAGS_1) & DF_1_PIE != 0;
        if self.kind == ET_EXEC {
            say(NOT_PIE);
        }
        if self.segments.iter().any(|s| s.p_type == PT_GNU_STACK && s.p_flags & PF_X != 0) {
            say(STACK);
        }
        let both = PF_W | PF_X;
        if self.segments.iter().any(|s| s.p_type == PT_LOAD && s.p_flags & both == both) {
            say(WRITABLE_CODE);
        }
        // What is linked statically has nothing that is relocated late.
        let now = flags(DT_FLAGS) & DF_BIND_NOW != 0 || flags(DT_FLAGS_1) & DF_1_NOW != 0;
        let now = now || entries.iter().any(|(tag, _)| *tag == DT_BIND_NOW);
        match (has(PT_GNU_RELRO), entries.is_empty()) {
            (_, true) => {}
            (false, false) => say(NO_RELRO),
            (true, false) if !now => say(LAZY),
            (true, false) => {}
        }
        if is_program && !self.canary && !entries.is_empty() {
            say(NO_CANARY);
        }
        out.extend(self.library_paths(&entries).map(|path| (OUTSIDE, path)));
        out
    }

    /// The dynamic section's tags and values.
    fn entries(&self) -> Vec<(u64, u64)> {
        let width = if self.is_64 { 8 } else { 4 };
        let words: Vec<u64> =
            self.dynamic.chunks_exact(width).map(|word| self.number(word)).collect();
        let pairs = words.chunks_exact(2).filter_map(|pair| Some((*pair.first()?, *pair.get(1)?)));
        pairs.take_while(|(tag, _)| *tag != DT_NULL).collect()
    }

    fn number(&self, bytes: &[u8]) -> u64 {
        let join = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        match self.is_little {
            true => bytes.iter().rev().fold(0, join),
            false => bytes.iter().fold(0, join),
        }
    }

    /// Folders that the loader is told to look into and that the package does not bring with it. A
    /// package moves: a folder that is absolute, or relative to wherever the program is started, is
    /// somebody else's.
    fn library_paths(&self, entries: &[(u64, u64)]) -> impl Iterator<Item = String> {
        let value = |tag| entries.iter().find(|(t, _)| *t == tag).map(|(_, value)| *value);
        let text = |tag| {
            let at = self.offset_of(value(DT_STRTAB)?)?.checked_add(value(tag)?)?;
            let rest = self.head.get(usize::try_from(at).ok()?..)?;
            let end = memchr::memchr(0, rest.get(..PATH.min(rest.len()))?)?;
            Some(String::from_utf8_lossy(rest.get(..end)?).into_owned())
        };
        let outside = |folder: &&str| {
            let own =
                ["$ORIGIN", "${ORIGIN}", "@loader_path"].iter().any(|o| folder.starts_with(o));
            let system = ["/usr/lib", "/lib"].iter().any(|s| folder.starts_with(s));
            !own && !system
        };
        let paths = [DT_RPATH, DT_RUNPATH].into_iter().filter_map(text);
        let mut all: Vec<String> = paths
            .flat_map(|path| path.split(':').filter(outside).map(str::to_owned).collect::<Vec<_>>())
            .collect();
        all.truncate(1);
        all.into_iter()
    }

    /// Where in the file an address of the loaded program lies.
    fn offset_of(&self, address: u64) -> Option<u64> {
        let holds = |s: &&ProgramHeader| {
            s.p_type == PT_LOAD
                && address.checked_sub(s.p_vaddr).is_some_and(|within| within < s.p_filesz)
        };
        let segment = self.segments.iter().find(holds)?;
        segment.p_offset.checked_add(address - segment.p_vaddr)
    }
}

fn class(header: &Header) -> Option<(bool, bool)> {
    let is_64 = *header.e_ident.get(EI_CLASS)? == ELFCLASS64;
    Some((is_64, *header.e_ident.get(EI_DATA)? != ELFDATA2MSB))
}
