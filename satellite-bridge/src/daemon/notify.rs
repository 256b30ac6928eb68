//! The daemon as a service: tells the service manager how it is, and ends on a signal.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};

use super::{Daemon, DaemonError, Options};
use crate::config::Config;

/// Runs the daemon until SIGTERM or SIGINT, or until a part of it stops by itself.
///
/// # Errors
///
/// [`DaemonError`]: it did not start, or a part stopped.
pub async fn run_until_signalled(config: &Config) -> Result<(), DaemonError> {
    let failed = |source| DaemonError::Path {
        path: "signals".into(),
        source,
    };
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut daemon = Daemon::start(config, Options::of_the_machine()).await?;
    tell(&[NotifyState::Ready]);
    let ended = tokio::select! {
        error = daemon.failed() => Err(error),
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        () = feed_watchdog() => Ok(()),
    };
    tell(&[NotifyState::Stopping]);
    tracing::info!("Daemon stops");
    daemon.stop().await;
    ended
}

/// Tells the service manager that the runtime still turns, at half the time it asks for.
async fn feed_watchdog() {
    let Some(period) = sd_notify::watchdog_enabled() else {
        return std::future::pending().await;
    };
    let mut pulse = tokio::time::interval((period / 2).max(Duration::from_millis(100)));
    loop {
        pulse.tick().await;
        tell(&[NotifyState::Watchdog]);
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "Service manager not told");
    }
}
