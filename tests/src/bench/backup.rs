//! The backup of a central, four things that are done with it, each beside what a user would pick instead: the first one, from
//! start to a verified archive; the second, after a hundredth of the data has changed; reading it whole; bringing it back.

mod change;
mod others;

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context as _;
use satellite_proto::wire::backup::v1::Archive;

use self::others::{OTHERS, Places, warm};
use super::commission::pid_of;
use super::process::{forget_peak, memory, process_cpu, tree_cpu};
use super::{Better, Row, Sample, median};
use crate::central;
use crate::lab::{Lab, SATELLITE};

/// Name of the backup service's unit on the satellite.
const UNIT: &str = "satellite-workload-backup-service.service";
/// What is done, in this order.
const PHASES: [&str; 4] = ["first backup", "second backup", "verification", "restore"];
const FIRST: usize = 0;
const SECOND: usize = 1;
const VERIFY: usize = 2;
const RESTORE: usize = 3;
/// Our programs: two on the satellite, one on the central's machine.
const DAEMONS: [&str; 3] = ["bridge", "backup-service", "management module"];

/// What one phase took once.
#[derive(Debug, Clone, Copy)]
struct Taken {
    sample: Sample,
    /// Most memory of one process, in MiB.
    peak: f64,
}

/// What a phase took us once.
#[derive(Debug, Clone, Copy)]
struct Ours {
    sample: Sample,
    /// CPU seconds of the management module alone.
    module: f64,
    /// Most memory of each of [`DAEMONS`], in MiB.
    peaks: [f64; DAEMONS.len()],
}

/// Everything that was measured of one phase.
#[derive(Default)]
struct Phase {
    ours: Vec<Ours>,
    others: BTreeMap<&'static str, Vec<Taken>>,
}

