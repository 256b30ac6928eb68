//! Commissions satellites from the server and drives what runs on them.
//!
//! **Invariant:** edges (`cli`, `rpc`, `store`, `fleet`) never import one another; use cases in `app` do.

pub mod app;
pub mod central;
pub mod cli;
pub mod config;
pub mod fleet;
pub mod plan;
pub mod rpc;
pub mod serve;
pub mod store;
