//! Users who sign in at a provider of OpenID Connect.
//!
//! **Invariant:** a user here belongs to one person of the provider for good, whatever that one is called there later; a
//! user who was added here or is of the directory is never taken over. An answer counts once, in the browser that asked.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tracing::{info, warn};

use super::session::{Session, hash_of, new_token};
use super::sign_in::{Refusal, SignedIn, record};
use super::{Role, User, UserName, directory};
use crate::app::{App, AppError};
use crate::bounded::make_room;
use crate::config::openid::OpenId;
use crate::notify::openid::{OpenIdError, Person, Provider, Secrets};
use crate::store::UserSource;

/// Sign-ins under way; beyond that the oldest goes.
const MOST: usize = 1000;
/// How long somebody may take at the provider.
const KEPT: Duration = Duration::from_mins(10);
/// How long what the provider says of itself counts.
const KNOWN: Duration = Duration::from_mins(10);
/// Talks with the provider at the same time.
const TALKS: usize = 8;

/// What a browser came back with.
#[derive(Default)]
pub struct Return<'a> {
    /// What the browser kept.
    pub kept: &'a str,
    /// The code to redeem; empty: the provider refused.
    pub code: &'a str,
    /// What we gave it.
    pub state: &'a str,
    /// Who answers, if the answer says so.
    pub issuer: Option<&'a str>,
}

impl fmt::Debug for Return<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Return(..)")
    }
}

/// Somebody is sent to the provider.
pub struct Sent {
    /// Where to.
    pub place: String,
    /// What the browser keeps meanwhile.
    pub kept: String,
}

impl fmt::Debug for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sent(..)")
    }
}

struct Begun {
    since: Instant,
    next: String,
    provider: Provider,
    secrets: Secrets,
}

/// Signs users in by a provider; clones share what is under way.
#[derive(Clone)]
pub struct ProviderSignIn(Arc<Shared>);

struct Shared {
    begun: Mutex<HashMap<String, Begun>>,
    known: Mutex<Option<(Instant, Provider)>>,
    talks: Semaphore,
}

impl Default for ProviderSignIn {
    fn default() -> Self {
        Self(Arc::new(Shared {
            begun: Mutex::default(),
            known: Mutex::default(),
            talks: Semaphore::new(TALKS),
        }))
    }
}

impl fmt::Debug for ProviderSignIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProviderSignIn(..)")
    }
}

impl ProviderSignIn {
    /// Begins a sign-in that ends at `next`.
    ///
    /// # Errors
    /// [`AppError::Unavailable`] the provider cannot be asked; [`AppError::NotFound`] there is none.
    pub async fn begin(&self, app: &App, next: &str) -> Result<Sent, AppError> {
        let config = config(app)?;
        let provider = self.provider(config).await?;
        let secrets = Secrets {
            state: new_token(),
            nonce: new_token(),
            verifier: new_token(),
        };
        let sent = Sent {
            place: provider.place(config, &secrets),
            kept: new_token(),
        };
        let begun = Begun {
            since: Instant::now(),
            next: next.to_owned(),
            provider,
            secrets,
        };
        self.keep(hash_of(&sent.kept), begun);
        Ok(sent)
    }

