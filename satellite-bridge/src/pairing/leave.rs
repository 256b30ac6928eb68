//! Letting go of an installation at the console, and the tombstone that tells it so.
//!
//! The tombstone is the journal, too: once it is on the disk the satellite is disconnected, whatever happens then. It is
//! marked as done when nothing of the installation is left but the tombstone itself, which goes with the next pairing.
//!
//! **Invariant:** a tombstone gives nobody a right; all it does is to let the former installation hear why it has none.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;
use satellite_host::fail_point;
use satellite_proto::{
    identity::Identity,
    tls::{Peer, ServerTls, Trust},
};
use serde::{Deserialize, Serialize};

use super::{
    Clock, Membership, PARTING, Pairing, PairingError, State, identity,
    membership::{floor, installation_of},
    record,
};
use crate::{generation, journal};

/// How long the former server's connections may take to hear the last word.
const LAST_WORD: Duration = Duration::from_secs(2);

/// What is left of an installation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Tombstone {
    /// Whom the satellite belonged to; none if its record was damaged.
    former: Option<Membership>,
    /// When it was disconnected, by its own clock.
    time: Timestamp,
    /// Nothing else is left.
    done: bool,
    /// It was a copy of another satellite: it gets a key of its own, and the server hears nothing from it, for it would
    /// take that for a word of the other one.
    #[serde(default)]
    was_copy: bool,
}

impl Tombstone {
    /// The former installation may finish a handshake to be told, and do nothing else.
    pub(super) fn trust(&self) -> Trust {
        self.former
            .as_ref()
            .map_or(Trust::Nobody, |former| Trust::Former {
                certificate: former.installation.clone(),
                revoked: former.revoked.clone(),
                floor: floor(),
            })
    }

    /// Something of the installation may still be on the disk.
    pub(super) fn is_pending(&self) -> bool {
        !self.done
    }

    fn is_of(&self, peer: &Peer) -> bool {
        let theirs = installation_of(&peer.chain);
        theirs.is_some() && theirs.as_ref() == self.former.as_ref().map(|former| &former.installation)
    }
}

impl Pairing {
    /// Lets go of the installation for the person at the console: on the disk, then in TLS. The installation hears of it
    /// over the connections that it has, which are cut a moment later, and over those that it makes from now on.
    ///
    /// # Errors
    ///
    /// [`PairingError::NotPaired`]; [`PairingError::Record`]: if the first record could be written, it is done at the next
    /// start.
    pub fn disconnect(&self) -> Result<(), PairingError> {
        let mut state = self.lock();
        let is_there = state.membership.is_some() || record::is_there(&self.shared.path);
        if !is_there {
            return Err(PairingError::NotPaired);
        }
        let was_copy = self.shared.generations.quarantine().is_some();
        let tombstone = Tombstone {
            former: state.membership.clone().filter(|_| !was_copy),
            time: self.shared.clock.wall(),
            done: false,
            was_copy,
        };
        let tombstone = bury(&self.shared.path, tombstone)?;
        *state = State {
            tombstone: Some(tombstone),
            ..State::default()
        };
        self.reload(&state)?;
        drop(state);
        self.note();
        let connections = self.shared.connections.clone();
        tokio::spawn(async move {
            tokio::time::sleep(PARTING).await;
            connections.cut(|_| true);
        });
        if was_copy {
            self.shared.renewal.notify_one();
        }
        tracing::info!(was_copy, "Disconnected at the console");
        Ok(())
    }

    /// Waits until the satellite has to start anew, because its key is another one now.
    pub async fn renewed(&self) {
        self.shared.renewal.notified().await;
    }

