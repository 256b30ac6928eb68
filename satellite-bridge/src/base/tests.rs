//! A bridge changes the system of its machine, and is killed at each step.

mod back;
mod machine;
mod slot_writes;
mod writes;

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt as _;
use satellite_host::fail::VARIABLE;
use satellite_host::files;
use satellite_proto::wire::bridge::v1::OperationState;
use uuid::Uuid;

use self::machine::{SECOND, SHIPPED, World};
use super::{FAIL_POINTS, Ground, Part};
use crate::workload::world::Parts;

const ROOT: &str = "SATELLITE_TEST_MACHINE";
const WORK: &str = "SATELLITE_TEST_WORK";
const SLOT: &str = "SATELLITE_TEST_SLOT";
const VERSION: &str = "SATELLITE_TEST_VERSION";
/// Points that only a bridge without a slot passes; its test starts one under systemd.
const OF_A_PROGRAM: [&str; 3] = ["base.staged", "base.verified", "base.start-counted"];
/// Points that only a system passes that is left for an older one; [`back`] kills there.
const OF_A_WAY_BACK: [&str; 1] = ["slot.others-hidden"];
/// Points that the system passes that is left.
const LEFT: [&str; 2] = ["base.accepted", "base.trial-recorded"];

/// What runs at the end is whole, is what the operation says, and can be updated.
async fn check(world: &World, point: &str, is_reached: bool) -> String {
    let running = world.settled(is_reached, point).await;
    let (version, last) = (running.ground.version.clone(), running.last());
    let succeeded = last.state() == OperationState::Succeeded;
    assert_eq!(
        version,
        if succeeded { "2.0.0" } else { SHIPPED },
        "{point}: {last:?}"
    );
    assert_eq!(running.floor(), if succeeded { 2 } else { 0 }, "{point}");
    let again = world.start().await;
    assert_eq!(
        again.version,
        version,
        "{point}: another one is started next time: {:?}",
        world.names()
    );
    let next = world.boot(again);
    next.begin(&world.bundle("3.0.0", 30)).await;
    assert!(!next.rests(true).await, "{point}: {:?}", next.last());
    drop(next);
    let last = world.settled(true, point).await;
    assert_eq!(last.ground.version, "3.0.0", "{point}: {:?}", last.last());
    assert_eq!(last.last().state(), OperationState::Succeeded, "{point}");
    version
}

/// Kills a machine at `point`, and answers what runs in the end.
async fn killed_at(point: &str) -> String {
    let world = World::new().await;
    let is_reached = point != "base.back-recorded";
    let seconds = if is_reached { 30 } else { 1 };
    world.bundle("2.0.0", seconds).save(&world.root.join("bundle"));
    let ground = world.start().await;
    if point.starts_with("slot.") || LEFT.contains(&point) {
        kill_child_at(point, "install", &world.root, &ground).await;
    } else {
        let running = world.boot(ground);
        running.begin(&Parts::load(&world.root.join("bundle"))).await;
        assert!(!running.rests(false).await, "{:?}", running.last());
        drop(running);
        let trial = world.start().await;
        assert_eq!(trial.version, "2.0.0");
        let work = if is_reached { "prove" } else { "alone" };
        kill_child_at(point, work, &world.root, &trial).await;
    }
    check(&world, point, is_reached).await
}

#[tokio::test]
async fn killed_anywhere_while_its_system_is_changed_a_machine_starts_the_old_one_or_the_new_one_whole() {
    let points: Vec<_> = FAIL_POINTS
        .iter()
        .filter(|point| !OF_A_PROGRAM.contains(point) && !OF_A_WAY_BACK.contains(point))
        .collect();
    let ends = futures_util::stream::iter(&points).map(async |point| killed_at(point).await);
    let ends: Vec<String> = ends.buffer_unordered(4).collect().await;
    let news = ends.iter().filter(|version| *version == "2.0.0").count();
    println!(
        "killed at {} points: the new system came up {news} times, the old one {}",
        points.len(),
        points.len() - news
    );
    // Once it is recorded that the new one is started, or stays, it is.
    assert!(news >= 6, "only {news} of {} points lead on", points.len());
}

