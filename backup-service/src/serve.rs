//! The service's life: state opened, socket bound, ready said, calls served, stopped in good order.

use std::future::Future;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use satellite_proto::wire::MAX_FRAME;
use satellite_proto::wire::backup::v1::archive_service_server::ArchiveServiceServer;
use satellite_proto::wire::backup::v1::central_service_server::CentralServiceServer;
use satellite_proto::wire::backup::v1::destination_service_server::DestinationServiceServer;
use sd_notify::NotifyState;
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;

use crate::catalog::{Catalog, CatalogError};
use crate::config::Config;
use crate::rpc::central::Centrals;
use crate::rpc::destination::Destinations;
use crate::rpc::{Archives, chain};

/// Name under which the health service answers for this one.
pub const SERVICE: &str = "satellite.backup.v1.ArchiveService";

/// Most bytes of a message that is taken: a batch of 256 KiB with room to spare.
const MAX_REQUEST: usize = 1 << 20;

/// Why the service ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The state directory cannot be used.
    #[error("cannot open the archives")]
    State(#[source] CatalogError),
    /// The socket cannot be bound.
    #[error("cannot take calls on `{path}`")]
    Socket {
        /// Which.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The server failed.
    #[error("the server failed")]
    Transport(#[source] tonic::transport::Error),
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// [`ServeError`].
pub async fn serve(config: Config) -> Result<(), ServeError> {
    let socket = |source| ServeError::Socket {
        path: config.socket.clone(),
        source,
    };
    let mut terminate = signal(SignalKind::terminate()).map_err(socket)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(socket)?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    serve_until(config, stop).await
}

/// Serves until `stop` is ready; calls then have the configured grace to end.
///
/// # Errors
/// [`ServeError`].
pub async fn serve_until(config: Config, stop: impl Future<Output = ()> + Send) -> Result<(), ServeError> {
    let catalog =
        Catalog::open(&config.state, config.directory.clone(), config.reserve).map_err(ServeError::State)?;
    let mark = catalog.mark().map_err(ServeError::State)?;
    let listener = bind(&config.socket).map_err(|source| ServeError::Socket {
        path: config.socket.clone(),
        source,
    })?;
    let (health, health_service) = tonic_health::server::health_reporter();
    health
        .set_service_status(SERVICE, tonic_health::ServingStatus::Serving)
        .await;
    let adoption = Adoption::start(catalog.clone());
    let grace = config.grace;
    let config = Arc::new(config);
    let destinations = Destinations::new(catalog.clone(), Arc::clone(&config), mark);
    let destinations = DestinationServiceServer::new(destinations).max_decoding_message_size(MAX_REQUEST);
    let archives = Archives::new(catalog, config);
    let centrals = Centrals::new(archives.clone());
    let centrals = CentralServiceServer::new(centrals).max_decoding_message_size(MAX_REQUEST);
    let archives = ArchiveServiceServer::new(archives).max_decoding_message_size(MAX_REQUEST);
    let (stopping, mut stopped) = watch::channel(false);
    let server = Server::builder()
        .max_frame_size(MAX_FRAME)
        .max_concurrent_streams(64)
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .add_service(health_service)
        .add_service(archives)
        .add_service(destinations)
        .add_service(centrals)
        .serve_with_incoming_shutdown(UnixListenerStream::new(listener), async move {
            let _ = stopped.wait_for(|stop| *stop).await;
        });
    notify(&[NotifyState::Ready]);
    let _watchdog = Task(tokio::spawn(watchdog()));
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "Takes calls");
    tokio::pin!(server, stop);
    tokio::select! {
        ended = &mut server => return ended.map_err(ServeError::Transport),
        () = &mut stop => {}
    }
    notify(&[NotifyState::Stopping]);
    tracing::info!("Stops");
    adoption.stop();
    stopping.send_replace(true);
    match tokio::time::timeout(grace, server).await {
        Ok(ended) => ended.map_err(ServeError::Transport),
        Err(_) => {
            tracing::warn!(?grace, "Calls were still running and are cut");
            Ok(())
        }
    }
}

/// Binds the socket; one that a killed service left is replaced.
fn bind(path: &Path) -> io::Result<UnixListener> {
    match std::fs::symlink_metadata(path) {
        Ok(left) if left.file_type().is_socket() => std::fs::remove_file(path)?,
        Ok(_) => {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "something that is no socket is there",
            ));
        }
        Err(_) => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}

/// Reads archives without a record in the background.
struct Adoption(Arc<AtomicBool>);

impl Adoption {
    fn start(catalog: Catalog) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stop);
        tokio::task::spawn_blocking(move || {
            if let Err(error) = catalog.adopt(|| asked.load(Ordering::Relaxed)) {
                tracing::error!(error = chain(&error), "Cannot look for archives without a record");
            }
        });
        Self(stop)
    }

    fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A task that ends with its owner.
struct Task(tokio::task::JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Tells the service manager that the runtime still turns; never ends.
async fn watchdog() {
    let Some(period) = sd_notify::watchdog_enabled() else {
        return std::future::pending().await;
    };
    let mut ticks = tokio::time::interval((period / 3).max(Duration::from_millis(100)));
    loop {
        ticks.tick().await;
        notify(&[NotifyState::Watchdog]);
    }
}

fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "The service manager was not told");
    }
}
