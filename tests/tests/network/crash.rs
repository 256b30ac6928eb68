//! The bridge dies, or the machine does, while a change is open.

use std::time::Instant;

use e2e::manager::Manager;
use e2e::scratch::Scratch;
use e2e::wait::until;
use satellite_proto::wire::bridge::v1 as pb;

use super::{
    BRIDGE, PROGRAM, SETTLED, SHORT, fixed, has_lease, has_only, in_force, is_as_shipped, points, sh, state,
};

#[tokio::test]
async fn a_restart_and_a_dead_daemon_undo_what_is_open() {
    let lab = Scratch::new().await.unwrap();
    let manager = Manager::instead_of_the_server(&lab).await.unwrap();
    let lease = has_lease(&lab).await;
    for how in ["restart", "power cut", "dead daemon"] {
        let line = manager.up().await.unwrap();
        let seconds = if how == "dead daemon" { SHORT } else { 600 };
        let start = Instant::now();
        let change = line
            .set_network(fixed("10.77.0.201/24", "10.77.0.1"), seconds)
            .await
            .unwrap();
        let change = change.change.unwrap().id;
        let stale = line.confirm_network(&change).await;
        assert!(stale.is_err(), "an old connection confirmed");
        has_only(&lab, "10.77.0.201/24").await;
        match how {
            "restart" => {
                in_force(&manager, "10.77.0.201").await;
                lab.satellite().reboot().await.unwrap();
            }
            "power cut" => {
                in_force(&manager, "10.77.0.201").await;
                lab.satellite().power_cut().await.unwrap();
                lab.start().await.unwrap();
            }
            _ => {
                let dead = format!(
                    "systemctl mask --runtime --quiet {BRIDGE}; systemctl kill --signal=KILL {BRIDGE}"
                );
                sh(&lab, &dead).await;
                has_only(&lab, &lease).await;
                println!("undone by systemd {:.1?} after the call", start.elapsed());
                let alive = format!("systemctl unmask --runtime --quiet {BRIDGE}; systemctl start {BRIDGE}");
                sh(&lab, &alive).await;
            }
        }
        has_only(&lab, &lease).await;
        let line = manager.up().await.unwrap();
        let seen = line.network().await.unwrap();
        assert!(seen.open_change.is_none(), "{how}: {seen:?}");
        is_as_shipped(&lab).await;
    }
}

#[tokio::test]
async fn killed_anywhere_in_a_change_it_is_the_old_or_the_new_settings_whole() {
    let lab = Scratch::new().await.unwrap();
    let manager = Manager::instead_of_the_server(&lab).await.unwrap();
    let drop_in = "[Service]\\nEnvironmentFile=-/run/fail.env\\nExecStartPost=+/bin/rm -f /run/fail.env\\n\
                   RestartSec=100ms\\n";
    let dir = format!("/run/systemd/system/{BRIDGE}.d");
    sh(
        &lab,
        &format!("mkdir -p {dir} && printf '{drop_in}' >{dir}/fail.conf && systemctl daemon-reload"),
    )
    .await;
    has_lease(&lab).await;
    let mut tried = 0;
    for point in points() {
        let start = Instant::now();
        sh(
            &lab,
            &format!("echo SATELLITE_FAIL_POINT={point} >/run/fail.env && systemctl restart {BRIDGE}"),
        )
        .await;
        let line = manager.up().await.unwrap();
        // Cut off before or after its answer: the record is on the disk either way.
        let _ = line.set_network(fixed("10.77.0.201/24", "10.77.0.1"), 600).await;
        let is_confirmed = point.starts_with("network.confirm");
        if is_confirmed || point.starts_with("network.roll") {
            let line = in_force(&manager, "10.77.0.201").await;
            let id = line.network().await.unwrap().open_change.unwrap().id;
            let _ = if is_confirmed {
                line.confirm_network(&id).await
            } else {
                line.rollback_network(&id).await
            };
        }
        let died = until("the bridge to die", SETTLED, async || {
            let shown = sh(
                &lab,
                &format!("systemctl show --property=NRestarts --value {BRIDGE}"),
            )
            .await;
            (shown.trim() != "0").then_some(())
        });
        assert!(died.await.is_ok(), "{point} is not on the way");
        // The daemon that comes back leaves a change that is in force to its confirmation; nobody gives it here. One that
        // was confirmed it ends: until then the record still says that it is in force.
        let open = until("the daemon to tidy up", SETTLED, async || {
            let open = state(&lab).await["open_change"].clone();
            (open.is_null() || !is_confirmed && open["in_force"] == true).then_some(open)
        });
        if let Some(id) = open.await.unwrap()["id"].as_str() {
            sh(&lab, &format!("{PROGRAM} network rollback {id}")).await;
        }
        let now = state(&lab).await;
        assert!(now["open_change"].is_null(), "{point}: {now}");
        let is_new = now["settings"]["ipv4"]["address"] == "10.77.0.201/24";
        assert_eq!(is_new, is_confirmed, "{point}: {now}");
        if is_new {
            has_only(&lab, "10.77.0.201/24").await;
            // The daemon that was killed is still on its way back.
            let line = until("the satellite at its confirmed address", SETTLED, async || {
                manager.line_at("10.77.0.201").await.ok()
            })
            .await
            .unwrap();
            line.set_network(pb::NetworkSettings::default(), 600)
                .await
                .unwrap();
            has_lease(&lab).await;
            let line = manager.up().await.unwrap();
            let id = line.network().await.unwrap().open_change.unwrap().id;
            line.confirm_network(&id).await.unwrap();
        }
        has_lease(&lab).await;
        manager.up().await.unwrap();
        is_as_shipped(&lab).await;
        println!(
            "{point}: {} settings, {:.1?}",
            if is_new { "new" } else { "old" },
            start.elapsed()
        );
        tried += 1;
    }
    println!("killed at {tried} points of a network change");
}
