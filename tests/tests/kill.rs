//! The bridge is killed by SIGKILL at each of its fail points, in a booted satellite under systemd: afterwards it is the
//! old or the new one, whole, and works.
//!
//! The points are read from the source, so that a new one cannot be forgotten; one that is not passed fails the test.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test, which says how many points it tried"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use e2e::manager::{Line, Manager, WORKLOAD, with_port};
use e2e::scratch::Scratch;
use e2e::variant::Variant;
use e2e::wait::until;
use satellite_proto::wire::bridge::v1 as pb;
use tonic::{Code, Status};

const BRIDGE: &str = "satellite-bridge.service";
const SETTLED: Duration = Duration::from_secs(60);
/// Seconds within which the server comes back after an update.
const CONTACT: u32 = 30;

/// The names in the bridge's lists of fail points that begin with one of `prefixes`, in the order of the source.
fn points(prefixes: &[&str]) -> Vec<String> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .join("satellite-bridge/src");
    let mut found = Vec::new();
    for entry in walkdir::WalkDir::new(top) {
        let entry = entry.unwrap();
        if entry.path().extension().is_none_or(|kind| kind != "rs") {
            continue;
        }
        let text = std::fs::read_to_string(entry.path()).unwrap();
        let Some(list) = text.split("pub const FAIL_POINTS").nth(1) else {
            continue;
        };
        let list = list.split("];").next().unwrap();
        found.extend(list.split('"').skip(1).step_by(2).map(str::to_owned));
    }
    found.retain(|name| prefixes.iter().any(|prefix| name.starts_with(prefix)));
    assert!(found.len() >= 3, "where are the fail points? {found:?}");
    found
}

/// A satellite that dies on demand.
struct Victim {
    manager: Manager,
    lab: Scratch,
}

impl Victim {
    async fn new() -> Self {
        let lab = Scratch::new().await.unwrap();
        let manager = Manager::instead_of_the_server(&lab).await.unwrap();
        // The point counts for one life of the daemon: once it is up the file is gone.
        let drop_in = "[Service]\\nEnvironmentFile=-/run/fail.env\\nExecStartPost=+/bin/rm -f /run/fail.env\\n\
                       RestartSec=100ms\\n";
        let dir = format!("/run/systemd/system/{BRIDGE}.d");
        let script =
            format!("mkdir -p {dir} && printf '{drop_in}' >{dir}/fail.conf && systemctl daemon-reload");
        lab.satellite().exec(&["sh", "-c", &script]).await.unwrap();
        Self { manager, lab }
    }

    async fn sh(&self, script: &str) -> String {
        self.lab.satellite().exec(&["sh", "-c", script]).await.unwrap()
    }

    /// Makes the bridge die when it passes `point`.
    async fn arm(&self, point: &str) -> Line {
        let script =
            format!("echo SATELLITE_FAIL_POINT={point} >/run/fail.env && systemctl restart {BRIDGE}");
        self.sh(&script).await;
        self.manager.up().await.unwrap()
    }

    /// Calls the bridge over a new connection, if it is there: an update may wait for that.
    async fn reach(&self) {
        if let Ok(line) = self.manager.line().await {
            let _it_may_die = line.satellite().await;
        }
    }

    /// Begins what the bridge will not survive.
    async fn begin(&self, begin: impl AsyncFn() -> Result<pb::Operation, Status>) {
        let begun = until("the operation to be accepted", SETTLED, async || {
            match begin().await {
                // A daemon that starts looks after its workloads first.
                Err(status) if status.code() == Code::Aborted => None,
                other => Some(other),
            }
        });
        if let Err(status) = begun.await.unwrap() {
            let cut = [Code::Unavailable, Code::Unknown, Code::Internal, Code::Cancelled];
            assert!(cut.contains(&status.code()), "{status}");
        }
    }

    /// Waits until systemd has started the bridge again, and answers a connection to it.
    async fn reborn(&self, point: &str) -> Line {
        let died = until("the bridge to die", SETTLED, async || {
            self.reach().await;
            let show = ["systemctl", "show", "--property=NRestarts", "--value", BRIDGE];
            let shown = self.lab.satellite().exec(&show).await.ok()?;
            (shown.trim() != "0").then_some(())
        });
        assert!(died.await.is_ok(), "{point} is not on the way");
        self.manager.up().await.unwrap()
    }

    /// Waits until no operation is under way any more, and answers the last one of `kind`.
    async fn settled(&self, line: &Line, kind: &str) -> Option<pb::Operation> {
        let mut all = Vec::new();
        let settled = until("all operations to end", SETTLED, async || {
            self.reach().await;
            all = line.operations().await.ok()?;
            let open = [pb::OperationState::Pending, pb::OperationState::Running];
            (!all.iter().any(|operation| open.contains(&operation.state()))).then_some(())
        });
        settled.await.unwrap();
        all.into_iter().find(|operation| operation.kind == kind)
    }

