//! The archives that are kept: files below `archives/`, and a record of each in `catalogue/`.
//!
//! **Invariants:** an archive has its final name only after it was verified on disk; a record is only an answer kept
//! ready: it is made again from the archive when it is missing, so no crash loses an archive or lists half of one.

mod delete;
pub mod record;
mod scan;
mod seals;
mod seen;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use crate::archive::manifest::Manifest;
use crate::archive::names::Label;
use crate::archive::write::Room;
use crate::destination::path::Mark;
use crate::durable::{self, PART};
pub use record::Record;
pub use seals::SealedArchive;

/// Why the catalogue could not do something.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogError {
    /// There is no such archive.
    #[error("there is no archive {0}: list the archives to see which there are")]
    NotFound(Uuid),
    /// There is no such file that cannot be read.
    #[error("there is no unreadable file `{0}`: list the archives to see which there are")]
    NoFile(String),
    /// Somebody reads it.
    #[error("the archive {0} is being read: try again when that has ended")]
    Busy(Uuid),
    /// The same run is being written already, or was and is being read.
    #[error("an archive of the same run is being written or read: ask again when that has ended")]
    InProgress,
    /// A file of that name is there.
    #[error("`{0}` is there already")]
    Exists(String),
    /// The disk.
    #[error("cannot {what} `{path}`")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

fn failed<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> CatalogError + 'a {
    move |source| CatalogError::Io {
        what,
        path: path.to_owned(),
        source,
    }
}

/// How the files end that are kept with a record, and are of no use without it.
const WITH_RECORDS: [&str; 2] = [seals::ENDING, seen::ENDING];

/// A handle on the catalogue.
#[derive(Debug, Clone)]
pub struct Catalog(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: PathBuf,
    directory: Label,
    reserve: u64,
    known: Mutex<Known>,
    /// Held while it is found out what an archive becomes when it is encrypted.
    sealing: Mutex<()>,
}

#[derive(Debug, Default)]
struct Known {
    records: BTreeMap<Uuid, Record>,
    readers: BTreeMap<Uuid, usize>,
    writing: BTreeSet<String>,
    unreadable: BTreeMap<String, String>,
    /// Archives that have no record yet, with the key of their run.
    expected: BTreeMap<String, String>,
}

impl Known {
    /// What a run with this key has made.
    fn made(&self, key: &str) -> Result<Option<Record>, CatalogError> {
        if key.is_empty() {
            return Ok(None);
        }
        let made = self.records.values().find(|record| record.idempotency_key == key);
        let under_way = self.writing.contains(key) || self.expected.values().any(|expected| *expected == key);
        match made {
            Some(record) => Ok(Some(record.clone())),
            None if under_way => Err(CatalogError::InProgress),
            None => Ok(None),
        }
    }
}

/// While it lives, the archive cannot be deleted.
#[derive(Debug)]
pub struct Reading {
    catalog: Catalog,
    /// The archive.
    pub record: Record,
    /// Its file.
    pub path: PathBuf,
}

impl Drop for Reading {
    fn drop(&mut self) {
        let mut known = self.catalog.known();
        if let Some(count) = known.readers.get_mut(&self.record.id) {
            *count -= 1;
            if *count == 0 {
                known.readers.remove(&self.record.id);
            }
        }
    }
}

/// An archive that is being written. Dropped before [`Self::commit`], it leaves nothing.
#[derive(Debug)]
pub struct Writing {
    catalog: Catalog,
    key: String,
    part: PathBuf,
    path: PathBuf,
    committed: bool,
}

/// What [`Catalog::begin`] finds.
#[derive(Debug)]
pub enum Begun {
    /// A new archive may be written into this file.
    New(Writing, File),
    /// The same run has left this one.
    Existing(Box<Record>),
}

impl Catalog {
    /// Opens the state directory, removes what a crash left half done and reads the records. Archives without a
    /// record are found by [`Self::adopt`].
    ///
    /// # Errors
    /// [`CatalogError::Io`].
    pub fn open(state: &Path, directory: Label, reserve: u64) -> Result<Self, CatalogError> {
        let known = Mutex::default();
        let catalog = Self(Arc::new(Inner {
            state: state.to_owned(),
            directory,
            reserve,
            known,
            sealing: Mutex::default(),
        }));
        for place in [
            catalog.root(),
            catalog.records(),
            catalog.spool(),
            catalog.copies(),
        ] {
            durable::create_dir(&place).map_err(failed("make the directory", &place))?;
        }
        catalog.clean()?;
        catalog.load()?;
        catalog.expect()?;
        Ok(catalog)
    }

    /// What marks the temporaries of this service at destinations: made at the first start, and kept.
    ///
    /// # Errors
    /// [`CatalogError::Io`].
    pub fn mark(&self) -> Result<Mark, CatalogError> {
        let path = self.0.state.join("mark.json");
        let kept = std::fs::read(&path).ok();
        let kept = kept.and_then(|bytes| serde_json::from_slice::<String>(&bytes).ok());
        if let Some(mark) = kept.as_deref().and_then(Mark::new) {
            return Ok(mark);
        }
        let mark = Mark::random();
        durable::write_atomic(&path, format!("{:?}\n", mark.as_str()).as_bytes())
            .map_err(failed("write", &path))?;
        Ok(mark)
    }

    /// Where archives lie, a directory for each configuration.
    fn root(&self) -> PathBuf {
        self.0.state.join("archives").join(self.0.directory.as_str())
    }

    fn records(&self) -> PathBuf {
        self.0.state.join("catalogue")
    }

    fn spool(&self) -> PathBuf {
        self.0.state.join("spool")
    }

    /// Where copies lie that are wanted on this very disk.
    #[must_use]
    pub fn copies(&self) -> PathBuf {
        self.0.state.join("copies")
    }

