//! The releases of what was installed: recorded when a version is confirmed, so that nothing older follows it.

use tracing::error;

use super::Installer;
use crate::workload::Inner;
use crate::workload::record::{Fault, Step, chain};
use satellite_proto::bundle::WorkloadName;

impl Installer {
    /// Records that the version stays, then that nothing older may follow it. A crash in between is put right at the next
    /// start, which does this again.
    pub(super) fn confirm(&mut self) -> Result<(), Fault> {
        if self.record.step < Step::Confirmed {
            self.note(Step::Confirmed)?;
        }
        let manifest = self.manifest()?;
        let release = (manifest.channel.as_str(), manifest.release);
        let floors = &self.claim.inner.floors;
        floors
            .confirm(&manifest.workload, release, self.record.permit)
            .map_err(|err| Fault::of("the release cannot be recorded", &err))
    }
}

impl Inner {
    /// What is installed, and not about to be taken back, is a floor: also if a bridge that knew none installed it.
    pub(in crate::workload) fn raise_floor_of_installed(&self, name: &WorkloadName) {
        if self.places.home(name).journal().exists() {
            return;
        }
        let Some(installed) = self.table().get(name).cloned() else {
            return;
        };
        let release = (installed.manifest.channel.as_str(), installed.manifest.release);
        if let Err(err) = self.floors.confirm(name, release, None) {
            error!(workload = name.as_str(), error = %chain(&err), "Release of what is installed cannot be recorded");
        }
    }
}
