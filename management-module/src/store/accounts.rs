//! Accounts, what stands against them, and what is known of their backups.

use jiff::Timestamp;
use sqlx::{Sqlite, Transaction};

use super::words::{Word, words};
use super::{MailRow, Store, StoreError, failed, mails, to_millis, to_time, to_u64};
use crate::plan::account::{Account, Limits};
use crate::plan::warnings::{Kind, Raised};

/// Where an account comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountSource {
    /// A person has added it.
    BuiltIn,
    /// It is in the directory.
    Directory,
}

words!(
    AccountSource,
    "source of an account",
    BuiltIn = "built-in",
    Directory = "directory"
);
words!(
    Kind,
    "kind of a warning",
    Quota = "quota",
    Schedule = "schedule",
    Unsuccessful = "unsuccessful",
    Upgrade = "upgrade",
    NoBackup = "no-backup",
);

/// An account as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountRow {
    /// It.
    pub account: Account,
    /// Where it comes from.
    pub source: AccountSource,
    /// When it is warned, as people set it here for an account of the directory.
    pub set: Option<Limits>,
    /// Since when it is known.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl AccountRow {
    /// When it is warned: what people set here counts, but for the space that it has.
    #[must_use]
    pub fn limits(&self) -> Limits {
        let said = &self.account.limits;
        let set = self.set.as_ref().unwrap_or(said);
        Limits {
            quota_bytes: said.quota_bytes,
            ..set.clone()
        }
    }
}

/// A warning as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WarningRow {
    /// The account.
    pub account: String,
    /// Of what.
    pub kind: Kind,
    /// How it stands.
    pub raised: Raised,
}

/// What archives a tenant has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Space {
    /// Bytes of them, on satellites and at destinations.
    pub used_bytes: u64,
    /// Whether there was ever one.
    pub has_archive: bool,
}

#[derive(sqlx::FromRow)]
struct Row {
    source: String,
    document: String,
    limits: Option<String>,
    created_at: i64,
    updated_at: i64,
}

impl TryFrom<Row> for AccountRow {
    type Error = StoreError;
    fn try_from(row: Row) -> Result<Self, StoreError> {
        let what = "account";
        Ok(Self {
            account: serde_json::from_str(&row.document).map_err(|_| StoreError::Corrupt { what })?,
            source: AccountSource::read(&row.source)?,
            set: row
                .limits
                .map(|text| serde_json::from_str(&text).map_err(|_| StoreError::Corrupt { what }))
                .transpose()?,
            created_at: to_time(row.created_at, "time of an account")?,
            updated_at: to_time(row.updated_at, "time of an account")?,
        })
    }
}

#[derive(sqlx::FromRow)]
struct WarningLine {
    account: String,
    kind: String,
    since: i64,
    told_at: Option<i64>,
    told: i64,
    finding: String,
    concerns: String,
}

impl TryFrom<WarningLine> for WarningRow {
    type Error = StoreError;
    fn try_from(row: WarningLine) -> Result<Self, StoreError> {
        let corrupt = |what| StoreError::Corrupt { what };
        let what = "warning";
        let told_at = row.told_at.map(|time| to_time(time, "time of a warning"));
        Ok(Self {
            kind: Kind::read(&row.kind)?,
            raised: Raised {
                since: to_time(row.since, "time of a warning")?,
                told_at: told_at.transpose()?,
                told: u32::try_from(to_u64(row.told, what)?).map_err(|_| corrupt(what))?,
                finding: serde_json::from_str(&row.finding).map_err(|_| corrupt(what))?,
                concerns: serde_json::from_str(&row.concerns).map_err(|_| corrupt(what))?,
            },
            account: row.account,
        })
    }
}

