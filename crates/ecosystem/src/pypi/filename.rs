//! What the name of a distribution file says: project, version, kind.

use super::{normalize_name, validate_name};
use crate::version::{is_valid, normalize_pypi};
use countersign_core::Ecosystem;

/// What kind of distribution a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// A built distribution (PEP 427).
    Wheel,
    /// A source distribution: it runs its build back end when installed.
    Sdist,
    /// An egg or an installer of old; present clients ignore them.
    Other,
}

/// A distribution file's name, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DistFile {
    /// The project's normalized name (PEP 503).
    pub name: String,
    /// The version, normalized where PEP 440 knows it, otherwise as it stands.
    pub version: String,
    /// The kind of distribution.
    pub kind: FileKind,
}

/// Longest file name that is looked at, in bytes (the limit of common file systems).
const MAX_FILE_NAME: usize = 255;

const SDIST_ENDINGS: [&str; 11] = [
    ".tar.gz",
    ".zip",
    ".tar.bz2",
    ".tgz",
    ".tar.xz",
    ".tar.lzma",
    ".tbz",
    ".txz",
    ".tlz",
    ".tar.z",
    ".tar",
];
const OTHER_ENDINGS: [&str; 6] = [".egg", ".exe", ".msi", ".rpm", ".deb", ".dmg"];

/// Takes a distribution file's name apart, without knowing the project.
///
/// The name of an old source distribution is ambiguous (`a-2-b-1.0.zip`): the split is taken
/// where the rest is the first PEP 440 version. Use [`parse_file_name_for`] when the project is
/// known. `None` for what is no distribution file.
#[must_use]
pub fn parse_file_name(file: &str) -> Option<DistFile> {
    let (stem, kind) = split_ending(file)?;
    match kind {
        FileKind::Wheel => parse_wheel(stem),
        FileKind::Sdist => parse_sdist(stem),
        FileKind::Other => parse_other(stem),
    }
}

/// Takes the name of one of `project`'s files apart; `None` when it is no distribution file or
/// belongs to another project.
#[must_use]
pub fn parse_file_name_for(project: &str, file: &str) -> Option<DistFile> {
    let project = normalize_name(project);
    let (stem, kind) = split_ending(file)?;
    if kind == FileKind::Wheel {
        return parse_wheel(stem).filter(|dist| dist.name == project);
    }
    dashes(stem).find_map(|(name, rest)| {
        if normalize_name(name) != project {
            return None;
        }
        let version = match kind {
            FileKind::Other => other_version(rest),
            _ => rest,
        };
        dist(name, version, kind)
    })
}

/// The stem and kind of a file name that is safe to use at all.
fn split_ending(file: &str) -> Option<(&str, FileKind)> {
    let printable = file.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'/' | b'\\'));
    if file.len() > MAX_FILE_NAME || !printable || file.starts_with('.') {
        return None;
    }
    let strip = |ending: &str| {
        let at = file.len().checked_sub(ending.len())?;
        let (stem, tail) = file.split_at_checked(at)?;
        (!stem.is_empty() && tail.eq_ignore_ascii_case(ending)).then_some(stem)
    };
    if let Some(stem) = strip(".whl") {
        return Some((stem, FileKind::Wheel));
    }
    if let Some(stem) = SDIST_ENDINGS.into_iter().find_map(strip) {
        return Some((stem, FileKind::Sdist));
    }
    OTHER_ENDINGS.into_iter().find_map(strip).map(|stem| (stem, FileKind::Other))
}

/// `name-version(-build)?-python-abi-platform` (PEP 427, "File name convention").
fn parse_wheel(stem: &str) -> Option<DistFile> {
    let parts: Vec<&str> = stem.split('-').collect();
    let tag = |t: &str| {
        !t.is_empty() && t.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.'))
    };
    let (name, version, tags) = match parts.as_slice() {
        [name, version, tags @ ..] if tags.len() == 3 => (name, version, tags),
        [name, version, build, tags @ ..]
            if tags.len() == 3 && build.starts_with(|c: char| c.is_ascii_digit()) =>
        {
            (name, version, tags)
        }
        _ => return None,
    };
    if !tags.iter().all(|t| tag(t)) {
        return None;
    }
    dist(name, &version.replace('_', "-"), FileKind::Wheel)
}

fn parse_sdist(stem: &str) -> Option<DistFile> {
    dashes(stem)
        .find(|(_, rest)| is_valid(Ecosystem::Pypi, rest))
        .or_else(|| dashes(stem).find(|(_, rest)| rest.starts_with(|c: char| c.is_ascii_digit())))
        .and_then(|(name, version)| dist(name, version, FileKind::Sdist))
}

