//! Join tokens, and the satellites that come with one.
//!
//! **Invariant:** what is kept of a token cannot be used as one, and a token is claimed in the store, by one key, before
//! anything is answered to it. Only who has proved a token leaves a trace in the audit log.

mod desk;
mod limit;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use jiff::Timestamp;
use satellite_proto::bundle::WorkloadName;
use satellite_proto::identity::Pin;
use satellite_proto::join::{NewTokenError, PROTOCOL_VERSION, Token, TokenId};
use satellite_proto::pairing::Transcript;
use satellite_proto::wire::join::v1::JoinRefusal;
use tracing::{info, warn};

pub use desk::{Desk, Listening};
pub use limit::Limit;

use super::satellites::{self, NewMember};
use super::{Actor, App, AppError};
use crate::fleet::{Known, Trail};
use crate::host;
use crate::names::{Address, SatelliteName};
use crate::store::{DesiredWorkload, SatelliteRow, TokenRow};

/// How long a token is good unless something else is asked for, at least and at most.
pub const USUAL: Duration = Duration::from_hours(24);
const SHORTEST: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_hours(90 * 24);

/// How long the listener may take to be there before the one who made a token is told that it is not.
const READY: Duration = Duration::from_secs(3);

/// The answer leaves before the satellite is called.
const BEFORE_CALL: Duration = Duration::from_millis(300);

/// What a token is to be for.
#[derive(Debug, Default)]
pub struct Wish {
    /// The server's address in it; empty: found out.
    pub address: String,
    /// Name of the satellite.
    pub name: Option<SatelliteName>,
    /// What to commission; none: the usual.
    pub workloads: Vec<WorkloadName>,
    /// Commission nothing.
    pub bare: bool,
    /// How long it is good.
    pub lifetime: Option<Duration>,
}

/// A token that was just made.
#[derive(Debug)]
pub struct Created {
    /// Itself.
    pub token: Token,
    /// What is kept.
    pub row: TokenRow,
    /// Why nobody can join by it at the moment; empty if the server knows of nothing.
    pub problem: String,
}

/// Makes a token.
///
/// # Errors
/// The wish cannot be fulfilled; each says why.
pub async fn create(app: &App, actor: &Actor, wish: Wish) -> Result<Created, AppError> {
    let lifetime = wish.lifetime.unwrap_or(USUAL);
    if !(SHORTEST..=LONGEST).contains(&lifetime) {
        return Err(AppError::Invalid(
            "a token is good for between a minute and 90 days".into(),
        ));
    }
    if let Some(name) = &wish.name
        && app.store.satellite(name).await?.is_some()
    {
        return Err(AppError::Exists(format!(
            "there is a satellite {name} already; give another name"
        )));
    }
    satellites::check_bundles(app, &wish.workloads).await?;
    let address = own_address(app, &wish.address)?;
    let now = Timestamp::now();
    let expires = now.as_second().saturating_add_unsigned(lifetime.as_secs());
    let expires = u32::try_from(expires).unwrap_or(u32::MAX);
    let token = Token::generate(&address, app.installation_pin(), expires).map_err(|error| match error {
        NewTokenError::Address => AppError::Invalid(error.to_string()),
        error => AppError::machine("make a join token", error),
    })?;
    let row = TokenRow {
        id: token.id(),
        verifier: token.verifier(),
        address,
        wished_name: wish.name,
        workloads: wish.workloads,
        bare: wish.bare,
        created_at: now,
        created_by: actor.to_string(),
        expires_at: Timestamp::from_second(expires.into()).unwrap_or(now),
        revoked_at: None,
        used_by: None,
        satellite: None,
    };
    app.store.add_token(&row).await?;
    let problem = app.desk.opened(READY).await;
    Ok(Created { token, row, problem })
}

/// All tokens, newest first.
///
/// # Errors
/// What the store says.
pub async fn list(app: &App) -> Result<Vec<TokenRow>, AppError> {
    Ok(app.store.tokens().await?)
}

