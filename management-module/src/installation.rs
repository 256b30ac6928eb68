//! The installation key: what all satellites of this installation trust.
//!
//! **Invariant:** the key is made once, is readable for its owner only, and is never replaced by itself.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use satellite_proto::identity::{Identity, IdentityError, Installation, Role};

use crate::files;

/// How long a leaf is good for.
pub const LEAF_VALIDITY: Duration = Duration::from_hours(30 * 24);

/// When a leaf is replaced: early enough that a server that was switched off for a week still has time.
pub const LEAF_RENEWAL: Duration = Duration::from_hours(15 * 24);

/// Why there is no installation key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstallationError {
    /// A file cannot be read or written.
    #[error("cannot read or write {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// One of the two files is missing.
    #[error(
        "{} is missing while the other half of the installation key is there; put it back from a backup \
         (without it every satellite has to be paired again)", missing.display()
    )]
    Half {
        /// The missing file.
        missing: PathBuf,
    },
    /// The key is unusable.
    #[error("the installation key in {} is unusable; put it back from a backup", directory.display())]
    Unusable {
        /// Where.
        directory: PathBuf,
        /// What is wrong.
        #[source]
        source: IdentityError,
    },
}

/// The installation key in `directory`; made if there is none.
///
/// # Errors
/// [`InstallationError`].
pub fn load_or_make(directory: &Path) -> Result<Installation, InstallationError> {
    let (key_path, certificate_path) = (directory.join("key.pem"), directory.join("cert.pem"));
    let unusable = |source| InstallationError::Unusable {
        directory: directory.to_owned(),
        source,
    };
    match (read(&key_path)?, read(&certificate_path)?) {
        (Some(key), Some(certificate)) => Installation::from_pem(&key, &certificate).map_err(unusable),
        // The certificate is written first and means nothing without its key.
        (None, _) => {
            let installation = Installation::generate().map_err(unusable)?;
            files::make_directory(directory, 0o700).map_err(file(directory))?;
            files::write_atomic(
                &certificate_path,
                installation.certificate_pem().as_bytes(),
                0o644,
            )
            .map_err(file(&certificate_path))?;
            files::write_atomic(&key_path, installation.key_pem().as_bytes(), 0o600)
                .map_err(file(&key_path))?;
            tracing::info!(fingerprint = %installation.pin(), "Installation key made");
            Ok(installation)
        }
        (Some(_), None) => Err(InstallationError::Half {
            missing: certificate_path,
        }),
    }
}

/// A new leaf for this replica.
///
/// # Errors
/// [`IdentityError`].
pub fn issue_leaf(installation: &Installation, replica: &str) -> Result<Identity, IdentityError> {
    installation.issue(Role::Admin, replica, LEAF_VALIDITY)
}

fn read(path: &Path) -> Result<Option<String>, InstallationError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(InstallationError::File {
            path: path.to_owned(),
            source,
        }),
    }
}

fn file(path: &Path) -> impl FnOnce(io::Error) -> InstallationError {
    let path = path.to_owned();
    move |source| InstallationError::File { path, source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_key_is_made_once_and_only_for_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("installation");
        let first = load_or_make(&place).unwrap();
        let again = load_or_make(&place).unwrap();
        assert_eq!(first.pin(), again.pin());
        let mode = fs::metadata(place.join("key.pem")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::metadata(&place).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_key_without_its_certificate_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        load_or_make(dir.path()).unwrap();
        fs::remove_file(dir.path().join("cert.pem")).unwrap();
        assert!(matches!(
            load_or_make(dir.path()),
            Err(InstallationError::Half { .. })
        ));
    }

    #[test]
    fn a_leaf_is_an_administrator() {
        let installation = Installation::generate().unwrap();
        let leaf = issue_leaf(&installation, "pbx").unwrap();
        assert_eq!(
            satellite_proto::identity::role_of(&leaf.chain()[0]),
            Some(Role::Admin)
        );
    }
}
