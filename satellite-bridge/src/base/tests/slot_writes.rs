//! The power fails, or a process is killed, after any call by which the system of a machine is changed, or in the middle of one:
//! what the loader starts afterwards is the old system or the new one, whole, and operation and floor say which.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use futures_util::StreamExt as _;
use satellite_host::files;
use satellite_proto::wire::bridge::v1::OperationState;

use super::back::brought;
use super::machine::{SHIPPED, World};
use crate::base::{Ground, Part};
use crate::workload::world::Parts;
use crate::writes::{Cut, Disk, Left, cuts_and_tears, record};

const CHILD: &str = "base::tests::slot_writes::the_child";
const ROOT: &str = "SATELLITE_TEST_SLOTS";
const WORK: &str = "SATELLITE_TEST_SLOTS_WORK";
/// The bundle lies elsewhere: it is part of no disk.
const BUNDLE: &str = "SATELLITE_TEST_SLOTS_BUNDLE";
/// Says which bridge runs; not there while the machine is being started.
const RUNS: &str = "runs";
/// Of the disks, one in so many is updated once more.
const AGAIN: usize = 16;

/// How the system of a machine is changed.
#[derive(Debug, Clone, Copy)]
struct Way {
    work: &'static str,
    slots: usize,
    old: &'static str,
    new: &'static str,
}

/// The release of a version.
fn release_of(version: &str) -> u64 {
    version.split('.').next().unwrap().parse().unwrap()
}

/// Starts the machine, and writes down what runs.
async fn start(world: &World) -> Ground {
    let file = world.root.join(RUNS);
    files::remove(&file).unwrap();
    let ground = world.start().await;
    let text = format!("{} {} {}", ground.version, ground.slot, ground.boot_id);
    files::write_atomic(&file, text.as_bytes(), 0o600).unwrap();
    ground
}

/// What ran when the bridge was killed.
fn runs(world: &World) -> Option<Ground> {
    let text = std::fs::read_to_string(world.root.join(RUNS)).ok()?;
    let [version, slot, boot_id] = text.split(' ').collect::<Vec<_>>().try_into().ok()?;
    Some(Ground {
        part: Part::System,
        version: version.to_owned(),
        slot: slot.to_owned(),
        program: "/usr/lib/satellite/satellite-bridge".into(),
        boot_id: boot_id.to_owned(),
    })
}

async fn check(left: &Left, way: Way, goes_on: bool) -> String {
    let point = format!("{:?} after {} calls", left.cut, left.after);
    let dir = left.laid_out();
    let world = World::at(dir.path());
    assert!(!world.whole(&point).await.is_empty(), "{point}: nothing to start");
    if left.cut == Cut::Killed
        && let Some(ground) = runs(&world)
    {
        // The bridge alone is started anew; whether the machine is, it says itself.
        world.boot(ground).rests(true).await;
    }
    let running = world.settled(true, &point).await;
    let version = running.ground.version.clone();
    let is_new = version == way.new;
    assert!(is_new || version == way.old, "{point}: {version}");
    assert_eq!(running.floor(), release_of(&version), "{point}");
    let operations = running.all();
    // The first one brought what was there before.
    let own = operations.len().checked_sub(2).map(|_| operations[0].state());
    let expected = match own {
        None => false,
        Some(OperationState::Running) => panic!("{point}: it never ends: {operations:?}"),
        Some(state) => state == OperationState::Succeeded,
    };
    assert_eq!(is_new, expected, "{point}: {operations:?}");
    assert!(!crate::base::record_file(&world.places()).exists(), "{point}");
    drop(running);
    let again = world.start().await;
    assert_eq!(again.version, version, "{point}: {:?}", world.names());
    if goes_on {
        brought(&world, &["9.0.0"]).await;
    }
    version
}

async fn check_home(left: &Left) -> String {
    let point = format!("{:?} after {} calls", left.cut, left.after);
    let dir = left.laid_out();
    let world = World::at(dir.path());
    assert!(!world.whole(&point).await.is_empty(), "{point}: nothing to start");
    let running = world.at_home().await;
    let version = running.ground.version.clone();
    assert_eq!((version.as_str(), running.floor()), (SHIPPED, 0), "{point}");
    assert!(!world.is_unused(), "{point}");
    drop(running);
    assert_eq!(world.start().await.version, version, "{point}");
    version
}

