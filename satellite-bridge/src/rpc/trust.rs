//! Wire for the trust service.

use std::sync::Arc;

use satellite_proto::bundle::{DOCUMENT_MOST, ROOTS_MOST, SIGNATURES_MOST, TrustRecord};
use satellite_proto::wire::bridge::v1::trust_service_server::TrustService;
use satellite_proto::wire::bridge::v1::{
    GetTrustRequest, GetTrustResponse, SetTrustRequest, SetTrustResponse, SignedDocument, TrustState,
};
use tonic::{Request, Response, Status};

use super::update::wait;
use crate::operations::check_key;
use crate::pairing::time_of_day;
use crate::trust::{self, TrustError, Truster};
use crate::workload::Workloads;

/// Serves [`Truster`].
#[derive(Debug, Clone)]
pub struct TrustRpc {
    truster: Arc<Truster>,
    workloads: Workloads,
}

impl TrustRpc {
    /// Wraps the domain.
    #[must_use]
    pub fn new(truster: Arc<Truster>, workloads: Workloads) -> Self {
        Self { truster, workloads }
    }

    async fn state(&self) -> Result<TrustState, Status> {
        let (truster, workloads) = (self.truster.clone(), self.workloads.clone());
        wait(move || {
            let trust = truster.now()?;
            let floors = workloads.floors().describe();
            Ok::<_, TrustError>(TrustState {
                floors,
                ..trust.describe(time_of_day())
            })
        })
        .await
    }
}

#[tonic::async_trait]
impl TrustService for TrustRpc {
    async fn get_trust(
        &self,
        _request: Request<GetTrustRequest>,
    ) -> Result<Response<GetTrustResponse>, Status> {
        let trust = Some(self.state().await?);
        Ok(Response::new(GetTrustResponse { trust }))
    }

    /// Not answered from memory for a key that was seen: to follow the same documents again changes nothing.
    async fn set_trust(
        &self,
        request: Request<SetTrustRequest>,
    ) -> Result<Response<SetTrustResponse>, Status> {
        let request = request.into_inner();
        check_key(&request.idempotency_key)?;
        if request.roots.len() > ROOTS_MOST {
            return Err(Status::invalid_argument(format!(
                "roots: at most {ROOTS_MOST} are taken"
            )));
        }
        for document in request.roots.iter().chain(&request.keys) {
            check_size(document)?;
        }
        let offered = TrustRecord {
            roots: request.roots.into_iter().map(trust::signed_of).collect(),
            keys: request.keys.map(trust::signed_of),
        };
        let truster = self.truster.clone();
        wait(move || truster.follow(&offered)).await?;
        let trust = Some(self.state().await?);
        Ok(Response::new(SetTrustResponse { trust }))
    }
}

fn check_size(document: &SignedDocument) -> Result<(), Status> {
    if document.document.len() > DOCUMENT_MOST || document.signatures.len() > SIGNATURES_MOST {
        return Err(Status::invalid_argument(format!(
            "a document has more than {DOCUMENT_MOST} bytes or {SIGNATURES_MOST} signatures"
        )));
    }
    Ok(())
}
