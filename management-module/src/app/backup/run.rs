//! Makes a backup: reads the central here and streams it to the backup-service.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::Stream;
use jiff::Timestamp;
use satellite_proto::wire::backup::v1::{
    Archive, ArchiveHeader, ArchiveTrailer, CreateArchiveRequest, CreateArchiveResponse,
    create_archive_request::Kind,
};
use satellite_proto::wire::management::v1::JobEvent;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Code, Status};

use super::seen::LastSeen;
use super::{Backups, Weight, failure, satellite_name};
use crate::app::remote::RETRY;
use crate::app::{Actor, AppError, Begun, Job, JobFailure, leases};
use crate::central::command::CommandError;
use crate::central::profile::DataSet;
use crate::central::read::{self, Memory, Output, Read, ReadError, Reading, Totals};
use crate::names::SatelliteName;
use crate::plan::space::refusal;
use crate::store::{Central, LeaseKind};

/// What the audit log calls it.
const ACTION: &str = "BackupService/RunBackup";
/// How long an answer that was lost is asked for.
const ASKED: Duration = Duration::from_mins(10);
const TICK: Duration = Duration::from_millis(500);
/// How long a reading whose call has ended may take to say how it ended.
const SETTLE: Duration = Duration::from_secs(5);
/// What came of a backup that was ended from here.
pub(super) const ENDED: &str = "the backup was ended before it was done; nothing is kept of it";
/// Notices that wait to be told; more are counted by the archive's reader only.
const NOTICES: usize = 256;

/// What is needed to make a backup.
pub(in crate::app) struct Making {
    pub(in crate::app) central: Central,
    pub(in crate::app) satellite: SatelliteName,
    pub(in crate::app) sets: Vec<DataSet>,
    /// What they are expected to bring.
    pub(in crate::app) weight: Weight,
    /// The configuration that makes it; empty: none.
    pub(in crate::app) configuration: String,
    /// Names the run: a repeated one gets the archive that is there.
    pub(in crate::app) key: String,
    /// Ends the work.
    pub(in crate::app) stop: CancellationToken,
}

/// A backup without a configuration, as it was asked for.
struct Wish {
    central: Central,
    satellite: SatelliteName,
    sets: Vec<DataSet>,
    key: String,
}

