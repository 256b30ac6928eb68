//! What can stand in the way at a destination: for a person as text, for programs as a kind.

use std::io;

use bytes::Bytes;
use prost::Message as _;
use satellite_proto::wire::backup::v1 as pb;
use tonic::{Code, Status};

/// What stands in the way. The text says what happened, to what, and what to do; it never holds a credential.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The description is wrong.
    #[error("the destination is described wrongly: {0}")]
    Description(String),
    /// Nothing answers.
    #[error("{at} does not answer: {why}; check name, port, network and firewall")]
    Unreachable {
        /// Who.
        at: String,
        /// Why.
        why: String,
    },
    /// The connection ended.
    #[error("the connection to {at} was lost: {why}")]
    Cut {
        /// Who.
        at: String,
        /// Why.
        why: String,
    },
    /// The credentials are not taken.
    #[error("{at} refuses the sign-in: {why}; check user name and credentials")]
    SignIn {
        /// Who.
        at: String,
        /// What it said.
        why: String,
    },
    /// The key was never confirmed.
    #[error(
        "the key of {at} is not confirmed yet ({fingerprint}): compare it with the server's own and confirm it"
    )]
    HostKeyUnknown {
        /// Who.
        at: String,
        /// The key in the form in which it is stored.
        key: String,
        /// The key as people compare it.
        fingerprint: String,
    },
    /// The key is another.
    #[error(
        "{at} has another key ({fingerprint}) than the one that was confirmed: nothing was sent to it; it may be an impostor. \
         If the server was set up anew, confirm its new key"
    )]
    HostKeyChanged {
        /// Who.
        at: String,
        /// The key that it shows now.
        key: String,
        /// The key as people compare it.
        fingerprint: String,
    },
    /// The certificate is not trusted.
    #[error("the certificate of {at} is not trusted: {why}")]
    Certificate {
        /// Who.
        at: String,
        /// Why.
        why: String,
    },
    /// The clocks differ.
    #[error(
        "the clock of {at} and ours differ: {off}; it takes only what was signed just now: set the clock that is wrong"
    )]
    Clock {
        /// Who.
        at: String,
        /// By how much.
        off: String,
    },
    /// The place is not there.
    #[error("{what} is not there: make it, or correct the destination")]
    NoPlace {
        /// Share, directory or bucket.
        what: String,
    },
    /// The user may not.
    #[error("no permission to {what}: {why}; give the user the right to it")]
    Denied {
        /// What was tried.
        what: String,
        /// What was said.
        why: String,
    },
    /// Too little space.
    #[error(
        "it does not fit: {needed} bytes are needed and {available} are free at the destination; make room there"
    )]
    Full {
        /// Bytes.
        needed: u64,
        /// Bytes.
        available: u64,
    },
    /// A file may not be that large.
    #[error(
        "{needed} bytes are more than {at} takes as one file: {most}; choose fewer data sets or another destination"
    )]
    TooLarge {
        /// Who.
        at: String,
        /// Bytes.
        needed: u64,
        /// Bytes.
        most: u64,
    },
    /// The disk is not there.
    #[error("the disk {what} is not plugged in: plug it in and try again")]
    NotPluggedIn {
        /// Which.
        what: String,
    },
    /// Other bytes came back.
    #[error("what was read back from {path} is not what was written: {why}")]
    Damaged {
        /// Which.
        path: String,
        /// How.
        why: String,
    },
    /// It is encrypted.
    #[error(
        "{what} cannot be decrypted: {why}; give the key (`--identity`) or the passphrase that it was encrypted with"
    )]
    Locked {
        /// Which.
        what: String,
        /// Why.
        why: String,
    },
    /// No such thing.
    #[error("there is no {0}: list the copies to see which there are")]
    NotFound(String),
    /// This kind cannot.
    #[error("{0}")]
    Unsupported(String),
    /// It wants peace.
    #[error("{at} asks to try again later: {why}")]
    Busy {
        /// Who.
        at: String,
        /// What it said.
        why: String,
        /// How long it wants to be left alone.
        after: Option<std::time::Duration>,
    },
    /// Less security than is wanted.
    #[error("{at} does not offer the security that is wanted: {why}")]
    Security {
        /// Who.
        at: String,
        /// What is missing.
        why: String,
    },
    /// Two calls at once.
    #[error("{0} is being written by another call: try again when that has ended")]
    InProgress(String),
    /// Too little space on our own machine.
    #[error(
        "{needed} bytes are needed on the disk of the backup-service and {available} are free: delete archives there or make it larger"
    )]
    OwnFull {
        /// Bytes.
        needed: u64,
        /// Bytes.
        available: u64,
    },
    /// Our own machine.
    #[error("cannot {what} on the machine of the backup-service")]
    Own {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Something else that the destination said.
    #[error("{at} cannot {what}: {why}")]
    Other {
        /// Who.
        at: String,
        /// What was tried.
        what: String,
        /// What was said.
        why: String,
    },
}

