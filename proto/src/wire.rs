//! The generated wire types and the descriptors they came from.
//!
//! **Invariant:** nothing is decided here. Each crate turns a message into its own checked type at its own edge.
#![allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::pedantic,
    clippy::use_self,
    clippy::large_futures,
    clippy::missing_errors_doc,
    clippy::allow_attributes_without_reason,
    reason = "generated code is let off the house's lints"
)]

/// What an installation asks of a satellite (`satellite.bridge.v1`).
pub mod bridge {
    pub mod v1 {
        tonic::include_proto!("satellite.bridge.v1");
    }
}

/// What an installation asks of the backup-service (`satellite.backup.v1`).
pub mod backup {
    pub mod v1 {
        tonic::include_proto!("satellite.backup.v1");

        impl std::fmt::Debug for Secret {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("Secret(…)")
            }
        }
    }
}

/// What a satellite with a join token asks of a server (`satellite.join.v1`).
pub mod join {
    pub mod v1 {
        tonic::include_proto!("satellite.join.v1");
    }
}

/// What command line and web page ask of the management module (`satellite.management.v1`).
pub mod management {
    pub mod v1 {
        tonic::include_proto!("satellite.management.v1");
    }
}

/// The encoded `FileDescriptorSet` of every package, for tests and tools that go through all methods.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The largest piece of data that one message carries, in bytes. Streams are cut to it so that no peer buffers more.
pub const MAX_PIECE: usize = 256 * 1024;

/// The largest message that either end accepts, in bytes: a manifest with its signatures, or the digests of all
/// chunks of the largest bundle, with room to spare.
pub const MAX_MESSAGE: usize = 4 * 1024 * 1024;

/// The HTTP/2 frame size that receivers of streams ask for, in bytes: a quarter more throughput than the default.
pub const MAX_FRAME: u32 = 64 * 1024;

/// TCP port on which a satellite takes calls of its installation.
pub const BRIDGE_PORT: u16 = 7640;

/// TCP port on which a server takes satellites that hold a join token.
pub const JOIN_PORT: u16 = 7601;

/// Metadata key in which a satellite that refuses a call tells a server what state it is in.
pub const STATE_HEADER: &str = "x-satellite-state";

/// Value of [`STATE_HEADER`]: a person disconnected the satellite from this very server at its console.
pub const DISCONNECTED: &str = "disconnected";

/// Metadata key in which the bridge tells a workload the role of the peer. The bridge removes what a peer sends.
pub const ROLE_HEADER: &str = "x-satellite-role";
