//! The management module of a laboratory: started as a daemon, asked over its socket or by its command line.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use hyper_util::rt::TokioIo;
use nix::sys::signal::Signal;
use satellite_proto::wire::management::v1 as wire;
use tokio::net::UnixStream;
use tokio::process::Command;
use tonic::transport::{Channel, Endpoint, Uri};
use wire::backup_service_client::BackupServiceClient;
use wire::bundle_service_client::BundleServiceClient;
use wire::fleet_service_client::FleetServiceClient;

use crate::command::{Ended, command, finish, stdout_of};
use crate::container::kill;
use crate::network::{Lan, write};
use crate::release::Release;
use crate::wait::until;

/// What a command may take that moves the data of a central.
const LONG: Duration = Duration::from_mins(15);

/// The unit that runs it elsewhere.
const UNIT: &str = include_str!("../../systemd/management-module.service");

/// What its unit sets: how much memory it takes depends on it.
fn unit_environment() -> impl Iterator<Item = (&'static str, &'static str)> {
    let settings = UNIT.lines().filter_map(|line| line.strip_prefix("Environment="));
    settings.filter_map(|setting| setting.split_once('='))
}

/// A management module, running or not.
#[derive(Debug, Clone)]
pub struct Server {
    program: PathBuf,
    /// State.
    data: PathBuf,
    /// Socket and pid file.
    run: PathBuf,
    lan: Lan,
}

impl Server {
    /// The management module with its state in `data` and its socket in `run`.
    #[must_use]
    pub fn new(release: &Release, data: &Path, run: &Path, lan: &Lan) -> Self {
        let program = release.server();
        Self {
            program,
            data: data.to_owned(),
            run: run.to_owned(),
            lan: lan.clone(),
        }
    }

