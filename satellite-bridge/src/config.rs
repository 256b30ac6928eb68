//! The configuration file as written, turned into a checked one.
