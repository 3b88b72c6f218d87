//! What is known of the packages that an artifact declares to need, without fetching and without
//! resolving: by the feeds, and by indexes that were loaded anyway.
//!
//! A dependency that is malicious in every version that will do is a finding of kind *malicious*, as if
//! the artifact were. All else is a notice: what a resolver chooses passes the gate by itself.

use crate::engine::Engine;
use crate::facts::FeedPackage;
use crate::grounds::Grounds;
use crate::http_client::Failure;
use crate::index::{FileRef, PackageIndex};
use countersign_core::{Age, Dependency, Ecosystem, Finding, FindingKind, Severity, Timestamp};
use std::cell::Cell;
use std::sync::Arc;

/// Findings about dependencies have ids that begin so.
pub(crate) const PREFIX: &str = "dependency.";
/// A package that is younger than this is said to be new, in hours.
const NEW_HOURS: i64 = 24;

impl Engine {
    /// What is known of the dependencies of a file.
    pub(crate) fn dependency_findings(
        &self,
        file: &Arc<FileRef>,
        dependencies: &[Dependency],
    ) -> Result<Vec<Finding>, Failure> {
        let ecosystem = file.purl().ecosystem();
        let mut out = by_feeds(&self.grounds(), ecosystem, dependencies)?;
        for dependency in dependencies.iter().filter(|d| !d.optional) {
            if let Some(index) = self.known_index(file, &dependency.name) {
                out.extend(by_index(ecosystem, dependency, &index, self.now()));
            }
        }
        Ok(out)
    }

    /// The index of a package of the same upstream, where this run or this gateway has loaded it.
    fn known_index(&self, file: &Arc<FileRef>, name: &str) -> Option<Arc<PackageIndex>> {
        let upstream = match file.purl().ecosystem() {
            Ecosystem::Npm => self.npm_upstream_for(name)?,
            _ => file.upstream.clone(),
        };
        let key = format!("{} {name}", upstream.base);
        match &self.inner.shelf {
            Some(shelf) => shelf.get(&key)?.index.ok(),
            None => self.inner.packages.lock().get(&key)?.get().cloned(),
        }
    }
}

/// What the feeds say.
pub(crate) fn by_feeds(
    grounds: &Grounds,
    ecosystem: Ecosystem,
    dependencies: &[Dependency],
) -> Result<Vec<Finding>, Failure> {
    let mut out = Vec::new();
    for dependency in dependencies {
        let feed = grounds.feed_package(ecosystem, &dependency.name, None)?;
        let about = match (&feed, &dependency.exact) {
            (FeedPackage::NotAsked(_), _) => continue,
            (FeedPackage::Known { .. }, Some(version)) => feed.of_version(version).0,
            (FeedPackage::Known { package, .. }, None) => package.findings_for_all(),
        };
        out.extend(about.iter().map(|f| finding(ecosystem, dependency, f)));
    }
    Ok(out)
}

/// A finding of the artifact, of one of its dependency.
fn finding(ecosystem: Ecosystem, dependency: &Dependency, about: &Finding) -> Finding {
    let label = label(dependency);
    let (id, kind, what) = match about.kind {
        FindingKind::Malicious => ("malicious", FindingKind::Malicious, "is listed as malicious"),
        FindingKind::Notice => ("notice", FindingKind::Notice, "has a notice"),
        _ => ("vulnerable", FindingKind::Notice, "has a known vulnerability"),
    };
    // What it does without does not make the artifact malicious.
    let (kind, needs) = match dependency.optional {
        true => (FindingKind::Notice, "may need"),
        false => (kind, "needs"),
    };
    let title = format!("it {needs} {label}, which {what}: {} ({})", about.id, about.title);
    Finding {
        id: format!("{PREFIX}{id}"),
        aliases: vec![format!("{ecosystem}/{}", dependency.name), about.id.clone()],
        kind,
        severity: about.severity,
        title: title.chars().take(300).collect(),
        fixed_in: about.fixed_in.clone(),
        path: None,
        observed: None,
        exploitation: about.exploitation.clone(),
        vex: Vec::new(),
    }
}

fn label(dependency: &Dependency) -> String {
    let clean = |text: &str| text.chars().filter(|c| !c.is_control()).collect::<String>();
    match &dependency.exact {
        Some(version) => format!("`{}` {}", clean(&dependency.name), clean(version)),
        None => format!("`{}`", clean(&dependency.name)),
    }
}

/// What an index says: that the package is new, or that the one version that will do is, or was
/// withdrawn.
fn by_index(
    ecosystem: Ecosystem,
    dependency: &Dependency,
    index: &PackageIndex,
    now: Timestamp,
) -> Vec<Finding> {
    // The oldest file that counts, whether one has no time, and whether all are withdrawn.
    let (oldest, timeless) = (Cell::new(None::<Timestamp>), Cell::new(false));
    let (seen, offered) = (Cell::new(false), Cell::new(false));
    index.files.find(|file| {
        let version = file.facts.purl.version().unwrap_or("");
        let counts = dependency
            .exact
            .as_ref()
            .is_none_or(|v| countersign_ecosystem::version::same(ecosystem, v, version));
        if counts {
            seen.set(true);
            offered.set(offered.get() || !file.facts.yanked);
            match file.facts.age {
                Age::Known { published } => {
                    oldest.set(Some(oldest.get().map_or(published, |o| o.min(published))));
                }
                Age::Unknown => timeless.set(true),
            }
        }
        false
    });
    let note = |id: &str, severity: Severity, title: String| Finding {
        id: format!("{PREFIX}{id}"),
        aliases: vec![format!("{ecosystem}/{}", dependency.name)],
        kind: FindingKind::Notice,
        severity,
        title,
        fixed_in: None,
        path: None,
        observed: None,
        exploitation: None,
        vex: Vec::new(),
    };
    let label = label(dependency);
    let mut out = Vec::new();
    if seen.get() && !offered.get() {
        let title = format!("it needs {label}, which its publisher withdrew");
        out.push(note("yanked", Severity::Low, title));
    }
    let age = oldest.get().filter(|_| !timeless.get()).map(|o| now.hours_since(o).max(0));
    if let Some(hours) = age.filter(|h| *h < NEW_HOURS) {
        let title = format!("it needs {label}, which was first published {hours} hours ago");
        out.push(note("new", Severity::Moderate, title));
    }
    out
}
