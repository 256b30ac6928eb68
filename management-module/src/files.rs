//! Files of the state directory, written whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

/// Makes `path` hold `bytes` with permission bits `mode`, durably; a crash leaves the old file or the new one.
///
/// # Errors
/// What the operating system says.
pub fn write_atomic(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = create_draft(path, mode)?;
    file.write_all(bytes)?;
    put_in_place(&file, path)
}

/// Where a file lies before it takes the place of `path`.
#[must_use]
pub fn draft(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

/// Begins what will take the place of `path`, with permission bits `mode`. What was left of an earlier one is removed: who
/// still writes to it writes to no file of this name.
///
/// # Errors
/// What the operating system says.
pub fn create_draft(path: &Path, mode: u32) -> io::Result<File> {
    let draft = draft(path);
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&draft)
}

/// Puts what was begun by [`create_draft`] in the place of `path`, durably.
///
/// # Errors
/// What the operating system says.
pub fn put_in_place(file: &File, path: &Path) -> io::Result<()> {
    let parent = path
        .parent()
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    file.sync_all()?;
    fs::rename(draft(path), path)?;
    sync_directory(parent)
}

/// Takes the lock `path` for as long as the answer lives; `None` if another process has it. A process that dies gives it back.
///
/// # Errors
/// What the operating system says.
pub fn lock(path: &Path) -> io::Result<Option<Flock<File>>> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(lock)),
        Err((_, Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, error)) => Err(error.into()),
    }
}

/// Makes a directory and its parents with permission bits `mode`; one that is there is left as it is.
///
/// # Errors
/// What the operating system says.
pub fn make_directory(path: &Path, mode: u32) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(mode).create(path)
}

/// Makes renames in a directory durable.
///
/// # Errors
/// What the operating system says.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
