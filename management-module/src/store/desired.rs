//! What satellites are meant to run and to let pass, and how the last try went.

use jiff::Timestamp;
use prost::Message;
use satellite_proto::bundle::{Digest, WorkloadName};
use satellite_proto::wire::bridge::v1 as bridge;

use super::{Store, StoreError, failed, to_millis, to_time};
use crate::names::SatelliteName;

/// What a satellite is meant to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DesiredWorkload {
    /// Where.
    pub satellite: SatelliteName,
    /// Which.
    pub workload: WorkloadName,
    /// The version; none: the newest in the store.
    pub version: Option<semver::Version>,
    /// Whether it is meant to run.
    pub running: bool,
}

/// How a try to install or start a version ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It runs as meant.
    Done,
    /// The version itself failed: it waits for a person or for another version.
    Failed,
    /// Something around it failed: it is tried again.
    Retry,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Retry => "retry",
        }
    }
}

/// The last try to bring a version of a workload to a satellite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Where.
    pub satellite: SatelliteName,
    /// Which.
    pub workload: WorkloadName,
    /// The version's manifest.
    pub manifest_digest: Digest,
    /// When it ended.
    pub ended_at: Timestamp,
    /// How it ended.
    pub outcome: Outcome,
    /// What went wrong; empty if nothing did.
    pub problem: String,
    /// How often this version was tried there; counted by the store.
    pub tries: u32,
}

#[derive(sqlx::FromRow)]
struct WorkloadRow {
    satellite: String,
    workload: String,
    version: Option<String>,
    running: bool,
}

impl TryFrom<WorkloadRow> for DesiredWorkload {
    type Error = StoreError;
    fn try_from(row: WorkloadRow) -> Result<Self, StoreError> {
        let corrupt = |what| StoreError::Corrupt { what };
        Ok(Self {
            satellite: row
                .satellite
                .parse()
                .map_err(|_| corrupt("name of a satellite"))?,
            workload: row.workload.parse().map_err(|_| corrupt("name of a workload"))?,
            version: row
                .version
                .map(|v| v.parse())
                .transpose()
                .map_err(|_| corrupt("version"))?,
            running: row.running,
        })
    }
}

#[derive(sqlx::FromRow)]
struct AttemptRow {
    satellite: String,
    workload: String,
    manifest_digest: String,
    ended_at: i64,
    outcome: String,
    problem: String,
    tries: i64,
}

impl TryFrom<AttemptRow> for Attempt {
    type Error = StoreError;
    fn try_from(row: AttemptRow) -> Result<Self, StoreError> {
        let corrupt = |what| StoreError::Corrupt { what };
        Ok(Self {
            satellite: row
                .satellite
                .parse()
                .map_err(|_| corrupt("name of a satellite"))?,
            workload: row.workload.parse().map_err(|_| corrupt("name of a workload"))?,
            manifest_digest: row
                .manifest_digest
                .parse()
                .map_err(|_| corrupt("digest of a manifest"))?,
            ended_at: to_time(row.ended_at, "end of a try")?,
            outcome: match row.outcome.as_str() {
                "done" => Outcome::Done,
                "failed" => Outcome::Failed,
                "retry" => Outcome::Retry,
                _ => return Err(corrupt("outcome of a try")),
            },
            problem: row.problem,
            tries: u32::try_from(row.tries).unwrap_or(u32::MAX),
        })
    }
}

