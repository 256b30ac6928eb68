//! The daemon of a satellite as a library, so that it can run on a real machine and on a fake one.
//!
//! **Invariant:** the machine is touched only through `satellite-host`.

pub mod access;
pub mod base;
pub mod boot;
pub mod change;
pub mod cli;
pub mod config;
pub mod contact;
pub mod daemon;
pub mod firewall;
pub mod generation;
pub mod join;
pub mod journal;
pub mod keyboard;
pub mod logs;
pub mod machine;
pub mod menu;
pub mod network;
pub mod operations;
pub mod pairing;
pub mod proxy;
pub mod reset;
pub mod rpc;
pub mod support;
pub mod trust;
pub mod update;
pub mod workload;
#[cfg(test)]
mod writes;
