//! Wire to one call to wire: what arrives is checked here, handed to one domain call, and its result put on the wire.
//!
//! **Invariant:** no decision about the machine is made here.

pub mod console;
pub mod disk;
pub mod firewall;
pub mod firewall_state;
pub mod gate;
pub mod log;
pub mod network;
pub mod operation;
pub mod pairing;
pub mod satellite;
pub mod trust;
pub mod update;
pub mod workload;

/// A moment as the wire has it.
#[must_use]
pub fn timestamp(time: jiff::Timestamp) -> prost_types::Timestamp {
    let nanos = time.subsec_nanosecond();
    // The wire wants nanoseconds that count forward, also before 1970.
    let (seconds, nanos) = if nanos < 0 {
        (time.as_second() - 1, nanos + 1_000_000_000)
    } else {
        (time.as_second(), nanos)
    };
    prost_types::Timestamp { seconds, nanos }
}

/// Who calls, as TLS found out.
pub(crate) fn peer<T>(request: &tonic::Request<T>) -> Result<&satellite_proto::tls::Peer, tonic::Status> {
    let peer = request.extensions().get();
    peer.ok_or_else(|| tonic::Status::unauthenticated("this call needs a TLS connection"))
}
