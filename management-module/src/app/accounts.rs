//! Accounts: who answers for the backups of a tenant, and is warned.

use jiff::Timestamp;

use super::{Actor, App, AppError};
use crate::plan::account::{Account, Limits};
use crate::store::{AccountRow, AccountSource, StoreError};

/// Keeps an account; with `replace` it takes the place of the one of its name.
///
/// # Errors
/// [`AppError::Invalid`] what is wrong with it; [`AppError::Exists`]; [`AppError::Precondition`] it comes from the directory.
pub async fn put(app: &App, actor: &Actor, account: Account, replace: bool) -> Result<AccountRow, AppError> {
    let name = account.name.clone();
    let kept = keep(app, account, replace).await;
    app.audit
        .recorded(actor, "AccountService/PutAccount", &name, kept)
        .await
}

async fn keep(app: &App, account: Account, replace: bool) -> Result<AccountRow, AppError> {
    let faults: Vec<_> = account.faults().iter().map(ToString::to_string).collect();
    if !faults.is_empty() {
        return Err(AppError::Invalid(faults.join("; ")));
    }
    let known = app.store.account(&account.name).await?;
    not_of_directory(known.as_ref())?;
    let now = Timestamp::now();
    let row = AccountRow {
        created_at: known.map_or(now, |row| row.created_at),
        updated_at: now,
        source: AccountSource::BuiltIn,
        set: None,
        account,
    };
    match app.store.put_account(&row, replace).await {
        Err(StoreError::Exists(_)) => Err(AppError::Exists(format!(
            "there is an account {} already",
            row.account.name
        ))),
        other => other.map(|()| row).map_err(AppError::from),
    }
}

/// Sets when an account is warned, wherever it comes from. The space that it has stays as it is.
///
/// # Errors
/// [`AppError::Invalid`]; [`AppError::NotFound`].
pub async fn set_limits(
    app: &App,
    actor: &Actor,
    name: &str,
    limits: Limits,
) -> Result<AccountRow, AppError> {
    let set = limited(app, name, limits).await;
    app.audit
        .recorded(actor, "AccountService/SetLimits", name, set)
        .await
}

async fn limited(app: &App, name: &str, limits: Limits) -> Result<AccountRow, AppError> {
    let missing = || AppError::no("account", name);
    let row = app.store.account(name).await?.ok_or_else(missing)?;
    let mut account = row.account;
    account.limits = Limits {
        quota_bytes: account.limits.quota_bytes,
        ..limits
    };
    if row.source == AccountSource::BuiltIn {
        return keep(app, account, true).await;
    }
    let faults: Vec<_> = account.faults().iter().map(ToString::to_string).collect();
    if !faults.is_empty() {
        return Err(AppError::Invalid(faults.join("; ")));
    }
    if !app.store.set_limits(name, &account.limits).await? {
        return Err(missing());
    }
    app.store.account(name).await?.ok_or_else(missing)
}

/// Who is warned for an account, the operator among them if no address is known.
#[must_use]
pub fn warned(app: &App, account: &Account) -> Vec<String> {
    let mail = app.config.mail.as_ref();
    account.warned(mail.and_then(|mail| mail.operator.as_deref()))
}

/// All accounts by name.
///
/// # Errors
/// What the store says.
pub async fn list(app: &App) -> Result<Vec<AccountRow>, AppError> {
    Ok(app.store.accounts().await?)
}

/// Removes an account and what stands against it. Its backups stay.
///
/// # Errors
/// [`AppError::NotFound`]; [`AppError::Precondition`] it comes from the directory.
pub async fn remove(app: &App, actor: &Actor, name: &str) -> Result<(), AppError> {
    let removed = removed(app, name).await;
    app.audit
        .recorded(actor, "AccountService/RemoveAccount", name, removed)
        .await
}

async fn removed(app: &App, name: &str) -> Result<(), AppError> {
    not_of_directory(app.store.account(name).await?.as_ref())?;
    match app.store.remove_account(name).await? {
        true => Ok(()),
        false => Err(AppError::no("account", name)),
    }
}

fn not_of_directory(row: Option<&AccountRow>) -> Result<(), AppError> {
    match row {
        Some(row) if row.source == AccountSource::Directory => Err(AppError::Precondition(format!(
            "account {} comes from the directory: change it there",
            row.account.name
        ))),
        _ => Ok(()),
    }
}
