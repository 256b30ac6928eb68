//! A manager that is nothing but a client: speaks to a satellite's bridge over mTLS, call by call, so that a test sees
//! what the bridge answers and not what a real manager makes of it.
//!
//! **Invariant:** it holds a leaf that the laboratory's installation key has signed; each [`Line`] is one connection,
//! never dialled again.

mod log;
mod network;

use std::collections::HashSet;
use std::io::BufReader;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use satellite_proto::bundle::{BundleReader, Digest, Manifest};
use satellite_proto::identity::{Identity, Installation, Pin, Role};
use satellite_proto::tls::{Expect, channel_over, client_config, dial};
use satellite_proto::wire::MAX_MESSAGE;
use satellite_proto::wire::backup::v1 as backup;
use satellite_proto::wire::bridge::v1 as pb;
use satellite_proto::wire::bridge::v1::{
    firewall_service_client::FirewallServiceClient, log_service_client::LogServiceClient,
    operation_service_client::OperationServiceClient, satellite_service_client::SatelliteServiceClient,
    update_service_client::UpdateServiceClient, workload_service_client::WorkloadServiceClient,
};
use tonic::transport::Channel;
use tonic::{Response, Status};
use uuid::Uuid;

pub use log::LogReader;

use crate::lab::{Lab, SATELLITE};
use crate::wait::until;

/// The one workload of these tests.
pub const WORKLOAD: &str = "backup-service";
/// What a connection or a short call may take.
const CALL: Duration = Duration::from_secs(30);
/// What an operation may take, on a busy machine.
const OPERATION: Duration = Duration::from_secs(120);
/// What the bridge may take to be there again.
const BACK: Duration = Duration::from_secs(60);

/// A fresh idempotency key.
#[must_use]
pub fn key() -> String {
    Uuid::new_v4().to_string()
}

/// Who dials a satellite.
#[derive(Debug)]
pub struct Manager {
    address: String,
    satellite: Pin,
    installation: Installation,
    leaf: Identity,
}

impl Manager {
    /// Boots the laboratory's satellite, pairs it with nothing to run, and puts a bare client in the server's place.
    ///
    /// The calling thread is on the server's side of the LAN from now on.
    ///
    /// # Errors
    ///
    /// If one of that fails.
    pub async fn instead_of_the_server(lab: &Lab) -> anyhow::Result<Self> {
        lab.boot().await?;
        lab.serve().await?;
        lab.pair(&["--bare"]).await?;
        lab.server.converged(SATELLITE, BACK).await?;
        let manager = Self::of(lab).await?;
        lab.server.stop().await;
        manager.up().await?;
        Ok(manager)
    }

    /// A client beside the server that runs. The calling thread is on the server's side of the LAN from now on.
    ///
    /// # Errors
    ///
    /// If the server does not know the satellite, or its installation key cannot be read.
    pub async fn of(lab: &Lab) -> anyhow::Result<Self> {
        let satellite = lab.server.satellite(SATELLITE).await.context("not paired")?;
        let dir = lab.data().join("server/state/installation");
        let read = |name: &str| std::fs::read_to_string(dir.join(name)).context("no installation key");
        let installation = Installation::from_pem(&read("key.pem")?, &read("cert.pem")?)?;
        let leaf = installation.issue(Role::Admin, "test", Duration::from_secs(3600))?;
        lab.lan.enter()?;
        Ok(Self {
            address: format!("{}:7640", lab.address().await?),
            satellite: satellite.fingerprint.parse()?,
            installation,
            leaf,
        })
    }

    /// The installation's key.
    #[must_use]
    pub fn installation(&self) -> &Installation {
        &self.installation
    }

    /// A new connection with the role `admin`.
    ///
    /// # Errors
    ///
    /// If the satellite cannot be reached or refuses.
    pub async fn line(&self) -> anyhow::Result<Line> {
        self.line_as(&self.leaf).await
    }

