//! What a bundle says of itself.
//!
//! **Invariant:** only [`Manifest::parse`] makes one from bytes, and it has checked every field and every sum.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::chunk::{CHUNK_MOST, Digest};
use super::{BundleError, MANIFEST_MOST, PAYLOAD_MOST};

mod check;

/// The format that this crate reads and writes.
pub(super) const FORMAT: u32 = 1;

/// A workload's name: 1 to 63 of `a-z`, `0-9` and hyphen, beginning with a letter. Safe in a path, a unit's name, a URL.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct WorkloadName(String);

/// Text that is not a workload's name.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a workload's name: 1 to 63 of a-z, 0-9 and hyphen, beginning with a letter")]
pub struct NotAWorkloadName(String);

impl WorkloadName {
    /// Whether this is no workload but a part of the satellite itself: it is always there, and always runs.
    #[must_use]
    pub fn is_base(&self) -> bool {
        [BRIDGE, SYSTEM].contains(&self.as_str())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for WorkloadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for WorkloadName {
    type Err = NotAWorkloadName;

    fn from_str(text: &str) -> Result<Self, NotAWorkloadName> {
        let begins = text.starts_with(|c: char| c.is_ascii_lowercase());
        if !begins || !check::is_name(text) {
            return Err(NotAWorkloadName(text.chars().take(80).collect()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for WorkloadName {
    type Error = NotAWorkloadName;

    fn try_from(text: String) -> Result<Self, NotAWorkloadName> {
        text.parse()
    }
}

impl From<WorkloadName> for String {
    fn from(name: WorkloadName) -> Self {
        name.0
    }
}

/// What is signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of this format; 1.
    pub format: u32,
    /// The workload it is for.
    pub workload: WorkloadName,
    /// What it is, if it is no workload but a part of the satellite itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// The version it brings.
    pub version: semver::Version,
    /// The line of releases it belongs to, such as `stable`.
    pub channel: String,
    /// Number of the release in its channel; rises, starts with 1.
    pub release: u64,
    /// Machine architecture as `uname -m` gives it.
    pub architecture: String,
    /// The oldest bridge that can install it.
    pub least_bridge: semver::Version,
    /// How it is started; left out for a part of the satellite itself.
    #[serde(default, skip_serializing_if = "Unit::is_none")]
    pub unit: Unit,
    /// When it counts as healthy.
    pub health: Health,
    /// Packages of RPC services that the bridge passes on to it.
    #[serde(default)]
    pub api: Vec<String>,
    /// Packets that it needs to pass.
    #[serde(default)]
    pub firewall: Vec<ManifestRule>,
    /// Its state.
    #[serde(default)]
    pub state: State,
    /// Log files that it writes, below `logs/` of its state.
    #[serde(default)]
    pub logs: Vec<String>,
    /// SHA-256 over all chunks as they lie packed in the file, in order.
    pub packed: Digest,
    /// The payload's files, by path.
    pub files: Vec<FileEntry>,
    /// The payload's chunks, each once, in the order in which files first need them.
    pub chunks: Vec<ChunkEntry>,
}

/// A part of the satellite itself. Its workload has the same name, which is no workload's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Kind {
    /// The bridge alone, where it is not part of an image: the file [`BRIDGE_FILE`].
    Bridge,
    /// The machine's operating system with the bridge in it: the files [`ROOT_FILE`] and [`KERNEL_FILE`].
    System {
        /// Name of the partition that holds the root: `root-` and the first 16 digits of its dm-verity hash.
        slot: String,
    },
}

impl Kind {
    /// The name that it goes by among workloads.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Bridge => BRIDGE,
            Self::System { .. } => SYSTEM,
        }
    }
}

/// Name of the bridge among workloads.
pub const BRIDGE: &str = "bridge";
/// Name of the operating system among workloads.
pub const SYSTEM: &str = "system";
/// The one file of a bridge.
pub const BRIDGE_FILE: &str = "satellite-bridge";
/// The root of a system, with its dm-verity tree behind it: what lies in a slot.
pub const ROOT_FILE: &str = "root.img";
/// The kernel image that proves and starts that root.
pub const KERNEL_FILE: &str = "kernel.efi";

/// How a workload is started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unit {
    /// Path of the program in the payload.
    pub exec: String,
    /// Its arguments.
    #[serde(default)]
    pub args: Vec<String>,
    /// Its environment.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Bytes of memory that it may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_max: Option<u64>,
    /// Whether it may listen on ports below 1024.
    #[serde(default)]
    pub ports_below_1024: bool,
}

impl Unit {
    /// Nothing is started.
    fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// When a workload counts as healthy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// Seconds in which it must become healthy, 1 to 600.
    pub start_seconds: u32,
    /// Seconds for which it must stay so before it is believed, 0 to 60.
    pub settle_seconds: u32,
    /// Service to ask for by `grpc.health.v1` on its API socket; none: the service manager's word counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc: Option<String>,
    /// It does not tell the service manager when it is ready: that it runs counts.
    #[serde(default, skip_serializing_if = "is_false")]
    pub silent: bool,
    /// Port of this machine on which it must take connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<u16>,
    /// What it must answer with success over HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpHealth>,
    /// What is run in its sandbox after it was started, and must end with 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<HealthCommand>,
}

/// A question over HTTP, asked of this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpHealth {
    /// Port of this machine.
    pub port: u16,
    /// Path with its slash. Answers 200 to 299 are success.
    pub path: String,
}

/// A program of the payload that says whether the workload is well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealthCommand {
    /// Its path in the payload.
    pub exec: String,
    /// Its arguments.
    #[serde(default)]
    pub args: Vec<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over so")]
fn is_false(value: &bool) -> bool {
    !value
}

/// The state of a workload.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Paths below the state directory of which a copy is kept while a version changes.
    #[serde(default)]
    pub snapshot: Vec<String>,
}

