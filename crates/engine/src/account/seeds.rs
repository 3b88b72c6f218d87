//! What new Python environments are made with: pip from the wheel that Python brings along, and files of
//! the program that makes them. They are accepted only where they are, byte for byte, what lies on
//! this machine already.

use super::PythonPlan;
use super::Seeds;
use super::python::{Installed, compare, installed_path};
use crate::engine::Engine;
use countersign_core::{Ecosystem, Purl};
use countersign_ecosystem::archive::{Limits, ManifestEntry};
use countersign_ecosystem::pypi;
use std::collections::BTreeSet;
use std::path::Path;

impl Engine {
    /// The seed wheel that a distribution was installed from, with the files that it brought.
    pub(super) async fn seeded(
        &self,
        dist: &Installed,
        plan: &PythonPlan,
    ) -> Option<(String, BTreeSet<String>)> {
        for wheel in &plan.seeds.wheels {
            let name = wheel.file_name()?.to_string_lossy().into_owned();
            let of_this = pypi::parse_file_name(&name).is_some_and(|d| {
                Purl::new(Ecosystem::Pypi, &d.name, Some(&d.version)) == dist.purl
            });
            if !of_this {
                continue;
            }
            let (site, purl, path) = (dist.site.clone(), dist.purl.clone(), wheel.clone());
            let looked = tokio::task::spawn_blocking(move || {
                let manifest = manifest(&path)?;
                let installed: BTreeSet<String> =
                    manifest.iter().filter_map(|e| installed_path(&e.path)).collect();
                compare(&site, &purl, &manifest).is_none().then_some(installed)
            });
            if let Ok(Some(installed)) = looked.await {
                return Some((wheel.display().to_string(), installed));
            }
        }
        None
    }
}

/// What a wheel of this machine holds; `None` when it holds nothing or cannot be read.
fn manifest(wheel: &Path) -> Option<Vec<ManifestEntry>> {
    let source = std::io::BufReader::new(std::fs::File::open(wheel).ok()?);
    let name = wheel.file_name()?.to_string_lossy().into_owned();
    let report = countersign_scan::structure::scan_archive(
        &name,
        Ecosystem::Pypi,
        None,
        source,
        &Limits::default(),
    );
    (!report.manifest.is_empty()).then_some(report.manifest)
}

/// Those of the changed files that are what new environments are made with.
pub(super) fn files(site: &Path, changed: &BTreeSet<&str>, seeds: &Seeds) -> Vec<String> {
    let same = |name: &str, content: &[u8]| {
        std::fs::read(site.join(name)).is_ok_and(|found| found == content)
    };
    // virtualenv marks what it put there with an empty file beside the `.dist-info` folder.
    let mark = |name: &str| {
        name.strip_suffix(".virtualenv").is_some_and(|stem| {
            !stem.contains('/')
                && site.join(format!("{stem}.dist-info")).is_dir()
                && same(name, b"")
        })
    };
    let known = |name: &&&str| {
        let seed = seeds.files.iter().find(|(n, _)| n == **name);
        seed.is_some_and(|(n, content)| same(n, content))
            || (!seeds.wheels.is_empty() && mark(name))
    };
    changed.iter().filter(known).map(|n| (*n).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_file_is_known_by_its_content_alone() {
        let site = tempfile::tempdir().unwrap();
        let seeds = Seeds {
            wheels: vec!["pip-1.0-py3-none-any.whl".into()],
            files: vec![("_v.pth".to_owned(), b"import _v".to_vec())],
        };
        std::fs::create_dir(site.path().join("pip-1.0.dist-info")).unwrap();
        for (name, content, want) in [
            ("_v.pth", "import _v", true),
            ("_v.pth", "import evil", false),
            ("other.pth", "import _v", false),
            ("pip-1.0.virtualenv", "", true),
            ("pip-1.0.virtualenv", "x", false),
            ("pip-2.0.virtualenv", "", false),
        ] {
            std::fs::write(site.path().join(name), content).unwrap();
            let found = files(site.path(), &BTreeSet::from([name]), &seeds);
            assert_eq!(found.len() == 1, want, "{name}: {content}");
        }
    }
}
