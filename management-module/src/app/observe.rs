//! Reads what is meant and what is, whole, for a plan.

use std::collections::BTreeMap;

use satellite_proto::bundle::{Manifest, WorkloadName};
use satellite_proto::wire::MAX_MESSAGE;
use satellite_proto::wire::bridge::v1::satellite_service_client::SatelliteServiceClient;
use satellite_proto::wire::bridge::v1::update_service_client::UpdateServiceClient;
use satellite_proto::wire::bridge::v1::{self as bridge, WorkloadState};

use super::push::digest_of;
use super::remote::call;
use super::{App, AppError, firewall, trust};
use crate::names::SatelliteName;
use crate::plan::{Desired, Observed, Present, Wanted, rules_of};
use crate::store::{BundleRow, DesiredWorkload, Outcome, StoreError};

/// What a satellite is, for the plan and for a person.
#[derive(Debug)]
pub(super) struct Seen {
    /// For the plan.
    pub(super) state: Observed,
    /// As it described itself.
    pub(super) satellite: bridge::Satellite,
}

/// Reads what a satellite is.
pub(super) async fn observed(app: &App, name: &SatelliteName) -> Result<Seen, AppError> {
    let deadline = app.config.call_deadline;
    let channel = app.fleet.channel(name)?;
    let mut satellites = SatelliteServiceClient::new(channel.clone()).max_decoding_message_size(MAX_MESSAGE);
    let mut updates = UpdateServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE);
    let satellite = call(
        name,
        deadline,
        satellites.get_satellite(bridge::GetSatelliteRequest {}),
    )
    .await?;
    let satellite = satellite.satellite.unwrap_or_default();
    let filter = firewall::show(app, name).await?;
    let uploads = call(
        name,
        deadline,
        updates.list_updates(bridge::ListUpdatesRequest {}),
    )
    .await?;
    let whole = uploads
        .updates
        .iter()
        .filter(|upload| upload.present_bytes >= upload.total_bytes);
    let state = Observed {
        workloads: satellite.workloads.iter().filter_map(present).collect(),
        uploaded: whole
            .filter_map(|upload| digest_of(&upload.manifest_digest))
            .collect(),
        ruleset: filter.ruleset.unwrap_or_default(),
        in_sync: filter.in_sync,
        trust: trust::place_of_satellite(app, name).await?,
    };
    Ok(Seen { state, satellite })
}

fn present(workload: &bridge::Workload) -> Option<(WorkloadName, Present)> {
    let present = Present {
        digest: digest_of(&workload.manifest_digest),
        enabled: workload.enabled,
        busy: workload.state() == WorkloadState::Installing,
    };
    Some((workload.name.parse().ok()?, present))
}

/// Reads what a satellite is meant to be.
pub(super) async fn desired(app: &App, name: &SatelliteName) -> Result<Desired, StoreError> {
    let architecture = app
        .fleet
        .observed(name)
        .ok()
        .and_then(|link| link.satellite)
        .map(|s| s.architecture);
    let attempts = app.store.attempts(name).await?;
    let mut desired = Desired {
        operator: app.store.desired_firewall(name).await?,
        trust: trust::published_place(app).await?,
        ..Desired::default()
    };
    for wanted in app.store.desired_workloads(name).await? {
        let bundles = app.store.bundles_of(&wanted.workload).await?;
        let target = target_of(&wanted, &bundles, architecture.as_deref()).map(|b| b.manifest_digest);
        let blocked = attempts.iter().any(|attempt| {
            attempt.workload == wanted.workload
                && attempt.outcome == Outcome::Failed
                && Some(attempt.manifest_digest) == target
        });
        for bundle in &bundles {
            // A manifest in the store was checked when it was taken in.
            if let Ok(manifest) = Manifest::parse(&bundle.manifest) {
                desired.rules.insert(bundle.manifest_digest, rules_of(&manifest));
            }
        }
        desired.workloads.insert(
            wanted.workload,
            Wanted {
                target,
                running: wanted.running,
                blocked,
            },
        );
    }
    Ok(desired)
}

