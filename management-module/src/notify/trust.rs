//! TLS towards servers that others run: their certificate is always verified.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    /// The certificates to trust cannot be used.
    #[error("cannot use `ca-file`, {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// There is no certificate in it.
    #[error("there is no certificate in `ca-file`, {}", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The provider of cryptography does not want to.
    #[error("no version of TLS can be spoken")]
    Provider(#[source] rustls::Error),
}

/// Trusts the certificates in `ca_file`, or those that all programs trust.
///
/// # Errors
/// [`TrustError`].
pub(super) fn client(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, TrustError> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(path) => {
            let unusable = |source| TrustError::File {
                path: path.to_owned(),
                source,
            };
            let certificates = CertificateDer::pem_file_iter(path).map_err(|error| unusable(error.into()))?;
            for certificate in certificates {
                let certificate = certificate.map_err(|error| unusable(error.into()))?;
                roots.add(certificate).map_err(|error| unusable(error.into()))?;
            }
            if roots.is_empty() {
                return Err(TrustError::Empty {
                    path: path.to_owned(),
                });
            }
        }
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TrustError::Provider)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
