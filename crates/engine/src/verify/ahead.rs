//! Evidence of files whose registries the gate does not serve yet: OpenPGP signatures beside a file
//! (Maven), and Go's checksum database. Offline, like all of [`super`].

use super::{Verification, read, result};
use countersign_core::{Evidence, EvidenceState, Sha256Digest, Timestamp};
use countersign_ecosystem::archive::{self, ArchiveKind, Limits};
use countersign_evidence::sumdb::{self, GoRecord, ZipEntry, ZippedModule};
use countersign_evidence::{EvidenceError, Verified, openpgp};
use countersign_ledger::{TileError, TileId, TileKind, TileSource, VerifierKey};
use sha2::{Digest as _, Sha256};
use std::path::{Path, PathBuf};

/// The document of a source, and of the ending beside a file, that holds a record of Go's checksum
/// database with its proof.
const GO_SUMDB: &str = "go-sumdb.json";

/// What the user trusts for such files. Nothing of it is built in.
#[derive(Debug, Default)]
pub struct Trusted {
    /// Certificates that may have signed files, binary or in ASCII armour.
    pub keyring: Option<Vec<u8>>,
    /// The checksum database's public key.
    pub sumdb_key: Option<VerifierKey>,
    /// A folder with the database's `lookup` and `tile`, as Go keeps them in its module cache below
    /// `cache/download/sumdb/<name>`.
    pub sumdb: Option<PathBuf>,
}

impl Trusted {
    /// Adds what is known about the file at `path`, which lies in a folder of its own files
    /// (`beside`) or is a blob of the store.
    pub fn add_to(
        &self,
        verification: &mut Verification,
        path: &Path,
        beside: Option<&Path>,
        folders: &[PathBuf],
        now: Timestamp,
    ) {
        let mut found = Vec::new();
        if let Some(beside) = beside {
            found.extend(self.signature(
                path,
                &beside.join(format!("{}.asc", verification.file)),
                now,
            ));
        }
        let digest = &verification.sha256;
        found.extend(self.go(path, &verification.file, digest, beside, folders));
        verification.evidence.extend(found);
        verification.result = result(&verification.evidence);
        if verification.file.ends_with(".crate") {
            verification.unverified_claims = super::vcs_info(path);
        }
    }

    /// The detached signature beside the file, if there is one.
    fn signature(&self, path: &Path, signature: &Path, now: Timestamp) -> Option<Evidence> {
        let source = file_name(signature);
        let state = match read(signature) {
            Ok(None) => return None,
            Err(because) => EvidenceState::Unreachable { because },
            Ok(Some(bytes)) => match (&self.keyring, std::fs::File::open(path)) {
                (None, _) => EvidenceState::Unreachable {
                    because: "nobody's keys were given; name them with --keyring".to_owned(),
                },
                (_, Err(e)) => {
                    EvidenceState::Unreachable { because: format!("cannot be read: {e}") }
                }
                (Some(keyring), Ok(file)) => {
                    match openpgp::verify_file(file, &bytes, keyring, now) {
                        Ok(signed) => EvidenceState::Verified { claim: Box::new(signed.claim()) },
                        Err(e) => e.into_state(),
                    }
                }
            },
        };
        Some(Evidence { kind: openpgp::KIND.to_owned(), source, state })
    }

    /// The records of a Go module's version, if the file is its zip and there are any.
    fn go(
        &self,
        path: &Path,
        name: &str,
        digest: &Sha256Digest,
        beside: Option<&Path>,
        folders: &[PathBuf],
    ) -> Vec<Evidence> {
        let is_zip = name.to_ascii_lowercase().ends_with(".zip");
        let mut places: Vec<PathBuf> =
            folders.iter().map(|f| f.join(digest.to_hex()).join(GO_SUMDB)).collect();
        places.extend(beside.map(|b| b.join(format!("{name}.{GO_SUMDB}"))));
        places.retain(|p| p.exists());
        let asked = self.sumdb_key.is_some() && self.sumdb.is_some();
        if !is_zip || (places.is_empty() && !asked) {
            return Vec::new();
        }
        let module = module_of(path);
        let mut out: Vec<Evidence> = Vec::new();
        for place in places {
            let answer = self.judge(&module, |module, key| match read(&place) {
                Ok(Some(bytes)) => {
                    sumdb::verify_document(&bytes, module, key).map_err(Why::Evidence)
                }
                Ok(None) => Err(Why::Unreachable("is gone".to_owned())),
                Err(because) => Err(Why::Unreachable(because)),
            });
            out.push(evidence(file_name(&place), answer));
        }
        if let Some(folder) = self.sumdb.as_ref().filter(|_| asked) {
            let answer = self.judge(&module, |module, key| from_cache(folder, module, key));
            // A zip that is no module's has nothing to do with the database.
            if !(matches!(answer, Err(Why::NoModule(_))) && out.is_empty()) {
                out.push(evidence(format!("folder {}", file_name(folder)), answer));
            }
        }
        out
    }

