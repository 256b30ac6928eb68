//! Files that appear whole or not at all, and stay after a power cut.
//!
//! **Invariant:** a function that returns `Ok` has brought its change to the disk, directory entry included.
//! **Invariant:** nothing here follows a symbolic link below the directory that it was given.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use tracing::trace;
use uuid::Uuid;

mod beneath;
mod tree;

pub use beneath::Beneath;
pub use tree::remove_tree;

/// What could not be done, and to which path.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}", path.display())]
pub struct FileError {
    /// What was being done: "write", "rename".
    pub action: &'static str,
    /// To what.
    pub path: PathBuf,
    /// What the kernel said.
    #[source]
    pub source: io::Error,
}

impl FileError {
    /// Whether the disk is full (or the quota is used up).
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(
            self.source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        )
    }

    /// Whether the file system takes no writes: it was mounted so, or the kernel made it so when the disk failed.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.source.kind() == io::ErrorKind::ReadOnlyFilesystem
    }

    /// Whether the path does not exist.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }
}

/// Adds action and path to what the kernel said.
pub(crate) fn failed<E: Into<io::Error>>(action: &'static str, path: &Path) -> impl FnOnce(E) -> FileError {
    move |source| FileError {
        action,
        path: path.to_owned(),
        source: source.into(),
    }
}

/// Replaces the file at `path` by one with `bytes` and `mode`, or makes it.
///
/// A reader sees the old file or the new one, also after a power cut: the bytes go to a new file beside it, which is
/// synchronised and then renamed.
///
/// # Errors
///
/// If any step fails; the old file is then still there and nothing else is.
pub fn write_atomic(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    let temporary = temporary_beside(path);
    let written = write_new(&temporary, bytes, mode).and_then(|()| fs::rename(&temporary, path));
    if let Err(source) = written {
        discard(&temporary);
        return Err(FileError {
            action: "write",
            path: path.to_owned(),
            source,
        });
    }
    sync_parent(path)
}

/// Lets `link` point to `target`, in one step if it pointed elsewhere.
///
/// # Errors
///
/// If any step fails; `link` is then what it was.
pub fn link_atomic(target: &Path, link: &Path) -> Result<(), FileError> {
    let temporary = temporary_beside(link);
    let made = symlink(target, &temporary).and_then(|()| fs::rename(&temporary, link));
    if let Err(source) = made {
        discard(&temporary);
        return Err(FileError {
            action: "link",
            path: link.to_owned(),
            source,
        });
    }
    sync_parent(link)
}

/// Moves `from` to `to` on the same file system and brings both directories to the disk.
///
/// # Errors
///
/// If the rename or one of the directories fails.
pub fn rename(from: &Path, to: &Path) -> Result<(), FileError> {
    fs::rename(from, to).map_err(failed("rename", from))?;
    sync_parent(from)?;
    sync_parent(to)
}

/// Makes the directory `path` and those above it that are missing, with `mode` for each one made.
///
/// # Errors
///
/// If one cannot be made, or `path` is something else than a directory.
pub fn create_dir(path: &Path, mode: u32) -> Result<(), FileError> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        create_dir(parent, mode)?;
    }
    match DirBuilder::new().mode(mode).create(path) {
        Ok(()) => {}
        Err(err) if err.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => return Ok(()),
        Err(err) => return Err(failed("make directory", path)(err)),
    }
    // The umask may have taken bits away.
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(failed("set the mode of", path))?;
    sync_parent(path)
}

/// Removes the file or link at `path`, and says whether there was one.
///
/// # Errors
///
/// If it is there and cannot be removed.
pub fn remove(path: &Path) -> Result<bool, FileError> {
    match fs::remove_file(path) {
        Ok(()) => sync_parent(path).map(|()| true),
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(err) => Err(failed("remove", path)(err)),
    }
}

/// Reads the whole file at `path`, which must not be longer than `limit` bytes; `None` if there is none.
///
/// # Errors
///
/// If it cannot be read or is too long.
pub fn read(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, FileError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(err) => return Err(failed("open", path)(err)),
    };
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(failed("read", path))?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limit {
        let source = io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it has more than {limit} bytes"),
        );
        return Err(FileError {
            action: "read",
            path: path.to_owned(),
            source,
        });
    }
    Ok(Some(bytes))
}

