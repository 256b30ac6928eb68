//! What became of each update of each satellite.
//!
//! **Invariant:** an update of a workload on a satellite has one record, however often it is taken up again; the record is
//! open until the update has ended.

use jiff::Timestamp;
use satellite_proto::bundle::{Digest, WorkloadName};

use super::{Store, StoreError, failed, to_i64, to_millis, to_time, to_u64};
use crate::names::SatelliteName;

/// Records that are kept for each satellite.
const KEPT: i64 = 200;

/// An update of a satellite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryRow {
    /// Where.
    pub satellite: SatelliteName,
    /// Which workload.
    pub workload: WorkloadName,
    /// What was there before; empty: nothing.
    pub from_version: String,
    /// What was brought.
    pub version: String,
    /// `updating`, `done`, `failed`.
    pub outcome: String,
    /// Why it failed, or is tried again.
    pub problem: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Bytes of chunks that were sent.
    pub bytes_sent: u64,
    /// Bytes of chunks that were there already.
    pub bytes_saved: u64,
}

#[derive(sqlx::FromRow)]
struct Row {
    satellite: String,
    workload: String,
    from_version: String,
    version: String,
    outcome: String,
    problem: String,
    started_at: i64,
    ended_at: Option<i64>,
    bytes_sent: i64,
    bytes_saved: i64,
}

impl TryFrom<Row> for HistoryRow {
    type Error = StoreError;
    fn try_from(row: Row) -> Result<Self, StoreError> {
        let corrupt = |what| StoreError::Corrupt { what };
        Ok(Self {
            satellite: row
                .satellite
                .parse()
                .map_err(|_| corrupt("name of a satellite"))?,
            workload: row.workload.parse().map_err(|_| corrupt("name of a workload"))?,
            from_version: row.from_version,
            version: row.version,
            outcome: row.outcome,
            problem: row.problem,
            started_at: to_time(row.started_at, "time of an update")?,
            ended_at: row
                .ended_at
                .map(|millis| to_time(millis, "time of an update"))
                .transpose()?,
            bytes_sent: to_u64(row.bytes_sent, "size of an update")?,
            bytes_saved: to_u64(row.bytes_saved, "size of an update")?,
        })
    }
}

/// The update that a record is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bringing<'a> {
    /// Where.
    pub satellite: &'a SatelliteName,
    /// Which workload.
    pub workload: &'a WorkloadName,
    /// Which version.
    pub manifest: Digest,
}

/// An installation whose end is not recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenInstallation {
    /// Of which workload.
    pub workload: WorkloadName,
    /// Of which version.
    pub manifest: Digest,
    /// The key under which it was begun.
    pub key: String,
}

impl Store {
    /// An update begins, or is taken up again; one to another version that was open has ended by that.
    ///
    /// # Errors
    /// [`StoreError::Query`] if the satellite is not known.
    pub async fn open_history(
        &self,
        of: &Bringing<'_>,
        from_version: &str,
        version: &str,
    ) -> Result<(), StoreError> {
        let doing = "record an update";
        let now = to_millis(Timestamp::now());
        let mut tx = self.pool.begin().await.map_err(failed(doing))?;
        sqlx::query(
            "UPDATE update_history SET outcome = 'failed', problem = 'another version was wanted', ended_at = $4 \
             WHERE satellite = $1 AND workload = $2 AND manifest_digest <> $3 AND ended_at IS NULL",
        )
        .bind(of.satellite.as_str())
        .bind(of.workload.as_str())
        .bind(of.manifest.to_string())
        .bind(now)
        .execute(&mut *tx)
        .await
        .map_err(failed(doing))?;
        sqlx::query(
            "INSERT INTO update_history (satellite, workload, manifest_digest, from_version, version, outcome, problem, \
             started_at, bytes_sent, bytes_saved) VALUES ($1, $2, $3, $4, $5, 'updating', '', $6, 0, 0) \
             ON CONFLICT DO NOTHING",
        )
        .bind(of.satellite.as_str())
        .bind(of.workload.as_str())
        .bind(of.manifest.to_string())
        .bind(from_version)
        .bind(version)
        .bind(now)
        .execute(&mut *tx)
        .await
        .map_err(failed(doing))?;
        sqlx::query(
            "DELETE FROM update_history WHERE satellite = $1 AND id NOT IN \
             (SELECT id FROM update_history WHERE satellite = $1 ORDER BY id DESC LIMIT $2)",
        )
        .bind(of.satellite.as_str())
        .bind(KEPT)
        .execute(&mut *tx)
        .await
        .map_err(failed(doing))?;
        tx.commit().await.map_err(failed(doing))
    }

