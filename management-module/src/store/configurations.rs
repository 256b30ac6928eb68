//! Backup configurations, and when they are due.

use std::collections::HashMap;

use jiff::Timestamp;
use sqlx::{Sqlite, Transaction};

use super::words::Word as _;
use super::{Store, StoreError, failed, to_i64, to_millis, to_time, to_u64};
use crate::language::Language;
use crate::plan::configuration::{Configuration, Kind};

/// A configuration as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigurationRow {
    /// It.
    pub configuration: Configuration,
    /// The latest due time that was dealt with.
    pub last_due: Option<Timestamp>,
    /// When it is due next, as far as known: the schedule decides.
    pub next_due: Option<Timestamp>,
    /// When it was added.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl ConfigurationRow {
    /// From when on due times count.
    #[must_use]
    pub fn settled(&self) -> Timestamp {
        self.last_due.unwrap_or(self.created_at)
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    name: String,
    kind: String,
    central: String,
    report_to: String,
    language: String,
    schedule: String,
    data_sets: String,
    retention: String,
    directory: String,
    older_than: i64,
    enabled: bool,
    encryption: String,
    last_due: Option<i64>,
    next_due: Option<i64>,
    created_at: i64,
    updated_at: i64,
}

impl Row {
    fn with(self, destinations: Vec<String>) -> Result<ConfigurationRow, StoreError> {
        let corrupt = |what| StoreError::Corrupt { what };
        let list = |text: &str| {
            text.split(',')
                .filter(|part| !part.is_empty())
                .map(str::to_owned)
                .collect()
        };
        let older_than = to_u64(self.older_than, "age in a configuration")?;
        let time = |millis: Option<i64>| millis.map(|millis| to_time(millis, "due time")).transpose();
        let configuration = Configuration {
            name: self
                .name
                .parse()
                .map_err(|_| corrupt("name of a configuration"))?,
            kind: Kind::read(&self.kind)?,
            central: self.central,
            report_to: list(&self.report_to),
            language: Language::read(&self.language)?,
            schedule: serde_json::from_str(&self.schedule).map_err(|_| corrupt("schedule"))?,
            data_sets: list(&self.data_sets),
            destinations,
            retention: serde_json::from_str(&self.retention).map_err(|_| corrupt("retention"))?,
            directory: self.directory,
            older_than_days: u32::try_from(older_than).map_err(|_| corrupt("age in a configuration"))?,
            enabled: self.enabled,
            encryption: serde_json::from_str(&self.encryption)
                .map_err(|_| corrupt("encryption in a configuration"))?,
        };
        Ok(ConfigurationRow {
            configuration,
            last_due: time(self.last_due)?,
            next_due: time(self.next_due)?,
            created_at: to_time(self.created_at, "time of a configuration")?,
            updated_at: to_time(self.updated_at, "change of a configuration")?,
        })
    }
}

impl Store {
    /// Adds a configuration; with `replace` it takes the place of the one of its name, which keeps its time of addition.
    ///
    /// # Errors
    /// [`StoreError::Exists`] if the name is taken, also in other case; [`StoreError::Query`] if its central or a
    /// destination is not known.
    pub async fn put_configuration(&self, row: &ConfigurationRow, replace: bool) -> Result<(), StoreError> {
        let json = |what| move |_| StoreError::Corrupt { what };
        let one = &row.configuration;
        let insert = "INSERT INTO backup_configurations (name, folded, kind, central, report_to, language, schedule, \
                      data_sets, retention, directory, older_than, enabled, last_due, next_due, created_at, updated_at, \
                      encryption) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)";
        let upsert = format!(
            "{insert} ON CONFLICT (name) DO UPDATE SET kind = excluded.kind, central = excluded.central, \
             report_to = excluded.report_to, language = excluded.language, schedule = excluded.schedule, \
             data_sets = excluded.data_sets, retention = excluded.retention, directory = excluded.directory, \
             older_than = excluded.older_than, enabled = excluded.enabled, last_due = excluded.last_due, \
             next_due = excluded.next_due, updated_at = excluded.updated_at, encryption = excluded.encryption"
        );
        let schedule = serde_json::to_string(&one.schedule).map_err(json("schedule"))?;
        let retention = serde_json::to_string(&one.retention).map_err(json("retention"))?;
        let encryption = serde_json::to_string(&one.encryption).map_err(json("encryption"))?;
        let mut transaction = self.pool.begin().await.map_err(failed("keep a configuration"))?;
        let query = if replace { upsert } else { insert.to_owned() };
        sqlx::query(sqlx::AssertSqlSafe(query))
            .bind(one.name.as_str())
            .bind(one.name.folded())
            .bind(one.kind.word())
            .bind(&one.central)
            .bind(one.report_to.join(","))
            .bind(one.language.word())
            .bind(schedule)
            .bind(one.data_sets.join(","))
            .bind(retention)
            .bind(&one.directory)
            .bind(to_i64(one.older_than_days.into()))
            .bind(one.enabled)
            .bind(row.last_due.map(to_millis))
            .bind(row.next_due.map(to_millis))
            .bind(to_millis(row.created_at))
            .bind(to_millis(row.updated_at))
            .bind(encryption)
            .execute(&mut *transaction)
            .await
            .map_err(failed("keep a configuration"))?;
        put_destinations(&mut transaction, one).await?;
        transaction.commit().await.map_err(failed("keep a configuration"))
    }

