//! The kernel images on the loader's partition: which of them the loader starts next.
//!
//! systemd-boot takes the newest version among those that are good or have starts left; only where there is none it takes,
//! the newest first, one that was given up. So an older version is started by giving up those that are newer, and if it does not
//! come up, the newest of these is started again.
//!
//! **Invariants:** the kernel image of the system that runs is never removed, nor that of the system that the machine came
//! with; after any of the calls here the loader starts a whole system.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use satellite_host::fail_point;
use satellite_host::files::{self, FileError};
use tracing::warn;

use super::loader::Entry;
use super::slots::{SlotError, io_of};

/// Where they are on the loader's partition.
const ENTRIES: &str = "EFI/Linux";
/// What fails if they cannot be used.
const WHAT: &str = "the loader's partition";
/// More than a kernel image has, in bytes.
const KERNEL_LIMIT: u64 = 256 * 1024 * 1024;

/// All of them.
#[derive(Debug, Clone)]
pub(super) struct Entries {
    dir: PathBuf,
}

/// A kernel image.
type Known = (PathBuf, Entry);

impl Entries {
    /// Those on the loader's partition that is mounted at `loader`.
    pub(super) fn of(loader: &Path) -> Self {
        Self {
            dir: loader.join(ENTRIES),
        }
    }

    /// Where they are.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// What is there, hidden or not.
    fn known(&self) -> Result<Vec<Known>, SlotError> {
        let mut found = Vec::new();
        for file in std::fs::read_dir(&self.dir).map_err(io_of(WHAT))? {
            let path = file.map_err(io_of(WHAT))?.path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            found.extend(Entry::parse(&name).map(|entry| (path, entry)));
        }
        Ok(found)
    }

