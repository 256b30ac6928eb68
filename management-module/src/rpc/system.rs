//! The module itself.

use satellite_proto::wire::management::v1 as wire;
use tonic::{Request, Response, Status};

use super::wire_time;
use crate::app::{App, AppError};
use crate::fleet::Reachability;

/// The service.
#[derive(Debug, Clone)]
pub struct System(pub App);

#[tonic::async_trait]
impl wire::system_service_server::SystemService for System {
    async fn get_system(
        &self,
        _request: Request<wire::GetSystemRequest>,
    ) -> Result<Response<wire::GetSystemResponse>, Status> {
        let rows = self.0.store.satellites().await.map_err(AppError::from)?;
        let answers = |name| {
            let link = self.0.fleet.observed(name);
            link.is_ok_and(|link| link.reachability == Reachability::Reachable)
        };
        let reachable = rows.iter().filter(|row| answers(&row.name)).count();
        Ok(Response::new(wire::GetSystemResponse {
            version: env!("CARGO_PKG_VERSION").into(),
            start_time: Some(wire_time(self.0.started_at)),
            installation_fingerprint: self.0.installation_pin().to_string(),
            satellites: u32::try_from(rows.len()).unwrap_or(u32::MAX),
            reachable: u32::try_from(reachable).unwrap_or(u32::MAX),
            leaf_fingerprint: self.0.fleet.identity().pin().to_string(),
        }))
    }

    async fn list_audit_records(
        &self,
        request: Request<wire::ListAuditRecordsRequest>,
    ) -> Result<Response<wire::ListAuditRecordsResponse>, Status> {
        let limit = match request.into_inner().limit {
            0 => 100,
            limit @ 1..=1000 => limit,
            _ => return Err(Status::invalid_argument("`limit` must be 1 to 1000")),
        };
        let rows = self.0.audit.newest(limit).await.map_err(AppError::from)?;
        let records = rows.into_iter().map(|row| wire::AuditRecord {
            sequence: row.sequence,
            time: Some(wire_time(row.time)),
            actor: row.actor,
            action: row.action,
            subject: row.subject,
            result: row.result,
        });
        Ok(Response::new(wire::ListAuditRecordsResponse {
            records: records.collect(),
        }))
    }
}
