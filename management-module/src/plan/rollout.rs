//! Decides which satellites of a rollout are updated next, and when it stops by itself. Pure: no clock, no I/O.
//!
//! **Invariants:** no more are under way than allowed, in all and at a site; a wave begins when the one before has ended,
//! as far as its satellites answer; nothing begins outside the window, or once too many have failed.

use std::collections::BTreeMap;

use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::names::SatelliteName;

/// What a person asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// How many satellites are updated first, as the canary.
    pub canary: u32,
    /// Per cent of all that are updated when each further wave has ended; rising, the last is 100.
    pub waves: Vec<u32>,
    /// How many are updated at once.
    pub at_once: u32,
    /// How many are updated at once at one site; 0: as many as in all.
    pub per_site: u32,
    /// How long a wave is watched before the next one begins, in seconds.
    pub soak_seconds: u32,
    /// Per cent of all that may fail; more of them halt the rollout. One failed canary always does.
    pub stop_at: u32,
    /// When updates may begin; none: always.
    pub window: Option<Window>,
}

/// A part of each day in a time zone. It may go past midnight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// When it begins.
    pub from: Time,
    /// When it ends.
    pub to: Time,
    /// The time zone's name, such as `Europe/Berlin`.
    pub zone: String,
}

/// Why terms make no sense, for a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadTerms(String);

/// Where a satellite of a rollout stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Not begun.
    Waiting,
    /// Being updated.
    Updating,
    /// It runs the version.
    Done,
    /// It did not take the version.
    Failed,
}

/// A satellite of a rollout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Which.
    pub satellite: SatelliteName,
    /// Its wave; 0 is the canary.
    pub wave: u32,
    /// Where it is; satellites without one are a site of their own each.
    pub site: String,
    /// Where it stands.
    pub standing: Standing,
    /// It answers.
    pub reachable: bool,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// What comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// These are updated now; none: something is awaited, which is named.
    Begin(Vec<SatelliteName>, Wait),
    /// Too many failed: a person decides.
    Halt(String),
    /// All have ended.
    Done,
}

/// What is awaited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Those under way.
    Updates,
    /// The window.
    Window,
    /// The time for which a wave is watched.
    Soak,
    /// Satellites that do not answer.
    Unreachable,
}

impl Terms {
    /// Checks them.
    ///
    /// # Errors
    /// [`BadTerms`] names what is wrong.
    pub fn check(&self) -> Result<(), BadTerms> {
        let bad = |text: &str| Err(BadTerms(text.to_owned()));
        let rising = self.waves.windows(2).all(|pair| pair[0] < pair[1]);
        if self.waves.is_empty() || self.waves.len() > 20 || !rising || self.waves.last() != Some(&100) {
            return bad("waves: per cents that rise and end with 100, such as 10,50,100");
        }
        if self.waves.first() == Some(&0) {
            return bad("waves: a wave of 0 per cent has nobody");
        }
        if self.at_once == 0 {
            return bad("at once: at least 1");
        }
        if self.stop_at > 100 {
            return bad("errors: 0 to 100 per cent");
        }
        match &self.window {
            Some(window) if window.from == window.to => bad("window: it begins when it ends"),
            Some(window) if TimeZone::get(&window.zone).is_err() => Err(BadTerms(format!(
                "window: there is no time zone `{}`",
                window.zone
            ))),
            _ => Ok(()),
        }
    }
}

impl Window {
    /// Reads `HH:MM-HH:MM` or `HH:MM-HH:MM ZONE`; without a zone it is UTC.
    ///
    /// # Errors
    /// [`BadTerms`].
    pub fn parse(text: &str) -> Result<Self, BadTerms> {
        let bad = || {
            BadTerms(format!(
                "window: `{text}` is not a part of the day such as `22:00-05:00 Europe/Berlin`"
            ))
        };
        let (hours, zone) = text.trim().split_once(' ').unwrap_or((text.trim(), "UTC"));
        let (from, to) = hours.split_once('-').ok_or_else(bad)?;
        let time = |text: &str| text.trim().parse::<Time>().map_err(|_| bad());
        Ok(Self {
            from: time(from)?,
            to: time(to)?,
            zone: zone.trim().to_owned(),
        })
    }

