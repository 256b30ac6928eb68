//! The first backup of a central, from start to a verified archive, against what a user would pick instead.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;

use super::commission::pid_of;
use super::process::{forget_peak, memory, process_cpu, tree_cpu};
use super::{Better, LIMIT, Row, Sample, median};
use crate::central;
use crate::command::{command, finish};
use crate::lab::{Lab, SATELLITE};

/// Name of the backup service's unit on the satellite.
const UNIT: &str = "satellite-workload-backup-service.service";

/// Reads the whole tree once, so that each of the compared starts with it in the page cache: a virtual machine that gives
/// memory back (DAMON) drops what lay idle while the slower ones ran.
async fn warm(source: &Path) -> anyhow::Result<()> {
    let mut shell = command("sh");
    shell
        .args(["-euc", "tar -C \"$1\" -cf - . | wc -c", "sh"])
        .arg(source);
    finish(shell, LIMIT).await.map(drop)
}

/// Runs `script` by a shell with the data's and the target's directory in `$1` and `$2`.
async fn peer(script: &str, source: &Path, target: &Path) -> anyhow::Result<Sample> {
    let _ = std::fs::remove_dir_all(target);
    std::fs::create_dir_all(target)?;
    let mut shell = command("sh");
    shell.args(["-euc", script, "sh"]).arg(source).arg(target);
    shell
        .env("RESTIC_PASSWORD", "benchmark")
        .env("BORG_PASSPHRASE", "benchmark");
    shell
        .env("RESTIC_CACHE_DIR", target.join("cache"))
        .env("BORG_BASE_DIR", target.join("base"));
    let own = i32::try_from(std::process::id())?;
    let (sample, ended) = Sample::of(|| tree_cpu(own), finish(shell, LIMIT)).await?;
    anyhow::ensure!(ended.code == Some(0), "`{script}` failed: {}", ended.stderr);
    Ok(sample)
}

const PEERS: [(&str, &str); 3] = [
    (
        "tar | zstd",
        "tar -C \"$1\" -cf - . | zstd -q -T0 -3 -o \"$2/a.tar.zst\"",
    ),
    (
        "restic",
        "restic -q init -r \"$2/r\"; cd \"$1\"; restic -q -r \"$2/r\" backup .",
    ),
    (
        "borg",
        "borg init -e repokey-blake2 \"$2/b\"; cd \"$1\"; borg create -C zstd,3 \"$2/b::a\" .",
    ),
];

/// Backs a sample central of `bytes` bytes up, `runs` times, in turn with the others.
///
/// # Errors
///
/// If a backup fails.
pub async fn first_backup(lab: &Lab, bytes: u64, runs: usize) -> anyhow::Result<Vec<Row>> {
    let sample = central::Sample::at(lab.data().join("central"), bytes);
    sample.make(|_, _| ()).await?;
    let profile = lab.data().join("bench.toml");
    crate::network::write(&profile, sample.profile())?;
    let shown = profile.display().to_string();
    lab.server
        .cli(&["central", "add", &shown, "--replace", "--satellite", SATELLITE])
        .await?;
    let daemons = [
        ("bridge", pid_of(lab, "satellite-bridge.service").await?),
        ("backup service", pid_of(lab, UNIT).await?),
        (
            "management module",
            lab.server.pid().context("the management module does not run")?,
        ),
    ];
    let (mut ours, mut others) = (Vec::new(), BTreeMap::<&str, Vec<Sample>>::new());
    let own = i32::try_from(std::process::id())?;
    // The management module is a child of ours and counted with us; what runs on the satellite is not.
    let on_satellite = &daemons[..2];
    let cpu = || {
        let satellite: f64 = on_satellite.iter().map(|(_, pid)| process_cpu(*pid)).sum();
        tree_cpu(own) + satellite
    };
    for (_, pid) in daemons {
        forget_peak(pid);
    }
    for _ in 0..runs {
        // The command line's own time counts: it is a child of ours, and waited for.
        let words = ["backup", "run", sample.name.as_str()];
        warm(&sample.root).await?;
        let work = lab.server.cli(&words);
        let (sample_of_ours, _) = Sample::of(cpu, work).await?;
        ours.push(sample_of_ours);
        for stored in lab.server.archives().await? {
            let id = stored.archive.context("an archive without a description")?.id;
            lab.server.cli(&["backup", "delete", &id, "--yes"]).await?;
        }
        for (name, script) in PEERS {
            warm(&sample.root).await?;
            let taken = peer(script, &sample.root, &lab.data().join("peer")).await?;
            others.entry(name).or_default().push(taken);
        }
    }
    let mut rows = compared(bytes, &ours, &others);
    for (name, pid) in daemons {
        let peak = memory(pid, "VmHWM").with_context(|| format!("the {name} ended"))?;
        rows.push(Row::absolute(
            &format!("{name}, peak memory of a backup"),
            (peak, "MiB"),
            (Better::Less, 64.0),
        ));
    }
    Ok(rows)
}

/// Seconds of the processor and of the clock, ours beside the others'.
fn compared(bytes: u64, ours: &[Sample], others: &BTreeMap<&str, Vec<Sample>>) -> Vec<Row> {
    let middle = |samples: &[Sample], of: fn(&Sample) -> f64| median(samples.iter().map(of));
    let peers = |of: fn(&Sample) -> f64| -> BTreeMap<String, f64> {
        others
            .iter()
            .map(|(name, samples)| ((*name).to_owned(), middle(samples, of)))
            .collect()
    };
    let wall = |sample: &Sample| sample.wall;
    let cpu = |sample: &Sample| sample.cpu;
    let size = bytes / (1024 * 1024);
    vec![
        Row::against(
            &format!("first backup of {size} MiB, CPU"),
            (middle(ours, cpu), "s"),
            peers(cpu),
            ("tar | zstd", Better::Less, 1.3),
        ),
        Row::against(
            &format!("first backup of {size} MiB, verified, wall"),
            (middle(ours, wall), "s"),
            peers(wall),
            ("restic", Better::Less, 1.0),
        ),
    ]
}
