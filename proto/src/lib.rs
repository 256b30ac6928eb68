//! What the ends of a satellite agree on: wire types, identity, TLS, pairing, bundles.
//!
//! **Invariant:** nothing here touches the machine beyond the sockets and readers that it is handed, and nothing
//! here depends on another crate of ours.

pub mod bech32;
pub mod bundle;
pub mod identity;
pub mod join;
pub mod pairing;
pub mod pushback;
pub mod tls;
pub mod wire;
