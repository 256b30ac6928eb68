//! One satellite of the fleet.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;
use satellite_bridge::base::{Ground, Part, launch};
use satellite_bridge::config::Config;
use satellite_bridge::daemon::{Daemon, DaemonError, Options};
use satellite_bridge::pairing::{Clock, Pairing};
use satellite_bridge::workload::Places;
use satellite_host::iptables::FakeFilter;
use satellite_host::systemd::{Behaviour, FakeUnits, Units};
use satellite_host::{clock, files};
use satellite_proto::tls::Connections;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// When servers met members of the fleet.
#[derive(Debug, Clone, Default)]
pub(crate) struct Meetings {
    /// In milliseconds since 1970: fleets of several processes are counted together.
    moments: Arc<Mutex<Vec<i64>>>,
}

impl Meetings {
    fn note(&self) {
        lock(&self.moments).push(clock::now().as_millisecond());
    }

    /// Forgets them.
    pub(crate) fn forget(&self) {
        lock(&self.moments).clear();
    }

    /// When they were, in milliseconds since 1970.
    pub(crate) fn moments(&self) -> Vec<i64> {
        lock(&self.moments).clone()
    }
}

/// Where a member keeps its things.
#[derive(Debug)]
pub(crate) struct Place {
    name: String,
    config: Config,
}

impl Place {
    pub(crate) fn new(directory: &Path, trust: &Path, number: usize) -> Self {
        let name = format!("e{number:05}");
        let home = directory.join(&name);
        let mut config = Config::default();
        config.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        config.state_dir = home.join("state");
        config.instance_id = home.join("instance");
        config.vm_generation_id = home.join("vm-generation");
        config.run_dir = home.join("run");
        config.unit_dir = home.join("units");
        config.network_dir = home.join("network");
        config.workload_state_dir = home.join("workload-state");
        config.trust_anchors = vec![trust.to_owned()];
        config.data_dir = home;
        Self { name, config }
    }

    fn workloads(&self) -> PathBuf {
        self.config.state_dir.join("workloads")
    }

    /// The versions that it has of workloads and of its own bridge.
    fn current(&self) -> BTreeSet<PathBuf> {
        let workloads = std::fs::read_dir(self.workloads()).into_iter().flatten();
        let mut homes: Vec<_> = workloads.filter_map(|home| Some(home.ok()?.path())).collect();
        homes.push(Places::of(&self.config).base_dir().join(Part::Bridge.name()));
        let links = homes.iter().map(|home| std::fs::read_link(home.join("current")));
        links.flatten().collect()
    }

    fn running_units(&self) -> PathBuf {
        self.config.data_dir.join("running")
    }
}

/// What one satellite of the fleet is, whether it is on or off.
struct Machine {
    place: Place,
    filter: FakeFilter,
    /// The versions that it starts; none: all.
    good: Arc<Mutex<Option<BTreeSet<PathBuf>>>>,
    meetings: Meetings,
    /// Of the bridge that runs: who is connected, and who it belongs to.
    now: Mutex<Option<(Connections, Pairing)>>,
}

impl Machine {
    /// Starts the bridge that is meant to run.
    async fn boot(&self, listen: SocketAddr) -> anyhow::Result<Daemon> {
        let mut config = self.place.config.clone();
        config.listen = listen;
        std::fs::create_dir_all(&config.unit_dir).context("no room for its units")?;
        let units = self.units();
        let ground = Ground {
            part: Part::Bridge,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            slot: String::new(),
            program: self.program(&units).await?,
            boot_id: String::new(),
        };
        let options = Options {
            clock: Clock::default(),
            units: Arc::new(units),
            packet_filter: Some(Arc::new(self.filter.clone())),
            keeps_network: false,
            ground: Some(ground),
            routes: None,
        };
        let daemon = Daemon::start(&config, options)
            .await
            .with_context(|| format!("{} does not start", self.place.name))?;
        *lock(&self.now) = Some((daemon.connections.clone(), daemon.pairing.clone()));
        Ok(daemon)
    }