impl Fault {
    /// Whether trying again may help without anybody doing anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. } | Self::Cut { .. } | Self::Busy { .. }
        )
    }

    /// What the system said about our own files.
    pub fn own(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Own { what, source }
    }

    /// For programs.
    #[must_use]
    pub fn on_the_wire(&self) -> pb::Fault {
        use pb::FaultKind as Kind;
        let (kind, needed_bytes, available_bytes) = match self {
            Self::Description(_) => (Kind::Description, 0, 0),
            Self::Unreachable { .. } => (Kind::Unreachable, 0, 0),
            Self::Cut { .. } => (Kind::Cut, 0, 0),
            Self::SignIn { .. } => (Kind::SignIn, 0, 0),
            Self::HostKeyUnknown { .. } => (Kind::HostKeyUnknown, 0, 0),
            Self::HostKeyChanged { .. } => (Kind::HostKeyChanged, 0, 0),
            Self::Certificate { .. } => (Kind::Certificate, 0, 0),
            Self::Clock { .. } => (Kind::Clock, 0, 0),
            Self::NoPlace { .. } => (Kind::NoPlace, 0, 0),
            Self::Denied { .. } => (Kind::Denied, 0, 0),
            Self::Full { needed, available } => (Kind::Full, *needed, *available),
            Self::TooLarge { needed, most, .. } => (Kind::TooLarge, *needed, *most),
            Self::NotPluggedIn { .. } => (Kind::NotPluggedIn, 0, 0),
            Self::Damaged { .. } => (Kind::Damaged, 0, 0),
            Self::Locked { .. } => (Kind::Locked, 0, 0),
            Self::NotFound(_) => (Kind::NotFound, 0, 0),
            Self::Unsupported(_) => (Kind::Unsupported, 0, 0),
            Self::Busy { .. } | Self::InProgress(_) => (Kind::Busy, 0, 0),
            Self::Security { .. } => (Kind::Security, 0, 0),
            Self::OwnFull { needed, available } => (Kind::OwnDisk, *needed, *available),
            Self::Own { .. } => (Kind::OwnDisk, 0, 0),
            Self::Other { .. } => (Kind::Unspecified, 0, 0),
        };
        pb::Fault {
            kind: kind.into(),
            needed_bytes,
            available_bytes,
        }
    }

    /// The answer to a call.
    #[must_use]
    pub fn status(&self) -> Status {
        let code = match self {
            Self::Description(_) => Code::InvalidArgument,
            Self::Unreachable { .. } | Self::Cut { .. } | Self::Busy { .. } => Code::Unavailable,
            Self::SignIn { .. }
            | Self::HostKeyUnknown { .. }
            | Self::HostKeyChanged { .. }
            | Self::Certificate { .. }
            | Self::Clock { .. }
            | Self::NoPlace { .. }
            | Self::Denied { .. }
            | Self::Locked { .. }
            | Self::Security { .. }
            | Self::Other { .. }
            | Self::NotPluggedIn { .. } => Code::FailedPrecondition,
            Self::Full { .. } | Self::OwnFull { .. } | Self::TooLarge { .. } => Code::ResourceExhausted,
            Self::Damaged { .. } => Code::DataLoss,
            Self::NotFound(_) => Code::NotFound,
            Self::Unsupported(_) => Code::Unimplemented,
            Self::InProgress(_) => Code::Aborted,
            Self::Own { .. } => Code::Internal,
        };
        Status::with_details(
            code,
            crate::rpc::chain(self),
            Bytes::from(self.on_the_wire().encode_to_vec()),
        )
    }
}
