//! Wire for the operation service.

use std::pin::Pin;

use async_stream::stream;
use satellite_proto::wire::bridge::v1::{
    CancelOperationRequest, CancelOperationResponse, GetOperationRequest, GetOperationResponse,
    ListOperationsRequest, ListOperationsResponse, OperationState, WatchOperationRequest,
    WatchOperationResponse, operation_service_server::OperationService,
};
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::operations::Operations;

const USUAL_LIMIT: usize = 100;
const HIGHEST_LIMIT: u32 = 1000;

/// Gives access to the operations.
#[derive(Debug, Clone)]
pub struct OperationRpc {
    operations: Operations,
    stop: CancellationToken,
}

impl OperationRpc {
    /// Over these operations; `stop` ends what watches them.
    #[must_use]
    pub fn new(operations: Operations, stop: CancellationToken) -> Self {
        Self { operations, stop }
    }
}

#[tonic::async_trait]
impl OperationService for OperationRpc {
    async fn get_operation(
        &self,
        request: Request<GetOperationRequest>,
    ) -> Result<Response<GetOperationResponse>, Status> {
        let operation = self.operations.get(&request.into_inner().id)?;
        Ok(Response::new(GetOperationResponse {
            operation: Some(operation),
        }))
    }

    async fn list_operations(
        &self,
        request: Request<ListOperationsRequest>,
    ) -> Result<Response<ListOperationsResponse>, Status> {
        let limit = match request.into_inner().limit {
            0 => USUAL_LIMIT,
            limit if limit <= HIGHEST_LIMIT => usize::try_from(limit).unwrap_or(USUAL_LIMIT),
            _ => return Err(Status::invalid_argument("`limit` must be 0 to 1000")),
        };
        let operations = self.operations.list(limit);
        Ok(Response::new(ListOperationsResponse { operations }))
    }

    type WatchOperationStream =
        Pin<Box<dyn Stream<Item = Result<WatchOperationResponse, Status>> + Send + 'static>>;

    async fn watch_operation(
        &self,
        request: Request<WatchOperationRequest>,
    ) -> Result<Response<Self::WatchOperationStream>, Status> {
        let mut seen = self.operations.watch(&request.into_inner().id)?;
        let stop = self.stop.clone();
        let states = stream! {
            loop {
                let operation = seen.borrow_and_update().clone();
                let is_over = is_terminal(operation.state());
                yield Ok(WatchOperationResponse { operation: Some(operation) });
                if is_over {
                    return;
                }
                tokio::select! {
                    // An operation that is forgotten has ended before.
                    changed = seen.changed() => if changed.is_err() { return },
                    // It goes on after the daemon's next start, and is watched anew then.
                    () = stop.cancelled() => return,
                }
            }
        };
        Ok(Response::new(Box::pin(states)))
    }

    async fn cancel_operation(
        &self,
        request: Request<CancelOperationRequest>,
    ) -> Result<Response<CancelOperationResponse>, Status> {
        let operation = self.operations.cancel(&request.into_inner().id)?;
        Ok(Response::new(CancelOperationResponse {
            operation: Some(operation),
        }))
    }
}

fn is_terminal(state: OperationState) -> bool {
    matches!(
        state,
        OperationState::Succeeded | OperationState::Failed | OperationState::Cancelled
    )
}
