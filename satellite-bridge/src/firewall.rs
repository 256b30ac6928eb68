//! The packet filter: from a ruleset to chains of our own, changed only with a way back.
//!
//! **Invariant:** one task changes the rules, under a lock that other processes of ours respect; chains and rules of
//! others stay as they are; the bridge's port stays open whatever the rules say.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use satellite_host::fail_point;
use satellite_host::files::FileError;
use satellite_host::iptables::{IptablesError, PacketFilter};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use crate::change::{Armed, ChangeError, Changes, Lock, RollbackTimer, Subject, TimerError};

mod apply;
mod count;
mod owner;
pub mod rate;
pub mod render;
pub mod ruleset;
mod store;
pub mod wire;
#[cfg(test)]
mod writes;

pub use ruleset::{Action, Ruleset, RulesetError};

use store::{Confirmed, Store};

/// The points at which a test can kill the daemon while it changes the rules, in the order in which they are passed.
pub const FAIL_POINTS: [&str; 8] = [
    "firewall.armed",
    "firewall.timer-armed",
    "firewall.half-applied",
    "firewall.applied",
    "firewall.confirm-recorded",
    "firewall.confirmed",
    "firewall.rolled-back",
    "firewall.rollback-recorded",
];

/// How many requests may wait for the task.
const QUEUE: usize = 32;

/// Where the firewall finds what it needs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The state directory of the satellite.
    pub state_dir: PathBuf,
    /// The bridge's port, which stays open.
    pub port: u16,
    /// What filters.
    pub filter: Arc<dyn PacketFilter>,
}

/// Why the firewall did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FirewallError {
    /// A change waits for its confirmation.
    #[error("the change {0} is still open; confirm it or roll it back first")]
    ChangeOpen(Uuid),
    /// The rules in force are not those that were to be replaced.
    #[error("the rules in force have the revision {in_force}, not the one that was to be replaced")]
    OtherRevision {
        /// What is in force.
        in_force: String,
    },
    /// The change is not open.
    #[error("no such change is open; it may have been rolled back when its time was up")]
    NoSuchChange,
    /// The confirmation came over a connection from before the change.
    #[error("a change is confirmed over a connection that was made after it; connect again and confirm")]
    OldConnection,
    /// Too many kernel rules.
    #[error(transparent)]
    TooLarge(#[from] render::TooLarge),
    /// The packet filter failed.
    #[error("the packet filter did not take the rules")]
    Iptables(#[source] IptablesError),
    /// The confirmed rules cannot be read or written.
    #[error("the stored firewall rules cannot be read or written")]
    Store(#[source] FileError),
    /// The rules cannot be put into words.
    #[error("the firewall rules cannot be written as JSON")]
    Encode(#[source] serde_json::Error),
    /// The record of the change, or its lock, failed.
    #[error("the change cannot be recorded")]
    Change(#[source] ChangeError),
    /// The rollback could not be armed: nothing was changed.
    #[error("the rollback could not be armed, so nothing was changed")]
    Timer(#[source] TimerError),
    /// The daemon is ending.
    #[error("the bridge is stopping")]
    Stopping,
}

impl FirewallError {
    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Stopping | Self::Timer(_) | Self::Change(ChangeError::Busy)
        )
    }
}

/// A change that waits for its confirmation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenChange {
    /// Names it.
    pub id: Uuid,
    /// When it is undone unless confirmed.
    pub deadline: Timestamp,
}

/// What is meant and what is in force.
#[derive(Debug, Clone)]
pub struct Status {
    /// The rules as they were set.
    pub ruleset: Ruleset,
    /// What names them.
    pub revision: String,
    /// Our chains as `iptables -S` prints them.
    pub ipv4: Vec<String>,
    /// Our chains as `ip6tables -S` prints them.
    pub ipv6: Vec<String>,
    /// The open change, if there is one.
    pub open_change: Option<OpenChange>,
    /// Whether what is in force is what was set.
    pub in_sync: bool,
}

/// What is meant, without a look at what is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meant {
    /// What names the rules as they were set.
    pub revision: String,
    /// The open change, if there is one.
    pub open_change: Option<OpenChange>,
}

/// What came of a request to set the rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetOutcome {
    /// To be confirmed; none if nothing had to change.
    pub change: Option<OpenChange>,
    /// What is in force now.
    pub revision: String,
}

