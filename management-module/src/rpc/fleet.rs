//! The satellites of the installation.

use std::pin::Pin;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use satellite_proto::wire::MAX_MESSAGE;
use satellite_proto::wire::bridge::v1::log_service_client::LogServiceClient;
use satellite_proto::wire::bridge::v1::{self as bridge, Action};
use satellite_proto::wire::management::v1 as wire;
use tonic::{Request, Response, Status};

use super::{actor, asked, name_of, to_the_end, wire_time, workload_name_of};
use crate::app::satellites::{self, FleetMember, Pairing};
use crate::app::workloads::WorkloadOn;
use crate::app::{App, AppError, firewall, peers};
use crate::fleet::Reachability;
use crate::names::SatelliteName;

/// The least time between two states of a watched satellite.
const CALM: Duration = Duration::from_millis(200);

/// How long a satellite may gather its support bundle.
const SUPPORT: Duration = Duration::from_mins(3);

/// The service.
#[derive(Debug, Clone)]
pub struct Fleet(pub App);

type Events<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl wire::fleet_service_server::FleetService for Fleet {
    type WatchSatelliteStream = Events<wire::WatchSatelliteResponse>;
    type FetchSupportBundleStream =
        Pin<Box<dyn Stream<Item = Result<wire::FetchSupportBundleResponse, Status>> + Send>>;
    type FetchLogsStream = Events<wire::FetchLogsResponse>;

    async fn pair_satellite(
        &self,
        request: Request<wire::PairSatelliteRequest>,
    ) -> Result<Response<wire::PairSatelliteResponse>, Status> {
        let actor = actor(&request)?;
        let request = request.into_inner();
        let action = "FleetService/PairSatellite";
        let subject = if request.name.is_empty() {
            request.address.clone()
        } else {
            request.name.clone()
        };
        let wish = pairing_of(&request);
        let wish = asked(&self.0, (&actor, action, &subject), wish).await?;
        // Once the satellite has accepted the proof, a caller that leaves must not cut the rest.
        let app = self.0.clone();
        let member = to_the_end(async move {
            let paired = satellites::pair(&app, wish).await;
            app.audit.recorded(&actor, action, &subject, paired).await
        })
        .await?;
        Ok(Response::new(wire::PairSatelliteResponse {
            satellite: Some(satellite(member)),
        }))
    }

    async fn list_satellites(
        &self,
        _request: Request<wire::ListSatellitesRequest>,
    ) -> Result<Response<wire::ListSatellitesResponse>, Status> {
        let members = satellites::list(&self.0).await?;
        let satellites = members.into_iter().map(satellite).collect();
        Ok(Response::new(wire::ListSatellitesResponse { satellites }))
    }

    async fn get_satellite(
        &self,
        request: Request<wire::GetSatelliteRequest>,
    ) -> Result<Response<wire::GetSatelliteResponse>, Status> {
        let member = satellites::get(&self.0, &name_of(&request.into_inner().name)?).await?;
        Ok(Response::new(wire::GetSatelliteResponse {
            satellite: Some(satellite(member)),
        }))
    }

    async fn watch_satellite(
        &self,
        request: Request<wire::WatchSatelliteRequest>,
    ) -> Result<Response<Self::WatchSatelliteStream>, Status> {
        let name = name_of(&request.into_inner().name)?;
        let app = self.0.clone();
        let mut link = app.fleet.watch(&name).map_err(AppError::from)?;
        let mut pass = app.reconciler.watch(&name)?;
        let events = async_stream::stream! {
            loop {
                link.mark_unchanged();
                pass.mark_unchanged();
                match satellites::get(&app, &name).await {
                    Ok(member) => yield Ok(wire::WatchSatelliteResponse { satellite: Some(satellite(member)) }),
                    Err(error) => {
                        yield Err(error.into());
                        return;
                    }
                }
                tokio::time::sleep(CALM).await;
                let alive = tokio::select! {
                    changed = link.changed() => changed.is_ok(),
                    changed = pass.changed() => changed.is_ok(),
                };
                if !alive {
                    yield Err(Status::not_found(format!("satellite {name} was forgotten")));
                    return;
                }
            }
        };
        Ok(Response::new(Box::pin(events)))
    }

    async fn forget_satellite(
        &self,
        request: Request<wire::ForgetSatelliteRequest>,
    ) -> Result<Response<wire::ForgetSatelliteResponse>, Status> {
        let actor = actor(&request)?;
        let action = "FleetService/ForgetSatellite";
        let text = request.into_inner().name;
        let name = asked(&self.0, (&actor, action, &text), name_of(&text)).await?;
        let app = self.0.clone();
        let told = to_the_end(async move {
            let result = satellites::forget(&app, &name).await;
            app.audit.recorded(&actor, action, name.as_str(), result).await
        })
        .await?;
        Ok(Response::new(wire::ForgetSatelliteResponse { told }))
    }

    async fn list_log_sources(
        &self,
        request: Request<wire::ListLogSourcesRequest>,
    ) -> Result<Response<wire::ListLogSourcesResponse>, Status> {
        let name = name_of(&request.into_inner().satellite)?;
        let mut client = logs(&self.0, &name)?;
        let asked = client.list_log_sources(bridge::ListLogSourcesRequest {});
        let answer = super::passed_on(&self.0, &name, asked).await?;
        Ok(Response::new(wire::ListLogSourcesResponse {
            sources: answer.sources,
        }))
    }

    async fn fetch_logs(
        &self,
        request: Request<wire::FetchLogsRequest>,
    ) -> Result<Response<Self::FetchLogsStream>, Status> {
        let request = request.into_inner();
        let name = name_of(&request.satellite)?;
        let query = request
            .query
            .ok_or_else(|| Status::invalid_argument("`query` is missing"))?;
        let mut client = logs(&self.0, &name)?;
        let pieces = super::passed_on(&self.0, &name, client.fetch_logs(query)).await?;
        let pieces = pieces.map(move |piece| match piece {
            Ok(piece) => Ok(wire::FetchLogsResponse { piece: Some(piece) }),
            Err(status) => Err(AppError::remote(name.as_str(), status).into()),
        });
        Ok(Response::new(Box::pin(pieces)))
    }

    async fn fetch_support_bundle(
        &self,
        request: Request<wire::FetchSupportBundleRequest>,
    ) -> Result<Response<Self::FetchSupportBundleStream>, Status> {
        let actor = actor(&request)?;
        let name = name_of(&request.into_inner().satellite)?;
        let mut client = logs(&self.0, &name)?;
        let asked = client.fetch_support_bundle(bridge::FetchSupportBundleRequest {});
        // Logs and programs are gathered before the first piece comes.
        let answer = tokio::time::timeout(SUPPORT, asked).await;
        let pieces = match answer {
            Ok(Ok(pieces)) => Ok(pieces.into_inner()),
            Ok(Err(status)) => Err(AppError::remote(name.as_str(), status)),
            Err(_) => Err(AppError::Unavailable {
                message: format!("satellite {name} did not send its support bundle in time"),
                source: None,
            }),
        };
        let action = "FleetService/FetchSupportBundle";
        let pieces = self
            .0
            .audit
            .recorded(&actor, action, name.as_str(), pieces)
            .await?;
        let pieces = pieces.map(move |piece| match piece {
            Ok(piece) => Ok(wire::FetchSupportBundleResponse { piece: Some(piece) }),
            Err(status) => Err(AppError::remote(name.as_str(), status).into()),
        });
        Ok(Response::new(Box::pin(pieces)))
    }

    async fn get_firewall(
        &self,
        request: Request<wire::GetFirewallRequest>,
    ) -> Result<Response<wire::GetFirewallResponse>, Status> {
        let request = request.into_inner();
        let name = name_of(&request.satellite)?;
        let firewall = if request.counters {
            firewall::show_counted(&self.0, &name).await?
        } else {
            firewall::show(&self.0, &name).await?
        };
        Ok(Response::new(wire::GetFirewallResponse {
            firewall: Some(firewall),
        }))
    }

    async fn set_firewall(
        &self,
        request: Request<wire::SetFirewallRequest>,
    ) -> Result<Response<wire::SetFirewallResponse>, Status> {
        let actor = actor(&request)?;
        let request = request.into_inner();
        let action = "FleetService/SetFirewall";
        let mut defaults = [request.default_in, request.default_out].into_iter();
        let name = if defaults.all(|default| Action::try_from(default).is_ok()) {
            name_of(&request.satellite)
        } else {
            Err(Status::invalid_argument("a default is not an action"))
        };
        let name = asked(&self.0, (&actor, action, &request.satellite), name).await?;
        // A change that was begun is confirmed or undone, whether the caller waits or not.
        let app = self.0.clone();
        let revision = to_the_end(async move {
            let (rules, default_in, default_out) = (request.rules, request.default_in, request.default_out);
            let result = firewall::set(&app, &name, rules, default_in, default_out).await;
            app.audit.recorded(&actor, action, name.as_str(), result).await
        })
        .await?;
        Ok(Response::new(wire::SetFirewallResponse { revision }))
    }

    async fn reset_firewall(
        &self,
        request: Request<wire::ResetFirewallRequest>,
    ) -> Result<Response<wire::ResetFirewallResponse>, Status> {
        let actor = actor(&request)?;
        let action = "FleetService/ResetFirewall";
        let text = request.into_inner().satellite;
        let name = asked(&self.0, (&actor, action, &text), name_of(&text)).await?;
        let app = self.0.clone();
        let revision = to_the_end(async move {
            let result = firewall::reset(&app, &name).await;
            app.audit.recorded(&actor, action, name.as_str(), result).await
        })
        .await?;
        Ok(Response::new(wire::ResetFirewallResponse { revision }))
    }

    async fn revoke_peer(
        &self,
        request: Request<wire::RevokePeerRequest>,
    ) -> Result<Response<wire::RevokePeerResponse>, Status> {
        let actor = actor(&request)?;
        let request = request.into_inner();
        let wish = peers_of(&request);
        let about = (&actor, "FleetService/RevokePeer", request.fingerprint.as_str());
        let (peer, satellites) = asked(&self.0, about, wish).await?;
        let app = self.0.clone();
        let told = to_the_end(async move { peers::revoke(&app, &actor, peer, satellites).await }).await?;
        let revocations = told.into_iter().map(|(satellite, told)| wire::PeerRevocation {
            satellite: satellite.to_string(),
            connections_cut: *told.as_ref().unwrap_or(&0),
            problem: told
                .err()
                .map(|error| crate::error_chain(&error))
                .unwrap_or_default(),
        });
        Ok(Response::new(wire::RevokePeerResponse {
            revocations: revocations.collect(),
        }))
    }

    async fn trust_satellite(
        &self,
        request: Request<wire::TrustSatelliteRequest>,
    ) -> Result<Response<wire::TrustSatelliteResponse>, Status> {
        let actor = actor(&request)?;
        let name = name_of(&request.into_inner().name)?;
        let app = self.0.clone();
        let was_quarantined = to_the_end(async move {
            let result = satellites::trust(&app, &name).await;
            let action = "FleetService/TrustSatellite";
            app.audit.recorded(&actor, action, name.as_str(), result).await
        })
        .await?;
        Ok(Response::new(wire::TrustSatelliteResponse { was_quarantined }))
    }

    async fn reboot_satellite(
        &self,
        request: Request<wire::RebootSatelliteRequest>,
    ) -> Result<Response<wire::RebootSatelliteResponse>, Status> {
        let actor = actor(&request)?;
        let request = request.into_inner();
        let action = "FleetService/RebootSatellite";
        let name = asked(&self.0, (&actor, action, &request.name), name_of(&request.name)).await?;
        let app = self.0.clone();
        to_the_end(async move {
            let result = satellites::reboot(&app, &name, request.force).await;
            app.audit.recorded(&actor, action, name.as_str(), result).await
        })
        .await?;
        Ok(Response::new(wire::RebootSatelliteResponse {}))
    }
}

