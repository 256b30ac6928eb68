//! Messages to the webhook: filed like mails, and posted until they are taken.

use jiff::Timestamp;
use satellite_host::fail_point;
use serde_json::Value;
use tracing::warn;

use super::{Patience, note};
use crate::app::{App, AppError};
use crate::config::webhook::Webhook;
use crate::notify::Verdict;
use crate::notify::webhook::{Message, post};
use crate::plan::mail::Letter;
use crate::store::{Channel, MailRow};

/// A message that waits to be posted.
pub(in crate::app) fn message(
    config: &Webhook,
    id: String,
    subject: String,
    body: &Value,
    now: Timestamp,
) -> MailRow {
    let letter = Letter {
        subject,
        plain: body.to_string(),
        html: String::new(),
    };
    MailRow {
        channel: Channel::Webhook,
        ..MailRow::new(id, &config.host(), letter, now)
    }
}

/// Posts messages. If the other side cannot be reached, all of them wait.
pub(super) async fn send(app: &App, config: &Webhook, messages: Vec<MailRow>) -> Result<(), AppError> {
    let patience = Patience::from(config);
    let mut messages = messages.into_iter();
    while let Some(mut message) = messages.next() {
        fail_point("mail.sending");
        let posted = post(
            config,
            Message {
                id: &message.id,
                body: &message.letter.plain,
            },
        );
        match posted.await {
            Ok(verdict) => {
                fail_point("mail.sent");
                note(app, patience, &mut message, verdict).await?;
                fail_point("mail.noted");
            }
            Err(error) => {
                let problem = crate::error_chain(&error);
                let waiting = messages.len() + 1;
                warn!(error = problem, waiting, "Webhook does not take messages");
                for mut message in std::iter::once(message).chain(messages) {
                    note(app, patience, &mut message, Verdict::Later(problem.clone())).await?;
                }
                return Ok(());
            }
        }
    }
    Ok(())
}
