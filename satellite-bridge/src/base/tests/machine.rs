//! A machine with two slots in a file, and a loader that counts starts as systemd-boot does.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use satellite_host::exec::Exec;
use satellite_host::files;
use satellite_host::systemd::{Behaviour, FakeUnits, Units};
use satellite_proto::bundle::{self, Digest, Downgrade, KeyPair, Manifest, Recipe, SecretKey, Signed};
use satellite_proto::wire::bridge::v1::{Operation, OperationState, WorkloadState};
use tempfile::TempDir;
use uuid::Uuid;

use crate::base::loader::Entry;
use crate::base::shipped::{Next, UNUSED};
use crate::base::slots::Machine;
use crate::base::{Base, Ground, Part, SLOT_UNIT, is_on_trial};
use crate::boot::table::{Slot, Table};
use crate::operations::Operations;
use crate::trust::Truster;
use crate::update::{Platform, Updates};
use crate::workload::world::Parts;
use crate::workload::{Places, Workloads};

/// The version that a machine comes with.
pub(super) const SHIPPED: &str = "1.0.0";
/// Where the first slot begins on the disk, in bytes.
pub(super) const FIRST: u64 = 4096 * 512;
/// The second one.
pub(super) const SECOND: u64 = 12288 * 512;

/// A disk, the loader's partition, and what the satellite keeps.
pub(super) struct World {
    pub(super) root: PathBuf,
    _dir: Option<TempDir>,
}

/// A bridge that runs.
pub(super) struct Running {
    operations: Operations,
    workloads: Workloads,
    pub(super) updates: Updates,
    pub(super) base: Base,
    units: FakeUnits,
    pub(super) ground: Ground,
}

fn slot_of(version: &str) -> String {
    format!("root-{}", &Digest::of(version.as_bytes()).to_string()[..16])
}

/// A system, as a bundle brings it.
struct System {
    /// What lies in its slot: most of it is what lies in that of every other, but for how it begins and ends.
    root: Vec<u8>,
    /// A kernel image proves the root that it was made for.
    kernel: Vec<u8>,
}

impl System {
    /// It is made once: a machine that is started hundreds of times compares it each time.
    fn of(version: &str) -> Arc<Self> {
        static MADE: Mutex<BTreeMap<String, Arc<System>>> = Mutex::new(BTreeMap::new());
        let mut made = MADE.lock().unwrap();
        let system = made
            .entry(version.to_owned())
            .or_insert_with(|| Arc::new(Self::make(version)));
        system.clone()
    }

    fn make(version: &str) -> Self {
        let own = || version.bytes().cycle().take(45_000);
        let noise = (0..1_500_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8);
        let root: Vec<u8> = own().chain(noise).chain(own()).collect();
        let proof = format!("{} {} {}\n", slot_of(version), root.len(), Digest::of(&root));
        let kernel = proof.into_bytes().into_iter().chain(vec![7; 40_000]).collect();
        Self { root, kernel }
    }
}

impl World {
    /// A machine with two slots, as they were made at first.
    pub(super) async fn new() -> Self {
        Self::with_slots(2).await
    }

    /// A machine that keeps what it came with, if it has three slots.
    pub(super) async fn with_slots(count: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().to_owned();
        let keys = KeyPair::generate(None).unwrap();
        let anchors = format!("threshold = 1\nkeys = [\"{}\"]\n", keys.public_key);
        files::write_atomic(&root.join("trust.toml"), anchors.as_bytes(), 0o644).unwrap();
        files::write_atomic(&root.join("key"), keys.secret_file.as_bytes(), 0o600).unwrap();
        files::create_dir(&root.join("esp/EFI/Linux"), 0o755).unwrap();
        let world = Self {
            root,
            _dir: Some(dir),
        };
        let disk = fs::File::create(world.disk()).unwrap();
        disk.set_len(16 << 20).unwrap();
        let table = format!(
            "label: gpt\nstart=2048, size=2048, name=satellite-esp\nstart=4096, size=8192, name={}\n\
             start=12288, size=8192, name=root-empty\n{}",
            slot_of(SHIPPED),
            if count == 3 {
                "start=20480, size=8192, name=root-empty\n"
            } else {
                ""
            }
        );
        let made = Exec::new("sfdisk").args(["--quiet", &world.disk().display().to_string()]);
        made.input(table).run().await.unwrap();
        let shipped = System::of(SHIPPED);
        disk.write_all_at(&shipped.root, FIRST).unwrap();
        let entry = world.entries().join(format!("satellite_{SHIPPED}.efi"));
        files::write_atomic(&entry, &shipped.kernel, 0o644).unwrap();
        world
    }

