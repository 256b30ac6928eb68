//! The power fails, or the daemon is killed, after any call by which an installation writes: what comes up afterwards is
//! the old version or the new one, whole, with its state and its floor.

use std::collections::BTreeMap;
use std::fs;
use std::time::Instant;

use futures_util::StreamExt as _;
use satellite_proto::wire::bridge::v1::OperationState;

use super::kill::{WORK, WORLD, check_whole, server_of};
use super::world::{World, name};
use crate::writes::{Cut, Disk, Left, cuts, record};

const CHILD: &str = "workload::tests::kill::the_child";
/// Of the disks, one in so many is updated once more.
const AGAIN: usize = 16;

async fn check(left: &Left, before: Option<&str>, updates_again: bool) -> String {
    let point = format!("{:?} after {} calls", left.cut, left.after);
    let dir = tempfile::tempdir().unwrap();
    left.lay_out(dir.path());
    let world = World::at(dir.path());
    let satellite = match left.cut {
        Cut::Killed => world.boot(),
        Cut::Power | Cut::PowerAfterCommit | Cut::Torn => world.boot_after_power_cut(),
    };
    let server = server_of(&satellite);
    satellite.rest().await;
    let running = satellite
        .operations
        .list(100)
        .into_iter()
        .find(|operation| operation.state() == OperationState::Running);
    assert!(running.is_none(), "{point}: an operation never ends: {running:?}");
    check_whole(&point, "install", "good two", before, &world, &satellite).await;
    let home = world.places.home(&name());
    let now = fs::read_to_string(home.current().join("bin/echo")).unwrap_or_default();
    let floor = satellite.workloads.floors().of(&name(), "stable").release;
    let wanted = match now.as_str() {
        "good two" => 2,
        "good one" => 1,
        _ => 0,
    };
    assert_eq!(floor, wanted, "{point}: the floor of `{now}`");
    drop(server);
    if updates_again {
        let operation = satellite.install(&world.bundle(3, "good three"), true).await;
        assert_eq!(
            operation.state(),
            OperationState::Succeeded,
            "{point}: {operation:?}"
        );
        assert_eq!(world.rows(), "good three", "{point}");
    }
    now
}

async fn cut_everywhere(before: Option<&'static str>) {
    let start = Instant::now();
    let world = World::new();
    if let Some(before) = before {
        let satellite = world.boot();
        let operation = satellite.install(&world.bundle(1, before), true).await;
        assert_eq!(operation.state(), OperationState::Succeeded);
    }
    world.bundle(2, "good two").save(&world.root.join("bundle"));
    let disk = Disk::read(&world.root);
    let calls = record(
        CHILD,
        &[(WORLD, world.root.as_os_str()), (WORK, "install".as_ref())],
    )
    .await;
    let mut all = Vec::new();
    let changes = cuts(&disk, &calls, |left| all.push(left));
    let count = all.len();
    let ends = all.into_iter().enumerate();
    let ends =
        ends.map(|(number, left)| async move { check(&left, before, number.is_multiple_of(AGAIN)).await });
    let mut tally: BTreeMap<String, usize> = BTreeMap::new();
    let mut ends = futures_util::stream::iter(ends).buffer_unordered(8);
    while let Some(now) = ends.next().await {
        *tally.entry(now).or_default() += 1;
    }
    println!(
        "cut after each of {changes} calls that write: {count} different disks, of which came up {tally:?}; {:.1} s",
        start.elapsed().as_secs_f64()
    );
    assert!(tally["good two"] > 0 && tally.len() == 2, "{tally:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_after_any_write_of_an_update_the_old_or_the_new_version_is_whole() {
    cut_everywhere(Some("good one")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_after_any_write_of_a_first_installation_it_is_whole_or_not_there() {
    cut_everywhere(None).await;
}
