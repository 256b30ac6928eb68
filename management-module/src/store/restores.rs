//! The history of restores.

use jiff::Timestamp;

use super::words::{Word, words};
use super::{Store, StoreError, failed, to_millis, to_time};

/// How a restore ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestoreOutcome {
    /// It is under way.
    Running,
    /// Everything was restored.
    Succeeded,
    /// A part was refused.
    Partial,
    /// It failed.
    Failed,
}

words!(
    RestoreOutcome,
    "outcome of a restore",
    Running = "running",
    Succeeded = "succeeded",
    Partial = "partial",
    Failed = "failed",
);

/// A restore as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreRow {
    /// Names it.
    pub id: String,
    /// The job that reports about it.
    pub job: String,
    /// When it was begun.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// The archive.
    pub archive_id: String,
    /// Its file.
    pub archive_name: String,
    /// The central whose data it is.
    pub central: String,
    /// The directory that received it; empty: a central in place.
    pub directory: String,
    /// The central that received it; empty with a directory.
    pub target_central: String,
    /// Address of that central.
    pub url: String,
    /// Data sets; none: all.
    pub data_sets: Vec<String>,
    /// How it ended.
    pub outcome: RestoreOutcome,
    /// What went wrong.
    pub error: String,
    /// Who has begun it.
    pub actor: String,
    /// The backup that was made before.
    pub safety_archive: String,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    job: String,
    started_at: i64,
    ended_at: Option<i64>,
    archive_id: String,
    archive_name: String,
    central: String,
    target: String,
    target_central: String,
    url: String,
    data_sets: String,
    outcome: String,
    error: String,
    actor: String,
    safety_archive: String,
}

impl TryFrom<Row> for RestoreRow {
    type Error = StoreError;
    fn try_from(row: Row) -> Result<Self, StoreError> {
        let sets = row.data_sets.split(',').filter(|name| !name.is_empty());
        Ok(Self {
            started_at: to_time(row.started_at, "start of a restore")?,
            ended_at: row
                .ended_at
                .map(|millis| to_time(millis, "end of a restore"))
                .transpose()?,
            data_sets: sets.map(str::to_owned).collect(),
            outcome: RestoreOutcome::read(&row.outcome)?,
            id: row.id,
            job: row.job,
            archive_id: row.archive_id,
            archive_name: row.archive_name,
            central: row.central,
            directory: row.target,
            target_central: row.target_central,
            url: row.url,
            error: row.error,
            actor: row.actor,
            safety_archive: row.safety_archive,
        })
    }
}

impl Store {
    /// Notes that a restore begins.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn add_restore(&self, row: &RestoreRow) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO restores (id, job, started_at, archive_id, archive_name, central, target, target_central, url, \
             data_sets, outcome, error, actor, safety_archive) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
        )
        .bind(&row.id)
        .bind(&row.job)
        .bind(to_millis(row.started_at))
        .bind(&row.archive_id)
        .bind(&row.archive_name)
        .bind(&row.central)
        .bind(&row.directory)
        .bind(&row.target_central)
        .bind(&row.url)
        .bind(row.data_sets.join(","))
        .bind(row.outcome.word())
        .bind(&row.error)
        .bind(&row.actor)
        .bind(&row.safety_archive)
        .execute(&self.pool)
        .await
        .map_err(failed("note a restore"))?;
        Ok(())
    }

    /// Notes which backup was made before a restore.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn note_safety_archive(&self, id: &str, archive: &str) -> Result<(), StoreError> {
        sqlx::query("UPDATE restores SET safety_archive = $2 WHERE id = $1")
            .bind(id)
            .bind(archive)
            .execute(&self.pool)
            .await
            .map_err(failed("note the backup before a restore"))?;
        Ok(())
    }

    /// Notes how a restore ended.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn end_restore(
        &self,
        id: &str,
        outcome: RestoreOutcome,
        error: &str,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE restores SET outcome = $2, error = $3, ended_at = $4 WHERE id = $1")
            .bind(id)
            .bind(outcome.word())
            .bind(error)
            .bind(to_millis(at))
            .execute(&self.pool)
            .await
            .map_err(failed("note the end of a restore"))?;
        Ok(())
    }

    /// Restores that a former process left under way have failed.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn fail_running_restores(&self, error: &str, at: Timestamp) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE restores SET outcome = 'failed', error = $1, ended_at = $2 WHERE outcome = 'running'",
        )
        .bind(error)
        .bind(to_millis(at))
        .execute(&self.pool)
        .await
        .map_err(failed("end restores of a former process"))?;
        Ok(())
    }

    /// The newest restores of a central's archives or onto it (empty: of all), newest first; at most `limit`.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn restores(&self, central: &str, limit: u32) -> Result<Vec<RestoreRow>, StoreError> {
        let query = if central.is_empty() {
            "SELECT * FROM restores WHERE $1 = '' ORDER BY started_at DESC, id DESC LIMIT $2"
        } else {
            "SELECT * FROM restores WHERE central = $1 OR target_central = $1 ORDER BY started_at DESC, id DESC LIMIT $2"
        };
        sqlx::query_as::<_, Row>(query)
            .bind(central)
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
            .await
            .map_err(failed("list restores"))?
            .into_iter()
            .map(RestoreRow::try_from)
            .collect()
    }

    /// The newest restores of the archives of some centrals, newest first; at most `limit`.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn restores_of(&self, centrals: &[&str], limit: u32) -> Result<Vec<RestoreRow>, StoreError> {
        let what = "name of a central";
        let names = serde_json::to_string(centrals).map_err(|_| StoreError::Corrupt { what })?;
        sqlx::query_as::<_, Row>(
            "SELECT * FROM restores WHERE central IN (SELECT value FROM json_each($1)) \
             ORDER BY started_at DESC, id DESC LIMIT $2",
        )
        .bind(names)
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await
        .map_err(failed("list restores of some centrals"))?
        .into_iter()
        .map(RestoreRow::try_from)
        .collect()
    }
}