/// What came of a backup.
pub(in crate::app) struct Made {
    pub(in crate::app) archive: Archive,
    pub(in crate::app) totals: Totals,
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
    ) -> Result<(Wish, Begun), AppError> {
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
        let key = match &begun {
            Begun::New(job) => job.id().to_owned(),
            Begun::Existing(id) => id.clone(),
        };
        let wish = Wish {
            central,
            satellite,
            sets,
            key,
        };
        Ok((wish, begun))
    }

    async fn work(self, actor: Actor, wish: Wish, mut job: Job) {
        let name = wish.central.name.clone();
        let lease = leases::demand(&self.app.store, &name, LeaseKind::Backup, job.id()).await;
        let made = match lease {
            Ok(lease) => {
                let made = self.make_if_it_fits(wish, lease.lost(), &mut job).await;
                lease.end().await;
                made
            }
            Err(err) => Err(failure(&err)),
        };
        let result = match &made {
            Ok(Made { totals, .. }) if totals.left_out > 0 => {
                Err(format!("partly: {}", left_out_told(totals)))
            }
            Ok(_) => Ok(()),
            Err(failure) => Err(failure.message.clone()),
        };
        self.app.audit.record(&actor, ACTION, &name, result).await;
        match made {
            Ok(Made { archive, totals }) => {
                job.succeed(JobEvent {
                    archive: Some(archive),
                    notice: left_out_told(&totals),
                    partly: totals.left_out > 0,
                    ..JobEvent::default()
                })
                .await
            }
            Err(failure) => job.fail(failure).await,
        }
    }

    /// Makes the backup of a central without a configuration.
    async fn make_if_it_fits(
        &self,
        wish: Wish,
        stop: CancellationToken,
        job: &mut Job,
    ) -> Result<Made, JobFailure> {
        let Wish {
            central,
            satellite,
            sets,
            key,
        } = wish;
        let weight = self.weighed(&central, &satellite, &sets, job).await?;
        let places = [self.room(&satellite).await];
        if let Some(refusal) = refusal(weight.archive, satellite.as_str(), &places) {
            return Err(failure(&AppError::NoSpace(refusal)));
        }
        let over = self.over_quota(&central.name, weight.archive, 1).await;
        if let Some(refusal) = over.map_err(|error| failure(&error))? {
            return Err(failure(&AppError::NoSpace(refusal)));
        }
        let making = Making {
            central,
            satellite,
            sets,
            weight,
            configuration: String::new(),
            key,
            stop,
        };
        Box::pin(self.make(&making, job)).await
    }

    /// Reads the central and has the archive written. Who calls holds the lease on the central.
    /// What the satellite has and has not changed since is neither read nor sent.
    pub(in crate::app) async fn make(&self, plan: &Making, job: &mut Job) -> Result<Made, JobFailure> {
        if plan.central.ssh.is_some() {
            return Box::pin(self.pull(plan, job)).await;
        }
        let last = self.last_seen(plan).await;
        if let Some(base) = last {
            match Box::pin(self.make_from(plan, Some(base), job)).await {
                Err(Broken::There(failure)) if is_of_the_base(failure.code) => {
                    tracing::warn!(
                        central = plan.central.name,
                        error = failure.message,
                        "Everything is sent"
                    );
                    self.forget_seen(plan).await;
                    let notice = format!("everything is sent: {}", failure.message);
                    job.note(notice).await;
                }
                made => return made.map_err(Broken::into_failure),
            }
        }
        let made = Box::pin(self.make_from(plan, None, job)).await;
        made.map_err(Broken::into_failure)
    }

    async fn make_from(&self, plan: &Making, base: Option<LastSeen>, job: &mut Job) -> Result<Made, Broken> {
        let said = |error: AppError| Broken::Here(failure(&error));
        let (base_id, base) = base.map(|last| (last.archive, last.base)).unzip();
        let mut client = self.client(&plan.satellite).map_err(said)?;
        let total = plan.weight.content;
        let cancel = CancellationToken::new();
        let memory = Memory {
            base,
            recorder: self.recorder(plan).await,
        };
        let reading = read::start(plan.sets.clone(), self.notes(), cancel.clone(), memory);
        let Reading { output, bytes, task } = reading;
        let (notices, mut noticed) = mpsc::channel(NOTICES);
        let requests = requests(
            ArchiveHeader {
                base_archive_id: base_id.unwrap_or_default(),
                ..header(plan, plan.weight.archive)
            },
            output,
            cancel.clone().drop_guard(),
            notices,
        );
        let call = client.create_archive(requests);
        tokio::pin!(call);

        let mut tick = tokio::time::interval(TICK);
        let (mut seen, mut moved) = (0, Instant::now());
        let answer = loop {
            tokio::select! {
                answer = &mut call => break answer,
                () = plan.stop.cancelled() => {
                    cancel.cancel();
                    break Err(Status::cancelled(ENDED));
                }
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
                        break Err(Status::deadline_exceeded("nothing moved for too long; the backup was given up"));
                    }
                    job.publish(progress(seen, total)).await;
                }
            }
        };
        cancel.cancel();
        while let Ok(notice) = noticed.try_recv() {
            job.note(notice).await;
        }
        // What went wrong while reading is the cause; that the service misses the trailer is only its effect. It is waited for in
        // any case: the next attempt must not meet services that this one stops, or what it notes.
        let mut whole = None;
        match tokio::time::timeout(SETTLE, task).await {
            Ok(Ok(Ok(read))) => whole = Some(read),
            Ok(Ok(Err(ReadError::Cancelled))) | Ok(Err(_)) | Err(_) => {}
            Ok(Ok(Err(error))) => return Err(Broken::Here(reading_failed(&error))),
        }
        let answer = match answer {
            Ok(answer) => answer.into_inner(),
            // Everything was sent: the archive may be there, only the answer is lost.
            Err(status) if whole.is_some() && is_lost(status.code()) && !is_unsent(&status) => {
                job.progress("asking whether the archive was kept", seen, seen, "bytes")
                    .await;
                self.ask_again(plan, status).await.map_err(said)?
            }
            Err(status) => {
                let error = AppError::remote(plan.satellite.as_str(), status);
                return Err(Broken::There(failure(&error)));
            }
        };
        let archive = archive_of(answer).map_err(said)?;
        Ok(self.made(plan, archive, whole.unwrap_or_default(), job).await)
    }

    /// Remembers what an archive holds, for the next one, and tells how little had to be sent.
    async fn made(&self, plan: &Making, archive: Archive, read: Read, job: &mut Job) -> Made {
        let Read { totals, seen } = read;
        self.note_seen(plan, &archive, seen).await;
        if totals.sent < totals.bytes {
            let (sent, bytes) = (totals.sent, totals.bytes);
            job.note(format!(
                "{sent} of {bytes} bytes were sent; the satellite had the others"
            ))
            .await;
        }
        Made { archive, totals }
    }

    /// Asks for the archive of the run `key` until the backup-service says that it has it or that it has not: a header
    /// alone gives the archive that is there, and leaves nothing where there is none.
    pub(super) async fn ask_again(
        &self,
        plan: &Making,
        lost: Status,
    ) -> Result<CreateArchiveResponse, AppError> {
        let until = Instant::now() + self.app.config.operation_deadline.min(ASKED);
        let mut attempt = 0;
        loop {
            let wait = RETRY.delay(attempt, rand::random());
            if Instant::now() + wait > until {
                return Err(AppError::remote(plan.satellite.as_str(), lost));
            }
            tokio::time::sleep(wait).await;
            attempt += 1;
            let request = CreateArchiveRequest {
                kind: Some(Kind::Header(header(plan, 0))),
            };
            let asked = async {
                let mut client = self.client(&plan.satellite)?;
                let answer = client.create_archive(futures_util::stream::iter([request])).await;
                answer.map_err(|status| AppError::remote(plan.satellite.as_str(), status))
            };
            match tokio::time::timeout(self.app.config.call_deadline, asked).await {
                Ok(Ok(answer)) => return Ok(answer.into_inner()),
                // Not yet: it is still being read back, or the satellite does not answer.
                Ok(Err(error)) if is_lost(error.code()) => {}
                Err(_) => {}
                Ok(Err(_)) => return Err(AppError::remote(plan.satellite.as_str(), lost)),
            }
        }
    }
}

