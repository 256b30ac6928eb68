//! The chunks that are on the satellite, packed as they came. Those of one stream lie in one file: to make and name a
//! file for each would cost more than to check it.
//!
//! **Invariant:** a chunk is stored only after its content was checked; who reads it checks it again, so a power cut or a
//! bad disk costs a chunk and never a wrong file.

mod pack;

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use satellite_host::files::{self, FileError};
use satellite_proto::bundle::Digest;
use tracing::warn;
use uuid::Uuid;

use self::pack::{HEADER, Record};
use crate::cli::error_chain;

/// The longest packed chunk that is read, in bytes: the largest chunk with what packing may add.
pub(super) const FRAME_MOST: u64 = 512 * 1024;

/// Packs beyond which small ones are made one.
const PACKS_MOST: usize = 16;

/// Bytes below which a pack is a small one.
const SMALL: u64 = 64 * 1024 * 1024;

/// Bytes that are copied with one write when a pack is written anew.
const COPIED: usize = 1024 * 1024;

/// The directory of chunks, and what lies in it. A cheap handle; one process has one store.
#[derive(Debug, Clone)]
pub struct ChunkStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    /// Never held across an await.
    index: Mutex<Index>,
}

#[derive(Debug, Default)]
struct Index {
    packs: HashMap<Uuid, Pack>,
    chunks: HashMap<Digest, Place>,
}

#[derive(Debug)]
struct Pack {
    file: Arc<File>,
    /// Where its last chunk ends.
    end: u64,
    /// Whether a stream still appends to it.
    open: bool,
}

/// Where a chunk lies.
#[derive(Debug, Clone, Copy)]
struct Place {
    pack: Uuid,
    offset: u64,
    length: u32,
}

