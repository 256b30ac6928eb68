//! Keys of the installation that satellites are to refuse: of a replica that was lost, or of one whose key was copied.
//!
//! **Invariant:** this server never has the key refused by which it connects itself.

use futures_util::StreamExt as _;
use satellite_proto::identity::Pin;
use satellite_proto::wire::bridge::v1::RevokePeerRequest;
use satellite_proto::wire::bridge::v1::satellite_service_client::SatelliteServiceClient;

use super::remote::{call, new_key};
use super::{Actor, App, AppError};
use crate::names::SatelliteName;

/// Satellites that are told at once.
const AT_ONCE: usize = 32;

/// What the audit log calls it.
const ACTION: &str = "FleetService/RevokePeer";

/// Has `peer` refused by `satellites` (none: all) from now on. Answers for each the connections that were cut, or why it
/// could not be told; one that does not answer has to be told again.
///
/// # Errors
/// [`AppError::NotFound`] one is not known; [`AppError::Precondition`] it is the key of this server: nobody was told.
pub async fn revoke(
    app: &App,
    actor: &Actor,
    peer: Pin,
    satellites: Vec<SatelliteName>,
) -> Result<Vec<(SatelliteName, Result<u32, AppError>)>, AppError> {
    let chosen = chosen(app, peer, satellites).await;
    let chosen = app.audit.begun(actor, ACTION, &peer.to_string(), chosen).await?;
    let told = futures_util::stream::iter(chosen).map(|name| async move {
        let told = tell(app, &name, peer).await;
        let subject = format!("{name}/{peer}");
        (name, app.audit.recorded(actor, ACTION, &subject, told).await)
    });
    Ok(told.buffered(AT_ONCE).collect().await)
}

async fn chosen(
    app: &App,
    peer: Pin,
    satellites: Vec<SatelliteName>,
) -> Result<Vec<SatelliteName>, AppError> {
    if peer == app.fleet.identity().pin() {
        return Err(AppError::Precondition(
            "this is the key by which this server itself connects: its satellites would refuse it".to_owned(),
        ));
    }
    let known: Vec<SatelliteName> = app
        .store
        .satellites()
        .await?
        .into_iter()
        .map(|row| row.name)
        .collect();
    if satellites.is_empty() {
        return Ok(known);
    }
    match satellites.iter().find(|name| !known.contains(name)) {
        Some(unknown) => Err(AppError::no("satellite", unknown.to_string())),
        None => Ok(satellites),
    }
}

async fn tell(app: &App, satellite: &SatelliteName, peer: Pin) -> Result<u32, AppError> {
    let mut client = SatelliteServiceClient::new(app.fleet.channel(satellite)?);
    let request = RevokePeerRequest {
        fingerprint: peer.to_string(),
        idempotency_key: new_key(),
    };
    let answer = call(satellite, app.config.call_deadline, client.revoke_peer(request)).await?;
    Ok(answer.connections_cut)
}
