//! The timer that undoes a change even if the daemon is dead.
//!
//! **Invariant:** arming comes before the change; a timer that cannot be armed means that the change is not made.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use satellite_host::systemd::Units;
use uuid::Uuid;

/// How much later than the daemon the timer acts: the daemon normally is first, and the timer finds nothing to do.
const GRACE: Duration = Duration::from_secs(3);

/// What a timer's method gives back: an answer that takes a while.
pub type Answer<'a> = Pin<Box<dyn Future<Output = Result<(), TimerError>> + Send + 'a>>;

/// Why a timer is not armed or not stopped.
#[derive(Debug, thiserror::Error)]
#[error("the rollback timer of change {id} could not be {what}")]
pub struct TimerError {
    /// The change.
    pub id: Uuid,
    /// What was tried.
    pub what: &'static str,
    /// Why it failed.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// Something outside the daemon that undoes a change when its time is up.
pub trait RollbackTimer: fmt::Debug + Send + Sync + 'static {
    /// Undoes `id` after `after` unless stopped before.
    fn arm(&self, id: Uuid, after: Duration) -> Answer<'_>;

    /// Forgets `id`; not an error if it is not armed.
    fn stop(&self, id: Uuid) -> Answer<'_>;
}

/// For machines without a service manager, and for tests: the daemon's own timer and the next start are all there is.
#[derive(Debug, Clone, Copy)]
pub struct NoTimer;

impl RollbackTimer for NoTimer {
    fn arm(&self, _id: Uuid, _after: Duration) -> Answer<'_> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn stop(&self, _id: Uuid) -> Answer<'_> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// A transient timer of systemd that runs the bridge's own `rollback ID`.
#[derive(Debug, Clone)]
pub struct SystemdTimer {
    units: Arc<dyn Units>,
    command: Vec<String>,
}

impl SystemdTimer {
    /// A timer that runs `command`, such as `satellite-bridge --config FILE`, with `rollback ID` behind it.
    #[must_use]
    pub fn new(units: Arc<dyn Units>, command: Vec<String>) -> Self {
        Self { units, command }
    }
}

/// The name of the timer and of the service that it starts, without the ending.
fn unit(id: Uuid) -> String {
    format!("satellite-rollback-{id}")
}

impl RollbackTimer for SystemdTimer {
    fn arm(&self, id: Uuid, after: Duration) -> Answer<'_> {
        Box::pin(async move {
            let mut command = self.command.clone();
            command.extend(["rollback".to_owned(), id.to_string()]);
            let after = after.saturating_add(GRACE);
            let armed = self.units.start_timer(&unit(id), after, &command).await;
            armed.map_err(|source| TimerError {
                id,
                what: "armed",
                source: source.into(),
            })
        })
    }

    fn stop(&self, id: Uuid) -> Answer<'_> {
        Box::pin(async move {
            let stopped = self.units.stop_timer(&unit(id)).await;
            stopped.map_err(|source| TimerError {
                id,
                what: "stopped",
                source: source.into(),
            })
        })
    }
}
