//! Seals what must be kept and must not be read: credentials of destinations.
//!
//! **Invariant:** what is sealed can be opened with the key and for the same purpose only; neither key nor content is ever
//! logged or shown. The key is a systemd credential if there is one, else a file that only its owner can read.

use std::fs::OpenOptions;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::rand::fill;

/// Name of the systemd credential: 32 bytes.
pub const CREDENTIAL: &str = "management-module.vault-key";
/// Bytes of a key.
const KEY: usize = 32;
/// First byte of what is sealed in this way.
const FORM: u8 = 1;

/// Seals and opens.
pub struct Vault {
    key: RandomizedNonceKey,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Vault")
    }
}

/// Why there is no vault, or why it does not open something.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VaultError {
    /// The key cannot be read or made.
    #[error("cannot read or make the key of the vault {}", path.display())]
    Key {
        /// Its file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The key's file is no key, or others may read it.
    #[error("{} is no key of the vault: it must be {KEY} bytes that only their owner can read (mode 0600)", path.display())]
    BadKey {
        /// The file.
        path: PathBuf,
    },
    /// It was sealed with another key, or is damaged.
    #[error("it was sealed with another key or is damaged: enter the credentials again")]
    Sealed,
    /// The machine has no randomness, or something is far too large.
    #[error("cannot seal")]
    Seal,
}

impl Vault {
    /// The vault of this state directory: its key is made if there is none.
    ///
    /// # Errors
    /// [`VaultError::Key`], [`VaultError::BadKey`].
    pub fn open(state_dir: &Path) -> Result<Self, VaultError> {
        let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
        let credential = credentials
            .map(|directory| directory.join(CREDENTIAL))
            .filter(|path| path.exists());
        // A credential is root's, read-only, in memory: systemd sees to that.
        let (path, is_ours) = match credential {
            Some(path) => (path, false),
            None => (state_dir.join("vault.key"), true),
        };
        let failed = |source| VaultError::Key {
            path: path.clone(),
            source,
        };
        if is_ours {
            make(&path).map_err(failed)?;
        }
        let file = std::fs::File::open(&path).map_err(failed)?;
        let mode = file.metadata().map_err(failed)?.mode();
        let mut key = Vec::with_capacity(KEY);
        file.take(KEY as u64 + 1).read_to_end(&mut key).map_err(failed)?;
        let is_private = !is_ours || mode & 0o077 == 0;
        if key.len() != KEY || !is_private {
            return Err(VaultError::BadKey { path });
        }
        let key = RandomizedNonceKey::new(&AES_256_GCM, &key).map_err(|_| VaultError::Seal)?;
        Ok(Self { key })
    }

    /// Seals `content` for a purpose: it can be opened for the same one only.
    ///
    /// # Errors
    /// [`VaultError::Seal`].
    pub fn seal(&self, purpose: &str, content: &[u8]) -> Result<Vec<u8>, VaultError> {
        let mut sealed = content.to_vec();
        let aad = Aad::from(purpose.as_bytes());
        let nonce = self
            .key
            .seal_in_place_append_tag(aad, &mut sealed)
            .map_err(|_| VaultError::Seal)?;
        let mut whole = vec![FORM];
        whole.extend_from_slice(nonce.as_ref());
        whole.append(&mut sealed);
        Ok(whole)
    }

    /// Opens what was sealed for a purpose.
    ///
    /// # Errors
    /// [`VaultError::Sealed`].
    pub fn unseal(&self, purpose: &str, sealed: &[u8]) -> Result<Vec<u8>, VaultError> {
        let body = sealed.strip_prefix(&[FORM]).ok_or(VaultError::Sealed)?;
        let (nonce, content) = body.split_at_checked(NONCE_LEN).ok_or(VaultError::Sealed)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| VaultError::Sealed)?;
        let mut content = content.to_vec();
        let aad = Aad::from(purpose.as_bytes());
        let opened = self
            .key
            .open_in_place(nonce, aad, &mut content)
            .map_err(|_| VaultError::Sealed)?;
        Ok(opened.to_vec())
    }
}

/// Makes the key if there is none; of two at once one makes it.
fn make(path: &Path) -> io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    let mut key = [0; KEY];
    fill(&mut key).map_err(|_| io::Error::other("no randomness"))?;
    let draft = path.with_extension(format!("new-{}", uuid::Uuid::new_v4()));
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)?;
    file.write_all(&key)?;
    file.sync_all()?;
    let linked = std::fs::hard_link(&draft, path);
    std::fs::remove_file(&draft)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => path.parent().map_or(Ok(()), crate::files::sync_directory),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_is_sealed_opens_with_its_key_and_for_its_purpose_only() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let vault = Vault::open(dir.path()).unwrap();
        let sealed = vault.seal("destination nas", b"Passw0rd").unwrap();
        assert!(!sealed.windows(8).any(|part| part == b"Passw0rd"));
        assert_ne!(sealed, vault.seal("destination nas", b"Passw0rd").unwrap());
        // Another process reads the same key.
        let again = Vault::open(dir.path()).unwrap();
        assert_eq!(again.unseal("destination nas", &sealed).unwrap(), b"Passw0rd");
        assert!(vault.unseal("destination nas2", &sealed).is_err());
        assert!(
            Vault::open(other.path())
                .unwrap()
                .unseal("destination nas", &sealed)
                .is_err()
        );
        for index in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[index] ^= 1;
            assert!(vault.unseal("destination nas", &changed).is_err(), "byte {index}");
        }
        assert!(vault.unseal("destination nas", &sealed[..5]).is_err());
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        Vault::open(dir.path()).unwrap();
        let path = dir.path().join("vault.key");
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(Vault::open(dir.path()), Err(VaultError::BadKey { .. })));
    }
}
