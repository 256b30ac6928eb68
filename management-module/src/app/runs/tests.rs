//! Runs from their beginning to their end, with directories of this machine as destinations.

use std::path::Path;
use std::time::Duration;

use super::*;
use crate::app::backup::tests::{CONTENT, add, end_of, world};
use crate::app::destinations::Place;
use crate::app::scheduler;
use crate::plan::outcome::CopyState;

/// A module with a central, and the destinations `good` (a directory) and `bad` (cannot be one).
pub(in crate::app) async fn plans() -> (tempfile::TempDir, Runs) {
    let (dir, backups) = world().await;
    add(&backups, "paths = [\"/etc/hostname\"]\n").await.unwrap();
    let runs = Runs::new(backups.app.clone());
    std::fs::File::create(dir.path().join("file")).unwrap();
    for (name, place) in [
        ("good", dir.path().join("good")),
        ("bad", dir.path().join("file")),
    ] {
        runs.destinations
            .put(&Actor::user(0), name, Place::Server(place), false)
            .await
            .unwrap();
    }
    (dir, runs)
}

/// A configuration whose time comes in half a day: whatever hour it is, a test that lets some hours pass does not meet it.
pub(in crate::app) fn configuration(name: &str, more: &str) -> Configuration {
    let zone = "Europe/Berlin";
    let now = Timestamp::now().in_tz(zone).unwrap();
    let hour = (now.hour() + 12) % 24;
    let text = format!(
        "name = '{name}'\ncentral = 'pbx'\n{more}\n[schedule]\nevery = 'daily'\nstart = '2026-01-01T{hour:02}:00'\n\
         time-zone = '{zone}'\n"
    );
    toml::from_str(&text).unwrap()
}

pub(in crate::app) async fn keep(runs: &Runs, configuration: Configuration) {
    let configurations = Configurations::new(runs.app.clone());
    configurations
        .put(&Actor::user(0), configuration, true)
        .await
        .unwrap();
}

