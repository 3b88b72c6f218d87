//! Synthetic packages of every kind, minted by the test that needs them.

use super::server::Body;
use base64::Engine as _;
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256, Sha512};
use std::io::Write as _;

/// SHA-256 in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// SHA-512 as npm writes it (Subresource Integrity).
pub fn integrity(bytes: &[u8]) -> String {
    format!("sha512-{}", base64::engine::general_purpose::STANDARD.encode(Sha512::digest(bytes)))
}

fn record_digest(digest: &[u8]) -> String {
    format!("sha256={}", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(digest))
}

fn record_line(path: &str, bytes: &[u8]) -> String {
    format!("{path},{},{}\n", record_digest(&Sha256::digest(bytes)), bytes.len())
}

/// Name and version as wheels and source archives spell them.
fn stem(name: &str, version: &str) -> String {
    format!("{}-{version}", name.replace('-', "_"))
}

/// The file name of a pure wheel.
pub fn wheel_name(name: &str, version: &str) -> String {
    format!("{}-py3-none-any.whl", stem(name, version))
}

/// The file name of a source distribution.
pub fn sdist_name(name: &str, version: &str) -> String {
    format!("{}.tar.gz", stem(name, version))
}

fn metadata(name: &str, version: &str, requires: &[&str]) -> String {
    let mut text = format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n");
    for r in requires {
        text.push_str(&format!("Requires-Dist: {r}\n"));
    }
    text
}

const WHEEL: &str =
    "Wheel-Version: 1.0\nGenerator: countersign-test\nRoot-Is-Purelib: true\nTag: py3-none-any\n";

/// A wheel with these files beside its metadata (binary distribution format, PEP 427).
pub fn wheel_with(
    name: &str,
    version: &str,
    files: &[(&str, &[u8])],
    requires: &[&str],
) -> Vec<u8> {
    let info = format!("{}.dist-info", stem(name, version));
    let mut all: Vec<(String, Vec<u8>)> =
        files.iter().map(|(p, b)| ((*p).to_owned(), b.to_vec())).collect();
    all.push((format!("{info}/METADATA"), metadata(name, version, requires).into_bytes()));
    all.push((format!("{info}/WHEEL"), WHEEL.as_bytes().to_vec()));
    let mut record: String = all.iter().map(|(p, b)| record_line(p, b)).collect();
    record.push_str(&format!("{info}/RECORD,,\n"));
    all.push((format!("{info}/RECORD"), record.into_bytes()));
    zip(&all)
}

/// A wheel with a program of its own name, which prints `<name> <version> runs`, its arguments, and
/// the proxy that it sees.
pub fn tool_wheel(name: &str, version: &str, requires: &[&str]) -> Vec<u8> {
    let module = name.replace('-', "_");
    let code = format!(
        "import os, sys\ndef main():\n    print({name:?}, {version:?}, 'runs', *sys.argv[1:], \
         'proxy:', os.environ.get('HTTPS_PROXY'))\n"
    );
    let points = format!("[console_scripts]\n{name} = {module}:main\n");
    let at = format!("{}.dist-info/entry_points.txt", stem(name, version));
    let files: [(&str, &[u8]); 2] =
        [(&format!("{module}.py"), code.as_bytes()), (&at, points.as_bytes())];
    wheel_with(name, version, &files, requires)
}

/// A wheel with one module.
pub fn wheel(name: &str, version: &str) -> Vec<u8> {
    let module = format!("{}/__init__.py", name.replace('-', "_"));
    let text = format!("VERSION = {version:?}\n");
    wheel_with(name, version, &[(&module, text.as_bytes())], &[])
}

