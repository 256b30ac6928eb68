//! A version comes by a rollout: it can be looked at before, stops by itself when it is bad, survives a restart of the
//! server, and what became of it is on record.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::time::Duration;

use e2e::lab::SATELLITE;
use e2e::scratch::Scratch;
use e2e::variant::{RELEASE, Variant};
use e2e::wait::until;

const CONVERGED: Duration = Duration::from_mins(2);
const WORKLOAD: &str = "backup-service";
const EXITS: &str = "#!/bin/sh\necho 'broken on purpose' >&2\nexit 3\n";

async fn cli(lab: &Scratch, line: &str) -> String {
    let words: Vec<_> = line.split_whitespace().collect();
    lab.server.cli(&words).await.unwrap()
}

async fn add(lab: &Scratch, variant: Variant<'_>, how: &str) {
    let bundle = variant
        .pack(&lab.release, &lab.data().join("bundles"))
        .await
        .unwrap();
    cli(lab, &format!("bundle add {} {how}", bundle.display())).await;
}

async fn installed(lab: &Scratch) -> String {
    let satellite = lab.server.converged(SATELLITE, CONVERGED).await.unwrap();
    satellite.observed.unwrap().workloads[0].version.clone()
}

/// Waits until the newest rollout says all of `words` of itself.
async fn shows(lab: &Scratch, words: &[&str]) {
    let shown = until("the rollout to come so far", CONVERGED, async || {
        let shown = ["update", "rollout", "show", "--output", "json"];
        let shown = lab.server.cli(&shown).await.ok()?;
        words.iter().all(|word| shown.contains(word)).then_some(())
    });
    if shown.await.is_err() {
        panic!(
            "no {words:?} in {}",
            cli(lab, "update rollout show --output json").await
        );
    }
}

#[tokio::test]
async fn a_rollout_is_planned_halts_on_a_bad_version_and_brings_a_good_one_across_a_restart() {
    let lab = Scratch::new().await.unwrap();
    lab.boot().await.unwrap();
    lab.serve().await.unwrap();
    add(&lab, Variant::good("1.0.0"), "").await;
    lab.pair(&[]).await.unwrap();
    assert_eq!(installed(&lab).await, "1.0.0");
    cli(&lab, &format!("satellite site {SATELLITE} bern")).await;
    let plan = cli(&lab, "update plan").await;
    assert!(plan.contains("as it is meant to be"), "{plan}");

    halts(&lab).await;
    ends_across_a_restart(&lab).await;
    damage_is_found(&lab).await;
}

async fn halts(lab: &Scratch) {
    // A version that is held comes to nobody by itself, and a bad one halts its rollout at the canary.
    let bad = Variant {
        script: Some(EXITS),
        start_seconds: 3,
        release: RELEASE + 1,
        ..Variant::good("2.0.0")
    };
    add(lab, bad, "--hold").await;
    let plan = cli(lab, &format!("update plan {WORKLOAD} --version 2.0.0")).await;
    for word in ["push", "install", "backup-service 2.0.0", "from 1.0.0"] {
        assert!(plan.contains(word), "no `{word}` in\n{plan}");
    }
    assert_eq!(installed(lab).await, "1.0.0");
    let start = format!("update rollout start {WORKLOAD} --version 2.0.0");
    cli(lab, &start).await;
    shows(
        lab,
        &["\"state\": \"halted\"", "broken on purpose", "\"site\": \"bern\""],
    )
    .await;
    let open = start.replace("2.0.0", "1.0.0");
    let open: Vec<_> = open.split_whitespace().collect();
    let refused = lab.server.try_cli(&open).await.unwrap();
    assert!(refused.stderr.contains("is open"), "{refused:?}");
    cli(lab, "update rollout abort").await;
    shows(lab, &["\"state\": \"aborted\""]).await;
    assert_eq!(installed(lab).await, "1.0.0");
}

async fn ends_across_a_restart(lab: &Scratch) {
    // A good one is paused before it begins, outlives the server, and ends when it is let go on.
    let good = Variant {
        release: RELEASE + 2,
        ..Variant::good("3.0.0")
    };
    add(lab, good, "--hold").await;
    let shut = "--window 00:00-00:01"; // Nobody runs this test in that minute for long.
    cli(
        lab,
        &format!("update rollout start {WORKLOAD} --version 3.0.0 {shut}"),
    )
    .await;
    cli(lab, "update rollout pause").await;
    lab.server.stop().await;
    lab.serve().await.unwrap();
    shows(lab, &["\"state\": \"paused\"", "\"state\": \"waiting\""]).await;
    cli(lab, "update rollout abort").await;
    cli(
        lab,
        &format!("update rollout start {WORKLOAD} --version 3.0.0 --wait"),
    )
    .await;
    shows(lab, &["\"state\": \"done\"", "\"done\": 1"]).await;
    assert_eq!(installed(lab).await, "3.0.0");
    let history = cli(lab, "update history --output json").await;
    let history: serde_json::Value = serde_json::from_str(&history).unwrap();
    let told: Vec<_> = history.as_array().unwrap().iter().collect();
    let versions: Vec<_> = told.iter().map(|one| one["version"].as_str().unwrap()).collect();
    assert_eq!(versions, ["3.0.0", "2.0.0", "1.0.0"], "{history:#}");
    let outcomes: Vec<_> = told.iter().map(|one| one["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["done", "failed", "done"], "{history:#}");
    let saved = told[0]["bytes_saved"].as_u64().unwrap();
    assert!(saved > told[0]["bytes_sent"].as_u64().unwrap(), "{history:#}");
}

async fn damage_is_found(lab: &Scratch) {
    // What runs is what was signed, also when the service manager starts it anew by itself.
    let damage = "echo x >>$(readlink -f /var/lib/satellite/workloads/backup-service/current)/version; \
                  systemctl kill -s ABRT satellite-workload-backup-service";
    lab.satellite().exec(&["sh", "-c", damage]).await.unwrap();
    let refused = until("the damage to be found", CONVERGED, async || {
        let log = [
            "journalctl",
            "-b",
            "-o",
            "cat",
            "-u",
            "satellite-workload-backup-service",
        ];
        let log = lab.satellite().exec(&log).await.ok()?;
        log.contains("is not what was signed").then_some(())
    });
    refused.await.unwrap();
}
