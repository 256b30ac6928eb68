//! Who may talk to a satellite, and for how long: over the laboratory's real network.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::time::Duration;

use e2e::console;
use e2e::lab::SATELLITE;
use e2e::manager::{Line, Manager};
use e2e::scratch::Scratch;
use e2e::variant::Variant;
use e2e::wait::until;
use satellite_proto::identity::{Identity, Installation, Role};
use satellite_proto::wire::bridge::v1 as pb;
use tonic::Code;

const SOON: Duration = Duration::from_secs(30);
const HOUR: Duration = Duration::from_secs(3600);

/// No call gets an answer, be it that the handshake fails or that the connection is cut after it.
async fn is_shut_out(manager: &Manager, who: &Identity) {
    if let Ok(line) = manager.line_as(who).await {
        let answer = line.satellite().await;
        assert!(answer.is_err(), "{answer:?}");
    }
}

async fn is_cut(line: &Line) {
    until("the connection to be cut", SOON, async || {
        line.satellite().await.is_err().then_some(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn an_operation_is_seen_to_its_end_across_a_restart_of_the_daemon() {
    let lab = Scratch::new().await.unwrap();
    let manager = Manager::instead_of_the_server(&lab).await.unwrap();
    let line = manager.up().await.unwrap();
    let dir = lab.data().join("bundles");
    let good = Variant::good("1.0.0").pack(&lab.release, &dir).await.unwrap();
    line.bring(&good).await.unwrap();

    // It never gets healthy, so it is under way for a while.
    let slow = Variant {
        health: "satellite.backup.v1.NoSuchService",
        start_seconds: 10,
        ..Variant::good("2.0.0")
    };
    let slow = slow.pack(&lab.release, &dir).await.unwrap();
    let upload = line.push(&slow).await.unwrap();
    let operation = line.install(&upload).await.unwrap();
    until("the new version to be started", SOON, async || {
        let newest = line.operations().await.ok()?.into_iter().next()?;
        (newest.progress?.step == "waiting until it is healthy").then_some(())
    })
    .await
    .unwrap();
    lab.satellite().kill_bridge().await.unwrap();
    is_cut(&line).await;
    let line = manager.up().await.unwrap();
    let ended = line.end_of(&operation.id).await.unwrap();
    assert_eq!(ended.id, operation.id);
    assert_eq!(ended.state(), pb::OperationState::Failed, "{ended:?}");
    let error = ended.error.unwrap();
    assert!(
        error.rolled_back && error.message.contains("not registered"),
        "{error:?}"
    );
    let workload = line.workload().await.unwrap();
    assert_eq!(workload.version, "1.0.0");
    assert_eq!(workload.state(), pb::WorkloadState::Healthy, "{workload:?}");
}

#[tokio::test]
async fn only_the_paired_installation_gets_through_and_a_revoked_key_no_more() {
    let lab = Scratch::new().await.unwrap();
    let manager = Manager::instead_of_the_server(&lab).await.unwrap();
    let line = manager.up().await.unwrap();

    let other = Installation::generate().unwrap();
    is_shut_out(&manager, &other.issue(Role::Admin, "other", HOUR).unwrap()).await;
    is_shut_out(&manager, &Identity::generate("nobody").unwrap()).await;

    let viewer = manager
        .installation()
        .issue(Role::Viewer, "viewer", HOUR)
        .unwrap();
    let seen = manager.line_as(&viewer).await.unwrap();
    seen.satellite().await.unwrap();
    let refused = seen.remove().await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");

    line.revoke(viewer.pin()).await.unwrap();
    is_cut(&seen).await;
    is_shut_out(&manager, &viewer).await;
    line.satellite().await.unwrap();

    // A restart does not forget it.
    lab.satellite().kill_bridge().await.unwrap();
    manager.up().await.unwrap();
    is_shut_out(&manager, &viewer).await;
}

#[tokio::test]
async fn who_is_forgotten_is_cut_off_and_can_be_paired_again() {
    let lab = Scratch::new().await.unwrap();
    lab.boot().await.unwrap();
    lab.serve().await.unwrap();
    lab.pair(&["--bare"]).await.unwrap();
    lab.server.converged(SATELLITE, SOON).await.unwrap();
    lab.satellite().shows("laboratory", SOON).await.unwrap();
    let manager = Manager::of(&lab).await.unwrap();
    let line = manager.up().await.unwrap();
    let leaf = manager.installation().issue(Role::Admin, "again", HOUR).unwrap();

    lab.server
        .cli(&["satellite", "forget", SATELLITE, "--yes"])
        .await
        .unwrap();
    is_cut(&line).await;
    is_shut_out(&manager, &leaf).await;
    console::main_menu(&lab.satellite()).await.unwrap();
    let screen = lab.satellite().shows("Connect to a server", SOON).await.unwrap();
    assert!(!screen.contains("laboratory"), "{screen}");
    let status = [
        "/usr/lib/satellite/satellite-bridge",
        "status",
        "--output",
        "json",
    ];
    let status = lab.satellite().exec(&status).await.unwrap();
    assert!(status.contains("\"unpaired\""), "{status}");
    assert!(lab.server.satellite(SATELLITE).await.is_none());

    lab.pair(&["--bare"]).await.unwrap();
    lab.server.converged(SATELLITE, SOON).await.unwrap();
    let manager = Manager::of(&lab).await.unwrap();
    manager.up().await.unwrap();
}
