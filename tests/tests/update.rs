//! A version that does not work is taken back, and everybody can see why; one that nobody trusted has signed never
//! gets anywhere.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::time::Duration;

use e2e::container::kill;
use e2e::lab::SATELLITE;
use e2e::manager::{Line, Manager};
use e2e::scratch::Scratch;
use e2e::variant::Variant;
use e2e::wait::until;
use nix::sys::signal::Signal;
use satellite_proto::wire::bridge::v1 as pb;
use tonic::Code;

const CONVERGED: Duration = Duration::from_mins(2);
const EXITS: &str = "#!/bin/sh\necho 'broken on purpose' >&2\nexit 3\n";

/// The satellite runs `version`, healthy and answering.
async fn runs(line: &Line, version: &str) {
    let workload = line.workload().await.unwrap();
    assert_eq!(workload.version, version, "{workload:?}");
    assert_eq!(workload.state(), pb::WorkloadState::Healthy, "{workload:?}");
    line.archives().await.unwrap();
}

#[tokio::test]
async fn a_version_that_does_not_work_is_taken_back_and_the_server_says_why() {
    let lab = Scratch::new().await.unwrap();
    lab.boot().await.unwrap();
    lab.serve().await.unwrap();
    lab.add_bundle().await.unwrap();
    lab.pair(&[]).await.unwrap();
    let satellite = lab.server.converged(SATELLITE, CONVERGED).await.unwrap();
    let old = satellite.observed.unwrap().workloads[0].version.clone();
    let dir = lab.data().join("bundles");
    let exits = Variant {
        script: Some(EXITS),
        start_seconds: 3,
        ..Variant::good("7.0.0")
    };
    let exits = exits.pack(&lab.release, &dir).await.unwrap();
    lab.server
        .cli(&["bundle", "add", &exits.display().to_string()])
        .await
        .unwrap();
    let push = ["update", "push", "backup-service", "--satellite", SATELLITE];
    let ended = lab.server.try_cli(&push).await.unwrap();
    assert_ne!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stderr.contains("broken on purpose"), "{}", ended.stderr);

    let status = lab.server.cli(&["update", "status"]).await.unwrap();
    for word in ["7.0.0", old.as_str(), "failed"] {
        assert!(status.contains(word), "no `{word}` in\n{status}");
    }
    let manager = Manager::of(&lab).await.unwrap();
    let line = manager.up().await.unwrap();
    runs(&line, &old).await;
    let operations = line.operations().await.unwrap();
    let failed: Vec<_> = operations
        .iter()
        .filter(|operation| operation.state() == pb::OperationState::Failed)
        .collect();
    assert_eq!(failed.len(), 1, "tried again: {operations:?}");
    let error = failed[0].error.clone().unwrap();
    assert!(error.rolled_back, "{error:?}");
    assert!(
        error.log_tail.join("\n").contains("broken on purpose"),
        "{error:?}"
    );

    // A person may let it be tried again; that is counted.
    let retry = ["update", "retry", "backup-service"];
    let again = lab.server.try_cli(&retry).await.unwrap();
    assert!(again.stderr.contains("broken on purpose"), "{again:?}");
    let status = lab
        .server
        .cli(&["update", "status", "--output", "json"])
        .await
        .unwrap();
    for word in ["\"tries\": 2", "\"cause\": \"version\""] {
        assert!(status.contains(word), "no `{word}` in\n{status}");
    }

    // A good one repairs it.
    let good = Variant::good("7.0.1").pack(&lab.release, &dir).await.unwrap();
    lab.server
        .cli(&["bundle", "add", &good.display().to_string()])
        .await
        .unwrap();
    let push = [&push[..], &["--version", "7.0.1"]].concat();
    lab.server.cli(&push).await.unwrap();
    lab.server.converged(SATELLITE, CONVERGED).await.unwrap();
    runs(&line, "7.0.1").await;
}

