//! Packages: which verified list names a path.

use super::index::Named;
use super::path::{PACKED, RepositoryPath, is_package_name, unpacked};
use super::suite::{Kept, Slot, Want};
use super::{At, blocking};
use crate::debian::ListedDeb;
use crate::debian::table::Table;
use crate::debian::tables::{Kind, List};
use crate::http_client::Failure;
use countersign_core::{ReasonCode, Sha256Digest};
use countersign_ecosystem::debian::{PackageRecord, Release, deb_file_name};
use std::fs::File;
use std::sync::Arc;

/// Lists of one suite that are fetched for one package whose name does not tell where to look.
const MAX_FETCHED: usize = 24;

/// A list of a suite, by its name without the suffix of its packing.
struct Candidate {
    kind: Kind,
    plain: String,
    /// Whether the package's name or path says that it would be there.
    likely: bool,
}

impl At {
    /// A package by its path, from the lists of the suites that are kept. What no list names is
    /// looked for once more after the suites were asked for anew.
    ///
    /// # Errors
    /// When no verified list names it, or a list that could is not to be had.
    pub(super) async fn find(&self, path: &RepositoryPath) -> Result<ListedDeb, Failure> {
        let slots = self.kept_slots();
        let before: Vec<_> = slots.iter().map(|s| s.state()).collect();
        match self.find_among(&slots, Want::Usable, path).await {
            Ok(None) => {}
            other => return other.and_then(|found| found.ok_or_else(|| self.unlisted(path))),
        }
        let checks = slots.iter().map(|s| self.current(s, Want::Checked));
        futures_util::future::join_all(checks).await;
        let changed = slots.iter().zip(before).filter(|(slot, was)| slot.state() != *was);
        let changed: Vec<_> = changed.map(|(slot, _)| slot.clone()).collect();
        match self.find_among(&changed, Want::Usable, path).await? {
            Some(found) => Ok(found),
            // "Not listed" is only said when all who could list it were asked.
            None => {
                Err(slots.iter().find_map(|s| s.failure()).unwrap_or_else(|| self.unlisted(path)))
            }
        }
    }

    /// A package by its path in the lists of these suites.
    async fn find_among(
        &self,
        slots: &[Arc<Slot>],
        want: Want,
        path: &RepositoryPath,
    ) -> Result<Option<ListedDeb>, Failure> {
        let mut problem = None;
        for slot in slots {
            let current = match self.current(slot, want).await {
                Ok(kept) => kept,
                Err(failure) => {
                    problem = Some(failure);
                    continue;
                }
            };
            for kept in [Some(current), self.previous(slot)].into_iter().flatten() {
                match self.find_in(slot, &kept, path).await {
                    Ok(Some(record)) => {
                        return Ok(Some(ListedDeb {
                            record,
                            evidence: kept.evidence.clone(),
                            codename: kept.release.codename.clone(),
                            dated: None,
                        }));
                    }
                    Ok(None) => {}
                    Err(failure) => problem = Some(failure),
                }
            }
        }
        problem.map_or(Ok(None), Err)
    }

    fn unlisted(&self, path: &RepositoryPath) -> Failure {
        let why = if self.kept_slots().is_empty() {
            "the gate keeps no suite of this repository yet; run apt-get update through it"
        } else {
            "it is in no signed list of this repository's suites; run apt-get update"
        };
        Failure::new(ReasonCode::NotInIndex, format!("`{}`: {why}", path.as_str()))
    }

    async fn find_in(
        &self,
        slot: &Arc<Slot>,
        kept: &Arc<Kept>,
        path: &RepositoryPath,
    ) -> Result<Option<PackageRecord>, Failure> {
        let (mut fetched, mut problem) = (0, None);
        let candidates = candidates(&kept.release, path);
        // Lists that are there cost two small reads; the others are fetched, the likely ones.
        for fetch in [false, true] {
            for candidate in candidates.iter().filter(|c| !fetch || c.likely) {
                let named = if fetch {
                    fetched += 1;
                    if fetched > MAX_FETCHED {
                        break;
                    }
                    self.list(slot, kept, candidate).await
                } else {
                    Ok(self.kept_list(kept, candidate).await?)
                };
                let looked = match named {
                    Ok(Some(named)) => self.look(slot, kept, candidate, &named, path).await,
                    Ok(None) => continue,
                    Err(failure) => Err(failure),
                };
                match looked {
                    Ok(Some(record)) => return Ok(Some(record)),
                    Ok(None) => {}
                    Err(failure) => problem = Some(failure),
                }
            }
        }
        problem.map_or(Ok(None), Err)
    }