/// What a caller wants to be in force.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The rules.
    pub ruleset: Ruleset,
    /// The revision that they are meant to replace; none: whichever there is.
    pub base: Option<String>,
    /// Time to confirm.
    pub confirm: Duration,
}

/// A handle to the task that owns the packet filter.
#[derive(Debug, Clone)]
pub struct Firewall {
    requests: mpsc::Sender<owner::Request>,
    filter: Arc<dyn PacketFilter>,
}

impl Firewall {
    /// Undoes what a crash left open, puts the confirmed rules in force, and starts the task.
    ///
    /// # Errors
    ///
    /// If the rules cannot be put in force.
    pub async fn start(settings: Settings, timer: Arc<dyn RollbackTimer>) -> Result<Self, FirewallError> {
        let (requests, inbox) = mpsc::channel(QUEUE);
        let filter = settings.filter.clone();
        let owner = owner::Owner::start(settings, timer).await?;
        tokio::spawn(owner.run(inbox));
        Ok(Self { requests, filter })
    }

    /// What is meant and what is in force.
    ///
    /// # Errors
    ///
    /// If what is stored cannot be read.
    pub async fn get(&self) -> Result<Status, FirewallError> {
        self.ask(owner::Request::Get).await
    }

    /// What met each rule since the rules were last changed.
    ///
    /// # Errors
    ///
    /// If the packet filter cannot be read.
    pub async fn counters(
        &self,
    ) -> Result<Vec<satellite_proto::wire::bridge::v1::RuleCounter>, FirewallError> {
        count::counters(&*self.filter)
            .await
            .map_err(FirewallError::Iptables)
    }

    /// What is meant. Starts no program: for whoever asks every few seconds.
    ///
    /// # Errors
    ///
    /// If what is stored cannot be read.
    pub async fn meant(&self) -> Result<Meant, FirewallError> {
        self.ask(owner::Request::Meant).await
    }

    /// Replaces all rules; they are undone by themselves unless confirmed.
    ///
    /// # Errors
    ///
    /// [`FirewallError::ChangeOpen`], [`FirewallError::OtherRevision`]: nothing was changed, an open change stays
    /// armed. After any other error the rules are those from before.
    pub async fn set(&self, wanted: Wanted) -> Result<SetOutcome, FirewallError> {
        self.ask(|reply| owner::Request::Set(wanted, reply)).await
    }

    /// Keeps the change `id`; `established` is when the caller's connection was made. Returns the revision in force.
    ///
    /// # Errors
    ///
    /// [`FirewallError::NoSuchChange`], [`FirewallError::OldConnection`]: the change stays as it is.
    pub async fn confirm(&self, id: Uuid, established: std::time::Instant) -> Result<String, FirewallError> {
        self.ask(|reply| owner::Request::Confirm(id, established, reply))
            .await
    }

    /// Undoes the change `id` now. Returns the revision in force.
    ///
    /// # Errors
    ///
    /// [`FirewallError::NoSuchChange`]; any other: the change stays armed and is tried again.
    pub async fn rollback(&self, id: Uuid) -> Result<String, FirewallError> {
        self.ask(|reply| owner::Request::Rollback(id, reply)).await
    }

    /// Goes back to the shipped rules, undone by itself unless confirmed.
    ///
    /// # Errors
    ///
    /// As for [`Firewall::set`].
    pub async fn reset(&self, confirm: Duration) -> Result<SetOutcome, FirewallError> {
        self.set(Wanted {
            ruleset: Ruleset::shipped(),
            base: None,
            confirm,
        })
        .await
    }

