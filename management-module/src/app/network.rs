//! The networks of satellites. A change is made final by reaching the satellite at its new address.
//!
//! **Invariant:** an address is stored only after the satellite has answered there, under the key that was paired.

use std::time::Duration;

use satellite_proto::wire::MAX_MESSAGE;
use satellite_proto::wire::bridge::v1::network_service_client::NetworkServiceClient;
use satellite_proto::wire::bridge::v1::satellite_service_client::SatelliteServiceClient;
use satellite_proto::wire::bridge::v1::{self as bridge, AddressMethod, NetworkSettings};
use tokio::time::{Instant, timeout_at};
use tonic::Code;
use tonic::transport::Channel;
use tracing::{debug, info, warn};

use super::remote::{call, new_key};
use super::{App, AppError};
use crate::names::{Address, SatelliteName};

/// Pause between two rounds over all addresses at which a satellite may be.
const PAUSE: Duration = Duration::from_secs(1);

/// What one try at one address may take: at an address that nobody has, nothing answers at all.
const TRY: Duration = Duration::from_secs(4);

/// New settings of a satellite.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// All of them.
    pub settings: NetworkSettings,
    /// Where the satellite is reached then, if it cannot be told from the settings.
    pub address: Option<Address>,
    /// Time to reach it in seconds; 0: as the satellite is configured.
    pub confirm_seconds: u32,
    /// Also if a probe finds a fault.
    pub force: bool,
}

/// What came of a change.
#[derive(Debug, Clone)]
pub struct Done {
    /// Where the satellite is reached now.
    pub address: Address,
    /// What a probe found beforehand.
    pub findings: Vec<bridge::Finding>,
}

/// What the satellite says of its network.
///
/// # Errors
/// The satellite is not known or does not answer.
pub async fn show(app: &App, satellite: &SatelliteName) -> Result<bridge::GetNetworkResponse, AppError> {
    let mut client = client(app.fleet.channel(satellite)?);
    let answer = client.get_network(bridge::GetNetworkRequest {});
    call(satellite, app.config.call_deadline, answer).await
}

/// What is found when the satellite tries settings without applying them.
///
/// # Errors
/// The satellite is not known, does not answer, or finds the settings wrong.
pub async fn probe(
    app: &App,
    satellite: &SatelliteName,
    settings: NetworkSettings,
) -> Result<Vec<bridge::Finding>, AppError> {
    let mut client = client(app.fleet.channel(satellite)?);
    let request = bridge::ProbeNetworkRequest {
        settings: Some(settings),
    };
    let answer = call(satellite, app.config.call_deadline, client.probe_network(request)).await?;
    Ok(answer.findings)
}

/// Changes the network of a satellite, reaches it at its new address, confirms, and keeps that address.
///
/// # Errors
/// The settings are refused, or the satellite was not reached in time; then it goes back by itself.
pub async fn set(app: &App, satellite: &SatelliteName, wanted: Wanted) -> Result<Done, AppError> {
    let _turn = app.reconciler.turn(satellite).await?;
    let present = app.fleet.address(satellite)?;
    let places = places(&wanted, &present);
    let request = bridge::SetNetworkRequest {
        settings: Some(wanted.settings),
        confirm_seconds: wanted.confirm_seconds,
        force: wanted.force,
        idempotency_key: new_key(),
    };
    let mut client = client(app.fleet.channel(satellite)?);
    let answer = call(satellite, app.config.call_deadline, client.set_network(request)).await?;
    let change = answer
        .change
        .ok_or_else(|| AppError::Invalid(format!("satellite {satellite} named no change")))?;
    let time = Duration::from_secs(change.remaining_seconds.into());
    let reached = reach(app, satellite, &change.id, &places, Instant::now() + time).await;
    match reached {
        Ok(address) => {
            keep_address(app, satellite, &address).await?;
            info!(%satellite, %address, "Network change confirmed");
            Ok(Done {
                address,
                findings: answer.findings,
            })
        }
        Err(source) => Err(AppError::Unavailable {
            message: format!(
                "satellite {satellite} was not reached at {} after the change; its old settings are back or come back by \
                 themselves. Check address, gateway and the way from here to there",
                listed(&places)
            ),
            source: source.map(|error| Box::new(error).into()),
        }),
    }
}