/// Bytes stored after the first and the second backup, ours (each archive by itself) and the others' (all together).
#[derive(Default)]
struct Stored([BTreeMap<&'static str, Vec<f64>>; 2]);

struct Bench<'a> {
    lab: &'a Lab,
    central: central::Sample,
    pids: [i32; DAEMONS.len()],
    places: Places,
    phases: [Phase; PHASES.len()],
    stored: Stored,
    /// Directories that were restored into so far.
    restores: u32,
}

/// Measures the backup of a sample central of `bytes` bytes, `runs` times, in turn with the others.
///
/// # Errors
///
/// If a backup fails.
pub async fn backups(lab: &Lab, bytes: u64, runs: usize) -> anyhow::Result<Vec<Row>> {
    let mut bench = Bench::new(lab, bytes).await?;
    for round in 0..runs {
        bench.round(round).await?;
    }
    bench.rows(bytes)
}

impl<'a> Bench<'a> {
    async fn new(lab: &'a Lab, bytes: u64) -> anyhow::Result<Self> {
        let central = central::Sample::at(lab.data().join("central"), bytes);
        central.make(|_, _| ()).await?;
        let profile = lab.data().join("bench.toml");
        crate::network::write(&profile, central.profile())?;
        let shown = profile.display().to_string();
        let words = ["central", "add", &shown, "--replace", "--satellite", SATELLITE];
        lab.server.cli(&words).await?;
        let words = "backup config create Bench --central sample --then save";
        lab.server.cli(&words.split(' ').collect::<Vec<_>>()).await?;
        let module = lab.server.pid().context("the management module does not run")?;
        let bridge = pid_of(lab, "satellite-bridge.service").await?;
        Ok(Self {
            lab,
            pids: [bridge, pid_of(lab, UNIT).await?, module],
            places: Places {
                source: central.root.clone(),
                stores: lab.data().join("others"),
                restored: lab.data().join("restored"),
            },
            central,
            phases: Default::default(),
            stored: Stored::default(),
            restores: 0,
        })
    }

    /// Every phase once, each by all in turn.
    async fn round(&mut self, round: usize) -> anyhow::Result<()> {
        for archive in self.archives().await? {
            let words = ["backup", "delete", &archive.id, "--yes"];
            self.lab.server.cli(&words).await?;
        }
        for other in &OTHERS {
            other.prepare(&self.places).await?;
        }
        for number in [FIRST, SECOND, VERIFY, RESTORE] {
            if number == SECOND {
                let changed = change::one_hundredth(&self.central, round).await?;
                say(&format!("{} MiB changed", changed >> 20));
            }
            self.ours(number).await?;
            for other in &OTHERS {
                warm(&self.read_by(number, other.store(&self.places))).await?;
                self.elsewhere()?;
                let taken = other.phase(number, &self.places).await?;
                say(&format!("{}, {}: {taken:.1?}", PHASES[number], other.name));
                let all = &mut self.phases[number].others;
                all.entry(other.name).or_default().push(taken);
            }
            if let Some(stored) = self.stored.0.get_mut(number) {
                for other in &OTHERS {
                    let bytes = mebibytes(other.stored(&self.places)?);
                    stored.entry(other.name).or_default().push(bytes);
                }
            }
        }
        Ok(())
    }

    /// What a phase reads: the central's data, or what was stored.
    fn read_by(&self, number: usize, stored: PathBuf) -> PathBuf {
        if number < VERIFY {
            self.central.root.clone()
        } else {
            stored
        }
    }

    async fn ours(&mut self, number: usize) -> anyhow::Result<()> {
        let state = self
            .lab
            .satellite()
            .var()
            .join("lib/private/satellite-backup-service");
        warm(&self.read_by(number, state.join("archives"))).await?;
        self.elsewhere()?;
        let to = self.places.restored.join("ours").display().to_string();
        let newest = match number {
            FIRST | SECOND => String::new(),
            _ => self.archives().await?.first().context("no archive")?.id.clone(),
        };
        let words: &[&str] = match number {
            FIRST | SECOND => &["backup", "run", "Bench"],
            VERIFY => &["backup", "verify", &newest],
            _ => &["backup", "restore", &newest, "--to", &to],
        };
        for pid in self.pids {
            forget_peak(pid);
        }
        let own = i32::try_from(std::process::id())?;
        let [bridge, service, module] = self.pids;
        // The management module is a child of ours and counted with us, like its command line, which is waited for; what runs
        // on the satellite is not.
        let cpu = || tree_cpu(own) + process_cpu(bridge) + process_cpu(service);
        let before = process_cpu(module);
        let (sample, _) = Sample::of(cpu, self.lab.server.cli(words)).await?;
        let mut peaks = [0.0; DAEMONS.len()];
        for (peak, (name, pid)) in peaks.iter_mut().zip(DAEMONS.iter().zip(self.pids)) {
            *peak = memory(pid, "VmHWM").with_context(|| format!("the {name} ended"))?;
        }
        let taken = Ours {
            sample,
            module: process_cpu(module) - before,
            peaks,
        };
        say(&format!("{}, ours: {taken:.1?}", PHASES[number]));
        self.phases[number].ours.push(taken);
        if let Some(stored) = self.stored.0.get_mut(number) {
            let bytes = self.lab.server.archives().await?.into_iter();
            let bytes = bytes.filter_map(|stored| Some(stored.archive?.size_bytes)).sum();
            stored.entry("ours").or_default().push(mebibytes(bytes));
        }
        Ok(())
    }

    /// Our archives, newest first.
    async fn archives(&self) -> anyhow::Result<Vec<Archive>> {
        let stored = self.lab.server.archives().await?.into_iter();
        Ok(stored.filter_map(|stored| stored.archive).collect())
    }

    /// An empty directory to restore into. What was restored before stays until the end: ext4 gives inodes of files that
    /// were removed a few minutes ago to no new ones, and takes ten times as long to find others.
    fn elsewhere(&mut self) -> anyhow::Result<()> {
        self.restores += 1;
        let to = self.lab.data().join("restored").join(self.restores.to_string());
        std::fs::create_dir_all(&to).context("cannot make the directory to restore into")?;
        self.places.restored = to;
        Ok(())
    }

    fn rows(&self, bytes: u64) -> anyhow::Result<Vec<Row>> {
        let [first, second, verify, restore] = &self.phases;
        let quickest = restore.quickest().context("nobody else restored anything")?;
        let title = |number: usize| format!("{} of {} MiB", PHASES[number], bytes >> 20);
        let mut rows = first.rows(&title(FIRST), Some(("restic", 0.5)), Some(("tar | zstd", 1.15)));
        rows.extend(second.rows(&title(SECOND), Some(("restic", 1.0)), Some(("restic", 1.0))));
        rows.extend(verify.rows(&title(VERIFY), None, None));
        rows.extend(restore.rows(&title(RESTORE), Some((quickest, 1.0)), None));
        for (when, stored) in ["first", "second"].into_iter().zip(&self.stored.0) {
            let middle = |who: &Vec<f64>| median(who.iter().copied());
            let mut all: BTreeMap<String, f64> = stored
                .iter()
                .map(|(who, bytes)| ((*who).to_owned(), middle(bytes)))
                .collect();
            let ours = all.remove("ours").context("nothing of ours was stored")?;
            // Each of our archives is whole by itself; how much that is after two, is said and not aimed at.
            let goal = (when == "first").then_some(("restic", 1.0));
            rows.push(row(
                &format!("stored after the {when} backup"),
                (ours, "MiB"),
                all,
                goal,
            ));
        }
        Ok(rows)
    }
}

impl Phase {
    /// Seconds of the clock and of the processor, each with its goal, and memory, ours beside the others'.
    fn rows(&self, name: &str, wall: Option<(&str, f64)>, cpu: Option<(&str, f64)>) -> Vec<Row> {
        let title = |what: &str| format!("{name}, {what}");
        let walls = self.others(|one| one.sample.wall);
        let cpus = self.others(|one| one.sample.cpu);
        let ours = |of: fn(&Ours) -> f64| (self.ours(of), "s");
        let mut rows = vec![
            row(&title("wall"), ours(|ours| ours.sample.wall), walls, wall),
            row(&title("CPU"), ours(|ours| ours.sample.cpu), cpus.clone(), cpu),
            // All of what the others take, they take on the central's machine.
            row(
                &title("CPU of the management module"),
                ours(|ours| ours.module),
                cpus,
                None,
            ),
        ];
        for (number, daemon) in DAEMONS.into_iter().enumerate() {
            let peak = (self.ours(|ours| ours.peaks[number]), "MiB");
            let (title, peaks) = (
                title(&format!("peak memory of the {daemon}")),
                self.others(|one| one.peak),
            );
            rows.push(row(&title, peak, peaks, Some(("restic", 0.5))));
        }
        rows
    }

    fn ours(&self, of: impl Fn(&Ours) -> f64) -> f64 {
        median(self.ours.iter().map(of))
    }

    fn others(&self, of: impl Fn(&Taken) -> f64) -> BTreeMap<String, f64> {
        let middle = |taken: &Vec<Taken>| median(taken.iter().map(&of));
        let others = self.others.iter();
        others
            .map(|(name, taken)| ((*name).to_owned(), middle(taken)))
            .collect()
    }

    /// Who of the others took least time.
    fn quickest(&self) -> Option<&'static str> {
        let wall = |taken: &Vec<Taken>| median(taken.iter().map(|one| one.sample.wall));
        let others = self.others.iter().map(|(name, taken)| (*name, wall(taken)));
        others
            .min_by(|one, other| one.1.total_cmp(&other.1))
            .map(|(name, _)| name)
    }
}

/// A row whose goal, if it has one, is at most so many times a peer.
fn row(name: &str, ours: (f64, &str), peers: BTreeMap<String, f64>, goal: Option<(&str, f64)>) -> Row {
    match goal {
        Some((peer, bound)) => Row::against(name, ours, peers, (peer, Better::Less, bound)),
        None => Row::record(name, ours, peers),
    }
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[expect(clippy::print_stderr, reason = "what is measured is told as it comes")]
fn say(text: &str) {
    eprintln!("  {text}");
}