#[tokio::test]
async fn a_version_that_never_serves_and_one_of_an_unknown_key_leave_the_old_one_alone() {
    let lab = Scratch::new().await.unwrap();
    let manager = Manager::instead_of_the_server(&lab).await.unwrap();
    let line = manager.up().await.unwrap();
    let dir = lab.data().join("bundles");
    let good = Variant::good("1.0.0").pack(&lab.release, &dir).await.unwrap();
    let first = line.bring(&good).await.unwrap();
    assert_eq!(first.state(), pb::OperationState::Succeeded, "{:?}", first.error);

    let silent = Variant {
        health: "satellite.backup.v1.NoSuchService",
        start_seconds: 3,
        ..Variant::good("2.0.0")
    };
    let silent = silent.pack(&lab.release, &dir).await.unwrap();
    let ended = line.bring(&silent).await.unwrap();
    assert_eq!(ended.state(), pb::OperationState::Failed);
    let error = ended.error.unwrap();
    assert!(
        error.rolled_back && error.message.contains("not registered"),
        "{error:?}"
    );
    runs(&line, "1.0.0").await;

    let key = dir.join("other.key");
    let (secret, public) = (
        key.display().to_string(),
        dir.join("other.pub").display().to_string(),
    );
    lab.server
        .cli(&["bundle", "keygen", "--no-password", &secret, "--public", &public])
        .await
        .unwrap();
    let strange = Variant {
        key: Some(&key),
        ..Variant::good("3.0.0")
    };
    let strange = strange.pack(&lab.release, &dir).await.unwrap();
    let before = left(&lab).await;
    let refused = line.push(&strange).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    assert_eq!(left(&lab).await, before, "something is left of it");
    assert!(
        line.uploads()
            .await
            .unwrap()
            .iter()
            .all(|update| update.version != "3.0.0")
    );
    runs(&line, "1.0.0").await;
}

#[tokio::test]
async fn a_server_that_was_killed_during_an_update_learns_how_it_ended() {
    let lab = Scratch::new().await.unwrap();
    lab.boot().await.unwrap();
    lab.serve().await.unwrap();
    lab.add_bundle().await.unwrap();
    lab.pair(&[]).await.unwrap();
    lab.server.converged(SATELLITE, CONVERGED).await.unwrap();
    let manager = Manager::of(&lab).await.unwrap();
    let dir = lab.data().join("bundles");
    let silent = Variant {
        script: Some("#!/bin/sh\necho 'silent on purpose' >&2\nexec sleep 1000\n"),
        start_seconds: 4,
        ..Variant::good("7.0.0")
    };
    let good = Variant::good("7.0.1");
    for (variant, outcome) in [(silent, "failed"), (good, "done")] {
        let bundle = variant.pack(&lab.release, &dir).await.unwrap();
        let bundle = bundle.display().to_string();
        lab.server
            .cli(&["bundle", "add", "--hold", &bundle])
            .await
            .unwrap();
        let before = manager.up().await.unwrap().operations().await.unwrap().len();
        let server = lab.server.clone();
        let version = variant.version.to_owned();
        let pushing = tokio::spawn(async move {
            let push = ["update", "push", "backup-service", "--version", &version];
            server.try_cli(&push).await
        });
        let line = manager.up().await.unwrap();
        let begun = until("the installation to begin", CONVERGED, async || {
            let all = line.operations().await.ok()?;
            let new = all.len().checked_sub(before)?;
            all.into_iter()
                .take(new)
                .find(|operation| operation.kind == "install")
        });
        let begun = begun.await.unwrap();
        kill(lab.server.pid().unwrap(), Signal::SIGKILL);
        let cut = pushing.await.unwrap().unwrap();
        assert_ne!(cut.code, Some(0), "{cut:?}");
        // A new version stays only if somebody reaches the satellite.
        let ended = until("the installation to end", CONVERGED, async || {
            let seen = manager.line().await.ok()?.operations().await.ok()?;
            let own = seen.into_iter().find(|operation| operation.id == begun.id)?;
            (own.state() != pb::OperationState::Running).then_some(own)
        });
        let ended = ended.await.unwrap();
        assert_eq!(ended.error.is_some(), outcome == "failed", "{ended:?}");

        lab.serve().await.unwrap();
        let told = until("the server to know the end", CONVERGED, async || {
            let words = ["update", "history", "--output", "json"];
            let told: serde_json::Value = serde_json::from_str(&lab.server.cli(&words).await.ok()?).ok()?;
            let mut rows = told.as_array()?.iter();
            let row = rows.find(|row| row["version"] == variant.version)?;
            (row["outcome"] != "updating").then(|| row.clone())
        });
        let told = told.await.unwrap();
        assert_eq!(told["outcome"], outcome, "{told}");
        if outcome == "failed" {
            assert_ne!(told["problem"], "", "{told}");
            let status = lab.server.cli(&["update", "status"]).await.unwrap();
            assert!(status.contains("failed"), "{status}");
        } else {
            lab.server.converged(SATELLITE, CONVERGED).await.unwrap();
        }
        let all = manager.up().await.unwrap().operations().await.unwrap();
        let tries = all.iter().take(all.len() - before);
        let tries = tries.filter(|operation| operation.kind == "install").count();
        assert_eq!(tries, 1, "it was tried again: {all:?}");
    }
}

/// Every file that the bridge keeps of uploads and versions.
async fn left(lab: &Scratch) -> String {
    let find = "cd /var/lib/satellite && find updates chunks workloads | sort";
    lab.satellite().exec(&["sh", "-c", find]).await.unwrap()
}
