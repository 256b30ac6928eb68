//! The certificate that is kept with its key, in one file, so that both are old or both are new.

use std::io;
use std::path::PathBuf;

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::config::Config;
use crate::files;

/// Why it cannot be kept, or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeptError {
    /// The file cannot be used.
    #[error("cannot use {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is something else in it.
    #[error("{} holds no certificate", path.display())]
    Content {
        /// The file.
        path: PathBuf,
    },
}

/// What is known of a certificate that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// From when it is good.
    pub from: Timestamp,
    /// Until when it is good.
    pub until: Timestamp,
    names: Vec<String>,
}

impl Kept {
    /// Where it lies.
    #[must_use]
    pub fn path(config: &Config) -> PathBuf {
        config.acme().join("certificate.pem")
    }

    /// What is kept; none: nothing yet.
    ///
    /// # Errors
    /// [`KeptError`].
    pub fn read(config: &Config) -> Result<Option<Self>, KeptError> {
        let path = Self::path(config);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(KeptError::File { path, source }),
        };
        let kept = Self::of(&text).ok_or(KeptError::Content { path })?;
        Ok(Some(kept))
    }

    /// Keeps a certificate with its key, both as PEM, in the place of what was kept.
    ///
    /// # Errors
    /// [`KeptError`]: then what was kept still is.
    pub fn write(config: &Config, chain: &str, key: &str) -> Result<Self, KeptError> {
        let path = Self::path(config);
        let text = format!("{}\n{}", chain.trim_end(), key);
        let Some(kept) = Self::of(text.as_bytes()) else {
            return Err(KeptError::Content { path });
        };
        match files::write_atomic(&path, text.as_bytes(), 0o600) {
            Ok(()) => Ok(kept),
            Err(source) => Err(KeptError::File { path, source }),
        }
    }

    fn of(text: &[u8]) -> Option<Self> {
        let leaf = CertificateDer::pem_slice_iter(text).next()?.ok()?;
        let (_, leaf) = X509Certificate::from_der(&leaf).ok()?;
        let names = leaf.subject_alternative_name().ok()??;
        let name = |name: &GeneralName<'_>| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        };
        Some(Self {
            from: Timestamp::from_second(leaf.validity().not_before.timestamp()).ok()?,
            until: Timestamp::from_second(leaf.validity().not_after.timestamp()).ok()?,
            names: names.value.general_names.iter().filter_map(name).collect(),
        })
    }

    /// Whether it is good for all of `names`.
    #[must_use]
    pub fn is_for(&self, names: &[String]) -> bool {
        names.iter().all(|name| self.names.contains(name))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_is_kept_is_for_its_owner_and_stays_when_something_else_comes() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config {
            state_dir: dir.path().to_owned(),
            ..Config::default()
        };
        assert_eq!(Kept::read(&config).unwrap(), None);
        std::fs::create_dir_all(config.acme()).unwrap();
        let names = ["a.example.com", "b.example.com"].map(str::to_owned);
        let made = rcgen::generate_simple_self_signed(names.clone()).unwrap();
        let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let kept = Kept::write(&config, &chain, &key).unwrap();
        assert!(kept.is_for(&names) && !kept.is_for(&["c.example.com".to_owned()]));
        assert!(kept.from < kept.until);
        let wrong = Kept::write(&config, "nothing", &key).unwrap_err();
        assert!(matches!(wrong, KeptError::Content { .. }));
        assert_eq!(Kept::read(&config).unwrap(), Some(kept));
        let mode = std::fs::metadata(Kept::path(&config))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