    /// A new connection as somebody else. That the handshake ends does not say that the satellite has taken the
    /// certificate: the first call does.
    ///
    /// # Errors
    ///
    /// If the satellite cannot be reached or refuses.
    pub async fn line_as(&self, identity: &Identity) -> anyhow::Result<Line> {
        let config = client_config(identity, Expect::Pin(self.satellite))?;
        let dialled = dial(&self.address, config, CALL).await?;
        Ok(Line {
            channel: channel_over(dialled).await?,
        })
    }

    /// A new connection over which the satellite answers, waited for.
    ///
    /// # Errors
    ///
    /// If it does not come up.
    pub async fn up(&self) -> anyhow::Result<Line> {
        let mut last = String::new();
        let up = until("the bridge to answer", BACK, async || {
            let line = self.line().await;
            match line {
                Err(err) => last = format!("{err:#}"),
                Ok(line) => match line.satellite().await {
                    Ok(_) => return Some(line),
                    Err(status) => last = status.to_string(),
                },
            }
            None
        });
        up.await.context(last)
    }
}

/// One connection to a bridge.
#[derive(Debug, Clone)]
pub struct Line {
    channel: Channel,
}

async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, Status> {
    let answer = tokio::time::timeout(limit, call).await;
    answer
        .map_err(|_| Status::deadline_exceeded("no answer in time"))?
        .map(Response::into_inner)
}

fn lacks(what: &str) -> Status {
    Status::internal(format!("no {what} in the answer"))
}

fn local(err: impl std::fmt::Display) -> Status {
    Status::internal(err.to_string())
}

impl Line {
    /// The satellite about itself.
    ///
    /// # Errors
    ///
    /// As the bridge says.
    pub async fn satellite(&self) -> Result<pb::Satellite, Status> {
        let mut client = SatelliteServiceClient::new(self.channel.clone());
        let answer = within(CALL, client.get_satellite(pb::GetSatelliteRequest {})).await?;
        answer.satellite.ok_or_else(|| lacks("satellite"))
    }

    /// Refuses a leaf key from now on.
    ///
    /// # Errors
    ///
    /// As the bridge says.
    pub async fn revoke(&self, fingerprint: Pin) -> Result<(), Status> {
        let mut client = SatelliteServiceClient::new(self.channel.clone());
        let request = pb::RevokePeerRequest {
            fingerprint: fingerprint.to_string(),
            idempotency_key: key(),
        };
        within(CALL, client.revoke_peer(request)).await.map(drop)
    }

