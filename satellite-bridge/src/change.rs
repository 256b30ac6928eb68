//! Commit-confirmed changes: armed on disk and as a timer before they are applied.
