//! Rollouts and their satellites.
//!
//! **Invariant:** a satellite's standing and what is wanted of it change together, in one transaction.

use jiff::Timestamp;
use satellite_proto::bundle::WorkloadName;

use super::{Store, StoreError, failed, to_millis, to_time};
use crate::names::SatelliteName;
use crate::plan::rollout::{Standing, Terms};

/// How a rollout stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RolloutState {
    /// Satellites are updated.
    Running,
    /// A person stopped it for a while.
    Paused,
    /// It stopped by itself: too many failed.
    Halted,
    /// All satellites have ended.
    Done,
    /// A person ended it.
    Aborted,
}

impl RolloutState {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Halted => "halted",
            Self::Done => "done",
            Self::Aborted => "aborted",
        }
    }

    fn of(word: &str) -> Option<Self> {
        let all = [
            Self::Running,
            Self::Paused,
            Self::Halted,
            Self::Done,
            Self::Aborted,
        ];
        all.into_iter().find(|state| state.as_str() == word)
    }
}

/// A rollout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolloutRow {
    /// Its id.
    pub id: String,
    /// What is updated.
    pub workload: WorkloadName,
    /// To which version.
    pub version: semver::Version,
    /// How.
    pub terms: Terms,
    /// How it stands.
    pub state: RolloutState,
    /// Why it halted.
    pub problem: String,
    /// How many had failed when a person last let it go on.
    pub forgiven: u32,
    /// When it began.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// A satellite of a rollout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetRow {
    /// Which.
    pub satellite: SatelliteName,
    /// Its wave.
    pub wave: u32,
    /// Where it is.
    pub site: String,
    /// How it stands.
    pub standing: Standing,
    /// Why it failed.
    pub problem: String,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    workload: String,
    version: String,
    terms: String,
    state: String,
    problem: String,
    forgiven: i64,
    created_at: i64,
    updated_at: i64,
}

impl TryFrom<Row> for RolloutRow {
    type Error = StoreError;
    fn try_from(row: Row) -> Result<Self, StoreError> {
        let corrupt = |what| StoreError::Corrupt { what };
        Ok(Self {
            id: row.id,
            workload: row.workload.parse().map_err(|_| corrupt("name of a workload"))?,
            version: row.version.parse().map_err(|_| corrupt("version"))?,
            terms: serde_json::from_str(&row.terms).map_err(|_| corrupt("terms of a rollout"))?,
            state: RolloutState::of(&row.state).ok_or_else(|| corrupt("state of a rollout"))?,
            problem: row.problem,
            forgiven: u32::try_from(row.forgiven).unwrap_or(u32::MAX),
            created_at: to_time(row.created_at, "time of a rollout")?,
            updated_at: to_time(row.updated_at, "time of a rollout")?,
        })
    }
}

#[derive(sqlx::FromRow)]
struct Target {
    satellite: String,
    wave: i64,
    site: String,
    state: String,
    problem: String,
    started_at: Option<i64>,
    ended_at: Option<i64>,
}

impl TryFrom<Target> for TargetRow {
    type Error = StoreError;
    fn try_from(row: Target) -> Result<Self, StoreError> {
        let corrupt = |what| StoreError::Corrupt { what };
        let time = |millis: Option<i64>| {
            millis
                .map(|millis| to_time(millis, "time of a rollout"))
                .transpose()
        };
        Ok(Self {
            satellite: row
                .satellite
                .parse()
                .map_err(|_| corrupt("name of a satellite"))?,
            wave: u32::try_from(row.wave).map_err(|_| corrupt("wave"))?,
            site: row.site,
            standing: standing_of(&row.state).ok_or_else(|| corrupt("standing in a rollout"))?,
            problem: row.problem,
            started_at: time(row.started_at)?,
            ended_at: time(row.ended_at)?,
        })
    }
}

/// The word for a standing.
#[must_use]
pub fn standing_word(standing: Standing) -> &'static str {
    match standing {
        Standing::Waiting => "waiting",
        Standing::Updating => "updating",
        Standing::Done => "done",
        Standing::Failed => "failed",
    }
}

