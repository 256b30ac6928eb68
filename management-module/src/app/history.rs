//! Keeps record of updates while they are made, and of what became of those that this process did not see the end of.
//!
//! **Invariant:** a record that cannot be written never stops an update.

use satellite_proto::bundle::{Digest, WorkloadName};
use satellite_proto::wire::MAX_MESSAGE;
use satellite_proto::wire::bridge::v1::ListOperationsRequest;
use satellite_proto::wire::bridge::v1::operation_service_client::OperationServiceClient;
use tracing::{info, warn};

use super::execute::{is_versions_fault, judged, note};
use super::push::Sent;
use super::remote::{self, call};
use super::{App, AppError, JobFailure};
use crate::names::SatelliteName;
use crate::store::{Bringing, BundleRow, StoreError};

/// Operations that a satellite keeps.
const KEPT: u32 = 200;

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

/// An installation is about to be begun under a key.
pub(super) async fn begun(
    app: &App,
    satellite: &SatelliteName,
    (workload, manifest): (&WorkloadName, Digest),
    key: &str,
) {
    let of = Bringing {
        satellite,
        workload,
        manifest,
    };
    told(app.store.begin_installation(&of, key).await);
}

/// The end of an installation is recorded.
pub(super) async fn settled(app: &App, satellite: &SatelliteName, key: &str) {
    told(app.store.settle_installation(satellite, key).await);
}

/// Records how installations ended that nobody saw the end of: this server was restarted, or gave up waiting. Answers the
/// failures, by version.
pub(super) async fn catch_up(
    app: &App,
    satellite: &SatelliteName,
) -> Result<Vec<(Digest, JobFailure)>, AppError> {
    let open = app.store.open_installations(satellite).await?;
    if open.is_empty() {
        return Ok(Vec::new());
    }
    let mut client =
        OperationServiceClient::new(app.fleet.channel(satellite)?).max_decoding_message_size(MAX_MESSAGE);
    let asked = client.list_operations(ListOperationsRequest { limit: KEPT });
    let all = call(satellite, app.config.call_deadline, asked).await?.operations;
    let mut failures = Vec::new();
    for installation in open {
        let found = all
            .iter()
            .find(|operation| operation.kind == "install" && operation.idempotency_key == installation.key);
        let end = match found.map(remote::ended) {
            Some(Some(end)) => end,
            // It goes on there.
            Some(None) => continue,
            // The call never came there, or the satellite has been reset since.
            None => {
                settled(app, satellite, &installation.key).await;
                continue;
            }
        };
        let (workload, manifest) = (installation.workload, installation.manifest);
        let was_away = remote::made_at(&installation.key).is_none_or(|begun| begun < app.started_at);
        let end = judged(&workload, end, was_away);
        info!(%satellite, %workload, failed = end.is_err(), "Installation had ended unseen");
        note(app, satellite, workload.clone(), manifest, &end).await;
        ended(app, satellite, (&workload, manifest), true, &end).await;
        settled(app, satellite, &installation.key).await;
        failures.extend(end.err().map(|failure| (manifest, failure)));
    }
    Ok(failures)
}

/// Missing chunks of a bundle were sent, all or some.
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
