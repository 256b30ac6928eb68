//! What satellites are meant to run: changed in the store, done by the reconciler, followed here.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use satellite_proto::bundle::WorkloadName;
use satellite_proto::wire::bridge::v1::workload_service_client::WorkloadServiceClient;
use satellite_proto::wire::bridge::v1::{self as bridge, RestartWorkloadRequest};
use satellite_proto::wire::management::v1::JobEvent;
use tokio::sync::{mpsc, watch};

use super::reconcile::Pass;
use super::remote::{call, new_key, watch_operation};
use super::{Actor, App, AppError, Begun, Job, JobFailure, observe};
use crate::names::SatelliteName;
use crate::store::{Attempt, BundleRow, DesiredWorkload};

/// Events between those who follow satellites and the job.
const EVENTS: usize = 64;

/// A workload on a satellite, meant and there.
#[derive(Debug)]
pub struct WorkloadOn {
    /// Where.
    pub satellite: SatelliteName,
    /// What is meant, with the version's bundle if there is one.
    pub desired: Option<(DesiredWorkload, Option<BundleRow>)>,
    /// What is there.
    pub observed: Option<bridge::Workload>,
    /// The last try to change it.
    pub attempt: Option<Attempt>,
}

impl WorkloadOn {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        match (&self.desired, &self.observed) {
            (Some((desired, _)), _) => desired.workload.as_str(),
            (None, Some(observed)) => &observed.name,
            (None, None) => "",
        }
    }
}

/// All workloads of all satellites, by satellite and name.
///
/// # Errors
/// What the store says.
pub async fn list(app: &App) -> Result<Vec<WorkloadOn>, AppError> {
    let mut known = Known::read(app).await?;
    let rows = app.store.satellites().await?;
    Ok(rows.iter().flat_map(|row| known.of(app, &row.name)).collect())
}

/// What is stored of the workloads of all satellites, read at once: a question for each satellite takes too long for many.
#[derive(Debug)]
pub(super) struct Known {
    bundles: Vec<BundleRow>,
    desired: HashMap<SatelliteName, Vec<DesiredWorkload>>,
    attempts: HashMap<SatelliteName, Vec<Attempt>>,
}

impl Known {
    pub(super) async fn read(app: &App) -> Result<Self, AppError> {
        let mut known = Self {
            bundles: app.store.bundles().await?,
            desired: HashMap::new(),
            attempts: HashMap::new(),
        };
        for one in app.store.all_desired_workloads().await? {
            known.desired.entry(one.satellite.clone()).or_default().push(one);
        }
        for one in app.store.all_attempts().await? {
            known.attempts.entry(one.satellite.clone()).or_default().push(one);
        }
        Ok(known)
    }

    /// The workloads of one satellite, by name. They are handed out once.
    pub(super) fn of(&mut self, app: &App, name: &SatelliteName) -> Vec<WorkloadOn> {
        let stored = (
            self.desired.remove(name).unwrap_or_default(),
            self.attempts.remove(name).unwrap_or_default(),
        );
        joined(app, name, &self.bundles, stored)
    }
}

/// The workloads of one satellite, by name.
///
/// # Errors
/// What the store says.
pub async fn of_satellite(
    app: &App,
    name: &SatelliteName,
    bundles: &[BundleRow],
) -> Result<Vec<WorkloadOn>, AppError> {
    let stored = (
        app.store.desired_workloads(name).await?,
        app.store.attempts(name).await?,
    );
    Ok(joined(app, name, bundles, stored))
}

/// What is meant and what is there, by name.
fn joined(
    app: &App,
    name: &SatelliteName,
    bundles: &[BundleRow],
    (desired, mut attempts): (Vec<DesiredWorkload>, Vec<Attempt>),
) -> Vec<WorkloadOn> {
    let satellite = app.fleet.observed(name).ok().and_then(|link| link.satellite);
    let architecture = satellite.as_ref().map(|satellite| satellite.architecture.clone());
    let mut there = satellite.map(|satellite| satellite.workloads).unwrap_or_default();
    let mut all = Vec::new();
    for desired in desired {
        let observed = there.iter().position(|w| w.name == desired.workload.as_str());
        let attempt = attempts.iter().position(|a| a.workload == desired.workload);
        let bundle = observe::target_of(&desired, bundles, architecture.as_deref()).cloned();
        all.push(WorkloadOn {
            satellite: name.clone(),
            desired: Some((desired, bundle)),
            observed: observed.map(|at| there.swap_remove(at)),
            attempt: attempt.map(|at| attempts.swap_remove(at)),
        });
    }
    let others = there.into_iter().map(|observed| WorkloadOn {
        satellite: name.clone(),
        desired: None,
        observed: Some(observed),
        attempt: None,
    });
    all.extend(others);
    all.sort_by(|a, b| a.name().cmp(b.name()));
    all
}

