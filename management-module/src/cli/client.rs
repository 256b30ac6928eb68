//! Connects to the running module.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use hyper_util::rt::TokioIo;
use satellite_proto::wire::MAX_MESSAGE;
use satellite_proto::wire::management::v1 as pb;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};

use pb::account_service_client::AccountServiceClient;
use pb::backup_service_client::BackupServiceClient;
use pb::bundle_service_client::BundleServiceClient;
use pb::configuration_service_client::ConfigurationServiceClient;
use pb::destination_service_client::DestinationServiceClient;
use pb::fleet_service_client::FleetServiceClient;
use pb::network_service_client::NetworkServiceClient;
use pb::notify_service_client::NotifyServiceClient;
use pb::release_service_client::ReleaseServiceClient;
use pb::run_service_client::RunServiceClient;
use pb::system_service_client::SystemServiceClient;
use pb::token_service_client::TokenServiceClient;
use pb::web_service_client::WebServiceClient;
use pb::workload_service_client::WorkloadServiceClient;

use super::{CliError, Global};

const DEADLINE: Duration = Duration::from_secs(5);

/// Clients of all services over one connection.
pub(super) struct Client {
    pub(super) fleet: FleetServiceClient<Channel>,
    pub(super) network: NetworkServiceClient<Channel>,
    pub(super) workload: WorkloadServiceClient<Channel>,
    pub(super) bundle: BundleServiceClient<Channel>,
    pub(super) release: ReleaseServiceClient<Channel>,
    pub(super) backup: BackupServiceClient<Channel>,
    pub(super) destination: DestinationServiceClient<Channel>,
    pub(super) configuration: ConfigurationServiceClient<Channel>,
    pub(super) run: RunServiceClient<Channel>,
    pub(super) system: SystemServiceClient<Channel>,
    pub(super) token: TokenServiceClient<Channel>,
    pub(super) account: AccountServiceClient<Channel>,
    pub(super) notify: NotifyServiceClient<Channel>,
    pub(super) web: WebServiceClient<Channel>,
}

/// Connects.
pub(super) async fn connect(global: &Global) -> Result<Client, CliError> {
    let socket = global.socket()?;
    let channel = dial(socket.clone()).await.with_context(|| {
        format!(
            "cannot reach the management module at `{}`: does it run, and may you open it?",
            socket.display()
        )
    });
    let channel = channel.map_err(CliError::Unreachable)?;
    Ok(Client {
        fleet: FleetServiceClient::new(channel.clone()).max_decoding_message_size(MAX_MESSAGE),
        network: NetworkServiceClient::new(channel.clone()).max_decoding_message_size(MAX_MESSAGE),
        workload: WorkloadServiceClient::new(channel.clone()).max_decoding_message_size(MAX_MESSAGE),
        bundle: BundleServiceClient::new(channel.clone()).max_decoding_message_size(MAX_MESSAGE),
        release: ReleaseServiceClient::new(channel.clone()).max_decoding_message_size(MAX_MESSAGE),
        backup: BackupServiceClient::new(channel.clone()).max_decoding_message_size(MAX_MESSAGE),
        destination: DestinationServiceClient::new(channel.clone()),
        configuration: ConfigurationServiceClient::new(channel.clone())
            .max_decoding_message_size(MAX_MESSAGE),
        run: RunServiceClient::new(channel.clone()).max_decoding_message_size(MAX_MESSAGE),
        token: TokenServiceClient::new(channel.clone()),
        account: AccountServiceClient::new(channel.clone()).max_decoding_message_size(MAX_MESSAGE),
        notify: NotifyServiceClient::new(channel.clone()).max_decoding_message_size(MAX_MESSAGE),
        web: WebServiceClient::new(channel.clone()),
        system: SystemServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE),
    })
}

async fn dial(socket: PathBuf) -> anyhow::Result<Channel> {
    // Looked at first: the channel hides why it could not connect.
    drop(UnixStream::connect(&socket).await?);
    let connector = tower::service_fn(move |_: Uri| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    let endpoint = Endpoint::from_static("http://management-module").connect_timeout(DEADLINE);
    Ok(endpoint.connect_with_connector(connector).await?)
}
