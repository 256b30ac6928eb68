//! `notify …`

use clap::{Args, Subcommand};
use satellite_proto::wire::management::v1 as pb;
use serde::Serialize;

use super::texts::Text;
use super::{CliError, Global, client, render, texts};
use crate::language::Language;

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Notify {
    /// Sends a test mail at once, and says what the mail server answers.
    Test(Test),
    /// Lists mails, newest first: those that wait, that were sent, and that were given up.
    List(List),
}

#[derive(Debug, Args)]
pub(super) struct Test {
    /// Address of the receiver.
    address: String,
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// At most so many.
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    limit: u32,
}

#[derive(Debug, Serialize)]
struct View {
    id: String,
    recipient: String,
    subject: String,
    state: Text,
    attempts: u32,
    next_try_time: String,
    error: String,
    create_time: String,
    end_time: String,
}

impl View {
    const HEADING: [Text; 6] = [
        texts::WRITTEN,
        texts::MAIL_TO,
        texts::MAIL_SUBJECT,
        texts::STATE,
        texts::ATTEMPTS,
        texts::PROBLEM,
    ];

    fn row(&self) -> Vec<String> {
        vec![
            self.create_time.clone(),
            self.recipient.clone(),
            self.subject.clone(),
            self.state.say().to_owned(),
            self.attempts.to_string(),
            self.error.clone(),
        ]
    }
}

impl From<pb::Mail> for View {
    fn from(mail: pb::Mail) -> Self {
        let state = match mail.state() {
            pb::MailState::Unspecified => texts::UNKNOWN,
            pb::MailState::Waiting => texts::QUEUED,
            pb::MailState::Sent => texts::MAIL_SENT,
            pb::MailState::Refused => texts::REFUSED,
            pb::MailState::Expired => texts::EXPIRED,
        };
        Self {
            state,
            next_try_time: render::time(mail.next_try_time.as_ref()),
            create_time: render::time(mail.create_time.as_ref()),
            end_time: render::time(mail.end_time.as_ref()),
            id: mail.id,
            recipient: mail.recipient,
            subject: mail.subject,
            attempts: mail.attempts,
            error: mail.error,
        }
    }
}

impl Notify {
    pub(super) async fn run(self, global: &Global) -> Result<(), CliError> {
        let mut client = client::connect(global).await?;
        match self {
            Self::Test(Test { address }) => {
                let request = pb::TestMailRequest {
                    address,
                    language: Language::chosen().code().to_owned(),
                };
                let sent = client.notify.test_mail(request).await?.into_inner();
                render::word(global.output, "id", &sent.id)
            }
            Self::List(List { limit }) => {
                let answer = client.notify.list_mails(pb::ListMailsRequest { limit }).await?;
                let views: Vec<_> = answer.into_inner().mails.into_iter().map(View::from).collect();
                render::list(global.output, &views, &View::HEADING, View::row)
            }
        }
    }
}
