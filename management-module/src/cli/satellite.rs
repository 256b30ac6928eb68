//! `satellite …`

mod revoke;
mod site;
mod support;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use satellite_proto::wire::management::v1::{
    FleetSatellite, ForgetSatelliteRequest, GetSatelliteRequest, ListSatellitesRequest, PairSatelliteRequest,
    RebootSatelliteRequest, TrustSatelliteRequest, WatchSatelliteRequest,
};
use serde::Serialize;

use self::revoke::Revoke;
use self::site::Site;
use self::support::Support;
use super::job::Progress;
use super::logs::Logs;
use super::texts::Text;
use super::token::Token;
use super::vm::Vm;
use super::workload::WorkloadView;
use super::{CliError, Global, client, prompt, render, texts};

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Satellite {
    /// Pairs with a satellite by the code that its console shows, and has it commissioned.
    Pair(Pair),
    /// Lists the satellites.
    List,
    /// Shows a satellite.
    Show(Show),
    /// Lets go of a satellite.
    Forget(Forget),
    /// Lists or prints the logs of a satellite.
    Logs(Logs),
    /// Restarts the satellite's machine.
    Reboot(Reboot),
    /// Virtual machines of satellites.
    #[command(subcommand)]
    Vm(Vm),
    /// Trusts the machine that answers as a satellite, after its disk was moved or copied.
    Trust(Trust),
    /// Lets satellites join with nobody at their console.
    #[command(subcommand)]
    Token(Token),
    /// Has satellites refuse a key of this installation for good, such as that of a lost replica of the server.
    Revoke(Revoke),
    /// Says at which site a satellite is.
    Site(Site),
    /// Gets logs, status, settings and rules of a satellite in one file, without secrets.
    Support(Support),
}

#[derive(Debug, Args)]
pub(super) struct Pair {
    /// Host name or IP address, with the port if it is not 7640.
    address: String,
    /// Code on the satellite's console; `-` reads it from stdin. Visible to other users: better leave it out to be asked.
    #[arg(long, conflicts_with = "code_file")]
    code: Option<String>,
    /// File that holds the code.
    #[arg(long, value_name = "FILE")]
    code_file: Option<PathBuf>,
    /// Name in the installation; without it the one that the satellite has.
    #[arg(long)]
    name: Option<String>,
    /// Workload to commission, can be repeated; without it backup-service, if there is a bundle of it.
    #[arg(long, value_name = "NAME", conflicts_with = "bare")]
    workload: Vec<String>,
    /// Commission nothing.
    #[arg(long)]
    bare: bool,
    /// Wait until everything that it is meant to run is healthy.
    #[arg(long)]
    wait: bool,
    /// How long to wait.
    #[arg(long, value_name = "TIME", default_value = "10m", requires = "wait")]
    wait_limit: humantime::Duration,
}

#[derive(Debug, Args)]
pub(super) struct Show {
    /// Name of the satellite.
    name: String,
}

#[derive(Debug, Args)]
pub(super) struct Trust {
    /// Name of the satellite.
    name: String,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

#[derive(Debug, Args)]
pub(super) struct Forget {
    /// Name of the satellite.
    name: String,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

#[derive(Debug, Args)]
pub(super) struct Reboot {
    /// Name of the satellite.
    name: String,
    /// Also while an installation or a change is under way.
    #[arg(long)]
    force: bool,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

/// What is shown of a satellite.
#[derive(Debug, Serialize)]
pub(super) struct SatelliteView {
    name: String,
    address: String,
    fingerprint: String,
    reachability: Text,
    converged: bool,
    seen_time: String,
    pair_time: String,
    problem: String,
    machine: Option<MachineView>,
    desired: Vec<DesiredView>,
    workloads: Vec<WorkloadView>,
    differences: Vec<String>,
}

#[derive(Debug, Serialize)]
struct MachineView {
    bridge_version: String,
    os_version: String,
    architecture: String,
    boot_time: String,
    addresses: Vec<String>,
    disk_free_bytes: u64,
    disk_total_bytes: u64,
    memory_available_bytes: u64,
    memory_total_bytes: u64,
    firewall_revision: String,
    open_change_id: String,
}

#[derive(Debug, Serialize)]
struct DesiredView {
    workload: String,
    version: String,
    running: bool,
    #[serde(skip)]
    digest: String,
}

impl DesiredView {
    /// What is not as it is meant to be, if it is not.
    fn difference(&self, observed: &[WorkloadView]) -> Option<String> {
        let Self { workload, .. } = self;
        let version = self.shown_version(texts::NEWEST.english());
        let Some(there) = observed.iter().find(|there| there.name == *workload) else {
            return Some(format!("{workload} {version} is not installed"));
        };
        if !self.digest.is_empty() && self.digest != there.manifest_digest {
            return Some(format!("{workload} is {}, wanted {version}", there.version));
        }
        there.difference(self.running)
    }