    /// The kernel image that proves a slot: it names the slot.
    pub(super) fn of_slot(&self, slot: &str) -> Result<Option<Entry>, SlotError> {
        for (path, entry) in self.known()? {
            let mut bytes = Vec::new();
            let file = File::open(&path).map_err(io_of(WHAT))?;
            file.take(KERNEL_LIMIT)
                .read_to_end(&mut bytes)
                .map_err(io_of(WHAT))?;
            if holds(&bytes, slot.as_bytes()) {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    /// Lets the loader start the version `own`, which runs and is good, and nothing else before it: every other kernel image goes,
    /// but for that of the `shipped` slot, which is only seen if it is older. What an interrupted change left goes too.
    pub(super) fn keep(&self, own: &str, shipped: Option<&str>) -> Result<(), SlotError> {
        let known = self.known()?;
        if !known.iter().any(|(_, entry)| entry.version == own) {
            return Err(SlotError::Strange(own.to_owned()));
        }
        let shipped = match shipped {
            Some(slot) => self.of_slot(slot)?.map(|entry| entry.version),
            None => None,
        };
        // First what runs: it was given up if an older one was tried.
        for (path, entry) in &known {
            if entry.version == own && (entry.left == Some(0) || entry.is_hidden) {
                self.rename(path, &Entry::good(own))?;
            }
        }
        for (path, entry) in &known {
            if entry.version == own {
                continue;
            }
            if shipped.as_ref() != Some(&entry.version) {
                files::remove(path)?;
                continue;
            }
            let good = Entry::good(&entry.version);
            let wanted = if entry.is_older_than(own) {
                good
            } else {
                good.hidden()
            };
            if *entry != wanted {
                self.rename(path, &wanted)?;
            }
        }
        for file in std::fs::read_dir(&self.dir).map_err(io_of(WHAT))? {
            let path = file.map_err(io_of(WHAT))?.path();
            if path.extension().is_some_and(|extension| extension == "part") {
                files::remove(&path)?;
            }
        }
        self.sync()
    }

    /// Lets the loader start an older version than `own`, which runs and is started again if that one does not come up.
    pub(super) fn prefer_older(&self, version: &str, own: &str) -> Result<(), SlotError> {
        let known = self.known()?;
        for (path, entry) in &known {
            if entry.version != version && entry.version != own && !entry.is_hidden {
                self.rename(path, &entry.hidden())?;
            }
        }
        self.sync()?;
        fail_point("slot.others-hidden");
        for (path, entry) in &known {
            if entry.version == own && entry.left != Some(0) {
                self.rename(path, &entry.given_up())?;
            }
        }
        self.sync()
    }

    /// The loader takes every other version before this one, which runs.
    pub(super) fn give_up(&self, version: &str) -> Result<(), SlotError> {
        for (path, entry) in self.known()? {
            if entry.version == version && entry.left != Some(0) {
                warn!(version, "Slot is given up");
                self.rename(&path, &entry.given_up())?;
            }
        }
        self.sync()
    }

    /// Gives a version all its starts again.
    pub(super) fn renew(&self, version: &str) -> Result<(), SlotError> {
        let wanted = Entry::new(version);
        for (path, entry) in self.known()? {
            if entry.version == version && entry != wanted {
                self.rename(&path, &wanted)?;
            }
        }
        self.sync()
    }

    /// The loader takes a version before every other one.
    pub(super) fn give_up_all_but(&self, version: &str) -> Result<(), SlotError> {
        for (path, entry) in self.known()? {
            if entry.version != version && entry.left != Some(0) && !entry.is_hidden {
                self.rename(&path, &entry.given_up())?;
            }
        }
        self.sync()
    }

    fn rename(&self, from: &Path, to: &Entry) -> Result<(), FileError> {
        files::rename(from, &self.dir.join(to.name()))
    }

    fn sync(&self) -> Result<(), SlotError> {
        Ok(files::sync_file_system(&self.dir)?)
    }
}

/// Whether `part` is somewhere in `bytes`.
fn holds(bytes: &[u8], part: &[u8]) -> bool {
    let Some(first) = part.first() else {
        return true;
    };
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| byte == first) {
        if rest[at..].starts_with(part) {
            return true;
        }
        rest = &rest[at + 1..];
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_image_is_known_by_the_slot_that_it_names() {
        assert!(holds(b"MZ..satellite.root=root-0123 ro", b"root-0123"));
        assert!(holds(b"rroot-0123", b"root-0123"));
        assert!(!holds(b"satellite.root=root-012", b"root-0123"));
    }

    /// What lies there after the version `own` keeps the place to itself, with `shipped` in the slot that stays.
    fn kept(names: &[&str], own: &str, shipped: Option<&str>) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let entries = Entries::of(dir.path());
        files::create_dir(entries.dir(), 0o755).unwrap();
        for name in names {
            let slot = Entry::parse(name).map_or_else(String::new, |entry| format!("root-{}", entry.version));
            files::write_atomic(&entries.dir().join(name), slot.as_bytes(), 0o644).unwrap();
        }
        entries.keep(own, shipped).unwrap();
        let all = std::fs::read_dir(entries.dir()).unwrap();
        let mut names: Vec<_> = all
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn what_runs_and_what_was_shipped_stays_and_an_older_system_can_run_beside_a_newer_one_that_was_shipped()
    {
        let three = [
            "satellite_1.0.0.efi",
            "satellite_2.0.0.efi",
            "satellite_3.0.0+0-1.efi",
        ];
        assert_eq!(kept(&three, "2.0.0", None), ["satellite_2.0.0.efi"]);
        assert_eq!(
            kept(&three, "2.0.0", Some("root-1.0.0")),
            ["satellite_1.0.0.efi", "satellite_2.0.0.efi"]
        );
        assert_eq!(
            kept(&three, "3.0.0", Some("root-1.0.0")),
            ["satellite_1.0.0.efi", "satellite_3.0.0.efi"]
        );
        let older = [
            "satellite_1.0.0.efi",
            "satellite_2.0.0+0-1.efi",
            "satellite_3.efi.part",
        ];
        assert_eq!(
            kept(&older, "1.0.0", Some("root-2.0.0")),
            ["satellite_1.0.0.efi", "satellite_2.0.0.efi.hidden"]
        );
    }
}