/// Makes a token useless; `id` may be the beginning of its id.
///
/// # Errors
/// [`AppError::NotFound`]; [`AppError::Precondition`] if it was used.
pub async fn revoke(app: &App, id: &str) -> Result<TokenRow, AppError> {
    let all = app.store.tokens().await?;
    let mut fitting = all
        .iter()
        .filter(|row| !id.is_empty() && row.id.to_string().starts_with(id));
    let row = match (fitting.next(), fitting.next()) {
        (Some(row), None) => row,
        (None, _) => return Err(AppError::no("join token", id)),
        (Some(_), Some(_)) => {
            return Err(AppError::Invalid(format!(
                "several tokens begin with {id}: give more digits"
            )));
        }
    };
    if !app.store.revoke_token(&row.id, Timestamp::now()).await? {
        let name = row.satellite.clone().unwrap_or_default();
        return Err(AppError::Precondition(format!(
            "satellite {name} has joined by that token already; to let go of it: `management-module satellite forget {name}`"
        )));
    }
    app.desk.note();
    let missing = || AppError::no("join token", id);
    app.store.token(&row.id).await?.ok_or_else(missing)
}

/// Who calls with a token.
#[derive(Debug, Clone)]
pub struct Caller {
    /// From where.
    pub ip: IpAddr,
    /// Its key.
    pub pin: Pin,
    /// What only this connection's ends share.
    pub exporter: [u8; 32],
}

/// What it says.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Which token.
    pub token: TokenId,
    /// Its proof.
    pub proof: Vec<u8>,
    /// What it calls itself.
    pub name: String,
    /// Where it takes calls.
    pub port: u16,
}

/// Takes a satellite in that has proved a token, and answers the server's proof; or why not.
///
/// # Errors
/// What the store says: nothing was promised then, and the satellite may try again.
pub async fn accept(
    app: &App,
    caller: &Caller,
    ask: &Ask,
) -> Result<Result<[u8; 32], JoinRefusal>, AppError> {
    let Some(row) = app.store.token(&ask.token).await? else {
        warn!(ip = %caller.ip, "A join token that is not known");
        return Ok(Err(JoinRefusal::Unknown));
    };
    let transcript = Transcript {
        version: PROTOCOL_VERSION,
        exporter: caller.exporter,
        manager: app.fleet.identity().pin(),
        satellite: caller.pin,
        installation: app.installation_pin(),
    };
    if !row.verifier.verify_satellite(&transcript, &ask.proof) {
        warn!(ip = %caller.ip, token = %row.id, "Wrong proof of a join token");
        return Ok(Err(JoinRefusal::Unknown));
    }
    let actor = Actor::satellite(&caller.pin, caller.ip);
    let joined = claim(app, &row, caller).await;
    let joined = match joined {
        Ok(Ok(())) => take_in(app, &row, caller, ask).await.map(Ok),
        Ok(Err(refusal)) => Ok(Err(refusal)),
        Err(error) => Err(error),
    };
    let result = match &joined {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(refusal)) => Err(format!("refused: the token is {}", word(*refusal))),
        Err(error) => Err(crate::error_chain(error)),
    };
    let subject = match &joined {
        Ok(Ok(name)) => format!("{name} by token {}", row.id),
        _ => format!("token {}", row.id),
    };
    app.audit
        .record(&actor, "JoinService/Join", &subject, result)
        .await;
    Ok(joined?.map(|_| row.verifier.server_proof(&transcript)))
}

/// One key gets a token, and may come again with it while its time lasts: its answer may have been lost.
async fn claim(app: &App, row: &TokenRow, caller: &Caller) -> Result<Result<(), JoinRefusal>, AppError> {
    let now = Timestamp::now();
    if row.revoked_at.is_some() {
        return Ok(Err(JoinRefusal::Revoked));
    }
    if row.used_by.is_some_and(|pin| pin != caller.pin) {
        return Ok(Err(JoinRefusal::Used));
    }
    if row.expires_at <= now {
        return Ok(Err(JoinRefusal::Expired));
    }
    if row.used_by.is_some() || app.store.claim_token(&row.id, &caller.pin, now).await? {
        return Ok(Ok(()));
    }
    // Somebody was quicker, or it was revoked at this moment.
    let now = app.store.token(&row.id).await?;
    Ok(match now {
        Some(now) if now.used_by == Some(caller.pin) => Ok(()),
        Some(now) if now.used_by.is_some() => Err(JoinRefusal::Used),
        _ => Err(JoinRefusal::Revoked),
    })
}

