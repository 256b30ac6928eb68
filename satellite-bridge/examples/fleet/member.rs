//! One satellite of the fleet.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use satellite_bridge::config::Config;
use satellite_bridge::daemon::{Daemon, Options};
use satellite_bridge::pairing::Clock;
use satellite_host::clock;
use satellite_host::iptables::FakeFilter;
use satellite_host::systemd::{Behaviour, FakeUnits};
use serde_json::json;
use tokio::task::JoinHandle;

/// When servers met members of the fleet.
#[derive(Debug, Clone, Default)]
pub(crate) struct Meetings {
    /// In milliseconds since 1970: fleets of several processes are counted together.
    moments: Arc<Mutex<Vec<i64>>>,
}

impl Meetings {
    fn note(&self) {
        let mut moments = self.moments.lock().unwrap_or_else(PoisonError::into_inner);
        moments.push(clock::now().as_millisecond());
    }

    /// Forgets them.
    pub(crate) fn forget(&self) {
        self.moments
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    /// When they were, in milliseconds since 1970.
    pub(crate) fn moments(&self) -> Vec<i64> {
        self.moments
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
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

    fn running_units(&self) -> PathBuf {
        self.config.data_dir.join("running")
    }
}

/// One satellite of the fleet, switched on or off.
pub(crate) struct Member {
    place: Place,
    filter: FakeFilter,
    /// The versions that it starts; none: all.
    good: Arc<Mutex<Option<BTreeSet<PathBuf>>>>,
    meetings: Meetings,
    life: Option<(Daemon, JoinHandle<()>)>,
}

impl Member {
    pub(crate) fn new(place: Place, meetings: Meetings) -> Self {
        Self {
            place,
            filter: FakeFilter::default(),
            good: Arc::default(),
            meetings,
            life: None,
        }
    }

    /// Switches it on, if it is off. From the second time on it has the address of the first.
    pub(crate) async fn start(&mut self) -> anyhow::Result<()> {
        if self.life.is_some() {
            return Ok(());
        }
        let config = &mut self.place.config;
        std::fs::create_dir_all(&config.unit_dir).context("no room for its units")?;
        let units = FakeUnits::kept_in(self.place.running_units());
        let (good, workloads) = (self.good.clone(), self.place.workloads());
        units.behave(move |unit| {
            let good = good.lock().unwrap_or_else(PoisonError::into_inner);
            let name = unit
                .trim_start_matches("satellite-workload-")
                .trim_end_matches(".service");
            let version = std::fs::read_link(workloads.join(name).join("current")).unwrap_or_default();
            if good.as_ref().is_none_or(|good| good.contains(&version)) {
                Behaviour::Runs
            } else {
                Behaviour::Fails
            }
        });
        units.write_log(&["broken on purpose"]);
        let options = Options {
            clock: Clock::default(),
            units: Arc::new(units),
            packet_filter: Some(Arc::new(self.filter.clone())),
            keeps_network: false,
            ground: None,
            routes: None,
        };
        let config = &mut self.place.config;
        let daemon = Daemon::start(config, options)
            .await
            .with_context(|| format!("{} does not start", self.place.name))?;
        config.listen = daemon.address;
        let mut met = daemon.pairing.generations().changes();
        let meetings = self.meetings.clone();
        let watch = tokio::spawn(async move {
            while met.changed().await.is_ok() {
                meetings.note();
            }
        });
        self.life = Some((daemon, watch));
        Ok(())
    }

    /// Switches it off.
    pub(crate) async fn stop(&mut self) {
        self.cut();
        if let Some((daemon, watch)) = self.life.take() {
            daemon.stop().await;
            watch.abort();
        }
    }

    /// Breaks its connections.
    pub(crate) fn cut(&self) {
        if let Some((daemon, _)) = &self.life {
            daemon.connections.cut(|_| true);
        }
    }

    /// Lets no version start there from now on but those that it has, or again each.
    pub(crate) fn break_workloads(&self, is_broken: bool) {
        let homes = std::fs::read_dir(self.place.workloads()).into_iter().flatten();
        let current = homes.filter_map(|home| std::fs::read_link(home.ok()?.path().join("current")).ok());
        let good = is_broken.then(|| current.collect());
        *self.good.lock().unwrap_or_else(PoisonError::into_inner) = good;
    }

    /// Its name, its address, and the code on its console.
    pub(crate) fn introduced(&self) -> anyhow::Result<String> {
        let (daemon, _) = self.life.as_ref().context("it is switched off")?;
        let code = match daemon.pairing.open_window() {
            Ok(window) => window.code.to_string(),
            // It was paired in an earlier life.
            Err(_) => String::new(),
        };
        let introduced = json!({
            "satellite": self.place.name,
            "address": daemon.address.to_string(),
            "code": code,
        });
        Ok(introduced.to_string())
    }
}
