//! Requirement files and `uv.lock`: what `crate::pypi` reads, as an inventory.

use super::SkipKind;
use super::lines::TableLines;
use super::reading::{Entry, Reading, file_name};
use crate::error::IndexError;
use crate::pypi::{
    LockedDist, RequirementKind, SourceKind, Spec, parse_requirements, parse_uv_lock,
};
use countersign_core::{Ecosystem, ExpectedDigest};

/// Reads a requirements file.
pub(super) fn requirements(text: &str, reading: &mut Reading) {
    for statement in parse_requirements(text) {
        let line = u32::try_from(statement.line).ok();
        match statement.kind {
            RequirementKind::Requirement { spec, hashes, .. } => {
                requirement(spec, hashes, line, reading);
            }
            RequirementKind::Include { path, .. } => reading.include(&path, line),
            RequirementKind::Unreadable(text) => {
                reading.skip(SkipKind::Unreadable, &text, "it is no requirement", line);
            }
            RequirementKind::FindLinks(place) => {
                reading.skip(
                    SkipKind::Elsewhere,
                    &format!("--find-links {place}"),
                    "what lies there is not looked at",
                    line,
                );
            }
            // Options that name no package.
            RequirementKind::IndexUrl(_)
            | RequirementKind::ExtraIndexUrl(_)
            | RequirementKind::TrustedHost(_)
            | RequirementKind::NoIndex
            | RequirementKind::OtherOption(_) => {}
        }
    }
}

fn requirement(spec: Spec, hashes: Vec<ExpectedDigest>, line: Option<u32>, reading: &mut Reading) {
    let elsewhere = |because: &'static str| (SkipKind::Elsewhere, because);
    let (what, (kind, because)) = match spec {
        Spec::Pinned { name, version, .. } => {
            let entry = Entry { ecosystem: Ecosystem::Pypi, name: &name, version: &version, line };
            if let Some(listed) = reading.list(entry) {
                for digest in hashes {
                    listed.add_file(None, vec![digest]);
                }
            }
            return;
        }
        Spec::Named { name, specifier, .. } => {
            let what = format!("{name}{specifier}");
            (what, (SkipKind::Unpinned, "it names no exact version; pin it with `==`"))
        }
        Spec::Url { url, .. } => (url, elsewhere("it is an archive at an address")),
        Spec::Vcs { url, .. } => (url, elsewhere("it is a version control checkout")),
        Spec::LocalPath { path, .. } => (path, elsewhere("it lies on this machine")),
        Spec::Unreadable { text } => (text, (SkipKind::Unreadable, "it is no requirement")),
    };
    reading.skip(kind, &without_credentials(&what), because, line);
}

/// An address without what stands before `@` in its authority.
pub(super) fn without_credentials(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end).unwrap_or((rest, ""));
    match authority.rsplit_once('@') {
        Some((user, host)) if user != "git" => format!("{scheme}://{host}{path}"),
        _ => text.to_owned(),
    }
}

/// Reads a `uv.lock`.
pub(super) fn uv_lock(text: &str, reading: &mut Reading) -> Result<(), IndexError> {
    let lines = TableLines::new(text, &["[[package]]"]);
    for (index, dist) in parse_uv_lock(text)?.into_iter().enumerate() {
        let line = lines.of(index, &dist.name);
        let (kind, because) = match dist.source {
            SourceKind::Registry => {
                uv_dist(&dist, line, reading);
                continue;
            }
            SourceKind::Editable | SourceKind::Virtual => {
                (SkipKind::Own, "it is a part of this project")
            }
            SourceKind::Path => (SkipKind::Elsewhere, "it lies on this machine"),
            SourceKind::Git => (SkipKind::Elsewhere, "it is a git checkout"),
            SourceKind::Url => (SkipKind::Elsewhere, "it is an archive at an address"),
            SourceKind::Unknown => (SkipKind::Unreadable, "its source is of an unknown kind"),
        };
        let version = dist.version.as_deref().unwrap_or("");
        reading.skip(kind, &format!("{} {version}", dist.name), because, line);
    }
    Ok(())
}

fn uv_dist(dist: &LockedDist, line: Option<u32>, reading: &mut Reading) {
    let version = dist.version.as_deref().unwrap_or("");
    let entry = Entry { ecosystem: Ecosystem::Pypi, name: &dist.name, version, line };
    let Some(listed) = reading.list(entry) else { return };
    listed.from.clone_from(&dist.registry);
    for file in &dist.files {
        listed.add_file(file_name(&file.url), file.digest.clone().into_iter().collect());
    }
}