    /// The forms of a list that a Release names, the ones that are quick to unpack last.
    fn forms(kept: &Kept, candidate: &Candidate) -> Vec<Named> {
        let name = |suffix: &&str| Named::of(kept, &format!("{}{suffix}", candidate.plain));
        PACKED.iter().filter(|s| !s.is_empty()).chain(&[""]).filter_map(name).collect()
    }

    /// The form of a list that is there already: its table, or its file.
    async fn kept_list(
        &self,
        kept: &Kept,
        candidate: &Candidate,
    ) -> Result<Option<Named>, Failure> {
        let forms = Self::forms(kept, candidate);
        let Some(last) = forms.last() else { return Ok(None) };
        if self.known(&key(kept, candidate, last)).await? {
            return Ok(Some(last.clone()));
        }
        for form in &forms {
            if self.has(form).await? {
                return Ok(Some(form.clone()));
            }
        }
        Ok(None)
    }

    async fn known(&self, key: &Sha256Digest) -> Result<bool, Failure> {
        let (engine, key) = (self.engine.clone(), *key);
        blocking(move || Ok(engine.inner.debian_lists.tables.known(&key).is_some())).await
    }

    /// A form of a list that can be had: fetched, the first that the upstream has.
    async fn list(
        &self,
        slot: &Slot,
        kept: &Kept,
        candidate: &Candidate,
    ) -> Result<Option<Named>, Failure> {
        let mut problem = None;
        for form in Self::forms(kept, candidate) {
            match self.file(slot, kept, &form).await {
                Ok(_) => return Ok(Some(form)),
                // Release files name forms that nobody keeps, such as the unpacked one.
                Err(failure) if failure.says_absent() => {}
                Err(failure) => problem = Some(failure),
            }
        }
        problem.map_or(Ok(None), Err)
    }

    /// Looks a path up in a list, whose table is made if there is none.
    async fn look(
        &self,
        slot: &Slot,
        kept: &Kept,
        candidate: &Candidate,
        named: &Named,
        path: &RepositoryPath,
    ) -> Result<Option<PackageRecord>, Failure> {
        let key = key(kept, candidate, named);
        // Before the table's own thread begins, so that no thread waits for the network.
        if !self.known(&key).await? {
            self.file(slot, kept, named).await?;
        }
        let plain = kept.release.sha256.get(&candidate.plain).map(|(digest, _)| *digest);
        let (at, kind, named, path) =
            (self.clone(), candidate.kind, named.clone(), path.as_str().to_owned());
        blocking(move || {
            at.table(kind, &key, plain, &named)?.by_path(&path).map_err(|e| {
                Failure::new(ReasonCode::Internal, format!("the table of `{}`: {e}", named.name))
            })
        })
        .await
    }

    /// The table of a list whose file is kept. Reads and writes files.
    fn table(
        &self,
        kind: Kind,
        key: &Sha256Digest,
        plain: Option<Sha256Digest>,
        named: &Named,
    ) -> Result<Arc<Table>, Failure> {
        let list = List { kind, name: &named.name, plain, remedy: "" };
        let tables = &self.engine.inner.debian_lists.tables;
        tables.known_or_made(key, &list, || {
            File::open(self.mirror.disk.path(&named.digest)).map_err(|e| {
                Failure::new(ReasonCode::Internal, format!("the list `{}`: {e}", named.name))
            })
        })
    }

    /// Makes the table of a list of packages that was just fetched, while the client reads the list:
    /// the first package that it asks for then need not wait.
    pub(super) fn prepare(
        &self,
        kept: &Kept,
        named: &Named,
    ) -> Option<impl FnOnce() + Send + 'static> {
        let plain_name = unpacked(&named.name);
        (plain_name.rsplit('/').next() == Some("Packages")).then(|| {
            let plain = kept.release.sha256.get(plain_name).map(|(digest, _)| *digest);
            let (at, named) = (self.clone(), named.clone());
            move || {
                let key = plain.unwrap_or(named.digest);
                // Whoever needs it makes it again, and is told what is wrong.
                if let Err(failure) = at.table(Kind::Packages, &key, plain, &named) {
                    tracing::warn!(
                        list = named.name,
                        error = failure.detail,
                        "a list cannot be read"
                    );
                }
            }
        })
    }
}

/// The digest that a list's table is kept under: that of the unpacked list where a Release names
/// it, so that all forms of a list share one table.
fn key(kept: &Kept, candidate: &Candidate, named: &Named) -> Sha256Digest {
    kept.release.sha256.get(&candidate.plain).map_or(named.digest, |(digest, _)| *digest)
}

