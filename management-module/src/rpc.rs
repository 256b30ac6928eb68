//! Wire to one use case to wire. Offered on a unix socket; the peer is known by its user id.
//!
//! **Invariant:** nothing is decided here, and every mutation leaves an audit record, also one that fails.

pub mod account;
pub mod backup;
pub mod bundle;
pub mod configuration;
pub mod destination;
pub mod fleet;
pub mod join;
pub mod network;
pub mod notify;
pub mod release;
pub mod run;
pub mod system;
pub mod token;
pub mod web;
pub mod workload;

use std::pin::Pin;

use futures_util::{Stream, StreamExt};
use jiff::Timestamp;
use satellite_proto::bundle::WorkloadName;
use satellite_proto::wire::MAX_MESSAGE;
use satellite_proto::wire::management::v1::JobEvent;
use satellite_proto::wire::management::v1::account_service_server::AccountServiceServer;
use satellite_proto::wire::management::v1::backup_service_server::BackupServiceServer;
use satellite_proto::wire::management::v1::bundle_service_server::BundleServiceServer;
use satellite_proto::wire::management::v1::configuration_service_server::ConfigurationServiceServer;
use satellite_proto::wire::management::v1::destination_service_server::DestinationServiceServer;
use satellite_proto::wire::management::v1::fleet_service_server::FleetServiceServer;
use satellite_proto::wire::management::v1::network_service_server::NetworkServiceServer;
use satellite_proto::wire::management::v1::notify_service_server::NotifyServiceServer;
use satellite_proto::wire::management::v1::release_service_server::ReleaseServiceServer;
use satellite_proto::wire::management::v1::run_service_server::RunServiceServer;
use satellite_proto::wire::management::v1::system_service_server::SystemServiceServer;
use satellite_proto::wire::management::v1::token_service_server::TokenServiceServer;
use satellite_proto::wire::management::v1::web_service_server::WebServiceServer;
use satellite_proto::wire::management::v1::workload_service_server::WorkloadServiceServer;
use tonic::transport::server::UdsConnectInfo;
use tonic::{Request, Response, Status};

use crate::app::backup::Backups;
use crate::app::{Actor, App, AppError};
use crate::names::SatelliteName;

/// All services of the module.
#[must_use]
pub fn routes(app: &App, backups: &Backups) -> tonic::service::Routes {
    let fleet = FleetServiceServer::new(fleet::Fleet(app.clone()));
    let mut routes = tonic::service::Routes::builder();
    routes.add_service(SystemServiceServer::new(system::System(app.clone())));
    routes.add_service(BackupServiceServer::new(backup::BackupApi::new(
        app.clone(),
        backups.clone(),
    )));
    routes.add_service(
        fleet
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(usize::MAX),
    );
    routes.add_service(DestinationServiceServer::new(destination::DestinationApi::new(
        app.clone(),
    )));
    routes.add_service(ConfigurationServiceServer::new(
        configuration::ConfigurationApi::new(app.clone()),
    ));
    routes.add_service(RunServiceServer::new(run::RunApi::new(app.clone())));
    routes.add_service(TokenServiceServer::new(token::Token(app.clone())));
    routes.add_service(AccountServiceServer::new(account::AccountApi(app.clone())));
    routes.add_service(NotifyServiceServer::new(notify::Notify(app.clone())));
    routes.add_service(NetworkServiceServer::new(network::Network(app.clone())));
    routes.add_service(WorkloadServiceServer::new(workload::Workload(app.clone())));
    routes.add_service(BundleServiceServer::new(bundle::Bundle(app.clone())));
    routes.add_service(ReleaseServiceServer::new(release::Release(app.clone())));
    routes.add_service(WebServiceServer::new(web::Web(app.clone())));
    routes.routes()
}

/// Who makes a call. The kernel vouches for the user id; whoever may open the socket may call.
///
/// # Errors
/// `UNAUTHENTICATED` if the connection carries no credentials.
pub fn actor<T>(request: &Request<T>) -> Result<Actor, Status> {
    request
        .extensions()
        .get::<UdsConnectInfo>()
        .and_then(|info| info.peer_cred)
        .map(|credentials| Actor::user(credentials.uid()))
        .ok_or_else(|| Status::unauthenticated("the caller's user is not known"))
}

/// A satellite's name as the wire has it, checked.
///
/// # Errors
/// `INVALID_ARGUMENT`.
pub fn name_of(text: &str) -> Result<SatelliteName, Status> {
    text.parse()
        .map_err(|error: crate::names::NotAName| Status::invalid_argument(error.to_string()))
}

/// A workload's name as the wire has it, checked.
///
/// # Errors
/// `INVALID_ARGUMENT`.
pub fn workload_name_of(text: &str) -> Result<WorkloadName, Status> {
    text.parse()
        .map_err(|error: satellite_proto::bundle::NotAWorkloadName| {
            Status::invalid_argument(error.to_string())
        })
}

/// A time as the wire has it.
#[must_use]
pub fn wire_time(time: Timestamp) -> prost_types::Timestamp {
    // Before 1970 the nanoseconds of the wire still count forwards.
    let (seconds, nanos) = (time.as_second(), time.subsec_nanosecond());
    if nanos < 0 {
        return prost_types::Timestamp {
            seconds: seconds - 1,
            nanos: nanos + 1_000_000_000,
        };
    }
    prost_types::Timestamp { seconds, nanos }
}

/// The events of a job, for a caller who may leave at any time.
///
/// # Errors
/// `NOT_FOUND`.
pub async fn job_events(
    app: &App,
    job: &str,
) -> Result<Response<Pin<Box<dyn Stream<Item = Result<JobEvent, Status>> + Send>>>, Status> {
    let events = app.jobs.subscribe(job).await?;
    Ok(Response::new(Box::pin(events.map(Ok))))
}

/// What was asked of a change, checked: one that is refused already here leaves an audit record too.
///
/// # Errors
/// Those of `asked`.
async fn asked<T>(
    app: &App,
    (actor, action, subject): (&Actor, &str, &str),
    asked: Result<T, Status>,
) -> Result<T, Status> {
    if let Err(status) = &asked {
        let text = Err(status.message().to_owned());
        app.audit.record(actor, action, subject, text).await;
    }
    asked
}

/// Does a change and its audit record to the end, whether the caller waits or not.
async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, AppError>> + Send + 'static,
) -> Result<T, AppError> {
    let done = tokio::spawn(work).await;
    done.map_err(|error| AppError::machine("end what was begun", error))
        .flatten()
}

/// What a satellite answers to a call that is only passed on.
async fn passed_on<T>(
    app: &App,
    satellite: &SatelliteName,
    answer: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, Status> {
    let answer = tokio::time::timeout(app.config.call_deadline, answer).await;
    match answer {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(AppError::remote(satellite.as_str(), status).into()),
        Err(_) => Err(Status::unavailable(format!(
            "satellite {satellite} did not answer in time"
        ))),
    }
}