    /// The program of the bridge: the one that is meant; where it crashes, the one that is meant after it was tried as often as
    /// a service manager would.
    async fn program(&self, units: &dyn Units) -> anyhow::Result<PathBuf> {
        let places = Places::of(&self.place.config);
        for _ in 0..=launch::STARTS {
            let Some(program) = launch::choose(&places, units, &[], true).await else {
                break;
            };
            let version = program.parent().unwrap_or(&program);
            let good = lock(&self.good);
            if good
                .as_ref()
                .is_none_or(|good| good.iter().any(|good| version.ends_with(good)))
            {
                return Ok(program);
            }
        }
        let shipped = self.place.config.data_dir.join("satellite-bridge");
        files::write_atomic(&shipped, b"#!/bin/sh\n", 0o755).context("no room for its bridge")?;
        Ok(shipped)
    }

    fn units(&self) -> FakeUnits {
        let units = FakeUnits::kept_in(self.place.running_units());
        let (good, workloads) = (self.good.clone(), self.place.workloads());
        units.behave(move |unit| {
            let name = unit
                .trim_start_matches("satellite-workload-")
                .trim_end_matches(".service");
            let version = std::fs::read_link(workloads.join(name).join("current")).unwrap_or_default();
            if lock(&good).as_ref().is_none_or(|good| good.contains(&version)) {
                Behaviour::Runs
            } else {
                Behaviour::Fails
            }
        });
        units.write_log(&["broken on purpose"]);
        units
    }

    /// Runs until it is switched off; a bridge that wants to be another one is started anew, at its address.
    async fn live(&self, mut daemon: Daemon, off: CancellationToken) {
        let address = daemon.address;
        loop {
            let mut met = daemon.pairing.generations().changes();
            let ended = loop {
                tokio::select! {
                    () = off.cancelled() => break None,
                    ended = daemon.failed() => break Some(ended),
                    Ok(()) = met.changed() => self.meetings.note(),
                }
            };
            daemon.stop().await;
            *lock(&self.now) = None;
            match ended {
                None => return,
                Some(DaemonError::Exchanged) => {}
                Some(ended) => eprintln!("{} stopped: {ended}", self.place.name),
            }
            daemon = match self.boot(address).await {
                Ok(daemon) => daemon,
                Err(error) => return eprintln!("{error:#}"),
            };
        }
    }
}

/// One satellite of the fleet, switched on or off.
pub(crate) struct Member {
    machine: Arc<Machine>,
    /// Where it listens; any port before it was switched on for the first time.
    address: SocketAddr,
    life: Option<(CancellationToken, JoinHandle<()>)>,
}

impl Member {
    pub(crate) fn new(place: Place, meetings: Meetings) -> Self {
        let address = place.config.listen;
        let machine = Machine {
            place,
            filter: FakeFilter::default(),
            good: Arc::default(),
            meetings,
            now: Mutex::default(),
        };
        Self {
            machine: Arc::new(machine),
            address,
            life: None,
        }
    }

    /// Switches it on, if it is off. From the second time on it has the address of the first.
    pub(crate) async fn start(&mut self) -> anyhow::Result<()> {
        if self.life.is_some() {
            return Ok(());
        }
        let daemon = self.machine.boot(self.address).await?;
        self.address = daemon.address;
        let off = CancellationToken::new();
        let (machine, until) = (self.machine.clone(), off.clone());
        let life = tokio::spawn(async move { machine.live(daemon, until).await });
        self.life = Some((off, life));
        Ok(())
    }

    /// Switches it off.
    pub(crate) async fn stop(&mut self) {
        self.cut();
        if let Some((off, life)) = self.life.take() {
            off.cancel();
            let _ = life.await;
        }
    }

    /// Breaks its connections.
    pub(crate) fn cut(&self) {
        if let Some((connections, _)) = lock(&self.machine.now).as_ref() {
            connections.cut(|_| true);
        }
    }

    /// Lets no version start there from now on but those that it has, or again each.
    pub(crate) fn break_workloads(&self, is_broken: bool) {
        *lock(&self.machine.good) = is_broken.then(|| self.machine.place.current());
    }

    /// Its name, its address, and the code on its console.
    pub(crate) fn introduced(&self) -> anyhow::Result<String> {
        let now = lock(&self.machine.now);
        let (_, pairing) = now.as_ref().context("it is switched off")?;
        let code = match pairing.open_window() {
            Ok(window) => window.code.to_string(),
            // It was paired in an earlier life.
            Err(_) => String::new(),
        };
        let introduced = json!({
            "satellite": self.machine.place.name,
            "address": self.address.to_string(),
            "code": code,
        });
        Ok(introduced.to_string())
    }
}
