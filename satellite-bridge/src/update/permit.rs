//! The permit to go back, kept beside the upload that it came with, and the check of releases.
//!
//! **Invariant:** whether a release may be installed is decided when its upload begins and again when it is installed.

use satellite_proto::bundle::{Digest, Downgrade, Manifest, Signed};

use super::{Inner, UpdateError};
use crate::journal::{self, JournalError};
use crate::pairing::time_of_day;
use crate::workload::Places;

fn file(places: &Places, digest: Digest) -> std::path::PathBuf {
    places.update(digest).join("permit.json")
}

/// Keeps the permit that came with an upload.
pub(super) fn keep(places: &Places, digest: Digest, permit: &Signed) -> Result<(), UpdateError> {
    journal::write(&file(places, digest), permit).map_err(UpdateError::Permit)
}

/// The permit of an upload. One that cannot be read is as good as none.
pub(super) fn of_upload(places: &Places, digest: Digest) -> Result<Option<Signed>, UpdateError> {
    match journal::read(&file(places, digest)) {
        Ok(permit) => Ok(permit),
        Err(JournalError::Damaged { .. }) => Ok(None),
        Err(err) => Err(UpdateError::Permit(err)),
    }
}

impl Inner {
    /// Whether the release may be installed; with the sequence of the permit that lets it, if one is needed.
    pub(super) fn check_release(
        &self,
        digest: Digest,
        manifest: &Manifest,
        permit: Option<&Signed>,
    ) -> Result<Option<u64>, UpdateError> {
        let name = &manifest.workload;
        let floor = self.workloads.floors().of(name, &manifest.channel);
        let mut least = floor.release;
        if let Some(installed) = self.workloads.installed(name) {
            if installed.digest == digest {
                return Ok(None);
            }
            if installed.manifest.channel == manifest.channel {
                least = least.max(installed.manifest.release);
            }
        }
        let goes_back = self.base.as_ref().is_some_and(|base| base.goes_back(manifest));
        if manifest.release >= least && !goes_back {
            return Ok(None);
        }
        let refused = |text: String| Err(UpdateError::Policy(text));
        let release = manifest.release;
        let Some(permit) = permit else {
            if goes_back {
                return refused(format!(
                    "system {} is older than the one that runs; going back needs a permit signed by the release keys \
                     (`management-module bundle allow-downgrade`)",
                    manifest.version
                ));
            }
            return refused(format!(
                "release {release} of {name} is older than release {least}, which was installed here before; going back \
                 needs a permit signed by the release keys (`management-module bundle allow-downgrade`)"
            ));
        };
        let keys = self.truster.release_keys().map_err(UpdateError::Trust)?;
        let permit = Downgrade::verify(permit, &keys, time_of_day()).map_err(UpdateError::Bundle)?;
        if !permit.is_for(manifest, digest) {
            return refused(format!(
                "the permit to go back is for release {} of {}, not for this bundle",
                permit.release, permit.workload
            ));
        }
        if permit.sequence <= floor.permit {
            return refused(format!(
                "the permit to go back to release {release} of {name} was used here before, or a later one was: it holds \
                 once"
            ));
        }
        Ok(Some(permit.sequence))
    }
}
