//! What is written down about a workload: what is wanted, and how far a change has come.

use satellite_proto::bundle::Digest;
use serde::{Deserialize, Serialize};

/// What is wanted of a workload.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Desired {
    /// It is meant to run, now and after each boot.
    pub(crate) enabled: bool,
}

/// How far an installation has come. Each step is recorded when it is done; the one after it may be half done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Step {
    /// Nothing has been done.
    Accepted,
    /// The files lie in `versions/<digest>.part`.
    Staged,
    /// They were read back, are right, and lie in `versions/<digest>`.
    Verified,
    /// The old version does not run.
    Stopped,
    /// The state that it is to be brought back with lies in `snapshot`.
    StateSaved,
    /// `current` points to the new version.
    Flipped,
    /// The new version was started.
    Started,
    /// It passed its health gate.
    Healthy,
    /// It stays: the old one is no longer needed. The point of no return.
    Confirmed,
    /// It is being taken back.
    RollingBack,
}

impl Step {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Staged => "staged",
            Self::Verified => "verified",
            Self::Stopped => "stopped",
            Self::StateSaved => "state-saved",
            Self::Flipped => "flipped",
            Self::Started => "started",
            Self::Healthy => "healthy",
            Self::Confirmed => "confirmed",
            Self::RollingBack => "rolling-back",
        }
    }
}

/// An installation that is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Installation {
    /// The operation that reports on it.
    pub(crate) operation: String,
    /// The version that is installed.
    pub(crate) target: Digest,
    /// The version that `current` pointed to before.
    pub(crate) before: Option<Digest>,
    /// Whether that one ran.
    pub(crate) ran: bool,
    /// Whether the new one is to run.
    pub(crate) run: bool,
    /// Whether it is to be enabled when it is confirmed.
    pub(crate) enable: bool,
    /// Whether the workload had state before.
    pub(crate) had_state: bool,
    /// Seconds within which the server must reach the satellite after the change; 0: it need not.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) contact_seconds: u32,
    /// Sequence of the permit by which it goes back to an older release, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) permit: Option<u64>,
    /// How far it is.
    pub(crate) step: Step,
    /// Why it is being taken back.
    pub(crate) fault: Option<Fault>,
    /// While it is taken back: whether the old version may have been stopped.
    pub(crate) disturbed: bool,
    /// While it is taken back: whether the new version may have changed the state.
    pub(crate) restore_state: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over so")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// A removal that is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Removal {
    /// The operation that reports on it.
    pub(crate) operation: String,
    /// Whether the state goes too.
    pub(crate) state: bool,
}

/// Why work on a workload failed, for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fault {
    /// A gRPC status code by number.
    pub(crate) code: i32,
    /// What happened, to what, and what to do next.
    pub(crate) message: String,
    /// The end of the workload's log, oldest line first.
    pub(crate) log_tail: Vec<String>,
}

impl Fault {
    pub(crate) fn new(code: tonic::Code, message: impl Into<String>) -> Self {
        Self {
            code: code as i32,
            message: message.into(),
            log_tail: Vec::new(),
        }
    }

    /// Says what was being done, and the whole chain of causes.
    pub(crate) fn of(doing: &str, error: &dyn std::error::Error) -> Self {
        Self::new(tonic::Code::Internal, format!("{doing}: {}", chain(error)))
    }

    /// Asked to stop, it did.
    pub(crate) fn cancelled() -> Self {
        Self::new(tonic::Code::Cancelled, "stopped on request")
    }
}

/// An error with its causes, for a person.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