impl Store {
    /// Keeps an account; with `replace` it takes the place of the one of its name, which keeps its first time.
    ///
    /// # Errors
    /// [`StoreError::Exists`] without `replace` if the name is taken.
    pub async fn put_account(&self, row: &AccountRow, replace: bool) -> Result<(), StoreError> {
        let insert = "INSERT INTO accounts (name, source, document, created_at, updated_at) VALUES ($1, $2, $3, $4, $5)";
        let upsert = "INSERT INTO accounts (name, source, document, created_at, updated_at) VALUES ($1, $2, $3, $4, $5) \
                      ON CONFLICT (name) DO UPDATE SET source = excluded.source, document = excluded.document, \
                      updated_at = excluded.updated_at";
        sqlx::query(if replace { upsert } else { insert })
            .bind(&row.account.name)
            .bind(row.source.word())
            .bind(to_document(&row.account)?)
            .bind(to_millis(row.created_at))
            .bind(to_millis(row.updated_at))
            .execute(&self.pool)
            .await
            .map_err(failed("keep an account"))?;
        self.tell();
        Ok(())
    }

    /// Makes the accounts of the directory be these, all of them read at `now`: others of it go. Built-in ones stay, also if one
    /// of the same name is in the directory.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried; nothing was changed.
    pub async fn replace_directory(&self, accounts: &[Account], now: Timestamp) -> Result<(), StoreError> {
        let doing = "take in the accounts of the directory";
        let mut transaction = self.pool.begin().await.map_err(failed(doing))?;
        for account in accounts {
            sqlx::query(
                "INSERT INTO accounts (name, source, document, created_at, updated_at, read_at) \
                 VALUES ($1, $2, $3, $4, $4, $4) ON CONFLICT (name) DO UPDATE SET document = excluded.document, \
                 updated_at = CASE WHEN accounts.document = excluded.document THEN accounts.updated_at \
                 ELSE excluded.updated_at END, read_at = excluded.read_at WHERE accounts.source = excluded.source",
            )
            .bind(&account.name)
            .bind(AccountSource::Directory.word())
            .bind(to_document(account)?)
            .bind(to_millis(now))
            .execute(&mut *transaction)
            .await
            .map_err(failed(doing))?;
        }
        sqlx::query("DELETE FROM accounts WHERE source = $1 AND read_at <> $2")
            .bind(AccountSource::Directory.word())
            .bind(to_millis(now))
            .execute(&mut *transaction)
            .await
            .map_err(failed(doing))?;
        transaction.commit().await.map_err(failed(doing))?;
        self.tell();
        Ok(())
    }

    /// Sets when an account of the directory is warned. False if there is none of that name.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried; nothing was changed.
    pub async fn set_limits(&self, name: &str, limits: &Limits) -> Result<bool, StoreError> {
        let what = "limits of an account";
        let limits = serde_json::to_string(limits).map_err(|_| StoreError::Corrupt { what })?;
        let done = sqlx::query("UPDATE accounts SET limits = $2 WHERE name = $1 AND source = $3")
            .bind(name)
            .bind(limits)
            .bind(AccountSource::Directory.word())
            .execute(&self.pool)
            .await
            .map_err(failed("set when an account is warned"))?;
        self.tell();
        Ok(done.rows_affected() > 0)
    }

