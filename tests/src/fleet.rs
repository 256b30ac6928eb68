//! Many satellites in one process, on the server's side of a laboratory's network: the real bridge without a machine.
//!
//! **Invariant:** it ends with its owner, and its disks are in memory.

use std::fs::Permissions;
use std::ops::Range;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use satellite_proto::bundle::{BRIDGE, BRIDGE_FILE, Recipe, SecretKey, build};
use satellite_proto::wire::management::v1 as wire;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::task::JoinSet;

use crate::bench::transport::recipe;
use crate::lab::Lab;
use crate::network::write;
use crate::wait::until;

/// The workload of emulated satellites.
pub const WORKLOAD: &str = "emulated";

/// Satellites that are paired at once.
const PAIRED_AT_ONCE: usize = 16;

/// Satellites in one process: up to six open files each.
const IN_ONE: usize = 2500;

/// How long an answer of the emulator may take.
const ANSWER: Duration = Duration::from_mins(5);

/// A file system in memory, if the machine has one: thousands of disks are flushed all the time.
const MEMORY: &str = "/dev/shm";

/// A satellite of the fleet.
#[derive(Debug, Clone)]
pub struct Emulated {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub address: String,
    code: String,
}

/// The emulator: as many processes as it takes, for each may have so many files open only.
#[derive(Debug)]
pub struct Fleet {
    /// Its satellites.
    pub members: Vec<Emulated>,
    processes: Vec<Process>,
}

/// A part of the fleet.
#[derive(Debug)]
struct Process {
    numbers: Range<usize>,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    _child: Child,
    _disks: TempDir,
}

impl Process {
    /// Starts the satellites with these numbers, and answers them.
    async fn start(lab: &Lab, numbers: Range<usize>) -> anyhow::Result<(Self, Vec<Emulated>)> {
        let disks = if Path::new(MEMORY).is_dir() {
            tempfile::tempdir_in(MEMORY)?
        } else {
            tempfile::tempdir()?
        };
        let program = lab.release.program("examples/fleet");
        anyhow::ensure!(program.is_file(), "the emulator is not built: run `make build`");
        let mut command = lab.lan.at_server(program);
        command.arg("--directory").arg(disks.path());
        command.arg("--count").arg(numbers.len().to_string());
        command.arg("--first").arg(numbers.start.to_string());
        command.arg("--trust").arg(lab.release.trust().await?);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("cannot start the emulator")?;
        let stdin = child.stdin.take().context("the emulator hears nothing")?;
        let stdout = child.stdout.take().context("the emulator says nothing")?;
        let mut members = Vec::with_capacity(numbers.len());
        let mut process = Self {
            numbers,
            stdin,
            lines: BufReader::new(stdout).lines(),
            _child: child,
            _disks: disks,
        };
        loop {
            let line = process.next().await?;
            if line.get("ready").is_some() {
                return Ok((process, members));
            }
            let text = |key: &str| {
                line[key]
                    .as_str()
                    .map(str::to_owned)
                    .context("it speaks otherwise")
            };
            members.push(Emulated {
                name: text("satellite")?,
                address: text("address")?,
                code: text("code")?,
            });
        }
    }

    async fn next(&mut self) -> anyhow::Result<Value> {
        let line = tokio::time::timeout(ANSWER, self.lines.next_line()).await;
        let line = line.context("the emulator is silent")??;
        Ok(serde_json::from_str(&line.context("the emulator has ended")?)?)
    }

    async fn tell(&mut self, command: &str) -> anyhow::Result<Value> {
        self.stdin.write_all(format!("{command}\n").as_bytes()).await?;
        let answer = self.next().await?;
        anyhow::ensure!(answer.get("error").is_none(), "{answer}");
        Ok(answer)
    }

    /// A command for this part of the fleet; none if it is about others only.
    fn own(&self, command: &str) -> Option<String> {
        let numbers = command.split_once(' ').and_then(|(verb, part)| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            Some((verb, first.parse::<usize>().ok()?, last.parse::<usize>().ok()?))
        });
        let Some((verb, first, last)) = numbers else {
            return Some(command.to_owned());
        };
        let (from, to) = (first.max(self.numbers.start), last.min(self.numbers.end - 1));
        (from <= to).then(|| format!("{verb} {}-{}", from - self.numbers.start, to - self.numbers.start))
    }
}

impl Fleet {
    /// Starts `count` satellites beside the laboratory's server.
    ///
    /// # Errors
    ///
    /// If the emulator is not built or does not come up.
    pub async fn start(lab: &Lab, count: usize) -> anyhow::Result<Self> {
        let mut fleet = Self {
            members: Vec::with_capacity(count),
            processes: Vec::new(),
        };
        for first in (0..count).step_by(IN_ONE) {
            let numbers = first..count.min(first + IN_ONE);
            let (process, members) = Process::start(lab, numbers).await?;
            fleet.members.extend(members);
            fleet.processes.push(process);
        }
        Ok(fleet)
    }

