//! What is known of the files of a central that was read over SSH, kept beside the record of the archive that was made of them.
//!
//! **Invariant:** it goes with its archive; without it everything is read again.

use std::path::PathBuf;

use uuid::Uuid;

use super::{Catalog, CatalogError, Reading, failed};
use crate::archive::manifest::Manifest;
use crate::durable;

/// How the files end in which this is kept.
pub(super) const ENDING: &str = "seen";

impl Catalog {
    /// The newest archive of the same central and configuration with which something is kept, and what that is.
    #[must_use]
    pub fn seen_before(&self, manifest: &Manifest) -> Option<(Reading, Vec<u8>)> {
        let (records, _) = self.list();
        let mut alike = records.into_iter().filter(|record| {
            record.central == manifest.central
                && record.central_address == manifest.central_address
                && record.tenant == manifest.tenant
                && record.configuration == manifest.configuration
        });
        alike.find_map(|record| {
            let kept = std::fs::read(self.seen_path(record.id)).ok()?;
            Some((self.read(record.id).ok()?, kept))
        })
    }

    /// Keeps it with an archive.
    ///
    /// # Errors
    /// [`CatalogError::Io`].
    pub fn keep_seen(&self, id: Uuid, bytes: &[u8]) -> Result<(), CatalogError> {
        let path = self.seen_path(id);
        durable::write_atomic(&path, bytes).map_err(failed("write", &path))
    }

    /// Forgets it.
    pub fn forget_seen(&self, id: Uuid) {
        self.forget_beside(id, ENDING);
    }

    fn seen_path(&self, id: Uuid) -> PathBuf {
        self.beside_record(id, ENDING)
    }
}