fn peers_of(
    request: &wire::RevokePeerRequest,
) -> Result<(satellite_proto::identity::Pin, Vec<SatelliteName>), Status> {
    let peer = request.fingerprint.parse().map_err(|_| {
        Status::invalid_argument(
            "the fingerprint must be 64 hexadecimal digits, as `system status` shows one",
        )
    })?;
    let satellites = request.satellites.iter().map(|name| name_of(name));
    Ok((peer, satellites.collect::<Result<_, _>>()?))
}

fn pairing_of(request: &wire::PairSatelliteRequest) -> Result<Pairing, Status> {
    let invalid = |text: String| Status::invalid_argument(text);
    Ok(Pairing {
        address: request
            .address
            .parse()
            .map_err(|error: crate::names::NotAnAddress| invalid(error.to_string()))?,
        code: request
            .code
            .parse()
            .map_err(|error: satellite_proto::pairing::NotACode| invalid(error.to_string()))?,
        name: if request.name.is_empty() {
            None
        } else {
            Some(name_of(&request.name)?)
        },
        workloads: request
            .workloads
            .iter()
            .map(|name| workload_name_of(name))
            .collect::<Result<_, _>>()?,
        bare: request.bare,
    })
}

fn logs(app: &App, name: &SatelliteName) -> Result<LogServiceClient<tonic::transport::Channel>, AppError> {
    Ok(LogServiceClient::new(app.fleet.channel(name)?).max_decoding_message_size(MAX_MESSAGE))
}

