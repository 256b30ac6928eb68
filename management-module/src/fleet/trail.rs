//! What the server remembers of its meetings with a satellite, and what the next meeting means. Pure.
//!
//! **Invariant:** a boot that was found to be the newer of two that are alive at once is never taken for the satellite
//! again unless a person trusts it.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// Boots that are remembered.
const BOOTS: usize = 16;

/// How much a machine's clock may lag behind ours between two meetings and still have run all the time.
const SLACK: SignedDuration = SignedDuration::from_secs(20);

/// The memory of the meetings with one satellite.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Trail {
    /// The counter that both keep, as last told by the satellite.
    pub generation: u64,
    /// Its boots, the one met last at the end.
    boots: Vec<Boot>,
    /// Boots that are not the satellite.
    apart: Vec<String>,
    /// How often it was found to be set back.
    pub reverts: u64,
    /// When another machine with the same key was found to be alive.
    pub twin_at: Option<Timestamp>,
    /// It said that it was disconnected at its console.
    pub disconnected: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Boot {
    id: String,
    met_at: Timestamp,
    uptime_millis: u64,
}

/// What a satellite said when it was met.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Met {
    /// The counter before this meeting.
    pub found: u64,
    /// The counter now.
    pub generation: u64,
    /// It knows that it was set back.
    pub reverted: bool,
    /// Its boot.
    pub boot_id: String,
    /// How long that has lasted.
    pub uptime_millis: u64,
    /// It is quarantined by itself.
    pub quarantined: bool,
}

/// What a meeting means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is the satellite as it was left.
    Same,
    /// It is the satellite, set back to an earlier state: nothing that was known of it counts.
    Reverted,
    /// It is the satellite, and another one with its key was alive meanwhile.
    TwinElsewhere,
    /// It is not the satellite but a copy, and has to be told.
    Copy,
    /// It is a copy and knows.
    Quarantined,
}

impl Trail {
    /// Takes note of a meeting, and says what it means.
    pub fn meet(&mut self, met: &Met, now: Timestamp) -> Verdict {
        if met.quarantined {
            return Verdict::Quarantined;
        }
        if self.apart.contains(&met.boot_id) {
            return Verdict::Copy;
        }
        self.disconnected = false;
        let behind = met.reverted || met.found < self.generation;
        let place = self.boots.iter().position(|boot| boot.id == met.boot_id);
        let verdict = match place {
            // Boots do not come back: this one ran all the time while we met another, or its memory was set back.
            Some(place) if place + 1 < self.boots.len() && self.boots[place].has_run_until(met, now) => {
                let newer = self.boots.split_off(place + 1);
                self.apart.extend(newer.into_iter().map(|boot| boot.id));
                self.twin_at = Some(now);
                Verdict::TwinElsewhere
            }
            Some(place) if place + 1 < self.boots.len() => Verdict::Reverted,
            _ if behind => Verdict::Reverted,
            _ => Verdict::Same,
        };
        if verdict == Verdict::Reverted {
            self.reverts += 1;
        }
        self.boots.retain(|boot| boot.id != met.boot_id);
        self.boots.push(Boot {
            id: met.boot_id.clone(),
            met_at: now,
            uptime_millis: met.uptime_millis,
        });
        let too_many = self.boots.len().saturating_sub(BOOTS);
        self.boots.drain(..too_many);
        let too_many = self.apart.len().saturating_sub(BOOTS);
        self.apart.drain(..too_many);
        self.generation = self.generation.max(met.generation);
        verdict
    }

    /// A person trusts the machine with this boot: it is the satellite from now on, and the others are not.
    pub fn trust(&mut self, boot_id: &str) {
        let others = std::mem::take(&mut self.boots).into_iter().map(|boot| boot.id);
        self.apart.extend(others);
        self.apart.retain(|apart| apart != boot_id);
        self.twin_at = None;
    }
}

impl Boot {
    /// Whether it has run from when it was last met until now.
    fn has_run_until(&self, met: &Met, now: Timestamp) -> bool {
        let gone = now.duration_since(self.met_at);
        let ran = met.uptime_millis.saturating_sub(self.uptime_millis);
        let ran = SignedDuration::from_millis(i64::try_from(ran).unwrap_or(i64::MAX));
        met.uptime_millis >= self.uptime_millis && ran.saturating_add(SLACK) >= gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }

