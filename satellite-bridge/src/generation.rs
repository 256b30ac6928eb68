//! How often the satellite and its server have met, and which machine the satellite is: what a copy or an old snapshot
//! of its disk cannot have right.
//!
//! Each meeting raises a counter that both keep. A satellite that is behind its server was set back; one whose machine is
//! another than recorded is a copy. A copy is quarantined: it answers who it is, and does nothing.
//!
//! **Invariant:** the counter never falls below what was ever told to a server, and it is on the disk before it is told.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use satellite_host::instance;
use satellite_proto::wire::bridge::v1::QuarantineReason;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::{
    config::Config,
    journal::{self, JournalError},
};

/// Why a satellite is quarantined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Its disk runs in another machine than the one it was paired in.
    Copied,
    /// Its server has met another satellite with the same key, which was there before.
    Twin,
}

impl Reason {
    /// What the person at the console has to know.
    #[must_use]
    pub fn problem(self) -> &'static str {
        match self {
            Self::Copied => {
                "quarantined: this disk was copied from another satellite. If that one is gone, run `satellite trust` on \
                 the server; else disconnect here, and this one becomes a satellite of its own"
            }
            Self::Twin => {
                "quarantined: another satellite with the same key is alive. Disconnect here, and this one becomes a \
                 satellite of its own; if the other one is the copy, run `satellite trust` on the server"
            }
        }
    }
}

impl From<Reason> for QuarantineReason {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::Copied => Self::Copied,
            Reason::Twin => Self::Twin,
        }
    }
}

/// The machine as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Instance {
    /// Differs for a copy.
    pub id: Option<String>,
    /// Differs for a copy and after a return to a snapshot.
    pub generation: Option<String>,
}

