//! Where whoever made the machine may have left a token.
//!
//! The service manager gathers credentials of the hypervisor (SMBIOS type 11, fw_cfg) and of a container's manager; what
//! lies on a disk beside ours (OVF environment, NoCloud seed) is gathered by [`super::seed`].
//!
//! **Invariant:** a source is read and nothing else; what is too long is none.

use std::path::{Path, PathBuf};

use satellite_host::files;
use satellite_proto::join::LONGEST;

/// Name of the credential, and of the key elsewhere.
pub const NAME: &str = "satellite.join-token";

/// The text of a token, and where it was found.
#[must_use]
pub fn find() -> Option<(&'static str, String)> {
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(|dir| PathBuf::from(dir).join(NAME));
    Some(("credential", read(&credentials?)?))
}

fn read(path: &Path) -> Option<String> {
    let limit = u64::try_from(LONGEST).unwrap_or(u64::MAX);
    let bytes = match files::read(path, limit) {
        Ok(bytes) => bytes?,
        Err(error) => {
            tracing::error!(error = %crate::cli::error_chain(&error), "Join token not read");
            return None;
        }
    };
    let text = String::from_utf8_lossy(&bytes).trim().to_owned();
    (!text.is_empty()).then_some(text)
}