    /// All configurations by name.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn configurations(&self) -> Result<Vec<ConfigurationRow>, StoreError> {
        let rows = sqlx::query_as::<_, Row>("SELECT * FROM backup_configurations ORDER BY name")
            .fetch_all(&self.pool)
            .await
            .map_err(failed("list configurations"))?;
        let mut uses = self.destinations_of_configurations().await?;
        let with = |row: Row| {
            let own = uses.remove(&row.name).unwrap_or_default();
            row.with(own)
        };
        rows.into_iter().map(with).collect()
    }

    /// Those configurations that there are of these names, in no order.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn configurations_named(&self, names: &[&str]) -> Result<Vec<ConfigurationRow>, StoreError> {
        let what = "name of a configuration";
        let names = serde_json::to_string(names).map_err(|_| StoreError::Corrupt { what })?;
        let query = "SELECT * FROM backup_configurations WHERE name IN (SELECT value FROM json_each($1))";
        let rows = sqlx::query_as::<_, Row>(query)
            .bind(&names)
            .fetch_all(&self.pool)
            .await
            .map_err(failed("read configurations"))?;
        let query = "SELECT configuration, destination FROM configuration_destinations \
                     WHERE configuration IN (SELECT value FROM json_each($1)) ORDER BY position";
        let uses: Vec<(String, String)> = sqlx::query_as(query)
            .bind(&names)
            .fetch_all(&self.pool)
            .await
            .map_err(failed("list destinations of configurations"))?;
        let mut uses = by_configuration(uses);
        let with = |row: Row| {
            let own = uses.remove(&row.name).unwrap_or_default();
            row.with(own)
        };
        rows.into_iter().map(with).collect()
    }

    /// The destinations of each configuration that has any, in their order.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn destinations_of_configurations(&self) -> Result<HashMap<String, Vec<String>>, StoreError> {
        let query = "SELECT configuration, destination FROM configuration_destinations ORDER BY position";
        let uses: Vec<(String, String)> = sqlx::query_as(query)
            .fetch_all(&self.pool)
            .await
            .map_err(failed("list destinations of configurations"))?;
        Ok(by_configuration(uses))
    }

    /// One configuration, if it is known.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn configuration(&self, name: &str) -> Result<Option<ConfigurationRow>, StoreError> {
        let row = sqlx::query_as::<_, Row>("SELECT * FROM backup_configurations WHERE name = $1")
            .bind(name)
            .fetch_optional(&self.pool)
            .await
            .map_err(failed("read a configuration"))?;
        let Some(row) = row else { return Ok(None) };
        let query =
            "SELECT destination FROM configuration_destinations WHERE configuration = $1 ORDER BY position";
        let own = sqlx::query_scalar(query)
            .bind(name)
            .fetch_all(&self.pool)
            .await
            .map_err(failed("list destinations of a configuration"))?;
        row.with(own).map(Some)
    }

    /// Removes a configuration; false if there was none. Its runs stay.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn remove_configuration(&self, name: &str) -> Result<bool, StoreError> {
        let done = sqlx::query("DELETE FROM backup_configurations WHERE name = $1")
            .bind(name)
            .execute(&self.pool)
            .await
            .map_err(failed("remove a configuration"))?;
        Ok(done.rows_affected() > 0)
    }

    /// Notes when a configuration is due next.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn note_next_due(&self, name: &str, next_due: Option<Timestamp>) -> Result<(), StoreError> {
        sqlx::query("UPDATE backup_configurations SET next_due = $2 WHERE name = $1")
            .bind(name)
            .bind(next_due.map(to_millis))
            .execute(&self.pool)
            .await
            .map_err(failed("note when a configuration is due"))?;
        Ok(())
    }
}

fn by_configuration(uses: Vec<(String, String)>) -> HashMap<String, Vec<String>> {
    let mut all = HashMap::<String, Vec<String>>::new();
    for (configuration, destination) in uses {
        all.entry(configuration).or_default().push(destination);
    }
    all
}

async fn put_destinations(
    transaction: &mut Transaction<'_, Sqlite>,
    one: &Configuration,
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM configuration_destinations WHERE configuration = $1")
        .bind(one.name.as_str())
        .execute(&mut **transaction)
        .await
        .map_err(failed("replace destinations of a configuration"))?;
    for (position, destination) in (0_i64..).zip(&one.destinations) {
        let query = "INSERT INTO configuration_destinations (configuration, destination, position) VALUES ($1, $2, $3)";
        sqlx::query(query)
            .bind(one.name.as_str())
            .bind(destination)
            .bind(position)
            .execute(&mut **transaction)
            .await
            .map_err(failed("add a destination to a configuration"))?;
    }
    Ok(())
}
