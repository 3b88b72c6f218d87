//! SPDX in JSON (ISO/IEC 5962), versions 2.2 and 2.3; and package URLs as SBOMs write them.

use super::node::Node;
use super::reading::{Reading, named_digest, unusable};
use super::{Format, Listed, SkipKind, json};
use crate::error::{IndexError, IndexLimits};
use countersign_core::{Ecosystem, Purl};
use std::collections::HashSet;

/// Reads an SPDX document.
pub(super) fn read(
    text: &str,
    limits: &IndexLimits,
    reading: &mut Reading,
) -> Result<(), IndexError> {
    let what = Format::Spdx.name();
    let document = json::parse(what, text, limits, false)?;
    let version = document.text_of("spdxVersion").unwrap_or("none");
    if !matches!(version, "SPDX-2.2" | "SPDX-2.3") {
        let because = format!("SPDX-2.2 and SPDX-2.3 are known, found {version}");
        return Err(IndexError::malformed(what, "spdxVersion", because));
    }
    let described = described(&document);
    for package in document.get("packages").map(Node::items).unwrap_or_default() {
        let own = package.text_of("SPDXID").is_some_and(|id| described.contains(id));
        one(package, own, reading);
    }
    Ok(())
}

/// The ids of what the document is about.
fn described<'a>(document: &'a Node<'a>) -> HashSet<&'a str> {
    let listed = document.get("documentDescribes").map(Node::items).unwrap_or_default();
    let relations = document.get("relationships").map(Node::items).unwrap_or_default();
    let describes = relations
        .iter()
        .filter(|r| r.text_of("relationshipType") == Some("DESCRIBES"))
        .filter_map(|r| r.text_of("relatedSpdxElement"));
    listed.iter().filter_map(Node::text).chain(describes).collect()
}

fn one(package: &Node<'_>, own: bool, reading: &mut Reading) {
    let text = |key: &str| package.text_of(key).unwrap_or("");
    let refs = package.get("externalRefs").map(Node::items).unwrap_or_default();
    let purls: Vec<&Node<'_>> = refs
        .iter()
        .filter(|r| r.text_of("referenceType") == Some("purl"))
        .filter_map(|r| r.get("referenceLocator"))
        .collect();
    if purls.is_empty() {
        let name = format!("{} {}", text("name"), text("versionInfo"));
        let (kind, because) = match own {
            true => (SkipKind::Own, "it is what the document is about"),
            false => (SkipKind::Elsewhere, "it has no purl"),
        };
        reading.skip(kind, &name, because, Some(package.line));
    }
    let digests: Vec<_> = package
        .get("checksums")
        .map(Node::items)
        .unwrap_or_default()
        .iter()
        .filter_map(|c| named_digest(c.text_of("algorithm")?, c.text_of("checksumValue")?))
        .collect();
    for purl in purls {
        if let Some(listed) = list_purl(purl.text().unwrap_or(""), Some(purl.line), reading) {
            listed.add_file(None, digests.clone());
        }
    }
}

/// Lists what a package URL of an SBOM names.
pub(super) fn list_purl<'r>(
    text: &str,
    line: Option<u32>,
    reading: &'r mut Reading,
) -> Option<&'r mut Listed> {
    let ty = text.strip_prefix("pkg:").and_then(|t| t.trim_start_matches('/').split('/').next());
    let known = ty.map(str::to_ascii_lowercase).and_then(|t| Ecosystem::from_purl_type(&t));
    let purl: Purl = match (known, text.parse()) {
        (Some(_), Ok(purl)) => purl,
        (None, _) if ty.is_some() => {
            let because = format!("packages of type `{}` are not judged", ty.unwrap_or(""));
            reading.skip(SkipKind::Elsewhere, text, because, line);
            return None;
        }
        _ => {
            reading.skip(SkipKind::Unreadable, text, "it is no package URL", line);
            return None;
        }
    };
    let Some(version) = purl.version().filter(|v| !v.is_empty()) else {
        reading.skip(SkipKind::Unpinned, text, "it names no version", line);
        return None;
    };
    if let Some(because) = unusable(purl.ecosystem(), purl.name(), version) {
        reading.skip(SkipKind::Unreadable, text, because, line);
        return None;
    }
    let version = version.to_owned();
    let purl = match purl.ecosystem() {
        Ecosystem::Pypi => {
            let normal = crate::version::normalize_pypi(&version);
            Purl::new(Ecosystem::Pypi, purl.name(), Some(&normal))
        }
        Ecosystem::Debian => return debian(&purl, &version, line, reading),
        ecosystem => Purl::new(ecosystem, purl.name(), Some(&version)),
    };
    reading.push(purl, line)
}

/// Qualifiers of Debian's packages: `upstream=source@version` (syft), `distro=debian-12`.
fn debian<'r>(
    purl: &Purl,
    version: &str,
    line: Option<u32>,
    reading: &'r mut Reading,
) -> Option<&'r mut Listed> {
    let plain = Purl::new(Ecosystem::Debian, purl.name(), Some(version));
    let upstream = purl.qualifier("upstream").unwrap_or(purl.name());
    let (source, source_version) = upstream.split_once('@').unwrap_or((upstream, version));
    let distro = purl.qualifier("distro");
    let listed = reading.push(
        match purl.qualifier("arch") {
            Some(arch) => plain.with_qualifier("arch", arch),
            None => plain,
        },
        line,
    )?;
    listed.source = Some((source.to_owned(), source_version.to_owned()));
    listed.release = distro.map(|d| d.strip_prefix("debian-").unwrap_or(d).to_owned());
    Some(listed)
}
