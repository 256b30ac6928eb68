//! Destinations, configurations, runs, restores and leases.

use jiff::SignedDuration;
use satellite_proto::wire::backup::v1::{self as backup, destination};

use super::super::*;
use super::{at, fresh};
use crate::plan::configuration::Configuration;
use crate::plan::outcome::{CopyState, RunState};

fn configuration(name: &str) -> Configuration {
    let text = format!(
        "name = '{name}'\ncentral = 'pbx'\ndestinations = ['b', 'a']\nreport-to = ['x@y.example', 'z@y.example']\n\
         [schedule]\nevery = 'weekly:mon'\nstart = '2026-11-22T02:00'\ntime-zone = 'Europe/Berlin'\n\
         [retention]\nlast = 3\nmax-bytes = 5000000000\n\
         [encryption]\nrecipients = ['age1x']\n"
    );
    toml::from_str(&text).unwrap()
}

fn row(name: &str) -> ConfigurationRow {
    ConfigurationRow {
        configuration: configuration(name),
        last_due: None,
        next_due: Some(at(50)),
        created_at: at(10),
        updated_at: at(11),
    }
}

fn destination(name: &str) -> DestinationRow {
    let smb = backup::SmbDestination {
        server: "nas".into(),
        share: "backup".into(),
        ..Default::default()
    };
    DestinationRow {
        name: name.parse().unwrap(),
        server_directory: String::new(),
        settings: backup::Destination {
            kind: Some(destination::Kind::Smb(smb)),
            ..Default::default()
        },
        secrets: vec!["password".into()],
        sealed: vec![1, 2, 3],
        created_at: at(1),
        updated_at: at(2),
    }
}

async fn world() -> (tempfile::TempDir, Store) {
    let (dir, store) = fresh().await;
    let central = Central {
        name: "pbx".into(),
        address: "here".into(),
        tenant: "default".into(),
        profile: String::new(),
        satellite: "s1".into(),
        added_at: at(1),
        is_master: true,
        ssh: None,
    };
    store.add_central(&central, false).await.unwrap();
    for name in ["a", "b"] {
        store.put_destination(&destination(name), false).await.unwrap();
    }
    (dir, store)
}

#[tokio::test]
async fn a_destination_in_use_stays() {
    let (_dir, store) = world().await;
    assert_eq!(
        store.destinations().await.unwrap(),
        [destination("a"), destination("b")]
    );
    assert!(matches!(
        store.put_destination(&destination("a"), false).await,
        Err(StoreError::Exists(_))
    ));
    let changed = DestinationRow {
        sealed: vec![9],
        created_at: at(99),
        updated_at: at(3),
        ..destination("a")
    };
    store.put_destination(&changed, true).await.unwrap();
    let wanted = DestinationRow {
        created_at: at(1),
        ..changed
    };
    assert_eq!(store.destination("a").await.unwrap(), Some(wanted));
    store.put_configuration(&row("n"), false).await.unwrap();
    assert_eq!(store.users_of_destination("a").await.unwrap(), ["n"]);
    assert!(store.remove_destination("a").await.is_err());
    assert!(store.remove_configuration("n").await.unwrap());
    assert!(store.remove_destination("a").await.unwrap());
    assert!(!store.remove_destination("a").await.unwrap());
}

#[tokio::test]
async fn a_configuration_is_kept_as_it_was_said() {
    let (_dir, store) = world().await;
    store.put_configuration(&row("Nightly"), false).await.unwrap();
    assert_eq!(
        store.configuration("Nightly").await.unwrap(),
        Some(row("Nightly"))
    );
    assert_eq!(store.configurations().await.unwrap(), [row("Nightly")]);
    // A name that differs in case only would be the same directory.
    for replace in [false, true] {
        assert!(matches!(
            store.put_configuration(&row("NIGHTLY"), replace).await,
            Err(StoreError::Exists(_))
        ));
    }
    let mut changed = row("Nightly");
    changed.configuration.destinations = vec!["a".into()];
    changed.configuration.enabled = false;
    store.put_configuration(&changed, true).await.unwrap();
    assert_eq!(store.configurations().await.unwrap(), [changed]);
    let mut unknown = row("x");
    unknown.configuration.destinations = vec!["nowhere".into()];
    assert!(store.put_configuration(&unknown, false).await.is_err());
    assert_eq!(store.configuration("x").await.unwrap(), None);
}

#[tokio::test]
async fn a_due_time_is_settled_once_together_with_its_run() {
    let (_dir, store) = world().await;
    store.put_configuration(&row("n"), false).await.unwrap();
    let run = |second| RunRow::queued(configuration("n"), Cause::Schedule, "schedule", at(second));
    let first = run(50);
    assert!(
        store
            .settle("n", None, (at(50), Some(at(90))), Some(&first))
            .await
            .unwrap()
    );
    // Who decided on what was there before changes nothing.
    assert!(
        !store
            .settle("n", None, (at(50), Some(at(90))), Some(&run(50)))
            .await
            .unwrap()
    );
    assert!(
        store
            .settle("n", Some(at(50)), (at(90), None), None)
            .await
            .unwrap()
    );
    let read = store.configuration("n").await.unwrap().unwrap();
    assert_eq!((read.last_due, read.next_due), (Some(at(90)), None));
    let filter = RunFilter {
        limit: 10,
        ..RunFilter::default()
    };
    assert_eq!(store.runs(&filter).await.unwrap(), [first]);
}

