//! The two servers: the bridge's port for the installation, the unix socket for the console.
//!
//! **Invariant:** both stand behind the gate, and the console's service is on the socket only.

use std::{fs, io, os::unix::fs::PermissionsExt, path::Path};

use satellite_proto::{
    tls::{Connections, incoming},
    wire::{
        MAX_FRAME, MAX_MESSAGE,
        bridge::v1::{
            console_service_server::ConsoleServiceServer, disk_service_server::DiskServiceServer,
            firewall_service_server::FirewallServiceServer, log_service_server::LogServiceServer,
            network_service_server::NetworkServiceServer, operation_service_server::OperationServiceServer,
            pairing_service_server::PairingServiceServer, satellite_service_server::SatelliteServiceServer,
            trust_service_server::TrustServiceServer, update_service_server::UpdateServiceServer,
            workload_service_server::WorkloadServiceServer,
        },
    },
};
use tokio::net::{TcpListener, UnixListener};
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::{service::Routes, transport::Server};

use super::{DaemonError, GRACE};
use crate::{
    contact::Contact,
    join::Joiner,
    network::Network,
    operations::Replies,
    pairing::Pairing,
    proxy::Proxy,
    rpc::{
        console::ConsoleRpc, disk::DiskRpc, firewall::FirewallRpc, gate::Gate, log::LogRpc,
        network::NetworkRpc, operation::OperationRpc, pairing::PairingRpc, satellite::SatelliteRpc,
        trust::TrustRpc, update::UpdateRpc, workload::WorkloadRpc,
    },
};

/// Calls at a time on one connection.
const MOST_CALLS: u32 = 128;
/// Bytes in flight before a slow handler stops the sender, per call and per connection.
const WINDOW: u32 = 1024 * 1024;
/// How often a silent peer is probed, and how long it may stay silent then.
const KEEPALIVE: std::time::Duration = std::time::Duration::from_secs(20);

/// Sets the message limits of a generated server: they have no trait in common.
macro_rules! limited {
    ($server:ident, $rpc:expr) => {
        $server::new($rpc)
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE)
    };
}

/// What is offered.
#[derive(Debug, Clone)]
pub(super) struct Services {
    pub(super) pairing: Pairing,
    pub(super) proxy: Proxy,
    pub(super) satellite: SatelliteRpc,
    pub(super) joiner: Joiner,
    pub(super) operations: OperationRpc,
    pub(super) workloads: WorkloadRpc,
    pub(super) updates: UpdateRpc,
    pub(super) trust: TrustRpc,
    pub(super) logs: LogRpc,
    pub(super) disks: DiskRpc,
    /// None where the packet filter cannot be kept.
    pub(super) firewall: Option<FirewallRpc>,
    /// None where the machine's network is not ours to set.
    pub(super) network: Option<Network>,
    /// When the installation last reached the satellite.
    pub(super) contact: Contact,
    /// First answers.
    pub(super) replies: Replies,
}

impl Services {
    /// Serves the installation until `stop`.
    pub(super) async fn serve_network(
        self,
        listener: TcpListener,
        connections: Connections,
        stop: CancellationToken,
    ) -> Result<(), DaemonError> {
        let calls = incoming(listener, self.pairing.tls(), connections);
        let mut routes = Routes::new(limited!(
            PairingServiceServer,
            PairingRpc::new(self.pairing.clone())
        ))
        .add_service(limited!(SatelliteServiceServer, self.satellite))
        .add_service(limited!(OperationServiceServer, self.operations))
        .add_service(limited!(WorkloadServiceServer, self.workloads))
        .add_service(limited!(UpdateServiceServer, self.updates))
        .add_service(limited!(TrustServiceServer, self.trust))
        .add_service(limited!(LogServiceServer, self.logs))
        .add_service(limited!(DiskServiceServer, self.disks));
        if let Some(firewall) = self.firewall {
            routes = routes.add_service(limited!(FirewallServiceServer, firewall));
        }
        if let Some(network) = self.network.clone() {
            let network = NetworkRpc::new(network, self.replies);
            routes = routes.add_service(limited!(NetworkServiceServer, network));
        }
        let gate = Gate::new(routes.prepare(), self.pairing, self.proxy).telling(self.network, self.contact);
        let served = server().serve_with_incoming_shutdown(gate, calls, stop.clone().cancelled_owned());
        bounded(served, stop).await
    }

    /// Serves the console until `stop`.
    pub(super) async fn serve_console(
        self,
        listener: UnixListener,
        port: u16,
        stop: CancellationToken,
    ) -> Result<(), DaemonError> {
        let console = ConsoleRpc {
            satellite: self.satellite.clone(),
            port,
            joiner: self.joiner,
        };
        let routes = Routes::new(limited!(ConsoleServiceServer, console))
            .add_service(limited!(SatelliteServiceServer, self.satellite))
            .add_service(limited!(LogServiceServer, self.logs));
        let gate = Gate::new(routes.prepare(), self.pairing, self.proxy);
        let calls = UnixListenerStream::new(listener);
        let served = server().serve_with_incoming_shutdown(gate, calls, stop.clone().cancelled_owned());
        bounded(served, stop).await
    }
}

/// The console's socket, for root only.
pub(super) fn console_listener(path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Lets calls under way end for a while after `stop`.
async fn bounded(
    served: impl Future<Output = Result<(), tonic::transport::Error>>,
    stop: CancellationToken,
) -> Result<(), DaemonError> {
    let over = async {
        stop.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        served = served => served.map_err(DaemonError::Server),
        () = over => Ok(()),
    }
}

fn server() -> Server {
    Server::builder()
        .max_frame_size(MAX_FRAME)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(4 * WINDOW)
        .max_concurrent_streams(MOST_CALLS)
        .http2_max_header_list_size(16 * 1024)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
}
