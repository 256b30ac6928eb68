//! Commit-confirmed changes: armed on disk and as a timer before they are applied.
//!
//! A change is *open* from the moment its record is on disk until it is confirmed or rolled back. The record names
//! the change, its deadline, what was before and what is meant to be. Whoever finds a record at a start of the
//! machine or the daemon rolls it back; so does a timer of systemd, even if the daemon is dead.
//!
//! **Invariant:** one change is open at a time, and nothing but its confirmation, its rollback or a reset on the
//! console ends it: a request that is refused for any reason leaves it armed. Nothing here changes the machine without
//! the [`Lock`].

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use satellite_host::files::{self, FileError};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use uuid::Uuid;

use crate::config::Config;
use crate::firewall::{self, FirewallError, Ruleset};
use crate::network::{Network, NetworkChange, NetworkError};

pub mod timer;

pub use timer::{NoTimer, RollbackTimer, SystemdTimer, TimerError};

/// Shortest time that a caller may ask for to confirm.
pub const SHORTEST: Duration = Duration::from_secs(10);
/// Longest time that a caller may ask for to confirm.
pub const LONGEST: Duration = Duration::from_secs(600);
/// Time to confirm unless the caller asks for another.
pub const USUAL: Duration = Duration::from_secs(120);

/// How long to wait for another process that is changing the machine.
const LOCK_PATIENCE: Duration = Duration::from_secs(45);

/// Pause between two tries to take the lock.
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// Largest record that is read, in bytes: two full rulesets with room to spare.
const RECORD_LIMIT: u64 = 256 * 1024 * 1024;

/// Why a change could not be opened, ended or looked up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// The record cannot be read or written.
    #[error("the record of the open change cannot be read or written")]
    Record(#[source] FileError),
    /// The record cannot be put into words.
    #[error("the record of the change cannot be written as JSON")]
    Encode(#[source] serde_json::Error),
    /// The lock cannot be opened.
    #[error("the lock {} cannot be taken", path.display())]
    Lock {
        /// The lock.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Another process holds the lock for too long.
    #[error("another process has been changing the machine for more than {LOCK_PATIENCE:?}")]
    Busy,
}

/// What a change is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Subject {
    /// The packet filter.
    Firewall {
        /// The rules before the change, to which a rollback leads.
        previous: Ruleset,
        /// The rules that are meant to be.
        next: Ruleset,
    },
    /// The network settings.
    Network(Box<NetworkChange>),
}

/// An open change, as its record says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Armed {
    /// Names it.
    pub id: Uuid,
    /// When it is undone unless confirmed.
    pub deadline: Timestamp,
    /// What it is about.
    pub subject: Subject,
}

/// Where changes are recorded.
#[derive(Debug, Clone)]
pub struct Changes {
    dir: PathBuf,
}

impl Changes {
    /// Changes of the satellite whose state is in `state_dir`.
    #[must_use]
    pub fn new(state_dir: &Path) -> Self {
        Self {
            dir: state_dir.join("change"),
        }
    }

    /// Takes the right to change the machine; one process at a time has it.
    ///
    /// # Errors
    ///
    /// [`ChangeError::Busy`] if another process keeps it for too long.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the lock alone.
    pub async fn lock(&self) -> Result<Lock, ChangeError> {
        files::create_dir(&self.dir, 0o700).map_err(ChangeError::Record)?;
        let path = self.dir.join("lock");
        let fault = |source| ChangeError::Lock {
            path: path.clone(),
            source,
        };
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(fault)?;
        let give_up = Instant::now() + LOCK_PATIENCE;
        loop {
            match file.try_lock() {
                Ok(()) => {
                    return Ok(Lock {
                        _file: file,
                        record: self.record(),
                    });
                }
                Err(TryLockError::WouldBlock) if Instant::now() < give_up => {
                    tokio::time::sleep(LOCK_PAUSE).await
                }
                Err(TryLockError::WouldBlock) => return Err(ChangeError::Busy),
                Err(TryLockError::Error(source)) => return Err(fault(source)),
            }
        }
    }

    /// Whether a change is open: a look without the lock, true for the moment.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.record().exists()
    }

    /// The open change: a look without the lock, true for the moment. A record that makes no sense is none.
    #[must_use]
    pub fn peek(&self) -> Option<Armed> {
        let bytes = files::read(&self.record(), RECORD_LIMIT).ok()??;
        serde_json::from_slice(&bytes).ok()
    }

    fn record(&self) -> PathBuf {
        self.dir.join("open.json")
    }
}

/// The right to change the machine. Dropping it gives it back; so does the death of the process.
#[derive(Debug)]
pub struct Lock {
    _file: File,
    record: PathBuf,
}