/// Why there is no archive: by what happened here, or by what the satellite said.
enum Broken {
    Here(JobFailure),
    There(JobFailure),
}

impl Broken {
    fn into_failure(self) -> JobFailure {
        match self {
            Self::Here(failure) | Self::There(failure) => failure,
        }
    }
}

/// The archive that was made.
pub(super) fn archive_of(answer: CreateArchiveResponse) -> Result<Archive, AppError> {
    let silent = || AppError::Precondition("the backup-service did not say what it made".to_owned());
    answer.archive.ok_or_else(silent)
}

/// Whether it may be for what was not sent that there is no archive.
fn is_of_the_base(code: Code) -> bool {
    matches!(
        code,
        Code::FailedPrecondition | Code::InvalidArgument | Code::DataLoss | Code::NotFound
    )
}

/// Whether nobody was there to take the call: what is small is read before that is known.
fn is_unsent(status: &Status) -> bool {
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Whether a call may have been done although this came of it.
pub(super) fn is_lost(code: Code) -> bool {
    matches!(
        code,
        Code::Unavailable | Code::Aborted | Code::Cancelled | Code::Unknown | Code::DeadlineExceeded
    )
}

/// The sum of the notices: single ones may have been lost on the way to whoever watched.
pub(in crate::app) fn left_out_told(totals: &Totals) -> String {
    let things = |count: u64| match count {
        1 => "1 thing".to_owned(),
        many => format!("{many} things"),
    };
    let changed = totals.notices.saturating_sub(totals.left_out);
    match (totals.left_out, changed) {
        (0, 0) => String::new(),
        (0, changed) => format!(
            "{} changed while being read, or can be no part of an archive",
            things(changed)
        ),
        (left_out, _) => format!(
            "{} could not be read and left out; the archive names the first",
            things(left_out)
        ),
    }
}

pub(super) fn progress(done: u64, total: u64) -> JobEvent {
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

pub(super) fn header(plan: &Making, expected_bytes: u64) -> ArchiveHeader {
    ArchiveHeader {
        central: plan.central.name.clone(),
        central_address: plan.central.address.clone(),
        tenant: plan.central.tenant.clone(),
        configuration: plan.configuration.clone(),
        data_sets: plan.sets.iter().map(|set| set.name.clone()).collect(),
        create_time: Some(crate::rpc::wire_time(Timestamp::now())),
        expected_bytes,
        creator_version: env!("CARGO_PKG_VERSION").to_owned(),
        idempotency_key: plan.key.clone(),
        base_archive_id: String::new(),
    }
}

/// Header, batches, trailer. After a failed reading there is no trailer, so that nothing stays of the archive.
fn requests(
    header: ArchiveHeader,
    mut output: mpsc::Receiver<Output>,
    cancel: DropGuard,
    notices: mpsc::Sender<String>,
) -> impl Stream<Item = CreateArchiveRequest> + Send + 'static {
    let request = |kind| CreateArchiveRequest { kind: Some(kind) };
    async_stream::stream! {
        // Dropped with the stream: a call that ended ends the reading.
        let _cancel = cancel;
        yield request(Kind::Header(header));
        while let Some(output) = output.recv().await {
            match output {
                Output::Batch(batch) => yield request(Kind::Batch(batch)),
                // Where nobody takes them quickly enough, some are lost; the reading is not held up.
                Output::Notice(notice) => drop(notices.try_send(notice)),
                Output::Whole(totals) => yield request(Kind::Trailer(ArchiveTrailer {
                    members: totals.members,
                    content_bytes: totals.bytes,
                    left_out: totals.left_out,
                    left_out_first: totals.left_out_first,
                })),
            }
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
