//! Centrals and their backups: through the satellite's backup-service, with the data read and written here.
//!
//! **Invariant:** of a central one backup or restore in place runs at a time. Work that was begun goes on if the
//! caller leaves; how it ended is in its job and in the audit log.

mod archives;
mod pull;
mod remove;
mod restore;
mod run;
mod seen;
mod ssh;
mod weigh;

use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use satellite_proto::wire::MAX_MESSAGE;
use satellite_proto::wire::backup::v1::archive_service_client::ArchiveServiceClient;
use tonic::transport::Channel;

use super::{Actor, App, AppError, JobFailure, leases, local};
use crate::central::profile::{DataSet, Profile};
use crate::central::quiesce::StopNotes;
use crate::central::read::{Measured, measure, measure_and_sample};
use crate::central::restore::Traces;
use crate::names::SatelliteName;
use crate::plan::space::Shrunk;
use crate::store::{Central, LeaseKind};

pub use self::archives::{Listed, Stored};
pub use self::pull::FAIL_POINTS as SSH_FAIL_POINTS;
pub use self::restore::{RestoreWish, TEST};
pub(in crate::app) use self::run::{Making, left_out_told};
pub use self::ssh::{Checked, Reach};
pub(in crate::app) use self::weigh::Weight;
pub(crate) use self::weigh::size_told;

/// Where a test may kill the process: each is on the way of every restore in place that overwrites files.
pub const FAIL_POINTS: &[&str] = &[
    "restore.begun",
    "restore.leased",
    "restore.saved",
    "restore.opened",
    "restore.writing",
    "restore.placed",
    "restore.written",
    "restore.noted",
];

/// Bytes that the slowest thing we accept (reading back included) does in a second.
const SLOWEST: u64 = 5 * 1024 * 1024;

/// A central to be kept.
#[derive(Debug, Clone)]
pub struct CentralWish {
    /// Its profile, TOML.
    pub profile: String,
    /// Satellite on which its archives are written.
    pub satellite: String,
    /// Instead of the one of its name.
    pub replace: bool,
    /// How it is reached. Over SSH without a server: at the address of the profile.
    pub reach: Reach,
}

/// The use cases around backups.
#[derive(Debug, Clone)]
pub struct Backups {
    pub(in crate::app) app: App,
}

impl Backups {
    /// The use cases over `app`.
    #[must_use]
    pub fn new(app: App) -> Self {
        Self { app }
    }

    /// Adds a central, or changes it. Name, address and tenant come from the profile.
    ///
    /// # Errors
    /// [`AppError::Invalid`] the profile has faults, or what is needed to reach it is missing; [`AppError::NotFound`] no such
    /// satellite; [`AppError::Exists`].
    pub async fn put_central(&self, actor: &Actor, wish: CentralWish) -> Result<Central, AppError> {
        let action = "BackupService/AddCentral";
        let parsed = parse(&wish.profile);
        let parsed = self.app.audit.begun(actor, action, "", parsed).await?;
        let name = parsed.name.clone();
        let added = self.checked_central(parsed, wish).await;
        self.app.audit.recorded(actor, action, &name, added).await
    }

    /// Where a central's archives may be made: the server itself, if it has a backup-service, and the satellites.
    ///
    /// # Errors
    /// What the store says.
    pub async fn places(&self) -> Result<Vec<SatelliteName>, AppError> {
        local::places(&self.app).await
    }

    async fn checked_central(&self, parsed: Profile, wish: CentralWish) -> Result<Central, AppError> {
        let CentralWish {
            profile,
            satellite,
            replace,
            mut reach,
        } = wish;
        if let Reach::Ssh(ssh) = &mut reach
            && ssh.server.trim().is_empty()
        {
            ssh.server.clone_from(&parsed.address);
        }
        let known = self.places().await?;
        if !known.iter().any(|name| name.as_str() == satellite) {
            return Err(AppError::no("satellite", satellite));
        }
        let ssh = self.reached(&parsed.name, reach).await?;
        let central = Central {
            ssh,
            name: parsed.name,
            address: parsed.address,
            tenant: parsed.tenant,
            profile,
            satellite,
            added_at: Timestamp::now(),
            is_master: false,
        };
        match self.app.store.add_central(&central, replace).await {
            Err(crate::store::StoreError::Exists(_)) => Err(AppError::Exists(format!(
                "central {} is known already: add --replace to change it",
                central.name
            ))),
            Err(error) => Err(error.into()),
            // The first one is the master, and one that is replaced stays what it is.
            Ok(()) => Ok(self.app.store.central(&central.name).await?.unwrap_or(central)),
        }
    }

