//! Wire to one call to wire.
pub mod pairing;
pub mod operation;
pub mod satellite;
pub mod workload;
pub mod update;
pub mod log;
pub mod firewall;
pub mod console;
