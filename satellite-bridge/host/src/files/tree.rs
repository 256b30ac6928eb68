//! Whole trees: removed and copied through open directories, so that a link put in the way leads nowhere.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Stat, Uid, XattrFlags};

use super::{Beneath, FileError, failed, sync_parent};

/// How every directory is opened: no link stands for one.
const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// How deep a tree may be: beyond it, it was made to hurt.
const DEEPEST: u32 = 128;
/// The longest list of names, and the longest value, of extended attributes that is copied, in bytes.
const LONGEST_ATTRIBUTE: usize = 64 * 1024;

/// Removes `path` with all that is below it, and says whether there was anything. Links are removed, not followed.
///
/// # Errors
///
/// If something cannot be removed; a part of the tree may then be gone.
pub fn remove_tree(path: &Path) -> Result<bool, FileError> {
    let name = c_name(path)?;
    match remove_entry(CWD, &name, 0) {
        Ok(()) => sync_parent(path).map(|()| true),
        Err(rustix::io::Errno::NOENT) => Ok(false),
        Err(err) => Err(failed("remove", path)(err)),
    }
}

impl Beneath {
    /// Copies the file or directory `name` with all that is below it to the same name beneath `to`: content, modes,
    /// owners, times of change and extended attributes; links as links. Sockets, FIFOs and devices are left out. The
    /// directories above it are made where they are missing. Says whether there was anything to copy.
    ///
    /// The caller synchronises: [`super::sync_file_system`] waits once for all that was copied.
    ///
    /// # Errors
    ///
    /// If something cannot be read or written, if `name` is already there beneath `to`, or if a link is on the way to
    /// it on either side; a part of the copy may then be there.
    pub fn copy_to(&self, name: &Path, to: &Self) -> Result<bool, FileError> {
        let failed_at = self.path().join(name);
        copy_below(self.as_fd(), name, to.as_fd()).map_err(failed("copy", &failed_at))
    }

    /// Removes `name` with all that is below it, and says whether there was anything. Links are removed, not followed.
    ///
    /// # Errors
    ///
    /// If something cannot be removed, or a link is on the way to it; a part of the tree may then be gone.
    pub fn remove(&self, name: &Path) -> Result<bool, FileError> {
        let fail = |err: io::Error| failed("remove", &self.path().join(name))(err);
        let (Some(parent), Some(last)) = (name.parent(), name.file_name()) else {
            return Err(fail(io::Error::from(io::ErrorKind::InvalidInput)));
        };
        let last = CString::new(last.as_bytes()).map_err(|err| fail(err.into()))?;
        let removed = if parent.as_os_str().is_empty() {
            remove_entry(self, &last, 0)
        } else {
            match self.open_dir(parent) {
                Ok(dir) => remove_entry(&dir, &last, 0),
                Err(err) if err.is_missing() => return Ok(false),
                Err(err) => return Err(err),
            }
        };
        match removed {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::NOENT) => Ok(false),
            Err(err) => Err(fail(err.into())),
        }
    }
}

/// Goes down `name` one component at a time on both sides, and copies what it ends at.
fn copy_below(from: impl AsFd, name: &Path, to: impl AsFd) -> io::Result<bool> {
    let mut source = from.as_fd().try_clone_to_owned()?;
    let mut target = to.as_fd().try_clone_to_owned()?;
    let mut parts = name.components().peekable();
    while let Some(part) = parts.next() {
        let Component::Normal(part) = part else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the name leads out of its directory",
            ));
        };
        let part = CString::new(part.as_bytes())?;
        if parts.peek().is_none() {
            return copy_entry(&source, &part, &target, 0);
        }
        let Some(next) = missing_as_none(rustix::fs::openat(&source, &*part, DIRECTORY, Mode::empty()))?
        else {
            return Ok(false);
        };
        let made = rustix::fs::mkdirat(&target, &*part, Mode::from_raw_mode(0o700));
        let below = rustix::fs::openat(&target, &*part, DIRECTORY, Mode::empty())?;
        match made {
            Ok(()) => copy_attributes(&next, &below)?,
            Err(rustix::io::Errno::EXIST) => {}
            Err(err) => return Err(err.into()),
        }
        (source, target) = (next, below);
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "the name is empty"))
}