    /// All accounts by name.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn accounts(&self) -> Result<Vec<AccountRow>, StoreError> {
        sqlx::query_as::<_, Row>("SELECT * FROM accounts ORDER BY name")
            .fetch_all(&self.pool)
            .await
            .map_err(failed("list accounts"))?
            .into_iter()
            .map(AccountRow::try_from)
            .collect()
    }

    /// One account, if it is known.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn account(&self, name: &str) -> Result<Option<AccountRow>, StoreError> {
        let row = sqlx::query_as::<_, Row>("SELECT * FROM accounts WHERE name = $1")
            .bind(name)
            .fetch_optional(&self.pool)
            .await
            .map_err(failed("read an account"))?;
        row.map(AccountRow::try_from).transpose()
    }

    /// Removes an account with its warnings; false if there was none.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn remove_account(&self, name: &str) -> Result<bool, StoreError> {
        let done = sqlx::query("DELETE FROM accounts WHERE name = $1")
            .bind(name)
            .execute(&self.pool)
            .await
            .map_err(failed("remove an account"))?;
        Ok(done.rows_affected() > 0)
    }

    /// The warnings that stand, by account.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn warnings(&self) -> Result<Vec<WarningRow>, StoreError> {
        sqlx::query_as::<_, WarningLine>("SELECT * FROM warnings ORDER BY account, kind")
            .fetch_all(&self.pool)
            .await
            .map_err(failed("list warnings"))?
            .into_iter()
            .map(WarningRow::try_from)
            .collect()
    }

    /// Notes how a warning stands now, and files the mails that tell it. False, and nothing is done, if somebody told it
    /// meanwhile: `told` is how often it had been told when that was decided; none: it did not stand.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn note_warning(
        &self,
        (account, kind): (&str, Kind),
        told: Option<u32>,
        now: Option<&Raised>,
        mails: &[MailRow],
    ) -> Result<bool, StoreError> {
        let doing = "note a warning";
        let mut transaction = self.pool.begin().await.map_err(failed(doing))?;
        let before: Option<i64> =
            sqlx::query_scalar("DELETE FROM warnings WHERE account = $1 AND kind = $2 RETURNING told")
                .bind(account)
                .bind(kind.word())
                .fetch_optional(&mut *transaction)
                .await
                .map_err(failed(doing))?;
        if before != told.map(i64::from) {
            return Ok(false);
        }
        if let Some(raised) = now {
            insert_warning(&mut transaction, account, kind, raised).await?;
        }
        mails::file(&mut transaction, mails).await?;
        transaction.commit().await.map_err(failed(doing))?;
        Ok(true)
    }

    /// What all archives take, on satellites and at destinations, in bytes.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn space_of_all(&self) -> Result<u64, StoreError> {
        let bytes: i64 = sqlx::query_scalar(
            "SELECT (SELECT COALESCE(SUM(bytes), 0) FROM runs WHERE archive_id <> '' AND spool_removed_at IS NULL) + \
             (SELECT COALESCE(SUM(size_bytes), 0) FROM run_destinations WHERE state = 'done' AND removed_at IS NULL)",
        )
        .fetch_one(&self.pool)
        .await
        .map_err(failed("add up the space of all archives"))?;
        to_u64(bytes, "size of an archive")
    }

    /// What archives the centrals of a tenant have, as far as runs made them.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn space(&self, tenant: &str) -> Result<Space, StoreError> {
        let (on_satellites, at_destinations, has_archive): (i64, i64, bool) = sqlx::query_as(
            "SELECT (SELECT COALESCE(SUM(bytes), 0) FROM runs WHERE archive_id <> '' AND spool_removed_at IS NULL \
             AND central IN (SELECT name FROM centrals WHERE tenant = $1)), \
             (SELECT COALESCE(SUM(size_bytes), 0) FROM run_destinations WHERE state = 'done' AND removed_at IS NULL \
             AND run IN (SELECT id FROM runs WHERE archive_id <> '' AND central IN (SELECT name FROM centrals \
             WHERE tenant = $1))), \
             EXISTS (SELECT 1 FROM runs WHERE archive_id <> '' AND central IN (SELECT name FROM centrals \
             WHERE tenant = $1))",
        )
        .bind(tenant)
        .fetch_one(&self.pool)
        .await
        .map_err(failed("add up the space of a tenant"))?;
        let what = "size of an archive";
        Ok(Space {
            used_bytes: to_u64(on_satellites, what)?.saturating_add(to_u64(at_destinations, what)?),
            has_archive,
        })
    }
}

fn to_document(account: &Account) -> Result<String, StoreError> {
    serde_json::to_string(account).map_err(|_| StoreError::Corrupt { what: "account" })
}

