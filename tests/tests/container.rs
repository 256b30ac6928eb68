//! A satellite as shipped, before any server knows it: boots, shows its menu, listens on one port, and comes back as
//! the same machine after a restart and after a power cut.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::path::Path;
use std::time::{Duration, Instant};

use e2e::command::run;
use e2e::console;
use e2e::lab::SATELLITE;
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
    let unit = "satellite-bridge.service";
    let before = satellite.main_pid(unit).await.unwrap();
    satellite.kill_bridge().await.unwrap();
    let now = satellite.main_pid(unit).await.unwrap();
    assert!(now.is_some() && now != before, "{before:?}, {now:?}");
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

#[tokio::test]
async fn a_satellite_that_starts_shows_a_code_by_itself_within_seconds() {
    let lab = Scratch::new().await.unwrap();
    // Once, so that its root is built and in memory.
    lab.boot().await.unwrap();
    lab.satellite().stop().await;
    let satellite = lab.satellite();
    let begun = Instant::now();
    let (start, ready) = tokio::join!(satellite.start(), async {
        let code = console::pairing_code(&satellite).await;
        code.map(|_| begun.elapsed())
    });
    start.unwrap();
    println!(
        "start to the code on the console: {:.2} s",
        ready.unwrap().as_secs_f64()
    );
}

/// A row of `docs/ports.md`.
struct Row {
    /// As `iptables` names them.
    protocol: String,
    port: u16,
    from: String,
    to: String,
}

fn overview() -> Vec<Row> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/ports.md");
    let text = std::fs::read_to_string(path).unwrap();
    let mut rows = Vec::new();
    for line in text.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        for port in cells[1].split(", ") {
            let Some((port, protocol)) = port.split_once('/') else {
                continue;
            };
            rows.push(Row {
                protocol: protocol.to_owned(),
                port: port.parse().unwrap(),
                from: cells[2].to_owned(),
                to: cells[3].to_owned(),
            });
        }
    }
    assert!(rows.len() >= 8, "docs/ports.md has no table");
    rows
}

/// Lets what the overview names pass a counter, at which only what it does not name arrives.
async fn count_the_rest(namespace: &str, tool: &str, icmp: &str) {
    let mut rules = vec![
        "-o lo".to_owned(),
        // Neighbours, routers, and errors that must be told.
        format!("-p {icmp}"),
    ];
    for row in overview() {
        let (protocol, port) = (&row.protocol, row.port);
        if row.from == "satellite" {
            rules.push(format!("-p {protocol} --dport {port}"));
        }
        if row.to == "satellite" {
            rules.push(format!("-p {protocol} --sport {port}"));
        }
    }
    let mut words = vec!["-N OVERVIEW".to_owned(), "-A OUTPUT -j OVERVIEW".to_owned()];
    words.extend(rules.iter().map(|rule| format!("-A OVERVIEW {rule} -j RETURN")));
    words.push("-A OVERVIEW".to_owned());
    for line in words {
        let enter = ["netns", "exec", namespace, tool, "-w", "-t", "raw"];
        let line: Vec<&str> = line.split(' ').collect();
        run("ip", &[&enter[..], &line].concat()).await.unwrap();
    }
}

#[tokio::test]
async fn nothing_listens_and_nobody_is_called_that_the_overview_of_ports_does_not_name() {
    let lab = Scratch::new().await.unwrap();
    lab.lan.up().await.unwrap();
    let namespace = lab.lan.satellite_side();
    for (tool, icmp) in [("iptables", "icmp"), ("ip6tables", "ipv6-icmp")] {
        count_the_rest(&namespace, tool, icmp).await;
    }
    lab.boot().await.unwrap();
    lab.serve().await.unwrap();
    lab.add_bundle().await.unwrap();
    lab.pair(&[]).await.unwrap();
    lab.server
        .converged(SATELLITE, Duration::from_secs(120))
        .await
        .unwrap();

    let sockets = lab.satellite().exec(&["ss", "-H", "-tuln"]).await.unwrap();
    for line in sockets.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (protocol, port) = (words[0], words[4].rsplit(':').next().unwrap());
        let known = overview().into_iter().any(|row| {
            // DHCP is answered where it was asked from.
            let is_its = row.to == "satellite" || [68, 546].contains(&row.port);
            is_its && row.protocol == protocol && row.port.to_string() == port
        });
        assert!(known, "the overview does not name {line}");
    }
    for tool in ["iptables", "ip6tables"] {
        let count = [
            "netns", "exec", &namespace, tool, "-t", "raw", "-nvxL", "OVERVIEW",
        ];
        let shown = run("ip", &count).await.unwrap();
        let rest = shown.lines().last().unwrap();
        let packets = rest.split_whitespace().next().unwrap();
        assert_eq!(packets, "0", "{tool}:\n{shown}");
    }
}
