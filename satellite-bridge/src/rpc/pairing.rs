//! Wire for the pairing service.

use satellite_proto::wire::bridge::v1::{PairRequest, PairResponse, pairing_service_server::PairingService};
use tonic::{Request, Response, Status};

use crate::{machine, pairing::Pairing};

/// Answers strangers while a window is open.
#[derive(Debug, Clone)]
pub struct PairingRpc {
    pairing: Pairing,
}

impl PairingRpc {
    /// Over this pairing.
    #[must_use]
    pub fn new(pairing: Pairing) -> Self {
        Self { pairing }
    }
}

#[tonic::async_trait]
impl PairingService for PairingRpc {
    async fn pair(&self, request: Request<PairRequest>) -> Result<Response<PairResponse>, Status> {
        let peer = super::peer(&request)?.clone();
        let PairRequest {
            protocol_version,
            manager_proof,
            server_name,
        } = request.into_inner();
        if protocol_version == satellite_proto::pairing::PROTOCOL_VERSION && manager_proof.len() != 32 {
            return Err(Status::invalid_argument("the manager's proof must have 32 bytes"));
        }
        let proof = self
            .pairing
            .pair(&peer, protocol_version, &manager_proof, &server_name)?;
        let satellite_name = machine::name();
        Ok(Response::new(PairResponse {
            satellite_proof: proof.to_vec().into(),
            satellite_name,
        }))
    }
}
