//! Benchmarks: ours and what a user would pick instead, in turn, in one run, as medians and ratios.
//!
//! **Invariant:** nothing passes or fails here. The machine is noisy; a row says what was measured beside its goal.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

pub mod backup;
pub mod commission;
pub mod fleet;
pub mod pages;
pub mod peers;
pub mod process;
pub mod satellite;
pub mod transport;
pub mod update;

/// One thing measured once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Seconds on the wall.
    pub wall: f64,
    /// CPU seconds of all processes that took part.
    pub cpu: f64,
}

impl Sample {
    /// What `work` takes: the wall by its length, the CPU by the difference of `cpu` before and after.
    ///
    /// # Errors
    ///
    /// Those of `work`.
    pub async fn of<T>(
        cpu: impl Fn() -> f64,
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<(Self, T)> {
        let (before, start) = (cpu(), Instant::now());
        let result = work.await?;
        let wall = start.elapsed().as_secs_f64();
        Ok((
            Self {
                wall,
                cpu: cpu() - before,
            },
            result,
        ))
    }
}

/// The middle one of several; the lower of the two middle ones.
#[must_use]
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values
        .get(values.len().saturating_sub(1) / 2)
        .copied()
        .unwrap_or(f64::NAN)
}

/// Which way is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// A larger value, as of a throughput.
    More,
    /// A smaller value, as of a duration.
    Less,
}

/// A line of the report.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Row {
    /// What was measured.
    pub name: String,
    /// Our median.
    pub ours: f64,
    /// Its unit.
    pub unit: String,
    /// The medians of the others.
    pub peers: BTreeMap<String, f64>,
    /// Ours divided by the peer that the goal names; without one, ours divided by the goal.
    pub ratio: Option<f64>,
    /// What is aimed at, in words.
    pub goal: String,
    /// Whether it was reached in this run.
    pub goal_met: bool,
}

impl Row {
    /// A row whose goal is a ratio to a peer: at least (`More`) or at most (`Less`) `bound` times it.
    #[must_use]
    pub fn against(
        name: &str,
        (ours, unit): (f64, &str),
        peers: BTreeMap<String, f64>,
        (peer, better, bound): (&str, Better, f64),
    ) -> Self {
        let ratio = peers.get(peer).map(|peer| ours / peer);
        let (word, goal_met) = match better {
            Better::More => ("at least", ratio.is_some_and(|ratio| ratio >= bound)),
            Better::Less => ("at most", ratio.is_some_and(|ratio| ratio <= bound)),
        };
        let goal = format!("{word} {bound} × {peer}");
        Self {
            name: name.to_owned(),
            ours,
            unit: unit.to_owned(),
            peers,
            ratio,
            goal,
            goal_met,
        }
    }

    /// A row whose goal is a value: at least or at most `bound`.
    #[must_use]
    pub fn absolute(name: &str, (ours, unit): (f64, &str), (better, bound): (Better, f64)) -> Self {
        let (word, goal_met) = match better {
            Better::More => ("at least", ours >= bound),
            Better::Less => ("at most", ours <= bound),
        };
        let goal = format!("{word} {bound} {unit}");
        Self {
            name: name.to_owned(),
            ours,
            unit: unit.to_owned(),
            peers: BTreeMap::new(),
            ratio: Some(ours / bound),
            goal,
            goal_met,
        }
    }

    /// A row that is only for the record.
    #[must_use]
    pub fn record(name: &str, (ours, unit): (f64, &str), peers: BTreeMap<String, f64>) -> Self {
        Self {
            name: name.to_owned(),
            ours,
            unit: unit.to_owned(),
            peers,
            ratio: None,
            goal: "for the record".to_owned(),
            goal_met: true,
        }
    }
}

/// The report as a table for a person.
#[must_use]
pub fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "{:<44} {:>11} {:<8} {:>7}  {}\n",
        "what", "ours", "unit", "ratio", "goal · peers"
    );
    for row in rows {
        let mark = if row.goal_met { "✓" } else { "✗" };
        let peers: Vec<String> = row
            .peers
            .iter()
            .map(|(name, value)| format!("{name} {value:.2}"))
            .collect();
        let ratio = row
            .ratio
            .map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}"));
        let _infallible = writeln!(
            text,
            "{:<44} {:>11.2} {:<8} {:>7}  {mark} {} · {}",
            row.name,
            row.ours,
            row.unit,
            ratio,
            row.goal,
            peers.join(", ")
        );
    }
    text
}

/// How often each thing is measured if nothing else is said.
pub const RUNS: usize = 5;

/// What one run of one thing may take.
pub const LIMIT: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one() {
        assert!((median([3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!((median([4.0, 1.0, 2.0, 3.0]) - 2.0).abs() < f64::EPSILON);
    }

    #[test]
    fn a_goal_is_met_on_its_own_side_only() {
        let peers = BTreeMap::from([("scp".to_owned(), 100.0)]);
        assert!(Row::against("x", (250.0, "MiB/s"), peers.clone(), ("scp", Better::More, 2.0)).goal_met);
        assert!(!Row::against("x", (150.0, "MiB/s"), peers.clone(), ("scp", Better::More, 2.0)).goal_met);
        assert!(Row::against("x", (150.0, "s"), peers.clone(), ("scp", Better::Less, 2.0)).goal_met);
        assert!(
            !Row::against("x", (1.0, "s"), peers, ("curl", Better::Less, 2.0)).goal_met,
            "no such peer"
        );
    }
}
