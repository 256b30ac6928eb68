//! `make bench`: measures the real programs, in a container, beside what a user would pick instead.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is a command line")]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand, ValueEnum};
use e2e::bench::commission::{idle, pair_to_healthy, pid_of};
use e2e::bench::peers::Site;
use e2e::bench::satellite::Client;
use e2e::bench::transport::{Bench, LOG_WORKLOAD, recipe};
use e2e::bench::{LIMIT, RUNS, Row, backup, fleet, pages, peers, table, update};
use e2e::command::finish;
use e2e::lab::Lab;
use e2e::network::Lan;
use satellite_proto::bundle::{SecretKey, build};
use satellite_proto::wire::management::v1::FleetSatellite;

/// Name of the laboratory.
const LABORATORY: &str = "bench";

/// Measures the system beside what a user would pick instead, and writes target/bench.json.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    part: Option<Part>,
    /// How often each thing is measured.
    #[arg(long, default_value_t = RUNS)]
    runs: usize,
    /// Bytes of the central that is backed up.
    #[arg(long, default_value_t = 1 << 30)]
    bytes: u64,
    /// Measures only this; commissioning comes first in any case. Writes no file.
    #[arg(long, value_enum)]
    only: Option<Only>,
    /// The backup-service of an earlier release, from which to update; without, the later one is made up.
    #[arg(long)]
    before: Option<PathBuf>,
}

/// A group of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Only {
    /// The daemons at rest.
    Idle,
    /// Push, logs and status calls.
    Transfers,
    /// One release to the next.
    Update,
    /// Backup, second backup, verification, restore.
    Backup,
    /// A server with many emulated satellites; in a laboratory of its own, without commissioning.
    Fleet,
    /// The web page of a server that has been there for years; in a laboratory of its own, without commissioning.
    Pages,
}

impl Cli {
    fn wants(&self, part: Only) -> bool {
        self.only.is_none_or(|only| only == part)
    }
}

#[derive(Debug, Subcommand)]
enum Part {
    /// (a process of the benchmark) Takes TLS connections and throws away what comes.
    #[command(hide = true)]
    RawSink {
        /// Where.
        address: SocketAddr,
    },
    /// (a process of the benchmark) Sends bytes over one TLS connection.
    #[command(hide = true)]
    RawSend {
        /// Where to.
        address: SocketAddr,
        /// How many.
        bytes: u64,
    },
    /// (a process of the benchmark) What must run in the laboratory's network.
    #[command(hide = true)]
    Transport(Transport),
}

#[derive(Debug, Args)]
struct Transport {
    address: String,
    fingerprint: String,
    installation: PathBuf,
    bridge: i32,
    key: PathBuf,
    program: PathBuf,
    logs: PathBuf,
    dir: PathBuf,
    runs: usize,
    group: Group,
    #[arg(long)]
    before: Option<PathBuf>,
}

/// What is measured in the laboratory's network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Group {
    /// Push, logs and status calls.
    Transfers,
    /// One release to the next.
    Update,
}

impl Transport {
    async fn run(&self) -> anyhow::Result<()> {
        let client = Client::new(&self.installation, &self.address, &self.fingerprint)?;
        let key = SecretKey::from_file_text(&std::fs::read_to_string(&self.key)?, None)?;
        if self.group == Group::Transfers {
            self.install_log_source(&client, &key).await?;
        }
        let lan = Lan::new(LABORATORY, &self.dir);
        let site = Site::lay(&lan.server_side(), &self.dir).await?;
        let bench = Bench {
            client: &client,
            bridge: self.bridge,
            site: &site,
            key: &key,
            runs: self.runs,
        };
        let rows = match self.group {
            Group::Transfers => bench.all(&self.logs.join("large.log"), "backup-service").await,
            Group::Update => {
                let bench = update::Bench {
                    client: &client,
                    site: &site,
                    key: &key,
                    program: &self.program,
                    before: self.before.as_deref(),
                    runs: self.runs,
                };
                bench.all().await
            }
        };
        site.remove().await;
        println!("{}", serde_json::to_string(&rows?)?);
        Ok(())
    }

    /// A workload whose only purpose is that it may have a large log.
    async fn install_log_source(&self, client: &Client, key: &SecretKey) -> anyhow::Result<()> {
        let payload = self.dir.join("log-source");
        std::fs::create_dir_all(&payload)?;
        std::fs::copy(&self.program, payload.join("program"))?;
        let bundle = self.dir.join("log-source.bundle");
        let recipe = recipe(LOG_WORKLOAD, "program", "logs = [\"large.log\"]")?;
        build(
            &recipe,
            &payload,
            std::slice::from_ref(key),
            std::fs::File::create(&bundle)?,
        )?;
        let name = client.push(&bundle).await?;
        client.install(&name).await?;
        std::fs::create_dir_all(&self.logs)?;
        Ok(())
    }
}

