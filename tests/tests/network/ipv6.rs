//! IPv6 as networks offer it, by a real router and a real DHCPv6 server; by hand; and not at all.

use e2e::console;
use e2e::lab::SATELLITE;
use e2e::scratch::Scratch;
use e2e::wait::until;

use super::{SETTLED, sh};

/// The satellite's IPv6 addresses that others can reach.
async fn addresses(lab: &Scratch) -> Vec<String> {
    let shown = sh(lab, "ip -6 -o address show dev eth0 scope global").await;
    let words = shown
        .lines()
        .filter_map(|line| line.split(" inet6 ").nth(1)?.split(' ').next());
    words.map(str::to_owned).collect()
}

/// The address of the DHCPv6 server's range, once there is also one of the advertised prefix.
async fn offered(lab: &Scratch) -> String {
    let mut last = Vec::new();
    let found = until("addresses by DHCPv6 and by the router", SETTLED, async || {
        last = addresses(lab).await;
        let is_own = |address: &&String| address.starts_with("fd77:") && address.ends_with("/64");
        last.iter().find(is_own)?;
        let leased = last.iter().find_map(|address| address.strip_suffix("/128"));
        leased
            .filter(|address| address.starts_with("fd77::1"))
            .map(str::to_owned)
    })
    .await;
    found.unwrap_or_else(|error| panic!("{error:#}: {last:?}"))
}

async fn has_only(lab: &Scratch, wanted: &[&str]) {
    let mut last = Vec::new();
    let found = until("the addresses", SETTLED, async || {
        last = addresses(lab).await;
        (last == wanted).then_some(())
    })
    .await;
    assert!(found.is_ok(), "{last:?} instead of {wanted:?}");
}

async fn has_router(lab: &Scratch) {
    until("the router that advertises itself", SETTLED, async || {
        let routes = sh(lab, "ip -6 route show default").await;
        routes.contains("via fe80::").then_some(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_router_and_dhcpv6_are_listened_to_and_the_server_comes_by_ipv6() {
    let lab = Scratch::new().await.unwrap();
    lab.lan.up().await.unwrap();
    lab.lan.advertise_ipv6().await.unwrap();
    lab.boot().await.unwrap();
    let leased = offered(&lab).await;
    has_router(&lab).await;
    until("the name server that is offered", SETTLED, async || {
        let resolver = sh(&lab, "cat /run/systemd/resolve/resolv.conf").await;
        resolver.contains("nameserver fd77::1").then_some(())
    })
    .await
    .unwrap();

    lab.serve().await.unwrap();
    let satellite = lab.satellite();
    let code = console::pairing_code(&satellite).await.unwrap();
    console::home(&satellite).await.unwrap();
    satellite.shows(&leased, SETTLED).await.unwrap();
    lab.server
        .pair(&leased, &code, SATELLITE, &["--bare"])
        .await
        .unwrap();
    let known = lab.server.converged(SATELLITE, SETTLED).await.unwrap();
    assert_eq!(known.address, format!("[{leased}]:7640"));

    // By hand: neither the lease nor an address of the prefix beside it; the router is still the one that says so.
    let set = async |words: &str| {
        let words: Vec<&str> = words.split(' ').collect();
        let words = [&["network", "set", SATELLITE, "--yes"], &words[..]].concat();
        lab.server.cli(&words).await.unwrap()
    };
    let said = set("--ipv6 fd77::210/64").await;
    assert_eq!(said.trim(), "[fd77::210]:7640");
    has_only(&lab, &["fd77::210/64"]).await;
    has_router(&lab).await;

    // None at all, also not beneath.
    let place = lab.address().await.unwrap().to_string();
    set(&format!("--ipv6 off --reached-at {place}")).await;
    has_only(&lab, &[]).await;
    let left = sh(&lab, "ip -6 -o address show dev eth0").await;
    assert_eq!(left.trim(), "");
    lab.server.converged(SATELLITE, SETTLED).await.unwrap();

    set(&format!("--ipv6 auto --reached-at {place}")).await;
    offered(&lab).await;
    has_router(&lab).await;
}
