//! Rollouts: a version comes to satellites in waves, and stops by itself when too many fail.
//!
//! **Invariants:** everything about a rollout is in the store, so that a restart of the server goes on where it was; what
//! comes next is decided by [`crate::plan::rollout`]; a satellite of a rollout is brought to its version by its own
//! reconciler, as by any other wish.

mod run;

use std::collections::BTreeSet;

use jiff::Timestamp;
use satellite_proto::bundle::{Digest, WorkloadName};
use tracing::warn;

pub use self::run::{Bell, run};
use super::{App, AppError};
use crate::names::SatelliteName;
use crate::plan::rollout::{Standing, Terms, waves};
use crate::store::{RolloutRow, RolloutState, StoreError, TargetRow};

/// Rollouts that are listed.
const LISTED: u32 = 100;

/// What a person asked for.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Which workload.
    pub workload: WorkloadName,
    /// To which version.
    pub version: semver::Version,
    /// Which satellites; none: all that are meant to run the workload.
    pub satellites: Vec<SatelliteName>,
    /// Those that come first, as the canary.
    pub first: Vec<SatelliteName>,
    /// How.
    pub terms: Terms,
}

/// What a person does with a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Steer {
    /// No further satellite is begun.
    Pause,
    /// It goes on.
    Resume,
    /// It ends.
    Abort,
}

/// A rollout with its satellites.
#[derive(Debug, Clone)]
pub struct Shown {
    /// The rollout.
    pub rollout: RolloutRow,
    /// Its satellites in the order in which they come.
    pub targets: Vec<TargetRow>,
}

/// Begins a rollout.
///
/// # Errors
/// There is no such bundle or satellite, the terms make no sense, or one of the workload is open.
pub async fn start(app: &App, ask: Ask) -> Result<Shown, AppError> {
    let Ask {
        workload,
        version,
        satellites,
        first,
        mut terms,
    } = ask;
    terms
        .check()
        .map_err(|error| AppError::Invalid(error.to_string()))?;
    let bundles = app.store.bundles_of(&workload).await?;
    if !bundles.iter().any(|bundle| bundle.version == version) {
        return Err(AppError::no("bundle of", format!("{workload} {version}")));
    }
    let meant = super::workloads::meant(app, &workload).await?;
    let chosen: BTreeSet<SatelliteName> = if satellites.is_empty() {
        meant.clone()
    } else {
        satellites.into_iter().collect()
    };
    for satellite in chosen.iter().chain(&first) {
        if !meant.contains(satellite) {
            return Err(AppError::Precondition(format!(
                "satellite {satellite} is not meant to run {workload}, or is not known"
            )));
        }
    }
    let id = uuid::Uuid::now_v7().to_string();
    let drawn = drawn(&id, chosen, &first);
    if drawn.is_empty() {
        return Err(AppError::Precondition(format!(
            "no satellite is meant to run {workload}"
        )));
    }
    let named = u32::try_from(first.len()).unwrap_or(u32::MAX);
    terms.canary = terms.canary.max(named);
    let row = RolloutRow {
        id: id.clone(),
        workload: workload.clone(),
        version,
        state: RolloutState::Running,
        problem: String::new(),
        forgiven: 0,
        created_at: Timestamp::now(),
        updated_at: Timestamp::now(),
        terms,
    };
    let waves = waves(&row.terms, drawn.len());
    let targets: Vec<_> = drawn.into_iter().zip(waves).collect();
    match app.store.add_rollout(&row, &targets).await {
        Ok(()) => {}
        Err(StoreError::Exists(_)) => {
            return Err(AppError::Precondition(format!(
                "a rollout of {workload} is open: see `management-module update rollout list`, resume or abort it first"
            )));
        }
        Err(error) => return Err(error.into()),
    }
    app.rollouts.ring();
    show(app, &id).await
}

/// The satellites in the order of their turn: those that are named come first, the others as drawn by lot, so that no wave
/// is all of one place or one age.
fn drawn(id: &str, chosen: BTreeSet<SatelliteName>, first: &[SatelliteName]) -> Vec<SatelliteName> {
    let mut all: Vec<SatelliteName> = Vec::new();
    for satellite in first {
        if !all.contains(satellite) {
            all.push(satellite.clone());
        }
    }
    let mut others: Vec<_> = chosen
        .into_iter()
        .filter(|satellite| !first.contains(satellite))
        .collect();
    others.sort_by_cached_key(|satellite| *Digest::of(format!("{id} {satellite}").as_bytes()).as_bytes());
    all.extend(others);
    all
}