/// Everything, in a laboratory of its own.
async fn measure(lab: &Lab, cli: &Cli) -> anyhow::Result<Vec<Row>> {
    match cli.only {
        Some(Only::Fleet) => return many(&["rollout", "restart"], cli.runs).await,
        Some(Only::Pages) => return many(&["pages"], cli.runs).await,
        _ => {}
    }
    eprintln!("Commissioning a satellite …");
    let (mut rows, satellite) = pair_to_healthy(lab).await?;
    if cli.wants(Only::Idle) {
        eprintln!("Watching the daemons idle …");
        rows.extend(idle(lab).await?);
    }
    if cli.wants(Only::Transfers) {
        eprintln!("Transfers, {} times each …", cli.runs);
        rows.extend(transfers(lab, &satellite, cli, "transfers").await?);
    }
    if cli.wants(Only::Update) {
        eprintln!("One release to the next, {} times …", cli.runs);
        rows.extend(transfers(lab, &satellite, cli, "update").await?);
    }
    if cli.wants(Only::Backup) {
        eprintln!("Backups of {} MiB, {} times each …", cli.bytes >> 20, cli.runs);
        rows.extend(backup::backups(lab, cli.bytes, cli.runs).await?);
    }
    if cli.wants(Only::Fleet) {
        rows.extend(many(&["rollout", "restart"], cli.runs).await?);
    }
    if cli.wants(Only::Pages) {
        rows.extend(many(&["pages"], cli.runs).await?);
    }
    Ok(rows)
}

/// Many satellites, each part with a server of its own.
async fn many(parts: &[&str], runs: usize) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for part in parts {
        eprintln!("A server with many satellites: {part} …");
        let top = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .context("no checkout")?;
        let (name, data) = (format!("{LABORATORY}-{part}"), top.join("target/lab").join(part));
        let lab = Lab::open(&name, &data)?;
        lab.remove().await;
        let lab = Lab::open(&name, &data)?;
        let measured = match *part {
            "rollout" => fleet::rollout(&lab).await,
            "pages" => pages::pages(&lab, runs).await,
            _ => fleet::restart(&lab).await,
        };
        lab.remove().await;
        rows.extend(measured?);
    }
    Ok(rows)
}

/// What crosses the laboratory's network, from a process in it.
async fn transfers(
    lab: &Lab,
    satellite: &FleetSatellite,
    cli: &Cli,
    group: &str,
) -> anyhow::Result<Vec<Row>> {
    let dir = lab.data().join("bench");
    std::fs::create_dir_all(&dir)?;
    let state = format!("lib/private/satellite-{LOG_WORKLOAD}/logs");
    let mut inside = lab.lan.at_server(std::env::current_exe()?);
    inside
        .arg("transport")
        .arg(&satellite.address)
        .arg(&satellite.fingerprint);
    inside.arg(lab.data().join("server/state/installation"));
    inside.arg(pid_of(lab, "satellite-bridge.service").await?.to_string());
    inside
        .arg(lab.release.secret())
        .arg(lab.release.program("backup-service"));
    inside
        .arg(lab.satellite().var().join(state))
        .arg(&dir)
        .arg(cli.runs.to_string())
        .arg(group);
    if let Some(before) = &cli.before {
        inside.arg("--before").arg(before);
    }
    let ended = finish(inside, LIMIT * 4).await?;
    anyhow::ensure!(ended.code == Some(0), "the transfers failed: {}", ended.stderr);
    Ok(serde_json::from_str(ended.stdout.trim())?)
}

async fn run(cli: Cli) -> anyhow::Result<()> {
    match &cli.part {
        Some(Part::RawSink { address }) => return peers::serve_raw(*address).await,
        Some(Part::RawSend { address, bytes }) => return peers::send_raw(*address, *bytes).await,
        Some(Part::Transport(transport)) => return transport.run().await,
        None => {}
    }
    let top = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("no checkout")?;
    let data = top.join("target/lab/bench");
    let lab = Lab::open(LABORATORY, &data)?;
    lab.remove().await;
    let mut lab = Lab::open(LABORATORY, &data)?;
    if let Some(before) = &cli.before {
        // The satellite is not to have the later program's chunks before they are counted.
        lab.release = lab.release.with_earlier(before.clone());
    }
    let measured = measure(&lab, &cli).await;
    if measured.is_err() {
        eprintln!("{}", lab.evidence().await);
    }
    lab.remove().await;
    let rows = measured?;
    if cli.only.is_none() {
        e2e::network::write(
            &top.join("target/bench.json"),
            serde_json::to_string_pretty(&rows)?,
        )?;
    }
    println!("{}", table(&rows));
    Ok(())
}

#[tokio::main]
async fn main() -> ExitCode {
    match Box::pin(run(Cli::parse())).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
