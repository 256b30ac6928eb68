//! A satellite in a temporary directory, with bundles to push to it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use satellite_host::files;
use satellite_host::systemd::{Behaviour, FakeUnits};
use satellite_proto::bundle::{
    self, BundleReader, Digest, Downgrade, KeyPair, Manifest, Recipe, SecretKey, Signed, WorkloadName,
};
use satellite_proto::wire::bridge::v1::{Operation, OperationState};
use tempfile::TempDir;
use tokio::time::timeout;
use uuid::Uuid;

use crate::operations::Operations;
use crate::trust::Truster;
use crate::update::{Piece, Platform, Updates};
use crate::workload::{Places, Workloads};

/// The workload of all these tests.
pub(crate) fn name() -> WorkloadName {
    "echo".parse().unwrap()
}

/// Disk, service manager and release key of a satellite.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) root: PathBuf,
    pub(crate) places: Places,
    pub(crate) units: FakeUnits,
    _dir: Option<TempDir>,
}

/// A bundle, taken apart.
#[derive(Debug, Clone)]
pub(crate) struct Parts {
    pub(crate) digest: Digest,
    pub(crate) manifest: Bytes,
    pub(crate) signatures: Vec<Bytes>,
    pub(crate) pieces: Vec<Piece>,
}

/// The daemon's part of it.
#[derive(Debug)]
pub(crate) struct Satellite {
    pub(crate) operations: Operations,
    pub(crate) workloads: Workloads,
    pub(crate) updates: Updates,
}

