//! "Come again later": whoever is overloaded says when, and who called waits at least that long.
//!
//! It travels as gRPC's own `grpc-retry-pushback-ms` beside the status.
//!
//! **Invariants:** a wait that is asked for is capped, so that a peer cannot send anybody away for good; what is waited is
//! never less than what was asked for, and spread, so that those who were sent away together do not come back together.

use std::time::Duration;

use tonic::Status;
use tonic::metadata::MetadataValue;

/// The entry of the metadata, in whole milliseconds.
pub const PUSHBACK_HEADER: &str = "grpc-retry-pushback-ms";

/// No longer wait is taken from a peer.
pub const LONGEST: Duration = Duration::from_mins(5);

/// The least time over which those who were sent away are spread.
const SPREAD: Duration = Duration::from_secs(1);

/// `status`, with the wish that the caller comes again after `wait` and not before.
#[must_use]
pub fn come_after(mut status: Status, wait: Duration) -> Status {
    let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    status
        .metadata_mut()
        .insert(PUSHBACK_HEADER, MetadataValue::from(millis));
    status
}

/// How long the peer wants the caller to stay away, if it says so; at most [`LONGEST`].
#[must_use]
pub fn asked(status: &Status) -> Option<Duration> {
    let text = status.metadata().get(PUSHBACK_HEADER)?.to_str().ok()?;
    let millis: u64 = text.parse().ok()?;
    Some(Duration::from_millis(millis).min(LONGEST))
}

/// The wait before the next try: the caller's `own`, or what was `asked` of it and a `random` part (0 to 1) of half of it
/// again, whichever is longer.
#[must_use]
pub fn wait(own: Duration, asked: Option<Duration>, random: f64) -> Duration {
    let Some(asked) = asked else { return own };
    let spread = (asked / 2).max(SPREAD).mul_f64(random.clamp(0.0, 1.0));
    own.max(asked.saturating_add(spread))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &'static str) -> Option<Duration> {
        let mut status = Status::resource_exhausted("");
        status
            .metadata_mut()
            .insert(PUSHBACK_HEADER, MetadataValue::from_static(text));
        asked(&status)
    }

    #[test]
    fn what_one_end_says_the_other_hears() {
        let status = come_after(Status::resource_exhausted("later"), Duration::from_millis(2500));
        assert_eq!(asked(&status), Some(Duration::from_millis(2500)));
        assert_eq!(asked(&Status::unavailable("")), None);
    }

    #[test]
    fn nobody_is_sent_away_for_good_or_by_nonsense() {
        assert_eq!(told("86400000"), Some(LONGEST));
        assert_eq!(told("18446744073709551615"), Some(LONGEST));
        for text in ["", "-1", "soon", "1.5", "18446744073709551616"] {
            assert_eq!(told(text), None, "{text}");
        }
    }

    #[test]
    fn nobody_comes_before_the_time_and_not_all_come_at_it() {
        let asked = Some(Duration::from_secs(10));
        assert_eq!(wait(Duration::from_secs(1), asked, 0.0).as_secs(), 10);
        assert_eq!(wait(Duration::from_secs(1), asked, 1.0).as_secs(), 15);
        assert_eq!(
            wait(Duration::from_secs(1), Some(Duration::ZERO), 1.0).as_secs(),
            1
        );
        assert_eq!(wait(Duration::from_secs(60), asked, 1.0).as_secs(), 60);
        assert_eq!(wait(Duration::from_secs(3), None, 1.0).as_secs(), 3);
    }
}
