//! Long work, recorded on disk.
