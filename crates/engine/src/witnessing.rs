//! Being a witness for others' logs (C2SP tlog-witness): what was seen of each, durably, before
//! anything is cosigned.

use countersign_core::{Sha256Digest, Timestamp};
use countersign_ledger::{
    AddCheckpoint, Hash, KeyError, Observed, SigningKey, VerifierKey, WitnessKey, WitnessRefusal,
    witness,
};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::Mutex;

/// An answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The type of the body.
    pub content_type: &'static str,
    /// The body.
    pub body: String,
}

/// Why a witness cannot work.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// A file could not be read or written.
    #[error("`{}` cannot be used: {because}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        because: io::Error,
    },
    /// There is no key, and none was asked for.
    #[error("there is no witness's key at `{}`\nname the witness to make one: --name witness.example/w1", path.display())]
    NoKey {
        /// Where it would be.
        path: PathBuf,
    },
    /// A key cannot be used.
    #[error("the witness's key cannot be used: {0}")]
    Key(#[from] KeyError),
    /// There is a key under another name.
    #[error("the witness is `{has}`, and keeps its name for life")]
    OtherName {
        /// Its name.
        has: String,
    },
    /// Another process is this witness.
    #[error("another process is this witness: `{}` is locked", path.display())]
    Running {
        /// The lock.
        path: PathBuf,
    },
    /// The system has no randomness to give.
    #[error("the system gives no random bytes: {0}")]
    Random(String),
}

/// A witness: its key, the logs that it knows, and what it saw of them.
#[derive(Clone)]
pub struct WitnessDesk {
    inner: Arc<Inner>,
}

struct Inner {
    dir: PathBuf,
    key: SigningKey,
    logs: Vec<VerifierKey>,
    /// One request at a time: what was seen is compared and replaced in one go.
    turn: Mutex<()>,
    _lock: File,
}

fn failed(path: &Path) -> impl Fn(io::Error) -> WitnessError + '_ {
    move |because| WitnessError::File { path: path.to_owned(), because }
}

impl WitnessDesk {
    /// Opens the witness in `dir`, for the logs of these keys; makes its key when there is none and
    /// `name` is given.
    ///
    /// # Errors
    /// When there is no key and no name, the key has another name, or another process is this
    /// witness.
    pub fn open(
        dir: &Path,
        name: Option<&str>,
        logs: Vec<VerifierKey>,
    ) -> Result<Self, WitnessError> {
        let seen = dir.join("seen");
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(&seen).map_err(failed(&seen))?;
        let path = dir.join("lock");
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let lock = lock.map_err(failed(&path))?;
        if lock.try_lock().is_err() {
            return Err(WitnessError::Running { path });
        }
        let key = load_or_make(dir, name)?;
        let dir = dir.to_owned();
        let inner = Inner { dir, key, logs, turn: Mutex::new(()), _lock: lock };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The public key that others configure.
    #[must_use]
    pub fn key(&self) -> WitnessKey {
        self.inner.key.witness()
    }

    /// Answers `add-checkpoint`. A cosignature is given only after what was seen is durable.
    pub async fn add_checkpoint(&self, body: &[u8], now: Timestamp) -> WitnessAnswer {
        let text = "text/plain; charset=utf-8";
        let outcome = match std::str::from_utf8(body) {
            Ok(body) => self.judge(body, now).await,
            Err(_) => Ok(Err(WitnessRefusal::Malformed("it is not UTF-8"))),
        };
        match outcome {
            Ok(Ok(line)) => WitnessAnswer { status: 200, content_type: text, body: line },
            Ok(Err(refusal)) => {
                let status = refusal.status();
                if let WitnessRefusal::OtherSize(size) | WitnessRefusal::OtherRoot(size) = refusal {
                    let content_type = "text/x.tlog.size";
                    return WitnessAnswer { status, content_type, body: format!("{size}\n") };
                }
                WitnessAnswer { status, content_type: text, body: format!("{refusal}\n") }
            }
            Err(e) => {
                tracing::error!(error = %e, "the witness cannot keep what it sees");
                let body = "the witness cannot keep what it sees\n".to_owned();
                WitnessAnswer { status: 500, content_type: text, body }
            }
        }
    }

    async fn judge(
        &self,
        body: &str,
        now: Timestamp,
    ) -> Result<Result<String, WitnessRefusal>, WitnessError> {
        let request = match AddCheckpoint::parse(body) {
            Ok(request) => request,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let origin = request.origin().to_owned();
        let known = self.inner.logs.iter().filter(|k| k.name() == origin);
        let known: Vec<VerifierKey> = known.cloned().collect();
        if known.is_empty() {
            let shown = origin.chars().take(200).collect();
            return Ok(Err(WitnessRefusal::Unknown(shown)));
        }
        let turn = self.inner.turn.lock().await;
        let desk = self.clone();
        let judged = tokio::task::spawn_blocking(move || {
            let path = desk.seen(&origin);
            let observed = read_seen(&path)?;
            match witness(&request, &known, observed, &desk.inner.key, now) {
                Ok((new, line)) => {
                    if new != observed {
                        write_seen(&path, new)?;
                    }
                    Ok(Ok(line))
                }
                Err(refusal) => Ok(Err(refusal)),
            }
        });
        let judged = judged.await;
        drop(turn);
        judged.unwrap_or_else(|e| {
            let because = io::Error::other(e.to_string());
            Err(WitnessError::File { path: self.inner.dir.clone(), because })
        })
    }

    fn seen(&self, origin: &str) -> PathBuf {
        self.inner.dir.join("seen").join(Sha256Digest::of(origin.as_bytes()).to_hex())
    }
}

fn load_or_make(dir: &Path, name: Option<&str>) -> Result<SigningKey, WitnessError> {
    let (private, public) = (dir.join("witness.pem"), dir.join("witness.vkey"));
    match std::fs::read_to_string(&private) {
        Ok(pem) => {
            let vkey = std::fs::read_to_string(&public).map_err(failed(&public))?;
            let vkey = WitnessKey::parse(&vkey)?;
            if name.is_some_and(|n| n != vkey.name()) {
                return Err(WitnessError::OtherName { has: vkey.name().to_owned() });
            }
            let key = SigningKey::from_pem(vkey.name(), &pem)?;
            if key.witness() != vkey {
                return Err(WitnessError::Key(KeyError::Pem));
            }
            Ok(key)
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let Some(name) = name else { return Err(WitnessError::NoKey { path: private }) };
            let mut seed = [0; 32];
            getrandom::fill(&mut seed).map_err(|e| WitnessError::Random(e.to_string()))?;
            let key = SigningKey::from_seed(name, seed)?;
            // The public half first: a crash in between leaves no key that has no name.
            write_new(&public, &format!("{}\n", key.witness()))?;
            write_new(&private, &key.to_pem()?)?;
            Ok(key)
        }
        Err(e) => Err(failed(&private)(e)),
    }
}

fn write_new(path: &Path, text: &str) -> Result<(), WitnessError> {
    let mut open = OpenOptions::new();
    let mut file = open
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .map_err(failed(path))?;
    file.write_all(text.as_bytes()).map_err(failed(path))?;
    file.sync_all().map_err(failed(path))
}

fn read_seen(path: &Path) -> Result<Observed, WitnessError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Observed::default()),
        Err(e) => return Err(failed(path)(e)),
    };
    let mut lines = text.lines();
    let size = lines.next().and_then(|l| l.parse().ok());
    let root = lines.next().and_then(Hash::from_base64);
    // Whoever cannot read what it saw must not cosign as if it had seen nothing.
    size.zip(root)
        .map(|(size, root)| Observed { size, root })
        .ok_or_else(|| failed(path)(io::Error::other("it is damaged")))
}

