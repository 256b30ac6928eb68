//! A change from its record to its end.
//!
//! **Invariant:** everything that decides is on disk before it is acted on, so each step can be the last one before a
//! crash: whoever looks next goes back, or finds the change confirmed.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use satellite_host::{clock, fail_point};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::observed::port_in_use;
use super::store::Confirmed;
use super::{Network, NetworkError, Open, PortName, Settings, check, force};
use crate::change::{Armed, Lock, Subject};

/// How long a change made at the console waits for the server to hear of it.
const ANNOUNCEMENT: Duration = Duration::from_secs(3);

/// Who made a change, and so who may confirm it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Opener {
    /// The person at the machine.
    Console,
    /// The server.
    Server,
}

/// A change of the network, as its record says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkChange {
    /// The settings before the change, to which a rollback leads.
    pub previous: Settings,
    /// The settings that are tried.
    pub next: Settings,
    /// Who made it.
    pub opener: Opener,
    /// The start of the machine within which the times below count.
    boot: Uuid,
    /// Milliseconds since that start at which it is undone: nobody can move them by setting the clock.
    expires: u64,
    /// The same for when it was in force; none while it is being brought into force.
    applied: Option<u64>,
}

impl NetworkChange {
    /// Whether the new settings are in force.
    #[must_use]
    pub fn is_in_force(&self) -> bool {
        self.applied.is_some()
    }

    /// Time left to confirm it; none after a restart of the machine.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        let is_this_boot = clock::boot_id().is_ok_and(|boot| boot == self.boot);
        match uptime() {
            Ok(now) if is_this_boot => Duration::from_millis(self.expires.saturating_sub(now)),
            _ => Duration::ZERO,
        }
    }
}

/// Milliseconds since the start of the machine.
fn uptime() -> std::io::Result<u64> {
    let up = clock::uptime()?.as_millis();
    Ok(u64::try_from(up).unwrap_or(u64::MAX))
}

impl Network {
    /// Applies `wanted`; it is undone by itself unless confirmed. For the person at the machine.
    ///
    /// # Errors
    ///
    /// [`NetworkError::ChangeOpen`], [`NetworkError::Fault`], [`NetworkError::Unchanged`] and such: nothing was
    /// changed. After any other error the settings are those from before.
    pub async fn apply(&self, wanted: &Settings) -> Result<Open, NetworkError> {
        // The lock is kept from the record to the end, so that nobody takes the record for one that a crash left.
        let mut lock = self.lock().await?;
        let id = self.record(&lock, wanted, Opener::Console, self.confirm).await?;
        if self.is_paired() {
            // The daemon tells the server where to look, while it still hears it; it needs the lock to say how it is.
            drop(lock);
            tokio::time::sleep(ANNOUNCEMENT).await;
            lock = self.lock().await?;
        }
        self.bring_into_force(&lock, id).await?;
        drop(lock);
        self.open_change()
            .filter(|open| open.id == id)
            .ok_or(NetworkError::NoSuchChange)
    }

    /// Records a change and arms its way back; [`Network::execute`] then makes it. In between the caller can tell
    /// others, who may lose the satellite by it. For the server.
    ///
    /// # Errors
    ///
    /// As [`Network::apply`]; nothing was changed.
    pub async fn announce(&self, wanted: &Settings, confirm: Duration) -> Result<Open, NetworkError> {
        let lock = self.lock().await?;
        let id = self.record(&lock, wanted, Opener::Server, confirm).await?;
        self.open_change()
            .filter(|open| open.id == id)
            .ok_or(NetworkError::NoSuchChange)
    }

    /// Makes the change that was announced as `id`.
    ///
    /// # Errors
    ///
    /// If it is open no more, or its settings cannot be brought into force: then those from before are.
    pub async fn execute(&self, id: Uuid) -> Result<(), NetworkError> {
        let lock = self.lock().await?;
        self.bring_into_force(&lock, id).await
    }

    /// Keeps the change `id`, as the person at the machine says who sees that it works.
    ///
    /// # Errors
    ///
    /// [`NetworkError::ServerMustConfirm`] of a paired satellite, [`NetworkError::NotInForce`],
    /// [`NetworkError::NoSuchChange`]: the change stays as it is.
    pub async fn confirm(&self, id: Uuid) -> Result<(), NetworkError> {
        let is_open = self.open_change().is_some_and(|open| open.id == id);
        if is_open && self.is_paired() {
            return Err(NetworkError::ServerMustConfirm);
        }
        self.keep_without_server(id).await
    }

    /// Keeps the change `id` although the server has not reached the satellite: the person at the machine takes it
    /// upon themselves, for the server may have to be told the new address first.
    ///
    /// # Errors
    ///
    /// [`NetworkError::NotInForce`], [`NetworkError::NoSuchChange`]: the change stays as it is.
    pub async fn keep_without_server(&self, id: Uuid) -> Result<(), NetworkError> {
        let lock = self.lock().await?;
        let (_, change) = self.find(&lock, id)?;
        if !change.is_in_force() {
            return Err(NetworkError::NotInForce);
        }
        self.make_final(&lock, id, change).await
    }

