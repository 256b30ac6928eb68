//! The main job, step by step: a server commissions a satellite and backs up a central's data through it.
//!
//! **Invariant:** a step that finds its work done does not do it again.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use satellite_proto::wire::backup::v1::Archive;

use crate::central::Sample;
use crate::command::{DEADLINE, command, run, stdout_of};
use crate::compare::compare;
use crate::lab::{Lab, SATELLITE};
use crate::tell::{Teller, mebibytes, seconds};

/// Steps that [`first_light`] tells of.
pub const STEPS: usize = 12;
/// Pairing to healthy workload, on a busy machine.
const COMMISSIONED: Duration = Duration::from_mins(3);

/// What was seen on the way.
#[derive(Debug)]
pub struct Seen {
    /// The archive.
    pub archive: Archive,
    /// From the pairing until the workload was healthy; none if it was paired before.
    pub commissioning: Option<Duration>,
    /// Resident memory of the bridge, idle, in bytes.
    pub bridge_memory: u64,
    /// Log lines of the backup service, as fetched from the satellite.
    pub logs: String,
    /// The firewall in force, as shown.
    pub firewall: String,
}

/// Brings `lab` to where a person can go on, with a sample central of `bytes`.
///
/// # Errors
///
/// The first step that fails, by its title.
pub async fn first_light(lab: &Lab, bytes: u64, tell: &mut Teller) -> anyhow::Result<Seen> {
    let sample = Sample::at(lab.data().join("central"), bytes);
    prepare(lab, tell).await?;
    let commissioning = commission(lab, tell).await?;
    let archive = back_up(lab, &sample, tell).await?;
    tell.step(
        "Reading the archive as any tool does: tar --zstd -tf",
        read_back(lab, &archive),
    )
    .await?;
    tell.step(
        "Restoring into an empty directory and comparing every byte",
        restore(lab, &sample, &archive),
    )
    .await?;
    let (logs, firewall) = look(lab, tell).await?;
    let bridge_memory = lab.satellite().bridge_memory().await?;
    Ok(Seen {
        archive,
        commissioning,
        bridge_memory,
        logs,
        firewall,
    })
}

async fn prepare(lab: &Lab, tell: &mut Teller) -> anyhow::Result<()> {
    tell.step(
        "Packing backup-service into a bundle, signed with a development key",
        async {
            let bundle = lab.release.bundle().await?;
            Ok((
                (),
                format!("{}, {}", bundle.display(), mebibytes(bundle.metadata()?.len())),
            ))
        },
    )
    .await?;
    tell.step(
        "Booting a satellite: its real root file system, in a container, only the bridge installed",
        async {
            let booted = lab.boot().await?;
            let address = lab.address().await?;
            let how = if booted {
                "up by systemd, with the DHCP address"
            } else {
                "runs already, at"
            };
            Ok(((), format!("{how} {address}")))
        },
    )
    .await?;
    tell.step("Starting the management module", async {
        let started = lab.serve().await?;
        lab.add_bundle().await?;
        Ok((
            (),
            if started {
                "answers, and has the bundle"
            } else {
                "runs already"
            }
            .to_owned(),
        ))
    })
    .await
}

async fn commission(lab: &Lab, tell: &mut Teller) -> anyhow::Result<Option<Duration>> {
    let start = tell
        .step(
            "Pairing with the code that the satellite's console shows",
            async {
                if lab.server.satellite(SATELLITE).await.is_some() {
                    return Ok((None, "paired already".to_owned()));
                }
                let start = Instant::now();
                lab.pair(&[]).await?;
                Ok((
                    Some(start),
                    format!("{SATELLITE} is paired, both sides hold each other's key"),
                ))
            },
        )
        .await?;
    tell.step(
        "Waiting until the server has commissioned it: push, install, firewall, start, healthy",
        async {
            let satellite = lab.server.converged(SATELLITE, COMMISSIONED).await?;
            let workloads = satellite.observed.map(|observed| observed.workloads);
            let running: Vec<String> = workloads
                .iter()
                .flatten()
                .map(|workload| format!("{} {} is healthy", workload.name, workload.version))
                .collect();
            anyhow::ensure!(!running.is_empty(), "the server wants nothing to run on it");
            let took = start.map(|start| start.elapsed());
            let since = took.map(|took| format!(", {} after the pairing began", seconds(took)));
            Ok((took, running.join(", ") + &since.unwrap_or_default()))
        },
    )
    .await
}