/// The bundle that is meant: of the wanted version, else the newest that is not held, for the satellite's architecture.
pub(super) fn target_of<'b>(
    wanted: &DesiredWorkload,
    bundles: &'b [BundleRow],
    architecture: Option<&str>,
) -> Option<&'b BundleRow> {
    bundles
        .iter()
        .filter(|bundle| bundle.workload == wanted.workload)
        .filter(|bundle| architecture.is_none_or(|a| a.is_empty() || a == bundle.architecture))
        .filter(|bundle| {
            let version = wanted.version.as_ref();
            version.map_or(!bundle.held, |version| *version == bundle.version)
        })
        .max_by_key(|bundle| (bundle.release, bundle.added_at))
}

/// What keeps a satellite from being as it is meant, although nothing is left to do; by workload.
pub(super) fn shortfalls(
    desired: &Desired,
    satellite: &bridge::Satellite,
) -> BTreeMap<WorkloadName, Shortfall> {
    let mut all = BTreeMap::new();
    for (name, wanted) in &desired.workloads {
        let there = satellite
            .workloads
            .iter()
            .find(|workload| workload.name == name.as_str());
        let state = there.map_or(WorkloadState::Unspecified, bridge::Workload::state);
        let shortfall = if wanted.target.is_none() {
            let hint = "add one with `management-module bundle add FILE`";
            Shortfall::Problem(format!(
                "there is no bundle of {name} that fits this satellite; {hint}"
            ))
        } else if wanted.blocked {
            let hint =
                format!("add another version, or try it again with `management-module update retry {name}`");
            Shortfall::Problem(format!("the version of {name} that is meant failed here; {hint}"))
        } else if wanted.running && matches!(state, WorkloadState::Failed | WorkloadState::Unhealthy) {
            let problem = there
                .map(|workload| workload.problem.as_str())
                .unwrap_or_default();
            Shortfall::Problem(format!("{name} is not healthy: {problem}"))
        } else if state == WorkloadState::Installing || (wanted.running && state != WorkloadState::Healthy) {
            Shortfall::Pending
        } else {
            continue;
        };
        all.insert(name.clone(), shortfall);
    }
    all
}

/// Why a workload is not as it is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shortfall {
    /// It is on its way.
    Pending,
    /// A person has to do something.
    Problem(String),
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use satellite_proto::bundle::Digest;

    use super::*;

    fn bundle(release: u64, architecture: &str) -> BundleRow {
        BundleRow {
            manifest_digest: Digest::of(&release.to_le_bytes()),
            workload: "w".parse().unwrap(),
            version: semver::Version::new(1, release, 0),
            release,
            channel: "stable".into(),
            architecture: architecture.into(),
            size_bytes: 1,
            payload_bytes: 1,
            key_ids: vec![],
            manifest: vec![],
            added_at: Timestamp::UNIX_EPOCH,
            held: false,
        }
    }

    fn check(version: Option<&str>, architecture: Option<&str>, expected: Option<u64>) {
        let bundles = [bundle(1, "x86_64"), bundle(10, "x86_64"), bundle(11, "aarch64")];
        let wanted = DesiredWorkload {
            satellite: "s".parse().unwrap(),
            workload: "w".parse().unwrap(),
            version: version.map(|v| v.parse().unwrap()),
            running: true,
        };
        let target = target_of(&wanted, &bundles, architecture);
        assert_eq!(target.map(|bundle| bundle.release), expected);
    }

    #[test]
    fn the_newest_release_for_the_architecture_is_meant() {
        check(None, Some("x86_64"), Some(10));
        check(None, Some("aarch64"), Some(11));
        check(None, None, Some(11));
        check(None, Some("riscv64"), None);
    }

    #[test]
    fn a_bundle_that_is_held_is_nobodys_newest() {
        let mut bundles = [bundle(1, "x86_64"), bundle(2, "x86_64")];
        bundles[1].held = true;
        let mut wanted = DesiredWorkload {
            satellite: "s".parse().unwrap(),
            workload: "w".parse().unwrap(),
            version: None,
            running: true,
        };
        let target = |wanted: &DesiredWorkload| target_of(wanted, &bundles, None).map(|b| b.release);
        assert_eq!(target(&wanted), Some(1));
        wanted.version = Some("1.2.0".parse().unwrap());
        assert_eq!(target(&wanted), Some(2));
    }

    #[test]
    fn a_wanted_version_is_taken_though_a_newer_one_is_there() {
        check(Some("1.1.0"), Some("x86_64"), Some(1));
        check(Some("9.9.9"), Some("x86_64"), None);
    }
}
