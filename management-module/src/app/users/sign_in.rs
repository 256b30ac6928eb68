//! Signing in: a password, then the second factor if there is one.
//!
//! **Invariant:** an answer never tells whether a user exists, and each try is counted before it is looked at.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::attempts::{Attempts, Source};
use super::session::{Session, hash_of, new_token};
use super::{User, directory, password, totp};
use crate::app::{Actor, App, AppError};
use crate::store::UserSource;

/// What the audit log calls it.
const ACTION: &str = "Web/SignIn";

/// What somebody who signs in brings.
pub struct Credentials<'a> {
    /// From where.
    pub ip: IpAddr,
    /// What the browser kept from a sign-in before.
    pub device: Option<&'a str>,
    /// Who it is said to be.
    pub name: &'a str,
    /// The password, or the code of the second factor.
    pub secret: String,
}

impl fmt::Debug for Credentials<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("ip", &self.ip)
            .finish_non_exhaustive()
    }
}

/// Somebody has proved who they are, or half of it.
pub struct SignedIn {
    /// The session's token.
    pub token: String,
    /// The token by which the device is known again, once all is proved.
    pub device: Option<String>,
    /// The second factor is asked for next.
    pub is_half: bool,
    /// Who.
    pub user: User,
}

impl fmt::Debug for SignedIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedIn")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// Why nobody is signed in.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Name, password or code are wrong.
    #[error("name, password or code are wrong")]
    Wrong,
    /// Too many wrong tries from there.
    #[error("too many wrong tries; wait {0:?}")]
    Wait(Duration),
    /// The provider did not confirm who it is, or it took too long.
    #[error("the provider did not confirm who it is")]
    NotConfirmed,
    /// The provider knows somebody who may do nothing here.
    #[error("somebody of the provider who has no role here")]
    NoRole,
    /// What the provider calls somebody can be no name here.
    #[error("somebody of the provider whose name there can be no name here")]
    NoName,
    /// A user of that name is somebody else.
    #[error("somebody of the provider with the name of another user here")]
    NameTaken,
    /// It could not be found out.
    #[error(transparent)]
    App(#[from] AppError),
}

/// Signs users in; clones share what is counted.
#[derive(Debug, Clone, Default)]
pub struct SignIn {
    attempts: Arc<Attempts>,
}

