//! Each format by a document of its own: what is listed, what is skipped, and the lines.

mod any;
mod javascript;
mod python;
mod sbom;
mod system;

use super::*;

pub(super) const HEX: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
pub(super) const SHA512: &str = "sha512-z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg==";

/// An inventory in a compact form: `line purl files [dev] [from] [source]`, then what was skipped.
pub(super) fn shown(format: Format, text: &str) -> Vec<String> {
    let inventory = parse(format, text.as_bytes()).unwrap_or_else(|e| panic!("{text}: {e}"));
    let line = |line: Option<u32>| line.map_or_else(|| "-".to_owned(), |l| l.to_string());
    let listed = inventory.listed.iter().map(|l| {
        let files: Vec<String> = l
            .files
            .iter()
            .map(|f| {
                let kinds: Vec<_> = f.digests.iter().map(|d| d.algorithm().name()).collect();
                format!(" {}={}", f.name.as_deref().unwrap_or(""), kinds.join("+"))
            })
            .collect();
        let dev = if l.dev { " dev" } else { "" };
        let from = l.from.as_ref().map(|f| format!(" from {f}")).unwrap_or_default();
        let source = l.source.as_ref().map(|(n, v)| format!(" source {n} {v}")).unwrap_or_default();
        let release = l.release.as_ref().map(|r| format!(" release {r}")).unwrap_or_default();
        format!("{} {}{}{dev}{from}{source}{release}", line(l.line), l.purl, files.concat())
    });
    let skipped = inventory
        .skipped
        .iter()
        .map(|s| format!("{} {:?} {}: {}", line(s.line), s.kind, s.what, s.because));
    let included =
        inventory.includes.iter().map(|i| format!("{} include {}", line(i.line), i.path));
    listed.chain(skipped).chain(included).collect()
}

#[track_caller]
pub(super) fn expect(format: Format, text: &str, want: &[&str]) {
    assert_eq!(shown(format, text), want, "{text}");
}

#[track_caller]
pub(super) fn refused(format: Format, text: &str, because: &str) {
    let e = parse(format, text.as_bytes()).expect_err(text);
    assert!(e.to_string().contains(because), "{text}: {e}");
}

#[test]
fn documents_are_known_by_name_and_first_bytes() {
    for (name, bytes, want) in [
        ("requirements.txt", "", Some(Format::Requirements)),
        ("requirements-dev.txt", "", Some(Format::Requirements)),
        ("dev-requirements.txt", "", Some(Format::Requirements)),
        ("notes.txt", "", None),
        ("uv.lock", "", Some(Format::UvLock)),
        ("poetry.lock", "", Some(Format::PoetryLock)),
        ("pylock.toml", "", Some(Format::PyLock)),
        ("pylock.dev.toml", "", Some(Format::PyLock)),
        ("pyproject.toml", "", None),
        ("package-lock.json", "", Some(Format::PackageLock)),
        ("npm-shrinkwrap.json", "", Some(Format::PackageLock)),
        (".package-lock.json", "", Some(Format::PackageLock)),
        ("package.json", "{}", None),
        ("pnpm-lock.yaml", "", Some(Format::PnpmLock)),
        ("yarn.lock", "", Some(Format::YarnLock)),
        ("bun.lock", "", Some(Format::BunLock)),
        ("Cargo.lock", "", Some(Format::CargoLock)),
        ("status", "Package: a\n", Some(Format::DpkgStatus)),
        ("status", "a", None),
        ("bom.json", "{}", Some(Format::CycloneDx)),
        ("x.cdx.json", "{}", Some(Format::CycloneDx)),
        ("x.json", "{\"bomFormat\":\"CycloneDX\"}", Some(Format::CycloneDx)),
        ("x.spdx.json", "{}", Some(Format::Spdx)),
        ("x.json", "{\"spdxVersion\":\"SPDX-2.3\"}", Some(Format::Spdx)),
        ("x.json", "{}", None),
    ] {
        assert_eq!(detect(name, bytes.as_bytes()), want, "{name}");
    }
}