impl Instance {
    /// What the hypervisor says.
    #[must_use]
    pub fn of_the_machine(config: &Config) -> Self {
        Self {
            id: instance::product_id(&config.instance_id),
            generation: instance::generation_id(&config.vm_generation_id),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Record {
    generation: u64,
    #[serde(default)]
    instance: Option<String>,
    #[serde(default)]
    vm_generation: Option<String>,
    #[serde(default)]
    quarantine: Option<Reason>,
    /// The machine was set back, and no server has heard of it yet.
    #[serde(default)]
    reverted: bool,
}

/// What a meeting has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Met {
    /// The counter as it was.
    pub found: u64,
    /// The counter as it is now.
    pub generation: u64,
    /// The satellite was set back since the last meeting.
    pub reverted: bool,
    /// The machine's id.
    pub instance: String,
    /// Why nothing is done with it.
    pub quarantine: Option<Reason>,
}

/// The handle; clones share it.
#[derive(Debug, Clone)]
pub struct Generations {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    now: Instance,
    record: Mutex<Record>,
    changes: watch::Sender<u64>,
}

impl Generations {
    /// Reads the record, compares it with the machine, and writes down what is new.
    ///
    /// # Errors
    ///
    /// [`JournalError::Write`] if it cannot be recorded. A damaged record is none: the server notices that it is behind.
    pub fn open(state_dir: &Path, now: Instance, is_paired: bool) -> Result<Self, JournalError> {
        let path = place(state_dir);
        let found = read(&path);
        let record = compare(found.clone().unwrap_or_default(), &now, is_paired);
        if found.as_ref() != Some(&record) {
            journal::write(&path, &record)?;
        }
        if let Some(reason) = record.quarantine {
            tracing::error!(?reason, "Quarantined: nothing is done until a person decides");
        } else if record.reverted {
            tracing::warn!("The machine was set back to an earlier state");
        }
        let shared = Shared {
            path,
            now,
            record: Mutex::new(record),
            changes: watch::Sender::new(0),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Why the satellite is quarantined, if it is.
    #[must_use]
    pub fn quarantine(&self) -> Option<Reason> {
        self.lock().quarantine
    }

    /// The counter.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.lock().generation
    }

    /// The machine's id; empty if it has none.
    #[must_use]
    pub fn instance(&self) -> String {
        self.shared.now.id.clone().unwrap_or_default()
    }

    /// A server meets the satellite and has last seen it at `known`: the counter is raised over both. In quarantine nothing
    /// is raised.
    ///
    /// # Errors
    ///
    /// [`JournalError::Write`]: nothing was raised.
    pub fn meet(&self, known: u64) -> Result<Met, JournalError> {
        let mut record = self.lock();
        let found = record.generation;
        let mut met = Met {
            found,
            generation: found,
            reverted: record.reverted || found < known,
            instance: self.instance(),
            quarantine: record.quarantine,
        };
        if record.quarantine.is_some() {
            return Ok(met);
        }
        let raised = Record {
            generation: found.max(known).saturating_add(1),
            reverted: false,
            ..record.clone()
        };
        journal::write(&self.shared.path, &raised)?;
        met.generation = raised.generation;
        *record = raised;
        drop(record);
        self.note();
        if met.reverted {
            tracing::warn!(
                found,
                known,
                "Set back to an earlier state, and caught up with the server"
            );
        }
        Ok(met)
    }

    /// From now on nothing is done, also after a restart. Says whether that is new.
    ///
    /// # Errors
    ///
    /// [`JournalError::Write`]: nothing changed.
    pub fn set_apart(&self, reason: Reason) -> Result<bool, JournalError> {
        let mut record = self.lock();
        if record.quarantine.is_some() {
            return Ok(false);
        }
        let apart = Record {
            quarantine: Some(reason),
            ..record.clone()
        };
        journal::write(&self.shared.path, &apart)?;
        *record = apart;
        drop(record);
        self.note();
        tracing::error!(?reason, "Quarantined: nothing is done until a person decides");
        Ok(true)
    }

    /// The server's administrator trusts this machine: it is the satellite from now on. Says whether that is new.
    ///
    /// # Errors
    ///
    /// [`JournalError::Write`]: nothing changed.
    pub fn trust(&self) -> Result<bool, JournalError> {
        let mut record = self.lock();
        let was_apart = record.quarantine.is_some();
        let trusted = Record {
            quarantine: None,
            instance: self.shared.now.id.clone(),
            vm_generation: self.shared.now.generation.clone(),
            // Whatever the other one did meanwhile: this one is looked at anew.
            reverted: was_apart || record.reverted,
            ..record.clone()
        };
        journal::write(&self.shared.path, &trusted)?;
        *record = trusted;
        drop(record);
        self.note();
        if was_apart {
            tracing::warn!("Quarantine lifted by the server's administrator");
        }
        Ok(was_apart)
    }

    /// Wakes at each change.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }

    fn note(&self) {
        self.shared.changes.send_modify(|number| *number += 1);
    }

    fn lock(&self) -> MutexGuard<'_, Record> {
        self.shared.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the disk of a satellite that belongs to nobody was copied: both must not go on with one key.
#[must_use]
pub fn is_copied(state_dir: &Path, now: &Instance) -> bool {
    let record = read(&place(state_dir)).unwrap_or_default();
    record.quarantine.is_some() || differs(record.instance.as_ref(), now.id.as_ref())
}

/// Whether the satellite is recorded as quarantined.
#[must_use]
pub fn is_apart(state_dir: &Path) -> bool {
    read(&place(state_dir)).is_some_and(|record| record.quarantine.is_some())
}

/// Forgets which machine the satellite was: it becomes another one.
///
/// # Errors
///
/// [`JournalError::Write`]: it may be back after a power cut.
pub fn forget(state_dir: &Path) -> Result<(), JournalError> {
    journal::remove(&place(state_dir))
}

fn place(state_dir: &Path) -> PathBuf {
    state_dir.join("generation.json")
}

fn read(path: &Path) -> Option<Record> {
    journal::read(path).unwrap_or_else(|error| {
        tracing::error!(error = %crate::cli::error_chain(&error), "Record of the machine is unusable");
        None
    })
}

fn differs(recorded: Option<&String>, now: Option<&String>) -> bool {
    matches!((recorded, now), (Some(recorded), Some(now)) if recorded != now)
}

/// What is to be recorded, by what was recorded and what the machine is. Pure.
fn compare(mut record: Record, now: &Instance, is_paired: bool) -> Record {
    if is_paired && differs(record.instance.as_ref(), now.id.as_ref()) {
        // The recorded machine stays on record: back in it, the satellite is itself again.
        record.quarantine = record.quarantine.or(Some(Reason::Copied));
        return record;
    }
    if record.quarantine == Some(Reason::Copied) && is_paired && now.id.is_some() {
        record.quarantine = None;
    }
    if !is_paired {
        record.quarantine = None;
    }
    if differs(record.vm_generation.as_ref(), now.generation.as_ref()) {
        record.reverted = is_paired;
    }
    record.instance = now.id.clone().or(record.instance);
    record.vm_generation = now.generation.clone().or(record.vm_generation);
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(id: &str, generation: &str) -> Instance {
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        Instance {
            id: some(id),
            generation: some(generation),
        }
    }

    fn open(dir: &Path, id: &str, generation: &str) -> Generations {
        Generations::open(dir, machine(id, generation), true).unwrap()
    }

    #[test]
    fn the_counter_rises_over_both_sides_and_outlives_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let satellite = open(dir.path(), "a", "");
        assert_eq!(satellite.meet(0).unwrap().generation, 1);
        assert_eq!(satellite.meet(1).unwrap().generation, 2);
        // The server was set back, or has not heard the last answer.
        let met = satellite.meet(0).unwrap();
        assert_eq!((met.found, met.generation, met.reverted), (2, 3, false));
        let satellite = open(dir.path(), "a", "");
        let met = satellite.meet(3).unwrap();
        assert_eq!((met.found, met.generation, met.reverted), (3, 4, false));
    }

    #[test]
    fn a_satellite_behind_its_server_was_set_back_and_catches_up() {
        let dir = tempfile::tempdir().unwrap();
        let satellite = open(dir.path(), "a", "");
        satellite.meet(0).unwrap();
        let met = satellite.meet(9).unwrap();
        assert_eq!((met.found, met.generation, met.reverted), (1, 10, true));
        assert!(!satellite.meet(10).unwrap().reverted);
    }

    #[test]
    fn another_generation_of_the_same_machine_is_a_return_to_a_snapshot() {
        let dir = tempfile::tempdir().unwrap();
        open(dir.path(), "a", "1");
        let satellite = open(dir.path(), "a", "2");
        assert_eq!(satellite.quarantine(), None);
        assert!(satellite.meet(0).unwrap().reverted);
        assert!(!satellite.meet(1).unwrap().reverted);
    }

    #[test]
    fn a_copy_is_quarantined_until_it_is_trusted_or_back_in_its_machine() {
        let dir = tempfile::tempdir().unwrap();
        open(dir.path(), "a", "1").meet(0).unwrap();
        for _ in 0..2 {
            let copy = open(dir.path(), "b", "2");
            assert_eq!(copy.quarantine(), Some(Reason::Copied));
            let met = copy.meet(1).unwrap();
            assert_eq!((met.generation, met.quarantine), (1, Some(Reason::Copied)));
        }
        assert_eq!(open(dir.path(), "a", "1").quarantine(), None);
        let copy = open(dir.path(), "b", "2");
        assert!(copy.trust().unwrap());
        assert!(copy.meet(1).unwrap().reverted);
        assert_eq!(open(dir.path(), "b", "2").quarantine(), None);
        assert_eq!(open(dir.path(), "a", "1").quarantine(), Some(Reason::Copied));
    }

    #[test]
    fn a_twin_stays_quarantined_in_whatever_machine() {
        let dir = tempfile::tempdir().unwrap();
        assert!(open(dir.path(), "a", "").set_apart(Reason::Twin).unwrap());
        for id in ["a", "b", ""] {
            assert_eq!(open(dir.path(), id, "").quarantine(), Some(Reason::Twin), "{id}");
        }
    }

    #[test]
    fn a_machine_without_ids_is_never_a_copy() {
        let dir = tempfile::tempdir().unwrap();
        open(dir.path(), "a", "1");
        let satellite = open(dir.path(), "", "");
        assert_eq!(satellite.quarantine(), None);
        assert!(!satellite.meet(0).unwrap().reverted);
        assert_eq!(open(dir.path(), "b", "").quarantine(), Some(Reason::Copied));
    }

    #[test]
    fn a_copied_template_is_noticed_before_it_belongs_to_anybody() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!is_copied(dir.path(), &machine("a", "")));
        Generations::open(dir.path(), machine("a", ""), false).unwrap();
        assert!(!is_copied(dir.path(), &machine("a", "")));
        assert!(is_copied(dir.path(), &machine("b", "")));
        assert_eq!(
            Generations::open(dir.path(), machine("b", ""), false)
                .unwrap()
                .quarantine(),
            None
        );
    }

    #[test]
    fn a_damaged_record_is_one_that_is_behind() {
        let dir = tempfile::tempdir().unwrap();
        journal::write_bytes(&place(dir.path()), b"{").unwrap();
        assert!(open(dir.path(), "a", "").meet(5).unwrap().reverted);
    }
}
