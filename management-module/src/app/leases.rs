//! Who may work on a central at the moment: a row with a number and a heartbeat (docs/schedule.md).
//!
//! **Invariant:** of a central at most one lease is held. A lease ends when it is given back, when its holder's process has
//! ended and the next one starts, or when nothing was heard of it for `STALE`; who has lost it is told.

use std::sync::OnceLock;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use super::AppError;
use crate::store::{LeaseKind, LeaseRow, Store};

/// How often a holder says that it lives.
const BEAT: Duration = Duration::from_secs(10);
/// After how long without a heartbeat a lease can be taken by another.
const STALE: SignedDuration = SignedDuration::from_secs(60);
/// After how long without a heartbeat its holder gives it up: before another can have it.
const LOST: SignedDuration = SignedDuration::from_secs(40);

/// Names this process among those that take leases.
#[must_use]
pub fn process() -> &'static str {
    static PROCESS: OnceLock<String> = OnceLock::new();
    PROCESS.get_or_init(|| uuid::Uuid::now_v7().to_string())
}

/// What came of the wish for a lease.
#[derive(Debug)]
pub(in crate::app) enum Taken {
    /// Here it is.
    Lease(Lease),
    /// Somebody has it.
    Held(LeaseRow),
}

/// The right to work on a central, as long as it lives.
#[derive(Debug)]
pub(in crate::app) struct Lease {
    store: Store,
    central: String,
    fence: u64,
    lost: CancellationToken,
    beat: AbortHandle,
    is_ended: bool,
}

/// Takes the lease on a central for a piece of work.
pub(in crate::app) async fn take(
    store: &Store,
    central: &str,
    kind: LeaseKind,
    work: &str,
) -> Result<Taken, AppError> {
    let holder = format!("{}/{work}", process());
    // Twice: its holder may end between the two questions.
    for _ in 0..2 {
        let now = Timestamp::now();
        let stale = now.saturating_sub(STALE).unwrap_or(Timestamp::MIN);
        if let Some(fence) = store.take_lease((central, kind), &holder, now, stale).await? {
            return Ok(Taken::Lease(Lease::new(store.clone(), central, fence)));
        }
        if let Some(row) = store.lease(central, stale).await? {
            return Ok(Taken::Held(row));
        }
    }
    Err(AppError::Unavailable {
        message: format!("who works on central {central} changes too quickly: try again"),
        source: None,
    })
}

/// Takes the lease, or says who has it.
///
/// # Errors
/// [`AppError::Precondition`] somebody works on the central.
pub(in crate::app) async fn demand(
    store: &Store,
    central: &str,
    kind: LeaseKind,
    work: &str,
) -> Result<Lease, AppError> {
    match take(store, central, kind, work).await? {
        Taken::Lease(lease) => Ok(lease),
        Taken::Held(row) => Err(AppError::Precondition(format!(
            "{}: wait for its end and try again",
            told(&row)
        ))),
    }
}

/// Who has a lease, for a person.
pub(in crate::app) fn told(row: &LeaseRow) -> String {
    let what = match row.kind {
        LeaseKind::Backup => "a backup",
        LeaseKind::Archiving => "archiving",
        LeaseKind::Restore => "a restore",
        LeaseKind::Change => "a change",
        LeaseKind::Mails => "sending of mails",
    };
    let since = row.taken_at.strftime("%Y-%m-%d %H:%M UTC");
    format!("{what} of central {} is under way since {since}", row.central)
}

impl Lease {
    fn new(store: Store, central: &str, fence: u64) -> Self {
        let lost = CancellationToken::new();
        let beat = tokio::spawn(beat(store.clone(), central.to_owned(), fence, lost.clone()));
        Self {
            store,
            central: central.to_owned(),
            fence,
            lost,
            beat: beat.abort_handle(),
            is_ended: false,
        }
    }

    /// Its number.
    pub(in crate::app) fn fence(&self) -> u64 {
        self.fence
    }

    /// Cancelled when it is another's, or may be soon.
    pub(in crate::app) fn lost(&self) -> CancellationToken {
        self.lost.clone()
    }

    /// Gives it back, so that whoever asks next can have it.
    pub(in crate::app) async fn end(mut self) {
        self.is_ended = true;
        if let Err(error) = self.store.end_lease(&self.central, self.fence).await {
            tracing::warn!(central = self.central, error = %crate::error_chain(&error), "Lease not given back");
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.beat.abort();
        if self.is_ended {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (store, central, fence) = (self.store.clone(), self.central.clone(), self.fence);
            // Where this comes to nothing, its heartbeat has stopped all the same.
            runtime.spawn(async move { store.end_lease(&central, fence).await });
        }
    }
}

async fn beat(store: Store, central: String, fence: u64, lost: CancellationToken) {
    let mut heard = Timestamp::now();
    loop {
        tokio::time::sleep(BEAT).await;
        let now = Timestamp::now();
        match store.beat_lease(&central, fence, now).await {
            Ok(true) => heard = now,
            Ok(false) => break,
            Err(error) => {
                tracing::warn!(central, error = %crate::error_chain(&error), "Heartbeat of a lease not written");
                if now.duration_since(heard) > LOST {
                    break;
                }
            }
        }
    }
    tracing::error!(central, fence, "Lease lost: the work under it is given up");
    lost.cancel();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::fresh;

    #[tokio::test]
    async fn who_comes_second_is_told_who_works_there() {
        let (_dir, store) = fresh().await;
        let lease = demand(&store, "pbx", LeaseKind::Archiving, "run 1")
            .await
            .unwrap();
        let error = demand(&store, "pbx", LeaseKind::Backup, "run 2")
            .await
            .unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("archiving of central pbx is under way since 2"),
            "{error}"
        );
        let other = demand(&store, "pbx-2", LeaseKind::Backup, "run 3").await.unwrap();
        lease.end().await;
        let next = demand(&store, "pbx", LeaseKind::Backup, "run 2").await.unwrap();
        assert!(next.fence() > other.fence());
    }

    #[tokio::test]
    async fn a_lease_that_is_dropped_is_given_back() {
        let (_dir, store) = fresh().await;
        drop(demand(&store, "pbx", LeaseKind::Backup, "run 1").await.unwrap());
        while demand(&store, "pbx", LeaseKind::Backup, "run 2").await.is_err() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn the_next_process_ends_what_a_killed_one_held() {
        let (_dir, store) = fresh().await;
        let now = Timestamp::now();
        let held = store
            .take_lease(("pbx", LeaseKind::Backup), "killed/run 1", now, now)
            .await
            .unwrap();
        assert_eq!(held, Some(1));
        assert!(demand(&store, "pbx", LeaseKind::Backup, "run 2").await.is_err());
        assert_eq!(store.end_leases_of_others(process()).await.unwrap(), 1);
        assert_eq!(
            demand(&store, "pbx", LeaseKind::Backup, "run 2")
                .await
                .unwrap()
                .fence(),
            2
        );
    }
}
