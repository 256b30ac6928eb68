//! Runs of configurations and the copies of their archives.
//!
//! **Invariant:** a run that has ended stays as it ended. The end of a run is taken only from who holds its lease.

mod change;

use jiff::Timestamp;

use super::words::{Word, words};
use super::{Store, StoreError, failed, to_time, to_u64};
use crate::plan::configuration::Configuration;
use crate::plan::outcome::{CopyState, RunState};

/// Why a run was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// By a person.
    Manual,
    /// It was due.
    Schedule,
    /// It makes up for what was missed.
    CatchUp,
}

words!(
    Cause,
    "cause of a run",
    Manual = "manual",
    Schedule = "schedule",
    CatchUp = "catch-up"
);

/// A run as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRow {
    /// Names it: a UUID, version 7.
    pub id: String,
    /// The configuration as it was when the run was made.
    pub plan: Configuration,
    /// Why it was begun.
    pub cause: Cause,
    /// Who has begun it.
    pub actor: String,
    /// The job that reports about it; empty before it has one.
    pub job: String,
    /// When it was meant to be.
    pub planned_at: Timestamp,
    /// It does not start before.
    pub not_before: Timestamp,
    /// When it was last started.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Where it stands.
    pub state: RunState,
    /// Times that went by before it without a run.
    pub missed: u32,
    /// How often it was started.
    pub attempts: u32,
    /// Number of the lease under which it runs; 0: none yet.
    pub fence: u64,
    /// What went wrong; empty if nothing did.
    pub error: String,
    /// Why it did not start in time; empty if it did.
    pub deferred_because: String,
    /// The archive; empty: none.
    pub archive_id: String,
    /// Its file.
    pub archive_name: String,
    /// The satellite that has it.
    pub satellite: String,
    /// Bytes of it.
    pub bytes: u64,
    /// Things that are missing in it.
    pub left_out: u64,
    /// When the satellite's own archive was removed.
    pub spool_removed_at: Option<Timestamp>,
    /// The copies, one for each destination of the plan.
    pub copies: Vec<CopyRow>,
}

/// The copy of a run's archive at one destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyRow {
    /// The destination.
    pub destination: String,
    /// What became of it.
    pub state: CopyState,
    /// Where it is there.
    pub path: String,
    /// Bytes of the file.
    pub size_bytes: u64,
    /// SHA-256 as it was read back.
    pub sha256: String,
    /// Why it is not there.
    pub error: String,
    /// When that became of it.
    pub ended_at: Option<Timestamp>,
    /// When it was last found right.
    pub verified_at: Option<Timestamp>,
    /// When it was removed.
    pub removed_at: Option<Timestamp>,
}

impl CopyRow {
    /// A copy that was not begun.
    #[must_use]
    pub fn pending(destination: &str) -> Self {
        Self {
            destination: destination.to_owned(),
            state: CopyState::Pending,
            path: String::new(),
            size_bytes: 0,
            sha256: String::new(),
            error: String::new(),
            ended_at: None,
            verified_at: None,
            removed_at: None,
        }
    }

    /// Whether it lies there now.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.state == CopyState::Done && self.removed_at.is_none()
    }
}

impl RunRow {
    /// A run that waits to be started.
    #[must_use]
    pub fn queued(plan: Configuration, cause: Cause, actor: &str, planned_at: Timestamp) -> Self {
        Self {
            id: uuid::Uuid::now_v7().to_string(),
            copies: plan
                .destinations
                .iter()
                .map(|name| CopyRow::pending(name))
                .collect(),
            plan,
            cause,
            actor: actor.to_owned(),
            job: String::new(),
            planned_at,
            not_before: planned_at,
            started_at: None,
            ended_at: None,
            state: RunState::Queued,
            missed: 0,
            attempts: 0,
            fence: 0,
            error: String::new(),
            deferred_because: String::new(),
            archive_id: String::new(),
            archive_name: String::new(),
            satellite: String::new(),
            bytes: 0,
            left_out: 0,
            spool_removed_at: None,
        }
    }
}

/// Which runs are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunFilter {
    /// Only of this configuration; empty: of all.
    pub configuration: String,
    /// Only those that have not ended.
    pub open: bool,
    /// At most so many.
    pub limit: u32,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    cause: String,
    plan: String,
    actor: String,
    job: String,
    planned_at: i64,
    not_before: i64,
    started_at: Option<i64>,
    ended_at: Option<i64>,
    state: String,
    missed: i64,
    attempts: i64,
    fence: i64,
    error: String,
    deferred_because: String,
    archive_id: String,
    archive_name: String,
    satellite: String,
    bytes: i64,
    left_out: i64,
    spool_removed_at: Option<i64>,
}