async fn take_in(app: &App, row: &TokenRow, caller: &Caller, ask: &Ask) -> Result<SatelliteName, AppError> {
    let address = SocketAddr::new(caller.ip.to_canonical(), ask.port).to_string();
    let address: Address = address
        .parse()
        .map_err(|error: crate::names::NotAnAddress| AppError::Invalid(error.to_string()))?;
    let member = match app.store.satellite_by_pin(&caller.pin).await? {
        // It was here before and comes back, perhaps elsewhere: what is meant of it stays.
        Some(known) => {
            app.store
                .move_satellite(&known.name, &address, Timestamp::now())
                .await?;
            SatelliteRow { address, ..known }
        }
        None => {
            let new = NewMember {
                name: row.wished_name.clone(),
                proposal: &ask.name,
                address,
                pin: caller.pin,
            };
            let member = satellites::store(app, new).await?;
            for workload in satellites::commissioned(app, &row.workloads, row.bare).await? {
                let wanted = DesiredWorkload {
                    satellite: member.name.clone(),
                    workload,
                    version: None,
                    running: true,
                };
                app.store.desire_workload(&wanted).await?;
            }
            member
        }
    };
    app.store.note_joined(&row.id, &member.name).await?;
    info!(satellite = %member.name, address = %member.address, fingerprint = %caller.pin, "Satellite joined by token");
    let (app, name) = (app.clone(), member.name.clone());
    tokio::spawn(async move {
        tokio::time::sleep(BEFORE_CALL).await;
        let known = Known {
            observed: member.observed,
            seen_at: member.seen_at,
            // A satellite that joins is met for the first time, whoever it was before.
            trail: Trail::default(),
        };
        match app.fleet.add(&member.name, &member.address, member.pin, known) {
            Ok(()) => app.reconciler.add(&app, &member.name),
            Err(error) => {
                tracing::error!(error = %crate::error_chain(&error), "Satellite that joined is not called")
            }
        }
    });
    Ok(name)
}

/// Under which address satellites reach this server.
fn own_address(app: &App, wished: &str) -> Result<String, AppError> {
    let port = app.config.join_listen.port();
    let configured = Some(wished).filter(|text| !text.is_empty());
    if let Some(text) = configured.or(app.config.join_address.as_deref()) {
        return with_port(text, port)
            .ok_or_else(|| AppError::Invalid(format!("{text:?} is not an address of this server")));
    }
    let addresses = own_ips();
    let mut four = addresses.iter().filter(|ip| ip.is_ipv4());
    match (four.next(), four.next(), addresses.as_slice()) {
        (Some(only), None, _) => Ok(SocketAddr::new(*only, port).to_string()),
        (None, _, [only]) => Ok(SocketAddr::new(*only, port).to_string()),
        _ => {
            let all: Vec<_> = addresses.iter().map(ToString::to_string).collect();
            Err(AppError::Precondition(format!(
                "say under which address satellites reach this server (--server, or `join-address` in the configuration); \
                 it has {}",
                if all.is_empty() {
                    "none".to_owned()
                } else {
                    all.join(", ")
                }
            )))
        }
    }
}

fn with_port(text: &str, port: u16) -> Option<String> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some(SocketAddr::new(ip, port).to_string());
    }
    let named: Address = text.parse().ok()?;
    let has_port = text.parse::<SocketAddr>().is_ok() || text.contains(':');
    Some(if has_port {
        named.to_string()
    } else {
        format!("{}:{port}", text.trim())
    })
}

/// The machine's addresses at which others may reach it.
fn own_ips() -> Vec<IpAddr> {
    let mut ips = host::addresses();
    ips.retain(|ip| match ip {
        IpAddr::V4(four) => !four.is_loopback() && !four.is_link_local(),
        IpAddr::V6(six) => !six.is_loopback() && !six.is_unicast_link_local(),
    });
    ips
}

fn word(refusal: JoinRefusal) -> &'static str {
    match refusal {
        JoinRefusal::Unspecified => "fine",
        JoinRefusal::Unknown => "unknown",
        JoinRefusal::Used => "used",
        JoinRefusal::Expired => "expired",
        JoinRefusal::Revoked => "revoked",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_address_gets_the_port_of_its_listener() {
        for (text, expected) in [
            ("10.0.0.1", Some("10.0.0.1:7601")),
            ("fd77::1", Some("[fd77::1]:7601")),
            ("[fd77::1]:99", Some("[fd77::1]:99")),
            ("pbx.example", Some("pbx.example:7601")),
            ("pbx.example:99", Some("pbx.example:99")),
            ("p bx", None),
        ] {
            assert_eq!(with_port(text, 7601).as_deref(), expected, "{text}");
        }
    }
}
