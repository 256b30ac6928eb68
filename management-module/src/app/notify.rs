//! Tells people and programs what happened: events become mails and messages to the webhook, which are sent until they are taken.
//!
//! **Invariants:** one process does it at a time, under a lease. A mail is a row before it is sent, and its Message-ID follows
//! from what it tells to whom: killed at any point, the next process goes on and nothing is told by two mails. A mail server
//! that is down delays mails and loses none; one address that is refused hinders no other.

pub(super) mod hooks;
mod report;

use std::time::{Duration, Instant, SystemTime};

use jiff::{SignedDuration, Timestamp};
use satellite_host::fail_point;
use satellite_proto::bundle::Digest;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::leases::{self, Taken};
use super::{Actor, App, AppError, warnings};
use crate::config::mail::{self as config, Mail};
use crate::config::webhook::{self, Webhook};
use crate::fleet::Backoff;
use crate::language::Language;
use crate::notify::smtp::Outgoing;
use crate::notify::{Connection, Mailer, SmtpError, Verdict};
use crate::plan::mail::{Letter, report as told};
use crate::store::{Channel, EventKind, LeaseKind, MailRow, MailState};

/// Where a test may kill the process: each is on the way of every mail.
pub const FAIL_POINTS: &[&str] = &["mail.filed", "mail.sending", "mail.sent", "mail.noted"];

/// What the lease is on. No central has such a name.
const LEASE: &str = "#mails";
/// The longest time between two looks: the clock may have been set meanwhile.
const LONGEST: Duration = Duration::from_secs(30);
/// How soon a process that does not tell looks again whether the one that does has ended.
const FOLLOW: Duration = Duration::from_secs(5);
/// Events or mails of one look.
const BATCH: u32 = 100;
/// How long mails that were sent or given up are kept.
const KEPT: SignedDuration = SignedDuration::from_hours(24 * 90);

/// Tells what happened, until `stop`.
pub async fn run(app: App, stop: CancellationToken) {
    loop {
        let mut again = FOLLOW;
        let taken = leases::take(&app.store, LEASE, LeaseKind::Mails, "mails").await;
        match taken {
            Ok(Taken::Lease(lease)) => {
                let lost = lease.lost();
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = lost.cancelled() => {}
                    () = work(&app) => {}
                }
                lease.end().await;
            }
            // Another process does it; should that die, its lease ends.
            Ok(Taken::Held(_)) => {}
            Err(error) => {
                error!(error = %crate::error_chain(&error), "Mails not looked at");
                again = LONGEST;
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(again) => {}
        }
    }
}

