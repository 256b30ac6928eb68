//! Space on file systems.
