//! The certificate authority of one run: made in memory, trusted by one process, gone with it.
//!
//! Only the client that this run started is told to trust it (through that client's own setting),
//! and its key never touches a disk. No trust store of the system or the user changes.

use parking_lot::Mutex;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use std::collections::HashMap;
use std::sync::Arc;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// An ephemeral certificate authority that makes one leaf certificate a host.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate_pem: String,
    leaf_key: KeyPair,
    configs: Mutex<HashMap<String, Arc<ServerConfig>>>,
}

/// Why the authority could not make a certificate.
#[derive(Debug, thiserror::Error)]
#[error("cannot make a certificate for `{host}`: {because}")]
pub struct AuthorityError {
    host: String,
    because: String,
}

impl Authority {
    /// A new authority with a new key.
    ///
    /// # Errors
    /// When the key or the certificate cannot be made.
    pub fn new() -> Result<Self, AuthorityError> {
        let err = |e: rcgen::Error| AuthorityError {
            host: "this run's authority".into(),
            because: e.to_string(),
        };
        let key = KeyPair::generate().map_err(err)?;
        let mut params = CertificateParams::default();
        let mut name = DistinguishedName::new();
        name.push(DnType::CommonName, "countersign, this run only");
        params.distinguished_name = name;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let certificate = params.self_signed(&key).map_err(err)?;
        let certificate_pem = certificate.pem();
        let leaf_key = KeyPair::generate().map_err(err)?;
        let issuer = Issuer::new(params, key);
        Ok(Self { issuer, certificate_pem, leaf_key, configs: Mutex::default() })
    }

    /// The authority's certificate in PEM, for the client's trust setting.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The TLS configuration for connections to `host`, with HTTP/2 and HTTP/1.1 offered.
    ///
    /// # Errors
    /// When `host` is no name that a certificate can carry.
    pub fn server_config(&self, host: &str) -> Result<Arc<ServerConfig>, AuthorityError> {
        if let Some(found) = self.configs.lock().get(host) {
            return Ok(found.clone());
        }
        let err = |because: String| AuthorityError { host: host.to_owned(), because };
        let mut params =
            CertificateParams::new(vec![host.to_owned()]).map_err(|e| err(e.to_string()))?;
        let mut name = DistinguishedName::new();
        name.push(DnType::CommonName, "countersign");
        params.distinguished_name = name;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let leaf =
            params.signed_by(&self.leaf_key, &self.issuer).map_err(|e| err(e.to_string()))?;
        let chain = vec![CertificateDer::from(leaf.der().to_vec())];
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.leaf_key.serialize_der()));
        let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| err(e.to_string()))?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|e| err(e.to_string()))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let config = Arc::new(config);
        self.configs.lock().insert(host.to_owned(), config.clone());
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_configuration_a_host_and_odd_names_are_errors() {
        let a = Authority::new().unwrap();
        let first = a.server_config("registry.example").unwrap();
        assert!(Arc::ptr_eq(&first, &a.server_config("registry.example").unwrap()));
        assert!(a.server_config("127.0.0.1").is_ok());
        assert!(a.server_config("bad\u{e9}host").is_err());
    }
}
