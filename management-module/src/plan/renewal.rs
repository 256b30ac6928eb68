//! When a certificate is renewed. Pure.

use jiff::{SignedDuration, Timestamp};

/// When a certificate that is good from `from` until `until` is replaced: when a third of its time is left, or up to a
/// twelfth of it earlier (`early`, `0.0..=1.0`), so that those that were made together are not renewed together.
#[must_use]
pub fn due(from: Timestamp, until: Timestamp, early: f64) -> Timestamp {
    let whole = until.duration_since(from).max(SignedDuration::ZERO);
    let early = if early.is_nan() {
        0.0
    } else {
        early.clamp(0.0, 1.0)
    };
    let left =
        whole / 3 + SignedDuration::try_from_secs_f64(whole.as_secs_f64() / 12.0 * early).unwrap_or_default();
    until.saturating_sub(left).unwrap_or(from)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_certificate_of_ninety_days_is_renewed_about_a_month_before_its_end() {
        let from: Timestamp = "2026-11-01T00:00:00Z".parse().unwrap();
        let day = SignedDuration::from_hours(24);
        let until = from + day * 90;
        assert_eq!(due(from, until, 0.0), from + day * 60);
        assert_eq!(due(from, until, 1.0), from + day * 60 - day * 15 / 2);
        assert_eq!(due(until, from, 0.5), from);
    }

    proptest! {
        #[test]
        fn it_is_renewed_while_it_is_good_and_not_before_half_of_its_time(
            seconds in 60_i64..400_000_000, early in any::<f64>()
        ) {
            let from = Timestamp::UNIX_EPOCH;
            let until = from + SignedDuration::from_secs(seconds);
            let due = due(from, until, early);
            prop_assert!(due < until);
            prop_assert!(due >= from + SignedDuration::from_secs(seconds / 2));
        }
    }
}
