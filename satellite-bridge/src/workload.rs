//! What is installed, started and watched on the satellite.
//!
//! **Invariants:** one piece of work at a time is done on a workload, and what it has done so far is on the disk before it
//! goes on, so that a satellite that dies anywhere comes back with the old version or the new one, whole. A version is
//! compared with its signed manifest before each start.

pub(crate) mod assemble;
mod claim;
mod ends;
mod health;
mod install;
mod places;
mod power;
pub(crate) mod record;
mod recover;
mod state;
mod unit_file;
mod verify;
mod watching;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use satellite_host::files::FileError;
use satellite_host::systemd::Units;
use satellite_proto::bundle::{Digest, Manifest, WorkloadName};
use satellite_proto::pushback;
use satellite_proto::wire::bridge::v1::{Operation, Workload};
use tokio::sync::{Notify, watch};
use tonic::{Code, Status};

pub use self::assemble::AssembleError;
pub(crate) use self::assemble::{check_space, fault_of};
pub use self::ends::{Told, note_end};
pub use self::install::FAIL_POINTS;
pub(crate) use self::install::{Staged, forget_upload, tidy_versions};
pub use self::places::{Home, Places, unit_name};
pub use self::verify::{VerifyError, verify_installed};
pub(crate) use self::watching::timestamp;
use crate::contact::Contact;
use crate::journal::JournalError;
use crate::operations::{OperationError, Operations};
use crate::trust::floor::Floors;
use crate::update::ChunkStore;

/// How long a workload may take to stop when the satellite is quarantined.
const HOLD: std::time::Duration = std::time::Duration::from_secs(30);

/// When to ask again for what cannot be done because something else is being done: most of that takes seconds.
const AGAIN: std::time::Duration = std::time::Duration::from_secs(1);

/// Why a call about a workload is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkloadError {
    /// It is not installed.
    #[error("no workload `{0}` is installed")]
    Unknown(WorkloadName),
    /// Something else is being done to it.
    #[error("another operation on workload `{0}` is under way: wait for its end")]
    Busy(WorkloadName),
    /// The operation cannot be recorded, or its key is refused.
    #[error(transparent)]
    Operation(OperationError),
    /// What is written about it cannot be read or written.
    #[error("what is recorded about the workload cannot be used: check the disk of the satellite")]
    Journal(#[source] JournalError),
    /// The directories cannot be used.
    #[error("the directory of workloads cannot be used: check the disk of the satellite")]
    File(#[source] FileError),
}

impl From<WorkloadError> for Status {
    fn from(error: WorkloadError) -> Self {
        let code = match error {
            WorkloadError::Unknown(_) => Code::NotFound,
            WorkloadError::Busy(_) => {
                return pushback::come_after(Self::aborted(error.to_string()), AGAIN);
            }
            WorkloadError::Operation(error) => return error.into(),
            WorkloadError::Journal(_) | WorkloadError::File(_) => Code::Internal,
        };
        Self::new(code, error.to_string())
    }
}

/// All workloads of the satellite. A cheap handle.
#[derive(Debug, Clone)]
pub struct Workloads {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) places: Places,
    pub(crate) units: Arc<dyn Units>,
    pub(crate) operations: Operations,
    pub(crate) chunks: ChunkStore,
    /// Below which release nothing is installed.
    pub(crate) floors: Floors,
    /// When the installation last reached the satellite.
    pub(crate) contact: Contact,
    /// What is being done to which workload, and to which version.
    busy: Mutex<BTreeMap<WorkloadName, Option<Digest>>>,
    table: Mutex<BTreeMap<WorkloadName, Installed>>,
    seen: watch::Sender<Vec<Workload>>,
    /// Wakes the watch at once.
    changed: Notify,
}

/// What is known of an installed workload without asking the machine.
#[derive(Debug, Clone)]
pub(crate) struct Installed {
    pub(crate) digest: Digest,
    pub(crate) manifest: Arc<Manifest>,
    pub(crate) enabled: bool,
    pub(crate) previous: Option<String>,
}

