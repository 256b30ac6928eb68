//! The daemon is killed at every named point, for real: a child process, SIGKILL. What comes up afterwards is the old
//! version or the new one, whole, and works.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use satellite_host::fail::VARIABLE;
use satellite_proto::wire::bridge::v1::{OperationState, WorkloadState};

use tokio::task::JoinSet;

use super::world::{Parts, Satellite, World, name};
use crate::workload::{FAIL_POINTS, assemble, unit_name};

/// Where nobody comes without having been reached by the server.
const AFTER_CONTACT: &[&str] = &[
    "install.confirmed.done",
    "install.confirmed.recorded",
    "install.floor-raised",
    "install.cleaned",
];

/// Tells the child where its world is.
pub(super) const WORLD: &str = "SATELLITE_TEST_WORLD";
/// Tells it what to do there.
pub(super) const WORK: &str = "SATELLITE_TEST_WORK";

#[tokio::test]
async fn killed_anywhere_in_an_update_the_old_or_the_new_version_is_whole() {
    for point in FAIL_POINTS.iter().filter(|point| point.starts_with("install.")) {
        for power_cut in [false, true] {
            check(point, "install", "good two", Some("good one"), power_cut).await;
        }
    }
}

#[tokio::test]
async fn killed_anywhere_in_a_first_installation_it_is_there_or_not() {
    let saving = ["install.state-copied"];
    let install = FAIL_POINTS
        .iter()
        .filter(|point| point.starts_with("install.") && !saving.contains(point));
    for point in install {
        check(point, "install", "good two", None, true).await;
    }
    for point in FAIL_POINTS.iter().filter(|point| point.starts_with("rollback.")) {
        check(point, "install", "broken two", None, true).await;
    }
}

#[tokio::test]
async fn killed_anywhere_in_a_rollback_the_old_version_comes_back() {
    for point in FAIL_POINTS.iter().filter(|point| point.starts_with("rollback.")) {
        for power_cut in [false, true] {
            check(point, "install", "broken two", Some("good one"), power_cut).await;
        }
    }
}

#[tokio::test]
async fn killed_anywhere_in_an_update_after_which_the_server_stays_away_the_old_version_comes_back() {
    let before = |point: &&&str| !AFTER_CONTACT.contains(*point) && !point.starts_with("remove.");
    let points = FAIL_POINTS.iter().filter(before);
    let checks = points.flat_map(|point| [false, true].map(|power_cut| (point, power_cut)));
    let checks = checks.map(async |(point, power_cut)| {
        check(point, "alone", "good two", Some("good one"), power_cut).await;
    });
    // They mostly wait for the server.
    let mut checks = futures_util::stream::iter(checks).buffer_unordered(8);
    while checks.next().await.is_some() {}
}

#[tokio::test]
async fn killed_anywhere_in_a_removal_it_is_gone_afterwards() {
    for point in FAIL_POINTS.iter().filter(|point| point.starts_with("remove.")) {
        check(point, "remove", "good two", Some("good one"), false).await;
    }
}

async fn check(point: &str, work: &str, content: &str, before: Option<&str>, power_cut: bool) {
    let world = World::new();
    if let Some(before) = before {
        let satellite = world.boot();
        let operation = satellite.install(&world.bundle(1, before), true).await;
        assert_eq!(operation.state(), OperationState::Succeeded);
    }
    world.bundle(2, content).save(&world.root.join("bundle"));
    kill_child_at(point, work, &world.root).await;

    // The world as the next daemon finds it: what the service manager runs is remembered, unless the power was cut.
    let after = World::at(&world.root);
    let satellite = if power_cut {
        after.boot_after_power_cut()
    } else {
        after.boot()
    };
    let server = (work == "install").then(|| server_of(&satellite));
    satellite.rest().await;
    let ended = satellite
        .operations
        .list(100)
        .iter()
        .all(|one| one.state() != OperationState::Running);
    assert!(ended, "{point}: an operation never ends");
    drop(server);
    let possible = if work == "alone" { "" } else { content };
    check_whole(point, work, possible, before, &after, &satellite).await;
    let operation = satellite.install(&after.bundle(3, "good three"), true).await;
    assert_eq!(
        operation.state(),
        OperationState::Succeeded,
        "{point}: {operation:?}"
    );
    assert_eq!(after.rows(), "good three", "{point}");
}

