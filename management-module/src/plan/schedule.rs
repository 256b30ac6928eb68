//! When a configuration is due: by the clock on the central's wall (docs/schedule.md).
//!
//! **Invariant:** pure but for looking a time zone up by its name: no clock. Due times only go forwards, and each is the
//! time of day that was asked for, or, where a clock change leaves that out, the first moment after the gap.

use std::fmt;
use std::str::FromStr;

use jiff::civil::{Date, DateTime, Weekday};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp, ToSpan as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest interval in hours.
const MOST_HOURS: u32 = 24 * 31;
/// Days that are looked at for the next due time. Between two of them lie 31 days at most.
const HORIZON: i64 = 70;
/// How late a run may begin and still be on time.
pub const GRACE: SignedDuration = SignedDuration::from_mins(15);
/// Missed times that are counted one by one.
const COUNTED: u32 = 10_000;
/// A clock that is set back by more than this had been wrong before.
const SET_BACK: SignedDuration = SignedDuration::from_hours(24);

/// How often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Every {
    /// Never by itself.
    Manual,
    /// So many hours after the start on the clock of the wall, and again and again.
    Hours(u32),
    /// Each day.
    Daily,
    /// Each week on these days: Monday is 0.
    Weekly([bool; 7]),
    /// Each month on this day, 1 to 31; in shorter months on the last.
    Monthly(u8),
    /// Each month on its last day.
    MonthEnd,
}

/// What happens with a time that went by while nothing could run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CatchUp {
    /// It is made up once, however many went by.
    #[default]
    Once,
    /// It is noted as missed; the next time counts.
    Skip,
}

/// A time zone by its name in the IANA database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    name: String,
    zone: TimeZone,
}

/// When a configuration is due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Schedule {
    /// How often.
    pub every: Every,
    /// The first time, by the clock on the wall; everything counts from here.
    pub start: DateTime,
    /// The central's time zone.
    pub time_zone: Zone,
    /// What happens with times that went by.
    #[serde(default)]
    pub catch_up: CatchUp,
}

/// A text is no interval or no time zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotASchedule {
    /// The interval.
    #[error(
        "{0:?} is no interval: write manual, 6h (1h to 744h), daily, weekly:mon,thu, monthly:15 or monthly:last"
    )]
    Every(String),
    /// The time zone.
    #[error("there is no time zone {0:?} on this machine: write for example Europe/Berlin")]
    Zone(String),
}

/// What is to be done about a configuration now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Nothing, ever.
    Never,
    /// Nothing before that moment.
    Wait(Timestamp),
    /// A time has come.
    Due(Due),
}

/// A time has come, or has gone by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// The latest time that has come: everything up to it is settled by this.
    pub planned: Timestamp,
    /// What is to be done.
    pub action: Action,
    /// Times that went by without a run, as far as counted.
    pub missed: u32,
}

/// What is to be done about a time that has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Run: it is time.
    OnTime,
    /// Run: it makes up for what was missed.
    MakeUp,
    /// Note that it was missed.
    Note,
}

impl Schedule {
    /// The first due time after a moment; none if there is none.
    #[must_use]
    pub fn next_after(&self, moment: Timestamp) -> Option<Timestamp> {
        let zone = &self.time_zone.zone;
        // Two days before: a change of offset, even over the date line, is less.
        let near = zone.to_datetime(moment).date().checked_sub(2.days()).ok()?;
        let first = near.max(self.start.date());
        let days = first.series(1.day()).take(usize::try_from(HORIZON).ok()?);
        days.flat_map(|day| self.times_on(day))
            .filter(|time| *time >= self.start)
            .filter_map(|time| self.time_zone.moment(time))
            .find(|due| *due > moment)
    }

    /// What is to be done now. `settled` is the latest time that was dealt with, or when the configuration was made.
    #[must_use]
    pub fn decide(&self, settled: Timestamp, now: Timestamp) -> Decision {
        // Set back a little: what was run is not run again. Set back far: the clock had been wrong when it was run.
        let was_wrong = settled.duration_since(now) > SET_BACK;
        let settled = if was_wrong { now } else { settled };
        let Some(first) = self.next_after(settled) else {
            return Decision::Never;
        };
        if first > now {
            return Decision::Wait(first);
        }
        let (mut planned, mut count) = (first, 1);
        while let Some(next) = self.next_after(planned).filter(|next| *next <= now) {
            if count == COUNTED {
                // So many that only the latest matters.
                planned = self.latest(now).unwrap_or(planned);
                break;
            }
            (planned, count) = (next, count + 1);
        }
        let on_time = now.duration_since(planned) <= GRACE;
        let (action, missed) = match (on_time, self.catch_up) {
            (true, _) => (Action::OnTime, count - 1),
            (false, CatchUp::Once) => (Action::MakeUp, count),
            (false, CatchUp::Skip) => (Action::Note, count),
        };
        Decision::Due(Due {
            planned,
            action,
            missed,
        })
    }

    /// The latest due time up to a moment, looked for in the days before it.
    fn latest(&self, moment: Timestamp) -> Option<Timestamp> {
        let from = moment.checked_sub(SignedDuration::from_hours(24 * 40)).ok()?;
        let mut latest = None;
        let mut next = self.next_after(from);
        while let Some(due) = next.filter(|due| *due <= moment) {
            latest = Some(due);
            next = self.next_after(due);
        }
        latest
    }

