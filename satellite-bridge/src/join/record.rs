//! The token that is tried, as it lies on the disk, and what became of it.
//!
//! **Invariant:** the text of a token is on the disk only while it is tried.

use std::{fmt, path::Path};

use satellite_proto::{join::Token, wire::join::v1::JoinRefusal};
use serde::{Deserialize, Serialize};

use crate::journal::{self, JournalError};

/// How a token has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// Both sides are paired.
    Joined,
    /// The server does not know it.
    Unknown,
    /// Another satellite has used it.
    Used,
    /// Its time is over.
    Expired,
    /// It was revoked.
    Revoked,
}

impl Ended {
    pub(super) fn of(refusal: JoinRefusal) -> Self {
        match refusal {
            JoinRefusal::Unspecified | JoinRefusal::Unknown => Self::Unknown,
            JoinRefusal::Used => Self::Used,
            JoinRefusal::Expired => Self::Expired,
            JoinRefusal::Revoked => Self::Revoked,
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Joined => "the join token has worked",
            Self::Unknown => "the server does not know the join token: make another one there",
            Self::Used => "another satellite has used the join token: make another one on the server",
            Self::Expired => "the join token has expired: make another one on the server",
            Self::Revoked => "the join token was revoked: make another one on the server",
        })
    }
}

/// What is kept of the last token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its id.
    pub id: String,
    /// Its text, while it is tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    /// How it has ended, if it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ended>,
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("id", &self.id)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

/// The record; none if there is none or it is damaged, which only costs another try.
pub(super) fn read(path: &Path) -> Option<Record> {
    journal::read(path).unwrap_or_else(|error| {
        tracing::warn!(error = %crate::cli::error_chain(&error), "Record of the join token is unusable");
        None
    })
}

/// The token that is not ended.
pub(super) fn open_token(record: Option<&Record>) -> Option<Token> {
    let record = record.filter(|record| record.ended.is_none())?;
    record.token.as_ref()?.parse().ok()
}

pub(super) fn begin(path: &Path, token: &Token) -> Result<(), JournalError> {
    let record = Record {
        id: token.id().to_string(),
        token: Some(token.to_string()),
        ended: None,
    };
    journal::write(path, &record)
}

pub(super) fn end(path: &Path, token: &Token, ended: Ended) -> Result<(), JournalError> {
    let record = Record {
        id: token.id().to_string(),
        token: None,
        ended: Some(ended),
    };
    journal::write(path, &record)
}
