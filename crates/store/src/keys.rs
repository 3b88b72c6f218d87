//! The ledger's key: made once, on explicit request, and never again.

use crate::error::StoreError;
use crate::lock;
use crate::store::{Paths, blocking, private_dir};
use crate::tiles::{LedgerState, ledger_state};
use countersign_ledger::{SigningKey, VerifierKey};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};
use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

pub(crate) fn private_path(paths: &Paths) -> PathBuf {
    paths.keys().join("ledger.pem")
}

fn public_path(paths: &Paths) -> PathBuf {
    paths.keys().join("ledger.vkey")
}

/// The private key that a rotation goes to, until its files have their names.
fn next_path(paths: &Paths) -> PathBuf {
    paths.keys().join("ledger.next.pem")
}

/// The private key before the present one, until it is retired.
fn previous_path(paths: &Paths) -> PathBuf {
    paths.keys().join("ledger.previous.pem")
}

/// A new key of a name.
pub(crate) fn new_key(name: &str) -> Result<SigningKey, StoreError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|e| StoreError::Random { because: e.to_string() })?;
    SigningKey::from_seed(name, seed).map_err(StoreError::invalid)
}

/// Makes the key of a new ledger in the store's folder `dir`; `origin` is the ledger's name for
/// life, by custom a schema-less URL such as `gate.example/ledger`.
///
/// Open the store after this: a store that is already open does not see the new key.
///
/// # Errors
/// When there is a key or a ledger already, or the origin cannot name a ledger.
pub async fn init_key(dir: impl AsRef<Path>, origin: &str) -> Result<VerifierKey, StoreError> {
    let paths = Paths::new(dir.as_ref());
    private_dir(&paths.keys())?;
    let _held = lock::exclusive(paths.lock()).await?;
    refuse_second_key(&paths).await?;
    let key = new_key(origin)?;
    blocking(move || {
        // The public half first: a crash in between leaves no private key, so `init_key` may be
        // called again. The other order would leave a key without a name.
        write_public(&public_path(&paths), &key)?;
        write_private(&private_path(&paths), &key)?;
        Ok(key.verifier().clone())
    })
    .await
}

/// Refuses when any trace of a key or a ledger is there.
async fn refuse_second_key(paths: &Paths) -> Result<(), StoreError> {
    for path in [private_path(paths), paths.checkpoint()] {
        if path.try_exists().map_err(|e| StoreError::io(&path, &e))? {
            return Err(StoreError::KeyExists { path });
        }
    }
    let database = paths.database();
    if !database.try_exists().map_err(|e| StoreError::io(&database, &e))? {
        return Ok(());
    }
    crate::schema::check_version(&database).await?;
    let err = |e| StoreError::sql(&database, e);
    let options = SqliteConnectOptions::new().filename(&database).read_only(true);
    let mut conn = options.disable_statement_logging().connect().await.map_err(err)?;
    let state = ledger_state(&mut conn, &database).await;
    conn.close().await.map_err(err)?;
    match state? {
        Some(_) => Err(StoreError::KeyExists { path: database }),
        None => Ok(()),
    }
}

fn write_public(path: &Path, key: &SigningKey) -> Result<(), StoreError> {
    std::fs::write(path, format!("{}\n", key.verifier())).map_err(|e| StoreError::io(path, &e))?;
    sync(path)
}

fn write_private(path: &Path, key: &SigningKey) -> Result<(), StoreError> {
    let err = |e: std::io::Error| match e.kind() {
        ErrorKind::AlreadyExists => StoreError::KeyExists { path: path.to_owned() },
        _ => StoreError::io(path, &e),
    };
    let pem = key.to_pem().map_err(StoreError::ledger)?;
    // Whole or not at all: half a key would be in the way of the next start, and of a new key.
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(folder).map_err(err)?;
    file.write_all(pem.as_bytes()).map_err(err)?;
    file.as_file().sync_all().map_err(err)?;
    file.persist_noclobber(path).map_err(|e| err(e.error))?;
    match path.parent() {
        Some(dir) => sync(dir),
        None => Ok(()),
    }
}

