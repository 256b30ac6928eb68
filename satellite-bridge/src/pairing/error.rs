//! Why pairing, or a change of it, is refused, and how a caller is told.

use satellite_host::files::FileError;
use satellite_proto::{pairing::PROTOCOL_VERSION, tls::TlsError};
use tonic::{Code as StatusCode, Status};

use super::MOST_REVOKED;
use crate::journal::JournalError;

/// Why pairing, or a change of it, was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PairingError {
    /// Another protocol.
    #[error(
        "this satellite pairs by protocol version {PROTOCOL_VERSION}, not {0}: use versions that fit together"
    )]
    Version(u32),
    /// A name that cannot be shown.
    #[error("the server's name must have 1 to 63 printable characters")]
    Name,
    /// The manager's certificates are not an administrator's leaf and its installation.
    #[error(
        "the manager must come with an administrator's leaf and the installation's certificate that issued it"
    )]
    Chain,
    /// Nobody at the console wants to pair.
    #[error("no pairing window is open: open one at the satellite's console")]
    NoWindow,
    /// There is an installation already.
    #[error("the satellite is paired already: disconnect it first")]
    Paired,
    /// There is none.
    #[error("the satellite is not paired")]
    NotPaired,
    /// The code was wrong, or somebody is in between.
    #[error("the proof is wrong: check the code that the console shows")]
    Proof,
    /// Too many.
    #[error("{MOST_REVOKED} keys are revoked already: pair the satellite anew")]
    TooManyRevoked,
    /// The key of a copy cannot be removed.
    #[error("the copied key cannot be removed: check the disk of the satellite")]
    Key(#[source] FileError),
    /// The disk does not take it.
    #[error("the change cannot be recorded: check the disk of the satellite")]
    Record(#[source] JournalError),
    /// TLS does not take it.
    #[error("the change of trust was refused")]
    Tls(#[source] TlsError),
    /// No random numbers.
    #[error("no code can be made")]
    NoRandomness,
}

impl From<PairingError> for Status {
    fn from(error: PairingError) -> Self {
        use PairingError as E;
        let code = match &error {
            E::Version(_) => StatusCode::Unimplemented,
            E::Name | E::Chain => StatusCode::InvalidArgument,
            E::NoWindow | E::Paired | E::NotPaired => StatusCode::FailedPrecondition,
            E::Proof => StatusCode::PermissionDenied,
            E::TooManyRevoked => StatusCode::ResourceExhausted,
            E::Record(_) | E::Key(_) | E::Tls(_) | E::NoRandomness => StatusCode::Internal,
        };
        Self::new(code, error.to_string())
    }
}
