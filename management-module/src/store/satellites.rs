//! The satellites of the installation.

use jiff::Timestamp;
use prost::Message;
use satellite_proto::identity::Pin;
use satellite_proto::wire::bridge::v1 as bridge;

use super::{Store, StoreError, failed, to_millis, to_time};
use crate::names::{Address, SatelliteName};

/// A satellite as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct SatelliteRow {
    /// Its name.
    pub name: SatelliteName,
    /// Where it is dialled.
    pub address: Address,
    /// Its key.
    pub pin: Pin,
    /// When it was paired.
    pub paired_at: Timestamp,
    /// As it last described itself.
    pub observed: Option<bridge::Satellite>,
    /// When that was.
    pub seen_at: Option<Timestamp>,
    /// What is remembered of the meetings with it, as the fleet writes it.
    pub trail: String,
}

#[derive(sqlx::FromRow)]
struct Row {
    name: String,
    address: String,
    fingerprint: String,
    paired_at: i64,
    observed: Option<Vec<u8>>,
    seen_at: Option<i64>,
    trail: String,
}

impl TryFrom<Row> for SatelliteRow {
    type Error = StoreError;
    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            name: row.name.parse().map_err(|_| StoreError::Corrupt {
                what: "name of a satellite",
            })?,
            address: row.address.parse().map_err(|_| StoreError::Corrupt {
                what: "address of a satellite",
            })?,
            pin: row.fingerprint.parse().map_err(|_| StoreError::Corrupt {
                what: "fingerprint of a satellite",
            })?,
            paired_at: to_time(row.paired_at, "time of pairing")?,
            // What a satellite said of itself is a memory, not a fact: an unreadable one counts as none.
            observed: row
                .observed
                .and_then(|bytes| bridge::Satellite::decode(bytes.as_slice()).ok()),
            seen_at: row
                .seen_at
                .map(|millis| to_time(millis, "time of last contact"))
                .transpose()?,
            trail: row.trail,
        })
    }
}

impl Store {
    /// Adds a satellite that has just been paired.
    ///
    /// # Errors
    /// [`StoreError::Exists`] if its name or its key is known.
    pub async fn add_satellite(&self, row: &SatelliteRow) -> Result<(), StoreError> {
        sqlx::query("INSERT INTO satellites (name, address, fingerprint, paired_at) VALUES ($1, $2, $3, $4)")
            .bind(row.name.as_str())
            .bind(row.address.as_str())
            .bind(row.pin.to_string())
            .bind(to_millis(row.paired_at))
            .execute(&self.pool)
            .await
            .map_err(failed("add a satellite"))?;
        Ok(())
    }

    /// All satellites by name.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn satellites(&self) -> Result<Vec<SatelliteRow>, StoreError> {
        sqlx::query_as::<_, Row>("SELECT * FROM satellites ORDER BY name")
            .fetch_all(&self.pool)
            .await
            .map_err(failed("list satellites"))?
            .into_iter()
            .map(SatelliteRow::try_from)
            .collect()
    }

    /// One satellite, if it is known.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn satellite(&self, name: &SatelliteName) -> Result<Option<SatelliteRow>, StoreError> {
        sqlx::query_as::<_, Row>("SELECT * FROM satellites WHERE name = $1")
            .bind(name.as_str())
            .fetch_optional(&self.pool)
            .await
            .map_err(failed("read a satellite"))?
            .map(SatelliteRow::try_from)
            .transpose()
    }

    /// The satellite that has this key, if one is known.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn satellite_by_pin(&self, pin: &Pin) -> Result<Option<SatelliteRow>, StoreError> {
        sqlx::query_as::<_, Row>("SELECT * FROM satellites WHERE fingerprint = $1")
            .bind(pin.to_string())
            .fetch_optional(&self.pool)
            .await
            .map_err(failed("find a satellite by its key"))?
            .map(SatelliteRow::try_from)
            .transpose()
    }

    /// Notes what a satellite said of itself. Does nothing if it is not known.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn note_observed(
        &self,
        name: &SatelliteName,
        observed: &bridge::Satellite,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE satellites SET observed = $2, seen_at = $3 WHERE name = $1")
            .bind(name.as_str())
            .bind(observed.encode_to_vec())
            .bind(to_millis(at))
            .execute(&self.pool)
            .await
            .map_err(failed("note what a satellite reported"))?;
        Ok(())
    }

    /// Notes that a satellite is dialled at another address. True if it is known.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn note_address(&self, name: &SatelliteName, address: &Address) -> Result<bool, StoreError> {
        let done = sqlx::query("UPDATE satellites SET address = $2 WHERE name = $1")
            .bind(name.as_str())
            .bind(address.as_str())
            .execute(&self.pool)
            .await
            .map_err(failed("move a satellite"))?;
        Ok(done.rows_affected() > 0)
    }

    /// Notes what is remembered of the meetings with a satellite. Does nothing if it is not known.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn note_trail(&self, name: &SatelliteName, trail: &str) -> Result<(), StoreError> {
        sqlx::query("UPDATE satellites SET trail = $2 WHERE name = $1")
            .bind(name.as_str())
            .bind(trail)
            .execute(&self.pool)
            .await
            .map_err(failed("note the meetings with a satellite"))?;
        Ok(())
    }

    /// Removes a satellite and all that is desired of it. True if it was there.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn remove_satellite(&self, name: &SatelliteName) -> Result<bool, StoreError> {
        let done = sqlx::query("DELETE FROM satellites WHERE name = $1")
            .bind(name.as_str())
            .execute(&self.pool)
            .await
            .map_err(failed("remove a satellite"))?;
        Ok(done.rows_affected() > 0)
    }
}
