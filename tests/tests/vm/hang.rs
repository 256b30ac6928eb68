//! A machine that hangs: it starts again by itself.

use std::time::Duration;

use e2e::lab::SATELLITE;
use e2e::scratch::Scratch;
use e2e::vm::{PROCESSORS, Vm};
use e2e::wait::until;

use super::{SEEN, Watch, fingerprint, image, is_reached, log, pair, went_down};

/// Each of these lasts as long as the watchdog is patient, and some.
const PATIENCE: Duration = Duration::from_mins(10);

#[tokio::test]
#[ignore = "make test-vm: boots a machine three times, and waits for its watchdog"]
async fn a_machine_that_hangs_is_started_again_by_its_watchdog_and_by_the_hypervisors_key() {
    let lab = Scratch::new().await.unwrap();
    let vm = Vm::new(&lab, 1, &image(&lab).await).await.unwrap();
    lab.serve().await.unwrap();
    vm.start(&["-device", "i6300esb"]).await.unwrap();
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
