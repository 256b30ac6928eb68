//! Satellites: paired, known, forgotten.
//!
//! **Invariant:** a satellite is stored only after it has proved that it knows the code, and before it is relied on.

use std::time::Duration;

use jiff::Timestamp;
use satellite_proto::bundle::WorkloadName;
use satellite_proto::identity::Pin;
use satellite_proto::pairing::{Code, Transcript};
use satellite_proto::tls::{self, DialError, Dialled, Expect};
use satellite_proto::wire::bridge::v1::pairing_service_client::PairingServiceClient;
use satellite_proto::wire::bridge::v1::satellite_service_client::SatelliteServiceClient;
use satellite_proto::wire::bridge::v1::{self as bridge, PairRequest, PairResponse};
use tracing::info;

use super::remote::{call, new_key};
use super::workloads::{self, WorkloadOn};
use super::{App, AppError};
use crate::fleet::{DIAL, Known, Link};
use crate::names::{Address, SatelliteName};
use crate::store::{DesiredWorkload, SatelliteRow, StoreError};

/// Version of the pairing protocol.
const PROTOCOL: u32 = 1;

/// What is commissioned unless something else is asked for.
const USUAL: &str = "backup-service";

/// How long telling a satellite that it is forgotten may take.
const TELL: Duration = Duration::from_secs(5);

/// A satellite as the server knows it.
#[derive(Debug)]
pub struct FleetMember {
    /// What is stored.
    pub row: SatelliteRow,
    /// How the server stands with it.
    pub link: Link,
    /// What it is meant to run and runs.
    pub workloads: Vec<WorkloadOn>,
    /// Why it cannot be reached or is not as it is meant; empty if all is well.
    pub problem: String,
    /// What is there is what is meant to be.
    pub converged: bool,
}

/// Whom to pair with.
#[derive(Debug)]
pub struct Pairing {
    /// Where it is.
    pub address: Address,
    /// The code on its console.
    pub code: Code,
    /// Its name in the installation; none: the one it has.
    pub name: Option<SatelliteName>,
    /// What to commission; none: the usual, if there is a bundle of it.
    pub workloads: Vec<WorkloadName>,
    /// Commission nothing.
    pub bare: bool,
}

/// A satellite that has proved itself.
#[derive(Debug)]
pub(super) struct NewMember<'a> {
    /// Its name in the installation; none: the nearest to what it calls itself.
    pub(super) name: Option<SatelliteName>,
    /// What it calls itself.
    pub(super) proposal: &'a str,
    /// Where it is.
    pub(super) address: Address,
    /// Its key.
    pub(super) pin: Pin,
}

/// All satellites by name.
///
/// # Errors
/// What the store says.
pub async fn list(app: &App) -> Result<Vec<FleetMember>, AppError> {
    let mut known = workloads::Known::read(app).await?;
    let rows = app.store.satellites().await?;
    let described = rows.into_iter().filter_map(|row| {
        let workloads = known.of(app, &row.name);
        describe(app, row, workloads)
    });
    Ok(described.collect())
}

/// One satellite.
///
/// # Errors
/// [`AppError::NotFound`].
pub async fn get(app: &App, name: &SatelliteName) -> Result<FleetMember, AppError> {
    let missing = || AppError::no("satellite", name.to_string());
    let row = app.store.satellite(name).await?.ok_or_else(missing)?;
    let bundles = app.store.bundles().await?;
    let workloads = workloads::of_satellite(app, name, &bundles).await?;
    describe(app, row, workloads).ok_or_else(missing)
}

/// What is known of a satellite; none if it is being forgotten.
fn describe(app: &App, row: SatelliteRow, workloads: Vec<WorkloadOn>) -> Option<FleetMember> {
    let link = app.fleet.observed(&row.name).ok()?;
    let pass = app.reconciler.last(&row.name);
    let converged = pass.holds_for(&link);
    let problem = match pass.failure {
        _ if !link.problem.is_empty() => link.problem.clone(),
        Some(failure) => failure.message,
        None => String::new(),
    };
    Some(FleetMember {
        row,
        link,
        workloads,
        problem,
        converged,
    })
}