    fn shown_version(&self, newest: &'static str) -> &str {
        if self.version.is_empty() {
            newest
        } else {
            &self.version
        }
    }
}

impl From<FleetSatellite> for SatelliteView {
    fn from(satellite: FleetSatellite) -> Self {
        let reachability = texts::reachability(satellite.reachability());
        let mut observed = satellite.observed;
        let workloads = observed
            .as_mut()
            .map(|machine| std::mem::take(&mut machine.workloads))
            .unwrap_or_default();
        let is_known = observed.is_some();
        let workloads: Vec<_> = workloads.into_iter().map(WorkloadView::from).collect();
        let desired = satellite.desired.into_iter().map(|wanted| DesiredView {
            workload: wanted.workload,
            version: wanted.version,
            running: wanted.running,
            digest: wanted.manifest_digest,
        });
        let desired: Vec<_> = desired.collect();
        let differences = desired
            .iter()
            .filter_map(|wanted| wanted.difference(&workloads).filter(|_| is_known));
        Self {
            reachability,
            differences: differences.collect(),
            seen_time: render::time(satellite.seen_time.as_ref()),
            pair_time: render::time(satellite.pair_time.as_ref()),
            name: satellite.name,
            address: satellite.address,
            fingerprint: satellite.fingerprint,
            converged: satellite.converged,
            problem: satellite.problem,
            workloads,
            desired,
            machine: observed.map(|machine| MachineView {
                boot_time: render::time(machine.boot_time.as_ref()),
                bridge_version: machine.bridge_version,
                os_version: machine.os_version,
                architecture: machine.architecture,
                addresses: machine.addresses,
                disk_free_bytes: machine.disk_free_bytes,
                disk_total_bytes: machine.disk_total_bytes,
                memory_available_bytes: machine.memory_available_bytes,
                memory_total_bytes: machine.memory_total_bytes,
                firewall_revision: machine.firewall_revision,
                open_change_id: machine.open_change_id,
            }),
        }
    }
}

impl SatelliteView {
    pub(super) const HEADING: [Text; 7] = [
        texts::NAME,
        texts::ADDRESS,
        texts::STATE,
        texts::AS_WANTED,
        texts::BRIDGE,
        texts::WORKLOADS,
        texts::PROBLEM,
    ];

    pub(super) fn row(&self) -> Vec<String> {
        let workloads = self
            .workloads
            .iter()
            .map(WorkloadView::short)
            .collect::<Vec<_>>()
            .join(", ");
        let bridge = self
            .machine
            .as_ref()
            .map(|machine| machine.bridge_version.clone())
            .unwrap_or_default();
        vec![
            self.name.clone(),
            self.address.clone(),
            self.reachability.say().to_owned(),
            texts::yes_no(self.converged).to_owned(),
            bridge,
            workloads,
            self.shown_problem(),
        ]
    }

    /// What is wrong and, as far as that does not say it, what is not as wanted.
    fn shown_problem(&self) -> String {
        let is_said = |difference: &str| {
            let workload = difference.split(' ').next().unwrap_or_default();
            self.problem.contains(workload)
        };
        let differences = self.differences.iter().filter(|difference| !is_said(difference));
        let problem = Some(&self.problem).filter(|problem| !problem.is_empty());
        problem
            .into_iter()
            .chain(differences)
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join("; ")
    }

