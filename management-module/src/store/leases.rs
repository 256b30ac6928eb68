//! Who works on a central. A lease ends when it is given back or its heartbeat stops; its number proves it.

use jiff::Timestamp;

use super::words::{Word, words};
use super::{Store, StoreError, failed, to_millis, to_time, to_u64};

/// What a lease is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseKind {
    /// A backup.
    Backup,
    /// Archiving.
    Archiving,
    /// A restore in place.
    Restore,
    /// A change of the central itself.
    Change,
    /// Mails, which one process sends.
    Mails,
}

words!(
    LeaseKind,
    "kind of a lease",
    Backup = "backup",
    Archiving = "archiving",
    Restore = "restore",
    Change = "change",
    Mails = "mails"
);

/// A lease as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseRow {
    /// The central.
    pub central: String,
    /// Who works on it: names the process and the work.
    pub holder: String,
    /// What for.
    pub kind: LeaseKind,
    /// Since when.
    pub taken_at: Timestamp,
    /// Its number: greater than that of each lease before it.
    pub fence: u64,
}

#[derive(sqlx::FromRow)]
struct Row {
    central: String,
    holder: String,
    kind: String,
    taken_at: i64,
    fence: i64,
}

impl TryFrom<Row> for LeaseRow {
    type Error = StoreError;
    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            central: row.central,
            holder: row.holder,
            kind: LeaseKind::read(&row.kind)?,
            taken_at: to_time(row.taken_at, "time of a lease")?,
            fence: to_u64(row.fence, "number of a lease")?,
        })
    }
}

impl Store {
    /// Takes the lease on a central for `holder`: its number, or none if somebody has it whose heartbeat is not older than
    /// `stale`.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn take_lease(
        &self,
        (central, kind): (&str, LeaseKind),
        holder: &str,
        now: Timestamp,
        stale: Timestamp,
    ) -> Result<Option<u64>, StoreError> {
        // One statement: of two at once one changes the row.
        let fence: Option<i64> = sqlx::query_scalar(
            "INSERT INTO leases (central, holder, kind, taken_at, heartbeat, fence) VALUES ($1, $2, $3, $4, $4, 1) \
             ON CONFLICT (central) DO UPDATE SET holder = excluded.holder, kind = excluded.kind, \
             taken_at = excluded.taken_at, heartbeat = excluded.heartbeat, fence = leases.fence + 1 \
             WHERE leases.holder = '' OR leases.heartbeat < $5 RETURNING fence",
        )
        .bind(central)
        .bind(holder)
        .bind(kind.word())
        .bind(to_millis(now))
        .bind(to_millis(stale))
        .fetch_optional(&self.pool)
        .await
        .map_err(failed("take a lease"))?;
        fence.map(|fence| to_u64(fence, "number of a lease")).transpose()
    }

    /// Says that the holder of a lease lives; false if it is not its any more.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn beat_lease(&self, central: &str, fence: u64, now: Timestamp) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE leases SET heartbeat = $3 WHERE central = $1 AND fence = $2 AND holder <> ''",
        )
        .bind(central)
        .bind(super::to_i64(fence))
        .bind(to_millis(now))
        .execute(&self.pool)
        .await
        .map_err(failed("keep a lease"))?;
        Ok(done.rows_affected() > 0)
    }

    /// Gives a lease back; one that is another's by now stays.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn end_lease(&self, central: &str, fence: u64) -> Result<(), StoreError> {
        sqlx::query("UPDATE leases SET holder = '' WHERE central = $1 AND fence = $2")
            .bind(central)
            .bind(super::to_i64(fence))
            .execute(&self.pool)
            .await
            .map_err(failed("give a lease back"))?;
        Ok(())
    }

    /// Ends all leases that were not taken by this process: only for the one process that has the store for itself.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn end_leases_of_others(&self, process: &str) -> Result<u64, StoreError> {
        let query = "UPDATE leases SET holder = '' WHERE holder <> '' AND holder NOT LIKE $1 || '/%'";
        let done = sqlx::query(query)
            .bind(process)
            .execute(&self.pool)
            .await
            .map_err(failed("end leases of a former process"))?;
        Ok(done.rows_affected())
    }

    /// Who works on a central now.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn lease(&self, central: &str, stale: Timestamp) -> Result<Option<LeaseRow>, StoreError> {
        let query = "SELECT central, holder, kind, taken_at, fence FROM leases \
                     WHERE central = $1 AND holder <> '' AND heartbeat >= $2";
        sqlx::query_as::<_, Row>(query)
            .bind(central)
            .bind(to_millis(stale))
            .fetch_optional(&self.pool)
            .await
            .map_err(failed("read a lease"))?
            .map(LeaseRow::try_from)
            .transpose()
    }
}
