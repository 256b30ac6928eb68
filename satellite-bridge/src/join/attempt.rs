//! One try: from the connection to the candidate.

use std::time::Duration;

use satellite_proto::{
    join::{PROTOCOL_VERSION, Token},
    pairing::Transcript,
    pushback,
    tls::{DialError, TlsError, channel_over, dial, is_wrong_peer},
    wire::join::v1::{JoinRefusal, JoinRequest, join_service_client::JoinServiceClient},
};
use tonic::Status;

use crate::{
    machine,
    pairing::{Pairing, PairingError},
};

/// How long the server may take for the handshake, and again for its answer.
const DEADLINE: Duration = Duration::from_secs(15);
/// The largest answer that is read, in bytes.
const ANSWER: usize = 4096;

/// Why a try failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum AttemptError {
    /// Our own identity.
    #[error("the satellite's own key cannot be used")]
    Identity(#[source] TlsError),
    /// Nobody answers.
    #[error("the server does not answer")]
    Dial(#[source] DialError),
    /// Somebody else answers.
    #[error("the machine at {0} is not the server that the join token names")]
    WrongServer(String),
    /// The connection broke, or the server would not take the call.
    #[error("the server did not take the call: {}", .0.message())]
    Call(Box<Status>),
    /// It does not take the token.
    #[error("{}", super::Ended::of(*.0))]
    Refused(JoinRefusal),
    /// It does not know the token after all.
    #[error("the server could not prove that it knows the join token")]
    Proof,
    /// It cannot be kept.
    #[error("the server cannot be kept as this satellite's")]
    Adopt(#[source] PairingError),
}

impl AttemptError {
    /// How long the server wants us to stay away, if it says so.
    pub(super) fn pushback(&self) -> Option<Duration> {
        match self {
            Self::Call(status) => pushback::asked(status),
            _ => None,
        }
    }

    /// Why the token is refused for good, if it is.
    pub(super) fn refusal(&self) -> Option<JoinRefusal> {
        match self {
            Self::Refused(refusal) => Some(*refusal),
            _ => None,
        }
    }
}

/// Tries once; the server is a candidate then, and its name is answered.
pub(super) async fn attempt(pairing: &Pairing, token: &Token, port: u16) -> Result<String, AttemptError> {
    let config = pairing
        .calling(token.installation())
        .map_err(AttemptError::Identity)?;
    let dialled = dial(token.address(), config, DEADLINE).await.map_err(|error| {
        if is_wrong_peer(&error) {
            AttemptError::WrongServer(token.address().to_owned())
        } else {
            AttemptError::Dial(error)
        }
    })?;
    // The handshake has shown that it is the one which the token names.
    let installation = dialled.chain.get(1).cloned().ok_or(AttemptError::Proof)?;
    let transcript = Transcript {
        version: PROTOCOL_VERSION,
        exporter: dialled.exporter,
        manager: dialled.peer,
        satellite: pairing.pin(),
        installation: token.installation(),
    };
    let request = JoinRequest {
        protocol_version: PROTOCOL_VERSION,
        token_id: token.id().as_bytes().to_vec().into(),
        satellite_proof: token.satellite_proof(&transcript).to_vec().into(),
        satellite_name: machine::name(),
        port: port.into(),
    };
    let call = async {
        let channel = channel_over(dialled).await;
        let channel = channel.map_err(|error| Status::unavailable(error.to_string()))?;
        let mut client = JoinServiceClient::new(channel).max_decoding_message_size(ANSWER);
        client.join(request).await
    };
    let late = |_| Status::deadline_exceeded("it took too long");
    let answer = tokio::time::timeout(DEADLINE, call).await.map_err(late);
    let answer = answer
        .and_then(|answer| answer)
        .map_err(|status| AttemptError::Call(Box::new(status)))?
        .into_inner();
    match answer.refusal() {
        JoinRefusal::Unspecified => {}
        refusal => return Err(AttemptError::Refused(refusal)),
    }
    if !token.verify_server(&transcript, &answer.server_proof) {
        return Err(AttemptError::Proof);
    }
    pairing
        .adopt(installation, &answer.server_name)
        .map_err(AttemptError::Adopt)?;
    Ok(answer.server_name)
}
