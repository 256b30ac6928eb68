//! The power fails, or the process is killed, after any call by which a bridge that updates itself writes: what is started
//! afterwards is the shipped bridge or the new one, whole, and the operation says which.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use satellite_host::files;
use satellite_host::systemd::{FakeUnits, Units};
use satellite_proto::bundle::{self, BRIDGE_FILE, Recipe};
use satellite_proto::wire::bridge::v1::OperationState;

use super::Parts;
use super::machine::{install, is_at_rest};
use crate::base::{Base, Ground, Part, launch};
use crate::operations::Operations;
use crate::trust::Truster;
use crate::update::{Platform, Updates};
use crate::workload::Workloads;
use crate::workload::world::World;
use crate::writes::{Disk, Left, cuts, record};

const CHILD: &str = "base::tests::writes::the_child";
const ROOT: &str = "SATELLITE_TEST_BRIDGE";
/// Where the bridge lies that came with the machine.
fn shipped(world: &World) -> PathBuf {
    world.root.join("shipped/satellite-bridge")
}

/// A bridge that runs, as what starts it has chosen it.
struct Running {
    program: PathBuf,
    operations: Operations,
    workloads: Workloads,
    updates: Updates,
    base: Base,
}

/// A bridge that says its version.
fn bundle_of_bridge(world: &World) -> Parts {
    let payload = tempfile::tempdir().unwrap();
    // Several chunks, of which none repeats.
    let noise: String = (0..40_000_u32)
        .map(|n| format!("# {}\n", n.wrapping_mul(2_654_435_761)))
        .collect();
    let program = format!("#!/bin/sh\nexit 0\n{noise}");
    files::write_atomic(&payload.path().join(BRIDGE_FILE), program.as_bytes(), 0o755).unwrap();
    let recipe = "workload = \"bridge\"\nkind = \"bridge\"\nversion = \"9.0.0\"\nchannel = \"stable\"\nrelease = 2\n\
                  architecture = \"x86_64\"\nleast_bridge = \"0.1.0\"\n[health]\nstart_seconds = 30\nsettle_seconds = 0\n";
    let mut bytes = Vec::new();
    bundle::build(
        &Recipe::from_toml(recipe).unwrap(),
        payload.path(),
        &[world.key()],
        &mut bytes,
    )
    .unwrap();
    Parts::read(&bytes)
}

/// Starts the bridge as its unit does.
async fn start(world: &World) -> Running {
    let units: Arc<dyn Units> = Arc::new(FakeUnits::new());
    let places = &world.places;
    let chosen = launch::choose(places, units.as_ref(), &[], true).await;
    let program = chosen.unwrap_or_else(|| shipped(world));
    let ground = Ground {
        part: Part::Bridge,
        version: "0.1.0".to_owned(),
        slot: String::new(),
        program: program.clone(),
        boot_id: "boot".to_owned(),
    };
    files::create_dir(&places.unit_dir, 0o755).unwrap();
    let operations = Operations::open(&places.state_dir.join("operations")).unwrap();
    let workloads = Workloads::open(places.clone(), units.clone(), operations.clone()).unwrap();
    let base = Base::new(ground, workloads.clone(), units, operations.clone());
    base.recover();
    operations.fail_unadopted();
    let platform = Platform {
        architecture: "x86_64".to_owned(),
        bridge: semver::Version::new(0, 1, 0),
    };
    let truster = Arc::new(Truster::new(places));
    let updates = Updates::new(workloads.clone(), Some(base.clone()), truster, platform);
    Running {
        program,
        operations,
        workloads,
        updates,
        base,
    }
}

impl Running {
    /// Waits until nothing is under way, being reached by the server all the time; false: it wants to be started anew.
    async fn rests(&self) -> bool {
        for _ in 0..6000 {
            self.workloads.contact().heard(Instant::now());
            let wants = tokio::time::timeout(Duration::from_millis(5), self.base.wants_restart());
            if wants.await.is_ok() {
                return false;
            }
            if is_at_rest(&self.base, &self.operations) {
                return true;
            }
        }
        panic!("nothing ends: {:?}", self.operations.list(100));
    }

