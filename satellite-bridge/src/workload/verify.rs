//! The check that units make before each start of a workload, also when the service manager restarts it by itself.
//!
//! **Invariant:** nothing is changed here, and no daemon is needed.

use satellite_proto::bundle::{Digest, WorkloadName};

use super::assemble::{self, AssembleError};
use super::places::Places;

/// Why a version must not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// Its manifest is gone or another one.
    #[error("the manifest of workload `{0}` is missing or damaged: install the workload again")]
    Manifest(WorkloadName),
    /// A file is not what was signed.
    #[error("workload `{name}` is damaged and not started: install it again")]
    Damaged {
        /// Which workload.
        name: WorkloadName,
        /// What is wrong.
        #[source]
        source: AssembleError,
    },
}

/// Compares an installed version with the manifest that was signed, whose digest names the version.
///
/// # Errors
///
/// [`VerifyError`]: it must not be started.
pub fn verify_installed(places: &Places, name: &WorkloadName, version: Digest) -> Result<(), VerifyError> {
    let home = places.home(name);
    let manifest = home
        .manifest(version)
        .filter(|manifest| manifest.workload == *name)
        .ok_or_else(|| VerifyError::Manifest(name.clone()))?;
    assemble::verify(&manifest, &home.version(version)).map_err(|source| VerifyError::Damaged {
        name: name.clone(),
        source,
    })
}
