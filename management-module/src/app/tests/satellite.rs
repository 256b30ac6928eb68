//! A satellite for tests: the bridge's services over real TLS, on a machine that is a few variables.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};

use satellite_proto::bundle::{Digest, Manifest, unpack_chunk};
use satellite_proto::identity::Pin;
use satellite_proto::pairing::{Code, Transcript};
use satellite_proto::tls::Peer;
use satellite_proto::wire::bridge::v1 as pb;
use satellite_proto::wire::bridge::v1::firewall_service_server::FirewallService;
use satellite_proto::wire::bridge::v1::operation_service_server::OperationService;
use satellite_proto::wire::bridge::v1::pairing_service_server::PairingService;
use satellite_proto::wire::bridge::v1::satellite_service_server::SatelliteService;
use satellite_proto::wire::bridge::v1::update_service_server::UpdateService;
use satellite_proto::wire::bridge::v1::workload_service_server::WorkloadService;
use tonic::{Code as Kind, Request, Response, Status, Streaming};

type Answer<T> = Result<Response<T>, Status>;
type Sent<T> = std::pin::Pin<Box<dyn futures_util::Stream<Item = Result<T, Status>> + Send>>;

/// What there is and what was done.
#[derive(Default)]
pub(super) struct State {
    pub(super) pin: Option<Pin>,
    pub(super) code: Option<Code>,
    pub(super) lies: bool,
    pub(super) ruleset: pb::Ruleset,
    pub(super) workloads: Vec<pb::Workload>,
    pub(super) manifest: Option<Manifest>,
    pub(super) chunks: BTreeSet<Digest>,
    /// Chunks that still come before the connection is cut.
    pub(super) cut_after: Option<usize>,
    /// What is installed was damaged on its disk.
    pub(super) damaged: bool,
    /// How the next installations fail.
    pub(super) install_fails: Option<Kind>,
    /// The call that changed something, each.
    pub(super) done: Vec<String>,
}

/// The satellite.
#[derive(Clone, Default)]
pub(super) struct Fake(Arc<Mutex<State>>);

impl Fake {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn did(&self, what: &str) {
        self.state().done.push(what.to_owned());
    }

    fn described(&self) -> pb::Satellite {
        pb::Satellite {
            name: "annex".into(),
            architecture: "x86_64".into(),
            workloads: self.state().workloads.clone(),
            ..Default::default()
        }
    }

    fn update(&self) -> Option<pb::Update> {
        let state = self.state();
        let manifest = state.manifest.as_ref()?;
        let there = |chunk: &&satellite_proto::bundle::ChunkEntry| state.chunks.contains(&chunk.digest);
        let present = manifest.chunks.iter().filter(there);
        Some(pb::Update {
            manifest_digest: Digest::of(&manifest.to_bytes().unwrap()).to_string(),
            workload: manifest.workload.to_string(),
            total_bytes: manifest.chunks.iter().map(|c| u64::from(c.size)).sum(),
            present_bytes: present.map(|c| u64::from(c.size)).sum(),
            ..Default::default()
        })
    }
}

fn ended(kind: &str, failed: Option<Kind>) -> Option<pb::Operation> {
    let state = if failed.is_some() {
        pb::OperationState::Failed
    } else {
        pb::OperationState::Succeeded
    };
    Some(pb::Operation {
        id: "1".into(),
        kind: kind.into(),
        state: state.into(),
        error: failed.map(|code| pb::OperationError {
            code: code.into(),
            message: "it went wrong".into(),
            log_tail: vec!["the last line".into()],
            rolled_back: true,
        }),
        ..Default::default()
    })
}

fn missing<T>() -> Answer<T> {
    Err(Status::unimplemented("not in this test"))
}

#[tonic::async_trait]
impl PairingService for Fake {
    async fn pair(&self, request: Request<pb::PairRequest>) -> Answer<pb::PairResponse> {
        let peer = request.extensions().get::<Peer>().unwrap().clone();
        let state = self.state();
        let Some(code) = &state.code else {
            return Err(Status::failed_precondition("no pairing window is open"));
        };
        let transcript = Transcript {
            version: 1,
            exporter: peer.exporter,
            manager: peer.pin,
            satellite: state.pin.unwrap(),
            installation: Pin::of_certificate(peer.chain.last().unwrap()).unwrap(),
        };
        if !transcript.verify_manager(code, &request.get_ref().manager_proof) {
            return Err(Status::permission_denied("4 tries are left"));
        }
        let proof = if state.lies {
            vec![0; 32]
        } else {
            transcript.satellite_proof(code).to_vec()
        };
        Ok(Response::new(pb::PairResponse {
            satellite_proof: proof.into(),
            satellite_name: "annex".into(),
        }))
    }
}

