//! Runs of configurations, restores, and what retention removes.

use std::pin::Pin;

use futures_util::Stream;
use satellite_proto::wire::management::v1 as wire;
use tonic::{Request, Response, Status};

use super::configuration::configuration_of;
use super::{actor, asked, job_events, to_the_end, wire_time};
use crate::app::App;
use crate::app::runs::{Planned, Retained, Runs, Which};
use crate::plan::configuration::Kind;
use crate::plan::outcome::{CopyState, RunState};
use crate::plan::space::Place;
use crate::store::{Cause, CopyRow, RestoreOutcome, RestoreRow, RunRow};

/// The service.
#[derive(Debug, Clone)]
pub struct RunApi {
    app: App,
    runs: Runs,
}

type Events = Pin<Box<dyn Stream<Item = Result<wire::JobEvent, Status>> + Send>>;

impl RunApi {
    /// The service over `app`.
    #[must_use]
    pub fn new(app: App) -> Self {
        Self {
            runs: Runs::new(app.clone()),
            app,
        }
    }
}

pub(super) fn kind_told(kind: Kind) -> wire::ConfigurationKind {
    match kind {
        Kind::Backup => wire::ConfigurationKind::Backup,
        Kind::Archiving => wire::ConfigurationKind::Archiving,
    }
}

fn state_told(state: RunState) -> wire::RunState {
    match state {
        RunState::Queued => wire::RunState::Queued,
        RunState::Deferred => wire::RunState::Deferred,
        RunState::Running => wire::RunState::Running,
        RunState::Succeeded => wire::RunState::Succeeded,
        RunState::Partial => wire::RunState::Partial,
        RunState::Failed => wire::RunState::Failed,
        RunState::Cancelled => wire::RunState::Cancelled,
        RunState::Missed => wire::RunState::Missed,
    }
}

fn copy_told(copy: CopyRow) -> wire::RunCopy {
    let state = match copy.state {
        CopyState::Pending => wire::CopyState::Pending,
        CopyState::Copying => wire::CopyState::Copying,
        CopyState::Done => wire::CopyState::Done,
        CopyState::Failed => wire::CopyState::Failed,
        CopyState::Skipped => wire::CopyState::Skipped,
    };
    wire::RunCopy {
        state: state.into(),
        destination: copy.destination,
        path: copy.path,
        size_bytes: copy.size_bytes,
        sha256: copy.sha256,
        error: copy.error,
        verify_time: copy.verified_at.map(wire_time),
        remove_time: copy.removed_at.map(wire_time),
    }
}

/// A run as the wire has it.
pub(super) fn told(run: RunRow) -> wire::Run {
    let cause = match run.cause {
        Cause::Manual => wire::RunCause::Manual,
        Cause::Schedule => wire::RunCause::Schedule,
        Cause::CatchUp => wire::RunCause::CatchUp,
    };
    wire::Run {
        id: run.id,
        kind: kind_told(run.plan.kind).into(),
        configuration: run.plan.name.to_string(),
        central: run.plan.central,
        cause: cause.into(),
        state: state_told(run.state).into(),
        plan_time: Some(wire_time(run.planned_at)),
        not_before_time: (run.state == RunState::Deferred).then(|| wire_time(run.not_before)),
        start_time: run.started_at.map(wire_time),
        end_time: run.ended_at.map(wire_time),
        error: run.error,
        deferred_because: run.deferred_because,
        missed: run.missed,
        archive_id: run.archive_id,
        archive_name: run.archive_name,
        satellite: run.satellite,
        size_bytes: run.bytes,
        left_out: run.left_out,
        copies: run.copies.into_iter().map(copy_told).collect(),
        job_id: run.job,
        actor: run.actor,
    }
}

fn restore_told(restore: RestoreRow) -> wire::Restore {
    let outcome = match restore.outcome {
        RestoreOutcome::Running => wire::RestoreOutcome::Running,
        RestoreOutcome::Succeeded => wire::RestoreOutcome::Succeeded,
        RestoreOutcome::Partial => wire::RestoreOutcome::Partial,
        RestoreOutcome::Failed => wire::RestoreOutcome::Failed,
    };
    wire::Restore {
        id: restore.id,
        start_time: Some(wire_time(restore.started_at)),
        end_time: restore.ended_at.map(wire_time),
        outcome: outcome.into(),
        archive_id: restore.archive_id,
        archive_name: restore.archive_name,
        central: restore.central,
        directory: restore.directory,
        target_central: restore.target_central,
        url: restore.url,
        data_sets: restore.data_sets,
        error: restore.error,
        actor: restore.actor,
        safety_archive: restore.safety_archive,
        job_id: restore.job,
    }
}

