//! Starting, stopping and removing what is installed.

use std::time::Duration;

use jiff::Timestamp;

use satellite_host::systemd::{Activity, UnitError};
use satellite_host::{clock, fail_point, files};
use satellite_proto::bundle::{Digest, Manifest, WorkloadName};
use satellite_proto::wire::bridge::v1::Operation;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tracing::{info, warn};

use super::assemble;
use super::claim::{Claim, Outcome, Work};
use super::ends;
use super::health::Probe;
use super::places::unit_name;
use super::record::{Desired, Fault, Removal, chain};
use super::unit_file;
use super::{Inner, WorkloadError, Workloads};
use crate::journal;

/// How long stopping may take: more than the unit's own limit.
pub(crate) const STOP_DEADLINE: Duration = Duration::from_secs(45);
/// Seconds that a start may take beyond what the manifest says: the service manager's own limit comes first.
const START_GRACE: u64 = 15;
/// Lines of log that go into an error.
const TAIL: u32 = 50;

impl Workloads {
    /// Starts a workload and lets it start at each boot.
    ///
    /// # Errors
    ///
    /// [`WorkloadError::Unknown`], [`WorkloadError::Busy`], [`WorkloadError::Operation`].
    pub fn start(&self, name: &WorkloadName, key: &str) -> Result<Operation, WorkloadError> {
        self.turn("start", name, key, |claim| async move {
            let outcome = claim.enable_and_start().await;
            claim.finish(&outcome, || {});
        })
    }

    /// Stops a workload; it stays stopped across boots.
    ///
    /// # Errors
    ///
    /// As for [`Workloads::start`].
    pub fn stop(&self, name: &WorkloadName, key: &str) -> Result<Operation, WorkloadError> {
        self.turn("stop", name, key, |claim| async move {
            let outcome = match claim.want(false) {
                Ok(()) => outcome(claim.inner.halt(&claim.name, "it is stopped").await),
                Err(fault) => failed(fault),
            };
            claim.finish(&outcome, || {});
        })
    }

    /// Stops and starts a workload.
    ///
    /// # Errors
    ///
    /// As for [`Workloads::start`].
    pub fn restart(&self, name: &WorkloadName, key: &str) -> Result<Operation, WorkloadError> {
        self.turn("restart", name, key, |claim| async move {
            claim.progress(0, 2, "steps", "stopping");
            let outcome = match claim.inner.halt(&claim.name, "it is restarted").await {
                Ok(()) => claim.enable_and_start().await,
                Err(fault) => failed(fault),
            };
            claim.finish(&outcome, || {});
        })
    }

    /// Stops and removes a workload with all its versions, and its state if `state` says so.
    ///
    /// # Errors
    ///
    /// As for [`Workloads::start`].
    pub fn remove(&self, name: &WorkloadName, state: bool, key: &str) -> Result<Operation, WorkloadError> {
        self.turn("remove", name, key, move |claim| async move {
            let operation = claim.operation_id();
            let removal = Removal { operation, state };
            let home = claim.inner.places.home(&claim.name);
            match journal::write(&home.removal(), &removal) {
                Ok(()) => remove(claim, state).await,
                Err(err) => {
                    let outcome = failed(Fault::of("the removal cannot be recorded", &err));
                    claim.finish(&outcome, || {});
                }
            }
        })
    }

    fn turn<W>(
        &self,
        kind: &'static str,
        name: &WorkloadName,
        key: &str,
        work: impl FnOnce(Claim) -> W + Send + 'static,
    ) -> Result<Operation, WorkloadError>
    where
        W: Future<Output = ()> + Send,
    {
        let known = self.installed(name).is_some() || self.begun_before(kind, key).is_some();
        if !known {
            return Err(WorkloadError::Unknown(name.clone()));
        }
        self.begin(
            Work {
                kind,
                name,
                key,
                target: None,
            },
            work,
        )
    }
}

