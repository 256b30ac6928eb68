//! What is written down about a change of the satellite's base: how far it has come, and how it ended.
//!
//! It is read by older and newer bridges, on both sides of a change: a field that is not known is passed over, one that is
//! missing has a default.

use jiff::Timestamp;
use satellite_proto::bundle::{BRIDGE, Digest, Kind, Manifest, SYSTEM, WorkloadName};
use serde::{Deserialize, Serialize};

use crate::workload::record::Fault;

/// What the satellite itself consists of, as far as bundles can change it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// The bridge's program, beside the one that was installed with the machine.
    Bridge,
    /// A slot of the machine image, with the bridge in it.
    System,
}

impl Part {
    /// Its name among workloads.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bridge => BRIDGE,
            Self::System => SYSTEM,
        }
    }

    /// What a manifest is for; none: a workload.
    #[must_use]
    pub fn of(manifest: &Manifest) -> Option<Self> {
        match manifest.kind.as_ref()? {
            Kind::Bridge => Some(Self::Bridge),
            Kind::System { .. } => Some(Self::System),
        }
    }

    /// The slot that a system's bundle is for; empty for others.
    pub(super) fn slot_of(manifest: &Manifest) -> String {
        match &manifest.kind {
            Some(Kind::System { slot }) => slot.clone(),
            _ => String::new(),
        }
    }

    /// Its name, as floors know it.
    pub(super) fn workload(self) -> Option<WorkloadName> {
        self.name().parse().ok()
    }
}

/// How far a change has come. Each step is recorded before what it names is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Step {
    /// The new one is being written; nothing starts it yet.
    Accepted,
    /// The new one is started, and proves itself.
    Trial,
    /// It stays. The point of no return.
    Confirmed,
    /// The one before is started again.
    Back,
}

/// A change that is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Change {
    /// The operation that reports on it.
    pub(crate) operation: String,
    /// What is changed.
    pub(crate) part: Part,
    /// The manifest of the new one.
    pub(crate) target: Digest,
    /// The version of the new one.
    pub(crate) version: String,
    /// The slot of the new one; empty for a bridge.
    #[serde(default)]
    pub(crate) slot: String,
    /// The version before, for a person.
    #[serde(default)]
    pub(crate) before: String,
    /// Seconds after its start within which the server must reach the new one.
    pub(crate) limit_seconds: u32,
    /// The kernel's boot id when the change was begun.
    #[serde(default)]
    pub(crate) boot_id: String,
    /// Sequence of the permit by which it goes back to an older release, if it does.
    #[serde(default)]
    pub(crate) permit: Option<u64>,
    /// How far it is.
    pub(crate) step: Step,
    /// How often the new one was started.
    #[serde(default)]
    pub(crate) starts: u32,
    /// The boot in which a timer watches it.
    #[serde(default)]
    pub(crate) watched_in: String,
    /// When the trial began.
    #[serde(default)]
    pub(crate) since: Option<Timestamp>,
    /// Why the one before is started again.
    #[serde(default)]
    pub(crate) fault: Option<Fault>,
}

impl Change {
    /// Gives the new one up; the first cause stays.
    pub(super) fn give_up(&mut self, fault: Fault) {
        self.step = Step::Back;
        self.fault.get_or_insert(fault);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_another_bridge_is_read() {
        let text = r#"{"operation": "o", "part": "bridge", "target":
            "0000000000000000000000000000000000000000000000000000000000000000", "version": "2.0.0",
            "limit_seconds": 7, "step": "trial", "from-a-later-bridge": [1, 2]}"#;
        let change: Change = serde_json::from_str(text).unwrap();
        assert_eq!(
            (change.step, change.starts, change.limit_seconds),
            (Step::Trial, 0, 7)
        );
    }
}
