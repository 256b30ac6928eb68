//! Brings an archive's data back: its members come from the backup-service and are written here.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use satellite_proto::wire::backup::v1::{Batch, ReadArchiveRequest};
use satellite_proto::wire::management::v1::JobEvent;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use super::archives::Stored;
use super::{Backups, failure};
use crate::app::{Actor, AppError, Begun, Job, JobFailure};
use crate::central::restore::{Report, RestoreError, Restorer, Target};

/// What the audit log calls it.
const ACTION: &str = "BackupService/RestoreArchive";
/// Batches that wait to be written.
const AHEAD: usize = 16;
/// Notices of a restore that are told.
const TOLD: usize = 100;

/// What to bring back where.
#[derive(Debug, Clone)]
pub struct RestoreWish {
    /// Id or file name of the archive.
    pub archive: String,
    /// Directory that receives everything; none: the paths that the data came from.
    pub directory: Option<PathBuf>,
    /// Only these data sets; none: all.
    pub data_sets: Vec<String>,
    /// Also where files are there already.
    pub overwrite: bool,
    /// Repeats of the same call carry the same key.
    pub idempotency_key: String,
}

/// What is needed to bring an archive back.
struct Plan {
    stored: Stored,
    target: Target,
    wish: RestoreWish,
}

/// A piece of the archive on its way to the disk.
enum Feed {
    Batch(Batch),
    End,
}

impl Backups {
    /// Begins a restore and answers its job. A repeated key answers the first job.
    ///
    /// # Errors
    /// As [`Self::find`]; [`AppError::Invalid`] no such data set; [`AppError::NotFound`] in place, if the central is
    /// not known here.
    pub async fn restore(&self, actor: Actor, wish: RestoreWish) -> Result<String, AppError> {
        let subject = wish.archive.clone();
        let begun = self.begin_restore(wish).await;
        let (plan, job) = match self.app.audit.begun(&actor, ACTION, &subject, begun).await? {
            (_, Begun::Existing(id)) => return Ok(id),
            (plan, Begun::New(job)) => (plan, job),
        };
        let id = job.id().to_owned();
        let backups = self.clone();
        tokio::spawn(async move { backups.restore_work(actor, plan, job).await });
        Ok(id)
    }

    async fn begin_restore(&self, wish: RestoreWish) -> Result<(Plan, Begun), AppError> {
        if wish.directory.is_some() && wish.overwrite {
            return Err(AppError::Invalid(
                "into a directory nothing is overwritten".to_owned(),
            ));
        }
        let stored = self.find(&wish.archive).await?;
        let has = |name: &&String| stored.archive.data_sets.iter().any(|set| set.name == **name);
        if let Some(unknown) = wish.data_sets.iter().find(|name| !has(name)) {
            return Err(AppError::Invalid(format!(
                "the archive has no data set {unknown}"
            )));
        }
        let target = match &wish.directory {
            Some(directory) => Target::Directory(directory.clone()),
            None => {
                let (_, profile) = self.central(&stored.archive.central).await?;
                Target::InPlace {
                    profile: Box::new(profile),
                    overwrite: wish.overwrite,
                }
            }
        };
        let begun = self
            .app
            .jobs
            .begin("restore", stored.satellite.as_str(), &wish.idempotency_key)
            .await?;
        Ok((Plan { stored, target, wish }, begun))
    }

    async fn restore_work(self, actor: Actor, plan: Plan, mut job: Job) {
        let Plan { stored, target, wish } = plan;
        let in_place = matches!(target, Target::InPlace { .. });
        let lease = in_place
            .then(|| self.leases.take(&stored.archive.central))
            .transpose();
        let done = match lease {
            Ok(_lease) => Box::pin(self.bring_back(&stored, target, wish, &mut job)).await,
            Err(err) => Err(failure(&err)),
        };
        let done = done.and_then(partly);
        let result = done
            .as_ref()
            .map(|_| ())
            .map_err(|failure| failure.message.clone());
        let subject = &stored.archive.file_name;
        self.app.audit.record(&actor, ACTION, subject, result).await;
        match done {
            Ok(report) => {
                for notice in report.notices.into_iter().take(TOLD) {
                    job.publish(JobEvent {
                        notice,
                        ..JobEvent::default()
                    })
                    .await;
                }
                let step = format!("{} members restored", report.members);
                job.succeed(JobEvent {
                    step,
                    done: report.bytes,
                    unit: "bytes".to_owned(),
                    ..JobEvent::default()
                })
                .await;
            }
            Err(failure) => job.fail(failure).await,
        }
    }