    /// A machine that was started at `start` and keeps the counter on its disk.
    struct Machine {
        boot: &'static str,
        start: i64,
        counter: u64,
    }

    impl Machine {
        fn new(boot: &'static str, start: i64, counter: u64) -> Self {
            Self { boot, start, counter }
        }

        fn meets(&mut self, trail: &mut Trail, second: i64) -> Verdict {
            let found = self.counter;
            self.counter = found.max(trail.generation) + 1;
            let met = Met {
                found,
                generation: self.counter,
                boot_id: self.boot.into(),
                uptime_millis: u64::try_from(second - self.start).unwrap() * 1000,
                ..Met::default()
            };
            trail.meet(&met, at(second))
        }
    }

    #[test]
    fn a_satellite_that_restarts_and_reconnects_is_the_same() {
        let mut trail = Trail::default();
        let mut first = Machine::new("a", 0, 0);
        assert_eq!(first.meets(&mut trail, 10), Verdict::Same);
        assert_eq!(first.meets(&mut trail, 20), Verdict::Same);
        let mut again = Machine::new("b", 30, first.counter);
        assert_eq!(again.meets(&mut trail, 40), Verdict::Same);
        assert_eq!(trail.reverts, 0);
    }

    #[test]
    fn an_old_disk_is_noticed_by_its_counter() {
        let mut trail = Trail::default();
        let mut first = Machine::new("a", 0, 0);
        first.meets(&mut trail, 10);
        let snapshot = first.counter;
        first.meets(&mut trail, 20);
        let mut back = Machine::new("b", 30, snapshot);
        assert_eq!(back.meets(&mut trail, 40), Verdict::Reverted);
        assert_eq!(back.meets(&mut trail, 50), Verdict::Same);
        assert_eq!(trail.reverts, 1);
    }

    #[test]
    fn an_old_memory_is_noticed_though_its_boot_was_met_before() {
        let mut trail = Trail::default();
        let mut first = Machine::new("a", 0, 0);
        first.meets(&mut trail, 10);
        let snapshot = first.counter;
        Machine::new("b", 100, first.counter).meets(&mut trail, 110);
        // At 1000 the memory of second 15 is brought back: its clock of uptime goes on there.
        let mut back = Machine::new("a", 985, snapshot);
        assert_eq!(back.meets(&mut trail, 1000), Verdict::Reverted);
    }

    #[test]
    fn of_two_that_are_alive_at_once_the_newer_is_the_copy() {
        let mut trail = Trail::default();
        let mut original = Machine::new("a", 0, 0);
        original.meets(&mut trail, 10);
        let mut copy = Machine::new("b", 50, original.counter);
        copy.meets(&mut trail, 60);
        assert_eq!(original.meets(&mut trail, 100), Verdict::TwinElsewhere);
        assert_eq!(copy.meets(&mut trail, 110), Verdict::Copy);
        assert_eq!(original.meets(&mut trail, 120), Verdict::Same);
        assert!(trail.twin_at.is_some());
        // A person decides otherwise.
        trail.trust("b");
        assert_ne!(copy.meets(&mut trail, 130), Verdict::Copy);
        assert_eq!(original.meets(&mut trail, 140), Verdict::Copy);
    }

    #[test]
    fn a_server_that_was_set_back_itself_takes_the_satellite_as_it_is() {
        let mut trail = Trail::default();
        let mut satellite = Machine::new("a", 0, 7);
        assert_eq!(satellite.meets(&mut trail, 10), Verdict::Same);
        assert_eq!(trail.generation, 8);
    }

    #[test]
    fn memory_is_bounded() {
        let mut trail = Trail::default();
        let boots: Vec<&'static str> = (0..100)
            .map(|n| &*Box::leak(format!("b{n}").into_boxed_str()))
            .collect();
        for (second, boot) in (0..).zip(boots) {
            Machine::new(boot, second, 1000).meets(&mut trail, second + 1);
        }
        assert_eq!(trail.boots.len(), BOOTS);
    }
}
