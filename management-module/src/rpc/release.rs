//! Who releases, what updates would do and did, and rollouts.

mod wire_rollout;

use std::pin::Pin;

use futures_util::Stream;
use satellite_proto::bundle::{Signed, TrustRecord, WorkloadName};
use satellite_proto::wire::bridge::v1::SignedDocument;
use satellite_proto::wire::management::v1 as wire;
use tonic::{Request, Response, Status};

use super::{actor, asked, job_events, name_of, to_the_end, workload_name_of};
use crate::app::{App, AppError, preview, retry, rollout, trust};
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

    async fn plan_update(
        &self,
        request: Request<wire::PlanUpdateRequest>,
    ) -> Result<Response<wire::PlanUpdateResponse>, Status> {
        let request = request.into_inner();
        let question = preview::Question {
            workload: match request.workload.as_str() {
                "" => None,
                name => Some(workload_name_of(name)?),
            },
            version: match request.version.as_str() {
                "" => None,
                text => Some(version_of(text)?),
            },
            satellites: names_of(&request.satellites)?,
        };
        let steps = preview::preview(&self.0, &question).await?;
        let steps = steps.into_iter().map(|planned| wire::PlannedStep {
            satellite: planned.satellite.to_string(),
            step: planned.step.to_owned(),
            subject: planned.subject,
            detail: planned.detail,
            bytes: planned.bytes,
        });
        Ok(Response::new(wire::PlanUpdateResponse {
            steps: steps.collect(),
        }))
    }

    async fn list_history(
        &self,
        request: Request<wire::ListHistoryRequest>,
    ) -> Result<Response<wire::ListHistoryResponse>, Status> {
        let request = request.into_inner();
        let limit = match request.limit {
            0 => 50,
            limit => limit.min(1000),
        };
        let rows = self
            .0
            .store
            .history(&request.satellite, &request.workload, limit)
            .await
            .map_err(AppError::from)?;
        Ok(Response::new(wire::ListHistoryResponse {
            updates: rows.into_iter().map(wire_rollout::record).collect(),
        }))
    }

    async fn start_rollout(
        &self,
        request: Request<wire::StartRolloutRequest>,
    ) -> Result<Response<wire::StartRolloutResponse>, Status> {
        let actor = actor(&request)?;
        let request = request.into_inner();
        let (action, subject) = (
            "ReleaseService/StartRollout",
            format!("{} {}", request.workload, request.version),
        );
        let ask = asked(&self.0, (&actor, action, &subject), wire_rollout::ask(request)).await?;
        let app = self.0.clone();
        let shown = to_the_end(async move {
            let result = rollout::start(&app, ask).await;
            app.audit.recorded(&actor, action, &subject, result).await
        })
        .await?;
        Ok(Response::new(wire::StartRolloutResponse {
            rollout: Some(wire_rollout::rollout(&shown)),
        }))
    }

    async fn steer_rollout(
        &self,
        request: Request<wire::SteerRolloutRequest>,
    ) -> Result<Response<wire::SteerRolloutResponse>, Status> {
        use wire::steer_rollout_request::Action;

        let actor = actor(&request)?;
        let request = request.into_inner();
        let (action, steer) = match request.action() {
            Action::Pause => ("ReleaseService/PauseRollout", rollout::Steer::Pause),
            Action::Resume => ("ReleaseService/ResumeRollout", rollout::Steer::Resume),
            Action::Abort => ("ReleaseService/AbortRollout", rollout::Steer::Abort),
            Action::Unspecified => return Err(Status::invalid_argument("action: which one is not said")),
        };
        let app = self.0.clone();
        let shown = to_the_end(async move {
            let result = rollout::steer(&app, &request.id, steer).await;
            app.audit.recorded(&actor, action, &request.id, result).await
        })
        .await?;
        Ok(Response::new(wire::SteerRolloutResponse {
            rollout: Some(wire_rollout::rollout(&shown)),
        }))
    }

    async fn get_rollout(
        &self,
        request: Request<wire::GetRolloutRequest>,
    ) -> Result<Response<wire::GetRolloutResponse>, Status> {
        let shown = rollout::show(&self.0, &request.into_inner().id).await?;
        Ok(Response::new(wire::GetRolloutResponse {
            rollout: Some(wire_rollout::rollout(&shown)),
            targets: shown.targets.into_iter().map(wire_rollout::target).collect(),
        }))
    }

    async fn list_rollouts(
        &self,
        _request: Request<wire::ListRolloutsRequest>,
    ) -> Result<Response<wire::ListRolloutsResponse>, Status> {
        let all = rollout::list(&self.0).await?;
        Ok(Response::new(wire::ListRolloutsResponse {
            rollouts: all.iter().map(wire_rollout::rollout).collect(),
        }))
    }

    async fn set_site(
        &self,
        request: Request<wire::SetSiteRequest>,
    ) -> Result<Response<wire::SetSiteResponse>, Status> {
        let actor = actor(&request)?;
        let request = request.into_inner();
        let (action, subject) = ("ReleaseService/SetSite", request.satellite.clone());
        let wish = wire_rollout::site(&request);
        let (satellite, site) = asked(&self.0, (&actor, action, &subject), wish).await?;
        let app = self.0.clone();
        to_the_end(async move {
            let set = app.store.set_site(&satellite, &site).await;
            let result = match set {
                Ok(true) => Ok(()),
                Ok(false) => Err(AppError::no("satellite", satellite.to_string())),
                Err(error) => Err(error.into()),
            };
            app.audit.recorded(&actor, action, &subject, result).await
        })
        .await?;
        Ok(Response::new(wire::SetSiteResponse {}))
    }
}

fn targets(workload: &str, satellites: &[String]) -> Result<(WorkloadName, Vec<SatelliteName>), Status> {
    Ok((workload_name_of(workload)?, names_of(satellites)?))
}

fn names_of(satellites: &[String]) -> Result<Vec<SatelliteName>, Status> {
    satellites.iter().map(|name| name_of(name)).collect()
}

pub(super) fn version_of(text: &str) -> Result<semver::Version, Status> {
    let version = text.parse();
    version.map_err(|_| Status::invalid_argument(format!("{text:?} is not a version such as 1.2.3")))
}

/// A document as the wire has it.
pub(super) fn signed_of(document: SignedDocument) -> Signed {
    Signed {
        document: document.document,
        signatures: document.signatures,
    }
}
