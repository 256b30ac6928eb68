//! Why a request gets no page of its own, and the page that says so.

use axum::http::StatusCode;
use tonic::Code;

use super::text::{Text, common};
use crate::app::AppError;

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// There is no such page.
    NoPage,
    /// One has to sign in first.
    SignIn,
    /// One may not.
    Forbidden,
    /// The form is not of this session, or not of this page.
    Forged,
    /// More was sent than is taken.
    TooLarge,
    /// Too many pages are kept up to date.
    Busy,
    /// A use case failed.
    App(AppError),
}

impl From<AppError> for Failure {
    fn from(error: AppError) -> Self {
        Self::App(error)
    }
}

impl From<crate::store::StoreError> for Failure {
    fn from(error: crate::store::StoreError) -> Self {
        Self::App(error.into())
    }
}

impl Failure {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::NoPage => StatusCode::NOT_FOUND,
            Self::SignIn => StatusCode::UNAUTHORIZED,
            Self::Forbidden | Self::Forged => StatusCode::FORBIDDEN,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::App(error) => status_of(error),
        }
    }

    /// In the reader's language.
    pub(super) fn heading(&self) -> Text {
        match self {
            Self::NoPage => common::NO_PAGE,
            Self::SignIn => common::SIGN_IN_FIRST,
            Self::Forbidden => common::FORBIDDEN,
            Self::Forged => common::FORGED,
            Self::TooLarge => common::TOO_LARGE,
            Self::Busy => common::BUSY,
            Self::App(error) => heading_of(error),
        }
    }

    /// What the use case says, for people who can do something about it; none if the heading says all.
    pub(super) fn detail(&self) -> Option<String> {
        match self {
            Self::App(error) => Self::detail_of(error),
            _ => None,
        }
    }

    /// The same of a use case's error.
    pub(super) fn detail_of(error: &AppError) -> Option<String> {
        match error {
            // How this machine is built is nobody's business: it is in the log.
            AppError::Machine { .. } | AppError::Store(_) => None,
            error => Some(crate::error_chain(error)),
        }
    }
}

pub(super) fn status_of(error: &AppError) -> StatusCode {
    match error.code() {
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::InvalidArgument | Code::OutOfRange => StatusCode::UNPROCESSABLE_ENTITY,
        Code::AlreadyExists | Code::FailedPrecondition | Code::Aborted => StatusCode::CONFLICT,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::Unavailable | Code::DeadlineExceeded => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The kind of fault, in the reader's language.
pub(super) fn heading_of(error: &AppError) -> Text {
    match error.code() {
        Code::NotFound => common::NOT_THERE,
        Code::InvalidArgument | Code::OutOfRange => common::INVALID,
        Code::AlreadyExists => common::EXISTS,
        Code::FailedPrecondition | Code::Aborted => common::PRECONDITION,
        Code::PermissionDenied => common::REFUSED_HERE,
        Code::Unavailable | Code::DeadlineExceeded => common::UNAVAILABLE,
        _ => common::BROKEN,
    }
}