fn standing_of(word: &str) -> Option<Standing> {
    let all = [
        Standing::Waiting,
        Standing::Updating,
        Standing::Done,
        Standing::Failed,
    ];
    all.into_iter().find(|standing| standing_word(*standing) == word)
}

impl Store {
    /// Adds a rollout with its satellites and their waves, in the order in which they come; its bundles are held from now
    /// on, so that nobody takes them by itself.
    ///
    /// # Errors
    /// [`StoreError::Exists`] if one of the workload is open.
    pub async fn add_rollout(
        &self,
        row: &RolloutRow,
        targets: &[(SatelliteName, u32)],
    ) -> Result<(), StoreError> {
        let terms = serde_json::to_string(&row.terms).map_err(|_| StoreError::Corrupt {
            what: "terms of a rollout",
        })?;
        let doing = "add a rollout";
        let mut tx = self.pool.begin().await.map_err(failed(doing))?;
        sqlx::query(
            "INSERT INTO rollouts (id, workload, version, terms, state, problem, forgiven, created_at, updated_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(&row.id)
        .bind(row.workload.as_str())
        .bind(row.version.to_string())
        .bind(terms)
        .bind(row.state.as_str())
        .bind(&row.problem)
        .bind(i64::from(row.forgiven))
        .bind(to_millis(row.created_at))
        .bind(to_millis(row.updated_at))
        .execute(&mut *tx)
        .await
        .map_err(failed(doing))?;
        for (place, (satellite, wave)) in (0_i64..).zip(targets) {
            sqlx::query(
                "INSERT INTO rollout_targets (rollout, satellite, place, wave, state, problem) \
                 VALUES ($1, $2, $3, $4, 'waiting', '')",
            )
            .bind(&row.id)
            .bind(satellite.as_str())
            .bind(place)
            .bind(i64::from(*wave))
            .execute(&mut *tx)
            .await
            .map_err(failed(doing))?;
        }
        sqlx::query("UPDATE bundles SET held = TRUE WHERE workload = $1 AND version = $2")
            .bind(row.workload.as_str())
            .bind(row.version.to_string())
            .execute(&mut *tx)
            .await
            .map_err(failed(doing))?;
        tx.commit().await.map_err(failed(doing))
    }

    /// Rollouts, newest first, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn rollouts(&self, limit: u32) -> Result<Vec<RolloutRow>, StoreError> {
        sqlx::query_as::<_, Row>("SELECT * FROM rollouts ORDER BY created_at DESC, id DESC LIMIT $1")
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
            .await
            .map_err(failed("list rollouts"))?
            .into_iter()
            .map(RolloutRow::try_from)
            .collect()
    }

