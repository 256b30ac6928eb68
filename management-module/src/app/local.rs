//! A backup-service on the server itself (A12): it is called over its unix socket, and stands among the satellites
//! under the name [`HERE`].
//!
//! **Invariant:** where none is configured there is none: the name means a satellite then.

use std::path::Path;

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};

use super::{App, AppError};
use crate::names::SatelliteName;

/// What stands where the name of a satellite does.
pub const HERE: &str = "server";

/// The channel to the backup-service of a satellite, or to the server's own.
pub(in crate::app) fn channel(app: &App, name: &SatelliteName) -> Result<Channel, AppError> {
    match &app.config.local_backup_service {
        Some(socket) if name.as_str() == HERE => Ok(over(socket)),
        _ => Ok(app.fleet.channel(name)?),
    }
}

/// Where a backup-service may be: the server itself, if it has one, and the satellites.
pub(in crate::app) async fn places(app: &App) -> Result<Vec<SatelliteName>, AppError> {
    let here = app
        .config
        .local_backup_service
        .as_ref()
        .and_then(|_| HERE.parse().ok());
    let mut places: Vec<SatelliteName> = here.into_iter().collect();
    for row in app.store.satellites().await? {
        if !places.contains(&row.name) {
            places.push(row.name);
        }
    }
    Ok(places)
}

fn over(socket: &Path) -> Channel {
    let socket = socket.to_owned();
    let connector = tower::service_fn(move |_: Uri| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    Endpoint::from_static("http://backup-service").connect_with_connector_lazy(connector)
}
