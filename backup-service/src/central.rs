//! Centrals that are read and restored over SSH, from here: [`read`] makes members of what is there, [`restore`] writes
//! members back, [`remove`] removes what was archived, [`Central::measure`] and [`Central::lacks`] look only. What may be read, written and run is in the [`plan`] of the call.
//!
//! **Invariants:** a credential lives as long as its call; nothing is asked of a central whose key was not confirmed; no
//! symbolic link below a configured path is followed on purpose, and one that is put in the way is found before anything is kept.

mod ask;
mod exec;
mod feed;
pub mod plan;
pub mod read;
pub mod remove;
pub mod restore;
mod seen;
mod sftp;
mod walk;

use std::time::Duration;

pub use self::exec::ExecError;
use self::plan::DataSet;
use self::sftp::{Sftp, SftpError};
pub use self::walk::Measured;
use crate::archive::names::escape;
use crate::destination::fault::Fault;
use crate::ssh::{self, Login, Ssh};

/// Where a test may kill the process at work on a central.
pub const FAIL_POINTS: &[&str] = &[
    "central.stopped",
    "central.read",
    "central.noted",
    "central.held",
    "central.writing",
    "central.placed",
    "central.given",
    "central.removed",
];

/// How long all work on a central may stand still.
pub const STALL: Duration = Duration::from_secs(300);

/// Why the work on a central ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CentralError {
    /// The line or the sign-in.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// A program.
    #[error(transparent)]
    Exec(#[from] ExecError),
    /// A dump that failed: what it prints is needed whole.
    #[error("data set `{data_set}`: the command for `{name}` did not succeed")]
    Command {
        /// The data set.
        data_set: String,
        /// The file that it should have made, or was to take.
        name: String,
        /// Why.
        #[source]
        source: Box<Self>,
    },
    /// A service was not stopped.
    #[error("data set `{data_set}`: a service could not be stopped for the time of the work")]
    Quiesce {
        /// The data set.
        data_set: String,
        /// Why.
        #[source]
        source: Box<Self>,
    },
    /// Nothing of a data set is there.
    #[error("data set `{data_set}`: none of its paths exists on the central; correct its profile")]
    NothingThere {
        /// The data set.
        data_set: String,
    },
    /// The archive that is restored.
    #[error("{0}")]
    Archive(String),
    /// Our own disk.
    #[error("cannot {what} on the machine of the backup-service")]
    Own {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Something else.
    #[error("{0}")]
    Other(String),
    /// Who wanted it is gone.
    #[error("the work was cancelled")]
    Cancelled,
}

/// A central that was signed in to.
pub struct Central {
    // The conversation ends before its line.
    sftp: Sftp,
    ssh: Ssh,
    login: Login,
}

impl std::fmt::Debug for Central {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Central")
            .field("login", &self.login)
            .finish_non_exhaustive()
    }
}

impl Central {
    /// Connects, compares the key, signs in.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn connect(login: Login) -> Result<Self, Fault> {
        let ssh = ssh::connect(&login).await?;
        let sftp = Sftp::begin(&ssh, &login).await?;
        Ok(Self { sftp, ssh, login })
    }

    /// Ends it in good order.
    pub async fn leave(self) {
        drop(self.sftp);
        if !self.ssh.leave().await {
            tracing::debug!(at = self.login.at(), "The central was gone before it was left");
        }
    }

    fn cut(&self, error: &SftpError) -> CentralError {
        CentralError::Fault(self.ssh.cut(error.to_string()))
    }

    /// What the data sets hold, without what commands print.
    ///
    /// # Errors
    /// [`CentralError::Fault`].
    pub async fn measure(&self, sets: &[DataSet]) -> Result<Vec<Measured>, CentralError> {
        let mut measured = Vec::new();
        for set in sets {
            measured.push(walk::measure(self, set).await?);
        }
        Ok(measured)
    }

    /// What the data sets name and the central has not: paths and programs, each with its data set.
    ///
    /// # Errors
    /// [`CentralError`].
    pub async fn lacks(&self, sets: &[DataSet]) -> Result<Vec<(String, Lack)>, CentralError> {
        let mut lacks = Vec::new();
        let mut programs: Vec<(String, String)> = Vec::new();
        for set in sets {
            let name = set.name.to_string();
            for path in &set.paths {
                match self.sftp.look(path).await {
                    Ok(_) => {}
                    Err(error) if error.is_cut() => return Err(self.cut(&error)),
                    Err(_) => lacks.push((name.clone(), Lack::Path(path.to_vec()))),
                }
            }
            let words = set
                .commands
                .iter()
                .flat_map(|command| [&command.run, &command.restore]);
            let mut wanted: Vec<_> = words.filter_map(|words| words.first().cloned()).collect();
            if !set.commands.is_empty() {
                wanted.push("timeout".to_owned());
            }
            if !set.quiesce.is_empty() {
                wanted.push("systemctl".to_owned());
            }
            for program in wanted {
                let one = (name.clone(), program);
                if !programs.contains(&one) {
                    programs.push(one);
                }
            }
        }
        if programs.is_empty() {
            return Ok(lacks);
        }
        let names: Vec<_> = programs.iter().map(|(_, program)| program.clone()).collect();
        let missing = match exec::lacking(&self.ssh, &names).await {
            Err(ExecError::NoShell { .. }) => {
                programs.dedup_by(|second, first| second.0 == first.0);
                let shells = programs
                    .into_iter()
                    .map(|(set, _)| (set, Lack::Program("sh".to_owned())));
                lacks.extend(shells);
                return Ok(lacks);
            }
            missing => missing?,
        };
        let lacking = programs
            .into_iter()
            .filter(|(_, program)| missing.contains(program));
        lacks.extend(lacking.map(|(set, program)| (set, Lack::Program(program))));
        Ok(lacks)
    }
}

/// Something that a data set names and the central has not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lack {
    /// A path.
    Path(Vec<u8>),
    /// A program.
    Program(String),
}

/// A path as a person reads it.
fn shown(path: &[u8]) -> String {
    escape(path)
}
