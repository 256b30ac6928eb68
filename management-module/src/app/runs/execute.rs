//! One run from its start to its end: the archive, its copies, what retention removes, and the outcome.
//!
//! **Invariant:** each step is a row before the next one begins; a run that is taken up again does what is not done.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;
use satellite_proto::wire::backup::v1 as pb;
use satellite_proto::wire::management::v1::JobEvent;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use satellite_host::fail_point;

use super::copy::Moved;
use super::{ACTION, Runs, archiving, space};
use crate::app::backup::{Making, failure, left_out_told, satellite_name};
use crate::app::leases::Lease;
use crate::app::{Actor, AppError, Job, JobFailure};
use crate::fleet::Reachability;
use crate::names::SatelliteName;
use crate::plan::configuration::Kind;
use crate::plan::outcome::{self, CopyState, RunState};
use crate::store::{Cause, CopyRow, RunRow};

/// News of copies that wait to be told; more are left out.
const NEWS: usize = 64;

/// How a run ended.
pub(super) struct Ended {
    state: RunState,
    error: String,
    archive: Option<pb::Archive>,
    failure: Option<JobFailure>,
}

impl Runs {
    /// Does what is not done of a run yet, and ends it.
    pub(super) async fn execute(
        &self,
        run: &mut RunRow,
        job: &mut Job,
        lease: &Lease,
        stop: &CancellationToken,
    ) -> Ended {
        let (lost, stop) = (lease.lost(), stop.child_token());
        let ended = tokio::select! {
            ended = self.work(run, job, &stop) => ended,
            // Whoever has the lease now must not find us at work.
            () = lost.cancelled() => Ended::failed(JobFailure {
                message: "the lease on the central was lost: the run was given up".to_owned(),
                code: Code::Aborted,
                log_tail: Vec::new(),
            }),
        };
        let now = Timestamp::now();
        let noted = self
            .app
            .store
            .end_run((&run.id, run.fence), ended.state, &ended.error, now)
            .await;
        match noted {
            Ok(true) => {}
            Ok(false) => tracing::error!(run = run.id, "Run ended under a lease that is another's"),
            Err(error) => {
                tracing::error!(run = run.id, error = %crate::error_chain(&error), "End of a run not stored");
            }
        }
        fail_point("run.ended");
        ended
    }

    async fn work(&self, run: &mut RunRow, job: &mut Job, stop: &CancellationToken) -> Ended {
        let archive = match self.archive(run, job, stop).await {
            Ok(Some(archive)) => archive,
            // Nothing has grown old: that is no failure.
            Ok(None) => {
                self.skip_copies(run).await;
                return Ended::without_archive();
            }
            Err(failure) => {
                self.skip_copies(run).await;
                return Ended::failed(failure);
            }
        };
        fail_point("run.archived");
        self.copies(run, job, &archive, stop).await;
        fail_point("run.copied");
        let moved = self.moved_out(run, job).await;
        let retention = self.after(run, job).await;
        let states: Vec<_> = run.copies.iter().map(|copy| copy.state).collect();
        let state = match outcome::of_run(run.left_out, &states) {
            // What was to leave the central is there still.
            RunState::Succeeded if moved.is_some() => RunState::Partial,
            state => state,
        };
        Ended {
            state,
            error: problems(run, moved.into_iter().chain(retention).collect()),
            archive: Some(archive),
            failure: None,
        }
    }

    /// The archive of the run: the one that is there, or a new one.
    async fn archive(
        &self,
        run: &mut RunRow,
        job: &mut Job,
        stop: &CancellationToken,
    ) -> Result<Option<pb::Archive>, JobFailure> {
        let said = |error: AppError| failure(&error);
        if !run.archive_id.is_empty() {
            let found = self.backups.find(&run.archive_id).await;
            return found.map(|stored| Some(stored.archive)).map_err(said);
        }
        let (central, profile) = self.backups.central(&run.plan.central).await.map_err(said)?;
        let sets = space::chosen(&run.plan, &profile).map_err(said)?;
        let is_archiving = run.plan.kind == Kind::Archiving;
        let is_here = central.ssh.is_none();
        if is_archiving && is_here && !archiving::is_anything(&sets).await.map_err(said)? {
            return Ok(None);
        }
        let satellite = satellite_name(&central.satellite).map_err(said)?;
        job.progress("waiting for the satellite", 0, 0, "").await;
        tokio::select! {
            () = self.reached(run, &satellite) => {}
            () = stop.cancelled() => {}
        }
        let weight = self.backups.weighed(&central, &satellite, &sets, job).await?;
        // Elsewhere the satellite has looked.
        if is_archiving && weight.sets.iter().all(|(_, size)| size.files == 0) {
            return Ok(None);
        }
        // What was cut may have made its archive: the disk is fuller by it, and nothing more is needed.
        if run.attempts <= 1 {
            let admitted = self.admit(&run.plan, &satellite, &weight, job).await;
            admitted.map_err(said)?;
        }
        let making = Making {
            satellite,
            central,
            sets,
            weight,
            configuration: run.plan.name.to_string(),
            key: run.id.clone(),
            stop: stop.clone(),
        };
        let made = Box::pin(self.backups.make(&making, job)).await?;
        fail_point("run.made");
        let notice = left_out_told(&made.totals);
        if !notice.is_empty() {
            job.publish(JobEvent {
                notice,
                ..JobEvent::default()
            })
            .await;
        }
        run.archive_id.clone_from(&made.archive.id);
        run.archive_name.clone_from(&made.archive.file_name);
        run.satellite = making.satellite.to_string();
        run.bytes = made.archive.size_bytes;
        run.left_out = made.archive.left_out.max(made.totals.left_out);
        let noted = self.app.store.note_archive(run).await;
        noted.map_err(|error| said(error.into()))?;
        Ok(Some(made.archive))
    }