#[tokio::test]
async fn a_run_goes_through_its_states_and_stays_as_it_ended() {
    let (_dir, store) = world().await;
    store.put_configuration(&row("n"), false).await.unwrap();
    let run = RunRow::queued(configuration("n"), Cause::Manual, "uid 0", at(50));
    store.add_run(&run).await.unwrap();
    assert!(store.defer_run(&run.id, at(3650), "restore").await.unwrap());
    assert!(store.start_run(&run.id, 7, "job", at(3651)).await.unwrap());
    assert!(!store.start_run(&run.id, 8, "job", at(3651)).await.unwrap());
    assert!(!store.defer_run(&run.id, at(9999), "too late").await.unwrap());
    let made = RunRow {
        fence: 7,
        archive_id: "1".into(),
        archive_name: "a.sar".into(),
        bytes: 10,
        ..run.clone()
    };
    store.note_archive(&made).await.unwrap();
    let copy = CopyRow {
        state: CopyState::Done,
        path: "n/a.sar".into(),
        size_bytes: 10,
        ended_at: Some(at(3700)),
        ..CopyRow::pending("a")
    };
    store.note_copy(&run.id, &copy).await.unwrap();
    // Whose lease is another's by now cannot end it.
    assert!(
        !store
            .end_run((&run.id, 6), RunState::Failed, "late", at(3701))
            .await
            .unwrap()
    );
    assert!(
        store
            .end_run((&run.id, 7), RunState::Partial, "b", at(3702))
            .await
            .unwrap()
    );
    assert!(
        !store
            .end_run((&run.id, 7), RunState::Succeeded, "", at(3703))
            .await
            .unwrap()
    );
    assert!(
        !store
            .end_waiting_run(&run.id, RunState::Cancelled, "", at(3703))
            .await
            .unwrap()
    );
    let read = store.run_of_archive("1").await.unwrap().unwrap();
    let wanted = RunRow {
        job: "job".into(),
        state: RunState::Partial,
        not_before: at(3650),
        started_at: Some(at(3651)),
        ended_at: Some(at(3702)),
        deferred_because: "restore".into(),
        error: "b".into(),
        attempts: 1,
        copies: vec![CopyRow::pending("b"), copy],
        ..made
    };
    assert_eq!(read, wanted);
    assert_eq!(
        store.last_runs().await.unwrap(),
        store.runs_with_archives("n").await.unwrap()
    );
    assert_eq!(store.last_runs().await.unwrap(), std::slice::from_ref(&wanted));
    assert_eq!(store.last_results(&["n", "m"]).await.unwrap(), [wanted]);
    assert_eq!(store.last_results(&["m"]).await.unwrap(), []);
    assert_eq!(store.run_of_archive("").await.unwrap(), None);
}

#[tokio::test]
async fn a_list_shows_the_newest_run_of_each_configuration_and_its_newest_result() {
    let (_dir, store) = world().await;
    for name in ["b", "a", "c"] {
        store.put_configuration(&row(name), false).await.unwrap();
    }
    let ended = |state, second| RunRow {
        state,
        started_at: Some(at(second)),
        ended_at: Some(at(second + 1)),
        ..RunRow::queued(configuration("a"), Cause::Manual, "anna", at(second))
    };
    let runs = [
        ended(RunState::Failed, 50),
        ended(RunState::Partial, 60),
        // Neither makes up for the one before.
        ended(RunState::Cancelled, 70),
        RunRow::queued(configuration("a"), Cause::Manual, "anna", at(80)),
    ];
    for (run, wanted) in runs.iter().zip([
        RunState::Failed,
        RunState::Partial,
        RunState::Partial,
        RunState::Partial,
    ]) {
        store.add_run(run).await.unwrap();
        let standings = store.standings().await.unwrap();
        let names: Vec<&str> = standings.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c"]);
        let first = &standings[0];
        assert_eq!(
            (first.central.as_str(), first.tenant.as_str()),
            ("pbx", "default")
        );
        assert_eq!(first.last_run, Some(RunHead::from(run)));
        assert_eq!(first.last_result, Some(wanted));
        assert_eq!((&standings[1].last_run, standings[1].last_result), (&None, None));
    }
    let mut some = store.configurations_named(&["c", "a", "nobody"]).await.unwrap();
    some.sort_by(|a, b| a.configuration.name.cmp(&b.configuration.name));
    assert_eq!(some, [row("a"), row("c")]);
    let destinations = store.destinations_of_configurations().await.unwrap();
    assert_eq!(destinations["b"], ["b", "a"]);
    assert_eq!(
        store.centrals_of_tenants().await.unwrap(),
        [("default".to_owned(), 1)]
    );
}

