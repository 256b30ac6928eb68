//! The machine under a satellite. The only crate that starts processes, writes system files, and speaks with systemd,
//! the journal and the packet filter.
//!
//! **Invariant:** no policy here: callers decide, this crate does one thing at a time and says what happened.

pub mod clock;
pub mod disk;
pub mod disks;
pub mod exec;
pub mod fail;
pub mod files;
pub mod instance;
pub mod iptables;
pub mod iso;
pub mod journal;
pub mod neighbour;
pub mod net;
pub mod network;
pub mod systemd;
pub mod timedate;
pub mod usb;
pub mod vmware;

pub use fail::fail_point;
