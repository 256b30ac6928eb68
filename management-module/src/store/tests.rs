//! Every question, asked of a fresh file.

mod plans;

use jiff::Timestamp;
use satellite_proto::bundle::Digest;
use satellite_proto::identity::Pin;
use satellite_proto::wire::bridge::v1 as bridge;
use satellite_proto::wire::management::v1::JobEvent;

use super::*;

/// A store on a temporary file, which lives as long as the directory.
pub(crate) async fn fresh() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store.db")).await.unwrap();
    (dir, store)
}

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

pub(crate) fn satellite(name: &str) -> SatelliteRow {
    SatelliteRow {
        name: name.parse().unwrap(),
        address: "10.0.0.7".parse().unwrap(),
        pin: Pin::of_spki(name.as_bytes()),
        paired_at: at(1),
        observed: None,
        seen_at: None,
        trail: String::new(),
    }
}

fn desired(satellite: &str, workload: &str, running: bool) -> DesiredWorkload {
    DesiredWorkload {
        satellite: satellite.parse().unwrap(),
        workload: workload.parse().unwrap(),
        version: None,
        running,
    }
}

fn bundle(workload: &str, release: u64) -> BundleRow {
    BundleRow {
        manifest_digest: Digest::of(format!("{workload}{release}").as_bytes()),
        workload: workload.parse().unwrap(),
        version: semver::Version::new(1, 0, release),
        release,
        channel: "stable".into(),
        architecture: "x86_64".into(),
        size_bytes: 5_000_000_000,
        payload_bytes: 6_000_000_000,
        key_ids: vec!["0123456789ABCDEF".into(), "FEDCBA9876543210".into()],
        manifest: b"{}".to_vec(),
        added_at: at(2),
        held: false,
    }
}

#[tokio::test]
async fn a_satellite_is_added_found_and_removed() {
    let (_dir, store) = fresh().await;
    let (a, b) = (satellite("a"), satellite("b"));
    store.add_satellite(&b).await.unwrap();
    store.add_satellite(&a).await.unwrap();
    assert_eq!(store.satellites().await.unwrap(), [a.clone(), b.clone()]);
    assert_eq!(store.satellite(&a.name).await.unwrap(), Some(a.clone()));
    assert_eq!(store.satellite_by_pin(&b.pin).await.unwrap(), Some(b.clone()));
    assert!(store.remove_satellite(&a.name).await.unwrap());
    assert!(!store.remove_satellite(&a.name).await.unwrap());
    assert_eq!(store.satellite(&a.name).await.unwrap(), None);
}

#[tokio::test]
async fn neither_a_name_nor_a_key_is_taken_twice() {
    let (_dir, store) = fresh().await;
    store.add_satellite(&satellite("a")).await.unwrap();
    let same_name = SatelliteRow {
        pin: Pin::of_spki(b"x"),
        ..satellite("a")
    };
    assert!(matches!(
        store.add_satellite(&same_name).await,
        Err(StoreError::Exists(_))
    ));
    let same_key = SatelliteRow {
        name: "b".parse().unwrap(),
        ..satellite("a")
    };
    assert!(matches!(
        store.add_satellite(&same_key).await,
        Err(StoreError::Exists(_))
    ));
}

#[tokio::test]
async fn what_a_satellite_reports_is_kept() {
    let (_dir, store) = fresh().await;
    let row = satellite("a");
    store.add_satellite(&row).await.unwrap();
    let report = bridge::Satellite {
        name: "host".into(),
        ..bridge::Satellite::default()
    };
    store.note_observed(&row.name, &report, at(9)).await.unwrap();
    let read = store.satellite(&row.name).await.unwrap().unwrap();
    assert_eq!((read.observed, read.seen_at), (Some(report), Some(at(9))));
}

#[tokio::test]
async fn desired_state_is_replaced_and_goes_with_its_satellite() {
    let (_dir, store) = fresh().await;
    let row = satellite("a");
    store.add_satellite(&row).await.unwrap();
    store.desire_workload(&desired("a", "w", false)).await.unwrap();
    let versioned = DesiredWorkload {
        version: Some(semver::Version::new(1, 2, 3)),
        ..desired("a", "w", true)
    };
    store.desire_workload(&versioned).await.unwrap();
    assert_eq!(
        store.desired_workloads(&row.name).await.unwrap(),
        vec![versioned.clone()]
    );
    assert_eq!(store.all_desired_workloads().await.unwrap(), [versioned]);
    assert!(
        store
            .desire_workload(&desired("nobody", "w", true))
            .await
            .is_err()
    );
    store.remove_satellite(&row.name).await.unwrap();
    assert_eq!(store.all_desired_workloads().await.unwrap(), []);
}