/// Wants a workload to run or not to. Answers the id of the job that follows it.
///
/// # Errors
/// The satellite or the workload is not known.
pub async fn set_running(
    app: &App,
    satellite: &SatelliteName,
    workload: &WorkloadName,
    running: bool,
) -> Result<String, AppError> {
    check_switched(workload)?;
    if app.store.satellite(satellite).await?.is_none() {
        return Err(AppError::no("satellite", satellite.to_string()));
    }
    let all = app.store.desired_workloads(satellite).await?;
    let known = all.into_iter().find(|wanted| wanted.workload == *workload);
    let is_there = app.fleet.observed(satellite)?.satellite.is_some_and(|satellite| {
        satellite
            .workloads
            .iter()
            .any(|there| there.name == workload.as_str())
    });
    if known.is_none() && !is_there && app.store.bundles_of(workload).await?.is_empty() {
        let name =
            format!("{workload} on {satellite}, nor a bundle of it; see `management-module bundle add`");
        return Err(AppError::no("workload", name));
    }
    let version = known.and_then(|known| known.version);
    let wanted = DesiredWorkload {
        satellite: satellite.clone(),
        workload: workload.clone(),
        version,
        running,
    };
    app.store.desire_workload(&wanted).await?;
    app.store.forgive_attempts(satellite, workload).await?;
    let kind = if running { "start" } else { "stop" };
    follow(app, kind, vec![satellite.clone()]).await
}

/// The satellite itself is not started or stopped as a workload is.
fn check_switched(workload: &WorkloadName) -> Result<(), AppError> {
    if workload.is_base() {
        return Err(AppError::Invalid(format!(
            "`{workload}` is a part of the satellite itself and always runs: `update push {workload}` brings another version"
        )));
    }
    Ok(())
}

/// The satellites that are meant to have a workload; for a part of the satellite itself all that consist of it, as far as they
/// have said so.
///
/// # Errors
/// What the store says.
pub(super) async fn meant(app: &App, workload: &WorkloadName) -> Result<BTreeSet<SatelliteName>, AppError> {
    let desired = app.store.all_desired_workloads().await?.into_iter();
    let of_it = desired.filter(|wanted| wanted.workload == *workload);
    let mut meant: BTreeSet<SatelliteName> = of_it.map(|wanted| wanted.satellite).collect();
    if workload.is_base() {
        for row in app.store.satellites().await? {
            let seen = app.fleet.observed(&row.name).ok().and_then(|link| link.satellite);
            if seen.is_some_and(|seen| seen.base == workload.as_str()) {
                meant.insert(row.name);
            }
        }
    }
    Ok(meant)
}

/// Wants a version of a workload on satellites (none: all that are meant to run it). Answers the id of the job.
///
/// # Errors
/// There is no such bundle or satellite.
pub async fn push(
    app: &App,
    workload: &WorkloadName,
    version: Option<semver::Version>,
    satellites: Vec<SatelliteName>,
) -> Result<String, AppError> {
    let bundles = app.store.bundles_of(workload).await?;
    if !bundles
        .iter()
        .any(|bundle| version.as_ref().is_none_or(|version| *version == bundle.version))
    {
        let name = version
            .as_ref()
            .map_or(workload.to_string(), |version| format!("{workload} {version}"));
        return Err(AppError::no("bundle of", name));
    }
    let known = app.store.all_desired_workloads().await?;
    let mut targets = satellites;
    if targets.is_empty() {
        targets = meant(app, workload).await?.into_iter().collect();
    }
    if targets.is_empty() {
        return Err(AppError::Precondition(format!(
            "no satellite is meant to run {workload}; name one with --satellite"
        )));
    }
    targets.sort();
    targets.dedup();
    for satellite in &targets {
        if app.store.satellite(satellite).await?.is_none() {
            return Err(AppError::no("satellite", satellite.to_string()));
        }
    }
    for satellite in &targets {
        let before = known
            .iter()
            .find(|w| w.workload == *workload && w.satellite == *satellite);
        let wanted = DesiredWorkload {
            satellite: satellite.clone(),
            workload: workload.clone(),
            version: version.clone(),
            running: before.is_none_or(|before| before.running),
        };
        app.store.desire_workload(&wanted).await?;
        app.store.forgive_attempts(satellite, workload).await?;
    }
    follow(app, "push", targets).await
}

/// Restarts a workload. Answers the id of the job that follows it.
///
/// # Errors
/// The satellite is not known.
pub async fn restart(
    app: &App,
    satellite: &SatelliteName,
    workload: &WorkloadName,
    actor: Actor,
) -> Result<String, AppError> {
    check_switched(workload)?;
    let (action, subject) = (
        "WorkloadService/RestartWorkload",
        format!("{satellite}/{workload}"),
    );
    let begun = match app.fleet.observed(satellite) {
        Ok(_known) => begin(app, "restart", satellite.as_str()).await,
        Err(error) => Err(error.into()),
    };
    let mut job = app.audit.begun(&actor, action, &subject, begun).await?;
    let id = job.id().to_owned();
    let (app, satellite, workload) = (app.clone(), satellite.clone(), workload.clone());
    tokio::spawn(async move {
        job.progress(&format!("Restarting {workload}"), 0, 0, "steps")
            .await;
        let result = restart_now(&app, &satellite, &workload, &mut job).await;
        let text = result
            .as_ref()
            .copied()
            .map_err(|failure| failure.message.clone());
        app.audit.record(&actor, action, &subject, text).await;
        match result {
            Ok(()) => {
                job.succeed(JobEvent {
                    step: format!("{workload} was restarted"),
                    ..JobEvent::default()
                })
                .await
            }
            Err(failure) => job.fail(failure).await,
        }
    });
    Ok(id)
}