    /// Waits until a satellite answers: for a person not long, at the server's start longer. Why it does not, the first
    /// call says.
    async fn reached(&self, run: &RunRow, satellite: &SatelliteName) {
        let is_watched = run.cause == Cause::Manual && run.attempts == 1;
        let (config, most) = (&self.app.config, self.app.config.satellite_patience);
        let patience = if is_watched {
            config.call_deadline.min(most)
        } else {
            most
        };
        self.answers(satellite, patience).await;
    }

    /// Waits at most `patience` until a satellite answers, or until it is known that it will not by itself.
    pub(super) async fn answers(&self, satellite: &SatelliteName, patience: Duration) {
        // Without a link it is the server's own backup-service, or none at all.
        if let Ok(mut link) = self.app.fleet.watch(satellite) {
            let settled = link.wait_for(|link| {
                !matches!(
                    link.reachability,
                    Reachability::Connecting | Reachability::Unreachable
                )
            });
            let _late = tokio::time::timeout(patience, settled).await;
        }
    }

    /// Copies the archive to all destinations at once. Each is reported by itself, none stops another.
    async fn copies(&self, run: &mut RunRow, job: &mut Job, archive: &pb::Archive, stop: &CancellationToken) {
        let (news, mut told) = mpsc::channel(NEWS);
        let is_open = |copy: &&CopyRow| copy.state != CopyState::Done;
        let open: Vec<_> = run.copies.iter().filter(is_open).cloned().collect();
        let total = archive.size_bytes.saturating_mul(open.len() as u64);
        let mut moved: Vec<u64> = vec![0; open.len()];
        let copies = open.into_iter().enumerate();
        let copies = copies
            .map(|(number, copy)| Box::pin(self.copied((run, archive), copy, (number, news.clone()), stop)));
        let mut copies: FuturesUnordered<_> = copies.collect();
        let mut ended = Vec::new();
        loop {
            tokio::select! {
                Some(Moved { number, done, is_reading_back }) = told.recv() => {
                    if let Some(slot) = moved.get_mut(number) {
                        *slot = done;
                    }
                    let step = if is_reading_back { "reading copies back" } else { "copying to destinations" };
                    job.progress(step, moved.iter().sum(), total, "bytes").await;
                }
                copy = copies.next() => {
                    let Some(copy) = copy else { break };
                    if copy.state == CopyState::Failed {
                        let notice = format!("destination {}: {}", copy.destination, copy.error);
                        job.publish(JobEvent { notice, ..JobEvent::default() }).await;
                    }
                    ended.push(copy);
                }
            }
        }
        drop(copies);
        for copy in ended {
            let mut slots = run.copies.iter_mut();
            if let Some(slot) = slots.find(|slot| slot.destination == copy.destination) {
                *slot = copy;
            }
        }
    }

    async fn copied(
        &self,
        (run, archive): (&RunRow, &pb::Archive),
        mut copy: CopyRow,
        news: (usize, mpsc::Sender<Moved>),
        stop: &CancellationToken,
    ) -> CopyRow {
        copy.state = CopyState::Copying;
        self.note(&run.id, &copy).await;
        fail_point("run.copying");
        let ended = tokio::select! {
            ended = self.copy(run, &copy.destination, archive, news) => ended,
            () = stop.cancelled() => Err(AppError::Precondition("the run was ended before the copy was done".to_owned())),
        };
        let now = Timestamp::now();
        copy.ended_at = Some(now);
        match ended {
            Ok(done) => {
                copy.state = CopyState::Done;
                copy.verified_at = (!done.not_read_back).then_some(now);
                (copy.path, copy.size_bytes, copy.sha256) = (done.path, done.size_bytes, done.sha256);
                copy.error.clear();
            }
            Err(error) => {
                copy.state = CopyState::Failed;
                copy.error = crate::error_chain(&error);
            }
        }
        self.note(&run.id, &copy).await;
        copy
    }