fn satellite(member: FleetMember) -> wire::FleetSatellite {
    let FleetMember {
        row,
        link,
        workloads,
        problem,
        converged,
    } = member;
    wire::FleetSatellite {
        name: row.name.to_string(),
        address: row.address.to_string(),
        fingerprint: row.pin.to_string(),
        reachability: match link.reachability {
            Reachability::Connecting => wire::Reachability::Connecting,
            Reachability::Reachable => wire::Reachability::Reachable,
            Reachability::Unreachable => wire::Reachability::Unreachable,
            Reachability::Refused => wire::Reachability::Refused,
            Reachability::Disconnected => wire::Reachability::Disconnected,
            Reachability::Quarantined => wire::Reachability::Quarantined,
        }
        .into(),
        seen_time: link.seen_at.map(wire_time),
        pair_time: Some(wire_time(row.paired_at)),
        problem,
        observed: link.satellite,
        desired: workloads.iter().filter_map(desired).collect(),
        converged,
    }
}

/// What is meant of a workload, as the wire has it.
pub(super) fn desired(workload: &WorkloadOn) -> Option<wire::DesiredWorkload> {
    let (desired, bundle) = workload.desired.as_ref()?;
    Some(wire::DesiredWorkload {
        workload: desired.workload.to_string(),
        version: desired
            .version
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        running: desired.running,
        manifest_digest: bundle
            .as_ref()
            .map(|bundle| bundle.manifest_digest.to_string())
            .unwrap_or_default(),
    })
}
