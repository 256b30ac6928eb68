//! The bridge is killed by SIGKILL at each of its fail points, in a booted satellite under systemd: afterwards it is the
//! old or the new one, whole, and works.
//!
//! The points are read from the source, so that a new one cannot be forgotten.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use e2e::lab::SATELLITE;
use e2e::scratch::Scratch;
use e2e::wait::until;

const CONVERGED: Duration = Duration::from_mins(3);
const BRIDGE: &str = "satellite-bridge.service";
const DROP_IN: &str = "/run/systemd/system/satellite-bridge.service.d/fail.conf";

/// The points whose names begin with one of `prefixes`.
fn points(prefixes: &[&str]) -> BTreeSet<String> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .join("satellite-bridge");
    let mut found = BTreeSet::new();
    for entry in walkdir::WalkDir::new(top) {
        let entry = entry.unwrap();
        if entry.path().extension().is_some_and(|kind| kind == "rs") {
            let text = std::fs::read_to_string(entry.path()).unwrap();
            let named = text
                .split("fail_point(\"")
                .skip(1)
                .filter_map(|rest| rest.split('"').next());
            found.extend(
                named
                    .filter(|name| prefixes.iter().any(|prefix| name.starts_with(prefix)))
                    .map(str::to_owned),
            );
        }
    }
    assert!(found.len() >= 3, "where are the fail points? {found:?}");
    found
}

/// Makes the bridge die each time it passes `point`.
async fn arm(lab: &Scratch, point: &str) {
    let satellite = lab.satellite();
    let script = format!(
        "mkdir -p $(dirname {DROP_IN}) && printf '[Service]\\nEnvironment=SATELLITE_FAIL_POINT={point}\\n' > {DROP_IN} && \
         systemctl daemon-reload && systemctl restart {BRIDGE}"
    );
    satellite.exec(&["sh", "-c", &script]).await.unwrap();
}

async fn disarm(lab: &Scratch) {
    let script = format!("rm -f {DROP_IN} && systemctl daemon-reload && systemctl restart {BRIDGE}");
    lab.satellite().exec(&["sh", "-c", &script]).await.unwrap();
}

/// How often systemd had to start the bridge again since it was armed.
async fn deaths(lab: &Scratch) -> Option<u32> {
    let shown = lab
        .satellite()
        .exec(&["systemctl", "show", "--property=NRestarts", "--value", BRIDGE])
        .await
        .ok()?;
    shown.trim().parse().ok()
}

/// Paired, with nothing installed.
async fn paired() -> Scratch {
    let lab = Scratch::new().await.unwrap();
    lab.boot().await.unwrap();
    lab.serve().await.unwrap();
    lab
}

#[tokio::test]
async fn an_install_survives_a_kill_at_each_of_its_steps() {
    let lab = paired().await;
    lab.pair(&["--bare"]).await.unwrap();
    lab.server.converged(SATELLITE, CONVERGED).await.unwrap();
    lab.add_bundle().await.unwrap();
    let mut reached = 0;
    for point in points(&["install", "workload", "update"]) {
        arm(&lab, &point).await;
        // Killed over and over while the server goes on trying: it stays on the way.
        let push = lab
            .server
            .try_cli(&["update", "push", "backup-service", "--satellite", SATELLITE]);
        let watch = until("the bridge to die", Duration::from_secs(40), async || {
            deaths(&lab).await.filter(|deaths| *deaths > 0)
        });
        let died = tokio::select! {
            died = watch => died.is_ok(),
            _ = push => deaths(&lab).await.is_some_and(|deaths| deaths > 0),
        };
        reached += u32::from(died);
        println!(
            "{point}: {}",
            if died {
                "killed there"
            } else {
                "not on the way this time"
            }
        );
        disarm(&lab).await;
        let satellite = lab.server.converged(SATELLITE, CONVERGED).await.unwrap();
        assert!(!satellite.desired.is_empty(), "{point}");
        lab.server
            .cli(&["workload", "status", SATELLITE, "backup-service"])
            .await
            .unwrap();
        whole(&lab, &point).await;
        // Away with it, so that the next point is passed again.
        let wipe = "systemctl stop satellite-workload-backup-service.service satellite-bridge.service; \
                    rm -rf /var/lib/satellite/workloads /var/lib/satellite/chunks /var/lib/satellite/updates; \
                    systemctl start satellite-bridge.service";
        lab.satellite().exec(&["sh", "-c", wipe]).await.unwrap();
    }
    assert!(reached >= 3, "only {reached} points were passed");
}

