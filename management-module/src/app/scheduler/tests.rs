//! What is due is run once, whatever the clock and the process do.

use jiff::SignedDuration;

use super::super::runs::tests::{configuration, keep, plans, rest};
use super::*;
use crate::app::leases;
use crate::store::LeaseKind;

/// The next due time after now; passes are made as if it were then.
async fn next_due(app: &App) -> Timestamp {
    app.store.configurations().await.unwrap()[0].next_due.unwrap()
}

async fn world(catch_up: &str) -> (tempfile::TempDir, App, Runs, Timestamp) {
    let (dir, runs) = plans().await;
    let app = runs.app().clone();
    let mut plan = configuration("Nightly", "destinations = ['good']");
    plan.schedule.catch_up = serde_json::from_str(&format!("\"{catch_up}\"")).unwrap();
    keep(&runs, plan).await;
    let due = next_due(&app).await;
    (dir, app, runs, due)
}

#[tokio::test]
async fn what_is_due_runs_once_and_the_next_time_is_known() {
    let (_dir, app, runs, due) = world("once").await;
    assert_eq!(
        pass(&app, due - SignedDuration::from_secs(1)).await.unwrap(),
        Some(due)
    );
    assert!(runs.list("", 10).await.unwrap().is_empty());
    let next = pass(&app, due).await.unwrap().unwrap();
    assert!(next > due);
    let run = rest(&runs).await;
    assert_eq!(
        (run.cause, run.planned_at, run.missed, run.state),
        (Cause::Schedule, due, 0, RunState::Succeeded)
    );
    for _ in 0..3 {
        pass(&app, due + SignedDuration::from_mins(5)).await.unwrap();
    }
    assert_eq!(runs.list("", 10).await.unwrap().len(), 1);
    assert_eq!(next_due(&app).await, next);
}

#[tokio::test]
async fn days_without_power_are_made_up_once() {
    let (_dir, app, runs, due) = world("once").await;
    let now = due + SignedDuration::from_hours(24 * 3 + 5);
    pass(&app, now).await.unwrap();
    let run = rest(&runs).await;
    assert_eq!(
        (run.cause, run.missed, run.state),
        (Cause::CatchUp, 4, RunState::Succeeded)
    );
    pass(&app, now).await.unwrap();
    assert_eq!(runs.list("", 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn days_without_power_are_noted_where_nothing_is_made_up() {
    let (_dir, app, runs, due) = world("skip").await;
    pass(&app, due + SignedDuration::from_hours(24 * 3 + 5))
        .await
        .unwrap();
    let run = rest(&runs).await;
    assert_eq!((run.state, run.missed), (RunState::Missed, 4));
    assert!(run.error.contains("4 times"), "{}", run.error);
    assert!(run.archive_id.is_empty());
}

#[tokio::test]
async fn a_run_that_was_put_off_takes_the_place_of_the_next() {
    let (_dir, app, runs, due) = world("once").await;
    let lease = leases::demand(&app.store, "pbx", LeaseKind::Archiving, "other")
        .await
        .unwrap();
    pass(&app, due).await.unwrap();
    let deferred = rest(&runs).await;
    assert_eq!(deferred.state, RunState::Deferred);
    let day_after = due + SignedDuration::from_hours(25);
    // Put off once more meanwhile.
    assert!(
        app.store
            .defer_run(&deferred.id, day_after + SignedDuration::from_hours(1), "again")
            .await
            .unwrap()
    );
    pass(&app, day_after).await.unwrap();
    assert_eq!(runs.list("", 10).await.unwrap().len(), 1);
    lease.end().await;
    assert!(next_due(&app).await > day_after - SignedDuration::from_hours(2));
}

#[tokio::test]
async fn what_is_switched_off_or_manual_is_never_due() {
    let (_dir, app, runs, due) = world("once").await;
    let mut off = configuration("Nightly", "");
    off.enabled = false;
    keep(&runs, off).await;
    let mut manual = configuration("Manual", "");
    manual.schedule.every = crate::plan::schedule::Every::Manual;
    keep(&runs, manual).await;
    assert_eq!(
        pass(&app, due + SignedDuration::from_hours(100)).await.unwrap(),
        None
    );
    assert!(runs.list("", 10).await.unwrap().is_empty());
}
