//! The console menu.
//!
//! **Invariant:** nothing here leaves to a shell, and nothing here touches the machine: the daemon does.

pub mod client;

use crate::config::Config;

/// Shows the menu.
///
/// # Errors
///
/// None yet.
pub async fn run(_: &Config) -> Result<(), client::ClientError> {
    Ok(())
}
