//! Calls about the satellite's network, and connections to wherever it has gone.

use satellite_proto::tls::{Expect, channel_over, client_config, dial};
use satellite_proto::wire::bridge::v1 as pb;
use satellite_proto::wire::bridge::v1::network_service_client::NetworkServiceClient;
use tonic::Status;

use super::{CALL, Line, Manager, key, within};

impl Manager {
    /// A new connection to the satellite where it may be now.
    ///
    /// # Errors
    ///
    /// If it is not there.
    pub async fn line_at(&self, address: &str) -> anyhow::Result<Line> {
        let config = client_config(&self.leaf, Expect::Pin(self.satellite))?;
        let dialled = dial(&format!("{address}:7640"), config, CALL).await?;
        Ok(Line {
            channel: channel_over(dialled).await?,
        })
    }
}

impl Line {
    /// The satellite's network.
    ///
    /// # Errors
    ///
    /// As the satellite answers.
    pub async fn network(&self) -> Result<pb::GetNetworkResponse, Status> {
        let mut client = NetworkServiceClient::new(self.channel.clone());
        within(CALL, client.get_network(pb::GetNetworkRequest {})).await
    }

    /// Opens a change and answers it.
    ///
    /// # Errors
    ///
    /// As the satellite answers.
    pub async fn set_network(
        &self,
        settings: pb::NetworkSettings,
        seconds: u32,
    ) -> Result<pb::SetNetworkResponse, Status> {
        let mut client = NetworkServiceClient::new(self.channel.clone());
        let request = pb::SetNetworkRequest {
            settings: Some(settings),
            confirm_seconds: seconds,
            force: false,
            idempotency_key: key(),
        };
        within(CALL, client.set_network(request)).await
    }

    /// Keeps a change.
    ///
    /// # Errors
    ///
    /// As the satellite answers.
    pub async fn confirm_network(&self, id: &str) -> Result<(), Status> {
        let mut client = NetworkServiceClient::new(self.channel.clone());
        let request = pb::ConfirmNetworkRequest {
            change_id: id.to_owned(),
            idempotency_key: key(),
        };
        within(CALL, client.confirm_network(request)).await.map(drop)
    }

    /// Takes a change back.
    ///
    /// # Errors
    ///
    /// As the satellite answers.
    pub async fn rollback_network(&self, id: &str) -> Result<(), Status> {
        let mut client = NetworkServiceClient::new(self.channel.clone());
        let request = pb::RollbackNetworkRequest {
            change_id: id.to_owned(),
            idempotency_key: key(),
        };
        within(CALL, client.rollback_network(request)).await.map(drop)
    }
}
