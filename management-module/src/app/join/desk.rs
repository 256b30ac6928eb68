//! Where satellites with tokens are received: wakes the listener, limits callers, and says whether it listens.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::Limit;

/// Whether satellites with tokens are received.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Listening {
    /// There is no token for which it would be worth it.
    #[default]
    Closed,
    /// They are.
    Open(SocketAddr),
    /// They should be; why they are not.
    Failed(String),
}

/// The handle; clones share it.
#[derive(Debug, Clone)]
pub struct Desk {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    wishes: watch::Sender<u64>,
    listening: watch::Sender<Listening>,
    limit: Mutex<Limit>,
}

impl Default for Desk {
    fn default() -> Self {
        let inner = Inner {
            wishes: watch::Sender::new(0),
            listening: watch::Sender::default(),
            limit: Mutex::new(Limit::new(Instant::now())),
        };
        Self {
            inner: Arc::new(inner),
        }
    }
}

impl Desk {
    /// Says that tokens have changed.
    pub fn note(&self) {
        self.inner.wishes.send_modify(|number| *number += 1);
    }

    /// Wakes when tokens have changed.
    #[must_use]
    pub fn wishes(&self) -> watch::Receiver<u64> {
        self.inner.wishes.subscribe()
    }

    /// Publishes whether it listens.
    pub fn publish(&self, listening: Listening) {
        self.inner.listening.send_if_modified(|now| {
            let is_new = *now != listening;
            *now = listening;
            is_new
        });
    }

    /// Whether it listens.
    #[must_use]
    pub fn listening(&self) -> Listening {
        self.inner.listening.borrow().clone()
    }

    /// Says that there is a token and waits until it listens, at most `limit`; answers why it does not, or nothing.
    pub async fn opened(&self, limit: Duration) -> String {
        self.note();
        let mut listening = self.inner.listening.subscribe();
        let there = listening.wait_for(|now| matches!(now, Listening::Open(_)));
        match tokio::time::timeout(limit, there).await {
            Ok(Ok(_)) => String::new(),
            _ => match self.listening() {
                Listening::Failed(problem) => problem,
                _ => "the server does not listen for satellites with tokens yet".to_owned(),
            },
        }
    }

    /// Counts a call from there that is answered now.
    ///
    /// # Errors
    /// How long it is to stay away if it is not.
    pub fn admit(&self, ip: IpAddr) -> Result<(), Duration> {
        let mut limit = self.inner.limit.lock().unwrap_or_else(PoisonError::into_inner);
        limit.admit(ip, Instant::now())
    }
}
