//! The chunks that are on the satellite, packed as they came, by digest.
//!
//! **Invariant:** a chunk lies under its name only after its content was checked; who reads it checks it again, so a
//! power cut or a bad disk costs a chunk and never a wrong file.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use satellite_host::files::{self, FileError};
use satellite_proto::bundle::Digest;
use uuid::Uuid;

/// The longest packed chunk that is read, in bytes: the largest chunk with what packing may add.
pub(super) const FRAME_MOST: u64 = 512 * 1024;

/// How long writing a chunk may take before what is there of it counts as left by an interrupted write.
const WRITING: Duration = Duration::from_secs(3600);

/// The directory of chunks. A cheap handle.
#[derive(Debug, Clone)]
pub struct ChunkStore {
    dir: PathBuf,
}

impl ChunkStore {
    /// Uses `dir`, which is made when the first chunk comes.
    #[must_use]
    pub fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// Whether the chunk is there. A name without content is what a power cut leaves of one that was not on the disk.
    #[must_use]
    pub fn has(&self, digest: Digest) -> bool {
        fs::metadata(self.path_of(digest)).is_ok_and(|found| found.is_file() && found.len() > 0)
    }

    /// Stores a packed chunk whose content the caller has checked. It is on the disk only after [`ChunkStore::sync`].
    ///
    /// # Errors
    ///
    /// If it cannot be written; nothing of it is then there.
    pub fn put(&self, digest: Digest, frame: &[u8]) -> Result<(), FileError> {
        if self.has(digest) {
            return Ok(());
        }
        let path = self.path_of(digest);
        if let Some(shelf) = path.parent().filter(|shelf| !shelf.is_dir()) {
            // Like the chunk it is on the disk with the next sync: a wait for each of 256 shelves is felt.
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(shelf);
            made.map_err(|source| FileError {
                action: "make directory",
                path: shelf.to_owned(),
                source,
            })?;
        }
        let temporary = path.with_file_name(format!(".{}", Uuid::new_v4().simple()));
        let written = fs::File::options()
            .write(true)
            .create_new(true)
            .open(&temporary)
            .and_then(|mut file| file.write_all(frame))
            .and_then(|()| fs::rename(&temporary, &path));
        written.map_err(|source| {
            // Whatever is left of it is swept with the next collection.
            let _ = fs::remove_file(&temporary);
            FileError {
                action: "write",
                path,
                source,
            }
        })
    }

    /// The packed chunk, unchecked; `None` if it is not there.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub fn read(&self, digest: Digest) -> Result<Option<Vec<u8>>, FileError> {
        files::read(&self.path_of(digest), FRAME_MOST)
    }

    /// Forgets a chunk.
    ///
    /// # Errors
    ///
    /// If it cannot be removed.
    pub fn remove(&self, digest: Digest) -> Result<(), FileError> {
        files::remove(&self.path_of(digest)).map(drop)
    }

    /// Brings all chunks to the disk.
    ///
    /// # Errors
    ///
    /// If the disk does not take them.
    pub fn sync(&self) -> Result<(), FileError> {
        if self.dir.is_dir() {
            files::sync_file_system(&self.dir)
        } else {
            Ok(())
        }
    }

    /// Removes every chunk that is not in `kept`, and what interrupted writes left. Returns how many went.
    ///
    /// # Errors
    ///
    /// If the directory cannot be read or a chunk cannot be removed.
    pub fn sweep(&self, kept: &HashSet<Digest>) -> Result<usize, FileError> {
        let mut swept = 0;
        for shelf in entries(&self.dir)? {
            for path in entries(&shelf)? {
                let digest = path
                    .file_name()
                    .and_then(|name| name.to_str()?.parse::<Digest>().ok());
                let keep = digest.map_or_else(|| is_young(&path), |digest| kept.contains(&digest));
                if keep {
                    continue;
                }
                match fs::remove_file(&path) {
                    Ok(()) => swept += 1,
                    Err(err) if err.kind() == io::ErrorKind::NotFound => {}
                    Err(source) => {
                        return Err(FileError {
                            action: "remove",
                            path,
                            source,
                        });
                    }
                }
            }
        }
        Ok(swept)
    }

    fn path_of(&self, digest: Digest) -> PathBuf {
        let name = digest.to_string();
        self.dir.join(&name[..2]).join(name)
    }
}

/// Whether what has no chunk's name may still be being written.
fn is_young(path: &Path) -> bool {
    let written = fs::metadata(path).and_then(|metadata| metadata.modified());
    written.is_ok_and(|written| written.elapsed().map_or(true, |age| age < WRITING))
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
mod tests {
    use super::*;

    #[test]
    fn chunks_are_kept_until_nobody_needs_them() {
        let dir = tempfile::tempdir().unwrap();
        let store = ChunkStore::new(dir.path().join("chunks"));
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        assert_eq!(store.read(a).unwrap(), None);
        store.put(a, b"packed a").unwrap();
        store.put(a, b"packed a").unwrap();
        store.put(b, b"packed b").unwrap();
        store.sync().unwrap();
        fs::File::create(store.path_of(b)).unwrap();
        assert!(!store.has(b), "only its name survived a power cut");
        store.put(b, b"packed b").unwrap();
        assert_eq!(store.read(a).unwrap().unwrap(), b"packed a");
        assert_eq!(store.sweep(&HashSet::from([a])).unwrap(), 1);
        assert!(store.has(a) && !store.has(b));
        assert_eq!(store.sweep(&HashSet::new()).unwrap(), 1);
    }

    #[test]
    fn what_an_interrupted_write_left_is_swept() {
        let dir = tempfile::tempdir().unwrap();
        let store = ChunkStore::new(dir.path().to_owned());
        store.put(Digest::of(b"a"), b"x").unwrap();
        let shelf = entries(dir.path()).unwrap().remove(0);
        let half = fs::File::create(shelf.join(".half")).unwrap();
        let kept = HashSet::from([Digest::of(b"a")]);
        assert_eq!(store.sweep(&kept).unwrap(), 0, "it may be being written");
        half.set_modified(std::time::SystemTime::now() - 2 * WRITING)
            .unwrap();
        assert_eq!(store.sweep(&HashSet::from([Digest::of(b"a")])).unwrap(), 1);
        assert!(store.has(Digest::of(b"a")));
    }
}
