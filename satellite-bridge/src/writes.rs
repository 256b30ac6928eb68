//! What a process writes, call by call, and the disks that a power cut after any of the calls may leave.
//!
//! The calls are those that `strace` saw. The disk is as ext4 keeps it: names change in order and are committed by the next
//! synchronisation of anything; the content of a file is on the disk once the file, or everything, was synchronised.
//!
//! **Invariant:** nothing here knows what is written.

mod disk;
mod strace;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

pub(crate) use self::disk::Disk;
use self::disk::Key;
pub(crate) use self::strace::record;

/// Free memory where disks are laid out in it, in bytes.
const ROOM: u64 = 1024 * 1024 * 1024;

/// What a cut may leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Cut {
    /// The process was killed: everything that it did is there.
    Killed,
    /// The power failed: names as they were committed last, and of files what was synchronised.
    Power,
    /// The power failed just after names had been committed by chance; of files what was synchronised.
    PowerAfterCommit,
    /// It ended in the middle of the last call: everything before that is there, and half of what it wrote.
    Torn,
}

impl Cut {
    /// Whether files are as the process saw them last, whether they were synchronised or not.
    fn keeps_all(self) -> bool {
        matches!(self, Self::Killed | Self::Torn)
    }
}

/// A disk that a cut may leave.
#[derive(Debug)]
pub(crate) struct Left {
    /// Calls before the cut.
    pub(crate) after: usize,
    pub(crate) cut: Cut,
    disk: Disk,
}

impl Left {
    /// Puts it into an empty directory.
    pub(crate) fn lay_out(&self, dir: &Path) {
        self.disk.lay_out(dir, self.cut);
    }

    /// The same into a directory of its own: in memory if there is room, where nobody waits for a disk that others use too.
    pub(crate) fn laid_out(&self) -> TempDir {
        let memory = Path::new("/dev/shm");
        let has_room = satellite_host::disk::space(memory).is_ok_and(|space| space.free > ROOM);
        let dir = if has_room {
            tempfile::tempdir_in(memory)
        } else {
            tempfile::tempdir()
        };
        let dir = dir.unwrap();
        self.lay_out(dir.path());
        dir
    }
}

/// Every different disk that a cut after one of `calls` may leave, and how many calls changed something.
pub(crate) fn cuts(start: &Disk, calls: &[strace::Call], mut each: impl FnMut(Left)) -> usize {
    let mut disk = start.clone();
    let mut known: HashSet<(bool, Key)> = HashSet::new();
    let mut changes = 0;
    for call in calls {
        if !disk.apply(call) {
            continue;
        }
        changes += 1;
        for cut in [Cut::Killed, Cut::Power, Cut::PowerAfterCommit] {
            if known.insert((cut.keeps_all(), disk.key(cut))) {
                each(Left {
                    after: changes,
                    cut,
                    disk: disk.clone(),
                });
            }
        }
    }
    changes
}

/// The same, and every disk that is left by a cut in the middle of one of the `calls`.
pub(crate) fn cuts_and_tears(start: &Disk, calls: &[strace::Call], mut each: impl FnMut(Left)) -> usize {
    let mut disk = start.clone();
    let mut before = 0;
    for call in calls {
        if let Some(half) = call.half() {
            let mut torn = disk.clone();
            if torn.apply(&half) {
                each(Left {
                    after: before,
                    cut: Cut::Torn,
                    disk: torn,
                });
            }
        }
        before += usize::from(disk.apply(call));
    }
    drop(disk);
    cuts(start, calls, each)
}

/// `path` below `root`, without `.` in it; none if it is elsewhere.
fn below(root: &Path, path: &Path) -> Option<PathBuf> {
    let rest = path.strip_prefix(root).ok()?;
    Some(rest.components().collect())
}

#[cfg(test)]
mod tests;
