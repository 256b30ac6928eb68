//! `update …`

mod look;
mod rollout;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use satellite_proto::wire::management::v1::{
    GetUpdateStatusRequest, PushUpdateRequest, RetryUpdateRequest, UpdateStatus,
};
use serde::Serialize;

use super::bundle::document;
use super::texts::Text;
use super::{CliError, Global, client, job, render, texts};

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Update {
    /// Brings a version of a workload to satellites, and waits for it.
    Push(Push),
    /// Lets a version that failed be tried again, and waits for it.
    Retry(Retry),
    /// Shows which version is wanted and which is there.
    Status(Status),
    /// Shows what the module would do to bring satellites to what is wanted, and does nothing.
    Plan(look::Plan),
    /// Lists updates with outcome, duration, and bytes sent and saved, newest first.
    History(look::History),
    /// Brings a version to many satellites in waves.
    #[command(subcommand)]
    Rollout(rollout::Rollout),
}

#[derive(Debug, Args)]
pub(super) struct Retry {
    /// Name of the workload.
    workload: String,
    /// Satellite, can be repeated; without it all where it failed.
    #[arg(long, value_name = "NAME")]
    satellite: Vec<String>,
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
    /// Permit to go back to an older version, made by `bundle allow-downgrade`; its signatures lie beside it.
    #[arg(long, value_name = "FILE", requires = "version")]
    permit: Option<PathBuf>,
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
    cause: String,
    tries: u32,
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
            cause: status.cause,
            tries: status.tries,
        }
    }
}

impl View {
    const HEADING: [Text; 7] = [
        texts::SATELLITE,
        texts::WORKLOAD,
        texts::WANTED,
        texts::INSTALLED,
        texts::STATE,
        texts::TRIES,
        texts::PROBLEM,
    ];

    fn row(&self) -> Vec<String> {
        let tries = if self.tries == 0 {
            String::new()
        } else {
            self.tries.to_string()
        };
        let all = [
            &self.satellite,
            &self.workload,
            &self.desired_version,
            &self.installed_version,
            &self.state,
            &tries,
            &self.problem,
        ];
        all.into_iter().cloned().collect()
    }
}

impl Update {
    pub(super) async fn run(self, global: &Global) -> Result<(), CliError> {
        match self {
            Self::Plan(plan) => return plan.run(global).await,
            Self::History(history) => return history.run(global).await,
            Self::Rollout(rollout) => return rollout.run(global).await,
            Self::Push(_) | Self::Retry(_) | Self::Status(_) => {}
        }
        let mut client = client::connect(global).await?;
        match self {
            Self::Plan(_) | Self::History(_) | Self::Rollout(_) => Ok(()),
            Self::Push(push) => {
                let permit = push.permit.as_deref().map(document::load).transpose()?;
                let request = PushUpdateRequest {
                    permit: permit.map(document::wire_of),
                    workload: push.workload,
                    version: push.version.unwrap_or_default(),
                    satellites: push.satellite,
                };
                job::follow(client.bundle.push_update(request).await?.into_inner()).await?;
                render::done(global.output, texts::DONE.say())
            }
            Self::Retry(retry) => {
                let request = RetryUpdateRequest {
                    workload: retry.workload,
                    satellites: retry.satellite,
                };
                job::follow(client.release.retry_update(request).await?.into_inner()).await?;
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