    /// The version that is installed: it is healthy, answers, is whole, and nothing half-made lies about.
    async fn version(&self, line: &Line, point: &str) -> String {
        let healthy = until("the workload to be healthy", SETTLED, async || {
            let workload = line.workload().await.ok()?;
            (workload.state() == pb::WorkloadState::Healthy).then_some(workload)
        });
        let Ok(workload) = healthy.await else {
            panic!("{point}: {:?}", line.workload().await)
        };
        line.archives()
            .await
            .unwrap_or_else(|status| panic!("{point}: {status}"));
        let home = format!("/var/lib/satellite/workloads/{WORKLOAD}");
        let found = self
            .sh(&format!(
                "readlink {home}/current; cat {home}/current/version; ls {home} {home}/versions"
            ))
            .await;
        assert!(
            found.starts_with(&format!(
                "versions/{}\n{}",
                workload.manifest_digest, workload.version
            )),
            "{point}: {found}"
        );
        for leftover in [".part", "journal.json", "removal.json", "snapshot"] {
            assert!(!found.contains(leftover), "{point} left {leftover}: {found}");
        }
        let versions = found
            .lines()
            .filter(|line| line.ends_with(".json") && line.len() > 64)
            .count();
        assert!((1..=2).contains(&versions), "{point}: {found}");
        workload.version
    }
}

