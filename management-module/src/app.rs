//! Use cases: what a person or a timer asks for, done with store, fleet and plan.
//!
//! **Invariant:** no SQL and no sockets here. What a caller may wait for without end goes on if the caller leaves.

pub mod accounts;
pub mod audit;
pub mod backup;
pub mod bundles;
pub mod certificate;
pub mod configurations;
pub mod destinations;
pub mod directory;
pub mod error;
mod execute;
pub mod firewall;
mod history;
pub mod jobs;
pub mod join;
pub mod later;
pub mod leases;
pub mod local;
pub mod logs;
pub mod network;
pub mod notify;
mod observe;
pub mod page;
pub(crate) mod passphrases;
pub mod peers;
pub mod preview;
mod push;
pub mod reconcile;
mod remote;
pub mod retry;
pub mod rollout;
pub mod runs;
pub mod satellites;
pub mod scheduler;
pub mod trust;
pub mod users;
pub mod verify;
pub mod warnings;
pub mod workloads;

use std::sync::Arc;

use jiff::Timestamp;
use satellite_host::disks::Disks;
use satellite_proto::identity::{Installation, Pin};

use crate::config::Config;
use crate::fleet::Fleet;
use crate::store::Store;
pub use audit::{Actor, Audit};
pub use error::AppError;
pub use jobs::{Begun, Job, JobFailure, Jobs};
pub use reconcile::Reconciler;

/// Everything that use cases need; clones share it.
#[derive(Debug, Clone)]
pub struct App {
    /// The configuration.
    pub config: Arc<Config>,
    /// What is remembered.
    pub store: Store,
    /// The satellites.
    pub fleet: Fleet,
    /// What brings satellites to what is desired of them.
    pub reconciler: Reconciler,
    /// Long work.
    pub jobs: Jobs,
    /// The audit log.
    pub audit: Audit,
    /// Wakes what moves rollouts on.
    pub rollouts: rollout::Bell,
    /// Where satellites with tokens are received.
    pub desk: join::Desk,
    /// The runs of this process.
    pub runs: runs::Desk,
    /// Disks that are plugged into the server.
    pub disks: Disks,
    /// Where the web page is offered.
    pub page: page::Page,
    /// The installation key.
    pub installation: Arc<Installation>,
    /// When the process was started.
    pub started_at: Timestamp,
}

impl App {
    /// Fingerprint of the installation key.
    #[must_use]
    pub fn installation_pin(&self) -> Pin {
        self.installation.pin()
    }
}

#[cfg(test)]
mod tests;
