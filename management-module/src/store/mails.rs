//! What somebody has to hear of, and the mails that tell it.
//!
//! **Invariant:** an event is written in the transaction of what happened, and goes in the transaction that files its mails:
//! whenever the process is killed, it neither is lost nor told by two mails.

use jiff::Timestamp;
use sqlx::{Sqlite, Transaction};

use super::words::{Word, words};
use super::{Store, StoreError, failed, to_millis, to_time, to_u64};
use crate::plan::mail::Letter;
use crate::plan::outcome::RunState;

/// What kind of thing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// A run has ended; the subject is its id.
    RunEnded,
}

words!(EventKind, "kind of an event", RunEnded = "run-ended");

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its number.
    pub id: i64,
    /// What kind of thing.
    pub kind: EventKind,
    /// To what.
    pub subject: String,
    /// When.
    pub time: Timestamp,
}

/// How a message goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// As a mail.
    Mail,
    /// To the webhook: `plain` is what is posted, `recipient` the host that it goes to.
    Webhook,
}

words!(
    Channel,
    "channel of a message",
    Mail = "mail",
    Webhook = "webhook"
);

/// Where a mail stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailState {
    /// It waits to be sent, for the first time or again.
    Waiting,
    /// The mail server has taken it.
    Sent,
    /// The mail server will never take it.
    Refused,
    /// It was tried for too long.
    Expired,
}

words!(
    MailState,
    "state of a mail",
    Waiting = "waiting",
    Sent = "sent",
    Refused = "refused",
    Expired = "expired"
);

/// A mail to one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailRow {
    /// Its Message-ID, without the brackets.
    pub id: String,
    /// How it goes out.
    pub channel: Channel,
    /// The address.
    pub recipient: String,
    /// What it says.
    pub letter: Letter,
    /// Where it stands.
    pub state: MailState,
    /// How often it was tried.
    pub attempts: u32,
    /// When it is tried next.
    pub next_try: Timestamp,
    /// Why it was not taken; empty if nothing was wrong.
    pub error: String,
    /// When it was filed.
    pub created_at: Timestamp,
    /// When it was sent or given up.
    pub ended_at: Option<Timestamp>,
}

impl MailRow {
    /// A mail that waits to be sent.
    #[must_use]
    pub fn new(id: String, recipient: &str, letter: Letter, now: Timestamp) -> Self {
        Self {
            id,
            channel: Channel::Mail,
            recipient: recipient.to_owned(),
            letter,
            state: MailState::Waiting,
            attempts: 0,
            next_try: now,
            error: String::new(),
            created_at: now,
            ended_at: None,
        }
    }
}

#[derive(sqlx::FromRow)]
struct EventLine {
    id: i64,
    kind: String,
    subject: String,
    time: i64,
}

impl TryFrom<EventLine> for Event {
    type Error = StoreError;
    fn try_from(row: EventLine) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.id,
            kind: EventKind::read(&row.kind)?,
            subject: row.subject,
            time: to_time(row.time, "time of an event")?,
        })
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    channel: String,
    recipient: String,
    subject: String,
    plain: String,
    html: String,
    state: String,
    attempts: i64,
    next_try: i64,
    error: String,
    created_at: i64,
    ended_at: Option<i64>,
}

impl TryFrom<Row> for MailRow {
    type Error = StoreError;
    fn try_from(row: Row) -> Result<Self, StoreError> {
        let what = "attempts of a mail";
        let attempts = u32::try_from(to_u64(row.attempts, what)?);
        let ended_at = row.ended_at.map(|time| to_time(time, "end of a mail"));
        Ok(Self {
            letter: Letter {
                subject: row.subject,
                plain: row.plain,
                html: row.html,
            },
            channel: Channel::read(&row.channel)?,
            state: MailState::read(&row.state)?,
            attempts: attempts.map_err(|_| StoreError::Corrupt { what })?,
            next_try: to_time(row.next_try, "next try of a mail")?,
            created_at: to_time(row.created_at, "time of a mail")?,
            ended_at: ended_at.transpose()?,
            id: row.id,
            recipient: row.recipient,
            error: row.error,
        })
    }
}

