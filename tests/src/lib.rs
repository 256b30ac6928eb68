//! The laboratory: satellites in containers, centrals with data, and what waits for them.
//!
//! **Invariant:** nothing here links one of the three programs; they are started as a user starts them. Nothing
//! started here listens outside the network namespaces that the laboratory made.

pub mod central;
pub mod command;
pub mod compare;
pub mod container;
pub mod network;
pub mod wait;