#[tokio::test]
async fn a_system_that_the_server_does_not_reach_is_given_up_for_the_one_before_and_is_not_sent_again() {
    let world = World::new().await;
    let running = world.boot(world.start().await);
    let bundle = world.bundle("2.0.0", 1);
    running.begin(&bundle).await;
    assert!(!running.rests(false).await);
    let running = world.settled(false, "alone").await;
    assert_eq!(running.ground.version, SHIPPED);
    let error = running.last().error.unwrap();
    assert!(
        error.rolled_back && error.message.contains("did not reach system 2.0.0"),
        "{error:?}"
    );
    assert_eq!(error.code, tonic::Code::Unavailable as i32);
    assert_eq!(world.names(), [format!("satellite_{SHIPPED}.efi")]);
    // Its chunks are still here: another try sends nothing.
    let (_, missing) = running
        .updates
        .begin(&bundle.manifest, &bundle.signatures)
        .unwrap();
    assert_eq!(missing, []);
}

#[tokio::test]
async fn a_system_that_never_comes_up_is_given_up_by_the_loader_and_the_bridge_says_so() {
    let world = World::new().await;
    let running = world.boot(world.start().await);
    running.begin(&world.bundle("2.0.0", 30)).await;
    assert!(!running.rests(false).await);
    world.spoil(SECOND);
    let running = world.settled(true, "rotten").await;
    assert_eq!(running.ground.version, SHIPPED);
    let error = running.last().error.unwrap();
    assert!(error.message.contains("did not come up"), "{error:?}");
    assert_eq!(running.floor(), 0);
}

#[tokio::test]
async fn what_does_not_fit_the_machine_is_refused_before_it_is_sent_or_leaves_it_as_it_was() {
    let world = World::new().await;
    let running = world.boot(world.start().await);
    let refused = |bundle: &Parts| {
        running
            .updates
            .begin(&bundle.manifest, &bundle.signatures)
            .unwrap_err()
            .to_string()
    };
    let older = refused(&world.bundle("0.9.0", 30));
    assert!(older.contains("needs a permit"), "{older}");
    // What runs already is only written down.
    running.begin(&world.bundle(SHIPPED, 30)).await;
    assert!(running.rests(false).await);
    assert_eq!(running.last().state(), OperationState::Succeeded);
    assert_eq!(running.base.describe().unwrap().version, SHIPPED);
    assert_eq!(running.floor(), 1);
    let bridge = Ground {
        part: Part::Bridge,
        ..running.ground.clone()
    };
    let bridge = world.boot(bridge);
    let system = bridge.updates.begin(
        &world.bundle("2.0.0", 30).manifest,
        &world.bundle("2.0.0", 30).signatures,
    );
    assert!(system.is_err());
}

async fn kill_child_at(point: &str, work: &str, root: &Path, ground: &Ground) {
    #[expect(
        clippy::disallowed_methods,
        reason = "the process that is killed is this test itself"
    )]
    let child = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "base::tests::the_child", "--ignored", "--nocapture"])
        .env(ROOT, root)
        .env(WORK, work)
        .env(SLOT, &ground.slot)
        .env(VERSION, &ground.version)
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
    let Some(root) = std::env::var_os(ROOT) else {
        return;
    };
    let world = World::at(Path::new(&root));
    let variable = |name: &str| std::env::var(name).unwrap();
    let ground = Ground {
        part: Part::System,
        version: variable(VERSION),
        slot: variable(SLOT),
        program: "/usr/lib/satellite/satellite-bridge".into(),
        boot_id: Uuid::new_v4().to_string(),
    };
    let work = variable(WORK);
    if work == "home" {
        world.return_to_shipped(&ground).await;
        return;
    }
    let running = world.boot(ground);
    let bundle = Path::new(&root).join("bundle");
    if work == "install" {
        running.begin(&Parts::load(&bundle)).await;
    }
    if work == "back" {
        let bundle = Parts::load(&bundle);
        running.go_back(&bundle, &world.permit(&bundle, 10)).await;
    }
    running.rests(work == "prove").await;
}

#[tokio::test]
async fn a_program_that_is_still_open_for_writing_is_tried_again_and_not_held_for_bad() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("satellite-bridge");
    files::write_atomic(&program, b"#!/bin/sh\nexit 0\n", 0o755).unwrap();
    let open = std::fs::File::options().write(true).open(&program).unwrap();
    let said = super::install::says_its_version(&program);
    let mut said = std::pin::pin!(said);
    let early = tokio::time::timeout(Duration::from_millis(100), &mut said).await;
    assert!(early.is_err(), "it was tried once only");
    drop(open);
    said.await.unwrap();
}
