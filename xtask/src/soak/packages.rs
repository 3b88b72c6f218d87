//! Synthetic packages of four ecosystems, made anew from their number whenever they are wanted.

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256, Sha512};
use std::collections::BTreeMap;
use std::io::{Cursor, Write as _};
use std::sync::{Arc, Mutex};

/// The version of all packages.
pub(super) const VERSION: &str = "1.0.0";

/// A kind of package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Kind {
    /// A wheel.
    Pypi,
    /// A tarball of npm.
    Npm,
    /// A crate.
    Cargo,
    /// A Debian package.
    Debian,
}

/// The name of a package by its number.
pub(super) fn name(n: u64) -> String {
    format!("soak{n:05}")
}

/// Whether the feeds list it as malicious: one in ten, of those that have advisories.
pub(super) fn is_bad(kind: Kind, n: u64) -> bool {
    kind != Kind::Debian && n % 10 == 9
}

/// The name of its file.
pub(super) fn file_name(kind: Kind, n: u64) -> String {
    let name = name(n);
    match kind {
        Kind::Pypi => format!("{name}-{VERSION}-py3-none-any.whl"),
        Kind::Npm => format!("{name}-{VERSION}.tgz"),
        Kind::Cargo => format!("{name}-{VERSION}.crate"),
        Kind::Debian => format!("{name}_{VERSION}_all.deb"),
    }
}

/// A package that was made, with its digests.
pub(super) struct Made {
    /// The bytes.
    pub(super) bytes: Vec<u8>,
    /// SHA-256 in hexadecimal digits.
    pub(super) sha256: String,
    /// As npm's documents give it.
    pub(super) integrity: String,
}

/// A package, made when it is first wanted.
///
/// # Errors
///
/// When an archive cannot be written.
pub(super) fn package(kind: Kind, n: u64) -> Result<Arc<Made>, String> {
    static MADE: Mutex<BTreeMap<(Kind, u64), Arc<Made>>> = Mutex::new(BTreeMap::new());
    let poisoned = |_| "a thread that made packages failed".to_owned();
    if let Some(made) = MADE.lock().map_err(poisoned)?.get(&(kind, n)) {
        return Ok(made.clone());
    }
    let bytes = artifact(kind, n)?;
    let made = Made { sha256: sha256(&bytes), integrity: integrity(&bytes), bytes };
    let made = Arc::new(made);
    MADE.lock().map_err(poisoned)?.insert((kind, n), made.clone());
    Ok(made)
}

/// SHA-256 in hexadecimal digits.
pub(super) fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// The digest as npm's documents give it (W3C Subresource Integrity).
fn integrity(bytes: &[u8]) -> String {
    use base64::Engine as _;
    let digest = Sha512::digest(bytes);
    format!("sha512-{}", base64::engine::general_purpose::STANDARD.encode(digest))
}

fn artifact(kind: Kind, n: u64) -> Result<Vec<u8>, String> {
    let name = name(n);
    let filler = filler(kind, n);
    let made = match kind {
        Kind::Pypi => wheel(&name, &filler),
        Kind::Npm => {
            let json = format!("{{\"name\":\"{name}\",\"version\":\"{VERSION}\"}}");
            let files = [("package/package.json", json.as_bytes()), ("package/data.txt", &filler)];
            tar_gz(&files)
        }
        Kind::Cargo => {
            let root = format!("{name}-{VERSION}");
            let toml = format!("[package]\nname = \"{name}\"\nversion = \"{VERSION}\"\n");
            tar_gz(&[
                (&format!("{root}/Cargo.toml"), toml.as_bytes()),
                (&format!("{root}/src/lib.rs"), b""),
                (&format!("{root}/data.txt"), &filler),
            ])
        }
        Kind::Debian => deb(&name, &filler),
    };
    made.map_err(|e| format!("the package `{name}` cannot be made: {e}"))
}

/// Text that does not pack: a few kilobytes, or for one in twelve about a megabyte.
fn filler(kind: Kind, n: u64) -> Vec<u8> {
    let mut chance = super::chance::Chance::new(n, kind as u64);
    let large = n % 12 == 5;
    let length = if large { 700_000 + chance.below(600_000) } else { 500 + chance.below(8000) };
    let letters = b"abcdefghijklmnopqrstuvwxyz012345";
    let letter = |_| {
        let at = usize::try_from(chance.below(32)).unwrap_or(0);
        letters.get(at).copied().unwrap_or(b' ')
    };
    (0..length).map(letter).collect()
}

