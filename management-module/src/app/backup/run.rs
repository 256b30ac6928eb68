//! Makes a backup: reads the central here and streams it to the backup-service.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::Stream;
use jiff::Timestamp;
use satellite_proto::wire::backup::v1::{
    Archive, ArchiveHeader, ArchiveTrailer, CreateArchiveRequest, create_archive_request::Kind,
};
use satellite_proto::wire::management::v1::JobEvent;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::Code;

use super::{Backups, failure, measured, satellite_name};
use crate::app::{Actor, AppError, Begun, Job, JobFailure};
use crate::central::command::CommandError;
use crate::central::profile::DataSet;
use crate::central::read::{self, Output, ReadError, Reading, Totals};
use crate::names::SatelliteName;
use crate::store::Central;

/// What the audit log calls it.
const ACTION: &str = "BackupService/RunBackup";
const TICK: Duration = Duration::from_millis(500);
/// How long a reading whose call has ended may take to say how it ended.
const SETTLE: Duration = Duration::from_secs(5);
/// Notices that wait to be told; more are counted by the archive's reader only.
const NOTICES: usize = 256;

/// What is needed to make a backup.
struct Plan {
    central: Central,
    satellite: SatelliteName,
    sets: Vec<DataSet>,
}

/// What came of a backup.
struct Made {
    archive: Archive,
    noticed: u64,
}

impl Backups {
    /// Begins a backup and answers its job. A repeated key answers the first job.
    ///
    /// # Errors
    /// [`AppError::NotFound`] no such central; [`AppError::Invalid`] no such data set.
    pub async fn run(
        &self,
        actor: Actor,
        central: &str,
        data_sets: &[String],
        idempotency_key: &str,
    ) -> Result<String, AppError> {
        let begun = self.begin_run(central, data_sets, idempotency_key).await;
        let (plan, job) = match self.app.audit.begun(&actor, ACTION, central, begun).await? {
            (_, Begun::Existing(id)) => return Ok(id),
            (plan, Begun::New(job)) => (plan, job),
        };
        let id = job.id().to_owned();
        let backups = self.clone();
        tokio::spawn(async move { backups.work(actor, plan, job).await });
        Ok(id)
    }

    async fn begin_run(
        &self,
        central: &str,
        data_sets: &[String],
        idempotency_key: &str,
    ) -> Result<(Plan, Begun), AppError> {
        let (central, profile) = self.central(central).await?;
        let sets = profile.select(data_sets).map_err(|unknown| {
            AppError::Invalid(format!("central {} has no data set {unknown}", central.name))
        })?;
        let satellite = satellite_name(&central.satellite)?;
        let begun = self
            .app
            .jobs
            .begin("backup", satellite.as_str(), idempotency_key)
            .await?;
        let plan = Plan {
            central,
            satellite,
            sets,
        };
        Ok((plan, begun))
    }

    async fn work(self, actor: Actor, plan: Plan, mut job: Job) {
        let name = plan.central.name.clone();
        let made = match self.leases.take(&name) {
            Ok(lease) => {
                let made = Box::pin(self.make(plan, &mut job)).await;
                drop(lease);
                made
            }
            Err(err) => Err(failure(&err)),
        };
        let result = made
            .as_ref()
            .map(|_| ())
            .map_err(|failure| failure.message.clone());
        self.app.audit.record(&actor, ACTION, &name, result).await;
        match made {
            Ok(Made { archive, noticed }) => {
                job.succeed(JobEvent {
                    archive: Some(archive),
                    notice: told(noticed),
                    ..JobEvent::default()
                })
                .await
            }
            Err(failure) => job.fail(failure).await,
        }
    }