async fn insert_warning(
    transaction: &mut Transaction<'_, Sqlite>,
    account: &str,
    kind: Kind,
    raised: &Raised,
) -> Result<(), StoreError> {
    let corrupt = |_| StoreError::Corrupt { what: "warning" };
    sqlx::query(
        "INSERT INTO warnings (account, kind, since, told_at, told, finding, concerns) VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(account)
    .bind(kind.word())
    .bind(to_millis(raised.since))
    .bind(raised.told_at.map(to_millis))
    .bind(i64::from(raised.told))
    .bind(serde_json::to_string(&raised.finding).map_err(corrupt)?)
    .bind(serde_json::to_string(&raised.concerns).map_err(corrupt)?)
    .execute(&mut **transaction)
    .await
    .map_err(failed("note a warning"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{at, fresh};
    use super::*;
    use crate::language::Language;
    use crate::plan::account::{Limits, Party};
    use crate::plan::warnings::Finding;

    fn account(name: &str, source: AccountSource) -> AccountRow {
        AccountRow {
            account: Account {
                name: name.into(),
                tenant: "customer".into(),
                language: Language::De,
                own: Party::default(),
                reseller: None,
                limits: Limits::default(),
            },
            source,
            set: None,
            created_at: at(1),
            updated_at: at(1),
        }
    }

    #[tokio::test]
    async fn the_directory_replaces_its_own_accounts_and_no_others() {
        let (_dir, store) = fresh().await;
        let own = account("own", AccountSource::BuiltIn);
        store.put_account(&own, false).await.unwrap();
        assert!(matches!(
            store.put_account(&own, false).await,
            Err(StoreError::Exists(_))
        ));
        let from = |names: &[&str]| -> Vec<Account> {
            let rows = names.iter().map(|name| account(name, AccountSource::Directory));
            rows.map(|row| row.account).collect()
        };
        store
            .replace_directory(&from(&["a", "b", "own"]), at(2))
            .await
            .unwrap();
        store.replace_directory(&from(&["b", "c"]), at(3)).await.unwrap();
        let names: Vec<_> = store
            .accounts()
            .await
            .unwrap()
            .into_iter()
            .map(|row| (row.account.name, row.source))
            .collect();
        let wanted = [
            ("b".to_owned(), AccountSource::Directory),
            ("c".to_owned(), AccountSource::Directory),
            ("own".to_owned(), AccountSource::BuiltIn),
        ];
        assert_eq!(names, wanted);
        let kept = store.account("b").await.unwrap().unwrap();
        assert_eq!((kept.created_at, kept.updated_at), (at(2), at(2)));
        // What people set stays when the directory is read again; its space is the directory's.
        let set = Limits {
            quota_bytes: 7,
            failed: 5,
            ..Limits::default()
        };
        assert!(store.set_limits("b", &set).await.unwrap());
        assert!(!store.set_limits("own", &set).await.unwrap());
        store.replace_directory(&from(&["b"]), at(4)).await.unwrap();
        let limits = store.account("b").await.unwrap().unwrap().limits();
        assert_eq!((limits.quota_bytes, limits.failed), (0, 5));
        assert_eq!(store.account("own").await.unwrap().unwrap(), own);
    }

    #[tokio::test]
    async fn a_warning_is_noted_only_by_who_knows_how_it_stands() {
        let (_dir, store) = fresh().await;
        store
            .put_account(&account("a", AccountSource::BuiltIn), false)
            .await
            .unwrap();
        let key = ("a", Kind::Quota);
        let raised = Raised {
            since: at(3),
            told_at: Some(at(4)),
            told: 1,
            finding: Finding::Quota(2, 1),
            concerns: Vec::new(),
        };
        assert!(store.note_warning(key, None, Some(&raised), &[]).await.unwrap());
        assert!(!store.note_warning(key, None, Some(&raised), &[]).await.unwrap());
        let row = WarningRow {
            account: "a".into(),
            kind: Kind::Quota,
            raised,
        };
        assert_eq!(store.warnings().await.unwrap(), [row]);
        assert!(store.note_warning(key, Some(1), None, &[]).await.unwrap());
        assert_eq!(store.warnings().await.unwrap(), []);
        assert_eq!(store.space("customer").await.unwrap(), Space::default());
        assert!(store.remove_account("a").await.unwrap());
    }
}