    /// The times of a day by the clock on the wall, in order.
    fn times_on(&self, day: Date) -> Vec<DateTime> {
        let at_start_time = || vec![day.to_datetime(self.start.time())];
        let fits = match &self.every {
            Every::Manual => false,
            Every::Hours(hours) => return self.hours_on(day, *hours),
            Every::Daily => true,
            Every::Weekly(days) => days
                .get(usize::try_from(day.weekday().to_monday_zero_offset()).unwrap_or_default())
                .copied()
                .unwrap_or_default(),
            Every::Monthly(wanted) => {
                i16::from(day.day()) == i16::from(*wanted).min(i16::from(day.days_in_month()))
            }
            Every::MonthEnd => day.day() == day.days_in_month(),
        };
        if fits { at_start_time() } else { Vec::new() }
    }

    fn hours_on(&self, day: Date, hours: u32) -> Vec<DateTime> {
        let step = i64::from(hours.max(1)) * 3600;
        let midnight = day.to_datetime(jiff::civil::Time::midnight());
        let since = midnight.duration_since(self.start).as_secs();
        let first = if since <= 0 {
            0
        } else {
            since.div_euclid(step) + i64::from(since.rem_euclid(step) > 0)
        };
        let times = (first..).map_while(|number| {
            let seconds = number.checked_mul(step)?;
            self.start.checked_add(SignedDuration::from_secs(seconds)).ok()
        });
        times
            .skip_while(|time| time.date() < day)
            .take_while(|time| time.date() == day)
            .collect()
    }
}

impl Zone {
    /// The zone of this machine, or UTC where that has no name.
    #[must_use]
    pub fn of_this_machine() -> Self {
        let zone = TimeZone::system();
        let name = zone.iana_name().unwrap_or("UTC").to_owned();
        name.parse().unwrap_or(Self {
            name: "UTC".to_owned(),
            zone: TimeZone::UTC,
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The zone.
    #[must_use]
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// When the clock on the wall shows that time: for the first time if twice, the end of the gap if never.
    fn moment(&self, time: DateTime) -> Option<Timestamp> {
        let ambiguous = self.zone.to_ambiguous_timestamp(time);
        match ambiguous.offset() {
            AmbiguousOffset::Gap { after, .. } => {
                // By the offset after the gap it is still before it.
                let before = after.to_timestamp(time).ok()?;
                let end = self.zone.following(before).next();
                end.map(|transition| transition.timestamp())
            }
            AmbiguousOffset::Fold { .. } | AmbiguousOffset::Unambiguous { .. } => ambiguous.earlier().ok(),
        }
    }
}

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

impl fmt::Display for Every {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manual => f.write_str("manual"),
            Self::Hours(hours) => write!(f, "{hours}h"),
            Self::Daily => f.write_str("daily"),
            Self::Weekly(days) => {
                let chosen = DAYS.iter().zip(days).filter(|(_, is)| **is).map(|(day, _)| *day);
                write!(f, "weekly:{}", chosen.collect::<Vec<_>>().join(","))
            }
            Self::Monthly(day) => write!(f, "monthly:{day}"),
            Self::MonthEnd => f.write_str("monthly:last"),
        }
    }
}

impl FromStr for Every {
    type Err = NotASchedule;
    fn from_str(text: &str) -> Result<Self, NotASchedule> {
        let not = || NotASchedule::Every(text.to_owned());
        match text.split_once(':') {
            None if text == "manual" => Ok(Self::Manual),
            None if text == "daily" => Ok(Self::Daily),
            None => {
                let hours = text.strip_suffix('h').and_then(|hours| hours.parse().ok());
                let hours = hours.filter(|hours| (1..=MOST_HOURS).contains(hours));
                hours.map(Self::Hours).ok_or_else(not)
            }
            Some(("weekly", names)) => {
                let mut days = [false; 7];
                for name in names.split(',') {
                    let known = days.iter_mut().zip(DAYS).find(|(_, day)| *day == name.trim());
                    *known.ok_or_else(not)?.0 = true;
                }
                Ok(Self::Weekly(days))
            }
            Some(("monthly", "last")) => Ok(Self::MonthEnd),
            Some(("monthly", day)) => {
                let day = day.parse().ok().filter(|day| (1..=31).contains(day));
                day.map(Self::Monthly).ok_or_else(not)
            }
            Some(_) => Err(not()),
        }
    }
}

impl FromStr for Zone {
    type Err = NotASchedule;
    fn from_str(text: &str) -> Result<Self, NotASchedule> {
        let zone = TimeZone::get(text).map_err(|_| NotASchedule::Zone(text.to_owned()))?;
        let name = zone.iana_name().unwrap_or(text).to_owned();
        Ok(Self { name, zone })
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Written as its text.
macro_rules! as_text {
    ($($name:ty),+) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )+};
}

as_text!(Every, Zone);

/// The weekday as a schedule names it.
#[must_use]
pub fn day_name(day: Weekday) -> &'static str {
    let index = usize::try_from(day.to_monday_zero_offset()).unwrap_or_default();
    DAYS.get(index).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests;