#[derive(sqlx::FromRow)]
struct Copy {
    run: String,
    destination: String,
    state: String,
    path: String,
    size_bytes: i64,
    sha256: String,
    error: String,
    ended_at: Option<i64>,
    verified_at: Option<i64>,
    removed_at: Option<i64>,
}

fn maybe(millis: Option<i64>, what: &'static str) -> Result<Option<Timestamp>, StoreError> {
    millis.map(|millis| to_time(millis, what)).transpose()
}

impl Row {
    fn with(self, copies: Vec<CopyRow>) -> Result<RunRow, StoreError> {
        let corrupt = |what| StoreError::Corrupt { what };
        let number = |value, what| u32::try_from(to_u64(value, what)?).map_err(|_| corrupt(what));
        Ok(RunRow {
            plan: serde_json::from_str(&self.plan).map_err(|_| corrupt("plan of a run"))?,
            cause: Cause::read(&self.cause)?,
            planned_at: to_time(self.planned_at, "time of a run")?,
            not_before: to_time(self.not_before, "time of a run")?,
            started_at: maybe(self.started_at, "start of a run")?,
            ended_at: maybe(self.ended_at, "end of a run")?,
            state: RunState::read(&self.state)?,
            missed: number(self.missed, "missed times of a run")?,
            attempts: number(self.attempts, "attempts of a run")?,
            fence: to_u64(self.fence, "lease of a run")?,
            bytes: to_u64(self.bytes, "size of an archive")?,
            left_out: to_u64(self.left_out, "what an archive lacks")?,
            spool_removed_at: maybe(self.spool_removed_at, "removal of an archive")?,
            id: self.id,
            actor: self.actor,
            job: self.job,
            error: self.error,
            deferred_because: self.deferred_because,
            archive_id: self.archive_id,
            archive_name: self.archive_name,
            satellite: self.satellite,
            copies,
        })
    }
}

impl TryFrom<Copy> for CopyRow {
    type Error = StoreError;
    fn try_from(row: Copy) -> Result<Self, StoreError> {
        Ok(Self {
            state: CopyState::read(&row.state)?,
            size_bytes: to_u64(row.size_bytes, "size of a copy")?,
            ended_at: maybe(row.ended_at, "time of a copy")?,
            verified_at: maybe(row.verified_at, "check of a copy")?,
            removed_at: maybe(row.removed_at, "removal of a copy")?,
            destination: row.destination,
            path: row.path,
            sha256: row.sha256,
            error: row.error,
        })
    }
}