/// The lists of a Release in which a path may be.
fn candidates(release: &Release, path: &RepositoryPath) -> Vec<Candidate> {
    let is_binary = is_package_name(path.file_name());
    let (kind, wanted) =
        if is_binary { (Kind::Packages, "Packages") } else { (Kind::Sources, "Sources") };
    let mut names: Vec<&str> = release.sha256.keys().map(|n| unpacked(n)).collect();
    names.sort_unstable();
    names.dedup();
    names.retain(|n| n.rsplit('/').next() == Some(wanted));
    let architecture = deb_file_name(path.file_name()).map(|(_, _, architecture)| architecture);
    let component = component_of(path.as_str(), release);
    let installer = path.file_name().ends_with(".udeb");
    let has_all = names.iter().any(|n| n.contains("/binary-all/"));
    // Packages for all architectures are in the list of each; where they have none of their own, one
    // of the others will do.
    let instead = names.iter().find_map(|n| architecture_of(n)).map(str::to_owned);
    let likely = |name: &str| {
        let fits = match (architecture.as_deref(), architecture_of(name)) {
            (_, None) | (None, _) => true,
            (Some("all"), Some(own)) => {
                if has_all {
                    own == "all"
                } else {
                    Some(own) == instead.as_deref()
                }
            }
            (Some(wanted), Some(own)) => own == wanted,
        };
        let here = component.is_none_or(|c| name.starts_with(&format!("{c}/")));
        fits && here && name.contains("debian-installer/") == installer
    };
    let candidate = |name: &str| Candidate { kind, plain: name.to_owned(), likely: likely(name) };
    names.into_iter().map(candidate).collect()
}

/// The architecture that a list is of, by the folder it lies in (`main/binary-amd64/Packages`).
fn architecture_of(name: &str) -> Option<&str> {
    let folder = name.rsplit('/').nth(1)?;
    folder.strip_prefix("binary-")
}

/// The component that a path of a pool names (`pool/main/h/…`, `pool/updates/main/h/…`).
fn component_of<'r>(path: &str, release: &'r Release) -> Option<&'r str> {
    let within = path.strip_prefix("pool/")?;
    let named = |c: &&String| {
        let own = c.as_str();
        within.strip_prefix("updates/").unwrap_or(within).split('/').next() == Some(own)
    };
    release.components.iter().find(named).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_ecosystem::debian::parse_release;

    fn likely(path: &str, names: &[&str]) -> Vec<String> {
        let digest = "0".repeat(64);
        let lines: String = names.iter().map(|n| format!(" {digest} 1 {n}\n")).collect();
        let text = format!("Components: main contrib\nSHA256:\n{lines}");
        let release = parse_release(&text).unwrap();
        let path = RepositoryPath::parse(path).unwrap();
        let all = candidates(&release, &path);
        all.into_iter().filter(|c| c.likely).map(|c| c.plain).collect()
    }

    #[test]
    fn a_name_tells_where_to_look() {
        let debian = [
            "main/binary-amd64/Packages",
            "main/binary-amd64/Packages.xz",
            "main/binary-arm64/Packages.xz",
            "main/binary-all/Packages.xz",
            "contrib/binary-amd64/Packages.xz",
            "main/debian-installer/binary-amd64/Packages.xz",
            "main/source/Sources.xz",
            "contrib/source/Sources.gz",
            "main/i18n/Translation-en.xz",
        ];
        let without_all: Vec<&str> =
            debian.into_iter().filter(|n| !n.contains("binary-all")).collect();
        for (path, names, want) in [
            (
                "pool/main/h/hello/hello_2.10-3_amd64.deb",
                &debian[..],
                vec!["main/binary-amd64/Packages"],
            ),
            ("pool/main/h/hello/hello_1_arm64.deb", &debian, vec!["main/binary-arm64/Packages"]),
            ("pool/main/h/hello/hello_1_all.deb", &debian, vec!["main/binary-all/Packages"]),
            ("pool/main/h/hello/hello_1_all.deb", &without_all, vec!["main/binary-amd64/Packages"]),
            (
                "pool/main/h/hello/hello_1_amd64.udeb",
                &debian,
                vec!["main/debian-installer/binary-amd64/Packages"],
            ),
            ("pool/updates/main/h/hello_1.dsc", &debian, vec!["main/source/Sources"]),
            ("other/hello_1.dsc", &debian, vec!["contrib/source/Sources", "main/source/Sources"]),
            ("flat_1_amd64.deb", &["Packages.gz", "Sources.gz"], vec!["Packages"]),
            ("chrome.deb", &["Packages.gz"], vec!["Packages"]),
        ] {
            assert_eq!(likely(path, names), want, "{path}");
        }
    }
}
