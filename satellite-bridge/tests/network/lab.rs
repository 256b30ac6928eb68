//! A daemon in a directory of its own, and managers that come to it.

use std::{
    error::Error as _,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use satellite_bridge::{
    config::Config,
    daemon::{Daemon, Options},
    pairing::Clock,
    proxy::Routes,
};
use satellite_host::systemd::FakeUnits;
use satellite_proto::{
    identity::{Identity, Installation, Pin, Role},
    pairing::{Code, PROTOCOL_VERSION, Transcript},
    tls::{Dialled, Expect, channel_over, client_config, dial},
    wire::bridge::v1::{
        GetSatelliteRequest, PairRequest, PairResponse, pairing_service_client::PairingServiceClient,
        satellite_service_client::SatelliteServiceClient,
    },
};
use tempfile::TempDir;
use tonic::{Status, transport::Channel};

pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// A satellite.
pub(crate) struct Lab {
    pub(crate) config: Config,
    pub(crate) clock: Clock,
    pub(crate) daemon: Daemon,
    routes: Option<Arc<dyn Routes>>,
    _dir: TempDir,
}

impl Lab {
    pub(crate) async fn start() -> Self {
        Self::with_routes(None).await
    }

    pub(crate) async fn with_routes(routes: Option<Arc<dyn Routes>>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.listen = "127.0.0.1:0".parse().unwrap();
        config.state_dir = dir.path().join("state");
        config.data_dir = dir.path().to_owned();
        config.instance_id = dir.path().join("instance");
        config.vm_generation_id = dir.path().join("vm-generation");
        config.run_dir = dir.path().join("run");
        config.unit_dir = dir.path().join("units");
        config.workload_state_dir = dir.path().join("workload-state");
        config.trust_anchors = vec![dir.path().join("trust.toml")];
        let clock = Clock::default();
        let options = options(&clock, &routes);
        let daemon = Daemon::start(&config, options).await.unwrap();
        Self {
            config,
            clock,
            daemon,
            routes,
            _dir: dir,
        }
    }

    /// Stops the daemon and starts it again on the same state, `later` seconds later.
    pub(crate) async fn restarted(self, later: u64) -> Self {
        let clock = self.clock.clone();
        self.restarted_after(async || clock.advance(later)).await
    }

    /// Stops the daemon, lets something happen without it, and starts it again.
    pub(crate) async fn restarted_after(self, meanwhile: impl AsyncFnOnce()) -> Self {
        self.daemon.stop().await;
        meanwhile().await;
        let options = options(&self.clock, &self.routes);
        let daemon = Daemon::start(&self.config, options).await.unwrap();
        Self { daemon, ..self }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.daemon.address
    }

    /// Opens a window and reads the code off the console.
    pub(crate) fn code(&self) -> Code {
        self.daemon.pairing.open_window().unwrap().code
    }

    /// An installation that is paired for good.
    pub(crate) async fn paired(&self) -> Manager {
        let manager = Manager::new();
        manager.pair(self.address(), &self.code()).await.unwrap();
        self.see(&manager.admin).await.unwrap();
        manager
    }

    /// Connects as a member that expects this satellite.
    pub(crate) async fn connect(&self, identity: &Identity) -> Result<Channel, Status> {
        let dialled = dialled(self.address(), identity, Expect::Pin(self.daemon.pairing.pin())).await?;
        channel_over(dialled)
            .await
            .map_err(|error| Status::unavailable(error.to_string()))
    }

    /// Calls GetSatellite over a new connection.
    pub(crate) async fn see(&self, identity: &Identity) -> Result<(), Status> {
        let channel = self.connect(identity).await?;
        SatelliteServiceClient::new(channel)
            .get_satellite(GetSatelliteRequest {})
            .await
            .map(drop)
    }
}

fn options(clock: &Clock, routes: &Option<Arc<dyn Routes>>) -> Options {
    let units = Arc::new(FakeUnits::new());
    Options {
        clock: clock.clone(),
        units,
        packet_filter: None,
        keeps_network: false,
        ground: None,
        routes: routes.clone(),
    }
}

/// A server with its installation key.
pub(crate) struct Manager {
    pub(crate) installation: Installation,
    pub(crate) admin: Identity,
}

impl Manager {
    pub(crate) fn new() -> Self {
        let installation = Installation::generate().unwrap();
        let admin = leaf(&installation, Role::Admin);
        Self { installation, admin }
    }

    pub(crate) fn leaf(&self, role: Role) -> Identity {
        leaf(&self.installation, role)
    }

    /// Pairs honestly over a connection of its own; the satellite's pin if it proved itself.
    pub(crate) async fn pair(&self, address: SocketAddr, code: &Code) -> Result<Pin, Status> {
        let dialled = dialled(address, &self.admin, Expect::Anyone).await?;
        let transcript = self.transcript(&dialled);
        let satellite = dialled.peer;
        let answer = send_proof(dialled, transcript.manager_proof(code)).await?;
        assert!(transcript.verify_satellite(code, &answer.satellite_proof));
        Ok(satellite)
    }

    pub(crate) fn transcript(&self, dialled: &Dialled) -> Transcript {
        Transcript {
            version: PROTOCOL_VERSION,
            exporter: dialled.exporter,
            manager: self.admin.pin(),
            satellite: dialled.peer,
            installation: self.installation.pin(),
        }
    }
}

fn leaf(installation: &Installation, role: Role) -> Identity {
    installation
        .issue(role, "replica", Duration::from_secs(3600))
        .unwrap()
}

pub(crate) async fn dialled(
    address: SocketAddr,
    identity: &Identity,
    expect: Expect,
) -> Result<Dialled, Status> {
    let config = client_config(identity, expect).unwrap();
    dial(&address.to_string(), config, DEADLINE)
        .await
        .map_err(|error| Status::unavailable(error.to_string()))
}

pub(crate) async fn send_proof(dialled: Dialled, proof: [u8; 32]) -> Result<PairResponse, Status> {
    let channel = channel_over(dialled)
        .await
        .map_err(|error| Status::unavailable(error.to_string()))?;
    let request = PairRequest {
        protocol_version: PROTOCOL_VERSION,
        manager_proof: proof.to_vec().into(),
        server_name: "server one".to_owned(),
    };
    let call = async { PairingServiceClient::new(channel).pair(request).await };
    let answer = tokio::time::timeout(DEADLINE, call)
        .await
        .expect("an answer to Pair");
    answer.map(tonic::Response::into_inner)
}

/// Whether the call failed below gRPC: the connection was refused or cut.
pub(crate) fn is_below(status: &Status) -> bool {
    status.source().is_some() || status.code() == tonic::Code::Unavailable
}

/// Waits for a state, with a name for what was awaited.
pub(crate) async fn until(what: &str, is_so: impl Fn() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