/// Brings the entries of the directory `path` to the disk.
///
/// # Errors
///
/// If it cannot be opened or synchronised.
pub fn sync_dir(path: &Path) -> Result<(), FileError> {
    File::open(path)
        .and_then(|dir| dir.sync_all())
        .map_err(failed("synchronise", path))
}

/// Brings everything that was written to the file system of `path` to the disk: one wait for many small files.
///
/// # Errors
///
/// If it cannot be opened or synchronised.
pub fn sync_file_system(path: &Path) -> Result<(), FileError> {
    let dir = File::open(path).map_err(failed("open", path))?;
    rustix::fs::syncfs(&dir).map_err(failed("synchronise", path))
}

fn sync_parent(path: &Path) -> Result<(), FileError> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent),
        Some(_) => sync_dir(Path::new(".")),
        None => Ok(()),
    }
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = File::options().write(true).create_new(true).open(path)?;
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// A name in the same directory that no other writer uses. It starts with a dot so that listings skip it.
fn temporary_beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.new", Uuid::new_v4().simple()))
}

/// Removes what a failed step may have left.
fn discard(path: &Path) {
    if let Err(err) = fs::remove_file(path) {
        trace!(path = %path.display(), error = %err, "Temporary file could not be removed");
    }
}

/// Reads at `offset` into the free room of `buffer` until that is full or the file ends, without zeroing it first.
///
/// # Errors
///
/// If the file cannot be read.
pub fn fill_at(file: &File, buffer: &mut Vec<u8>, offset: u64) -> io::Result<()> {
    let before = buffer.len();
    while buffer.len() < buffer.capacity() {
        let done = u64::try_from(buffer.len().saturating_sub(before)).unwrap_or(u64::MAX);
        let room = rustix::buffer::spare_capacity(buffer);
        match rustix::io::pread(file, room, offset.saturating_add(done)) {
            Ok(0) => break,
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(err) => return Err(err.into()),
        }
    }
    Ok(())
}

/// Lets what was written of `file` be read from the disk again, not from memory: it must be on the disk already.
///
/// # Errors
///
/// If the kernel does not do it.
pub fn forget_cached(file: &File, offset: u64, length: u64) -> io::Result<()> {
    let length = std::num::NonZeroU64::new(length);
    rustix::fs::fadvise(file, offset, length, rustix::fs::Advice::DontNeed).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;
    use tempfile::tempdir;

    #[test]
    fn a_file_is_replaced_whole_with_its_mode() {
        let dir = tempdir().unwrap();
        let path = dir.path().join("key.pem");
        write_atomic(&path, b"old and long", 0o644).unwrap();
        write_atomic(&path, b"new", 0o600).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_write_leaves_nothing_behind() {
        let dir = tempdir().unwrap();
        let path = dir.path().join("taken");
        fs::create_dir(&path).unwrap();
        assert!(write_atomic(&path, b"x", 0o600).is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_is_turned_in_one_step() {
        let dir = tempdir().unwrap();
        let link = dir.path().join("current");
        link_atomic(Path::new("versions/a"), &link).unwrap();
        link_atomic(Path::new("versions/b"), &link).unwrap();
        assert_eq!(fs::read_link(&link).unwrap(), Path::new("versions/b"));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn directories_are_made_with_their_mode() {
        let dir = tempdir().unwrap();
        let path = dir.path().join("a/b/c");
        create_dir(&path, 0o700).unwrap();
        create_dir(&path, 0o700).unwrap();
        assert_eq!(fs::metadata(dir.path().join("a")).unwrap().mode() & 0o7777, 0o700);
    }

    #[test]
    fn removing_what_is_not_there_is_no_error() {
        let dir = tempdir().unwrap();
        let path = dir.path().join("x");
        assert!(!remove(&path).unwrap());
        write_atomic(&path, b"", 0o600).unwrap();
        assert!(remove(&path).unwrap());
    }

    #[test]
    fn a_file_that_is_too_long_is_not_read() {
        let dir = tempdir().unwrap();
        let path = dir.path().join("x");
        assert_eq!(read(&path, 3).unwrap(), None);
        write_atomic(&path, b"abcd", 0o600).unwrap();
        assert_eq!(read(&path, 4).unwrap().unwrap(), b"abcd");
        assert!(read(&path, 3).is_err());
    }
}
