//! The bridge updates itself in a booted satellite under systemd: a good one stays, one that crashes, hangs or is not reached
//! is given up for the one before, and it is killed at each step.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::time::{Duration, Instant};

use e2e::base::{Bridge, CRASHES, HANGS};
use e2e::lab::SATELLITE;
use e2e::manager::Manager;
use e2e::scratch::Scratch;
use e2e::wait::until;
use satellite_proto::wire::bridge::v1 as pb;

const UNIT: &str = "satellite-bridge.service";
const BASE: &str = "/var/lib/satellite/base";
const SETTLED: Duration = Duration::from_secs(120);
const CONVERGED: Duration = Duration::from_mins(2);
/// Steps that the bridge before passes: it is armed there, and restarted. All others are passed by what is started next.
const BEFORE: [&str; 4] = [
    "base.accepted",
    "base.staged",
    "base.verified",
    "base.trial-recorded",
];
const AFTER: [&str; 6] = [
    "base.start-counted",
    "base.proving",
    "base.confirm-recorded",
    "base.floor-raised",
    "base.linked",
    "base.record-removed",
];

async fn sh(lab: &Scratch, script: &str) -> String {
    lab.satellite().exec(&["sh", "-c", script]).await.unwrap()
}

/// Which file the daemon runs from.
async fn program(lab: &Scratch) -> String {
    let pid = lab.satellite().main_pid(UNIT).await.unwrap().unwrap();
    sh(lab, &format!("readlink /proc/{pid}/exe"))
        .await
        .trim()
        .to_owned()
}

/// Waits until no change is under way, without calling the bridge, and answers how long that took.
async fn quiet(lab: &Scratch) -> Duration {
    let begun = Instant::now();
    let quiet = until("the change to be over", SETTLED, async || {
        let left = lab
            .satellite()
            .exec(&[
                "sh",
                "-c",
                &format!("ls {BASE}/change.json 2>/dev/null; systemctl is-active {UNIT}; true"),
            ])
            .await
            .ok()?;
        (left.trim() == "active").then_some(())
    });
    quiet.await.unwrap();
    begun.elapsed()
}

/// The version that runs, by what it says of itself and by the file that it runs from; nothing half-made lies about.
async fn version(lab: &Scratch, manager: &Manager, point: &str) -> String {
    quiet(lab).await;
    let line = manager.up().await.unwrap();
    let satellite = line.satellite().await.unwrap();
    assert_eq!(satellite.base, "bridge");
    let found = sh(
        lab,
        &format!("ls {BASE} {BASE}/bridge/versions 2>/dev/null; true"),
    )
    .await;
    for leftover in [".part", "change.json", "damaged"] {
        assert!(!found.contains(leftover), "{point} left {leftover}: {found}");
    }
    let program = program(lab).await;
    let shown = satellite.workloads.iter().find(|part| part.name == "bridge");
    let Some(shown) = shown else {
        assert_eq!(program, "/usr/lib/satellite/satellite-bridge", "{point}");
        return "shipped".to_owned();
    };
    assert_eq!(shown.state(), pb::WorkloadState::Healthy, "{point}: {shown:?}");
    let wanted = format!(
        "{BASE}/bridge/versions/{}/satellite-bridge",
        shown.manifest_digest
    );
    assert_eq!(program, wanted, "{point}");
    shown.version.clone()
}

async fn last_install(manager: &Manager) -> pb::Operation {
    let line = manager.up().await.unwrap();
    let ended = until("the operation to end", SETTLED, async || {
        let all = line.operations().await.ok()?;
        let last = all.into_iter().find(|operation| operation.kind == "install")?;
        let open = [pb::OperationState::Pending, pb::OperationState::Running];
        (!open.contains(&last.state())).then_some(last)
    });
    ended.await.unwrap()
}

