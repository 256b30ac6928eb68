//! Wire for satellites that come with a token. Offered over TLS to anyone; the proof is in the message.
//!
//! **Invariant:** a call is counted before anything is looked up, and nothing else is offered on that port.

use satellite_proto::join::{PROTOCOL_VERSION, TokenId};
use satellite_proto::pushback;
use satellite_proto::tls::Peer;
use satellite_proto::wire::join::v1 as wire;
use tonic::{Request, Response, Status};

use crate::app::join::{self, Ask, Caller};
use crate::app::{App, AppError};

/// The service.
#[derive(Debug, Clone)]
pub struct Join(pub App);

#[tonic::async_trait]
impl wire::join_service_server::JoinService for Join {
    async fn join(
        &self,
        request: Request<wire::JoinRequest>,
    ) -> Result<Response<wire::JoinResponse>, Status> {
        let peer = request.extensions().get::<Peer>();
        let peer = peer.ok_or_else(|| Status::unauthenticated("this call needs a TLS connection"))?;
        let caller = Caller {
            ip: peer.address.ip(),
            pin: peer.pin,
            exporter: peer.exporter,
        };
        if let Err(wait) = self.0.desk.admit(caller.ip) {
            let text = "too many calls from there: wait a minute";
            return Err(pushback::come_after(Status::resource_exhausted(text), wait));
        }
        let ask = ask(request.into_inner())?;
        // A token that was claimed is followed by all that goes with it, also if the satellite hangs up.
        let app = self.0.clone();
        let answer = super::to_the_end(async move { join::accept(&app, &caller, &ask).await });
        let answer = answer.await.map_err(|error: AppError| {
            tracing::error!(error = %crate::error_chain(&error), "Satellite with a token not taken in");
            // A stranger is not told more.
            Status::unavailable("the server cannot take it in at the moment: try again")
        })?;
        Ok(Response::new(match answer {
            Ok(proof) => wire::JoinResponse {
                refusal: wire::JoinRefusal::Unspecified.into(),
                server_proof: proof.to_vec().into(),
                server_name: self.0.config.server_name.clone(),
            },
            Err(refusal) => wire::JoinResponse {
                refusal: refusal.into(),
                ..Default::default()
            },
        }))
    }
}

fn ask(request: wire::JoinRequest) -> Result<Ask, Status> {
    if request.protocol_version != PROTOCOL_VERSION {
        return Err(Status::unimplemented("this server speaks version 1 of joining"));
    }
    let invalid = Status::invalid_argument;
    Ok(Ask {
        token: TokenId::try_from(&request.token_id[..]).map_err(|error| invalid(error.to_string()))?,
        proof: request.satellite_proof.to_vec(),
        name: request.satellite_name.chars().take(255).collect(),
        port: u16::try_from(request.port)
            .ok()
            .filter(|port| *port > 0)
            .ok_or_else(|| invalid("`port` must be 1 to 65535".to_owned()))?,
    })
}
