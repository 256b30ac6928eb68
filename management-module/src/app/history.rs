//! Keeps record of updates while they are made.
//!
//! **Invariant:** a record that cannot be written never stops an update.

use satellite_proto::bundle::{Digest, WorkloadName};
use tracing::warn;

use super::execute::is_versions_fault;
use super::push::Sent;
use super::{App, JobFailure};
use crate::names::SatelliteName;
use crate::store::{Bringing, BundleRow, StoreError};

fn told(result: Result<(), StoreError>) {
    if let Err(error) = result {
        warn!(error = %crate::error_chain(&error), "Update not recorded");
    }
}

/// A version is about to be brought to a satellite, for the first time or again.
pub(super) async fn opened(app: &App, satellite: &SatelliteName, workload: &WorkloadName, manifest: Digest) {
    let bundle = app.store.bundle(&manifest).await.ok().flatten();
    let version = bundle
        .map(|bundle| bundle.version.to_string())
        .unwrap_or_default();
    let seen = app.fleet.observed(satellite).ok().and_then(|link| link.satellite);
    let before = seen.and_then(|seen| {
        let mut all = seen.workloads.into_iter();
        all.find(|there| there.name == workload.as_str())
    });
    let before = before.map(|there| there.version).unwrap_or_default();
    let of = Bringing {
        satellite,
        workload,
        manifest,
    };
    told(app.store.open_history(&of, &before, &version).await);
}

/// A bundle's missing chunks were sent.
pub(super) async fn pushed(app: &App, satellite: &SatelliteName, bundle: &BundleRow, sent: Sent) {
    let of = Bringing {
        satellite,
        workload: &bundle.workload,
        manifest: bundle.manifest_digest,
    };
    told(app.store.count_history(&of, sent.sent, sent.saved).await);
}

/// A step of an update has ended: the whole update if it `is_last`, or by a fault of the version itself.
pub(super) async fn ended(
    app: &App,
    satellite: &SatelliteName,
    (workload, manifest): (&WorkloadName, Digest),
    is_last: bool,
    result: &Result<(), JobFailure>,
) {
    let (outcome, problem) = match result {
        Ok(()) if is_last => ("done", String::new()),
        Ok(()) => return,
        Err(failure) if is_versions_fault(failure.code) => ("failed", failure.with_last_words()),
        Err(failure) => ("updating", failure.with_last_words()),
    };
    let of = Bringing {
        satellite,
        workload,
        manifest,
    };
    told(app.store.close_history(&of, outcome, &problem).await);
}
