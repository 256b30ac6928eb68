//! `update …`

use clap::{Args, Subcommand};
use satellite_proto::wire::management::v1::{GetUpdateStatusRequest, PushUpdateRequest, UpdateStatus};
use serde::Serialize;

use super::texts::Text;
use super::{CliError, Global, client, job, render, texts};

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Update {
    /// Brings a version of a workload to satellites, and waits for it.
    Push(Push),
    /// Shows which version is wanted and which is there.
    Status(Status),
}

#[derive(Debug, Args)]
pub(super) struct Push {
    /// Name of the workload.
    workload: String,
    /// Version; without it the newest bundle in the store.
    #[arg(long)]
    version: Option<String>,
    /// Satellite, can be repeated; without it all that are meant to run the workload.
    #[arg(long, value_name = "NAME")]
    satellite: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct Status {
    /// Only this workload.
    workload: Option<String>,
}

#[derive(Debug, Serialize)]
struct View {
    satellite: String,
    workload: String,
    desired_version: String,
    installed_version: String,
    state: String,
    problem: String,
    attempt_time: String,
}

impl From<UpdateStatus> for View {
    fn from(status: UpdateStatus) -> Self {
        Self {
            attempt_time: render::time(status.attempt_time.as_ref()),
            satellite: status.satellite,
            workload: status.workload,
            desired_version: status.desired_version,
            installed_version: status.installed_version,
            state: status.state,
            problem: status.problem,
        }
    }
}

impl View {
    const HEADING: [Text; 6] = [
        texts::SATELLITE,
        texts::WORKLOAD,
        texts::WANTED,
        texts::INSTALLED,
        texts::STATE,
        texts::PROBLEM,
    ];

    fn row(&self) -> Vec<String> {
        let all = [
            &self.satellite,
            &self.workload,
            &self.desired_version,
            &self.installed_version,
            &self.state,
            &self.problem,
        ];
        all.into_iter().cloned().collect()
    }
}

impl Update {
    pub(super) async fn run(self, global: &Global) -> Result<(), CliError> {
        let mut client = client::connect(global).await?;
        match self {
            Self::Push(push) => {
                let request = PushUpdateRequest {
                    workload: push.workload,
                    version: push.version.unwrap_or_default(),
                    satellites: push.satellite,
                };
                job::follow(client.bundle.push_update(request).await?.into_inner()).await?;
                render::done(global.output, texts::DONE.say())
            }
            Self::Status(status) => {
                let request = GetUpdateStatusRequest {
                    workload: status.workload.unwrap_or_default(),
                };
                let updates = client
                    .bundle
                    .get_update_status(request)
                    .await?
                    .into_inner()
                    .updates;
                let views: Vec<_> = updates.into_iter().map(View::from).collect();
                render::list(global.output, &views, &View::HEADING, View::row)
            }
        }
    }
}
