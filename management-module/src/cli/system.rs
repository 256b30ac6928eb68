//! `config check`, `audit list`, `system status`, `completions`, `man`

use std::path::PathBuf;

use clap::{Args, CommandFactory, Subcommand};
use clap_complete::Shell;
use satellite_proto::wire::management::v1::{AuditRecord, GetSystemRequest, ListAuditRecordsRequest};
use serde::Serialize;

use super::{Cli, CliError, Global, client, render, texts};
use crate::app::certificate::Tries;

/// The commands on the configuration.
#[derive(Debug, Subcommand)]
pub(super) enum Config {
    /// Checks the configuration file and names every fault.
    Check {
        /// The file; without it the one that `serve` would read.
        file: Option<PathBuf>,
    },
}

impl Config {
    pub(super) fn run(self, global: &Global) -> Result<(), CliError> {
        let Self::Check { file } = self;
        let file = file.or_else(|| global.config.clone());
        let config = crate::config::Config::load(file.as_deref()).map_err(CliError::failed)?;
        render::done(global.output, &verdict(&config))
    }
}

/// What is to be said of a configuration without faults: also what it came to, where that is known.
fn verdict(config: &crate::config::Config) -> String {
    let good = "the configuration is good";
    let tries = config.acme.as_ref().map(|acme| Tries::read(config, acme));
    match tries.filter(|tries| tries.count > 0) {
        Some(tries) => format!(
            "{good}, but the web page got no certificate at the last of {} tries, {}: {}",
            tries.count,
            tries.at.map(|at| at.to_string()).unwrap_or_default(),
            tries.problem
        ),
        None => good.to_owned(),
    }
}

/// The commands on the audit log.
#[derive(Debug, Subcommand)]
pub(super) enum Audit {
    /// Lists what was changed, newest first.
    List {
        /// At most so many records.
        #[arg(long, short = 'n', default_value = "100", value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
}

#[derive(Debug, Serialize)]
struct AuditView {
    sequence: u64,
    time: String,
    actor: String,
    action: String,
    subject: String,
    result: String,
}

impl From<AuditRecord> for AuditView {
    fn from(record: AuditRecord) -> Self {
        Self {
            time: render::time(record.time.as_ref()),
            sequence: record.sequence,
            actor: record.actor,
            action: record.action,
            subject: record.subject,
            result: record.result,
        }
    }
}

impl Audit {
    pub(super) async fn run(self, global: &Global) -> Result<(), CliError> {
        let Self::List { limit } = self;
        let mut client = client::connect(global).await?;
        let request = ListAuditRecordsRequest { limit };
        let records = client
            .system
            .list_audit_records(request)
            .await?
            .into_inner()
            .records;
        let views: Vec<_> = records.into_iter().map(AuditView::from).collect();
        let heading = [
            texts::NUMBER,
            texts::TIME,
            texts::WHO,
            texts::ACTION,
            texts::SUBJECT,
            texts::RESULT,
        ];
        render::list(global.output, &views, &heading, |view| {
            let texts = [&view.time, &view.actor, &view.action, &view.subject, &view.result];
            std::iter::once(view.sequence.to_string())
                .chain(texts.into_iter().cloned())
                .collect()
        })
    }
}

/// The commands on the module.
#[derive(Debug, Subcommand)]
pub(super) enum System {
    /// Shows version, start, and how many satellites answer.
    Status,
}

#[derive(Debug, Serialize)]
struct SystemView {
    version: String,
    start_time: String,
    installation_fingerprint: String,
    leaf_fingerprint: String,
    satellites: u32,
    reachable: u32,
}

impl System {
    pub(super) async fn run(self, global: &Global) -> Result<(), CliError> {
        let mut client = client::connect(global).await?;
        let system = client.system.get_system(GetSystemRequest {}).await?.into_inner();
        let view = SystemView {
            start_time: render::time(system.start_time.as_ref()),
            version: system.version,
            installation_fingerprint: system.installation_fingerprint,
            leaf_fingerprint: system.leaf_fingerprint,
            satellites: system.satellites,
            reachable: system.reachable,
        };
        render::one(global.output, &view, |view| {
            vec![
                (texts::VERSION, view.version.clone()),
                (texts::STARTED, view.start_time.clone()),
                (texts::INSTALLATION, view.installation_fingerprint.clone()),
                (texts::OWN_KEY, view.leaf_fingerprint.clone()),
                (texts::SATELLITES, view.satellites.to_string()),
                (texts::ANSWERING, view.reachable.to_string()),
            ]
        })
    }
}

/// Prints completions.
#[derive(Debug, Args)]
pub(super) struct Completions {
    /// The shell.
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self) -> Result<(), CliError> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "management-module", &mut script);
        render::bytes(&script)
    }
}

/// Writes manual pages.
#[derive(Debug, Args)]
pub(super) struct Man {
    /// Directory that receives a page for each command.
    directory: PathBuf,
}

impl Man {
    pub(super) fn run(self) -> Result<(), CliError> {
        std::fs::create_dir_all(&self.directory).map_err(CliError::failed)?;
        clap_mangen::generate_to(Cli::command(), &self.directory).map_err(CliError::failed)
    }
}

/// A disk that the module asked for.
#[derive(Debug, Args)]
pub(super) struct HeldDisk {
    /// Name of the module's request.
    id: String,
}

impl HeldDisk {
    pub(super) async fn mount(self, global: &Global) -> Result<(), CliError> {
        let disks = global.load_config()?.disks();
        let mounted = satellite_host::disks::mount_asked(&disks, &self.id).await;
        mounted.map_err(CliError::failed)
    }

    pub(super) async fn unmount(self, global: &Global) -> Result<(), CliError> {
        let disks = global.load_config()?.disks();
        let unmounted = satellite_host::disks::unmount_asked(&disks, &self.id).await;
        unmounted.map_err(CliError::failed)
    }
}
