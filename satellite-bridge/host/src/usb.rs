//! Disks on a USB port: which there are, and one of them mounted for a moment.
//!
//! **Invariant:** a device is one that the kernel lists, never a path from somewhere; nothing on it is run, and no link on
//! it is followed by who stays beneath it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// Where the kernel lists disks.
const BLOCK: &str = "/sys/class/block";
/// File systems that are tried, in this order.
const KINDS: [&str; 3] = ["vfat", "exfat", "ext4"];

/// A disk, or a partition of one, that can be written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// The kernel's name for it: `sdb1`.
    pub device: String,
    /// What its maker calls it.
    pub model: String,
    /// Size in bytes.
    pub size: u64,
}

/// Why a disk cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UsbError {
    /// It is not there, or not on USB.
    #[error("there is no USB disk `{0}`")]
    NoSuchDisk(String),
    /// It has no file system that we write to.
    #[error("`{device}` has no file system that can be written (FAT, exFAT or ext4)")]
    Mount {
        /// Which.
        device: String,
        /// What the kernel said to the last try.
        #[source]
        source: io::Error,
    },
    /// It cannot be let go of.
    #[error("what was written to `{device}` may not be on the disk yet")]
    Unmount {
        /// Which.
        device: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is no place to mount it.
    #[error("there is no place to mount the disk")]
    Place(#[source] io::Error),
}

/// The disks on USB ports that can hold a file, by name. Of a disk with partitions, those.
#[must_use]
pub fn disks() -> Vec<Disk> {
    listed(Path::new(BLOCK))
}

fn listed(block: &Path) -> Vec<Disk> {
    let entries = fs::read_dir(block).into_iter().flatten().flatten();
    let names: Vec<String> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    let mut disks: Vec<Disk> = names
        .iter()
        .filter(|name| {
            let prefix = name.as_str();
            let has_partitions = names
                .iter()
                .any(|other| other.len() > prefix.len() && other.starts_with(prefix));
            !has_partitions
        })
        .filter_map(|name| disk(block, name))
        .collect();
    disks.sort_by(|one, other| one.device.cmp(&other.device));
    disks
}

fn disk(block: &Path, name: &str) -> Option<Disk> {
    let is_plain = name
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    // The name is a link to the place of the device in the machine, which says how it is connected.
    let place = fs::canonicalize(block.join(name)).ok()?;
    let is_usb = place.iter().any(|part| part.to_string_lossy().starts_with("usb"));
    if !(is_plain && is_usb) {
        return None;
    }
    let text = |path: PathBuf| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let sectors: u64 = text(place.join("size")).parse().ok()?;
    let whole = place.join("device/model");
    let model = if whole.exists() {
        whole
    } else {
        place.parent()?.join("device/model")
    };
    (sectors > 0).then(|| Disk {
        device: name.to_owned(),
        model: text(model),
        size: sectors.saturating_mul(512),
    })
}

/// A mounted disk; dropping it lets go of it without saying whether all is written.
#[derive(Debug)]
pub struct Mounted {
    device: String,
    place: PathBuf,
    is_mounted: bool,
}

impl Mounted {
    /// Mounts `device` at `place`, a directory that is made.
    ///
    /// # Errors
    ///
    /// [`UsbError`]: nothing is mounted.
    pub fn new(device: &str, place: &Path) -> Result<Self, UsbError> {
        if !disks().iter().any(|disk| disk.device == device) {
            return Err(UsbError::NoSuchDisk(device.to_owned()));
        }
        Self::node(&Path::new("/dev").join(device), place)
    }

    fn node(node: &Path, place: &Path) -> Result<Self, UsbError> {
        fs::create_dir_all(place).map_err(UsbError::Place)?;
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC | MsFlags::MS_NOATIME;
        let device = node
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let mut last = io::Error::from(io::ErrorKind::InvalidData);
        for kind in KINDS {
            match mount(Some(node), place, Some(kind), flags, None::<&str>) {
                Ok(()) => {
                    return Ok(Self {
                        device,
                        place: place.to_owned(),
                        is_mounted: true,
                    });
                }
                Err(error) => last = error.into(),
            }
        }
        Err(UsbError::Mount { device, source: last })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.place
    }

    /// Writes everything to the disk and lets go of it: it can be unplugged then.
    ///
    /// # Errors
    ///
    /// [`UsbError::Unmount`].
    pub fn finish(mut self) -> Result<(), UsbError> {
        self.is_mounted = false;
        umount2(&self.place, MntFlags::empty()).map_err(|error| UsbError::Unmount {
            device: self.device.clone(),
            source: error.into(),
        })
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if self.is_mounted
            && let Err(error) = umount2(&self.place, MntFlags::MNT_DETACH)
        {
            tracing::warn!(device = self.device, %error, "USB disk not let go of");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::Exec;
    use crate::files::write_atomic;
    use std::os::unix::fs::symlink;

    fn device(root: &Path, place: &str, name: &str, size: &str) {
        let dir = root.join(place).join(name);
        fs::create_dir_all(dir.join("device")).unwrap();
        write_atomic(&dir.join("size"), size.as_bytes(), 0o644).unwrap();
        fs::create_dir_all(root.join("class")).unwrap();
        symlink(&dir, root.join("class").join(name)).unwrap();
    }

    #[test]
    fn only_disks_on_usb_are_listed_and_partitions_instead_of_their_disk() {
        let dir = tempfile::tempdir().unwrap();
        let usb = "devices/pci0/usb1/1-1/block";
        device(dir.path(), "devices/pci0/ata1/block", "sda", "100\n");
        device(dir.path(), usb, "sdb", "2048\n");
        device(dir.path(), &format!("{usb}/sdb"), "sdb1", "2000\n");
        device(dir.path(), usb, "sdc", "4096\n");
        device(dir.path(), usb, "sdd", "0\n");
        write_atomic(
            &dir.path().join(usb).join("sdb/device/model"),
            b"Stick 3000  \n",
            0o644,
        )
        .unwrap();
        fs::remove_dir(dir.path().join(usb).join("sdb/sdb1/device")).unwrap();
        let found = listed(&dir.path().join("class"));
        let names: Vec<_> = found
            .iter()
            .map(|disk| (disk.device.as_str(), disk.model.as_str(), disk.size))
            .collect();
        assert_eq!(names, [("sdb1", "Stick 3000", 1_024_000), ("sdc", "", 2_097_152)]);
    }

    #[test]
    fn a_device_that_is_no_usb_disk_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["sda", "../../etc/passwd", "", "mem"] {
            let refused = Mounted::new(name, dir.path());
            assert!(matches!(refused, Err(UsbError::NoSuchDisk(_))), "{name}");
        }
    }

    #[tokio::test]
    async fn a_real_file_system_is_mounted_written_and_let_go_of() {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("disk.img");
        fs::File::create(&image).unwrap().set_len(8 << 20).unwrap();
        let made = Exec::new("mkfs.ext4").args(["-q", "-F"]).arg(&image).run().await;
        let attached = Exec::new("losetup")
            .args(["--find", "--show"])
            .arg(&image)
            .run()
            .await;
        let (Ok(_), Ok(attached)) = (made, attached) else {
            // Not root, or no loop devices here: the test in the virtual machine does the same with a USB disk.
            return;
        };
        let node = PathBuf::from(attached.text().trim());
        let mounted = Mounted::node(&node, &dir.path().join("usb"));
        if let Ok(mounted) = mounted {
            write_atomic(&mounted.path().join("file"), b"x", 0o600).unwrap();
            mounted.finish().unwrap();
            assert!(!dir.path().join("usb/file").exists());
        }
        Exec::new("losetup")
            .arg("--detach")
            .arg(&node)
            .run()
            .await
            .unwrap();
    }
}
