//! Runs of configurations: begun by a person or because they are due, one at a time on a central, each with its history.
//!
//! **Invariant:** a run is a row before anything of it is done. It goes on if the caller leaves, and after this process was
//! killed the next one ends it; how it ended follows from its rows alone.

mod archiving;
mod copy;
mod desk;
mod execute;
mod retain;
mod space;

use jiff::{SignedDuration, Timestamp};

pub use self::desk::Desk;
use self::desk::Live;
pub use self::retain::Retained;
pub use self::space::Planned;
use super::backup::Backups;
use super::configurations::Configurations;
use super::destinations::Destinations;
use super::leases::{self, Taken};
use super::{Actor, App, AppError, Begun, Job, JobFailure};
use crate::plan::configuration::{Configuration, Kind};
use crate::plan::outcome::RunState;
use crate::store::{Cause, LeaseKind, RestoreRow, RunFilter, RunRow};
use satellite_proto::wire::management::v1::JobEvent;

/// Where a test may kill the process: each is on the way of every run with a destination and a retention.
pub const FAIL_POINTS: &[&str] = &[
    "run.leased",
    "run.started",
    "run.made",
    "run.archived",
    "run.copying",
    "run.copied",
    "run.retained",
    "run.ended",
];

/// What the audit log calls it.
const ACTION: &str = "RunService/RunConfiguration";
/// How long after it was refused a run begins that found the central in use (B5).
const LATER: SignedDuration = SignedDuration::from_hours(1);
/// Rows that are listed at most.
const MOST: u32 = 1000;

/// The wait after a run could not even be begun.
const AGAIN: std::time::Duration = std::time::Duration::from_secs(5);

/// What came of the wish to run a configuration.
enum Asked {
    /// The same call was made before; this is the id of its job.
    Before(String),
    /// A run that waits, its job, and the right to look after it.
    Now { run: Box<RunRow>, job: Job, live: Live },
}

/// Which configuration is to be run.
#[derive(Debug, Clone)]
pub enum Which {
    /// One that is kept.
    Kept(String),
    /// This one; it is not kept.
    Once(Box<Configuration>),
}

/// The use cases around runs.
#[derive(Debug, Clone)]
pub struct Runs {
    app: App,
    backups: Backups,
    destinations: Destinations,
}

impl Runs {
    /// The use cases over `app`.
    #[must_use]
    pub fn new(app: App) -> Self {
        Self {
            backups: Backups::new(app.clone()),
            destinations: Destinations::new(app.clone()),
            app,
        }
    }

    /// What they work with.
    #[must_use]
    pub fn app(&self) -> &App {
        &self.app
    }

    /// Runs a configuration now and answers the job that reports about it. A repeated key answers the first job.
    ///
    /// # Errors
    /// [`AppError::NotFound`], [`AppError::Invalid`].
    pub async fn run(&self, actor: Actor, which: Which, idempotency_key: &str) -> Result<String, AppError> {
        let subject = match &which {
            Which::Kept(name) => name.clone(),
            Which::Once(configuration) => configuration.name.to_string(),
        };
        let begun = self.begun(&actor, which, idempotency_key).await;
        match self.app.audit.begun(&actor, ACTION, &subject, begun).await? {
            Asked::Before(id) => Ok(id),
            Asked::Now { run, job, live } => {
                let id = job.id().to_owned();
                let runs = self.clone();
                tokio::spawn(async move { runs.begin_under(&live, *run, Some(job)).await });
                Ok(id)
            }
        }
    }

    async fn configuration(&self, which: Which) -> Result<Configuration, AppError> {
        match which {
            Which::Kept(name) => {
                let row = self.app.store.configuration(&name).await?;
                let row = row.ok_or_else(|| AppError::no("configuration", name))?;
                Ok(row.configuration)
            }
            Which::Once(configuration) => Ok(*configuration),
        }
    }

    async fn begun(&self, actor: &Actor, which: Which, key: &str) -> Result<Asked, AppError> {
        let plan = self.configuration(which).await?;
        Configurations::new(self.app.clone()).check(&plan).await?;
        let (central, _) = self.backups.central(&plan.central).await?;
        let job = match self.app.jobs.begin("run", &central.satellite, key).await? {
            Begun::New(job) => job,
            Begun::Existing(id) => return Ok(Asked::Before(id)),
        };
        let mut run = RunRow::queued(plan, Cause::Manual, &actor.to_string(), Timestamp::now());
        job.id().clone_into(&mut run.job);
        // Before it is a row: the scheduler must not begin it without its job.
        let live = self.app.runs.enter(&run.id);
        let live = live.ok_or_else(|| AppError::Exists(format!("run {} is under way", run.id)))?;
        self.app.store.add_run(&run).await?;
        let run = Box::new(run);
        Ok(Asked::Now { run, job, live })
    }

    /// Begins a run that waits: at once, or an hour later if somebody works on the central. One that somebody looks
    /// after already is left to them.
    pub(in crate::app) async fn begin(self, run: RunRow) {
        if let Some(live) = self.app.runs.enter(&run.id) {
            self.begin_under(&live, run, None).await;
        }
    }