async fn restart_now(
    app: &App,
    satellite: &SatelliteName,
    workload: &WorkloadName,
    job: &mut Job,
) -> Result<(), JobFailure> {
    let _turn = app.reconciler.turn(satellite).await?;
    let channel = app.fleet.channel(satellite).map_err(AppError::from)?;
    let request = RestartWorkloadRequest {
        name: workload.to_string(),
        idempotency_key: new_key(),
    };
    let mut client = WorkloadServiceClient::new(channel);
    let answer = call(
        satellite,
        app.config.call_deadline,
        client.restart_workload(request),
    )
    .await?;
    let operation = answer.operation.unwrap_or_default();
    job.remote_operation(&operation.id).await;
    watch_operation(app, satellite, operation, |_| ()).await
}

async fn begin(app: &App, kind: &'static str, satellite: &str) -> Result<Job, AppError> {
    match app.jobs.begin(kind, satellite, "").await? {
        Begun::New(job) => Ok(job),
        Begun::Existing(id) => Err(AppError::Exists(format!("job {id} does this already"))),
    }
}

/// Wakes the reconciler for satellites and follows it, as a job, until each is as meant or failed.
pub(super) async fn follow(
    app: &App,
    kind: &'static str,
    satellites: Vec<SatelliteName>,
) -> Result<String, AppError> {
    let only = if let [one] = satellites.as_slice() {
        one.as_str()
    } else {
        ""
    };
    let job = begin(app, kind, only).await?;
    let id = job.id().to_owned();
    let mut passes = Vec::new();
    for satellite in satellites {
        let (number, pass) = app.reconciler.wake(&satellite)?;
        passes.push((satellite, number, pass));
    }
    tokio::spawn(follow_all(job, passes, app.config.operation_deadline));
    Ok(id)
}

async fn follow_all(
    mut job: Job,
    passes: Vec<(SatelliteName, u64, watch::Receiver<Pass>)>,
    deadline: Duration,
) {
    let count = passes.len();
    let (sender, mut events) = mpsc::channel(EVENTS);
    let mut ends: FuturesUnordered<_> = passes
        .into_iter()
        .map(|(satellite, number, pass)| follow_one(satellite, number, pass, deadline, sender.clone()))
        .collect();
    drop(sender);
    let mut failures: Vec<(SatelliteName, JobFailure)> = Vec::new();
    loop {
        tokio::select! {
            biased;
            Some(event) = events.recv() => job.publish(event).await,
            end = ends.next() => match end {
                Some((satellite, Err(failure))) => failures.push((satellite, failure)),
                Some((_, Ok(()))) => {}
                None => break,
            },
        }
    }
    let step = "As it is meant to be".to_owned();
    let Some((_, first)) = failures.first().cloned() else {
        job.succeed(JobEvent {
            step,
            ..JobEvent::default()
        })
        .await;
        return;
    };
    if count > 1 {
        let each = failures
            .iter()
            .map(|(_, failure)| failure.message.as_str())
            .collect::<Vec<_>>()
            .join("; ");
        let message = format!("{} of {count} satellites failed: {each}", failures.len());
        job.fail(JobFailure { message, ..first }).await;
    } else {
        job.fail(first).await;
    }
}

/// Follows one satellite until a pass that has read the wish has ended and nothing is on its way any more.
async fn follow_one(
    satellite: SatelliteName,
    number: u64,
    mut pass: watch::Receiver<Pass>,
    deadline: Duration,
    events: mpsc::Sender<JobEvent>,
) -> (SatelliteName, Result<(), JobFailure>) {
    let fail = |message: String, code| JobFailure {
        message,
        code,
        log_tail: Vec::new(),
    };
    let followed = async {
        loop {
            let now = pass.borrow_and_update().clone();
            if let Some(outcome) = now.outcome(number) {
                return outcome;
            }
            if !now.step.is_empty() && !now.ended {
                let event = JobEvent {
                    satellite: satellite.to_string(),
                    step: now.step,
                    done: now.done,
                    total: now.total,
                    unit: now.unit.into(),
                    ..JobEvent::default()
                };
                // The job is busy: this event is as good as the next.
                let _ = events.try_send(event);
            }
            if pass.changed().await.is_err() {
                return Err(fail(
                    format!("satellite {satellite} was forgotten"),
                    tonic::Code::Aborted,
                ));
            }
        }
    };
    let result = tokio::time::timeout(deadline, followed)
        .await
        .unwrap_or_else(|_| {
            let message = format!(
                "satellite {satellite} was not as meant after {}",
                humantime::format_duration(deadline)
            );
            Err(fail(message, tonic::Code::DeadlineExceeded))
        });
    (satellite, result)
}