    async fn make(&self, plan: Plan, job: &mut Job) -> Result<Made, JobFailure> {
        let said = |error: AppError| failure(&error);
        job.progress("measuring the central", 0, 0, "bytes").await;
        let mut client = self.client(&plan.satellite).map_err(said)?;
        let sizes = measured(plan.sets.clone()).await.map_err(said)?;
        let total: u64 = sizes.iter().map(|(_, size)| size.bytes).sum();
        let cancel = CancellationToken::new();
        let reading = read::start(plan.sets.clone(), self.notes(), cancel.clone());
        let bytes = Arc::clone(&reading.bytes);
        let (notices, mut noticed) = mpsc::channel(NOTICES);
        let (outcome, read) = oneshot::channel();
        let requests = requests(
            header(&plan, total, job.id()),
            reading,
            cancel.clone().drop_guard(),
            notices,
            outcome,
        );
        let call = client.create_archive(requests);
        tokio::pin!(call);

        let mut tick = tokio::time::interval(TICK);
        let (mut seen, mut moved) = (0, Instant::now());
        let answer = loop {
            tokio::select! {
                answer = &mut call => break answer,
                Some(notice) = noticed.recv() => {
                    job.publish(JobEvent { notice, ..progress(seen, total) }).await;
                }
                _ = tick.tick() => {
                    let now = bytes.load(Ordering::Relaxed);
                    if now > seen {
                        (seen, moved) = (now, Instant::now());
                    }
                    if moved.elapsed() > self.patience(seen) {
                        cancel.cancel();
                        break Err(tonic::Status::deadline_exceeded("nothing moved for too long; the backup was given up"));
                    }
                    job.publish(progress(seen, total)).await;
                }
            }
        };
        cancel.cancel();
        while let Ok(notice) = noticed.try_recv() {
            job.publish(JobEvent {
                notice,
                ..progress(seen, total)
            })
            .await;
        }
        // What went wrong while reading is the cause; that the service misses the trailer is only its effect.
        let mut noticed = 0;
        match tokio::time::timeout(SETTLE, read).await {
            Ok(Ok(Ok(totals))) => noticed = totals.notices,
            Ok(Ok(Err(ReadError::Cancelled))) | Ok(Err(_)) | Err(_) => {}
            Ok(Ok(Err(error))) => return Err(reading_failed(&error)),
        }
        let answer = answer.map_err(|status| said(AppError::remote(plan.satellite.as_str(), status)))?;
        let archive = answer.into_inner().archive;
        let archive = archive.ok_or_else(|| {
            said(AppError::Precondition(
                "the backup-service did not say what it made".to_owned(),
            ))
        })?;
        Ok(Made { archive, noticed })
    }
}

/// The sum of the notices: single ones may have been lost on the way to whoever watched.
fn told(noticed: u64) -> String {
    match noticed {
        0 => String::new(),
        1 => "1 thing was left out or changed while it was read".to_owned(),
        many => format!("{many} things were left out or changed while they were read"),
    }
}

fn progress(done: u64, total: u64) -> JobEvent {
    let read = total > 0 && done >= total;
    let step = if read {
        "finishing and verifying the archive"
    } else {
        "reading and sending"
    };
    // What commands print was not known before.
    let total = total.max(done);
    JobEvent {
        step: step.to_owned(),
        done,
        total,
        unit: "bytes".to_owned(),
        ..JobEvent::default()
    }
}

fn header(plan: &Plan, expected_bytes: u64, key: &str) -> ArchiveHeader {
    ArchiveHeader {
        central: plan.central.name.clone(),
        central_address: plan.central.address.clone(),
        tenant: plan.central.tenant.clone(),
        configuration: String::new(),
        data_sets: plan.sets.iter().map(|set| set.name.clone()).collect(),
        create_time: Some(crate::rpc::wire_time(Timestamp::now())),
        expected_bytes,
        creator_version: env!("CARGO_PKG_VERSION").to_owned(),
        idempotency_key: key.to_owned(),
    }
}

/// Header, batches, trailer. After a failed reading there is no trailer, so that nothing stays of the archive.
fn requests(
    header: ArchiveHeader,
    mut reading: Reading,
    cancel: DropGuard,
    notices: mpsc::Sender<String>,
    outcome: oneshot::Sender<Result<Totals, ReadError>>,
) -> impl Stream<Item = CreateArchiveRequest> + Send + 'static {
    let request = |kind| CreateArchiveRequest { kind: Some(kind) };
    async_stream::stream! {
        // Dropped with the stream: a call that ended ends the reading.
        let _cancel = cancel;
        yield request(Kind::Header(header));
        while let Some(output) = reading.output.recv().await {
            match output {
                Output::Batch(batch) => yield request(Kind::Batch(batch)),
                // Where nobody takes them quickly enough, some are lost; the reading is not held up.
                Output::Notice(notice) => drop(notices.try_send(notice)),
            }
        }
        let ended = reading.task.await.unwrap_or(Err(ReadError::Cancelled));
        let totals = ended.as_ref().ok().copied();
        // Nobody listens any more if the call has ended.
        drop(outcome.send(ended));
        if let Some(totals) = totals {
            yield request(Kind::Trailer(ArchiveTrailer { members: totals.members, content_bytes: totals.bytes }));
        }
    }
}

fn reading_failed(error: &ReadError) -> JobFailure {
    let log_tail = match error {
        ReadError::Command {
            source: CommandError::Failed { stderr, .. },
            ..
        } => stderr.clone(),
        _ => Vec::new(),
    };
    JobFailure {
        message: crate::error_chain(error),
        code: Code::FailedPrecondition,
        log_tail,
    }
}