    fn keep(&self, key: String, begun: Begun) {
        let mut all = self.0.begun.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, begun| begun.since.elapsed() < KEPT);
        make_room(&mut all, MOST, |begun| begun.since);
        all.insert(key, begun);
    }

    /// What was begun in that browser. It is gone afterwards.
    fn take(&self, kept: &str) -> Option<Begun> {
        let mut all = self.0.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let begun = all.remove(&hash_of(kept));
        begun.filter(|begun| begun.since.elapsed() < KEPT)
    }

    /// Takes in who comes back from the provider, and tells where to go next.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn finish(
        &self,
        app: &App,
        ip: IpAddr,
        came: Return<'_>,
    ) -> Result<(SignedIn, String), Refusal> {
        let config = config(app)?;
        let begun = self.take(came.kept).ok_or(Refusal::NotConfirmed)?;
        // The state is a secret, but compared by its hash: how long that takes tells nothing.
        let is_ours = hash_of(came.state) == hash_of(&begun.secrets.state);
        if !is_ours || came.code.is_empty() || !begun.provider.is_issuer(came.issuer) {
            let why = "the provider did not confirm who it is".to_owned();
            record(app, "(provider)", ip, Err(why)).await;
            return Err(Refusal::NotConfirmed);
        }
        let redeemed = self.talk(config, begun.provider.redeem(config, came.code, &begun.secrets));
        let Some(person) = redeemed.await? else {
            let why = "the provider does not take the code that came".to_owned();
            record(app, "(provider)", ip, Err(why)).await;
            return Err(Refusal::NotConfirmed);
        };
        let user = match take_in(app, config, &person).await? {
            Ok(user) => user,
            Err(refusal) => {
                let name = person.name.as_deref().unwrap_or_default();
                warn!(%name, %refusal, "Somebody of the provider is not let in");
                record(app, "(provider)", ip, Err(refusal.to_string())).await;
                return Err(refusal);
            }
        };
        let is_half = user.has_second_factor;
        let token = Session::begin(app, &user, !is_half).await?;
        if !is_half {
            record(app, user.name.as_str(), ip, Ok(())).await;
        }
        let signed_in = SignedIn {
            token,
            device: None,
            is_half,
            user,
        };
        Ok((signed_in, begun.next))
    }

    async fn provider(&self, config: &OpenId) -> Result<Provider, AppError> {
        let known = self
            .0
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some((since, provider)) = known
            && since.elapsed() < KNOWN
        {
            return Ok(provider);
        }
        let found = self.talk(config, Provider::discover(config)).await?;
        let mut known = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Some((Instant::now(), found.clone()));
        Ok(found)
    }

    /// So many talks at once, and each for so long.
    async fn talk<T>(
        &self,
        config: &OpenId,
        work: impl Future<Output = Result<T, OpenIdError>>,
    ) -> Result<T, AppError> {
        let all = async {
            let _permit = self.0.talks.acquire().await;
            work.await
        };
        let unavailable = |source: Option<Box<dyn std::error::Error + Send + Sync>>| AppError::Unavailable {
            message: format!("the provider of sign-in, {}, does not help", config.name),
            source,
        };
        match tokio::time::timeout(config.deadline, all).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => {
                warn!(
                    error = &error as &dyn std::error::Error,
                    "The provider of sign-in does not help"
                );
                Err(unavailable(Some(error.into())))
            }
            Err(_) => {
                warn!(deadline = ?config.deadline, "The provider of sign-in did not answer in time");
                Err(unavailable(None))
            }
        }
    }
}

fn config(app: &App) -> Result<&OpenId, AppError> {
    let none = || AppError::no("provider of sign-in", "openid");
    app.config.openid.as_ref().ok_or_else(none)
}

/// The user that belongs to a person of the provider, with the role and the tenants of today.
async fn take_in(app: &App, config: &OpenId, person: &Person) -> Result<Result<User, Refusal>, Refusal> {
    let name: Option<UserName> = person.name.as_deref().and_then(|name| name.parse().ok());
    let Some(name) = name else {
        info!(claim = %config.user_claim, "What the provider calls somebody can be no name here");
        return Ok(Err(Refusal::NoName));
    };
    let accounts = app.store.accounts().await.map_err(AppError::from)?;
    let tenants = directory::tenants(name.as_str(), accounts.iter().map(|row| &row.account));
    let (role, tenants) = match role(config, &person.groups) {
        Some(role) => (role, Vec::new()),
        None if !tenants.is_empty() => (Role::Customer, tenants),
        None => return Ok(Err(Refusal::NoRole)),
    };
    let source = UserSource::Provider {
        subject: format!("{} {}", config.issuer, person.subject),
    };
    match super::take_in(app, &name, (role, tenants), source.clone()).await? {
        Some(row) if row.source == source && !row.disabled => Ok(Ok(User::try_from(&row)?)),
        Some(row) if row.source == source => Ok(Err(Refusal::NoRole)),
        _ => Ok(Err(Refusal::NameTaken)),
    }
}

/// The first of the roles whose group somebody is in.
fn role(config: &OpenId, groups: &[String]) -> Option<Role> {
    let named = [
        (Role::Administrator, &config.administrators),
        (Role::Operator, &config.operators),
        (Role::Viewer, &config.viewers),
    ];
    let is_in = |group: &Option<String>| group.as_ref().is_some_and(|group| groups.contains(group));
    named
        .into_iter()
        .find(|(_, group)| is_in(group))
        .map(|(role, _)| role)
}
