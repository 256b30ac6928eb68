//! Destinations. Credentials come in here and never go out.

use std::path::PathBuf;

use satellite_proto::wire::backup::v1::Secret;
use satellite_proto::wire::management::v1 as wire;
use tonic::{Request, Response, Status};

use super::{actor, to_the_end, wire_time};
use crate::app::App;
use crate::app::destinations::{Destinations, DropboxWish, Place, kind_of, place_of};
use crate::store::DestinationRow;

/// The service.
#[derive(Debug, Clone)]
pub struct DestinationApi(Destinations);

impl DestinationApi {
    /// The service over `app`.
    #[must_use]
    pub fn new(app: App) -> Self {
        Self(Destinations::new(app))
    }
}

fn told(row: DestinationRow) -> wire::StoredDestination {
    wire::StoredDestination {
        name: row.name.to_string(),
        kind: kind_of(&row).to_owned(),
        place: place_of(&row),
        create_time: Some(wire_time(row.created_at)),
        update_time: Some(wire_time(row.updated_at)),
        destination: row.server_directory.is_empty().then_some(row.settings),
        server_directory: row.server_directory,
        secrets: row.secrets,
    }
}

fn secret(secret: Option<Secret>) -> String {
    secret.unwrap_or_default().value
}

#[tonic::async_trait]
impl wire::destination_service_server::DestinationService for DestinationApi {
    async fn put_destination(
        &self,
        request: Request<wire::PutDestinationRequest>,
    ) -> Result<Response<wire::PutDestinationResponse>, Status> {
        let actor = actor(&request)?;
        let request = request.into_inner();
        let place = match request.server_directory.as_str() {
            "" => Place::Satellite(Box::new(request.destination.unwrap_or_default())),
            path => Place::Server(PathBuf::from(path)),
        };
        let destinations = self.0.clone();
        let row = to_the_end(async move {
            destinations
                .put(&actor, &request.name, place, request.replace)
                .await
        })
        .await?;
        Ok(Response::new(wire::PutDestinationResponse {
            destination: Some(told(row)),
        }))
    }

    async fn list_destinations(
        &self,
        _request: Request<wire::ListDestinationsRequest>,
    ) -> Result<Response<wire::ListDestinationsResponse>, Status> {
        let destinations = self.0.list().await?.into_iter().map(told).collect();
        Ok(Response::new(wire::ListDestinationsResponse { destinations }))
    }

    async fn test_destination(
        &self,
        request: Request<wire::TestDestinationRequest>,
    ) -> Result<Response<wire::TestDestinationResponse>, Status> {
        let actor = actor(&request)?;
        let wire::TestDestinationRequest {
            name,
            satellite,
            accept_host_key,
        } = request.into_inner();
        let destinations = self.0.clone();
        let tried = to_the_end(async move {
            destinations
                .test(&actor, &name, &satellite, &accept_host_key)
                .await
        })
        .await?;
        Ok(Response::new(wire::TestDestinationResponse {
            result: Some(tried.found),
            satellite: tried.satellite.map(|name| name.to_string()).unwrap_or_default(),
        }))
    }

    async fn delete_destination(
        &self,
        request: Request<wire::DeleteDestinationRequest>,
    ) -> Result<Response<wire::DeleteDestinationResponse>, Status> {
        let actor = actor(&request)?;
        let (destinations, name) = (self.0.clone(), request.into_inner().name);
        to_the_end(async move { destinations.remove(&actor, &name).await }).await?;
        Ok(Response::new(wire::DeleteDestinationResponse {}))
    }

    async fn begin_dropbox(
        &self,
        request: Request<wire::BeginDropboxRequest>,
    ) -> Result<Response<wire::BeginDropboxResponse>, Status> {
        let wire::BeginDropboxRequest { app_key, satellite } = request.into_inner();
        let begun = self.0.begin_dropbox(&app_key, &satellite).await?;
        Ok(Response::new(wire::BeginDropboxResponse {
            url: begun.url,
            verifier: Some(Secret {
                value: begun.verifier,
            }),
            satellite: begun.satellite.to_string(),
        }))
    }

    async fn finish_dropbox(
        &self,
        request: Request<wire::FinishDropboxRequest>,
    ) -> Result<Response<wire::FinishDropboxResponse>, Status> {
        let actor = actor(&request)?;
        let request = request.into_inner();
        let wish = DropboxWish {
            name: request.name,
            app_key: request.app_key,
            satellite: request.satellite,
            verifier: secret(request.verifier),
            code: secret(request.code),
            bytes_per_second: request.bytes_per_second,
            replace: request.replace,
        };
        let destinations = self.0.clone();
        let (row, account) =
            to_the_end(async move { destinations.finish_dropbox(&actor, wish).await }).await?;
        Ok(Response::new(wire::FinishDropboxResponse {
            destination: Some(told(row)),
            account,
        }))
    }
}
