//! What happens to runs.

use jiff::Timestamp;
use sqlx::{Sqlite, Transaction};

use super::super::mails::announce_run;
use super::super::words::Word as _;
use super::super::{Store, StoreError, failed, to_i64, to_millis};
use super::{CopyRow, RunRow};
use crate::plan::outcome::RunState;

impl Store {
    /// Adds a run that a person asked for.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn add_run(&self, row: &RunRow) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin().await.map_err(failed("add a run"))?;
        add(&mut transaction, row).await?;
        transaction.commit().await.map_err(failed("add a run"))?;
        self.tell();
        Ok(())
    }

    /// Settles a configuration up to `planned`, with the run that came of it. False, and nothing is done, if somebody
    /// settled it meanwhile: `before` is what was settled when the decision was made.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn settle(
        &self,
        configuration: &str,
        before: Option<Timestamp>,
        (planned, next): (Timestamp, Option<Timestamp>),
        run: Option<&RunRow>,
    ) -> Result<bool, StoreError> {
        let mut transaction = self
            .pool
            .begin()
            .await
            .map_err(failed("settle a configuration"))?;
        let done = sqlx::query(
            "UPDATE backup_configurations SET last_due = $2, next_due = $3 \
             WHERE name = $1 AND (last_due = $4 OR (last_due IS NULL AND $4 IS NULL))",
        )
        .bind(configuration)
        .bind(to_millis(planned))
        .bind(next.map(to_millis))
        .bind(before.map(to_millis))
        .execute(&mut *transaction)
        .await
        .map_err(failed("settle a configuration"))?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        if let Some(run) = run {
            add(&mut transaction, run).await?;
        }
        transaction
            .commit()
            .await
            .map_err(failed("settle a configuration"))?;
        self.tell();
        Ok(true)
    }

    /// Starts a run that waits, under a lease. False if it does not wait any more.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn start_run(
        &self,
        id: &str,
        fence: u64,
        job: &str,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE runs SET state = 'running', fence = $2, job = $3, started_at = $4, attempts = attempts + 1, error = '' \
             WHERE id = $1 AND state IN ('queued', 'deferred')",
        )
        .bind(id)
        .bind(to_i64(fence))
        .bind(job)
        .bind(to_millis(at))
        .execute(&self.pool)
        .await
        .map_err(failed("start a run"))?;
        Ok(done.rows_affected() > 0)
    }

    /// Puts a run that waits off. False if it does not wait any more.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn defer_run(&self, id: &str, until: Timestamp, because: &str) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE runs SET state = 'deferred', not_before = $2, deferred_because = $3 \
             WHERE id = $1 AND state IN ('queued', 'deferred')",
        )
        .bind(id)
        .bind(to_millis(until))
        .bind(because)
        .execute(&self.pool)
        .await
        .map_err(failed("put a run off"))?;
        Ok(done.rows_affected() > 0)
    }

    /// Notes the archive that a run has made.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn note_archive(&self, row: &RunRow) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE runs SET archive_id = $2, archive_name = $3, satellite = $4, bytes = $5, left_out = $6 \
             WHERE id = $1 AND fence = $7",
        )
        .bind(&row.id)
        .bind(&row.archive_id)
        .bind(&row.archive_name)
        .bind(&row.satellite)
        .bind(to_i64(row.bytes))
        .bind(to_i64(row.left_out))
        .bind(to_i64(row.fence))
        .execute(&self.pool)
        .await
        .map_err(failed("note the archive of a run"))?;
        Ok(())
    }

    /// Notes what became of a copy.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn note_copy(&self, run: &str, copy: &CopyRow) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE run_destinations SET state = $3, path = $4, size_bytes = $5, sha256 = $6, error = $7, ended_at = $8, \
             verified_at = $9, removed_at = $10 WHERE run = $1 AND destination = $2",
        )
        .bind(run)
        .bind(&copy.destination)
        .bind(copy.state.word())
        .bind(&copy.path)
        .bind(to_i64(copy.size_bytes))
        .bind(&copy.sha256)
        .bind(&copy.error)
        .bind(copy.ended_at.map(to_millis))
        .bind(copy.verified_at.map(to_millis))
        .bind(copy.removed_at.map(to_millis))
        .execute(&self.pool)
        .await
        .map_err(failed("note what became of a copy"))?;
        Ok(())
    }

    /// Notes that the satellite's own archive of a run was removed.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn note_spool_removed(&self, run: &str, at: Timestamp) -> Result<(), StoreError> {
        sqlx::query("UPDATE runs SET spool_removed_at = $2 WHERE id = $1")
            .bind(run)
            .bind(to_millis(at))
            .execute(&self.pool)
            .await
            .map_err(failed("note that an archive was removed"))?;
        Ok(())
    }

    /// Ends a run under its lease. False if that lease is not the run's any more: then nothing is changed.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn end_run(
        &self,
        (id, fence): (&str, u64),
        state: RunState,
        error: &str,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.pool.begin().await.map_err(failed("end a run"))?;
        let done = sqlx::query(
            "UPDATE runs SET state = $3, error = $4, ended_at = $5 WHERE id = $1 AND fence = $2 AND state = 'running'",
        )
        .bind(id)
        .bind(to_i64(fence))
        .bind(state.word())
        .bind(error)
        .bind(to_millis(at))
        .execute(&mut *transaction)
        .await
        .map_err(failed("end a run"))?;
        self.ended(transaction, done.rows_affected() > 0, (id, state), at)
            .await
    }

    /// Ends a run that waits: cancelled, or failed before it could start. False if it does not wait any more.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn end_waiting_run(
        &self,
        id: &str,
        state: RunState,
        error: &str,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let doing = "end a run that waits";
        let mut transaction = self.pool.begin().await.map_err(failed(doing))?;
        let done = sqlx::query(
            "UPDATE runs SET state = $2, error = $3, ended_at = $4 WHERE id = $1 AND state IN ('queued', 'deferred')",
        )
        .bind(id)
        .bind(state.word())
        .bind(error)
        .bind(to_millis(at))
        .execute(&mut *transaction)
        .await
        .map_err(failed(doing))?;
        self.ended(transaction, done.rows_affected() > 0, (id, state), at)
            .await
    }

    /// Ends the transaction that ends a run, with the event that comes of it.
    async fn ended(
        &self,
        mut transaction: Transaction<'_, Sqlite>,
        has_ended: bool,
        (id, state): (&str, RunState),
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        if has_ended {
            announce_run(&mut transaction, id, state, at).await?;
        }
        transaction.commit().await.map_err(failed("end a run"))?;
        self.tell();
        Ok(has_ended)
    }

    /// Takes up runs that a former process left under way: they wait again, or have failed if they were started `most` times.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn take_up_runs(&self, most: u32, error: &str, at: Timestamp) -> Result<u64, StoreError> {
        let doing = "take up runs of a former process";
        let mut transaction = self.pool.begin().await.map_err(failed(doing))?;
        sqlx::query(
            "INSERT INTO events (kind, subject, time) SELECT 'run-ended', id, $2 FROM runs \
             WHERE state = 'running' AND attempts >= $1",
        )
        .bind(i64::from(most))
        .bind(to_millis(at))
        .execute(&mut *transaction)
        .await
        .map_err(failed(doing))?;
        sqlx::query(
            "UPDATE runs SET state = CASE WHEN archive_id = '' THEN 'failed' ELSE 'partial' END, error = $2, ended_at = $3 \
             WHERE state = 'running' AND attempts >= $1",
        )
        .bind(i64::from(most))
        .bind(error)
        .bind(to_millis(at))
        .execute(&mut *transaction)
        .await
        .map_err(failed(doing))?;
        let again = sqlx::query(
            "UPDATE runs SET state = 'queued', not_before = $1, error = $2 WHERE state = 'running'",
        )
        .bind(to_millis(at))
        .bind(error)
        .execute(&mut *transaction)
        .await
        .map_err(failed(doing))?;
        // What was on its way begins again with its run; of a run that has ended it is not there.
        sqlx::query(
            "UPDATE run_destinations SET state = 'failed', error = $1, ended_at = $2 \
             WHERE state IN ('pending', 'copying') AND run IN (SELECT id FROM runs WHERE state IN ('failed', 'partial'))",
        )
        .bind(error)
        .bind(to_millis(at))
        .execute(&mut *transaction)
        .await
        .map_err(failed(doing))?;
        transaction.commit().await.map_err(failed(doing))?;
        Ok(again.rows_affected())
    }
}