/// Removes everything. Can be done again after it was interrupted; the record of it goes last.
pub(crate) async fn remove(claim: Claim, state: bool) {
    fail_point("remove.recorded");
    let outcome = outcome(remove_parts(&claim, state).await);
    let home = claim.inner.places.home(&claim.name);
    let root = home.root().to_owned();
    let name = claim.name.clone();
    claim.finish(&outcome, || {
        if outcome == Outcome::Done {
            if let Err(err) = files::remove_tree(&root) {
                warn!(error = %chain(&err), "Directory of a removed workload stays until the next start");
            }
            info!(workload = name.as_str(), state, "Workload removed");
        } else if home.pointed(&home.current()).is_some()
            && let Err(err) = journal::remove(&home.removal())
        {
            // It failed before it took anything away: whoever goes on with the workload must not lose it at the next start.
            warn!(error = %chain(&err), "Record of a failed removal stays");
        }
    });
}

async fn remove_parts(claim: &Claim, state: bool) -> Result<(), Fault> {
    let (inner, name) = (&claim.inner, &claim.name);
    let home = inner.places.home(name);
    claim.progress(0, 3, "steps", "stopping");
    inner.halt(name, "it is removed").await?;
    fail_point("remove.stopped");
    claim.progress(1, 3, "steps", "removing the unit");
    let doing = "the workload cannot be removed";
    let gone =
        |result: Result<bool, files::FileError>| result.map(drop).map_err(|err| Fault::of(doing, &err));
    gone(files::remove(&inner.places.unit_file(name)))?;
    inner.units.reload().await.map_err(|err| Fault::of(doing, &err))?;
    claim.progress(2, 3, "steps", "removing its files");
    gone(files::remove(&home.current()))?;
    fail_point("remove.unlinked");
    gone(files::remove(&home.previous()))?;
    gone(files::remove_tree(&home.versions()))?;
    if state {
        gone(files::remove_tree(&inner.places.state(name)))?;
    }
    gone(files::remove(&home.desired_file()))?;
    fail_point("remove.done");
    Ok(())
}

impl Claim {
    async fn enable_and_start(&self) -> Outcome {
        if let Err(fault) = self.want(true) {
            return failed(fault);
        }
        self.progress(1, 2, "steps", "starting");
        outcome(self.inner.launch(&self.name, &self.stop()).await)
    }

    /// Writes down whether the workload is meant to run.
    pub(crate) fn want(&self, enabled: bool) -> Result<(), Fault> {
        let file = self.inner.places.home(&self.name).desired_file();
        let written = journal::write(&file, &Desired { enabled });
        written.map_err(|err| Fault::of("what is wanted of the workload cannot be recorded", &err))
    }
}

impl Inner {
    /// Starts the current version after comparing it with its manifest, and waits until it is healthy. One that runs
    /// already is only waited for.
    pub(crate) async fn launch(&self, name: &WorkloadName, stop: &CancellationToken) -> Result<(), Fault> {
        let home = self.places.home(name);
        let current = home
            .pointed(&home.current())
            .and_then(|digest| Some((digest, home.manifest(digest)?)));
        let Some((digest, manifest)) = current else {
            return Err(Fault::new(
                Code::Aborted,
                format!("workload `{name}` has no installed version"),
            ));
        };
        assemble::verify(&manifest, &home.version(digest)).map_err(|err| {
            let text = format!(
                "workload `{name}` is not started: {}; install it again",
                chain(&err)
            );
            Fault::new(Code::DataLoss, text)
        })?;
        self.write_unit(digest, &manifest).await?;
        let since = self.power_on(&manifest).await?;
        self.pass_gate(&manifest, since, stop).await
    }

    /// Generates the unit of a version and lets the service manager read it.
    pub(crate) async fn write_unit(&self, digest: Digest, manifest: &Manifest) -> Result<(), Fault> {
        let doing = "the unit of the workload cannot be written";
        let text = unit_file::render(&self.places, digest, manifest);
        let file = self.places.unit_file(&manifest.workload);
        files::write_atomic(&file, text.as_bytes(), 0o644).map_err(|err| Fault::of(doing, &err))?;
        self.units.reload().await.map_err(|err| Fault::of(doing, &err))
    }

