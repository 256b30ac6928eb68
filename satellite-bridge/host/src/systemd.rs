//! The service manager: units are started, stopped and looked at, timers are made that outlive this process.
//!
//! **Invariant:** a call that starts or stops something returns when systemd says that the job is over, or fails at
//! its deadline; it never polls.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use jiff::Timestamp;

#[cfg(any(test, feature = "testing"))]
mod fake;
mod manager;

#[cfg(any(test, feature = "testing"))]
pub use fake::{Behaviour, FakeUnits};
pub use manager::SystemUnits;

/// How long one answer of the service manager may take, jobs excepted.
pub const CALL_DEADLINE: Duration = Duration::from_secs(25);

/// What could not be done with a unit.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnitError {
    /// The service manager cannot be reached.
    #[error("cannot reach the service manager")]
    Connect {
        /// Why.
        #[source]
        source: zbus::Error,
    },
    /// It refused, or the connection broke.
    #[error("the service manager did not {action} {unit}")]
    Call {
        /// What was asked for.
        action: &'static str,
        /// Of which unit.
        unit: String,
        /// Why not.
        #[source]
        source: Box<zbus::Error>,
    },
    /// The job ended otherwise than asked for.
    #[error("cannot {action} {unit}: the job ended as `{result}`")]
    Job {
        /// What was asked for.
        action: &'static str,
        /// Of which unit.
        unit: String,
        /// How systemd says it ended: "failed", "timeout", "dependency"…
        result: String,
    },
    /// It took too long.
    #[error("cannot {action} {unit}: not done after {deadline:?}")]
    Deadline {
        /// What was asked for.
        action: &'static str,
        /// Of which unit.
        unit: String,
        /// How long was waited.
        deadline: Duration,
    },
    /// It answered something that it should not.
    #[error("the service manager's answer about {unit} is not understood: {fault}")]
    Answer {
        /// Which unit.
        unit: String,
        /// What is wrong with it.
        fault: String,
    },
}

impl UnitError {
    /// Whether the same call may succeed later without anybody doing something.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Connect { .. } | Self::Deadline { .. })
    }
}

/// Whether a unit runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// It does not run.
    Inactive,
    /// It is being started, or waits to be restarted.
    Activating,
    /// It runs.
    Active,
    /// It is being stopped.
    Deactivating,
    /// It ended with an error and is not restarted.
    Failed,
}

/// What the service manager knows of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitStatus {
    /// Whether it runs.
    pub activity: Activity,
    /// The same in systemd's finer words: "running", "auto-restart", "dead"…
    pub detail: String,
    /// How the last run ended: "success", "exit-code", "signal", "oom-kill", "watchdog"…
    pub result: String,
    /// Its main process, if there is one.
    pub main_pid: Option<u32>,
    /// Restarts by the service manager since somebody last started it.
    pub restarts: u32,
    /// When its main process was started.
    pub started: Option<Timestamp>,
    /// Bytes of memory, where the machine counts them.
    pub memory: Option<u64>,
}

impl UnitStatus {
    /// A unit that does not run and has not run.
    #[must_use]
    pub fn inactive() -> Self {
        Self {
            activity: Activity::Inactive,
            detail: "dead".to_owned(),
            result: "success".to_owned(),
            main_pid: None,
            restarts: 0,
            started: None,
            memory: None,
        }
    }
}

/// What a call of [`Units`] returns.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, UnitError>> + Send + 'a>>;

/// The seam between our decisions and the machine's service manager.
pub trait Units: fmt::Debug + Send + Sync + 'static {
    /// Reads all unit files anew.
    fn reload(&self) -> Answer<'_, ()>;

    /// Starts `unit` and waits until the job is over.
    fn start<'a>(&'a self, unit: &'a str, deadline: Duration) -> Answer<'a, ()>;

    /// Stops `unit` and waits until the job is over. A unit that is not known is stopped.
    fn stop<'a>(&'a self, unit: &'a str, deadline: Duration) -> Answer<'a, ()>;

    /// Forgets that `unit` failed, and how often it was restarted. A unit that is not known did not fail.
    fn reset_failed<'a>(&'a self, unit: &'a str) -> Answer<'a, ()>;

    /// What is known of the service `unit`; one that is not known is inactive.
    fn status<'a>(&'a self, unit: &'a str) -> Answer<'a, UnitStatus>;

    /// At most `lines` of what `unit` wrote last, and not before `since`, oldest first; nothing if it cannot be read.
    fn log_tail<'a>(
        &'a self,
        unit: &'a str,
        lines: u32,
        since: Timestamp,
    ) -> Pin<Box<dyn Future<Output = Vec<String>> + Send + 'a>>;

    /// Runs `command` once after `after`, also if this process is gone by then (but not after a reboot). `name` is that
    /// of the timer without its ending; one with that name is replaced.
    fn start_timer<'a>(&'a self, name: &'a str, after: Duration, command: &'a [String]) -> Answer<'a, ()>;

    /// Stops the timer `name`, if there is one; what it may have started already is left alone.
    fn stop_timer<'a>(&'a self, name: &'a str) -> Answer<'a, ()>;

    /// Begins to restart the machine, in order.
    fn reboot(&self) -> Answer<'_, ()>;

    /// Begins to switch the machine off, in order.
    fn power_off(&self) -> Answer<'_, ()>;
}
