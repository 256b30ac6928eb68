//! Wire to one call to wire.
pub mod console;
pub mod firewall;
pub mod log;
pub mod operation;
pub mod pairing;
pub mod satellite;
pub mod update;
pub mod workload;
