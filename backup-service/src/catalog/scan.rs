//! What happens to the catalogue at start: leftovers go, records are read, bare archives are found again.

use std::collections::BTreeSet;
use std::fs::{DirEntry, Metadata};
use std::io;
use std::path::Path;

use super::{Catalog, CatalogError, Record, failed};
use crate::archive::read::Archive;
use crate::archive::verify::verify;
use crate::durable::{self, PART};

/// Most entries of a directory that are looked at.
const MOST: usize = 100_000;

impl Catalog {
    /// Removes what was being written when the service ended.
    pub(super) fn clean(&self) -> Result<(), CatalogError> {
        let root = self.root();
        let mut places = vec![self.records(), self.spool(), root.clone()];
        places.extend(
            entries(&root)?
                .into_iter()
                .filter(|(_, m)| m.is_dir())
                .map(|(e, _)| e.path()),
        );
        for place in places {
            for (entry, metadata) in entries(&place)? {
                let path = entry.path();
                if metadata.is_file() && path.extension().is_some_and(|e| e == PART) {
                    durable::remove(&path).map_err(failed("remove", &path))?;
                    tracing::info!(path = %path.display(), "Removed what an interrupted run left");
                }
            }
        }
        Ok(())
    }

    /// Reads all records whose archive is there.
    pub(super) fn load(&self) -> Result<(), CatalogError> {
        for (entry, _) in entries(&self.records())? {
            let path = entry.path();
            let id = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
            let is_with_record = path
                .extension()
                .is_some_and(|ending| super::WITH_RECORDS.iter().any(|with| ending == *with));
            if let Some(id) = id.filter(|_| is_with_record)
                && !self.record_path(id).exists()
            {
                self.forget_with(id);
            }
            if path.extension().is_none_or(|e| e != "json") || entry.file_name() == super::delete::DELETED {
                continue;
            }
            let record = std::fs::read(&path)
                .ok()
                .and_then(|bytes| serde_json::from_slice::<Record>(&bytes).ok());
            let record = record.filter(Record::is_safe);
            let there = record
                .as_ref()
                .and_then(|r| std::fs::symlink_metadata(self.path(r)).ok());
            match (record, there) {
                (Some(record), Some(file)) if file.is_file() && file.len() == record.size_bytes => {
                    self.known().records.insert(record.id, record);
                }
                _ => {
                    tracing::warn!(path = %path.display(), "Dropped a record that does not fit its archive");
                    durable::remove(&path).map_err(failed("remove", &path))?;
                }
            }
        }
        Ok(())
    }

    /// Looks for archives without a record, reads each whole and lists it, or says why it is unreadable. Blocks;
    /// `stop` is asked between two archives.
    ///
    /// # Errors
    /// [`CatalogError::Io`] if a directory cannot be read.
    pub fn adopt(&self, stop: impl Fn() -> bool) -> Result<(), CatalogError> {
        for (directory, name) in self.bare()? {
            if stop() {
                return Ok(());
            }
            let shown = format!("{directory}/{name}");
            self.adopt_one(directory, name, shown.clone());
            self.known().expected.remove(&shown);
        }
        Ok(())
    }

    /// Notes of which runs the archives without a record are: until they are read, nobody begins such a run anew.
    pub(super) fn expect(&self) -> Result<(), CatalogError> {
        for (directory, name) in self.bare()? {
            let archive = Archive::open(&self.root().join(&directory).join(&name));
            // One that cannot be read is found to be so later.
            if let Ok(manifest) = archive.and_then(|archive| archive.manifest()) {
                let shown = format!("{directory}/{name}");
                self.known().expected.insert(shown, manifest.idempotency_key);
            }
        }
        Ok(())
    }

    /// Directory and name of the archives without a record.
    fn bare(&self) -> Result<Vec<(String, String)>, CatalogError> {
        let mut bare = Vec::new();
        for (directory, metadata) in entries(&self.root())? {
            let Some(directory) = directory
                .file_name()
                .into_string()
                .ok()
                .filter(|_| metadata.is_dir())
            else {
                continue;
            };
            for (entry, metadata) in entries(&self.root().join(&directory))? {
                let is_archive = metadata.is_file() && entry.path().extension().is_some_and(|e| e == "sar");
                let Some(name) = entry.file_name().into_string().ok().filter(|_| is_archive) else {
                    continue;
                };
                bare.push((directory.clone(), name));
            }
        }
        let known = self.known();
        let listed: BTreeSet<_> = known
            .records
            .values()
            .map(|record| (record.directory.as_str(), record.file_name.as_str()))
            .collect();
        bare.retain(|(directory, name)| !listed.contains(&(directory.as_str(), name.as_str())));
        Ok(bare)
    }

    fn adopt_one(&self, directory: String, name: String, shown: String) {
        let is_known = |r: &Record| r.directory == directory && r.file_name == name;
        if self.known().records.values().any(is_known) {
            return;
        }
        let path = self.root().join(&directory).join(&name);
        match read_record(&path, &directory, &name) {
            Ok(record) if self.known().records.contains_key(&record.id) => {
                self.known()
                    .unreadable
                    .insert(shown, format!("a copy of the archive {}", record.id));
            }
            // It has been committed meanwhile, or was deleted while it was read.
            Ok(record) if !self.path(&record).is_file() => {}
            Ok(record) => match self.keep(&record) {
                Ok(()) => {
                    tracing::info!(archive = %record.id, file = shown, "Found an archive without a record")
                }
                Err(error) => tracing::error!(%error, file = shown, "Cannot keep the record of an archive"),
            },
            Err(reason) => {
                tracing::warn!(file = shown, reason, "Found a file that is no readable archive");
                self.known().unreadable.insert(shown, reason);
            }
        }
    }
}

fn read_record(path: &Path, directory: &str, name: &str) -> Result<Record, String> {
    let archive = Archive::open(path).map_err(|e| e.to_string())?;
    let report = verify(&archive, None, 1).map_err(|e| e.to_string())?;
    match (report.manifest, report.problems.first()) {
        (Some(manifest), None) => {
            let mut record = Record::new(&manifest, report.totals, archive.size, report.sha256);
            record.left_out = report.left_out;
            directory.clone_into(&mut record.directory);
            name.clone_into(&mut record.file_name);
            Ok(record)
        }
        (_, problem) => Err(problem
            .cloned()
            .unwrap_or_else(|| "it has no manifest".to_owned())),
    }
}

/// Entries of a directory with what they are; links are not followed.
fn entries(path: &Path) -> Result<Vec<(DirEntry, Metadata)>, CatalogError> {
    let read = || -> io::Result<Vec<_>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(path)?.take(MOST) {
            let entry = entry?;
            match entry.metadata() {
                Ok(metadata) => found.push((entry, metadata)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    };
    read().map_err(failed("read the directory", path))
}