    /// Chunks were sent, and others were there already.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn count_history(&self, of: &Bringing<'_>, sent: u64, saved: u64) -> Result<(), StoreError> {
        // What an upload that was cut had brought is saved by the next one: it was sent before.
        sqlx::query(
            "UPDATE update_history SET bytes_saved = MAX($5 - bytes_sent, 0), bytes_sent = bytes_sent + $4 \
             WHERE satellite = $1 AND workload = $2 AND manifest_digest = $3 AND ended_at IS NULL",
        )
        .bind(of.satellite.as_str())
        .bind(of.workload.as_str())
        .bind(of.manifest.to_string())
        .bind(to_i64(sent))
        .bind(to_i64(saved))
        .execute(&self.pool)
        .await
        .map_err(failed("count what was sent"))?;
        Ok(())
    }

    /// An update has ended, or (`outcome` is `updating`) is tried again.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn close_history(
        &self,
        of: &Bringing<'_>,
        outcome: &str,
        problem: &str,
    ) -> Result<(), StoreError> {
        let ended = (outcome != "updating").then(|| to_millis(Timestamp::now()));
        sqlx::query(
            "UPDATE update_history SET outcome = $4, problem = $5, ended_at = $6 \
             WHERE satellite = $1 AND workload = $2 AND manifest_digest = $3 AND ended_at IS NULL",
        )
        .bind(of.satellite.as_str())
        .bind(of.workload.as_str())
        .bind(of.manifest.to_string())
        .bind(outcome)
        .bind(problem)
        .bind(ended)
        .execute(&self.pool)
        .await
        .map_err(failed("record the end of an update"))?;
        Ok(())
    }

    /// An installation of the update is about to be begun under `key`.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn begin_installation(&self, of: &Bringing<'_>, key: &str) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE update_history SET begun = $4 \
             WHERE satellite = $1 AND workload = $2 AND manifest_digest = $3 AND ended_at IS NULL",
        )
        .bind(of.satellite.as_str())
        .bind(of.workload.as_str())
        .bind(of.manifest.to_string())
        .bind(key)
        .execute(&self.pool)
        .await
        .map_err(failed("record the start of an installation"))?;
        Ok(())
    }

    /// The end of the installation is recorded, or there never was one.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn settle_installation(&self, satellite: &SatelliteName, key: &str) -> Result<(), StoreError> {
        sqlx::query("UPDATE update_history SET begun = '' WHERE satellite = $1 AND begun = $2")
            .bind(satellite.as_str())
            .bind(key)
            .execute(&self.pool)
            .await
            .map_err(failed("record the end of an installation"))?;
        Ok(())
    }

    /// The installations on a satellite that were begun and whose end is not recorded.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn open_installations(
        &self,
        satellite: &SatelliteName,
    ) -> Result<Vec<OpenInstallation>, StoreError> {
        let rows: Vec<(String, String, String)> = sqlx::query_as(
            "SELECT workload, manifest_digest, begun FROM update_history \
             WHERE satellite = $1 AND begun <> '' AND ended_at IS NULL",
        )
        .bind(satellite.as_str())
        .fetch_all(&self.pool)
        .await
        .map_err(failed("list installations"))?;
        let corrupt = |what| StoreError::Corrupt { what };
        rows.into_iter()
            .map(|(workload, manifest, key)| {
                Ok(OpenInstallation {
                    workload: workload.parse().map_err(|_| corrupt("name of a workload"))?,
                    manifest: manifest.parse().map_err(|_| corrupt("digest of a manifest"))?,
                    key,
                })
            })
            .collect()
    }

    /// Updates, newest first, at most `limit`; of one satellite or workload if they are not empty.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn history(
        &self,
        satellite: &str,
        workload: &str,
        limit: u32,
    ) -> Result<Vec<HistoryRow>, StoreError> {
        // Of all satellites the newest are near the end of the table; those of one are found by its index.
        let which = if satellite.is_empty() {
            "$1 = ''"
        } else {
            "satellite = $1"
        };
        let query = format!(
            "SELECT satellite, workload, from_version, version, outcome, problem, started_at, ended_at, bytes_sent, \
             bytes_saved FROM update_history WHERE {which} AND ($2 = '' OR workload = $2) ORDER BY id DESC LIMIT $3"
        );
        sqlx::query_as::<_, Row>(sqlx::AssertSqlSafe(query))
            .bind(satellite)
            .bind(workload)
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
            .await
            .map_err(failed("list updates"))?
            .into_iter()
            .map(HistoryRow::try_from)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::{fresh, satellite};

    #[tokio::test]
    async fn an_update_has_one_record_however_often_it_is_taken_up() {
        let (_dir, store) = fresh().await;
        let row = satellite("a");
        store.add_satellite(&row).await.unwrap();
        let workload: WorkloadName = "w".parse().unwrap();
        let of = |text: &[u8]| Bringing {
            satellite: &row.name,
            workload: &workload,
            manifest: Digest::of(text),
        };
        // Cut after 30 of 100 bytes, then the rest.
        store.open_history(&of(b"1"), "", "1.0.0").await.unwrap();
        store.count_history(&of(b"1"), 30, 0).await.unwrap();
        store.close_history(&of(b"1"), "updating", "cut").await.unwrap();
        store.open_history(&of(b"1"), "", "1.0.0").await.unwrap();
        store.count_history(&of(b"1"), 70, 30).await.unwrap();
        store.close_history(&of(b"1"), "done", "").await.unwrap();
        store.open_history(&of(b"2"), "1.0.0", "2.0.0").await.unwrap();
        store.open_history(&of(b"3"), "1.0.0", "3.0.0").await.unwrap();
        let told = store.history("a", "w", 10).await.unwrap();
        let short: Vec<_> = told
            .iter()
            .map(|one| {
                (
                    one.version.as_str(),
                    one.outcome.as_str(),
                    one.bytes_sent,
                    one.bytes_saved,
                )
            })
            .collect();
        assert_eq!(
            short,
            [
                ("3.0.0", "updating", 0, 0),
                ("2.0.0", "failed", 0, 0),
                ("1.0.0", "done", 100, 0)
            ]
        );
        assert!(told[0].ended_at.is_none() && told[2].ended_at.is_some());
        assert_eq!(store.history("b", "", 10).await.unwrap(), []);
    }

    #[tokio::test]
    async fn an_installation_is_open_until_its_end_is_recorded() {
        let (_dir, store) = fresh().await;
        let row = satellite("a");
        store.add_satellite(&row).await.unwrap();
        let workload: WorkloadName = "w".parse().unwrap();
        let of = Bringing {
            satellite: &row.name,
            workload: &workload,
            manifest: Digest::of(b"1"),
        };
        store.open_history(&of, "", "1.0.0").await.unwrap();
        let open = async || store.open_installations(&row.name).await.unwrap();
        assert_eq!(open().await, []);
        store.begin_installation(&of, "k").await.unwrap();
        let expected = OpenInstallation {
            workload: workload.clone(),
            manifest: of.manifest,
            key: "k".into(),
        };
        assert_eq!(open().await, [expected]);
        store.settle_installation(&row.name, "k").await.unwrap();
        assert_eq!(open().await, []);
        store.begin_installation(&of, "l").await.unwrap();
        store.close_history(&of, "done", "").await.unwrap();
        assert_eq!(open().await, []);
    }
}
