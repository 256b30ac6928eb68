//! Changes made by the server, or by a client in its place.

use std::time::Instant;

use e2e::command::run;
use e2e::lab::SATELLITE;
use e2e::manager::Manager;
use e2e::scratch::Scratch;
use satellite_proto::wire::bridge::v1 as pb;
use tonic::Code;

use super::{SETTLED, SHORT, fixed, has_lease, has_only, is_as_shipped, paired, sh};

fn split(words: &str) -> Vec<&str> {
    words.split(' ').collect()
}

/// Everything is as it was set.
async fn is_moved(lab: &Scratch, when: &str) {
    has_only(lab, "10.77.0.200/24").await;
    let satellite = lab.server.converged(SATELLITE, SETTLED).await.unwrap();
    assert_eq!(satellite.address, "10.77.0.200:7640", "{when}");
    let shown = sh(lab, "uname -n; ip -o link show eth0").await;
    assert!(
        shown.starts_with("berlin\n") && shown.contains("mtu 1400"),
        "{when}: {shown}"
    );
    let routes = sh(lab, "ip route show default").await;
    assert!(routes.contains("via 10.77.0.1"), "{when}: {routes}");
    let resolver = sh(lab, "cat /run/systemd/resolve/resolv.conf").await;
    assert!(resolver.contains("nameserver 10.77.0.1"), "{when}: {resolver}");
}

#[tokio::test]
async fn the_server_moves_a_satellite_and_finds_it_again_also_after_a_restart() {
    let lab = Scratch::new().await.unwrap();
    paired(&lab).await;
    let lease = has_lease(&lab).await;
    let start = Instant::now();
    let words = format!(
        "network set {SATELLITE} --ipv4 10.77.0.200/24 --gateway 10.77.0.1 --dns 10.77.0.1 --ntp 10.77.0.1 --host-name berlin --mtu 1400 --yes"
    );
    let said = lab.server.cli(&split(&words)).await.unwrap();
    println!("moved and confirmed in {:.1?}", start.elapsed());
    assert_eq!(said.trim(), "10.77.0.200:7640");
    is_moved(&lab, "now").await;
    lab.satellite().reboot().await.unwrap();
    let times = "systemctl show --property=ActiveEnterTimestampMonotonic --value satellite-network.service \
                 systemd-networkd.service";
    let times = sh(&lab, times).await;
    let times: Vec<u64> = times
        .split_whitespace()
        .map(|time| time.parse().unwrap())
        .collect();
    assert!(
        times[0] > 0 && times[0] < times[1],
        "the settings came after the network: {times:?}"
    );
    is_moved(&lab, "after a restart").await;
    let shown = lab.server.cli(&["network", "show", SATELLITE]).await.unwrap();
    assert!(
        shown.contains("10.77.0.200/24") && shown.contains("berlin"),
        "{shown}"
    );

    // And back to DHCP, where the server has to be told what it will be.
    let place = lease.split('/').next().unwrap();
    let words = format!(
        "network set {SATELLITE} --ipv4 auto --dns none --ntp none --mtu none --port none --reached-at {place} --yes"
    );
    lab.server.cli(&split(&words)).await.unwrap();
    has_only(&lab, &lease).await;
    lab.server.converged(SATELLITE, SETTLED).await.unwrap();
    let mtu = sh(&lab, "ip -o link show eth0").await;
    assert!(mtu.contains("mtu 1500"), "{mtu}");
    is_as_shipped(&lab).await;
}

#[tokio::test]
async fn settings_with_which_the_server_does_not_reach_it_go_back_by_themselves() {
    let lab = Scratch::new().await.unwrap();
    paired(&lab).await;
    let lease = has_lease(&lab).await;
    // The server speaks from an address that is not on the cable: answers go by the gateway.
    let side = lab.lan.server_side();
    run(
        "ip",
        &["-n", &side, "address", "add", "10.99.9.1/32", "dev", "lo"],
    )
    .await
    .unwrap();
    let route = [
        "-n",
        &side,
        "route",
        "change",
        "10.77.0.0/24",
        "dev",
        "lan0",
        "src",
        "10.99.9.1",
    ];
    run("ip", &route).await.unwrap();
    lab.server.converged(SATELLITE, SETTLED).await.unwrap();
    for (address, gateway) in [("10.77.0.201/24", "10.77.0.250"), ("10.66.0.5/24", "10.66.0.1")] {
        let start = Instant::now();
        let words = format!(
            "network set {SATELLITE} --ipv4 {address} --gateway {gateway} --confirm-seconds 10 --yes"
        );
        let ended = lab.server.try_cli(&split(&words)).await.unwrap();
        assert_ne!(ended.code, Some(0), "{address} {gateway}");
        has_only(&lab, &lease).await;
        println!("{gateway}: back after {:.1?}", start.elapsed());
        lab.server.converged(SATELLITE, SETTLED).await.unwrap();
        is_as_shipped(&lab).await;
    }
}

#[tokio::test]
async fn an_address_that_another_machine_has_is_found_before_it_is_used() {
    let lab = Scratch::new().await.unwrap();
    let manager = Manager::instead_of_the_server(&lab).await.unwrap();
    let line = manager.up().await.unwrap();
    let side = lab.lan.server_side();
    run(
        "ip",
        &["-n", &side, "address", "add", "10.77.0.222/24", "dev", "lan0"],
    )
    .await
    .unwrap();
    let six = [
        "-n",
        &side,
        "address",
        "add",
        "fd77::222/64",
        "dev",
        "lan0",
        "nodad",
    ];
    run("ip", &six).await.unwrap();
    let four = fixed("10.77.0.222/24", "10.77.0.1");
    let six = pb::NetworkSettings {
        ipv6: Some(pb::AddressSettings {
            method: pb::AddressMethod::Static.into(),
            address: "fd77::222/64".to_owned(),
            gateway: String::new(),
        }),
        ..Default::default()
    };
    for taken in [four, six] {
        let refused = line.set_network(taken, SHORT).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
        assert!(refused.message().contains("used by another machine"), "{refused}");
    }
    is_as_shipped(&lab).await;
    // One that is free passes; a gateway that nobody is is told, and does not stand in the way.
    let answer = line
        .set_network(fixed("10.77.0.223/24", "10.77.0.250"), SHORT)
        .await
        .unwrap();
    let kinds: Vec<_> = answer
        .findings
        .iter()
        .map(|finding| finding.kind.as_str())
        .collect();
    assert_eq!(kinds, ["gateway-does-not-answer"]);
    let second = line
        .set_network(fixed("10.77.0.224/24", "10.77.0.1"), SHORT)
        .await
        .unwrap_err();
    assert_eq!(
        second.code(),
        Code::FailedPrecondition,
        "a second change: {second}"
    );
    has_lease(&lab).await;
}
