//! Puts the parts together and runs them until told to stop.
//!
//! **Invariant:** nothing listens on the network but the bridge's one port, and a stop is bounded in time.

mod installed;
mod notify;
mod serve;

use std::{
    fs, io,
    net::SocketAddr,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use satellite_host::{
    disks::{Disks, Way},
    files::FileError,
    iptables::{Kernel, PacketFilter},
    systemd::{SystemUnits, Units},
};
use satellite_proto::tls::Connections;
use tokio::{
    net::{TcpListener, UnixListener},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use self::installed::Installed;
pub use self::notify::run_until_signalled;
use self::serve::{Services, console_listener};
use crate::{
    base::{Base, Ground},
    change::{Changes, SystemdTimer},
    cli::error_chain,
    config::Config,
    firewall::{self, Firewall},
    generation::{self, Generations, Instance},
    join::Joiner,
    journal::JournalError,
    logs::Logs,
    machine::{self, Machine},
    network::Network,
    operations::{OperationError, Operations, Replies},
    pairing::{
        Clock, LoadError, Pairing, PairingError, Stage, finish_disconnection, is_paired_on_disk,
        load_or_make, remove_identity,
    },
    proxy::{Proxy, Routes as WorkloadRoutes},
    reset,
    rpc::{
        disk::DiskRpc, firewall::FirewallRpc, firewall_state::FirewallState, log::LogRpc,
        operation::OperationRpc, satellite::SatelliteRpc, trust::TrustRpc, update::UpdateRpc,
        workload::WorkloadRpc,
    },
    trust::Truster,
    update::{Platform, Updates},
    workload::{Places, WorkloadError, Workloads},
};

/// How long calls under way may take to end after a stop.
const GRACE: Duration = Duration::from_secs(5);

/// Why the daemon does not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DaemonError {
    /// A directory or socket.
    #[error("cannot use `{}`", path.display())]
    Path {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The port is taken, or not ours to take.
    #[error("cannot listen on {address}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// No identity.
    #[error("the satellite has no identity")]
    Identity(#[source] LoadError),
    /// No trust.
    #[error("pairing cannot be set up")]
    Pairing(#[source] PairingError),
    /// The copied key cannot be removed.
    #[error("the key of the satellite that this disk was copied from cannot be removed")]
    Copied(#[source] FileError),
    /// No record of the machine.
    #[error("it cannot be recorded which machine this is")]
    Generation(#[source] JournalError),
    /// The satellite has another key now.
    #[error("the satellite starts anew with a key of its own")]
    Renewed,
    /// Another bridge is to run.
    #[error("another bridge is started")]
    Exchanged,
    /// No records of operations.
    #[error("operations cannot be recorded")]
    Operations(#[source] OperationError),
    /// No records of workloads.
    #[error("workloads cannot be read")]
    Workloads(#[source] WorkloadError),
    /// A server stopped by itself.
    #[error("a server stopped")]
    Server(#[source] tonic::transport::Error),
    /// A part stopped by a fault of its own.
    #[error("a part of the daemon stopped by a fault of its own")]
    Fault(#[source] tokio::task::JoinError),
    /// A part came to its end, which none does unasked.
    #[error("a part of the daemon ended without being asked to")]
    Ended,
}

/// What a daemon stands on.
#[derive(Clone)]
pub struct Options {
    /// The clock of the pairing window.
    pub clock: Clock,
    /// The service manager.
    pub units: Arc<dyn Units>,
    /// The packet filter; none: it is not ours to keep.
    pub packet_filter: Option<Arc<dyn PacketFilter>>,
    /// Whether the network is ours to keep.
    pub keeps_network: bool,
    /// What the satellite itself runs on, which bundles can change; none: they cannot.
    pub ground: Option<Ground>,
    /// Routes to workloads that are not installed, for tests.
    pub routes: Option<Arc<dyn WorkloadRoutes>>,
}

impl Options {
    /// The machine itself.
    #[must_use]
    pub fn of_the_machine() -> Self {
        Self {
            clock: Clock::default(),
            units: Arc::new(SystemUnits::new()),
            packet_filter: Some(Arc::new(Kernel)),
            keeps_network: true,
            ground: Some(Ground::of_the_machine()),
            routes: None,
        }
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("packet_filter", &self.packet_filter)
            .field("keeps_network", &self.keeps_network)
            .finish_non_exhaustive()
    }
}

/// A daemon that runs.
#[derive(Debug)]
pub struct Daemon {
    /// Where it takes calls of the installation.
    pub address: SocketAddr,
    /// Who it belongs to.
    pub pairing: Pairing,
    /// Who is connected.
    pub connections: Connections,
    operations: Operations,
    stop: CancellationToken,
    tasks: JoinSet<Result<(), DaemonError>>,
}

impl Daemon {
    /// Starts everything; calls are taken when this returns.
    ///
    /// # Errors
    ///
    /// [`DaemonError`]: nothing runs then.
    pub async fn start(config: &Config, options: Options) -> Result<Self, DaemonError> {
        make_dir(&config.state_dir, 0o700)?;
        make_dir(&config.run_dir, 0o755)?;
        let connections = Connections::default();
        let pairing = open_pairing(config, &connections, options.clock.clone())?;
        let in_state = |name: &str| config.state_dir.join(name);
        let operations = Operations::open(&in_state("operations")).map_err(DaemonError::Operations)?;
        let replies = Replies::open(&in_state("replies")).map_err(DaemonError::Operations)?;
        let console = listen_to_the_console(config)?;
        let (listener, address) = listen(config.listen).await?;
        let firewall = start_firewall(config, address.port(), &options).await;
        let network = options.keeps_network.then(|| Network::open(config));

        let workloads = Workloads::open(Places::of(config), options.units.clone(), operations.clone());
        let workloads = workloads.map_err(DaemonError::Workloads)?;
        if pairing.stage() != Stage::Quarantined {
            workloads.recover();
        }
        let base = start_base(options.ground, &options.units, &workloads, &operations);
        operations.fail_unadopted();
        let installed = Arc::new(Installed {
            workloads: workloads.clone(),
            others: options.routes,
        });
        let stop = CancellationToken::new();
        let satellite = SatelliteRpc {
            machine: Machine::new(config.state_dir.clone(), pairing.clone()),
            pairing: pairing.clone(),
            operations: operations.clone(),
            replies: replies.clone(),
            firewall: FirewallState::new(firewall.clone(), Changes::new(&config.state_dir)),
            network: network.clone(),
            units: options.units.clone(),
            workloads: workloads.clone(),
            base: base.clone(),
            stop: stop.clone(),
        };
        let (updates, trust) = updates(&workloads, base.clone(), &replies);
        let joiner = Joiner::open(config, pairing.clone(), address.port());
        let services = Services {
            pairing: pairing.clone(),
            proxy: Proxy::new(installed.clone()),
            satellite,
            joiner: joiner.clone(),
            operations: OperationRpc::new(operations.clone(), stop.clone()),
            workloads: WorkloadRpc::new(workloads.clone()),
            updates,
            trust,
            logs: LogRpc::new(Logs::new(installed), config),
            disks: start_disks(config, &options.units).await,
            firewall: firewall.map(|firewall| FirewallRpc::new(firewall, replies.clone())),
            network: network.clone(),
            contact: workloads.contact(),
            replies,
        };

        let mut tasks = JoinSet::new();
        tasks.spawn(
            services
                .clone()
                .serve_console(console, address.port(), stop.clone()),
        );
        tasks.spawn(services.serve_network(listener, connections.clone(), stop.clone()));
        tasks.spawn(watch(workloads, stop.clone()));
        tasks.spawn(keep_time(pairing.clone(), stop.clone()));
        tasks.spawn(join(joiner, stop.clone()));
        if let Some(network) = network {
            tasks.spawn(keep_network(network, stop.clone()));
        }
        tasks.spawn(renew(pairing.clone(), stop.clone()));
        tasks.spawn(exchange(base, stop.clone()));
        tracing::info!(%address, fingerprint = %pairing.pin(), stage = ?pairing.stage(), "Daemon started");
        Ok(Self {
            address,
            pairing,
            connections,
            operations,
            stop,
            tasks,
        })
    }

    /// Waits until a part stops by itself, which none should, and answers why.
    pub async fn failed(&mut self) -> DaemonError {
        first_end(&mut self.tasks).await
    }

    /// Takes no more calls, lets those under way end for a few seconds, then cuts them.
    pub async fn stop(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
        self.operations.close();
        let cut = self.connections.cut(|_| true);
        if cut > 0 {
            tracing::info!(cut, "Calls under way were cut");
        }
    }
}

/// Whatever ends a part of a daemon that was not told to stop is an error: the service manager starts it anew.
async fn first_end(tasks: &mut JoinSet<Result<(), DaemonError>>) -> DaemonError {
    match tasks.join_next().await {
        Some(Ok(Err(error))) => error,
        Some(Err(error)) => DaemonError::Fault(error),
        Some(Ok(Ok(()))) | None => DaemonError::Ended,
    }
}

fn open_pairing(config: &Config, connections: &Connections, clock: Clock) -> Result<Pairing, DaemonError> {
    let place = config.state_dir.join("identity");
    let instance = Instance::of_the_machine(config);
    finish_disconnection(&config.state_dir);
    let is_paired = is_paired_on_disk(&config.state_dir);
    if !is_paired && generation::is_copied(&config.state_dir, &instance) {
        tracing::warn!("This disk was copied from another satellite: this one gets a key of its own");
        remove_identity(&place).map_err(DaemonError::Copied)?;
    }
    let is_first = !place.join("key.pem").exists();
    let identity = load_or_make(&place, &machine::name());
    let identity = identity.map_err(DaemonError::Identity)?;
    if is_first {
        reset::report_first_start(config);
    }
    let generations = Generations::open(&config.state_dir, instance, is_paired);
    let generations = generations.map_err(DaemonError::Generation)?;
    let record = config.state_dir.join("pairing.json");
    Pairing::open(record, identity, connections.clone(), clock, generations).map_err(DaemonError::Pairing)
}

/// A packet filter that cannot be kept leaves the satellite reachable, so that somebody can repair it.
async fn start_firewall(config: &Config, port: u16, options: &Options) -> Option<Firewall> {
    let settings = firewall::Settings {
        filter: options.packet_filter.clone()?,
        ..config.firewall(port)
    };
    let timer = SystemdTimer::new(options.units.clone(), config.own_command());
    match Firewall::start(settings, Arc::new(timer)).await {
        Ok(firewall) => Some(firewall),
        Err(error) => {
            tracing::error!(error = %error_chain(&error), "Firewall cannot be kept, the satellite runs without");
            None
        }
    }
}

/// Disks are mounted by a unit: the daemon may not. What a former daemon held is let go of.
async fn start_disks(config: &Config, units: &Arc<dyn Units>) -> DiskRpc {
    let way = Way::Unit {
        units: Arc::clone(units),
        prefix: "satellite-disk",
    };
    let disks = Disks::new(config.disks(), way);
    disks.sweep().await;
    DiskRpc::new(disks, Places::of(config))
}

fn listen_to_the_console(config: &Config) -> Result<UnixListener, DaemonError> {
    let path = config.console_socket();
    console_listener(&path).map_err(|source| DaemonError::Path { path, source })
}

/// The bridge's port, on which nothing is answered yet.
async fn listen(on: SocketAddr) -> Result<(TcpListener, SocketAddr), DaemonError> {
    let failed = |source| DaemonError::Listen { address: on, source };
    let listener = TcpListener::bind(on).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

/// Takes up a change of what the satellite itself consists of, if bundles can change it.
fn start_base(
    ground: Option<Ground>,
    units: &Arc<dyn Units>,
    workloads: &Workloads,
    operations: &Operations,
) -> Option<Base> {
    let base = Base::new(ground?, workloads.clone(), units.clone(), operations.clone());
    base.recover();
    Some(base)
}

/// What brings versions, and who may.
fn updates(workloads: &Workloads, base: Option<Base>, replies: &Replies) -> (UpdateRpc, TrustRpc) {
    let truster = Arc::new(Truster::new(workloads.places()));
    let updates = Updates::new(workloads.clone(), base, truster.clone(), Platform::here());
    (
        UpdateRpc::new(updates, replies.clone()),
        TrustRpc::new(truster, workloads.clone()),
    )
}

async fn watch(workloads: Workloads, stop: CancellationToken) -> Result<(), DaemonError> {
    workloads.run(stop).await;
    Ok(())
}

async fn join(joiner: Joiner, stop: CancellationToken) -> Result<(), DaemonError> {
    joiner.run(stop).await;
    Ok(())
}

async fn keep_network(network: Network, stop: CancellationToken) -> Result<(), DaemonError> {
    network.keep(stop).await;
    Ok(())
}

/// A key is exchanged by starting anew, which the service manager does.
async fn renew(pairing: Pairing, stop: CancellationToken) -> Result<(), DaemonError> {
    tokio::select! {
        () = pairing.renewed() => {
            tokio::time::sleep(GRACE).await;
            Err(DaemonError::Renewed)
        }
        () = stop.cancelled() => Ok(()),
    }
}

/// Another bridge is started by ending this one: the service manager starts what is meant to run.
async fn exchange(base: Option<Base>, stop: CancellationToken) -> Result<(), DaemonError> {
    let exchanged = async {
        match base {
            Some(base) => base.wants_restart().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = exchanged => Err(DaemonError::Exchanged),
        () = stop.cancelled() => Ok(()),
    }
}

async fn keep_time(pairing: Pairing, stop: CancellationToken) -> Result<(), DaemonError> {
    tokio::select! {
        () = pairing.keep_time() => {}
        () = stop.cancelled() => {}
    }
    Ok(())
}

fn make_dir(path: &Path, mode: u32) -> Result<(), DaemonError> {
    let made = fs::DirBuilder::new().recursive(true).mode(mode).create(path);
    made.map_err(|source| DaemonError::Path {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_part_that_panics_or_ends_makes_the_daemon_fail() {
        let mut tasks = JoinSet::new();
        tasks.spawn(async { panic!("on purpose") });
        assert!(matches!(first_end(&mut tasks).await, DaemonError::Fault(error) if error.is_panic()));
        tasks.spawn(async { Ok(()) });
        assert!(matches!(first_end(&mut tasks).await, DaemonError::Ended));
        tasks.spawn(async { Err(DaemonError::Ended) });
        assert!(matches!(first_end(&mut tasks).await, DaemonError::Ended));
    }
}
