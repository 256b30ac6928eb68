//! The way from the console to the daemon: its unix socket.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use satellite_proto::wire::bridge::v1::{
    ClosePairingWindowRequest, ConsoleJoinRequest, DisconnectRequest, FetchLogsRequest, FetchLogsResponse,
    GetConsoleRequest, GetConsoleResponse, ListLogSourcesRequest, LogSource, OpenPairingWindowRequest,
    PairingWindow, RebootRequest, ResetFirewallNowRequest, console_service_client::ConsoleServiceClient,
    log_service_client::LogServiceClient, satellite_service_client::SatelliteServiceClient,
};
use tokio::net::UnixStream;
use tonic::{
    Request, Status,
    transport::{Channel, Endpoint},
};
use tower::service_fn;

/// How long the daemon may take to answer.
const DEADLINE: Duration = Duration::from_secs(20);

/// Why the daemon did not do it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// It does not run.
    #[error("the satellite's daemon does not answer on `{}`", path.display())]
    Down {
        /// Its socket.
        path: PathBuf,
        /// Why.
        source: tonic::transport::Error,
    },
    /// It refused or failed.
    #[error("{}", .0.message())]
    Refused(Status),
}

impl From<Status> for ClientError {
    fn from(status: Status) -> Self {
        Self::Refused(status)
    }
}

/// The daemon, as the person at the machine reaches it.
#[derive(Debug, Clone)]
pub struct Console {
    console: ConsoleServiceClient<Channel>,
    satellite: SatelliteServiceClient<Channel>,
    logs: LogServiceClient<Channel>,
}

impl Console {
    /// Connects to the daemon's socket.
    ///
    /// # Errors
    ///
    /// [`ClientError::Down`].
    pub async fn connect(path: &Path) -> Result<Self, ClientError> {
        let socket = path.to_owned();
        let connector = service_fn(move |_| {
            let socket = socket.clone();
            async move { Ok::<_, io::Error>(TokioIo::new(UnixStream::connect(socket).await?)) }
        });
        let endpoint = Endpoint::from_static("http://console").connect_timeout(Duration::from_secs(3));
        let channel = endpoint.connect_with_connector(connector).await;
        let channel = channel.map_err(|source| ClientError::Down {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self {
            console: ConsoleServiceClient::new(channel.clone()),
            satellite: SatelliteServiceClient::new(channel.clone()),
            logs: LogServiceClient::new(channel),
        })
    }

    /// What the status page shows.
    ///
    /// # Errors
    ///
    /// [`ClientError::Refused`].
    pub async fn status(&mut self) -> Result<GetConsoleResponse, ClientError> {
        Ok(self
            .console
            .get_console(timed(GetConsoleRequest {}))
            .await?
            .into_inner())
    }

    /// Opens a pairing window.
    ///
    /// # Errors
    ///
    /// [`ClientError::Refused`].
    pub async fn open_window(&mut self) -> Result<PairingWindow, ClientError> {
        let answer = self
            .console
            .open_pairing_window(timed(OpenPairingWindowRequest {}))
            .await?;
        Ok(answer.into_inner().window.unwrap_or_default())
    }

    /// Closes the pairing window.
    ///
    /// # Errors
    ///
    /// [`ClientError::Refused`].
    pub async fn close_window(&mut self) -> Result<(), ClientError> {
        self.console
            .close_pairing_window(timed(ClosePairingWindowRequest {}))
            .await?;
        Ok(())
    }

    /// Tries a join token from now on.
    ///
    /// # Errors
    ///
    /// [`ClientError::Refused`].
    pub async fn join(&mut self, token: &str) -> Result<(), ClientError> {
        let token = token.to_owned();
        self.console.join(timed(ConsoleJoinRequest { token })).await?;
        Ok(())
    }

    /// Lets go of the installation.
    ///
    /// # Errors
    ///
    /// [`ClientError::Refused`].
    pub async fn disconnect(&mut self) -> Result<(), ClientError> {
        self.console.disconnect(timed(DisconnectRequest {})).await?;
        Ok(())
    }

    /// Goes back to the shipped firewall rules.
    ///
    /// # Errors
    ///
    /// [`ClientError::Refused`].
    pub async fn reset_firewall(&mut self) -> Result<(), ClientError> {
        self.console
            .reset_firewall_now(timed(ResetFirewallNowRequest {}))
            .await?;
        Ok(())
    }

    /// Restarts the machine.
    ///
    /// # Errors
    ///
    /// [`ClientError::Refused`].
    pub async fn reboot(&mut self) -> Result<(), ClientError> {
        let idempotency_key = uuid::Uuid::now_v7().to_string();
        self.satellite
            .reboot(timed(RebootRequest {
                force: true,
                idempotency_key,
            }))
            .await?;
        Ok(())
    }

    /// What logs can be read.
    ///
    /// # Errors
    ///
    /// [`ClientError::Refused`].
    pub async fn log_sources(&mut self) -> Result<Vec<LogSource>, ClientError> {
        Ok(self
            .logs
            .list_log_sources(timed(ListLogSourcesRequest {}))
            .await?
            .into_inner()
            .sources)
    }

    /// The last `lines` lines of a log.
    ///
    /// # Errors
    ///
    /// [`ClientError::Refused`].
    pub async fn log_tail(&mut self, source: &str, lines: u64) -> Result<String, ClientError> {
        let request = FetchLogsRequest {
            source: source.to_owned(),
            lines,
            ..FetchLogsRequest::default()
        };
        let mut pieces = self.logs.fetch_logs(timed(request)).await?.into_inner();
        let mut packed = Vec::new();
        while let Some(FetchLogsResponse { data, .. }) = pieces.message().await? {
            packed.extend_from_slice(&data);
        }
        let text =
            zstd::decode_all(packed.as_slice()).map_err(|_| Status::data_loss("the log is damaged"))?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

fn timed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(DEADLINE);
    request
}
