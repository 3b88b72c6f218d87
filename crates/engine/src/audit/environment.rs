//! Python environments: what is installed in their `site-packages` (PyPA, "recording installed
//! projects").

use super::source::Document;
use countersign_core::{Ecosystem, Purl};
use countersign_ecosystem::inventory::{Listed, SkipKind};
use countersign_ecosystem::pypi::validate_name;
use countersign_ecosystem::version::normalize_pypi;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// How much of a METADATA is read: the headers that matter come first.
const MAX_METADATA: u64 = 1 << 20;

/// Reads an environment.
pub(super) fn read(path: &Path, sites: &[PathBuf]) -> Document {
    let mut document = Document::new(path, "Python environment");
    if sites.is_empty() {
        document.problem = Some("it has no `site-packages`".to_owned());
    }
    for site in sites {
        let mut names = match std::fs::read_dir(site) {
            Ok(entries) => entries.flatten().map(|e| e.file_name()).collect::<Vec<_>>(),
            Err(e) => {
                document.problem = Some(format!("`{}` cannot be read: {e}", site.display()));
                continue;
            }
        };
        names.sort();
        for name in names {
            let name = name.to_string_lossy().into_owned();
            distribution(&site.join(&name), &name, &mut document);
        }
    }
    document
}

fn distribution(path: &Path, folder: &str, document: &mut Document) {
    let metadata = if folder.ends_with(".dist-info") {
        path.join("METADATA")
    } else if folder.ends_with(".egg-info") {
        // An older form: a folder with PKG-INFO, or that file itself.
        if path.is_dir() { path.join("PKG-INFO") } else { path.to_path_buf() }
    } else if folder.ends_with(".egg-link") {
        document.skip(SkipKind::Elsewhere, folder, "it is installed from a folder of this machine");
        return;
    } else {
        return;
    };
    if let Some(because) = origin(&path.join("direct_url.json")) {
        document.skip(SkipKind::Elsewhere, folder, because);
        return;
    }
    let Some((name, version)) = name_and_version(&metadata) else {
        document.skip(SkipKind::Unreadable, folder, "its METADATA gives no name and version");
        return;
    };
    let printable = version.bytes().all(|b| b.is_ascii_graphic()) && version.len() <= 256;
    if !validate_name(&name) || !printable {
        document.skip(
            SkipKind::Unreadable,
            folder,
            "its METADATA gives a name or version that is none",
        );
        return;
    }
    document.listed.push(listed(Purl::new(
        Ecosystem::Pypi,
        &name,
        Some(&normalize_pypi(&version)),
    )));
}

/// An installed version, of which nothing else is known.
pub(super) fn listed(purl: Purl) -> Listed {
    Listed {
        purl,
        files: Vec::new(),
        line: None,
        from: None,
        source: None,
        release: None,
        dev: false,
    }
}

/// What did not come from an index (PyPA, "direct URL data structure").
fn origin(direct_url: &Path) -> Option<&'static str> {
    let bytes = std::fs::read(direct_url).ok()?;
    let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let url = json.get("url").and_then(|u| u.as_str()).unwrap_or("");
    Some(match () {
        () if json.get("vcs_info").is_some() => "it is installed from a version control checkout",
        () if url.starts_with("file:") => "it is installed from this machine",
        () => "it is installed from an address",
    })
}

/// The headers `Name` and `Version` of core metadata.
fn name_and_version(path: &Path) -> Option<(String, String)> {
    let mut bytes = Vec::new();
    std::fs::File::open(path).ok()?.take(MAX_METADATA).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let head = || text.lines().take_while(|l| !l.is_empty());
    let field = |name: &str| {
        head().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    };
    Some((field("Name")?, field("Version").filter(|v| !v.is_empty())?))
}
