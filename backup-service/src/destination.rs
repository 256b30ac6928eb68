//! Copies of archives at destinations.
//!
//! [`target`] is the checked description of a destination; [`place`] is what each kind of destination can do, and all that
//! the engine knows of it; [`visit`] connects and begins anew after a cut; [`copy`], [`fetch`], [`check`] and [`probe`]
//! are the use cases, written once above all kinds.
//!
//! **Invariants:** what has the name of an archive at a destination was read back there and found right ([`s3`] names it
//! first and marks it until then); a credential is neither stored nor printed; memory does not grow with the size of an
//! archive; a copy that is cut leaves a temporary with our mark on it and nothing else.

pub mod check;
pub mod copy;
pub mod directory;
pub mod dropbox;
pub mod fault;
pub mod fetch;
pub mod gauge;
pub(crate) mod http;
pub mod mail;
mod pace;
pub mod path;
pub mod place;
pub mod probe;
pub mod s3;
pub mod sftp;
pub mod smb;
pub mod target;
pub mod trust;
pub mod visit;
pub mod webdav;
mod xml;

/// Bytes that are read or written at once.
pub const PIECE: usize = 1 << 20;

/// Most entries of a directory at a destination that are looked at.
const MOST_ENTRIES: usize = 100_000;