#[tokio::test]
async fn the_desired_firewall_is_kept_whole() {
    let (_dir, store) = fresh().await;
    let row = satellite("a");
    store.add_satellite(&row).await.unwrap();
    assert_eq!(
        store.desired_firewall(&row.name).await.unwrap(),
        bridge::Ruleset::default()
    );
    let rule = bridge::Rule {
        name: "ssh".into(),
        ..bridge::Rule::default()
    };
    let ruleset = bridge::Ruleset {
        rules: vec![rule],
        default_in: 2,
        default_out: 1,
    };
    store
        .desire_firewall(&row.name, &bridge::Ruleset::default())
        .await
        .unwrap();
    store.desire_firewall(&row.name, &ruleset).await.unwrap();
    assert_eq!(store.desired_firewall(&row.name).await.unwrap(), ruleset);
}

#[tokio::test]
async fn a_failed_try_is_forgiven_when_a_person_asks() {
    let (_dir, store) = fresh().await;
    let row = satellite("a");
    store.add_satellite(&row).await.unwrap();
    let attempt = Attempt {
        satellite: row.name.clone(),
        workload: "w".parse().unwrap(),
        manifest_digest: Digest::of(b"m"),
        ended_at: at(3),
        outcome: Outcome::Failed,
        problem: "it crashed".into(),
        tries: 1,
    };
    store
        .note_attempt(&Attempt {
            outcome: Outcome::Done,
            ..attempt.clone()
        })
        .await
        .unwrap();
    store.note_attempt(&attempt).await.unwrap();
    assert_eq!(store.attempts(&row.name).await.unwrap(), vec![attempt.clone()]);
    assert_eq!(store.all_attempts().await.unwrap(), vec![attempt.clone()]);
    store.note_attempt(&attempt).await.unwrap();
    assert_eq!(store.attempts(&row.name).await.unwrap()[0].tries, 2);
    store
        .forgive_attempts(&row.name, &attempt.workload)
        .await
        .unwrap();
    assert_eq!(
        store.attempts(&row.name).await.unwrap()[0].outcome,
        Outcome::Retry
    );
}

#[tokio::test]
async fn bundles_are_listed_newest_release_first() {
    let (_dir, store) = fresh().await;
    for row in [bundle("w", 1), bundle("w", 10), bundle("v", 2)] {
        store.add_bundle(&row).await.unwrap();
    }
    assert!(matches!(
        store.add_bundle(&bundle("w", 1)).await,
        Err(StoreError::Exists(_))
    ));
    let all = store.bundles().await.unwrap();
    assert_eq!(all, [bundle("v", 2), bundle("w", 10), bundle("w", 1)]);
    let of_w = store.bundles_of(&"w".parse().unwrap()).await.unwrap();
    assert_eq!(of_w, [bundle("w", 10), bundle("w", 1)]);
    let digest = bundle("w", 10).manifest_digest;
    assert_eq!(store.bundle(&digest).await.unwrap(), Some(bundle("w", 10)));
}

#[tokio::test]
async fn a_central_is_added_once_and_replaced_if_asked() {
    let (_dir, store) = fresh().await;
    let central = Central {
        name: "hq".into(),
        address: "pbx.example".into(),
        tenant: "default".into(),
        profile: "x = 1".into(),
        satellite: "a".into(),
        added_at: at(1),
        is_master: true,
        ssh: None,
    };
    store.add_central(&central, false).await.unwrap();
    let changed = Central {
        address: "other".into(),
        added_at: at(5),
        ..central.clone()
    };
    assert!(matches!(
        store.add_central(&changed, false).await,
        Err(StoreError::Exists(_))
    ));
    store.add_central(&changed, true).await.unwrap();
    let kept = Central {
        added_at: at(1),
        ..changed
    };
    assert_eq!(store.centrals().await.unwrap(), vec![kept.clone()]);
    assert_eq!(store.central("hq").await.unwrap(), Some(kept));
    assert_eq!(store.central("none").await.unwrap(), None);
}