impl World {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let keys = KeyPair::generate(None).unwrap();
        let anchors = format!("threshold = 1\nkeys = [\"{}\"]\n", keys.public_key);
        files::write_atomic(&dir.path().join("trust.toml"), anchors.as_bytes(), 0o644).unwrap();
        files::write_atomic(&dir.path().join("key"), keys.secret_file.as_bytes(), 0o600).unwrap();
        Self {
            _dir: Some(dir),
            ..Self::at(Path::new("/"))
        }
        .moved()
    }

    fn moved(self) -> Self {
        let root = self._dir.as_ref().unwrap().path().to_owned();
        Self {
            _dir: self._dir,
            ..Self::at(&root)
        }
    }

    /// The world in a directory that exists.
    pub(crate) fn at(root: &Path) -> Self {
        let places = Places {
            state_dir: root.join("lib/satellite"),
            run_dir: root.join("run"),
            unit_dir: root.join("units"),
            workload_state_dir: root.join("lib"),
            trust_anchors: vec![root.join("absent.toml"), root.join("trust.toml")],
            own_command: Vec::new(),
        };
        let units = FakeUnits::kept_in(root.join("running"));
        units.behave(rule(places.clone()));
        Self {
            root: root.to_owned(),
            places,
            units,
            _dir: None,
        }
    }

    /// Starts the daemon.
    pub(crate) fn boot(&self) -> Satellite {
        files::create_dir(&self.places.unit_dir, 0o755).unwrap();
        let operations = Operations::open(&self.places.state_dir.join("operations")).unwrap();
        let workloads = Workloads::open(
            self.places.clone(),
            Arc::new(self.units.clone()),
            operations.clone(),
        )
        .unwrap();
        workloads.recover();
        operations.fail_unadopted();
        let platform = Platform {
            architecture: "x86_64".to_owned(),
            bridge: semver::Version::new(1, 5, 0),
        };
        let truster = Arc::new(Truster::new(&self.places));
        let updates = Updates::new(workloads.clone(), None, truster, platform);
        Satellite {
            operations,
            workloads,
            updates,
        }
    }

    /// Ends everything that runs, forgets what lay in memory, then starts the daemon.
    pub(crate) fn boot_after_power_cut(&self) -> Satellite {
        files::remove_tree(&self.places.unit_dir).unwrap();
        self.units.kill(&crate::workload::unit_name(&name()));
        self.boot()
    }

    /// What the last version that was started wrote to its state.
    pub(crate) fn rows(&self) -> String {
        fs::read_to_string(self.places.state(&name()).join("db/rows")).unwrap()
    }

    pub(crate) fn bundle(&self, release: u64, content: &str) -> Parts {
        self.bundle_of(content, |recipe| {
            recipe.release = release;
            recipe.version = semver::Version::new(release, 0, 0);
        })
    }

    /// A bundle with anything else in its manifest.
    pub(crate) fn bundle_of(&self, content: &str, change: impl FnOnce(&mut Recipe)) -> Parts {
        let payload = tempfile::tempdir().unwrap();
        files::create_dir(&payload.path().join("bin"), 0o755).unwrap();
        files::write_atomic(&payload.path().join("bin/echo"), content.as_bytes(), 0o755).unwrap();
        let data: Vec<u8> = (0..600_000_u32)
            .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
            .collect();
        files::write_atomic(&payload.path().join("data.bin"), &data, 0o644).unwrap();
        let mut recipe = Recipe::from_toml(RECIPE).unwrap();
        change(&mut recipe);
        let mut bytes = Vec::new();
        bundle::build(&recipe, payload.path(), &[self.key()], &mut bytes).unwrap();
        Parts::read(&bytes)
    }

    /// A permit to go back to a bundle, signed by the release key, that holds for `valid` seconds from now.
    pub(crate) fn permit(&self, bundle: &Parts, sequence: u64, valid: i64) -> Signed {
        let manifest = Manifest::parse(&bundle.manifest).unwrap();
        let expires = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(valid);
        let permit = Downgrade::new((&manifest, bundle.digest), sequence, expires, "a test").unwrap();
        let mut signed = Signed {
            document: permit.to_bytes().unwrap().into(),
            signatures: Vec::new(),
        };
        signed.sign(&self.key(), "").unwrap();
        signed
    }

    pub(crate) fn key(&self) -> SecretKey {
        SecretKey::from_file_text(&fs::read_to_string(self.root.join("key")).unwrap(), None).unwrap()
    }

    /// Every file, link and directory but the operations, with a digest of its content.
    pub(crate) fn listing(&self) -> BTreeMap<PathBuf, String> {
        let mut found = BTreeMap::new();
        let mut todo = vec![self.root.clone()];
        while let Some(dir) = todo.pop() {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                let kind = fs::symlink_metadata(&path).unwrap().file_type();
                let skipped = path.ends_with("satellite/operations") || path.ends_with("running");
                if kind.is_dir() && !skipped {
                    // Empty directories that only hold others are no trace of anything.
                    todo.push(path);
                } else if kind.is_file() && !skipped {
                    found.insert(path.clone(), Digest::of(&fs::read(&path).unwrap()).to_string());
                } else if kind.is_symlink() {
                    found.insert(path.clone(), fs::read_link(&path).unwrap().display().to_string());
                }
            }
        }
        found
    }
}

impl Parts {
    /// Leaves it for another process.
    pub(crate) fn save(&self, dir: &Path) {
        files::create_dir(dir, 0o700).unwrap();
        files::write_atomic(&dir.join("manifest"), &self.manifest, 0o600).unwrap();
        files::write_atomic(&dir.join("signature"), &self.signatures[0], 0o600).unwrap();
        for piece in &self.pieces {
            files::write_atomic(&dir.join(piece.digest.to_string()), &piece.frame, 0o600).unwrap();
        }
    }

    /// Finds what [`Parts::save`] left.
    pub(crate) fn load(dir: &Path) -> Self {
        let manifest: Bytes = fs::read(dir.join("manifest")).unwrap().into();
        let parsed = Manifest::parse(&manifest).unwrap();
        let piece = |digest: Digest| Piece {
            digest,
            frame: fs::read(dir.join(digest.to_string())).unwrap().into(),
        };
        Self {
            digest: bundle::digest_of_manifest(&manifest),
            signatures: vec![fs::read(dir.join("signature")).unwrap().into()],
            pieces: parsed.chunks.iter().map(|chunk| piece(chunk.digest)).collect(),
            manifest,
        }
    }

