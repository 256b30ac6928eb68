//! Reads and restores the data of a central on this machine.
