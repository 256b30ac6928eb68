//! What was confirmed last, on disk.
//!
//! **Invariant:** writing the file is the one step that makes a change final. It carries the id of the change, so that
//! a crash between it and the removal of the change's record is understood.

use std::path::{Path, PathBuf};

use satellite_host::files::{self, FileError};
use satellite_proto::bundle::Digest;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{FirewallError, Ruleset};

/// Largest file that is read, in bytes.
const LIMIT: u64 = 128 * 1024 * 1024;

/// The ruleset that a start of the machine puts in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Confirmed {
    /// The rules.
    pub(super) ruleset: Ruleset,
    /// The change that brought them; none if they were reset on the console.
    pub(super) change: Option<Uuid>,
}

/// The directory in which the file lies.
#[derive(Debug, Clone)]
pub(super) struct Store {
    path: PathBuf,
}

impl Store {
    /// The store of the satellite whose state is in `state_dir`.
    #[must_use]
    pub(super) fn new(state_dir: &Path) -> Self {
        Self {
            path: state_dir.join("firewall").join("confirmed.json"),
        }
    }

    /// What was confirmed last: the shipped rules if there is nothing, or nothing that makes sense. The shipped rules
    /// let nobody in but the server, so they are safe and still let it repair the rest.
    ///
    /// # Errors
    ///
    /// [`FirewallError::Store`] if the file is there but cannot be read.
    pub(super) fn load(&self) -> Result<Confirmed, FirewallError> {
        let shipped = || Confirmed {
            ruleset: Ruleset::shipped(),
            change: None,
        };
        let Some(bytes) = files::read(&self.path, LIMIT).map_err(FirewallError::Store)? else {
            return Ok(shipped());
        };
        match serde_json::from_slice(&bytes) {
            Ok(confirmed) => Ok(confirmed),
            Err(err) => {
                tracing::error!(error = %err, "The stored firewall rules make no sense; using the shipped ones");
                Ok(shipped())
            }
        }
    }

    /// Makes the shipped rules what the next start puts in force. Needs no space: this is also the way out for a
    /// person at a satellite whose disk is full.
    ///
    /// # Errors
    ///
    /// [`FirewallError::Store`]: what was confirmed before still is.
    pub(super) fn forget(&self) -> Result<(), FirewallError> {
        files::remove(&self.path).map(drop).map_err(FirewallError::Store)
    }

    /// Makes `confirmed` what the next start puts in force.
    ///
    /// # Errors
    ///
    /// [`FirewallError::Store`]: what was confirmed before still is.
    pub(super) fn save(&self, confirmed: &Confirmed) -> Result<(), FirewallError> {
        let bytes = serde_json::to_vec(confirmed).map_err(FirewallError::Encode)?;
        let dir = self.path.parent().unwrap_or(&self.path);
        let write = || -> Result<(), FileError> {
            files::create_dir(dir, 0o700)?;
            files::write_atomic(&self.path, &bytes, 0o600)
        };
        write().map_err(FirewallError::Store)
    }
}

/// What names a ruleset: the SHA-256 of its JSON, as 64 hexadecimal digits. Equal rulesets have equal names.
///
/// # Errors
///
/// [`FirewallError::Encode`] if it cannot be put into words.
pub(super) fn revision(ruleset: &Ruleset) -> Result<String, FirewallError> {
    let bytes = serde_json::to_vec(ruleset).map_err(FirewallError::Encode)?;
    Ok(Digest::of(&bytes).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::firewall::Action;

    #[test]
    fn nothing_stored_means_the_shipped_rules() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Store::new(dir.path()).load().unwrap().ruleset, Ruleset::shipped());
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        let ruleset = Ruleset::new(Vec::new(), Action::Reject, Action::Drop).unwrap();
        let confirmed = Confirmed {
            ruleset,
            change: Some(Uuid::new_v4()),
        };
        store.save(&confirmed).unwrap();
        assert_eq!(store.load().unwrap(), confirmed);
        store.forget().unwrap();
        assert_eq!(store.load().unwrap().ruleset, Ruleset::shipped());
        store.forget().unwrap();
    }

    #[test]
    fn what_makes_no_sense_means_the_shipped_rules() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        files::create_dir(&dir.path().join("firewall"), 0o700).unwrap();
        let wrong = r#"{"ruleset":{"rules":[],"default_in":"open","default_out":"accept"},"change":null}"#;
        files::write_atomic(
            &dir.path().join("firewall/confirmed.json"),
            wrong.as_bytes(),
            0o600,
        )
        .unwrap();
        assert_eq!(store.load().unwrap().ruleset, Ruleset::shipped());
    }

    #[test]
    fn a_revision_names_the_content() {
        let shipped = revision(&Ruleset::shipped()).unwrap();
        assert_eq!(shipped, revision(&Ruleset::shipped()).unwrap());
        assert_eq!(shipped.len(), 64);
        let other = Ruleset::new(Vec::new(), Action::Accept, Action::Accept).unwrap();
        assert_ne!(shipped, revision(&other).unwrap());
    }
}
