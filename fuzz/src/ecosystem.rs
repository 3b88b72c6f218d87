//! Indexes, lock files and archives.

use crate::text;
use countersign_core::{Algorithm, Ecosystem, Purl, Sha256Digest};
use countersign_ecosystem::archive::{ArchiveKind, Limits, walk_with_manifest};
use countersign_ecosystem::{IndexLimits, cargo, debian, npm, pypi, version};
use std::cmp::Ordering;
use std::io::{Cursor, Read as _};
use url::Url;

/// Small enough that a walk which keeps to them is quick.
pub(crate) const LIMITS: Limits = Limits {
    max_entries: 2_000,
    max_unpacked_bytes: 8 << 20,
    max_entry_bytes: 4 << 20,
    max_ratio: 200,
    ratio_from_bytes: 1 << 20,
    max_path_len: 1024,
    max_names_bytes: 1 << 20,
    max_depth: 64,
    max_decoder_memory: 16 << 20,
};

pub(crate) fn index_limits() -> IndexLimits {
    IndexLimits { max_bytes: 4 << 20, max_entries: 20_000, max_depth: 64 }
}

/// A project page in JSON or HTML; what is served for it must be the same page again.
pub fn pypi_project(data: &[u8]) {
    let Ok(url) = Url::parse("https://registry.example/simple/example/") else { return };
    let Ok(page) = pypi::parse_project("", data, &url, &index_limits()) else { return };
    let all = IndexLimits::default();
    for (written, what) in [(page.to_json(), "JSON"), (page.to_html(), "HTML")] {
        let again = pypi::parse_project("", &written, &url, &all).expect("a written page is read");
        assert_eq!(again.status, page.status, "{what}");
        // In HTML a file's name is also in its address: one whose address ends in another is left out.
        let mut left = page.files.iter();
        for a in &again.files {
            let b = left.find(|b| b.file_name == a.file_name && b.url == a.url);
            let b = b.expect("a written file is one of the page's, in its order");
            assert_eq!(a.yanked, b.yanked, "{what}");
        }
        if what == "JSON" {
            assert_eq!(again.versions(), page.versions());
            assert_eq!(again.files.len(), page.files.len());
        }
    }
}

/// A requirements file, and each line as a requirement and as a file's name.
pub fn requirements(data: &[u8]) {
    let text = text(data);
    let _ = pypi::parse_requirements(&text);
    for line in text.lines().take(200) {
        let _ = pypi::classify_spec(line);
        let _ = pypi::parse_file_name(line);
        let _ = pypi::parse_file_name_for("example", line);
    }
}

/// The JSON document of a release: nothing but what describes it is taken.
pub fn pypi_release(data: &[u8]) {
    let Ok(info) = pypi::parse_release_info(data, &index_limits()) else { return };
    let known = ["name", "summary", "requires_python", "requires_dist"];
    assert!(info.keys().all(|k| known.contains(&k.as_str())));
}

/// A `uv.lock`.
pub fn uv_lock(data: &[u8]) {
    let _ = pypi::parse_uv_lock(&text(data));
}

/// A packument; what is served for it must be the same package again.
pub fn packument(data: &[u8]) {
    let Ok(mut packument) = npm::Packument::parse(data, &index_limits()) else { return };
    packument.rewrite_tarballs(|v| Some(format!("https://gate.example/{}", v.version)));
    let versions = packument.versions();
    let written = packument.to_bytes();
    let again = npm::Packument::parse(&written, &IndexLimits::default());
    let again = again.expect("a written packument is read");
    assert_eq!(again.versions(), versions);
    assert_eq!(again.dist_tag("latest"), packument.dist_tag("latest"));
    let kept = versions.first().map(|v| v.version.clone());
    packument.retain(|v| Some(v) == kept.as_deref());
    assert!(packument.versions().len() <= 1);
}

/// A `package-lock.json`.
pub fn package_lock(data: &[u8]) {
    for package in npm::parse_package_lock(data).into_iter().flatten() {
        let _ = package.is_local();
    }
}

/// An argument of `npm install`, a tarball's path, an integrity.
pub fn npm_spec(data: &[u8]) {
    let text = text(data);
    let _ = npm::classify_spec(&text);
    let _ = npm::parse_integrity(&text);
    if let Some((name, _)) = npm::name_from_tarball_path(&text) {
        assert!(npm::validate_name(&name), "`{name}`");
    }
}

/// A crate's index entry; what is served for it must be the same entry again.
pub fn cargo_index(data: &[u8]) {
    let Ok(index) = cargo::parse_index("example", data, &index_limits()) else { return };
    let again = cargo::parse_index("example", &index.to_bytes(), &IndexLimits::default());
    assert_eq!(again.expect("a written entry is read").lines, index.lines);
}

/// A `Cargo.lock`.
pub fn cargo_lock(data: &[u8]) {
    let _ = cargo::parse_lock(&text(data));
}