    /// Whether it is open. A zone that is not known leaves it shut.
    #[must_use]
    pub fn is_open(&self, now: Timestamp) -> bool {
        let Ok(zone) = TimeZone::get(&self.zone) else {
            return false;
        };
        let time = now.to_zoned(zone).time();
        if self.from < self.to {
            self.from <= time && time < self.to
        } else {
            time >= self.from || time < self.to
        }
    }
}

/// The wave of each of `count` satellites in the order in which they were drawn.
#[must_use]
pub fn waves(terms: &Terms, count: usize) -> Vec<u32> {
    let canary = usize::try_from(terms.canary).unwrap_or(usize::MAX).min(count);
    let mut all = vec![0; canary];
    for (number, percent) in (1_u32..).zip(&terms.waves) {
        let percent = usize::try_from(*percent).unwrap_or(100);
        // Rounded up, so that each wave moves something on.
        let until = count.saturating_mul(percent).div_ceil(100).min(count);
        while all.len() < until {
            all.push(number);
        }
    }
    all
}

/// What comes next. `forgiven` is how many had failed when a person last let it go on.
#[must_use]
pub fn next(terms: &Terms, targets: &[Target], forgiven: usize, now: Timestamp) -> Next {
    if let Some(why) = halts(terms, targets, forgiven) {
        return Next::Halt(why);
    }
    let is_open = |target: &&Target| matches!(target.standing, Standing::Waiting | Standing::Updating);
    if !targets.iter().any(|target| is_open(&target)) {
        return Next::Done;
    }
    let moves = |target: &&Target| match target.standing {
        Standing::Updating => true,
        Standing::Waiting => target.reachable,
        Standing::Done | Standing::Failed => false,
    };
    let Some(wave) = targets.iter().filter(moves).map(|target| target.wave).min() else {
        return Next::Begin(Vec::new(), Wait::Unreachable);
    };
    if terms.window.as_ref().is_some_and(|window| !window.is_open(now)) {
        return Next::Begin(Vec::new(), Wait::Window);
    }
    let soaked = |target: &Target| {
        let soak = SignedDuration::from_secs(terms.soak_seconds.into());
        target
            .ended_at
            .is_none_or(|ended| ended.saturating_add(soak).is_ok_and(|until| until <= now))
    };
    let before = targets
        .iter()
        .filter(|target| target.wave < wave && target.standing == Standing::Done);
    if !before.into_iter().all(soaked) {
        return Next::Begin(Vec::new(), Wait::Soak);
    }
    Next::Begin(begin(terms, targets, wave), Wait::Updates)
}

/// Who begins now: of the wave, or of an earlier one whose satellites answer again.
fn begin(terms: &Terms, targets: &[Target], wave: u32) -> Vec<SatelliteName> {
    let mut under_way = 0_u32;
    let mut at_site: BTreeMap<&str, u32> = BTreeMap::new();
    for target in targets
        .iter()
        .filter(|target| target.standing == Standing::Updating)
    {
        under_way += 1;
        *at_site.entry(&target.site).or_default() += 1;
    }
    let mut chosen = Vec::new();
    for target in targets {
        if under_way >= terms.at_once {
            break;
        }
        if target.standing != Standing::Waiting || !target.reachable || target.wave > wave {
            continue;
        }
        let there = at_site.entry(&target.site).or_default();
        let is_full = terms.per_site > 0 && !target.site.is_empty() && *there >= terms.per_site;
        if is_full {
            continue;
        }
        *there += 1;
        under_way += 1;
        chosen.push(target.satellite.clone());
    }
    chosen
}

fn halts(terms: &Terms, targets: &[Target], forgiven: usize) -> Option<String> {
    let failed = targets
        .iter()
        .filter(|target| target.standing == Standing::Failed)
        .count();
    if failed <= forgiven {
        return None;
    }
    let canary = targets
        .iter()
        .filter(|target| target.wave == 0 && target.standing == Standing::Failed)
        .count();
    if canary > forgiven {
        return Some(format!("{canary} of the canary failed"));
    }
    let percent = usize::try_from(terms.stop_at).unwrap_or(100);
    let allowed = targets.len().saturating_mul(percent) / 100;
    (failed - forgiven > allowed).then(|| {
        format!(
            "{failed} of {} satellites failed; {allowed} were allowed to",
            targets.len()
        )
    })
}

#[cfg(test)]
mod tests;
