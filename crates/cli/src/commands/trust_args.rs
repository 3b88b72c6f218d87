//! What `verify` is told to trust beside Sigstore's roots.

use crate::context::Failed;
use countersign_engine::evidence_kinds::sumdb;
use countersign_engine::verify::Trusted;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Bytes of a file that is named here.
const MAX_FILE: u64 = 8 << 20;

/// Keys of the user's own.
#[derive(clap::Args)]
pub struct TrustArgs {
    /// OpenPGP certificates that may have signed: for FILE.asc beside a file. May be given several times
    #[arg(long, value_name = "FILE")]
    keyring: Vec<PathBuf>,
    /// Public key of a Go checksum database, name+hash+base64 as in GOSUMDB: for zips of Go modules
    #[arg(long, value_name = "KEY")]
    go_sumdb_key: Option<String>,
    /// The database's records and tiles, as in Go's module cache below cache/download/sumdb/<name>
    #[arg(long, value_name = "DIR", requires = "go_sumdb_key")]
    go_sumdb: Option<PathBuf>,
}

impl TrustArgs {
    /// Reads what is named.
    pub fn read(&self) -> Result<Trusted, Failed> {
        let mut keyring = Vec::new();
        for file in &self.keyring {
            keyring.extend(read(file)?);
            keyring.push(b'\n');
        }
        let sumdb_key = self.go_sumdb_key.as_deref().map(sumdb::read_key).transpose();
        if let Some(folder) = self.go_sumdb.as_ref().filter(|f| !f.is_dir()) {
            return Err(Failed::usage(format!("folder `{}` is not there", folder.display())));
        }
        Ok(Trusted {
            keyring: (!self.keyring.is_empty()).then_some(keyring),
            sumdb_key: sumdb_key.map_err(Failed::usage)?,
            sumdb: self.go_sumdb.clone(),
        })
    }
}

/// A file's bytes, of which there may not be too many.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, Failed> {
    let cannot =
        |e: std::io::Error| Failed::usage(format!("`{}` cannot be read: {e}", path.display()));
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(cannot)?;
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > MAX_FILE {
        let path = path.display();
        return Err(Failed::usage(format!("`{path}` is beyond the limit of {MAX_FILE} bytes")));
    }
    Ok(bytes)
}
