//! Addresses and names of the machine.
