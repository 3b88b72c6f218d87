//! Debian: the signed lists that apt already has lead from a key to a deb's digest.
//!
//! InRelease, by the keyring that the source names, gives the digest of each Packages file; that
//! file gives the digest of each deb. Indexes themselves pass through byte for byte, because apt
//! checks them itself and would refuse a changed one.
//!
//! A long-lived gateway has no apt beside it and keeps the lists itself: see
//! [`crate::serving`].

pub(crate) mod table;
pub(crate) mod tables;

use crate::engine::Engine;
use crate::http_client::Failure;
use crate::index::FileRef;
use crate::request::{Answer, ClientRequest};
use crate::upstream::Upstream;
use countersign_core::{
    AdvisedAs, Age, Algorithm, Ecosystem, Evidence, EvidenceState, ExpectedDigest, Purl,
    ReasonCode, Sha256Digest, Timestamp,
};
use countersign_ecosystem::debian::{self, PackageRecord, Release};
use countersign_evidence::EvidenceError;
use countersign_evidence::openpgp::{self, VerifiedRelease};
use countersign_store::Newest;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use table::Table;
use tables::{FileState, Kind, List, Tables};

/// One Packages file as apt keeps it, with the Release file that vouches for it.
#[derive(Debug, Clone)]
pub struct ListFile {
    /// The repository's root address.
    pub repository: String,
    /// The file's path below the Release file, as the Release file lists it.
    pub meta_key: String,
    /// Where apt keeps it, possibly compressed.
    pub packages: PathBuf,
    /// Where apt keeps the InRelease file.
    pub in_release: PathBuf,
    /// Where apt keeps the Release file, if the repository has no InRelease.
    pub release: PathBuf,
    /// The keyring that the source names: a path, several, or the key itself.
    pub signed_by: Option<String>,
    /// The release's code name.
    pub codename: Option<String>,
}

/// The keyrings that apt trusts where a source names none (apt-key(8), "files").
const DEFAULT_KEYRINGS: [&str; 2] = ["/etc/apt/trusted.gpg", "/etc/apt/trusted.gpg.d"];

/// A deb as a verified list describes it.
#[derive(Debug, Clone)]
pub(crate) struct ListedDeb {
    pub(crate) record: PackageRecord,
    pub(crate) evidence: Evidence,
    pub(crate) codename: Option<String>,
    /// The Release file's own date, and the suite that it is for.
    pub(crate) dated: Option<(String, Timestamp)>,
}

impl Engine {
    /// Answers a request under a Debian repository's root.
    pub(crate) async fn answer_debian(
        &self,
        upstream: Arc<Upstream>,
        rest: &str,
        request: &ClientRequest,
    ) -> Answer {
        let path = crate::answer::percent_decode(rest);
        if !is_package(&path) {
            return self.pass_debian_index(request).await;
        }
        match self.debian_file(&upstream, &path).await {
            Ok(mut file) => {
                file.url = request.url.clone();
                self.answer_file(Arc::new(file), request).await
            }
            Err(failure) => self.index_failure(&request.url, failure),
        }
    }

    async fn pass_debian_index(&self, request: &ClientRequest) -> Answer {
        match self.pass_on(request, bytes::Bytes::new()).await {
            Ok(passed) => Answer::Stream(passed),
            Err(failure) if failure.reason == ReasonCode::ClosedDoor => {
                self.closed(&request.url, "is an archive where metadata was expected")
            }
            Err(failure) => self.index_failure(&request.url, failure),
        }
    }

    /// A deb by its path below the repository's root, from the verified lists.
    pub(crate) async fn debian_file(
        &self,
        upstream: &Arc<Upstream>,
        path: &str,
    ) -> Result<FileRef, Failure> {
        let lists = self.lists_of(upstream);
        let (path, now, engine) =
            (path.trim_start_matches("./").to_owned(), self.now(), self.clone());
        let look = move || {
            let wanted = |list: &VerifiedList| list.table.by_path(&path);
            find_listed(&engine.inner.debian_lists, &lists, now, &path, &wanted)
        };
        let listed = tokio::task::spawn_blocking(look).await.map_err(|_| {
            Failure::new(ReasonCode::Internal, "the signed lists could not be read")
        })??;
        self.refuse_older_lists(&listed).await?;
        self.debian_ref(upstream, listed)
    }

    fn lists_of(&self, upstream: &Upstream) -> Vec<ListFile> {
        let ours = |l: &&ListFile| {
            Upstream::new(Ecosystem::Debian, &l.repository).is_some_and(|u| u.base == upstream.base)
        };
        self.inner.debian.iter().filter(ours).cloned().collect()
    }