    async fn begin(&self, bundle: &Parts, key: &str) {
        install(&self.updates, bundle, key).await;
    }
}

/// Starts bridges until one wants to stay.
async fn settled(world: &World) -> Running {
    for _ in 0..8 {
        let running = start(world).await;
        if running.rests().await {
            return running;
        }
    }
    panic!("it never comes to rest");
}

async fn check(left: &Left, bundle: &Parts) -> &'static str {
    let point = format!("{:?} after {} calls", left.cut, left.after);
    let dir = tempfile::tempdir().unwrap();
    left.lay_out(dir.path());
    let world = World::at(dir.path());
    let running = settled(&world).await;
    let is_new = running.program != shipped(&world);
    if is_new {
        let expected = world.places.base(Part::Bridge).version(bundle.digest);
        assert_eq!(running.program, expected.join(BRIDGE_FILE), "{point}");
    }
    for operation in running.operations.list(10) {
        let succeeded = operation.state() == OperationState::Succeeded;
        assert_eq!(succeeded, is_new, "{point}: {operation:?}");
    }
    let floor = running
        .workloads
        .floors()
        .of(&"bridge".parse().unwrap(), "stable")
        .release;
    assert_eq!(floor, if is_new { 2 } else { 0 }, "{point}");
    assert!(!crate::base::record_file(&world.places).exists(), "{point}");
    // The next start is the same, and a bridge that was not updated can be.
    let again = settled(&world).await;
    assert_eq!(again.program, running.program, "{point}");
    if !is_new && left.after.is_multiple_of(8) {
        again.begin(bundle, "again").await;
        assert!(!again.rests().await, "{point}: {:?}", again.operations.list(1));
        let updated = settled(&world).await;
        assert_ne!(updated.program, shipped(&world), "{point}");
    }
    if is_new { "the new one" } else { "the shipped one" }
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_after_any_write_while_a_bridge_updates_itself_the_shipped_or_the_new_one_is_started() {
    let begun = Instant::now();
    let world = World::new();
    let bundle = bundle_of_bridge(&world);
    bundle.save(&world.root.join("bundle"));
    files::create_dir(&world.root.join("shipped"), 0o755).unwrap();
    files::write_atomic(&shipped(&world), b"#!/bin/sh\nexit 0\n", 0o755).unwrap();
    let disk = Disk::read(&world.root);
    let calls = record(CHILD, &[(ROOT, world.root.as_os_str())]).await;
    let mut all = Vec::new();
    let changes = cuts(&disk, &calls, |left| all.push(left));
    let count = all.len();
    let bundle = &bundle;
    let ends = all
        .into_iter()
        .map(|left| async move { check(&left, bundle).await });
    let mut tally: BTreeMap<&str, usize> = BTreeMap::new();
    let mut ends = futures_util::stream::iter(ends).buffer_unordered(8);
    while let Some(now) = ends.next().await {
        *tally.entry(now).or_default() += 1;
    }
    println!(
        "cut after each of {changes} calls that write: {count} different disks, of which came up {tally:?}; {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    assert_eq!(tally.len(), 2, "{tally:?}");
}

#[tokio::test]
#[ignore = "the child of the test above"]
async fn the_child() {
    let Some(root) = std::env::var_os(ROOT) else {
        return;
    };
    let world = World::at(Path::new(&root));
    let running = start(&world).await;
    running
        .begin(&Parts::load(&Path::new(&root).join("bundle")), "key")
        .await;
    assert!(!running.rests().await, "{:?}", running.operations.list(1));
    drop(running);
    let running = settled(&world).await;
    assert_ne!(running.program, shipped(&world));
}
