//! How all configurations stand: what lists of them show and are searched by, and nothing else of their many runs.

use jiff::Timestamp;

use super::words::Word as _;
use super::{RunRow, Store, StoreError, failed, to_time};
use crate::plan::configuration::ConfigurationName;
use crate::plan::outcome::RunState;

/// What a list shows of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunHead {
    /// Names it.
    pub id: String,
    /// Where it stands.
    pub state: RunState,
    /// When it was meant to be.
    pub planned_at: Timestamp,
    /// When it was last started.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

impl From<&RunRow> for RunHead {
    fn from(row: &RunRow) -> Self {
        Self {
            id: row.id.clone(),
            state: row.state,
            planned_at: row.planned_at,
            started_at: row.started_at,
            ended_at: row.ended_at,
        }
    }
}

/// How a configuration stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its name.
    pub name: ConfigurationName,
    /// What it backs up.
    pub central: String,
    /// Whose that is.
    pub tenant: String,
    /// Its newest run, if it was ever run.
    pub last_run: Option<RunHead>,
    /// How the newest ended that came to a result: one that waits, runs or was cancelled does not make up for one that failed.
    pub last_result: Option<RunState>,
}

#[derive(sqlx::FromRow)]
struct Row {
    name: String,
    central: String,
    tenant: String,
    run: Option<String>,
    state: Option<String>,
    planned_at: Option<i64>,
    started_at: Option<i64>,
    ended_at: Option<i64>,
    result: Option<String>,
}

impl TryFrom<Row> for Standing {
    type Error = StoreError;
    fn try_from(row: Row) -> Result<Self, StoreError> {
        let what = "name of a configuration";
        let time = |millis: Option<i64>| millis.map(|millis| to_time(millis, "time of a run")).transpose();
        let last_run = match (row.run, row.state, time(row.planned_at)?) {
            (Some(id), Some(state), Some(planned_at)) => Some(RunHead {
                id,
                state: RunState::read(&state)?,
                planned_at,
                started_at: time(row.started_at)?,
                ended_at: time(row.ended_at)?,
            }),
            _ => None,
        };
        let last_result = row.result.as_deref().map(RunState::read).transpose()?;
        Ok(Self {
            name: row.name.parse().map_err(|_| StoreError::Corrupt { what })?,
            central: row.central,
            tenant: row.tenant,
            last_run,
            last_result,
        })
    }
}

impl Store {
    /// How all configurations stand, by name.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn standings(&self) -> Result<Vec<Standing>, StoreError> {
        sqlx::query_as::<_, Row>(
            // Each run by a look into the index, from the newest on: to group them, or to go by their states, would read all.
            "SELECT plan.name, plan.central, centrals.tenant, run.id AS run, run.state, run.planned_at, run.started_at, \
             run.ended_at, result.state AS result FROM backup_configurations AS plan \
             JOIN centrals ON centrals.name = plan.central \
             LEFT JOIN runs AS run ON run.id = (SELECT MAX(id) FROM runs WHERE configuration = plan.name) \
             LEFT JOIN runs AS result ON result.id = (SELECT id FROM runs WHERE configuration = plan.name AND state IN \
             ('succeeded', 'partial', 'failed', 'missed') ORDER BY id DESC LIMIT 1) ORDER BY plan.name",
        )
        .fetch_all(&self.pool)
        .await
        .map_err(failed("list how configurations stand"))?
        .into_iter()
        .map(Standing::try_from)
        .collect()
    }

    /// How many centrals each tenant has.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn centrals_of_tenants(&self) -> Result<Vec<(String, u64)>, StoreError> {
        let counted: Vec<(String, i64)> =
            sqlx::query_as("SELECT tenant, COUNT(*) FROM centrals GROUP BY tenant")
                .fetch_all(&self.pool)
                .await
                .map_err(failed("count centrals"))?;
        let number = |(tenant, count)| Ok((tenant, super::to_u64(count, "number of centrals")?));
        counted.into_iter().map(number).collect()
    }
}
