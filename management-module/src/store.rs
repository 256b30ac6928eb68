//! What the management module remembers.
