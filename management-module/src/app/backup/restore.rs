//! Brings an archive's data back: its members come from the backup-service and are written here.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use jiff::Timestamp;
use satellite_host::fail_point;
use satellite_proto::wire::backup::v1::{Batch, ReadArchiveRequest};
use satellite_proto::wire::management::v1::JobEvent;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use super::archives::Stored;
use super::{Backups, Making, failure, satellite_name};
use crate::app::{Actor, AppError, Begun, Job, JobFailure, leases};
use crate::central::command::CommandError;
use crate::central::profile::DataSet;
use crate::central::restore::{Report, RestoreError, Restorer, Target};
use crate::config::Config;
use crate::store::{Central, LeaseKind, RestoreOutcome, RestoreRow};

/// What the audit log calls it.
const ACTION: &str = "BackupService/RestoreArchive";
/// Batches that wait to be written.
const AHEAD: usize = 16;
/// What the history has as directory of a test.
pub const TEST: &str = "test";
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
    /// Only these members and what is below them, as `DATA SET/PATH`; none: all.
    pub paths: Vec<Bytes>,
    /// The central whose profile says where the data goes; empty: the one that it came from.
    pub central: String,
    /// Also where files are there already.
    pub overwrite: bool,
    /// Into a directory of our own that is removed again.
    pub test: bool,
    /// Before something is overwritten, a backup of it is made.
    pub safety_backup: bool,
    /// Repeats of the same call carry the same key.
    pub idempotency_key: String,
}

