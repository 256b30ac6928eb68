//! The task that moves rollouts on.
//!
//! **Invariant:** a pass reads all of it from the store and the fleet; nothing is remembered from one to the next.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use satellite_proto::wire::bridge::v1::WorkloadState;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Shown;
use crate::app::audit::Actor;
use crate::app::{App, AppError, workloads};
use crate::fleet::Reachability;
use crate::plan::rollout::{Next, Standing, Target, next};
use crate::store::{BundleRow, Outcome, RolloutRow, RolloutState, TargetRow};

/// Time between two looks while a rollout runs.
const PERIOD: Duration = Duration::from_secs(1);

/// Rings when a rollout changes.
#[derive(Debug, Clone, Default)]
pub struct Bell {
    bell: Arc<Notify>,
}

impl Bell {
    pub(super) fn ring(&self) {
        self.bell.notify_one();
    }
}

/// Moves rollouts on until told to stop.
pub async fn run(app: App, stop: CancellationToken) {
    loop {
        let running = match pass(&app).await {
            Ok(running) => running,
            Err(error) => {
                warn!(error = %crate::error_chain(&error), "Rollouts not looked at");
                true
            }
        };
        let look_again = async {
            if running {
                tokio::time::sleep(PERIOD).await;
            } else {
                std::future::pending().await
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = app.rollouts.bell.notified() => {}
            () = look_again => {}
        }
    }
}

/// Looks at all open rollouts once. Answers whether any of them has something to wait for.
async fn pass(app: &App) -> Result<bool, AppError> {
    let mut waits = false;
    for rollout in app.store.rollouts(super::LISTED).await? {
        let is_open = matches!(
            rollout.state,
            RolloutState::Running | RolloutState::Paused | RolloutState::Halted
        );
        if !is_open {
            continue;
        }
        let targets = app.store.rollout_targets(&rollout.id).await?;
        let shown = settle(app, Shown { rollout, targets }).await?;
        let under_way = shown
            .targets
            .iter()
            .any(|target| target.standing == Standing::Updating);
        let is_running = shown.rollout.state == RolloutState::Running;
        waits |= under_way || is_running;
        if is_running {
            advance(app, &shown).await?;
        }
    }
    Ok(waits)
}

/// Notes how the updates under way have ended.
async fn settle(app: &App, mut shown: Shown) -> Result<Shown, AppError> {
    let under_way = |target: &TargetRow| target.standing == Standing::Updating;
    if !shown.targets.iter().any(under_way) {
        return Ok(shown);
    }
    let bundles = app.store.bundles_of(&shown.rollout.workload).await?;
    for target in shown.targets.iter_mut().filter(|target| under_way(target)) {
        let Some((standing, problem)) = ended(app, &shown.rollout, target, &bundles).await? else {
            continue;
        };
        app.store
            .end_rollout_target(&shown.rollout.id, &target.satellite, standing, &problem)
            .await?;
        info!(satellite = %target.satellite, rollout = shown.rollout.id, ?standing, problem, "Update of a rollout ended");
        target.standing = standing;
        target.problem = problem;
        target.ended_at = Some(Timestamp::now());
    }
    Ok(shown)
}

/// How the update of a satellite has ended, if it has.
async fn ended(
    app: &App,
    rollout: &RolloutRow,
    target: &TargetRow,
    bundles: &[BundleRow],
) -> Result<Option<(Standing, String)>, AppError> {
    let all = workloads::of_satellite(app, &target.satellite, bundles).await?;
    let on = all.into_iter().find(|on| on.name() == rollout.workload.as_str());
    let wanted = on.as_ref().and_then(|on| on.desired.as_ref());
    let is_wanted = wanted.is_some_and(|(wanted, _)| wanted.version.as_ref() == Some(&rollout.version));
    if !is_wanted {
        let text = "another version was wanted meanwhile".to_owned();
        return Ok(Some((Standing::Failed, text)));
    }
    let bundle = wanted.and_then(|(_, bundle)| bundle.as_ref());
    let (Some(on), Some(bundle)) = (&on, bundle) else {
        let text = format!("no bundle of {} {} fits it", rollout.workload, rollout.version);
        return Ok(Some((Standing::Failed, text)));
    };
    let there = on.observed.as_ref().filter(|there| {
        there.manifest_digest == bundle.manifest_digest.to_string()
            && (there.state() == WorkloadState::Healthy
                || (!there.enabled && there.state() == WorkloadState::Stopped))
    });
    if there.is_some() {
        return Ok(Some((Standing::Done, String::new())));
    }
    let attempt = on
        .attempt
        .as_ref()
        .filter(|attempt| attempt.manifest_digest == bundle.manifest_digest);
    if let Some(attempt) = attempt
        && attempt.outcome == Outcome::Failed
    {
        return Ok(Some((Standing::Failed, attempt.problem.clone())));
    }
    let limit = SignedDuration::try_from(app.config.operation_deadline).unwrap_or(SignedDuration::MAX);
    let is_late = target
        .started_at
        .is_some_and(|started| Timestamp::now().duration_since(started) > limit);
    if !is_late {
        return Ok(None);
    }
    let why = attempt
        .map(|attempt| attempt.problem.as_str())
        .unwrap_or_default();
    let text = format!("it was not as meant in time; it is still tried. {why}");
    Ok(Some((Standing::Failed, text.trim_end().to_owned())))
}

/// Does what comes next in a rollout that runs.
async fn advance(app: &App, shown: &Shown) -> Result<(), AppError> {
    let rollout = &shown.rollout;
    let targets: Vec<Target> = shown.targets.iter().map(|target| seen(app, target)).collect();
    let forgiven = usize::try_from(rollout.forgiven).unwrap_or(usize::MAX);
    match next(&rollout.terms, &targets, forgiven, Timestamp::now()) {
        Next::Begin(satellites, _) => {
            for satellite in satellites {
                app.store.begin_rollout_target(rollout, &satellite).await?;
                info!(%satellite, rollout = rollout.id, "Update of a rollout begins");
                if let Err(error) = app.reconciler.wake(&satellite) {
                    warn!(%satellite, error = %crate::error_chain(&error), "Satellite of a rollout is not looked after");
                }
            }
            Ok(())
        }
        Next::Halt(why) => {
            let step = (RolloutState::Running, RolloutState::Halted);
            app.store
                .move_rollout(&rollout.id, step, &why, rollout.forgiven)
                .await?;
            warn!(rollout = rollout.id, why, "Rollout halted");
            let subject = format!("{} {}", rollout.workload, rollout.version);
            app.audit
                .record(&Actor::reconciler(), "HaltRollout", &subject, Err(why))
                .await;
            Ok(())
        }
        Next::Done => {
            app.store.finish_rollout(rollout).await?;
            info!(rollout = rollout.id, "Rollout ended");
            app.reconciler.wake_all();
            Ok(())
        }
    }
}

fn seen(app: &App, target: &TargetRow) -> Target {
    let link = app.fleet.observed(&target.satellite);
    Target {
        satellite: target.satellite.clone(),
        wave: target.wave,
        site: target.site.clone(),
        standing: target.standing,
        reachable: link.is_ok_and(|link| link.reachability == Reachability::Reachable),
        ended_at: target.ended_at,
    }
}
