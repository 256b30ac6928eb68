//! The laboratory: satellites in containers, centrals with data, and what waits for them.
//!
//! **Invariant:** nothing here links one of the three programs; they are started as a user starts them. Nothing
//! started here listens outside the network namespaces that the laboratory made.

pub mod authority;
pub mod base;
pub mod bench;
pub mod browser;
pub mod central;
pub mod command;
pub mod compare;
pub mod console;
pub mod container;
pub mod dice;
pub mod directory;
pub mod earlier;
pub mod first_light;
pub mod fleet;
pub mod lab;
pub mod manager;
pub mod network;
pub mod provider;
pub mod release;
pub mod scratch;
pub mod server;
pub mod smtp;
pub mod tell;
pub mod terminal;
pub mod variant;
pub mod vm;
pub mod wait;
