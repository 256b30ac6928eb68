//! What happens between the kernel and the service manager: the data partition is found or made, a factory reset that
//! was asked for is finished, and a machine whose data cannot be used says so on its screen instead of restarting.
//!
//! The machine image runs it from its initial RAM disk, on the root that dm-verity has proved; the containers of the
//! tests run it before they boot. It ends before the daemon starts.
//!
//! **Invariant:** a file system that holds data is erased for one reason only: somebody asked for a factory reset.
//! **Invariant:** every step may be cut off; the next start goes on from what is on the disk.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use satellite_host::exec::{Exec, ExecError};

use crate::base::Ground;
use crate::base::shipped::Next;
use crate::base::slots::{Machine, SlotError};
use crate::config::Config;
use crate::workload::Places;

pub mod data;
pub mod health;
pub mod identity;
pub mod rescue;
pub mod reset;
pub mod table;

/// Makes the machine ready for the service manager. Run by the machine itself, not by people.
#[derive(Debug, Subcommand)]
pub enum Boot {
    /// In the initial RAM disk, below the new root: mounts the data partition at /var.
    Machine(Booting),
    /// Before a container starts: finishes a factory reset of its data.
    Container(Container),
    /// Waits until the bridge answers, and a slot on trial was reached by the server; if not, starts the other slot of the
    /// machine, if there is one.
    Healthy,
    /// Writes the slot that does not run, as the record of a change asks for. Run as a unit of its own.
    Slot(SlotArgs),
    /// After a factory reset: has the system started that the machine came with, if it is another one.
    Shipped,
}

/// What the machine was started from.
#[derive(Debug, Args)]
pub struct Booting {
    /// The disk that holds the root, and shall hold the data.
    #[arg(long)]
    disk: PathBuf,
    /// Show the rescue page first: the kernel's command line asks for it.
    #[arg(long)]
    rescue: bool,
}

/// The disk with the slots; without words the one that this machine was started from.
#[derive(Debug, Args)]
pub struct SlotArgs {
    /// The disk, or an image of one.
    #[arg(long, requires_all = ["loader", "running_slot", "running_version"])]
    disk: Option<PathBuf>,
    /// Where the loader's partition is mounted.
    #[arg(long)]
    loader: Option<PathBuf>,
    /// Name of the slot that runs.
    #[arg(long)]
    running_slot: Option<String>,
    /// Version of the system that runs.
    #[arg(long)]
    running_version: Option<String>,
}

/// What a container keeps.
#[derive(Debug, Args)]
pub struct Container {
    /// The directory with `var` and `machine-id`.
    #[arg(long)]
    data: PathBuf,
}

/// Why the machine is not ready.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BootError {
    /// The data was erased only in part, or has no place.
    #[error(transparent)]
    Reset(#[from] reset::ResetError),
    /// The machine has no name of its own.
    #[error(transparent)]
    Identity(#[from] identity::IdentityError),
    /// Nobody can be asked what to do.
    #[error("the data cannot be used, and no console can be opened to say so")]
    NoConsole(#[source] data::DataError),
    /// The bridge does not answer.
    #[error(transparent)]
    Health(#[from] health::HealthError),
    /// The slot was not written.
    #[error(transparent)]
    Slot(#[from] SlotError),
    /// The machine does not restart.
    #[error("cannot restart the machine")]
    Restart(#[source] ExecError),
}

impl Boot {
    /// Does it.
    ///
    /// # Errors
    ///
    /// See [`BootError`]. [`Boot::Machine`] answers only when the data is in place: until then the console asks.
    pub async fn run(&self, config: &Config) -> Result<(), BootError> {
        match self {
            Self::Machine(machine) => machine.run().await,
            Self::Container(container) => container.run(),
            Self::Healthy => Ok(health::wait_or_fall_back(config).await?),
            Self::Slot(slot) => slot.run(config).await,
            Self::Shipped => return_to_shipped(config).await,
        }
    }
}

/// How long the service manager may take to end this process once it restarts the machine.
const ENDING: Duration = Duration::from_mins(2);

/// Restarts the machine as `systemctl reboot` does, without logind: a service that is started meanwhile, as one that failed is
/// again and again, does not call it off.
const RESTART: [&str; 4] = [
    "--no-block",
    "--job-mode=replace-irreversibly",
    "start",
    "reboot.target",
];

async fn return_to_shipped(config: &Config) -> Result<(), BootError> {
    let machine = Machine::of_the_machine(&config.data_dir, Ground::of_the_machine())?;
    if machine.return_to_shipped(&config.data_dir).await? == Next::Restart {
        let restart = Exec::new("systemctl").args(RESTART);
        restart.run().await.map_err(BootError::Restart)?;
        // The bridge of this system is not to begin a life on the data of the other one.
        tokio::time::sleep(ENDING).await;
    }
    Ok(())
}

impl Booting {
    async fn run(&self) -> Result<(), BootError> {
        let places = data::Places::default();
        if self.rescue || rescue::is_wanted().await {
            rescue::ask(data::DataError::Asked, &self.disk).await?;
        }
        loop {
            match data::prepare(&self.disk, &places).await {
                Ok(found) => {
                    tracing::info!(node = %found.node, made = found.made, "Data partition is in place");
                    break;
                }
                Err(error) => rescue::ask(error, &self.disk).await?,
            }
        }
        identity::install(&places)?;
        Ok(())
    }
}

impl SlotArgs {
    async fn run(&self, config: &Config) -> Result<(), BootError> {
        let mut ground = Ground::of_the_machine();
        let machine = match (
            &self.disk,
            &self.loader,
            &self.running_slot,
            &self.running_version,
        ) {
            (Some(disk), Some(loader), Some(slot), Some(version)) => {
                ground.slot.clone_from(slot);
                ground.version.clone_from(version);
                Machine {
                    disk: disk.clone(),
                    loader: loader.clone(),
                    ground,
                }
            }
            _ => Machine::of_the_machine(&config.data_dir, ground)?,
        };
        Ok(machine.run(&Places::of(config)).await?)
    }
}

impl Container {
    fn run(&self) -> Result<(), BootError> {
        let places = reset::Tree::new(&self.data);
        if places.finish()? {
            tracing::info!(data = %self.data.display(), "Factory reset done");
        }
        identity::ensure(&places.machine_id())?;
        Ok(())
    }
}
