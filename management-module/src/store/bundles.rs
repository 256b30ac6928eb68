//! The bundles that were taken in; their files lie beside the store.

use jiff::Timestamp;
use satellite_proto::bundle::{Digest, WorkloadName};

use super::{Store, StoreError, failed, to_i64, to_millis, to_time, to_u64};

/// A bundle in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleRow {
    /// Digest of the manifest.
    pub manifest_digest: Digest,
    /// Workload.
    pub workload: WorkloadName,
    /// Version.
    pub version: semver::Version,
    /// Release number; the newest has the highest.
    pub release: u64,
    /// Channel.
    pub channel: String,
    /// Machine architecture.
    pub architecture: String,
    /// Bytes of the file.
    pub size_bytes: u64,
    /// Bytes of the payload when installed.
    pub payload_bytes: u64,
    /// Ids of the keys that signed it.
    pub key_ids: Vec<String>,
    /// The manifest as it was signed.
    pub manifest: Vec<u8>,
    /// When it was added.
    pub added_at: Timestamp,
    /// Nobody takes it for the newest by itself: a rollout or a person brings it.
    pub held: bool,
}

#[derive(sqlx::FromRow)]
struct Row {
    manifest_digest: String,
    workload: String,
    version: String,
    release_number: i64,
    channel: String,
    architecture: String,
    size_bytes: i64,
    payload_bytes: i64,
    key_ids: String,
    manifest: Vec<u8>,
    added_at: i64,
    held: bool,
}

impl TryFrom<Row> for BundleRow {
    type Error = StoreError;
    fn try_from(row: Row) -> Result<Self, StoreError> {
        let corrupt = |what| StoreError::Corrupt { what };
        Ok(Self {
            manifest_digest: row
                .manifest_digest
                .parse()
                .map_err(|_| corrupt("digest of a manifest"))?,
            workload: row.workload.parse().map_err(|_| corrupt("name of a workload"))?,
            version: row.version.parse().map_err(|_| corrupt("version of a bundle"))?,
            release: to_u64(row.release_number, "release number")?,
            channel: row.channel,
            architecture: row.architecture,
            size_bytes: to_u64(row.size_bytes, "size of a bundle")?,
            payload_bytes: to_u64(row.payload_bytes, "size of a payload")?,
            key_ids: row.key_ids.split_whitespace().map(str::to_owned).collect(),
            manifest: row.manifest,
            added_at: to_time(row.added_at, "time of a bundle")?,
            held: row.held,
        })
    }
}

impl Store {
    /// Adds a bundle whose file is in place.
    ///
    /// # Errors
    /// [`StoreError::Exists`] if it is there already.
    pub async fn add_bundle(&self, row: &BundleRow) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO bundles (manifest_digest, workload, version, release_number, channel, architecture, \
             size_bytes, payload_bytes, key_ids, manifest, added_at, held) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        )
        .bind(row.manifest_digest.to_string())
        .bind(row.workload.to_string())
        .bind(row.version.to_string())
        .bind(to_i64(row.release))
        .bind(&row.channel)
        .bind(&row.architecture)
        .bind(to_i64(row.size_bytes))
        .bind(to_i64(row.payload_bytes))
        .bind(row.key_ids.join(" "))
        .bind(&row.manifest)
        .bind(to_millis(row.added_at))
        .bind(row.held)
        .execute(&self.pool)
        .await
        .map_err(failed("add a bundle"))?;
        Ok(())
    }

    /// All bundles, by workload, newest release first.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn bundles(&self) -> Result<Vec<BundleRow>, StoreError> {
        sqlx::query_as::<_, Row>(
            "SELECT * FROM bundles ORDER BY workload, release_number DESC, added_at DESC",
        )
        .fetch_all(&self.pool)
        .await
        .map_err(failed("list bundles"))?
        .into_iter()
        .map(BundleRow::try_from)
        .collect()
    }

    /// One bundle, if it is there.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn bundle(&self, digest: &Digest) -> Result<Option<BundleRow>, StoreError> {
        sqlx::query_as::<_, Row>("SELECT * FROM bundles WHERE manifest_digest = $1")
            .bind(digest.to_string())
            .fetch_optional(&self.pool)
            .await
            .map_err(failed("read a bundle"))?
            .map(BundleRow::try_from)
            .transpose()
    }

    /// The bundles of one workload, newest release first.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn bundles_of(&self, workload: &WorkloadName) -> Result<Vec<BundleRow>, StoreError> {
        sqlx::query_as::<_, Row>(
            "SELECT * FROM bundles WHERE workload = $1 ORDER BY release_number DESC, added_at DESC",
        )
        .bind(workload.to_string())
        .fetch_all(&self.pool)
        .await
        .map_err(failed("list the bundles of a workload"))?
        .into_iter()
        .map(BundleRow::try_from)
        .collect()
    }
}