    pub(super) fn at(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            _dir: None,
        }
    }

    pub(super) fn disk(&self) -> PathBuf {
        self.root.join("disk.raw")
    }

    fn entries(&self) -> PathBuf {
        self.root.join("esp/EFI/Linux")
    }

    pub(super) fn names(&self) -> Vec<String> {
        let all = fs::read_dir(self.entries()).unwrap();
        let mut names: Vec<String> = all
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    pub(super) fn places(&self) -> Places {
        Places {
            state_dir: self.root.join("state"),
            run_dir: self.root.join("run"),
            unit_dir: self.root.join("units"),
            workload_state_dir: self.root.join("lib"),
            trust_anchors: vec![self.root.join("trust.toml")],
            own_command: Vec::new(),
        }
    }

    /// The kernel images that the loader sees.
    fn visible(&self) -> Vec<Entry> {
        let names = self.names();
        let seen = names.iter().filter(|name| name.ends_with(".efi"));
        seen.filter_map(|name| Entry::parse(name)).collect()
    }

    /// The versions that the loader could start: each of them is whole.
    pub(super) async fn whole(&self, point: &str) -> Vec<String> {
        let mut versions = Vec::new();
        let slots = self.slots().await;
        for entry in self.visible() {
            let slot = self.proved(&slots, &entry);
            assert!(
                slot.is_some(),
                "{point}: the slot of {} is not whole",
                entry.name()
            );
            versions.push(entry.version);
        }
        versions
    }

    /// Starts the machine as the loader and dm-verity do; answers what runs.
    pub(super) async fn start(&self) -> Ground {
        for _ in 0..8 {
            let mut entries = self.visible();
            let rank = |entry: &Entry| {
                let version: semver::Version = entry.version.parse().unwrap();
                (entry.left == Some(0), std::cmp::Reverse(version))
            };
            entries.sort_by_key(rank);
            let mut entry = entries.first().expect("a kernel image").clone();
            if let Some(left) = entry.left.filter(|left| *left > 0) {
                let before = self.entries().join(entry.name());
                (entry.left, entry.done) = (Some(left - 1), entry.done + 1);
                fs::rename(before, self.entries().join(entry.name())).unwrap();
            }
            if let Some(slot) = self.proved(&self.slots().await, &entry) {
                return Ground {
                    part: Part::System,
                    version: entry.version,
                    slot,
                    program: "/usr/lib/satellite/satellite-bridge".into(),
                    boot_id: Uuid::new_v4().to_string(),
                };
            }
            assert!(
                entry.left.is_some(),
                "{} was good and does not start",
                entry.name()
            );
        }
        panic!("the machine does not start: {:?}", self.names());
    }

    /// The slots of the disk. A table that was torn is read from its copy, as the kernel does that is told `gpt`.
    async fn slots(&self) -> Vec<Slot> {
        let said = Exec::new("sfdisk").args(["--json", &self.disk().display().to_string()]);
        let table = Table::parse(&said.run().await.unwrap().stdout).unwrap();
        table.slots().unwrap()
    }

    /// The slot of a kernel image, if there is one that is whole.
    fn proved(&self, slots: &[Slot], entry: &Entry) -> Option<String> {
        let kernel = fs::read(self.entries().join(entry.name())).unwrap();
        let system = System::of(&entry.version);
        assert!(kernel == system.kernel, "half a kernel image: {}", entry.name());
        let slot = slot_of(&entry.version);
        let place = slots.iter().find(|found| found.name == slot)?;
        let mut found = vec![0; system.root.len()];
        fs::File::open(self.disk())
            .unwrap()
            .read_exact_at(&mut found, place.offset)
            .unwrap();
        (found == system.root).then_some(slot)
    }

    /// A block of a slot goes bad.
    pub(super) fn spoil(&self, slot: u64) {
        let disk = fs::File::options().write(true).open(self.disk()).unwrap();
        disk.write_all_at(b"rotten", slot + 70_000).unwrap();
    }

    /// What the machine keeps outside of its slots.
    fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    /// The data partition is erased and made anew.
    pub(super) fn erase(&self) {
        for part in ["state", "run", "units", "lib", "data"] {
            files::remove_tree(&self.root.join(part)).unwrap();
        }
        files::create_dir(&self.data(), 0o755).unwrap();
        files::write_atomic(&self.data().join(UNUSED), b"", 0o600).unwrap();
    }

    /// Whether nobody has used the data yet.
    pub(super) fn is_unused(&self) -> bool {
        self.data().join(UNUSED).exists()
    }

    /// The unit that runs before the bridge does its work.
    pub(super) async fn return_to_shipped(&self, ground: &Ground) -> Next {
        let machine = Machine {
            disk: self.disk(),
            loader: self.root.join("esp"),
            ground: ground.clone(),
        };
        machine.return_to_shipped(&self.data()).await.unwrap()
    }

    /// Starts the machine until that unit lets the bridge run. Answers what runs then.
    pub(super) async fn at_home(&self) -> Running {
        for _ in 0..8 {
            let ground = self.start().await;
            if self.return_to_shipped(&ground).await == Next::Stay {
                let running = self.boot(ground);
                assert!(running.rests(true).await);
                self.bless(&running, "after a reset");
                return running;
            }
        }
        panic!("it never comes to rest: {:?}", self.names());
    }

    /// A permit to go back to a bundle.
    pub(super) fn permit(&self, bundle: &Parts, sequence: u64) -> Signed {
        let manifest = Manifest::parse(&bundle.manifest).unwrap();
        let expires = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
        let permit = Downgrade::new((&manifest, bundle.digest), sequence, expires, "a test").unwrap();
        let mut signed = Signed {
            document: permit.to_bytes().unwrap().into(),
            signatures: Vec::new(),
        };
        let key = fs::read_to_string(self.root.join("key")).unwrap();
        signed
            .sign(&SecretKey::from_file_text(&key, None).unwrap(), "")
            .unwrap();
        signed
    }

    /// Starts the bridge of what runs.
    pub(super) fn boot(&self, ground: Ground) -> Running {
        let units = FakeUnits::new();
        let machine = Machine {
            disk: self.disk(),
            loader: self.root.join("esp"),
            ground: ground.clone(),
        };
        let places = self.places();
        units.behave(move |unit| {
            assert_eq!(unit, SLOT_UNIT);
            let (machine, places) = (machine.clone(), places.clone());
            // The unit is a process of its own.
            let written = std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                runtime.block_on(machine.run(&places)).is_ok()
            });
            if written.join().unwrap() {
                Behaviour::Runs
            } else {
                Behaviour::Fails
            }
        });
        let places = self.places();
        let operations = Operations::open(&places.state_dir.join("operations")).unwrap();
        let manager: Arc<dyn Units> = Arc::new(units.clone());
        let workloads = Workloads::open(places.clone(), manager.clone(), operations.clone()).unwrap();
        let base = Base::new(ground.clone(), workloads.clone(), manager, operations.clone());
        base.recover();
        operations.fail_unadopted();
        let platform = Platform {
            architecture: "x86_64".to_owned(),
            bridge: semver::Version::new(1, 5, 0),
        };
        let truster = Arc::new(Truster::new(&places));
        let updates = Updates::new(workloads.clone(), Some(base.clone()), truster, platform);
        Running {
            operations,
            workloads,
            updates,
            base,
            units,
            ground,
        }
    }

    /// A bundle of a system whose server has `seconds` to reach it.
    pub(super) fn bundle(&self, version: &str, seconds: u32) -> Parts {
        let payload = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| {
            files::write_atomic(&payload.path().join(name), bytes, 0o644).unwrap();
        };
        let system = System::of(version);
        write("root.img", &system.root);
        write("kernel.efi", &system.kernel);
        let release: u64 = version.split('.').next().unwrap().parse::<u64>().unwrap().max(1);
        let recipe = format!(
            "workload = \"system\"\nversion = \"{version}\"\nchannel = \"stable\"\nrelease = {release}\n\
             architecture = \"x86_64\"\nleast_bridge = \"1.0.0\"\n[kind.system]\nslot = \"{}\"\n[health]\n\
             start_seconds = {seconds}\nsettle_seconds = 0\n",
            slot_of(version)
        );
        let recipe = Recipe::from_toml(&recipe).unwrap();
        let key = fs::read_to_string(self.root.join("key")).unwrap();
        let key = SecretKey::from_file_text(&key, None).unwrap();
        let mut bytes = Vec::new();
        bundle::build(&recipe, payload.path(), &[key], &mut bytes).unwrap();
        Parts::read(&bytes)
    }

    /// Starts the machine, as often as it asks for it, until nothing is under way any more. Answers what runs then.
    pub(super) async fn settled(&self, is_reached: bool, point: &str) -> Running {
        for _ in 0..8 {
            let running = self.boot(self.start().await);
            if running.rests(is_reached).await {
                self.bless(&running, point);
                return running;
            }
        }
        panic!("{point}: it never comes to rest");
    }

    /// What systemd-bless-boot does once `boot healthy` has ended well.
    pub(super) fn bless(&self, running: &Running, point: &str) {
        assert!(!is_on_trial(&self.places()), "{point}");
        let own = |entry: &Entry| entry.version == running.ground.version;
        let counted = self
            .names()
            .iter()
            .filter_map(|name| Entry::parse(name))
            .find(own)
            .unwrap();
        let good = Entry {
            left: None,
            done: 0,
            ..counted.clone()
        };
        fs::rename(
            self.entries().join(counted.name()),
            self.entries().join(good.name()),
        )
        .unwrap();
    }
}

