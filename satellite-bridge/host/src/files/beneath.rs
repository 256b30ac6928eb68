//! A directory as the top of a small world: names are resolved beneath it by the kernel, links are refused.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};

use super::{FileError, failed};

/// An open directory. Every name is resolved beneath it, and a name with a symbolic link in it is refused, whoever
/// may be changing the tree meanwhile.
#[derive(Debug)]
pub struct Beneath {
    dir: OwnedFd,
    path: PathBuf,
}

impl Beneath {
    /// Opens the directory at `path`, which may itself be reached through links.
    ///
    /// # Errors
    ///
    /// If it is not there or no directory.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let dir = rustix::fs::openat(CWD, path, flags, Mode::empty()).map_err(failed("open", path))?;
        Ok(Self {
            dir,
            path: path.to_owned(),
        })
    }

    /// Where it was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a regular file for reading.
    ///
    /// # Errors
    ///
    /// If it is not there, not a regular file, a link, or not beneath this directory.
    pub fn open_file(&self, name: &Path) -> Result<File, FileError> {
        // NONBLOCK: a FIFO in its place must not stop us before we have seen what it is.
        let file =
            File::from(self.resolve(name, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty(), "open")?);
        let full = self.path.join(name);
        let is_file = file.metadata().map_err(failed("examine", &full))?.is_file();
        if !is_file {
            let source = io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file");
            return Err(FileError {
                action: "open",
                path: full,
                source,
            });
        }
        Ok(file)
    }

    /// Opens a directory beneath this one.
    ///
    /// # Errors
    ///
    /// As for [`Beneath::open_file`].
    pub fn open_dir(&self, name: &Path) -> Result<Self, FileError> {
        let dir = self.resolve(name, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty(), "open")?;
        Ok(Self {
            dir,
            path: self.path.join(name),
        })
    }

    /// Makes a file that must not exist yet and opens it for writing and reading. Its mode is `mode`, whatever the
    /// umask says.
    ///
    /// # Errors
    ///
    /// If it exists, if a directory above it does not, or if the name leads out.
    pub fn create_file(&self, name: &Path, mode: u32) -> Result<File, FileError> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        let file = self.resolve(name, flags, Mode::from_raw_mode(mode), "create")?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))
            .map_err(failed("set the mode of", &self.path.join(name)))?;
        Ok(File::from(file))
    }

    /// Makes the directories of `name` that are missing, each with `mode`.
    ///
    /// # Errors
    ///
    /// If one cannot be made, or one of them is a link or a file.
    pub fn create_dirs(&self, name: &Path, mode: u32) -> Result<(), FileError> {
        let mut parent = Self {
            dir: self.clone_dir()?,
            path: self.path.clone(),
        };
        for part in name.components() {
            let std::path::Component::Normal(part) = part else {
                let source =
                    io::Error::new(io::ErrorKind::InvalidInput, "the name leads out of its directory");
                return Err(FileError {
                    action: "make directory",
                    path: self.path.join(name),
                    source,
                });
            };
            let full = parent.path.join(part);
            match rustix::fs::mkdirat(&parent.dir, part, Mode::from_raw_mode(mode)) {
                Ok(()) => {
                    let made = parent.open_dir(Path::new(part))?;
                    rustix::fs::fchmod(&made.dir, Mode::from_raw_mode(mode))
                        .map_err(failed("set the mode of", &full))?;
                    parent = made;
                }
                Err(rustix::io::Errno::EXIST) => parent = parent.open_dir(Path::new(part))?,
                Err(err) => return Err(failed("make directory", &full)(err)),
            }
        }
        Ok(())
    }

    /// Brings the entries of this directory to the disk.
    ///
    /// # Errors
    ///
    /// If the kernel cannot.
    pub fn sync(&self) -> Result<(), FileError> {
        rustix::fs::fsync(&self.dir).map_err(failed("synchronise", &self.path))
    }

    fn resolve(
        &self,
        name: &Path,
        flags: OFlags,
        mode: Mode,
        action: &'static str,
    ) -> Result<OwnedFd, FileError> {
        let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        // The kernel answers EAGAIN when something above the name was renamed while it looked.
        for _ in 0..16 {
            match openat2(&self.dir, name, flags | OFlags::CLOEXEC, mode, how) {
                Err(rustix::io::Errno::AGAIN) => {}
                other => return other.map_err(failed(action, &self.path.join(name))),
            }
        }
        Err(failed(action, &self.path.join(name))(rustix::io::Errno::AGAIN))
    }

    fn clone_dir(&self) -> Result<OwnedFd, FileError> {
        self.dir.try_clone().map_err(failed("open", &self.path))
    }
}

impl AsFd for Beneath {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use tempfile::tempdir;

    #[test]
    fn names_that_lead_out_are_refused() {
        let dir = tempdir().unwrap();
        let top = dir.path().join("top");
        std::fs::create_dir(&top).unwrap();
        File::create(dir.path().join("secret")).unwrap();
        symlink("../secret", top.join("link")).unwrap();
        symlink("..", top.join("up")).unwrap();
        let beneath = Beneath::open(&top).unwrap();
        for name in ["../secret", "/etc/passwd", "link", "up/secret", "a/../../secret"] {
            assert!(beneath.open_file(Path::new(name)).is_err(), "{name}");
            assert!(beneath.create_file(Path::new(name), 0o644).is_err(), "{name}");
        }
        for name in ["../x", "/x", "up/x", "link/x"] {
            assert!(beneath.create_dirs(Path::new(name), 0o755).is_err(), "{name}");
        }
    }

    #[test]
    fn files_are_made_once_with_their_mode() {
        let dir = tempdir().unwrap();
        let beneath = Beneath::open(dir.path()).unwrap();
        beneath.create_dirs(Path::new("a/b"), 0o755).unwrap();
        beneath.create_dirs(Path::new("a/b"), 0o755).unwrap();
        let file = beneath.create_file(Path::new("a/b/c"), 0o777).unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o7777, 0o777);
        assert!(beneath.create_file(Path::new("a/b/c"), 0o755).is_err());
        assert!(beneath.open_file(Path::new("a/b/c")).is_ok());
    }

    #[test]
    fn only_a_regular_file_is_opened() {
        let dir = tempdir().unwrap();
        nix::unistd::mkfifo(&dir.path().join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        std::fs::create_dir(dir.path().join("dir")).unwrap();
        let beneath = Beneath::open(dir.path()).unwrap();
        assert!(beneath.open_file(Path::new("fifo")).is_err());
        assert!(beneath.open_file(Path::new("dir")).is_err());
    }
}
