//! Decides what to do. Pure: no clock, no I/O, no async.
