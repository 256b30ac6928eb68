//! How long to wait before a retry. Pure.

use std::time::Duration;

/// First calls in a second when the module starts: a fraction of the handshakes that two cores manage.
const FIRST_CALLS: u32 = 200;

/// Exponential backoff with full jitter: the ceiling is capped first, then a random part of it is waited, so that
/// many who lost the same peer at once do not come back at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Ceiling of the first wait.
    pub first: Duration,
    /// Ceiling of all waits.
    pub longest: Duration,
}

impl Backoff {
    /// The time over which the first calls to `count` satellites are spread, each after a random part of it: a module that
    /// starts makes no herd of its own satellites, and those of a small fleet are called at once.
    #[must_use]
    pub fn spread(count: usize) -> Duration {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        Duration::from_secs(1).saturating_mul(count) / FIRST_CALLS
    }

    /// The wait before attempt `attempt` (the first retry is 0): `random` of the ceiling, clamped to `0.0..=1.0`.
    #[must_use]
    pub fn delay(&self, attempt: u32, random: f64) -> Duration {
        let ceiling = self
            .first
            .saturating_mul(2_u32.saturating_pow(attempt))
            .min(self.longest);
        ceiling.mul_f64(if random.is_nan() {
            1.0
        } else {
            random.clamp(0.0, 1.0)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;

    const BACKOFF: Backoff = Backoff {
        first: Duration::from_secs(1),
        longest: Duration::from_secs(30),
    };

    proptest! {
        #[test]
        fn a_wait_is_never_longer_than_its_ceiling(attempt in 0_u32.., random in any::<f64>()) {
            prop_assert!(BACKOFF.delay(attempt, random) <= BACKOFF.longest);
        }
    }

    #[test]
    fn the_ceiling_doubles_up_to_the_longest() {
        let ceilings: Vec<_> = (0..7).map(|n| BACKOFF.delay(n, 1.0).as_secs()).collect();
        assert_eq!(ceilings, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(BACKOFF.delay(3, 0.0), Duration::ZERO);
    }

    #[test]
    fn first_calls_are_spread_by_their_number() {
        assert_eq!(Backoff::spread(0), Duration::ZERO);
        assert_eq!(Backoff::spread(10), Duration::from_millis(50));
        assert_eq!(Backoff::spread(5000), Duration::from_secs(25));
    }

    #[test]
    fn ten_thousand_that_retry_for_minutes_come_back_evenly() {
        let mut random = StdRng::seed_from_u64(7);
        let mut arrivals = vec![0_u32; 300];
        for _ in 0..10_000 {
            let (mut at, mut attempt) = (0.0, 0);
            loop {
                at += BACKOFF.delay(attempt, random.random()).as_secs_f64();
                attempt += 1;
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "seconds, not negative"
                )]
                let Some(slot) = arrivals.get_mut(at as usize) else {
                    break;
                };
                *slot += 1;
            }
        }
        // The first half minute is the burst that the growing ceilings spread.
        let settled = &arrivals[30..];
        let mean = f64::from(settled.iter().sum::<u32>()) / settled.len() as f64;
        let peak = f64::from(*settled.iter().max().unwrap());
        assert!(peak / mean < 3.0, "peak {peak}, mean {mean}");
    }
}
