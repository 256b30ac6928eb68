//! Users of the web page: who they are, what their role lets them do, how they prove themselves.
//!
//! **Invariant:** a password is kept as Argon2id only, a token of a session or a device as SHA-256 only.

mod attempts;
mod directory;
mod openid;
mod password;
mod session;
mod sign_in;
pub mod totp;

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;

use super::{Actor, App, AppError};
use crate::store::{StoreError, UserRow, UserSource};

pub use self::openid::{ProviderSignIn, Return, Sent};
pub use self::password::Weak;
pub use self::session::{ABSOLUTE, IDLE, Session};
pub use self::sign_in::{Credentials, Refusal, SignIn, SignedIn};

/// What a user may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// All.
    Administrator,
    /// All but users and the audit log.
    Operator,
    /// Sees what an operator sees, and changes nothing.
    Viewer,
    /// Sees and starts the backups of some tenants.
    Customer,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Administrator, Self::Operator, Self::Viewer, Self::Customer];

    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Administrator => "administrator",
            Self::Operator => "operator",
            Self::Viewer => "viewer",
            Self::Customer => "customer",
        }
    }
}

impl FromStr for Role {
    type Err = AppError;
    fn from_str(text: &str) -> Result<Self, AppError> {
        let found = Self::ALL.into_iter().find(|role| role.as_str() == text);
        found.ok_or_else(|| {
            AppError::Invalid(format!(
                "{text:?} is no role: administrator, operator, viewer or customer"
            ))
        })
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A user's name: 1 to 63 of `a-z0-9._-`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserName(String);

impl UserName {
    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UserName {
    type Err = AppError;
    fn from_str(text: &str) -> Result<Self, AppError> {
        let is_clean =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
        if (1..=63).contains(&text.len()) && text.bytes().all(is_clean) {
            return Ok(Self(text.to_owned()));
        }
        Err(AppError::Invalid(
            "a user's name is 1 to 63 of a-z, 0-9, dot, hyphen and underscore".to_owned(),
        ))
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A user, without what proves one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: UserName,
    /// What the user may do.
    pub role: Role,
    /// The tenants of a customer.
    pub tenants: Vec<String>,
    /// A second factor is asked for.
    pub has_second_factor: bool,
    /// The language that the user chose; empty: none.
    pub language: String,
    /// The user may not sign in.
    pub disabled: bool,
    /// The user signs in at a provider and has no password here.
    pub is_of_provider: bool,
    /// When the user was added.
    pub created_at: Timestamp,
    /// When the user last signed in.
    pub signed_in_at: Option<Timestamp>,
}

impl User {
    /// Whether data of that tenant is the user's business.
    #[must_use]
    pub fn may_see_tenant(&self, tenant: &str) -> bool {
        self.role != Role::Customer || self.tenants.iter().any(|own| own == tenant)
    }

    /// Who the audit log says it was.
    #[must_use]
    pub fn actor(&self) -> Actor {
        Actor::web(self.name.as_str())
    }
}

impl TryFrom<&UserRow> for User {
    type Error = AppError;
    fn try_from(row: &UserRow) -> Result<Self, AppError> {
        let corrupt = |what| AppError::Store(StoreError::Corrupt { what });
        Ok(Self {
            name: row.name.parse().map_err(|_| corrupt("name of a user"))?,
            role: row.role.parse().map_err(|_| corrupt("role of a user"))?,
            tenants: serde_json::from_str(&row.tenants).map_err(|_| corrupt("list of tenants"))?,
            has_second_factor: row.second_factor.is_some(),
            language: row.language.clone(),
            disabled: row.disabled,
            is_of_provider: matches!(row.source, UserSource::Provider { .. }),
            created_at: row.created_at,
            signed_in_at: row.signed_in_at,
        })
    }
}

/// A change of a user; what is none stays.
#[derive(Default)]
pub struct Change {
    /// A new password.
    pub password: Option<String>,
    /// Another role.
    pub role: Option<Role>,
    /// Other tenants.
    pub tenants: Option<Vec<String>>,
    /// Takes the second factor away.
    pub reset_second_factor: bool,
    /// Whether the user may not sign in.
    pub disabled: Option<bool>,
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Change")
            .field("role", &self.role)
            .field("tenants", &self.tenants)
            .field("disabled", &self.disabled)
            .finish_non_exhaustive()
    }
}

/// Takes in a user who signs in elsewhere, with the role and the tenants of today, and answers who has the name then.
async fn take_in(
    app: &App,
    name: &UserName,
    (role, tenants): (Role, Vec<String>),
    source: UserSource,
) -> Result<Option<UserRow>, AppError> {
    let row = UserRow {
        name: name.to_string(),
        role: role.to_string(),
        tenants: to_json(&tenants),
        password: String::new(),
        second_factor: None,
        language: String::new(),
        disabled: false,
        source,
        created_at: Timestamp::now(),
        signed_in_at: None,
    };
    app.store.take_in_user(&row).await?;
    Ok(app.store.user(name.as_str()).await?)
}

/// Adds a user.
///
/// # Errors
/// [`AppError::Password`] it is too weak; [`AppError::Invalid`] a customer has no tenant; [`AppError::Exists`].
pub async fn add(
    app: &App,
    name: &UserName,
    secret: &str,
    role: Role,
    tenants: Vec<String>,
) -> Result<(), AppError> {
    password::check(name.as_str(), secret)?;
    let tenants = checked_tenants(role, tenants)?;
    let row = UserRow {
        name: name.to_string(),
        role: role.to_string(),
        tenants: to_json(&tenants),
        password: password::hash(secret.to_owned()).await?,
        second_factor: None,
        language: String::new(),
        disabled: false,
        source: UserSource::Here,
        created_at: Timestamp::now(),
        signed_in_at: None,
    };
    match app.store.add_user(&row).await {
        Err(StoreError::Exists(_)) => Err(AppError::Exists(format!("there is a user {name} already"))),
        other => Ok(other?),
    }
}

/// All users by name.
///
/// # Errors
/// What the store says.
pub async fn list(app: &App) -> Result<Vec<User>, AppError> {
    app.store.users().await?.iter().map(User::try_from).collect()
}

/// One user.
///
/// # Errors
/// [`AppError::NotFound`].
pub async fn get(app: &App, name: &UserName) -> Result<User, AppError> {
    User::try_from(&row(app, name).await?)
}

/// Changes a user and ends the user's sessions, but the one of the token hash `kept`.
///
/// # Errors
/// [`AppError::NotFound`]; [`AppError::Password`]; [`AppError::Invalid`]; [`AppError::Precondition`] no administrator would be left.
pub async fn change(app: &App, name: &UserName, change: Change, kept: &str) -> Result<(), AppError> {
    let mut row = row(app, name).await?;
    let elsewhere = match row.source {
        UserSource::Here => None,
        UserSource::Directory => Some("with the password of the directory: it is changed there"),
        UserSource::Provider { .. } => Some("at a provider and has no password here"),
    };
    if let Some(elsewhere) = elsewhere.filter(|_| change.password.is_some()) {
        return Err(AppError::Precondition(format!("{name} signs in {elsewhere}")));
    }
    if let Some(secret) = change.password {
        password::check(name.as_str(), &secret)?;
        row.password = password::hash(secret).await?;
    }
    let before = User::try_from(&row)?;
    let role = change.role.unwrap_or(before.role);
    let tenants = checked_tenants(role, change.tenants.unwrap_or(before.tenants))?;
    (row.role, row.tenants) = (role.to_string(), to_json(&tenants));
    if change.reset_second_factor {
        row.second_factor = None;
    }
    row.disabled = change.disabled.unwrap_or(row.disabled);
    if !app.store.change_user(&row).await? {
        return Err(last_administrator(name));
    }
    app.store.end_sessions_of(name.as_str(), kept).await?;
    Ok(())
}

/// Removes a user.
///
/// # Errors
/// [`AppError::NotFound`]; [`AppError::Precondition`] no administrator would be left.
pub async fn remove(app: &App, name: &UserName) -> Result<(), AppError> {
    row(app, name).await?;
    if app.store.remove_user(name.as_str()).await? {
        Ok(())
    } else {
        Err(last_administrator(name))
    }
}

/// Asks a user for a second factor from now on, if `code` proves that the user has the secret.
///
/// # Errors
/// [`AppError::Refused`] the code is wrong; [`AppError::NotFound`].
pub async fn set_second_factor(
    app: &App,
    name: &UserName,
    secret: &totp::Secret,
    code: &str,
) -> Result<(), AppError> {
    let Some(step) = secret.step_of(code, Timestamp::now()) else {
        return Err(AppError::Refused("the code is wrong".to_owned()));
    };
    let mut row = row(app, name).await?;
    row.second_factor = Some(secret.bytes().to_vec());
    app.store.change_user(&row).await?;
    app.store.use_factor_step(name.as_str(), step).await?;
    Ok(())
}

/// Removes sessions that have ended, and devices from which nobody has signed in for a year.
///
/// # Errors
/// What the store says.
pub async fn purge(app: &App) -> Result<u64, AppError> {
    let now = Timestamp::now();
    let year = jiff::SignedDuration::from_hours(24 * 365);
    Ok(app
        .store
        .purge_sessions(now - ABSOLUTE, now - IDLE, now - year)
        .await?)
}

async fn row(app: &App, name: &UserName) -> Result<UserRow, AppError> {
    let row = app.store.user(name.as_str()).await?;
    row.ok_or_else(|| AppError::no("user", name.as_str()))
}

fn last_administrator(name: &UserName) -> AppError {
    AppError::Precondition(format!(
        "{name} is the last administrator who can sign in: make another one first"
    ))
}

fn checked_tenants(role: Role, tenants: Vec<String>) -> Result<Vec<String>, AppError> {
    let mut tenants: Vec<String> = tenants
        .iter()
        .map(|tenant| tenant.trim().to_owned())
        .filter(|tenant| !tenant.is_empty())
        .collect();
    tenants.sort();
    tenants.dedup();
    let is_fine = |tenant: &String| tenant.chars().count() <= 200 && !tenant.chars().any(char::is_control);
    if tenants.len() > 1000 || !tenants.iter().all(is_fine) {
        return Err(AppError::Invalid(
            "a tenant's name is too long or not printable".to_owned(),
        ));
    }
    match role {
        Role::Customer if tenants.is_empty() => Err(AppError::Invalid(
            "a customer needs at least one tenant".to_owned(),
        )),
        Role::Customer => Ok(tenants),
        _ => Ok(Vec::new()),
    }
}

fn to_json(tenants: &[String]) -> String {
    serde_json::Value::from(tenants.to_vec()).to_string()
}
