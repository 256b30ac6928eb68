//! Deletes archives. The file goes first: what is left after a crash is a record without a file, which the next start
//! drops.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Catalog, CatalogError, failed};
use crate::durable;

/// File with the last deletions, so that a repeated call gets the first answer.
pub(super) const DELETED: &str = "deleted.json";

/// Deletions that are remembered.
const REMEMBERED: usize = 1000;

#[derive(Debug, Default, Serialize, Deserialize)]
struct Deleted {
    keys: Vec<(Uuid, String)>,
}

fn remembered(list: &Path) -> Deleted {
    std::fs::read(list)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default()
}

fn remember(list: &Path, deleted: &mut Deleted, entry: (Uuid, String)) {
    deleted.keys.push(entry);
    let surplus = deleted.keys.len().saturating_sub(REMEMBERED);
    deleted.keys.drain(..surplus);
    let bytes = serde_json::to_vec(deleted).unwrap_or_default();
    // Where the disk is full, deleting is the way out: it must not need space.
    if let Err(error) = durable::write_atomic(list, &bytes) {
        tracing::warn!(%error, "A repetition of this deletion will not be known as one");
    }
}

impl Catalog {
    /// Removes an archive. A repetition with the same key succeeds again.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`], [`CatalogError::Busy`] while it is read, [`CatalogError::Io`].
    pub fn delete(&self, id: Uuid, key: &str) -> Result<(), CatalogError> {
        let list = self.deleted_path();
        // Held until the end, so that nobody begins to read what goes; deletions are short.
        let mut known = self.known();
        let mut deleted = remembered(&list);
        let entry = (id, key.to_owned());
        let Some(record) = known.records.get(&id) else {
            let repeated = !key.is_empty() && deleted.keys.contains(&entry);
            return if repeated {
                Ok(())
            } else {
                Err(CatalogError::NotFound(id))
            };
        };
        if known.readers.contains_key(&id) {
            return Err(CatalogError::Busy(id));
        }
        if !key.is_empty() {
            remember(&list, &mut deleted, entry);
        }
        let path = self.path(record);
        durable::remove(&path).map_err(failed("remove", &path))?;
        satellite_host::fail_point("archive.removed");
        known.records.remove(&id);
        self.forget_with(id);
        let record_path = self.record_path(id);
        durable::remove(&record_path).map_err(failed("remove", &record_path))
    }

    /// Removes a file that was found among the archives and is none. A repetition with the same key succeeds again.
    ///
    /// # Errors
    /// [`CatalogError::NoFile`] for a name that [`Self::list`] does not call unreadable; [`CatalogError::Io`].
    pub fn delete_unreadable(&self, name: &str, key: &str) -> Result<(), CatalogError> {
        let list = self.deleted_path();
        let mut known = self.known();
        let mut deleted = remembered(&list);
        let entry = (Uuid::nil(), format!("{key} {name}"));
        // Only what a scan found below the archives is in the list: no name leads anywhere else.
        if !known.unreadable.contains_key(name) {
            return if deleted.keys.contains(&entry) {
                Ok(())
            } else {
                Err(CatalogError::NoFile(name.to_owned()))
            };
        }
        remember(&list, &mut deleted, entry);
        let path = self.root().join(name);
        durable::remove(&path).map_err(failed("remove", &path))?;
        known.unreadable.remove(name);
        Ok(())
    }

    fn deleted_path(&self) -> PathBuf {
        self.records().join(DELETED)
    }
}