    /// Makes a central the master of the installation; the others are secondary.
    ///
    /// # Errors
    /// [`AppError::NotFound`].
    pub async fn set_master(&self, actor: &Actor, name: &str) -> Result<(), AppError> {
        let set = match self.app.store.set_master(name).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(AppError::no("central", name)),
            Err(error) => Err(error.into()),
        };
        self.app
            .audit
            .recorded(actor, "BackupService/SetMaster", name, set)
            .await
    }

    /// Removes a central. Its archives stay where they are.
    ///
    /// # Errors
    /// [`AppError::NotFound`]; [`AppError::Precondition`] while a backup or restore of it is under way, if a
    /// configuration names it, or if it is the master and not the last one.
    pub async fn remove_central(&self, actor: &Actor, name: &str) -> Result<(), AppError> {
        let removed = self.removed_central(name).await;
        let action = "BackupService/RemoveCentral";
        self.app.audit.recorded(actor, action, name, removed).await
    }

    async fn removed_central(&self, name: &str) -> Result<(), AppError> {
        let store = &self.app.store;
        let lease = leases::demand(store, name, LeaseKind::Change, "removal").await?;
        let configurations = store.configurations().await?;
        let users = configurations
            .iter()
            .map(|row| &row.configuration)
            .filter(|one| one.central == name);
        let users: Vec<_> = users.map(|one| one.name.as_str()).collect();
        let centrals = store.centrals().await?;
        let is_master = centrals.iter().any(|one| one.is_master && one.name == name);
        let removed = match users.as_slice() {
            [] if is_master && centrals.len() > 1 => Err(AppError::Precondition(format!(
                "central {name} is the master and there are others: make another the master first (`central set-master NAME`)"
            ))),
            [] => match store.remove_central(name).await? {
                true => Ok(()),
                false => Err(AppError::no("central", name)),
            },
            users => Err(AppError::Precondition(format!(
                "central {name} is backed up by {}: remove these configurations first",
                users.join(", ")
            ))),
        };
        lease.end().await;
        removed
    }

    /// All centrals: the master first, the others by name.
    ///
    /// # Errors
    /// What the store says.
    pub async fn centrals(&self) -> Result<Vec<Central>, AppError> {
        let mut all = self.app.store.centrals().await?;
        all.sort_by_key(|central| !central.is_master);
        Ok(all)
    }

    /// What each data set of a central holds now.
    ///
    /// # Errors
    /// [`AppError::NotFound`]; what the satellite says that reaches it.
    pub async fn measure(&self, name: &str) -> Result<Vec<(DataSet, Measured)>, AppError> {
        let (central, profile) = self.central(name).await?;
        let satellite = satellite_name(&central.satellite)?;
        self.measured(&central, &satellite, profile.data_sets).await
    }

    /// What data sets of a central hold, wherever it is.
    pub(in crate::app) async fn measured(
        &self,
        central: &Central,
        satellite: &SatelliteName,
        sets: Vec<DataSet>,
    ) -> Result<Vec<(DataSet, Measured)>, AppError> {
        match &central.ssh {
            Some(_) => self.measured_there(central, satellite, sets).await,
            None => measured_here(sets).await,
        }
    }

    pub(in crate::app) async fn central(&self, name: &str) -> Result<(Central, Profile), AppError> {
        let central = self
            .app
            .store
            .central(name)
            .await?
            .ok_or_else(|| AppError::no("central", name))?;
        let profile = parse(&central.profile)?;
        Ok((central, profile))
    }

    pub(in crate::app) fn client(
        &self,
        satellite: &SatelliteName,
    ) -> Result<ArchiveServiceClient<Channel>, AppError> {
        let channel = local::channel(&self.app, satellite)?;
        Ok(ArchiveServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE))
    }

    /// Where it is noted which services of centrals are stopped.
    fn notes(&self) -> StopNotes {
        StopNotes::new(self.app.config.stopped_services())
    }

    /// Where it is noted which restores are under way.
    fn traces(&self) -> Traces {
        Traces::new(self.app.config.restores())
    }

    /// How long nothing may move in work on so many bytes.
    pub(in crate::app) fn patience(&self, bytes: u64) -> Duration {
        self.app.config.operation_deadline + Duration::from_secs(bytes / SLOWEST)
    }
}

/// What data sets of this machine hold.
async fn measured_here(sets: Vec<DataSet>) -> Result<Vec<(DataSet, Measured)>, AppError> {
    looked(move || {
        let measured: Vec<_> = sets.iter().map(measure).collect();
        sets.into_iter().zip(measured).collect()
    })
    .await
}

/// What data sets of this machine hold and become, judged by a part of what they hold.
async fn sampled_here(sets: Vec<DataSet>) -> Result<(Vec<(DataSet, Measured)>, Shrunk), AppError> {
    looked(move || {
        let (measured, shrunk) = measure_and_sample(&sets);
        (sets.into_iter().zip(measured).collect(), shrunk)
    })
    .await
}

async fn looked<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, AppError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|err| AppError::machine("measure the central", err))
}

fn parse(profile: &str) -> Result<Profile, AppError> {
    Profile::parse(profile).map_err(|err| AppError::Invalid(err.to_string()))
}

pub(in crate::app) fn satellite_name(text: &str) -> Result<SatelliteName, AppError> {
    SatelliteName::from_str(text).map_err(|err| AppError::Invalid(err.to_string()))
}

pub(in crate::app) fn failure(error: &AppError) -> JobFailure {
    JobFailure {
        message: crate::error_chain(error),
        code: error.code(),
        log_tail: Vec::new(),
    }
}

#[cfg(test)]
pub(in crate::app) mod tests;
