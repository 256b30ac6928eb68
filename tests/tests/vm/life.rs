//! The life of a machine: first start, commissioning, USB disk, restart, factory reset, second commissioning.

use e2e::console;
use e2e::lab::SATELLITE;
use e2e::manager::WORKLOAD;
use e2e::scratch::Scratch;
use e2e::vm::Vm;
use e2e::wait::until;
use satellite_proto::wire::management::v1::Reachability;

use super::{
    COMMISSIONED, SEEN, SET_BACK, Watch, again, factory_reset, fingerprint, log, pair, started, usb_disk,
    went_down, when,
};

/// What a machine that waits to be paired may use: what `free` calls used, total without available.
const MEMORY: u64 = 120_000_000;

/// The one that runs with all tests.
#[tokio::test]
async fn a_machine_starts_is_paired_and_commissioned_and_shuts_down_by_its_power_button() {
    let lab = Scratch::new().await.unwrap();
    let vm = commissioned(&lab).await;
    assert_eq!(workload_state(&lab).await, "HEALTHY");
    let mut watch = Watch::start();
    vm.power_button().await.unwrap();
    watch.lap("power button to off");
}

/// A machine that was started, paired and commissioned; prints what that took.
pub(crate) async fn commissioned(lab: &Scratch) -> Vm {
    let vm = started(lab).await;
    lab.serve().await.unwrap();
    lab.add_bundle().await.unwrap();
    let memory = vm.memory().await.unwrap();
    println!("memory in use, not yet paired: {} MB", memory / 1_000_000);
    assert!(memory <= MEMORY, "{memory} bytes are in use");
    let mut watch = Watch::start();
    pair(&vm, lab, SATELLITE, &[]).await;
    watch.lap("pairing");
    lab.server.converged(SATELLITE, COMMISSIONED).await.unwrap();
    watch.lap("commissioning");
    let finished = async || {
        let log = log(lab, "system").await;
        let lines: Vec<String> = log
            .lines()
            .filter(|line| line.contains("Startup finished"))
            .map(str::to_owned)
            .collect();
        (!lines.is_empty()).then_some(lines)
    };
    for line in until("the end of the start", SEEN, finished).await.unwrap() {
        println!("{}", line.trim());
    }
    vm
}

/// What the server sees of the workload: the end of the state's name.
async fn workload_state(lab: &Scratch) -> String {
    let known = lab.server.satellite(SATELLITE).await.unwrap();
    let workloads = known.observed.unwrap().workloads;
    let found = workloads.iter().find(|one| one.name == WORKLOAD).unwrap();
    let name = found.state().as_str_name();
    name.rsplit('_').next().unwrap_or_default().to_owned()
}

#[tokio::test]
#[ignore = "make test-vm: boots a machine four times"]
async fn a_machine_survives_a_power_cut_and_begins_anew_after_a_factory_reset() {
    let lab = Scratch::new().await.unwrap();
    let vm = commissioned(&lab).await;
    let before = fingerprint(&vm).await;
    usb_disk_is_seen(&vm, &lab).await;

    // In order, from the menu.
    let mut watch = Watch::start();
    restart(&vm).await;
    vm.menu().await.unwrap();
    watch.lap("restart from the menu, to the menu");
    lab.server.converged(SATELLITE, COMMISSIONED).await.unwrap();
    assert_eq!(workload_state(&lab).await, "HEALTHY");
    assert_eq!(fingerprint(&vm).await, before);

    // Not a shutdown: what was confirmed is there.
    vm.power_cut().await.unwrap();
    again(&vm, "start after a power cut").await;
    lab.server.converged(SATELLITE, COMMISSIONED).await.unwrap();
    assert_eq!(workload_state(&lab).await, "HEALTHY");
    assert_eq!(fingerprint(&vm).await, before);
    let said = log(&lab, "bridge").await;
    assert!(!said.contains(SET_BACK), "{said}");

    watch.lap("start after a power cut, and its workload");
    factory_reset(&vm).await;
    vm.menu().await.unwrap();
    watch.lap("factory reset to the menu");
    when(&lab, "the server to hear of the factory reset", |known| {
        known.reachability() == Reachability::Disconnected
    })
    .await;
    assert_ne!(fingerprint(&vm).await, before, "the identity survived");
    lab.server
        .cli(&["satellite", "forget", SATELLITE, "--yes"])
        .await
        .unwrap_err();
    pair(&vm, &lab, SATELLITE, &[]).await;
    lab.server.converged(SATELLITE, COMMISSIONED).await.unwrap();
    assert_eq!(workload_state(&lab).await, "HEALTHY");
    watch.lap("second pairing and commissioning");
    choose_yes(&vm, "Shut down", "Shut the machine down now?").await;
    vm.is_off().await.unwrap();
    watch.lap("shut down from the menu, to off");
}

async fn restart(vm: &Vm) {
    choose_yes(vm, "Restart", "Restart the machine now?").await;
    went_down(vm).await;
}

/// Takes an entry of the menu that asks back.
async fn choose_yes(vm: &Vm, entry: &str, question: &str) {
    console::open(&vm.console(), entry).await.unwrap();
    vm.console().shows(question, SEEN).await.unwrap();
    console::choose(&vm.console(), "Yes").await.unwrap();
}

async fn usb_disk_is_seen(vm: &Vm, lab: &Scratch) {
    usb_disk(vm).await;
    until("the USB disk in the kernel's log", SEEN, async || {
        let log = log(lab, "kernel").await;
        log.contains("Attached SCSI removable disk").then_some(())
    })
    .await
    .unwrap();
    vm.order("device_del stick").await.unwrap();
}
