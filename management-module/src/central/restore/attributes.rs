//! Sets owner, mode, times and extended attributes, of directories when nothing more is written into them.
//!
//! **Invariant:** everything is set through an open descriptor or, on a link, without following it. Bits that give
//! rights (set-user-id, set-group-id) are set only after the owner was.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::fcntl::AtFlags;
use nix::sys::stat::{Mode, UtimensatFlags, fchmod, fstat, futimens, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchown, fchownat};
use satellite_proto::wire::backup::v1::Member;
use xattr::FileExt as _;

use super::Report;
use super::place::Place;

/// Directories into which something may still be written, each below the one before.
#[derive(Debug, Default)]
pub(super) struct OpenDirectories(Vec<(PathBuf, OwnedFd, Member)>);

impl OpenDirectories {
    pub(super) fn open(&mut self, path: PathBuf, dir: OwnedFd, member: Member) {
        self.0.push((path, dir, member));
    }

    /// Ends the directories in which `path` does not lie.
    pub(super) fn close_others(&mut self, path: &Path, report: &mut Report) {
        while self
            .0
            .last()
            .is_some_and(|(open, ..)| !path.starts_with(open) || path == open)
        {
            self.close_last(report);
        }
    }

    pub(super) fn close_all(&mut self, report: &mut Report) {
        while !self.0.is_empty() {
            self.close_last(report);
        }
    }

    fn close_last(&mut self, report: &mut Report) {
        if let Some((_, dir, member)) = self.0.pop() {
            let problems = set(&File::from(dir), &member);
            report.notices(&member, problems);
        }
    }
}

/// Sets what the member says on an open file or directory; answers what could not be set.
pub(super) fn set(file: &File, member: &Member) -> Vec<String> {
    let mut problems = Vec::new();
    let owned = fchown(
        file,
        Some(Uid::from_raw(member.uid)),
        Some(Gid::from_raw(member.gid)),
    );
    let mut mode = member.mode & 0o7777;
    if let Err(errno) = owned {
        problems.push(format!("its owner could not be set: {}", errno.desc()));
        mode &= 0o1777;
    }
    for attribute in &member.xattrs {
        let name = OsStr::from_bytes(&attribute.name);
        if let Err(err) = file.set_xattr(name, &attribute.value) {
            problems.push(format!(
                "its attribute {} could not be set: {err}",
                name.display()
            ));
        }
    }
    problems.extend(set_mode(file, mode));
    if let Err(errno) = futimens(file.as_fd(), &TimeSpec::UTIME_OMIT, &modified(member)) {
        problems.push(format!("its time could not be set: {}", errno.desc()));
    }
    problems
}

/// Sets the mode; where the bits that give rights are refused, or not kept without a word, the others.
fn set_mode(file: &File, mode: u32) -> Option<String> {
    const RIGHTS: u32 = 0o6000;
    let change = |mode| fchmod(file.as_fd(), Mode::from_bits_truncate(mode));
    let Err(errno) = change(mode) else {
        let kept = mode & RIGHTS == 0 || fstat(file).is_ok_and(|stat| stat.st_mode & RIGHTS == mode & RIGHTS);
        return (!kept).then(|| "its set-user-id or set-group-id bit could not be set".to_owned());
    };
    if mode & RIGHTS != 0 && change(mode & !RIGHTS).is_ok() {
        return Some(format!(
            "its set-user-id or set-group-id bit could not be set: {}",
            errno.desc()
        ));
    }
    Some(format!("its mode could not be set: {}", errno.desc()))
}

/// Sets what the member says on a symbolic link.
pub(super) fn set_on_link(parent: &OwnedFd, name: &OsStr, member: &Member) -> Vec<String> {
    let mut problems = Vec::new();
    let (uid, gid) = (Uid::from_raw(member.uid), Gid::from_raw(member.gid));
    if let Err(errno) = fchownat(parent, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW) {
        problems.push(format!("its owner could not be set: {}", errno.desc()));
    }
    for attribute in &member.xattrs {
        let attribute_name = OsStr::from_bytes(&attribute.name);
        if let Err(err) = xattr::set(Place::through(parent, name), attribute_name, &attribute.value) {
            problems.push(format!(
                "its attribute {} could not be set: {err}",
                attribute_name.display()
            ));
        }
    }
    let times = (TimeSpec::UTIME_OMIT, modified(member));
    if let Err(errno) = utimensat(parent, name, &times.0, &times.1, UtimensatFlags::NoFollowSymlink) {
        problems.push(format!("its time could not be set: {}", errno.desc()));
    }
    problems
}

fn modified(member: &Member) -> TimeSpec {
    let time = member.modify_time.unwrap_or_default();
    TimeSpec::new(time.seconds, i64::from(time.nanos.clamp(0, 999_999_999)))
}
