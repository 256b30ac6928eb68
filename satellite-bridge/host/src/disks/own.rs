//! Gives a directory of a disk, and what archives lie in it, to a user: who that is may differ from machine to machine.
//!
//! **Invariant:** no link is followed; nothing outside the directory is changed, and nothing deeper than a directory of a
//! configuration with its files.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, SFlag, fstatat, mkdirat};
use nix::unistd::{Gid, Uid, fchownat};

/// Entries of a directory that are looked at.
const MOST: usize = 100_000;

pub(super) fn own(root: &Path, directory: &str, owner: (u32, u32)) -> io::Result<()> {
    let root = File::open(root)?;
    match mkdirat(&root, directory, Mode::from_bits_truncate(0o750)) {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(errno) => return Err(errno.into()),
    }
    give(&root, OsStr::new(directory), owner)?;
    let base = open(&root, OsStr::new(directory))?;
    for_each(&base, |name, is_directory| {
        give(&base, name, owner)?;
        if !is_directory {
            return Ok(());
        }
        let below = open(&base, name)?;
        for_each(&below, |name, _| give(&below, name, owner))
    })
}

fn open(parent: &File, name: &OsStr) -> io::Result<File> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    Ok(File::from(openat(parent, name, flags, Mode::empty())?))
}

fn for_each(directory: &File, mut work: impl FnMut(&OsStr, bool) -> io::Result<()>) -> io::Result<()> {
    let listing = std::fs::read_dir(format!("/proc/self/fd/{}", directory.as_raw_fd()))?;
    for entry in listing.take(MOST) {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() || kind.is_file() {
            work(&entry.file_name(), kind.is_dir())?;
        }
    }
    Ok(())
}

fn give(parent: impl AsFd, name: &OsStr, (uid, gid): (u32, u32)) -> io::Result<()> {
    let stat = fstatat(parent.as_fd(), name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    let kind = SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits());
    let is_ours = kind == SFlag::S_IFDIR || kind == SFlag::S_IFREG;
    if !is_ours || (stat.st_uid, stat.st_gid) == (uid, gid) {
        return Ok(());
    }
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    Ok(fchownat(
        parent,
        name,
        Some(uid),
        Some(gid),
        AtFlags::AT_SYMLINK_NOFOLLOW,
    )?)
}
