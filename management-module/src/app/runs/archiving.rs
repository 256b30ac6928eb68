//! Archiving: what has grown old leaves the central once it lies in an archive at every destination.
//!
//! **Invariant:** nothing is removed from a central before each copy was read back and found right; then only what is byte
//! for byte what the archive holds. A run that is taken up again asks the archive what it holds.

use jiff::{SignedDuration, Timestamp};
use satellite_proto::wire::backup::v1 as pb;
use satellite_proto::wire::backup::v1::item::Kind as Part;
use tonic::Status;

use super::Runs;
use crate::app::backup::satellite_name;
use crate::app::{AppError, Job};
use crate::central::profile::DataSet;
use crate::central::read::measure;
use crate::central::remove::{Archived, Removed, remove};
use crate::plan::outcome::CopyState;
use crate::store::RunRow;

/// Files that are told by name when they stay.
const TOLD: usize = 20;

/// What became of the files of an archive.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct MovedOut {
    /// Files that are gone.
    pub(super) gone: u64,
    /// Files that are something else by now: they stay.
    pub(super) changed: u64,
    /// Files that could not be removed, with the reason.
    pub(super) failed: Vec<String>,
}

impl From<pb::RemoveReport> for MovedOut {
    fn from(report: pb::RemoveReport) -> Self {
        let mut failed = report.problems;
        failed.truncate(TOLD);
        let more = report.failed.saturating_sub(failed.len() as u64);
        if more > 0 {
            failed.push(format!("{more} more"));
        }
        Self {
            gone: report.gone,
            changed: report.changed,
            failed,
        }
    }
}

/// The data sets, only with what was not changed for so many days.
pub(super) fn old(sets: Vec<DataSet>, days: u32) -> Vec<DataSet> {
    let limit = limit(days);
    sets.into_iter().map(|set| set.changed_before(limit)).collect()
}

fn limit(days: u32) -> Timestamp {
    let age = SignedDuration::from_hours(24 * i64::from(days));
    Timestamp::now().checked_sub(age).unwrap_or(Timestamp::MIN)
}

/// Whether there is a file in any of the data sets.
pub(super) async fn is_anything(sets: &[DataSet]) -> Result<bool, AppError> {
    let sets = sets.to_vec();
    let looked = tokio::task::spawn_blocking(move || sets.iter().any(|set| measure(set).files > 0)).await;
    looked.map_err(|error| AppError::machine("look for old files", error))
}

impl Runs {
    /// Removes from the central what the archive of a run holds.
    pub(super) async fn move_out(&self, run: &RunRow, job: &mut Job) -> Result<MovedOut, AppError> {
        let is_safe =
            |copy: &crate::store::CopyRow| copy.state == CopyState::Done && copy.verified_at.is_some();
        if run.copies.is_empty() || !run.copies.iter().all(is_safe) {
            return Err(AppError::Precondition(
                "nothing was removed from the central: not every copy of the archive could be read back"
                    .to_owned(),
            ));
        }
        let (central, profile) = self.backups.central(&run.plan.central).await?;
        if central.ssh.is_some() {
            let limit = limit(run.plan.older_than_days);
            let there = (&central, &profile);
            let report = self.backups.remove_there(run, there, limit, job).await?;
            return Ok(MovedOut::from(report));
        }
        let satellite = satellite_name(&run.satellite)?;
        let remote = |status| AppError::remote(satellite.as_str(), status);
        let request = pb::ReadArchiveRequest {
            id: run.archive_id.clone(),
            ..pb::ReadArchiveRequest::default()
        };
        let patience = self.backups.patience(0);
        let silent = |_| remote(Status::deadline_exceeded("the archive did not come any further"));
        let mut client = self.backups.client(&satellite)?;
        let opened = tokio::time::timeout(patience, client.read_archive(request)).await;
        let mut messages = opened.map_err(silent)?.map_err(remote)?.into_inner();
        let (mut begun, mut moved) = (None, MovedOut::default());
        loop {
            let message = tokio::time::timeout(patience, messages.message()).await;
            let Some(message) = message.map_err(silent)?.map_err(remote)? else {
                return Ok(moved);
            };
            let mut whole = Vec::new();
            for item in message.batch.unwrap_or_default().items {
                match item.kind {
                    Some(Part::Begin(member)) => begun = Some(member),
                    Some(Part::End(end)) => {
                        let file = begun.take().filter(is_moved);
                        whole.extend(file.map(|member| (member.data_set.clone(), archived(member, &end))));
                    }
                    Some(Part::Content(_) | Part::Copied(_)) | None => {}
                }
            }
            if !whole.is_empty() {
                self.remove_all(&profile.data_sets, whole, &mut moved).await?;
            }
        }
    }

    async fn remove_all(
        &self,
        sets: &[DataSet],
        files: Vec<(String, Archived)>,
        moved: &mut MovedOut,
    ) -> Result<(), AppError> {
        let sets = sets.to_vec();
        let work = move || {
            let one = |(set, file): (String, Archived)| {
                let set = sets.iter().find(|known| known.name == set);
                let removed = set.map_or(Removed::Changed, |set| remove(set, &file));
                (file.path, removed)
            };
            files.into_iter().map(one).collect::<Vec<_>>()
        };
        let removed = tokio::task::spawn_blocking(work).await;
        let removed = removed.map_err(|error| AppError::machine("remove what was archived", error))?;
        for (path, removed) in removed {
            match removed {
                Removed::Gone => moved.gone += 1,
                Removed::Changed => moved.changed += 1,
                Removed::Failed(error) if moved.failed.len() < TOLD => {
                    let path = String::from_utf8_lossy(&path).into_owned();
                    moved.failed.push(format!("/{path}: {error}"));
                }
                Removed::Failed(_) => {}
            }
        }
        Ok(())
    }
}

/// Only files that lay at a path of the central; what a command printed lies nowhere.
fn is_moved(member: &pb::Member) -> bool {
    member.r#type() == pb::MemberType::File && member.origin() != pb::MemberOrigin::Command
}

fn archived(member: pb::Member, end: &pb::MemberEnd) -> Archived {
    let changed = member.modify_time.unwrap_or_default();
    Archived {
        path: member.path.to_vec(),
        size: member.size_bytes,
        changed: (changed.seconds, i64::from(changed.nanos)),
        sha256: end.sha256.to_vec(),
    }
}
