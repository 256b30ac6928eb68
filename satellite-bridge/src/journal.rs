//! Write-ahead records on disk: one JSON file a record, which is there whole or not at all.
//!
//! **Invariant:** a record that was written is on the disk when the call returns, and nothing here decides what a
//! record means.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use satellite_host::files;
use serde::{Serialize, de::DeserializeOwned};

/// Why a record cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The file cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not what we wrote.
    #[error("`{}` is damaged", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// The file cannot be written.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Reads the record at `path`; `None` if there is none.
///
/// # Errors
///
/// [`JournalError::Damaged`] if it is not JSON of this type: the file is left as it is.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, JournalError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(JournalError::Read {
                path: path.to_owned(),
                source,
            });
        }
    };
    let record = serde_json::from_slice(&bytes);
    record.map(Some).map_err(|source| JournalError::Damaged {
        path: path.to_owned(),
        source,
    })
}

/// Writes the record to `path`, readable by its owner only; it is on the disk afterwards.
///
/// # Errors
///
/// [`JournalError::Write`]: the old record is still there.
pub fn write<T: Serialize>(path: &Path, record: &T) -> Result<(), JournalError> {
    let failed = |source| JournalError::Write {
        path: path.to_owned(),
        source,
    };
    let bytes = serde_json::to_vec_pretty(record).map_err(|source| failed(source.into()))?;
    write_bytes(path, &bytes).map_err(failed)
}

/// Removes the record, if there is one; it stays removed after a power cut.
///
/// # Errors
///
/// [`JournalError::Write`]: it may be back after a power cut.
pub fn remove(path: &Path) -> Result<(), JournalError> {
    let failed = |source| JournalError::Write {
        path: path.to_owned(),
        source,
    };
    files::remove(path)
        .map(drop)
        .map_err(|error| failed(error.source))
}

/// Writes `bytes` to `path` with mode 0600: whole or not at all, on the disk afterwards.
pub(crate) fn write_bytes(path: &Path, bytes: &[u8]) -> io::Result<()> {
    files::write_atomic(path, bytes, 0o600).map_err(|error| error.source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_back_replaced_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("record.json");
        assert_eq!(read::<u32>(&path).unwrap(), None);
        write(&path, &1_u32).unwrap();
        write(&path, &2_u32).unwrap();
        assert_eq!(read::<u32>(&path).unwrap(), Some(2));
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert_eq!(read::<u32>(&path).unwrap(), None);
    }

    #[test]
    fn a_damaged_record_is_named_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("record.json");
        write_bytes(&path, b"{").unwrap();
        assert!(matches!(read::<u32>(&path), Err(JournalError::Damaged { .. })));
        assert!(path.exists());
    }
}
