//! Why an archive cannot be written: the disk, or what its sender did wrong.

use std::io;

use super::super::member::BadMember;
use super::super::names::escape;

/// Why an archive could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The sender broke the rules of the stream.
    #[error("`{name}`: {fault}")]
    Refused {
        /// The member, or what else.
        name: String,
        /// What is wrong.
        fault: Fault,
    },
    /// There is too little space.
    #[error("only {free} bytes are free, {needed} are needed: delete archives or make the disk larger")]
    Space {
        /// Bytes free, without the reserve.
        free: u64,
        /// Bytes needed.
        needed: u64,
    },
    /// The disk, or a thread.
    #[error("cannot {what}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// What a sender did wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// A field of the member.
    #[error("{0}")]
    Member(#[from] BadMember),
    /// Content or an end without a beginning, or the reverse.
    #[error("the items come in the wrong order")]
    Order,
    /// It came before.
    #[error("it comes twice")]
    Twice,
    /// Its data set was not announced, or comes out of order.
    #[error("its data set was not announced, or comes after a later one")]
    DataSet,
    /// The target of a hard link did not come before.
    #[error("the file that this hard link names did not come before it")]
    LinkTarget,
    /// Something above it is a symbolic link.
    #[error("it lies below a symbolic link")]
    BelowLink,
    /// Content of another length than announced.
    #[error("{announced} bytes were announced, {came} came")]
    Size {
        /// What the sender said.
        announced: u64,
        /// What it sent, as far as it was read.
        came: u64,
    },
    /// The content is not what the sender read.
    #[error(
        "the content does not have the digest that its reader found: it was changed on the way, send it again"
    )]
    Digest,
    /// More members than the format holds.
    #[error("an archive holds at most 4,000,000 members")]
    TooMany,
    /// The trailer counts something else than what came.
    #[error("the trailer counts {announced}, {came} came")]
    Trailer {
        /// What the sender said.
        announced: u64,
        /// What came.
        came: u64,
    },
}

pub(super) fn refused(name: &[u8], fault: impl Into<Fault>) -> WriteError {
    WriteError::Refused {
        name: escape(name),
        fault: fault.into(),
    }
}

pub(super) fn io(what: &'static str) -> impl FnOnce(io::Error) -> WriteError {
    move |source| WriteError::Io { what, source }
}
