//! Workloads on a fake service manager: everything else, disk included, is real.

mod contact;
mod kill;
pub(crate) mod world;
mod writes;

use std::fs;
use std::time::Duration;

use satellite_host::files;
use satellite_host::systemd::Behaviour;
use satellite_proto::wire::bridge::v1::{OperationState, Workload, WorkloadState};
use tonic::Code;

use self::world::{Satellite, World, name};
use super::{WorkloadError, unit_name};

#[tokio::test]
async fn an_enabled_bundle_is_installed_started_and_healthy() {
    let world = World::new();
    let satellite = world.boot();
    let operation = satellite.install(&world.bundle(1, "good one"), true).await;
    assert_eq!(operation.state(), OperationState::Succeeded, "{operation:?}");
    let workload = satellite.workloads.get(&name()).await.unwrap();
    assert_eq!(workload.state(), WorkloadState::Healthy, "{workload:?}");
    assert_eq!((workload.version.as_str(), workload.enabled), ("1.0.0", true));
    assert_eq!(satellite.workloads.look().await, std::slice::from_ref(&workload));
    assert_eq!(satellite.workloads.list(), [workload]);
    assert!(world.units.is_active(&unit_name(&name())));
    assert!(world.places.unit_file(&name()).exists());
    assert_eq!(
        satellite.workloads.api_socket("satellite.backup.v1"),
        Some(world.places.socket(&name()))
    );
    assert_eq!(satellite.updates.list().unwrap(), []);
    assert!(!satellite.workloads.busy());
}

#[tokio::test]
async fn a_bundle_that_is_not_enabled_is_installed_and_stays_stopped() {
    let world = World::new();
    let satellite = world.boot();
    let operation = satellite.install(&world.bundle(1, "good one"), false).await;
    assert_eq!(operation.state(), OperationState::Succeeded);
    let workload = satellite.workloads.get(&name()).await.unwrap();
    assert_eq!(workload.state(), WorkloadState::Stopped);
    assert!(!world.units.is_active(&unit_name(&name())));
}

#[tokio::test]
async fn the_version_before_is_kept_and_older_ones_go() {
    let world = World::new();
    let satellite = world.boot();
    for release in 1..=3 {
        let operation = satellite
            .install(&world.bundle(release, &format!("good {release}")), true)
            .await;
        assert_eq!(operation.state(), OperationState::Succeeded);
    }
    let workload = satellite.workloads.get(&name()).await.unwrap();
    assert_eq!(
        (workload.version.as_str(), workload.previous_version.as_str()),
        ("3.0.0", "2.0.0")
    );
    let home = world.places.home(&name());
    // Two versions, each with its manifest.
    assert_eq!(fs::read_dir(home.versions()).unwrap().count(), 4);
    assert!(!home.journal().exists() && !home.snapshot().exists());
}

#[tokio::test]
async fn a_version_that_does_not_start_is_taken_back_with_its_state() {
    check_taken_back("broken two").await;
}

#[tokio::test]
async fn a_version_that_dies_at_once_is_taken_back_with_its_state() {
    check_taken_back("dying two").await;
}

async fn check_taken_back(content: &str) {
    let world = World::new();
    let satellite = world.boot();
    world.units.write_log(&["The old version's line"]);
    satellite.install(&world.bundle(1, "good one"), true).await;
    world.units.write_log(&["Started", "Out of cheese"]);
    let operation = satellite.install(&world.bundle(2, content), false).await;
    let error = operation.error.clone().unwrap();
    assert_eq!(operation.state(), OperationState::Failed);
    assert!(error.rolled_back, "{error:?}");
    assert_eq!(error.log_tail, ["Started", "Out of cheese"]);
    assert!(error.message.contains("workload `echo`"), "{}", error.message);
    assert_eq!(
        world.rows(),
        "good one",
        "the state of the version before is back"
    );
    let workload = satellite.workloads.get(&name()).await.unwrap();
    assert_eq!(
        (workload.version.as_str(), workload.state()),
        ("1.0.0", WorkloadState::Healthy)
    );
    let operation = satellite.install(&world.bundle(3, "good three"), false).await;
    assert_eq!(operation.state(), OperationState::Succeeded);
}

#[tokio::test]
async fn a_damaged_chunk_or_a_silent_service_manager_is_not_held_against_the_version() {
    let world = World::new();
    let satellite = world.boot();
    let bundle = world.bundle(1, "good one");
    satellite.upload(&bundle).await;
    for piece in &bundle.pieces {
        satellite.workloads.chunks().spoil(piece.digest);
    }
    let operation = satellite.updates.install(bundle.digest, "spoilt", true).unwrap();
    let error = satellite.end_of(operation).await.error.unwrap();
    assert_eq!(error.code, Code::Aborted as i32, "{error:?}");
    satellite.rest().await;

    world.units.behave(|_| Behaviour::Unanswered);
    let error = satellite.install(&bundle, true).await.error.unwrap();
    assert_eq!(error.code, Code::Unavailable as i32, "{error:?}");
    satellite.rest().await;

    world.units.behave(|_| Behaviour::Fails);
    let error = satellite.install(&bundle, true).await.error.unwrap();
    assert_eq!(error.code, Code::FailedPrecondition as i32, "{error:?}");
    satellite.rest().await;

    world.units.behave(|_| Behaviour::Runs);
    let operation = satellite.install(&bundle, true).await;
    assert_eq!(operation.state(), OperationState::Succeeded, "{operation:?}");
}