    pub(crate) fn read(bytes: &[u8]) -> Self {
        let reader = BundleReader::open(bytes).unwrap();
        let (manifest, signatures) = (reader.manifest_bytes().clone(), reader.signatures().to_vec());
        let parsed = Manifest::parse(&manifest).unwrap();
        let chunks = reader.chunks(&parsed).map(|chunk| chunk.unwrap());
        let pieces = chunks
            .map(|(entry, frame)| Piece {
                digest: entry.digest,
                frame,
            })
            .collect();
        Self {
            digest: bundle::digest_of_manifest(&manifest),
            manifest,
            signatures,
            pieces,
        }
    }
}

impl Satellite {
    /// Pushes a bundle.
    pub(crate) async fn upload(&self, bundle: &Parts) {
        let (_, missing) = self.updates.begin(&bundle.manifest, &bundle.signatures).unwrap();
        let pieces = bundle
            .pieces
            .iter()
            .filter(|piece| missing.contains(&piece.digest))
            .cloned()
            .collect();
        let update = self.updates.put_all(bundle.digest, pieces).await.unwrap();
        assert_eq!(update.present_bytes, update.total_bytes);
    }

    /// Pushes and installs a bundle with a permit to go back, and waits for the end.
    pub(crate) async fn go_back(&self, bundle: &Parts, permit: &Signed) -> Operation {
        let (_, missing) = self
            .updates
            .begin_permitted(&bundle.manifest, &bundle.signatures, Some(permit))
            .unwrap();
        let wanted = |piece: &&Piece| missing.contains(&piece.digest);
        let pieces = bundle.pieces.iter().filter(wanted).cloned().collect();
        self.updates.put_all(bundle.digest, pieces).await.unwrap();
        let key = Uuid::new_v4().to_string();
        self.end_of(self.updates.install(bundle.digest, &key, true).unwrap())
            .await
    }

    /// Pushes and installs a bundle, and waits for the end.
    pub(crate) async fn install(&self, bundle: &Parts, enable: bool) -> Operation {
        self.upload(bundle).await;
        let key = Uuid::new_v4().to_string();
        self.end_of(self.updates.install(bundle.digest, &key, enable).unwrap())
            .await
    }

    /// Waits for the end of an operation.
    pub(crate) async fn end_of(&self, operation: Operation) -> Operation {
        let over = |operation: &Operation| {
            !matches!(
                operation.state(),
                OperationState::Pending | OperationState::Running
            )
        };
        let mut seen = self.operations.watch(&operation.id).unwrap();
        let ended = timeout(Duration::from_secs(30), seen.wait_for(over)).await;
        ended.expect("the operation to end").unwrap().clone()
    }

    /// Waits until no work is under way.
    pub(crate) async fn rest(&self) {
        let rests = async {
            while self.workloads.busy() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(30), rests)
            .await
            .expect("the work to end");
    }
}

/// A unit behaves as the content of its program says, and writes that content to its state when it starts.
fn rule(places: Places) -> impl Fn(&str) -> Behaviour + Send + Sync + 'static {
    move |_| {
        let program = places.home(&name()).current().join("bin/echo");
        let content = fs::read_to_string(program).unwrap_or_default();
        let state = places.state(&name());
        files::create_dir(&state.join("db"), 0o750).unwrap();
        files::write_atomic(&state.join("db/rows"), content.as_bytes(), 0o600).unwrap();
        match content.split(' ').next() {
            Some("good") => Behaviour::Runs,
            Some("dying") => Behaviour::Dies,
            _ => Behaviour::Fails,
        }
    }
}

const RECIPE: &str = r#"
workload = "echo"
version = "1.0.0"
channel = "stable"
release = 1
architecture = "x86_64"
least_bridge = "1.0.0"
api = ["satellite.backup.v1"]

[unit]
exec = "bin/echo"
args = ["--config", "x y"]

[health]
start_seconds = 5
settle_seconds = 0

[state]
snapshot = ["db"]
"#;