fn zip(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let options =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (path, bytes) in files {
        writer.start_file(path.as_str(), options).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// A wheel whose one large file is `zeros` zero bytes, stored; with its SHA-256.
pub fn large_wheel(name: &str, version: &str, zeros: u64) -> (Body, String) {
    let info = format!("{}.dist-info", stem(name, version));
    let path = format!("{}/zeros.bin", name.replace('-', "_"));
    let (crc, digest) = zeros_digests(zeros);
    let meta = metadata(name, version, &[]);
    let record = format!(
        "{path},{},{zeros}\n{}{}{info}/RECORD,,\n",
        record_digest(&digest),
        record_line(&format!("{info}/METADATA"), meta.as_bytes()),
        record_line(&format!("{info}/WHEEL"), WHEEL.as_bytes()),
    );
    let small = [
        (format!("{info}/METADATA"), meta.into_bytes()),
        (format!("{info}/WHEEL"), WHEEL.as_bytes().to_vec()),
        (format!("{info}/RECORD"), record.into_bytes()),
    ];
    let size = u32::try_from(zeros).unwrap();
    let mut head = local_header(&path, crc, size);
    let mut directory = directory_entry(&path, crc, size, 0);
    let mut tail = Vec::new();
    for (path, bytes) in &small {
        let mut c = flate2::Crc::new();
        c.update(bytes);
        let at = head.len() as u64 + zeros + tail.len() as u64;
        let len = u32::try_from(bytes.len()).unwrap();
        directory.extend(directory_entry(path, c.sum(), len, u32::try_from(at).unwrap()));
        tail.extend(local_header(path, c.sum(), len));
        tail.extend(bytes);
    }
    let at = u32::try_from(head.len() as u64 + zeros + tail.len() as u64).unwrap();
    let length = u32::try_from(directory.len()).unwrap();
    tail.extend(directory);
    tail.extend(b"PK\x05\x06\0\0\0\0\x04\0\x04\0");
    tail.extend(length.to_le_bytes());
    tail.extend(at.to_le_bytes());
    tail.extend([0, 0]);
    let mut hasher = Sha256::new();
    hasher.update(&head);
    each_zero_block(zeros, |block| hasher.update(block));
    hasher.update(&tail);
    head.shrink_to_fit();
    (Body::Padded { head: head.into(), zeros, tail: tail.into() }, hex::encode(hasher.finalize()))
}

fn each_zero_block(zeros: u64, mut f: impl FnMut(&[u8])) {
    let block = vec![0u8; 1 << 20];
    let mut left = zeros;
    while left > 0 {
        let n = left.min(block.len() as u64);
        f(&block[..usize::try_from(n).unwrap()]);
        left -= n;
    }
}

fn zeros_digests(zeros: u64) -> (u32, Vec<u8>) {
    let (mut crc, mut hasher) = (flate2::Crc::new(), Sha256::new());
    each_zero_block(zeros, |block| {
        crc.update(block);
        hasher.update(block);
    });
    (crc.sum(), hasher.finalize().to_vec())
}

/// A ZIP local file header of a stored entry (APPNOTE 4.3.7).
fn local_header(path: &str, crc: u32, size: u32) -> Vec<u8> {
    let mut out = b"PK\x03\x04\x14\0\0\0\0\0\0\0\x21\0".to_vec();
    out.extend(crc.to_le_bytes());
    out.extend(size.to_le_bytes());
    out.extend(size.to_le_bytes());
    out.extend(u16::try_from(path.len()).unwrap().to_le_bytes());
    out.extend([0, 0]);
    out.extend(path.as_bytes());
    out
}

/// A ZIP central directory entry of a stored entry (APPNOTE 4.3.12).
fn directory_entry(path: &str, crc: u32, size: u32, at: u32) -> Vec<u8> {
    let mut out = b"PK\x01\x02\x14\x03\x14\0\0\0\0\0\0\0\x21\0".to_vec();
    out.extend(crc.to_le_bytes());
    out.extend(size.to_le_bytes());
    out.extend(size.to_le_bytes());
    out.extend(u16::try_from(path.len()).unwrap().to_le_bytes());
    out.extend([0u8; 8]);
    out.extend(0o100_644u32.wrapping_shl(16).to_le_bytes());
    out.extend(at.to_le_bytes());
    out.extend(path.as_bytes());
    out
}

/// A gzipped tar archive; an executable's path ends in `!`, which is taken off.
pub fn tar_gz(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (path, bytes) in files {
        let (path, mode) = path.strip_suffix('!').map_or((path.as_str(), 0o644), |p| (p, 0o755));
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(mode);
        header.set_mtime(1_600_000_000);
        builder.append_data(&mut header, path, bytes.as_slice()).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

fn owned(root: &str, files: &[(&str, &[u8])]) -> Vec<(String, Vec<u8>)> {
    files.iter().map(|(p, b)| (format!("{root}/{p}"), b.to_vec())).collect()
}

/// A build backend (PEP 517) that needs nothing but Python, and runs `payload` while it builds.
const BACKEND: &str = r#"
import base64, hashlib, os, zipfile
NAME, VERSION = "{name}", "{version}"
def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    import sysconfig
    site = sysconfig.get_path("purelib")
{payload}
    stem = NAME.replace("-", "_") + "-" + VERSION
    info = stem + ".dist-info"
    files = {{
        NAME.replace("-", "_") + "/__init__.py": b"BUILT = True\n",
        info + "/METADATA": ("Metadata-Version: 2.1\nName: %s\nVersion: %s\n" % (NAME, VERSION)).encode(),
        info + "/WHEEL": b"Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }}
    record = ""
    for path, data in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        record += "%s,sha256=%s,%d\n" % (path, digest, len(data))
    files[info + "/RECORD"] = (record + info + "/RECORD,,\n").encode()
    name = stem + "-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(wheel_directory, name), "w") as z:
        for path, data in files.items():
            z.writestr(path, data)
    return name
"#;

/// A source distribution that runs `payload` (lines of Python; `site` is the environment's
/// site-packages) while it is built.
pub fn sdist(name: &str, version: &str, payload: &str) -> Vec<u8> {
    let lines: String = payload.lines().map(|l| format!("    {l}\n")).collect();
    let backend = BACKEND
        .replace("{name}", name)
        .replace("{version}", version)
        .replace("{payload}", &lines)
        .replace("{{", "{")
        .replace("}}", "}");
    let project = format!(
        "[build-system]\nrequires = []\nbuild-backend = \"backend\"\nbackend-path = [\".\"]\n\
         [project]\nname = \"{name}\"\nversion = \"{version}\"\n"
    );
    tar_gz(&owned(
        &stem(name, version),
        &[
            ("PKG-INFO", metadata(name, version, &[]).as_bytes()),
            ("pyproject.toml", project.as_bytes()),
            ("backend.py", backend.as_bytes()),
        ],
    ))
}

/// An npm package; `more` are members of its package.json.
pub fn npm_tarball(
    name: &str,
    version: &str,
    more: serde_json::Value,
    files: &[(&str, &[u8])],
) -> Vec<u8> {
    let mut json = serde_json::json!({"name": name, "version": version, "main": "index.js"});
    if let (Some(map), Some(more)) = (json.as_object_mut(), more.as_object()) {
        map.extend(more.clone());
    }
    let index = format!("module.exports = {version:?};\n");
    let mut all = owned(
        "package",
        &[("package.json", json.to_string().as_bytes()), ("index.js", index.as_bytes())],
    );
    all.extend(owned("package", files));
    tar_gz(&all)
}

/// A crate with an empty library.
pub fn cargo_crate(name: &str, version: &str, files: &[(&str, &[u8])]) -> Vec<u8> {
    let manifest =
        format!("[package]\nname = \"{name}\"\nversion = \"{version}\"\nedition = \"2021\"\n");
    let mut all = owned(
        &format!("{name}-{version}"),
        &[("Cargo.toml", manifest.as_bytes()), ("src/lib.rs", b"")],
    );
    all.extend(owned(&format!("{name}-{version}"), files));
    tar_gz(&all)
}

/// A Debian package (deb(5)) with one document.
pub fn deb(name: &str, version: &str) -> Vec<u8> {
    deb_with(
        name,
        version,
        &tar_gz(&[(format!("./usr/share/doc/{name}/readme"), b"nothing\n".to_vec())]),
    )
}

/// A Debian package with these bytes as its `data.tar.gz`.
pub fn deb_with(name: &str, version: &str, data: &[u8]) -> Vec<u8> {
    let control = format!(
        "Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: Test <test@example.org>\n\
         Installed-Size: 1\nDescription: a synthetic package\n"
    );
    let control = tar_gz(&[("./control".to_owned(), control.into_bytes())]);
    let mut out = b"!<arch>\n".to_vec();
    for (member, bytes) in [
        ("debian-binary", b"2.0\n".as_slice()),
        ("control.tar.gz", &control),
        ("data.tar.gz", data),
    ] {
        out.extend(
            format!(
                "{member:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n",
                1_600_000_000,
                0,
                0,
                100_644,
                bytes.len()
            )
            .bytes(),
        );
        out.extend(bytes);
        if bytes.len() % 2 == 1 {
            out.push(b'\n');
        }
    }
    out
}