#[tokio::test]
async fn a_first_installation_that_fails_leaves_nothing_installed() {
    let world = World::new();
    let satellite = world.boot();
    let before = world.listing();
    let operation = satellite.install(&world.bundle(1, "broken one"), true).await;
    assert_eq!(operation.state(), OperationState::Failed);
    let digest = satellite.updates.list().unwrap()[0]
        .manifest_digest
        .parse()
        .unwrap();
    satellite.updates.abort(digest).unwrap();
    assert_eq!(world.listing(), before);
    assert!(matches!(
        satellite.workloads.get(&name()).await,
        Err(WorkloadError::Unknown(_))
    ));
}

#[tokio::test]
async fn a_damaged_version_is_not_started_and_is_repaired_by_installing_it_again() {
    let world = World::new();
    let satellite = world.boot();
    let bundle = world.bundle(1, "good one");
    satellite.install(&bundle, true).await;
    let program = world.places.home(&name()).current().join("bin/echo");
    files::write_atomic(&program, b"evil", 0o755).unwrap();
    let operation = satellite
        .end_of(satellite.workloads.restart(&name(), "restart").unwrap())
        .await;
    let error = operation.error.unwrap();
    assert_eq!(error.code, Code::DataLoss as i32, "{error:?}");
    assert!(!world.units.is_active(&unit_name(&name())));
    let operation = satellite.install(&bundle, true).await;
    assert_eq!(operation.state(), OperationState::Succeeded, "{operation:?}");
    assert_eq!(fs::read_to_string(program).unwrap(), "good one");
    assert!(world.units.is_active(&unit_name(&name())));
}

#[tokio::test]
async fn stopped_stays_stopped_and_started_stays_started_across_boots() {
    let world = World::new();
    let satellite = world.boot();
    satellite.install(&world.bundle(1, "good one"), true).await;
    satellite
        .end_of(satellite.workloads.stop(&name(), "stop").unwrap())
        .await;
    let satellite = world.boot_after_power_cut();
    satellite.rest().await;
    assert!(!world.units.is_active(&unit_name(&name())));
    satellite
        .end_of(satellite.workloads.start(&name(), "start").unwrap())
        .await;
    let satellite = world.boot_after_power_cut();
    satellite.rest().await;
    assert!(world.units.is_active(&unit_name(&name())));
    assert!(world.places.unit_file(&name()).exists());
}

#[tokio::test]
async fn a_removed_workload_leaves_its_state_unless_asked_to() {
    for state in [false, true] {
        let world = World::new();
        let satellite = world.boot();
        satellite.install(&world.bundle(1, "good one"), true).await;
        let operation = satellite
            .end_of(satellite.workloads.remove(&name(), state, "remove").unwrap())
            .await;
        assert_eq!(operation.state(), OperationState::Succeeded, "{operation:?}");
        satellite.rest().await;
        assert!(!world.places.home(&name()).root().exists());
        assert!(!world.places.unit_file(&name()).exists());
        assert_eq!(world.places.state(&name()).exists(), !state);
        let again = satellite.workloads.remove(&name(), state, "remove").unwrap();
        assert_eq!(again.id, operation.id, "the same call gets the same answer");
    }
}

#[tokio::test]
async fn a_removal_that_failed_does_not_go_on_behind_the_back_of_what_came_after() {
    let world = World::new();
    let satellite = world.boot();
    satellite.install(&world.bundle(1, "good one"), true).await;
    world.units.stick_after(Some(0));
    let operation = satellite
        .end_of(satellite.workloads.remove(&name(), true, "remove").unwrap())
        .await;
    assert_eq!(operation.state(), OperationState::Failed);
    world.units.stick_after(None);
    let operation = satellite.install(&world.bundle(2, "good two"), true).await;
    assert_eq!(operation.state(), OperationState::Succeeded, "{operation:?}");
    let satellite = world.boot_after_power_cut();
    satellite.rest().await;
    let workload = satellite.workloads.get(&name()).await.unwrap();
    assert_eq!(
        (workload.version.as_str(), workload.state()),
        ("2.0.0", WorkloadState::Healthy)
    );
    assert_eq!(world.rows(), "good two");
}

