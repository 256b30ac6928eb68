//! The networks of satellites.

use satellite_proto::wire::management::v1 as wire;
use tonic::{Request, Response, Status};

use super::{actor, asked, name_of, to_the_end};
use crate::app::App;
use crate::app::network::{self, Wanted};
use crate::names::{Address, NotAnAddress};

/// The service.
#[derive(Debug, Clone)]
pub struct Network(pub App);

fn address_of(text: &str) -> Result<Address, Status> {
    text.parse()
        .map_err(|error: NotAnAddress| Status::invalid_argument(error.to_string()))
}

#[tonic::async_trait]
impl wire::network_service_server::NetworkService for Network {
    async fn get_network(
        &self,
        request: Request<wire::GetNetworkRequest>,
    ) -> Result<Response<wire::GetNetworkResponse>, Status> {
        let name = name_of(&request.into_inner().satellite)?;
        let network = network::show(&self.0, &name).await?;
        Ok(Response::new(wire::GetNetworkResponse {
            network: Some(network),
        }))
    }

    async fn probe_network(
        &self,
        request: Request<wire::ProbeNetworkRequest>,
    ) -> Result<Response<wire::ProbeNetworkResponse>, Status> {
        let request = request.into_inner();
        let name = name_of(&request.satellite)?;
        let settings = request.settings.unwrap_or_default();
        let findings = network::probe(&self.0, &name, settings).await?;
        Ok(Response::new(wire::ProbeNetworkResponse { findings }))
    }

    async fn set_network(
        &self,
        request: Request<wire::SetNetworkRequest>,
    ) -> Result<Response<wire::SetNetworkResponse>, Status> {
        let actor = actor(&request)?;
        let request = request.into_inner();
        let action = "NetworkService/SetNetwork";
        let address = Some(request.address.as_str()).filter(|text| !text.is_empty());
        let checked = name_of(&request.satellite)
            .and_then(|name| Ok((name, address.map(address_of).transpose()?)))
            .and_then(|(name, address)| {
                let settings = request
                    .settings
                    .ok_or_else(|| Status::invalid_argument("`settings` are missing"))?;
                Ok((name, address, settings))
            });
        let (name, address, settings) = asked(&self.0, (&actor, action, &request.satellite), checked).await?;
        let wanted = Wanted {
            settings,
            address,
            confirm_seconds: request.confirm_seconds,
            force: request.force,
        };
        // A change that was begun is confirmed or undone, whether the caller waits or not.
        let app = self.0.clone();
        let done = to_the_end(async move {
            let result = network::set(&app, &name, wanted).await;
            app.audit.recorded(&actor, action, name.as_str(), result).await
        })
        .await?;
        Ok(Response::new(wire::SetNetworkResponse {
            address: done.address.to_string(),
            findings: done.findings,
        }))
    }

    async fn rollback_network(
        &self,
        request: Request<wire::RollbackNetworkRequest>,
    ) -> Result<Response<wire::RollbackNetworkResponse>, Status> {
        let actor = actor(&request)?;
        let action = "NetworkService/RollbackNetwork";
        let text = request.into_inner().satellite;
        let name = asked(&self.0, (&actor, action, &text), name_of(&text)).await?;
        let app = self.0.clone();
        to_the_end(async move {
            let result = network::rollback(&app, &name).await;
            app.audit.recorded(&actor, action, name.as_str(), result).await
        })
        .await?;
        Ok(Response::new(wire::RollbackNetworkResponse {}))
    }

    async fn move_satellite(
        &self,
        request: Request<wire::MoveSatelliteRequest>,
    ) -> Result<Response<wire::MoveSatelliteResponse>, Status> {
        let actor = actor(&request)?;
        let action = "NetworkService/MoveSatellite";
        let request = request.into_inner();
        let checked = name_of(&request.satellite).and_then(|name| Ok((name, address_of(&request.address)?)));
        let (name, address) = asked(&self.0, (&actor, action, &request.satellite), checked).await?;
        let (app, place) = (self.0.clone(), address.clone());
        to_the_end(async move {
            let result = network::move_to(&app, &name, &place).await;
            app.audit.recorded(&actor, action, name.as_str(), result).await
        })
        .await?;
        Ok(Response::new(wire::MoveSatelliteResponse {
            address: address.to_string(),
        }))
    }
}