    /// A Release file older than the newest that was seen for its suite is a replay.
    async fn refuse_older_lists(&self, listed: &ListedDeb) -> Result<(), Failure> {
        let Some((suite, date)) = &listed.dated else { return Ok(()) };
        let key = format!("debian-release {suite}");
        let seen = self
            .inner
            .store
            .bump_newest(&key, *date)
            .await
            .map_err(crate::pipeline::store_failure)?;
        if let Newest::Older { newest } = seen {
            return Err(Failure::new(
                ReasonCode::IndexUntrusted,
                format!(
                    "the Release file of {suite} is of {date}, and one of {newest} was seen before; run apt-get update"
                ),
            ));
        }
        Ok(())
    }

    /// What is known of a listed package before its bytes are.
    pub(crate) fn debian_ref(
        &self,
        upstream: &Arc<Upstream>,
        listed: ListedDeb,
    ) -> Result<FileRef, Failure> {
        let r = &listed.record;
        let purl = Purl::new(Ecosystem::Debian, &r.package, Some(&r.version))
            .with_qualifier("arch", &r.architecture);
        let feed = self.feed_package(Ecosystem::Debian, &r.source, listed.codename.as_deref())?;
        // Advisories are about source packages and their versions.
        let source = Purl::new(Ecosystem::Debian, &r.source, Some(&r.source_version));
        let mut facts = self.version_facts(source, upstream, Age::Unknown, false, &feed);
        let lists = self.grounds().lists.clone();
        facts.reservation = lists.reservation(&purl, upstream);
        facts.denied = lists.denies(&purl);
        facts.allowed = lists.allows(&purl);
        facts.purl = purl;
        facts.advised_as = Some(AdvisedAs {
            name: r.source.clone(),
            version: r.source_version.clone(),
            release: listed.codename.clone(),
        });
        let expected = r
            .sha256
            .and_then(|d| ExpectedDigest::from_bytes(Algorithm::Sha256, d.0.to_vec()))
            .into_iter()
            .collect();
        let file_name = r.filename.rsplit('/').next().unwrap_or(&r.filename).to_owned();
        Ok(FileRef {
            facts,
            url: upstream.base.join(&r.filename).unwrap_or_else(|_| upstream.base.clone()),
            file_name,
            expected,
            size: Some(r.size),
            attestations: None,
            signatures: Vec::new(),
            evidence: vec![listed.evidence],
            upstream: upstream.clone(),
            next_admissible: None,
        })
    }

    /// A deb of this machine by its digest, from the verified lists of any repository.
    pub(crate) async fn debian_file_by_digest(
        &self,
        file_name: &str,
        sha256: Sha256Digest,
    ) -> Option<FileRef> {
        for upstream in self.upstreams_of(Ecosystem::Debian) {
            let lists = self.lists_of(&upstream);
            let (name, now, engine) = (file_name.to_owned(), self.now(), self.clone());
            let look = move || {
                let wanted = |list: &VerifiedList| list.table.by_digest(&sha256);
                find_listed(&engine.inner.debian_lists, &lists, now, &name, &wanted)
            };
            if let Ok(Ok(listed)) = tokio::task::spawn_blocking(look).await {
                return self.debian_ref(&upstream, listed).ok();
            }
        }
        None
    }
}

fn is_package(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    if [".deb", ".udeb", ".ddeb"].iter().any(|e| lower.ends_with(e)) {
        return true;
    }
    // Whatever lies outside `dists/` and is no well-known index is taken for a package: unknown
    // things are looked up in the lists and closed, not passed on.
    let name = lower.rsplit('/').next().unwrap_or("");
    let stem = [".gz", ".xz", ".bz2", ".lzma", ".zst", ".lz4"]
        .iter()
        .find_map(|e| name.strip_suffix(e))
        .unwrap_or(name);
    let known = matches!(stem, "inrelease" | "release" | "release.gpg" | "packages" | "sources")
        || stem.starts_with("translation-")
        || stem.starts_with("contents-");
    !(lower.contains("dists/") || known)
}

/// A Packages file whose chain up to a trusted key was verified.
struct VerifiedList {
    table: Arc<Table>,
    evidence: Evidence,
    codename: Option<String>,
    /// The suite and the date of its Release file.
    dated: Option<(String, Timestamp)>,
}

/// The lists that apt keeps on this machine, read and verified once for each state of their files.
pub(crate) struct Lists {
    pub(crate) tables: Tables,
    kept: Mutex<HashMap<PathBuf, (FileState, Arc<VerifiedList>)>>,
}

impl Lists {
    /// Lists whose tables are kept in a state folder.
    pub(crate) fn new(state: &Path) -> Self {
        Self { tables: Tables::new(state), kept: Mutex::default() }
    }
}

