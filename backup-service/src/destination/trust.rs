//! Whose certificates are trusted.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use super::fault::Fault;

/// TLS 1.3 that trusts one authority, in PEM, or if there is none those that everybody trusts.
///
/// # Errors
/// [`Fault::Description`].
pub fn trust(authority: Option<&str>) -> Result<Arc<ClientConfig>, Fault> {
    let wrong = |why: String| Fault::Description(format!("`authority`: {why}"));
    let mut roots = RootCertStore::empty();
    match authority {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
                roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
            }
            if roots.is_empty() {
                return Err(wrong("there is no certificate in it".to_owned()));
            }
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| wrong(error.to_string()))?;
    Ok(Arc::new(
        config.with_root_certificates(roots).with_no_client_auth(),
    ))
}

/// What an error of a TLS handshake means.
pub(super) fn not_encrypted(at: String, error: &std::io::Error) -> Fault {
    let why = error.to_string();
    let cause = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match cause {
        Some(rustls::Error::InvalidCertificate(_)) => Fault::Certificate { at, why },
        Some(_) => Fault::Security {
            at,
            why: format!("TLS 1.3: {why}"),
        },
        None => Fault::Unreachable { at, why },
    }
}
