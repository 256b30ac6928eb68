//! Who releases, and tries that failed.

use std::pin::Pin;

use futures_util::Stream;
use satellite_proto::bundle::{Signed, TrustRecord, WorkloadName};
use satellite_proto::wire::bridge::v1::SignedDocument;
use satellite_proto::wire::management::v1 as wire;
use tonic::{Request, Response, Status};

use super::{actor, asked, job_events, name_of, to_the_end, workload_name_of};
use crate::app::{App, retry, trust};
use crate::names::SatelliteName;

/// The service.
#[derive(Debug, Clone)]
pub struct Release(pub App);

#[tonic::async_trait]
impl wire::release_service_server::ReleaseService for Release {
    type RetryUpdateStream = Pin<Box<dyn Stream<Item = Result<wire::JobEvent, Status>> + Send>>;

    async fn publish_trust(
        &self,
        request: Request<wire::PublishTrustRequest>,
    ) -> Result<Response<wire::PublishTrustResponse>, Status> {
        let actor = actor(&request)?;
        let request = request.into_inner();
        let offered = TrustRecord {
            roots: request.roots.into_iter().map(signed_of).collect(),
            keys: request.keys.map(signed_of),
        };
        let app = self.0.clone();
        let (trust, changed) = to_the_end(async move {
            let result = trust::publish(&app, &offered).await;
            app.audit
                .recorded(&actor, "ReleaseService/PublishTrust", "keys", result)
                .await
        })
        .await?;
        Ok(Response::new(wire::PublishTrustResponse {
            trust: Some(trust),
            changed,
        }))
    }

    async fn get_trust(
        &self,
        request: Request<wire::GetTrustRequest>,
    ) -> Result<Response<wire::GetTrustResponse>, Status> {
        let trust = match request.into_inner().satellite.as_str() {
            "" => trust::own(&self.0).await?,
            satellite => trust::of_satellite(&self.0, &name_of(satellite)?).await?,
        };
        Ok(Response::new(wire::GetTrustResponse { trust: Some(trust) }))
    }

    async fn retry_update(
        &self,
        request: Request<wire::RetryUpdateRequest>,
    ) -> Result<Response<Self::RetryUpdateStream>, Status> {
        let actor = actor(&request)?;
        let request = request.into_inner();
        let (action, subject) = ("ReleaseService/RetryUpdate", request.workload.clone());
        let wish = targets(&request.workload, &request.satellites);
        let (workload, satellites) = asked(&self.0, (&actor, action, &subject), wish).await?;
        let app = self.0.clone();
        let job = to_the_end(async move {
            let result = retry::retry(&app, &workload, satellites).await;
            app.audit.recorded(&actor, action, &subject, result).await
        })
        .await?;
        job_events(&self.0, &job).await
    }
}

fn targets(workload: &str, satellites: &[String]) -> Result<(WorkloadName, Vec<SatelliteName>), Status> {
    let satellites = satellites.iter().map(|name| name_of(name));
    Ok((workload_name_of(workload)?, satellites.collect::<Result<_, _>>()?))
}

/// A document as the wire has it.
pub(super) fn signed_of(document: SignedDocument) -> Signed {
    Signed {
        document: document.document,
        signatures: document.signatures,
    }
}
