//! The packet filter of a booted satellite, set over mTLS: what is not confirmed is undone by the daemon, by systemd if
//! the daemon is dead, and by a restart; what is confirmed stays; what others made is left alone.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::time::{Duration, Instant};

use e2e::lab::SATELLITE;
use e2e::manager::{Line, Manager, with_port};
use e2e::scratch::Scratch;
use e2e::wait::until;
use satellite_proto::wire::bridge::v1 as pb;
use tonic::Code;

/// The shortest time to confirm that a satellite takes.
const SHORT: u32 = 10;
/// That, with what a busy machine may add.
const UNDONE: Duration = Duration::from_secs(40);

async fn rules(line: &Line) -> pb::Ruleset {
    line.firewall().await.unwrap().ruleset.unwrap()
}

/// Whether `port` is open, in both families.
async fn is_open(lab: &Scratch, port: u32) -> Option<bool> {
    let wanted = format!("--dports {port} ");
    let four = lab.satellite().exec(&["iptables-save"]).await.ok()?;
    let six = lab.satellite().exec(&["ip6tables-save"]).await.ok()?;
    (four.contains(&wanted) == six.contains(&wanted)).then(|| four.contains(&wanted))
}

async fn timers(lab: &Scratch) -> String {
    let list = [
        "systemctl",
        "list-units",
        "--all",
        "--plain",
        "--no-legend",
        "satellite-rollback-*",
    ];
    lab.satellite().exec(&list).await.unwrap()
}

