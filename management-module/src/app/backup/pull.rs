//! Backup and restore of a central that a satellite reaches over SSH: the satellite reads and writes it, from here come plan,
//! sign-in and patience.

use satellite_host::fail_point;
use satellite_proto::wire::backup::v1 as pb;
use satellite_proto::wire::management::v1::JobEvent;
use tonic::{Code, Status, Streaming};

use super::archives::Stored;
use super::restore::{RestoreWish, expected};
use super::run::{ENDED, Made, archive_of, header, is_lost, progress};
use super::ssh::told_set;
use super::{Backups, Making, failure};
use crate::app::{AppError, Job, JobFailure};
use crate::central::profile::Profile;
use crate::central::read::Totals;
use crate::central::restore::Report;
use crate::store::Central;

/// Where a test may kill the process while a satellite works on a central over SSH.
pub const FAIL_POINTS: &[&str] = &[
    "pull.begun",
    "pull.told",
    "pull.made",
    "push.begun",
    "push.reported",
    "remove.begun",
    "remove.told",
    "remove.reported",
];

impl Backups {
    /// Has the satellite read the central. Who calls holds the lease on the central.
    pub(super) async fn pull(&self, plan: &Making, job: &mut Job) -> Result<Made, JobFailure> {
        let said = |error: AppError| failure(&error);
        let limit = plan.sets.iter().find_map(|set| set.changed_before);
        let request = pb::PullArchiveRequest {
            header: Some(header(plan, plan.weight.archive)),
            central: Some(self.login(&plan.central).map_err(said)?),
            data_sets: plan.sets.iter().map(told_set).collect(),
            changed_before: limit.map(crate::rpc::wire_time),
        };
        let mut client = self.remote_centrals(&plan.satellite).map_err(said)?;
        let patience = self.patience(0);
        let begun = tokio::time::timeout(patience, client.pull_archive(request)).await;
        let begun =
            begun.unwrap_or_else(|_| Err(Status::deadline_exceeded("the reading did not begin in time")));
        let remote = |status| failure(&AppError::remote(plan.satellite.as_str(), status));
        let mut stream = begun.map_err(remote)?.into_inner();
        fail_point("pull.begun");
        let (mut seen, mut notices, total) = (0, 0, plan.weight.content);
        let lost = loop {
            let message = tokio::select! {
                message = tokio::time::timeout(patience, stream.message()) => message,
                () = plan.stop.cancelled() => {
                    return Err(remote(Status::cancelled(ENDED)));
                }
            };
            let answer = match message {
                Err(_) => break Status::deadline_exceeded("the satellite did not say how it goes"),
                Ok(Err(status)) => break status,
                Ok(Ok(None)) => break Status::unavailable("the satellite did not say what it made"),
                Ok(Ok(Some(answer))) => answer,
            };
            if let Some(archive) = answer.archive {
                fail_point("pull.made");
                // An earlier call has made it.
                if answer.members == 0 {
                    return Ok(found_again(archive, notices));
                }
                let totals = Totals {
                    members: answer.members,
                    bytes: answer.done_bytes,
                    sent: answer.done_bytes.saturating_sub(answer.copied_bytes),
                    notices: answer.notices,
                    left_out: archive.left_out,
                    left_out_first: Vec::new(),
                };
                if totals.sent < totals.bytes {
                    let (read, bytes) = (totals.sent, totals.bytes);
                    job.note(format!(
                        "{read} of {bytes} bytes were read; the satellite had the others"
                    ))
                    .await;
                }
                return Ok(Made { archive, totals });
            }
            fail_point("pull.told");
            notices += u64::from(!answer.notice.is_empty());
            seen = seen.max(answer.done_bytes);
            job.publish(JobEvent {
                notice: answer.notice,
                ..progress(seen, total)
            })
            .await;
        };
        if !is_lost(lost.code()) {
            return Err(remote(lost));
        }
        // The archive may be there, only the answer is lost.
        drop(stream);
        job.progress("asking whether the archive was kept", seen, seen, "bytes")
            .await;
        let answer = self.ask_again(plan, lost).await.map_err(said)?;
        let archive = archive_of(answer).map_err(said)?;
        Ok(found_again(archive, notices))
    }

    /// Has the satellite write an archive's data back to the paths that the profile names now.
    pub(super) async fn push_back(
        &self,
        stored: &Stored,
        (central, profile): (&Central, &Profile),
        wish: &RestoreWish,
        job: &mut Job,
    ) -> Result<Report, JobFailure> {
        let said = |error: AppError| failure(&error);
        if central.satellite != stored.satellite.as_str() {
            return Err(said(AppError::Precondition(format!(
                "the archive lies on satellite {} and central {} is reached by {}: fetch a copy of it there first, or restore into a directory",
                stored.satellite, central.name, central.satellite
            ))));
        }
        let total = expected(stored, wish);
        job.progress("reading the archive", 0, total, "bytes").await;
        let more = profile.data_sets.iter().map(|set| pb::CentralQuiesce {
            data_set: set.name.clone(),
            units: set.quiesce_for_restore.clone(),
        });
        let request = pb::PushArchiveRequest {
            selection: Some(pb::ReadArchiveRequest {
                id: stored.archive.id.clone(),
                data_sets: wish.data_sets.clone(),
                paths: wish.paths.clone(),
            }),
            central: Some(self.login(central).map_err(said)?),
            data_sets: profile.data_sets.iter().map(told_set).collect(),
            quiesce_for_restore: more.collect(),
            overwrite: wish.overwrite,
        };
        let mut client = self.remote_centrals(&stored.satellite).map_err(said)?;
        let longest = profile.data_sets.iter().flat_map(|set| &set.commands);
        let longest = longest.map(|command| command.deadline).max().unwrap_or_default();
        let patience = self.patience(0) + longest;
        let remote = |status| failure(&AppError::remote(stored.satellite.as_str(), status));
        let begun = tokio::time::timeout(patience, client.push_archive(request)).await;
        let begun =
            begun.unwrap_or_else(|_| Err(Status::deadline_exceeded("the restore did not begin in time")));
        let stream = begun.map_err(remote)?.into_inner();
        fail_point("push.begun");
        watched(stream, patience, total, job).await.map_err(remote)
    }
}

/// An archive whose answer was lost: it says itself what it holds.
fn found_again(archive: pb::Archive, notices: u64) -> Made {
    let bytes = archive.data_sets.iter().map(|set| set.size_bytes).sum();
    let totals = Totals {
        members: archive.data_sets.iter().map(|set| set.members).sum(),
        bytes,
        sent: bytes,
        notices: notices.max(archive.left_out),
        left_out: archive.left_out,
        left_out_first: Vec::new(),
    };
    Made { archive, totals }
}

async fn watched(
    mut stream: Streaming<pb::PushArchiveResponse>,
    patience: std::time::Duration,
    total: u64,
    job: &mut Job,
) -> Result<Report, Status> {
    loop {
        let message = tokio::time::timeout(patience, stream.message()).await;
        let message =
            message.map_err(|_| Status::deadline_exceeded("the restore did not come any further"))?;
        let Some(answer) = message? else {
            return Err(Status::new(
                Code::Unavailable,
                "the satellite did not say what it restored",
            ));
        };
        if let Some(report) = answer.report {
            fail_point("push.reported");
            return Ok(Report {
                members: report.members,
                bytes: report.bytes,
                refused: report.refused,
                notices: report.notices,
            });
        }
        job.progress("restoring", answer.done_bytes, total, "bytes").await;
    }
}