impl ChunkStore {
    /// Looks at what lies in `dir`, which is made when the first chunk comes. A file that cannot be read counts as
    /// not there.
    ///
    /// # Errors
    ///
    /// If the directory cannot be read.
    pub fn open(dir: PathBuf) -> Result<Self, FileError> {
        let mut index = Index::default();
        for path in entries(&dir)? {
            let Some(id) = id_of(&path) else { continue };
            match look(&path) {
                Ok((file, records, end)) => index.enter(id, file, records, end),
                Err(error) => warn!(path = %path.display(), %error, "Stored chunks cannot be read"),
            }
        }
        let inner = Inner {
            dir,
            index: Mutex::new(index),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.inner.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the chunk is there.
    #[must_use]
    pub fn has(&self, digest: Digest) -> bool {
        self.index().chunks.contains_key(&digest)
    }

    /// Takes the chunks of one stream.
    #[must_use]
    pub fn writer(&self) -> Writer {
        Writer {
            store: self.clone(),
            appending: Mutex::default(),
        }
    }

    /// The packed chunk, unchecked; `None` if it is not there.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub fn read(&self, digest: Digest) -> Result<Option<Vec<u8>>, FileError> {
        let found = self.index().place(digest);
        let Some((file, place)) = found else {
            return Ok(None);
        };
        match pack::read(&file, place.offset, place.length) {
            Ok(frame) => Ok(Some(frame)),
            // The file is shorter than it was.
            Err(err) if err.kind() == io::ErrorKind::UnexpectedEof => Ok(Some(Vec::new())),
            Err(source) => Err(self.failed("read", place.pack)(source)),
        }
    }

    /// Forgets a chunk that is damaged, also after a restart.
    ///
    /// # Errors
    ///
    /// If that cannot be recorded.
    pub fn remove(&self, digest: Digest) -> Result<(), FileError> {
        let mut index = self.index();
        let Some((file, place)) = index.place(digest) else {
            return Ok(());
        };
        pack::mark_damaged(&file, place.offset).map_err(self.failed("write", place.pack))?;
        index.chunks.remove(&digest);
        Ok(())
    }

    /// Makes another chunk of it, as a bad disk does.
    #[cfg(test)]
    pub(crate) fn spoil(&self, digest: Digest) {
        use std::os::unix::fs::FileExt as _;
        let (file, place) = self.index().place(digest).unwrap();
        file.write_all_at(b"rotten", place.offset).unwrap();
    }

    /// Brings all chunks to the disk.
    ///
    /// # Errors
    ///
    /// If the disk does not take them.
    pub fn sync(&self) -> Result<(), FileError> {
        if self.inner.dir.is_dir() {
            files::sync_file_system(&self.inner.dir)
        } else {
            Ok(())
        }
    }

    /// Forgets every chunk that is not in `kept` and of no stream under way, and gives its space back: files of which
    /// nothing is needed are removed, files of which a quarter or more is not needed are written anew, and so are many
    /// small ones. Returns how many chunks went.
    ///
    /// # Errors
    ///
    /// If the directory cannot be read or a file cannot be removed.
    pub fn sweep(&self, kept: &HashSet<Digest>) -> Result<usize, FileError> {
        let mut index = self.index();
        let Index { packs, chunks } = &mut *index;
        let before = chunks.len();
        let is_open = |pack: &Uuid| packs.get(pack).is_some_and(|pack| pack.open);
        chunks.retain(|digest, place| kept.contains(digest) || is_open(&place.pack));
        let swept = before.saturating_sub(chunks.len());
        self.tidy(&mut index)?;
        Ok(swept)
    }

    /// Makes one pack of many small ones: a link that is cut again and again leaves one each time, and each is an open file.
    ///
    /// # Errors
    ///
    /// As for [`ChunkStore::sweep`].
    pub fn gather(&self) -> Result<(), FileError> {
        let mut index = self.index();
        if index.packs.len() > PACKS_MOST {
            self.tidy(&mut index)?;
        }
        Ok(())
    }

    /// Gives back the space of what is in no chunk of the index.
    fn tidy(&self, index: &mut Index) -> Result<(), FileError> {
        let mut needed: HashMap<Uuid, u64> = HashMap::new();
        for place in index.chunks.values() {
            *needed.entry(place.pack).or_default() += HEADER + u64::from(place.length);
        }
        index
            .packs
            .retain(|id, pack| pack.open || needed.contains_key(id));
        let closed = index.packs.iter().filter(|(_, pack)| !pack.open);
        let closed: Vec<(Uuid, u64, u64)> = closed
            .map(|(id, pack)| (*id, needed.get(id).copied().unwrap_or_default(), pack.end))
            .collect();
        let many = closed.iter().filter(|(_, needed, _)| *needed < SMALL).count() > PACKS_MOST;
        let sparse = closed
            .into_iter()
            .filter_map(|(id, needed, end)| (needed <= end / 4 * 3 || many && needed < SMALL).then_some(id));
        let sparse: Vec<Uuid> = sparse.collect();
        if !sparse.is_empty()
            && let Err(error) = self.rewrite(index, &sparse)
        {
            // For want of space, as a rule: nothing is lost, and another sweep follows.
            warn!(error = %error_chain(&error), "Space of chunks that are not needed is given back later");
        }
        self.clear(index)
    }

    /// Copies what is needed of the packs `old` into a new one, which replaces them.
    fn rewrite(&self, index: &mut Index, old: &[Uuid]) -> Result<(), FileError> {
        let needed = index.chunks.iter().filter(|(_, place)| old.contains(&place.pack));
        let mut needed: Vec<(Digest, Place)> = needed.map(|(digest, place)| (*digest, *place)).collect();
        needed.sort_by_key(|(_, place)| (place.pack, place.offset));
        let id = Uuid::now_v7();
        let part = self.path_of(id).with_extension("part");
        let failed = |action| {
            let path = part.clone();
            move |source| FileError { action, path, source }
        };
        let file = create(&part).map_err(failed("make"))?;
        let (mut records, mut end) = (Vec::with_capacity(needed.len()), 0);
        let (mut batch, mut bytes) = (Vec::new(), 0);
        let mut left = needed.into_iter().peekable();
        while let Some((digest, place)) = left.next() {
            // What cannot be read is left behind: it is missing then, and pushed again.
            if let Some(pack) = index.packs.get(&place.pack)
                && let Ok(frame) = pack::read(&pack.file, place.offset, place.length)
            {
                bytes += frame.len();
                batch.push((digest, frame));
            }
            if bytes >= COPIED || left.peek().is_none() {
                let chunks: Vec<(Digest, &[u8])> =
                    batch.iter().map(|(d, frame)| (*d, frame.as_slice())).collect();
                let written = pack::append(&file, end, &chunks).map_err(failed("write"))?;
                end = end_of(&written, end);
                records.extend(written);
                (batch, bytes) = (Vec::new(), 0);
            }
        }
        file.sync_all().map_err(failed("write"))?;
        files::rename(&part, &self.path_of(id))?;
        index.chunks.retain(|_, place| !old.contains(&place.pack));
        index.packs.retain(|id, _| !old.contains(id));
        index.enter(id, file, records, end);
        Ok(())
    }

    /// Removes whatever lies among the packs and is none of them: the index is locked, so nobody makes one now.
    fn clear(&self, index: &Index) -> Result<(), FileError> {
        for path in entries(&self.inner.dir)? {
            let is_pack = id_of(&path).is_some_and(|id| index.packs.contains_key(&id));
            if !is_pack {
                files::remove_tree(&path)?;
            }
        }
        Ok(())
    }

    fn path_of(&self, pack: Uuid) -> PathBuf {
        self.inner.dir.join(format!("{}.pack", pack.simple()))
    }

    fn failed(&self, action: &'static str, pack: Uuid) -> impl FnOnce(io::Error) -> FileError {
        let path = self.path_of(pack);
        move |source| FileError { action, path, source }
    }
}

impl Index {
    fn place(&self, digest: Digest) -> Option<(Arc<File>, Place)> {
        let place = self.chunks.get(&digest)?;
        Some((self.packs.get(&place.pack)?.file.clone(), *place))
    }

