//! The release below which nothing is installed, by workload and channel.
//!
//! It lies outside what the removal of a workload or the disconnection from a server wipes; a factory reset goes back to
//! what the image ships, which is another matter.
//!
//! **Invariant:** a floor rises with what was confirmed, and falls only to the release that a signed permit names, once.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use satellite_host::files;
use satellite_proto::bundle::WorkloadName;
use satellite_proto::wire::bridge::v1::ReleaseFloor;
use serde::{Deserialize, Serialize};
use tracing::{error, info, warn};

use crate::journal::{self, JournalError};
use crate::workload::record::chain;

/// One floor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Floor {
    /// The release.
    pub(crate) release: u64,
    /// Sequence of the last permit that was used; 0: none.
    pub(crate) permit: u64,
}

type ByChannel = BTreeMap<WorkloadName, BTreeMap<String, Floor>>;

/// All floors of the satellite.
#[derive(Debug)]
pub(crate) struct Floors {
    file: PathBuf,
    known: Mutex<ByChannel>,
}

impl Floors {
    /// Reads what is recorded. A record that is damaged is set aside: what is installed raises its floors again.
    pub(crate) fn open(file: PathBuf) -> Self {
        let known = match journal::read::<ByChannel>(&file) {
            Ok(known) => known.unwrap_or_default(),
            Err(err) => {
                error!(error = %chain(&err), "Record of releases cannot be read and is set aside");
                if let Err(err) = files::rename(&file, &file.with_extension("damaged")) {
                    warn!(error = %chain(&err), "Damaged record stays");
                }
                ByChannel::new()
            }
        };
        Self {
            file,
            known: Mutex::new(known),
        }
    }

    /// The floor of a workload in a channel.
    pub(crate) fn of(&self, name: &WorkloadName, channel: &str) -> Floor {
        let known = self.lock();
        let floor = known.get(name).and_then(|channels| channels.get(channel));
        floor.copied().unwrap_or_default()
    }

    /// A release was confirmed: the floor rises to it, or, with a permit, goes to it. On the disk when this returns; may be
    /// said again.
    pub(crate) fn confirm(
        &self,
        name: &WorkloadName,
        (channel, release): (&str, u64),
        permit: Option<u64>,
    ) -> Result<(), JournalError> {
        let mut known = self.lock();
        let before = known
            .get(name)
            .and_then(|channels| channels.get(channel))
            .copied()
            .unwrap_or_default();
        let after = match permit {
            Some(permit) if permit > before.permit => Floor { release, permit },
            _ => Floor {
                release: before.release.max(release),
                ..before
            },
        };
        if after == before {
            return Ok(());
        }
        let mut next = known.clone();
        next.entry(name.clone())
            .or_default()
            .insert(channel.to_owned(), after);
        journal::write(&self.file, &next)?;
        if after.release < before.release {
            info!(
                workload = name.as_str(),
                channel,
                from = before.release,
                to = release,
                "Release went back by a permit"
            );
        }
        *known = next;
        Ok(())
    }

    /// All, for the wire.
    pub(crate) fn describe(&self) -> Vec<ReleaseFloor> {
        let known = self.lock();
        let each = known.iter().flat_map(|(name, channels)| {
            channels.iter().map(move |(channel, floor)| ReleaseFloor {
                workload: name.to_string(),
                channel: channel.clone(),
                release: floor.release,
                permit_sequence: floor.permit,
            })
        });
        each.collect()
    }

    fn lock(&self) -> MutexGuard<'_, ByChannel> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_floor_rises_and_falls_by_a_new_permit_only() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("trust/floors.json");
        files::create_dir(file.parent().unwrap(), 0o700).unwrap();
        let name: WorkloadName = "echo".parse().unwrap();
        let check = |release, permit, expected: (u64, u64)| {
            let floors = Floors::open(file.clone());
            floors.confirm(&name, ("stable", release), permit).unwrap();
            let read = Floors::open(file.clone()).of(&name, "stable");
            assert_eq!((read.release, read.permit), expected);
        };
        check(5, None, (5, 0));
        check(3, None, (5, 0));
        check(3, Some(10), (3, 10));
        check(7, None, (7, 10));
        check(3, Some(10), (7, 10));
        check(3, Some(9), (7, 10));
        check(4, Some(11), (4, 11));
        assert_eq!(Floors::open(file.clone()).of(&name, "beta"), Floor::default());
    }

    #[test]
    fn a_damaged_record_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("floors.json");
        files::write_atomic(&file, b"{", 0o600).unwrap();
        let floors = Floors::open(file.clone());
        assert_eq!(floors.describe(), []);
        assert!(!file.exists() && file.with_extension("damaged").exists());
    }
}
