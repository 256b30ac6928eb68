//! The certificate of the page: the operator's, an authority's, or one that is made once and kept.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest;
use jiff::Timestamp;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use satellite_proto::tls;
use tracing::warn;

use crate::app::certificate::Kept;
use crate::config::Config;
use crate::files;
use crate::host;

/// How long an own certificate is good: it is compared by hand, so it does not change by itself.
const YEARS: i64 = 10;

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum CertificateError {
    /// A file cannot be read or written.
    #[error("cannot use {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{} holds no {what} in PEM", path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
    },
    /// None could be made.
    #[error("cannot make a certificate for the web page")]
    Make(#[source] rcgen::Error),
    /// Certificate and key do not fit together, or are of a kind that is not used any more.
    #[error("the web page's certificate and key cannot be used together")]
    Fit(#[source] rustls::Error),
}

/// What the page shows of itself.
#[derive(Debug, Clone)]
pub(super) struct Loaded {
    /// For the listener.
    pub(super) tls: Arc<ServerConfig>,
    /// SHA-256 as browsers show it.
    pub(super) fingerprint: String,
    /// Until when it is good, if that can be told.
    pub(super) expires_at: Option<Timestamp>,
}

/// Reads the operator's certificate, or an authority's, or the own one, which is made if it is not there.
///
/// # Errors
/// [`CertificateError`].
pub(super) fn load(config: &Config) -> Result<Loaded, CertificateError> {
    let certified = Kept::path(config);
    if config.acme.is_some() && certified.exists() {
        match read_both(&certified, &certified) {
            Ok(loaded) => return Ok(loaded),
            // There will be another soon.
            Err(error) => {
                warn!(error = %crate::error_chain(&error), "The page shows its own certificate instead of the authority's");
            }
        }
    }
    let (certificate, key) = paths(config);
    if config.web_certificate.is_none() && !(certificate.exists() && key.exists()) {
        make(config, &certificate, &key)?;
    }
    read_both(&certificate, &key)
}

fn read_both(certificate: &Path, key: &Path) -> Result<Loaded, CertificateError> {
    let content = |path: &Path, what| CertificateError::Content {
        path: path.to_owned(),
        what,
    };
    let chain = CertificateDer::pem_slice_iter(&read(certificate)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| content(certificate, "certificate"))?;
    let leaf = chain.first().ok_or_else(|| content(certificate, "certificate"))?;
    let fingerprint = fingerprint(leaf);
    let expires_at =
        satellite_proto::identity::lifetime_of(leaf).and_then(|left| Timestamp::now().checked_add(left).ok());
    let private = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|_| content(key, "key"))?;
    let mut tls = ServerConfig::builder_with_provider(tls::provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(CertificateError::Fit)?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(CertificateError::Fit)?;
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Loaded {
        tls: Arc::new(tls),
        fingerprint,
        expires_at,
    })
}

/// When any of the files was last changed.
pub(super) fn changed(config: &Config) -> Vec<Option<std::time::SystemTime>> {
    let (certificate, key) = paths(config);
    let time = |path: &Path| fs::metadata(path).and_then(|found| found.modified()).ok();
    vec![time(&certificate), time(&key), time(&Kept::path(config))]
}

fn paths(config: &Config) -> (PathBuf, PathBuf) {
    let own = || (config.web().join("cert.pem"), config.web().join("key.pem"));
    config.web_certificate.clone().unwrap_or_else(own)
}

fn make(config: &Config, certificate: &Path, key: &Path) -> Result<(), CertificateError> {
    let names = vec![config.server_name.clone(), "localhost".to_owned()];
    let mut params = match CertificateParams::new(names) {
        Ok(params) => params,
        // A server's name may be anything printable; a host name in a certificate may not.
        Err(_) => CertificateParams::new(vec!["localhost".to_owned()]).map_err(CertificateError::Make)?,
    };
    for ip in host::addresses() {
        params.subject_alt_names.push(SanType::IpAddress(ip));
    }
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, config.server_name.clone());
    params.distinguished_name = name;
    let now = time::OffsetDateTime::now_utc();
    params.not_before = now - time::Duration::days(1);
    params.not_after = now + time::Duration::days(365 * YEARS);
    let pair = KeyPair::generate().map_err(CertificateError::Make)?;
    let made = params.self_signed(&pair).map_err(CertificateError::Make)?;
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| CertificateError::File { path, source }
    };
    files::make_directory(&config.web(), 0o700).map_err(failed(&config.web()))?;
    files::write_atomic(key, pair.serialize_pem().as_bytes(), 0o600).map_err(failed(key))?;
    files::write_atomic(certificate, made.pem().as_bytes(), 0o644).map_err(failed(certificate))
}

fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let digest = digest::digest(&digest::SHA256, certificate);
    let pairs: Vec<String> = digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
    pairs.join(":")
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    fs::read(path).map_err(|source| CertificateError::File {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn config(dir: &Path) -> Config {
        Config {
            state_dir: dir.to_owned(),
            ..Config::default()
        }
    }

    #[test]
    fn an_own_certificate_is_made_once_and_its_key_is_for_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let first = load(&config(dir.path())).unwrap();
        let again = load(&config(dir.path())).unwrap();
        assert_eq!(first.fingerprint, again.fingerprint);
        assert_eq!(first.fingerprint.len(), 32 * 3 - 1);
        assert!(first.expires_at.unwrap() > Timestamp::now());
        let mode = fs::metadata(dir.path().join("web/key.pem"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn what_the_operator_gives_must_be_there_and_fit() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        load(&config(dir.path())).unwrap();
        load(&config(other.path())).unwrap();
        let own = |certificate: &Path, key: &Path| {
            let mut config = config(Path::new("/nowhere"));
            config.web_certificate = Some((certificate.join("web/cert.pem"), key.join("web/key.pem")));
            load(&config)
        };
        assert!(own(dir.path(), dir.path()).is_ok());
        assert!(matches!(
            own(dir.path(), other.path()),
            Err(CertificateError::Fit(_))
        ));
        assert!(matches!(
            own(Path::new("/x"), dir.path()),
            Err(CertificateError::File { .. })
        ));
        files::write_atomic(&dir.path().join("web/cert.pem"), b"nothing", 0o644).unwrap();
        assert!(matches!(
            own(dir.path(), dir.path()),
            Err(CertificateError::Content { .. })
        ));
    }
}