async fn closed_again(lab: &Scratch, port: u32) {
    until("the change to be undone", UNDONE, async || {
        is_open(lab, port).await.filter(|open| !open)
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn what_is_not_confirmed_is_undone_by_the_daemon_and_foreign_rules_stay() {
    let lab = Scratch::new().await.unwrap();
    let manager = Manager::instead_of_the_server(&lab).await.unwrap();
    let line = manager.up().await.unwrap();
    let foreign = "for tables in iptables ip6tables; do $tables -N foreign; $tables -A foreign -j RETURN; \
                   $tables -A INPUT -p tcp --dport 4444 -j foreign; $tables -t nat -A OUTPUT -p udp --dport 9 -j ACCEPT; done";
    lab.satellite().exec(&["sh", "-c", foreign]).await.unwrap();
    let before = rules(&line).await;

    let start = Instant::now();
    let change = line
        .set_firewall(with_port(&before, 21_001), SHORT)
        .await
        .unwrap();
    assert_eq!(is_open(&lab, 21_001).await, Some(true));
    assert!(
        timers(&lab)
            .await
            .contains(&format!("satellite-rollback-{change}.timer"))
    );
    let second = line.set_firewall(with_port(&before, 21_002), SHORT).await;
    assert_eq!(
        second.unwrap_err().code(),
        Code::FailedPrecondition,
        "a second change"
    );
    let old = line.confirm_firewall(&change).await;
    assert_eq!(
        old.unwrap_err().code(),
        Code::FailedPrecondition,
        "an old connection"
    );
    closed_again(&lab, 21_001).await;
    let took = start.elapsed();
    assert!(
        took >= Duration::from_secs(SHORT.into()),
        "undone after {took:?} already"
    );
    println!("undone by the daemon {took:.1?} after the call");
    let fresh = manager.line().await.unwrap();
    let late = fresh.confirm_firewall(&change).await;
    assert_eq!(
        late.unwrap_err().code(),
        Code::NotFound,
        "a confirmation that is late"
    );
    let seen = fresh.firewall().await.unwrap();
    assert!(seen.in_sync && seen.open_change.is_none(), "{seen:?}");
    assert_eq!(seen.ruleset.unwrap(), before);
    assert_eq!(timers(&lab).await.trim(), "");

    let change = line
        .set_firewall(with_port(&before, 21_003), SHORT)
        .await
        .unwrap();
    let fresh = manager.line().await.unwrap();
    fresh.confirm_firewall(&change).await.unwrap();
    assert_eq!(is_open(&lab, 21_003).await, Some(true));
    for save in ["iptables-save", "ip6tables-save"] {
        let chains = lab.satellite().exec(&[save]).await.unwrap();
        for rule in [
            "-A foreign -j RETURN",
            "--dport 4444 -j foreign",
            "--dport 9 -j ACCEPT",
        ] {
            assert!(chains.contains(rule), "`{rule}` is gone:\n{chains}");
        }
    }
}

#[tokio::test]
async fn what_is_not_confirmed_is_undone_by_systemd_when_the_daemon_is_dead() {
    let lab = Scratch::new().await.unwrap();
    let manager = Manager::instead_of_the_server(&lab).await.unwrap();
    let line = manager.up().await.unwrap();
    let before = rules(&line).await;
    let start = Instant::now();
    let change = line
        .set_firewall(with_port(&before, 21_011), SHORT)
        .await
        .unwrap();
    // Masked before it is killed, so that systemd does not start it again.
    let dead = "systemctl mask --runtime --quiet satellite-bridge.service; \
                systemctl kill --signal=KILL satellite-bridge.service";
    lab.satellite().exec(&["sh", "-c", dead]).await.unwrap();
    closed_again(&lab, 21_011).await;
    println!("undone by systemd {:.1?} after the call", start.elapsed());
    let running = "systemctl is-active satellite-bridge.service; pgrep -f '[s]atellite-bridge (launch )?daemon' || true";
    let running = lab.satellite().exec(&["sh", "-c", running]).await.unwrap();
    assert!(
        !running.starts_with("active") && running.lines().count() == 1,
        "the daemon lives: {running}"
    );
    until("the timer's service to end", UNDONE, async || {
        timers(&lab).await.trim().is_empty().then_some(())
    })
    .await
    .unwrap();
    let journal = [
        "journalctl",
        "-b",
        "--no-pager",
        "-u",
        &format!("satellite-rollback-{change}.service"),
    ];
    let journal = lab.satellite().exec(&journal).await.unwrap();
    assert!(journal.contains("Rollback ended"), "{journal}");

    let alive = "systemctl unmask --runtime --quiet satellite-bridge.service; \
                 systemctl start satellite-bridge.service";
    lab.satellite().exec(&["sh", "-c", alive]).await.unwrap();
    let line = manager.up().await.unwrap();
    let seen = line.firewall().await.unwrap();
    assert!(seen.in_sync && seen.open_change.is_none(), "{seen:?}");
    assert_eq!(seen.ruleset.unwrap(), before);
}

#[tokio::test]
async fn a_restart_of_the_machine_undoes_what_is_open_and_keeps_what_is_confirmed() {
    let lab = Scratch::new().await.unwrap();
    let manager = Manager::instead_of_the_server(&lab).await.unwrap();
    let line = manager.up().await.unwrap();
    let before = rules(&line).await;
    let confirmed = with_port(&before, 21_021);
    let change = line.set_firewall(confirmed.clone(), 60).await.unwrap();
    let line = manager.line().await.unwrap();
    line.confirm_firewall(&change).await.unwrap();
    line.set_firewall(with_port(&confirmed, 21_022), 600)
        .await
        .unwrap();
    assert_eq!(is_open(&lab, 21_022).await, Some(true));

    for how in ["restart", "power cut"] {
        if how == "restart" {
            lab.satellite().reboot().await.unwrap();
        } else {
            let line = manager.line().await.unwrap();
            line.set_firewall(with_port(&confirmed, 21_022), 600)
                .await
                .unwrap();
            lab.satellite().power_cut().await.unwrap();
            lab.start().await.unwrap();
        }
        let line = manager.up().await.unwrap();
        let seen = line.firewall().await.unwrap();
        assert!(seen.in_sync && seen.open_change.is_none(), "{how}: {seen:?}");
        assert_eq!(seen.ruleset.unwrap(), confirmed, "{how}");
        assert_eq!(is_open(&lab, 21_021).await, Some(true), "{how}");
        assert_eq!(is_open(&lab, 21_022).await, Some(false), "{how}");
        let times = "systemctl show --property=ActiveEnterTimestampMonotonic --value satellite-firewall.service systemd-networkd.service";
        let times = lab.satellite().exec(&["sh", "-c", times]).await.unwrap();
        let times: Vec<u64> = times
            .split_whitespace()
            .map(|time| time.parse().unwrap())
            .collect();
        assert!(
            times[0] > 0 && times[0] < times[1],
            "{how}: the firewall was loaded after the network: {times:?}"
        );
    }
}

#[tokio::test]
async fn the_server_sets_and_confirms_rules_by_itself() {
    let lab = Scratch::new().await.unwrap();
    lab.boot().await.unwrap();
    lab.serve().await.unwrap();
    lab.pair(&["--bare"]).await.unwrap();
    lab.server.converged(SATELLITE, UNDONE).await.unwrap();
    let file = lab.data().join("rules.toml");
    let text = "[[rule]]\nname = \"probe\"\ndirection = \"in\"\naction = \"accept\"\nprotocol = \"tcp\"\nports = [21031]\n";
    e2e::network::write(&file, text).unwrap();
    let file = file.display().to_string();
    lab.server
        .cli(&["firewall", "set", SATELLITE, &file, "--yes"])
        .await
        .unwrap();
    assert_eq!(is_open(&lab, 21_031).await, Some(true));
    assert_eq!(timers(&lab).await.trim(), "", "the change is still open");
    let shown = lab.server.cli(&["firewall", "show", SATELLITE]).await.unwrap();
    assert!(shown.contains("21031"), "{shown}");
    lab.server.converged(SATELLITE, UNDONE).await.unwrap();
}
