//! Begins what is due: woken by time and change, it looks at all configurations and all runs that wait.
//!
//! **Invariants:** a pass takes no hint but reads everything anew. A due time is settled in the same transaction as the run
//! that comes of it: it neither is lost nor comes twice, whenever the process is killed. A run that was put off takes the
//! place of the next one that is due meanwhile.

use std::collections::HashSet;
use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::runs::Runs;
use super::{App, AppError};
use crate::plan::outcome::RunState;
use crate::plan::schedule::{Action, Decision, Due};
use crate::store::{Cause, ConfigurationRow, RunFilter, RunRow};

/// The longest time between two looks: the clock may have been set meanwhile.
const LONGEST: Duration = Duration::from_secs(30);
/// How often a run is started before it is given up: a run that kills the process must not do so for ever.
const ATTEMPTS: u32 = 3;
/// Runs that may be under way at once.
const AT_ONCE: usize = 8;
/// Who begins what is due.
const ACTOR: &str = "schedule";

/// Takes up what a former process left, before anything is begun.
///
/// # Errors
/// What the store says.
pub async fn take_up(app: &App) -> Result<(), AppError> {
    let error = "the management module was stopped while this was under way";
    let now = Timestamp::now();
    let leases = app.store.end_leases_of_others(super::leases::process()).await?;
    let runs = app.store.take_up_runs(ATTEMPTS, error, now).await?;
    app.store.fail_running_restores(error, now).await?;
    if leases > 0 || runs > 0 {
        info!(leases, runs, "Work of a former process taken up");
    }
    Ok(())
}

/// Begins what is due, until `stop`.
pub async fn run(app: App, stop: CancellationToken) {
    let mut wishes = app.runs.wishes();
    loop {
        wishes.mark_unchanged();
        let now = Timestamp::now();
        let wait = match pass(&app, now).await {
            Ok(next) => next.map_or(LONGEST, |next| {
                let left = next.duration_since(now);
                Duration::try_from(left).unwrap_or_default().min(LONGEST)
            }),
            Err(error) => {
                error!(error = %crate::error_chain(&error), "Schedules not looked at");
                LONGEST
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            changed = wishes.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Looks once at everything. Answers when something may be due next.
///
/// # Errors
/// What the store says.
pub async fn pass(app: &App, now: Timestamp) -> Result<Option<Timestamp>, AppError> {
    let filter = RunFilter {
        open: true,
        limit: 10_000,
        ..RunFilter::default()
    };
    let open = app.store.runs(&filter).await?;
    let busy: HashSet<_> = open.iter().map(|run| run.plan.name.clone()).collect();
    let mut next = Vec::new();
    for row in app.store.configurations().await? {
        if row.configuration.enabled {
            let is_busy = busy.contains(&row.configuration.name);
            next.extend(settle(app, &row, is_busy, now).await?);
        }
    }
    let mut waiting = app.store.runs(&filter).await?;
    waiting.retain(|run| run.state != RunState::Running && !app.runs.has(&run.id));
    // First come, first served.
    waiting.sort_by(|a, b| (a.not_before, &a.id).cmp(&(b.not_before, &b.id)));
    for run in waiting {
        if run.not_before > now {
            next.push(run.not_before);
        } else if app.runs.count() < AT_ONCE {
            let runs = Runs::new(app.clone());
            tokio::spawn(runs.begin(run));
        }
    }
    Ok(next.into_iter().min())
}

/// Settles a configuration up to now. Answers when it is due next.
async fn settle(
    app: &App,
    row: &ConfigurationRow,
    is_busy: bool,
    now: Timestamp,
) -> Result<Option<Timestamp>, AppError> {
    let (configuration, name) = (&row.configuration, row.configuration.name.as_str());
    let due = match configuration.schedule.decide(row.settled(), now) {
        Decision::Never => None,
        Decision::Wait(next) => Some(next),
        Decision::Due(due) => {
            let run = run_of(row, due, is_busy, now);
            let next = configuration.schedule.next_after(due.planned);
            if app
                .store
                .settle(name, row.last_due, (due.planned, next), run.as_ref())
                .await?
            {
                info!(configuration = name, planned = %due.planned, action = ?due.action, is_busy, "Due");
            }
            return Ok(next);
        }
    };
    if due != row.next_due {
        app.store.note_next_due(name, due).await?;
    }
    Ok(due)
}

/// The run that comes of a due time; none if one that waits or is under way takes its place.
fn run_of(row: &ConfigurationRow, due: Due, is_busy: bool, now: Timestamp) -> Option<RunRow> {
    let run = |cause| RunRow {
        missed: due.missed,
        ..RunRow::queued(row.configuration.clone(), cause, ACTOR, due.planned)
    };
    match due.action {
        Action::OnTime | Action::MakeUp if is_busy => None,
        Action::OnTime => Some(run(Cause::Schedule)),
        Action::MakeUp => Some(run(Cause::CatchUp)),
        Action::Note => {
            let mut run = run(Cause::Schedule);
            (run.state, run.ended_at) = (RunState::Missed, Some(now));
            run.error = match due.missed {
                1 => "it was due while nothing could run".to_owned(),
                many => format!("it was due {many} times while nothing could run"),
            };
            for copy in &mut run.copies {
                copy.state = crate::plan::outcome::CopyState::Skipped;
            }
            Some(run)
        }
    }
}

#[cfg(test)]
mod tests;