    /// One rollout, if it is there.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn rollout(&self, id: &str) -> Result<Option<RolloutRow>, StoreError> {
        sqlx::query_as::<_, Row>("SELECT * FROM rollouts WHERE id = $1")
            .bind(id)
            .fetch_optional(&self.pool)
            .await
            .map_err(failed("read a rollout"))?
            .map(RolloutRow::try_from)
            .transpose()
    }

    /// The satellites of a rollout, in the order in which they come.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn rollout_targets(&self, id: &str) -> Result<Vec<TargetRow>, StoreError> {
        sqlx::query_as::<_, Target>(
            "SELECT t.satellite, t.wave, s.site, t.state, t.problem, t.started_at, t.ended_at \
             FROM rollout_targets t JOIN satellites s ON s.name = t.satellite WHERE t.rollout = $1 ORDER BY t.place",
        )
        .bind(id)
        .fetch_all(&self.pool)
        .await
        .map_err(failed("read the satellites of a rollout"))?
        .into_iter()
        .map(TargetRow::try_from)
        .collect()
    }

    /// Changes how a rollout stands, if it stands as `from` says. Answers whether it did.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn move_rollout(
        &self,
        id: &str,
        (from, to): (RolloutState, RolloutState),
        problem: &str,
        forgiven: u32,
    ) -> Result<bool, StoreError> {
        let moved = sqlx::query(
            "UPDATE rollouts SET state = $3, problem = $4, forgiven = $5, updated_at = $6 WHERE id = $1 AND state = $2",
        )
        .bind(id)
        .bind(from.as_str())
        .bind(to.as_str())
        .bind(problem)
        .bind(i64::from(forgiven))
        .bind(to_millis(Timestamp::now()))
        .execute(&self.pool)
        .await
        .map_err(failed("change a rollout"))?;
        Ok(moved.rows_affected() > 0)
    }

    /// A satellite's turn has come: the version is wanted there, and what failed before is forgiven.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn begin_rollout_target(
        &self,
        rollout: &RolloutRow,
        satellite: &SatelliteName,
    ) -> Result<(), StoreError> {
        let doing = "begin an update of a rollout";
        let mut tx = self.pool.begin().await.map_err(failed(doing))?;
        sqlx::query(
            "UPDATE rollout_targets SET state = 'updating', started_at = $3, version = (SELECT version FROM \
             desired_workloads WHERE satellite = $2 AND workload = $4) WHERE rollout = $1 AND satellite = $2",
        )
        .bind(&rollout.id)
        .bind(satellite.as_str())
        .bind(to_millis(Timestamp::now()))
        .bind(rollout.workload.as_str())
        .execute(&mut *tx)
        .await
        .map_err(failed(doing))?;
        sqlx::query(
            "INSERT INTO desired_workloads (satellite, workload, version, running) VALUES ($1, $2, $3, TRUE) \
             ON CONFLICT (satellite, workload) DO UPDATE SET version = excluded.version",
        )
        .bind(satellite.as_str())
        .bind(rollout.workload.as_str())
        .bind(rollout.version.to_string())
        .execute(&mut *tx)
        .await
        .map_err(failed(doing))?;
        sqlx::query("UPDATE update_attempts SET outcome = 'retry' WHERE satellite = $1 AND workload = $2 AND outcome = 'failed'")
            .bind(satellite.as_str())
            .bind(rollout.workload.as_str())
            .execute(&mut *tx)
            .await
            .map_err(failed(doing))?;
        tx.commit().await.map_err(failed(doing))
    }

    /// A satellite of a rollout has ended.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn end_rollout_target(
        &self,
        id: &str,
        satellite: &SatelliteName,
        standing: Standing,
        problem: &str,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE rollout_targets SET state = $3, problem = $4, ended_at = $5 WHERE rollout = $1 AND satellite = $2",
        )
        .bind(id)
        .bind(satellite.as_str())
        .bind(standing_word(standing))
        .bind(problem)
        .bind(to_millis(Timestamp::now()))
        .execute(&self.pool)
        .await
        .map_err(failed("end an update of a rollout"))?;
        Ok(())
    }

    /// A rollout was ended by a person: of the satellites that did not take the version, what was wanted before is wanted
    /// again.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn give_rollout_up(&self, rollout: &RolloutRow) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE desired_workloads SET version = (SELECT t.version FROM rollout_targets t WHERE t.rollout = $1 AND \
             t.satellite = desired_workloads.satellite) WHERE workload = $2 AND version = $3 AND satellite IN \
             (SELECT satellite FROM rollout_targets WHERE rollout = $1 AND state = 'failed')",
        )
        .bind(&rollout.id)
        .bind(rollout.workload.as_str())
        .bind(rollout.version.to_string())
        .execute(&self.pool)
        .await
        .map_err(failed("give a rollout up"))?;
        Ok(())
    }

    /// A rollout has come to its end: its version is the newest for everybody, and who followed the newest before does again.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn finish_rollout(&self, rollout: &RolloutRow) -> Result<(), StoreError> {
        let doing = "end a rollout";
        let mut tx = self.pool.begin().await.map_err(failed(doing))?;
        sqlx::query(
            "UPDATE rollouts SET state = 'done', updated_at = $2 WHERE id = $1 AND state = 'running'",
        )
        .bind(&rollout.id)
        .bind(to_millis(Timestamp::now()))
        .execute(&mut *tx)
        .await
        .map_err(failed(doing))?;
        sqlx::query("UPDATE bundles SET held = FALSE WHERE workload = $1 AND version = $2")
            .bind(rollout.workload.as_str())
            .bind(rollout.version.to_string())
            .execute(&mut *tx)
            .await
            .map_err(failed(doing))?;
        sqlx::query(
            "UPDATE desired_workloads SET version = NULL WHERE workload = $2 AND version = $3 AND satellite IN \
             (SELECT satellite FROM rollout_targets WHERE rollout = $1 AND state = 'done' AND version IS NULL)",
        )
        .bind(&rollout.id)
        .bind(rollout.workload.as_str())
        .bind(rollout.version.to_string())
        .execute(&mut *tx)
        .await
        .map_err(failed(doing))?;
        tx.commit().await.map_err(failed(doing))
    }

    /// Says where a satellite is.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn set_site(&self, satellite: &SatelliteName, site: &str) -> Result<bool, StoreError> {
        let set = sqlx::query("UPDATE satellites SET site = $2 WHERE name = $1")
            .bind(satellite.as_str())
            .bind(site)
            .execute(&self.pool)
            .await
            .map_err(failed("say where a satellite is"))?;
        Ok(set.rows_affected() > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::DesiredWorkload;
    use crate::store::tests::{at, fresh, satellite};

    #[tokio::test]
    async fn a_rollout_is_kept_with_what_is_wanted_of_its_satellites() {
        let (_dir, store) = fresh().await;
        let mut wanted = Vec::new();
        for name in ["a", "b"] {
            let row = satellite(name);
            store.add_satellite(&row).await.unwrap();
            let of = DesiredWorkload {
                satellite: row.name.clone(),
                workload: "w".parse().unwrap(),
                version: None,
                running: true,
            };
            store.desire_workload(&of).await.unwrap();
            wanted.push((row.name, 0));
        }
        let terms = Terms {
            canary: 0,
            waves: vec![100],
            at_once: 1,
            per_site: 0,
            soak_seconds: 0,
            stop_at: 0,
            window: None,
        };
        let row = |id: &str| RolloutRow {
            id: id.to_owned(),
            workload: "w".parse().unwrap(),
            version: "2.0.0".parse().unwrap(),
            terms: terms.clone(),
            state: RolloutState::Running,
            problem: String::new(),
            forgiven: 0,
            created_at: at(1),
            updated_at: at(1),
        };
        let first = row("1");
        store.add_rollout(&first, &wanted).await.unwrap();
        assert!(matches!(
            store.add_rollout(&row("2"), &wanted).await,
            Err(StoreError::Exists(_))
        ));
        assert!(store.set_site(&wanted[0].0, "bern").await.unwrap());
        for (name, _) in &wanted {
            store.begin_rollout_target(&first, name).await.unwrap();
        }
        let versions = async || -> Vec<Option<String>> {
            let all = store.all_desired_workloads().await.unwrap();
            all.into_iter()
                .map(|one| one.version.map(|v| v.to_string()))
                .collect()
        };
        assert_eq!(
            versions().await,
            [Some("2.0.0".to_owned()), Some("2.0.0".to_owned())]
        );
        let [a, b] = [&wanted[0].0, &wanted[1].0];
        store
            .end_rollout_target("1", a, Standing::Done, "")
            .await
            .unwrap();
        store
            .end_rollout_target("1", b, Standing::Failed, "it crashed")
            .await
            .unwrap();
        let targets = store.rollout_targets("1").await.unwrap();
        assert_eq!(
            (targets[0].site.as_str(), targets[0].standing),
            ("bern", Standing::Done)
        );
        assert_eq!(targets[1].problem, "it crashed");
        // Given up, the one that failed wants what it wanted; finished, the other one follows the newest again.
        store.give_rollout_up(&first).await.unwrap();
        assert_eq!(versions().await, [Some("2.0.0".to_owned()), None]);
        store.finish_rollout(&first).await.unwrap();
        assert_eq!(versions().await, [None, None]);
        let step = (RolloutState::Running, RolloutState::Paused);
        assert!(!store.move_rollout("1", step, "", 0).await.unwrap(), "it is done");
        assert_eq!(store.rollouts(5).await.unwrap()[0].state, RolloutState::Done);
    }
}
