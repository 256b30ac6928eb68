//! The command line: one structure a command; what is asked goes to the running module over its unix socket.
//!
//! **Invariant:** only `render` prints, and only here a result becomes an exit code. A secret is never shown.

mod account;
mod backup;
mod bundle;
mod central;
mod client;
mod destination;
mod exit;
mod firewall;
mod job;
mod logs;
mod network;
mod notify;
mod prompt;
mod render;
mod satellite;
mod system;
mod texts;
mod token;
mod update;
mod vm;
mod web;
mod workload;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::language::Language;

pub use self::exit::CliError;

/// How an answer is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// For programs: the keys are stable.
    Json,
}

/// Commissions satellites, keeps their workloads as they are meant to be, and backs up centrals through them.
///
/// All commands but `serve`, `bundle keygen|build|inspect`, `central check`, `config check`, `completions` and `man` ask the
/// running module over its unix socket.
#[derive(Debug, Parser)]
#[command(version, after_help = texts::EXIT_CODES, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
struct Global {
    /// Unix socket of the running module; without it the configuration's.
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        env = "MANAGEMENT_MODULE_SOCKET",
        hide_env_values = true
    )]
    socket: Option<PathBuf>,
    /// Configuration file; without it /etc/management-module/config.toml, if it is there.
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        env = "MANAGEMENT_MODULE_CONFIG",
        hide_env_values = true
    )]
    config: Option<PathBuf>,
    /// How the answer is printed.
    #[arg(long, short, global = true, value_enum, default_value = "table")]
    output: Output,
    /// Language of tables and messages; without it the environment's (LC_ALL, LC_MESSAGES, LANG). JSON is never translated.
    #[arg(long, global = true, value_enum, value_name = "LANGUAGE")]
    lang: Option<Language>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the module until it is told to stop.
    Serve {
        /// Wait until no other module uses the state directory, and take over at once when that one ends.
        #[arg(long)]
        standby: bool,
    },
    /// Pairs satellites and looks after them.
    #[command(subcommand)]
    Satellite(satellite::Satellite),
    /// Starts and stops what runs on satellites.
    #[command(subcommand)]
    Workload(workload::Workload),
    /// Makes, checks and stores signed bundles.
    #[command(subcommand)]
    Bundle(bundle::Bundle),
    /// Brings versions of workloads to satellites.
    #[command(subcommand)]
    Update(update::Update),
    /// Reads and changes the firewall of a satellite.
    #[command(subcommand)]
    Firewall(firewall::Firewall),
    /// Reads and changes the network of a satellite, and where it is reached.
    #[command(subcommand)]
    Network(network::Network),
    /// Makes, keeps and restores backups of centrals.
    #[command(subcommand)]
    Backup(backup::Backup),
    /// Knows where archives are copied to.
    #[command(subcommand)]
    Destination(destination::Destination),
    /// Knows the centrals and what their data is.
    #[command(subcommand)]
    Central(central::Central),
    /// Shows where the web page is.
    #[command(subcommand)]
    Web(web::Web),
    /// Keeps the users of the web page.
    #[command(subcommand)]
    User(web::User),
    /// Knows who answers for the backups of a tenant, and is warned.
    #[command(subcommand)]
    Account(account::Account),
    /// Shows what accounts are warned of.
    #[command(subcommand)]
    Warning(account::Warning),
    /// Tells people what happened, by mail.
    #[command(subcommand)]
    Notify(notify::Notify),
    /// Checks the configuration.
    #[command(subcommand)]
    Config(system::Config),
    /// Shows who changed what.
    #[command(subcommand)]
    Audit(system::Audit),
    /// Shows how the module itself is.
    #[command(subcommand)]
    System(system::System),
    /// Prints completions for a shell.
    Completions(system::Completions),
    /// Writes the manual pages into a directory.
    Man(system::Man),
    /// Mounts a disk for the module. Run as a unit of its own.
    #[command(hide = true)]
    MountDisk(system::HeldDisk),
    /// Writes all to a disk and lets go of it. Run when that unit is stopped.
    #[command(hide = true)]
    UnmountDisk(system::HeldDisk),
}

impl Cli {
    /// Does what the command says. What went wrong has been printed when this returns.
    pub async fn run(self) -> ExitCode {
        let global = self.global;
        let environment = || Language::of_environment(|name| std::env::var(name).ok());
        let language = global.lang.unwrap_or_else(environment);
        language.choose(global.output == Output::Table);
        let done = Box::pin(self.command.run(&global)).await;
        exit::report(done)
    }
}

impl Command {
    async fn run(self, global: &Global) -> Result<(), CliError> {
        match self {
            Self::Serve { standby } => {
                let config = global.load_config()?;
                log_to(&config.log)?;
                crate::serve::run(config, standby).await.map_err(CliError::failed)
            }
            Self::Satellite(command) => command.run(global).await,
            Self::Workload(command) => command.run(global).await,
            Self::Bundle(command) => command.run(global).await,
            Self::Update(command) => command.run(global).await,
            Self::Firewall(command) => command.run(global).await,
            Self::Network(command) => command.run(global).await,
            Self::Backup(command) => command.run(global).await,
            Self::Destination(command) => command.run(global).await,
            Self::Central(command) => command.run(global).await,
            Self::Web(command) => command.run(global).await,
            Self::User(command) => command.run(global).await,
            Self::Account(command) => command.run(global).await,
            Self::Warning(command) => command.run(global).await,
            Self::Notify(command) => command.run(global).await,
            Self::Config(command) => command.run(global),
            Self::Audit(command) => command.run(global).await,
            Self::System(command) => command.run(global).await,
            Self::Completions(command) => command.run(),
            Self::Man(command) => command.run(),
            Self::MountDisk(command) => command.mount(global).await,
            Self::UnmountDisk(command) => command.unmount(global).await,
        }
    }
}

impl Global {
    fn load_config(&self) -> Result<crate::config::Config, CliError> {
        crate::config::Config::load(self.config.as_deref()).map_err(CliError::failed)
    }

    /// Where the module listens: what is asked for, else what the configuration says.
    fn socket(&self) -> Result<PathBuf, CliError> {
        match &self.socket {
            Some(socket) => Ok(socket.clone()),
            None => Ok(self.load_config()?.socket),
        }
    }
}

/// Logs go to the journal if it started us, else to stderr.
fn log_to(filter: &str) -> Result<(), CliError> {
    use tracing_subscriber::prelude::*;

    let unusable = |err| CliError::Usage(format!("`log` of the configuration is not a filter: {err}"));
    let filter = tracing_subscriber::EnvFilter::try_new(filter).map_err(unusable)?;
    let journal = std::env::var_os("JOURNAL_STREAM").and_then(|_| tracing_journald::layer().ok());
    let lines = journal
        .is_none()
        .then(|| tracing_subscriber::fmt::layer().with_writer(std::io::stderr));
    tracing_subscriber::registry()
        .with(filter)
        .with(journal)
        .with(lines)
        .try_init()
        .map_err(CliError::failed)
}

/// Reads a file that the caller named.
fn read_text(path: &Path) -> Result<String, CliError> {
    std::fs::read_to_string(path).map_err(|err| {
        CliError::failed(anyhow::Error::new(err).context(format!("cannot read `{}`", path.display())))
    })
}

#[cfg(test)]
mod tests;
