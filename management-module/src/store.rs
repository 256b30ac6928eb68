//! What the management module remembers: one SQLite file.
//!
//! **Invariant:** SQL is written here and in `store/` only, one function a question, and nothing here decides.

mod accounts;
mod audit;
mod bundles;
mod centrals;
mod configurations;
mod desired;
mod destinations;
mod history;
mod jobs;
mod leases;
mod mails;
mod restores;
mod rollouts;
mod runs;
mod satellites;
mod standings;
mod tokens;
mod trust;
mod users;
mod words;

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use tokio::sync::watch;

pub use accounts::{AccountRow, AccountSource, Space, WarningRow};
pub use audit::AuditRow;
pub use bundles::BundleRow;
pub use centrals::{Central, SshLogin};
pub use configurations::ConfigurationRow;
pub use desired::{Attempt, DesiredWorkload, Outcome};
pub use destinations::DestinationRow;
pub use history::{Bringing, HistoryRow, OpenInstallation};
pub use jobs::{JobRow, JobState};
pub use leases::{LeaseKind, LeaseRow};
pub use mails::{Channel, Event, EventKind, MailRow, MailState};
pub use restores::{RestoreOutcome, RestoreRow};
pub use rollouts::{RolloutRow, RolloutState, TargetRow, standing_word};
pub use runs::{Cause, CopyRow, RunFilter, RunRow};
pub use satellites::SatelliteRow;
pub use standings::{RunHead, Standing};
pub use tokens::TokenRow;
pub use users::{SessionRow, UserRow, UserSource};

/// How long a writer waits for another one.
const BUSY: Duration = Duration::from_secs(10);

/// The handle of the store; clones share it.
#[derive(Debug, Clone)]
pub struct Store {
    pool: SqlitePool,
    news: watch::Sender<u64>,
}

/// Why the store did not answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The file cannot be opened.
    #[error("cannot open the store {}; check that the directory exists and belongs to this user", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: sqlx::Error,
    },
    /// The schema cannot be brought up to date.
    #[error("cannot bring the store's schema up to date; nothing was changed beyond the last whole step")]
    Migrate(#[source] sqlx::migrate::MigrateError),
    /// A row of that key is there already.
    #[error("there is one already")]
    Exists(#[source] sqlx::Error),
    /// Another writer held the store too long, or the pool was busy. May be retried; nothing was changed.
    #[error("the store is busy; try again")]
    Busy(#[source] sqlx::Error),
    /// A stored value is not what was written.
    #[error("the store holds an unreadable {what}")]
    Corrupt {
        /// Which value.
        what: &'static str,
    },
    /// Anything else.
    #[error("the store failed while it was to {doing}")]
    Query {
        /// What was asked.
        doing: &'static str,
        /// What SQLite said.
        #[source]
        source: sqlx::Error,
    },
}

impl Store {
    /// Opens the store and brings its schema up to date. The file is made if it is not there.
    ///
    /// # Errors
    /// [`StoreError::Open`], [`StoreError::Migrate`].
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY);
        let pool = SqlitePoolOptions::new()
            .max_connections(4)
            .acquire_timeout(BUSY)
            .connect_with(options)
            .await
            .map_err(|source| StoreError::Open {
                path: path.to_owned(),
                source,
            })?;
        sqlx::migrate!("./migrations")
            .run(&pool)
            .await
            .map_err(StoreError::Migrate)?;
        let news = watch::Sender::new(0);
        Ok(Self { pool, news })
    }

    /// Wakes when something happened that somebody may have to hear of.
    #[must_use]
    pub fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// Wakes whoever looks after what happened.
    fn tell(&self) {
        self.news.send_modify(|number| *number += 1);
    }

    /// Ends all connections; what was written stays.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// Turns what SQLite said into what a caller can act on.
fn failed(doing: &'static str) -> impl FnOnce(sqlx::Error) -> StoreError {
    move |source| match &source {
        sqlx::Error::PoolTimedOut => StoreError::Busy(source),
        sqlx::Error::Database(error) if error.is_unique_violation() => StoreError::Exists(source),
        sqlx::Error::Database(error) if error.code().is_some_and(|code| code == "5") => {
            StoreError::Busy(source)
        }
        _ => StoreError::Query { doing, source },
    }
}

fn to_millis(time: Timestamp) -> i64 {
    time.as_millisecond()
}

fn to_time(millis: i64, what: &'static str) -> Result<Timestamp, StoreError> {
    Timestamp::from_millisecond(millis).map_err(|_| StoreError::Corrupt { what })
}

fn to_u64(number: i64, what: &'static str) -> Result<u64, StoreError> {
    u64::try_from(number).map_err(|_| StoreError::Corrupt { what })
}

/// A number as SQLite keeps it; beyond 2^63 it is held at the largest.
fn to_i64(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
pub(crate) mod tests;
