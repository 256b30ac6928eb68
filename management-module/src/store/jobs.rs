//! Long work, as it last was.

use jiff::Timestamp;
use prost::Message;
use satellite_proto::wire::management::v1::JobEvent;

use super::{Store, StoreError, failed, to_millis, to_time};

/// Jobs that have ended are kept up to this number.
const KEPT: i64 = 1000;

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobState {
    /// Under way.
    Running,
    /// Ended well.
    Succeeded,
    /// Ended well, and a part could not be done.
    Partly,
    /// Ended with an error.
    Failed,
}

impl JobState {
    fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Partly => "partly",
            Self::Failed => "failed",
        }
    }
}

/// A job as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct JobRow {
    /// Names it.
    pub id: String,
    /// What is done: "push", "start", "backup".
    pub kind: String,
    /// The satellite it concerns; empty if several.
    pub satellite: String,
    /// The key of the call that started it; empty if it had none.
    pub idempotency_key: String,
    /// The operation on the satellite that it waits for; empty if none.
    pub remote_operation: String,
    /// Where it stands.
    pub state: JobState,
    /// The last event.
    pub event: JobEvent,
    /// When it was started.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    kind: String,
    satellite: String,
    idempotency_key: String,
    remote_operation: String,
    state: String,
    event: Vec<u8>,
    created_at: i64,
    updated_at: i64,
}

impl TryFrom<Row> for JobRow {
    type Error = StoreError;
    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            state: match row.state.as_str() {
                "running" => JobState::Running,
                "succeeded" => JobState::Succeeded,
                "partly" => JobState::Partly,
                "failed" => JobState::Failed,
                _ => {
                    return Err(StoreError::Corrupt {
                        what: "state of a job",
                    });
                }
            },
            event: JobEvent::decode(row.event.as_slice()).map_err(|_| StoreError::Corrupt {
                what: "event of a job",
            })?,
            created_at: to_time(row.created_at, "start of a job")?,
            updated_at: to_time(row.updated_at, "time of a job")?,
            id: row.id,
            kind: row.kind,
            satellite: row.satellite,
            idempotency_key: row.idempotency_key,
            remote_operation: row.remote_operation,
        })
    }
}

impl Store {
    /// Adds a job and lets go of the oldest ended ones beyond the thousandth.
    ///
    /// # Errors
    /// [`StoreError::Exists`] if a job of the same kind and key is known.
    pub async fn add_job(&self, row: &JobRow) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO jobs (id, kind, satellite, idempotency_key, remote_operation, state, event, created_at, \
             updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(&row.id)
        .bind(&row.kind)
        .bind(&row.satellite)
        .bind(&row.idempotency_key)
        .bind(&row.remote_operation)
        .bind(row.state.as_str())
        .bind(row.event.encode_to_vec())
        .bind(to_millis(row.created_at))
        .bind(to_millis(row.updated_at))
        .execute(&self.pool)
        .await
        .map_err(failed("add a job"))?;
        sqlx::query(
            "DELETE FROM jobs WHERE state <> 'running' AND id NOT IN \
             (SELECT id FROM jobs ORDER BY created_at DESC, id DESC LIMIT $1)",
        )
        .bind(KEPT)
        .execute(&self.pool)
        .await
        .map_err(failed("let go of old jobs"))?;
        Ok(())
    }

    /// Notes how far a job is.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn note_job(
        &self,
        id: &str,
        state: JobState,
        event: &JobEvent,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE jobs SET state = $2, event = $3, updated_at = $4 WHERE id = $1")
            .bind(id)
            .bind(state.as_str())
            .bind(event.encode_to_vec())
            .bind(to_millis(at))
            .execute(&self.pool)
            .await
            .map_err(failed("note how far a job is"))?;
        Ok(())
    }

    /// Notes the operation on the satellite that a job waits for.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn note_remote_operation(&self, id: &str, operation: &str) -> Result<(), StoreError> {
        sqlx::query("UPDATE jobs SET remote_operation = $2 WHERE id = $1")
            .bind(id)
            .bind(operation)
            .execute(&self.pool)
            .await
            .map_err(failed("note the operation of a job"))?;
        Ok(())
    }

    /// One job, if it is known.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn job(&self, id: &str) -> Result<Option<JobRow>, StoreError> {
        sqlx::query_as::<_, Row>("SELECT * FROM jobs WHERE id = $1")
            .bind(id)
            .fetch_optional(&self.pool)
            .await
            .map_err(failed("read a job"))?
            .map(JobRow::try_from)
            .transpose()
    }

    /// The job that a call with this key started, if one did.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn job_by_key(&self, kind: &str, key: &str) -> Result<Option<JobRow>, StoreError> {
        sqlx::query_as::<_, Row>("SELECT * FROM jobs WHERE kind = $1 AND idempotency_key = $2")
            .bind(kind)
            .bind(key)
            .fetch_optional(&self.pool)
            .await
            .map_err(failed("find a job by its key"))?
            .map(JobRow::try_from)
            .transpose()
    }

    /// The jobs that were under way when the store was last closed.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn running_jobs(&self) -> Result<Vec<JobRow>, StoreError> {
        sqlx::query_as::<_, Row>("SELECT * FROM jobs WHERE state = 'running' ORDER BY created_at")
            .fetch_all(&self.pool)
            .await
            .map_err(failed("list jobs"))?
            .into_iter()
            .map(JobRow::try_from)
            .collect()
    }
}