    /// Does something to a part of the fleet, as the emulator's commands say it, and waits until it is done.
    ///
    /// # Errors
    ///
    /// If it does not understand, or cannot.
    pub async fn tell(&mut self, command: &str) -> anyhow::Result<()> {
        for process in &mut self.processes {
            if let Some(own) = process.own(command) {
                process.tell(&own).await?;
            }
        }
        Ok(())
    }

    /// How often servers met satellites, for each second since the first time after `forget`.
    ///
    /// # Errors
    ///
    /// If the emulator has ended.
    pub async fn met(&mut self) -> anyhow::Result<Vec<u64>> {
        let mut moments: Vec<u64> = Vec::new();
        for process in &mut self.processes {
            let answer = process.tell("count").await?;
            moments.extend(serde_json::from_value::<Vec<u64>>(answer["met"].clone())?);
        }
        let first = moments.iter().min().copied().unwrap_or_default();
        let mut seconds = Vec::new();
        for moment in moments {
            let second = usize::try_from((moment - first) / 1000)?;
            if seconds.len() <= second {
                seconds.resize(second + 1, 0);
            }
            seconds[second] += 1;
        }
        Ok(seconds)
    }

    /// Has the server pair all of them; each is to run `workloads`, or nothing.
    ///
    /// # Errors
    ///
    /// If one of them cannot be paired.
    pub async fn pair(&self, lab: &Lab, workloads: &[&str]) -> anyhow::Result<()> {
        let workloads: Vec<String> = workloads.iter().map(|&name| name.to_owned()).collect();
        let mut pairing = JoinSet::new();
        let mut waiting = self.members.iter();
        let mut left = self.members.len();
        while left > 0 {
            while pairing.len() < PAIRED_AT_ONCE {
                let Some(member) = waiting.next() else { break };
                let request = wire::PairSatelliteRequest {
                    address: member.address.clone(),
                    code: member.code.clone(),
                    name: member.name.clone(),
                    bare: workloads.is_empty(),
                    workloads: workloads.clone(),
                };
                let mut client = lab.server.fleet();
                pairing.spawn(async move { client.pair_satellite(request).await.map(drop) });
            }
            if let Some(paired) = pairing.join_next().await {
                paired?.context("a satellite of the fleet was not paired")?;
                left -= 1;
            }
        }
        Ok(())
    }

    /// Waits until `is_good` holds for all satellites that the server knows.
    ///
    /// # Errors
    ///
    /// Says for how many it holds if it does not come to that in time.
    pub async fn all(
        &self,
        lab: &Lab,
        limit: Duration,
        is_good: impl Fn(&wire::FleetSatellite) -> bool,
    ) -> anyhow::Result<()> {
        let mut seen = String::new();
        let wanted = self.members.len();
        let come = until("all satellites of the fleet", limit, async || {
            let mut client = lab.server.fleet();
            let known = client.list_satellites(wire::ListSatellitesRequest {}).await;
            let known = known.ok()?.into_inner().satellites;
            let good = known.iter().filter(|satellite| is_good(satellite)).count();
            let problem = known.iter().find(|satellite| !is_good(satellite));
            seen = format!("{good} of {wanted} are so; another: {problem:?}");
            (good == wanted).then_some(())
        });
        come.await.with_context(|| seen.clone())
    }
}

/// Packs a version of the bridge of emulated satellites.
///
/// # Errors
///
/// If packing fails.
pub async fn bridge(lab: &Lab, release: u64, version: &str) -> anyhow::Result<PathBuf> {
    let recipe = format!(
        "workload = \"{BRIDGE}\"\nkind = \"bridge\"\nversion = \"{version}\"\nchannel = \"stable\"\nrelease = {release}\n\
         architecture = \"x86_64\"\nleast_bridge = \"0.1.0\"\n[health]\nstart_seconds = 60\nsettle_seconds = 0\n"
    );
    let program = format!("#!/bin/sh\necho {version}\n");
    pack(lab, Recipe::from_toml(&recipe)?, BRIDGE_FILE, &program).await
}

/// Packs a version of the workload of emulated satellites.
///
/// # Errors
///
/// If packing fails.
pub async fn bundle(lab: &Lab, release: u64, version: &str) -> anyhow::Result<PathBuf> {
    let mut recipe = recipe(WORKLOAD, "program", "")?;
    (recipe.release, recipe.version) = (release, version.parse()?);
    pack(lab, recipe, "program", &format!("version {version}\n")).await
}

/// Packs a bundle of one program.
async fn pack(lab: &Lab, recipe: Recipe, name: &str, program: &str) -> anyhow::Result<PathBuf> {
    lab.release.trust().await?;
    let what = format!("{}-{}", recipe.workload, recipe.version);
    let dir = lab.data().join("emulated").join(what);
    let payload = dir.join("payload");
    write(&payload.join(name), program)?;
    std::fs::set_permissions(payload.join(name), Permissions::from_mode(0o755))?;
    let key = SecretKey::from_file_text(&std::fs::read_to_string(lab.release.secret())?, None)?;
    let bundle = dir.join("emulated.bundle");
    build(&recipe, &payload, &[key], std::fs::File::create(&bundle)?)?;
    Ok(bundle)
}
