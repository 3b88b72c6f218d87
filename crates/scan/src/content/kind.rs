//! What kind of file it is, by name and first bytes: scanners choose by it.

/// A compiled program or library.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Native {
    /// ELF (System V ABI, chapter 4).
    Elf,
    /// Windows' portable executable.
    Pe,
    /// Mach-O, one architecture or several.
    MachO,
    /// WebAssembly.
    Wasm,
}

/// Kinds of files, as far as scanners treat them differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// JavaScript and TypeScript.
    JavaScript,
    /// Python.
    Python,
    /// Rust.
    Rust,
    /// Shell, makefiles, m4 and maintainer scripts.
    Shell,
    /// PowerShell and Windows' batch files.
    Batch,
    /// Build descriptions that run commands (`*.gyp`, `*.gypi`).
    Gyp,
    /// Python's start-up files (`*.pth`).
    Pth,
    /// Source in another language.
    OtherCode,
    /// Text that is no code by its name: documents, data, styles.
    Text,
    /// A compiled program or library.
    Native(Native),
    /// Anything else.
    Binary,
}

impl FileKind {
    /// The kind of the file at `path` that begins with `head`; a few kilobytes are enough.
    #[must_use]
    pub fn of(path: &str, head: &[u8]) -> Self {
        if let Some(native) = native(head) {
            return Self::Native(native);
        }
        if is_binary(head) {
            return Self::Binary;
        }
        by_name(path).or_else(|| by_first_line(head)).unwrap_or(Self::Text)
    }

    /// Whether a person wrote it for a machine to run.
    #[must_use]
    pub fn is_code(self) -> bool {
        !matches!(self, Self::Text | Self::Native(_) | Self::Binary)
    }

    /// Whether it is text of any sort.
    #[must_use]
    pub fn is_text(self) -> bool {
        !matches!(self, Self::Native(_) | Self::Binary)
    }
}

fn native(head: &[u8]) -> Option<Native> {
    match head {
        [0x7f, b'E', b'L', b'F', ..] => Some(Native::Elf),
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => Some(Native::Wasm),
        [0xcf | 0xce, 0xfa, 0xed, 0xfe, ..] | [0xfe, 0xed, 0xfa, 0xcf | 0xce, ..] => {
            Some(Native::MachO)
        }
        // Java's classes begin like a universal binary; their version is larger than any number
        // of architectures.
        [0xca, 0xfe, 0xba, 0xbe, 0, 0, 0, 1..=20, ..] => Some(Native::MachO),
        [b'M', b'Z', ..] => {
            let at = head.get(0x3c..0x40).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes);
            let at = usize::try_from(at?).ok()?;
            (head.get(at..at.checked_add(4)?)? == b"PE\0\0").then_some(Native::Pe)
        }
        _ => None,
    }
}

/// Text has no NUL; UTF-16 has, and begins with its mark.
fn is_binary(head: &[u8]) -> bool {
    let utf16 = head.starts_with(&[0xff, 0xfe]) || head.starts_with(&[0xfe, 0xff]);
    !utf16 && memchr::memchr(0, head.get(..8192).unwrap_or(head)).is_some()
}

fn by_name(path: &str) -> Option<FileKind> {
    let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    let ending = name.rsplit_once('.').map_or("", |(_, e)| e);
    let kind = match ending {
        _ if name.ends_with(".d.ts") || name.ends_with(".d.mts") || name.ends_with(".d.cts") => {
            FileKind::Text
        }
        "js" | "mjs" | "cjs" | "jsx" | "ts" | "mts" | "cts" | "tsx" | "vue" | "svelte" => {
            FileKind::JavaScript
        }
        "py" | "pyw" | "pyi" | "pyx" | "pxd" => FileKind::Python,
        "rs" => FileKind::Rust,
        "sh" | "bash" | "zsh" | "fish" | "ksh" | "m4" | "ac" | "am" | "mk" | "cmake" => {
            FileKind::Shell
        }
        "ps1" | "psm1" | "bat" | "cmd" | "vbs" => FileKind::Batch,
        "gyp" | "gypi" => FileKind::Gyp,
        "pth" => FileKind::Pth,
        "c" | "h" | "cc" | "cpp" | "cxx" | "hpp" | "hh" | "go" | "java" | "kt" | "rb" | "php"
        | "pl" | "pm" | "lua" | "swift" | "cs" | "scala" | "r" | "jl" | "mm" | "m" | "f90" => {
            FileKind::OtherCode
        }
        "md" | "rst" | "txt" | "json" | "map" | "html" | "htm" | "css" | "scss" | "less"
        | "yml" | "yaml" | "toml" | "lock" | "xml" | "svg" | "csv" | "po" | "cfg" | "ini" => {
            FileKind::Text
        }
        _ => match name.as_str() {
            "configure" | "makefile" | "gnumakefile" => FileKind::Shell,
            _ => return None,
        },
    };
    Some(kind)
}

/// The interpreter that the first line names.
fn by_first_line(head: &[u8]) -> Option<FileKind> {
    let line = head.strip_prefix(b"#!")?;
    let end = memchr::memchr(b'\n', line).unwrap_or(line.len()).min(128);
    let line = String::from_utf8_lossy(line.get(..end)?).into_owned();
    let has = |word: &str| line.contains(word);
    if has("python") {
        Some(FileKind::Python)
    } else if has("node") || has("deno") || has("bun") {
        Some(FileKind::JavaScript)
    } else if has("sh") {
        Some(FileKind::Shell)
    } else {
        Some(FileKind::OtherCode)
    }
}

#[cfg(test)]
mod tests {
    use super::{FileKind as K, Native as N};

    #[test]
    fn kinds_by_name_and_content() {
        for (path, head, want) in [
            ("package/index.js", &b"x"[..], K::JavaScript),
            ("package/index.d.ts", b"x", K::Text),
            ("a/setup.py", b"x", K::Python),
            ("a/build.rs", b"x", K::Rust),
            ("control/postinst", b"#!/bin/sh\nset -e\n", K::Shell),
            ("bin/tool", b"#!/usr/bin/env node\n", K::JavaScript),
            ("bin/tool", b"#!/usr/bin/python3\n", K::Python),
            ("bin/tool", b"#!/usr/bin/perl\n", K::OtherCode),
            ("x.pth", b"import x", K::Pth),
            ("binding.gyp", b"{}", K::Gyp),
            ("README.md", b"# x", K::Text),
            ("LICENSE", b"MIT", K::Text),
            ("logo.png", b"\x89PNG\0", K::Binary),
            // A program keeps its kind whatever it is called.
            ("logo.png", b"\x7fELF\x02\x01", K::Native(N::Elf)),
            ("x.node", b"\xcf\xfa\xed\xfe", K::Native(N::MachO)),
            ("A.class", b"\xca\xfe\xba\xbe\0\0\0\x34", K::Binary),
            ("note.txt", b"MZ is a beginning", K::Text),
        ] {
            assert_eq!(K::of(path, head), want, "{path}");
        }
        let mut pe = vec![0u8; 0x80];
        pe[..2].copy_from_slice(b"MZ");
        pe[0x3c] = 0x40;
        pe[0x40..0x44].copy_from_slice(b"PE\0\0");
        assert_eq!(K::of("x.exe", &pe), K::Native(N::Pe));
    }
}