/// Does what a person wants with a rollout.
///
/// # Errors
/// There is no such rollout, or it does not stand so.
pub async fn steer(app: &App, id: &str, steer: Steer) -> Result<Shown, AppError> {
    let id = if id.is_empty() {
        the_open_one(app).await?
    } else {
        id.to_owned()
    };
    let shown = show(app, &id).await?;
    let (from, to) = match (steer, shown.rollout.state) {
        (Steer::Pause, RolloutState::Running) => (RolloutState::Running, RolloutState::Paused),
        (Steer::Resume, from @ (RolloutState::Paused | RolloutState::Halted)) => {
            (from, RolloutState::Running)
        }
        (Steer::Abort, from @ (RolloutState::Running | RolloutState::Paused | RolloutState::Halted)) => {
            (from, RolloutState::Aborted)
        }
        (_, state) => {
            return Err(AppError::Precondition(format!(
                "rollout {id} is {}; that cannot be done with it",
                state.as_str()
            )));
        }
    };
    let forgiven = match steer {
        // What failed so far was seen by the person who lets it go on.
        Steer::Resume => failed(&shown.targets),
        Steer::Pause | Steer::Abort => shown.rollout.forgiven,
    };
    if !app.store.move_rollout(&id, (from, to), "", forgiven).await? {
        return Err(AppError::Precondition(format!(
            "rollout {id} changed meanwhile: look at it again"
        )));
    }
    if steer == Steer::Abort {
        app.store.give_rollout_up(&shown.rollout).await?;
        for target in &shown.targets {
            if let Err(error) = app.reconciler.wake(&target.satellite) {
                warn!(satellite = %target.satellite, error = %crate::error_chain(&error), "Satellite of a rollout is not looked after");
            }
        }
    }
    app.rollouts.ring();
    show(app, &id).await
}

async fn the_open_one(app: &App) -> Result<String, AppError> {
    let mut open: Vec<_> = app
        .store
        .rollouts(LISTED)
        .await?
        .into_iter()
        .filter(|rollout| !matches!(rollout.state, RolloutState::Done | RolloutState::Aborted))
        .collect();
    match (open.pop(), open.is_empty()) {
        (Some(only), true) => Ok(only.id),
        (Some(_), false) => Err(AppError::Invalid(
            "several rollouts are open: name the one that is meant".to_owned(),
        )),
        (None, _) => Err(AppError::no(
            "open rollout;",
            "see `management-module update rollout list`",
        )),
    }
}

/// A rollout with its satellites; the newest if no id is given.
///
/// # Errors
/// There is none.
pub async fn show(app: &App, id: &str) -> Result<Shown, AppError> {
    let rollout = if id.is_empty() {
        app.store.rollouts(1).await?.pop()
    } else {
        app.store.rollout(id).await?
    };
    let rollout = rollout.ok_or_else(|| AppError::no("rollout", id))?;
    let targets = app.store.rollout_targets(&rollout.id).await?;
    Ok(Shown { rollout, targets })
}

/// All rollouts, newest first.
///
/// # Errors
/// What the store says.
pub async fn list(app: &App) -> Result<Vec<Shown>, AppError> {
    let mut all = Vec::new();
    for rollout in app.store.rollouts(LISTED).await? {
        let targets = app.store.rollout_targets(&rollout.id).await?;
        all.push(Shown { rollout, targets });
    }
    Ok(all)
}

/// Those that have not ended, newest first: at most one of each workload.
///
/// # Errors
/// What the store says.
pub async fn open(app: &App) -> Result<Vec<Shown>, AppError> {
    let mut open = Vec::new();
    for rollout in app.store.rollouts(LISTED).await? {
        if !matches!(rollout.state, RolloutState::Done | RolloutState::Aborted) {
            let targets = app.store.rollout_targets(&rollout.id).await?;
            open.push(Shown { rollout, targets });
        }
    }
    Ok(open)
}

fn failed(targets: &[TargetRow]) -> u32 {
    let failed = targets
        .iter()
        .filter(|target| target.standing == Standing::Failed);
    u32::try_from(failed.count()).unwrap_or(u32::MAX)
}