    pub(super) fn properties(&self) -> Vec<(Text, String)> {
        let mut properties = vec![
            (texts::NAME, self.name.clone()),
            (texts::ADDRESS, self.address.clone()),
            (texts::FINGERPRINT, self.fingerprint.clone()),
            (texts::STATE, self.reachability.say().to_owned()),
            (texts::AS_WANTED, texts::yes_no(self.converged).to_owned()),
            (texts::LAST_SEEN, self.seen_time.clone()),
            (texts::PAIRED, self.pair_time.clone()),
            (texts::PROBLEM, self.shown_problem()),
        ];
        if let Some(machine) = &self.machine {
            let of = |free, total| render::of(&render::size(free), &render::size(total));
            properties.extend([
                (texts::BRIDGE, machine.bridge_version.clone()),
                (
                    texts::SYSTEM,
                    format!("{} ({})", machine.os_version, machine.architecture),
                ),
                (texts::STARTED, machine.boot_time.clone()),
                (texts::ADDRESSES, machine.addresses.join(", ")),
                (
                    texts::DISK_FREE,
                    of(machine.disk_free_bytes, machine.disk_total_bytes),
                ),
                (
                    texts::MEMORY_FREE,
                    of(machine.memory_available_bytes, machine.memory_total_bytes),
                ),
                (texts::FIREWALL_REVISION, machine.firewall_revision.clone()),
                (texts::OPEN_CHANGE, machine.open_change_id.clone()),
            ]);
        }
        for wanted in &self.desired {
            let running = texts::running(wanted.running).say();
            let version = wanted.shown_version(texts::NEWEST.say());
            properties.push((texts::WANTED, format!("{} {version} {running}", wanted.workload)));
        }
        for workload in &self.workloads {
            properties.push((texts::WORKLOAD, workload.short()));
        }
        properties
    }
}

impl Satellite {
    pub(super) async fn run(self, global: &Global) -> Result<(), CliError> {
        match self {
            Self::Pair(command) => command.run(global).await,
            Self::List => list(global).await,
            Self::Show(command) => command.run(global).await,
            Self::Forget(command) => command.run(global).await,
            Self::Logs(command) => command.run(global).await,
            Self::Reboot(command) => command.run(global).await,
            Self::Vm(command) => command.run(global).await,
            Self::Trust(command) => command.run(global).await,
            Self::Token(command) => command.run(global).await,
            Self::Revoke(command) => command.run(global).await,
            Self::Site(command) => command.run(global).await,
            Self::Support(command) => command.run(global).await,
        }
    }
}

impl Pair {
    async fn run(self, global: &Global) -> Result<(), CliError> {
        let mut client = client::connect(global).await?;
        let code = prompt::code(self.code.as_deref(), self.code_file.as_deref())?;
        let request = PairSatelliteRequest {
            address: self.address,
            code,
            name: self.name.unwrap_or_default(),
            workloads: self.workload,
            bare: self.bare,
        };
        let paired = client
            .fleet
            .pair_satellite(request)
            .await?
            .into_inner()
            .satellite
            .unwrap_or_default();
        render::note(&format!("paired with `{}` at {}", paired.name, paired.address));
        let shown = if self.wait {
            let waited = tokio::time::timeout(*self.wait_limit, wait(&mut client, &paired.name)).await;
            waited.map_err(|_| {
                let limit = humantime::format_duration(*self.wait_limit);
                CliError::said(format!(
                    "`{}` is paired and was not as it is meant to be after {limit}; see `satellite show {}`",
                    paired.name, paired.name
                ))
            })??
        } else {
            paired
        };
        render::one(
            global.output,
            &SatelliteView::from(shown),
            SatelliteView::properties,
        )
    }
}

/// Waits until everything that the satellite is meant to run is there.
async fn wait(client: &mut client::Client, name: &str) -> Result<FleetSatellite, CliError> {
    let mut progress = Progress::default();
    loop {
        let request = WatchSatelliteRequest {
            name: name.to_owned(),
        };
        let mut states = client.fleet.watch_satellite(request).await?.into_inner();
        while let Some(state) = states.message().await? {
            let Some(satellite) = state.satellite else {
                continue;
            };
            if satellite.converged {
                progress.finish();
                return Ok(satellite);
            }
            let workloads = satellite
                .observed
                .iter()
                .flat_map(|machine| machine.workloads.iter().cloned());
            let states: Vec<_> = workloads
                .map(|workload| WorkloadView::from(workload).short())
                .collect();
            let doing = [satellite.problem.as_str(), &states.join(", ")].join(" ");
            progress.set(&format!("waiting for `{name}`: {}", doing.trim()), 0, 0, false);
        }
        // The module let the call go: it is asked again, not too often.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn list(global: &Global) -> Result<(), CliError> {
    let mut client = client::connect(global).await?;
    let satellites = client
        .fleet
        .list_satellites(ListSatellitesRequest {})
        .await?
        .into_inner()
        .satellites;
    let views: Vec<_> = satellites.into_iter().map(SatelliteView::from).collect();
    render::list(global.output, &views, &SatelliteView::HEADING, SatelliteView::row)
}

impl Show {
    async fn run(self, global: &Global) -> Result<(), CliError> {
        let mut client = client::connect(global).await?;
        let request = GetSatelliteRequest { name: self.name };
        let satellite = client
            .fleet
            .get_satellite(request)
            .await?
            .into_inner()
            .satellite
            .unwrap_or_default();
        render::one(
            global.output,
            &SatelliteView::from(satellite),
            SatelliteView::properties,
        )
    }
}

impl Forget {
    async fn run(self, global: &Global) -> Result<(), CliError> {
        let mut client = client::connect(global).await?;
        prompt::confirm_loss(
            &format!("Let go of `{}`? Its workloads keep running", self.name),
            self.yes,
        )?;
        let request = ForgetSatelliteRequest {
            name: self.name.clone(),
        };
        let told = client.fleet.forget_satellite(request).await?.into_inner().told;
        if told {
            return render::done(global.output, texts::DONE.say());
        }
        Err(CliError::Partly(format!(
            "`{}` is forgotten here and could not be told: disconnect it at its console before it is paired again",
            self.name
        )))
    }
}

impl Trust {
    async fn run(self, global: &Global) -> Result<(), CliError> {
        let mut client = client::connect(global).await?;
        let question = format!(
            "Is the machine that answers as `{}` at its address the one that you mean? Copies of it are shut out then",
            self.name
        );
        prompt::confirm_loss(&question, self.yes)?;
        let request = TrustSatelliteRequest { name: self.name };
        client.fleet.trust_satellite(request).await?;
        render::done(global.output, texts::DONE.say())
    }
}

impl Reboot {
    async fn run(self, global: &Global) -> Result<(), CliError> {
        let mut client = client::connect(global).await?;
        if !prompt::confirm(&format!("Restart the machine of `{}`?", self.name), self.yes)? {
            return Err(CliError::said(texts::NOTHING_CHANGED.say()));
        }
        let request = RebootSatelliteRequest {
            name: self.name,
            force: self.force,
        };
        client.fleet.reboot_satellite(request).await?;
        render::done(global.output, "it restarts")
    }
}
