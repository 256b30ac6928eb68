//! What the unit of the bridge starts, and the timer that brings the old bridge back: both are the program that was
//! installed with the machine, or the last good one, and never the one that is on trial.
//!
//! **Invariant:** starts of a bridge on trial are counted on the disk before it is started; what is started was compared with
//! its signed manifest.

use std::path::PathBuf;
use std::time::Duration;

use satellite_host::systemd::{UnitError, Units};
use satellite_host::{clock, fail_point};
use tonic::Code;
use tracing::{error, info, warn};

use super::install::is_whole;
use super::record::{Change, Part, Step};
use super::{BRIDGE_UNIT, change_under_way, program, record_file};
use crate::journal::{self, JournalError};
use crate::workload::Places;
use crate::workload::record::{Fault, chain};

/// How often a bridge on trial is started before it is given up.
pub const STARTS: u32 = 3;
/// How much later than the new bridge's own time the timer acts.
const GRACE: Duration = Duration::from_secs(10);
/// How long the bridge may take to end or to start, when the timer exchanges it.
const EXCHANGE: Duration = Duration::from_secs(90);

/// Why a bridge on trial was not taken back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TakeBackError {
    /// The record.
    #[error("the change of the bridge cannot be read or recorded")]
    Record(#[source] JournalError),
    /// The service manager.
    #[error("the bridge is not started again")]
    Unit(#[source] UnitError),
}

/// Which program is to be run for the bridge: none means this one. `is_daemon`: it is started to be the daemon, which counts.
/// `own` is how the timer starts this program.
pub async fn choose(places: &Places, units: &dyn Units, own: &[String], is_daemon: bool) -> Option<PathBuf> {
    let home = places.base(Part::Bridge);
    let change = change_under_way(places).unwrap_or_else(|err| {
        error!(error = %chain(&err), "Record of a change of the bridge cannot be read");
        None
    });
    if let Some(change) = change.filter(|change| change.part == Part::Bridge) {
        let target = change.target;
        let is_meant = match change.step {
            Step::Accepted | Step::Back => false,
            Step::Confirmed => true,
            Step::Trial if !is_daemon => false,
            Step::Trial => is_admitted(places, units, own, change).await,
        };
        if is_meant && is_whole(&home, target) {
            return Some(program(&home, target));
        }
    }
    for link in [home.current(), home.previous()] {
        let Some(digest) = home.pointed(&link) else {
            continue;
        };
        let is_older = home
            .manifest(digest)
            .is_none_or(|manifest| is_older(&manifest.version));
        if is_older || !home.version(digest).exists() {
            // The machine brought a newer one, or it is this one.
            return None;
        }
        if is_whole(&home, digest) {
            return Some(program(&home, digest));
        }
        error!(%digest, "Bridge is not what was signed, and is not started");
    }
    None
}

/// Whether what was installed with the machine is newer.
fn is_older(version: &semver::Version) -> bool {
    let own = env!("CARGO_PKG_VERSION").parse::<semver::Version>();
    own.is_ok_and(|own| *version < own)
}

/// Counts this start of the bridge on trial, and sees to it that somebody else watches it.
async fn is_admitted(places: &Places, units: &dyn Units, own: &[String], mut change: Change) -> bool {
    let home = places.base(Part::Bridge);
    let version = change.version.clone();
    if !is_whole(&home, change.target) {
        change.give_up(Fault::new(
            Code::DataLoss,
            format!("bridge {version} is not what was signed: push it again"),
        ));
    } else if change.starts >= STARTS {
        change.give_up(Fault::new(
            Code::FailedPrecondition,
            format!("bridge {version} ended {STARTS} times before the server had reached it"),
        ));
    } else {
        change.starts += 1;
    }
    let boot = clock::boot_id().map(|id| id.to_string()).unwrap_or_default();
    if change.step == Step::Trial && change.watched_in != boot {
        change.watched_in = boot;
        let after = Duration::from_secs(change.limit_seconds.into()).saturating_add(GRACE);
        let mut command = own.to_vec();
        command.extend(["take-back".to_owned(), change.operation.clone()]);
        if let Err(err) = units.start_timer(&timer_of(&change), after, &command).await {
            change.give_up(Fault::new(
                Code::Unavailable,
                format!("nobody would watch bridge {version}: {}", chain(&err)),
            ));
        }
    }
    if let Err(err) = journal::write(&record_file(places), &change) {
        error!(error = %chain(&err), "Start cannot be counted, the bridge before is started");
        return false;
    }
    fail_point("base.start-counted");
    let is_admitted = change.step == Step::Trial;
    if is_admitted {
        info!(version, start = change.starts, "Bridge on trial is started");
    } else {
        let cause = change.fault.as_ref().map(|fault| fault.message.as_str());
        warn!(version, cause, "Bridge on trial is given up");
    }
    is_admitted
}

/// The name of the timer that watches a bridge on trial.
pub(super) fn timer_of(change: &Change) -> String {
    format!("satellite-take-back-{}", change.operation)
}

/// Gives the bridge on trial up if it is still there, and lets the one before be started. Run by the timer.
///
/// # Errors
///
/// [`TakeBackError`]: another try may succeed.
pub async fn take_back(places: &Places, units: &dyn Units, operation: &str) -> Result<bool, TakeBackError> {
    let change = change_under_way(places).map_err(TakeBackError::Record)?;
    let is_it = |change: &Change| {
        change.operation == operation && change.part == Part::Bridge && change.step != Step::Confirmed
    };
    let Some(mut change) = change.filter(is_it) else {
        return Ok(false);
    };
    let text = format!(
        "bridge {} neither was reached by the server within {} s, nor went by itself: it hangs",
        change.version, change.limit_seconds
    );
    change.give_up(Fault::new(Code::FailedPrecondition, text));
    journal::write(&record_file(places), &change).map_err(TakeBackError::Record)?;
    fail_point("base.back-recorded");
    if let Err(err) = units.stop(BRIDGE_UNIT, EXCHANGE).await {
        warn!(error = %chain(&err), "Bridge on trial does not end");
    }
    units
        .start(BRIDGE_UNIT, EXCHANGE)
        .await
        .map_err(TakeBackError::Unit)?;
    Ok(true)
}
