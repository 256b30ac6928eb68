//! `update plan` and `update history`: what would be done, and what was.

use clap::Args;
use satellite_proto::wire::management::v1::{
    ListHistoryRequest, PlanUpdateRequest, PlannedStep, UpdateRecord,
};
use serde::Serialize;

use crate::cli::{CliError, Global, client, render, texts};

/// Prints what would be done.
#[derive(Debug, Args)]
pub(in crate::cli) struct Plan {
    /// Only this workload.
    workload: Option<String>,
    /// As if this version were wanted.
    #[arg(long, requires = "workload")]
    version: Option<String>,
    /// Satellite, can be repeated; without it all.
    #[arg(long, value_name = "NAME")]
    satellite: Vec<String>,
}

/// Lists what was done.
#[derive(Debug, Args)]
pub(in crate::cli) struct History {
    /// Only this workload.
    workload: Option<String>,
    /// Only this satellite.
    #[arg(long, value_name = "NAME")]
    satellite: Option<String>,
    /// At most so many.
    #[arg(short = 'n', long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
}

#[derive(Debug, Serialize)]
struct PlanView {
    satellite: String,
    step: String,
    subject: String,
    detail: String,
    bytes: u64,
}

impl From<PlannedStep> for PlanView {
    fn from(step: PlannedStep) -> Self {
        Self {
            satellite: step.satellite,
            step: step.step,
            subject: step.subject,
            detail: step.detail,
            bytes: step.bytes,
        }
    }
}

#[derive(Debug, Serialize)]
struct HistoryView {
    satellite: String,
    workload: String,
    from_version: String,
    version: String,
    outcome: String,
    problem: String,
    start_time: String,
    end_time: String,
    seconds: i64,
    bytes_sent: u64,
    bytes_saved: u64,
}

impl From<UpdateRecord> for HistoryView {
    fn from(record: UpdateRecord) -> Self {
        let seconds = |time: &Option<prost_types::Timestamp>| time.as_ref().map(|time| time.seconds);
        let took = seconds(&record.end_time).zip(seconds(&record.start_time));
        Self {
            start_time: render::time(record.start_time.as_ref()),
            end_time: render::time(record.end_time.as_ref()),
            seconds: took.map(|(end, start)| (end - start).max(0)).unwrap_or_default(),
            satellite: record.satellite,
            workload: record.workload,
            from_version: record.from_version,
            version: record.version,
            outcome: record.outcome,
            problem: record.problem,
            bytes_sent: record.bytes_sent,
            bytes_saved: record.bytes_saved,
        }
    }
}

impl Plan {
    pub(super) async fn run(self, global: &Global) -> Result<(), CliError> {
        let request = PlanUpdateRequest {
            workload: self.workload.unwrap_or_default(),
            version: self.version.unwrap_or_default(),
            satellites: self.satellite,
        };
        let mut client = client::connect(global).await?;
        let steps = client.release.plan_update(request).await?.into_inner().steps;
        let views: Vec<_> = steps.into_iter().map(PlanView::from).collect();
        let heading = [
            texts::SATELLITE,
            texts::ACTION,
            texts::SUBJECT,
            texts::DESCRIPTION,
            texts::SIZE,
        ];
        render::list(global.output, &views, &heading, |view| {
            let size = if view.bytes == 0 {
                String::new()
            } else {
                render::size(view.bytes)
            };
            vec![
                view.satellite.clone(),
                view.step.clone(),
                view.subject.clone(),
                view.detail.clone(),
                size,
            ]
        })
    }
}

impl History {
    pub(super) async fn run(self, global: &Global) -> Result<(), CliError> {
        let request = ListHistoryRequest {
            satellite: self.satellite.unwrap_or_default(),
            workload: self.workload.unwrap_or_default(),
            limit: self.limit,
        };
        let mut client = client::connect(global).await?;
        let updates = client.release.list_history(request).await?.into_inner().updates;
        let views: Vec<_> = updates.into_iter().map(HistoryView::from).collect();
        let heading = [
            texts::STARTED,
            texts::SATELLITE,
            texts::WORKLOAD,
            texts::PREVIOUS_VERSION,
            texts::VERSION,
            texts::RESULT,
            texts::DURATION,
            texts::SENT,
            texts::SAVED,
            texts::PROBLEM,
        ];
        render::list(global.output, &views, &heading, |view| {
            vec![
                view.start_time.clone(),
                view.satellite.clone(),
                view.workload.clone(),
                view.from_version.clone(),
                view.version.clone(),
                view.outcome.clone(),
                format!("{} s", view.seconds),
                render::size(view.bytes_sent),
                render::size(view.bytes_saved),
                view.problem.clone(),
            ]
        })
    }
}
