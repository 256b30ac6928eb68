//! `workload …`

use clap::{Args, Subcommand};
use satellite_proto::wire::bridge::v1 as bridge;
use satellite_proto::wire::management::v1::{
    FleetWorkload, ListWorkloadsRequest, RestartWorkloadRequest, StartWorkloadRequest, StopWorkloadRequest,
};
use serde::Serialize;

use super::texts::Text;
use super::{CliError, Global, client, job, render, texts};

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Workload {
    /// Lists workloads on all satellites, as they are meant to be and as they are.
    List,
    /// Shows a workload.
    Status(Named),
    /// Starts a workload, and keeps it running.
    Start(Named),
    /// Stops a workload, and keeps it stopped.
    Stop(Named),
    /// Restarts a workload.
    Restart(Named),
}

#[derive(Debug, Args)]
pub(super) struct Named {
    /// Name of the satellite.
    satellite: String,
    /// Name of the workload.
    #[arg(default_value = "backup-service")]
    workload: String,
}

/// What is shown of a workload as a satellite sees it.
#[derive(Debug, Serialize)]
pub(super) struct WorkloadView {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) manifest_digest: String,
    state: Text,
    enabled: bool,
    start_time: String,
    restarts: u32,
    memory_bytes: u64,
    problem: String,
    previous_version: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ends: Vec<EndView>,
}

/// Why a workload ended.
#[derive(Debug, Serialize)]
struct EndView {
    time: String,
    cause: String,
    detail: String,
}

/// What is shown of a workload in the list.
#[derive(Debug, Serialize)]
struct FleetView {
    satellite: String,
    workload: String,
    desired_version: String,
    desired_running: bool,
    observed: Option<WorkloadView>,
    #[serde(skip)]
    is_wanted: bool,
}

impl From<bridge::Workload> for WorkloadView {
    fn from(workload: bridge::Workload) -> Self {
        let state = workload.state();
        let ends = workload.ends.into_iter().map(|end| EndView {
            time: render::time(end.time.as_ref()),
            cause: end.cause,
            detail: end.detail,
        });
        Self {
            ends: ends.collect(),
            state: texts::workload_state(state),
            start_time: render::time(workload.start_time.as_ref()),
            name: workload.name,
            version: workload.version,
            manifest_digest: workload.manifest_digest,
            enabled: workload.enabled,
            restarts: workload.restarts,
            memory_bytes: workload.memory_bytes,
            problem: workload.problem,
            previous_version: workload.previous_version,
        }
    }
}

impl WorkloadView {
    /// In a few words.
    pub(super) fn short(&self) -> String {
        format!("{} {} {}", self.name, self.version, self.state.say())
    }

    /// What is not as it should be if it is meant to run, or not to.
    pub(super) fn difference(&self, running: bool) -> Option<String> {
        let (name, state) = (&self.name, self.state.english());
        let is_as_wanted = self.state == if running { texts::HEALTHY } else { texts::STOPPED };
        let because = if self.problem.is_empty() {
            String::new()
        } else {
            format!(": {}", self.problem)
        };
        let wanted = texts::running(running).english();
        (!is_as_wanted).then(|| format!("{name} is {state}, wanted {wanted}{because}"))
    }
}

impl From<FleetWorkload> for FleetView {
    fn from(workload: FleetWorkload) -> Self {
        let is_wanted = workload.desired.is_some();
        let desired = workload.desired.unwrap_or_default();
        let observed = workload.observed.map(WorkloadView::from);
        let installed = observed
            .as_ref()
            .map(|observed| observed.name.clone())
            .unwrap_or_default();
        let name = if desired.workload.is_empty() {
            installed
        } else {
            desired.workload
        };
        Self {
            satellite: workload.satellite,
            workload: name,
            desired_version: desired.version,
            desired_running: desired.running,
            observed,
            is_wanted,
        }
    }
}

impl FleetView {
    const HEADING: [Text; 6] = [
        texts::SATELLITE,
        texts::WORKLOAD,
        texts::WANTED,
        texts::VERSION,
        texts::STATE,
        texts::PROBLEM,
    ];

    fn row(&self) -> Vec<String> {
        let running = texts::running(self.desired_running).say();
        let version = match (self.desired_version.as_str(), self.desired_running) {
            ("", true) => texts::NEWEST.say(),
            (version, _) => version,
        };
        let wanted = if self.is_wanted {
            format!("{version} {running}")
        } else {
            String::new()
        };
        let observed = |of: fn(&WorkloadView) -> String| self.observed.as_ref().map(of).unwrap_or_default();
        vec![
            self.satellite.clone(),
            self.workload.clone(),
            wanted.trim().to_owned(),
            observed(|workload| workload.version.clone()),
            observed(|workload| workload.state.say().to_owned()),
            observed(|workload| workload.problem.clone()),
        ]
    }

    fn properties(&self) -> Vec<(Text, String)> {
        let mut properties = vec![
            (texts::SATELLITE, self.satellite.clone()),
            (texts::WORKLOAD, self.workload.clone()),
            (texts::WANTED_VERSION, self.desired_version.clone()),
            (
                texts::WANTED_TO_RUN,
                texts::yes_no(self.desired_running).to_owned(),
            ),
        ];
        if let Some(observed) = &self.observed {
            properties.extend([
                (texts::VERSION, observed.version.clone()),
                (texts::STATE, observed.state.say().to_owned()),
                (texts::PROBLEM, observed.problem.clone()),
                (texts::STARTED, observed.start_time.clone()),
                (texts::RESTARTS, observed.restarts.to_string()),
                (texts::MEMORY, render::size(observed.memory_bytes)),
                (texts::PREVIOUS_VERSION, observed.previous_version.clone()),
                (texts::MANIFEST, observed.manifest_digest.clone()),
            ]);
            let ends = observed.ends.iter();
            properties.extend(ends.map(|end| (texts::ENDED, format!("{} {}", end.time, end.detail))));
        }
        properties
    }
}

impl Workload {
    pub(super) async fn run(self, global: &Global) -> Result<(), CliError> {
        let mut client = client::connect(global).await?;
        let events = match self {
            Self::List => {
                let views = views(&mut client).await?;
                return render::list(global.output, &views, &FleetView::HEADING, FleetView::row);
            }
            Self::Status(named) => return status(global, &mut client, &named).await,
            Self::Start(Named { satellite, workload }) => {
                client
                    .workload
                    .start_workload(StartWorkloadRequest { satellite, workload })
                    .await?
            }
            Self::Stop(Named { satellite, workload }) => {
                client
                    .workload
                    .stop_workload(StopWorkloadRequest { satellite, workload })
                    .await?
            }
            Self::Restart(Named { satellite, workload }) => {
                client
                    .workload
                    .restart_workload(RestartWorkloadRequest { satellite, workload })
                    .await?
            }
        };
        job::follow(events.into_inner()).await?;
        render::done(global.output, texts::DONE.say())
    }
}

async fn views(client: &mut client::Client) -> Result<Vec<FleetView>, CliError> {
    let workloads = client
        .workload
        .list_workloads(ListWorkloadsRequest {})
        .await?
        .into_inner()
        .workloads;
    Ok(workloads.into_iter().map(FleetView::from).collect())
}

async fn status(global: &Global, client: &mut client::Client, named: &Named) -> Result<(), CliError> {
    let mut views = views(client).await?;
    views.retain(|view| view.satellite == named.satellite && view.workload == named.workload);
    let Some(view) = views.first() else {
        return Err(CliError::said(format!(
            "`{}` has no workload `{}`",
            named.satellite, named.workload
        )));
    };
    render::one(global.output, view, FleetView::properties)
}