    /// Starts the unit, if it does not run, and waits until it says that it is ready. Answers since when it runs: what was
    /// logged before is not its own.
    pub(crate) async fn power_on(&self, manifest: &Manifest) -> Result<Timestamp, Fault> {
        let unit = unit_name(&manifest.workload);
        let before = self.units.status(&unit).await.ok();
        let runs = before.filter(|status| status.activity == Activity::Active);
        let since = runs.and_then(|status| status.started).unwrap_or_else(clock::now);
        let deadline =
            Duration::from_secs(u64::from(manifest.health.start_seconds).saturating_add(START_GRACE));
        let started = async {
            self.units.reset_failed(&unit).await?;
            self.units.start(&unit, deadline).await
        };
        match started.await {
            Ok(()) => Ok(since),
            Err(err) => {
                let text = format!("workload `{}` did not start: {}", manifest.workload, chain(&err));
                let code = self.code_of(&err, &unit).await;
                Err(self.with_tail(Fault::new(code, text), &unit, since).await)
            }
        }
    }

    /// Whose fault it is that a unit did not start: FAILED_PRECONDITION if its own, for then another try ends the same.
    async fn code_of(&self, error: &UnitError, unit: &str) -> Code {
        match error {
            UnitError::Job { result, .. } if matches!(result.as_str(), "failed" | "timeout") => {
                let status = self.units.status(unit).await;
                let out_of_resources = status.is_ok_and(|status| status.result == "resources");
                if out_of_resources {
                    Code::ResourceExhausted
                } else {
                    Code::FailedPrecondition
                }
            }
            // Somebody else stopped it, or what it depends on is not there.
            UnitError::Job { .. } => Code::Aborted,
            _ => Code::Unavailable,
        }
    }

    /// Waits until the workload is healthy.
    pub(crate) async fn pass_gate(
        &self,
        manifest: &Manifest,
        since: Timestamp,
        stop: &CancellationToken,
    ) -> Result<(), Fault> {
        let unit = unit_name(&manifest.workload);
        let probe = Probe {
            units: &*self.units,
            unit: &unit,
            socket: self.places.socket(&manifest.workload),
            health: &manifest.health,
        };
        match probe.gate(stop).await {
            Ok(()) => Ok(()),
            Err(_) if stop.is_cancelled() => Err(Fault::cancelled()),
            Err(fault) => {
                let text = format!("workload `{}` is not healthy: {fault}", manifest.workload);
                Err(self
                    .with_tail(Fault::new(Code::FailedPrecondition, text), &unit, since)
                    .await)
            }
        }
    }

    /// Stops the unit and waits for its end.
    pub(crate) async fn halt(&self, name: &WorkloadName, reason: &str) -> Result<(), Fault> {
        let unit = unit_name(name);
        ends::announce(&self.places.home(name), reason);
        let stopped = self.units.stop(&unit, STOP_DEADLINE).await;
        ends::withdraw(&self.places.home(name));
        stopped.map_err(|err| Fault::of(&format!("workload `{name}` cannot be stopped"), &err))?;
        let _forgotten_with_the_unit = self.units.reset_failed(&unit).await;
        Ok(())
    }

    async fn with_tail(&self, fault: Fault, unit: &str, since: Timestamp) -> Fault {
        Fault {
            log_tail: self.units.log_tail(unit, TAIL, since).await,
            ..fault
        }
    }
}

fn outcome(result: Result<(), Fault>) -> Outcome {
    match result {
        Ok(()) => Outcome::Done,
        Err(fault) => failed(fault),
    }
}

fn failed(fault: Fault) -> Outcome {
    Outcome::Failed {
        fault,
        rolled_back: false,
    }
}