fn missing_as_none<T>(result: rustix::io::Result<T>) -> rustix::io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(err) => Err(err),
    }
}

fn remove_entry(parent: impl AsFd, name: &CStr, depth: u32) -> rustix::io::Result<()> {
    match rustix::fs::unlinkat(&parent, name, AtFlags::empty()) {
        Err(rustix::io::Errno::ISDIR | rustix::io::Errno::PERM) => {}
        other => return other,
    }
    if depth > DEEPEST {
        return Err(rustix::io::Errno::NAMETOOLONG);
    }
    let dir = rustix::fs::openat(&parent, name, DIRECTORY, Mode::empty())?;
    for entry in entries(&dir)? {
        match remove_entry(&dir, &entry, depth.saturating_add(1)) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(err) => return Err(err),
        }
    }
    rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR)
}

/// Copies one entry, and says whether it was there and of a kind that is copied.
fn copy_entry(from: &OwnedFd, name: &CStr, to: &OwnedFd, depth: u32) -> io::Result<bool> {
    let Some(stat) = missing_as_none(rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW))? else {
        return Ok(false);
    };
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            rustix::fs::mkdirat(to, name, Mode::from_raw_mode(0o700))?;
            let source = rustix::fs::openat(from, name, DIRECTORY, Mode::empty())?;
            let target = rustix::fs::openat(to, name, DIRECTORY, Mode::empty())?;
            copy_dir(&source, &target, depth.saturating_add(1))?;
        }
        FileType::RegularFile => copy_file(from, to, name)?,
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(from, name, Vec::new())?;
            rustix::fs::symlinkat(&*target, to, name)?;
            let (user, group) = owner(&stat);
            rustix::fs::chownat(to, name, user, group, AtFlags::SYMLINK_NOFOLLOW)?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn copy_dir(from: &OwnedFd, to: &OwnedFd, depth: u32) -> io::Result<()> {
    if depth > DEEPEST {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the tree is too deep",
        ));
    }
    for name in entries(from)? {
        copy_entry(from, &name, to, depth)?;
    }
    copy_attributes(from, to)
}

fn copy_file(from: &OwnedFd, to: &OwnedFd, name: &CStr) -> io::Result<()> {
    let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let source = rustix::fs::openat(from, name, flags | OFlags::NONBLOCK, Mode::empty())?;
    let create = flags | OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
    let target = rustix::fs::openat(to, name, create, Mode::from_raw_mode(0o600))?;
    let (mut source, mut target) = (File::from(source), File::from(target));
    io::copy(&mut source, &mut target)?;
    copy_attributes(&source, &target)
}

/// Owner before mode: the kernel takes setuid bits away when the owner changes.
fn copy_attributes(from: impl AsFd, to: impl AsFd) -> io::Result<()> {
    let stat = rustix::fs::fstat(&from)?;
    let (user, group) = owner(&stat);
    rustix::fs::fchown(&to, user, group)?;
    for name in attribute_names(&from)? {
        let mut value = vec![0; LONGEST_ATTRIBUTE];
        let length = rustix::fs::fgetxattr(&from, &*name, &mut value[..])?;
        rustix::fs::fsetxattr(&to, &*name, &value[..length], XattrFlags::empty())?;
    }
    rustix::fs::fchmod(&to, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    let times = rustix::fs::Timestamps {
        last_access: rustix::fs::Timespec {
            tv_sec: stat.st_atime,
            tv_nsec: i64::try_from(stat.st_atime_nsec).unwrap_or(0),
        },
        last_modification: rustix::fs::Timespec {
            tv_sec: stat.st_mtime,
            tv_nsec: i64::try_from(stat.st_mtime_nsec).unwrap_or(0),
        },
    };
    rustix::fs::futimens(&to, &times)?;
    Ok(())
}

fn attribute_names(file: impl AsFd) -> io::Result<Vec<CString>> {
    let mut list = vec![0; LONGEST_ATTRIBUTE];
    let length = match rustix::fs::flistxattr(&file, &mut list[..]) {
        Ok(length) => length,
        Err(rustix::io::Errno::NOTSUP) => return Ok(Vec::new()),
        Err(err) => return Err(err.into()),
    };
    let names = list[..length]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty());
    names
        .map(|name| CString::new(name).map_err(io::Error::from))
        .collect()
}