/// The newest run, when it has come to rest.
pub(in crate::app) async fn rest(runs: &Runs) -> RunRow {
    for _ in 0..1000 {
        if let Some(run) = runs.list("", 1).await.unwrap().pop()
            && (run.state.has_ended() || run.state == RunState::Deferred)
            && runs.app.runs.count() == 0
        {
            return run;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the run does not come to rest: {:?}", runs.list("", 1).await);
}

async fn run(runs: &Runs, name: &str) -> (JobEvent, RunRow) {
    let job = runs
        .run(Actor::user(0), Which::Kept(name.into()), "")
        .await
        .unwrap();
    let ended = end_of(&runs.backups, &job).await;
    (ended, rest(runs).await)
}

fn content(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

#[tokio::test]
async fn one_failed_destination_stops_no_other_and_is_told() {
    let (dir, runs) = plans().await;
    keep(&runs, configuration("Nightly", "destinations = ['bad', 'good']")).await;
    let (ended, run) = run(&runs, "Nightly").await;
    assert!(
        ended.partly && ended.error.is_empty() && ended.archive.is_some(),
        "{ended:?}"
    );
    assert!(ended.notice.starts_with("destination bad: "), "{ended:?}");
    assert_eq!(
        (run.state, run.cause, run.attempts),
        (RunState::Partial, Cause::Manual, 1)
    );
    assert!(
        run.error.starts_with("destination bad: ") && !run.error.contains("good"),
        "{}",
        run.error
    );
    let states: Vec<_> = run
        .copies
        .iter()
        .map(|copy| (copy.destination.as_str(), copy.state))
        .collect();
    assert_eq!(states, [("bad", CopyState::Failed), ("good", CopyState::Done)]);
    let copy = &run.copies[1];
    assert!(copy.verified_at.is_some() && copy.error.is_empty());
    assert_eq!(content(Path::new(&copy.path)), CONTENT);
    assert_eq!(
        content(&dir.path().join("good/starface-backup/Nightly/a.sar")),
        CONTENT
    );
    assert!(
        runs.app
            .store
            .lease("pbx", Timestamp::UNIX_EPOCH)
            .await
            .unwrap()
            .is_none()
    );
    let audit = &runs.app.audit.newest(1).await.unwrap()[0];
    assert!(
        audit.action == ACTION && audit.result.starts_with("partly: destination bad"),
        "{audit:?}"
    );
}

#[tokio::test]
async fn a_run_that_is_not_kept_leaves_its_history_only() {
    let (_dir, runs) = plans().await;
    let once = Which::Once(Box::new(configuration("Once", "destinations = ['good']")));
    let job = runs.run(Actor::user(0), once, "key").await.unwrap();
    assert!(!end_of(&runs.backups, &job).await.partly);
    assert_eq!(rest(&runs).await.state, RunState::Succeeded);
    assert!(runs.app.store.configurations().await.unwrap().is_empty());
    // A repeated call is answered by the first job.
    let once = Which::Once(Box::new(configuration("Once", "")));
    assert_eq!(runs.run(Actor::user(0), once, "key").await.unwrap(), job);
    assert_eq!(runs.list("", 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_cannot_be_run_is_refused_before_it_is_a_run() {
    let (_dir, runs) = plans().await;
    let no_destination = configuration("n", "destinations = ['nowhere']");
    let no_set = configuration("n", "data-sets = ['nothing']");
    let mut no_central = configuration("n", "");
    no_central.central = "x".into();
    for (one, wanted) in [
        (no_destination, "destination nowhere"),
        (no_set, "data set nothing"),
        (no_central, "central x"),
    ] {
        let error = runs
            .run(Actor::user(0), Which::Once(Box::new(one)), "")
            .await
            .unwrap_err();
        assert!(error.to_string().contains(wanted), "{error}");
    }
    assert!(
        runs.run(Actor::user(0), Which::Kept("n".into()), "")
            .await
            .is_err()
    );
    assert!(runs.list("", 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_backup_during_archiving_begins_exactly_an_hour_later_and_says_why() {
    let (_dir, runs) = plans().await;
    keep(&runs, configuration("Nightly", "destinations = ['good']")).await;
    let archiving = leases::demand(&runs.app.store, "pbx", LeaseKind::Archiving, "other")
        .await
        .unwrap();
    let before = Timestamp::now();
    let (ended, run) = run(&runs, "Nightly").await;
    let after = Timestamp::now();
    assert!(ended.partly && ended.archive.is_none(), "{ended:?}");
    assert!(
        ended
            .notice
            .contains("deferred because archiving of central pbx is under way since"),
        "{ended:?}"
    );
    assert_eq!(run.state, RunState::Deferred);
    assert!(
        run.deferred_because.starts_with("archiving of central pbx"),
        "{}",
        run.deferred_because
    );
    let hour = SignedDuration::from_hours(1);
    let slack = SignedDuration::from_millis(1);
    assert!(run.not_before >= before + hour - slack && run.not_before <= after + hour);
    archiving.end().await;
    // Not a moment before, and what is due meanwhile is this very run.
    scheduler::pass(&runs.app, run.not_before - SignedDuration::from_secs(1))
        .await
        .unwrap();
    assert_eq!(rest(&runs).await.state, RunState::Deferred);
    scheduler::pass(&runs.app, run.not_before).await.unwrap();
    let done = loop {
        let done = rest(&runs).await;
        if done.state != RunState::Deferred {
            break done;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert_eq!((done.id, done.state), (run.id, RunState::Succeeded));
    assert!(
        done.deferred_because.starts_with("archiving"),
        "the history keeps why"
    );
}

#[tokio::test]
async fn a_run_that_waits_is_cancelled_and_never_begins() {
    let (_dir, runs) = plans().await;
    keep(&runs, configuration("Nightly", "")).await;
    let lease = leases::demand(&runs.app.store, "pbx", LeaseKind::Restore, "other")
        .await
        .unwrap();
    let (_, deferred) = run(&runs, "Nightly").await;
    lease.end().await;
    runs.cancel(&Actor::user(0), &deferred.id).await.unwrap();
    scheduler::pass(&runs.app, deferred.not_before).await.unwrap();
    assert_eq!(rest(&runs).await.state, RunState::Cancelled);
    let again = runs.cancel(&Actor::user(0), &deferred.id).await.unwrap_err();
    assert_eq!(again.code(), tonic::Code::FailedPrecondition);
    assert_eq!(
        runs.cancel(&Actor::user(0), "x").await.unwrap_err().code(),
        tonic::Code::NotFound
    );
}

#[tokio::test]
async fn what_a_killed_process_left_is_ended_by_the_next() {
    let (_dir, runs) = plans().await;
    keep(&runs, configuration("Nightly", "destinations = ['good']")).await;
    let (store, now) = (&runs.app.store, Timestamp::now());
    let plan = configuration("Nightly", "destinations = ['good']");
    let left = RunRow::queued(plan, Cause::Schedule, "schedule", now);
    store.add_run(&left).await.unwrap();
    let fence = store
        .take_lease(("pbx", LeaseKind::Backup), "killed/1", now, now)
        .await
        .unwrap()
        .unwrap();
    assert!(store.start_run(&left.id, fence, "job", now).await.unwrap());
    scheduler::take_up(&runs.app).await.unwrap();
    scheduler::pass(&runs.app, Timestamp::now()).await.unwrap();
    let run = rest(&runs).await;
    assert_eq!(
        (run.id, run.state, run.attempts),
        (left.id, RunState::Succeeded, 2)
    );
    assert!(run.error.is_empty() && run.fence > fence);
}

#[tokio::test]
async fn retention_removes_copies_and_never_the_last_good_one() {
    let (dir, runs) = plans().await;
    let mut plan = configuration("Nightly", "destinations = ['good']");
    plan.retention.last = 1;
    keep(&runs, plan.clone()).await;
    let place = dir.path().join("good/starface-backup/Nightly");
    std::fs::create_dir_all(&place).unwrap();
    // Two of earlier days, and a file that no run has made.
    for (name, days) in [("old1.sar", 2), ("old2.sar", 1), ("foreign.sar", 0)] {
        std::fs::File::create(place.join(name)).unwrap();
        if days == 0 {
            continue;
        }
        let mut run = RunRow::queued(
            plan.clone(),
            Cause::Schedule,
            "schedule",
            Timestamp::now() - SignedDuration::from_hours(24 * days),
        );
        (run.state, run.archive_id, run.archive_name, run.satellite) =
            (RunState::Succeeded, name.into(), name.into(), "s1".into());
        runs.app.store.add_run(&run).await.unwrap();
        let path = place.join(name).display().to_string();
        run.copies[0] = crate::store::CopyRow {
            state: CopyState::Done,
            path,
            ..run.copies[0].clone()
        };
        runs.app.store.note_copy(&run.id, &run.copies[0]).await.unwrap();
    }
    let actor = Actor::user(0);
    let dry = runs.apply_retention(&actor, "Nightly", true).await.unwrap();
    let going: Vec<_> = dry
        .iter()
        .filter(|one| one.kept_as.is_empty())
        .map(|one| (one.destination.as_str(), one.archive_name.as_str()))
        .collect();
    assert_eq!(going, [("", "old1.sar"), ("good", "old1.sar")]);
    assert!(place.join("old1.sar").exists());
    let (ended, run) = run(&runs, "Nightly").await;
    assert!(!ended.partly, "{ended:?}");
    assert_eq!(run.state, RunState::Succeeded, "{}", run.error);
    let mut left: Vec<_> = std::fs::read_dir(&place)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left, ["a.sar", "foreign.sar"]);
    let stays: Vec<_> = runs.apply_retention(&actor, "Nightly", true).await.unwrap();
    assert!(
        stays
            .iter()
            .all(|one| one.archive_name == "a.sar" && !one.kept_as.is_empty()),
        "{stays:?}"
    );
}

/// A central with one file of today and one of last year.
async fn aged(dir: &Path, runs: &Runs) -> (std::path::PathBuf, std::path::PathBuf) {
    let data = dir.join("calls");
    std::fs::create_dir(&data).unwrap();
    let (old, new) = (data.join("old.json"), data.join("new.json"));
    for path in [&old, &new] {
        std::fs::File::create(path).unwrap();
    }
    let year = Duration::from_hours(24 * 365);
    let file = std::fs::File::options().write(true).open(&old).unwrap();
    file.set_modified(std::time::SystemTime::now() - year).unwrap();
    add(&runs.backups, &format!("paths = [{data:?}]\n"))
        .await
        .unwrap();
    (old, new)
}

fn archiving(destinations: &str) -> Configuration {
    let more = format!("kind = 'archiving'\nolder-than-days = 30\ndestinations = {destinations}");
    configuration("Old", &more)
}

#[tokio::test]
async fn what_has_grown_old_leaves_the_central_once_it_is_safe_everywhere() {
    let (dir, runs) = plans().await;
    let (old, new) = aged(dir.path(), &runs).await;
    keep(&runs, archiving("['good', 'bad']")).await;
    let (ended, partial) = run(&runs, "Old").await;
    assert!(
        ended.notice.contains("nothing was removed from the central"),
        "{ended:?}"
    );
    assert_eq!(partial.state, RunState::Partial);
    assert!(old.exists() && new.exists());
    keep(&runs, archiving("['good']")).await;
    let (ended, done) = run(&runs, "Old").await;
    assert!(!ended.partly && ended.error.is_empty(), "{ended:?}");
    assert_eq!(
        (done.state, done.plan.kind),
        (RunState::Succeeded, Kind::Archiving)
    );
    assert!(!old.exists() && new.exists());
    // Now nothing is old enough: no archive is made, and that is no failure.
    let (ended, none) = run(&runs, "Old").await;
    assert!(
        !ended.partly && ended.archive.is_none() && ended.error.is_empty(),
        "{ended:?}"
    );
    assert_eq!((none.state, none.archive_id.as_str()), (RunState::Succeeded, ""));
}