#[tonic::async_trait]
impl SatelliteService for Fake {
    type WatchSatelliteStream = Sent<pb::WatchSatelliteResponse>;

    async fn get_satellite(&self, _: Request<pb::GetSatelliteRequest>) -> Answer<pb::GetSatelliteResponse> {
        let satellite = Some(self.described());
        Ok(Response::new(pb::GetSatelliteResponse { satellite }))
    }

    async fn watch_satellite(
        &self,
        _: Request<pb::WatchSatelliteRequest>,
    ) -> Answer<Self::WatchSatelliteStream> {
        let first = pb::WatchSatelliteResponse {
            satellite: Some(self.described()),
        };
        let rest = futures_util::stream::pending();
        let first = futures_util::stream::iter([Ok(first)]);
        Ok(Response::new(Box::pin(futures_util::StreamExt::chain(
            first, rest,
        ))))
    }

    async fn unpair(&self, _: Request<pb::UnpairRequest>) -> Answer<pb::UnpairResponse> {
        self.did("unpair");
        Ok(Response::new(pb::UnpairResponse {}))
    }

    async fn synchronise(&self, _: Request<pb::SynchroniseRequest>) -> Answer<pb::SynchroniseResponse> {
        missing()
    }

    async fn quarantine(&self, _: Request<pb::QuarantineRequest>) -> Answer<pb::QuarantineResponse> {
        missing()
    }

    async fn trust_instance(
        &self,
        _: Request<pb::TrustInstanceRequest>,
    ) -> Answer<pb::TrustInstanceResponse> {
        missing()
    }

    async fn revoke_peer(&self, request: Request<pb::RevokePeerRequest>) -> Answer<pb::RevokePeerResponse> {
        self.did(&format!("revoke {}", request.get_ref().fingerprint));
        Ok(Response::new(pb::RevokePeerResponse { connections_cut: 2 }))
    }

    async fn reboot(&self, _: Request<pb::RebootRequest>) -> Answer<pb::RebootResponse> {
        missing()
    }
}

#[tonic::async_trait]
impl FirewallService for Fake {
    async fn get_firewall(&self, _: Request<pb::GetFirewallRequest>) -> Answer<pb::GetFirewallResponse> {
        Ok(Response::new(pb::GetFirewallResponse {
            ruleset: Some(self.state().ruleset.clone()),
            in_sync: true,
            ..Default::default()
        }))
    }

    async fn set_firewall(
        &self,
        request: Request<pb::SetFirewallRequest>,
    ) -> Answer<pb::SetFirewallResponse> {
        self.did("firewall");
        let ruleset = request.into_inner().ruleset.unwrap();
        self.state().ruleset = ruleset;
        let (id, deadline) = ("c".into(), None);
        Ok(Response::new(pb::SetFirewallResponse {
            change: Some(pb::Change { id, deadline }),
            revision: "2".into(),
        }))
    }

    async fn confirm_firewall(
        &self,
        _: Request<pb::ConfirmFirewallRequest>,
    ) -> Answer<pb::ConfirmFirewallResponse> {
        self.did("confirm");
        let revision = "2".into();
        Ok(Response::new(pb::ConfirmFirewallResponse { revision }))
    }

    async fn rollback_firewall(
        &self,
        _: Request<pb::RollbackFirewallRequest>,
    ) -> Answer<pb::RollbackFirewallResponse> {
        missing()
    }

    async fn reset_firewall(
        &self,
        _: Request<pb::ResetFirewallRequest>,
    ) -> Answer<pb::ResetFirewallResponse> {
        missing()
    }
}

#[tonic::async_trait]
impl UpdateService for Fake {
    async fn begin_update(
        &self,
        request: Request<pb::BeginUpdateRequest>,
    ) -> Answer<pb::BeginUpdateResponse> {
        let manifest = Manifest::parse(&request.get_ref().manifest).unwrap();
        let mut state = self.state();
        let lacks = |chunk: &&satellite_proto::bundle::ChunkEntry| !state.chunks.contains(&chunk.digest);
        let missing: Vec<u8> = manifest
            .chunks
            .iter()
            .filter(lacks)
            .flat_map(|chunk| *chunk.digest.as_bytes())
            .collect();
        let text = format!("begin: {} missing", missing.len() / 32);
        state.done.push(text);
        state.manifest = Some(manifest);
        Ok(Response::new(pb::BeginUpdateResponse {
            update: None,
            missing: missing.into(),
        }))
    }