#[tokio::test]
async fn a_rollback_that_fails_keeps_what_it_needs_and_is_done_again() {
    for by_installing in [false, true] {
        let world = World::new();
        let satellite = world.boot();
        satellite.install(&world.bundle(1, "good one"), true).await;
        let row = world.places.state(&name()).join("db/row");
        files::write_atomic(&row, b"old", 0o600).unwrap();
        // The old version can be stopped; the new one spoils the state, dies, and cannot be got rid of.
        let spoilt = row.clone();
        world.units.behave(move |_| {
            files::write_atomic(&spoilt, b"spoilt", 0o600).unwrap();
            Behaviour::Dies
        });
        world.units.stick_after(Some(1));
        let operation = satellite.install(&world.bundle(2, "dying two"), false).await;
        let error = operation.error.unwrap();
        assert!(!error.rolled_back, "{error:?}");
        let home = world.places.home(&name());
        assert!(home.journal().exists() && home.snapshot().exists());
        assert_eq!(home.manifests().len(), 2, "both versions are still here");
        world.units.stick_after(None);
        world.units.behave(|_| Behaviour::Runs);
        let version = if by_installing {
            let operation = satellite.install(&world.bundle(3, "good three"), false).await;
            assert_eq!(operation.state(), OperationState::Succeeded, "{operation:?}");
            satellite.rest().await;
            "3.0.0"
        } else {
            world.boot().rest().await;
            "1.0.0"
        };
        assert_eq!(fs::read(&row).unwrap(), b"old", "the state is not back");
        assert!(!home.journal().exists() && !home.snapshot().exists());
        let workload = world.boot().workloads.get(&name()).await.unwrap();
        assert_eq!(
            (workload.version.as_str(), workload.state()),
            (version, WorkloadState::Healthy)
        );
    }
}

#[tokio::test]
async fn a_version_whose_manifest_cannot_be_read_is_left_alone_and_repaired_by_installing_it_again() {
    let world = World::new();
    let satellite = world.boot();
    let bundle = world.bundle(1, "good one");
    satellite.install(&bundle, true).await;
    let home = world.places.home(&name());
    files::write_atomic(&home.manifest_file(bundle.digest), b"{", 0o644).unwrap();
    let satellite = world.boot_after_power_cut();
    satellite.rest().await;
    assert!(
        home.current().join("bin/echo").exists(),
        "the version was removed"
    );
    let operation = satellite.install(&bundle, false).await;
    assert_eq!(operation.state(), OperationState::Succeeded, "{operation:?}");
    let workload = satellite.workloads.get(&name()).await.unwrap();
    assert_eq!(
        workload.state(),
        WorkloadState::Healthy,
        "it is still meant to run"
    );
}

#[tokio::test]
async fn one_piece_of_work_at_a_time_is_done_on_a_workload() {
    let world = World::new();
    let satellite = world.boot();
    let bundle = world.bundle(1, "good one");
    satellite.upload(&bundle).await;
    let operation = satellite.updates.install(bundle.digest, "first", true).unwrap();
    let same = satellite.updates.install(bundle.digest, "first", true).unwrap();
    assert_eq!(operation.id, same.id);
    if satellite.workloads.busy() {
        let other = satellite.updates.install(bundle.digest, "second", true);
        assert!(other.is_err() || !satellite.workloads.busy());
    }
    assert_eq!(
        satellite.end_of(operation).await.state(),
        OperationState::Succeeded
    );
}

#[tokio::test]
async fn a_workload_that_ends_is_seen() {
    let world = World::new();
    let satellite = world.boot();
    satellite.install(&world.bundle(1, "good one"), true).await;
    let mut seen = satellite.workloads.watch();
    satellite.workloads.look().await;
    seen.mark_unchanged();
    world.units.kill(&unit_name(&name()));
    let stop = tokio_util::sync::CancellationToken::new();
    let running = tokio::spawn({
        let (workloads, stop) = (satellite.workloads.clone(), stop.clone());
        async move { workloads.run(stop).await }
    });
    let failed = seen.wait_for(|all| all.iter().any(|one| one.state() == WorkloadState::Failed));
    tokio::time::timeout(Duration::from_secs(20), failed)
        .await
        .expect("the failure to be seen")
        .unwrap();
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn what_is_not_started_yet_after_a_boot_has_not_failed() {
    let world = World::new();
    let satellite = world.boot();
    satellite.install(&world.bundle(1, "good one"), true).await;
    drop(satellite);
    let satellite = world.boot_after_power_cut();
    let seen = satellite.workloads.watch();
    satellite.workloads.look().await;
    let states: Vec<_> = seen.borrow().iter().map(Workload::state).collect();
    assert_eq!(states, [WorkloadState::Starting]);
}

#[tokio::test]
async fn a_name_that_is_not_installed_is_not_found() {
    let satellite: Satellite = World::new().boot();
    let error = satellite
        .workloads
        .start(&"other".parse().unwrap(), "k")
        .unwrap_err();
    assert_eq!(tonic::Status::from(error).code(), Code::NotFound);
    assert!(satellite.operations.list(10).is_empty());
}
