//! Rollouts and records of updates, from and to the wire.

use satellite_proto::wire::management::v1 as wire;
use tonic::Status;

use super::{names_of, version_of};
use crate::app::rollout::{Ask, Shown};
use crate::names::SatelliteName;
use crate::plan::rollout::{Standing, Terms, Window};
use crate::rpc::{name_of, wire_time, workload_name_of};
use crate::store::{HistoryRow, TargetRow, standing_word};

/// Updates at once, unless a person says another number.
const AT_ONCE: u32 = 10;

/// The longest name of a site, in bytes.
const SITE_MOST: usize = 63;

pub(super) fn ask(request: wire::StartRolloutRequest) -> Result<Ask, Status> {
    Ok(Ask {
        workload: workload_name_of(&request.workload)?,
        version: version_of(&request.version)?,
        satellites: names_of(&request.satellites)?,
        first: names_of(&request.first)?,
        terms: terms(request.terms.unwrap_or_default())?,
    })
}

fn terms(terms: wire::RolloutTerms) -> Result<Terms, Status> {
    let window = match terms.window.as_str() {
        "" => None,
        text => Some(Window::parse(text).map_err(|error| Status::invalid_argument(error.to_string()))?),
    };
    Ok(Terms {
        canary: terms.canary,
        waves: if terms.waves.is_empty() {
            vec![100]
        } else {
            terms.waves
        },
        at_once: if terms.at_once == 0 {
            AT_ONCE
        } else {
            terms.at_once
        },
        per_site: terms.per_site,
        soak_seconds: terms.soak_seconds,
        stop_at: terms.stop_at_percent,
        window,
    })
}

pub(super) fn site(request: &wire::SetSiteRequest) -> Result<(SatelliteName, String), Status> {
    let site = request.site.trim();
    if site.len() > SITE_MOST || site.chars().any(char::is_control) {
        return Err(Status::invalid_argument(format!(
            "site: at most {SITE_MOST} printable bytes"
        )));
    }
    Ok((name_of(&request.satellite)?, site.to_owned()))
}

pub(super) fn rollout(shown: &Shown) -> wire::Rollout {
    let rollout = &shown.rollout;
    let count = |standing: Standing| {
        let such = shown.targets.iter().filter(|target| target.standing == standing);
        u32::try_from(such.count()).unwrap_or(u32::MAX)
    };
    let terms = &rollout.terms;
    wire::Rollout {
        id: rollout.id.clone(),
        workload: rollout.workload.to_string(),
        version: rollout.version.to_string(),
        state: rollout.state.as_str().to_owned(),
        problem: rollout.problem.clone(),
        terms: Some(wire::RolloutTerms {
            canary: terms.canary,
            waves: terms.waves.clone(),
            at_once: terms.at_once,
            per_site: terms.per_site,
            soak_seconds: terms.soak_seconds,
            stop_at_percent: terms.stop_at,
            window: terms
                .window
                .as_ref()
                .map(|window| format!("{}-{} {}", window.from, window.to, window.zone))
                .unwrap_or_default(),
        }),
        total: u32::try_from(shown.targets.len()).unwrap_or(u32::MAX),
        done: count(Standing::Done),
        failed: count(Standing::Failed),
        updating: count(Standing::Updating),
        start_time: Some(wire_time(rollout.created_at)),
        update_time: Some(wire_time(rollout.updated_at)),
    }
}

pub(super) fn target(row: TargetRow) -> wire::RolloutTarget {
    wire::RolloutTarget {
        satellite: row.satellite.to_string(),
        wave: row.wave,
        site: row.site,
        state: standing_word(row.standing).to_owned(),
        problem: row.problem,
        start_time: row.started_at.map(wire_time),
        end_time: row.ended_at.map(wire_time),
    }
}

pub(super) fn record(row: HistoryRow) -> wire::UpdateRecord {
    wire::UpdateRecord {
        satellite: row.satellite.to_string(),
        workload: row.workload.to_string(),
        from_version: row.from_version,
        version: row.version,
        outcome: row.outcome,
        problem: row.problem,
        start_time: Some(wire_time(row.started_at)),
        end_time: row.ended_at.map(wire_time),
        bytes_sent: row.bytes_sent,
        bytes_saved: row.bytes_saved,
    }
}
