//! Why a use case did not do what was asked, in words for the person who asked.

use std::error::Error as StdError;

use tonic::{Code, Status};

use super::users::Weak;
use crate::fleet::FleetError;
use crate::store::StoreError;

/// Why a use case failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppError {
    /// What was named is not there.
    #[error("there is no {what} {name}")]
    NotFound {
        /// Kind of thing.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// The request makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// A password is too weak.
    #[error(transparent)]
    Password(#[from] Weak),
    /// The name is taken.
    #[error("{0}")]
    Exists(String),
    /// Something else has to be done first.
    #[error("{0}")]
    Precondition(String),
    /// It does not fit; the text has numbers.
    #[error("{0}")]
    NoSpace(String),
    /// The other side does not allow it.
    #[error("{0}")]
    Refused(String),
    /// The other side does not answer. A retry can help.
    #[error("{message}")]
    Unavailable {
        /// What happened and what to do.
        message: String,
        /// Why.
        #[source]
        source: Option<Box<dyn StdError + Send + Sync>>,
    },
    /// A satellite answered a call with an error.
    #[error("satellite {satellite}: {}", status.message())]
    Remote {
        /// Which.
        satellite: String,
        /// What it answered.
        status: Box<Status>,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no channel.
    #[error(transparent)]
    Fleet(#[from] FleetError),
    /// This machine failed.
    #[error("cannot {doing}")]
    Machine {
        /// What was being done.
        doing: String,
        /// Why.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
}

impl AppError {
    /// What was named is not there.
    #[must_use]
    pub fn no(what: &'static str, name: impl Into<String>) -> Self {
        Self::NotFound {
            what,
            name: name.into(),
        }
    }

    /// This machine failed while it was to do something.
    pub fn machine(doing: impl Into<String>, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Machine {
            doing: doing.into(),
            source: source.into(),
        }
    }

    /// A satellite answered a call with an error, or did not answer it.
    #[must_use]
    pub fn remote(satellite: &str, status: Status) -> Self {
        // With a cause it is no word of the other side: the connection ended, or was none.
        let lost = matches!(status.code(), Code::Unavailable | Code::Unknown) && status.source().is_some();
        if !lost {
            return Self::Remote {
                satellite: satellite.to_owned(),
                status: Box::new(status),
            };
        }
        Self::Unavailable {
            message: format!(
                "satellite {satellite} does not answer; see `management-module satellite show {satellite}`"
            ),
            source: Some(Box::new(status)),
        }
    }

    /// The kind of fault.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::NotFound { .. } | Self::Fleet(FleetError::Unknown(_)) => Code::NotFound,
            Self::Invalid(_) | Self::Password(_) => Code::InvalidArgument,
            Self::Exists(_) | Self::Store(StoreError::Exists(_)) => Code::AlreadyExists,
            Self::Precondition(_) => Code::FailedPrecondition,
            Self::NoSpace(_) => Code::ResourceExhausted,
            Self::Refused(_) => Code::PermissionDenied,
            Self::Unavailable { .. } | Self::Fleet(_) | Self::Store(StoreError::Busy(_)) => Code::Unavailable,
            Self::Remote { status, .. } => status.code(),
            Self::Store(_) | Self::Machine { .. } => Code::Internal,
        }
    }
}

impl From<&AppError> for Status {
    fn from(error: &AppError) -> Self {
        Self::new(error.code(), crate::error_chain(error))
    }
}

impl From<AppError> for Status {
    fn from(error: AppError) -> Self {
        Self::from(&error)
    }
}
