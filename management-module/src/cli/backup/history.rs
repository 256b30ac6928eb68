//! `backup runs`, `backup restores`, `backup cancel`, `backup retention`

use clap::Args;
use satellite_proto::wire::management::v1 as pb;
use serde::Serialize;

use super::super::texts::Text;
use super::super::{CliError, Global, client, prompt, render, texts};

#[derive(Debug, Args)]
pub(in crate::cli) struct Runs {
    /// Only of this configuration.
    configuration: Option<String>,
    /// At most so many, 1 to 1000.
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    limit: u32,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Restores {
    /// Only of this central's archives, or onto it.
    #[arg(long, value_name = "NAME")]
    central: Option<String>,
    /// At most so many, 1 to 1000.
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    limit: u32,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Cancel {
    /// Id of the run.
    run: String,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Retention {
    /// Name of the configuration.
    configuration: String,
    /// Remove nothing, only say what would go.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

/// What is shown of a run.
#[derive(Debug, Serialize)]
pub(super) struct RunView {
    id: String,
    configuration: String,
    central: String,
    kind: &'static str,
    cause: Text,
    state: Text,
    plan_time: String,
    not_before_time: String,
    start_time: String,
    end_time: String,
    deferred_because: String,
    missed: u32,
    error: String,
    archive_id: String,
    archive_name: String,
    satellite: String,
    size_bytes: u64,
    left_out: u64,
    actor: String,
    copies: Vec<CopyView>,
}

#[derive(Debug, Serialize)]
struct CopyView {
    destination: String,
    state: Text,
    path: String,
    size_bytes: u64,
    sha256: String,
    error: String,
    verify_time: String,
    remove_time: String,
}

fn state(state: pb::RunState) -> Text {
    match state {
        pb::RunState::Unspecified => texts::UNKNOWN,
        pb::RunState::Queued => texts::QUEUED,
        pb::RunState::Deferred => texts::DEFERRED,
        pb::RunState::Running => texts::RUNNING,
        pb::RunState::Succeeded => texts::SUCCEEDED,
        pb::RunState::Partial => texts::PARTIAL,
        pb::RunState::Failed => texts::FAILED,
        pb::RunState::Cancelled => texts::CANCELLED,
        pb::RunState::Missed => texts::MISSED,
    }
}

fn copy_state(state: pb::CopyState) -> Text {
    match state {
        pb::CopyState::Unspecified => texts::UNKNOWN,
        pb::CopyState::Pending => texts::QUEUED,
        pb::CopyState::Copying => texts::RUNNING,
        pb::CopyState::Done => texts::COPIED,
        pb::CopyState::Failed => texts::FAILED,
        pb::CopyState::Skipped => texts::SKIPPED,
    }
}

impl From<pb::Run> for RunView {
    fn from(run: pb::Run) -> Self {
        let cause = match run.cause() {
            pb::RunCause::Unspecified => texts::UNKNOWN,
            pb::RunCause::Manual => texts::BY_HAND,
            pb::RunCause::Schedule => texts::BY_SCHEDULE,
            pb::RunCause::CatchUp => texts::MADE_UP,
        };
        let kind = match run.kind() {
            pb::ConfigurationKind::Archiving => "archiving",
            _ => "backup",
        };
        Self {
            cause,
            kind,
            state: state(run.state()),
            plan_time: render::time(run.plan_time.as_ref()),
            not_before_time: render::time(run.not_before_time.as_ref()),
            start_time: render::time(run.start_time.as_ref()),
            end_time: render::time(run.end_time.as_ref()),
            copies: run
                .copies
                .into_iter()
                .map(|copy| CopyView {
                    state: copy_state(copy.state()),
                    verify_time: render::time(copy.verify_time.as_ref()),
                    remove_time: render::time(copy.remove_time.as_ref()),
                    destination: copy.destination,
                    path: copy.path,
                    size_bytes: copy.size_bytes,
                    sha256: copy.sha256,
                    error: copy.error,
                })
                .collect(),
            id: run.id,
            configuration: run.configuration,
            central: run.central,
            deferred_because: run.deferred_because,
            missed: run.missed,
            error: run.error,
            archive_id: run.archive_id,
            archive_name: run.archive_name,
            satellite: run.satellite,
            size_bytes: run.size_bytes,
            left_out: run.left_out,
            actor: run.actor,
        }
    }
}

impl RunView {
    const HEADING: [Text; 7] = [
        texts::DATE,
        texts::NAME,
        texts::CAUSE,
        texts::STATE,
        texts::SIZE,
        texts::DESTINATIONS,
        texts::PROBLEM,
    ];

    /// In one line: how and when.
    pub(super) fn short(&self) -> String {
        let time = [&self.end_time, &self.start_time, &self.plan_time];
        let time = time
            .into_iter()
            .find(|time| !time.is_empty())
            .map(String::as_str)
            .unwrap_or_default();
        format!("{} {time}", self.state.say())
    }

    fn row(&self) -> Vec<String> {
        let copies: Vec<_> = self
            .copies
            .iter()
            .map(|copy| format!("{}: {}", copy.destination, copy.state.say()))
            .collect();
        let deferred = match (self.deferred_because.as_str(), self.not_before_time.as_str()) {
            ("", _) => String::new(),
            (because, "") => texts::DEFERRED_BECAUSE.say().replace("{}", because),
            (because, until) => format!(
                "{} ({until})",
                texts::DEFERRED_BECAUSE.say().replace("{}", because)
            ),
        };
        let problem = [deferred, self.error.clone()]
            .into_iter()
            .filter(|text| !text.is_empty());
        let size = if self.size_bytes == 0 {
            String::new()
        } else {
            render::size(self.size_bytes)
        };
        vec![
            self.plan_time.clone(),
            self.configuration.clone(),
            self.cause.say().to_owned(),
            self.state.say().to_owned(),
            size,
            copies.join(", "),
            problem.collect::<Vec<_>>().join("; "),
        ]
    }
}

impl Runs {
    pub(in crate::cli) async fn run(self, global: &Global) -> Result<(), CliError> {
        let mut client = client::connect(global).await?;
        let request = pb::ListRunsRequest {
            configuration: self.configuration.unwrap_or_default(),
            limit: self.limit,
        };
        let runs = client.run.list_runs(request).await?.into_inner().runs;
        let views: Vec<_> = runs.into_iter().map(RunView::from).collect();
        render::list(global.output, &views, &RunView::HEADING, RunView::row)
    }
}

#[derive(Debug, Serialize)]
struct RestoreView {
    id: String,
    outcome: Text,
    start_time: String,
    end_time: String,
    archive_id: String,
    archive_name: String,
    central: String,
    target_central: String,
    url: String,
    directory: String,
    data_sets: Vec<String>,
    error: String,
    actor: String,
    safety_archive: String,
}

impl From<pb::Restore> for RestoreView {
    fn from(one: pb::Restore) -> Self {
        let outcome = match one.outcome() {
            pb::RestoreOutcome::Unspecified => texts::UNKNOWN,
            pb::RestoreOutcome::Running => texts::RUNNING,
            pb::RestoreOutcome::Succeeded => texts::SUCCEEDED,
            pb::RestoreOutcome::Partial => texts::PARTIAL,
            pb::RestoreOutcome::Failed => texts::FAILED,
        };
        Self {
            outcome,
            start_time: render::time(one.start_time.as_ref()),
            end_time: render::time(one.end_time.as_ref()),
            id: one.id,
            archive_id: one.archive_id,
            archive_name: one.archive_name,
            central: one.central,
            target_central: one.target_central,
            url: one.url,
            directory: one.directory,
            data_sets: one.data_sets,
            error: one.error,
            actor: one.actor,
            safety_archive: one.safety_archive,
        }
    }
}

impl Restores {
    pub(in crate::cli) async fn run(self, global: &Global) -> Result<(), CliError> {
        let mut client = client::connect(global).await?;
        let request = pb::ListRestoresRequest {
            central: self.central.unwrap_or_default(),
            limit: self.limit,
        };
        let restores = client.run.list_restores(request).await?.into_inner().restores;
        let views: Vec<_> = restores.into_iter().map(RestoreView::from).collect();
        let heading = [
            texts::RESULT,
            texts::DATE,
            texts::FILE,
            texts::ADDRESS,
            texts::DIRECTORY,
            texts::PROBLEM,
        ];
        render::list(global.output, &views, &heading, |view| {
            vec![
                view.outcome.say().to_owned(),
                view.start_time.clone(),
                view.archive_name.clone(),
                view.url.clone(),
                view.directory.clone(),
                view.error.clone(),
            ]
        })
    }
}

impl Cancel {
    pub(in crate::cli) async fn run(self, global: &Global) -> Result<(), CliError> {
        let mut client = client::connect(global).await?;
        prompt::confirm_loss(&texts::CANCEL_RUN.say().replace("{}", &self.run), self.yes)?;
        client
            .run
            .cancel_run(pb::CancelRunRequest { id: self.run })
            .await?;
        render::done(global.output, texts::DONE.say())
    }
}

#[derive(Debug, Serialize)]
struct VerdictView {
    destination: String,
    archive_name: String,
    create_time: String,
    size_bytes: u64,
    kept_as: Vec<String>,
    goes_because: String,
    error: String,
}

impl Retention {
    pub(in crate::cli) async fn run(self, global: &Global) -> Result<(), CliError> {
        let mut client = client::connect(global).await?;
        if !self.dry_run {
            let question = texts::APPLY_RETENTION.say().replace("{}", &self.configuration);
            prompt::confirm_loss(&question, self.yes)?;
        }
        let request = pb::ApplyRetentionRequest {
            configuration: self.configuration,
            dry_run: self.dry_run,
        };
        let verdicts = client.run.apply_retention(request).await?.into_inner().verdicts;
        let views: Vec<_> = verdicts
            .into_iter()
            .map(|one| VerdictView {
                destination: one.destination,
                archive_name: one.archive_name,
                create_time: render::time(one.create_time.as_ref()),
                size_bytes: one.size_bytes,
                kept_as: one.kept_as,
                goes_because: one.goes_because,
                error: one.error,
            })
            .collect();
        let heading = [
            texts::DESTINATION,
            texts::FILE,
            texts::DATE,
            texts::SIZE,
            texts::KEPT_AS,
            texts::GOES_BECAUSE,
        ];
        render::list(global.output, &views, &heading, |view| {
            let place = if view.destination.is_empty() {
                texts::SATELLITE.say()
            } else {
                view.destination.as_str()
            };
            vec![
                place.to_owned(),
                view.archive_name.clone(),
                view.create_time.clone(),
                render::size(view.size_bytes),
                view.kept_as.join(", "),
                view.goes_because.clone(),
            ]
        })?;
        let errors: Vec<_> = views
            .iter()
            .map(|view| view.error.as_str())
            .filter(|error| !error.is_empty())
            .collect();
        if errors.is_empty() {
            return Ok(());
        }
        Err(CliError::Partly(errors.join("\n")))
    }
}