/// Records what is written while `work` is done to a machine, and checks every disk that a cut may leave of it.
async fn replay(
    world: &World,
    work: &str,
    bundle: Option<&Parts>,
    check: impl AsyncFn(usize, Left) -> String,
) -> BTreeMap<String, usize> {
    let begun = Instant::now();
    let disk = Disk::read(&world.root).with_volumes(&["disk.raw", "esp"]);
    let pushed = tempfile::tempdir().unwrap();
    if let Some(bundle) = bundle {
        bundle.save(pushed.path());
    }
    let calls = record(
        CHILD,
        &[
            (ROOT, world.root.as_os_str()),
            (WORK, work.as_ref()),
            (BUNDLE, pushed.path().as_os_str()),
        ],
    )
    .await;
    // All of them at once would fill the memory: each holds a disk.
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    let walk = tokio::task::spawn_blocking(move || {
        cuts_and_tears(&disk, &calls, |left| {
            // Once one has failed nobody takes the others.
            let _ = sender.blocking_send(left);
        })
    });
    let all = futures_util::stream::unfold(receiver, async |mut receiver| {
        receiver.recv().await.map(|left| (left, receiver))
    });
    let check = &check;
    let ends = all
        .enumerate()
        .map(async |(number, left)| check(number, left).await);
    let mut ends = std::pin::pin!(ends.buffer_unordered(8));
    let mut tally = BTreeMap::new();
    while let Some(version) = ends.next().await {
        *tally.entry(version).or_default() += 1;
    }
    println!(
        "cut after each of {} calls that write, and in the middle of each: {} different disks, of which came up {tally:?}; {:.1} s",
        walk.await.unwrap(),
        tally.values().sum::<usize>(),
        begun.elapsed().as_secs_f64()
    );
    tally
}

async fn cut_everywhere(way: Way) {
    let world = World::with_slots(way.slots).await;
    drop(brought(&world, &[way.old]).await);
    let bundle = world.bundle(way.new, 30);
    let tally = replay(&world, way.work, Some(&bundle), async |number, left| {
        check(&left, way, number.is_multiple_of(AGAIN)).await
    })
    .await;
    assert_eq!(tally.len(), 2, "{tally:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_after_any_write_while_its_system_is_changed_a_machine_starts_the_old_one_or_the_new_one_whole() {
    cut_everywhere(Way {
        work: "forward",
        // What the new one is written over is what the machine came with.
        slots: 2,
        old: "2.0.0",
        new: "3.0.0",
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_after_any_write_while_its_system_goes_back_a_machine_starts_the_old_one_or_the_new_one_whole() {
    cut_everywhere(Way {
        work: "back",
        slots: 3,
        old: "3.0.0",
        new: "2.0.0",
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_after_any_write_after_a_factory_reset_a_machine_comes_to_the_system_that_it_came_with() {
    let world = World::with_slots(3).await;
    drop(brought(&world, &["2.0.0", "3.0.0"]).await);
    world.erase();
    let tally = replay(&world, "home", None, async |_, left| check_home(&left).await).await;
    assert_eq!(tally.len(), 1, "{tally:?}");
}

#[tokio::test]
#[ignore = "the child of the tests above"]
async fn the_child() {
    let Some(root) = std::env::var_os(ROOT) else {
        return;
    };
    let world = World::at(Path::new(&root));
    let work = std::env::var(WORK).unwrap();
    if work == "home" {
        world.at_home().await;
        return;
    }
    let bundle = Parts::load(Path::new(&std::env::var_os(BUNDLE).unwrap()));
    let running = world.boot(start(&world).await);
    if work == "back" {
        running.go_back(&bundle, &world.permit(&bundle, 10)).await;
    } else {
        running.begin(&bundle).await;
    }
    assert!(!running.rests(true).await, "{:?}", running.last());
    drop(running);
    let running = world.boot(start(&world).await);
    assert!(running.rests(true).await, "{:?}", running.last());
    world.bless(&running, "recorded");
    assert_eq!(running.last().state(), OperationState::Succeeded);
}