fn parse_other(stem: &str) -> Option<DistFile> {
    dashes(stem)
        .find(|(_, rest)| rest.starts_with(|c: char| c.is_ascii_digit()))
        .and_then(|(name, rest)| dist(name, other_version(rest), FileKind::Other))
}

/// The version in what follows the name of an egg or installer: `1.0-py2.7`, `1.0.win32-py2.7`.
fn other_version(rest: &str) -> &str {
    let first = rest.split('-').next().unwrap_or(rest);
    [".win", ".linux", ".macosx"]
        .iter()
        .find_map(|platform| first.split_once(platform))
        .map_or(first, |(version, _)| version)
}

/// All splits of the stem at a dash.
fn dashes(stem: &str) -> impl Iterator<Item = (&str, &str)> {
    stem.match_indices('-').filter_map(|(at, _)| Some((stem.get(..at)?, stem.get(at + 1..)?)))
}

fn dist(name: &str, version: &str, kind: FileKind) -> Option<DistFile> {
    let versionlike = |b: u8| b.is_ascii_alphanumeric() || b"._+!-".contains(&b);
    // A version without a leading digit (`foo-bar-1.0` read as `bar-1.0` of `foo`) is another
    // project's file; installers refuse it too.
    let known = is_valid(Ecosystem::Pypi, version)
        || (version.starts_with(|c: char| c.is_ascii_digit()) && version.bytes().all(versionlike));
    (validate_name(name) && known).then(|| DistFile {
        name: normalize_name(name),
        version: normalize_pypi(version),
        kind,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn file_names_tell_name_version_and_kind() {
        use FileKind::{Other, Sdist, Wheel};
        for (file, want) in [
            ("Flask-3.1.3-py3-none-any.whl", Some(("flask", "3.1.3", Wheel))),
            (
                "a_b.c-1.0-1build-cp312-abi3-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
                Some(("a-b-c", "1.0", Wheel)),
            ),
            ("x-1.0+local.1-py3-none-any.whl", Some(("x", "1.0+local.1", Wheel))),
            ("x-1.0-py3-none.whl", None),
            ("x-1.0-build-py3-none-any.whl", None),
            ("x-1.0-1-2-py3-none-any.whl", None),
            ("zope.interface-5.0.tar.gz", Some(("zope-interface", "5.0", Sdist))),
            ("python-dateutil-2.8.2.tar.gz", Some(("python-dateutil", "2.8.2", Sdist))),
            ("a-2-b-1.0.zip", Some(("a-2-b", "1.0", Sdist))),
            ("x-1.0-beta1.tgz", Some(("x", "1.0b1", Sdist))),
            ("x-2004d-foo.tar.bz2", Some(("x", "2004d-foo", Sdist))),
            ("x-1.0-py2.7.egg", Some(("x", "1.0", Other))),
            ("x-1.0.win32-py2.7.exe", Some(("x", "1.0", Other))),
            ("x.tar.gz", None),
            ("x-1.0.txt", None),
            ("../x-1.0.tar.gz", None),
            ("x-1.0\n.tar.gz", None),
            ("a\\x-1.0.tar.gz", None),
            (".tar.gz", None),
        ] {
            let got = parse_file_name(file);
            let got = got.as_ref().map(|d| (d.name.as_str(), d.version.as_str(), d.kind));
            assert_eq!(got, want, "{file}");
        }
    }

    #[test]
    fn a_known_project_settles_the_ambiguity() {
        let version = |p, f| parse_file_name_for(p, f).map(|d| d.version);
        assert_eq!(version("a-2", "a-2-1.0.tar.gz").as_deref(), Some("1.0"));
        assert_eq!(version("A.2", "a_2-1.0.tar.gz").as_deref(), Some("1.0"));
        assert_eq!(version("foo", "foo-bar-1.0.tar.gz"), None);
        assert_eq!(version("foo", "bar-1.0-py3-none-any.whl"), None);
        assert_eq!(
            version("foo", "foo-1.0.linux-x86_64.tar.gz").as_deref(),
            Some("1.0.linux-x86_64")
        );
        assert_eq!(version("foo", "foo-1.0-py2.5.egg").as_deref(), Some("1.0"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(file in "\\PC{0,40}|[a-z0-9._-]{0,40}\\.(whl|tar\\.gz|egg)") {
            if let Some(d) = parse_file_name(&file) {
                // Whoever knows the project agrees on what the file is.
                let known = parse_file_name_for(&d.name, &file);
                prop_assert_eq!(known.map(|k| k.kind), Some(d.kind));
            }
        }
    }
}
