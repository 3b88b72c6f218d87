//! Paths below a repository's root, and what each asks for (Debian's repository format).

use url::Url;

/// Longest path that is looked at, in bytes.
const MAX_PATH: usize = 1024;

/// A path whose components are plain: none is empty, `.` or `..`, or holds what no archive's file
/// name does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RepositoryPath(String);

/// The three files that a Release comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    InRelease,
    Release,
    Signature,
}

/// What a path asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    /// A file of the Release in that folder.
    Release(String, Part),
    /// The difference between two states of an index.
    Difference,
    /// An index by its digest; the folder is the one that holds `by-hash`.
    ByHash { dir: String, algorithm: String, digest: String },
    /// A binary package.
    Package,
    /// An index, a part of a source package, or nothing.
    Other,
}

/// The suffixes of binary packages.
const PACKAGES: [&str; 3] = [".deb", ".udeb", ".ddeb"];

pub(super) fn is_package_name(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    PACKAGES.iter().any(|e| lower.ends_with(e))
}

impl RepositoryPath {
    /// Reads a decoded path; single dots (`./InRelease` of flat repositories) are left out.
    pub(super) fn parse(path: &str) -> Option<Self> {
        let path = path.strip_prefix('/').unwrap_or(path);
        let plain = |c: &&str| {
            !c.is_empty()
                && *c != ".."
                && !c.chars().any(|c| c.is_control() || matches!(c, '\\' | '?' | '#' | '%'))
        };
        let components: Vec<&str> = path.split('/').filter(|c| *c != ".").collect();
        let sound =
            path.len() <= MAX_PATH && !components.is_empty() && components.iter().all(plain);
        sound.then(|| Self(components.join("/")))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Its address below a repository's root, encoded.
    pub(super) fn below(&self, base: &Url) -> Url {
        let mut url = base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(self.0.split('/'));
        }
        url
    }

    pub(super) fn is_below_dists(&self) -> bool {
        self.0.starts_with("dists/")
    }

    pub(super) fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    pub(super) fn asked(&self) -> Asked {
        let (dir, name) = self.0.rsplit_once('/').unwrap_or(("", &self.0));
        match name {
            "InRelease" => return Asked::Release(dir.to_owned(), Part::InRelease),
            "Release.gpg" => return Asked::Release(dir.to_owned(), Part::Signature),
            // Each folder of indexes has an unsigned Release file of its own, which the signed one
            // names; the signed ones lie where no component and architecture does.
            "Release" if !dir.contains("/binary-") && !dir.ends_with("/source") => {
                return Asked::Release(dir.to_owned(), Part::Release);
            }
            _ => {}
        }
        if self.0.contains(".diff/") {
            return Asked::Difference;
        }
        if is_package_name(name) {
            return Asked::Package;
        }
        if let Some((dir, algorithm)) = dir.rsplit_once('/')
            && let Some(dir) = dir.strip_suffix("by-hash")
        {
            let dir = dir.trim_end_matches('/').to_owned();
            let (algorithm, digest) = (algorithm.to_owned(), name.to_ascii_lowercase());
            return Asked::ByHash { dir, algorithm, digest };
        }
        Asked::Other
    }
}

/// `path` below `dir`, if it lies there.
pub(super) fn below<'p>(path: &'p str, dir: &str) -> Option<&'p str> {
    if dir.is_empty() {
        return Some(path);
    }
    path.strip_prefix(dir)?.strip_prefix('/')
}

/// The suffixes under which an index is packed, none first.
pub(super) const PACKED: [&str; 7] = ["", ".xz", ".gz", ".zst", ".bz2", ".lzma", ".lz4"];

/// An index's name without the suffix of its packing.
pub(super) fn unpacked(name: &str) -> &str {
    PACKED.iter().filter(|s| !s.is_empty()).find_map(|s| name.strip_suffix(s)).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_no_repository_has_are_none() {
        for path in [
            "",
            "/",
            "a//b",
            "../x",
            "dists/../../etc",
            "a/..",
            "a\\b",
            "a\nb",
            "a?b",
            "a#b",
            "a%2e%2e/b",
            "dists/",
            "\0",
        ] {
            assert_eq!(RepositoryPath::parse(path), None, "{path:?}");
        }
        assert_eq!(RepositoryPath::parse(&"a/".repeat(600)), None);
        for (path, want) in [
            ("./InRelease", "InRelease"),
            ("/dists/x/InRelease", "dists/x/InRelease"),
            (
                "pool/main/libs/libstdc++6_1~rc1_amd64.deb",
                "pool/main/libs/libstdc++6_1~rc1_amd64.deb",
            ),
        ] {
            assert_eq!(RepositoryPath::parse(path).unwrap().as_str(), want);
        }
    }

    #[test]
    fn addresses_stay_below_the_root() {
        let base = Url::parse("https://deb.example/debian/").unwrap();
        let path = RepositoryPath::parse("pool/a b/x:1+2_all.deb").unwrap();
        assert_eq!(
            path.below(&base).as_str(),
            "https://deb.example/debian/pool/a%20b/x:1+2_all.deb"
        );
    }

    #[test]
    fn each_path_asks_for_one_thing() {
        let by_hash = |dir: &str, algorithm: &str, digest: &str| Asked::ByHash {
            dir: dir.into(),
            algorithm: algorithm.into(),
            digest: digest.into(),
        };
        for (path, want) in [
            ("dists/s/InRelease", Asked::Release("dists/s".into(), Part::InRelease)),
            ("InRelease", Asked::Release(String::new(), Part::InRelease)),
            (
                "dists/s/updates/Release.gpg",
                Asked::Release("dists/s/updates".into(), Part::Signature),
            ),
            ("dists/s/Release", Asked::Release("dists/s".into(), Part::Release)),
            ("dists/s/main/binary-amd64/Release", Asked::Other),
            ("dists/s/main/source/Release", Asked::Other),
            ("dists/s/main/binary-amd64/Packages.diff/Index", Asked::Difference),
            ("dists/s/main/binary-amd64/Packages.diff/by-hash/SHA256/00", Asked::Difference),
            (
                "dists/s/main/binary-amd64/by-hash/SHA256/AB",
                by_hash("dists/s/main/binary-amd64", "SHA256", "ab"),
            ),
            ("by-hash/MD5Sum/00", by_hash("", "MD5Sum", "00")),
            ("dists/s/evil.deb", Asked::Package),
            ("dists/s/by-hash/SHA256/evil.DEB", Asked::Package),
            ("pool/x_1.dsc", Asked::Other),
            ("dists/s/main/i18n/Translation-en.xz", Asked::Other),
        ] {
            assert_eq!(RepositoryPath::parse(path).unwrap().asked(), want, "{path}");
        }
    }

    #[test]
    fn suffixes_of_packing_come_off() {
        assert_eq!(unpacked("main/binary-amd64/Packages.xz"), "main/binary-amd64/Packages");
        assert_eq!(unpacked("Sources"), "Sources");
        assert_eq!(below("dists/s/x", "dists/s"), Some("x"));
        assert_eq!(below("dists/stable/x", "dists/s"), None);
    }
}
