//! When the installation last reached the satellite over a connection of its own.
//!
//! A change that leaves the satellite deaf to its server must not stay: who changes something waits here for a call over a
//! connection that was made afterwards. One that was there before proves nothing.

use std::time::{Duration, Instant};

use tokio::sync::watch;

/// The newest connection over which a member has made a call. A cheap handle.
#[derive(Debug, Clone, Default)]
pub struct Contact {
    newest: watch::Sender<Option<Instant>>,
}

impl Contact {
    /// A member has made a call over a connection that was made at `established`.
    pub fn heard(&self, established: Instant) {
        self.newest.send_if_modified(|newest| {
            let is_newer = newest.is_none_or(|newest| newest < established);
            if is_newer {
                *newest = Some(established);
            }
            is_newer
        });
    }

    /// Waits for a call over a connection made after `moment`; false if there is none within `limit`.
    pub async fn after(&self, moment: Instant, limit: Duration) -> bool {
        let mut newest = self.newest.subscribe();
        let made = newest.wait_for(|newest| newest.is_some_and(|newest| newest > moment));
        tokio::time::timeout(limit, made)
            .await
            .is_ok_and(|made| made.is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_a_connection_made_afterwards_counts() {
        let contact = Contact::default();
        let before = Instant::now();
        contact.heard(before);
        assert!(!contact.after(before, Duration::from_millis(20)).await);
        let limit = Duration::from_secs(30);
        let (waiting, told) = (contact.clone(), contact.clone());
        let waits = tokio::spawn(async move { waiting.after(before, limit).await });
        tokio::task::yield_now().await;
        told.heard(before + Duration::from_millis(1));
        assert!(waits.await.unwrap());
    }
}
