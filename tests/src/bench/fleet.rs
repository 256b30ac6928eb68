//! A server with many satellites, which are emulated: what a rollout takes, and how evenly they come back.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use satellite_proto::wire::management::v1::{FleetSatellite, Reachability};

use super::process::{forget_peak, memory};
use super::{Better, Row};
use crate::command::stdout_of;
use crate::fleet::{Fleet, WORKLOAD, bundle};
use crate::lab::Lab;
use crate::wait::until;

/// Satellites of the rollout.
const UPDATED: usize = 1000;
/// Satellites that the server meets after its restart.
const MET: usize = 5000;
/// What each part may take.
const LIMIT: Duration = Duration::from_mins(15);

fn answers(satellite: &FleetSatellite) -> bool {
    satellite.reachability() == Reachability::Reachable
}

fn peak_memory(lab: &Lab) -> anyhow::Result<f64> {
    let pid = lab.server.pid().context("the management module does not run")?;
    memory(pid, "VmHWM").context("the management module ended")
}

/// Bytes that went between the server and its satellites so far, both ways: all that passes the loop of its network, for
/// commands come over a socket of the file system.
async fn on_the_wire(lab: &Lab) -> anyhow::Result<f64> {
    let mut table = lab.lan.at_server("cat");
    table.arg("/proc/self/net/dev");
    let table = stdout_of(table, LIMIT).await?;
    let counts = table.lines().find_map(|line| line.trim().strip_prefix("lo:"));
    // Received first, sent in the ninth place: here they are the same.
    let sent = counts.and_then(|counts| counts.split_whitespace().nth(8));
    Ok(sent.context("the network has no loop")?.parse()?)
}

/// Brings a version to a thousand satellites.
///
/// # Errors
///
/// If it does not come to all of them.
pub async fn rollout(lab: &Lab) -> anyhow::Result<Vec<Row>> {
    lab.lan.up().await?;
    lab.serve().await?;
    let fleet = Fleet::start(lab, UPDATED).await?;
    let first = bundle(lab, 1, "1.0.0").await?.display().to_string();
    lab.server.cli(&["bundle", "add", &first]).await?;
    fleet.pair(lab, &[WORKLOAD]).await?;
    fleet.all(lab, LIMIT, |one| one.converged && answers(one)).await?;
    let second = bundle(lab, 2, "2.0.0").await?.display().to_string();
    lab.server.cli(&["bundle", "add", &second, "--hold"]).await?;
    forget_peak(lab.server.pid().context("the management module does not run")?);
    let before = on_the_wire(lab).await?;
    let start = Instant::now();
    let line = "update rollout start emulated --version 2.0.0 --at-once 100 --wait";
    let words: Vec<_> = line.split_whitespace().collect();
    lab.server.cli(&words).await?;
    let took = start.elapsed().as_secs_f64();
    let (peak, bytes) = (peak_memory(lab)?, on_the_wire(lab).await? - before);
    #[expect(clippy::cast_precision_loss, reason = "a thousand")]
    let each = bytes / UPDATED as f64 / 1024.0;
    Ok(vec![
        Row::record("rollout to 1,000 satellites, 100 at once", (took, "s"), [].into()),
        Row::record("… management module, peak memory", (peak, "MiB"), [].into()),
        Row::record("… both ways, for each satellite", (each, "KiB"), [].into()),
    ])
}

/// Restarts the server of five thousand satellites.
///
/// # Errors
///
/// If it does not meet all of them.
pub async fn restart(lab: &Lab) -> anyhow::Result<Vec<Row>> {
    lab.lan.up().await?;
    lab.serve().await?;
    let mut fleet = Fleet::start(lab, MET).await?;
    fleet.pair(lab, &[]).await?;
    fleet.all(lab, LIMIT, answers).await?;
    lab.server.stop().await;
    fleet.tell("forget").await?;
    lab.serve().await?;
    let mut met = Vec::new();
    let wanted = u64::try_from(MET)?;
    until("the server to meet all satellites", LIMIT, async || {
        met = fleet.met().await.ok()?;
        (met.iter().sum::<u64>() >= wanted).then_some(())
    })
    .await?;
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    let (peak, mean) = (
        met.iter().copied().max().unwrap_or_default() as f64,
        wanted as f64 / met.len() as f64,
    );
    #[expect(clippy::cast_precision_loss, reason = "a few seconds")]
    let seconds = met.len() as f64;
    let bound = (Better::Less, 3.0);
    Ok(vec![
        Row::absolute(
            "restart with 5,000 satellites, peak second",
            (peak / mean, "× mean"),
            bound,
        ),
        Row::record("… until all were met", (seconds, "s"), [].into()),
        Row::record(
            "… management module, peak memory",
            (peak_memory(lab)?, "MiB"),
            [].into(),
        ),
    ])
}
