//! Which archives are kept and which go.
//!
//! **Invariants:** pure. The newest archive that is whole always stays; without a rule everything stays. What a plan
//! leaves needs no further removal.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

/// What is kept: counted as restic does, and at most so many bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Retention {
    /// The newest so many.
    pub last: u32,
    /// The newest of each of so many days that have one.
    pub daily: u32,
    /// The newest of each of so many ISO weeks.
    pub weekly: u32,
    /// The newest of each of so many months.
    pub monthly: u32,
    /// The newest of each of so many years.
    pub yearly: u32,
    /// Of what is kept, the newest that fit into so many bytes; 0: no limit.
    pub max_bytes: u64,
}

/// An archive, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Names it.
    pub id: String,
    /// The moment of the backup.
    pub time: Timestamp,
    /// Bytes of the file.
    pub bytes: u64,
    /// Nothing is missing in it.
    pub whole: bool,
}

/// What happens with an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Names it.
    pub id: String,
    /// Why it stays; empty: it goes.
    pub kept_as: Vec<&'static str>,
    /// Why it goes; empty if it stays.
    pub goes_because: &'static str,
}

impl Verdict {
    /// Whether it stays.
    #[must_use]
    pub fn stays(&self) -> bool {
        !self.kept_as.is_empty()
    }
}

impl Retention {
    /// Everything is kept.
    #[must_use]
    pub fn is_unlimited(&self) -> bool {
        *self == Self::default()
    }

    fn counts(&self) -> [u32; 5] {
        [self.last, self.daily, self.weekly, self.monthly, self.yearly]
    }
}

/// One rule on its way through the archives.
struct Rule {
    name: &'static str,
    left: u32,
    bucket: fn(Date, usize) -> i64,
    last: Option<i64>,
}

/// What happens with each archive, newest first. Days, weeks, months and years are those of the zone.
#[must_use]
pub fn plan(retention: &Retention, zone: &TimeZone, items: &[Item]) -> Vec<Verdict> {
    let mut sorted: Vec<&Item> = items.iter().collect();
    sorted.sort_by(|a, b| (b.time, &b.id).cmp(&(a.time, &a.id)));
    let mut verdicts = by_rules(retention, zone, &sorted);
    // Of the newest that is whole, or the newest if none is.
    let safe = sorted
        .iter()
        .position(|item| item.whole)
        .or_else(|| (!sorted.is_empty()).then_some(0));
    if let Some(verdict) = safe.and_then(|index| verdicts.get_mut(index)) {
        verdict.kept_as.push("last good");
        verdict.goes_because = "";
    }
    by_size(retention.max_bytes, &sorted, safe, &mut verdicts);
    verdicts
}

fn by_rules(retention: &Retention, zone: &TimeZone, sorted: &[&Item]) -> Vec<Verdict> {
    let mut rules = [
        Rule {
            name: "last",
            left: retention.last,
            bucket: |_, number| i64::try_from(number).unwrap_or(i64::MAX),
            last: None,
        },
        Rule {
            name: "daily",
            left: retention.daily,
            bucket: |day, _| i64::from(day.year()) * 1000 + i64::from(day.day_of_year()),
            last: None,
        },
        Rule {
            name: "weekly",
            left: retention.weekly,
            bucket: |day, _| {
                let week = day.iso_week_date();
                i64::from(week.year()) * 100 + i64::from(week.week())
            },
            last: None,
        },
        Rule {
            name: "monthly",
            left: retention.monthly,
            bucket: |day, _| i64::from(day.year()) * 100 + i64::from(day.month()),
            last: None,
        },
        Rule {
            name: "yearly",
            left: retention.yearly,
            bucket: |day, _| i64::from(day.year()),
            last: None,
        },
    ];
    let counts_nothing = retention.counts().iter().all(|count| *count == 0);
    let one = |(number, item): (usize, &&Item)| {
        let day = zone.to_datetime(item.time).date();
        let is_oldest = number + 1 == sorted.len();
        let mut kept_as = Vec::new();
        if counts_nothing {
            kept_as.push("no rule");
        }
        for rule in rules.iter_mut().filter(|rule| rule.left > 0) {
            let bucket = (rule.bucket)(day, number);
            // The oldest stays while a rule has counts left: so the history reaches back as far as it can.
            if rule.last != Some(bucket) || is_oldest {
                rule.last = Some(bucket);
                rule.left -= 1;
                kept_as.push(rule.name);
            }
        }
        let goes_because = if kept_as.is_empty() {
            "no rule keeps it"
        } else {
            ""
        };
        Verdict {
            id: item.id.clone(),
            kept_as,
            goes_because,
        }
    };
    sorted.iter().enumerate().map(one).collect()
}

/// The oldest go until the rest fits; the one at `safe` stays and counts first.
fn by_size(most: u64, sorted: &[&Item], safe: Option<usize>, verdicts: &mut [Verdict]) {
    if most == 0 {
        return;
    }
    let mut sum = safe
        .and_then(|index| sorted.get(index))
        .map_or(0, |item| item.bytes);
    let mut is_full = false;
    for (index, (item, verdict)) in sorted.iter().zip(verdicts).enumerate() {
        if Some(index) == safe || !verdict.stays() {
            continue;
        }
        sum = sum.saturating_add(item.bytes);
        is_full |= sum > most;
        if is_full {
            verdict.kept_as.clear();
            verdict.goes_because = "it does not fit into the largest total size";
        }
    }
}

#[cfg(test)]
mod tests;