    /// Goes back to the shipped rules at once and for good, as the person at the console asks. Ends an open change.
    ///
    /// # Errors
    ///
    /// If they cannot be put in force or recorded.
    pub async fn reset_now(&self) -> Result<String, FirewallError> {
        self.ask(owner::Request::ResetNow).await
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, FirewallError>>) -> owner::Request,
    ) -> Result<T, FirewallError> {
        let (reply, answer) = oneshot::channel();
        self.requests
            .send(request(reply))
            .await
            .map_err(|_| FirewallError::Stopping)?;
        answer.await.map_err(|_| FirewallError::Stopping)?
    }
}

/// Puts the confirmed rules in force without the daemon, before the network is up. An open change is undone first.
///
/// # Errors
///
/// If they cannot be put in force.
pub async fn restore_at_boot(settings: &Settings) -> Result<(), FirewallError> {
    let lock = Changes::new(&settings.state_dir)
        .lock()
        .await
        .map_err(FirewallError::Change)?;
    recover(&lock, settings).await.map(drop)
}

/// Goes back to the shipped rules without the daemon, at once and for good. Ends an open change.
///
/// # Errors
///
/// If they cannot be put in force or recorded.
pub async fn reset_from_disk(settings: &Settings) -> Result<(), FirewallError> {
    let lock = Changes::new(&settings.state_dir)
        .lock()
        .await
        .map_err(FirewallError::Change)?;
    reset(&lock, settings).await
}

/// Undoes the change `id` without the daemon. Says whether it was open.
pub(crate) async fn rollback_from_disk(settings: &Settings, id: Uuid) -> Result<bool, FirewallError> {
    let lock = Changes::new(&settings.state_dir)
        .lock()
        .await
        .map_err(FirewallError::Change)?;
    if open_change(&lock)?.is_none_or(|armed| armed.id != id) {
        return Ok(false);
    }
    let confirmed = recover(&lock, settings).await?;
    Ok(confirmed.change != Some(id))
}

/// Leads from whatever is on disk to: the confirmed rules are in force and no change is open.
async fn recover(lock: &Lock, settings: &Settings) -> Result<Confirmed, FirewallError> {
    let open = open_change(lock)?;
    let confirmed = Store::new(&settings.state_dir).load()?;
    put_in_force(lock, settings, &confirmed.ruleset).await?;
    if let Some(armed) = open {
        fail_point("firewall.rolled-back");
        lock.disarm().map_err(FirewallError::Change)?;
        fail_point("firewall.rollback-recorded");
        if confirmed.change == Some(armed.id) {
            tracing::info!(change = %armed.id, "A change that was confirmed before a crash is kept");
        } else {
            tracing::warn!(change = %armed.id, "A change that was not confirmed is undone");
        }
    }
    Ok(confirmed)
}

async fn reset(lock: &Lock, settings: &Settings) -> Result<(), FirewallError> {
    // Recorded first: should the machine die in between, its next start does the rest.
    Store::new(&settings.state_dir).forget()?;
    put_in_force(lock, settings, &Ruleset::shipped()).await?;
    if open_change(lock)?.is_some() {
        lock.disarm().map_err(FirewallError::Change)?;
    }
    Ok(())
}

/// The open change, if it is one of the packet filter.
fn open_change(lock: &Lock) -> Result<Option<Armed>, FirewallError> {
    let open = lock.open_change().map_err(FirewallError::Change)?;
    Ok(open.filter(|armed| matches!(armed.subject, Subject::Firewall { .. })))
}

async fn put_in_force(lock: &Lock, settings: &Settings, ruleset: &Ruleset) -> Result<(), FirewallError> {
    let chains = render::render(ruleset, settings.port)?;
    apply::apply(&*settings.filter, lock, &chains)
        .await
        .map_err(FirewallError::Iptables)
}