    fn enter(&mut self, id: Uuid, file: File, records: Vec<Record>, end: u64) {
        let pack = Pack {
            file: Arc::new(file),
            end,
            open: false,
        };
        self.packs.insert(id, pack);
        self.list(id, records);
    }

    fn list(&mut self, pack: Uuid, records: Vec<Record>) {
        self.chunks.extend(records.into_iter().map(|record| {
            let Record {
                digest,
                offset,
                length,
            } = record;
            (digest, Place { pack, offset, length })
        }));
    }
}

/// Appends the chunks of one stream to a file of their own, which is made with the first of them. Its threads share it.
#[derive(Debug)]
pub struct Writer {
    store: ChunkStore,
    appending: Mutex<Option<Appending>>,
}

#[derive(Debug)]
struct Appending {
    id: Uuid,
    file: Arc<File>,
    end: u64,
}

impl Writer {
    /// Stores packed chunks whose content the caller has checked. They are on the disk only after [`ChunkStore::sync`].
    ///
    /// # Errors
    ///
    /// If they cannot be written; none of them is then there.
    pub fn put(&self, chunks: &[(Digest, &[u8])]) -> Result<(), FileError> {
        let mut appending = self.appending.lock().unwrap_or_else(PoisonError::into_inner);
        let mut seen = HashSet::new();
        let mut new = chunks.to_vec();
        {
            let index = self.store.index();
            new.retain(|(digest, _)| !index.chunks.contains_key(digest) && seen.insert(*digest));
        }
        if new.is_empty() {
            return Ok(());
        }
        let mut current = match appending.take() {
            Some(current) => current,
            None => self.begin()?,
        };
        match pack::append(&current.file, current.end, &new) {
            Ok(records) => {
                current.end = end_of(&records, current.end);
                let mut index = self.store.index();
                if let Some(pack) = index.packs.get_mut(&current.id) {
                    pack.end = current.end;
                }
                index.list(current.id, records);
                *appending = Some(current);
                Ok(())
            }
            Err(source) => {
                // Its position is beyond its end now: what comes next begins another.
                self.close(current.id);
                Err(self.store.failed("write", current.id)(source))
            }
        }
    }

    fn begin(&self) -> Result<Appending, FileError> {
        let id = Uuid::now_v7();
        let path = self.store.path_of(id);
        let mut index = self.store.index();
        files::create_dir(&self.store.inner.dir, 0o700)?;
        let file = create(&path).map_err(self.store.failed("make", id))?;
        let file = Arc::new(file);
        let pack = Pack {
            file: file.clone(),
            end: 0,
            open: true,
        };
        index.packs.insert(id, pack);
        Ok(Appending { id, file, end: 0 })
    }

    /// Nothing follows. A pack to which not even one chunk could be written is taken away with its name.
    fn close(&self, id: Uuid) {
        let mut index = self.store.index();
        match index.packs.get_mut(&id) {
            Some(pack) if pack.end == 0 => {
                index.packs.remove(&id);
                // What cannot be removed now is no chunk either, and goes with the next sweep.
                let _ = fs::remove_file(self.store.path_of(id));
            }
            Some(pack) => pack.open = false,
            None => {}
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let appending = self.appending.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(appending) = appending.take() {
            self.close(appending.id);
        }
    }
}

fn create(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = File::options();
    options
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

/// A pack that is there; what a cut left behind its last chunk is cut off, so that it takes no space.
fn look(path: &Path) -> io::Result<(File, Vec<Record>, u64)> {
    let file = File::options().read(true).write(true).open(path)?;
    let (records, end) = pack::scan(&file)?;
    if file.metadata()?.len() > end {
        file.set_len(end)?;
    }
    Ok((file, records, end))
}

fn end_of(records: &[Record], before: u64) -> u64 {
    records
        .last()
        .map_or(before, |last| last.offset + u64::from(last.length))
}

fn id_of(path: &Path) -> Option<Uuid> {
    let is_pack = path.extension().is_some_and(|extension| extension == "pack");
    is_pack.then(|| path.file_stem()?.to_str()?.parse().ok())?
}

/// What lies in a directory; nothing if there is none.
fn entries(dir: &Path) -> Result<Vec<PathBuf>, FileError> {
    let failed = |source| FileError {
        action: "read",
        path: dir.to_owned(),
        source,
    };
    match fs::read_dir(dir) {
        Ok(found) => found
            .map(|entry| entry.map(|entry| entry.path()).map_err(failed))
            .collect(),
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(err) => Err(failed(err)),
    }
}

#[cfg(test)]
mod tests;
