//! How often somebody may knock with a token. Pure: the caller brings the time.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Calls of one place in a window.
const MOST_FROM_ONE: u32 = 20;
/// Calls of all places in a window.
const MOST_OF_ALL: u32 = 1200;
/// The window.
const WINDOW: Duration = Duration::from_secs(60);
/// Places that are remembered. Whoever comes from more is refused until the window ends.
const PLACES: usize = 4096;

/// Counts calls. A proof is out of reach anyway; what is limited is the work that strangers can make.
#[derive(Debug)]
pub struct Limit {
    since: Instant,
    all: u32,
    places: HashMap<IpAddr, u32>,
}

impl Limit {
    /// Nobody has called.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            since: now,
            all: 0,
            places: HashMap::new(),
        }
    }

    /// Counts a call from `ip` that is answered now.
    ///
    /// # Errors
    /// How long it is to stay away if it is not: until the window ends.
    pub fn admit(&mut self, ip: IpAddr, now: Instant) -> Result<(), Duration> {
        if now.saturating_duration_since(self.since) >= WINDOW {
            *self = Self::new(now);
        }
        // A host has a whole /64 of IPv6 to itself.
        let place = match ip.to_canonical() {
            IpAddr::V6(six) => IpAddr::V6(Ipv6Addr::from_bits(six.to_bits() >> 64 << 64)),
            four @ IpAddr::V4(_) => four,
        };
        let is_new = !self.places.contains_key(&place);
        if self.all >= MOST_OF_ALL || (is_new && self.places.len() >= PLACES) {
            return Err(self.left(now));
        }
        let left = self.left(now);
        let count = self.places.entry(place).or_default();
        if *count >= MOST_FROM_ONE {
            return Err(left);
        }
        *count += 1;
        self.all += 1;
        Ok(())
    }

    fn left(&self, now: Instant) -> Duration {
        WINDOW.saturating_sub(now.saturating_duration_since(self.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_place_is_limited_and_does_not_shut_others_out() {
        let start = Instant::now();
        let mut limit = Limit::new(start);
        let allowed = (0..50)
            .filter(|_| limit.admit(ip("10.0.0.1"), start).is_ok())
            .count();
        assert_eq!(allowed, 20);
        let later = start + Duration::from_secs(18);
        assert_eq!(
            limit.admit(ip("::ffff:10.0.0.1"), later),
            Err(Duration::from_secs(42))
        );
        assert_eq!(limit.admit(ip("10.0.0.2"), later), Ok(()));
        assert_eq!(limit.admit(ip("10.0.0.1"), start + WINDOW), Ok(()));
    }

    #[test]
    fn a_network_of_addresses_is_one_place_and_memory_is_bounded() {
        let start = Instant::now();
        let mut limit = Limit::new(start);
        let allowed = (0..50)
            .filter(|n| limit.admit(ip(&format!("2001:db8::{n:x}")), start).is_ok())
            .count();
        assert_eq!(allowed, 20);
        let many = (0..10_000_u32)
            .filter(|n| limit.admit(IpAddr::V4((*n).into()), start).is_ok())
            .count();
        assert_eq!(many, 1180);
        assert!(limit.places.len() <= PLACES);
    }
}
