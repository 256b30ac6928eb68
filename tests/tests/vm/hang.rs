//! A machine that hangs: it starts again by itself.

use std::time::Duration;

use e2e::lab::SATELLITE;
use e2e::scratch::Scratch;
use e2e::vm::{PROCESSORS, Vm};
use e2e::wait::until;

use super::{SEEN, Watch, fingerprint, image, is_reached, log, pair, went_down};

/// Each of these lasts as long as the watchdog is patient, and some.
const PATIENCE: Duration = Duration::from_mins(10);
/// A machine runs on for so long, between looks at it.
const STEP: Duration = Duration::from_millis(300);

#[tokio::test]
#[ignore = "make test-vm: boots a machine three times, and waits for its watchdog"]
async fn a_machine_that_hangs_is_started_again_by_its_watchdog_and_by_the_hypervisors_key() {
    let lab = Scratch::new().await.unwrap();
    let vm = Vm::new(&lab, 1, &image(&lab).await).await.unwrap();
    lab.serve().await.unwrap();
    vm.start(&[]).await.unwrap();
    vm.menu().await.unwrap();
    let before = fingerprint(&vm).await;
    pair(&vm, &lab, SATELLITE, &["--bare"]).await;
    is_reached(&lab).await;
    until("the watchdog to be fed", SEEN, async || {
        let log = log(&lab, "system").await;
        log.contains("Using hardware watchdog").then_some(())
    })
    .await
    .unwrap();

    let mut watch = Watch::start();
    vm.freeze(PROCESSORS).await.unwrap();
    until("the watchdog to bite", PATIENCE, async || {
        let screen = vm.console().capture().await.ok()?;
        screen.contains("BdsDxe").then_some(())
    })
    .await
    .unwrap();
    watch.lap("processors stopped, to the watchdog's reset");
    vm.menu().await.unwrap();
    assert_eq!(fingerprint(&vm).await, before);
    is_reached(&lab).await;

    // What hypervisors call "send NMI": for a person who sees that it hangs.
    watch.lap("start after it");
    vm.order("nmi").await.unwrap();
    went_down(&vm).await;
    vm.menu().await.unwrap();
    watch.lap("an interrupt that cannot be ignored, to the menu");
    assert_eq!(fingerprint(&vm).await, before);
    is_reached(&lab).await;
}

#[tokio::test]
#[ignore = "make test-vm: boots a machine twice, and waits for its watchdog"]
async fn a_machine_that_hangs_before_its_system_is_there_is_started_again_too() {
    let lab = Scratch::new().await.unwrap();
    let vm = Vm::new(&lab, 1, &image(&lab).await).await.unwrap();
    let mut watch = Watch::start();
    vm.start(&[]).await.unwrap();
    // It stands still while it is looked at: between the watchdog's driver and systemd lie a few seconds only.
    let says = |log: &[String], what: &str| log.iter().any(|line| line.contains(what));
    let log = until("the driver of the watchdog", SEEN, async || {
        vm.order("cont").await.ok()?;
        tokio::time::sleep(STEP).await;
        vm.order("stop").await.ok()?;
        let log = vm.kernel_log().await.ok()?;
        says(&log, "heartbeat=180 sec").then_some(log)
    })
    .await
    .unwrap();
    assert!(!says(&log, "systemd[1]"), "it was further already: {log:?}");
    vm.freeze(PROCESSORS).await.unwrap();
    watch.lap("start to the watchdog's driver");
    vm.order("cont").await.unwrap();
    vm.menu().await.unwrap();
    watch.lap("processors stopped before systemd, to the menu");
}