fn owner(stat: &Stat) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))
}

fn entries(dir: &OwnedFd) -> rustix::io::Result<Vec<CString>> {
    let mut found = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            found.push(name.to_owned());
        }
    }
    Ok(found)
}

fn c_name(path: &Path) -> Result<CString, FileError> {
    CString::new(path.as_os_str().as_bytes()).map_err(failed("remove", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
    use tempfile::tempdir;

    #[test]
    fn removing_a_tree_does_not_follow_links() {
        let dir = tempdir().unwrap();
        let (kept, tree) = (dir.path().join("kept"), dir.path().join("tree"));
        fs::create_dir_all(tree.join("a/b")).unwrap();
        fs::create_dir(&kept).unwrap();
        File::create(kept.join("file")).unwrap();
        symlink(&kept, tree.join("a/link")).unwrap();
        assert!(remove_tree(&tree).unwrap());
        assert!(!remove_tree(&tree).unwrap());
        assert!(kept.join("file").exists());
    }

    #[test]
    fn a_copy_has_content_modes_owners_and_links() {
        let dir = tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir_all(from.join("sub")).unwrap();
        File::create(from.join("sub/file")).unwrap();
        fs::set_permissions(from.join("sub/file"), fs::Permissions::from_mode(0o640)).unwrap();
        fs::set_permissions(from.join("sub"), fs::Permissions::from_mode(0o750)).unwrap();
        if nix::unistd::geteuid().is_root() {
            chown(from.join("sub/file"), Some(1234), Some(2345)).unwrap();
        }
        symlink("sub/file", from.join("link")).unwrap();
        nix::unistd::mkfifo(&from.join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        fs::create_dir(&to).unwrap();
        let (source, target) = (Beneath::open(dir.path()).unwrap(), Beneath::open(&to).unwrap());
        assert!(source.copy_to(Path::new("from/sub"), &target).unwrap());
        assert!(source.copy_to(Path::new("from/link"), &target).unwrap());
        assert!(!source.copy_to(Path::new("from/fifo"), &target).unwrap());
        assert!(!source.copy_to(Path::new("absent/file"), &target).unwrap());
        let to = to.join("from");
        let (old, new) = (
            fs::metadata(from.join("sub/file")).unwrap(),
            fs::metadata(to.join("sub/file")).unwrap(),
        );
        assert_eq!(
            (old.mode(), old.uid(), old.gid(), old.mtime_nsec()),
            (new.mode(), new.uid(), new.gid(), new.mtime_nsec())
        );
        assert_eq!(fs::metadata(to.join("sub")).unwrap().mode() & 0o7777, 0o750);
        assert_eq!(fs::read_link(to.join("link")).unwrap(), Path::new("sub/file"));
        assert!(!to.join("fifo").exists());
    }

    #[test]
    fn a_copy_neither_overwrites_nor_follows_links() {
        let dir = tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir_all(from.join("sub")).unwrap();
        fs::create_dir_all(to.join("sub")).unwrap();
        fs::create_dir_all(dir.path().join("elsewhere/inner")).unwrap();
        symlink("../elsewhere", from.join("out")).unwrap();
        symlink("../elsewhere", to.join("in")).unwrap();
        fs::create_dir_all(from.join("in/inner2")).unwrap();
        let (from, to) = (Beneath::open(&from).unwrap(), Beneath::open(&to).unwrap());
        assert!(from.copy_to(Path::new("sub"), &to).is_err());
        assert!(from.copy_to(Path::new("out/inner"), &to).is_err());
        assert!(from.copy_to(Path::new("in/inner2"), &to).is_err());
        assert!(from.copy_to(Path::new("../elsewhere"), &to).is_err());
        assert!(to.remove(Path::new("in/inner")).is_err());
        assert!(to.remove(Path::new("in")).unwrap());
        assert!(dir.path().join("elsewhere/inner").exists());
    }
}
