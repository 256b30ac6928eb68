//! The satellite's network: settings that a person makes, applied with a way back, by the daemon or without it.
//!
//! **Invariant:** one owner: nothing but this module writes our files of systemd-networkd, and only under the lock that
//! all changes share. What is stored was confirmed; what was not is gone at the next start, before there is a network.
//!
//! ```text
//! apply: check, choose the port -> record (change/open.json) -> timer of systemd -> files, reload -> record says so
//! then:  confirm -> stored, record gone, timer stopped;  or rollback by a caller, the timer, the daemon or a start
//! ```

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use satellite_host::network::{Network as Machine, SystemNetwork};
use satellite_host::systemd::SystemUnits;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::change::{Changes, RollbackTimer, Subject, SystemdTimer};
use crate::config::Config;

pub mod check;
mod error;
mod fault;
mod finding;
mod force;
mod observed;
mod probe;
pub mod render;
mod settings;
mod store;
mod transaction;
pub mod wire;

pub use check::{Fault, Field};
pub use error::NetworkError;
pub use finding::{Finding, HardwareAddress, Severity};
pub use force::SHIPPED_HOST_NAME;
pub use observed::{Address, Link, Observed};
pub use settings::{HostName, Ipv4, Ipv6, Mtu, PortName, Proxy, Settings, TimeServer, VlanId};
pub use transaction::{NetworkChange, Opener};

use force::Places;
use store::Store;

/// The points at which a test can kill a process that changes the network, in the order in which they are passed.
pub const FAIL_POINTS: [&str; 9] = [
    "network.armed",
    "network.timer-armed",
    "network.half-written",
    "network.written",
    "network.applied",
    "network.confirm-recorded",
    "network.confirmed",
    "network.rolled-back",
    "network.rollback-recorded",
];

/// How often the daemon looks whether the time of a change is up. The timer of systemd does too, a little later.
const WATCH: Duration = Duration::from_secs(2);

/// A change that waits for its confirmation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// Names it.
    pub id: Uuid,
    /// When it is undone unless confirmed, by the clock of now.
    pub expire_time: Timestamp,
    /// Time left until then, whatever the clock says.
    pub remaining: Duration,
    /// Whether the new settings are in force; if not, they are being brought into force.
    pub is_in_force: bool,
    /// Who made it.
    pub opener: Opener,
    /// The settings that are tried.
    pub settings: Settings,
}

/// The satellite's network. A cheap handle that remembers nothing: what is on disk decides, so that the daemon, the
/// console and the timer can each have one.
#[derive(Debug, Clone)]
pub struct Network {
    changes: Changes,
    store: Store,
    places: Places,
    /// Is there while the satellite belongs to a server.
    membership: PathBuf,
    confirm: Duration,
    machine: Arc<dyn Machine>,
    timer: Arc<dyn RollbackTimer>,
}

impl Network {
    /// The network of this machine. Touches nothing yet.
    #[must_use]
    pub fn open(config: &Config) -> Self {
        let timer = SystemdTimer::new(Arc::new(SystemUnits::new()), config.own_command());
        Self::with(config, Arc::new(SystemNetwork), Arc::new(timer))
    }

    /// The network of `machine`, whose changes `timer` undoes.
    #[must_use]
    pub fn with(config: &Config, machine: Arc<dyn Machine>, timer: Arc<dyn RollbackTimer>) -> Self {
        Self {
            changes: Changes::new(&config.state_dir),
            store: Store::new(&config.state_dir),
            places: Places {
                network_dir: config.network_dir.clone(),
                state_dir: config.state_dir.clone(),
                run_dir: config.run_dir.clone(),
            },
            membership: config.state_dir.join("pairing.json"),
            confirm: config.confirm_time,
            machine,
            timer,
        }
    }

    /// The settings that were confirmed last.
    ///
    /// # Errors
    ///
    /// [`NetworkError::Store`] if they cannot be read.
    pub fn settings(&self) -> Result<Settings, NetworkError> {
        Ok(self.store.load()?.settings)
    }

    /// The settings that were confirmed before those; `None` if there are none, or they cannot be read.
    #[must_use]
    pub fn last_good(&self) -> Option<Settings> {
        self.store.load().ok()?.last_good
    }

    /// The open change of the network: a look without the lock, true for the moment.
    #[must_use]
    pub fn open_change(&self) -> Option<Open> {
        let armed = self.changes.peek()?;
        let Subject::Network(change) = &armed.subject else {
            return None;
        };
        Some(Open {
            id: armed.id,
            expire_time: armed.deadline,
            remaining: change.remaining(),
            is_in_force: change.is_in_force(),
            opener: change.opener,
            settings: change.next.clone(),
        })
    }

    /// What is in force now. What cannot be read is left empty.
    pub async fn observe(&self) -> Observed {
        observed::observe(&*self.machine).await
    }

    /// Tries in the network whether `wanted` can work, before it is applied. Takes a few seconds.
    pub async fn probe(&self, wanted: &Settings) -> Vec<Finding> {
        probe::probe(&*self.machine, wanted).await
    }

    /// How long a change waits for its confirmation unless told otherwise.
    #[must_use]
    pub fn confirm_time(&self) -> Duration {
        self.confirm
    }

    /// Whether the satellite belongs to a server, which then confirms changes by reaching it.
    #[must_use]
    pub fn is_paired(&self) -> bool {
        self.membership.exists()
    }

    /// Whether a change of anything is open: cheap enough to be asked at each call.
    #[must_use]
    pub fn is_any_change_open(&self) -> bool {
        self.changes.is_open()
    }

    /// Undoes what is left open by a crash, and from then on what nobody confirms in time. For the daemon.
    pub async fn keep(self, stop: CancellationToken) {
        let mut left_by_crash = true;
        loop {
            match self.tend(left_by_crash).await {
                Ok(()) => left_by_crash = false,
                Err(error) => {
                    tracing::error!(error = ?error, "A network change could not be undone; trying again")
                }
            }
            tokio::select! {
                () = tokio::time::sleep(WATCH) => {}
                () = stop.cancelled() => return,
            }
        }
    }
}

/// Before there is a network: takes back what was not confirmed, and writes the files of what was.
///
/// # Errors
///
/// If the files cannot be written: the shipped settings then hold, by which the satellite asks for an address.
pub async fn restore_at_boot(config: &Config) -> Result<(), NetworkError> {
    Network::open(config).restore().await
}