    fn judge(
        &self,
        module: &Result<ZippedModule, Why>,
        with: impl FnOnce(&ZippedModule, &VerifierKey) -> Result<Verified<GoRecord>, Why>,
    ) -> Result<Verified<GoRecord>, Why> {
        let Some(key) = &self.sumdb_key else {
            let because = "no checksum database's key was given; name it with --go-sumdb-key";
            return Err(Why::Unreachable(because.to_owned()));
        };
        with(module.as_ref().map_err(Clone::clone)?, key)
    }
}

/// Why there is no verified record.
#[derive(Debug, Clone)]
enum Why {
    /// The zip is no module's, or cannot be read in one way.
    NoModule(EvidenceError),
    /// The record does not hold, or cannot be judged.
    Evidence(EvidenceError),
    /// There may be one, and it cannot be had.
    Unreachable(String),
}

fn evidence(source: String, answer: Result<Verified<GoRecord>, Why>) -> Evidence {
    let state = match answer {
        Ok(record) => EvidenceState::Verified { claim: Box::new(record.claim()) },
        Err(Why::NoModule(e) | Why::Evidence(e)) => e.into_state(),
        Err(Why::Unreachable(because)) => EvidenceState::Unreachable { because },
    };
    Evidence { kind: sumdb::KIND.to_owned(), source, state }
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The module that a zip holds. What two readers could take for different files has no hash.
fn module_of(path: &Path) -> Result<ZippedModule, Why> {
    let malformed =
        |because: String| Why::NoModule(EvidenceError::Malformed { what: "module's zip", because });
    let unreadable = |e: std::io::Error| Why::Unreachable(format!("cannot be read: {e}"));
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut entries = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    let walked =
        archive::walk(file, ArchiveKind::Zip, &Limits::default(), &mut |entry, content| {
            let mut hasher = Sha256::new();
            loop {
                let n = content.read(&mut buffer)?;
                let Some(piece) = buffer.get(..n).filter(|p| !p.is_empty()) else { break };
                hasher.update(piece);
            }
            let sha256 = Sha256Digest(hasher.finalize().into());
            entries.push(ZipEntry { name: entry.raw_path.clone(), sha256 });
            Ok(())
        });
    let walked = walked.map_err(|e| Why::Unreachable(e.to_string()))?;
    if let Some(problem) = walked.problems.first() {
        return Err(malformed(problem.detail.clone()));
    }
    if !walked.complete {
        return Err(malformed("it has no end".to_owned()));
    }
    ZippedModule::of(entries).map_err(Why::NoModule)
}

/// The record of a module in a folder of lookups and tiles.
fn from_cache(
    folder: &Path,
    module: &ZippedModule,
    key: &VerifierKey,
) -> Result<Verified<GoRecord>, Why> {
    let path = sumdb::lookup_path(module.path(), module.version());
    let path = path.ok_or_else(|| Why::Unreachable("the module has no such name".to_owned()))?;
    match read(&folder.join(&path)) {
        Ok(Some(lookup)) => {
            sumdb::verify_lookup(&lookup, &Cached(folder), module, key).map_err(Why::Evidence)
        }
        Ok(None) => Err(Why::Unreachable(format!("there is no `{path}` in it"))),
        Err(because) => Err(Why::Unreachable(because)),
    }
}

/// Tiles as Go keeps them: of height 8, partial ones beside each other.
struct Cached<'a>(&'a Path);

impl Cached<'_> {
    /// The file of a tile, at that width.
    fn file(&self, tile: TileId, width: u16) -> PathBuf {
        // Go's paths name the height; C2SP's, which has but one, do not.
        let path = TileId { width, ..tile }.path();
        self.0.join(path.replacen("tile/", "tile/8/", 1))
    }
}

impl TileSource for Cached<'_> {
    /// The tile, or the beginning of a wider one that was kept later.
    fn tile(&self, tile: TileId) -> Result<Vec<u8>, TileError> {
        let missing = || TileError::Missing { tile: tile.path() };
        if tile.kind == TileKind::Entries {
            return Err(missing());
        }
        for width in tile.width..=countersign_ledger::TILE_WIDTH {
            let unreadable = |because| TileError::Unreadable { tile: tile.path(), because };
            if let Some(bytes) = read(&self.file(tile, width)).map_err(unreadable)? {
                let damaged = || TileError::Damaged { tile: tile.path() };
                return bytes.get(..tile.byte_len()).map(<[u8]>::to_vec).ok_or_else(damaged);
            }
        }
        Err(missing())
    }
}