/// Goes after a satellite whose network is being changed at its console: reaching it at its new address is what it
/// waits for. Ends when it was found there, or has gone back.
pub async fn follow(app: &App, satellite: &SatelliteName, change: &bridge::NetworkChange) {
    let Ok(present) = app.fleet.address(satellite) else {
        return;
    };
    let wanted = Wanted {
        settings: change.settings.clone().unwrap_or_default(),
        ..Wanted::default()
    };
    let places = places(&wanted, &present);
    info!(%satellite, places = listed(&places), "The network is being changed at the console");
    let until = Instant::now() + Duration::from_secs(change.remaining_seconds.into());
    while Instant::now() < until {
        for place in &places {
            let limit = until.min(Instant::now() + TRY);
            let Ok(Ok(there)) = timeout_at(limit, look(app, satellite, place)).await else {
                continue;
            };
            if there.open_change.is_some() {
                continue;
            }
            // The call itself confirmed it, or it has gone back; either way the satellite is there.
            match keep_address(app, satellite, place).await {
                Ok(()) => info!(%satellite, %place, "Found after a change at the console"),
                Err(error) => warn!(%satellite, error = %crate::error_chain(&error), "Address not stored"),
            }
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
    info!(%satellite, "Not found after a change at the console; it goes back by itself");
}

async fn look(
    app: &App,
    satellite: &SatelliteName,
    place: &Address,
) -> Result<bridge::GetNetworkResponse, AppError> {
    let mut client = client(app.fleet.fresh_channel_at(satellite, place).await?);
    let answer = client.get_network(bridge::GetNetworkRequest {});
    call(satellite, app.config.call_deadline, answer).await
}

/// Takes an open change of the satellite's network back.
///
/// # Errors
/// The satellite does not answer, or no change is open.
pub async fn rollback(app: &App, satellite: &SatelliteName) -> Result<(), AppError> {
    let open = show(app, satellite).await?.open_change;
    let change = open.ok_or_else(|| AppError::Precondition(format!("no change of {satellite} is open")))?;
    let request = bridge::RollbackNetworkRequest {
        change_id: change.id,
        idempotency_key: new_key(),
    };
    let mut client = client(app.fleet.channel(satellite)?);
    let answer = client.rollback_network(request);
    call(satellite, app.config.call_deadline, answer).await.map(drop)
}

/// Reaches the satellite at another address from now on.
///
/// # Errors
/// It does not answer there, or another machine does: the address stays as it was.
pub async fn move_to(app: &App, satellite: &SatelliteName, address: &Address) -> Result<(), AppError> {
    let channel = app.fleet.fresh_channel_at(satellite, address).await?;
    let mut client = SatelliteServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE);
    let answer = client.get_satellite(bridge::GetSatelliteRequest {});
    call(satellite, app.config.call_deadline, answer).await?;
    keep_address(app, satellite, address).await
}

async fn keep_address(app: &App, satellite: &SatelliteName, address: &Address) -> Result<(), AppError> {
    if app.fleet.address(satellite)? == *address {
        return Ok(());
    }
    app.store.note_address(satellite, address).await?;
    app.fleet.move_to(satellite, address)?;
    Ok(())
}

/// Where the satellite may be after the change: as the caller says, where the settings put it, where it was. With the
/// port that it has now.
fn places(wanted: &Wanted, present: &Address) -> Vec<Address> {
    let families = [&wanted.settings.ipv4, &wanted.settings.ipv6];
    let set = families
        .into_iter()
        .flatten()
        .filter(|family| family.method() == AddressMethod::Static)
        .filter_map(|family| at_port_of(&family.address, present));
    let mut places: Vec<Address> = Vec::new();
    for place in wanted.address.iter().cloned().chain(set).chain([present.clone()]) {
        if !places.contains(&place) {
            places.push(place);
        }
    }
    places
}

fn at_port_of(address: &str, present: &Address) -> Option<Address> {
    let host = address
        .split(|c: char| c == '/' || c.is_whitespace())
        .find(|part| !part.is_empty())?;
    let ip: std::net::IpAddr = host.parse().ok()?;
    let (_, port) = present.as_str().rsplit_once(':')?;
    std::net::SocketAddr::new(ip, port.parse().ok()?)
        .to_string()
        .parse()
        .ok()
}

fn listed(places: &[Address]) -> String {
    let places: Vec<_> = places.iter().map(Address::as_str).collect();
    places.join(" or ")
}

/// Confirms at whichever place the satellite answers. The error is the last one that says more than "nobody there".
async fn reach(
    app: &App,
    satellite: &SatelliteName,
    change: &str,
    places: &[Address],
    until: Instant,
) -> Result<Address, Option<AppError>> {
    let key = new_key();
    let mut last = None;
    while Instant::now() < until {
        for place in places {
            let limit = until.min(Instant::now() + TRY);
            let confirmed = timeout_at(limit, confirm(app, satellite, place, change, &key)).await;
            match confirmed {
                Ok(Ok(())) => return Ok(place.clone()),
                // It has gone back already, or somebody took the change back.
                Ok(Err(error)) if error.code() == Code::NotFound => return Err(Some(error)),
                Ok(Err(error)) => {
                    debug!(%satellite, %place, error = %crate::error_chain(&error), "Network change not confirmed yet");
                    last = Some(error);
                }
                Err(_) => debug!(%satellite, %place, "Nobody answers there yet"),
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(last)
}

async fn confirm(
    app: &App,
    satellite: &SatelliteName,
    place: &Address,
    change: &str,
    key: &str,
) -> Result<(), AppError> {
    let mut client = client(app.fleet.fresh_channel_at(satellite, place).await?);
    let request = bridge::ConfirmNetworkRequest {
        change_id: change.to_owned(),
        idempotency_key: key.to_owned(),
    };
    let answer = client.confirm_network(request);
    call(satellite, app.config.call_deadline, answer).await.map(drop)
}

fn client(channel: Channel) -> NetworkServiceClient<Channel> {
    NetworkServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(settings: NetworkSettings, address: Option<&str>, expected: &[&str]) {
        let wanted = Wanted {
            settings,
            address: address.map(|address| address.parse().unwrap()),
            ..Wanted::default()
        };
        let present = "satellite.example.com:7777".parse().unwrap();
        let places = places(&wanted, &present);
        let places: Vec<_> = places.iter().map(Address::as_str).collect();
        assert_eq!(places, expected);
    }

    fn fixed(address: &str) -> Option<bridge::AddressSettings> {
        Some(bridge::AddressSettings {
            method: AddressMethod::Static.into(),
            address: address.to_owned(),
            gateway: String::new(),
        })
    }

    #[test]
    fn a_satellite_is_looked_for_where_it_may_be() {
        check(NetworkSettings::default(), None, &["satellite.example.com:7777"]);
        let both = NetworkSettings {
            ipv4: fixed("192.0.2.7/24"),
            ipv6: fixed("2001:db8::7/64"),
            ..Default::default()
        };
        let three = [
            "192.0.2.7:7777",
            "[2001:db8::7]:7777",
            "satellite.example.com:7777",
        ];
        check(both.clone(), None, &three);
        let four = ["nat.example.com:7640", three[0], three[1], three[2]];
        check(both, Some("nat.example.com"), &four);
        let unused = NetworkSettings {
            ipv4: Some(bridge::AddressSettings {
                method: AddressMethod::Automatic.into(),
                ..fixed("192.0.2.7/24").unwrap()
            }),
            ..Default::default()
        };
        check(
            unused,
            Some("satellite.example.com:7777"),
            &["satellite.example.com:7777"],
        );
    }
}
