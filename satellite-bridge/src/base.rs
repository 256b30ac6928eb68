//! What the satellite itself consists of, and how a bundle changes it: the slots of a machine image, or the bridge's program
//! where that alone is ours.
//!
//! Both go the same way. The new one is put beside the old one and checked; it is started, and stays only when the server has
//! reached it; what starts it counts, so that one which crashes, hangs or stays deaf is given up for the one before: the
//! loader of the machine for a slot, [`launch`] and a timer of the service manager for a bridge.
//!
//! **Invariants:** each step is recorded before it is done, in a record that both sides of a change read; what was
//! good before is touched only after the server has reached the new one.

mod entries;
mod install;
pub mod launch;
pub mod loader;
mod prove;
pub(crate) mod record;
pub mod shipped;
pub mod slots;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use satellite_host::clock;
use satellite_host::systemd::Units;
use satellite_proto::bundle::{BRIDGE_FILE, Digest, Manifest};
use satellite_proto::wire::bridge::v1::{Workload, WorkloadState};
use tokio_util::sync::CancellationToken;

pub use self::record::Part;
use self::record::{Change, Step};
use crate::change::Changes;
use crate::journal;
use crate::operations::Operations;
use crate::workload::{Home, Places, Workloads};

/// Every point at which a test may kill the bridge, what starts it or what writes a slot while the base is changed.
pub const FAIL_POINTS: &[&str] = &[
    "base.accepted",
    "base.staged",
    "base.verified",
    "base.trial-recorded",
    "base.start-counted",
    "base.proving",
    "base.back-recorded",
    "base.confirm-recorded",
    "base.floor-raised",
    "base.linked",
    "base.record-removed",
    "slot.begun",
    "slot.disarmed",
    "slot.unlabelled",
    "slot.half-written",
    "slot.written",
    "slot.verified",
    "slot.labelled",
    "slot.kernel-written",
    "slot.others-hidden",
    "slot.armed",
];

/// The unit of the bridge.
pub const BRIDGE_UNIT: &str = "satellite-bridge.service";
/// The unit that writes a slot: it may do what the bridge may not.
pub const SLOT_UNIT: &str = "satellite-slot.service";

/// On what the satellite runs at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ground {
    /// What bundles can change.
    pub part: Part,
    /// Its version.
    pub version: String,
    /// Name of the slot that was started; empty where there are none.
    pub slot: String,
    /// The program that runs.
    pub program: PathBuf,
    /// The kernel's boot id.
    pub boot_id: String,
}

impl Ground {
    /// The machine itself: an image says on the kernel's command line which slot it started from.
    #[must_use]
    pub fn of_the_machine() -> Self {
        let line = std::fs::read_to_string("/proc/cmdline").unwrap_or_default();
        let slot = line
            .split_ascii_whitespace()
            .find_map(|word| word.strip_prefix("satellite.root="));
        let own = env!("CARGO_PKG_VERSION").to_owned();
        let (part, version) = match slot {
            Some(_) => (Part::System, image_version().unwrap_or(own)),
            None => (Part::Bridge, own),
        };
        Self {
            part,
            version,
            slot: slot.unwrap_or_default().to_owned(),
            program: std::env::current_exe().unwrap_or_default(),
            boot_id: clock::boot_id().map(|id| id.to_string()).unwrap_or_default(),
        }
    }
}

fn image_version() -> Option<String> {
    let text = std::fs::read_to_string("/usr/lib/os-release").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("IMAGE_VERSION="))?;
    Some(line.trim_matches('"').to_owned())
}

/// Changes the satellite's base. A cheap handle.
#[derive(Debug, Clone)]
pub struct Base {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    ground: Ground,
    places: Places,
    units: Arc<dyn Units>,
    operations: Operations,
    workloads: Workloads,
    /// Changes of firewall and network that wait to be confirmed.
    open: Changes,
    /// What is being installed.
    busy: Mutex<Option<Digest>>,
    /// The daemon is to be started anew.
    restart: CancellationToken,
    /// Since when the server can reach this process.
    started: Instant,
}