/// Brings what a satellite lacks of a bundle, and has it installed.
pub(super) async fn install(updates: &Updates, bundle: &Parts, key: &str) -> Operation {
    install_permitted(updates, bundle, key, None).await
}

async fn install_permitted(
    updates: &Updates,
    bundle: &Parts,
    key: &str,
    permit: Option<&Signed>,
) -> Operation {
    let (_, missing) = updates
        .begin_permitted(&bundle.manifest, &bundle.signatures, permit)
        .unwrap();
    let wanted = bundle
        .pieces
        .iter()
        .filter(|piece| missing.contains(&piece.digest));
    updates
        .put_all(bundle.digest, wanted.cloned().collect())
        .await
        .unwrap();
    updates.install(bundle.digest, key, false).unwrap()
}

/// Whether nothing is under way.
pub(super) fn is_at_rest(base: &Base, operations: &Operations) -> bool {
    let over = |operation: &Operation| operation.state() != OperationState::Running;
    let is_quiet = base
        .describe()
        .is_none_or(|part| part.state() != WorkloadState::Installing);
    is_quiet && operations.list(100).iter().all(over)
}

impl Running {
    /// Waits until nothing is under way; false: the machine is to be started anew.
    pub(super) async fn rests(&self, is_reached: bool) -> bool {
        for _ in 0..3000 {
            if is_reached {
                self.workloads.contact().heard(Instant::now());
            }
            if self.units.calls().iter().any(|call| call == "reboot") {
                return false;
            }
            if is_at_rest(&self.base, &self.operations) {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("nothing ends: {:?}", self.operations.list(100));
    }

    pub(super) async fn begin(&self, bundle: &Parts) -> Operation {
        install(&self.updates, bundle, &Uuid::new_v4().to_string()).await
    }

    /// Goes back to an older bundle by a permit.
    pub(super) async fn go_back(&self, bundle: &Parts, permit: &Signed) -> Operation {
        install_permitted(&self.updates, bundle, &Uuid::new_v4().to_string(), Some(permit)).await
    }

    pub(super) fn last(&self) -> Operation {
        self.operations.list(1).remove(0)
    }

    /// Everything that was asked for, the last first.
    pub(super) fn all(&self) -> Vec<Operation> {
        self.operations.list(100)
    }

    pub(super) fn floor(&self) -> u64 {
        self.workloads
            .floors()
            .of(&"system".parse().unwrap(), "stable")
            .release
    }
}
