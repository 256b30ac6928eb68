//! Wire for the satellite service.

use std::{pin::Pin, sync::Arc, time::Duration};

use async_stream::stream;
use satellite_host::{clock, systemd::Units};
use satellite_proto::{
    tls::Peer,
    wire::bridge::v1::{
        GetSatelliteRequest, GetSatelliteResponse, QuarantineReason, QuarantineRequest, QuarantineResponse,
        RebootRequest, RebootResponse, RevokePeerRequest, RevokePeerResponse, Satellite, SynchroniseRequest,
        SynchroniseResponse, TrustInstanceRequest, TrustInstanceResponse, UnpairRequest, UnpairResponse,
        WatchSatelliteRequest, WatchSatelliteResponse, satellite_service_server::SatelliteService,
    },
};
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::firewall_state::FirewallState;
use crate::{
    base::Base,
    generation::Reason,
    journal::JournalError,
    machine::Machine,
    network::{Network, wire::change_to_wire},
    operations::{Operations, Replies},
    pairing::Pairing,
    workload::Workloads,
};

/// The longest silence of a watch.
const PULSE: Duration = Duration::from_secs(30);
/// Changes within this time are sent as one.
const SETTLE: Duration = Duration::from_millis(200);
/// How often is looked for a change of the network that somebody else has opened.
const LOOK: Duration = Duration::from_secs(1);
/// What the answer to a restart needs to leave.
const BEFORE_REBOOT: Duration = Duration::from_secs(1);

/// Gathers what the satellite is, and does what concerns all of it.
#[derive(Debug, Clone)]
pub struct SatelliteRpc {
    /// The machine.
    pub machine: Machine,
    /// Who it belongs to.
    pub pairing: Pairing,
    /// Long work.
    pub operations: Operations,
    /// First answers.
    pub replies: Replies,
    /// The packet filter.
    pub firewall: FirewallState,
    /// The network, where it is ours to set.
    pub network: Option<Network>,
    /// What is installed.
    pub workloads: Workloads,
    /// What the satellite itself consists of, if bundles can change that.
    pub base: Option<Base>,
    /// The service manager.
    pub units: Arc<dyn Units>,
    /// Ends what would be watched for ever, so that the daemon need not wait for it.
    pub stop: CancellationToken,
}

impl SatelliteRpc {
    /// The satellite as it is now.
    pub(crate) async fn snapshot(&self) -> Satellite {
        let (firewall_revision, open_change_id) = self.firewall.summary().await;
        let mut workloads = self.workloads.list();
        workloads.extend(self.base.as_ref().and_then(Base::describe));
        let base = self.base.as_ref().map(|base| base.part().name().to_owned());
        let network_change = self.network.as_ref().and_then(Network::open_change);
        Satellite {
            firewall_revision,
            open_change_id,
            workloads,
            base: base.unwrap_or_default(),
            network_change: network_change.as_ref().map(change_to_wire),
            ..self.machine.satellite()
        }
    }

    /// Returns when another change of the network is open than at the beginning, or none any more.
    async fn network_change(&self) {
        let Some(network) = &self.network else {
            return std::future::pending().await;
        };
        let seen = || network.open_change().map(|open| (open.id, open.is_in_force));
        let before = seen();
        while seen() == before {
            tokio::time::sleep(LOOK).await;
        }
    }

    fn check_quiet(&self) -> Result<(), Status> {
        if self.operations.is_any_running(|_, _| true) {
            return Err(Status::failed_precondition(
                "an operation is under way: wait for its end, or use force",
            ));
        }
        if self.firewall.is_open() {
            return Err(Status::failed_precondition(
                "a change of the firewall or the network waits to be confirmed: confirm it or take it back, or use force",
            ));
        }
        Ok(())
    }
}

fn not_recorded(error: JournalError) -> Status {
    tracing::error!(error = %crate::cli::error_chain(&error), "Record of the machine not written");
    Status::unavailable("the satellite cannot record it: check its disk, then try again")
}

#[tonic::async_trait]
impl SatelliteService for SatelliteRpc {
    async fn get_satellite(
        &self,
        _: Request<GetSatelliteRequest>,
    ) -> Result<Response<GetSatelliteResponse>, Status> {
        // Whoever asks after an operation has ended is not to be told what was before it.
        self.workloads.look().await;
        Ok(Response::new(GetSatelliteResponse {
            satellite: Some(self.snapshot().await),
        }))
    }

    type WatchSatelliteStream =
        Pin<Box<dyn Stream<Item = Result<WatchSatelliteResponse, Status>> + Send + 'static>>;

