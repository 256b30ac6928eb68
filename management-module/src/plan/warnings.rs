//! Which warnings an account has, and what is told of each: raised, repeated after a time or on change, and resolved.
//!
//! **Invariant:** pure. A warning that was told is told again only after the set time or if it concerns something new; one
//! that was told is told to be over, once, and one that was never told ends in silence.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::account::Limits;
use super::outcome::RunState;

/// How late a run that waits may begin before its time counts as missed: it was put off for an hour, more than once.
const LATE: SignedDuration = SignedDuration::from_hours(2);

/// What an account is warned of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Its archives need more space than they should.
    Quota,
    /// Backups did not run at their planned time.
    Schedule,
    /// Backups ran and ended with errors.
    Unsuccessful,
    /// What makes its backups is too old.
    Upgrade,
    /// It was never backed up.
    NoBackup,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Quota,
        Self::Schedule,
        Self::Unsuccessful,
        Self::Upgrade,
        Self::NoBackup,
    ];

    /// As programs name it.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Quota => "quota",
            Self::Schedule => "schedule",
            Self::Unsuccessful => "unsuccessful",
            Self::Upgrade => "upgrade",
            Self::NoBackup => "no-backup",
        }
    }
}

/// A run, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// How it ended, or where it stands.
    pub state: RunState,
    /// When it was meant to be.
    pub planned_at: Timestamp,
    /// Times that went by before it without a run.
    pub missed: u32,
    /// Whether it was ever started.
    pub is_started: bool,
}

/// A configuration and its runs, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configuration {
    /// Its name.
    pub name: String,
    /// Whether it runs by itself.
    pub is_enabled: bool,
    /// Its runs.
    pub runs: Vec<Run>,
}

/// A program that makes backups.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Client {
    /// The satellite.
    pub satellite: String,
    /// The program.
    pub program: String,
    /// Its version.
    pub version: String,
    /// The least that it should be.
    pub least: String,
}

/// What is known of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Since when it is known.
    pub since: Timestamp,
    /// Bytes of its archives, wherever they lie.
    pub used_bytes: u64,
    /// Its configurations.
    pub configurations: Vec<Configuration>,
    /// Whether there was ever an archive.
    pub has_archive: bool,
    /// What makes its backups.
    pub clients: Vec<Client>,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Finding {
    /// Bytes that are used, and that there are.
    Quota(u64, u64),
    /// Configurations, and how many of their times were missed in a row.
    Schedule(BTreeMap<String, u32>),
    /// Configurations, and how many of their runs had errors in a row.
    Unsuccessful(BTreeMap<String, u32>),
    /// Programs that are too old.
    Upgrade(Vec<Client>),
    /// Since when there is no backup.
    NoBackup(Timestamp),
}

impl Finding {
    /// What it concerns: if something is added, that is told at once.
    #[must_use]
    pub fn concerns(&self) -> Vec<String> {
        match self {
            Self::Quota(..) | Self::NoBackup(_) => Vec::new(),
            Self::Schedule(counts) | Self::Unsuccessful(counts) => counts.keys().cloned().collect(),
            Self::Upgrade(clients) => {
                let named = |one: &Client| format!("{} {}", one.satellite, one.program);
                clients.iter().map(named).collect()
            }
        }
    }
}

/// What is wrong with an account now.
#[must_use]
pub fn findings(limits: &Limits, facts: &Facts, now: Timestamp) -> BTreeMap<Kind, Finding> {
    let mut found = BTreeMap::new();
    // In whole numbers and wide enough: used / quota > percent / 100.
    let share = u128::from(facts.used_bytes) * 100;
    if limits.quota_bytes > 0 && share > u128::from(limits.quota_bytes) * u128::from(limits.quota_percent) {
        found.insert(Kind::Quota, Finding::Quota(facts.used_bytes, limits.quota_bytes));
    }
    let counted = |most: u32, count: &dyn Fn(&Configuration) -> u32| -> BTreeMap<String, u32> {
        let counts = facts
            .configurations
            .iter()
            .map(|one| (one.name.clone(), count(one)));
        counts.filter(|(_, count)| most > 0 && *count >= most).collect()
    };
    let missed = counted(limits.missed, &|one| missed(one, now));
    if !missed.is_empty() {
        found.insert(Kind::Schedule, Finding::Schedule(missed));
    }
    let failed = counted(limits.failed, &failed);
    if !failed.is_empty() {
        found.insert(Kind::Unsuccessful, Finding::Unsuccessful(failed));
    }
    let old = facts
        .clients
        .iter()
        .filter(|one| is_older(&one.version, &one.least));
    let mut old: Vec<_> = old.cloned().collect();
    old.sort();
    old.dedup();
    if !old.is_empty() {
        found.insert(Kind::Upgrade, Finding::Upgrade(old));
    }
    let age = now.duration_since(facts.since);
    let gate = SignedDuration::from_hours(24 * i64::from(limits.unused_days));
    if limits.unused_days > 0 && !facts.has_archive && age >= gate {
        found.insert(Kind::NoBackup, Finding::NoBackup(facts.since));
    }
    found
}

