//! Removes files of a central that lie in an archive, if they are still what the archive holds.
//!
//! **Invariant:** nothing is removed but a regular file below a path of the data set whose size, time and digest are those of
//! the archive. No component below that path is followed if it is a symbolic link.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::profile::DataSet;

/// A file as an archive holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archived {
    /// Its path relative to `/`.
    pub path: Vec<u8>,
    /// Bytes of it.
    pub size: u64,
    /// Last change: seconds and nanoseconds.
    pub changed: (i64, i64),
    /// SHA-256 of its content.
    pub sha256: Vec<u8>,
}

/// What became of a file.
#[derive(Debug)]
pub enum Removed {
    /// It is gone.
    Gone,
    /// It is not what the archive holds any more, or lies elsewhere now: it stays.
    Changed,
    /// It stays because it could not be removed.
    Failed(io::Error),
}

/// Removes a file of `set` if it is still the one that is archived. Blocks.
#[must_use]
pub fn remove(set: &DataSet, archived: &Archived) -> Removed {
    match try_remove(set, archived) {
        Ok(true) => Removed::Gone,
        Ok(false) => Removed::Changed,
        // Somebody else removed it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Removed::Changed,
        Err(error) => Removed::Failed(error),
    }
}

fn try_remove(set: &DataSet, archived: &Archived) -> io::Result<bool> {
    let path = Path::new("/").join(OsStr::from_bytes(&archived.path));
    let Some(root) = set.root_of(&path) else {
        return Ok(false);
    };
    let Some((parent, name)) = parent_of(root, &path)? else {
        return Ok(false);
    };
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let mut file = File::from(openat(&parent, name.as_os_str(), flags, Mode::empty())?);
    let before = fstat(&file)?;
    if !is_that(&before, archived) || digest(&mut file)? != archived.sha256 {
        return Ok(false);
    }
    // Once more: it may have been written to while it was read.
    let now = fstat(&file)?;
    if !is_that(&now, archived)
        || now.st_ctime != before.st_ctime
        || now.st_ctime_nsec != before.st_ctime_nsec
    {
        return Ok(false);
    }
    unlinkat(&parent, name.as_os_str(), UnlinkatFlags::NoRemoveDir)?;
    Ok(true)
}

/// The open directory above a path, and the last name of the path. Nothing below `root` is followed.
fn parent_of(root: &Path, path: &Path) -> io::Result<Option<(File, PathBuf)>> {
    let (Some(above), Ok(below)) = (root.parent(), path.strip_prefix(root.parent().unwrap_or(root))) else {
        return Ok(None);
    };
    let mut names: Vec<_> = below.components().collect();
    let Some(Component::Normal(last)) = names.pop() else {
        return Ok(None);
    };
    let mut directory = File::open(above)?;
    for name in names {
        let Component::Normal(name) = name else {
            return Ok(None);
        };
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        directory = File::from(openat(&directory, name, flags, Mode::empty())?);
    }
    Ok(Some((directory, PathBuf::from(last))))
}

fn is_that(stat: &FileStat, archived: &Archived) -> bool {
    let is_file = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFREG;
    is_file
        && u64::try_from(stat.st_size) == Ok(archived.size)
        && (stat.st_mtime, stat.st_mtime_nsec) == archived.changed
}

fn digest(file: &mut File) -> io::Result<Vec<u8>> {
    let mut digest = Context::new(&SHA256);
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let count = file.read(&mut buffer)?;
        match buffer.get(..count) {
            Some(read) if !read.is_empty() => digest.update(read),
            _ => return Ok(digest.finish().as_ref().to_vec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::MetadataExt as _;

    use super::*;
    use crate::central::profile::Profile;

    fn set(path: &Path) -> DataSet {
        let text =
            format!("name = \"p\"\naddress = \"here\"\n[[data-set]]\nname = \"cdr\"\npaths = [{path:?}]\n");
        Profile::parse(&text).unwrap().data_sets.remove(0)
    }

    fn put(path: &Path, content: &[u8]) -> Archived {
        File::create(path).unwrap().write_all(content).unwrap();
        let metadata = std::fs::metadata(path).unwrap();
        Archived {
            path: path.strip_prefix("/").unwrap().as_os_str().as_bytes().to_vec(),
            size: metadata.len(),
            changed: (metadata.mtime(), metadata.mtime_nsec()),
            sha256: aws_lc_rs::digest::digest(&SHA256, content).as_ref().to_vec(),
        }
    }

    #[test]
    fn a_file_goes_only_if_it_is_what_the_archive_holds() {
        let dir = tempfile::tempdir().unwrap();
        let (data, other) = (dir.path().join("data"), dir.path().join("other"));
        for path in [&data, &other] {
            std::fs::create_dir(path).unwrap();
        }
        let set = set(&data);
        let file = data.join("call.json");
        let archived = put(&file, b"a call");
        let elsewhere = put(&other.join("call.json"), b"a call");
        assert!(matches!(remove(&set, &elsewhere), Removed::Changed));
        let wrong = [
            Archived {
                size: 7,
                ..archived.clone()
            },
            Archived {
                changed: (archived.changed.0, archived.changed.1 + 1),
                ..archived.clone()
            },
            Archived {
                sha256: vec![0; 32],
                ..archived.clone()
            },
        ];
        for wrong in wrong {
            assert!(matches!(remove(&set, &wrong), Removed::Changed));
        }
        assert!(file.exists() && other.join("call.json").exists());
        assert!(matches!(remove(&set, &archived), Removed::Gone));
        assert!(!file.exists());
        assert!(
            matches!(remove(&set, &archived), Removed::Changed),
            "it is gone already"
        );
    }

    #[test]
    fn no_link_is_followed_to_what_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let (data, other) = (dir.path().join("data"), dir.path().join("other"));
        for path in [&data, &other] {
            std::fs::create_dir(path).unwrap();
        }
        let precious = put(&other.join("f"), b"precious");
        std::os::unix::fs::symlink(&other, data.join("link")).unwrap();
        std::os::unix::fs::symlink(other.join("f"), data.join("f")).unwrap();
        for name in ["link/f", "f"] {
            let path = data
                .join(name)
                .strip_prefix("/")
                .unwrap()
                .as_os_str()
                .as_bytes()
                .to_vec();
            let through = Archived {
                path,
                ..precious.clone()
            };
            assert!(!matches!(remove(&set(&data), &through), Removed::Gone));
        }
        assert!(other.join("f").exists());
    }
}
