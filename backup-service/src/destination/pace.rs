//! The limit of bytes a second.

use std::num::NonZeroU64;
use std::time::Duration;

use tokio::time::Instant;

use super::PIECE;

/// Keeps to a limit by waiting after each piece.
#[derive(Debug)]
pub(super) struct Pace {
    limit: Option<NonZeroU64>,
    free_at: Option<Instant>,
}

impl Pace {
    /// No limit if none.
    pub(super) fn new(limit: Option<NonZeroU64>) -> Self {
        Self { limit, free_at: None }
    }

    /// Most bytes of a piece: a quarter of a second, so that a slow line is not held up by one piece.
    pub(super) fn piece(&self) -> usize {
        let quarter = self
            .limit
            .map_or(PIECE, |limit| usize::try_from(limit.get() / 4).unwrap_or(PIECE));
        quarter.clamp(4 << 10, PIECE)
    }

    /// `bytes` went: waits until the next may.
    pub(super) async fn spend(&mut self, bytes: usize) {
        if let Some(free_at) = self.free_at(Instant::now(), bytes) {
            tokio::time::sleep_until(free_at).await;
        }
    }

    /// When the next may go after `bytes` went at `now`.
    fn free_at(&mut self, now: Instant, bytes: usize) -> Option<Instant> {
        let takes = Duration::from_secs_f64(bytes as f64 / self.limit?.get() as f64);
        // What was not used is not saved up: a pause is no reason for a burst.
        self.free_at = Some(self.free_at.map_or(now, |at| at.max(now)) + takes);
        self.free_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_kept_to_and_a_pause_earns_no_burst() {
        let mut pace = Pace::new(NonZeroU64::new(1 << 20));
        assert_eq!(pace.piece(), 256 << 10);
        let begun = Instant::now();
        let mut send = |now, pieces: usize| (0..pieces).filter_map(|_| pace.free_at(now, 256 << 10)).last();
        assert_eq!(send(begun, 8), Some(begun + Duration::from_secs(2)));
        let later = begun + Duration::from_secs(60);
        assert_eq!(send(later, 8), Some(later + Duration::from_secs(2)));
    }

    #[test]
    fn without_a_limit_nothing_waits() {
        let mut pace = Pace::new(None);
        assert_eq!(
            (pace.piece(), pace.free_at(Instant::now(), usize::MAX)),
            (PIECE, None)
        );
    }
}
