//! Who changed what, and how it ended.

use jiff::Timestamp;

use super::{Store, StoreError, failed, to_millis, to_time, to_u64};

/// A record of the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// Number in the log; set by the store.
    pub sequence: u64,
    /// When.
    pub time: Timestamp,
    /// Who.
    pub actor: String,
    /// The method.
    pub action: String,
    /// To what.
    pub subject: String,
    /// "ok", or the error.
    pub result: String,
}

#[derive(sqlx::FromRow)]
struct Row {
    sequence: i64,
    time: i64,
    actor: String,
    action: String,
    subject: String,
    result: String,
}

impl TryFrom<Row> for AuditRow {
    type Error = StoreError;
    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            sequence: to_u64(row.sequence, "number of an audit record")?,
            time: to_time(row.time, "time of an audit record")?,
            actor: row.actor,
            action: row.action,
            subject: row.subject,
            result: row.result,
        })
    }
}

impl Store {
    /// Adds a record; its number is given here.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn add_audit(&self, row: &AuditRow) -> Result<(), StoreError> {
        sqlx::query("INSERT INTO audit (time, actor, action, subject, result) VALUES ($1, $2, $3, $4, $5)")
            .bind(to_millis(row.time))
            .bind(&row.actor)
            .bind(&row.action)
            .bind(&row.subject)
            .bind(&row.result)
            .execute(&self.pool)
            .await
            .map_err(failed("add an audit record"))?;
        Ok(())
    }

    /// The newest records, newest first; at most `limit`.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn audit(&self, limit: u32) -> Result<Vec<AuditRow>, StoreError> {
        sqlx::query_as::<_, Row>("SELECT * FROM audit ORDER BY sequence DESC LIMIT $1")
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
            .await
            .map_err(failed("list audit records"))?
            .into_iter()
            .map(AuditRow::try_from)
            .collect()
    }
}
