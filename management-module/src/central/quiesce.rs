//! Stops services of the central while its data is read or written, and starts them again whatever happens.
//!
//! **Invariant:** a unit that was not running is not started; one that was stopped here is started again on drop.

use std::process::Stdio;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::error;

use super::command::{self, CommandError};

const DEADLINE: Duration = Duration::from_secs(120);

/// Units that are stopped as long as this lives.
#[derive(Debug, Default)]
pub struct Quiesced {
    units: Vec<String>,
}

impl Quiesced {
    /// Stops those of `units` that run.
    ///
    /// # Errors
    ///
    /// [`CommandError`] of the unit that could not be stopped; the others are started again.
    pub fn stop(units: &[String]) -> Result<Self, CommandError> {
        let mut stopped = Self::default();
        for unit in units {
            if systemctl(&["is-active", "--quiet", unit]).is_err() {
                continue;
            }
            // Noted first: a stop that failed half way is undone as well.
            stopped.units.push(unit.clone());
            systemctl(&["stop", unit])?;
        }
        Ok(stopped)
    }
}

impl Drop for Quiesced {
    fn drop(&mut self) {
        for unit in &self.units {
            if let Err(err) = systemctl(&["start", unit]) {
                error!(unit, error = %err, "A service that was stopped for the backup could not be started again");
            }
        }
    }
}

fn systemctl(args: &[&str]) -> Result<(), CommandError> {
    let argv: Vec<String> = std::iter::once("systemctl")
        .chain(args.iter().copied())
        .map(str::to_owned)
        .collect();
    // Not cancelled with the work: what was stopped must be started.
    let never = CancellationToken::new();
    command::start(&argv, Stdio::null(), Stdio::null(), DEADLINE, &never)?.finish()
}
