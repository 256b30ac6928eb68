//! Looks for a file system by its label or UUID.

use std::fs;
use std::path::{Path, PathBuf};

use super::{DiskError, Wanted};
use crate::exec::{Exec, ExecError};

/// Where the kernel lists disks.
const BLOCK: &str = "/sys/class/block";
/// Status of `blkid` where it knows nothing on a device.
const NOTHING: i32 = 2;

/// A file system on a disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// The kernel's name for the device: `sdb1`.
    pub(super) device: String,
    pub(super) label: String,
    pub(super) uuid: String,
    pub(super) kind: String,
}

impl Found {
    /// The device's node.
    pub(super) fn node(&self) -> PathBuf {
        Path::new("/dev").join(&self.device)
    }

    /// Whether files on it have owners; else they have that of the mount.
    pub(super) fn keeps_owners(&self) -> bool {
        self.kind == "ext4"
    }

    fn is(&self, wanted: &Wanted) -> bool {
        let is_label = wanted.label.is_empty() || wanted.label == self.label;
        let is_uuid = wanted.uuid.is_empty() || wanted.uuid.eq_ignore_ascii_case(&self.uuid);
        is_label && is_uuid
    }
}

/// Finds the one disk that is wanted.
pub(super) async fn find(wanted: &Wanted) -> Result<Found, DiskError> {
    let mut there = Vec::new();
    for device in devices(Path::new(BLOCK), wanted.on_any_bus) {
        there.extend(examined(device).await);
    }
    chosen(wanted, there)
}

fn chosen(wanted: &Wanted, there: Vec<Found>) -> Result<Found, DiskError> {
    let (mut matching, others): (Vec<_>, Vec<_>) = there.into_iter().partition(|one| one.is(wanted));
    if matching.len() > 1 {
        let devices: Vec<_> = matching.iter().map(|one| one.device.as_str()).collect();
        return Err(DiskError::Several {
            what: wanted.told(),
            devices: devices.join(", "),
        });
    }
    let Some(mut one) = matching.pop() else {
        return Err(DiskError::NotPluggedIn {
            what: wanted.told(),
            there: told(&others),
        });
    };
    one.kind = match one.kind.as_str() {
        "ext2" | "ext3" | "ext4" => "ext4".to_owned(),
        "vfat" | "exfat" => one.kind,
        kind => {
            return Err(DiskError::Kind {
                kind: kind.to_owned(),
                device: one.device,
            });
        }
    };
    Ok(one)
}

fn told(others: &[Found]) -> String {
    if others.is_empty() {
        return "no other disk is there".to_owned();
    }
    let one = |one: &Found| format!("`{}` ({}, {}, {})", one.label, one.uuid, one.kind, one.device);
    let others: Vec<_> = others.iter().take(8).map(one).collect();
    format!("there are {}", others.join(", "))
}

/// Names of the devices on which a file system may be: on USB, or on any bus.
fn devices(block: &Path, on_any_bus: bool) -> Vec<String> {
    let entries = fs::read_dir(block).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<_> = names
        .filter(|name| is_candidate(block, name, on_any_bus))
        .collect();
    names.sort();
    names
}

fn is_candidate(block: &Path, name: &str, on_any_bus: bool) -> bool {
    let is_plain = name
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    // The name is a link to the place of the device in the machine, which says how it is connected.
    let Ok(place) = fs::canonicalize(block.join(name)) else {
        return false;
    };
    let is_usb = place.iter().any(|part| part.to_string_lossy().starts_with("usb"));
    let size = fs::read_to_string(place.join("size")).unwrap_or_default();
    let is_there = size.trim().parse().is_ok_and(|sectors: u64| sectors > 0);
    is_plain && is_there && (is_usb || on_any_bus)
}

/// What is on a device; nothing if it has no file system.
async fn examined(device: String) -> Option<Found> {
    let blkid = Exec::new("blkid").args(["-p", "-o", "udev"]);
    match blkid.arg(Path::new("/dev").join(&device)).run().await {
        Ok(output) => Some(read(device, &output.text())).filter(|found| !found.kind.is_empty()),
        Err(ExecError::Failed { status, .. }) if status.code() == Some(NOTHING) => None,
        Err(error) => {
            tracing::debug!(device, %error, "Disk not looked at");
            None
        }
    }
}

