//! Mints archives byte by byte, so that they can also be wrong.

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder};
use std::io::{Read as _, Write as _};

/// One tar header with its content.
#[derive(Clone)]
pub(super) struct Item {
    pub(super) path: Vec<u8>,
    pub(super) typeflag: u8,
    pub(super) mode: u32,
    pub(super) link: Vec<u8>,
    pub(super) content: Vec<u8>,
    /// The size that the header announces, where it is not the content's.
    pub(super) size: Option<u64>,
}

pub(super) fn entry(path: &str, content: &[u8]) -> Item {
    Item {
        path: path.into(),
        typeflag: b'0',
        mode: 0o644,
        link: Vec::new(),
        content: content.to_vec(),
        size: None,
    }
}

pub(super) fn symlink(path: &str, target: &str) -> Item {
    Item { typeflag: b'2', link: target.into(), ..entry(path, b"") }
}

pub(super) fn hardlink(path: &str, target: &str) -> Item {
    Item { typeflag: b'1', link: target.into(), ..entry(path, b"") }
}

pub(super) fn pax(records: &[(&str, &str)]) -> Item {
    let mut content = Vec::new();
    for (key, value) in records {
        let rest = format!(" {key}={value}\n");
        let mut len = rest.len() + 1;
        while format!("{len}{rest}").len() != len {
            len += 1;
        }
        content.extend_from_slice(format!("{len}{rest}").as_bytes());
    }
    Item { typeflag: b'x', ..entry("PaxHeader/x", &content) }
}

impl Item {
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut block = [0u8; 512];
        block[..self.path.len()].copy_from_slice(&self.path);
        block[100..107].copy_from_slice(format!("{:07o}", self.mode).as_bytes());
        let size = self.size.unwrap_or(self.content.len() as u64);
        block[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
        block[148..156].fill(b' ');
        block[156] = self.typeflag;
        block[157..157 + self.link.len()].copy_from_slice(&self.link);
        block[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        let mut out = block.to_vec();
        out.extend_from_slice(&self.content);
        out.resize(out.len().div_ceil(512) * 512, 0);
        out
    }
}

pub(super) fn tar_of(items: &[Item]) -> Vec<u8> {
    let mut out: Vec<u8> = items.iter().flat_map(Item::bytes).collect();
    out.extend_from_slice(&[0; 1024]);
    out
}

pub(super) fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(super) fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    liblzma::read::XzEncoder::new(bytes, 1).read_to_end(&mut out).unwrap();
    out
}

pub(super) fn bz2(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    bzip2::read::BzEncoder::new(bytes, bzip2::Compression::fast()).read_to_end(&mut out).unwrap();
    out
}

/// One ZIP entry, with what its local header says otherwise.
#[derive(Clone)]
pub(super) struct Part {
    pub(super) name: Vec<u8>,
    pub(super) packed: Vec<u8>,
    pub(super) size: u32,
    pub(super) method: u16,
    pub(super) flags: u16,
    pub(super) mode: u32,
    pub(super) crc: Option<u32>,
    pub(super) local_name: Option<Vec<u8>>,
    pub(super) local_size: Option<u32>,
    pub(super) local_flags: Option<u16>,
    pub(super) descriptor: Option<Vec<u8>>,
    pub(super) true_crc: u32,
}

impl Part {
    pub(super) fn new(name: &str, content: &[u8]) -> Self {
        let mut crc = flate2::Crc::new();
        crc.update(content);
        Self {
            name: name.into(),
            packed: content.to_vec(),
            size: content.len() as u32,
            method: 0,
            flags: 0,
            mode: 0o100_644,
            crc: None,
            local_name: None,
            local_size: None,
            local_flags: None,
            descriptor: None,
            true_crc: crc.sum(),
        }
    }

    pub(super) fn deflated(name: &str, content: &[u8]) -> Self {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(content).unwrap();
        Self { packed: encoder.finish().unwrap(), method: 8, ..Self::new(name, content) }
    }

    /// As streaming writers do: sizes after the data, the local header leaves them open.
    pub(super) fn streamed(name: &str, content: &[u8]) -> Self {
        let mut part = Self { flags: 1 << 3, ..Self::deflated(name, content) };
        let sizes = [part.true_crc, part.packed.len() as u32, part.size];
        let sizes = sizes.iter().flat_map(|v| v.to_le_bytes());
        part.descriptor = Some(b"PK\x07\x08".iter().copied().chain(sizes).collect());
        part
    }

