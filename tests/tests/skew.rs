//! Programs of two ages work with each other: a bridge of the release before with the management module of today, and the
//! other way round. The programs are built from the sources of that release.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::time::Duration;

use e2e::earlier::Earlier;
use e2e::lab::SATELLITE;
use e2e::release::Release;
use e2e::scratch::Scratch;
use e2e::variant::Variant;

const CONVERGED: Duration = Duration::from_mins(3);

/// Commissions a satellite, updates its workload, lets a bad version be taken back, and reads what both sides tell.
async fn works(lab: &Scratch) {
    lab.boot().await.unwrap();
    lab.serve().await.unwrap();
    lab.add_bundle().await.unwrap();
    lab.pair(&[]).await.unwrap();
    lab.server.converged(SATELLITE, CONVERGED).await.unwrap();
    let dir = lab.data().join("bundles");
    let good = Variant::good("7.0.0").pack(&lab.release, &dir).await.unwrap();
    let bad = Variant {
        script: Some("#!/bin/sh\necho 'broken on purpose' >&2\nexit 3\n"),
        start_seconds: 3,
        ..Variant::good("8.0.0")
    };
    let bad = bad.pack(&lab.release, &dir).await.unwrap();
    let push = [
        "update",
        "push",
        "backup-service",
        "--satellite",
        SATELLITE,
        "--version",
    ];
    for (bundle, version, stays) in [(good, "7.0.0", true), (bad, "8.0.0", false)] {
        let add = ["bundle", "add", &bundle.display().to_string()].map(str::to_owned);
        lab.server.cli(&add.each_ref().map(String::as_str)).await.unwrap();
        let ended = lab
            .server
            .try_cli(&[&push[..], &[version]].concat())
            .await
            .unwrap();
        assert_eq!(ended.code == Some(0), stays, "{version}: {ended:?}");
        assert!(
            stays || ended.stderr.contains("broken on purpose"),
            "{}",
            ended.stderr
        );
    }
    let satellite = lab.server.satellite(SATELLITE).await.unwrap();
    let workloads = satellite.observed.unwrap().workloads;
    assert_eq!(workloads[0].version, "7.0.0", "{workloads:?}");
    for (words, expected) in [
        (&["firewall", "show", SATELLITE][..], "7640"),
        (
            &["satellite", "logs", SATELLITE, "bridge", "-n", "200"],
            "Daemon started",
        ),
        (&["satellite", "show", SATELLITE], "backup-service"),
        (&["workload", "restart", SATELLITE, "backup-service"], ""),
        (&["update", "history"], "8.0.0"),
    ] {
        let said = lab.server.cli(words).await.unwrap();
        assert!(said.contains(expected), "{words:?}: {said}");
    }
    // A server that starts anew finds what it left.
    lab.server.stop().await;
    lab.serve().await.unwrap();
}

#[tokio::test]
#[ignore = "make test-skew: builds the programs of the release before"]
async fn a_bridge_of_the_release_before_works_with_the_management_module_of_today() {
    let release = Release::find().unwrap();
    let earlier = Earlier::built(&release).await.unwrap();
    let bridge = earlier.program("satellite-bridge");
    let lab = Scratch::of(release.with_satellites_of(earlier.top, bridge))
        .await
        .unwrap();
    works(&lab).await;
}

#[tokio::test]
#[ignore = "make test-skew: builds the programs of the release before"]
async fn a_management_module_of_the_release_before_works_with_the_bridge_of_today() {
    let release = Release::find().unwrap();
    let earlier = Earlier::built(&release).await.unwrap();
    let lab = Scratch::of(release.with_server(earlier.program("management-module")))
        .await
        .unwrap();
    works(&lab).await;
}
