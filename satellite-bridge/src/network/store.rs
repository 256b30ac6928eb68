//! What was confirmed last, on disk.
//!
//! **Invariant:** writing the file is the one step that makes a change final. It carries the id of the change, so that
//! a crash between it and the removal of the change's record is understood.

use std::path::{Path, PathBuf};

use satellite_host::files::{self, FileError};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{NetworkError, Settings, check};

/// Largest file that is read, in bytes.
const LIMIT: u64 = 256 * 1024;

/// What a start of the machine puts in force.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Confirmed {
    /// The settings.
    pub(super) settings: Settings,
    /// The change that brought them; none if they are the shipped ones.
    pub(super) change: Option<Uuid>,
    /// What was confirmed before them.
    pub(super) last_good: Option<Settings>,
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
            path: state_dir.join("network").join("confirmed.json"),
        }
    }

    /// What was confirmed last: the shipped settings if there is nothing, or nothing that makes sense. With them the
    /// satellite asks the network for an address, and can still be found and repaired.
    ///
    /// # Errors
    ///
    /// [`NetworkError::Store`] if the file is there but cannot be read.
    pub(super) fn load(&self) -> Result<Confirmed, NetworkError> {
        let Some(bytes) = files::read(&self.path, LIMIT).map_err(NetworkError::Store)? else {
            return Ok(Confirmed::default());
        };
        let confirmed: Confirmed = match serde_json::from_slice(&bytes) {
            Ok(confirmed) => confirmed,
            Err(err) => {
                tracing::error!(error = %err, "The stored network settings make no sense; using the shipped ones");
                return Ok(Confirmed::default());
            }
        };
        if let Err(fault) = check::whole(&confirmed.settings) {
            tracing::error!(%fault, "The stored network settings are wrong; using the shipped ones");
            return Ok(Confirmed::default());
        }
        Ok(confirmed)
    }

    /// Makes `confirmed` what the next start puts in force.
    ///
    /// # Errors
    ///
    /// [`NetworkError::Store`]: what was confirmed before still is.
    pub(super) fn save(&self, confirmed: &Confirmed) -> Result<(), NetworkError> {
        let bytes = serde_json::to_vec(confirmed).map_err(NetworkError::Encode)?;
        let dir = self.path.parent().unwrap_or(&self.path);
        let write = || -> Result<(), FileError> {
            files::create_dir(dir, 0o700)?;
            files::write_atomic(&self.path, &bytes, 0o600)
        };
        write().map_err(NetworkError::Store)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_stored_means_the_shipped_settings() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Store::new(dir.path()).load().unwrap(), Confirmed::default());
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        let json = r#"{"host-name":"berlin","port":"eth0","ipv4":{"method":"static","address":"192.0.2.7/24","gateway":null}}"#;
        let confirmed = Confirmed {
            settings: serde_json::from_str(json).unwrap(),
            change: Some(Uuid::new_v4()),
            last_good: Some(Settings::default()),
        };
        store.save(&confirmed).unwrap();
        assert_eq!(store.load().unwrap(), confirmed);
    }

    #[test]
    fn what_makes_no_sense_means_the_shipped_settings() {
        let dir = tempfile::tempdir().unwrap();
        files::create_dir(&dir.path().join("network"), 0o700).unwrap();
        let path = dir.path().join("network/confirmed.json");
        for wrong in [
            "{",
            r#"{"settings":{"vlan":9999},"change":null,"last_good":null}"#,
            r#"{"settings":{"mtu":600},"change":null,"last_good":null}"#,
        ] {
            files::write_atomic(&path, wrong.as_bytes(), 0o600).unwrap();
            assert_eq!(
                Store::new(dir.path()).load().unwrap(),
                Confirmed::default(),
                "{wrong}"
            );
        }
    }
}
