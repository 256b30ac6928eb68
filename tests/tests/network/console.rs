//! Changes made at the machine itself, as the console makes them.

use std::time::Instant;

use e2e::lab::SATELLITE;
use e2e::network::write;
use e2e::scratch::Scratch;
use e2e::wait::until;

use super::{BRIDGE, PROGRAM, SETTLED, has_lease, has_only, paired, sh, state, timers};

#[tokio::test]
async fn the_person_at_an_unpaired_satellite_sets_and_confirms_while_the_daemon_is_dead() {
    let lab = Scratch::new().await.unwrap();
    lab.boot().await.unwrap();
    let lease = has_lease(&lab).await;
    sh(&lab, &format!("systemctl stop {BRIDGE}")).await;
    let file = lab.satellite().var().join("settings.json");
    write(
        &file,
        r#"{"ipv4":{"method":"static","address":"10.77.0.202/24","gateway":"10.77.0.1"}}"#,
    )
    .unwrap();
    let id = sh(&lab, &format!("{PROGRAM} network apply /var/settings.json")).await;
    has_only(&lab, "10.77.0.202/24").await;
    sh(&lab, &format!("{PROGRAM} network rollback {}", id.trim())).await;
    has_only(&lab, &lease).await;
    let id = sh(&lab, &format!("{PROGRAM} network apply /var/settings.json")).await;
    sh(&lab, &format!("{PROGRAM} network confirm {}", id.trim())).await;
    lab.satellite().reboot().await.unwrap();
    has_only(&lab, "10.77.0.202/24").await;
    assert_eq!(timers(&lab).await.trim(), "");
    let now = state(&lab).await;
    assert_eq!(now["last_good"]["ipv4"]["method"], "dhcp", "{now}");
}

#[tokio::test]
async fn a_change_at_the_console_of_a_paired_satellite_is_confirmed_by_its_server_reaching_it() {
    let lab = Scratch::new().await.unwrap();
    paired(&lab).await;
    let lease = has_lease(&lab).await;
    let settings = |address: &str| {
        let file = lab.satellite().var().join("settings.json");
        let text = format!(r#"{{"ipv4":{{"method":"static","address":"{address}","gateway":null}}}}"#);
        write(&file, text).unwrap();
    };
    settings("10.77.0.203/24");
    let start = Instant::now();
    let id = sh(&lab, &format!("{PROGRAM} network apply /var/settings.json")).await;
    until("the server to confirm", SETTLED, async || {
        let now = state(&lab).await;
        let is_kept = now["settings"]["ipv4"]["address"] == "10.77.0.203/24";
        (is_kept && now["open_change"].is_null()).then_some(())
    })
    .await
    .unwrap();
    println!("found by the server after {:.1?}", start.elapsed());
    let person = format!("{PROGRAM} network confirm {} 2>&1 || true", id.trim());
    let late = sh(&lab, &person).await;
    assert!(late.contains("no such change is open"), "{late}");
    until("the server to keep the address", SETTLED, async || {
        let satellite = lab.server.satellite(SATELLITE).await?;
        (satellite.address == "10.77.0.203:7640").then_some(())
    })
    .await
    .unwrap();
    lab.server.converged(SATELLITE, SETTLED).await.unwrap();

    // Where the server cannot follow, the person may not confirm by the way, and it goes back.
    let short = "mkdir -p /etc/satellite && echo 'confirm-seconds = 15' >/etc/satellite/bridge.toml";
    sh(&lab, short).await;
    settings("10.66.0.5/24");
    let id = sh(&lab, &format!("{PROGRAM} network apply /var/settings.json")).await;
    let refused = sh(
        &lab,
        &format!("{PROGRAM} network confirm {} 2>&1 || true", id.trim()),
    )
    .await;
    assert!(refused.contains("belongs to a server"), "{refused}");
    has_only(&lab, "10.77.0.203/24").await;
    lab.server.converged(SATELLITE, SETTLED).await.unwrap();
    assert_ne!(lease, "10.77.0.203/24");
}
