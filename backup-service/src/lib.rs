//! Writes, keeps and serves the archives of centrals.
