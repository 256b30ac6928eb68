//! Looks at all workloads every few seconds and publishes what it sees.
//!
//! **Invariant:** it looks and never acts: restarting is the service manager's work, deciding the server's.

use std::time::Duration;

use satellite_host::clock;
use satellite_host::systemd::{Activity, UnitStatus};
use satellite_proto::bundle::WorkloadName;
use satellite_proto::wire::bridge::v1::{Workload, WorkloadState};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::ends;
use super::health::{Finding, Probe};
use super::places::unit_name;
use super::{Inner, Installed, Workloads};

/// Time between two looks.
const PERIOD: Duration = Duration::from_secs(3);

impl Workloads {
    /// Looks at all workloads until told to stop.
    pub async fn run(&self, stop: CancellationToken) {
        loop {
            self.inner.look_at_all().await;
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.inner.changed.notified() => {}
                () = sleep(PERIOD) => {}
            }
        }
    }
}

impl Inner {
    /// Looks at all workloads and publishes what changed.
    pub(crate) async fn look_at_all(&self) -> Vec<Workload> {
        let mut names: Vec<WorkloadName> = self.table().keys().cloned().collect();
        names.extend(self.busy().keys().cloned());
        names.sort();
        names.dedup();
        let mut found = Vec::with_capacity(names.len());
        for name in &names {
            found.extend(self.look(name).await);
        }
        self.seen.send_if_modified(|seen| {
            let same =
                seen.len() == found.len() && seen.iter().zip(&found).all(|(old, new)| is_same(old, new));
            seen.clone_from(&found);
            !same
        });
        found
    }

    /// One workload as it is now; `None` if nothing of that name is installed or being installed.
    pub(crate) async fn look(&self, name: &WorkloadName) -> Option<Workload> {
        let installed = self.table().get(name).cloned();
        let target = self.busy().get(name).copied();
        let (is_busy, installing) = (target.is_some(), target.flatten().is_some());
        let Some(installed) = installed else {
            return installing.then(|| Workload {
                name: name.to_string(),
                state: WorkloadState::Installing as i32,
                ..Workload::default()
            });
        };
        let unit = unit_name(name);
        let probe = Probe {
            units: &*self.units,
            unit: &unit,
            socket: self.places.socket(name),
            health: &installed.manifest.health,
        };
        let (status, finding) = probe.look().await;
        let (mut state, problem) = judge(&installed, status.as_ref(), finding, is_busy);
        if installing {
            state = WorkloadState::Installing;
        }
        let ends = ends::newest(&self.places.home(name));
        Some(Workload {
            ends,
            ..describe(&installed, status, state, problem)
        })
    }
}

/// What a look means, and why it is not well.
fn judge(
    installed: &Installed,
    status: Option<&UnitStatus>,
    finding: Finding,
    is_busy: bool,
) -> (WorkloadState, String) {
    match finding {
        Finding::Well => (WorkloadState::Healthy, String::new()),
        // After the start of the machine, or between the two halves of a restart.
        Finding::Ended(_) if installed.enabled && is_busy => {
            (WorkloadState::Starting, "it is about to be started".to_owned())
        }
        Finding::Ended(problem) if installed.enabled => (WorkloadState::Failed, problem),
        Finding::Ended(_) => (WorkloadState::Stopped, String::new()),
        Finding::NotYet(problem) if is_young(installed, status) => (WorkloadState::Starting, problem),
        Finding::NotYet(problem) => (WorkloadState::Unhealthy, problem),
    }
}

/// Whether the workload still has time to become healthy.
fn is_young(installed: &Installed, status: Option<&UnitStatus>) -> bool {
    let Some(status) = status else { return false };
    if status.detail == "auto-restart" {
        return false;
    }
    let allowed = Duration::from_secs(installed.manifest.health.start_seconds.into());
    let age = status.started.map(|started| clock::now().duration_since(started));
    let within = age.is_some_and(|age| Duration::try_from(age).is_ok_and(|age| age <= allowed));
    status.activity == Activity::Activating || within
}

fn describe(
    installed: &Installed,
    status: Option<UnitStatus>,
    state: WorkloadState,
    problem: String,
) -> Workload {
    let status = status.unwrap_or_else(UnitStatus::inactive);
    Workload {
        name: installed.manifest.workload.to_string(),
        version: installed.manifest.version.to_string(),
        manifest_digest: installed.digest.to_string(),
        state: state as i32,
        enabled: installed.enabled,
        start_time: status.started.map(timestamp),
        restarts: status.restarts,
        main_pid: status.main_pid.unwrap_or(0),
        memory_bytes: status.memory.unwrap_or(0),
        problem,
        previous_version: installed.previous.clone().unwrap_or_default(),
        ends: Vec::new(),
    }
}

pub(crate) fn timestamp(time: jiff::Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: time.as_second(),
        nanos: time.subsec_nanosecond().max(0),
    }
}

/// Memory changes all the time; nobody is woken for it.
fn is_same(old: &Workload, new: &Workload) -> bool {
    let memory_bytes = new.memory_bytes;
    Workload {
        memory_bytes,
        ..old.clone()
    } == *new
}