    async fn put_chunks(
        &self,
        request: Request<Streaming<pb::PutChunksRequest>>,
    ) -> Answer<pb::PutChunksResponse> {
        let mut pieces = request.into_inner();
        while let Some(piece) = pieces.message().await? {
            let mut state = self.state();
            if state.cut_after == Some(0) {
                state.cut_after = None;
                return Err(Status::unavailable("the line was cut"));
            }
            state.cut_after = state.cut_after.map(|left| left - 1);
            let digest = Digest::from(<[u8; 32]>::try_from(&piece.digest[..]).unwrap());
            let entry = *state.manifest.as_ref().unwrap().chunk(&digest).unwrap();
            unpack_chunk(&entry, &piece.data).map_err(|err| Status::invalid_argument(err.to_string()))?;
            assert!(state.chunks.insert(digest), "a chunk came twice");
        }
        Ok(Response::new(pb::PutChunksResponse::default()))
    }

    async fn install_update(
        &self,
        request: Request<pb::InstallUpdateRequest>,
    ) -> Answer<pb::InstallUpdateResponse> {
        self.did("install");
        let mut state = self.state();
        if state.install_fails.is_none() {
            (state.manifest, state.damaged) = (None, false);
            let there = pb::Workload {
                name: "w".into(),
                manifest_digest: request.into_inner().manifest_digest,
                state: pb::WorkloadState::Stopped.into(),
                ..Default::default()
            };
            state.workloads = vec![there];
        }
        let operation = ended("install", state.install_fails);
        Ok(Response::new(pb::InstallUpdateResponse { operation }))
    }

    async fn list_updates(&self, _: Request<pb::ListUpdatesRequest>) -> Answer<pb::ListUpdatesResponse> {
        let updates = self.update().into_iter().collect();
        Ok(Response::new(pb::ListUpdatesResponse { updates }))
    }

    async fn abort_update(&self, _: Request<pb::AbortUpdateRequest>) -> Answer<pb::AbortUpdateResponse> {
        missing()
    }
}

#[tonic::async_trait]
impl WorkloadService for Fake {
    async fn start_workload(
        &self,
        _: Request<pb::StartWorkloadRequest>,
    ) -> Answer<pb::StartWorkloadResponse> {
        self.did("start");
        if self.state().damaged {
            let operation = ended("start", Some(Kind::DataLoss));
            return Ok(Response::new(pb::StartWorkloadResponse { operation }));
        }
        for workload in &mut self.state().workloads {
            workload.enabled = true;
            workload.state = pb::WorkloadState::Healthy.into();
        }
        let operation = ended("start", None);
        Ok(Response::new(pb::StartWorkloadResponse { operation }))
    }

    async fn list_workloads(
        &self,
        _: Request<pb::ListWorkloadsRequest>,
    ) -> Answer<pb::ListWorkloadsResponse> {
        missing()
    }

    async fn get_workload(&self, _: Request<pb::GetWorkloadRequest>) -> Answer<pb::GetWorkloadResponse> {
        missing()
    }

    async fn stop_workload(&self, _: Request<pb::StopWorkloadRequest>) -> Answer<pb::StopWorkloadResponse> {
        missing()
    }

    async fn restart_workload(
        &self,
        _: Request<pb::RestartWorkloadRequest>,
    ) -> Answer<pb::RestartWorkloadResponse> {
        missing()
    }

    async fn remove_workload(
        &self,
        _: Request<pb::RemoveWorkloadRequest>,
    ) -> Answer<pb::RemoveWorkloadResponse> {
        missing()
    }
}

#[tonic::async_trait]
impl OperationService for Fake {
    type WatchOperationStream = Sent<pb::WatchOperationResponse>;

    async fn watch_operation(
        &self,
        _: Request<pb::WatchOperationRequest>,
    ) -> Answer<Self::WatchOperationStream> {
        missing()
    }

    async fn get_operation(&self, _: Request<pb::GetOperationRequest>) -> Answer<pb::GetOperationResponse> {
        missing()
    }

    async fn list_operations(
        &self,
        _: Request<pb::ListOperationsRequest>,
    ) -> Answer<pb::ListOperationsResponse> {
        missing()
    }

    async fn cancel_operation(
        &self,
        _: Request<pb::CancelOperationRequest>,
    ) -> Answer<pb::CancelOperationResponse> {
        missing()
    }
}