fn write_seen(path: &Path, seen: Observed) -> Result<(), WitnessError> {
    let new = path.with_extension("new");
    write_new(&new, &format!("{}\n{}\n", seen.size, seen.root))?;
    std::fs::rename(&new, path).map_err(failed(path))?;
    let dir = path.parent().unwrap_or(path);
    File::open(dir).and_then(|d| d.sync_all()).map_err(failed(dir))
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_ledger::{Checkpoint, EMPTY_ROOT, Quorum, leaf_hash};

    const NOW: Timestamp = Timestamp(1_800_000_000);

    fn request(old: u64, size: u64, root: Hash, log: &SigningKey) -> Vec<u8> {
        let body = Checkpoint { origin: log.name().into(), size, root, extensions: vec![] };
        let checkpoint = body.sign(log).unwrap();
        AddCheckpoint { old, proof: vec![], checkpoint }.to_text().into_bytes()
    }

    #[tokio::test]
    async fn what_was_seen_outlives_the_process_and_a_fork_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let log = SigningKey::from_seed("ledger.example/a", [1; 32]).unwrap();
        let logs = vec![log.verifier().clone()];
        assert!(matches!(
            WitnessDesk::open(dir.path(), None, logs.clone()),
            Err(WitnessError::NoKey { .. })
        ));
        let desk = WitnessDesk::open(dir.path(), Some("w.example/1"), logs.clone()).unwrap();
        assert!(matches!(
            WitnessDesk::open(dir.path(), None, logs.clone()),
            Err(WitnessError::Running { .. })
        ));
        let one = request(0, 1, leaf_hash(b"a"), &log);
        let answer = desk.add_checkpoint(&one, NOW).await;
        assert_eq!(answer.status, 200);
        let note = AddCheckpoint::parse(std::str::from_utf8(&one).unwrap()).unwrap().checkpoint;
        let quorum = Quorum::new(vec![desk.key()], 1).unwrap();
        assert!(quorum.check(&format!("{note}{}", answer.body)).is_ok());
        drop(desk);

        let desk = WitnessDesk::open(dir.path(), None, logs.clone()).unwrap();
        let again = desk.add_checkpoint(&one, NOW).await;
        let size = ("text/x.tlog.size", "1\n");
        assert_eq!((again.status, again.content_type, again.body.as_str()), (409, size.0, size.1));
        let fork = desk.add_checkpoint(&request(1, 1, leaf_hash(b"b"), &log), NOW).await;
        assert_eq!(fork.status, 409);
        let back = desk.add_checkpoint(&request(0, 0, EMPTY_ROOT, &log), NOW).await;
        assert_eq!(back.status, 409, "rolled back");
        let other = SigningKey::from_seed("ledger.example/b", [1; 32]).unwrap();
        let unknown = desk.add_checkpoint(&request(0, 1, EMPTY_ROOT, &other), NOW).await;
        assert_eq!(unknown.status, 404);
        let posing = SigningKey::from_seed("ledger.example/a", [9; 32]).unwrap();
        let unsigned = desk.add_checkpoint(&request(1, 1, leaf_hash(b"a"), &posing), NOW).await;
        assert_eq!(unsigned.status, 403);
        assert_eq!(desk.add_checkpoint(b"\xff", NOW).await.status, 400);

        // What cannot be read is not taken for nothing.
        let seen = std::fs::read_dir(dir.path().join("seen")).unwrap().next().unwrap().unwrap();
        std::fs::write(seen.path(), "").unwrap();
        assert_eq!(desk.add_checkpoint(&one, NOW).await.status, 500);
        drop(desk);
        assert!(matches!(
            WitnessDesk::open(dir.path(), Some("w.example/2"), logs),
            Err(WitnessError::OtherName { .. })
        ));
    }
}