    /// Starts it, if it does not run, and waits until it answers. Answers whether it was started.
    ///
    /// # Errors
    ///
    /// With its log, if it does not come up.
    pub async fn start(&self, trust: &Path) -> anyhow::Result<bool> {
        if self.pid().is_some() && self.answers().await {
            return Ok(false);
        }
        self.stop().await;
        std::fs::create_dir_all(&self.data)?;
        let config = format!(
            "state-dir = \"{}\"\nsocket = \"{}\"\nserver-name = \"laboratory\"\ntrust-anchors = \"{}\"\n",
            self.data.join("state").display(),
            self.socket().display(),
            trust.display(),
        );
        write(&self.config(), config)?;
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.log())?;
        // It outlives this process: a session of its own, and no pipe to us.
        let mut daemon = self.lan.at_server("setsid");
        daemon
            .envs(unit_environment())
            .arg(&self.program)
            .arg("--config")
            .arg(self.config())
            .arg("serve");
        daemon
            .stdout(Stdio::from(log.try_clone()?))
            .stderr(Stdio::from(log))
            .kill_on_drop(false);
        let child = daemon.spawn().context("cannot start the management module")?;
        let pid = child.id().context("the management module ended at once")?;
        write(&self.run.join("server.pid"), pid.to_string())?;
        let up = until(
            "the management module to answer",
            Duration::from_secs(30),
            async || self.answers().await.then_some(()),
        );
        up.await
            .with_context(|| format!("it said: {}", self.log_tail()))?;
        Ok(true)
    }

    /// Pairs the satellite at `address`, by the code on its console, as `name`. `options` are passed on to
    /// `satellite pair`.
    ///
    /// # Errors
    ///
    /// If the code is not taken.
    pub async fn pair(&self, address: &str, code: &str, name: &str, options: &[&str]) -> anyhow::Result<()> {
        let file = self.run.join("code");
        write(&file, code)?;
        let file = file.display().to_string();
        let words = ["satellite", "pair", address, "--code-file", &file, "--name", name];
        self.cli(&[&words[..], options].concat()).await.map(drop)
    }

    /// Ends it; what does not run is no error.
    pub async fn stop(&self) {
        let Some(pid) = self.pid() else { return };
        kill(pid, Signal::SIGTERM);
        let gone = until(
            "the management module to end",
            Duration::from_secs(20),
            async || self.pid().is_none().then_some(()),
        );
        if gone.await.is_err() {
            kill(pid, Signal::SIGKILL);
        }
    }

    /// Its process, if it runs.
    #[must_use]
    pub fn pid(&self) -> Option<i32> {
        let pid: i32 = std::fs::read_to_string(self.run.join("server.pid"))
            .ok()?
            .trim()
            .parse()
            .ok()?;
        let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
        line.contains("management-module").then_some(pid)
    }

    /// Its socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.run.join("api.sock")
    }

    /// Its configuration.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.data.join("config.toml")
    }

    /// Its log.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.data.join("management-module.log")
    }

    /// The end of its log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// Resident memory in bytes, if it runs.
    #[must_use]
    pub fn memory(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()?)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? * 1024)
    }

    /// The command line, as a person types it.
    #[must_use]
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = command(&self.program);
        command
            .env("MANAGEMENT_MODULE_CONFIG", self.config())
            .env("LC_ALL", "C")
            .args(words);
        command
    }

    /// Runs a command to its end and answers what it wrote to stdout.
    ///
    /// # Errors
    ///
    /// If it fails.
    pub async fn cli(&self, words: &[&str]) -> anyhow::Result<String> {
        stdout_of(self.command(words), LONG).await
    }

    /// Runs a command however it ends.
    ///
    /// # Errors
    ///
    /// If it cannot be started or does not end.
    pub async fn try_cli(&self, words: &[&str]) -> anyhow::Result<Ended> {
        finish(self.command(words), LONG).await
    }

    /// Runs a command whose progress the person shall see.
    ///
    /// # Errors
    ///
    /// If it fails; it has said why on stderr.
    pub async fn cli_shown(&self, words: &[&str]) -> anyhow::Result<()> {
        let mut command = self.command(words);
        let status = tokio::time::timeout(LONG, command.status()).await??;
        anyhow::ensure!(
            status.success(),
            "`management-module {}` ended with {status}",
            words.join(" ")
        );
        Ok(())
    }

    async fn answers(&self) -> bool {
        self.fleet()
            .list_satellites(wire::ListSatellitesRequest {})
            .await
            .is_ok()
    }

    /// Its satellites.
    #[must_use]
    pub fn fleet(&self) -> FleetServiceClient<Channel> {
        FleetServiceClient::new(self.channel())
    }

    /// Its backups.
    #[must_use]
    pub fn backups(&self) -> BackupServiceClient<Channel> {
        BackupServiceClient::new(self.channel())
    }

    fn channel(&self) -> Channel {
        let socket = self.socket();
        let connector = tower::service_fn(move |_: Uri| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        });
        Endpoint::from_static("http://management-module").connect_with_connector_lazy(connector)
    }

    /// The satellite `name` as the server knows it; none if it does not.
    pub async fn satellite(&self, name: &str) -> Option<wire::FleetSatellite> {
        let request = wire::GetSatelliteRequest {
            name: name.to_owned(),
        };
        self.fleet()
            .get_satellite(request)
            .await
            .ok()?
            .into_inner()
            .satellite
    }

    /// Waits until the satellite `name` answers and is as it is meant to be; not for what waits for a person.
    ///
    /// # Errors
    ///
    /// With what the server says about it instead.
    pub async fn converged(&self, name: &str, limit: Duration) -> anyhow::Result<wire::FleetSatellite> {
        let mut last = None;
        let found = until(
            &format!("satellite {name} to be as it should be"),
            limit,
            async || {
                let satellite = self.satellite(name).await?;
                last = Some(satellite.clone());
                let reachable = satellite.reachability() == wire::Reachability::Reachable;
                if reachable && satellite.converged {
                    return Some(Ok(satellite));
                }
                let hopeless = self.hopeless(name).await?;
                Some(Err(anyhow::anyhow!("nothing more is done by itself: {hopeless}")))
            },
        )
        .await;
        found.flatten().with_context(|| match last {
            Some(last) => format!("{:?}, problem: {}", last.reachability(), last.problem),
            None => "the server does not know it".to_owned(),
        })
    }

    /// Why a satellite stays as it is until a person does something; none while something is still tried.
    async fn hopeless(&self, name: &str) -> Option<String> {
        let request = wire::GetUpdateStatusRequest::default();
        let answer = BundleServiceClient::new(self.channel())
            .get_update_status(request)
            .await
            .ok()?;
        let stuck = answer.into_inner().updates.into_iter().find(|update| {
            update.satellite == name && matches!(update.state.as_str(), "failed" | "no bundle")
        })?;
        Some(format!("{} {}: {}", stuck.workload, stuck.state, stuck.problem))
    }

    /// The archives, newest first.
    ///
    /// # Errors
    ///
    /// If the server does not answer.
    pub async fn archives(&self) -> anyhow::Result<Vec<wire::StoredArchive>> {
        let request = wire::ListArchivesRequest {
            central: String::new(),
        };
        Ok(self.backups().list_archives(request).await?.into_inner().archives)
    }
}
