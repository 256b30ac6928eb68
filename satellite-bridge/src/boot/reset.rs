//! A factory reset that was asked for: how it is asked for, and how everything is erased.
//!
//! **Invariant:** the request is the last thing that is erased, so that a reset that was cut off is finished.

use std::fs::{self, File};
use std::io::{Seek as _, Write as _};
use std::path::{Path, PathBuf};

use satellite_host::files::{self, FileError};

use super::identity;

/// Whoever wants the data gone puts this file into the root of the data partition.
pub const REQUEST: &str = ".factory-reset";
/// Where the bridge keeps keys, below the data partition.
const SECRETS: &str = "lib/satellite";
/// Keys are small; what is larger holds none.
const SECRET_LIMIT: u64 = 64 * 1024;

/// What could not be erased.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResetError {
    /// A file or directory.
    #[error("cannot erase `{}`", path.display())]
    Erase {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file that is written by us.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Whether the data partition that is mounted at `data` shall be erased.
#[must_use]
pub fn is_requested(data: &Path) -> bool {
    fs::symlink_metadata(data.join(REQUEST)).is_ok()
}

/// Overwrites the bridge's keys in their place, for disks that cannot be told to forget.
///
/// # Errors
///
/// Names what could not be overwritten.
pub fn overwrite_secrets(data: &Path) -> Result<(), ResetError> {
    let mut left = vec![data.join(SECRETS)];
    while let Some(dir) = left.pop() {
        let Ok(entries) = fs::read_dir(&dir) else { continue };
        for entry in entries.flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            if meta.is_dir() {
                left.push(entry.path());
            } else if meta.is_file() && meta.len() <= SECRET_LIMIT {
                overwrite(&entry.path(), meta.len()).map_err(erase(&entry.path()))?;
            }
        }
    }
    Ok(())
}

fn overwrite(path: &Path, length: u64) -> std::io::Result<()> {
    let mut file = File::options().write(true).open(path)?;
    file.rewind()?;
    let zeros = vec![0; usize::try_from(length).unwrap_or_default()];
    file.write_all(&zeros)?;
    file.sync_all()
}

fn erase(path: &Path) -> impl FnOnce(std::io::Error) -> ResetError {
    let path = path.to_owned();
    move |source| ResetError::Erase { path, source }
}

/// Tells the service manager where the loader's partition is: on the disk that this machine started from, whatever else
/// is plugged in.
pub(super) fn write_unit(units: &Path, loader: &str) -> Result<(), ResetError> {
    let text = format!(
        "# Made at each start by `satellite-bridge boot`.\n[Unit]\nDescription=Loader partition\n\n[Mount]\n\
         What={loader}\nWhere=/efi\nType=vfat\nOptions=umask=0077,nosuid,nodev,noexec\n"
    );
    files::create_dir(units, 0o755)?;
    files::write_atomic(&units.join("efi.mount"), text.as_bytes(), 0o644)?;
    Ok(())
}

/// What a container keeps: a directory in the place of a partition.
#[derive(Debug, Clone)]
pub struct Tree {
    dir: PathBuf,
}

impl Tree {
    /// The data in `dir`, which need not exist.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// The container's machine id.
    #[must_use]
    pub fn machine_id(&self) -> PathBuf {
        self.dir.join(identity::FILE)
    }

    /// What the container has as `/var`.
    #[must_use]
    pub fn var(&self) -> PathBuf {
        self.dir.join("var")
    }

    /// Does the reset that was asked for, and answers whether one was. The directories are there afterwards.
    ///
    /// # Errors
    ///
    /// Names what could not be erased. The request is then still there.
    pub fn finish(&self) -> Result<bool, ResetError> {
        let var = self.var();
        files::create_dir(&var, 0o755)?;
        if !is_requested(&var) {
            return Ok(false);
        }
        overwrite_secrets(&var)?;
        let entries = fs::read_dir(&var).map_err(erase(&var))?;
        for entry in entries {
            let entry = entry.map_err(erase(&var))?;
            if entry.file_name() == REQUEST {
                continue;
            }
            let is_dir = entry.file_type().map_err(erase(&entry.path()))?.is_dir();
            if is_dir {
                files::remove_tree(&entry.path())?;
            } else {
                files::remove(&entry.path())?;
            }
        }
        files::remove(&self.machine_id())?;
        files::remove(&var.join(REQUEST))?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled() -> (tempfile::TempDir, Tree) {
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree::new(dir.path());
        tree.finish().unwrap();
        for (name, text) in [
            ("lib/satellite/identity/key.pem", "secret"),
            ("log/journal/x", "line"),
            ("machine-id", "1"),
        ] {
            let path = tree.var().join(name);
            files::create_dir(path.parent().unwrap(), 0o755).unwrap();
            files::write_atomic(&path, text.as_bytes(), 0o600).unwrap();
        }
        files::write_atomic(&tree.machine_id(), b"id", 0o444).unwrap();
        (dir, tree)
    }

    fn request(var: &Path) -> Result<(), FileError> {
        files::write_atomic(&var.join(REQUEST), b"", 0o600)
    }

    fn left(tree: &Tree) -> usize {
        fs::read_dir(tree.var()).unwrap().count() + usize::from(tree.machine_id().exists())
    }

    #[test]
    fn nothing_is_erased_unless_it_was_asked_for() {
        let (_dir, tree) = filled();
        assert!(!tree.finish().unwrap());
        assert_eq!(left(&tree), 4);
    }

    #[test]
    fn what_was_asked_for_erases_everything_once() {
        let (_dir, tree) = filled();
        request(&tree.var()).unwrap();
        assert!(tree.finish().unwrap());
        assert_eq!(left(&tree), 0);
        assert!(!tree.finish().unwrap());
    }

    #[test]
    fn a_reset_that_was_cut_off_is_finished() {
        let (_dir, tree) = filled();
        request(&tree.var()).unwrap();
        files::remove_tree(&tree.var().join("lib")).unwrap();
        assert!(tree.finish().unwrap());
        assert_eq!(left(&tree), 0);
    }

    #[test]
    fn links_are_removed_and_not_followed() {
        let (_dir, tree) = filled();
        let outside = tempfile::tempdir().unwrap();
        files::write_atomic(&outside.path().join("file"), b"kept", 0o600).unwrap();
        std::os::unix::fs::symlink(outside.path(), tree.var().join("link")).unwrap();
        std::os::unix::fs::symlink(
            outside.path().join("file"),
            tree.var().join("lib/satellite/identity/link"),
        )
        .unwrap();
        request(&tree.var()).unwrap();
        tree.finish().unwrap();
        assert_eq!(fs::read_to_string(outside.path().join("file")).unwrap(), "kept");
    }

    #[test]
    fn keys_are_overwritten_in_their_place() {
        let (_dir, tree) = filled();
        overwrite_secrets(&tree.var()).unwrap();
        let key = fs::read(tree.var().join("lib/satellite/identity/key.pem")).unwrap();
        assert_eq!(key, [0; 6]);
        assert_eq!(
            fs::read_to_string(tree.var().join("log/journal/x")).unwrap(),
            "line"
        );
    }

    #[test]
    fn the_loaders_partition_gets_a_unit() {
        let dir = tempfile::tempdir().unwrap();
        write_unit(dir.path(), "/dev/vda1").unwrap();
        let text = fs::read_to_string(dir.path().join("efi.mount")).unwrap();
        assert!(text.contains("What=/dev/vda1\nWhere=/efi\n"), "{text}");
    }
}
