//! Uploads of bundles and their chunks.