async fn add(transaction: &mut Transaction<'_, Sqlite>, row: &RunRow) -> Result<(), StoreError> {
    let plan = serde_json::to_string(&row.plan).map_err(|_| StoreError::Corrupt {
        what: "plan of a run",
    })?;
    sqlx::query(
        "INSERT INTO runs (id, kind, configuration, central, cause, plan, actor, job, planned_at, not_before, started_at, \
         ended_at, state, missed, attempts, fence, error, deferred_because, archive_id, archive_name, satellite, bytes, \
         left_out) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, \
         $22, $23)",
    )
    .bind(&row.id)
    .bind(row.plan.kind.word())
    .bind(row.plan.name.as_str())
    .bind(&row.plan.central)
    .bind(row.cause.word())
    .bind(plan)
    .bind(&row.actor)
    .bind(&row.job)
    .bind(to_millis(row.planned_at))
    .bind(to_millis(row.not_before))
    .bind(row.started_at.map(to_millis))
    .bind(row.ended_at.map(to_millis))
    .bind(row.state.word())
    .bind(i64::from(row.missed))
    .bind(i64::from(row.attempts))
    .bind(to_i64(row.fence))
    .bind(&row.error)
    .bind(&row.deferred_because)
    .bind(&row.archive_id)
    .bind(&row.archive_name)
    .bind(&row.satellite)
    .bind(to_i64(row.bytes))
    .bind(to_i64(row.left_out))
    .execute(&mut **transaction)
    .await
    .map_err(failed("add a run"))?;
    for copy in &row.copies {
        sqlx::query(
            "INSERT INTO run_destinations (run, destination, state, path, size_bytes, sha256, error) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(&row.id)
        .bind(&copy.destination)
        .bind(copy.state.word())
        .bind(&copy.path)
        .bind(to_i64(copy.size_bytes))
        .bind(&copy.sha256)
        .bind(&copy.error)
        .execute(&mut **transaction)
        .await
        .map_err(failed("add a copy of a run"))?;
    }
    // One that was missed ends where it begins.
    announce_run(
        transaction,
        &row.id,
        row.state,
        row.ended_at.unwrap_or(row.planned_at),
    )
    .await
}
