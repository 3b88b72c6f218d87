//! A root file system: dpkg's status and the release that it belongs to.

use super::places::{Place, PlaceKind};
use std::path::{Path, PathBuf};

/// Largest os-release that is read, in bytes.
const MAX_OS_RELEASE: u64 = 64 << 10;

/// What a root file system holds for an audit; `None` when the folder is none.
pub(super) fn of_root(root: &Path) -> Option<Vec<Place>> {
    let dpkg = root.join("var/lib/dpkg");
    let mut paths: Vec<PathBuf> = vec![dpkg.join("status")];
    // Images without dpkg have a file for each package (distroless).
    let parts = std::fs::read_dir(dpkg.join("status.d")).into_iter().flatten().flatten();
    paths.extend(parts.map(|e| e.path()).filter(|p| p.extension().is_none()));
    paths.retain(|p| p.is_file());
    paths.sort();
    if paths.is_empty() {
        return None;
    }
    let release = release(root);
    let place = |path| Place { path, kind: PlaceKind::Dpkg(release.clone()) };
    Some(paths.into_iter().map(place).collect())
}

/// The release of the system that a `var/lib/dpkg/status` belongs to.
pub(super) fn release_beside(status: &Path) -> Option<String> {
    let status = status.canonicalize().ok()?;
    let root = status.ancestors().nth(4)?;
    status.starts_with(root.join("var/lib/dpkg")).then(|| release(root))?
}

/// A system's release by its os-release(5): Debian's code name or number; for others a name that no
/// feed of Debian's covers.
fn release(root: &Path) -> Option<String> {
    use std::io::Read as _;
    let read = |name: &str| {
        let file = std::fs::File::open(root.join(name)).ok()?;
        let mut text = String::new();
        file.take(MAX_OS_RELEASE).read_to_string(&mut text).ok()?;
        Some(text)
    };
    let text = read("etc/os-release").or_else(|| read("usr/lib/os-release"))?;
    let value = |key: &str| {
        text.lines().find_map(|line| {
            let value = line.strip_prefix(key)?.strip_prefix('=')?.trim();
            Some(value.trim_matches(['"', '\'']).to_owned()).filter(|v| !v.is_empty())
        })
    };
    let id = value("ID")?;
    let (codename, number) = (value("VERSION_CODENAME"), value("VERSION_ID"));
    if id == "debian" {
        return codename.or(number);
    }
    Some(format!("{id}-{}", number.or(codename).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_is_debians_or_covered_by_no_feed() {
        for (text, want) in [
            ("ID=debian\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\n", Some("bookworm")),
            ("ID=debian\nVERSION_ID='11'\n", Some("11")),
            ("ID=ubuntu\nID_LIKE=debian\nVERSION_ID=\"24.04\"\n", Some("ubuntu-24.04")),
            ("NAME=x\n", None),
        ] {
            let root = tempfile::tempdir().unwrap();
            let dpkg = root.path().join("var/lib/dpkg");
            std::fs::create_dir_all(&dpkg).unwrap();
            std::fs::create_dir_all(root.path().join("etc")).unwrap();
            std::fs::write(root.path().join("etc/os-release"), text).unwrap();
            std::fs::write(dpkg.join("status"), "Package: a\n").unwrap();
            let places = of_root(root.path()).unwrap();
            assert_eq!(places[0].kind, PlaceKind::Dpkg(want.map(str::to_owned)), "{text}");
            assert_eq!(release_beside(&dpkg.join("status")).as_deref(), want, "{text}");
        }
    }
}
