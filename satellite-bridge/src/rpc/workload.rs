//! Wire for the workload service.

use satellite_proto::bundle::WorkloadName;
use satellite_proto::wire::bridge::v1::workload_service_server::WorkloadService;
use satellite_proto::wire::bridge::v1::{
    GetWorkloadRequest, GetWorkloadResponse, ListWorkloadsRequest, ListWorkloadsResponse,
    RemoveWorkloadRequest, RemoveWorkloadResponse, RestartWorkloadRequest, RestartWorkloadResponse,
    StartWorkloadRequest, StartWorkloadResponse, StopWorkloadRequest, StopWorkloadResponse,
};
use tonic::{Request, Response, Status};

use crate::workload::{WorkloadError, Workloads};

/// Serves [`Workloads`].
#[derive(Debug, Clone)]
pub struct WorkloadRpc {
    workloads: Workloads,
}

impl WorkloadRpc {
    /// Wraps the domain.
    #[must_use]
    pub fn new(workloads: Workloads) -> Self {
        Self { workloads }
    }
}

#[tonic::async_trait]
impl WorkloadService for WorkloadRpc {
    async fn list_workloads(
        &self,
        _request: Request<ListWorkloadsRequest>,
    ) -> Result<Response<ListWorkloadsResponse>, Status> {
        Ok(Response::new(ListWorkloadsResponse {
            workloads: self.workloads.look().await,
        }))
    }

    async fn get_workload(
        &self,
        request: Request<GetWorkloadRequest>,
    ) -> Result<Response<GetWorkloadResponse>, Status> {
        let name = name(&request.get_ref().name)?;
        let workload = self.workloads.get(&name).await?;
        Ok(Response::new(GetWorkloadResponse {
            workload: Some(workload),
        }))
    }

    async fn start_workload(
        &self,
        request: Request<StartWorkloadRequest>,
    ) -> Result<Response<StartWorkloadResponse>, Status> {
        let request = request.into_inner();
        let name = name(&request.name)?;
        let operation = self
            .wait(move |workloads| workloads.start(&name, &request.idempotency_key))
            .await?;
        Ok(Response::new(StartWorkloadResponse {
            operation: Some(operation),
        }))
    }

    async fn stop_workload(
        &self,
        request: Request<StopWorkloadRequest>,
    ) -> Result<Response<StopWorkloadResponse>, Status> {
        let request = request.into_inner();
        let name = name(&request.name)?;
        let operation = self
            .wait(move |workloads| workloads.stop(&name, &request.idempotency_key))
            .await?;
        Ok(Response::new(StopWorkloadResponse {
            operation: Some(operation),
        }))
    }

    async fn restart_workload(
        &self,
        request: Request<RestartWorkloadRequest>,
    ) -> Result<Response<RestartWorkloadResponse>, Status> {
        let request = request.into_inner();
        let name = name(&request.name)?;
        let operation = self
            .wait(move |workloads| workloads.restart(&name, &request.idempotency_key))
            .await?;
        Ok(Response::new(RestartWorkloadResponse {
            operation: Some(operation),
        }))
    }

    async fn remove_workload(
        &self,
        request: Request<RemoveWorkloadRequest>,
    ) -> Result<Response<RemoveWorkloadResponse>, Status> {
        let request = request.into_inner();
        let name = name(&request.name)?;
        let work = move |workloads: Workloads| {
            workloads.remove(&name, request.remove_state, &request.idempotency_key)
        };
        let operation = self.wait(work).await?;
        Ok(Response::new(RemoveWorkloadResponse {
            operation: Some(operation),
        }))
    }
}

impl WorkloadRpc {
    /// Does what writes files where that may wait.
    async fn wait<T: Send + 'static>(
        &self,
        work: impl FnOnce(Workloads) -> Result<T, WorkloadError> + Send + 'static,
    ) -> Result<T, Status> {
        let workloads = self.workloads.clone();
        super::update::wait(move || work(workloads)).await
    }
}

fn name(text: &str) -> Result<WorkloadName, Status> {
    let parsed = text.parse::<WorkloadName>();
    parsed.map_err(|err| Status::invalid_argument(format!("name: {err}")))
}