    async fn skip_copies(&self, run: &mut RunRow) {
        let id = run.id.clone();
        for copy in run.copies.iter_mut().filter(|copy| copy.state != CopyState::Done) {
            copy.state = CopyState::Skipped;
            copy.ended_at = Some(Timestamp::now());
            self.note(&id, copy).await;
        }
    }

    async fn note(&self, run: &str, copy: &CopyRow) {
        if let Err(error) = self.app.store.note_copy(run, copy).await {
            let error = crate::error_chain(&error);
            tracing::error!(run, destination = copy.destination, error, "Copy not stored");
        }
    }

    /// Removes from the central what archiving has moved. Answers what went wrong with it.
    async fn moved_out(&self, run: &RunRow, job: &mut Job) -> Option<String> {
        if run.plan.kind != Kind::Archiving {
            return None;
        }
        job.progress("removing what was archived", 0, 0, "").await;
        match self.move_out(run, job).await {
            Ok(moved) => {
                let (gone, changed) = (moved.gone, moved.changed);
                tracing::info!(run = run.id, gone, changed, "Archived files removed");
                let notice = match changed {
                    0 => format!("moved into the archive: {gone}"),
                    _ => format!("moved into the archive: {gone}; changed since, so they stay: {changed}"),
                };
                job.publish(JobEvent {
                    notice,
                    ..JobEvent::default()
                })
                .await;
                (!moved.failed.is_empty())
                    .then(|| format!("could not be removed: {}", moved.failed.join("; ")))
            }
            Err(error) => Some(crate::error_chain(&error)),
        }
    }

    /// What follows a run that has made an archive: retention. Answers what went wrong with it.
    async fn after(&self, run: &RunRow, job: &mut Job) -> Option<String> {
        if run.plan.retention.is_unlimited() {
            return None;
        }
        job.progress("removing what is not kept", 0, 0, "").await;
        let retained = self.retain(&run.plan, false).await;
        fail_point("run.retained");
        match retained {
            Ok(all) => {
                let errors = all.into_iter().map(|one| one.error);
                let errors: Vec<_> = errors.filter(|error| !error.is_empty()).collect();
                (!errors.is_empty()).then(|| errors.join("; "))
            }
            Err(error) => Some(crate::error_chain(&error)),
        }
        .map(|problem| format!("old archives were not removed: {problem}"))
    }

    /// Tells whoever watches, and the audit log, how a run ended.
    pub(super) async fn tell(&self, run: &RunRow, ended: Ended, job: Job) {
        let name = run.plan.name.as_str();
        tracing::info!(run = run.id, configuration = name, state = ?ended.state, error = ended.error, "Run ended");
        let result = match ended.state {
            RunState::Succeeded => Ok(()),
            RunState::Partial => Err(format!("partly: {}", ended.error)),
            _ => Err(ended.error.clone()),
        };
        let actor = Actor::named(&run.actor);
        self.app.audit.record(&actor, ACTION, name, result).await;
        match ended.failure {
            Some(failure) => job.fail(failure).await,
            None => {
                job.succeed(JobEvent {
                    archive: ended.archive,
                    notice: ended.error,
                    partly: ended.state != RunState::Succeeded,
                    ..JobEvent::default()
                })
                .await;
            }
        }
    }
}

impl Ended {
    fn without_archive() -> Self {
        Self {
            state: RunState::Succeeded,
            error: String::new(),
            archive: None,
            failure: None,
        }
    }

    fn failed(failure: JobFailure) -> Self {
        let state = match failure.code {
            Code::Cancelled => RunState::Cancelled,
            _ => RunState::Failed,
        };
        Self {
            state,
            error: failure.message.clone(),
            archive: None,
            failure: Some(failure),
        }
    }
}

/// What is missing although there is an archive, for a person.
fn problems(run: &RunRow, others: Vec<String>) -> String {
    let mut problems = Vec::new();
    match run.left_out {
        0 => {}
        1 => problems.push("1 thing could not be read and is not in the archive".to_owned()),
        many => problems.push(format!(
            "{many} things could not be read and are not in the archive"
        )),
    }
    for copy in run.copies.iter().filter(|copy| copy.state != CopyState::Done) {
        problems.push(format!("destination {}: {}", copy.destination, copy.error));
    }
    problems.extend(others);
    problems.join("; ")
}
