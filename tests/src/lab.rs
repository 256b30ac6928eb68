//! A laboratory: one satellite and one server on a LAN, under a name.
//!
//! **Invariant:** everything about a laboratory is on disk under its name, so that another process can go on with it
//! or take it away.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;

use crate::console;
use crate::container::Container;
use crate::network::{Lan, namespace_path, write};
use crate::release::Release;
use crate::server::Server;
use crate::wait::until;

/// Runtime files of all laboratories.
pub const RUN: &str = "/run/satellite-lab";
/// How the satellite of a laboratory is called in its installation.
pub const SATELLITE: &str = "s1";

/// What a laboratory consists of.
#[derive(Debug, Clone)]
pub struct Lab {
    id: String,
    run: PathBuf,
    data: PathBuf,
    /// What was built.
    pub release: Release,
    /// The network.
    pub lan: Lan,
    /// The management module.
    pub server: Server,
}

impl Lab {
    /// The laboratory `id`, there or not, with its data in `data`.
    ///
    /// # Errors
    ///
    /// If the programs have not been built, or its directories cannot be made.
    pub fn open(id: &str, data: &Path) -> anyhow::Result<Self> {
        Self::open_with(Release::find()?, id, data)
    }

    /// The same of another release.
    ///
    /// # Errors
    ///
    /// If its directories cannot be made.
    pub fn open_with(release: Release, id: &str, data: &Path) -> anyhow::Result<Self> {
        let run = Path::new(RUN).join(id);
        std::fs::create_dir_all(&run).with_context(|| format!("cannot make {}", run.display()))?;
        std::fs::create_dir_all(data).with_context(|| format!("cannot make {}", data.display()))?;
        write(&run.join("data"), data.display().to_string())?;
        let lan = Lan::new(id, &run);
        let server = Server::new(&release, &data.join("server"), &run, &lan);
        Ok(Self {
            id: id.to_owned(),
            run,
            data: data.to_owned(),
            release,
            lan,
            server,
        })
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its data.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The satellite on the root that it was last started with.
    #[must_use]
    pub fn satellite(&self) -> Container {
        let lower = std::fs::read_to_string(self.run.join("root")).unwrap_or_default();
        let log = self.data.join("satellite.log");
        Container::new(
            &self.id,
            lower.trim(),
            &self.data.join("satellite"),
            &self.lan.satellite_side(),
            &log,
        )
    }

    /// Boots the satellite on the current root, or finds that it runs on it. Answers whether it was booted.
    ///
    /// # Errors
    ///
    /// If the root cannot be built, or it does not come up with an address.
    pub async fn boot(&self) -> anyhow::Result<bool> {
        let root = self.release.root().await?;
        let current = std::fs::read_to_string(self.run.join("root")).unwrap_or_default();
        let running = self.satellite().is_running();
        if running && current == root {
            return Ok(false);
        }
        if running {
            self.satellite().stop().await;
        }
        write(&self.run.join("root"), &root)?;
        self.start().await?;
        Ok(true)
    }

    /// Boots the satellite on the root that it had, as after a power cut.
    ///
    /// # Errors
    ///
    /// If it does not come up with an address.
    pub async fn start(&self) -> anyhow::Result<()> {
        self.lan.up().await?;
        self.satellite().start().await?;
        self.address().await.map(|_| ())
    }

    /// The satellite's address, once DHCP has given it one.
    ///
    /// # Errors
    ///
    /// If there is none in time.
    pub async fn address(&self) -> anyhow::Result<Ipv4Addr> {
        let limit = Duration::from_secs(60);
        until("the satellite's address", limit, async || {
            self.lan.satellite_address().await
        })
        .await
    }

    /// Gives the satellite a credential at its next boots, as a hypervisor does.
    ///
    /// # Errors
    ///
    /// If it cannot be left for it.
    pub fn leave_credential(&self, name: &str, text: &str) -> anyhow::Result<()> {
        write(&self.data.join("satellite/credentials").join(name), text)
    }

    /// Starts the management module, if it does not run. Answers whether it was started.
    ///
    /// # Errors
    ///
    /// If it does not come up.
    pub async fn serve(&self) -> anyhow::Result<bool> {
        let trust = self.release.trust().await?;
        self.server.start(&trust).await
    }

    /// Pairs the satellite by the code on its console. `options` are passed on to `satellite pair`.
    ///
    /// # Errors
    ///
    /// If the console shows no code, or the code is not taken.
    pub async fn pair(&self, options: &[&str]) -> anyhow::Result<()> {
        let code = console::pairing_code(&self.satellite()).await?;
        let address = self.address().await?.to_string();
        self.server.pair(&address, &code, SATELLITE, options).await
    }

    /// Takes the release's bundle into the server's store; one that is known is no error.
    ///
    /// # Errors
    ///
    /// If it cannot be built or is refused.
    pub async fn add_bundle(&self) -> anyhow::Result<()> {
        let bundle = self.release.bundle().await?.display().to_string();
        self.server.cli(&["bundle", "add", &bundle]).await?;
        Ok(())
    }

    /// What may help to understand a failure: the screen, the bridge's journal, the server's log.
    pub async fn evidence(&self) -> String {
        let satellite = self.satellite();
        let screen = satellite.capture().await.unwrap_or_else(|err| format!("{err:#}"));
        let journal = satellite
            .exec(&["journalctl", "-b", "--no-pager", "-n", "80"])
            .await;
        let journal = journal.unwrap_or_else(|err| format!("{err:#}"));
        let log = self.server.log_tail();
        format!(
            "--- console\n{}\n--- journal\n{journal}\n--- management module\n{log}\n",
            screen.trim_end()
        )
    }

    /// What is still there of it: nothing, after [`Lab::remove`].
    #[must_use]
    pub fn leftovers(&self) -> Vec<String> {
        let satellite = self.satellite();
        let sides = [self.lan.server_side(), self.lan.satellite_side()];
        let mut paths: Vec<PathBuf> = sides.iter().map(|name| namespace_path(name)).collect();
        paths.extend([self.data.clone(), self.run.clone(), satellite.tmux_socket()]);
        for groups in ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"] {
            paths.push(Path::new(groups).join(&self.id));
        }
        let mut left: Vec<String> = paths
            .iter()
            .filter(|path| path.exists())
            .map(|path| path.display().to_string())
            .collect();
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let data = self.data.display().to_string();
        left.extend(
            mounts
                .lines()
                .filter(|line| line.contains(&data))
                .map(str::to_owned),
        );
        if satellite.is_running() {
            left.push("the satellite runs".to_owned());
        }
        left
    }

    /// Ends everything and removes it. What is not there is no error.
    pub async fn remove(&self) {
        self.server.stop().await;
        self.satellite().stop().await;
        self.lan.down().await;
        let _ = std::fs::remove_dir_all(&self.data);
        let _ = std::fs::remove_dir_all(&self.run);
    }
}
