//! What status answers say about the packet filter.
//!
//! **Invariant:** a status call starts no program, and a burst of them does not become a burst of reads.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::Mutex;

use crate::{
    change::Changes,
    firewall::{Firewall, FirewallError},
};

/// How old an answer may be.
const FRESH: Duration = Duration::from_secs(1);

/// The packet filter, if it can be kept. A cheap handle.
#[derive(Debug, Clone)]
pub struct FirewallState {
    firewall: Option<Firewall>,
    changes: Changes,
    last: Arc<Mutex<Option<(Instant, Summary)>>>,
}

/// Revision in force and id of the open change; empty where there is none.
type Summary = (String, String);

impl FirewallState {
    /// Over this firewall.
    #[must_use]
    pub fn new(firewall: Option<Firewall>, changes: Changes) -> Self {
        Self {
            firewall,
            changes,
            last: Arc::default(),
        }
    }

    /// Whether a change waits to be confirmed.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.changes.is_open()
    }

    /// Goes back to the shipped rules at once; `None` if there is no firewall to be kept.
    ///
    /// # Errors
    ///
    /// What the firewall says.
    pub async fn reset_now(&self) -> Option<Result<(), FirewallError>> {
        Some(self.firewall.as_ref()?.reset_now().await.map(drop))
    }

    /// Revision in force and id of the open change, at most a second old; empty where there is none.
    pub async fn summary(&self) -> Summary {
        let Some(firewall) = &self.firewall else {
            return Summary::default();
        };
        let of_network = || self.changes.peek().map(|change| change.id.to_string());
        let mut last = self.last.lock().await;
        if let Some((when, summary)) = last.as_ref()
            && when.elapsed() < FRESH
        {
            return summary.clone();
        }
        let summary = match firewall.meant().await {
            Ok(meant) => {
                let open = meant.open_change.map(|change| change.id.to_string());
                (meant.revision, open.or_else(of_network).unwrap_or_default())
            }
            Err(error) => {
                tracing::warn!(%error, "State of the firewall not known");
                Summary::default()
            }
        };
        *last = Some((Instant::now(), summary.clone()));
        summary
    }
}
