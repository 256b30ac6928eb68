//! Writes, keeps and serves the archives of centrals.
//!
//! The layers, from the outside in: [`cli`] and [`serve`] start things; [`rpc`] turns calls into calls of the
//! [`catalog`]; the catalogue knows where archives are kept; [`archive`] is the format and knows of nothing else.

pub mod access;
pub mod archive;
pub mod catalog;
pub mod cli;
pub mod config;
mod durable;
pub mod rpc;
pub mod serve;