impl VerifiedList {
    fn listed(&self, record: PackageRecord) -> ListedDeb {
        ListedDeb {
            record,
            evidence: self.evidence.clone(),
            codename: self.codename.clone(),
            dated: self.dated.clone(),
        }
    }
}

const UPDATE: &str = "; run apt-get update";

/// Finds a deb in the lists: the first list that has it and can be verified.
fn find_listed(
    kept: &Lists,
    lists: &[ListFile],
    now: Timestamp,
    what: &str,
    wanted: &dyn Fn(&VerifiedList) -> io::Result<Option<PackageRecord>>,
) -> Result<ListedDeb, Failure> {
    let mut problem = None;
    for list in lists {
        let loaded = match load(kept, list, now) {
            Ok(None) => continue,
            Ok(Some(loaded)) => loaded,
            Err(failure) => {
                problem = Some(failure);
                continue;
            }
        };
        match wanted(&loaded) {
            Ok(Some(record)) => return Ok(loaded.listed(record)),
            Ok(None) => {}
            Err(e) => problem = Some(unreadable(&list.packages, &e)),
        }
    }
    Err(problem.unwrap_or_else(|| {
        Failure::new(
            ReasonCode::NotInIndex,
            format!(
                "`{what}` is in no signed list that apt has; run apt-get update through the gate"
            ),
        )
    }))
}

/// A list, read and verified once for each state of its file.
fn load(
    lists: &Lists,
    list: &ListFile,
    now: Timestamp,
) -> Result<Option<Arc<VerifiedList>>, Failure> {
    let state = match std::fs::metadata(&list.packages) {
        Ok(meta) => FileState::of(&meta),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(unreadable(&list.packages, &e)),
    };
    // Held while the list is read: whoever else wants it waits for this one reading.
    let mut kept = lists.kept.lock();
    if let Some((old, loaded)) = kept.get(&list.packages)
        && *old == state
    {
        return Ok(Some(loaded.clone()));
    }
    let loaded = Arc::new(read_list(&lists.tables, list, state, now)?);
    kept.insert(list.packages.clone(), (state, loaded.clone()));
    Ok(Some(loaded))
}

fn read_list(
    tables: &Tables,
    list: &ListFile,
    state: FileState,
    now: Timestamp,
) -> Result<VerifiedList, Failure> {
    let (release, evidence) = verified_release(list, now)?;
    let name = list.packages.to_string_lossy();
    let plain = list.meta_key.trim_end_matches(".gz").trim_end_matches(".xz");
    let Some((named, _)) = release.sha256.get(plain) else {
        if release.weak_only {
            let because = "the signed Release file of its suite has only MD5 or SHA-1 digests";
            return Err(Failure::new(ReasonCode::DigestWeak, format!("`{name}`: {because}")));
        }
        return Err(Failure::new(
            ReasonCode::IndexUntrusted,
            format!("`{name}` is not in the signed Release file of its suite{UPDATE}"),
        ));
    };
    let seen = tables.seen(&list.packages, &state).is_some_and(|digest| digest == *named);
    let table = match seen.then(|| tables.known(named)).flatten() {
        Some(table) => table,
        None => {
            let file = File::open(&list.packages).map_err(|e| unreadable(&list.packages, &e))?;
            let what =
                List { kind: Kind::Packages, name: &name, plain: Some(*named), remedy: UPDATE };
            let table = tables.make(named, &what, file)?;
            tables.note_seen(&list.packages, &state, named);
            table
        }
    };
    let suite = release.suite.clone().or_else(|| release.codename.clone()).unwrap_or_default();
    let dated = release.date.map(|d| (format!("{} {suite}", list.repository), d));
    let codename = release.codename.clone().or_else(|| list.codename.clone());
    Ok(VerifiedList { table, evidence, codename, dated })
}

fn unreadable(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::new(
        ReasonCode::IndexMalformed,
        format!("`{}` cannot be read: {error}{UPDATE}", path.display()),
    )
}

/// The Release file of a list, verified by the keyring that its source names.
fn verified_release(list: &ListFile, now: Timestamp) -> Result<(Release, Evidence), Failure> {
    let untrusted = |because: String| {
        Failure::new(
            ReasonCode::IndexUntrusted,
            format!("`{}`: {because}", list.in_release.display()),
        )
    };
    let keyring = read_keyring(list.signed_by.as_deref())
        .map_err(|e| untrusted(format!("its keyring cannot be read: {e}")))?;
    let verified = match std::fs::read(&list.in_release) {
        Ok(bytes) => openpgp::verify_inrelease(&bytes, &keyring, now)
            .map_err(|e| unverified(&e, &list.in_release.display().to_string()))?,
        Err(_) => {
            let release = std::fs::read(&list.release).map_err(|e| untrusted(e.to_string()))?;
            let mut signature = list.release.clone().into_os_string();
            signature.push(".gpg");
            let signature = std::fs::read(&signature)
                .map_err(|e| untrusted(format!("it is not signed: {e}")))?;
            openpgp::verify_detached(&release, &signature, &keyring, now)
                .map_err(|e| unverified(&e, &list.release.display().to_string()))?
        }
    };
    let (release, evidence) = read_release(&verified, "apt's signed lists").map_err(untrusted)?;
    if let Some(end) = release.valid_until.filter(|end| *end < now) {
        return Err(untrusted(format!("it was valid until {end}{UPDATE}")));
    }
    Ok((release, evidence))
}

