//! How much a backup will bring and how large its archive will be, before anything of it is read.

use satellite_proto::wire::backup::v1 as pb;
use satellite_proto::wire::management::v1::DataSetSize;

use super::{Backups, failure, sampled_here};
use crate::app::remote::call;
use crate::app::{AppError, Job, JobFailure};
use crate::central::profile::DataSet;
use crate::central::read::Measured;
use crate::names::SatelliteName;
use crate::plan::space::{Place, Quota, Room, Shrunk};
use crate::store::{AccountRow, Central};

/// What a backup will bring.
#[derive(Debug, Clone)]
pub(in crate::app) struct Weight {
    /// The data sets, as they are now.
    pub(in crate::app) sets: Vec<(DataSet, Measured)>,
    /// Bytes of content, with what commands printed the last time.
    pub(in crate::app) content: u64,
    /// Bytes that the archive will have.
    pub(in crate::app) archive: u64,
}

impl Weight {
    /// The sizes, for a person.
    pub(in crate::app) fn told(&self) -> String {
        let one = |(set, size): &(DataSet, Measured)| {
            format!("{}: {} files, {} bytes", set.name, size.files, size.bytes)
        };
        let sets: Vec<_> = self.sets.iter().map(one).collect();
        format!(
            "{}; the archive will have about {} bytes",
            sets.join("; "),
            self.archive
        )
    }

    /// The sizes, for programs.
    pub(in crate::app) fn sizes(&self) -> Vec<DataSetSize> {
        self.sets.iter().map(size_told).collect()
    }
}

/// What a data set holds, as the wire has it.
pub(crate) fn size_told((set, size): &(DataSet, Measured)) -> DataSetSize {
    DataSetSize {
        data_set: set.name.clone(),
        description: set.description.clone(),
        files: size.files,
        size_bytes: size.bytes,
        can_be_large: set.can_be_large,
    }
}

impl Backups {
    /// Weighs what a backup of these data sets will bring.
    ///
    /// # Errors
    /// [`AppError::Machine`]; what the satellite says that reaches the central.
    pub(in crate::app) async fn weigh(
        &self,
        central: &Central,
        satellite: &SatelliteName,
        sets: &[DataSet],
    ) -> Result<Weight, AppError> {
        let last = self.last_of(central, satellite, sets).await;
        let (sizes, shrunk) = match &last {
            Some(last) => {
                let shrunk = Shrunk {
                    from: last.data_sets.iter().map(|set| set.size_bytes).sum(),
                    to: last.size_bytes,
                };
                (self.measured(central, satellite, sets.to_vec()).await?, shrunk)
            }
            // A sample would have to be sent as well.
            None if central.ssh.is_some() => {
                let sizes = self.measured(central, satellite, sets.to_vec()).await?;
                (sizes, Shrunk::default())
            }
            None => sampled_here(sets.to_vec()).await?,
        };
        let content = |(set, size): &(DataSet, Measured)| match &last {
            // Nobody knows what its commands will print but by what they printed.
            Some(last) if !set.commands.is_empty() => size.bytes.max(held(last, &set.name)),
            Some(_) => size.bytes,
            // Or by what the profile says.
            None => size.bytes.saturating_add(set.estimate()),
        };
        let content = sizes.iter().map(content).sum();
        Ok(Weight {
            archive: shrunk.of(content),
            sets: sizes,
            content,
        })
    }

    /// The same with news for whoever watches a run.
    pub(in crate::app) async fn weighed(
        &self,
        central: &Central,
        satellite: &SatelliteName,
        sets: &[DataSet],
        job: &mut Job,
    ) -> Result<Weight, JobFailure> {
        job.progress("measuring the central", 0, 0, "bytes").await;
        let weighed = self.weigh(central, satellite, sets).await;
        let weight = weighed.map_err(|error| failure(&error))?;
        job.note(weight.told()).await;
        Ok(weight)
    }

    /// Why the tenant of a central gets no archive of so many bytes at so many places; none: it has space, or no limit.
    pub(in crate::app) async fn over_quota(
        &self,
        central: &str,
        needed: u64,
        places: usize,
    ) -> Result<Option<String>, AppError> {
        let store = &self.app.store;
        let Some(central) = store.central(central).await? else {
            return Ok(None);
        };
        let accounts = store.accounts().await?;
        let limited =
            |row: &&AccountRow| row.account.tenant == central.tenant && row.limits().quota_bytes > 0;
        let Some(account) = accounts
            .iter()
            .filter(limited)
            .min_by_key(|row| row.limits().quota_bytes)
        else {
            return Ok(None);
        };
        let quota = Quota {
            account: account.account.name.clone(),
            bytes: account.limits().quota_bytes,
            used: store.space(&central.tenant).await?.used_bytes,
            tenant: central.tenant,
        };
        Ok(quota.refusal(needed, places))
    }

    /// What the satellite has for an archive.
    pub(in crate::app) async fn room(&self, satellite: &SatelliteName) -> Place {
        let asked = async {
            let mut client = self.client(satellite)?;
            let answer = client.get_storage(pb::GetStorageRequest {});
            call(satellite, self.app.config.call_deadline, answer).await
        };
        let room = asked.await.map(|storage| Room {
            free: Some(storage.free_bytes),
            most: None,
        });
        Place {
            destination: String::new(),
            room: room.map_err(|error| crate::error_chain(&error)),
        }
    }

    /// The newest archive of the same data sets: by it the next one is judged. What does not answer has none.
    async fn last_of(
        &self,
        central: &Central,
        satellite: &SatelliteName,
        sets: &[DataSet],
    ) -> Option<pb::Archive> {
        // What is moved because it is old is another part of the data each time.
        if sets.iter().any(|set| set.changed_before.is_some()) {
            return None;
        }
        let (_, answer) = self.list_one(satellite.clone(), &central.name).await;
        let is_alike = |archive: &pb::Archive| {
            let names = archive.data_sets.iter().map(|set| &set.name);
            names.eq(sets.iter().map(|set| &set.name))
                && archive.data_sets.iter().any(|set| set.size_bytes > 0)
        };
        answer.ok()?.archives.into_iter().find(is_alike)
    }
}

fn held(archive: &pb::Archive, set: &str) -> u64 {
    let mut sets = archive.data_sets.iter();
    sets.find(|one| one.name == set).map_or(0, |one| one.size_bytes)
}