    fn shared(&self, flags: u16, sizes: [u32; 3], name_len: usize) -> Vec<u8> {
        let mut out = Vec::new();
        for v in [20, flags, self.method, 0, 0x21] {
            out.extend_from_slice(&v.to_le_bytes());
        }
        for v in sizes {
            out.extend_from_slice(&v.to_le_bytes());
        }
        out.extend_from_slice(&(name_len as u16).to_le_bytes());
        out.extend_from_slice(&0u16.to_le_bytes());
        out
    }

    fn sizes(&self) -> [u32; 3] {
        [self.crc.unwrap_or(self.true_crc), self.packed.len() as u32, self.size]
    }

    pub(super) fn local(&self) -> Vec<u8> {
        let name = self.local_name.as_ref().unwrap_or(&self.name);
        let mut sizes = if self.descriptor.is_some() { [0; 3] } else { self.sizes() };
        sizes[2] = self.local_size.unwrap_or(sizes[2]);
        let mut out = b"PK\x03\x04".to_vec();
        out.extend(self.shared(self.local_flags.unwrap_or(self.flags), sizes, name.len()));
        out.extend_from_slice(name);
        out.extend_from_slice(&self.packed);
        out.extend(self.descriptor.iter().flatten());
        out
    }

    pub(super) fn central(&self, offset: usize) -> Vec<u8> {
        let mut out = b"PK\x01\x02\x14\x03".to_vec();
        out.extend(self.shared(self.flags, self.sizes(), self.name.len()));
        out.extend_from_slice(&[0; 6]);
        out.extend_from_slice(&(self.mode << 16).to_le_bytes());
        out.extend_from_slice(&(offset as u32).to_le_bytes());
        out.extend_from_slice(&self.name);
        out
    }
}

pub(super) fn end_record(count: u16, size: usize, offset: usize, comment: &[u8]) -> Vec<u8> {
    let mut out = b"PK\x05\x06\0\0\0\0".to_vec();
    out.extend_from_slice(&count.to_le_bytes());
    out.extend_from_slice(&count.to_le_bytes());
    out.extend_from_slice(&(size as u32).to_le_bytes());
    out.extend_from_slice(&(offset as u32).to_le_bytes());
    out.extend_from_slice(&(comment.len() as u16).to_le_bytes());
    out.extend_from_slice(comment);
    out
}

/// Local entries with bytes before each, then the directory.
fn assemble(parts: &[(&[u8], Part)], comment: &[u8]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (before, part) in parts {
        out.extend_from_slice(before);
        directory.extend(part.central(out.len()));
        out.extend(part.local());
    }
    let offset = out.len();
    out.extend_from_slice(&directory);
    out.extend(end_record(parts.len() as u16, directory.len(), offset, comment));
    out
}

pub(super) fn zip_of(parts: &[Part]) -> Vec<u8> {
    zip_with_comment(parts, b"")
}

pub(super) fn zip_with_comment(parts: &[Part], comment: &[u8]) -> Vec<u8> {
    let parts: Vec<_> = parts.iter().map(|p| (&b""[..], p.clone())).collect();
    assemble(&parts, comment)
}

pub(super) fn zip_with_gap(gap: &[u8]) -> Vec<u8> {
    assemble(&[(b"", Part::new("a", b"x")), (gap, Part::new("b", b"y"))], b"")
}

/// Two directory records of one local entry.
pub(super) fn overlapping_zip() -> Vec<u8> {
    let part = Part::new("a", b"x");
    let mut out = part.local();
    let directory = [part.central(0), part.central(0)].concat();
    let offset = out.len();
    out.extend_from_slice(&directory);
    out.extend(end_record(2, directory.len(), offset, b""));
    out
}

pub(super) fn ar(members: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut out = b"!<arch>\n".to_vec();
    for (name, content) in members {
        let size = content.len();
        out.extend(
            format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{size:<10}`\n", 0, 0, 0, 100644).bytes(),
        );
        out.extend_from_slice(content);
        if size % 2 == 1 {
            out.push(b'\n');
        }
    }
    out
}

/// A Debian package with one control file, whose data member has that name and those entries.
pub(super) fn deb(data: &str, items: &[Item]) -> Vec<u8> {
    let control = gz(&tar_of(&[entry("./control", b"Package: a\n")]));
    let tar = tar_of(items);
    let packed = match data.rsplit('.').next().unwrap() {
        "gz" => gz(&tar),
        "xz" => xz(&tar),
        "bz2" => bz2(&tar),
        "zst" => zstd::encode_all(&*tar, 1).unwrap(),
        _ => tar,
    };
    ar(&[("debian-binary", b"2.0\n".to_vec()), ("control.tar.gz", control), (data, packed)])
}
