//! The packet filters of satellites: the operator's rules and those of the workloads are one ruleset.
//!
//! **Invariant:** rules are kept as desired only after they were confirmed over a connection made after the change.

pub(crate) mod document;

use std::time::Duration;

use satellite_proto::wire::MAX_MESSAGE;
use satellite_proto::wire::bridge::v1::firewall_service_client::FirewallServiceClient;
use satellite_proto::wire::bridge::v1::{self as bridge, Rule, Ruleset};
use tonic::transport::Channel;
use tracing::warn;

use super::observe;
use super::remote::{RETRY, call, new_key};
use super::{App, AppError};
use crate::names::SatelliteName;
use crate::plan::{self, OPERATOR};

/// How often a new connection is tried before the change is undone.
const TRIES: u32 = 6;

/// What the satellite says of its firewall.
///
/// # Errors
/// The satellite is not known or does not answer.
pub async fn show(app: &App, satellite: &SatelliteName) -> Result<bridge::GetFirewallResponse, AppError> {
    ask(app, satellite, false).await
}

/// As [`show`], with what met each rule.
///
/// # Errors
/// As there.
pub async fn show_counted(
    app: &App,
    satellite: &SatelliteName,
) -> Result<bridge::GetFirewallResponse, AppError> {
    ask(app, satellite, true).await
}

async fn ask(
    app: &App,
    satellite: &SatelliteName,
    counters: bool,
) -> Result<bridge::GetFirewallResponse, AppError> {
    let mut client = client(app.fleet.channel(satellite)?);
    let asked = client.get_firewall(bridge::GetFirewallRequest { counters });
    call(satellite, app.config.call_deadline, asked).await
}

/// Replaces the operator's rules, and the defaults that are set. Answers the revision in force.
///
/// # Errors
/// A rule is refused, the satellite does not answer, or the change could not be confirmed and was undone.
pub async fn set(
    app: &App,
    satellite: &SatelliteName,
    rules: Vec<Rule>,
    default_in: i32,
    default_out: i32,
) -> Result<String, AppError> {
    let _turn = app.reconciler.turn(satellite).await?;
    let before = app.store.desired_firewall(satellite).await?;
    let or = |set: i32, kept: i32| if set == 0 { kept } else { set };
    let operator = Ruleset {
        rules: rules
            .into_iter()
            .map(|rule| Rule {
                owner: OPERATOR.into(),
                ..rule
            })
            .collect(),
        default_in: or(default_in, before.default_in),
        default_out: or(default_out, before.default_out),
    };
    put(app, satellite, operator).await
}

/// Removes the operator's rules and defaults; the rules of workloads stay. Answers the revision in force.
///
/// # Errors
/// As [`set`].
pub async fn reset(app: &App, satellite: &SatelliteName) -> Result<String, AppError> {
    let _turn = app.reconciler.turn(satellite).await?;
    let before = app.store.desired_firewall(satellite).await?;
    if before.default_in != 0 || before.default_out != 0 {
        // Only the satellite knows its shipped defaults.
        let request = bridge::ResetFirewallRequest {
            confirm_seconds: 0,
            idempotency_key: new_key(),
        };
        let mut client = client(app.fleet.channel(satellite)?);
        let answer = call(
            satellite,
            app.config.call_deadline,
            client.reset_firewall(request),
        )
        .await?;
        confirm(app, satellite, answer.change).await?;
    }
    put(app, satellite, Ruleset::default()).await
}

async fn put(app: &App, satellite: &SatelliteName, operator: Ruleset) -> Result<String, AppError> {
    let observed = observe::observed(app, satellite).await?;
    let mut desired = observe::desired(app, satellite).await?;
    desired.operator = operator.clone();
    let revision = apply(app, satellite, plan::ruleset(&desired, &observed.state)).await?;
    app.store.desire_firewall(satellite, &operator).await?;
    Ok(revision)
}

/// Sets all rules and confirms them over a new connection; what cannot be confirmed is undone.
pub(super) async fn apply(
    app: &App,
    satellite: &SatelliteName,
    ruleset: Ruleset,
) -> Result<String, AppError> {
    let request = bridge::SetFirewallRequest {
        ruleset: Some(ruleset),
        base_revision: String::new(),
        confirm_seconds: 0,
        idempotency_key: new_key(),
    };
    let mut client = client(app.fleet.channel(satellite)?);
    let answer = call(satellite, app.config.call_deadline, client.set_firewall(request)).await?;
    match answer.change {
        None => Ok(answer.revision),
        change => confirm(app, satellite, change).await,
    }
}

async fn confirm(
    app: &App,
    satellite: &SatelliteName,
    change: Option<bridge::Change>,
) -> Result<String, AppError> {
    let Some(change) = change else {
        return Ok(String::new());
    };
    let key = new_key();
    let mut attempt = 0;
    let error = loop {
        match confirm_once(app, satellite, &change.id, &key).await {
            Ok(revision) => return Ok(revision),
            Err(error) if attempt + 1 == TRIES || error.code() != tonic::Code::Unavailable => break error,
            Err(error) => {
                warn!(%satellite, attempt, error = %crate::error_chain(&error), "Firewall change not confirmed yet");
            }
        }
        tokio::time::sleep(RETRY.delay(attempt, rand::random())).await;
        attempt += 1;
    };
    let undo = bridge::RollbackFirewallRequest {
        change_id: change.id,
        idempotency_key: new_key(),
    };
    let mut client = client(app.fleet.channel(satellite)?);
    let undone = call(satellite, Duration::from_secs(10), client.rollback_firewall(undo)).await;
    let then = if undone.is_ok() {
        "it was undone"
    } else {
        "the satellite undoes it by itself within two minutes"
    };
    Err(AppError::Unavailable {
        message: format!(
            "the new firewall rules of satellite {satellite} were not confirmed over a new connection; {then}. Check \
             that they let this server reach the satellite"
        ),
        source: Some(Box::new(error)),
    })
}

async fn confirm_once(
    app: &App,
    satellite: &SatelliteName,
    change_id: &str,
    key: &str,
) -> Result<String, AppError> {
    let mut client = client(app.fleet.fresh_channel(satellite).await?);
    let request = bridge::ConfirmFirewallRequest {
        change_id: change_id.to_owned(),
        idempotency_key: key.to_owned(),
    };
    let answer = call(
        satellite,
        app.config.call_deadline,
        client.confirm_firewall(request),
    )
    .await?;
    Ok(answer.revision)
}

fn client(channel: Channel) -> FirewallServiceClient<Channel> {
    FirewallServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE)
}