    /// The space for new archives.
    #[must_use]
    pub fn room(&self) -> Room {
        Room {
            directory: self.spool(),
            reserve: self.0.reserve,
        }
    }

    /// Bytes of the file system, and of all archives.
    ///
    /// # Errors
    /// What the system said.
    pub fn used(&self) -> io::Result<(u64, u64)> {
        let stat = nix::sys::statvfs::statvfs(&self.0.state)?;
        let archives = self.known().records.values().map(|r| r.size_bytes).sum();
        Ok((stat.blocks() as u64 * stat.fragment_size() as u64, archives))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All archives, newest first, and files that could not be read with the reason.
    #[must_use]
    pub fn list(&self) -> (Vec<Record>, Vec<String>) {
        let known = self.known();
        let mut records: Vec<_> = known.records.values().cloned().collect();
        records.sort_by_key(|r| std::cmp::Reverse((r.create_time, r.id)));
        let unreadable = known
            .unreadable
            .iter()
            .map(|(name, reason)| format!("{name}: {reason}"));
        (records, unreadable.take(1000).collect())
    }

    /// An archive.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`].
    pub fn get(&self, id: Uuid) -> Result<Record, CatalogError> {
        self.known()
            .records
            .get(&id)
            .cloned()
            .ok_or(CatalogError::NotFound(id))
    }

    /// Keeps an archive from being deleted.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`].
    pub fn read(&self, id: Uuid) -> Result<Reading, CatalogError> {
        let mut known = self.known();
        let record = known
            .records
            .get(&id)
            .cloned()
            .ok_or(CatalogError::NotFound(id))?;
        *known.readers.entry(id).or_default() += 1;
        let path = self.path(&record);
        Ok(Reading {
            catalog: self.clone(),
            record,
            path,
        })
    }

    fn path(&self, record: &Record) -> PathBuf {
        self.root().join(&record.directory).join(&record.file_name)
    }

    /// Begins an archive, unless one with the same key is there.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub fn begin(&self, manifest: &Manifest) -> Result<Begun, CatalogError> {
        let directory = self.root().join(manifest.directory());
        let path = directory.join(manifest.file_name());
        let part = path.with_extension(format!("sar.{PART}"));
        let key = manifest.idempotency_key.clone();
        {
            let mut known = self.known();
            if let Some(record) = known.made(&key)? {
                return Ok(Begun::Existing(Box::new(record)));
            }
            if !known.writing.insert(key.clone()) {
                return Err(CatalogError::InProgress);
            }
        }
        // From here on the key is given back by dropping this.
        let writing = Writing {
            catalog: self.clone(),
            key,
            part,
            path,
            committed: false,
        };
        if writing.path.exists() {
            return Err(CatalogError::Exists(manifest.file_name()));
        }
        durable::create_dir(&directory).map_err(failed("make the directory", &directory))?;
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(true);
        let file = options
            .open(&writing.part)
            .map_err(failed("make", &writing.part))?;
        Ok(Begun::New(writing, file))
    }

    /// What a run with this key has made before, if it has.
    ///
    /// # Errors
    /// [`CatalogError::InProgress`] it is being made.
    pub fn made(&self, key: &str) -> Result<Option<Record>, CatalogError> {
        self.known().made(key)
    }

    /// Notes that all digests of an archive were found right just now.
    ///
    /// # Errors
    /// [`CatalogError::Io`].
    pub fn verified(&self, id: Uuid) -> Result<Record, CatalogError> {
        let mut record = self.get(id)?;
        record.verify_time = Some(jiff::Timestamp::now());
        self.keep(&record)?;
        Ok(record)
    }

    /// Writes a record and lists the archive.
    fn keep(&self, record: &Record) -> Result<(), CatalogError> {
        let path = self.record_path(record.id);
        durable::write_atomic(&path, &record.to_json()).map_err(failed("write", &path))?;
        self.known().records.insert(record.id, record.clone());
        Ok(())
    }

    fn record_path(&self, id: Uuid) -> PathBuf {
        self.beside_record(id, "json")
    }

    fn beside_record(&self, id: Uuid, ending: &str) -> PathBuf {
        self.records().join(format!("{id}.{ending}"))
    }

    fn forget_beside(&self, id: Uuid, ending: &str) {
        let path = self.beside_record(id, ending);
        match durable::remove(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %path.display(), %error, "What was kept with an archive stays");
            }
            _ => {}
        }
    }

    /// Forgets what is kept with an archive besides its record: what it was encrypted with, and what the central looked like.
    fn forget_with(&self, id: Uuid) {
        for ending in WITH_RECORDS {
            self.forget_beside(id, ending);
        }
    }
}

impl Writing {
    /// The file while it is being written.
    #[must_use]
    pub fn part(&self) -> &Path {
        &self.part
    }

    /// The commit point: gives the archive, which is whole on disk, its name, and lists it.
    ///
    /// # Errors
    /// [`CatalogError::Io`].
    pub fn commit(mut self, record: &Record) -> Result<(), CatalogError> {
        durable::rename(&self.part, &self.path).map_err(failed("rename to", &self.path))?;
        self.committed = true;
        satellite_host::fail_point("archive.named");
        // The archive has its name and is whole: without its record it is listed all the same, and read anew at the
        // next start.
        if let Err(error) = self.catalog.keep(record) {
            tracing::warn!(archive = %record.id, %error, "The record of an archive is not on disk");
            self.catalog.known().records.insert(record.id, record.clone());
        }
        Ok(())
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        if !self.committed
            && let Err(error) = std::fs::remove_file(&self.part)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(part = %self.part.display(), %error, "Half an archive stays until the next start");
        }
        self.catalog.known().writing.remove(&self.key);
    }
}
