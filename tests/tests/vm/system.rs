//! The server brings a new system to a machine: written to the other slot, kept when the server has reached it, else given up.

use e2e::base::pack_system;
use e2e::lab::SATELLITE;
use e2e::scratch::Scratch;
use e2e::vm::{BOOT_LIMIT, Vm};
use e2e::wait::until;
use satellite_proto::wire::bridge::v1::WorkloadState;

use super::slots::{Other, has_entry};
use super::{Watch, is_reached, log, pair, started, when};

/// How long the server may take to reach the second system, which it must not.
const PATIENCE: u32 = 20;

/// Builds another version of the image and takes it into the server's store as a bundle.
async fn release(lab: &Scratch, version: &'static str, start_seconds: u32) {
    let image = Other::new(lab, version, &lab.release.bridge_of_images()).await;
    let dir = lab.data().join("bundles");
    std::fs::create_dir_all(&dir).unwrap();
    let bundle = pack_system(&lab.release, &dir, &image.dir, version, start_seconds);
    let bundle = bundle.await.unwrap().display().to_string();
    lab.server
        .cli(&["bundle", "add", &bundle, "--hold"])
        .await
        .unwrap();
    std::fs::remove_file(bundle).unwrap();
}

/// The system that came last by a bundle, as the server sees it.
async fn system(lab: &Scratch, vm: &Vm) -> String {
    is_reached(lab).await;
    vm.menu().await.unwrap();
    let known = when(lab, "the system to be healthy", |known| {
        let parts = known.observed.iter().flat_map(|seen| &seen.workloads);
        let mut system = parts.filter(|part| part.name == "system");
        system.any(|part| part.state() == WorkloadState::Healthy)
    });
    let parts = known.await.observed.unwrap().workloads;
    parts
        .into_iter()
        .find(|part| part.name == "system")
        .unwrap()
        .version
}

#[tokio::test]
#[ignore = "make test-vm: boots a machine four times"]
async fn a_machine_changes_its_system_from_the_server_and_goes_back_when_the_server_stays_away() {
    let lab = Scratch::new().await.unwrap();
    let vm = started(&lab).await;
    lab.serve().await.unwrap();
    pair(&vm, &lab, SATELLITE, &["--bare"]).await;
    let shipped = format!("satellite_{}.efi", env!("CARGO_PKG_VERSION"));
    has_entry(&vm, &shipped).await;

    release(&lab, "9.9.1", 600).await;
    let mut watch = Watch::start();
    lab.server
        .cli(&["update", "push", "system", "--version", "9.9.1"])
        .await
        .unwrap();
    watch.lap("a new system, push to confirmed");
    assert_eq!(system(&lab, &vm).await, "9.9.1");
    has_entry(&vm, "satellite_9.9.1.efi").await;

    // The server goes away as soon as the machine is on its way to the next system.
    release(&lab, "9.9.2", PATIENCE).await;
    let server = lab.server.clone();
    let pushing = tokio::spawn(async move {
        server
            .try_cli(&["update", "push", "system", "--version", "9.9.2"])
            .await
    });
    let mut watch = Watch::start();
    has_entry(&vm, "satellite_9.9.2+3.efi").await;
    watch.lap("the next system, push to written");
    lab.server.stop().await;
    let _it_lost_its_server = pushing.await.unwrap();
    // It has no other one's name in the loader's partition once it has gone back and cleaned up.
    until("the machine to go back", 4 * BOOT_LIMIT, async || {
        let names = super::slots::entries(&vm).await;
        (names == [shipped.as_str(), "satellite_9.9.1.efi"]).then_some(())
    })
    .await
    .unwrap();
    watch.lap("a system that the server does not reach, to the one before");
    // A server that comes back knows of no try that failed: it brings the system again, and is there this time.
    lab.serve().await.unwrap();
    has_entry(&vm, "satellite_9.9.2.efi").await;
    watch.lap("the same system, brought again, to good");
    assert_eq!(system(&lab, &vm).await, "9.9.2");
    let log = log(&lab, "bridge").await;
    assert!(log.contains("Version was given up for the one before"), "{log}");
    vm.power_button().await.unwrap();
}