impl Base {
    /// Stands on `ground`. Nothing is changed before [`Base::recover`].
    #[must_use]
    pub fn new(ground: Ground, workloads: Workloads, units: Arc<dyn Units>, operations: Operations) -> Self {
        let places = workloads.places().clone();
        let inner = Inner {
            ground,
            open: Changes::new(&places.state_dir),
            places,
            units,
            operations,
            workloads,
            busy: Mutex::new(None),
            restart: CancellationToken::new(),
            started: Instant::now(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Returns when the daemon is to end, so that another bridge is started.
    pub async fn wants_restart(&self) {
        self.inner.restart.cancelled().await;
    }

    /// What bundles can change here.
    #[must_use]
    pub fn part(&self) -> Part {
        self.inner.ground.part
    }

    /// Whether a bundle of the base fits this satellite now; else why not.
    ///
    /// # Errors
    ///
    /// A sentence for a person.
    pub(crate) fn check(&self, manifest: &Manifest) -> Result<(), String> {
        let ground = &self.inner.ground;
        match (Part::of(manifest), ground.part) {
            (None, _) => return Ok(()),
            (Some(Part::Bridge), Part::System) => {
                return Err(
                    "the bridge of this satellite is part of its machine image: send it a bundle of `system`"
                        .to_owned(),
                );
            }
            (Some(Part::System), Part::Bridge) => {
                return Err(
                    "this satellite does not run from a machine image and has no slots: send it a bundle of `bridge`"
                        .to_owned(),
                );
            }
            (Some(Part::Bridge), Part::Bridge) => return Ok(()),
            (Some(Part::System), Part::System) => {}
        }
        let running = ground.version.parse::<semver::Version>();
        let is_same = running.is_ok_and(|running| manifest.version == running);
        if is_same && Part::slot_of(manifest) != ground.slot {
            return Err(format!(
                "this satellite runs another system {}, and its loader tells systems by their version: release what you want \
                 under another one",
                ground.version
            ));
        }
        Ok(())
    }

    /// Whether a bundle goes back behind what runs, whatever its release: what the machine came with has none that is known.
    pub(crate) fn goes_back(&self, manifest: &Manifest) -> bool {
        let ground = &self.inner.ground;
        let is_ours = Part::of(manifest) == Some(Part::System) && ground.part == Part::System;
        is_ours
            && Part::slot_of(manifest) != ground.slot
            && loader::is_older(&manifest.version.to_string(), &ground.version)
    }

    /// Whether the version `digest` is being installed.
    pub(crate) fn is_installing(&self, digest: Digest) -> bool {
        *self.inner.busy() == Some(digest)
    }

    /// What came by a bundle, as a workload is shown; none before the first one.
    #[must_use]
    pub fn describe(&self) -> Option<Workload> {
        let inner = &self.inner;
        let is_busy = inner.busy().is_some();
        let installed = inner.installed();
        if !is_busy && installed.is_none() {
            return None;
        }
        let (digest, version) = installed.map_or_else(
            || (String::new(), inner.ground.version.clone()),
            |(digest, manifest)| (digest.to_string(), manifest.version.to_string()),
        );
        let state = if is_busy {
            WorkloadState::Installing
        } else {
            WorkloadState::Healthy
        };
        Some(Workload {
            name: inner.ground.part.name().to_owned(),
            version,
            manifest_digest: digest,
            state: state.into(),
            enabled: true,
            ..Workload::default()
        })
    }
}

impl Inner {
    fn busy(&self) -> MutexGuard<'_, Option<Digest>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn home(&self) -> Home {
        self.places.base(self.ground.part)
    }

    /// What came by a bundle, is confirmed, and runs now.
    fn installed(&self) -> Option<(Digest, Manifest)> {
        let home = self.home();
        let digest = home.pointed(&home.current())?;
        let manifest = home.manifest(digest)?;
        let is_shipped = self.ground.part == Part::Bridge
            && !home.version(digest).exists()
            && !self.ground.program.starts_with(self.places.base_dir());
        let runs = is_shipped || self.runs(digest, &Part::slot_of(&manifest));
        runs.then_some((digest, manifest))
    }

    /// Whether what runs came as the version `digest`, which lies in `slot`.
    fn runs(&self, digest: Digest, slot: &str) -> bool {
        match self.ground.part {
            Part::System => self.ground.slot == slot,
            Part::Bridge => self.ground.program == program(&self.home(), digest),
        }
    }

    fn write(&self, change: &Change) -> Result<(), journal::JournalError> {
        journal::write(&record_file(&self.places), change)
    }
}

/// The bridge's program of a version.
pub(crate) fn program(home: &Home, digest: Digest) -> PathBuf {
    home.version(digest).join(BRIDGE_FILE)
}

/// Where a change is recorded.
pub(crate) fn record_file(places: &Places) -> PathBuf {
    places.base_dir().join("change.json")
}

/// The change that is under way, if one is.
pub(crate) fn change_under_way(places: &Places) -> Result<Option<Change>, journal::JournalError> {
    journal::read(&record_file(places))
}

/// Whether the start of a slot must not be called good yet: the server has not reached it since it was installed.
#[must_use]
pub fn is_on_trial(places: &Places) -> bool {
    let change = change_under_way(places).ok().flatten();
    change.is_some_and(|change| change.part == Part::System && change.step != Step::Confirmed)
}

/// How long the server may take to reach a slot that is on trial, in seconds; 0: none is.
#[must_use]
pub fn seconds_of_trial(places: &Places) -> u64 {
    let change = change_under_way(places).ok().flatten();
    let change = change.filter(|change| change.part == Part::System);
    change.map_or(0, |change| change.limit_seconds.into())
}

#[cfg(test)]
mod tests;
