//! HTTPS with a certificate that is read again when its files change.

use super::options::TlsFiles;
use parking_lot::{Mutex, RwLock};
use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;

/// A certificate that cannot be used; names the file and what to do.
#[derive(Debug, thiserror::Error)]
#[error("the certificate `{file}` cannot be used: {because}")]
pub struct TlsError {
    /// The file.
    pub file: String,
    /// What is wrong with it.
    pub because: String,
}

/// What files look like from outside; when it changes, they are read again.
type Stamp = Vec<(u64, u64, i64, i64, u64)>;

/// The certificate that is presented at present.
pub(super) struct Reloading {
    files: TlsFiles,
    provider: Arc<CryptoProvider>,
    current: RwLock<Arc<CertifiedKey>>,
    seen: Mutex<Option<Stamp>>,
}

impl fmt::Debug for Reloading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloading").field("files", &self.files).finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Reloading {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.read().clone())
    }
}

impl Reloading {
    /// Reads the files for the first time.
    ///
    /// # Errors
    /// When they cannot be read or do not belong together.
    pub(super) fn open(files: TlsFiles) -> Result<Arc<Self>, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let seen = stamp(&files);
        let current = RwLock::new(load(&files, &provider)?);
        Ok(Arc::new(Self { files, provider, current, seen: Mutex::new(seen) }))
    }

    /// The configuration for connections, with HTTP/2 and HTTP/1.1 offered.
    ///
    /// # Errors
    /// When the cryptography offers no version of TLS that is safe.
    pub(super) fn server_config(self: &Arc<Self>) -> Result<Arc<ServerConfig>, TlsError> {
        let mut config = ServerConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|e| problem(&self.files.certificate, &e))?
            .with_no_client_auth()
            .with_cert_resolver(self.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// Reads the files again now. What was there before stays in use when they are no good.
    ///
    /// # Errors
    /// When they cannot be read or do not belong together.
    pub(super) fn reload(&self) -> Result<(), TlsError> {
        let next = load(&self.files, &self.provider)?;
        *self.current.write() = next;
        Ok(())
    }

    /// Reads the files again if they look different from when they were looked at last.
    pub(super) fn reload_if_changed(&self) {
        let now = stamp(&self.files);
        {
            let mut seen = self.seen.lock();
            if *seen == now {
                return;
            }
            *seen = now;
        }
        match self.reload() {
            Ok(()) => tracing::info!(
                certificate = %self.files.certificate.display(),
                "the certificate was read again"
            ),
            Err(error) => tracing::error!(%error, "the certificate in use stays the old one"),
        }
    }

    /// Looks at the files from time to time, for ever.
    pub(super) async fn watch(self: Arc<Self>) {
        let every = self.files.look_every.max(std::time::Duration::from_millis(10));
        loop {
            tokio::time::sleep(every).await;
            let own = self.clone();
            // A panic in there would be a fault of this server; the next look is another try.
            let _ = tokio::task::spawn_blocking(move || own.reload_if_changed()).await;
        }
    }
}

fn stamp(files: &TlsFiles) -> Option<Stamp> {
    let one = |path: &Path| {
        let m = std::fs::metadata(path).ok()?;
        Some((m.dev(), m.ino(), m.mtime(), m.mtime_nsec(), m.len()))
    };
    Some(vec![one(&files.certificate)?, one(&files.key)?])
}

fn problem(file: &Path, because: &dyn fmt::Display) -> TlsError {
    TlsError { file: file.display().to_string(), because: because.to_string() }
}

fn load(files: &TlsFiles, provider: &CryptoProvider) -> Result<Arc<CertifiedKey>, TlsError> {
    let chain = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|e| problem(&files.certificate, &e))?;
    if chain.is_empty() {
        return Err(problem(&files.certificate, &"it holds no certificate in PEM"));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|e| problem(&files.key, &e))?;
    let key = CertifiedKey::from_der(chain, key, provider).map_err(|e| {
        let said = format!("{e}; it and the key `{}` must belong together", files.key.display());
        problem(&files.certificate, &said)
    })?;
    Ok(Arc::new(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn pair(dir: &Path, host: &str) -> (String, String) {
        let _ = dir;
        let made = rcgen::generate_simple_self_signed(vec![host.to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn a_pair_that_does_not_fit_leaves_the_old_one() {
        let dir = tempfile::tempdir().unwrap();
        let files = TlsFiles {
            certificate: dir.path().join("cert.pem"),
            key: dir.path().join("key.pem"),
            look_every: Duration::from_secs(1),
        };
        assert!(Reloading::open(files.clone()).is_err());
        let (cert, key) = pair(dir.path(), "a.example");
        let (cert2, key2) = pair(dir.path(), "b.example");
        std::fs::write(&files.certificate, &cert).unwrap();
        std::fs::write(&files.key, &key2).unwrap();
        let error = Reloading::open(files.clone()).unwrap_err().to_string();
        assert!(error.contains("belong together"), "{error}");

        std::fs::write(&files.key, &key).unwrap();
        let r = Reloading::open(files.clone()).unwrap();
        let first = r.current.read().cert[0].to_vec();
        let now = || r.current.read().cert[0].to_vec();

        std::fs::write(&files.certificate, &cert2).unwrap();
        r.reload_if_changed();
        assert_eq!(now(), first, "half of a pair is not taken");
        std::fs::write(&files.certificate, "nonsense\n").unwrap();
        assert!(r.reload().is_err());
        assert_eq!(now(), first);

        std::fs::write(&files.certificate, &cert2).unwrap();
        std::fs::write(&files.key, &key2).unwrap();
        r.reload_if_changed();
        assert_ne!(now(), first);
    }
}
