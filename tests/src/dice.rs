//! Chance that can be repeated: a run says its seed, and `SATELLITE_SEED` gives it again.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

/// A source of numbers and moments.
#[derive(Debug, Clone)]
pub struct Dice {
    /// What begins the same run again.
    pub seed: u64,
    source: StdRng,
}

impl Dice {
    /// What follows from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            source: StdRng::seed_from_u64(seed),
        }
    }

    /// As `SATELLITE_SEED` says; another one each time if it says nothing.
    #[must_use]
    pub fn from_environment() -> Self {
        let given = std::env::var("SATELLITE_SEED")
            .ok()
            .and_then(|text| text.parse().ok());
        Self::new(given.unwrap_or_else(rand::random))
    }

    /// A number below `end`; 0 if that is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.source.random_range(0..end.max(1))
    }

    /// A length of time below `end`.
    pub fn moment(&mut self, end: Duration) -> Duration {
        end.mul_f64(self.source.random())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_itself_and_stays_below_its_end() {
        let (mut one, mut other) = (Dice::new(7), Dice::new(7));
        for end in [1, 2, 10, 1_000_000] {
            let number = one.below(end);
            assert_eq!(number, other.below(end));
            assert!(number < end);
        }
        assert_eq!(one.below(0), 0);
        let second = Duration::from_secs(1);
        assert!(one.moment(second) < second);
    }
}