impl SignIn {
    /// Checks name and password.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn begin(&self, app: &App, credentials: Credentials<'_>) -> Result<SignedIn, Refusal> {
        let source = source(app, credentials.name, credentials.ip, credentials.device).await?;
        self.attempts
            .begin(&source, Instant::now())
            .map_err(Refusal::Wait)?;
        // What cannot be a name is looked for all the same: it takes the same time.
        let name: String = credentials.name.chars().take(64).collect();
        let row = app.store.user(&name).await.map_err(AppError::from)?;
        // What is no user's name may be a password in the wrong field: it is not written down.
        let said = if row.is_some() {
            name.clone()
        } else {
            "(unknown)".to_owned()
        };
        let is_of_directory = row
            .as_ref()
            .is_none_or(|row| row.source == UserSource::Directory && !row.disabled);
        let row = row.filter(|row| !row.disabled && row.source == UserSource::Here);
        let kept = row.as_ref().map(|row| row.password.clone());
        let is_right = password::verify(credentials.secret.clone(), kept).await?;
        let row = if is_of_directory {
            directory::find(app, &name, &credentials.secret).await?
        } else {
            row.filter(|_| is_right)
        };
        let Some(row) = row else {
            record(
                app,
                &said,
                credentials.ip,
                Err("wrong name or password".to_owned()),
            )
            .await;
            return Err(Refusal::Wrong);
        };
        let user = User::try_from(&row)?;
        let is_half = user.has_second_factor;
        let token = Session::begin(app, &user, !is_half).await?;
        if is_half {
            // The tries go on to count until the code is right.
            return Ok(SignedIn {
                token,
                device: None,
                is_half,
                user,
            });
        }
        self.finish(app, user, token, (&source, credentials.ip)).await
    }

    /// Checks that who is signed in knows the password, or has just signed in at the provider; wrong tries count as those of
    /// signing in.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn confirm(
        &self,
        app: &App,
        session: &Session,
        credentials: Credentials<'_>,
    ) -> Result<(), Refusal> {
        if session.user.is_of_provider {
            return if session.is_fresh() {
                Ok(())
            } else {
                Err(Refusal::Wrong)
            };
        }
        let source = source(app, credentials.name, credentials.ip, credentials.device).await?;
        self.attempts
            .begin(&source, Instant::now())
            .map_err(Refusal::Wait)?;
        let row = app.store.user(credentials.name).await.map_err(AppError::from)?;
        let is_right = if row
            .as_ref()
            .is_some_and(|row| row.source == UserSource::Directory)
        {
            let found = directory::find(app, credentials.name, &credentials.secret).await?;
            found.is_some()
        } else {
            password::verify(credentials.secret, row.map(|row| row.password)).await?
        };
        if !is_right {
            let wrong = Err("wrong password where it is asked for again".to_owned());
            record(app, credentials.name, credentials.ip, wrong).await;
            return Err(Refusal::Wrong);
        }
        self.attempts.succeeded(&source);
        Ok(())
    }

    /// Checks the code of the second factor of a session that is half proved.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn prove(
        &self,
        app: &App,
        half: &Session,
        credentials: Credentials<'_>,
    ) -> Result<SignedIn, Refusal> {
        let (name, ip) = (half.user.name.as_str(), credentials.ip);
        let source = source(app, name, ip, credentials.device).await?;
        self.attempts
            .begin(&source, Instant::now())
            .map_err(Refusal::Wait)?;
        let row = app.store.user(name).await.map_err(AppError::from)?;
        let secret = row.and_then(|row| row.second_factor);
        let secret = secret.as_deref().and_then(totp::Secret::from_bytes);
        let step = secret.and_then(|secret| secret.step_of(&credentials.secret, Timestamp::now()));
        let is_new = match step {
            Some(step) => app
                .store
                .use_factor_step(name, step)
                .await
                .map_err(AppError::from)?,
            None => false,
        };
        if !is_new {
            record(app, name, ip, Err("wrong code of the second factor".to_owned())).await;
            return Err(Refusal::Wrong);
        }
        // Another token: whoever saw the one of the half does not have this one.
        half.end(app).await?;
        let token = Session::begin(app, &half.user, true).await?;
        self.finish(app, half.user.clone(), token, (&source, ip)).await
    }

    async fn finish(
        &self,
        app: &App,
        user: User,
        token: String,
        (source, ip): (&Source, IpAddr),
    ) -> Result<SignedIn, Refusal> {
        self.attempts.succeeded(source);
        let device = match source {
            Source::Device(_) => None,
            Source::Address(_) => {
                let device = new_token();
                let (hash, now) = (hash_of(&device), Timestamp::now());
                let kept = app.store.add_device(&hash, user.name.as_str(), now).await;
                kept.map_err(AppError::from)?;
                Some(device)
            }
        };
        record(app, user.name.as_str(), ip, Ok(())).await;
        Ok(SignedIn {
            token,
            device,
            is_half: false,
            user,
        })
    }
}

async fn source(app: &App, name: &str, ip: IpAddr, device: Option<&str>) -> Result<Source, AppError> {
    if let Some(device) = device {
        let hash = hash_of(device);
        if app.store.knows_device(&hash, name).await? {
            return Ok(Source::Device(hash));
        }
    }
    Ok(Source::of_address(ip))
}

pub(super) async fn record(app: &App, name: &str, ip: IpAddr, result: Result<(), String>) {
    let from = ip.to_canonical().to_string();
    app.audit.record(&Actor::web(name), ACTION, &from, result).await;
}