fn read(device: String, text: &str) -> Found {
    let value = |key: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once('='));
        lines
            .find(|(name, _)| *name == key)
            .map(|(_, value)| value)
            .unwrap_or_default()
    };
    Found {
        label: decoded(value("ID_FS_LABEL_ENC")),
        uuid: value("ID_FS_UUID").to_owned(),
        kind: value("ID_FS_TYPE").to_owned(),
        device,
    }
}

/// A label in which `blkid` has written other characters as `\x20`.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let escaped = rest
            .strip_prefix(b"\\x")
            .and_then(|hex| hex.split_at_checked(2))
            .and_then(|(hex, after)| {
                let byte = u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()?;
                Some((byte, after))
            });
        let (byte, after) = escaped.unwrap_or((first, after));
        bytes.push(byte);
        rest = after;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn wanted(label: &str, uuid: &str) -> Wanted {
        Wanted {
            label: label.into(),
            uuid: uuid.into(),
            on_any_bus: false,
            directory: "b".into(),
            owner: (0, 0),
        }
    }

    fn disk(device: &str, label: &str, uuid: &str, kind: &str) -> Found {
        Found {
            device: device.into(),
            label: label.into(),
            uuid: uuid.into(),
            kind: kind.into(),
        }
    }

    #[test]
    fn only_disks_on_usb_count_unless_any_may() {
        let dir = tempfile::tempdir().unwrap();
        let device = |place: &str, size: &str| {
            let at = dir.path().join(place);
            fs::create_dir_all(&at).unwrap();
            crate::files::write_atomic(&at.join("size"), size.as_bytes(), 0o644).unwrap();
            fs::create_dir_all(dir.path().join("class")).unwrap();
            symlink(&at, dir.path().join("class").join(at.file_name().unwrap())).unwrap();
        };
        device("devices/pci0/ata1/block/sda", "100\n");
        device("devices/pci0/usb1/1-1/block/sdb", "2048\n");
        device("devices/pci0/usb1/1-1/block/sdb/sdb1", "2000\n");
        device("devices/pci0/usb1/1-2/block/sdc", "0\n");
        device("devices/virtual/block/loop1", "9\n");
        let class = dir.path().join("class");
        assert_eq!(devices(&class, false), ["sdb", "sdb1"]);
        assert_eq!(devices(&class, true), ["loop1", "sda", "sdb", "sdb1"]);
    }

    #[test]
    fn a_disk_is_known_by_label_or_uuid_and_never_guessed() {
        let there = || {
            vec![
                disk("sdb1", "BACKUP", "1234-ABCD", "vfat"),
                disk("sdc1", "BACKUP", "5678-ABCD", "exfat"),
                disk("sdd1", "old", "0000", "ext3"),
                disk("sde1", "win", "9999", "ntfs"),
            ]
        };
        assert_eq!(chosen(&wanted("old", ""), there()).unwrap().kind, "ext4");
        assert_eq!(chosen(&wanted("", "5678-abcd"), there()).unwrap().device, "sdc1");
        assert_eq!(
            chosen(&wanted("BACKUP", "1234-ABCD"), there()).unwrap().device,
            "sdb1"
        );
        let two = chosen(&wanted("BACKUP", ""), there()).unwrap_err().to_string();
        assert!(two.contains("(sdb1, sdc1)"), "{two}");
        let none = chosen(&wanted("gone", ""), there()).unwrap_err().to_string();
        assert!(none.contains("`gone` is not plugged in") && none.contains("`old` (0000, ext3, sdd1)"));
        assert!(matches!(
            chosen(&wanted("win", ""), there()),
            Err(DiskError::Kind { .. })
        ));
    }

    #[test]
    fn labels_are_read_as_they_were_given() {
        let text =
            "ID_FS_LABEL=My_Disk\nID_FS_LABEL_ENC=My\\x20D\\xc3\\xafsk\nID_FS_UUID=1-2\nID_FS_TYPE=vfat\n";
        assert_eq!(read("sdb1".into(), text), disk("sdb1", "My Dïsk", "1-2", "vfat"));
        assert_eq!(decoded("a\\x2"), "a\\x2");
        assert_eq!(decoded("a\\xzz"), "a\\xzz");
    }
}
