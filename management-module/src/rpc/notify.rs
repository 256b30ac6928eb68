//! Mails.

use satellite_proto::wire::management::v1 as wire;
use tonic::{Request, Response, Status};

use super::{actor, to_the_end, wire_time};
use crate::app::{App, notify};
use crate::language::Language;
use crate::store::{MailRow, MailState};

/// Mails that are listed unless told otherwise, and at most.
const LISTED: (u32, u32) = (100, 1000);

/// The service.
#[derive(Debug, Clone)]
pub struct Notify(pub App);

#[tonic::async_trait]
impl wire::notify_service_server::NotifyService for Notify {
    async fn test_mail(
        &self,
        request: Request<wire::TestMailRequest>,
    ) -> Result<Response<wire::TestMailResponse>, Status> {
        let actor = actor(&request)?;
        let wire::TestMailRequest { address, language } = request.into_inner();
        let language = language_of(&language)?;
        let app = self.0.clone();
        let id = to_the_end(async move { notify::test(&app, &actor, &address, language).await }).await?;
        Ok(Response::new(wire::TestMailResponse { id }))
    }

    async fn list_mails(
        &self,
        request: Request<wire::ListMailsRequest>,
    ) -> Result<Response<wire::ListMailsResponse>, Status> {
        let (usual, most) = LISTED;
        let limit = match request.into_inner().limit {
            0 => usual,
            limit => limit.min(most),
        };
        let mails = notify::mails(&self.0, limit).await?.into_iter().map(mail);
        Ok(Response::new(wire::ListMailsResponse {
            mails: mails.collect(),
        }))
    }
}

/// A language as the wire has it; none: English.
///
/// # Errors
/// `INVALID_ARGUMENT`.
pub(super) fn language_of(text: &str) -> Result<Language, Status> {
    match text {
        "" => Ok(Language::default()),
        code => Language::from_code(code)
            .ok_or_else(|| Status::invalid_argument("`language` must be en, de, fr or it")),
    }
}

fn mail(row: MailRow) -> wire::Mail {
    let state = match row.state {
        MailState::Waiting => wire::MailState::Waiting,
        MailState::Sent => wire::MailState::Sent,
        MailState::Refused => wire::MailState::Refused,
        MailState::Expired => wire::MailState::Expired,
    };
    let waits = row.state == MailState::Waiting;
    wire::Mail {
        id: row.id,
        recipient: row.recipient,
        subject: row.letter.subject,
        state: state.into(),
        attempts: row.attempts,
        next_try_time: waits.then(|| wire_time(row.next_try)),
        error: row.error,
        create_time: Some(wire_time(row.created_at)),
        end_time: row.ended_at.map(wire_time),
    }
}