/// Which way a packet goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// To the satellite.
    In,
    /// From the satellite.
    Out,
}

/// What carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A range of ports, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PortRange {
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
}

/// Packets that a workload needs to pass. A bundle can open, never close.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestRule {
    /// Unique in the manifest; 1 to 63 of `a-z`, `0-9` and hyphen.
    pub name: String,
    /// Which way.
    pub direction: Direction,
    /// What carries it.
    pub protocol: Protocol,
    /// Destination ports.
    pub ports: Vec<PortRange>,
    /// Remote networks in CIDR notation; none: all.
    #[serde(default)]
    pub remotes: Vec<String>,
    /// For a person.
    #[serde(default)]
    pub comment: String,
}

/// A file of the payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Where it goes, relative to the version's directory.
    pub path: String,
    /// Permissions: 0o644 or 0o755.
    pub mode: u32,
    /// Its bytes.
    pub size: u64,
    /// Its digest.
    pub digest: Digest,
    /// Indexes of its chunks, in order.
    pub chunks: Vec<u32>,
}

/// A chunk of the payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChunkEntry {
    /// Its digest, uncompressed.
    pub digest: Digest,
    /// Its bytes, uncompressed; at most [`CHUNK_MOST`].
    pub size: u32,
}

impl Manifest {
    /// Reads and checks a manifest whose signatures hold.
    ///
    /// # Errors
    /// [`BundleError::Manifest`] with what is wrong, in a person's words.
    pub fn parse(bytes: &[u8]) -> Result<Self, BundleError> {
        if bytes.len() > MANIFEST_MOST {
            return Err(BundleError::Manifest(format!(
                "it has more than {MANIFEST_MOST} bytes"
            )));
        }
        let manifest: Self = serde_json::from_slice(bytes)
            .map_err(|error| BundleError::Manifest(format!("it is malformed: {error}")))?;
        if manifest.to_bytes()? != bytes {
            return Err(BundleError::Manifest("it is not in canonical form".to_owned()));
        }
        check::manifest(&manifest).map_err(BundleError::Manifest)?;
        Ok(manifest)
    }

    /// The canonical bytes: JSON without blanks, fields in the order of this type.
    ///
    /// # Errors
    /// [`BundleError::Manifest`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, BundleError> {
        serde_json::to_vec(self)
            .map_err(|error| BundleError::Manifest(format!("it cannot be written: {error}")))
    }

    /// Bytes of all files.
    #[must_use]
    pub fn payload_bytes(&self) -> u64 {
        self.files
            .iter()
            .fold(0, |sum, file| sum.saturating_add(file.size))
    }

    /// The entry of a chunk.
    #[must_use]
    pub fn chunk(&self, digest: &Digest) -> Option<&ChunkEntry> {
        self.chunks.iter().find(|chunk| chunk.digest == *digest)
    }
}