impl Lock {
    /// The open change, if there is one. A record that cannot be understood is put aside and counts as none: what it
    /// said is not needed to go back, for what was confirmed is recorded elsewhere.
    ///
    /// # Errors
    ///
    /// [`ChangeError::Record`] if it cannot be read.
    pub fn open_change(&self) -> Result<Option<Armed>, ChangeError> {
        let Some(bytes) = files::read(&self.record, RECORD_LIMIT).map_err(ChangeError::Record)? else {
            return Ok(None);
        };
        match serde_json::from_slice(&bytes) {
            Ok(armed) => Ok(Some(armed)),
            Err(err) => {
                tracing::error!(error = %err, "The record of an open change makes no sense and is put aside");
                files::rename(&self.record, &self.record.with_extension("bad"))
                    .map_err(ChangeError::Record)?;
                Ok(None)
            }
        }
    }

    /// Records `armed` as open. After it, whoever finds the record rolls back.
    ///
    /// # Errors
    ///
    /// [`ChangeError::Record`]: the change is not open.
    pub fn arm(&self, armed: &Armed) -> Result<(), ChangeError> {
        let bytes = serde_json::to_vec(armed).map_err(ChangeError::Encode)?;
        files::write_atomic(&self.record, &bytes, 0o600).map_err(ChangeError::Record)
    }

    /// Removes the record: the change is confirmed or rolled back.
    ///
    /// # Errors
    ///
    /// [`ChangeError::Record`]: the record may still be there.
    pub fn disarm(&self) -> Result<(), ChangeError> {
        files::remove(&self.record).map(drop).map_err(ChangeError::Record)
    }
}

/// The time that a caller asked for, in seconds; 0 is the usual one. `None` if it is out of bounds.
#[must_use]
pub fn confirm_time(seconds: u32) -> Option<Duration> {
    let asked = Duration::from_secs(seconds.into());
    match seconds {
        0 => Some(USUAL),
        _ if (SHORTEST..=LONGEST).contains(&asked) => Some(asked),
        _ => None,
    }
}

/// Why a change could not be undone.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RollbackError {
    /// It was one of the packet filter.
    #[error("the firewall rules from before the change are not back in force")]
    Firewall(#[source] FirewallError),
    /// It was one of the network.
    #[error("the network settings from before the change are not back in force")]
    Network(#[source] NetworkError),
}

/// Undoes the open change `id`, without the daemon: what the timer of systemd runs. Nothing happens if that change
/// is no longer open. Says whether it was undone.
///
/// # Errors
///
/// If what was before cannot be put back in force: the change then stays open, and the next try may succeed.
pub async fn rollback_from_disk(config: &Config, id: Uuid) -> Result<bool, RollbackError> {
    let open = Changes::new(&config.state_dir).peek();
    match open.map(|armed| armed.subject) {
        Some(Subject::Network(_)) => {
            let undone = Network::open(config).rollback_if_open(id).await;
            undone.map_err(RollbackError::Network)
        }
        // Also if there is no record that makes sense: it is put aside there.
        Some(Subject::Firewall { .. }) | None => {
            let settings = config.firewall(config.listen.port());
            let undone = firewall::rollback_from_disk(&settings, id).await;
            undone.map_err(RollbackError::Firewall)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn armed() -> Armed {
        let (previous, next) = (Ruleset::shipped(), Ruleset::shipped());
        Armed {
            id: Uuid::new_v4(),
            deadline: Timestamp::UNIX_EPOCH,
            subject: Subject::Firewall { previous, next },
        }
    }

    #[tokio::test]
    async fn what_is_armed_is_open_until_it_is_disarmed() {
        let dir = tempfile::tempdir().unwrap();
        let changes = Changes::new(dir.path());
        let lock = changes.lock().await.unwrap();
        assert_eq!(lock.open_change().unwrap(), None);
        let change = armed();
        lock.arm(&change).unwrap();
        assert!(changes.is_open());
        assert_eq!(lock.open_change().unwrap(), Some(change));
        lock.disarm().unwrap();
        lock.disarm().unwrap();
        assert_eq!(lock.open_change().unwrap(), None);
    }

    #[tokio::test]
    async fn the_lock_is_held_by_one_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let changes = Changes::new(dir.path());
        let held = changes.lock().await.unwrap();
        let refused = tokio::time::timeout(LOCK_PAUSE * 3, changes.lock()).await;
        assert!(refused.is_err(), "a second holder");
        drop(held);
        changes.lock().await.unwrap();
    }

    #[tokio::test]
    async fn a_record_that_makes_no_sense_is_put_aside() {
        let dir = tempfile::tempdir().unwrap();
        let lock = Changes::new(dir.path()).lock().await.unwrap();
        files::write_atomic(&dir.path().join("change/open.json"), b"{", 0o600).unwrap();
        assert_eq!(lock.open_change().unwrap(), None);
        assert!(dir.path().join("change/open.bad").exists());
    }

    #[test]
    fn the_time_to_confirm_is_bounded() {
        assert_eq!(confirm_time(0), Some(USUAL));
        assert_eq!(confirm_time(9), None);
        assert_eq!(confirm_time(10), Some(SHORTEST));
        assert_eq!(confirm_time(600), Some(LONGEST));
        assert_eq!(confirm_time(601), None);
    }
}
