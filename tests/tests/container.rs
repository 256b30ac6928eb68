//! A satellite as shipped, before any server knows it: boots, shows its menu, listens on one port, and comes back as
//! the same machine after a restart and after a power cut.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::time::Duration;

use e2e::console;
use e2e::scratch::Scratch;
use e2e::wait::until;

/// Programs that are the satellite's identity and may not change.
async fn identity(lab: &Scratch) -> String {
    lab.satellite()
        .exec(&["cat", "/var/lib/satellite/identity/cert.pem"])
        .await
        .unwrap()
}

#[tokio::test]
async fn only_the_bridge_listens_and_only_it_is_installed() {
    let lab = Scratch::new().await.unwrap();
    lab.boot().await.unwrap();
    let satellite = lab.satellite();
    let limit = Duration::from_secs(30);
    until("the bridge to listen", limit, async || {
        let sockets = satellite.exec(&["ss", "-H", "-tuln"]).await.ok()?;
        sockets.contains(":7640").then_some(())
    })
    .await
    .unwrap();
    let sockets = satellite.exec(&["ss", "-H", "-tulpn"]).await.unwrap();
    let strangers: Vec<&str> = sockets
        .lines()
        .filter(|line| !line.contains("\"satellite-bridg"))
        // The client half of DHCP: asks, and takes answers.
        .filter(|line| {
            !(line.contains("systemd-network") && (line.contains(":68 ") || line.contains(":546 ")))
        })
        .collect();
    assert!(strangers.is_empty(), "these listen too: {strangers:#?}");

    let installed = satellite
        .exec(&["find", "/var/lib/satellite/workloads", "-mindepth", "1"])
        .await;
    assert!(
        installed.is_err() || installed.unwrap().is_empty(),
        "a workload is preinstalled"
    );
    for absent in [
        "/usr/bin/apt-get",
        "/usr/bin/dpkg",
        "/usr/sbin/sshd",
        "/usr/bin/login",
        "/etc/apt",
    ] {
        assert!(
            satellite.exec(&["test", "-e", absent]).await.is_err(),
            "{absent} is on the satellite"
        );
    }
}

#[tokio::test]
async fn the_private_key_is_for_root_only() {
    let lab = Scratch::new().await.unwrap();
    lab.boot().await.unwrap();
    let mode = lab
        .satellite()
        .exec(&["stat", "-c", "%a %U", "/var/lib/satellite/identity/key.pem"])
        .await
        .unwrap();
    assert_eq!(mode.trim(), "600 root");
}

#[tokio::test]
async fn a_satellite_is_the_same_machine_after_a_restart_and_after_a_power_cut() {
    let lab = Scratch::new().await.unwrap();
    lab.boot().await.unwrap();
    let satellite = lab.satellite();
    let before = identity(&lab).await;
    let machine = satellite.exec(&["cat", "/etc/machine-id"]).await.unwrap();
    satellite.exec(&["touch", "/etc/volatile"]).await.unwrap();

    satellite.reboot().await.unwrap();
    assert_eq!(identity(&lab).await, before);
    assert!(
        satellite.exec(&["test", "-e", "/etc/volatile"]).await.is_err(),
        "/etc outlived a restart"
    );

    satellite.power_cut().await.unwrap();
    lab.start().await.unwrap();
    assert_eq!(identity(&lab).await, before);
    assert_eq!(
        satellite.exec(&["cat", "/etc/machine-id"]).await.unwrap(),
        machine
    );
    let boots = satellite
        .exec(&["journalctl", "--list-boots", "--no-pager"])
        .await
        .unwrap();
    // A heading, this boot, and at least one before it: what the cut boot wrote in its last second may be lost.
    assert!(
        boots.lines().count() >= 3,
        "the journal forgot earlier boots:\n{boots}"
    );
}

#[tokio::test]
async fn the_bridge_comes_back_when_it_is_killed() {
    let lab = Scratch::new().await.unwrap();
    lab.boot().await.unwrap();
    let satellite = lab.satellite();
    let before = satellite.main_pid("satellite-bridge.service").await.unwrap();
    satellite.kill_bridge().await.unwrap();
    until("the bridge to be back", Duration::from_secs(30), async || {
        let now = satellite.main_pid("satellite-bridge.service").await.ok()?;
        let state = satellite
            .exec(&["systemctl", "is-active", "satellite-bridge.service"])
            .await
            .ok()?;
        (now.is_some() && now != before && state.trim() == "active").then_some(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn the_console_shows_a_pairing_code_to_who_asks_for_it() {
    let lab = Scratch::new().await.unwrap();
    lab.boot().await.unwrap();
    let code = console::pairing_code(&lab.satellite()).await.unwrap();
    assert_eq!(code.len(), 19, "{code}");
    let log = lab
        .satellite()
        .exec(&["journalctl", "-b", "--no-pager"])
        .await
        .unwrap();
    assert!(!log.contains(&code), "the code is in the journal");
}