/// An index's `config.json`: what a download address is made of must be found in it again.
pub fn cargo_config(data: &[u8]) {
    if let Ok(config) = cargo::parse_config(data) {
        let url = cargo::download_url(&config, "example", "1.0.0", &Sha256Digest([7; 32]));
        if let Ok(url) = Url::parse(&url) {
            let _ = cargo::match_download(&config.dl, &url);
        }
    }
    let text = text(data);
    if let Ok(url) = Url::parse(&text) {
        let _ = cargo::match_download("https://h.example/{prefix}/{crate}/{version}", &url);
    }
    if let Some(name) = cargo::name_from_index_path(&text) {
        assert!(cargo::validate_name(&name), "`{name}`");
    }
}

/// Control data of any kind.
pub fn deb822(data: &[u8]) {
    let _ = debian::parse_paragraphs(&text(data), &debian::Deb822Limits::default());
    let _ = debian::parse_control(data);
    for line in text(data).lines().take(50) {
        let _ = debian::deb_file_name(line);
    }
}

/// A `Packages` file: the stream and the search must see the same.
pub fn packages(data: &[u8]) {
    let limits = || debian::PackagesLimits { max_bytes: 4 << 20, max_line_bytes: 64 << 10 };
    let records: Result<Vec<_>, _> = debian::parse_packages(data, limits()).collect();
    let Ok(records) = records else { return };
    for record in records.iter().take(5) {
        let found = debian::find_in_packages(data, &[record.filename.as_str()], limits());
        assert!(found.expect("a file that was read is read").contains(record));
    }
}

/// A `Sources` file: no path of it leads out of its folder.
pub fn sources(data: &[u8]) {
    let limits = debian::PackagesLimits { max_bytes: 4 << 20, max_line_bytes: 64 << 10 };
    for record in debian::parse_sources(data, limits).map_while(Result::ok) {
        for file in record.files.iter().take(20) {
            assert!(!file.name.contains('/'), "`{}`", file.name);
            assert!(record.path_of(file).ends_with(&file.name));
        }
    }
}

/// A source package's description.
pub fn dsc(data: &[u8]) {
    let _ = debian::parse_dsc(data);
}

/// A Release file's text.
pub fn release(data: &[u8]) {
    let _ = debian::parse_release(&text(data));
}

/// What `apt-get indextargets` prints.
pub fn index_targets(data: &[u8]) {
    let _ = debian::parse_index_targets(&text(data));
}

/// A compressed index of each kind; the first byte chooses.
pub fn index_compressed(data: &[u8]) {
    let Some((kind, body)) = data.split_first() else { return };
    let names = ["x", "x.gz", "x.xz", "x.lzma", "x.lz4", "x.zst", "x.bz2"];
    let name = names[usize::from(*kind) % names.len()];
    if let Ok(mut reader) = debian::decompress_index(name, body).map(|r| r.take(1 << 20)) {
        let _ = reader.read_to_end(&mut Vec::new());
    }
}

/// An archive of the kind that its first bytes tell, with what its summary promises.
pub fn archive(data: &[u8]) {
    let kind = ArchiveKind::sniff(data).unwrap_or(ArchiveKind::Tar);
    let mut entries = 0;
    let mut visitor = |entry: &countersign_ecosystem::archive::Entry,
                       content: &mut dyn std::io::Read| {
        entries += 1;
        let components: Vec<&str> = entry.path.split('/').collect();
        let odd = components.iter().any(|c| c.is_empty() || *c == ".");
        assert!(entry.path.is_empty() || !odd, "`{}` is not normalized", entry.path);
        // A visitor that stops in the middle must not change what the walk sees.
        content.read(&mut [0; 100]).map(drop).map_err(Into::into)
    };
    let walked = walk_with_manifest(Cursor::new(data), kind, &LIMITS, &mut visitor);
    let Ok((summary, manifest)) = walked else { return };
    assert!(summary.entries <= LIMITS.max_entries + 1, "{} entries", summary.entries);
    assert!(entries <= summary.entries, "{entries} of {} entries", summary.entries);
    assert!(summary.complete || !summary.problems.is_empty(), "it ended without a reason");
    assert!(summary.unpacked_bytes <= LIMITS.max_unpacked_bytes + (1 << 20));
    assert!(manifest.iter().all(|m| m.size <= LIMITS.max_entry_bytes + (1 << 20)));
}

/// Two versions in two lines: their order must not depend on which comes first.
pub fn version_order(data: &[u8]) {
    let text = text(data);
    let mut lines = text.lines();
    let (a, b) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    for ecosystem in Ecosystem::ALL {
        let order = version::compare(ecosystem, a, b);
        assert_eq!(order.map(Ordering::reverse), version::compare(ecosystem, b, a), "{ecosystem}");
        if version::compare(ecosystem, a, a).is_some_and(Ordering::is_ne) {
            panic!("{ecosystem}: `{a}` differs from itself");
        }
        let _ = version::is_valid(ecosystem, a);
        let _ = version::is_prerelease(ecosystem, a);
        let _ = version::same(ecosystem, a, b);
    }
    let _ = version::normalize_pypi(a);
    countersign_core::ExpectedDigest::from_hex(Algorithm::Sha256, a).ok();
}

/// A package URL: what is written must be read back the same.
pub fn purl(data: &[u8]) {
    let Ok(purl) = text(data).parse::<Purl>() else { return };
    let written = purl.to_string();
    let again: Purl = written.parse().expect("a written purl is read");
    assert_eq!(again, purl, "`{written}`");
}
