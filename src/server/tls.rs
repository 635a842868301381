//! TLS from two files in PEM, with ring.

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// The error names the file.
pub fn acceptor(certificate: &Path, key: &Path) -> Result<TlsAcceptor, String> {
    let cannot = |path: &Path, error: &dyn std::fmt::Display| format!("cannot use {}: {error}", path.display());
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| cannot(certificate, &error))?;
    if chain.is_empty() {
        return Err(cannot(certificate, &"it holds no certificate in PEM"));
    }
    let key_der = PrivateKeyDer::from_pem_file(key).map_err(|error| cannot(key, &error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| format!("TLS cannot be set up: {error}"))?;
    let config = builder.with_no_client_auth().with_single_cert(chain, key_der);
    Ok(TlsAcceptor::from(Arc::new(config.map_err(|error| cannot(certificate, &error))?)))
}
