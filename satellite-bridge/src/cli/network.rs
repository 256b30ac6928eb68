//! `network …`: what the boot does, and what is left to a person when the daemon is down.
//!
//! **Invariant:** none of these asks the daemon.

use std::path::PathBuf;
use std::{error::Error, io};

use clap::{Args, Subcommand};
use serde_json::json;
use uuid::Uuid;

use super::render;
use crate::config::Config;
use crate::network::{self, Network, Settings};

/// The commands.
#[derive(Debug, Subcommand)]
pub enum NetworkCommand {
    /// Writes the files of the confirmed settings, and takes back what was not confirmed. Run at boot, before there is
    /// a network.
    Restore,
    /// Shows the confirmed settings, the open change and what is in force, as JSON.
    Show,
    /// Tries settings without applying them.
    Probe(Document),
    /// Applies settings; they are undone by themselves unless confirmed. Prints the id of the change.
    Apply(Document),
    /// Keeps a change. Of a paired satellite the server does this.
    Confirm(Confirm),
    /// Takes back a change now.
    Rollback(Change),
}

/// Settings in a file.
#[derive(Debug, Args)]
pub struct Document {
    /// The settings as JSON; `-` reads them from stdin.
    file: PathBuf,
}

/// A change to be kept.
#[derive(Debug, Args)]
pub struct Confirm {
    /// Id of the change.
    change_id: Uuid,
    /// Keep it although the satellite is paired and its server has not reached it.
    #[arg(long)]
    without_server: bool,
}

/// A change.
#[derive(Debug, Args)]
pub struct Change {
    /// Id of the change.
    change_id: Uuid,
}

impl NetworkCommand {
    /// Does it.
    ///
    /// # Errors
    ///
    /// As the functions of [`Network`] have them.
    pub async fn run(self, config: &Config) -> Result<(), Box<dyn Error>> {
        let network = Network::open(config);
        match self {
            Self::Restore => network::restore_at_boot(config).await?,
            Self::Show => show(&network).await?,
            Self::Probe(document) => {
                let findings = network.probe(&document.read()?).await;
                for finding in findings {
                    render(&format!("{:?}: {finding}\n", finding.severity()));
                }
            }
            Self::Apply(document) => {
                let open = network.apply(&document.read()?).await?;
                render(&format!("{}\n", open.id));
            }
            Self::Confirm(confirm) if confirm.without_server => {
                network.keep_without_server(confirm.change_id).await?;
            }
            Self::Confirm(confirm) => network.confirm(confirm.change_id).await?,
            Self::Rollback(change) => network.rollback(change.change_id).await?,
        }
        Ok(())
    }
}

impl Document {
    fn read(&self) -> Result<Settings, Box<dyn Error>> {
        let text = if self.file.as_os_str() == "-" {
            io::read_to_string(io::stdin())?
        } else {
            std::fs::read_to_string(&self.file)?
        };
        Ok(serde_json::from_str(&text)?)
    }
}

async fn show(network: &Network) -> Result<(), Box<dyn Error>> {
    let observed = network.observe().await;
    let links: Vec<_> = observed
        .links
        .iter()
        .map(|link| {
            let addresses: Vec<_> = link.addresses.iter().map(|address| address.net).collect();
            json!({
                "name": link.name, "carrier": link.has_carrier, "mtu": link.mtu,
                "hardware_address": link.hardware_address, "addresses": addresses,
            })
        })
        .collect();
    let open = network.open_change().map(|open| {
        json!({
            "id": open.id, "seconds": open.remaining.as_secs(), "in_force": open.is_in_force,
            "settings": open.settings,
        })
    });
    let shown = json!({
        "settings": network.settings()?,
        "last_good": network.last_good(),
        "open_change": open,
        "host_name": observed.host_name,
        "links": links,
        "gateways": observed.gateways,
        "dns": observed.dns,
        "ntp": observed.ntp,
    });
    render(&format!("{shown:#}\n"));
    Ok(())
}
