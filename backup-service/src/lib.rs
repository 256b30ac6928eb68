//! Writes, keeps and serves the archives of centrals.

pub mod archive;
