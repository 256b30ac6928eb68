//! Power cuts of a machine with its disk: what the system had not yet written is lost. `tests/tests/power.rs` has many more, of
//! a container. `SATELLITE_VM_CUTS` says how many there are, `SATELLITE_SEED` repeats a run.

use std::time::{Duration, Instant};

use e2e::console;
use e2e::dice::Dice;
use e2e::scratch::Scratch;
use e2e::vm::Vm;

use super::network::{SOON, TRIED, set_by_hand};
use super::{fingerprint, image, started, type_word};

const USUAL: u64 = 6;
const ADDRESS: &str = "10.77.0.210";

/// A machine whose power is cut.
struct Machine {
    /// Goes first: where it runs is written in the laboratory's files.
    vm: Vm,
    lab: Scratch,
    dice: Dice,
    cuts: u64,
    start: Duration,
}

impl Machine {
    async fn cut(&mut self, within: Duration) {
        tokio::time::sleep(self.dice.moment(within)).await;
        self.vm.power_cut().await.unwrap();
        self.cuts += 1;
    }

    /// Cuts some starts, each at another moment, then lets one come to its end.
    async fn starts(&mut self, most: u64) {
        for _ in 0..self.dice.below(most + 1) {
            self.vm.start(&[]).await.unwrap();
            self.cut(self.start).await;
        }
        self.vm.start(&[]).await.unwrap();
        self.vm.menu().await.unwrap();
    }
}

#[tokio::test]
#[ignore = "make test-power: boots a machine for each cut"]
async fn whenever_the_power_is_cut_a_machine_starts_again_and_is_never_half_configured() {
    let wanted = std::env::var("SATELLITE_VM_CUTS").map_or(USUAL, |text| text.parse().unwrap());
    let dice = Dice::from_environment();
    println!("SATELLITE_SEED={}", dice.seed);
    let lab = Scratch::new().await.unwrap();
    let begun = Instant::now();
    let vm = started(&lab).await;
    let mut machine = Machine {
        vm,
        lab,
        dice,
        cuts: 0,
        start: begun.elapsed(),
    };
    let mut resets = 0;
    let by_dhcp = machine.vm.address().await.unwrap().to_string();
    let mut round = 0;
    while machine.cuts < wanted {
        let (key, address) = (
            fingerprint(&machine.vm).await,
            machine.vm.address().await.unwrap().to_string(),
        );
        match round % 3 {
            // On a disk that is being made: the first start of all, then those after it.
            0 if round == 0 => {
                machine.vm.power_cut().await.unwrap();
                machine.vm = Vm::new(&machine.lab, 2, &image(&machine.lab).await)
                    .await
                    .unwrap();
                machine.starts(3).await;
            }
            0 => {
                machine.cut(Duration::from_secs(5)).await;
                machine.starts(2).await;
                assert_eq!(fingerprint(&machine.vm).await, key);
            }
            1 => {
                set_by_hand(&machine.vm, &format!("{ADDRESS}/24"), "10.77.0.1").await;
                machine.vm.console().shows(" s left", TRIED).await.unwrap();
                machine.vm.console().send_keys(&["Enter"]).await.unwrap();
                machine.cut(Duration::from_millis(1_500)).await;
                machine.starts(1).await;
                assert_eq!(fingerprint(&machine.vm).await, key);
                let now = machine.vm.address().await.unwrap().to_string();
                assert!(now == ADDRESS || now == address || now == by_dhcp, "{now}");
            }
            _ => {
                console::open(&machine.vm.console(), "Factory reset")
                    .await
                    .unwrap();
                machine.vm.console().shows("DELETE", SOON).await.unwrap();
                type_word(&machine.vm, "DELETE").await;
                machine.cut(machine.start).await;
                machine.starts(1).await;
                let is_reset = fingerprint(&machine.vm).await != key;
                let now = machine.vm.address().await.unwrap().to_string();
                if is_reset {
                    assert_ne!(now, ADDRESS, "settings survived a factory reset");
                } else {
                    assert_eq!(now, address, "settings are lost without a factory reset");
                }
                resets += u32::from(is_reset);
            }
        }
        round += 1;
        println!("{} cuts in {round} rounds, {:.0?}", machine.cuts, begun.elapsed());
    }
    println!(
        "{} power cuts of a machine, {resets} resets, {:.0?}",
        machine.cuts,
        begun.elapsed()
    );
}