/// Why a Release file does not count, with a reason of its own where its signatures are too weak.
pub(crate) fn unverified(error: &EvidenceError, release: &str) -> Failure {
    let reason = match error {
        EvidenceError::Weak { .. } => ReasonCode::AlgorithmWeak,
        _ => ReasonCode::IndexUntrusted,
    };
    Failure::new(reason, format!("`{release}`: {error}"))
}

/// What a verified Release file says, and the evidence that it is for whatever it names.
///
/// # Errors
/// When its text is no Release file.
pub(crate) fn read_release(
    verified: &VerifiedRelease,
    source: &str,
) -> Result<(Release, Evidence), String> {
    let text = String::from_utf8_lossy(&verified.get().cleartext).into_owned();
    let release = debian::parse_release(&text).map_err(|e| e.to_string())?;
    let mut claim = verified.claim();
    claim.issuer = release.origin.clone();
    let evidence = Evidence {
        kind: "debian-release".to_owned(),
        source: source.to_owned(),
        state: EvidenceState::Verified { claim: Box::new(claim) },
    };
    Ok((release, evidence))
}

/// The certificates that a source trusts: `Signed-By`, or apt's general keyrings.
fn read_keyring(signed_by: Option<&str>) -> io::Result<Vec<u8>> {
    match signed_by.map(named_keyring).transpose()?.flatten() {
        Some(keyring) => Ok(keyring),
        // Fingerprints select among the general keyrings; apt has checked the selection itself.
        None => read_default_keyrings(),
    }
}

/// The keyring that a text holds or names by its paths; `None` when it does neither.
///
/// # Errors
/// When a file that it names cannot be read.
pub(crate) fn named_keyring(text: &str) -> io::Result<Option<Vec<u8>>> {
    if text.contains("BEGIN PGP PUBLIC KEY BLOCK") {
        // In a deb822 field an empty line is written as a single dot.
        let lines: Vec<&str> =
            text.lines().map(|l| if l.trim() == "." { "" } else { l.trim() }).collect();
        return Ok(Some(lines.join("\n").into_bytes()));
    }
    if Path::new(text.trim()).is_file() {
        return std::fs::read(text.trim()).map(Some);
    }
    let mut out = Vec::new();
    for path in text.split([',', ' ']).filter(|p| p.starts_with('/')) {
        let named = |e: io::Error| io::Error::new(e.kind(), format!("`{path}`: {e}"));
        out.extend(std::fs::read(path).map_err(named)?);
        // A binary keyring ends without a line end, and the next may be in ASCII armour.
        out.push(b'\n');
    }
    Ok(Some(out).filter(|o| !o.is_empty()))
}

/// The files of apt's general keyrings.
#[must_use]
pub fn default_keyrings() -> Vec<PathBuf> {
    keyring_files().unwrap_or_default()
}

fn keyring_files() -> io::Result<Vec<PathBuf>> {
    let mut files = BTreeMap::new();
    for place in DEFAULT_KEYRINGS.map(Path::new) {
        if place.is_file() {
            files.insert(place.to_path_buf(), ());
        } else if place.is_dir() {
            for entry in std::fs::read_dir(place)? {
                let path = entry?.path();
                if path.extension().is_some_and(|e| e == "gpg" || e == "asc") {
                    files.insert(path, ());
                }
            }
        }
    }
    Ok(files.into_keys().collect())
}

fn read_default_keyrings() -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    for path in keyring_files()? {
        out.extend(std::fs::read(path)?);
        out.push(b'\n');
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::is_package;

    #[test]
    fn what_is_no_known_index_counts_as_a_package() {
        for path in [
            "pool/main/h/hello/hello_2.10-3_amd64.deb",
            "dists/x/evil.deb",
            "anything",
            "./flat_1_all.deb",
        ] {
            assert!(is_package(path), "{path}");
        }
        for path in [
            "dists/stable/InRelease",
            "dists/stable/main/binary-amd64/Packages.xz",
            "./Packages.gz",
            "dists/s/main/by-hash/SHA256/00",
        ] {
            assert!(!is_package(path), "{path}");
        }
    }
}