    /// Keeps the change `id`; `established` is when the caller's connection was made.
    ///
    /// # Errors
    ///
    /// [`NetworkError::OldConnection`], [`NetworkError::NotInForce`], [`NetworkError::NoSuchChange`]: the change
    /// stays as it is.
    pub async fn confirm_over(&self, id: Uuid, established: Instant) -> Result<(), NetworkError> {
        let lock = self.lock().await?;
        let (_, change) = self.find(&lock, id)?;
        let applied = change.applied.ok_or(NetworkError::NotInForce)?;
        let age = u64::try_from(established.elapsed().as_millis()).unwrap_or(u64::MAX);
        let made = uptime().map_err(NetworkError::Clock)?.saturating_sub(age);
        if made <= applied {
            return Err(NetworkError::OldConnection);
        }
        self.make_final(&lock, id, change).await
    }

    /// The server has called, over a connection made at `established`. That confirms a change made at the console, if
    /// the connection is younger than it; any other stays as it is.
    pub async fn reached(&self, established: Instant) {
        let open = self.open_change();
        let Some(open) = open.filter(|open| open.opener == Opener::Console && open.is_in_force) else {
            return;
        };
        match self.confirm_over(open.id, established).await {
            Ok(()) => {
                tracing::info!(change = %open.id, "The server has reached the satellite after a change at the console")
            }
            Err(NetworkError::OldConnection | NetworkError::NoSuchChange) => {}
            Err(error) => {
                tracing::warn!(change = %open.id, error = ?error, "A change that the server has reached is not confirmed")
            }
        }
    }

    /// Undoes the change `id` now.
    ///
    /// # Errors
    ///
    /// [`NetworkError::NoSuchChange`]; any other: the change stays open and is undone when its time is up.
    pub async fn rollback(&self, id: Uuid) -> Result<(), NetworkError> {
        let lock = self.lock().await?;
        self.find(&lock, id)?;
        self.undo(&lock, id).await
    }