fn wheel(name: &str, filler: &[u8]) -> std::io::Result<Vec<u8>> {
    let info = format!("{name}-{VERSION}.dist-info");
    let metadata = format!("Metadata-Version: 2.1\nName: {name}\nVersion: {VERSION}\n");
    let kind = "Wheel-Version: 1.0\nGenerator: soak\nRoot-Is-Purelib: true\nTag: py3-none-any\n";
    let data = format!("{name}/data.txt");
    let paths = [&data, &format!("{info}/METADATA"), &format!("{info}/WHEEL")];
    let record: String = paths.iter().map(|p| format!("{p},,\n")).collect();
    let files: [(&str, &[u8]); 4] = [
        (paths[0], filler),
        (paths[1], metadata.as_bytes()),
        (paths[2], kind.as_bytes()),
        (&format!("{info}/RECORD"), record.as_bytes()),
    ];
    let options =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let mut out = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (path, bytes) in files {
        out.start_file(path, options)?;
        out.write_all(bytes)?;
    }
    Ok(out.finish()?.into_inner())
}

fn tar_gz(files: &[(&str, &[u8])]) -> std::io::Result<Vec<u8>> {
    let mut out = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (path, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(1_600_000_000);
        out.append_data(&mut header, path, *bytes)?;
    }
    out.into_inner()?.finish()
}

/// deb(5): an `ar` archive of three members.
fn deb(name: &str, filler: &[u8]) -> std::io::Result<Vec<u8>> {
    let control = format!(
        "Package: {name}\nVersion: {VERSION}\nArchitecture: all\n\
         Maintainer: Soak <soak@example.org>\nDescription: a synthetic package\n"
    );
    let control = tar_gz(&[("./control", control.as_bytes())])?;
    let data = tar_gz(&[(&format!("./usr/share/{name}/data.txt"), filler)])?;
    let members = [
        ("debian-binary", b"2.0\n".as_slice()),
        ("control.tar.gz", &control),
        ("data.tar.gz", &data),
    ];
    let mut out = b"!<arch>\n".to_vec();
    for (member, bytes) in members {
        let size = bytes.len();
        writeln!(out, "{member:<16}{:<12}{:<6}{:<6}{:<8}{size:<10}`", 0, 0, 0, 100_644)?;
        out.extend(bytes);
        if size % 2 == 1 {
            out.push(b'\n');
        }
    }
    Ok(out)
}

/// The advisories that list the bad ones among the first `count`, as one OSV zip; `extra` more
/// records make one zip differ from the next.
///
/// # Errors
///
/// When the archive cannot be written.
pub(super) fn feed(count: u64, extra: u64) -> std::io::Result<Vec<u8>> {
    let options = zip::write::SimpleFileOptions::default();
    let mut out = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let record = |id: &str, ecosystem: &str, name: &str| {
        serde_json::json!({
            "id": id, "schema_version": "1.6.0", "modified": "2024-01-02T00:00:00Z",
            "published": "2024-01-01T00:00:00Z", "summary": "a synthetic record",
            "affected": [{
                "package": {"ecosystem": ecosystem, "name": name}, "versions": [VERSION],
            }],
        })
        .to_string()
    };
    for (kind, ecosystem) in [(Kind::Pypi, "PyPI"), (Kind::Npm, "npm"), (Kind::Cargo, "crates.io")]
    {
        for n in (0..count).filter(|n| is_bad(kind, *n)) {
            let id = format!("MAL-{}-{n}", ecosystem.replace('.', ""));
            out.start_file(format!("{id}.json"), options)?;
            out.write_all(record(&id, ecosystem, &name(n)).as_bytes())?;
        }
    }
    for n in 0..extra {
        let id = format!("MAL-extra-{n}");
        out.start_file(format!("{id}.json"), options)?;
        out.write_all(record(&id, "PyPI", &format!("elsewhere{n}")).as_bytes())?;
    }
    Ok(out.finish()?.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_the_same_each_time_and_differ_from_one_another() {
        let kinds = [Kind::Pypi, Kind::Npm, Kind::Cargo, Kind::Debian];
        let mut seen = std::collections::BTreeSet::new();
        for kind in kinds {
            for n in [0, 5, 9] {
                let bytes = artifact(kind, n).unwrap();
                assert_eq!(bytes, artifact(kind, n).unwrap());
                assert_eq!(bytes.len() > 400_000, n == 5, "{kind:?} {n}: {}", bytes.len());
                assert!(seen.insert(sha256(&bytes)));
                assert_eq!(is_bad(kind, n), n == 9 && kind != Kind::Debian);
            }
        }
        let mut feed = zip::ZipArchive::new(Cursor::new(feed(30, 2).unwrap())).unwrap();
        assert_eq!(feed.len(), 3 * 3 + 2);
        assert!(feed.by_name("MAL-PyPI-29.json").is_ok());
    }
}
