//! Stops services of the central while its data is read or written, and starts them again whatever happens.
//!
//! **Invariants:** a unit that was not running is not started. One that is stopped here is in a note on the disk before it is
//! stopped, and started again on drop or, if this process was killed, at the next start of the module.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::command::{self, CommandError};
use crate::files;

const DEADLINE: Duration = Duration::from_secs(120);

/// Why services could not be stopped; those that were are started again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QuiesceError {
    /// It could not be written down, so nothing was stopped.
    #[error("cannot write down in `{}` which services are stopped", path.display())]
    Note {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The service manager did not stop one.
    #[error(transparent)]
    Stop(CommandError),
}

/// Where it is noted which services are stopped. A cheap handle.
#[derive(Debug, Clone)]
pub struct StopNotes {
    directory: PathBuf,
    systemctl: PathBuf,
}

/// What one note says.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Note {
    units: Vec<String>,
}

impl StopNotes {
    /// Notes in `directory`, which is made when it is needed.
    #[must_use]
    pub fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            systemctl: PathBuf::from("systemctl"),
        }
    }

    /// The same with another program in place of systemctl.
    #[cfg(test)]
    pub(super) fn with_systemctl(directory: PathBuf, systemctl: PathBuf) -> Self {
        Self { directory, systemctl }
    }

    /// Starts what a process left stopped that was killed. Waits for nothing but the service manager's word that it will:
    /// this may be called while the machine starts and those services wait for us.
    ///
    /// # Errors
    ///
    /// The notes cannot be listed. One that cannot be read, or whose services are not started, stays and is logged.
    pub fn start_again(&self) -> io::Result<()> {
        let notes = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        for path in notes
            .map(|entry| Ok(entry?.path()))
            .collect::<io::Result<Vec<_>>>()?
        {
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let note = fs::read(&path).and_then(|bytes| Ok(serde_json::from_slice::<Note>(&bytes)?));
            match note {
                Ok(note) => {
                    warn!(units = ?note.units, "Services are started that an interrupted backup or restore left stopped");
                    self.start(&path, note.units, &["start", "--no-block"]);
                }
                Err(error) => {
                    error!(path = %path.display(), %error, "Note of stopped services cannot be read: start them by hand");
                }
            }
        }
        Ok(())
    }

    /// Starts `units`; the note keeps those that do not.
    fn start(&self, path: &Path, units: Vec<String>, how: &[&str]) {
        let starts = |unit: &String| match self.ask(&[how, &[unit.as_str()]].concat()) {
            Ok(()) => true,
            Err(err) => {
                error!(
                    unit,
                    error = %crate::error_chain(&err),
                    "A service that was stopped could not be started again; it is tried at the next start of the module"
                );
                false
            }
        };
        let left: Vec<String> = units.into_iter().filter(|unit| !starts(unit)).collect();
        let noted = if left.is_empty() {
            fs::remove_file(path).and_then(|()| files::sync_directory(&self.directory))
        } else {
            self.write(path, &Note { units: left })
        };
        if let Err(error) = noted {
            warn!(path = %path.display(), %error, "Note of stopped services is not up to date");
        }
    }

    fn write(&self, path: &Path, note: &Note) -> io::Result<()> {
        files::make_directory(&self.directory, 0o700)?;
        files::write_atomic(path, &serde_json::to_vec(note)?, 0o600)
    }

    fn ask(&self, args: &[&str]) -> Result<(), CommandError> {
        let argv: Vec<String> = std::iter::once(self.systemctl.to_string_lossy().into_owned())
            .chain(args.iter().map(|&arg| arg.to_owned()))
            .collect();
        // Not cancelled with the work: what was stopped must be started.
        let never = CancellationToken::new();
        command::start(&argv, Stdio::null(), Stdio::null(), DEADLINE, &never)?.finish()
    }
}

/// Units that are stopped as long as this lives.
#[derive(Debug)]
pub struct Quiesced {
    notes: StopNotes,
    path: PathBuf,
    units: Vec<String>,
}

impl Quiesced {
    /// Stops those of `units` that run.
    ///
    /// # Errors
    ///
    /// [`QuiesceError`]; what had been stopped by then is started again.
    pub fn stop(units: &[String], notes: &StopNotes) -> Result<Self, QuiesceError> {
        let name = format!("{}.json", uuid::Uuid::now_v7().simple());
        let mut stopped = Self {
            path: notes.directory.join(name),
            notes: notes.clone(),
            units: Vec::new(),
        };
        for unit in units {
            if notes.ask(&["is-active", "--quiet", unit]).is_err() {
                continue;
            }
            // Noted first: a stop that failed half way, or was never answered, is undone as well.
            stopped.units.push(unit.clone());
            let note = Note {
                units: stopped.units.clone(),
            };
            if let Err(source) = notes.write(&stopped.path, &note) {
                stopped.units.pop();
                let path = stopped.path.clone();
                return Err(QuiesceError::Note { path, source });
            }
            notes.ask(&["stop", unit]).map_err(QuiesceError::Stop)?;
        }
        Ok(stopped)
    }
}

impl Drop for Quiesced {
    fn drop(&mut self) {
        if !self.units.is_empty() {
            let units = std::mem::take(&mut self.units);
            self.notes.start(&self.path, units, &["start"]);
        }
    }
}

#[cfg(test)]
mod tests;