    async fn watch_satellite(
        &self,
        request: Request<WatchSatelliteRequest>,
    ) -> Result<Response<Self::WatchSatelliteStream>, Status> {
        let (this, peer) = (self.clone(), request.extensions().get::<Peer>().cloned());
        let (mut pairing, mut operations) = (this.pairing.changes(), this.operations.changes());
        let mut generations = this.pairing.generations().changes();
        let mut workloads = this.workloads.watch();
        let states = stream! {
            loop {
                pairing.mark_unchanged();
                generations.mark_unchanged();
                operations.mark_unchanged();
                workloads.mark_unchanged();
                yield Ok(WatchSatelliteResponse { satellite: Some(this.snapshot().await) });
                tokio::select! {
                    changed = pairing.changed() => if changed.is_err() { return },
                    changed = generations.changed() => if changed.is_err() { return },
                    changed = workloads.changed() => if changed.is_err() { return },
                    changed = operations.changed() => if changed.is_err() { return },
                    () = this.network_change() => {}
                    () = this.stop.cancelled() => return,
                    () = tokio::time::sleep(PULSE) => continue,
                }
                // The last word, before the connection is cut.
                if peer.as_ref().is_some_and(|peer| this.pairing.is_disconnected_from(peer)) {
                    yield Err(super::gate::disconnected());
                    return;
                }
                tokio::time::sleep(SETTLE).await;
            }
        };
        Ok(Response::new(Box::pin(states)))
    }

    async fn synchronise(
        &self,
        request: Request<SynchroniseRequest>,
    ) -> Result<Response<SynchroniseResponse>, Status> {
        let generations = self.pairing.generations();
        let met = generations
            .meet(request.into_inner().generation)
            .map_err(not_recorded)?;
        let uptime = clock::uptime().unwrap_or_default();
        Ok(Response::new(SynchroniseResponse {
            found: met.found,
            generation: met.generation,
            reverted: met.reverted,
            boot_id: self.machine.boot_id(),
            uptime_millis: u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX),
            instance_id: met.instance,
            quarantine: met
                .quarantine
                .map_or(QuarantineReason::Unspecified, QuarantineReason::from)
                .into(),
        }))
    }

    async fn quarantine(
        &self,
        _: Request<QuarantineRequest>,
    ) -> Result<Response<QuarantineResponse>, Status> {
        let is_new = self
            .pairing
            .generations()
            .set_apart(Reason::Twin)
            .map_err(not_recorded)?;
        if is_new {
            self.workloads.hold().await;
        }
        Ok(Response::new(QuarantineResponse {}))
    }

    async fn trust_instance(
        &self,
        _: Request<TrustInstanceRequest>,
    ) -> Result<Response<TrustInstanceResponse>, Status> {
        let was_quarantined = self.pairing.generations().trust().map_err(not_recorded)?;
        if was_quarantined {
            self.workloads.recover();
        }
        Ok(Response::new(TrustInstanceResponse { was_quarantined }))
    }

    async fn unpair(&self, request: Request<UnpairRequest>) -> Result<Response<UnpairResponse>, Status> {
        let peer = super::peer(&request)?.clone();
        let key = request.into_inner().idempotency_key;
        let pairing = self.pairing.clone();
        let answer = self.replies.replay("Unpair", &key, move || async move {
            pairing.unpair(Some(&peer))?;
            Ok(UnpairResponse {})
        });
        answer.await.map(Response::new)
    }

    async fn revoke_peer(
        &self,
        request: Request<RevokePeerRequest>,
    ) -> Result<Response<RevokePeerResponse>, Status> {
        let peer: Peer = super::peer(&request)?.clone();
        let RevokePeerRequest {
            fingerprint,
            idempotency_key,
        } = request.into_inner();
        let leaf = fingerprint.parse();
        let leaf =
            leaf.map_err(|_| Status::invalid_argument("`fingerprint` must have 64 hexadecimal digits"))?;
        let pairing = self.pairing.clone();
        let answer = self
            .replies
            .replay("RevokePeer", &idempotency_key, move || async move {
                let cut = pairing.revoke(leaf, Some(&peer))?;
                Ok(RevokePeerResponse {
                    connections_cut: u32::try_from(cut).unwrap_or(u32::MAX),
                })
            });
        answer.await.map(Response::new)
    }

    async fn reboot(&self, request: Request<RebootRequest>) -> Result<Response<RebootResponse>, Status> {
        let RebootRequest {
            force,
            idempotency_key,
        } = request.into_inner();
        let this = self.clone();
        let answer = self
            .replies
            .replay("Reboot", &idempotency_key, move || async move {
                if !force {
                    this.check_quiet()?;
                }
                let units = this.units;
                tokio::spawn(async move {
                    tokio::time::sleep(BEFORE_REBOOT).await;
                    if let Err(error) = units.reboot().await {
                        tracing::error!(%error, "Machine did not restart");
                    }
                });
                Ok(RebootResponse {})
            });
        answer.await.map(Response::new)
    }
}
