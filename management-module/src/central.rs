//! Reads and restores the data of a central on this machine.
//!
//! **Invariant:** what is read and what may be run comes from the central's profile and nowhere else; what an archive
//! says is doubted. Nothing here talks to a satellite or to the store.

pub mod command;
pub mod profile;
pub mod quiesce;
pub mod read;
pub mod restore;

#[cfg(test)]
mod testing;
