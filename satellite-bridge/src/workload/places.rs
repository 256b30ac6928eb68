//! Where everything about a workload lies.
//!
//! **Invariant:** only paths are made here; nothing is read or written but links and records that say what is installed.

use std::fs;
use std::path::{Path, PathBuf};

use satellite_proto::bundle::{Digest, Manifest, WorkloadName, digest_of_manifest};

use crate::base::Part;
use crate::config::Config;
use crate::journal::{self, JournalError};
use crate::workload::record::Desired;

/// The roots that uploads and workloads live under; tests move them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// What survives a boot: `/var/lib/satellite`.
    pub state_dir: PathBuf,
    /// Sockets: `/run/satellite`.
    pub run_dir: PathBuf,
    /// Where units of workloads are generated: `/run/systemd/system`.
    pub unit_dir: PathBuf,
    /// Where the service manager keeps the state directories of workloads: `/var/lib`.
    pub workload_state_dir: PathBuf,
    /// Lists of trusted release keys; the first that exists is used.
    pub trust_anchors: Vec<PathBuf>,
    /// This program with its configuration, which units start before a workload; empty: they do not.
    pub own_command: Vec<String>,
}

impl Places {
    /// Where they are by the configuration.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        Self {
            state_dir: config.state_dir.clone(),
            run_dir: config.run_dir.clone(),
            unit_dir: config.unit_dir.clone(),
            workload_state_dir: config.workload_state_dir.clone(),
            trust_anchors: config.trust_anchors.clone(),
            own_command: config.own_command(),
        }
    }

    /// Directory of all workloads.
    #[must_use]
    pub fn workloads(&self) -> PathBuf {
        self.state_dir.join("workloads")
    }

    /// Directory of all uploads.
    #[must_use]
    pub fn updates(&self) -> PathBuf {
        self.state_dir.join("updates")
    }

    /// Directory of all chunks.
    #[must_use]
    pub fn chunks(&self) -> PathBuf {
        self.state_dir.join("chunks")
    }

    /// Directory of what is recorded about trusted keys and releases.
    #[must_use]
    pub fn trust(&self) -> PathBuf {
        self.state_dir.join("trust")
    }

    /// The record of releases below which nothing is installed.
    #[must_use]
    pub fn floors(&self) -> PathBuf {
        self.trust().join("floors.json")
    }

    /// Directory of one upload.
    #[must_use]
    pub fn update(&self, digest: Digest) -> PathBuf {
        self.updates().join(digest.to_string())
    }

    /// The socket on which a workload answers.
    #[must_use]
    pub fn socket(&self, name: &WorkloadName) -> PathBuf {
        self.run_dir
            .join("workloads")
            .join(name.as_str())
            .join("api.sock")
    }

    /// The generated unit file of a workload.
    #[must_use]
    pub fn unit_file(&self, name: &WorkloadName) -> PathBuf {
        self.unit_dir.join(unit_name(name))
    }

    /// The state directory of a workload, by its real path: below `private`, where the service manager puts those of
    /// units that have no fixed user.
    #[must_use]
    pub fn state(&self, name: &WorkloadName) -> PathBuf {
        self.workload_state_dir
            .join("private")
            .join(format!("satellite-{name}"))
    }

    /// Directory of what came by bundles for the satellite itself.
    #[must_use]
    pub fn base_dir(&self) -> PathBuf {
        self.state_dir.join("base")
    }

    /// What belongs to a part of the satellite itself.
    #[must_use]
    pub fn base(&self, part: Part) -> Home {
        Home {
            root: self.base_dir().join(part.name()),
        }
    }

    /// What belongs to one workload.
    #[must_use]
    pub fn home(&self, name: &WorkloadName) -> Home {
        Home {
            root: self.workloads().join(name.as_str()),
        }
    }
}

/// The name of a workload's unit.
#[must_use]
pub fn unit_name(name: &WorkloadName) -> String {
    format!("satellite-workload-{name}.service")
}

/// The directory of one workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    root: PathBuf,
}

impl Home {
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn versions(&self) -> PathBuf {
        self.root.join("versions")
    }

    pub(crate) fn version(&self, digest: Digest) -> PathBuf {
        self.versions().join(digest.to_string())
    }

    /// A version that is being put together.
    pub(crate) fn part(&self, digest: Digest) -> PathBuf {
        self.versions().join(format!("{digest}.part"))
    }

    /// The manifest beside a version.
    pub(crate) fn manifest_file(&self, digest: Digest) -> PathBuf {
        self.versions().join(format!("{digest}.json"))
    }

    pub(crate) fn current(&self) -> PathBuf {
        self.root.join("current")
    }

    pub(crate) fn previous(&self) -> PathBuf {
        self.root.join("previous")
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.root.join("journal.json")
    }

    pub(crate) fn removal(&self) -> PathBuf {
        self.root.join("removal.json")
    }

    /// Why it ended, each time.
    pub(crate) fn ends(&self) -> PathBuf {
        self.root.join("ends.json")
    }

    /// Why the bridge is about to end it.
    pub(crate) fn announcement(&self) -> PathBuf {
        self.root.join("ending.json")
    }

    pub(crate) fn desired_file(&self) -> PathBuf {
        self.root.join("desired.json")
    }

    pub(crate) fn snapshot(&self) -> PathBuf {
        self.root.join("snapshot")
    }

    pub(crate) fn snapshot_part(&self) -> PathBuf {
        self.root.join("snapshot.part")
    }

    /// Which version `link` points to.
    pub(crate) fn pointed(&self, link: &Path) -> Option<Digest> {
        let target = fs::read_link(link).ok()?;
        target.file_name()?.to_str()?.parse().ok()
    }

    /// What a link to `digest` holds: relative, so that the tree can be moved.
    pub(crate) fn link_target(digest: Digest) -> PathBuf {
        Path::new("versions").join(digest.to_string())
    }

    pub(crate) fn desired(&self) -> Result<Desired, JournalError> {
        Ok(journal::read(&self.desired_file())?.unwrap_or_default())
    }

    /// The manifest that a version was installed with, if it is still the one that was signed.
    pub(crate) fn manifest(&self, digest: Digest) -> Option<Manifest> {
        let bytes = fs::read(self.manifest_file(digest)).ok()?;
        let is_signed = digest_of_manifest(&bytes) == digest;
        is_signed.then(|| Manifest::parse(&bytes).ok()).flatten()
    }

    /// Digests of all versions whose manifest is here.
    pub(crate) fn manifests(&self) -> Vec<Digest> {
        let Ok(entries) = fs::read_dir(self.versions()) else {
            return Vec::new();
        };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        names
            .filter_map(|name| name.strip_suffix(".json")?.parse().ok())
            .collect()
    }
}
