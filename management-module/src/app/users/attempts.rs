//! How many wrong sign-ins somebody may make.
//!
//! **Invariant:** what one does never keeps another out. Wrong tries count against where they come from, never against the
//! user they name; and a device that has signed in before counts by itself, whatever comes from the same address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::bounded::make_room;

/// Wrong tries without a wait.
const FREE: u32 = 5;

/// The wait after the first try beyond that; it doubles up to [`LONGEST`].
const FIRST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_mins(15);

/// After so long without a wrong try all is forgotten.
const FORGET: Duration = Duration::from_hours(1);

/// Sources that are remembered; beyond that the oldest is forgotten.
const MOST: usize = 10_000;

/// Who tries.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Source {
    /// An IPv4 address, or the 64 bits of an IPv6 address that one customer has.
    Address(IpAddr),
    /// A device that has signed in before, by the hash of its token.
    Device(String),
}

impl Source {
    pub(super) fn of_address(ip: IpAddr) -> Self {
        Self::Address(match ip.to_canonical() {
            IpAddr::V6(six) => {
                let [a, b, c, d, ..] = six.segments();
                IpAddr::from([a, b, c, d, 0, 0, 0, 0])
            }
            four => four,
        })
    }
}

#[derive(Debug, Clone, Copy)]
struct Tries {
    wrong: u32,
    last: Instant,
}

/// The wrong tries of all.
#[derive(Debug, Default)]
pub(super) struct Attempts(Mutex<HashMap<Source, Tries>>);

impl Attempts {
    /// Counts a try as wrong before it is looked at, so that tries at the same time count as well.
    ///
    /// # Errors
    /// How long to wait first; then nothing was counted.
    pub(super) fn begin(&self, source: &Source, now: Instant) -> Result<(), Duration> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let tries = all.get(source).copied().filter(|tries| now - tries.last < FORGET);
        let wrong = tries.map_or(0, |tries| tries.wrong);
        if let Some(tries) = tries {
            let left = (tries.last + wait(wrong)).saturating_duration_since(now);
            if !left.is_zero() {
                return Err(left);
            }
        }
        if all.len() >= MOST && !all.contains_key(source) {
            all.retain(|_, tries| now - tries.last < FORGET);
            make_room(&mut all, MOST, |tries| tries.last);
        }
        let wrong = wrong.saturating_add(1);
        all.insert(source.clone(), Tries { wrong, last: now });
        Ok(())
    }

    /// The try was right: the source begins anew.
    pub(super) fn succeeded(&self, source: &Source) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(source);
    }
}

/// The wait after so many wrong tries.
fn wait(wrong: u32) -> Duration {
    match wrong.checked_sub(FREE) {
        None => Duration::ZERO,
        Some(beyond) => FIRST.saturating_mul(2_u32.saturating_pow(beyond)).min(LONGEST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::of_address(text.parse().unwrap())
    }

    #[test]
    fn waits_grow_with_each_wrong_try_and_end() {
        let (attempts, who) = (Attempts::default(), source("192.0.2.1"));
        let mut now = Instant::now();
        for _ in 0..FREE {
            attempts.begin(&who, now).unwrap();
        }
        assert_eq!(attempts.begin(&who, now).unwrap_err(), FIRST);
        now += FIRST;
        attempts.begin(&who, now).unwrap();
        assert_eq!(attempts.begin(&who, now).unwrap_err(), FIRST * 2);
        assert_eq!(wait(1000), LONGEST);
        now += FORGET;
        attempts.begin(&who, now).unwrap();
        attempts.begin(&who, now).unwrap();
    }

    #[test]
    fn nobody_is_kept_out_by_the_tries_of_another() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        let villain = source("2001:db8::1");
        while attempts.begin(&villain, now).is_ok() {}
        assert!(
            attempts.begin(&source("2001:db8::ffff"), now).is_err(),
            "the same network"
        );
        attempts.begin(&source("2001:db8:0:1::1"), now).unwrap();
        attempts.begin(&source("::ffff:192.0.2.1"), now).unwrap();
        attempts.begin(&Source::Device("known".into()), now).unwrap();
        attempts.succeeded(&villain);
        attempts.begin(&villain, now).unwrap();
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_goes_first() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        for number in 0..=MOST {
            let at = now + Duration::from_millis(number as u64);
            attempts.begin(&Source::Device(number.to_string()), at).unwrap();
        }
        let all = attempts.0.lock().unwrap();
        assert_eq!(all.len(), MOST);
        assert!(!all.contains_key(&Source::Device("0".into())));
    }
}
