//! Centrals and their backups: through the satellite's backup-service, with the data read and written here.
//!
//! **Invariant:** of a central one backup or restore in place runs at a time. Work that was begun goes on if the
//! caller leaves; how it ended is in its job and in the audit log.

mod archives;
mod lease;
mod restore;
mod run;

use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use satellite_proto::wire::MAX_MESSAGE;
use satellite_proto::wire::backup::v1::archive_service_client::ArchiveServiceClient;
use tonic::transport::Channel;

use self::lease::Leases;
use super::{Actor, App, AppError, JobFailure};
use crate::central::profile::{DataSet, Profile};
use crate::central::quiesce::StopNotes;
use crate::central::read::{Measured, measure};
use crate::names::SatelliteName;
use crate::store::Central;

pub use self::archives::{Listed, Stored};
pub use self::restore::RestoreWish;

/// Bytes that the slowest thing we accept (reading back included) does in a second.
const SLOWEST: u64 = 5 * 1024 * 1024;

/// The use cases around backups; clones share their leases.
#[derive(Debug, Clone)]
pub struct Backups {
    app: App,
    leases: Leases,
}

impl Backups {
    /// The use cases of this process. Make it once: the leases live in it.
    #[must_use]
    pub fn new(app: App) -> Self {
        Self {
            app,
            leases: Leases::default(),
        }
    }

    /// Adds a central, or changes it. Name, address and tenant come from the profile.
    ///
    /// # Errors
    /// [`AppError::Invalid`] the profile has faults; [`AppError::NotFound`] no such satellite; [`AppError::Exists`].
    pub async fn add_central(
        &self,
        actor: &Actor,
        profile: &str,
        satellite: &str,
        replace: bool,
    ) -> Result<Central, AppError> {
        let action = "BackupService/AddCentral";
        let parsed = self.app.audit.begun(actor, action, "", parse(profile)).await?;
        let name = parsed.name.clone();
        let added = self.checked_central(parsed, profile, satellite, replace).await;
        self.app.audit.recorded(actor, action, &name, added).await
    }

    async fn checked_central(
        &self,
        parsed: Profile,
        profile: &str,
        satellite: &str,
        replace: bool,
    ) -> Result<Central, AppError> {
        let known = self.app.store.satellites().await?;
        if !known.iter().any(|row| row.name.as_str() == satellite) {
            return Err(AppError::no("satellite", satellite));
        }
        let central = Central {
            name: parsed.name,
            address: parsed.address,
            tenant: parsed.tenant,
            profile: profile.to_owned(),
            satellite: satellite.to_owned(),
            added_at: Timestamp::now(),
        };
        match self.app.store.add_central(&central, replace).await {
            Err(crate::store::StoreError::Exists(_)) => Err(AppError::Exists(format!(
                "central {} is known already: add --replace to change it",
                central.name
            ))),
            other => Ok(other.map(|()| central)?),
        }
    }

    /// Removes a central. Its archives stay where they are.
    ///
    /// # Errors
    /// [`AppError::NotFound`]; [`AppError::Precondition`] while a backup or restore of it is under way.
    pub async fn remove_central(&self, actor: &Actor, name: &str) -> Result<(), AppError> {
        let removed = match self.leases.take(name) {
            Ok(_lease) => match self.app.store.remove_central(name).await {
                Ok(true) => Ok(()),
                Ok(false) => Err(AppError::no("central", name)),
                Err(error) => Err(error.into()),
            },
            Err(error) => Err(error),
        };
        let action = "BackupService/RemoveCentral";
        self.app.audit.recorded(actor, action, name, removed).await
    }

    /// All centrals, by name.
    ///
    /// # Errors
    /// What the store says.
    pub async fn centrals(&self) -> Result<Vec<Central>, AppError> {
        Ok(self.app.store.centrals().await?)
    }

    /// What each data set of a central holds now.
    ///
    /// # Errors
    /// [`AppError::NotFound`].
    pub async fn measure(&self, name: &str) -> Result<Vec<(DataSet, Measured)>, AppError> {
        let (_, profile) = self.central(name).await?;
        measured(profile.data_sets).await
    }

    async fn central(&self, name: &str) -> Result<(Central, Profile), AppError> {
        let central = self
            .app
            .store
            .central(name)
            .await?
            .ok_or_else(|| AppError::no("central", name))?;
        let profile = parse(&central.profile)?;
        Ok((central, profile))
    }

    fn client(&self, satellite: &SatelliteName) -> Result<ArchiveServiceClient<Channel>, AppError> {
        let channel = self.app.fleet.channel(satellite)?;
        Ok(ArchiveServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE))
    }

    /// Where it is noted which services of centrals are stopped.
    fn notes(&self) -> StopNotes {
        StopNotes::new(self.app.config.stopped_services())
    }

    /// How long nothing may move in work on so many bytes.
    fn patience(&self, bytes: u64) -> Duration {
        self.app.config.operation_deadline + Duration::from_secs(bytes / SLOWEST)
    }
}

async fn measured(sets: Vec<DataSet>) -> Result<Vec<(DataSet, Measured)>, AppError> {
    let work = move || {
        let one = |set: DataSet| {
            let size = measure(&set);
            (set, size)
        };
        sets.into_iter().map(one).collect()
    };
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|err| AppError::machine("measure the central", err))
}

fn parse(profile: &str) -> Result<Profile, AppError> {
    Profile::parse(profile).map_err(|err| AppError::Invalid(err.to_string()))
}

fn satellite_name(text: &str) -> Result<SatelliteName, AppError> {
    SatelliteName::from_str(text).map_err(|err| AppError::Invalid(err.to_string()))
}

fn failure(error: &AppError) -> JobFailure {
    JobFailure {
        message: crate::error_chain(error),
        code: error.code(),
        log_tail: Vec::new(),
    }
}

#[cfg(test)]
mod tests;
