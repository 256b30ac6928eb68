//! What runs on satellites.

use std::pin::Pin;

use futures_util::Stream;
use satellite_proto::bundle::WorkloadName;
use satellite_proto::wire::management::v1 as wire;
use tonic::{Request, Response, Status};

use super::{actor, asked, fleet, job_events, name_of, to_the_end, workload_name_of};
use crate::app::{App, workloads};
use crate::names::SatelliteName;

/// The service.
#[derive(Debug, Clone)]
pub struct Workload(pub App);

type Events = Pin<Box<dyn Stream<Item = Result<wire::JobEvent, Status>> + Send>>;

#[tonic::async_trait]
impl wire::workload_service_server::WorkloadService for Workload {
    type StartWorkloadStream = Events;
    type StopWorkloadStream = Events;
    type RestartWorkloadStream = Events;

    async fn list_workloads(
        &self,
        _request: Request<wire::ListWorkloadsRequest>,
    ) -> Result<Response<wire::ListWorkloadsResponse>, Status> {
        let all = workloads::list(&self.0).await?;
        let workloads = all.into_iter().map(|workload| wire::FleetWorkload {
            satellite: workload.satellite.to_string(),
            desired: fleet::desired(&workload),
            observed: workload.observed,
        });
        Ok(Response::new(wire::ListWorkloadsResponse {
            workloads: workloads.collect(),
        }))
    }

    async fn start_workload(
        &self,
        request: Request<wire::StartWorkloadRequest>,
    ) -> Result<Response<Events>, Status> {
        let actor = actor(&request)?;
        let wire::StartWorkloadRequest { satellite, workload } = request.into_inner();
        self.set_running(actor, &satellite, &workload, true).await
    }

    async fn stop_workload(
        &self,
        request: Request<wire::StopWorkloadRequest>,
    ) -> Result<Response<Events>, Status> {
        let actor = actor(&request)?;
        let wire::StopWorkloadRequest { satellite, workload } = request.into_inner();
        self.set_running(actor, &satellite, &workload, false).await
    }

    async fn restart_workload(
        &self,
        request: Request<wire::RestartWorkloadRequest>,
    ) -> Result<Response<Events>, Status> {
        let actor = actor(&request)?;
        let request = request.into_inner();
        let what = format!("{}/{}", request.satellite, request.workload);
        let names = names_of(&request.satellite, &request.workload);
        let (satellite, workload) =
            asked(&self.0, (&actor, "WorkloadService/RestartWorkload", &what), names).await?;
        let job = workloads::restart(&self.0, &satellite, &workload, actor).await?;
        job_events(&self.0, &job).await
    }
}

fn names_of(satellite: &str, workload: &str) -> Result<(SatelliteName, WorkloadName), Status> {
    Ok((name_of(satellite)?, workload_name_of(workload)?))
}

impl Workload {
    async fn set_running(
        &self,
        actor: crate::app::Actor,
        satellite: &str,
        workload: &str,
        running: bool,
    ) -> Result<Response<Events>, Status> {
        let action = if running {
            "WorkloadService/StartWorkload"
        } else {
            "WorkloadService/StopWorkload"
        };
        let subject = format!("{satellite}/{workload}");
        let names = names_of(satellite, workload);
        let (satellite, workload) = asked(&self.0, (&actor, action, &subject), names).await?;
        let app = self.0.clone();
        let job = to_the_end(async move {
            let result = workloads::set_running(&app, &satellite, &workload, running).await;
            app.audit.recorded(&actor, action, &subject, result).await
        })
        .await?;
        job_events(&self.0, &job).await
    }
}