impl Workloads {
    /// Reads what is installed. Nothing is changed before [`Workloads::recover`].
    ///
    /// # Errors
    ///
    /// If the directory cannot be made or read.
    pub fn open(
        places: Places,
        units: Arc<dyn Units>,
        operations: Operations,
    ) -> Result<Self, WorkloadError> {
        satellite_host::files::create_dir(&places.workloads(), 0o711).map_err(WorkloadError::File)?;
        let chunks = ChunkStore::open(places.chunks()).map_err(WorkloadError::File)?;
        satellite_host::files::create_dir(&places.trust(), 0o700).map_err(WorkloadError::File)?;
        let inner = Inner {
            floors: Floors::open(places.floors()),
            contact: Contact::default(),
            places,
            units,
            operations,
            chunks,
            busy: Mutex::default(),
            table: Mutex::default(),
            seen: watch::Sender::new(Vec::new()),
            changed: Notify::new(),
        };
        for name in inner.on_disk()? {
            inner.refresh(&name);
            inner.raise_floor_of_installed(&name);
        }
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Stops what runs, without wanting it to be stopped: the next [`Workloads::recover`] starts it again.
    pub async fn hold(&self) {
        let names: Vec<_> = self.inner.table().keys().cloned().collect();
        for name in names {
            let unit = unit_name(&name);
            ends::announce(&self.inner.places.home(&name), "the satellite is quarantined");
            if let Err(error) = self.inner.units.stop(&unit, HOLD).await {
                tracing::error!(workload = name.as_str(), error = %crate::cli::error_chain(&error), "Workload not stopped");
            }
        }
        self.inner.changed.notify_one();
    }

    /// The chunks that versions are made of.
    pub(crate) fn chunks(&self) -> &ChunkStore {
        &self.inner.chunks
    }

    /// All workloads as they were when last looked at, by name.
    #[must_use]
    pub fn list(&self) -> Vec<Workload> {
        self.inner.seen.borrow().clone()
    }

    /// One workload, looked at now.
    ///
    /// # Errors
    ///
    /// [`WorkloadError::Unknown`].
    pub async fn get(&self, name: &WorkloadName) -> Result<Workload, WorkloadError> {
        self.inner
            .look(name)
            .await
            .ok_or_else(|| WorkloadError::Unknown(name.clone()))
    }

    /// All workloads, looked at now, by name.
    pub async fn look(&self) -> Vec<Workload> {
        self.inner.look_at_all().await
    }

    /// Changes whenever a workload does.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Vec<Workload>> {
        self.inner.seen.subscribe()
    }

    /// Whether any work on a workload is under way.
    #[must_use]
    pub fn busy(&self) -> bool {
        !self.inner.busy().is_empty()
    }

    /// The socket of the workload that declares the API package `package`.
    #[must_use]
    pub fn api_socket(&self, package: &str) -> Option<PathBuf> {
        let table = self.inner.table();
        let declares = |installed: &&Installed| installed.manifest.api.iter().any(|api| api == package);
        let found = table.values().find(declares)?;
        Some(self.inner.places.socket(&found.manifest.workload))
    }

    /// The manifest of the installed version.
    #[must_use]
    pub fn manifest(&self, name: &WorkloadName) -> Option<Arc<Manifest>> {
        self.inner
            .table()
            .get(name)
            .map(|installed| installed.manifest.clone())
    }

    /// The names of what is installed.
    #[must_use]
    pub fn names(&self) -> Vec<WorkloadName> {
        self.inner.table().keys().cloned().collect()
    }

    /// The state directory of a workload.
    #[must_use]
    pub fn state_dir(&self, name: &WorkloadName) -> PathBuf {
        self.inner.places.state(name)
    }

    /// Where everything lies.
    #[must_use]
    pub fn places(&self) -> &Places {
        &self.inner.places
    }

    /// Below which release nothing is installed.
    pub(crate) fn floors(&self) -> &Floors {
        &self.inner.floors
    }

    /// When the installation last reached the satellite; whoever hears it says so there.
    #[must_use]
    pub fn contact(&self) -> Contact {
        self.inner.contact.clone()
    }

    /// Whether the version `digest` is being installed.
    pub(crate) fn is_installing(&self, digest: Digest) -> bool {
        self.inner.busy().values().any(|target| *target == Some(digest))
    }

    /// What is installed under this name.
    pub(crate) fn installed(&self, name: &WorkloadName) -> Option<Installed> {
        self.inner.table().get(name).cloned()
    }

    /// The operation that the same call with the same key began before.
    pub(crate) fn begun_before(&self, kind: &str, key: &str) -> Option<Operation> {
        let known = self.inner.operations.list(usize::MAX);
        known
            .into_iter()
            .find(|operation| operation.kind == kind && operation.idempotency_key == key)
    }
}

impl Inner {
    fn busy(&self) -> MutexGuard<'_, BTreeMap<WorkloadName, Option<Digest>>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn table(&self) -> MutexGuard<'_, BTreeMap<WorkloadName, Installed>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Names of all directories of workloads, complete or not.
    fn on_disk(&self) -> Result<Vec<WorkloadName>, WorkloadError> {
        let dir = self.places.workloads();
        let failed = |source| {
            WorkloadError::File(FileError {
                action: "read",
                path: dir.clone(),
                source,
            })
        };
        let mut names = Vec::new();
        for entry in fs::read_dir(&dir).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            names.extend(name.to_str().and_then(|name| name.parse().ok()));
        }
        names.sort();
        Ok(names)
    }

    /// Reads anew what is installed under `name`.
    pub(crate) fn refresh(&self, name: &WorkloadName) {
        let home = self.places.home(name);
        let found = home.pointed(&home.current()).and_then(|digest| {
            let manifest = home.manifest(digest)?;
            let previous = home
                .pointed(&home.previous())
                .filter(|previous| *previous != digest);
            Some(Installed {
                digest,
                manifest: Arc::new(manifest),
                enabled: home.desired().unwrap_or_default().enabled,
                previous: previous.and_then(|digest| Some(home.manifest(digest)?.version.to_string())),
            })
        });
        match found {
            Some(installed) => drop(self.table().insert(name.clone(), installed)),
            None => drop(self.table().remove(name)),
        }
        self.changed.notify_one();
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use self::tests::world;