impl Store {
    /// What happened and is not dealt with, oldest first; at most `limit`.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn events(&self, limit: u32) -> Result<Vec<Event>, StoreError> {
        sqlx::query_as::<_, EventLine>("SELECT * FROM events ORDER BY id LIMIT $1")
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
            .await
            .map_err(failed("list what happened"))?
            .into_iter()
            .map(Event::try_from)
            .collect()
    }

    /// Files the mails that come of an event, and is done with it. Mails that are there already stay as they are.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn settle_event(&self, event: i64, mails: &[MailRow]) -> Result<(), StoreError> {
        let doing = "file the mails of an event";
        let mut transaction = self.pool.begin().await.map_err(failed(doing))?;
        sqlx::query("DELETE FROM events WHERE id = $1")
            .bind(event)
            .execute(&mut *transaction)
            .await
            .map_err(failed(doing))?;
        file(&mut transaction, mails).await?;
        transaction.commit().await.map_err(failed(doing))
    }

    /// Messages to send now over a channel, those that wait longest first; at most `limit`.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn due_mails(
        &self,
        channel: Channel,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<MailRow>, StoreError> {
        let query = "SELECT * FROM mails WHERE state = 'waiting' AND next_try <= $1 AND channel = $3 \
                     ORDER BY next_try LIMIT $2";
        sqlx::query_as::<_, Row>(query)
            .bind(to_millis(now))
            .bind(i64::from(limit))
            .bind(channel.word())
            .fetch_all(&self.pool)
            .await
            .map_err(failed("list mails to send"))?
            .into_iter()
            .map(MailRow::try_from)
            .collect()
    }

    /// When the next message is to be sent over a channel; none if none waits.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn next_mail(&self, channel: Channel) -> Result<Option<Timestamp>, StoreError> {
        let query = "SELECT MIN(next_try) FROM mails WHERE state = 'waiting' AND channel = $1";
        let next: Option<i64> = sqlx::query_scalar(query)
            .bind(channel.word())
            .fetch_one(&self.pool)
            .await
            .map_err(failed("look for the next mail"))?;
        next.map(|time| to_time(time, "next try of a mail")).transpose()
    }

    /// Notes what became of a try to send a mail that waits.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn note_mail(&self, mail: &MailRow) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE mails SET state = $2, attempts = $3, next_try = $4, error = $5, ended_at = $6 \
             WHERE id = $1 AND state = 'waiting'",
        )
        .bind(&mail.id)
        .bind(mail.state.word())
        .bind(i64::from(mail.attempts))
        .bind(to_millis(mail.next_try))
        .bind(&mail.error)
        .bind(mail.ended_at.map(to_millis))
        .execute(&self.pool)
        .await
        .map_err(failed("note what became of a mail"))?;
        Ok(())
    }

    /// Gives up what waits for a channel since before a moment. Answers how many messages.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn expire_mails(
        &self,
        channel: Channel,
        before: Timestamp,
        now: Timestamp,
        error: &str,
    ) -> Result<u64, StoreError> {
        let query = "UPDATE mails SET state = $1, error = $2, ended_at = $3 \
                     WHERE state = 'waiting' AND channel = $4 AND created_at < $5";
        let done = sqlx::query(query)
            .bind(MailState::Expired.word())
            .bind(error)
            .bind(to_millis(now))
            .bind(channel.word())
            .bind(to_millis(before))
            .execute(&self.pool)
            .await
            .map_err(failed("give up mails"))?;
        Ok(done.rows_affected())
    }

    /// How many messages there are, by what became of them.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn count_mails(&self) -> Result<Vec<(MailState, u64)>, StoreError> {
        let rows: Vec<(String, i64)> = sqlx::query_as("SELECT state, COUNT(*) FROM mails GROUP BY state")
            .fetch_all(&self.pool)
            .await
            .map_err(failed("count mails"))?;
        let counts = rows
            .into_iter()
            .map(|(state, count)| Ok((MailState::read(&state)?, to_u64(count, "number of mails")?)));
        counts.collect()
    }

    /// Mails, newest first.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn mails(&self, limit: u32) -> Result<Vec<MailRow>, StoreError> {
        sqlx::query_as::<_, Row>("SELECT * FROM mails ORDER BY created_at DESC, id LIMIT $1")
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
            .await
            .map_err(failed("list mails"))?
            .into_iter()
            .map(MailRow::try_from)
            .collect()
    }

    /// Removes mails that were sent or given up before a moment. Answers how many.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn purge_mails(&self, before: Timestamp) -> Result<u64, StoreError> {
        let done = sqlx::query("DELETE FROM mails WHERE state <> 'waiting' AND ended_at < $1")
            .bind(to_millis(before))
            .execute(&self.pool)
            .await
            .map_err(failed("remove old mails"))?;
        Ok(done.rows_affected())
    }
}

