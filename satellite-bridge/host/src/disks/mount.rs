//! Mounts one file system and lets go of it.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount as attach, umount2};
use tokio::time::{Instant, sleep};

use super::DiskError;
use super::find::Found;
use crate::files;

/// How long others may still be at what is let go of: a call that was cut ends a moment later.
const BUSY: Duration = Duration::from_secs(30);
const AGAIN: Duration = Duration::from_millis(200);

/// Mounts at `place`, which is made; `ours` is the directory of all that we mount.
pub(super) async fn mount(
    found: &Found,
    place: &Path,
    (uid, gid): (u32, u32),
    ours: &Path,
) -> Result<(), DiskError> {
    if is_used_elsewhere(&found.device, ours) {
        return Err(DiskError::InUse {
            device: found.device.clone(),
        });
    }
    files::create_dir(place, 0o700).map_err(DiskError::Record)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC | MsFlags::MS_NOATIME;
    let owner = format!("uid={uid},gid={gid},fmask=0177,dmask=0077");
    let options = match found.kind.as_str() {
        "vfat" => Some(format!("{owner},utf8,shortname=mixed,flush")),
        "exfat" => Some(format!("{owner},iocharset=utf8")),
        _ => None,
    };
    let (node, kind, at) = (found.node(), found.kind.clone(), place.to_owned());
    let work = move || attach(Some(&node), &at, Some(kind.as_str()), flags, options.as_deref());
    let mounted = tokio::task::spawn_blocking(work).await.unwrap_or(Err(Errno::EIO));
    mounted.map_err(|errno| {
        let hint = match errno {
            Errno::ENODEV => "this system's kernel does not know that file system: format the disk as ext4",
            Errno::EACCES | Errno::EROFS => "it is write-protected",
            Errno::EPERM => "this process may not mount",
            _ => "check the disk, or format it anew",
        };
        DiskError::Mount {
            device: found.device.clone(),
            kind: found.kind.clone(),
            hint,
            source: errno.into(),
        }
    })
}

/// Writes all to the disk and lets go of it; good if it is not mounted. Waits a while for who is still at it.
pub(super) async fn unmount(place: &Path) -> Result<(), DiskError> {
    let until = Instant::now() + BUSY;
    loop {
        let at = place.to_owned();
        let work = move || umount2(&at, MntFlags::UMOUNT_NOFOLLOW);
        let done = tokio::task::spawn_blocking(work).await.unwrap_or(Err(Errno::EIO));
        match done {
            // Not mounted, or not there at all.
            Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => break,
            Err(Errno::EBUSY) if Instant::now() < until => sleep(AGAIN).await,
            Err(errno) => {
                // It goes as soon as the last one lets go of it.
                let _detached = umount2(place, MntFlags::MNT_DETACH);
                return Err(DiskError::Unmount {
                    path: place.to_owned(),
                    source: errno.into(),
                });
            }
        }
    }
    match fs::remove_dir(place) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::debug!(place = %place.display(), %error, "Place of a disk not removed");
        }
        _ => {}
    }
    Ok(())
}

/// Whether a device is mounted at a place that is not ours.
fn is_used_elsewhere(device: &str, ours: &Path) -> bool {
    let number = fs::read_to_string(format!("/sys/class/block/{device}/dev")).unwrap_or_default();
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    is_in(&table, number.trim(), ours)
}

fn is_in(table: &str, number: &str, ours: &Path) -> bool {
    table.lines().any(|line| {
        let mut words = line.split(' ').skip(2);
        let (found, at) = (words.next(), words.nth(1));
        found == Some(number) && !at.is_some_and(|at| Path::new(at).starts_with(ours))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_of_the_machine_itself_is_known() {
        let table = "36 35 8:1 / / rw - ext4 /dev/sda1 rw\n\
                     37 36 8:17 / /run/satellite/disks/0123 rw shared:5 - vfat /dev/sdb1 rw\n";
        let ours = Path::new("/run/satellite/disks");
        assert!(is_in(table, "8:1", ours));
        assert!(!is_in(table, "8:17", ours));
        assert!(!is_in(table, "8:33", ours));
        assert!(is_in(table, "8:17", Path::new("/run/other")));
    }
}