    async fn begin_under(&self, live: &Live, run: RunRow, job: Option<Job>) {
        let (id, name) = (run.id.clone(), run.plan.name.clone());
        if let Err(error) = Box::pin(self.begin_one(run, job, &live.stop)).await {
            tracing::error!(run = id, configuration = %name, error = %crate::error_chain(&error), "Run not begun");
            // It waits on, and is tried again with the next look at what waits: not at once.
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn begin_one(
        &self,
        mut run: RunRow,
        job: Option<Job>,
        stop: &tokio_util::sync::CancellationToken,
    ) -> Result<(), AppError> {
        let central = run.plan.central.clone();
        let kind = match run.plan.kind {
            Kind::Backup => LeaseKind::Backup,
            Kind::Archiving => LeaseKind::Archiving,
        };
        let lease = match leases::take(&self.app.store, &central, kind, &run.id).await? {
            Taken::Lease(lease) => lease,
            Taken::Held(row) => return self.defer(run, job, &leases::told(&row)).await,
        };
        satellite_host::fail_point("run.leased");
        let mut job = match job {
            Some(job) => job,
            None => match self
                .app
                .jobs
                .begin("run", &self.satellite_of(&central).await, "")
                .await?
            {
                Begun::New(job) => job,
                Begun::Existing(_) => return Ok(()),
            },
        };
        let now = Timestamp::now();
        if !self
            .app
            .store
            .start_run(&run.id, lease.fence(), job.id(), now)
            .await?
        {
            lease.end().await;
            job.fail(cancelled()).await;
            return Ok(());
        }
        satellite_host::fail_point("run.started");
        (run.fence, run.started_at, run.attempts) = (lease.fence(), Some(now), run.attempts + 1);
        let ended = self.execute(&mut run, &mut job, &lease, stop).await;
        lease.end().await;
        self.tell(&run, ended, job).await;
        Ok(())
    }

    async fn satellite_of(&self, central: &str) -> String {
        match self.app.store.central(central).await {
            Ok(Some(central)) => central.satellite,
            _ => String::new(),
        }
    }

    async fn defer(&self, run: RunRow, job: Option<Job>, because: &str) -> Result<(), AppError> {
        let until = Timestamp::now().checked_add(LATER).unwrap_or(Timestamp::MAX);
        let deferred = self.app.store.defer_run(&run.id, until, because).await?;
        tracing::info!(run = run.id, configuration = %run.plan.name, because, %until, "Run deferred");
        self.app.runs.wake();
        let Some(job) = job else { return Ok(()) };
        if !deferred {
            job.fail(cancelled()).await;
            return Ok(());
        }
        let at = until.strftime("%Y-%m-%d %H:%M UTC");
        job.succeed(JobEvent {
            step: format!("deferred until {at}"),
            notice: format!("deferred because {because}; it begins by itself at {at}"),
            partly: true,
            ..JobEvent::default()
        })
        .await;
        Ok(())
    }

    /// Runs, newest first, of one configuration or (empty) of all.
    ///
    /// # Errors
    /// What the store says.
    pub async fn list(&self, configuration: &str, limit: u32) -> Result<Vec<RunRow>, AppError> {
        let filter = RunFilter {
            configuration: configuration.to_owned(),
            open: false,
            limit: limited(limit),
        };
        Ok(self.app.store.runs(&filter).await?)
    }

    /// Restores, newest first, of one central's archives or onto it, or (empty) of all.
    ///
    /// # Errors
    /// What the store says.
    pub async fn restores(&self, central: &str, limit: u32) -> Result<Vec<RestoreRow>, AppError> {
        Ok(self.app.store.restores(central, limited(limit)).await?)
    }

    /// Restores of the archives of some centrals, newest first.
    ///
    /// # Errors
    /// What the store says.
    pub async fn restores_of(&self, centrals: &[&str], limit: u32) -> Result<Vec<RestoreRow>, AppError> {
        Ok(self.app.store.restores_of(centrals, limited(limit)).await?)
    }

    /// Ends a run that waits, or one that is under way.
    ///
    /// # Errors
    /// [`AppError::NotFound`]; [`AppError::Precondition`] it has ended.
    pub async fn cancel(&self, actor: &Actor, id: &str) -> Result<(), AppError> {
        let cancelled = async {
            let known = self.app.store.run(id).await?;
            known.ok_or_else(|| AppError::no("run", id))?;
            let now = Timestamp::now();
            let waited = self
                .app
                .store
                .end_waiting_run(id, RunState::Cancelled, "", now)
                .await?;
            if waited || self.app.runs.stop(id) {
                return Ok(());
            }
            Err(AppError::Precondition(format!("run {id} has ended already")))
        };
        let cancelled = cancelled.await;
        self.app
            .audit
            .recorded(actor, "RunService/CancelRun", id, cancelled)
            .await
    }
}

fn cancelled() -> JobFailure {
    JobFailure {
        message: "the run was ended before it began".to_owned(),
        code: tonic::Code::Cancelled,
        log_tail: Vec::new(),
    }
}

fn limited(limit: u32) -> u32 {
    if limit == 0 { 100 } else { limit.min(MOST) }
}

#[cfg(test)]
pub(in crate::app) mod tests;