/// Notes that a run has ended, in the transaction that ends it.
pub(super) async fn announce_run(
    transaction: &mut Transaction<'_, Sqlite>,
    run: &str,
    state: RunState,
    at: Timestamp,
) -> Result<(), StoreError> {
    if !state.has_ended() {
        return Ok(());
    }
    sqlx::query("INSERT INTO events (kind, subject, time) VALUES ($1, $2, $3)")
        .bind(EventKind::RunEnded.word())
        .bind(run)
        .bind(to_millis(at))
        .execute(&mut **transaction)
        .await
        .map_err(failed("note that a run has ended"))?;
    Ok(())
}

pub(super) async fn file(
    transaction: &mut Transaction<'_, Sqlite>,
    mails: &[MailRow],
) -> Result<(), StoreError> {
    for mail in mails {
        sqlx::query(
            "INSERT INTO mails (id, recipient, subject, plain, html, state, attempts, next_try, error, created_at, channel) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (id) DO NOTHING",
        )
        .bind(&mail.id)
        .bind(&mail.recipient)
        .bind(&mail.letter.subject)
        .bind(&mail.letter.plain)
        .bind(&mail.letter.html)
        .bind(mail.state.word())
        .bind(i64::from(mail.attempts))
        .bind(to_millis(mail.next_try))
        .bind(&mail.error)
        .bind(to_millis(mail.created_at))
        .bind(mail.channel.word())
        .execute(&mut **transaction)
        .await
        .map_err(failed("file a mail"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{at, fresh};
    use super::*;

    fn mail(id: &str, to: &str) -> MailRow {
        let letter = Letter {
            subject: "s".into(),
            plain: "p".into(),
            html: "h".into(),
        };
        MailRow::new(id.to_owned(), to, letter, at(5))
    }

    #[tokio::test]
    async fn what_is_filed_twice_is_there_once() {
        let (_dir, store) = fresh().await;
        let mails = [mail("a@x", "anna@x"), mail("b@x", "bert@x")];
        store.settle_event(1, &mails).await.unwrap();
        let mut sent = mails[0].clone();
        (sent.state, sent.ended_at, sent.attempts) = (MailState::Sent, Some(at(6)), 1);
        store.note_mail(&sent).await.unwrap();
        store.settle_event(1, &mails).await.unwrap();
        assert_eq!(
            store.due_mails(Channel::Mail, at(9), 10).await.unwrap(),
            [mails[1].clone()]
        );
        assert_eq!(store.next_mail(Channel::Mail).await.unwrap(), Some(at(5)));
        assert_eq!(store.next_mail(Channel::Webhook).await.unwrap(), None);
        assert_eq!(store.due_mails(Channel::Webhook, at(9), 10).await.unwrap(), []);
        let counts = [(MailState::Sent, 1), (MailState::Waiting, 1)];
        assert_eq!(store.count_mails().await.unwrap(), counts);
        assert_eq!(store.mails(10).await.unwrap(), [sent.clone(), mails[1].clone()]);
        // A mail that was sent is never noted otherwise.
        sent.state = MailState::Waiting;
        store.note_mail(&sent).await.unwrap();
        assert_eq!(store.due_mails(Channel::Mail, at(9), 10).await.unwrap().len(), 1);
        assert_eq!(store.purge_mails(at(7)).await.unwrap(), 1);
        let give_up =
            async |channel, before| store.expire_mails(channel, before, at(8), "gone").await.unwrap();
        assert_eq!(give_up(Channel::Webhook, at(9)).await, 0);
        assert_eq!(give_up(Channel::Mail, mails[1].created_at).await, 0);
        assert_eq!(give_up(Channel::Mail, at(9)).await, 1);
        let counts = [(MailState::Expired, 1)];
        assert_eq!(store.count_mails().await.unwrap(), counts);
        assert_eq!(store.mails(10).await.unwrap().len(), 1);
    }
}