/// Pairs a satellite, stores it, and makes sure that it knows us by our key.
///
/// # Errors
/// Each says what to do: the satellite cannot be reached, no window is open there, the code is wrong, it is known
/// already, or it did not answer after the proof.
pub async fn pair(app: &App, wish: Pairing) -> Result<FleetMember, AppError> {
    if !wish.bare {
        check_bundles(app, &wish.workloads).await?;
    }
    let workloads = commissioned(app, &wish.workloads, wish.bare).await?;
    if let Some(name) = &wish.name
        && app.store.satellite(name).await?.is_some()
    {
        return Err(AppError::Exists(format!(
            "there is a satellite {name} already; give another name"
        )));
    }
    let identity = app.fleet.identity();
    let config = tls::client_config(&identity, Expect::Anyone)
        .map_err(|source| AppError::machine("use the server's own key", source))?;
    let dialled = tls::dial(wish.address.as_str(), config, DIAL)
        .await
        .map_err(|source| not_dialled(&wish.address, source))?;
    let pin = dialled.peer;
    if let Some(known) = app.store.satellite_by_pin(&pin).await? {
        return Err(AppError::Exists(format!(
            "the machine at {} is satellite {} of this server already. If it was disconnected at its console, run \
             `management-module satellite forget {}` and pair it again",
            wish.address, known.name, known.name
        )));
    }
    let transcript = Transcript {
        version: PROTOCOL,
        exporter: dialled.exporter,
        manager: identity.pin(),
        satellite: pin,
        installation: app.installation.pin(),
    };
    let answer = prove(app, &wish, &transcript, dialled).await?;
    if !transcript.verify_satellite(&wish.code, &answer.satellite_proof) {
        return Err(AppError::Refused(format!(
            "the machine at {} could not prove that it knows the code: something between this server and the satellite \
             may be listening in. Nothing was stored. Compare the fingerprint on the console with {pin}, then open a new \
             pairing window there",
            wish.address
        )));
    }
    let new = NewMember {
        name: wish.name.clone(),
        proposal: &answer.satellite_name,
        address: wish.address.clone(),
        pin,
    };
    let row = store(app, new).await?;
    for workload in workloads {
        let satellite = row.name.clone();
        let wanted = DesiredWorkload {
            satellite,
            workload,
            version: None,
            running: true,
        };
        app.store.desire_workload(&wanted).await?;
    }
    app.fleet
        .add(&row.name, &row.address, row.pin, Known::default())?;
    let first = first_contact(app, &row).await;
    app.reconciler.add(app, &row.name);
    first?;
    info!(satellite = %row.name, address = %row.address, fingerprint = %row.pin, "Satellite paired");
    get(app, &row.name).await
}

/// What is to be commissioned: what is asked for, else the usual if there is a bundle of it.
pub(super) async fn commissioned(
    app: &App,
    workloads: &[WorkloadName],
    bare: bool,
) -> Result<Vec<WorkloadName>, AppError> {
    if bare {
        return Ok(Vec::new());
    }
    if !workloads.is_empty() {
        return Ok(workloads.to_vec());
    }
    let usual: Option<WorkloadName> = USUAL.parse().ok();
    let Some(usual) = usual else { return Ok(Vec::new()) };
    let there = !app.store.bundles_of(&usual).await?.is_empty();
    Ok(if there { vec![usual] } else { Vec::new() })
}

/// Whether there is a bundle of each.
pub(super) async fn check_bundles(app: &App, workloads: &[WorkloadName]) -> Result<(), AppError> {
    for workload in workloads {
        if app.store.bundles_of(workload).await?.is_empty() {
            let name = format!("{workload}; add one with `management-module bundle add FILE`");
            return Err(AppError::no("bundle of", name));
        }
    }
    Ok(())
}

async fn prove(
    app: &App,
    wish: &Pairing,
    transcript: &Transcript,
    dialled: Dialled,
) -> Result<PairResponse, AppError> {
    let address = &wish.address;
    let lost = |source: tonic::transport::Error| not_trusted(address, source);
    let channel = tls::channel_over(dialled).await.map_err(lost)?;
    let request = PairRequest {
        protocol_version: PROTOCOL,
        manager_proof: transcript.manager_proof(&wish.code).to_vec().into(),
        server_name: app.config.server_name.clone(),
    };
    let mut client = PairingServiceClient::new(channel);
    let answer = tokio::time::timeout(app.config.call_deadline, client.pair(request)).await;
    let status = match answer {
        Ok(Ok(response)) => return Ok(response.into_inner()),
        Ok(Err(status)) => status,
        Err(_) => tonic::Status::deadline_exceeded("it did not answer"),
    };
    Err(match status.code() {
        tonic::Code::PermissionDenied => AppError::Refused(format!(
            "the code is wrong: {}. Compare it with the console of the satellite at {address}; after five wrong \
             tries a new pairing window has to be opened there",
            status.message()
        )),
        tonic::Code::FailedPrecondition => AppError::Precondition(format!(
            "the satellite at {address} does not take part in a pairing: {}. Open a pairing window on its console; if it \
             belongs to another server, disconnect it there first",
            status.message()
        )),
        tonic::Code::Unimplemented => AppError::Precondition(format!(
            "the satellite at {address} speaks another version of the pairing protocol; update it or this server"
        )),
        _ if tls::is_refusal(&status) => not_trusted(address, status),
        _ => AppError::Unavailable {
            message: format!(
                "the satellite at {address} did not answer the pairing. Nothing was stored here; open a new pairing \
                 window on its console and try again"
            ),
            source: Some(Box::new(status)),
        },
    })
}