/// Planned times in a row without a run, up to now.
fn missed(configuration: &Configuration, now: Timestamp) -> u32 {
    if !configuration.is_enabled {
        return 0;
    }
    let mut count = 0_u32;
    for run in &configuration.runs {
        let has_begun = run.is_started && run.state != RunState::Missed;
        let waits = matches!(run.state, RunState::Queued | RunState::Deferred);
        if waits && now.duration_since(run.planned_at) > LATE {
            count = count.saturating_add(1);
        }
        count = count.saturating_add(run.missed);
        // One that ran at its time ends the row; one that makes up for others came too late for them.
        if has_begun && run.missed == 0 {
            break;
        }
    }
    count
}

/// Runs in a row that ended with errors. What a person ended, and what did not run, counts neither way.
fn failed(configuration: &Configuration) -> u32 {
    let mut count = 0;
    for run in &configuration.runs {
        match run.state {
            RunState::Failed | RunState::Partial => count += 1,
            RunState::Succeeded => break,
            _ => {}
        }
    }
    count
}

/// Whether a version is older than another, by numbers: 2.0.11 is newer than 2.0.9. What has no numbers is not judged.
#[must_use]
pub fn is_older(version: &str, least: &str) -> bool {
    if let (Ok(version), Ok(least)) = (semver::Version::parse(version), semver::Version::parse(least)) {
        return version.cmp_precedence(&least).is_lt();
    }
    let numbers = |text: &str| -> Vec<u64> {
        let parts = text.split(|c: char| !c.is_ascii_digit());
        let mut numbers: Vec<u64> = parts.filter_map(|part| part.parse().ok()).collect();
        // 1.2 and 1.2.0 are the same.
        while numbers.last() == Some(&0) {
            numbers.pop();
        }
        numbers
    };
    let has_numbers = |text: &str| text.contains(|c: char| c.is_ascii_digit());
    has_numbers(version) && has_numbers(least) && numbers(version) < numbers(least)
}

/// A warning that stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raised {
    /// Since when.
    pub since: Timestamp,
    /// When it was last told; none: nobody was told, because nobody wanted to be.
    pub told_at: Option<Timestamp>,
    /// How often it was told.
    pub told: u32,
    /// What is wrong, as it was last seen.
    pub finding: Finding,
    /// What those were told that it concerns.
    pub concerns: Vec<String>,
}

/// What is to be done about a warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Nothing,
    /// It stands so, and nobody is told.
    Keep(Raised),
    /// It stands so, and people are told: for the first time, or again.
    Tell(Raised),
    /// It is over, and those who were told are told.
    Resolve(Raised),
    /// It is over, and nobody had been told.
    Forget,
}

/// What is to be done about a warning: `before` it stood so, `now` that is wrong. `is_wanted`: somebody is to be told.
#[must_use]
pub fn step(
    before: Option<&Raised>,
    finding: Option<&Finding>,
    is_wanted: bool,
    now: Timestamp,
    repeat_after: SignedDuration,
) -> Step {
    let (before, finding) = match (before, finding) {
        (None, None) => return Step::Nothing,
        (Some(before), None) if before.told > 0 => return Step::Resolve(before.clone()),
        (Some(_), None) => return Step::Forget,
        (before, Some(finding)) => (before, finding),
    };
    let mut raised = before.cloned().unwrap_or_else(|| Raised {
        since: now,
        told_at: None,
        told: 0,
        finding: finding.clone(),
        concerns: Vec::new(),
    });
    let concerns = finding.concerns();
    let is_new = concerns.iter().any(|one| !raised.concerns.contains(one));
    let is_time = raised
        .told_at
        .is_none_or(|at| now.duration_since(at) >= repeat_after);
    let has_changed = raised.finding != *finding;
    raised.finding = finding.clone();
    // What is mended and breaks again is new again.
    raised.concerns.retain(|one| concerns.contains(one));
    if is_wanted && (is_new || is_time) {
        (raised.told_at, raised.told, raised.concerns) = (Some(now), raised.told.saturating_add(1), concerns);
        Step::Tell(raised)
    } else if has_changed || before.is_none() {
        Step::Keep(raised)
    } else {
        Step::Nothing
    }
}

#[cfg(test)]
mod tests;