/// Writes the key that a rotation goes to, in place of one that no rotation was committed for.
pub(crate) fn write_next(paths: &Paths, key: &SigningKey) -> Result<(), StoreError> {
    let path = next_path(paths);
    match std::fs::remove_file(&path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(StoreError::io(&path, &e)),
        _ => write_private(&path, key),
    }
}

/// All private keys that lie here, under the ledger's name. One that cannot be read is an error.
pub(crate) fn candidates(paths: &Paths, name: &str) -> Result<Vec<SigningKey>, StoreError> {
    let mut out = Vec::new();
    for path in [private_path(paths), next_path(paths), previous_path(paths)] {
        let Some(pem) = read(&path)? else { continue };
        let key = SigningKey::from_pem(name, &pem);
        out.push(key.map_err(|e| StoreError::WrongKey { path, because: e.to_string() })?);
    }
    Ok(out)
}

/// The private key before the present one, where the state says that it still signs.
pub(crate) fn load_previous(
    paths: &Paths,
    state: &LedgerState,
) -> Result<Option<SigningKey>, StoreError> {
    let Some(wanted) = &state.previous else { return Ok(None) };
    let all = candidates(paths, wanted.name())?;
    Ok(all.into_iter().find(|k| k.verifier() == wanted))
}

/// Gives key files the names that the state asks for, after a rotation that may have been cut off.
pub(crate) fn settle(paths: &Paths, state: &LedgerState) -> Result<(), StoreError> {
    let next = next_path(paths);
    let holds = |path: &Path| -> Result<bool, StoreError> {
        let pem = read(path)?;
        let key = pem.and_then(|pem| SigningKey::from_pem(state.verifier.name(), &pem).ok());
        Ok(key.is_some_and(|k| *k.verifier() == state.verifier))
    };
    if !holds(&next)? {
        return Ok(());
    }
    let rename =
        |from: &Path, to: &Path| std::fs::rename(from, to).map_err(|e| StoreError::io(from, &e));
    let (private, public) = (private_path(paths), public_path(paths));
    // The old key may have been moved before the crash.
    if private.try_exists().map_err(|e| StoreError::io(&private, &e))? {
        rename(&private, &previous_path(paths))?;
    }
    std::fs::write(&public, format!("{}\n", state.verifier))
        .map_err(|e| StoreError::io(&public, &e))?;
    sync(&public)?;
    rename(&next, &private)?;
    sync(&paths.keys())
}

/// Removes the private half of a key that was retired.
pub(crate) fn remove_previous(paths: &Paths) -> Result<(), StoreError> {
    let path = previous_path(paths);
    match std::fs::remove_file(&path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(StoreError::io(&path, &e)),
        _ => sync(&paths.keys()),
    }
}

/// Makes a file's, or a folder's, present content survive power loss.
pub(crate) fn sync(path: &Path) -> Result<(), StoreError> {
    File::open(path).and_then(|f| f.sync_all()).map_err(|e| StoreError::io(path, &e))
}

/// The key in the store's folder; `None` when none was made.
pub(crate) fn load(paths: &Paths) -> Result<Option<SigningKey>, StoreError> {
    let (private, public) = (private_path(paths), public_path(paths));
    let Some(pem) = read(&private)? else { return Ok(None) };
    let wrong = |because: String| StoreError::WrongKey { path: private.clone(), because };
    let Some(vkey) = read(&public)? else {
        return Err(wrong(format!("its public half `{}` is missing", public.display())));
    };
    let vkey = VerifierKey::parse(&vkey).map_err(|e| wrong(e.to_string()))?;
    let key = SigningKey::from_pem(vkey.name(), &pem).map_err(|e| wrong(e.to_string()))?;
    if *key.verifier() != vkey {
        return Err(wrong(format!("it is not the private half of `{}`", public.display())));
    }
    Ok(Some(key))
}

fn read(path: &Path) -> Result<Option<String>, StoreError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(StoreError::io(path, &e)),
    }
}