    async fn bring_back(
        &self,
        stored: &Stored,
        target: Target,
        wish: RestoreWish,
        job: &mut Job,
    ) -> Result<Report, JobFailure> {
        let chosen = |name: &String| wish.data_sets.is_empty() || wish.data_sets.contains(name);
        let sets = stored.archive.data_sets.iter().filter(|set| chosen(&set.name));
        let total: u64 = sets.map(|set| set.size_bytes).sum();
        job.progress("reading the archive", 0, total, "bytes").await;
        let remote = |status: Status| failure(&AppError::remote(stored.satellite.as_str(), status));
        let mut client = self.client(&stored.satellite).map_err(|err| failure(&err))?;
        let request = ReadArchiveRequest {
            id: stored.archive.id.clone(),
            data_sets: wish.data_sets.clone(),
            paths: Vec::new(),
        };
        let patience = self.patience(0);
        let opened = tokio::time::timeout(patience, client.read_archive(request)).await;
        let opened =
            opened.unwrap_or_else(|_| Err(Status::deadline_exceeded("the archive was not opened in time")));
        let mut batches = opened.map_err(remote)?.into_inner();

        let cancel = CancellationToken::new();
        let _ended_with_us = cancel.clone().drop_guard();
        let (feed, fed) = mpsc::channel(AHEAD);
        let bytes = Arc::new(AtomicU64::new(0));
        let writing = tokio::task::spawn_blocking({
            let (bytes, notes) = (Arc::clone(&bytes), self.notes());
            move || {
                let restorer = Restorer::new(target, notes, cancel)?;
                write(restorer, fed, &bytes)
            }
        });
        let mut told = Instant::now();
        let lost = loop {
            let message = match tokio::time::timeout(patience, batches.message()).await {
                Ok(Ok(Some(message))) => message,
                Ok(Ok(None)) => break None,
                Ok(Err(status)) => break Some(status),
                Err(_) => break Some(Status::deadline_exceeded("the archive did not come any further")),
            };
            // The writer has ended: it says why below.
            if feed
                .send(Feed::Batch(message.batch.unwrap_or_default()))
                .await
                .is_err()
            {
                break None;
            }
            if told.elapsed() > std::time::Duration::from_millis(500) {
                told = Instant::now();
                job.progress("restoring", bytes.load(Ordering::Relaxed), total, "bytes")
                    .await;
            }
        };
        if lost.is_none() {
            drop(feed.send(Feed::End).await);
        }
        drop(feed);
        let written = writing
            .await
            .map_err(|err| failure(&AppError::machine("restore", err)))?;
        match (written, lost) {
            // The writer misses its end because the archive did not come whole: that is the cause.
            (Err(RestoreError::Cancelled) | Ok(_), Some(status)) => Err(remote(status)),
            (Ok(report), None) => Ok(report),
            (Err(error), _) => Err(restoring_failed(&error)),
        }
    }
}

fn write(
    mut restorer: Restorer,
    mut fed: mpsc::Receiver<Feed>,
    bytes: &AtomicU64,
) -> Result<Report, RestoreError> {
    while let Some(feed) = fed.blocking_recv() {
        match feed {
            Feed::Batch(batch) => {
                for item in batch.items {
                    restorer.item(item)?;
                }
                bytes.store(restorer.report().bytes, Ordering::Relaxed);
            }
            Feed::End => return restorer.finish(),
        }
    }
    Err(RestoreError::Cancelled)
}

/// A restore that refused something did a part; the code tells the command line so.
fn partly(report: Report) -> Result<Report, JobFailure> {
    if report.refused == 0 {
        return Ok(report);
    }
    let (refused, members) = (report.refused, report.members);
    Err(JobFailure {
        message: format!("{refused} members were refused, {members} were restored"),
        code: Code::OutOfRange,
        log_tail: report.notices.into_iter().take(TOLD).collect(),
    })
}

fn restoring_failed(error: &RestoreError) -> JobFailure {
    let code = match error {
        RestoreError::Digest { .. } | RestoreError::Malformed(_) => Code::DataLoss,
        RestoreError::Target { .. } => Code::FailedPrecondition,
        RestoreError::Cancelled => Code::Cancelled,
        _ => Code::Internal,
    };
    JobFailure {
        message: crate::error_chain(error),
        code,
        log_tail: Vec::new(),
    }
}
