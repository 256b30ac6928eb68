//! Removes from a central that a satellite reaches over SSH what an archive there holds: the satellite compares and removes.

use jiff::Timestamp;
use satellite_host::fail_point;
use satellite_proto::wire::backup::v1 as pb;
use satellite_proto::wire::management::v1::JobEvent;
use tonic::{Code, Status};

use super::ssh::told_set;
use super::{Backups, satellite_name};
use crate::app::{AppError, Job};
use crate::central::profile::Profile;
use crate::store::{Central, RunRow};

impl Backups {
    /// Has the files removed that the archive of a run holds, that are still what it holds, and that were last changed before
    /// `limit`. Who calls holds the lease on the central, and knows that every copy was read back.
    ///
    /// # Errors
    /// What the satellite says; what is gone by then stays so.
    pub(in crate::app) async fn remove_there(
        &self,
        run: &RunRow,
        (central, profile): (&Central, &Profile),
        limit: Timestamp,
        job: &mut Job,
    ) -> Result<pb::RemoveReport, AppError> {
        let satellite = satellite_name(&run.satellite)?;
        let request = pb::RemoveArchivedRequest {
            id: run.archive_id.clone(),
            central: Some(self.login(central)?),
            data_sets: profile.data_sets.iter().map(told_set).collect(),
            changed_before: Some(crate::rpc::wire_time(limit)),
        };
        let remote = |status: Status| match status.code() {
            Code::Unimplemented => AppError::Precondition(format!(
                "nothing was removed from the central: the backup-service of {satellite} is too old for that; update it"
            )),
            _ => AppError::remote(satellite.as_str(), status),
        };
        let mut client = self.remote_centrals(&satellite)?;
        let patience = self.patience(0);
        let silent = |_| remote(Status::deadline_exceeded("the satellite did not say how it goes"));
        let begun = tokio::time::timeout(patience, client.remove_archived(request)).await;
        let mut stream = begun.map_err(silent)?.map_err(remote)?.into_inner();
        fail_point("remove.begun");
        loop {
            let message = tokio::time::timeout(patience, stream.message()).await;
            let Some(answer) = message.map_err(silent)?.map_err(remote)? else {
                return Err(remote(Status::unavailable(
                    "the satellite did not say what it removed",
                )));
            };
            if let Some(report) = answer.report {
                fail_point("remove.reported");
                return Ok(report);
            }
            fail_point("remove.told");
            job.publish(JobEvent {
                step: "removing what was archived".to_owned(),
                done: answer.done,
                unit: "files".to_owned(),
                ..JobEvent::default()
            })
            .await;
        }
    }
}