    /// Waits until the former installation's connections have ended, for at most two seconds.
    pub async fn parted(&self) {
        let ended = async {
            while self.shared.connections.count() > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        // Whoever has not listened by now hears it when it comes back.
        let _ = tokio::time::timeout(LAST_WORD, ended).await;
    }

    /// Whether this peer is of the installation that the satellite was disconnected from.
    #[must_use]
    pub fn is_disconnected_from(&self, peer: &Peer) -> bool {
        let state = self.lock();
        state
            .tombstone
            .as_ref()
            .is_some_and(|tombstone| tombstone.is_of(peer))
    }
}

/// Ends a disconnection that was cut off: before the identity is read, which may go with it.
pub fn finish_disconnection(state_dir: &Path) {
    finish_on_disk(&record_in(state_dir));
}

/// Whether an installation is recorded below `state_dir`, damaged or not.
#[must_use]
pub fn is_paired_on_disk(state_dir: &Path) -> bool {
    record::is_there(&record_in(state_dir))
}

/// Lets go of the installation without the daemon. True if there was one.
///
/// # Errors
///
/// [`PairingError::Record`]: if the first record could be written, it is done at the next start of the daemon.
pub fn disconnect_on_disk(state_dir: &Path) -> Result<bool, PairingError> {
    let path = record_in(state_dir);
    finish_on_disk(&path);
    if !record::is_there(&path) {
        return Ok(false);
    }
    // A damaged one is let go of as well; there is nobody to tell then.
    let former = journal::read::<Membership>(&path).unwrap_or_default();
    let was_copy = generation::is_apart(state_dir);
    let tombstone = Tombstone {
        former: former.filter(|_| !was_copy),
        time: Clock::default().wall(),
        done: false,
        was_copy,
    };
    bury(&path, tombstone)?;
    Ok(true)
}

/// Ends a disconnection that was cut off, and answers what is left of it. A tombstone that TLS does not take tells nobody.
pub(super) fn finish(path: &Path, identity: &Identity) -> Option<Tombstone> {
    let tombstone = finish_on_disk(path)?;
    let is_usable = ServerTls::new(identity, &tombstone.trust()).is_ok();
    Some(Tombstone {
        former: tombstone.former.filter(|_| is_usable),
        ..tombstone
    })
}

fn finish_on_disk(path: &Path) -> Option<Tombstone> {
    let place = beside(path);
    let tombstone = match journal::read::<Tombstone>(&place) {
        Ok(tombstone) => tombstone?,
        Err(error) => {
            tracing::error!(error = %crate::cli::error_chain(&error), "Tombstone is unusable: the former server is not told");
            return None;
        }
    };
    if tombstone.done {
        return Some(tombstone);
    }
    match release(path, tombstone.clone()) {
        Ok(done) => Some(done),
        Err(error) => {
            // Trust is what the tombstone says all the same: the record is not read any more.
            tracing::error!(error = %crate::cli::error_chain(&error), "Disconnection not finished on the disk");
            Some(tombstone)
        }
    }
}

/// Forgets the tombstone: the satellite belongs to somebody again.
pub(super) fn forget(path: &Path) {
    if let Err(error) = journal::remove(&beside(path)) {
        tracing::warn!(error = %crate::cli::error_chain(&error), "Tombstone not removed");
    }
}

fn bury(path: &Path, tombstone: Tombstone) -> Result<Tombstone, PairingError> {
    journal::write(&beside(path), &tombstone).map_err(PairingError::Record)?;
    fail_point("disconnect.recorded");
    release(path, tombstone)
}

fn release(path: &Path, tombstone: Tombstone) -> Result<Tombstone, PairingError> {
    journal::remove(path)
        .and_then(|()| record::forget_damaged(path))
        .map_err(PairingError::Record)?;
    if tombstone.was_copy {
        let state_dir = path.parent().unwrap_or(path);
        identity::remove(&state_dir.join("identity")).map_err(PairingError::Key)?;
        generation::forget(state_dir).map_err(PairingError::Record)?;
    }
    fail_point("disconnect.released");
    let done = Tombstone {
        done: true,
        ..tombstone
    };
    journal::write(&beside(path), &done).map_err(PairingError::Record)?;
    fail_point("disconnect.done");
    Ok(done)
}

fn record_in(state_dir: &Path) -> PathBuf {
    state_dir.join("pairing.json")
}

fn beside(path: &Path) -> PathBuf {
    path.with_file_name("disconnected.json")
}