async fn back_up(lab: &Lab, sample: &Sample, tell: &mut Teller) -> anyhow::Result<Archive> {
    tell.step(
        "Making a sample central: database, settings, call records, voicemail, announcements",
        async {
            sample.make(|_, _| ()).await?;
            let profile = lab.data().join("central.toml");
            crate::network::write(&profile, sample.profile())?;
            let shown = profile.display().to_string();
            lab.server
                .cli(&["central", "add", &shown, "--replace", "--satellite", SATELLITE])
                .await?;
            Ok((
                (),
                format!("{} in {}", mebibytes(sample.bytes), sample.root.display()),
            ))
        },
    )
    .await?;
    tell.step("Backing it up through the satellite", async {
        if lab.server.archives().await?.is_empty() {
            lab.server.cli_shown(&["backup", "run", &sample.name]).await?;
        }
        let stored = lab.server.archives().await?;
        let archive = stored
            .into_iter()
            .next()
            .and_then(|stored| stored.archive)
            .context("no archive")?;
        let said = format!(
            "{}, {}, of {}",
            archive.file_name,
            mebibytes(archive.size_bytes),
            sample.name
        );
        Ok((archive, said))
    })
    .await
}

async fn read_back(lab: &Lab, archive: &Archive) -> anyhow::Result<((), String)> {
    let file = downloaded(lab, archive);
    if !file.exists() {
        std::fs::create_dir_all(file.parent().unwrap_or(&file))?;
        let to = file.display().to_string();
        lab.server
            .cli_shown(&["backup", "download", &archive.file_name, "--to", &to])
            .await?;
    }
    let mut list = command("tar");
    list.args(["--zstd", "-tf"]).arg(&file);
    let names = stdout_of(list, DEADLINE).await?;
    anyhow::ensure!(
        names.starts_with("manifest.json\n"),
        "the first member is not the manifest"
    );
    anyhow::ensure!(
        names.trim_end().ends_with("checksums.json"),
        "the last member is not the checksums"
    );
    Ok((
        (),
        format!("{} members in {}", names.lines().count(), file.display()),
    ))
}

fn downloaded(lab: &Lab, archive: &Archive) -> PathBuf {
    lab.data().join("downloads").join(&archive.file_name)
}

async fn restore(lab: &Lab, sample: &Sample, archive: &Archive) -> anyhow::Result<((), String)> {
    let target = lab.data().join("restored").join(&archive.id);
    let verdict = target.with_extension("equal");
    if let Ok(said) = std::fs::read_to_string(&verdict) {
        return Ok(((), format!("was equal: {said}")));
    }
    let _ = std::fs::remove_dir_all(&target);
    std::fs::create_dir_all(target.parent().unwrap_or(&target))?;
    let to = target.display().to_string();
    lab.server
        .cli_shown(&["backup", "restore", &archive.file_name, "--to", &to])
        .await?;
    let (mut entries, mut bytes) = (0, 0);
    for (data_set, source) in sample.directories() {
        let skip: &[&str] = if data_set == "core" {
            &["pbx.sqlite", "cache/thumbnails.bin"]
        } else {
            &[]
        };
        let restored = target.join(data_set).join(source.strip_prefix("/")?);
        let found = compare(&source, &restored, skip)?;
        anyhow::ensure!(
            found.differences.is_empty(),
            "{data_set}: {}",
            found.differences.join("; ")
        );
        entries += found.entries;
        bytes += found.bytes;
    }
    let statements = same_database(sample, &target).await?;
    let said = format!(
        "{entries} files and directories, {} and a dump of {statements} lines are equal",
        mebibytes(bytes)
    );
    crate::network::write(&verdict, &said)?;
    let _ = std::fs::remove_dir_all(&target);
    Ok(((), said))
}

/// The restored dump says what the database says.
async fn same_database(sample: &Sample, target: &Path) -> anyhow::Result<usize> {
    let database = sample.database().display().to_string();
    let expected = run("sqlite3", &["-readonly", &database, ".dump"]).await?;
    let dump = walkdir::WalkDir::new(target.join("core"))
        .into_iter()
        .flatten()
        .find(|entry| entry.file_name() == "pbx.sql")
        .context("the dump of the database was not restored")?;
    let restored = std::fs::read_to_string(dump.path())?;
    anyhow::ensure!(
        restored == expected,
        "the restored dump differs from the database"
    );
    Ok(expected.lines().count())
}

async fn look(lab: &Lab, tell: &mut Teller) -> anyhow::Result<(String, String)> {
    let logs = tell
        .step(
            "Fetching log lines of the backup service from the satellite",
            async {
                let words = [
                    "satellite",
                    "logs",
                    SATELLITE,
                    "workload/backup-service",
                    "--lines",
                    "8",
                ];
                let logs = lab.server.cli(&words).await?;
                Ok((logs, "fetched:".to_owned()))
            },
        )
        .await?;
    tell.show(&logs);
    let firewall = tell
        .step("Asking for the firewall rules in force", async {
            let shown = lab.server.cli(&["firewall", "show", SATELLITE]).await?;
            Ok((shown, "answered:".to_owned()))
        })
        .await?;
    tell.show(&firewall);
    let satellites = tell
        .step("Listing satellites and archives", async {
            let satellites = lab.server.cli(&["satellite", "list"]).await?;
            let archives = lab.server.cli(&["backup", "list"]).await?;
            Ok((format!("{satellites}\n{archives}"), "listed:".to_owned()))
        })
        .await?;
    tell.show(&satellites);
    Ok((logs, firewall))
}