/// What is installed runs, there is one version of it, and nothing half-made lies about.
async fn whole(lab: &Scratch, point: &str) {
    let satellite = lab.satellite();
    let state = satellite
        .exec(&[
            "systemctl",
            "is-active",
            "satellite-workload-backup-service.service",
        ])
        .await;
    assert_eq!(state.unwrap().trim(), "active", "{point}");
    let versions = "ls /var/lib/satellite/workloads/backup-service/versions";
    let versions = satellite.exec(&["sh", "-c", versions]).await.unwrap();
    assert_eq!(versions.lines().count(), 1, "{point}: {versions}");
}

#[tokio::test]
async fn a_firewall_change_survives_a_kill_at_each_of_its_steps() {
    let lab = paired().await;
    lab.pair(&["--bare"]).await.unwrap();
    lab.server.converged(SATELLITE, CONVERGED).await.unwrap();
    let mut reached = 0;
    for (number, point) in points(&["firewall"]).into_iter().enumerate() {
        let port = 20_000 + number;
        let rules = lab.data().join("rules.toml");
        let text = format!(
            "[[rule]]\nname = \"probe\"\ndirection = \"in\"\naction = \"accept\"\nprotocol = \"tcp\"\nports = [{port}]\n"
        );
        e2e::network::write(&rules, text).unwrap();
        let rules = rules.display().to_string();
        arm(&lab, &point).await;
        let ended = lab
            .server
            .try_cli(&["firewall", "set", SATELLITE, &rules, "--yes"])
            .await
            .unwrap();
        let died = deaths(&lab).await.is_some_and(|deaths| deaths > 0);
        reached += u32::from(died);
        println!(
            "{point}: {}, `firewall set` ended with {:?}",
            if died { "killed there" } else { "not passed" },
            ended.code
        );
        disarm(&lab).await;

        // The server wants the rules or does not; either way both families end up the same, and with no change open.
        lab.server.converged(SATELLITE, CONVERGED).await.unwrap();
        let settled = until("both families to agree", CONVERGED, async || {
            let [four, six] = chains(&lab).await?;
            let probe = format!("dport {port}");
            (four.contains(&probe) == six.contains(&probe)).then_some(())
        });
        settled.await.unwrap();
        let [four, _] = chains(&lab).await.unwrap();
        assert!(
            four.contains("7640"),
            "{point}: the bridge's own rule is gone:\n{four}"
        );
    }
    assert!(reached >= 3, "only {reached} points were passed");
}

async fn chains(lab: &Scratch) -> Option<[String; 2]> {
    let satellite = lab.satellite();
    let four = satellite.exec(&["iptables-save"]).await.ok()?;
    let six = satellite.exec(&["ip6tables-save"]).await.ok()?;
    Some([four, six])
}

#[tokio::test]
async fn confirmed_rules_are_in_force_after_a_restart_before_there_is_a_network() {
    let lab = paired().await;
    lab.pair(&["--bare"]).await.unwrap();
    lab.server.converged(SATELLITE, CONVERGED).await.unwrap();
    let rules = lab.data().join("rules.toml");
    let text = "[[rule]]\nname = \"probe\"\ndirection = \"in\"\naction = \"accept\"\nprotocol = \"tcp\"\nports = [20999]\n";
    e2e::network::write(&rules, text).unwrap();
    lab.server
        .cli(&[
            "firewall",
            "set",
            SATELLITE,
            &rules.display().to_string(),
            "--yes",
        ])
        .await
        .unwrap();
    lab.satellite().reboot().await.unwrap();
    for chains in chains(&lab).await.unwrap() {
        assert!(chains.contains("dport 20999"), "{chains}");
    }
    let times = "systemctl show --property=ActiveEnterTimestampMonotonic --value satellite-firewall.service systemd-networkd.service";
    let times = lab.satellite().exec(&["sh", "-c", times]).await.unwrap();
    let times: Vec<u64> = times
        .split_whitespace()
        .map(|time| time.parse().unwrap())
        .collect();
    assert!(
        times[0] > 0 && times[0] < times[1],
        "the firewall was loaded after the network: {times:?}"
    );
    lab.server.converged(SATELLITE, CONVERGED).await.unwrap();
}