    /// Sends what the satellite lacks of a bundle, and answers the upload's name.
    ///
    /// # Errors
    ///
    /// As the bridge says.
    pub async fn push(&self, bundle: &Path) -> Result<String, Status> {
        let mut client =
            UpdateServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE);
        let file = std::fs::File::open(bundle).map_err(local)?;
        let reader = BundleReader::open(BufReader::new(file)).map_err(local)?;
        let manifest = Manifest::parse(reader.manifest_bytes()).map_err(local)?;
        let begin = pb::BeginUpdateRequest {
            manifest: reader.manifest_bytes().clone(),
            signatures: reader.signatures().to_vec(),
            idempotency_key: key(),
            ..Default::default()
        };
        let begun = within(CALL, client.begin_update(begin)).await?;
        let name = begun.update.ok_or_else(|| lacks("update"))?.manifest_digest;
        let missing: HashSet<Digest> = begun
            .missing
            .chunks_exact(32)
            .filter_map(|digest| Digest::try_from(digest).ok())
            .collect();
        let mut requests = Vec::new();
        for chunk in reader.chunks(&manifest) {
            let (entry, data) = chunk.map_err(local)?;
            if missing.contains(&entry.digest) {
                requests.push(pb::PutChunksRequest {
                    manifest_digest: name.clone(),
                    digest: Bytes::copy_from_slice(entry.digest.as_bytes()),
                    data,
                });
            }
        }
        if !requests.is_empty() {
            within(OPERATION, client.put_chunks(tokio_stream::iter(requests))).await?;
        }
        Ok(name)
    }

    /// Uploads that were not installed.
    ///
    /// # Errors
    ///
    /// As the bridge says.
    pub async fn uploads(&self) -> Result<Vec<pb::Update>, Status> {
        let mut client = UpdateServiceClient::new(self.channel.clone());
        let answer = within(CALL, client.list_updates(pb::ListUpdatesRequest {})).await?;
        Ok(answer.updates)
    }

    /// Begins to install an upload.
    ///
    /// # Errors
    ///
    /// As the bridge says.
    pub async fn install(&self, name: &str) -> Result<pb::Operation, Status> {
        self.install_and_be_reached(name, 0).await
    }

    /// The same; it goes back unless somebody calls over a new connection within `seconds` after the start. 0: nobody need.
    ///
    /// # Errors
    ///
    /// As the bridge says.
    pub async fn install_and_be_reached(&self, name: &str, seconds: u32) -> Result<pb::Operation, Status> {
        let mut client = UpdateServiceClient::new(self.channel.clone());
        let request = pb::InstallUpdateRequest {
            manifest_digest: name.to_owned(),
            idempotency_key: key(),
            enable: true,
            contact_seconds: seconds,
        };
        let answer = within(CALL, client.install_update(request)).await?;
        answer.operation.ok_or_else(|| lacks("operation"))
    }

    /// Pushes a bundle, installs it, and answers how that ended.
    ///
    /// # Errors
    ///
    /// As the bridge says; that the operation failed is no error here.
    pub async fn bring(&self, bundle: &Path) -> Result<pb::Operation, Status> {
        let name = self.push(bundle).await?;
        let operation = self.install(&name).await?;
        self.end_of(&operation.id).await
    }

    /// Begins to remove the workload; its state stays.
    ///
    /// # Errors
    ///
    /// As the bridge says.
    pub async fn remove(&self) -> Result<pb::Operation, Status> {
        let mut client = WorkloadServiceClient::new(self.channel.clone());
        let request = pb::RemoveWorkloadRequest {
            name: WORKLOAD.to_owned(),
            remove_state: false,
            idempotency_key: key(),
        };
        let answer = within(CALL, client.remove_workload(request)).await?;
        answer.operation.ok_or_else(|| lacks("operation"))
    }

    /// Watches an operation to its end.
    ///
    /// # Errors
    ///
    /// As the bridge says; that the operation failed is no error here.
    pub async fn end_of(&self, id: &str) -> Result<pb::Operation, Status> {
        let mut client = OperationServiceClient::new(self.channel.clone());
        let request = pb::WatchOperationRequest { id: id.to_owned() };
        let mut states = within(CALL, client.watch_operation(request)).await?;
        let watched = async {
            let mut last = None;
            while let Some(state) = states.message().await? {
                last = state.operation;
            }
            last.ok_or_else(|| lacks("operation"))
        };
        let last = tokio::time::timeout(OPERATION, watched).await;
        last.map_err(|_| Status::deadline_exceeded("the operation did not end"))?
    }

    /// All operations, newest first.
    ///
    /// # Errors
    ///
    /// As the bridge says.
    pub async fn operations(&self) -> Result<Vec<pb::Operation>, Status> {
        let mut client = OperationServiceClient::new(self.channel.clone());
        let answer = within(
            CALL,
            client.list_operations(pb::ListOperationsRequest { limit: 100 }),
        )
        .await?;
        Ok(answer.operations)
    }

    /// How the workload is.
    ///
    /// # Errors
    ///
    /// As the bridge says: `NOT_FOUND` if it is not installed.
    pub async fn workload(&self) -> Result<pb::Workload, Status> {
        let mut client = WorkloadServiceClient::new(self.channel.clone());
        let request = pb::GetWorkloadRequest {
            name: WORKLOAD.to_owned(),
        };
        let answer = within(CALL, client.get_workload(request)).await?;
        answer.workload.ok_or_else(|| lacks("workload"))
    }

    /// Asks the workload itself, through the bridge, how many archives it has.
    ///
    /// # Errors
    ///
    /// As the workload or the bridge says.
    pub async fn archives(&self) -> Result<usize, Status> {
        let mut client = backup::archive_service_client::ArchiveServiceClient::new(self.channel.clone());
        let answer = within(CALL, client.list_archives(backup::ListArchivesRequest::default())).await?;
        Ok(answer.archives.len())
    }

    /// The firewall.
    ///
    /// # Errors
    ///
    /// As the bridge says.
    pub async fn firewall(&self) -> Result<pb::GetFirewallResponse, Status> {
        let mut client =
            FirewallServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE);
        within(CALL, client.get_firewall(pb::GetFirewallRequest::default())).await
    }

    /// Replaces the rules; without a confirmation in `seconds` they are the old ones again.
    ///
    /// # Errors
    ///
    /// As the bridge says.
    pub async fn set_firewall(&self, ruleset: pb::Ruleset, seconds: u32) -> Result<String, Status> {
        let mut client = FirewallServiceClient::new(self.channel.clone());
        let request = pb::SetFirewallRequest {
            ruleset: Some(ruleset),
            base_revision: String::new(),
            confirm_seconds: seconds,
            idempotency_key: key(),
        };
        let answer = within(CALL, client.set_firewall(request)).await?;
        Ok(answer.change.ok_or_else(|| lacks("change"))?.id)
    }

    /// Keeps a change of the rules.
    ///
    /// # Errors
    ///
    /// As the bridge says.
    pub async fn confirm_firewall(&self, id: &str) -> Result<(), Status> {
        let mut client = FirewallServiceClient::new(self.channel.clone());
        let request = pb::ConfirmFirewallRequest {
            change_id: id.to_owned(),
            idempotency_key: key(),
        };
        within(CALL, client.confirm_firewall(request)).await.map(drop)
    }

    /// Undoes a change of the rules.
    ///
    /// # Errors
    ///
    /// As the bridge says.
    pub async fn rollback_firewall(&self, id: &str) -> Result<(), Status> {
        let mut client = FirewallServiceClient::new(self.channel.clone());
        let request = pb::RollbackFirewallRequest {
            change_id: id.to_owned(),
            idempotency_key: key(),
        };
        within(CALL, client.rollback_firewall(request)).await.map(drop)
    }

    /// Log sources.
    ///
    /// # Errors
    ///
    /// As the bridge says.
    pub async fn log_sources(&self) -> Result<Vec<pb::LogSource>, Status> {
        let mut client = LogServiceClient::new(self.channel.clone());
        Ok(
            within(CALL, client.list_log_sources(pb::ListLogSourcesRequest {}))
                .await?
                .sources,
        )
    }

    /// Begins to read a log.
    ///
    /// # Errors
    ///
    /// As the bridge says.
    pub async fn log(&self, query: pb::FetchLogsRequest) -> Result<LogReader, Status> {
        let mut client = LogServiceClient::new(self.channel.clone());
        let pieces = within(CALL, client.fetch_logs(query)).await?;
        LogReader::new(pieces)
    }
}

/// `before` with one more port open.
#[must_use]
pub fn with_port(before: &pb::Ruleset, port: u32) -> pb::Ruleset {
    let mut rules = before.clone();
    rules.rules.push(pb::Rule {
        name: format!("probe-{port}"),
        owner: "operator".to_owned(),
        direction: pb::Direction::In.into(),
        protocol: pb::Protocol::Tcp.into(),
        ports: vec![pb::PortRange {
            first: port,
            last: port,
        }],
        action: pb::Action::Accept.into(),
        ..Default::default()
    });
    rules
}
