//! What of pairing is shown at the console.

use jiff::Timestamp;
use satellite_proto::pairing::Code;

use super::Stage;

/// What the console shows of pairing.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Overview {
    /// Where it stands.
    pub stage: Stage,
    /// The server's name, empty without one.
    pub server_name: String,
    /// The open window.
    pub window: Option<WindowView>,
    /// When the installation was last heard since the daemon started.
    pub seen: Option<Timestamp>,
    /// The last thing that went wrong.
    pub last_error: String,
}

/// An open window, for the console only.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct WindowView {
    /// What to show.
    pub code: Code,
    /// When it closes.
    pub expires: Timestamp,
    /// Wrong proofs that it still bears.
    pub tries_left: u32,
}