impl Store {
    /// Sets what a satellite is meant to run, one workload.
    ///
    /// # Errors
    /// [`StoreError::Query`] if the satellite is not known.
    pub async fn desire_workload(&self, wanted: &DesiredWorkload) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO desired_workloads (satellite, workload, version, running) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (satellite, workload) DO UPDATE SET version = excluded.version, running = excluded.running",
        )
        .bind(wanted.satellite.as_str())
        .bind(wanted.workload.to_string())
        .bind(wanted.version.as_ref().map(ToString::to_string))
        .bind(wanted.running)
        .execute(&self.pool)
        .await
        .map_err(failed("set what a satellite is meant to run"))?;
        Ok(())
    }

    /// What one satellite is meant to run, by workload.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn desired_workloads(
        &self,
        satellite: &SatelliteName,
    ) -> Result<Vec<DesiredWorkload>, StoreError> {
        sqlx::query_as::<_, WorkloadRow>(
            "SELECT * FROM desired_workloads WHERE satellite = $1 ORDER BY workload",
        )
        .bind(satellite.as_str())
        .fetch_all(&self.pool)
        .await
        .map_err(failed("read what a satellite is meant to run"))?
        .into_iter()
        .map(DesiredWorkload::try_from)
        .collect()
    }

    /// What all satellites are meant to run, by satellite and workload.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn all_desired_workloads(&self) -> Result<Vec<DesiredWorkload>, StoreError> {
        sqlx::query_as::<_, WorkloadRow>("SELECT * FROM desired_workloads ORDER BY satellite, workload")
            .fetch_all(&self.pool)
            .await
            .map_err(failed("read what satellites are meant to run"))?
            .into_iter()
            .map(DesiredWorkload::try_from)
            .collect()
    }

    /// Keeps the operator's rules and defaults of a satellite as desired.
    ///
    /// # Errors
    /// [`StoreError::Query`] if the satellite is not known.
    pub async fn desire_firewall(
        &self,
        satellite: &SatelliteName,
        ruleset: &bridge::Ruleset,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO desired_firewalls (satellite, ruleset) VALUES ($1, $2) \
             ON CONFLICT (satellite) DO UPDATE SET ruleset = excluded.ruleset",
        )
        .bind(satellite.as_str())
        .bind(ruleset.encode_to_vec())
        .execute(&self.pool)
        .await
        .map_err(failed("set the desired firewall"))?;
        Ok(())
    }

    /// The operator's rules and defaults of a satellite; empty, with defaults not set, if none were ever set.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if what is stored cannot be read.
    pub async fn desired_firewall(&self, satellite: &SatelliteName) -> Result<bridge::Ruleset, StoreError> {
        let row: Option<(Vec<u8>,)> =
            sqlx::query_as("SELECT ruleset FROM desired_firewalls WHERE satellite = $1")
                .bind(satellite.as_str())
                .fetch_optional(&self.pool)
                .await
                .map_err(failed("read the desired firewall"))?;
        match row {
            None => Ok(bridge::Ruleset::default()),
            Some((bytes,)) => bridge::Ruleset::decode(bytes.as_slice()).map_err(|_| StoreError::Corrupt {
                what: "desired firewall",
            }),
        }
    }

    /// Notes how a try ended; the last one of a workload on a satellite is kept.
    ///
    /// # Errors
    /// [`StoreError::Query`] if the satellite is not known.
    pub async fn note_attempt(&self, attempt: &Attempt) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO update_attempts (satellite, workload, manifest_digest, ended_at, outcome, problem) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (satellite, workload) DO UPDATE SET \
             manifest_digest = excluded.manifest_digest, ended_at = excluded.ended_at, \
             outcome = excluded.outcome, problem = excluded.problem, tries = CASE WHEN \
             update_attempts.manifest_digest = excluded.manifest_digest AND update_attempts.outcome <> 'done' \
             THEN update_attempts.tries + 1 ELSE 1 END",
        )
        .bind(attempt.satellite.as_str())
        .bind(attempt.workload.to_string())
        .bind(attempt.manifest_digest.to_string())
        .bind(to_millis(attempt.ended_at))
        .bind(attempt.outcome.as_str())
        .bind(&attempt.problem)
        .execute(&self.pool)
        .await
        .map_err(failed("note a try"))?;
        Ok(())
    }

    /// The last tries on a satellite, by workload.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn attempts(&self, satellite: &SatelliteName) -> Result<Vec<Attempt>, StoreError> {
        sqlx::query_as::<_, AttemptRow>(
            "SELECT * FROM update_attempts WHERE satellite = $1 ORDER BY workload",
        )
        .bind(satellite.as_str())
        .fetch_all(&self.pool)
        .await
        .map_err(failed("read the last tries"))?
        .into_iter()
        .map(Attempt::try_from)
        .collect()
    }

    /// The last tries on all satellites, by satellite and workload.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn all_attempts(&self) -> Result<Vec<Attempt>, StoreError> {
        sqlx::query_as::<_, AttemptRow>("SELECT * FROM update_attempts ORDER BY satellite, workload")
            .fetch_all(&self.pool)
            .await
            .map_err(failed("read the last tries"))?
            .into_iter()
            .map(Attempt::try_from)
            .collect()
    }

    /// Lets a version that failed be tried again: a person asked for it.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn forgive_attempts(
        &self,
        satellite: &SatelliteName,
        workload: &WorkloadName,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE update_attempts SET outcome = 'retry' \
             WHERE satellite = $1 AND workload = $2 AND outcome = 'failed'",
        )
        .bind(satellite.as_str())
        .bind(workload.to_string())
        .execute(&self.pool)
        .await
        .map_err(failed("let a version be tried again"))?;
        Ok(())
    }
}