fn not_dialled(address: &Address, source: DialError) -> AppError {
    match source {
        DialError::Handshake { .. } => not_trusted(address, source),
        source => AppError::Unavailable {
            message: format!(
                "the satellite cannot be reached at {address}. Check the address on its console, that it is switched on, \
                 and that firewalls between it and this server let {}/tcp pass",
                address.as_str().rsplit(':').next().unwrap_or_default()
            ),
            source: Some(Box::new(source)),
        },
    }
}

fn not_trusted(address: &Address, source: impl std::error::Error) -> AppError {
    tracing::debug!(%address, error = %source, "Pairing refused in the handshake");
    AppError::Precondition(format!(
        "the satellite at {address} takes no pairing at the moment: open a pairing window on its console. If it is paired \
         with another server, disconnect it there first"
    ))
}

/// Stores the satellite under the wished name, else the nearest free one to what it calls itself.
pub(super) async fn store(app: &App, new: NewMember<'_>) -> Result<SatelliteRow, AppError> {
    let fallback = || SatelliteName::nearest("satellite");
    let base = new
        .name
        .clone()
        .or_else(|| SatelliteName::nearest(new.proposal))
        .or_else(fallback);
    let Some(base) = base else {
        return Err(AppError::Invalid("give the satellite a name".into()));
    };
    let mut name = base.clone();
    for number in 2..1000 {
        let row = SatelliteRow {
            name,
            address: new.address.clone(),
            pin: new.pin,
            paired_at: Timestamp::now(),
            observed: None,
            seen_at: None,
            trail: String::new(),
        };
        match app.store.add_satellite(&row).await {
            Ok(()) => return Ok(row),
            Err(StoreError::Exists(_)) if new.name.is_none() => {}
            Err(error) => return Err(error.into()),
        }
        let Some(next) = base.numbered(number) else { break };
        name = next;
    }
    Err(AppError::Exists(format!("no name near {base} is free; give one")))
}

/// The first call by our key makes the pairing final on the satellite.
async fn first_contact(app: &App, row: &SatelliteRow) -> Result<(), AppError> {
    let name = &row.name;
    let first = async {
        let mut client = SatelliteServiceClient::new(app.fleet.fresh_channel(name).await?);
        call(
            name,
            app.config.call_deadline,
            client.get_satellite(bridge::GetSatelliteRequest {}),
        )
        .await
    };
    match first.await {
        Ok(answer) => {
            if let Some(satellite) = &answer.satellite {
                app.store.note_observed(name, satellite, Timestamp::now()).await?;
            }
            Ok(())
        }
        Err(error) => Err(AppError::Unavailable {
            message: format!(
                "both sides proved the code and satellite {name} is stored, but it did not answer the first call that makes \
                 the pairing final. This server goes on trying; if `management-module satellite show {name}` does not show it \
                 as reachable before the pairing window ends, run `management-module satellite forget {name}` and pair \
                 it again with a new code"
            ),
            source: Some(Box::new(error)),
        }),
    }
}

/// Forgets a satellite. True if it could be told to let go of us.
///
/// # Errors
/// [`AppError::NotFound`].
pub async fn forget(app: &App, name: &SatelliteName) -> Result<bool, AppError> {
    if app.store.satellite(name).await?.is_none() {
        return Err(AppError::no("satellite", name.to_string()));
    }
    app.reconciler.remove(name);
    let told = match app.fleet.fresh_channel(name).await {
        Ok(channel) => {
            let mut client = SatelliteServiceClient::new(channel);
            let request = bridge::UnpairRequest {
                idempotency_key: new_key(),
            };
            call(name, TELL, client.unpair(request)).await.is_ok()
        }
        Err(_) => false,
    };
    app.fleet.remove(name);
    app.store.remove_satellite(name).await?;
    info!(satellite = %name, told, "Satellite forgotten");
    Ok(told)
}

/// Trusts the machine that answers as this satellite. True if it was quarantined.
///
/// # Errors
/// The satellite is not known or does not answer.
pub async fn trust(app: &App, name: &SatelliteName) -> Result<bool, AppError> {
    let mut client = SatelliteServiceClient::new(app.fleet.fresh_channel(name).await?);
    // First here: met again before that, it would be taken for the copy that it was.
    app.fleet.trust(name)?;
    let request = bridge::TrustInstanceRequest {};
    let answer = call(name, app.config.call_deadline, client.trust_instance(request)).await?;
    Ok(answer.was_quarantined)
}

/// Restarts the machine.
///
/// # Errors
/// The satellite is not known, does not answer, or has something under way.
pub async fn reboot(app: &App, name: &SatelliteName, force: bool) -> Result<(), AppError> {
    let mut client = SatelliteServiceClient::new(app.fleet.channel(name)?);
    let request = bridge::RebootRequest {
        force,
        idempotency_key: new_key(),
    };
    call(name, app.config.call_deadline, client.reboot(request)).await?;
    Ok(())
}
