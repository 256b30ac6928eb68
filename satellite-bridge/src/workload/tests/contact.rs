//! A version stays only if the server still reaches the satellite with it.

use std::time::Instant;

use satellite_proto::wire::bridge::v1::{Operation, OperationState, WorkloadState};
use tonic::Code;

use super::world::{Satellite, World, name};

async fn begin(satellite: &Satellite, world: &World, release: u64) -> Operation {
    let bundle = world.bundle(release, &format!("good {release}"));
    satellite.upload(&bundle).await;
    satellite
        .updates
        .install_and_be_reached(bundle.digest, &format!("key{release}"), true, 2)
        .unwrap()
}

#[tokio::test]
async fn a_version_with_which_the_server_does_not_come_back_is_taken_back() {
    let world = World::new();
    let satellite = world.boot();
    satellite.install(&world.bundle(1, "good one"), true).await;
    // A connection that was there before proves nothing.
    satellite.workloads.contact().heard(Instant::now());
    let begun = begin(&satellite, &world, 2).await;
    let operation = satellite.end_of(begun).await;
    let error = operation.error.unwrap();
    assert_eq!(error.code, Code::Unavailable as i32, "{error:?}");
    assert!(error.rolled_back, "{error:?}");
    satellite.rest().await;
    assert_eq!(world.rows(), "good one");
    let workload = satellite.workloads.get(&name()).await.unwrap();
    assert_eq!(workload.state(), WorkloadState::Healthy);
}

#[tokio::test]
async fn a_version_stays_when_the_server_has_come_back_over_a_new_connection() {
    let world = World::new();
    let satellite = world.boot();
    satellite.install(&world.bundle(1, "good one"), true).await;
    let begun = begin(&satellite, &world, 2).await;
    let mut seen = satellite.operations.watch(&begun.id).unwrap();
    seen.wait_for(|operation| operation.awaits_contact).await.unwrap();
    satellite.workloads.contact().heard(Instant::now());
    let operation = satellite.end_of(begun).await;
    assert_eq!(operation.state(), OperationState::Succeeded, "{operation:?}");
    assert!(!operation.awaits_contact);
    assert_eq!(world.rows(), "good 2");
}