/// What is needed to bring an archive back.
struct Plan {
    stored: Stored,
    target: Target,
    /// With a restore in place: the central that it is made onto.
    central: Option<Central>,
    wish: RestoreWish,
    actor: String,
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
        let begun = self.begin_restore(&actor, wish).await;
        let (plan, job) = match self.app.audit.begun(&actor, ACTION, &subject, begun).await? {
            (_, Begun::Existing(id)) => return Ok(id),
            (plan, Begun::New(job)) => (plan, job),
        };
        let id = job.id().to_owned();
        let backups = self.clone();
        tokio::spawn(async move { backups.restore_work(actor, plan, job).await });
        Ok(id)
    }

    async fn begin_restore(&self, actor: &Actor, wish: RestoreWish) -> Result<(Plan, Begun), AppError> {
        check(&wish)?;
        let stored = self.find(&wish.archive).await?;
        let has = |name: &&String| stored.archive.data_sets.iter().any(|set| set.name == **name);
        if let Some(unknown) = wish.data_sets.iter().find(|name| !has(name)) {
            return Err(AppError::Invalid(format!(
                "the archive has no data set {unknown}"
            )));
        }
        let (target, central) = match &wish.directory {
            Some(directory) => (Target::Directory(directory.clone()), None),
            None if wish.test => (Target::Directory(self.app.config.scratch()), None),
            None => {
                let name = match wish.central.as_str() {
                    "" => &stored.archive.central,
                    other => other,
                };
                let (central, profile) = self.central(name).await?;
                let target = Target::InPlace {
                    profile: Box::new(profile),
                    overwrite: wish.overwrite,
                };
                (target, Some(central))
            }
        };
        let begun = self
            .app
            .jobs
            .begin("restore", stored.satellite.as_str(), &wish.idempotency_key)
            .await?;
        let plan = Plan {
            stored,
            target,
            central,
            wish,
            actor: actor.to_string(),
        };
        if let Begun::New(job) = &begun {
            self.app.store.add_restore(&row_of(&plan, job.id())).await?;
            fail_point("restore.begun");
        }
        Ok((plan, begun))
    }

    async fn restore_work(self, actor: Actor, plan: Plan, mut job: Job) {
        let (id, subject) = (job.id().to_owned(), plan.stored.archive.file_name.clone());
        let done = Box::pin(self.restored(plan, &mut job)).await.and_then(partly);
        let result = done
            .as_ref()
            .map(|_| ())
            .map_err(|failure| failure.message.clone());
        fail_point("restore.written");
        let (outcome, error) = match &done {
            Ok(_) => (RestoreOutcome::Succeeded, ""),
            Err(failure) if failure.code == Code::OutOfRange => {
                (RestoreOutcome::Partial, failure.message.as_str())
            }
            Err(failure) => (RestoreOutcome::Failed, failure.message.as_str()),
        };
        let noted = self
            .app
            .store
            .end_restore(&id, outcome, error, Timestamp::now())
            .await;
        fail_point("restore.noted");
        if let Err(error) = noted {
            tracing::error!(restore = id, error = %crate::error_chain(&error), "End of a restore not stored");
        }
        self.app.audit.record(&actor, ACTION, &subject, result).await;
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

    /// Restores, under the lease of the central that is written to, if it is one.
    async fn restored(&self, plan: Plan, job: &mut Job) -> Result<Report, JobFailure> {
        let said = |error: AppError| failure(&error);
        let Plan {
            stored,
            target,
            central,
            wish,
            ..
        } = plan;
        let Some(central) = central else {
            let scratch = wish.test.then(|| Scratch::new(&self.app.config));
            let target = match &scratch {
                Some(scratch) => Target::Directory(scratch.make().map_err(said)?),
                None => target,
            };
            return self.bring_back(&stored, target, wish, job).await;
        };
        let lease = leases::demand(&self.app.store, &central.name, LeaseKind::Restore, job.id()).await;
        let lease = lease.map_err(said)?;
        fail_point("restore.leased");
        let lost = lease.lost();
        let work = async {
            if wish.overwrite && wish.safety_backup {
                self.make_safe(central.clone(), brought_back(&stored, &wish), job, &lost)
                    .await?;
            }
            if central.ssh.is_some()
                && let Target::InPlace { profile, .. } = &target
            {
                return self.push_back(&stored, (&central, profile), &wish, job).await;
            }
            self.bring_back(&stored, target, wish, job).await
        };
        let done = Box::pin(work).await;
        lease.end().await;
        done
    }

    /// A backup of what is about to be overwritten.
    async fn make_safe(
        &self,
        central: Central,
        overwritten: Vec<String>,
        job: &mut Job,
        lost: &CancellationToken,
    ) -> Result<(), JobFailure> {
        let said = |error: AppError| failure(&error);
        let (central, profile) = self.central(&central.name).await.map_err(said)?;
        // A data set that the central has no more has nothing to lose.
        let chosen = |set: &DataSet| overwritten.contains(&set.name);
        let satellite = satellite_name(&central.satellite).map_err(said)?;
        let sets: Vec<_> = profile.data_sets.into_iter().filter(chosen).collect();
        let weight = self.weighed(&central, &satellite, &sets, job).await?;
        let making = Making {
            satellite,
            sets,
            weight,
            central,
            configuration: String::new(),
            key: format!("{}-before", job.id()),
            stop: lost.clone(),
        };
        let made = Box::pin(self.make(&making, job))
            .await
            .map_err(|failure| JobFailure {
                message: format!(
                    "nothing was restored: the backup of what would be overwritten failed: {}",
                    failure.message
                ),
                ..failure
            })?;
        let name = &made.archive.file_name;
        let noted = self.app.store.note_safety_archive(job.id(), name).await;
        noted.map_err(|error| said(error.into()))?;
        fail_point("restore.saved");
        job.publish(JobEvent {
            notice: format!("what is overwritten now is in the archive {name}"),
            ..JobEvent::default()
        })
        .await;
        Ok(())
    }

    async fn bring_back(
        &self,
        stored: &Stored,
        target: Target,
        wish: RestoreWish,
        job: &mut Job,
    ) -> Result<Report, JobFailure> {
        let total = expected(stored, &wish);
        job.progress("reading the archive", 0, total, "bytes").await;
        let remote = |status: Status| failure(&AppError::remote(stored.satellite.as_str(), status));
        let mut client = self.client(&stored.satellite).map_err(|err| failure(&err))?;
        let request = ReadArchiveRequest {
            id: stored.archive.id.clone(),
            data_sets: wish.data_sets.clone(),
            paths: wish.paths.clone(),
        };
        let patience = self.patience(0);
        let opened = tokio::time::timeout(patience, client.read_archive(request)).await;
        let opened =
            opened.unwrap_or_else(|_| Err(Status::deadline_exceeded("the archive was not opened in time")));
        let mut batches = opened.map_err(remote)?.into_inner();
        fail_point("restore.opened");

        let cancel = CancellationToken::new();
        let _ended_with_us = cancel.clone().drop_guard();
        let (feed, fed) = mpsc::channel(AHEAD);
        let bytes = Arc::new(AtomicU64::new(0));
        let writing = tokio::task::spawn_blocking({
            let (bytes, notes, traces) = (Arc::clone(&bytes), self.notes(), self.traces());
            move || {
                let restorer = Restorer::new(target, notes, &traces, cancel)?;
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

/// The data sets that are brought back, also if it is only a part of one.
fn brought_back(stored: &Stored, wish: &RestoreWish) -> Vec<String> {
    let is_of = |path: &Bytes, name: &str| {
        let rest = path.strip_prefix(name.as_bytes());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    };
    let chosen = |name: &String| {
        let has_paths = wish.paths.is_empty() || wish.paths.iter().any(|path| is_of(path, name));
        has_paths && (wish.data_sets.is_empty() || wish.data_sets.contains(name))
    };
    let names = stored.archive.data_sets.iter().map(|set| set.name.clone());
    names.filter(chosen).collect()
}

/// Bytes that are brought back; 0 if only what is brought back tells, as with single files.
pub(super) fn expected(stored: &Stored, wish: &RestoreWish) -> u64 {
    if !wish.paths.is_empty() {
        return 0;
    }
    let chosen = brought_back(stored, wish);
    let sets = stored.archive.data_sets.iter();
    let sets = sets.filter(|set| chosen.contains(&set.name));
    sets.map(|set| set.size_bytes).sum()
}

/// What contradicts itself.
fn check(wish: &RestoreWish) -> Result<(), AppError> {
    let places = [wish.directory.is_some(), wish.test, !wish.central.is_empty()];
    if places.into_iter().filter(|is| *is).count() > 1 {
        return Err(AppError::Invalid(
            "a restore goes into a directory, onto a central or is a test: say one of them".to_owned(),
        ));
    }
    if wish.overwrite && (wish.directory.is_some() || wish.test) {
        return Err(AppError::Invalid(
            "into a directory nothing is overwritten".to_owned(),
        ));
    }
    Ok(())
}

fn row_of(plan: &Plan, job: &str) -> RestoreRow {
    let archive = &plan.stored.archive;
    let central = plan.central.as_ref();
    RestoreRow {
        id: job.to_owned(),
        job: job.to_owned(),
        started_at: Timestamp::now(),
        ended_at: None,
        archive_id: archive.id.clone(),
        archive_name: archive.file_name.clone(),
        central: archive.central.clone(),
        directory: match &plan.wish.directory {
            Some(directory) => directory.display().to_string(),
            None if plan.wish.test => TEST.to_owned(),
            None => String::new(),
        },
        target_central: central.map(|central| central.name.clone()).unwrap_or_default(),
        url: central.map(|central| central.address.clone()).unwrap_or_default(),
        data_sets: plan.wish.data_sets.clone(),
        outcome: RestoreOutcome::Running,
        error: String::new(),
        actor: plan.actor.clone(),
        safety_archive: String::new(),
    }
}

/// A directory of our own for a test; gone with its end, or with the next start.
struct Scratch(PathBuf);

impl Scratch {
    fn new(config: &Config) -> Self {
        Self(config.scratch().join(uuid::Uuid::new_v4().to_string()))
    }

    fn make(&self) -> Result<PathBuf, AppError> {
        let made = crate::files::make_directory(&self.0, 0o700);
        made.map_err(|error| AppError::machine(format!("make {}", self.0.display()), error))?;
        Ok(self.0.clone())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "Directory of a test not removed");
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
    let log_tail = match error {
        RestoreError::Command {
            source: CommandError::Failed { stderr, .. },
            ..
        } => stderr.clone(),
        _ => Vec::new(),
    };
    JobFailure {
        message: crate::error_chain(error),
        code,
        log_tail,
    }
}