#[tokio::test]
async fn a_bridge_is_updated_from_the_server_and_one_that_crashes_is_taken_back_with_its_cause() {
    let lab = Scratch::new().await.unwrap();
    lab.boot().await.unwrap();
    lab.serve().await.unwrap();
    lab.pair(&["--bare"]).await.unwrap();
    lab.server.converged(SATELLITE, CONVERGED).await.unwrap();
    let dir = lab.data().join("bundles");
    let good = Bridge::good("5.0.0").pack(&lab.release, &dir).await.unwrap();
    let add = |bundle: &std::path::Path| {
        [
            "bundle".to_owned(),
            "add".to_owned(),
            bundle.display().to_string(),
        ]
    };
    let add_good = add(&good);
    lab.server
        .cli(&add_good.each_ref().map(String::as_str))
        .await
        .unwrap();
    let begun = Instant::now();
    // Nobody wanted it before, and no satellite is named: those that consist of a bridge are meant.
    lab.server.cli(&["update", "push", "bridge"]).await.unwrap();
    println!(
        "a good bridge, push to confirmed: {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    let five = program(&lab).await;
    assert!(five.starts_with(&format!("{BASE}/bridge/versions/")), "{five}");

    // It stays across a kill and across a boot.
    lab.satellite().kill_bridge().await.unwrap();
    lab.server.converged(SATELLITE, CONVERGED).await.unwrap();
    assert_eq!(program(&lab).await, five);
    lab.satellite().reboot().await.unwrap();
    lab.server.converged(SATELLITE, CONVERGED).await.unwrap();
    assert_eq!(program(&lab).await, five);

    let bad = Bridge {
        script: Some(CRASHES),
        ..Bridge::good("6.0.0")
    };
    let bad = bad.pack(&lab.release, &dir).await.unwrap();
    let add_bad = add(&bad);
    lab.server
        .cli(&add_bad.each_ref().map(String::as_str))
        .await
        .unwrap();
    let begun = Instant::now();
    let ended = lab
        .server
        .try_cli(&["update", "push", "bridge", "--satellite", SATELLITE])
        .await
        .unwrap();
    println!(
        "a bridge that crashes, push to the one before: {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    assert_ne!(ended.code, Some(0), "{ended:?}");
    for word in ["ended 3 times", "crashed on purpose"] {
        assert!(ended.stderr.contains(word), "no `{word}` in {}", ended.stderr);
    }
    assert_eq!(program(&lab).await, five);
    let history = lab.server.cli(&["update", "history"]).await.unwrap();
    for word in ["bridge", "5.0.0", "6.0.0", "failed"] {
        assert!(history.contains(word), "no `{word}` in\n{history}");
    }
    let refused = lab
        .server
        .try_cli(&["workload", "stop", SATELLITE, "bridge"])
        .await
        .unwrap();
    assert_ne!(refused.code, Some(0), "{refused:?}");
}

#[tokio::test]
async fn a_bridge_that_hangs_or_that_the_server_does_not_reach_is_given_up_for_the_one_before() {
    let lab = Scratch::new().await.unwrap();
    let manager = Manager::instead_of_the_server(&lab).await.unwrap();
    let dir = lab.data().join("bundles");
    let hanging = Bridge {
        script: Some(HANGS),
        start_seconds: 2,
        ..Bridge::good("5.0.0")
    };
    let deaf = Bridge {
        start_seconds: 2,
        ..Bridge::good("5.1.0")
    };
    for (bundle, cause) in [(hanging, "it hangs"), (deaf, "did not reach bridge 5.1.0")] {
        let bundle = bundle.pack(&lab.release, &dir).await.unwrap();
        let line = manager.up().await.unwrap();
        let upload = line.push(&bundle).await.unwrap();
        line.install(&upload).await.unwrap();
        let on_trial = until("the trial", SETTLED, async || {
            let record = ["cat", &format!("{BASE}/change.json")].map(str::to_owned);
            let record = lab
                .satellite()
                .exec(&record.each_ref().map(String::as_str))
                .await
                .ok()?;
            record.contains("\"trial\"").then_some(())
        });
        on_trial.await.unwrap();
        // Nobody calls it until it is over.
        let took = quiet(&lab).await;
        println!(
            "{cause}: the one before was back after {:.1} s",
            took.as_secs_f64()
        );
        let operation = last_install(&manager).await;
        assert_eq!(operation.state(), pb::OperationState::Failed);
        let error = operation.error.unwrap();
        assert!(error.rolled_back && error.message.contains(cause), "{error:?}");
        assert_eq!(version(&lab, &manager, cause).await, "shipped");
    }
    let timers = sh(
        &lab,
        "systemctl list-units --all --plain --no-legend 'satellite-take-back-*.timer'",
    )
    .await;
    assert!(timers.trim().lines().count() <= 1, "{timers}");
}

#[tokio::test]
async fn a_bridge_that_updates_itself_is_killed_at_each_step_and_is_the_old_or_the_new_one() {
    let lab = Scratch::new().await.unwrap();
    let manager = Manager::instead_of_the_server(&lab).await.unwrap();
    // A point counts for one start of the bridge, also for what starts it.
    let drop_in = "[Service]\\nExecStartPre=-+/bin/rm -f /run/fail.env\\nExecStartPre=-+/bin/mv /run/fail.next \
                   /run/fail.env\\nEnvironmentFile=-/run/fail.env\\nRestartSec=100ms\\n";
    let unit = format!("/run/systemd/system/{UNIT}.d");
    sh(
        &lab,
        &format!("mkdir -p {unit}; printf '{drop_in}' >{unit}/fail.conf; systemctl daemon-reload"),
    )
    .await;
    let dir = lab.data().join("bundles");
    let mut bundles = Vec::new();
    for version in ["5.0.0", "5.1.0"] {
        bundles.push((
            version,
            Bridge::good(version).pack(&lab.release, &dir).await.unwrap(),
        ));
    }
    let (mut old, mut tried) = ("shipped".to_owned(), 0);
    for point in BEFORE.iter().chain(&AFTER) {
        let begun = Instant::now();
        let (new, bundle) = bundles.iter().find(|(version, _)| *version != old).unwrap();
        let arm = format!("echo SATELLITE_FAIL_POINT={point} >/run/fail.next");
        if BEFORE.contains(point) {
            sh(&lab, &format!("{arm}; systemctl restart {UNIT}")).await;
        }
        let line = manager.up().await.unwrap();
        let upload = line.push(bundle).await.unwrap();
        if AFTER.contains(point) {
            sh(&lab, &arm).await;
        }
        let _it_may_die = line.install(&upload).await;
        let died = until("the bridge to die", SETTLED, async || {
            let _it_is_reached = async { manager.line().await.ok()?.satellite().await.ok() }.await;
            let log = format!("journalctl -b -u {UNIT} --no-pager -o cat | grep -c 'status=9/KILL'; true");
            let count: u32 = lab
                .satellite()
                .exec(&["sh", "-c", &log])
                .await
                .ok()?
                .trim()
                .parse()
                .ok()?;
            (count > tried).then_some(())
        });
        assert!(died.await.is_ok(), "{point} is not on the way");
        tried += 1;
        let operation = last_install(&manager).await;
        let now = version(&lab, &manager, point).await;
        let succeeded = operation.state() == pb::OperationState::Succeeded;
        assert_eq!(now, if succeeded { *new } else { &old }, "{point}: {operation:?}");
        if !succeeded {
            let error = operation.error.unwrap();
            assert!(
                error.rolled_back && !error.message.is_empty(),
                "{point}: {error:?}"
            );
        }
        println!("{point}: {now} runs, {:.1} s", begun.elapsed().as_secs_f64());
        old = now;
    }
    println!("killed at {tried} points of an update of the bridge");
}