fn retained_told(one: Retained) -> wire::RetentionVerdict {
    wire::RetentionVerdict {
        destination: one.destination,
        archive_name: one.archive_name,
        create_time: Some(wire_time(one.time)),
        size_bytes: one.bytes,
        kept_as: one.kept_as.into_iter().map(str::to_owned).collect(),
        goes_because: one.goes_because.to_owned(),
        error: one.error,
    }
}

fn which_of(app: &App, name: String, configuration: Option<wire::Configuration>) -> Result<Which, Status> {
    match configuration {
        None => Ok(Which::Kept(name)),
        Some(one) => configuration_of(app, Some(one)).map(|one| Which::Once(Box::new(one))),
    }
}

fn planned_told(planned: &Planned) -> wire::PlanRunResponse {
    let place = |place: &Place| {
        let room = place.room.as_ref().copied().unwrap_or_default();
        let problem = place.problem(planned.archive());
        wire::RunPlace {
            destination: place.destination.clone(),
            free_bytes: room.free,
            most_bytes: room.most,
            fits: problem.is_none(),
            problem: problem
                .or_else(|| place.room.as_ref().err().cloned())
                .unwrap_or_default(),
        }
    };
    wire::PlanRunResponse {
        data_sets: planned.sizes(),
        content_bytes: planned.content(),
        archive_bytes: planned.archive(),
        places: planned.places.iter().map(place).collect(),
        refused_because: planned.refusal.clone().unwrap_or_default(),
    }
}

#[tonic::async_trait]
impl wire::run_service_server::RunService for RunApi {
    type RunConfigurationStream = Events;

    async fn run_configuration(
        &self,
        request: Request<wire::RunConfigurationRequest>,
    ) -> Result<Response<Self::RunConfigurationStream>, Status> {
        let actor = actor(&request)?;
        let request = request.into_inner();
        let which = which_of(&self.app, request.name, request.configuration);
        let which = asked(&self.app, (&actor, "RunService/RunConfiguration", ""), which).await?;
        let job = self.runs.run(actor, which, &request.idempotency_key).await?;
        job_events(&self.app, &job).await
    }

    async fn plan_run(
        &self,
        request: Request<wire::PlanRunRequest>,
    ) -> Result<Response<wire::PlanRunResponse>, Status> {
        let request = request.into_inner();
        let which = which_of(&self.app, request.name, request.configuration)?;
        let planned = self.runs.plan(which).await?;
        Ok(Response::new(planned_told(&planned)))
    }

    async fn list_runs(
        &self,
        request: Request<wire::ListRunsRequest>,
    ) -> Result<Response<wire::ListRunsResponse>, Status> {
        let wire::ListRunsRequest { configuration, limit } = request.into_inner();
        let runs = self.runs.list(&configuration, limit).await?;
        Ok(Response::new(wire::ListRunsResponse {
            runs: runs.into_iter().map(told).collect(),
        }))
    }

    async fn cancel_run(
        &self,
        request: Request<wire::CancelRunRequest>,
    ) -> Result<Response<wire::CancelRunResponse>, Status> {
        let actor = actor(&request)?;
        let (runs, id) = (self.runs.clone(), request.into_inner().id);
        to_the_end(async move { runs.cancel(&actor, &id).await }).await?;
        Ok(Response::new(wire::CancelRunResponse {}))
    }

    async fn list_restores(
        &self,
        request: Request<wire::ListRestoresRequest>,
    ) -> Result<Response<wire::ListRestoresResponse>, Status> {
        let wire::ListRestoresRequest { central, limit } = request.into_inner();
        let restores = self.runs.restores(&central, limit).await?;
        Ok(Response::new(wire::ListRestoresResponse {
            restores: restores.into_iter().map(restore_told).collect(),
        }))
    }

    async fn apply_retention(
        &self,
        request: Request<wire::ApplyRetentionRequest>,
    ) -> Result<Response<wire::ApplyRetentionResponse>, Status> {
        let actor = actor(&request)?;
        let wire::ApplyRetentionRequest {
            configuration,
            dry_run,
        } = request.into_inner();
        let runs = self.runs.clone();
        let retained =
            to_the_end(async move { runs.apply_retention(&actor, &configuration, dry_run).await }).await?;
        Ok(Response::new(wire::ApplyRetentionResponse {
            verdicts: retained.into_iter().map(retained_told).collect(),
        }))
    }
}