/// Bundles of these versions, of which each can follow each.
async fn bundles(lab: &Scratch, versions: &[&'static str]) -> BTreeMap<String, PathBuf> {
    let mut packed = BTreeMap::new();
    for version in versions {
        let bundle = Variant::good(version)
            .pack(&lab.release, &lab.data().join("bundles"))
            .await;
        packed.insert((*version).to_owned(), bundle.unwrap());
    }
    packed
}

fn ended(operation: Option<pb::Operation>, point: &str) -> pb::Operation {
    operation.unwrap_or_else(|| panic!("{point}: the satellite forgot the operation"))
}

async fn updates(half: impl Fn(usize) -> bool) {
    let victim = Victim::new().await;
    let bundles = bundles(&victim.lab, &["1.0.0", "2.0.0"]).await;
    let line = victim.manager.up().await.unwrap();
    let first = line.bring(&bundles["1.0.0"]).await.unwrap();
    assert_eq!(first.state(), pb::OperationState::Succeeded, "{:?}", first.error);
    let (mut old, mut tried) = ("1.0.0".to_owned(), 0);
    for (_, point) in points(&["install."])
        .into_iter()
        .enumerate()
        .filter(|(number, _)| half(*number))
    {
        let start = Instant::now();
        let new = if old == "1.0.0" { "2.0.0" } else { "1.0.0" };
        let line = victim.arm(&point).await;
        let upload = line.push(&bundles[new]).await.unwrap();
        victim
            .begin(async || line.install_and_be_reached(&upload, CONTACT).await)
            .await;
        let line = victim.reborn(&point).await;
        let operation = ended(victim.settled(&line, "install").await, &point);
        let now = victim.version(&line, &point).await;
        let succeeded = operation.state() == pb::OperationState::Succeeded;
        assert_eq!(now, if succeeded { new } else { &old }, "{point}: {operation:?}");
        if !succeeded {
            let error = operation.error.unwrap();
            assert!(
                error.rolled_back && !error.message.is_empty(),
                "{point}: {error:?}"
            );
        }
        println!(
            "{point}: {now} is in force, {:.1} s",
            start.elapsed().as_secs_f64()
        );
        old = now;
        tried += 1;
    }
    // And it can still be updated.
    let line = victim.manager.up().await.unwrap();
    let new = if old == "1.0.0" { "2.0.0" } else { "1.0.0" };
    let last = line.bring(&bundles[new]).await.unwrap();
    assert_eq!(last.state(), pb::OperationState::Succeeded, "{:?}", last.error);
    assert_eq!(victim.version(&line, "the end").await, new);
    println!("killed at {tried} points of an update");
}

#[tokio::test]
async fn an_update_survives_a_kill_at_every_other_step() {
    updates(|number| number % 2 == 0).await;
}

#[tokio::test]
async fn an_update_survives_a_kill_at_the_steps_between() {
    updates(|number| number % 2 == 1).await;
}

#[tokio::test]
async fn a_rollback_and_a_removal_survive_a_kill_at_each_of_their_steps() {
    let victim = Victim::new().await;
    let bundles = bundles(&victim.lab, &["1.0.0"]).await;
    let broken = Variant {
        script: Some("#!/bin/sh\nexit 3\n"),
        start_seconds: 3,
        ..Variant::good("6.6.6")
    };
    let broken = broken
        .pack(&victim.lab.release, &victim.lab.data().join("bundles"))
        .await
        .unwrap();
    let line = victim.manager.up().await.unwrap();
    line.bring(&bundles["1.0.0"]).await.unwrap();
    let mut tried = 0;
    for point in points(&["rollback."]) {
        let start = Instant::now();
        let line = victim.arm(&point).await;
        let upload = line.push(&broken).await.unwrap();
        victim.begin(async || line.install(&upload).await).await;
        let line = victim.reborn(&point).await;
        let operation = ended(victim.settled(&line, "install").await, &point);
        assert_eq!(operation.state(), pb::OperationState::Failed, "{point}");
        assert!(operation.error.unwrap().rolled_back, "{point}");
        assert_eq!(victim.version(&line, &point).await, "1.0.0");
        println!("{point}: 1.0.0 is back, {:.1} s", start.elapsed().as_secs_f64());
        tried += 1;
    }
    for point in points(&["remove."]) {
        let start = Instant::now();
        let line = victim.arm(&point).await;
        victim.begin(async || line.remove().await).await;
        let line = victim.reborn(&point).await;
        victim.settled(&line, "remove").await;
        match line.workload().await {
            Ok(_) => {
                assert_eq!(victim.version(&line, &point).await, "1.0.0");
                println!(
                    "{point}: it is still there, {:.1} s",
                    start.elapsed().as_secs_f64()
                );
            }
            Err(status) => {
                assert_eq!(status.code(), Code::NotFound, "{point}: {status}");
                let gone = victim
                    .sh("systemctl is-active satellite-workload-backup-service.service; \
                         ls -A /var/lib/satellite/workloads /run/systemd/system | grep backup-service; true")
                    .await;
                assert_eq!(gone.trim(), "inactive", "{point}");
                println!("{point}: it is gone, {:.1} s", start.elapsed().as_secs_f64());
            }
        }
        let again = line.bring(&bundles["1.0.0"]).await.unwrap();
        assert_eq!(
            again.state(),
            pb::OperationState::Succeeded,
            "{point}: {:?}",
            again.error
        );
        assert_eq!(victim.version(&line, &point).await, "1.0.0");
        tried += 1;
    }
    println!("killed at {tried} points of a rollback and a removal");
}

#[tokio::test]
async fn a_firewall_change_survives_a_kill_at_each_of_its_steps() {
    let victim = Victim::new().await;
    let mut tried = 0;
    let mut port = 20_000;
    for point in points(&["firewall."]) {
        port += 1;
        // The daemon puts its rules in force when it starts, too: there the change is the second passage.
        let again = if point == "firewall.half-applied" {
            ":2"
        } else {
            ""
        };
        let line = victim.arm(&format!("{point}{again}")).await;
        let before = line.firewall().await.unwrap().ruleset.unwrap();
        let wanted = with_port(&before, port);
        let way = async {
            let change = line.set_firewall(wanted.clone(), 60).await.ok()?;
            if point.contains("roll") {
                line.rollback_firewall(&change).await.ok()?;
            } else {
                let fresh = victim.manager.line().await.ok()?;
                fresh.confirm_firewall(&change).await.ok()?;
            }
            Some(())
        };
        assert!(way.await.is_none(), "{point} is not on the way");
        let line = victim.reborn(&point).await;
        let now = whole(&victim, &line, &point).await;
        let kept = now == wanted;
        assert!(kept || now == before, "{point}: {now:?}");
        assert_eq!(
            kept,
            ["firewall.confirm-recorded", "firewall.confirmed"].contains(&point.as_str()),
            "{point}"
        );
        println!(
            "{point}: the {} rules are in force",
            if kept { "new" } else { "old" }
        );

        port += 1;
        let next = with_port(&now, port);
        let change = line.set_firewall(next.clone(), 60).await.unwrap();
        let fresh = victim.manager.line().await.unwrap();
        fresh.confirm_firewall(&change).await.unwrap();
        assert_eq!(whole(&victim, &fresh, &point).await, next, "{point}");
        tried += 1;
    }
    println!("killed at {tried} points of a change of the firewall");
}

/// The rules in force: what is meant, in both families, with no change open and no timer left.
async fn whole(victim: &Victim, line: &Line, point: &str) -> pb::Ruleset {
    let seen = line.firewall().await.unwrap();
    assert!(seen.in_sync && seen.open_change.is_none(), "{point}: {seen:?}");
    let ruleset = seen.ruleset.unwrap();
    let mut wanted: Vec<u32> = ruleset
        .rules
        .iter()
        .filter(|rule| rule.name.starts_with("probe-"))
        .map(|rule| rule.ports[0].first)
        .collect();
    wanted.sort_unstable();
    for save in ["iptables-save", "ip6tables-save"] {
        let chains = victim.sh(save).await;
        assert!(
            chains.contains("7640"),
            "{point}: the bridge's own port is shut:\n{chains}"
        );
        let mut open: Vec<u32> = chains
            .split("--dports ")
            .skip(1)
            .filter_map(|rest| rest.split_whitespace().next()?.parse().ok())
            .filter(|port| *port > 20_000)
            .collect();
        open.sort_unstable();
        open.dedup();
        assert_eq!(open, wanted, "{point}: {chains}");
    }
    let timers = victim
        .sh("systemctl list-units --all --plain --no-legend 'satellite-rollback-*.timer'")
        .await;
    // Of a rollback that was recorded nobody knows any more: its timer will find nothing to do.
    let few = usize::from(point == "firewall.rollback-recorded");
    assert!(timers.trim().lines().count() <= few, "{point}: {timers}");
    ruleset
}