impl Store {
    /// Runs, newest first.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn runs(&self, filter: &RunFilter) -> Result<Vec<RunRow>, StoreError> {
        // A question of its own for each: with what is not asked for in it, no index would serve it.
        let which = match (filter.configuration.is_empty(), filter.open) {
            (true, false) => "$1 = ''",
            (true, true) => "$1 = '' AND state IN ('queued', 'deferred', 'running')",
            (false, false) => "configuration = $1",
            (false, true) => "configuration = $1 AND state IN ('queued', 'deferred', 'running')",
        };
        let query = format!("SELECT * FROM runs WHERE {which} ORDER BY id DESC LIMIT $2");
        let rows = sqlx::query_as::<_, Row>(sqlx::AssertSqlSafe(query))
            .bind(&filter.configuration)
            .bind(i64::from(filter.limit))
            .fetch_all(&self.pool)
            .await
            .map_err(failed("list runs"))?;
        self.with_copies(rows).await
    }

    /// One run, if it is known.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn run(&self, id: &str) -> Result<Option<RunRow>, StoreError> {
        let rows = sqlx::query_as::<_, Row>("SELECT * FROM runs WHERE id = $1")
            .bind(id)
            .fetch_all(&self.pool)
            .await
            .map_err(failed("read a run"))?;
        Ok(self.with_copies(rows).await?.pop())
    }

    /// The run that has made an archive, if one did.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn run_of_archive(&self, archive: &str) -> Result<Option<RunRow>, StoreError> {
        let rows = sqlx::query_as::<_, Row>("SELECT * FROM runs WHERE archive_id = $1 AND $1 <> ''")
            .bind(archive)
            .fetch_all(&self.pool)
            .await
            .map_err(failed("look for the run of an archive"))?;
        Ok(self.with_copies(rows).await?.pop())
    }

    /// The runs of a configuration that have made an archive, newest first.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn runs_with_archives(&self, configuration: &str) -> Result<Vec<RunRow>, StoreError> {
        let rows = sqlx::query_as::<_, Row>(
            "SELECT * FROM runs WHERE configuration = $1 AND archive_id <> '' ORDER BY id DESC",
        )
        .bind(configuration)
        .fetch_all(&self.pool)
        .await
        .map_err(failed("list runs with archives"))?;
        self.with_copies(rows).await
    }

    /// The newest run of each configuration that there is.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn last_runs(&self) -> Result<Vec<RunRow>, StoreError> {
        let rows = sqlx::query_as::<_, Row>(
            // Each by a look into the index: to group them all would read it whole, a hundred thousand runs.
            "SELECT runs.* FROM backup_configurations AS plan JOIN runs ON runs.id = \
             (SELECT MAX(id) FROM runs WHERE configuration = plan.name)",
        )
        .fetch_all(&self.pool)
        .await
        .map_err(failed("list the last runs"))?;
        self.with_copies(rows).await
    }

    /// The newest run that came to a result, good or bad, of each of these configurations.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn last_results(&self, configurations: &[&str]) -> Result<Vec<RunRow>, StoreError> {
        let what = "name of a configuration";
        let names = serde_json::to_string(configurations).map_err(|_| StoreError::Corrupt { what })?;
        let rows = sqlx::query_as::<_, Row>(
            // Each by a look into the index, from the newest on: by their states all that ever ended would be read.
            "SELECT runs.* FROM json_each($1) AS wanted JOIN runs ON runs.id = (SELECT id FROM runs WHERE \
             configuration = wanted.value AND state IN ('succeeded', 'partial', 'failed', 'missed') \
             ORDER BY id DESC LIMIT 1)",
        )
        .bind(names)
        .fetch_all(&self.pool)
        .await
        .map_err(failed("list the last results"))?;
        self.with_copies(rows).await
    }

    /// The newest run of one configuration, if it was ever run.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn last_run(&self, configuration: &str) -> Result<Option<RunRow>, StoreError> {
        let filter = RunFilter {
            configuration: configuration.to_owned(),
            open: false,
            limit: 1,
        };
        Ok(self.runs(&filter).await?.pop())
    }

    /// The copy that was found right the longest ago, and before a moment; none if there is none.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn copy_to_verify(&self, before: Timestamp) -> Result<Option<(RunRow, CopyRow)>, StoreError> {
        let query = "SELECT run, destination FROM run_destinations WHERE state = 'done' AND removed_at IS NULL \
                     AND verified_at < $1 ORDER BY verified_at LIMIT 1";
        let found: Option<(String, String)> = sqlx::query_as(query)
            .bind(super::to_millis(before))
            .fetch_optional(&self.pool)
            .await
            .map_err(failed("look for a copy to verify"))?;
        let Some((run, destination)) = found else {
            return Ok(None);
        };
        let run = self.run(&run).await?;
        Ok(run.and_then(|run| {
            let copy = run
                .copies
                .iter()
                .find(|copy| copy.destination == destination)?
                .clone();
            Some((run, copy))
        }))
    }

    async fn with_copies(&self, rows: Vec<Row>) -> Result<Vec<RunRow>, StoreError> {
        let mut runs = Vec::with_capacity(rows.len());
        let ids: Vec<_> = rows.iter().map(|row| row.id.as_str()).collect();
        let ids = serde_json::to_string(&ids).map_err(|_| StoreError::Corrupt { what: "id of a run" })?;
        let query =
            "SELECT * FROM run_destinations WHERE run IN (SELECT value FROM json_each($1)) ORDER BY rowid";
        let copies = sqlx::query_as::<_, Copy>(query)
            .bind(ids)
            .fetch_all(&self.pool)
            .await
            .map_err(failed("list copies of runs"))?;
        let mut by_run = std::collections::HashMap::<String, Vec<CopyRow>>::new();
        for copy in copies {
            let run = copy.run.clone();
            by_run.entry(run).or_default().push(copy.try_into()?);
        }
        for row in rows {
            let own = by_run.remove(&row.id).unwrap_or_default();
            runs.push(row.with(own)?);
        }
        Ok(runs)
    }
}
