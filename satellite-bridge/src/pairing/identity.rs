//! The satellite's own key: made once, at the first start.
//!
//! **Invariant:** the key is the truth. A key that cannot be read is never replaced by a new one; a certificate that is
//! missing or does not fit is made again around the key.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

use satellite_host::files::{self, FileError};
use satellite_proto::identity::{Identity, IdentityError};

use crate::journal::write_bytes;

/// Why the satellite has no identity.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The disk.
    #[error("cannot use `{}`", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The key cannot be read or made.
    #[error("the satellite's key `{}` cannot be used: a factory reset makes a new one", path.display())]
    Key {
        /// Which.
        path: PathBuf,
        /// Why.
        source: IdentityError,
    },
}

/// Reads the identity from `dir`, or makes it there at the first start.
///
/// # Errors
///
/// [`LoadError`]; nothing that was there was changed, except that a certificate may have been made anew.
pub fn load_or_make(dir: &Path, name: &str) -> Result<Identity, LoadError> {
    let (key_path, chain_path) = (dir.join("key.pem"), dir.join("cert.pem"));
    let file = |path: &Path| {
        let path = path.to_owned();
        move |source| LoadError::File { path, source }
    };
    let key = |source| LoadError::Key {
        path: key_path.clone(),
        source,
    };
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(file(dir))?;
    let Some(key_pem) = read(&key_path).map_err(file(&key_path))? else {
        let identity = Identity::generate(name).map_err(key)?;
        write_bytes(&key_path, identity.key_pem().as_bytes()).map_err(file(&key_path))?;
        write_bytes(&chain_path, identity.chain_pem().as_bytes()).map_err(file(&chain_path))?;
        tracing::info!(fingerprint = %identity.pin(), "Identity made");
        return Ok(identity);
    };
    fs::set_permissions(&key_path, fs::Permissions::from_mode(0o600)).map_err(file(&key_path))?;
    if let Some(chain_pem) = read(&chain_path).map_err(file(&chain_path))?
        && let Ok(identity) = Identity::from_pem(&key_pem, &chain_pem)
    {
        return Ok(identity);
    }
    let identity = Identity::rewrap(&key_pem, name).map_err(key)?;
    write_bytes(&chain_path, identity.chain_pem().as_bytes()).map_err(file(&chain_path))?;
    tracing::warn!(fingerprint = %identity.pin(), "Certificate was missing and is made anew");
    Ok(identity)
}

/// Removes the identity in `dir`: the next start makes another one.
///
/// # Errors
///
/// [`FileError`]: the key may still be there.
pub fn remove(dir: &Path) -> Result<(), FileError> {
    files::remove(&dir.join("key.pem"))?;
    files::remove(&dir.join("cert.pem"))?;
    Ok(())
}

fn read(path: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_stays_the_same_is_private_and_outlives_its_certificate() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("identity");
        let first = load_or_make(&dir, "s1").unwrap().pin();
        assert_eq!(load_or_make(&dir, "s1").unwrap().pin(), first);
        let mode = fs::metadata(dir.join("key.pem")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        for damage in [None, Some(""), Some("no certificate")] {
            fs::remove_file(dir.join("cert.pem")).unwrap();
            if let Some(text) = damage {
                write_bytes(&dir.join("cert.pem"), text.as_bytes()).unwrap();
            }
            assert_eq!(load_or_make(&dir, "s1").unwrap().pin(), first);
        }
    }

    #[test]
    fn a_key_that_cannot_be_read_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        load_or_make(dir.path(), "s1").unwrap();
        write_bytes(&dir.path().join("key.pem"), b"damaged").unwrap();
        assert!(matches!(
            load_or_make(dir.path(), "s1"),
            Err(LoadError::Key { .. })
        ));
        assert_eq!(fs::read(dir.path().join("key.pem")).unwrap(), b"damaged");
    }
}