#[tokio::test]
async fn what_a_killed_process_left_under_way_waits_again_or_has_failed() {
    let (_dir, store) = world().await;
    let run = RunRow::queued(configuration("n"), Cause::Schedule, "schedule", at(50));
    store.add_run(&run).await.unwrap();
    for attempt in 1..=2 {
        assert!(store.start_run(&run.id, attempt, "job", at(60)).await.unwrap());
        let again = store.take_up_runs(2, "killed", at(70)).await.unwrap();
        assert_eq!(again, 2 - attempt);
    }
    let read = store.run(&run.id).await.unwrap().unwrap();
    assert_eq!(
        (read.state, read.error.as_str(), read.attempts),
        (RunState::Failed, "killed", 2)
    );
    assert!(read.copies.iter().all(|copy| copy.state == CopyState::Failed));
    let open = RunFilter {
        open: true,
        limit: 10,
        ..RunFilter::default()
    };
    assert_eq!(store.runs(&open).await.unwrap(), []);
}

#[tokio::test]
async fn a_lease_has_one_holder_and_ends_with_its_heartbeat() {
    let (_dir, store) = fresh().await;
    let take = async |kind, holder, second: i64| {
        store
            .take_lease(
                ("pbx", kind),
                holder,
                at(second),
                at(second) - SignedDuration::from_secs(60),
            )
            .await
            .unwrap()
    };
    assert_eq!(take(LeaseKind::Backup, "p/1", 100).await, Some(1));
    assert_eq!(take(LeaseKind::Archiving, "p/2", 150).await, None);
    let held = store.lease("pbx", at(40)).await.unwrap().unwrap();
    assert_eq!(
        (held.holder.as_str(), held.kind, held.taken_at),
        ("p/1", LeaseKind::Backup, at(100))
    );
    assert!(store.beat_lease("pbx", 1, at(160)).await.unwrap());
    assert_eq!(take(LeaseKind::Archiving, "p/2", 210).await, None);
    // Nothing was heard of it for more than a minute.
    assert_eq!(take(LeaseKind::Archiving, "p/2", 221).await, Some(2));
    assert!(!store.beat_lease("pbx", 1, at(222)).await.unwrap());
    store.end_lease("pbx", 1).await.unwrap();
    assert!(store.lease("pbx", at(200)).await.unwrap().is_some());
    store.end_lease("pbx", 2).await.unwrap();
    assert!(!store.beat_lease("pbx", 2, at(223)).await.unwrap());
    assert_eq!(take(LeaseKind::Restore, "p/3", 224).await, Some(3));
    assert_eq!(store.end_leases_of_others("p").await.unwrap(), 0);
    assert_eq!(store.end_leases_of_others("q").await.unwrap(), 1);
    assert_eq!(store.lease("pbx", at(200)).await.unwrap(), None);
}

#[tokio::test]
async fn of_many_that_want_a_lease_at_once_one_gets_it() {
    let (_dir, store) = fresh().await;
    let tries = (0..16).map(|number| {
        let store = store.clone();
        tokio::spawn(async move {
            let holder = format!("p/{number}");
            store
                .take_lease(("pbx", LeaseKind::Backup), &holder, at(100), at(40))
                .await
                .unwrap()
        })
    });
    let tries: Vec<_> = tries.collect();
    let mut winners = 0;
    for one in tries {
        winners += usize::from(one.await.unwrap().is_some());
    }
    assert_eq!(winners, 1);
}

#[tokio::test]
async fn restores_have_a_history() {
    let (_dir, store) = fresh().await;
    let restore = |id: &str, second| RestoreRow {
        id: id.into(),
        job: "j".into(),
        started_at: at(second),
        ended_at: None,
        archive_id: "1".into(),
        archive_name: "a.sar".into(),
        central: "pbx".into(),
        directory: String::new(),
        target_central: "pbx-2".into(),
        url: "pbx-2.example".into(),
        data_sets: vec!["core".into()],
        outcome: RestoreOutcome::Running,
        error: String::new(),
        actor: "uid 0".into(),
        safety_archive: String::new(),
    };
    let (a, b) = (restore("a", 1), restore("b", 2));
    store.add_restore(&a).await.unwrap();
    store.add_restore(&b).await.unwrap();
    store.note_safety_archive("a", "s.sar").await.unwrap();
    store
        .end_restore("a", RestoreOutcome::Partial, "some", at(9))
        .await
        .unwrap();
    store.fail_running_restores("killed", at(10)).await.unwrap();
    let read = store.restores("pbx-2", 10).await.unwrap();
    let a = RestoreRow {
        outcome: RestoreOutcome::Partial,
        error: "some".into(),
        ended_at: Some(at(9)),
        safety_archive: "s.sar".into(),
        ..a
    };
    let b = RestoreRow {
        outcome: RestoreOutcome::Failed,
        error: "killed".into(),
        ended_at: Some(at(10)),
        ..b
    };
    assert_eq!(read, [b, a]);
    assert_eq!(store.restores("other", 10).await.unwrap(), []);
}