async fn work(app: &App) {
    let mut news = app.store.news();
    let mut looked_at = None;
    loop {
        // Whatever happened: warnings may follow from it.
        let has_news = news.has_changed().unwrap_or(false);
        news.mark_unchanged();
        let is_time = looked_at.is_none_or(|at: Instant| at.elapsed() >= app.config.warnings.interval);
        if has_news || is_time {
            looked_at = Some(Instant::now());
            if let Err(error) = warnings::pass(app, Timestamp::now()).await {
                error!(error = %crate::error_chain(&error), "Warnings not looked at");
            }
        }
        let wait = match Box::pin(pass(app, Timestamp::now())).await {
            Ok(wait) => wait.min(LONGEST).min(app.config.warnings.interval),
            Err(error) => {
                error!(error = %crate::error_chain(&error), "Mails not looked at");
                LONGEST
            }
        };
        tokio::select! {
            changed = news.changed() => {
                if changed.is_err() {
                    return;
                }
                news.mark_changed();
            }
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Looks once at everything. Answers how long nothing is to be done, unless something happens.
///
/// # Errors
/// What the store says.
pub async fn pass(app: &App, now: Timestamp) -> Result<Duration, AppError> {
    // What cannot be filed must not hold up what is.
    let filed = file(app, now).await;
    app.store
        .purge_mails(now.saturating_sub(KEPT).unwrap_or(Timestamp::MIN))
        .await?;
    // Each by itself: a mail server that says nothing must not hold up the webhook.
    let (mails, hooks) = tokio::join!(drain(app, Channel::Mail, now), drain(app, Channel::Webhook, now));
    filed?;
    let next = [mails?, hooks?].into_iter().flatten().min();
    let wait = next.map(|next| Duration::try_from(next.duration_since(Timestamp::now())).unwrap_or_default());
    Ok(wait.unwrap_or(LONGEST))
}

/// Sends what is due over a channel, if that is configured. Answers when the next is due.
async fn drain(app: &App, channel: Channel, now: Timestamp) -> Result<Option<Timestamp>, AppError> {
    loop {
        let (mail, webhook) = (&app.config.mail, &app.config.webhook);
        let is_there = match channel {
            Channel::Mail => mail.is_some(),
            Channel::Webhook => webhook.is_some(),
        };
        if !is_there {
            give_up_waiting(app, channel, now).await?;
            return Ok(None);
        }
        let due = app.store.due_mails(channel, now, BATCH).await?;
        let is_last = due.len() < BATCH as usize;
        match (channel, mail, webhook) {
            (Channel::Mail, Some(config), _) => send(app, config, due).await?,
            (Channel::Webhook, _, Some(config)) => hooks::send(app, config, due).await?,
            _ => {}
        }
        if is_last {
            return Ok(app.store.next_mail(channel).await?);
        }
    }
}

/// What waits for a channel that the configuration does not have any more is given up when its time is over, as for a
/// server that does not answer: it could be put back, and what was told weeks ago should not go out then.
async fn give_up_waiting(app: &App, channel: Channel, now: Timestamp) -> Result<(), AppError> {
    let (section, after) = match channel {
        Channel::Mail => ("mail", config::give_up_after()),
        Channel::Webhook => ("webhook", webhook::give_up_after()),
    };
    let after = SignedDuration::try_from(after).unwrap_or(SignedDuration::MAX);
    let before = now.saturating_sub(after).unwrap_or(Timestamp::MIN);
    let problem = format!("the configuration has no section [{section}] any more");
    let count = app.store.expire_mails(channel, before, now, &problem).await?;
    if count > 0 {
        warn!(count, section, "Messages given up: nothing sends them any more");
    }
    Ok(())
}

/// Makes mails of what happened.
async fn file(app: &App, now: Timestamp) -> Result<(), AppError> {
    loop {
        let events = app.store.events(BATCH).await?;
        let is_last = events.len() < BATCH as usize;
        for event in events {
            let mails = match event.kind {
                EventKind::RunEnded => report::of_run(app, &event.subject, now).await?,
            };
            app.store.settle_event(event.id, &mails).await?;
            fail_point("mail.filed");
        }
        if is_last {
            return Ok(());
        }
    }
}

async fn send(app: &App, config: &Mail, mails: Vec<MailRow>) -> Result<(), AppError> {
    let mailer = Mailer::new(config.clone());
    let mut connection = None;
    let mut mails = mails.into_iter();
    while let Some(mut mail) = mails.next() {
        fail_point("mail.sending");
        match deliver(&mailer, &mut connection, &mail).await {
            Ok(verdict) => {
                fail_point("mail.sent");
                note(app, config.into(), &mut mail, verdict).await?;
                fail_point("mail.noted");
            }
            // None of them is to blame: they all wait.
            Err(error) => {
                let problem = crate::error_chain(&error);
                let waiting = mails.len() + 1;
                warn!(error = problem, waiting, "Mail server does not take mails");
                for mut mail in std::iter::once(mail).chain(mails) {
                    note(app, config.into(), &mut mail, Verdict::Later(problem.clone())).await?;
                }
                return Ok(());
            }
        }
    }
    if let Some(connection) = connection {
        connection.end().await;
    }
    Ok(())
}

/// Sends a mail over the connection that is there, or a new one. After each answer but "taken" the next mail gets a new one.
async fn deliver(
    mailer: &Mailer,
    connection: &mut Option<Connection>,
    mail: &MailRow,
) -> Result<Verdict, SmtpError> {
    let outgoing = Outgoing {
        id: &mail.id,
        to: &mail.recipient,
        subject: &mail.letter.subject,
        plain: &mail.letter.plain,
        html: &mail.letter.html,
        date: SystemTime::from(mail.created_at),
    };
    let mut open = match connection.take() {
        Some(open) => open,
        None => mailer.connect().await?,
    };
    let verdict = open.send(&outgoing).await?;
    if verdict == Verdict::Taken {
        *connection = Some(open);
    } else {
        open.end().await;
    }
    Ok(verdict)
}

/// How long it is tried.
#[derive(Debug, Clone, Copy)]
struct Patience {
    backoff: Backoff,
    give_up_after: Duration,
}

impl From<&Mail> for Patience {
    fn from(config: &Mail) -> Self {
        Self {
            backoff: Backoff {
                first: config.retry_first,
                longest: config.retry_longest,
            },
            give_up_after: config.give_up_after,
        }
    }
}

impl From<&Webhook> for Patience {
    fn from(config: &Webhook) -> Self {
        Self {
            backoff: Backoff {
                first: config.retry_first,
                longest: config.retry_longest,
            },
            give_up_after: config.give_up_after,
        }
    }
}

/// Notes what became of a try.
async fn note(app: &App, patience: Patience, mail: &mut MailRow, verdict: Verdict) -> Result<(), AppError> {
    let now = Timestamp::now();
    let age = Duration::try_from(now.duration_since(mail.created_at)).unwrap_or_default();
    mail.attempts = mail.attempts.saturating_add(1);
    (mail.state, mail.error) = match verdict {
        Verdict::Taken => (MailState::Sent, String::new()),
        Verdict::Refused(problem) => (MailState::Refused, problem),
        Verdict::Later(problem) if age >= patience.give_up_after => (MailState::Expired, problem),
        Verdict::Later(problem) => (MailState::Waiting, problem),
    };
    let (id, to, error) = (&mail.id, &mail.recipient, &mail.error);
    match mail.state {
        MailState::Sent => info!(id, to, "Mail sent"),
        MailState::Waiting => warn!(id, to, error, "Mail not sent yet"),
        MailState::Refused => error!(id, to, error, "Mail refused by the server"),
        MailState::Expired => error!(id, to, error, "Mail given up"),
    }
    if mail.state == MailState::Waiting {
        let wait = patience.backoff.delay(mail.attempts - 1, rand::random());
        let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::from_mins(1));
        mail.next_try = now.saturating_add(wait).unwrap_or(now);
    } else {
        mail.ended_at = Some(now);
    }
    app.store.note_mail(mail).await?;
    Ok(())
}

/// The Message-ID of what is told to an address: always the same.
fn message_id(config: &Mail, what: &str, recipient: &str) -> String {
    let short = short(&recipient.to_lowercase());
    format!("{what}.{short}@{}", config.from.email.domain())
}

/// Sixteen characters that stand for a text, in an id.
pub(super) fn short(text: &str) -> String {
    let digest = Digest::of(text.as_bytes()).to_string();
    digest.chars().filter(char::is_ascii_hexdigit).take(16).collect()
}

/// Sends a test mail at once, and answers what the server said.
///
/// # Errors
/// [`AppError::Precondition`] there is no mail server in the configuration; [`AppError::Invalid`] no address;
/// [`AppError::Refused`] the server does not want it; [`AppError::Unavailable`] it cannot be asked.
pub async fn test(app: &App, actor: &Actor, address: &str, language: Language) -> Result<String, AppError> {
    let result = tested(app, address, language).await;
    app.audit
        .recorded(actor, "NotifyService/TestMail", address, result)
        .await
}

async fn tested(app: &App, address: &str, language: Language) -> Result<String, AppError> {
    let Some(config) = &app.config.mail else {
        return Err(AppError::Precondition(
            "no mail server is configured: add a section [mail] to the configuration and restart".to_owned(),
        ));
    };
    if !config::is_address(address) {
        return Err(AppError::Invalid(format!("{address:?} is no e-mail address")));
    }
    let now = Timestamp::now();
    let letter = told::test(language, &app.config.server_name);
    let id = format!("test.{}@{}", uuid::Uuid::now_v7(), config.from.email.domain());
    let mail = MailRow::new(id.clone(), address, letter, now);
    let (mailer, mut connection) = (Mailer::new(config.clone()), None);
    let verdict = deliver(&mailer, &mut connection, &mail).await;
    if let Some(connection) = connection {
        connection.end().await;
    }
    match verdict {
        Ok(Verdict::Taken) => Ok(id),
        Ok(Verdict::Refused(problem)) => Err(AppError::Refused(format!(
            "the mail server refuses the mail: {problem}"
        ))),
        Ok(Verdict::Later(problem)) => Err(AppError::Unavailable {
            message: format!("the mail server does not take the mail now: {problem}"),
            source: None,
        }),
        Err(error) => Err(AppError::Unavailable {
            message: "the test mail was not sent".to_owned(),
            source: Some(error.into()),
        }),
    }
}

/// The newest mails.
///
/// # Errors
/// What the store says.
pub async fn mails(app: &App, limit: u32) -> Result<Vec<MailRow>, AppError> {
    Ok(app.store.mails(limit).await?)
}

/// How many messages there are, by what became of them, in words that do not change.
///
/// # Errors
/// What the store says.
pub async fn counts(app: &App) -> Result<Vec<(&'static str, u64)>, AppError> {
    let word = |state: MailState| match state {
        MailState::Waiting => "waiting",
        MailState::Sent => "sent",
        MailState::Refused => "refused",
        MailState::Expired => "expired",
    };
    let counts = app.store.count_mails().await?;
    Ok(counts
        .into_iter()
        .map(|(state, count)| (word(state), count))
        .collect())
}

/// Mails of a letter to several addresses, each by itself; an address twice is one.
pub(super) fn mails_to(
    config: &Mail,
    what: &str,
    addresses: &[String],
    letter: &Letter,
    now: Timestamp,
) -> Vec<MailRow> {
    let mut mails: Vec<MailRow> = Vec::new();
    for address in addresses {
        let id = message_id(config, what, address);
        if mails.iter().all(|mail| mail.id != id) {
            mails.push(MailRow::new(id, address, letter.clone(), now));
        }
    }
    mails
}

#[cfg(test)]
mod tests;
