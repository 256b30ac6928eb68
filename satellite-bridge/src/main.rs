//! The daemon and the console menu of a satellite.

use std::{error::Error, io::IsTerminal, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};
use satellite_bridge::{
    base::launch,
    boot::Boot,
    cli,
    config::Config,
    daemon, keyboard, menu, reset, support,
    workload::{Places, Told, note_end, verify_installed},
};
use satellite_host::disks::{mount_asked, unmount_asked};
use satellite_host::{exec::become_program, systemd::SystemUnits};
use satellite_proto::bundle::{Digest, WorkloadName};
use tracing::Level;
use tracing_subscriber::{filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

/// The bridge of a satellite: takes the calls of its installation, runs its workloads, serves its console.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
struct Cli {
    /// Configuration file; without it /etc/satellite/bridge.toml, if there is one.
    #[arg(long, global = true, env = "SATELLITE_BRIDGE_CONFIG")]
    config: Option<PathBuf>,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the daemon until it is told to stop.
    Daemon,
    /// Runs a command of the bridge that a bundle brought, or of this one. What units start.
    Launch(Launch),
    /// Gives up a bridge that is on trial. Run by a timer.
    TakeBack(TakeBack),
    /// Shows the menu for the person at the machine.
    Menu,
    /// Shows how the satellite is.
    Status(cli::Status),
    /// Takes back a change that was never confirmed. Works without the daemon; run by a timer and at boot.
    Rollback(Rollback),
    /// Joins a server by the token on stdin; the daemon tries it from now on.
    Join,
    /// Looks for a join token on disks beside the satellite's own. Run at boot.
    Seed,
    /// Disconnects from the server, with or without the daemon.
    Disconnect,
    /// Asks for a factory reset and restarts the machine: everything on the data partition is lost.
    FactoryReset,
    /// Lists what a satellite that was just reset must not have.
    SelfTest,
    /// Brings the confirmed firewall rules into force. Run at boot, before the network is up.
    FirewallRestore,
    /// The network settings, without the daemon.
    #[command(subcommand)]
    Network(cli::network::NetworkCommand),
    /// Brings the stored keyboard layout into force. Run at boot and after a change.
    Keyboard,
    /// Compares an installed version with its signed manifest. Run by units before they start it.
    VerifyWorkload(VerifyWorkload),
    /// Writes down why a workload ended. Run by its unit when it has.
    WorkloadEnded(WorkloadEnded),
    /// Makes the machine ready for its services. Run at boot.
    #[command(subcommand)]
    Boot(Boot),
    /// Writes a support bundle to a USB disk. Run by the menu as a unit of its own.
    SupportBundle(SupportBundle),
    /// Mounts a disk for the daemon. Run as a unit of its own.
    MountDisk(HeldDisk),
    /// Writes all to a disk and lets go of it. Run when that unit is stopped.
    UnmountDisk(HeldDisk),
}

#[derive(Debug, Args)]
struct HeldDisk {
    /// Name of the daemon's request.
    id: String,
}

#[derive(Debug, Args)]
struct Launch {
    /// The command with its words.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    command: Vec<String>,
}

impl Launch {
    /// Becomes the bridge that is meant to run; if that is this one, answers the command.
    async fn resolve(&self, config: &Config) -> Result<Cli, Box<dyn Error>> {
        let mut words = Vec::new();
        if let Some(file) = &config.file {
            words.extend(["--config".to_owned(), file.to_string_lossy().into_owned()]);
        }
        words.extend(self.command.iter().cloned());
        let units = SystemUnits::new();
        let is_daemon = self.command.first().is_some_and(|word| word == "daemon");
        let chosen = launch::choose(&Places::of(config), &units, &config.own_command(), is_daemon).await;
        if let Some(program) = chosen {
            let error = become_program(&program, &words);
            tracing::error!(program = %program.display(), %error, "Bridge of a bundle is not started");
        }
        Ok(Cli::try_parse_from(
            std::iter::once("satellite-bridge".to_owned()).chain(words),
        )?)
    }
}

#[derive(Debug, Args)]
struct TakeBack {
    /// The operation that put it in place.
    operation: String,
}

#[derive(Debug, Args)]
struct SupportBundle {
    /// The kernel's name for the disk, such as sdb1.
    device: String,
}

#[derive(Debug, Args)]
struct VerifyWorkload {
    /// Name of the workload.
    workload: WorkloadName,
    /// Digest of the version's manifest.
    digest: Digest,
}

/// What the service manager says stands in its variables.
#[derive(Debug, Args)]
struct WorkloadEnded {
    /// Name of the workload.
    workload: WorkloadName,
    /// How it ended.
    #[arg(long, env = "SERVICE_RESULT", default_value = "")]
    result: String,
    /// How its process ended.
    #[arg(long, env = "EXIT_CODE", default_value = "")]
    code: String,
    /// With which code or signal.
    #[arg(long, env = "EXIT_STATUS", default_value = "")]
    status: String,
}

#[derive(Debug, Args)]
struct Rollback {
    /// Id of the change.
    change_id: uuid::Uuid,
}

impl Cli {
    async fn run(self) -> Result<(), Box<dyn Error>> {
        let config = Config::load(self.config.as_deref())?;
        match self.command {
            Command::Launch(_) => Err("`launch` starts one command of the bridge, not itself".into()),
            Command::TakeBack(back) => {
                let units = SystemUnits::new();
                let was_there = launch::take_back(&Places::of(&config), &units, &back.operation).await?;
                tracing::info!(was_there, "Bridge on trial was looked at");
                Ok(())
            }
            Command::Daemon => Ok(daemon::run_until_signalled(&config).await?),
            Command::Menu => Ok(menu::run(&config).await?),
            Command::Status(status) => Ok(status.run(&config).await?),
            Command::Rollback(rollback) => Ok(cli::rollback(&config, rollback.change_id).await?),
            Command::Join => Ok(cli::join(&config).await?),
            Command::Seed => Ok(satellite_bridge::join::seed::run(&config).await?),
            Command::Disconnect => Ok(cli::disconnect(&config).await?),
            Command::FactoryReset => Ok(reset::request_factory_reset(&config).await?),
            Command::SelfTest => Ok(cli::self_test(&config)?),
            Command::FirewallRestore => Ok(cli::firewall_restore(&config).await?),
            Command::Network(command) => command.run(&config).await,
            Command::Keyboard => Ok(keyboard::load(&config).await?),
            Command::VerifyWorkload(what) => {
                let places = Places::of(&config);
                Ok(verify_installed(&places, &what.workload, what.digest)?)
            }
            Command::WorkloadEnded(end) => {
                let told = Told {
                    result: end.result,
                    code: end.code,
                    status: end.status,
                };
                Ok(note_end(&Places::of(&config), &end.workload, told)?)
            }
            Command::Boot(boot) => Ok(boot.run(&config).await?),
            Command::MountDisk(disk) => Ok(mount_asked(&config.disks(), &disk.id).await?),
            Command::UnmountDisk(disk) => Ok(unmount_asked(&config.disks(), &disk.id).await?),
            Command::SupportBundle(bundle) => Ok(support::to_disk(&config, &bundle.device).await?),
        }
    }
}

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let mut cli = Cli::parse();
    let is_menu = match &cli.command {
        Command::Launch(launch) => launch.command.first().is_some_and(|word| word == "menu"),
        command => matches!(command, Command::Menu),
    };
    start_log(is_menu);
    if let Command::Launch(launch) = &cli.command {
        let resolved = match Config::load(cli.config.as_deref()) {
            Ok(config) => launch.resolve(&config).await,
            Err(error) => Err(error.into()),
        };
        match resolved {
            Ok(resolved) => cli = resolved,
            Err(error) => return fail(&*error),
        }
    }
    match Box::pin(cli.run()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&*error),
    }
}

fn fail(error: &dyn Error) -> ExitCode {
    cli::render_error(error);
    tracing::error!(error = %cli::error_chain(error), "Stopped by an error");
    ExitCode::FAILURE
}

/// To the journal under the service manager, else to stderr; the menu's screen stays clean.
fn start_log(is_menu: bool) {
    let filter = std::env::var("SATELLITE_LOG")
        .ok()
        .and_then(|wanted| wanted.parse().ok())
        .unwrap_or_else(|| Targets::new().with_default(Level::INFO));
    let registry = tracing_subscriber::registry().with(filter);
    if std::env::var_os("JOURNAL_STREAM").is_some()
        && let Ok(journal) = tracing_journald::layer()
    {
        registry.with(journal).init();
    } else if !is_menu {
        let is_terminal = std::io::stderr().is_terminal();
        let layer = tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(is_terminal);
        registry.with(layer).init();
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        super::Cli::command().debug_assert();
    }
}
