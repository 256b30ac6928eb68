//! The central's profile: the TOML as written, turned into a checked one.
//!
//! **Invariant:** a [`Profile`] has no fault: names are clean, paths absolute and apart, commands without a shell.
//! Every fault is reported at once, each with its line.

mod check;

use std::path::{Path, PathBuf};
use std::time::Duration;

use globset::GlobSet;
use jiff::Timestamp;

/// What a central holds and how it is read and brought back.
#[derive(Debug, Clone)]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// Its address, as lists show it.
    pub address: String,
    /// Its tenant.
    pub tenant: String,
    /// Its data sets, in the order in which they are read.
    pub data_sets: Vec<DataSet>,
}

/// A part of a central's data that can be chosen by itself.
#[derive(Debug, Clone)]
pub struct DataSet {
    /// Its name.
    pub name: String,
    /// What it is, for a person.
    pub description: String,
    /// It can grow large.
    pub can_be_large: bool,
    /// Absolute paths, none below another.
    pub paths: Vec<PathBuf>,
    /// What is left out, matched against absolute paths.
    pub excludes: GlobSet,
    /// The same as it was written, for a satellite that reads the central itself.
    pub patterns: Vec<String>,
    /// Programs whose output is a file of the data set.
    pub commands: Vec<DumpCommand>,
    /// systemd units that are stopped meanwhile.
    pub quiesce: Vec<String>,
    /// Further ones that are stopped while it is restored in place.
    pub quiesce_for_restore: Vec<String>,
    /// For archiving: only files that were last changed before; a profile does not say it.
    pub changed_before: Option<Timestamp>,
}

/// A program whose output is a file of the data set.
#[derive(Debug, Clone)]
pub struct DumpCommand {
    /// Name of the file in the archive.
    pub name: String,
    /// Program and arguments that print the content.
    pub run: Vec<String>,
    /// Program and arguments that take the content on stdin to bring it back; empty: there is none.
    pub restore: Vec<String>,
    /// How long either may take.
    pub deadline: Duration,
    /// Bytes that it prints, about, until there is an archive that says it; 0: nobody knows.
    pub estimate: u64,
}

/// Something that is wrong with a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Line, from 1.
    pub line: usize,
    /// What is wrong and what would be right.
    pub text: String,
}

/// A profile cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the profile has {} fault(s): {}", faults.len(), listed(faults))]
pub struct ProfileError {
    /// What is wrong, in the order of the lines.
    pub faults: Vec<Fault>,
}

impl Profile {
    /// Checks a profile.
    ///
    /// # Errors
    ///
    /// [`ProfileError`] with every fault that was found.
    pub fn parse(text: &str) -> Result<Self, ProfileError> {
        check::parse(text)
    }

    /// The data sets of these names in the profile's order; all of them if there are no names.
    ///
    /// # Errors
    ///
    /// The first name that the profile does not know.
    pub fn select(&self, names: &[String]) -> Result<Vec<DataSet>, String> {
        if let Some(unknown) = names.iter().find(|name| self.data_set(name).is_none()) {
            return Err(unknown.clone());
        }
        let chosen = |set: &&DataSet| names.is_empty() || names.contains(&set.name);
        Ok(self.data_sets.iter().filter(chosen).cloned().collect())
    }

    /// The data set of that name.
    #[must_use]
    pub fn data_set(&self, name: &str) -> Option<&DataSet> {
        self.data_sets.iter().find(|set| set.name == name)
    }
}

impl DataSet {
    /// Only the files of it that were last changed before: what can be moved into an archive. No command, no service.
    #[must_use]
    pub fn changed_before(self, limit: Timestamp) -> Self {
        Self {
            commands: Vec::new(),
            quiesce: Vec::new(),
            quiesce_for_restore: Vec::new(),
            changed_before: Some(limit),
            ..self
        }
    }

    /// Bytes that its commands print, as far as the profile knows.
    #[must_use]
    pub fn estimate(&self) -> u64 {
        let each = self.commands.iter().map(|command| command.estimate);
        each.fold(0, u64::saturating_add)
    }

    /// The configured path at which or below which `path` lies.
    #[must_use]
    pub fn root_of(&self, path: &Path) -> Option<&Path> {
        self.paths
            .iter()
            .map(PathBuf::as_path)
            .find(|root| path.starts_with(root))
    }

    /// The command whose output is stored under that name.
    #[must_use]
    pub fn command(&self, name: &[u8]) -> Option<&DumpCommand> {
        self.commands
            .iter()
            .find(|command| command.name.as_bytes() == name)
    }
}

fn listed(faults: &[Fault]) -> String {
    let lines: Vec<_> = faults
        .iter()
        .map(|fault| format!("line {}: {}", fault.line, fault.text))
        .collect();
    lines.join("; ")
}

#[cfg(test)]
mod tests;
