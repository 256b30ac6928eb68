//! Reads the record of the installation at start, and keeps the satellite startable whatever it finds.
//!
//! **Invariant:** a record that is damaged gives nobody any right, stops nothing, and is never overwritten unseen: it is
//! kept under another name until the person at the console lets go of it.

use std::path::{Path, PathBuf};

use satellite_host::files;
use satellite_proto::{identity::Identity, tls::ServerTls};

use super::Membership;
use crate::journal::{self, JournalError};

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Who the satellite belongs to.
    pub(super) membership: Option<Membership>,
    /// What the person at the console has to know.
    pub(super) problem: String,
}

/// Reads the record at `path`. One that is damaged, or whose certificate TLS does not take, is set aside.
pub(super) fn read(path: &Path, identity: &Identity) -> Found {
    let error = match journal::read::<Membership>(path) {
        Ok(None) => return without_record(path),
        Ok(Some(membership)) => match ServerTls::new(identity, &membership.trust()) {
            Ok(_) => {
                return Found {
                    membership: Some(membership),
                    problem: String::new(),
                };
            }
            Err(error) => crate::cli::error_chain(&error),
        },
        Err(error @ JournalError::Damaged { .. }) => crate::cli::error_chain(&error),
        Err(error) => {
            // The disk, not the record: it may be read at the next start.
            tracing::error!(error = %crate::cli::error_chain(&error), "Record of the installation cannot be read: nobody is trusted");
            return Found {
                problem:
                    "the record of the installation cannot be read: check the disk and restart the satellite"
                        .to_owned(),
                ..Found::default()
            };
        }
    };
    let kept = aside(path);
    tracing::error!(error, kept = %kept.display(), "Record of the installation is damaged: nobody is trusted");
    if let Err(error) = files::rename(path, &kept) {
        tracing::error!(error = %crate::cli::error_chain(&error), "Damaged record cannot be set aside");
    }
    Found {
        problem: damaged(&kept),
        ..Found::default()
    }
}

/// Whether anything is recorded, damaged or not.
pub(super) fn is_there(path: &Path) -> bool {
    path.exists() || aside(path).exists()
}

/// Forgets what was set aside.
///
/// # Errors
///
/// As for [`journal::remove`].
pub(super) fn forget_damaged(path: &Path) -> Result<(), JournalError> {
    journal::remove(&aside(path))
}

fn without_record(path: &Path) -> Found {
    let kept = aside(path);
    let problem = if kept.exists() {
        damaged(&kept)
    } else {
        String::new()
    };
    Found {
        problem,
        ..Found::default()
    }
}

fn damaged(kept: &Path) -> String {
    format!(
        "the record of the installation was damaged and is kept as {}: pair the satellite anew",
        kept.display()
    )
}

fn aside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".damaged");
    PathBuf::from(name)
}
