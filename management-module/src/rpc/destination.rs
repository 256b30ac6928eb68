//! Destinations. Credentials come in here and never go out.

use std::path::PathBuf;
use std::pin::Pin;

use futures_util::Stream;
use satellite_proto::wire::backup::v1::Secret;
use satellite_proto::wire::management::v1 as wire;
use tonic::{Request, Response, Status};

use super::{actor, job_events, to_the_end, wire_time};
use crate::app::App;
use crate::app::destinations::{CopyKeys, CopyPlace, Destinations, DropboxWish, Place, kind_of, place_of};
use crate::store::DestinationRow;

/// The service.
#[derive(Debug, Clone)]
pub struct DestinationApi {
    app: App,
    destinations: Destinations,
}

impl DestinationApi {
    /// The service over `app`.
    #[must_use]
    pub fn new(app: App) -> Self {
        Self {
            destinations: Destinations::new(app.clone()),
            app,
        }
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

type Events = Pin<Box<dyn Stream<Item = Result<wire::JobEvent, Status>> + Send>>;

#[tonic::async_trait]
impl wire::destination_service_server::DestinationService for DestinationApi {
    type FetchCopyStream = Events;

    async fn list_copies(
        &self,
        request: Request<wire::ListCopiesRequest>,
    ) -> Result<Response<wire::ListCopiesResponse>, Status> {
        let request = request.into_inner();
        let place = CopyPlace {
            destination: request.name,
            directory: request.directory,
            satellite: request.satellite,
        };
        let copies = self.destinations.copies(&place, &request.configuration).await?;
        Ok(Response::new(wire::ListCopiesResponse { copies }))
    }

    async fn fetch_copy(
        &self,
        request: Request<wire::FetchCopyRequest>,
    ) -> Result<Response<Self::FetchCopyStream>, Status> {
        let actor = actor(&request)?;
        let request = request.into_inner();
        let place = CopyPlace {
            destination: request.name,
            directory: request.directory,
            satellite: request.satellite,
        };
        let keys = CopyKeys {
            identities: request.identities,
            passphrase: request.passphrase,
        };
        let copy = (request.path.as_str(), keys);
        let key = &request.idempotency_key;
        let job = self.destinations.fetch(actor, place, copy, key).await?;
        job_events(&self.app, &job).await
    }

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
        let destinations = self.destinations.clone();
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
        let destinations = self.destinations.list().await?.into_iter().map(told).collect();
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
        let destinations = self.destinations.clone();
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
        let (destinations, name) = (self.destinations.clone(), request.into_inner().name);
        to_the_end(async move { destinations.remove(&actor, &name).await }).await?;
        Ok(Response::new(wire::DeleteDestinationResponse {}))
    }

    async fn begin_dropbox(
        &self,
        request: Request<wire::BeginDropboxRequest>,
    ) -> Result<Response<wire::BeginDropboxResponse>, Status> {
        let wire::BeginDropboxRequest { app_key, satellite } = request.into_inner();
        let begun = self.destinations.begin_dropbox(&app_key, &satellite).await?;
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
        let destinations = self.destinations.clone();
        let (row, account) =
            to_the_end(async move { destinations.finish_dropbox(&actor, wish).await }).await?;
        Ok(Response::new(wire::FinishDropboxResponse {
            destination: Some(told(row)),
            account,
        }))
    }
}
