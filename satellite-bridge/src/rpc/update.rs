//! Wire for the update service.

use futures_util::{Stream, StreamExt, stream};
use satellite_proto::bundle::{DOCUMENT_MOST, Digest, MANIFEST_MOST, SIGNATURES_MOST, Signed};
use satellite_proto::wire::bridge::v1::update_service_server::UpdateService;
use satellite_proto::wire::bridge::v1::{
    AbortUpdateRequest, AbortUpdateResponse, BeginUpdateRequest, BeginUpdateResponse, InstallUpdateRequest,
    InstallUpdateResponse, ListUpdatesRequest, ListUpdatesResponse, PutChunksRequest, PutChunksResponse,
};
use tonic::{Request, Response, Status, Streaming};

use crate::operations::{Replies, check_key};
use crate::update::{Piece, Updates};

/// The longest wait for the server after a change, in seconds.
const CONTACT_MOST: u32 = 600;

/// Serves [`Updates`].
#[derive(Debug, Clone)]
pub struct UpdateRpc {
    updates: Updates,
    replies: Replies,
}

impl UpdateRpc {
    /// Wraps the domain.
    #[must_use]
    pub fn new(updates: Updates, replies: Replies) -> Self {
        Self { updates, replies }
    }
}

#[tonic::async_trait]
impl UpdateService for UpdateRpc {
    /// Not answered from memory for a key that was seen: what is missing changes while chunks come, and beginning
    /// again changes nothing.
    async fn begin_update(
        &self,
        request: Request<BeginUpdateRequest>,
    ) -> Result<Response<BeginUpdateResponse>, Status> {
        let request = request.into_inner();
        check_key(&request.idempotency_key)?;
        if request.manifest.is_empty() || request.manifest.len() > MANIFEST_MOST {
            return Err(Status::invalid_argument(format!(
                "manifest: 1 to {MANIFEST_MOST} bytes are taken"
            )));
        }
        if request.permit.len() > DOCUMENT_MOST {
            return Err(Status::invalid_argument(format!(
                "permit: at most {DOCUMENT_MOST} bytes are taken"
            )));
        }
        if request.signatures.len().max(request.permit_signatures.len()) > SIGNATURES_MOST {
            return Err(Status::invalid_argument(format!(
                "signatures: at most {SIGNATURES_MOST} are taken"
            )));
        }
        let updates = self.updates.clone();
        let signatures = request.signatures;
        let permit = (!request.permit.is_empty()).then_some(Signed {
            document: request.permit,
            signatures: request.permit_signatures,
        });
        let begin = move || updates.begin_permitted(&request.manifest, &signatures, permit.as_ref());
        let (update, missing) = wait(begin).await?;
        let missing: Vec<u8> = missing.iter().flat_map(|digest| *digest.as_bytes()).collect();
        Ok(Response::new(BeginUpdateResponse {
            update: Some(update),
            missing: missing.into(),
        }))
    }

    async fn put_chunks(
        &self,
        request: Request<Streaming<PutChunksRequest>>,
    ) -> Result<Response<PutChunksResponse>, Status> {
        let mut messages = request.into_inner();
        let Some(first) = messages.message().await? else {
            return Err(Status::invalid_argument(
                "the stream is empty: its first message names the upload",
            ));
        };
        let digest = digest(&first.manifest_digest)?;
        let update = self.updates.put(digest, pieces(first, messages)).await?;
        Ok(Response::new(PutChunksResponse { update: Some(update) }))
    }

    async fn install_update(
        &self,
        request: Request<InstallUpdateRequest>,
    ) -> Result<Response<InstallUpdateResponse>, Status> {
        let request = request.into_inner();
        check_key(&request.idempotency_key)?;
        let digest = digest(&request.manifest_digest)?;
        let updates = self.updates.clone();
        if request.contact_seconds > CONTACT_MOST {
            return Err(Status::invalid_argument(format!(
                "contact_seconds: at most {CONTACT_MOST} are taken"
            )));
        }
        let install = move || {
            let (key, enable) = (&request.idempotency_key, request.enable);
            updates.install_and_be_reached(digest, key, enable, request.contact_seconds)
        };
        Ok(Response::new(InstallUpdateResponse {
            operation: Some(wait(install).await?),
        }))
    }

    async fn list_updates(
        &self,
        _request: Request<ListUpdatesRequest>,
    ) -> Result<Response<ListUpdatesResponse>, Status> {
        let updates = self.updates.clone();
        Ok(Response::new(ListUpdatesResponse {
            updates: wait(move || updates.list()).await?,
        }))
    }

    async fn abort_update(
        &self,
        request: Request<AbortUpdateRequest>,
    ) -> Result<Response<AbortUpdateResponse>, Status> {
        let request = request.into_inner();
        let digest = digest(&request.manifest_digest)?;
        let updates = self.updates.clone();
        let abort = move || async move {
            wait(move || updates.abort(digest)).await?;
            Ok(AbortUpdateResponse {})
        };
        let answer = self
            .replies
            .replay("AbortUpdate", &request.idempotency_key, abort)
            .await?;
        Ok(Response::new(answer))
    }
}

fn pieces(
    first: PutChunksRequest,
    rest: Streaming<PutChunksRequest>,
) -> impl Stream<Item = Result<Piece, Status>> + Send {
    let expected = first.manifest_digest.clone();
    stream::once(async move { Ok(first) })
        .chain(rest)
        .map(move |message| piece(&expected, message?))
}

fn piece(expected: &str, message: PutChunksRequest) -> Result<Piece, Status> {
    let names_another = !message.manifest_digest.is_empty() && message.manifest_digest != expected;
    if names_another {
        return Err(Status::invalid_argument(
            "manifest_digest: one stream carries chunks of one upload",
        ));
    }
    let digest = Digest::try_from(message.digest.as_ref());
    let digest = digest.map_err(|err| Status::invalid_argument(format!("digest: {err}")))?;
    Ok(Piece {
        digest,
        frame: message.data,
    })
}

fn digest(text: &str) -> Result<Digest, Status> {
    text.parse()
        .map_err(|err| Status::invalid_argument(format!("manifest_digest: {err}")))
}

/// Does what reads and writes files on a thread where that may wait.
pub(super) async fn wait<T, E>(work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, Status>
where
    T: Send + 'static,
    E: Into<Status> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(Into::into),
        Err(err) => {
            tracing::error!(error = %err, "Call stopped by a fault in the bridge");
            Err(Status::internal(
                "the bridge stopped by a fault of its own: see its log",
            ))
        }
    }
}
