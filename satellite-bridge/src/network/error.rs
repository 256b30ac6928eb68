//! Why the network was not changed.

use satellite_host::files::FileError;
use satellite_host::network::NetworkError as MachineError;
use uuid::Uuid;

use super::check::Fault;
use super::settings::PortName;
use crate::change::{ChangeError, TimerError};

/// Why the network did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// The settings are wrong.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// A change waits for its confirmation.
    #[error("the change {0} is still open; confirm it or roll it back first")]
    ChangeOpen(Uuid),
    /// The settings are those in force.
    #[error("these settings are in force already")]
    Unchanged,
    /// The satellite has no such port.
    #[error("the satellite has no network port {0}")]
    NoSuchPort(PortName),
    /// The satellite has no port that the settings could be for.
    #[error("the satellite has no wired network port")]
    NoPort,
    /// The change is not open.
    #[error("no such change is open; it may have been rolled back when its time was up")]
    NoSuchChange,
    /// The change is being made.
    #[error("the change is not in force yet; confirm it when it is")]
    NotInForce,
    /// The confirmation came over a connection from before the change.
    #[error("a change is confirmed over a connection that was made after it; connect again and confirm")]
    OldConnection,
    /// Of a paired satellite it is the server that confirms.
    #[error(
        "the satellite belongs to a server, which confirms the change by reaching it; it has not done so yet"
    )]
    ServerMustConfirm,
    /// The stored settings cannot be read or written.
    #[error("the stored network settings cannot be read or written")]
    Store(#[source] FileError),
    /// Something cannot be put into words.
    #[error("the network settings cannot be written as JSON")]
    Encode(#[source] serde_json::Error),
    /// The files of the network manager cannot be written.
    #[error("the files of systemd-networkd cannot be written")]
    Files(#[source] FileError),
    /// The machine did not do something.
    #[error("the network could not be brought into the wanted state")]
    Machine(#[source] MachineError),
    /// The record of the change, or its lock, failed.
    #[error("the change cannot be recorded")]
    Change(#[source] ChangeError),
    /// The rollback could not be armed: nothing was changed.
    #[error("the rollback could not be armed, so nothing was changed")]
    Timer(#[source] TimerError),
    /// The machine does not say how long it has been up, so no deadline can be kept.
    #[error("the time since the start of the machine is not known, so nothing was changed")]
    Clock(#[source] std::io::Error),
}

impl NetworkError {
    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::NotInForce | Self::Timer(_) | Self::Machine(_) | Self::Change(ChangeError::Busy)
        )
    }
}
