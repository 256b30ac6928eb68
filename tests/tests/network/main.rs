//! The network of a booted satellite, set by its server, by a bare client and at its console: what is reached and
//! confirmed stays, everything else goes back, by the daemon, by systemd if the daemon is dead, and by a restart.
#![expect(clippy::unwrap_used, reason = "a test")]

mod console;
mod crash;
mod ipv6;
mod server;

use std::time::Duration;

use e2e::lab::SATELLITE;
use e2e::manager::{Line, Manager};
use e2e::scratch::Scratch;
use e2e::wait::until;
use satellite_proto::wire::bridge::v1 as pb;

/// The shortest time to confirm that a satellite takes.
pub(crate) const SHORT: u32 = 10;
/// Addresses, services and a busy machine may take as long to settle.
pub(crate) const SETTLED: Duration = Duration::from_secs(60);

pub(crate) const BRIDGE: &str = "satellite-bridge.service";
pub(crate) const PROGRAM: &str = "/usr/lib/satellite/satellite-bridge";

/// The fail points of the network, read from the source so that a new one cannot be forgotten.
pub(crate) fn points() -> Vec<&'static str> {
    let source = include_str!("../../../satellite-bridge/src/network.rs");
    let list = source.split("pub const FAIL_POINTS").nth(1).unwrap();
    let list = list.split("];").next().unwrap();
    let found: Vec<_> = list.split('"').skip(1).step_by(2).collect();
    assert!(found.len() >= 9, "where are the fail points? {found:?}");
    found
}

pub(crate) fn fixed(address: &str, gateway: &str) -> pb::NetworkSettings {
    pb::NetworkSettings {
        ipv4: Some(pb::AddressSettings {
            method: pb::AddressMethod::Static.into(),
            address: address.to_owned(),
            gateway: gateway.to_owned(),
        }),
        ..Default::default()
    }
}

pub(crate) async fn sh(lab: &Scratch, script: &str) -> String {
    lab.satellite().exec(&["sh", "-c", script]).await.unwrap()
}

/// The network as the satellite's own program shows it, without the daemon.
pub(crate) async fn state(lab: &Scratch) -> serde_json::Value {
    let shown = sh(lab, &format!("{PROGRAM} network show")).await;
    serde_json::from_str(&shown).unwrap()
}

/// The satellite's IPv4 addresses.
pub(crate) async fn addresses(lab: &Scratch) -> Vec<String> {
    let shown = sh(lab, "ip -4 -o address show dev eth0").await;
    let words = shown
        .lines()
        .filter_map(|line| line.split(" inet ").nth(1)?.split(' ').next());
    words.map(str::to_owned).collect()
}

pub(crate) async fn has_only(lab: &Scratch, address: &str) {
    let mut last = Vec::new();
    let what = format!("{address} to be the address");
    let there = until(&what, SETTLED, async || {
        last = addresses(lab).await;
        (last == [address]).then_some(())
    })
    .await;
    assert!(there.is_ok(), "{last:?} instead of {address}");
}

/// Waits until the satellite asked for an address again, and answers it.
pub(crate) async fn has_lease(lab: &Scratch) -> String {
    until("an address by DHCP", SETTLED, async || {
        let found = addresses(lab).await;
        let is_leased = found.len() == 1 && found[0].starts_with("10.77.0.1");
        is_leased.then(|| found[0].clone())
    })
    .await
    .unwrap()
}

pub(crate) async fn timers(lab: &Scratch) -> String {
    sh(
        lab,
        "systemctl list-units --all --plain --no-legend 'satellite-rollback-*'",
    )
    .await
}

/// Nothing is left of a change: no record, no timer, no file of ours.
pub(crate) async fn is_as_shipped(lab: &Scratch) {
    until("the timer to be gone", SETTLED, async || {
        timers(lab).await.trim().is_empty().then_some(())
    })
    .await
    .unwrap();
    let left = sh(
        lab,
        "ls /var/lib/satellite/change/open.json /run/systemd/network/10-* 2>/dev/null; true",
    )
    .await;
    assert_eq!(left.trim(), "", "left behind");
}

pub(crate) async fn paired(lab: &Scratch) {
    lab.boot().await.unwrap();
    lab.serve().await.unwrap();
    lab.pair(&["--bare"]).await.unwrap();
    lab.server.converged(SATELLITE, SETTLED).await.unwrap();
}

/// Waits until the change is in force, over a connection to where the satellite then is.
pub(crate) async fn in_force(manager: &Manager, address: &str) -> Line {
    until("the satellite at its new address", SETTLED, async || {
        let line = tokio::time::timeout(Duration::from_secs(3), manager.line_at(address))
            .await
            .ok()?
            .ok()?;
        let open = line.network().await.ok()?.open_change?;
        open.in_force.then_some(line)
    })
    .await
    .unwrap()
}
