//! Wire to one use case to wire. Offered on a unix socket; the peer is known by its user id.
//!
//! **Invariant:** nothing is decided here, and every mutation leaves an audit record, also one that fails.

pub mod backup;
pub mod system;

use jiff::Timestamp;
use satellite_proto::wire::management::v1::backup_service_server::BackupServiceServer;
use satellite_proto::wire::management::v1::system_service_server::SystemServiceServer;
use tonic::transport::server::UdsConnectInfo;
use tonic::{Request, Status};

use crate::app::{Actor, App};

/// All services of the module.
#[must_use]
pub fn routes(app: &App) -> tonic::service::Routes {
    let mut routes = tonic::service::Routes::builder();
    routes.add_service(SystemServiceServer::new(system::System(app.clone())));
    routes.add_service(BackupServiceServer::new(backup::BackupApi::new(app.clone())));
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

/// A time as the wire has it.
#[must_use]
pub fn wire_time(time: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: time.as_second(),
        nanos: time.subsec_nanosecond(),
    }
}
