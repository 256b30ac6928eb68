//! Copies of a machine's disk and returns to its snapshots, by QEMU itself: its disks, its identities, its generation device.

use e2e::console;
use e2e::lab::SATELLITE;
use e2e::manager::WORKLOAD;
use e2e::scratch::Scratch;
use e2e::vm::{BOOT_LIMIT, Vm};
use e2e::wait::until;
use satellite_proto::wire::management::v1::{FleetSatellite, Reachability};

use super::{COMMISSIONED, SEEN, SET_BACK, Watch, fingerprint, image, is_reached, log, pair, started, when};

/// Waits until the status page says so.
async fn page_says(vm: &Vm, text: &str) {
    console::home(&vm.console()).await.unwrap();
    vm.console().shows(text, SEEN).await.unwrap();
}

#[tokio::test]
#[ignore = "make test-vm: boots three machines, two of them at once"]
async fn copies_of_an_unpaired_disk_are_two_satellites_and_a_copy_of_a_paired_one_is_quarantined() {
    let lab = Scratch::new().await.unwrap();
    let first = started(&lab).await;
    let before = fingerprint(&first).await;
    // Copied before it was ever paired, but after it had made its key.
    first.power_cut().await.unwrap();
    let second = first.copied(&lab, 2).await.unwrap();
    second.start(&[]).await.unwrap();
    second.menu().await.unwrap();
    assert_ne!(fingerprint(&second).await, before, "two satellites with one key");
    second.power_cut().await.unwrap();
    // One that was made from the same image and never ran.
    let third = Vm::new(&lab, 3, &image(&lab).await).await.unwrap();
    third.start(&[]).await.unwrap();
    third.menu().await.unwrap();
    assert_ne!(fingerprint(&third).await, before, "two satellites with one key");

    // The original is itself, while the other one runs.
    first.start(&[]).await.unwrap();
    first.menu().await.unwrap();
    assert_eq!(fingerprint(&first).await, before);
    third.power_cut().await.unwrap();
    lab.serve().await.unwrap();
    pair(&first, &lab, SATELLITE, &["--bare"]).await;
    is_reached(&lab).await;

    first.power_cut().await.unwrap();
    let copy = first.copied(&lab, 4).await.unwrap();
    let mut watch = Watch::start();
    copy.start(&[]).await.unwrap();
    copy.menu().await.unwrap();
    page_says(&copy, "quarantined").await;
    watch.lap("copy of a paired disk, to its console saying so");
    let known = when(&lab, "the server to recognise the copy", |known| {
        known.reachability() == Reachability::Quarantined
    })
    .await;
    assert!(known.problem.contains("satellite trust"), "{}", known.problem);
    copy.power_cut().await.unwrap();

    // Back in its own machine it is itself.
    first.start(&[]).await.unwrap();
    first.menu().await.unwrap();
    is_reached(&lab).await;
    lab.server.converged(SATELLITE, COMMISSIONED).await.unwrap();
}

fn generation(known: &FleetSatellite) -> u64 {
    known.observed.as_ref().map_or(0, |observed| observed.generation)
}

async fn audit_counts(lab: &Scratch) -> usize {
    let audit = lab.server.cli(&["audit", "list"]).await.unwrap();
    audit.matches("set back to an earlier state").count()
}

async fn is_noticed(lab: &Scratch, times: usize) {
    until("the audit log to say so", SEEN, async || {
        (audit_counts(lab).await >= times).then_some(())
    })
    .await
    .unwrap();
}

async fn is_stopped(lab: &Scratch) {
    until("the workload to be stopped", COMMISSIONED, async || {
        let found = lab.server.satellite(SATELLITE).await;
        let workloads = found.filter(|known| known.converged)?.observed?.workloads;
        let state = workloads.first()?.state().as_str_name();
        state.ends_with("STOPPED").then_some(())
    })
    .await
    .unwrap();
}

#[tokio::test]
#[ignore = "make test-vm: boots a machine, and goes back three times"]
async fn a_machine_that_goes_back_to_a_snapshot_catches_up_with_its_server() {
    let lab = Scratch::new().await.unwrap();
    let vm = started(&lab).await;
    lab.serve().await.unwrap();
    lab.add_bundle().await.unwrap();
    pair(&vm, &lab, SATELLITE, &[]).await;
    let known = lab.server.converged(SATELLITE, COMMISSIONED).await.unwrap();
    let shipped = known.fingerprint;
    vm.order("savevm commissioned").await.unwrap();

    // What happens after the snapshot is forgotten by the satellite, not by its server.
    lab.server
        .cli(&["workload", "stop", SATELLITE, WORKLOAD])
        .await
        .unwrap();
    is_stopped(&lab).await;
    let mut watch = Watch::start();
    let before = generation(&is_reached(&lab).await);
    vm.order("loadvm commissioned").await.unwrap();
    when(&lab, "the satellite to be met again", |known| {
        generation(known) > before
    })
    .await;
    is_stopped(&lab).await;
    watch.lap("disk and memory set back under a running machine, to the server's wish being in force again");

    // In another process of the hypervisor, which gives the machine another generation.
    let before = generation(&is_reached(&lab).await);
    vm.power_cut().await.unwrap();
    vm.next_generation();
    vm.start(&["-loadvm", "commissioned"]).await.unwrap();
    let known = when(&lab, "the satellite to catch up", |known| {
        known.reachability() == Reachability::Reachable && generation(known) > before
    })
    .await;
    assert_eq!(known.fingerprint, shipped);
    is_noticed(&lab, 1).await;
    is_stopped(&lab).await;
    watch.lap("the same with a new generation");

    // The disk alone, while the machine is off: the generation device says so before any server does.
    vm.power_cut().await.unwrap();
    let disk = vm.file("disk.qcow2");
    vm.tool(&["qemu-img", "snapshot", "-a", "commissioned", &disk])
        .await
        .unwrap();
    let before = generation(&known);
    vm.next_generation();
    vm.start(&[]).await.unwrap();
    vm.menu().await.unwrap();
    let known = until("the satellite to catch up", BOOT_LIMIT, async || {
        let known = lab.server.satellite(SATELLITE).await?;
        (known.reachability() == Reachability::Reachable && generation(&known) > before).then_some(known)
    });
    assert_eq!(known.await.unwrap().fingerprint, shipped);
    is_noticed(&lab, 2).await;
    is_stopped(&lab).await;
    watch.lap("disk set back while off");
    let said = log(&lab, "bridge").await;
    assert!(
        said.contains(SET_BACK),
        "the generation device was not read:\n{said}"
    );
}
