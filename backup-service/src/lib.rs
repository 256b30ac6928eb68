//! Writes, keeps and serves the archives of centrals.
//!
//! The layers, from the outside in: [`cli`] and [`serve`] start things; [`rpc`] turns calls into calls of the
//! [`catalog`] or of [`destination`]; the catalogue knows where archives are kept, destinations are where copies of them
//! go; [`archive`] is the format and knows of nothing else.

/// Where a test may kill the service: in a run with a copy, in a restore, and when an archive is removed.
pub const FAIL_POINTS: &[&str] = &[
    "archive.begun",
    "archive.taken",
    "archive.written",
    "archive.verified",
    "archive.named",
    "archive.listed",
    "copy.begun",
    "copy.sending",
    "copy.sent",
    "copy.verified",
    "copy.named",
    "archive.sent",
    "archive.read",
    "archive.removed",
];

pub mod access;
pub mod age;
pub mod archive;
pub mod catalog;
pub mod central;
pub mod cli;
pub mod config;
pub mod destination;
mod durable;
pub mod rpc;
pub mod serve;
pub mod ssh;
