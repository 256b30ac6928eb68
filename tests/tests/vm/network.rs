//! The network set at the console, before and after pairing: good settings, an address that is taken, a gateway that is
//! not there, settings with which the server does not get through.

use std::time::Duration;

use e2e::command::run;
use e2e::console;
use e2e::lab::SATELLITE;
use e2e::scratch::Scratch;
use e2e::vm::Vm;
use e2e::wait::until;

use super::{SEEN, Watch, again, is_reached, pair, started, type_text, when};

/// What the network may take to be asked, and the settings to be in force.
pub(crate) const TRIED: Duration = Duration::from_mins(2);
/// What one key stroke may take to be answered.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// Puts the mark of a form on the field `name`.
async fn field(vm: &Vm, name: &str) {
    let console = vm.console();
    for _ in 0..20 {
        let before = console::marked(&console.capture().await.unwrap());
        if before.contains(name) {
            return;
        }
        console.send_keys(&["Down"]).await.unwrap();
        until("the mark to move", SOON, async || {
            let now = console::marked(&console.capture().await.ok()?);
            (!now.is_empty() && now != before).then_some(())
        })
        .await
        .unwrap();
    }
    panic!("no field {name}:\n{}", console.capture().await.unwrap());
}

/// Fills the form with an address and a gateway, and has it tried.
pub(crate) async fn set_by_hand(vm: &Vm, address: &str, gateway: &str) {
    let console = vm.console();
    console::open(&console, "Network").await.unwrap();
    console::choose(&console, "Change the settings").await.unwrap();
    console.shows("Try and apply", SOON).await.unwrap();
    field(vm, "IPv4 ").await;
    if !console.capture().await.unwrap().contains("IPv4 address") {
        console.send_keys(&["Right"]).await.unwrap();
        console.shows("IPv4 address", SOON).await.unwrap();
    }
    for (name, text) in [("IPv4 address", address), ("IPv4 gateway", gateway)] {
        field(vm, name).await;
        console.send_keys(&["DC"]).await.unwrap();
        type_text(vm, text).await;
        console.shows(text, SOON).await.unwrap();
    }
    field(vm, "Try and apply").await;
    console.send_keys(&["Enter"]).await.unwrap();
}

/// Leaves the form and what was found out about it.
async fn give_up(vm: &Vm) {
    console::choose(&vm.console(), "Correct the settings")
        .await
        .unwrap();
    vm.console().shows("Try and apply", SOON).await.unwrap();
    console::home(&vm.console()).await.unwrap();
}

async fn has_address(vm: &Vm, address: &str) {
    let wanted = address.parse::<std::net::Ipv4Addr>().unwrap();
    until(&format!("the address {address}"), SEEN, async || {
        (vm.address().await.ok()? == wanted).then_some(())
    })
    .await
    .unwrap();
}

#[tokio::test]
#[ignore = "make test-vm: boots a machine three times"]
async fn a_network_set_at_the_console_is_kept_when_it_works_and_goes_back_when_it_does_not() {
    let lab = Scratch::new().await.unwrap();
    let vm = started(&lab).await;
    let console = vm.console();
    let by_dhcp = vm.address().await.unwrap();

    // Somebody has the address: the server itself has a second one.
    let server = lab.lan.server_side();
    let second = ["-n", &server, "address", "add", "10.77.0.220/24", "dev", "lan0"];
    run("ip", &second).await.unwrap();
    set_by_hand(&vm, "10.77.0.220/24", "10.77.0.1").await;
    let found = console.shows("This was found out", TRIED).await.unwrap();
    assert!(found.contains("used by another machine"), "{found}");
    give_up(&vm).await;

    // Nobody is the gateway.
    set_by_hand(&vm, "10.77.0.210/24", "10.77.0.99").await;
    let found = console.shows("This was found out", TRIED).await.unwrap();
    assert!(found.contains("10.77.0.99 does not answer"), "{found}");
    give_up(&vm).await;
    assert_eq!(vm.address().await.unwrap(), by_dhcp);

    // Good, but nobody confirms: a power cut brings the old ones back.
    let mut watch = Watch::start();
    set_by_hand(&vm, "10.77.0.210/24", "10.77.0.1").await;
    console.shows(" s left", TRIED).await.unwrap();
    watch.lap("settings typed, tried and in force");
    vm.power_cut().await.unwrap();
    again(&vm, "start after a power cut in an open change").await;
    has_address(&vm, &by_dhcp.to_string()).await;

    // Good, and confirmed by the person.
    set_by_hand(&vm, "10.77.0.210/24", "10.77.0.1").await;
    console.shows(" s left", TRIED).await.unwrap();
    console.send_keys(&["Enter"]).await.unwrap();
    console.shows("The new settings are kept", SOON).await.unwrap();
    has_address(&vm, "10.77.0.210").await;

    // The server is told the address, and finds the satellite there; also when the console moves it.
    lab.serve().await.unwrap();
    pair(&vm, &lab, SATELLITE, &["--bare"]).await;
    is_reached(&lab).await;
    watch.lap("paired at the address set by hand");
    set_by_hand(&vm, "10.77.0.211/24", "10.77.0.1").await;
    console.shows("The new settings are kept", TRIED).await.unwrap();
    watch.lap("moved, and confirmed by the server");
    when(&lab, "the server to know the new address", |known| {
        known.address == "10.77.0.211:7640"
    })
    .await;

    // Where the server does not get through, the old ones come back by themselves.
    set_by_hand(&vm, "10.66.0.5/24", "10.66.0.1").await;
    let counting = until("the time that is left", TRIED, async || {
        let screen = console.capture().await.ok()?;
        if screen.contains("This was found out") {
            console::choose(&console, "Apply them all the same").await.ok()?;
        }
        screen.contains(" s left").then_some(())
    });
    counting.await.unwrap();
    let mut watch = Watch::start();
    console.shows("The old settings are back", SEEN).await.unwrap();
    watch.lap("unreachable settings until the old ones were back");
    has_address(&vm, "10.77.0.211").await;
    is_reached(&lab).await;

    // And they are those of the next start.
    vm.power_cut().await.unwrap();
    again(&vm, "start with an address set by hand").await;
    has_address(&vm, "10.77.0.211").await;
    is_reached(&lab).await;
}
