//! Puts the parts together and runs them until told to stop.
//!
//! **Invariant:** nothing listens on the network but the bridge's one port, and a stop is bounded in time.

mod notify;

use std::{
    fs, io,
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use satellite_proto::{
    tls::{Connections, incoming},
    wire::{MAX_FRAME, MAX_MESSAGE, bridge::v1 as wire},
};
use tokio::{net::TcpListener, net::UnixListener, task::JoinSet};
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::{service::Routes, transport::Server};

pub use self::notify::run_until_signalled;
use crate::{
    config::Config,
    machine::{self, Machine},
    operations::{OperationError, Operations, Replies},
    pairing::{Clock, LoadError, Pairing, PairingError, load_or_make},
    proxy::{Proxy, Route, Routes as WorkloadRoutes},
    rpc::{
        console::ConsoleRpc, gate::Gate, operation::OperationRpc, pairing::PairingRpc,
        satellite::SatelliteRpc,
    },
};

/// How long calls under way may take to end after a stop.
const GRACE: Duration = Duration::from_secs(5);
/// Calls at a time on one connection.
const MOST_CALLS: u32 = 128;
/// Bytes in flight before a slow handler stops the sender, per call and per connection.
const WINDOW: u32 = 1024 * 1024;
const KEEPALIVE: Duration = Duration::from_secs(20);

/// Why the daemon does not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DaemonError {
    /// A directory or socket.
    #[error("cannot use `{}`", path.display())]
    Path {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The port is taken, or not ours to take.
    #[error("cannot listen on {address}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// No identity.
    #[error("the satellite has no identity")]
    Identity(#[source] LoadError),
    /// No trust.
    #[error("pairing cannot be set up")]
    Pairing(#[source] PairingError),
    /// No records of operations.
    #[error("operations cannot be recorded")]
    Operations(#[source] OperationError),
    /// A server stopped by itself.
    #[error("a server stopped")]
    Server(#[source] tonic::transport::Error),
}

/// Sets the message limits of a generated server: they have no trait in common.
macro_rules! limited {
    ($server:expr) => {
        $server
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE)
    };
}

/// What a test gives a daemon.
#[derive(Default)]
pub struct Options {
    /// The clock of the pairing window.
    pub clock: Clock,
    /// Routes to workloads that are not installed.
    pub routes: Option<Arc<dyn WorkloadRoutes>>,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options").finish_non_exhaustive()
    }
}

/// A daemon that runs.
#[derive(Debug)]
pub struct Daemon {
    /// Where it takes calls of the installation.
    pub address: SocketAddr,
    /// Who it belongs to.
    pub pairing: Pairing,
    /// Who is connected.
    pub connections: Connections,
    stop: CancellationToken,
    tasks: JoinSet<Result<(), DaemonError>>,
}

impl Daemon {
    /// Starts everything; calls are taken when this returns.
    ///
    /// # Errors
    ///
    /// [`DaemonError`]: nothing runs then.
    pub async fn start(config: &Config, options: Options) -> Result<Self, DaemonError> {
        make_dir(&config.state_dir, 0o700)?;
        make_dir(&config.run_dir, 0o755)?;
        let identity = load_or_make(&config.state_dir.join("identity"), &machine::name());
        let identity = identity.map_err(DaemonError::Identity)?;
        let connections = Connections::default();
        let record = config.state_dir.join("pairing.json");
        let pairing = Pairing::open(record, identity, connections.clone(), options.clock)
            .map_err(DaemonError::Pairing)?;
        let operations = Operations::open(&config.state_dir.join("operations"));
        let operations = operations.map_err(DaemonError::Operations)?;
        let replies = Replies::open(&config.state_dir.join("replies")).map_err(DaemonError::Operations)?;
        let listener = TcpListener::bind(config.listen).await;
        let failed = |source| DaemonError::Listen {
            address: config.listen,
            source,
        };
        let listener = listener.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;

        let satellite = SatelliteRpc {
            machine: Machine::new(config.state_dir.clone(), pairing.clone()),
            pairing: pairing.clone(),
            operations: operations.clone(),
            replies,
            change_dir: config.state_dir.join("change"),
        };
        let proxy = Proxy::new(options.routes.unwrap_or_else(|| Arc::new(NoRoutes)));
        operations.fail_unadopted();

        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let console = ConsoleRpc {
            satellite: satellite.clone(),
            port: address.port(),
        };
        tasks.spawn(serve_console(config, console, &pairing, &proxy, stop.clone())?);
        let routes = Routes::new(limited!(wire::pairing_service_server::PairingServiceServer::new(
            PairingRpc::new(pairing.clone())
        )))
        .add_service(limited!(
            wire::satellite_service_server::SatelliteServiceServer::new(satellite)
        ))
        .add_service(limited!(
            wire::operation_service_server::OperationServiceServer::new(OperationRpc::new(operations),)
        ));
        let gate = Gate::new(routes.prepare(), pairing.clone(), proxy);
        let calls = incoming(listener, pairing.tls(), connections.clone());
        let stopped = stop.clone().cancelled_owned();
        tasks.spawn(async move {
            let served = server().serve_with_incoming_shutdown(gate, calls, stopped).await;
            served.map_err(DaemonError::Server)
        });
        let (keeper, stopped) = (pairing.clone(), stop.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = keeper.keep_time() => {}
                () = stopped.cancelled() => {}
            }
            Ok(())
        });
        tracing::info!(%address, fingerprint = %pairing.pin(), stage = ?pairing.stage(), "Daemon started");
        Ok(Self {
            address,
            pairing,
            connections,
            stop,
            tasks,
        })
    }

    /// Waits until a part stops by itself, which none should.
    ///
    /// # Errors
    ///
    /// Why it stopped.
    pub async fn failed(&mut self) -> Result<(), DaemonError> {
        match self.tasks.join_next().await {
            Some(Ok(result)) => result,
            Some(Err(_)) | None => Ok(()),
        }
    }

    /// Takes no more calls, lets those under way end for a few seconds, then cuts them.
    pub async fn stop(mut self) {
        self.stop.cancel();
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(GRACE, ended).await.is_err() {
            let cut = self.connections.cut(|_| true);
            tracing::info!(cut, "Calls under way were cut");
        }
        self.tasks.shutdown().await;
    }
}

fn serve_console(
    config: &Config,
    console: ConsoleRpc,
    pairing: &Pairing,
    proxy: &Proxy,
    stop: CancellationToken,
) -> Result<impl Future<Output = Result<(), DaemonError>> + Send + 'static, DaemonError> {
    let path = config.console_socket();
    let failed = |source| DaemonError::Path {
        path: path.clone(),
        source,
    };
    match fs::remove_file(&path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(failed(source)),
        _ => {}
    }
    let listener = UnixListener::bind(&path).map_err(failed)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
    let satellite = wire::satellite_service_server::SatelliteServiceServer::new(console.satellite.clone());
    let routes = Routes::new(limited!(wire::console_service_server::ConsoleServiceServer::new(
        console
    )))
    .add_service(limited!(satellite));
    let gate = Gate::new(routes.prepare(), pairing.clone(), proxy.clone());
    Ok(async move {
        let calls = UnixListenerStream::new(listener);
        let served = server()
            .serve_with_incoming_shutdown(gate, calls, stop.cancelled_owned())
            .await;
        served.map_err(DaemonError::Server)
    })
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

fn make_dir(path: &Path, mode: u32) -> Result<(), DaemonError> {
    let made = fs::DirBuilder::new().recursive(true).mode(mode).create(path);
    made.map_err(|source| DaemonError::Path {
        path: path.to_owned(),
        source,
    })
}

/// Knows no workload.
struct NoRoutes;

impl WorkloadRoutes for NoRoutes {
    fn route(&self, _: &str) -> Option<Route> {
        None
    }
}
