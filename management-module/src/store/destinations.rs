//! Destinations, their credentials sealed.

use jiff::Timestamp;
use prost::Message as _;
use satellite_proto::wire::backup::v1::Destination;

use super::{Store, StoreError, failed, to_millis, to_time};
use crate::names::DestinationName;

/// A destination as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct DestinationRow {
    /// Its name.
    pub name: DestinationName,
    /// A directory of the server itself; empty: `settings` count.
    pub server_directory: String,
    /// The description without secrets.
    pub settings: Destination,
    /// Names of the secrets that are kept.
    pub secrets: Vec<String>,
    /// The description with secrets, encrypted; empty if there are none.
    pub sealed: Vec<u8>,
    /// When it was added.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

#[derive(sqlx::FromRow)]
struct Row {
    name: String,
    server_directory: String,
    settings: Vec<u8>,
    secrets: String,
    sealed: Vec<u8>,
    created_at: i64,
    updated_at: i64,
}

impl TryFrom<Row> for DestinationRow {
    type Error = StoreError;
    fn try_from(row: Row) -> Result<Self, StoreError> {
        let corrupt = |what| StoreError::Corrupt { what };
        let secrets = row.secrets.split(',').filter(|name| !name.is_empty());
        Ok(Self {
            name: row.name.parse().map_err(|_| corrupt("name of a destination"))?,
            server_directory: row.server_directory,
            settings: Destination::decode(row.settings.as_slice())
                .map_err(|_| corrupt("description of a destination"))?,
            secrets: secrets.map(str::to_owned).collect(),
            sealed: row.sealed,
            created_at: to_time(row.created_at, "time of a destination")?,
            updated_at: to_time(row.updated_at, "change of a destination")?,
        })
    }
}

impl Store {
    /// Adds a destination; with `replace` it takes the place of the one of its name, which keeps its time.
    ///
    /// # Errors
    /// [`StoreError::Exists`] without `replace` if the name is taken.
    pub async fn put_destination(&self, row: &DestinationRow, replace: bool) -> Result<(), StoreError> {
        let insert = "INSERT INTO destinations (name, server_directory, settings, secrets, sealed, created_at, \
                      updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7)";
        let upsert = "INSERT INTO destinations (name, server_directory, settings, secrets, sealed, created_at, \
                      updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (name) DO UPDATE SET \
                      server_directory = excluded.server_directory, settings = excluded.settings, \
                      secrets = excluded.secrets, sealed = excluded.sealed, updated_at = excluded.updated_at";
        sqlx::query(if replace { upsert } else { insert })
            .bind(row.name.as_str())
            .bind(&row.server_directory)
            .bind(row.settings.encode_to_vec())
            .bind(row.secrets.join(","))
            .bind(&row.sealed)
            .bind(to_millis(row.created_at))
            .bind(to_millis(row.updated_at))
            .execute(&self.pool)
            .await
            .map_err(failed("keep a destination"))?;
        Ok(())
    }

    /// All destinations by name.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn destinations(&self) -> Result<Vec<DestinationRow>, StoreError> {
        sqlx::query_as::<_, Row>("SELECT * FROM destinations ORDER BY name")
            .fetch_all(&self.pool)
            .await
            .map_err(failed("list destinations"))?
            .into_iter()
            .map(DestinationRow::try_from)
            .collect()
    }

    /// One destination, if it is known.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn destination(&self, name: &str) -> Result<Option<DestinationRow>, StoreError> {
        sqlx::query_as::<_, Row>("SELECT * FROM destinations WHERE name = $1")
            .bind(name)
            .fetch_optional(&self.pool)
            .await
            .map_err(failed("read a destination"))?
            .map(DestinationRow::try_from)
            .transpose()
    }

    /// The configurations that use a destination, by name.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn users_of_destination(&self, name: &str) -> Result<Vec<String>, StoreError> {
        let query = "SELECT configuration FROM configuration_destinations WHERE destination = $1 ORDER BY 1";
        sqlx::query_scalar(query)
            .bind(name)
            .fetch_all(&self.pool)
            .await
            .map_err(failed("look for who uses a destination"))
    }

    /// Removes a destination; false if there was none.
    ///
    /// # Errors
    /// [`StoreError::Query`] if a configuration uses it.
    pub async fn remove_destination(&self, name: &str) -> Result<bool, StoreError> {
        let done = sqlx::query("DELETE FROM destinations WHERE name = $1")
            .bind(name)
            .execute(&self.pool)
            .await
            .map_err(failed("remove a destination"))?;
        Ok(done.rows_affected() > 0)
    }
}
