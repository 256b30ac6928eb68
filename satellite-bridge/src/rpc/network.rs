//! Wire for the network service: wire to one call to wire.

use std::time::Duration;

use satellite_proto::wire::bridge::v1 as wire;
use satellite_proto::wire::bridge::v1::network_service_server::NetworkService;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::change::confirm_time;
use crate::network::wire::{change_to_wire, finding_to_wire, from_wire, state_to_wire};
use crate::network::{Network, NetworkError, Settings, Severity};
use crate::operations::Replies;

/// What an answer needs to leave before addresses change under it.
const BEFORE_CHANGE: Duration = Duration::from_millis(700);

/// The network service.
#[derive(Debug, Clone)]
pub struct NetworkRpc {
    network: Network,
    replies: Replies,
}

impl NetworkRpc {
    /// Serves `network`, and answers repeated calls from `replies`.
    #[must_use]
    pub fn new(network: Network, replies: Replies) -> Self {
        Self { network, replies }
    }
}

#[tonic::async_trait]
impl NetworkService for NetworkRpc {
    async fn get_network(
        &self,
        _request: Request<wire::GetNetworkRequest>,
    ) -> Result<Response<wire::GetNetworkResponse>, Status> {
        let settings = self.network.settings().map_err(|err| refusal(&err))?;
        let open = self.network.open_change();
        let observed = self.network.observe().await;
        Ok(Response::new(state_to_wire(&settings, open.as_ref(), &observed)))
    }

    async fn probe_network(
        &self,
        request: Request<wire::ProbeNetworkRequest>,
    ) -> Result<Response<wire::ProbeNetworkResponse>, Status> {
        let settings = settings_of(request.into_inner().settings)?;
        let findings = self.network.probe(&settings).await;
        Ok(Response::new(wire::ProbeNetworkResponse {
            findings: findings.iter().map(finding_to_wire).collect(),
        }))
    }

    async fn set_network(
        &self,
        request: Request<wire::SetNetworkRequest>,
    ) -> Result<Response<wire::SetNetworkResponse>, Status> {
        let wire::SetNetworkRequest {
            settings,
            confirm_seconds,
            force,
            idempotency_key,
        } = request.into_inner();
        let network = self.network.clone();
        let work = move || async move {
            let settings = settings_of(settings)?;
            let confirm = match confirm_seconds {
                0 => network.confirm_time(),
                seconds => confirm_time(seconds).ok_or_else(|| {
                    Status::invalid_argument("the time to confirm must be 10 to 600 seconds, or 0")
                })?,
            };
            let findings = network.probe(&settings).await;
            let worst = findings
                .iter()
                .find(|finding| finding.severity() == Severity::Error);
            if let (Some(finding), false) = (worst, force) {
                return Err(Status::failed_precondition(format!(
                    "{finding}; nothing was changed"
                )));
            }
            let open = network
                .announce(&settings, confirm)
                .await
                .map_err(|err| refusal(&err))?;
            let id = open.id;
            tokio::spawn(async move {
                tokio::time::sleep(BEFORE_CHANGE).await;
                if let Err(error) = network.execute(id).await {
                    tracing::error!(change = %id, error = ?error, "Network settings could not be brought into force");
                }
            });
            Ok(wire::SetNetworkResponse {
                change: Some(change_to_wire(&open)),
                findings: findings.iter().map(finding_to_wire).collect(),
            })
        };
        self.replies
            .replay("SetNetwork", &idempotency_key, work)
            .await
            .map(Response::new)
    }

    async fn confirm_network(
        &self,
        request: Request<wire::ConfirmNetworkRequest>,
    ) -> Result<Response<wire::ConfirmNetworkResponse>, Status> {
        let established = super::peer(&request)?.established;
        let wire::ConfirmNetworkRequest {
            change_id,
            idempotency_key,
        } = request.into_inner();
        let network = self.network.clone();
        let work = move || async move {
            let id = change_id_from(&change_id)?;
            let confirmed = network.confirm_over(id, established).await;
            confirmed.map_err(|err| refusal(&err))?;
            Ok(wire::ConfirmNetworkResponse {})
        };
        self.replies
            .replay("ConfirmNetwork", &idempotency_key, work)
            .await
            .map(Response::new)
    }

    async fn rollback_network(
        &self,
        request: Request<wire::RollbackNetworkRequest>,
    ) -> Result<Response<wire::RollbackNetworkResponse>, Status> {
        let wire::RollbackNetworkRequest {
            change_id,
            idempotency_key,
        } = request.into_inner();
        let network = self.network.clone();
        let work = move || async move {
            let id = change_id_from(&change_id)?;
            if network.open_change().is_none_or(|open| open.id != id) {
                return Err(refusal(&NetworkError::NoSuchChange));
            }
            tokio::spawn(async move {
                tokio::time::sleep(BEFORE_CHANGE).await;
                if let Err(error) = network.rollback(id).await {
                    tracing::warn!(change = %id, error = ?error, "Network change was not taken back on request");
                }
            });
            Ok(wire::RollbackNetworkResponse {})
        };
        self.replies
            .replay("RollbackNetwork", &idempotency_key, work)
            .await
            .map(Response::new)
    }
}

fn settings_of(settings: Option<wire::NetworkSettings>) -> Result<Settings, Status> {
    let settings = settings.ok_or_else(|| Status::invalid_argument("the request carries no settings"))?;
    from_wire(settings).map_err(|fault| Status::invalid_argument(fault.to_string()))
}

/// An id that is none cannot name an open change.
fn change_id_from(text: &str) -> Result<Uuid, Status> {
    Uuid::parse_str(text).map_err(|_| refusal(&NetworkError::NoSuchChange))
}

fn refusal(err: &NetworkError) -> Status {
    match err {
        NetworkError::Fault(_) => Status::invalid_argument(err.to_string()),
        NetworkError::Unchanged => Status::already_exists(err.to_string()),
        NetworkError::NoSuchChange => Status::not_found(err.to_string()),
        NetworkError::ChangeOpen(_)
        | NetworkError::OldConnection
        | NetworkError::NoSuchPort(_)
        | NetworkError::NoPort
        | NetworkError::ServerMustConfirm => Status::failed_precondition(err.to_string()),
        NetworkError::NotInForce => Status::unavailable(err.to_string()),
        _ if err.is_transient() => {
            tracing::warn!(error = ?err, "A network change was not made");
            Status::unavailable(err.to_string())
        }
        _ => {
            tracing::error!(error = ?err, "The network failed");
            Status::internal(err.to_string())
        }
    }
}
