//! Small files and directories that are on disk, whole, when a call returns.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

/// Ending of what is not finished; removed at start.
pub(crate) const PART: &str = "part";

/// Replaces `path` by a file with these bytes.
pub(crate) fn write_atomic(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let part = path.with_extension(PART);
    let mut file = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .open(&part)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    rename(&part, path)
}

/// Renames within a directory.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::rename(from, to)?;
    sync_parent(to)
}

/// Removes a file.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    std::fs::remove_file(path)?;
    sync_parent(path)
}

/// Makes a directory and those above it.
pub(crate) fn create_dir(path: &Path) -> io::Result<()> {
    if !path.is_dir() {
        std::fs::create_dir_all(path)?;
        sync_parent(path)?;
    }
    Ok(())
}

fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent()
        .map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}