    /// As [`Network::rollback`], but says whether the change was open.
    pub(crate) async fn rollback_if_open(&self, id: Uuid) -> Result<bool, NetworkError> {
        match self.rollback(id).await {
            Ok(()) => Ok(true),
            Err(NetworkError::NoSuchChange) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Undoes the open change if its time is up, or if `left_by_crash` and whoever made it did not live to finish it.
    ///
    /// # Errors
    ///
    /// If the settings from before cannot be brought into force: the change stays open.
    pub async fn tend(&self, left_by_crash: bool) -> Result<(), NetworkError> {
        if self.open_change().is_none() {
            return Ok(());
        }
        let lock = self.lock().await?;
        let Some(armed) = lock.open_change().map_err(NetworkError::Change)? else {
            return Ok(());
        };
        let Subject::Network(change) = &armed.subject else {
            return Ok(());
        };
        let is_confirmed = self.store.load()?.change == Some(armed.id);
        let is_over =
            change.remaining().is_zero() || (left_by_crash && (is_confirmed || !change.is_in_force()));
        if is_over {
            self.undo(&lock, armed.id).await
        } else {
            Ok(())
        }
    }

    /// Writes the files of the confirmed settings before there is a network, and ends an open change.
    ///
    /// # Errors
    ///
    /// If they cannot be written: the shipped settings then hold.
    pub async fn restore(&self) -> Result<(), NetworkError> {
        // A data partition that is full or read-only keeps nobody from having a network.
        let lock = self.lock().await;
        let confirmed = self.store.load()?;
        force::at_boot(&self.places, &*self.machine, &confirmed.settings).await?;
        fail_point("network.rolled-back");
        let lock = lock?;
        let open = lock.open_change().map_err(NetworkError::Change)?;
        if let Some(Armed {
            id,
            subject: Subject::Network(_),
            ..
        }) = open
        {
            lock.disarm().map_err(NetworkError::Change)?;
            fail_point("network.rollback-recorded");
            say_how_it_ended(id, &confirmed);
        }
        Ok(())
    }

    async fn record(
        &self,
        lock: &Lock,
        wanted: &Settings,
        opener: Opener,
        confirm: Duration,
    ) -> Result<Uuid, NetworkError> {
        if let Some(open) = lock.open_change().map_err(NetworkError::Change)? {
            return Err(NetworkError::ChangeOpen(open.id));
        }
        check::whole(wanted)?;
        let next = self.with_port(wanted).await?;
        let previous = self.store.load()?.settings;
        if next == previous {
            // Somebody may still have had a reason to ask: what is meant is put in force again.
            force::live(&self.places, &*self.machine, &previous).await?;
            return Err(NetworkError::Unchanged);
        }
        let milliseconds = u64::try_from(confirm.as_millis()).unwrap_or(u64::MAX);
        let change = NetworkChange {
            previous,
            next,
            opener,
            boot: clock::boot_id().map_err(NetworkError::Clock)?,
            expires: uptime()
                .map_err(NetworkError::Clock)?
                .saturating_add(milliseconds),
            applied: None,
        };
        let armed = Armed {
            id: Uuid::new_v4(),
            deadline: Timestamp::now().saturating_add(confirm).unwrap_or(Timestamp::MAX),
            subject: Subject::Network(Box::new(change)),
        };
        lock.arm(&armed).map_err(NetworkError::Change)?;
        fail_point("network.armed");
        if let Err(error) = self.timer.arm(armed.id, confirm).await {
            lock.disarm().map_err(NetworkError::Change)?;
            return Err(NetworkError::Timer(error));
        }
        fail_point("network.timer-armed");
        Ok(armed.id)
    }

    /// Names the port that the settings are for, if they need one: it must still be the same after a restart.
    async fn with_port(&self, wanted: &Settings) -> Result<Settings, NetworkError> {
        if !wanted.needs_port() {
            return Ok(wanted.clone());
        }
        let links = self.machine.links().await.map_err(NetworkError::Machine)?;
        let port = match &wanted.port {
            Some(port) if links.iter().any(|link| link.name == port.as_str()) => port.clone(),
            Some(port) => return Err(NetworkError::NoSuchPort(port.clone())),
            None => {
                let link = port_in_use(&links).ok_or(NetworkError::NoPort)?;
                link.name.parse::<PortName>()?
            }
        };
        Ok(Settings {
            port: Some(port),
            ..wanted.clone()
        })
    }

    async fn bring_into_force(&self, lock: &Lock, id: Uuid) -> Result<(), NetworkError> {
        let (mut armed, mut change) = self.find(lock, id)?;
        if change.is_in_force() {
            return Ok(());
        }
        if let Err(error) = self.try_next(lock, &mut armed, &mut change).await {
            if let Err(again) = self.undo(lock, id).await {
                tracing::error!(change = %id, error = ?again, "The old network settings could not be put back; trying again");
            }
            return Err(error);
        }
        tracing::info!(change = %id, "Network settings are in force until confirmed or undone");
        Ok(())
    }

    async fn try_next(
        &self,
        lock: &Lock,
        armed: &mut Armed,
        change: &mut NetworkChange,
    ) -> Result<(), NetworkError> {
        force::live(&self.places, &*self.machine, &change.next).await?;
        change.applied = Some(uptime().map_err(NetworkError::Clock)?);
        armed.subject = Subject::Network(Box::new(change.clone()));
        lock.arm(armed).map_err(NetworkError::Change)?;
        fail_point("network.applied");
        Ok(())
    }

    async fn make_final(&self, lock: &Lock, id: Uuid, change: NetworkChange) -> Result<(), NetworkError> {
        self.store.save(&Confirmed {
            settings: change.next,
            change: Some(id),
            last_good: Some(change.previous),
        })?;
        fail_point("network.confirm-recorded");
        // Before the record, by which it would be found again.
        self.stop_timer(id).await;
        lock.disarm().map_err(NetworkError::Change)?;
        fail_point("network.confirmed");
        tracing::info!(change = %id, "Network settings are confirmed");
        Ok(())
    }

    /// Leads from whatever is in force to: the confirmed settings are, and the change is not open.
    async fn undo(&self, lock: &Lock, id: Uuid) -> Result<(), NetworkError> {
        let confirmed = self.store.load()?;
        force::live(&self.places, &*self.machine, &confirmed.settings).await?;
        fail_point("network.rolled-back");
        self.stop_timer(id).await;
        lock.disarm().map_err(NetworkError::Change)?;
        fail_point("network.rollback-recorded");
        say_how_it_ended(id, &confirmed);
        Ok(())
    }

    fn find(&self, lock: &Lock, id: Uuid) -> Result<(Armed, NetworkChange), NetworkError> {
        let open = lock.open_change().map_err(NetworkError::Change)?;
        match open {
            Some(armed) if armed.id == id => match &armed.subject {
                Subject::Network(change) => {
                    let change = (**change).clone();
                    Ok((armed, change))
                }
                Subject::Firewall { .. } => Err(NetworkError::NoSuchChange),
            },
            _ => Err(NetworkError::NoSuchChange),
        }
    }

    async fn stop_timer(&self, id: Uuid) {
        if let Err(err) = self.timer.stop(id).await {
            tracing::warn!(change = %id, error = ?err, "A rollback timer could not be stopped; it will find nothing to do");
        }
    }

    async fn lock(&self) -> Result<Lock, NetworkError> {
        self.changes.lock().await.map_err(NetworkError::Change)
    }
}

fn say_how_it_ended(id: Uuid, confirmed: &Confirmed) {
    if confirmed.change == Some(id) {
        tracing::info!(change = %id, "A network change that was confirmed before a crash is kept");
    } else {
        tracing::warn!(change = %id, "A network change that was not confirmed is undone");
    }
}