#[tokio::test]
async fn one_central_is_the_master_whatever_is_asked() {
    let (_dir, store) = fresh().await;
    for name in ["b", "a", "c"] {
        let central = Central {
            name: name.into(),
            address: "pbx.example".into(),
            tenant: "default".into(),
            profile: String::new(),
            satellite: "s".into(),
            added_at: at(1),
            // It is not for who adds one to say.
            is_master: name == "c",
            ssh: None,
        };
        store.add_central(&central, name == "c").await.unwrap();
    }
    let masters = async || -> Vec<String> {
        let all = store.centrals().await.unwrap().into_iter();
        all.filter(|one| one.is_master).map(|one| one.name).collect()
    };
    assert_eq!(masters().await, ["b"]);
    assert!(store.set_master("c").await.unwrap());
    assert_eq!(masters().await, ["c"]);
    assert!(!store.set_master("none").await.unwrap());
    assert!(store.set_master("c").await.unwrap());
    assert_eq!(masters().await, ["c"]);
}

#[tokio::test]
async fn the_audit_log_is_numbered_and_read_newest_first() {
    let (_dir, store) = fresh().await;
    for n in 1..=3 {
        let row = AuditRow {
            sequence: 0,
            time: at(n),
            actor: "uid 0".into(),
            action: "A".into(),
            subject: n.to_string(),
            result: "ok".into(),
        };
        store.add_audit(&row).await.unwrap();
    }
    let rows = store.audit(2).await.unwrap();
    let seen: Vec<_> = rows
        .iter()
        .map(|row| (row.sequence, row.subject.as_str()))
        .collect();
    assert_eq!(seen, [(3, "3"), (2, "2")]);
}

#[tokio::test]
async fn a_job_is_found_by_its_key_and_while_it_runs() {
    let (_dir, store) = fresh().await;
    let row = JobRow {
        id: "1".into(),
        kind: "push".into(),
        satellite: "a".into(),
        idempotency_key: "k".into(),
        remote_operation: String::new(),
        state: JobState::Running,
        event: JobEvent::default(),
        created_at: at(1),
        updated_at: at(1),
    };
    store.add_job(&row).await.unwrap();
    let same_key = JobRow {
        id: "2".into(),
        ..row.clone()
    };
    assert!(matches!(
        store.add_job(&same_key).await,
        Err(StoreError::Exists(_))
    ));
    assert_eq!(store.job_by_key("push", "k").await.unwrap(), Some(row.clone()));
    assert_eq!(store.running_jobs().await.unwrap(), [row]);
    store.note_remote_operation("1", "op").await.unwrap();
    let event = JobEvent {
        ended: true,
        ..JobEvent::default()
    };
    store
        .note_job("1", JobState::Succeeded, &event, at(4))
        .await
        .unwrap();
    let read = store.job("1").await.unwrap().unwrap();
    assert_eq!(
        (read.state, read.remote_operation.as_str(), read.event),
        (JobState::Succeeded, "op", event)
    );
    assert!(store.running_jobs().await.unwrap().is_empty());
}

#[tokio::test]
async fn an_old_store_with_migrations_is_a_fresh_one_and_keeps_its_rows() {
    let dir = tempfile::tempdir().unwrap();
    let migrator = sqlx::migrate!("./migrations");
    let fresh = schema(&Store::open(&dir.path().join("fresh.db")).await.unwrap()).await;
    for steps in 1..=migrator.migrations.len() {
        let path = dir.path().join(format!("old-{steps}.db"));
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true);
        let pool = SqlitePool::connect_with(options).await.unwrap();
        let mut old = sqlx::migrate!("./migrations");
        old.migrations.to_mut().truncate(steps);
        old.run(&pool).await.unwrap();
        let store = Store {
            pool,
            news: watch::Sender::new(0),
        };
        store.add_satellite(&satellite("kept")).await.unwrap();
        store.close().await;
        // Twice: a step that was made is not made again.
        for _ in 0..2 {
            let store = Store::open(&path).await.unwrap();
            assert_eq!(schema(&store).await, fresh, "from step {steps}");
            assert_eq!(store.satellites().await.unwrap(), [satellite("kept")]);
            store.close().await;
        }
    }
}

async fn schema(store: &Store) -> Vec<(String, Option<String>)> {
    sqlx::query_as("SELECT name, sql FROM sqlite_master WHERE name NOT LIKE '\\_%' ESCAPE '\\' ORDER BY name")
        .fetch_all(&store.pool)
        .await
        .unwrap()
}
