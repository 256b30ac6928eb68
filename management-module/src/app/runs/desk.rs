//! The runs of this process: which are under way, how they are ended, and what wakes the scheduler.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The handle; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Desk {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    wishes: watch::Sender<u64>,
    live: Mutex<HashMap<String, CancellationToken>>,
}

/// A run of this process, as long as it lives.
#[derive(Debug)]
pub(super) struct Live {
    desk: Desk,
    run: String,
    /// A person wants it to end.
    pub(super) stop: CancellationToken,
}

impl Desk {
    /// Says that configurations or runs have changed.
    pub fn wake(&self) {
        self.inner.wishes.send_modify(|number| *number += 1);
    }

    /// Wakes when they have.
    #[must_use]
    pub fn wishes(&self) -> watch::Receiver<u64> {
        self.inner.wishes.subscribe()
    }

    /// Runs that are looked after.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// Whether somebody looks after a run.
    #[must_use]
    pub fn has(&self, run: &str) -> bool {
        self.lock().contains_key(run)
    }

    /// Begins to look after a run; none if somebody does already.
    pub(super) fn enter(&self, run: &str) -> Option<Live> {
        let stop = CancellationToken::new();
        let mut live = self.lock();
        if live.contains_key(run) {
            return None;
        }
        live.insert(run.to_owned(), stop.clone());
        Some(Live {
            desk: self.clone(),
            run: run.to_owned(),
            stop,
        })
    }

    /// Ends a run that is under way; false if it is not.
    pub(super) fn stop(&self, run: &str) -> bool {
        let live = self.lock();
        let found = live.get(run);
        if let Some(stop) = found {
            stop.cancel();
        }
        found.is_some()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, CancellationToken>> {
        self.inner.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.desk.lock().remove(&self.run);
        // Another that waits may begin now.
        self.desk.wake();
    }
}
