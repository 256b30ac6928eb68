//! Why a workload ended, each time: its unit writes it down, also while the daemon is away, and the bridge says beforehand
//! when it is the one that ends it.
//!
//! **Invariant:** the newest are kept and no more; what cannot be written down never keeps a workload from ending.

use jiff::{SignedDuration, Timestamp};
use satellite_host::clock;
use satellite_proto::bundle::WorkloadName;
use satellite_proto::wire::bridge::v1::WorkloadEnd;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::places::{Home, Places};
use super::record::chain;
use crate::journal::{self, JournalError};

/// Ends that are kept.
const KEPT: usize = 20;

/// Ends that go over the wire.
const TOLD: usize = 5;

/// How long an announcement holds: stopping takes less.
const HOLDS: SignedDuration = SignedDuration::from_mins(5);

/// What the service manager says of an end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Told {
    /// `SERVICE_RESULT`: "success", "exit-code", "signal", "core-dump", "watchdog", "oom-kill", "timeout"…
    pub result: String,
    /// `EXIT_CODE`: "exited", "killed", "dumped".
    pub code: String,
    /// `EXIT_STATUS`: a number, or the name of a signal.
    pub status: String,
}

/// One end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    time: Timestamp,
    told: Told,
    /// What the bridge was doing; empty: it did not end the workload.
    reason: String,
}

/// What the bridge is about to do.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Announcement {
    time: Timestamp,
    reason: String,
}

/// The bridge is about to end the workload, and why.
pub(super) fn announce(home: &Home, reason: &str) {
    if !home.root().is_dir() {
        return;
    }
    let announcement = Announcement {
        time: clock::now(),
        reason: reason.to_owned(),
    };
    if let Err(err) = journal::write(&home.announcement(), &announcement) {
        warn!(error = %chain(&err), "It is not written down why a workload is ended");
    }
}

/// It has ended, or did not run: what was announced holds no longer.
pub(super) fn withdraw(home: &Home) {
    if let Err(err) = journal::remove(&home.announcement()) {
        warn!(error = %chain(&err), "Reason of an end stays written down");
    }
}

/// Writes down that a workload has ended. Run by its unit, as a process of its own.
///
/// # Errors
///
/// If it cannot be written down.
pub fn note_end(places: &Places, name: &WorkloadName, told: Told) -> Result<(), JournalError> {
    let home = places.home(name);
    if !home.root().is_dir() {
        return Ok(());
    }
    let announced = journal::read::<Announcement>(&home.announcement()).ok().flatten();
    let now = clock::now();
    let holds = |said: &Announcement| now.duration_since(said.time).abs() <= HOLDS;
    let end = End {
        time: now,
        reason: announced
            .filter(holds)
            .map(|said| said.reason)
            .unwrap_or_default(),
        told,
    };
    let (cause, detail) = explain(&end);
    info!(
        workload = name.as_str(),
        event = "workload-ended",
        cause,
        detail,
        result = end.told.result,
        exit_code = end.told.code,
        exit_status = end.told.status,
        "Workload ended"
    );
    let mut all = known(&home);
    all.push(end);
    let surplus = all.len().saturating_sub(KEPT);
    all.drain(..surplus);
    journal::remove(&home.announcement())?;
    journal::write(&home.ends(), &all)
}

/// The newest ends, newest first, for the wire.
pub(super) fn newest(home: &Home) -> Vec<WorkloadEnd> {
    let all = known(home);
    let newest = all.iter().rev().take(TOLD);
    let each = newest.map(|end| {
        let (cause, detail) = explain(end);
        WorkloadEnd {
            time: Some(super::timestamp(end.time)),
            cause: cause.to_owned(),
            detail,
        }
    });
    each.collect()
}

/// What is written down; what cannot be read is as good as nothing.
fn known(home: &Home) -> Vec<End> {
    journal::read(&home.ends()).ok().flatten().unwrap_or_default()
}

/// A word for programs, and a sentence for a person.
fn explain(end: &End) -> (&'static str, String) {
    let Told { result, code, status } = &end.told;
    if !end.reason.is_empty() {
        return ("bridge", format!("the bridge ended it: {}", end.reason));
    }
    match result.as_str() {
        "success" if code == "exited" => ("finished", "it ended by itself, without an error".to_owned()),
        "success" => ("stopped", "somebody else stopped it".to_owned()),
        "exit-code" => ("crash", format!("it ended with exit code {status}")),
        "signal" | "core-dump" => ("crash", format!("it was ended by signal {status}")),
        "oom-kill" => ("memory", "it used more memory than it may".to_owned()),
        "watchdog" => ("watchdog", "it gave no sign of life in time".to_owned()),
        "timeout" => ("timeout", "it was not ready, or did not end, in time".to_owned()),
        "resources" => ("resources", "the machine had no resources for it".to_owned()),
        "start-limit-hit" => ("crash", "it was restarted too often".to_owned()),
        other => ("crash", format!("the service manager says `{other}`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(result: &str, code: &str, status: &str) -> Told {
        Told {
            result: result.to_owned(),
            code: code.to_owned(),
            status: status.to_owned(),
        }
    }

    #[test]
    fn it_is_told_why_a_workload_ended_and_only_the_newest_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let places = crate::workload::world::World::at(dir.path()).places;
        let name: WorkloadName = "echo".parse().unwrap();
        let home = places.home(&name);
        // A workload that is gone leaves nothing.
        note_end(&places, &name, told("success", "exited", "0")).unwrap();
        assert_eq!(newest(&home), []);
        satellite_host::files::create_dir(home.root(), 0o711).unwrap();
        for status in 0..30 {
            note_end(&places, &name, told("exit-code", "exited", &status.to_string())).unwrap();
        }
        assert_eq!(known(&home).len(), KEPT);
        let last = &newest(&home)[0];
        assert_eq!(
            (last.cause.as_str(), last.detail.as_str()),
            ("crash", "it ended with exit code 29")
        );
        announce(&home, "it is updated");
        note_end(&places, &name, told("success", "killed", "TERM")).unwrap();
        assert_eq!(newest(&home)[0].detail, "the bridge ended it: it is updated");
        // An announcement holds once.
        note_end(&places, &name, told("signal", "killed", "SEGV")).unwrap();
        assert_eq!(newest(&home)[0].detail, "it was ended by signal SEGV");
        assert_eq!(newest(&home).len(), TOLD);
    }
}