#[expect(clippy::too_many_arguments, reason = "all that a failure has to name")]
pub(super) async fn check_whole(
    point: &str,
    work: &str,
    content: &str,
    before: Option<&str>,
    world: &World,
    satellite: &Satellite,
) {
    let home = world.places.home(&name());
    for left in [
        home.journal(),
        home.removal(),
        home.snapshot(),
        home.snapshot_part(),
    ] {
        assert!(!left.exists(), "{point}: {} is left", left.display());
    }
    let Some(digest) = home.pointed(&home.current()) else {
        let allowed = before.is_none() || work == "remove";
        assert!(allowed, "{point}: nothing is installed");
        assert!(!home.root().exists(), "{point}: something is left of it");
        assert!(
            !world.units.is_active(&unit_name(&name())),
            "{point}: it still runs"
        );
        return;
    };
    assert_ne!(work, "remove", "{point}: it is still there");
    let manifest = home.manifest(digest).expect(point);
    assemble::verify(&manifest, &home.version(digest)).expect(point);
    let running = fs::read_to_string(home.current().join("bin/echo")).unwrap();
    let possible = [before, Some(content)];
    assert!(
        possible.contains(&Some(running.as_str())) && running.starts_with("good"),
        "{point}: {running}"
    );
    assert_eq!(world.rows(), running, "{point}: the state is the other version's");
    let workload = satellite.workloads.get(&name()).await.unwrap();
    assert_eq!(workload.state(), WorkloadState::Healthy, "{point}: {workload:?}");
    let versions = fs::read_dir(home.versions()).unwrap().count();
    assert!(versions <= 4, "{point}: {versions} entries in versions/");
}

/// A server that comes over a new connection again and again, until it is dropped.
pub(super) fn server_of(satellite: &Satellite) -> JoinSet<()> {
    let contact = satellite.workloads.contact();
    let mut server = JoinSet::new();
    server.spawn(async move {
        loop {
            contact.heard(Instant::now());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    server
}

async fn kill_child_at(point: &str, work: &str, root: &Path) {
    #[expect(
        clippy::disallowed_methods,
        reason = "the process that is killed is this test itself"
    )]
    let child = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "workload::tests::kill::the_child",
            "--ignored",
            "--nocapture",
        ])
        .env(WORLD, root)
        .env(WORK, work)
        .env(VARIABLE, point)
        .output()
        .await
        .unwrap();
    let output =
        String::from_utf8_lossy(&child.stdout).into_owned() + &String::from_utf8_lossy(&child.stderr);
    assert_eq!(child.status.signal(), Some(9), "{point} was not passed: {output}");
}

#[tokio::test]
#[ignore = "the child of the tests above"]
async fn the_child() {
    let Some(root) = std::env::var_os(WORLD) else {
        return;
    };
    let world = World::at(Path::new(&root));
    let satellite = world.boot();
    satellite.rest().await;
    let work = std::env::var(WORK).unwrap();
    let _server = (work == "install").then(|| server_of(&satellite));
    let operation = if work == "remove" {
        satellite.workloads.remove(&name(), true, "remove").unwrap()
    } else {
        let bundle = Parts::load(&Path::new(&root).join("bundle"));
        satellite.upload(&bundle).await;
        let seconds = if work == "alone" { 1 } else { 30 };
        let begun = satellite
            .updates
            .install_and_be_reached(bundle.digest, "key", true, seconds);
        begun.unwrap()
    };
    satellite.end_of(operation).await;
}
