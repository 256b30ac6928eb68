//! From pairing to a healthy workload, and what the daemons take when nothing happens.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use satellite_proto::wire::management::v1::FleetSatellite;

use super::process::{memory, process_cpu};
use super::{Better, Row};
use crate::lab::{Lab, SATELLITE};

/// How long nothing happens before idle figures are taken.
const IDLE: Duration = Duration::from_secs(20);

/// Pairs, lets the server commission, and takes the time.
///
/// # Errors
///
/// If it does not work.
pub async fn pair_to_healthy(lab: &Lab) -> anyhow::Result<(Vec<Row>, FleetSatellite)> {
    lab.boot().await?;
    lab.serve().await?;
    lab.add_bundle().await?;
    let start = Instant::now();
    lab.pair(&[]).await?;
    let satellite = lab.server.converged(SATELLITE, Duration::from_secs(120)).await?;
    let took = start.elapsed().as_secs_f64();
    let row = Row::absolute("pairing to healthy workload", (took, "s"), (Better::Less, 20.0));
    Ok((vec![row], satellite))
}

/// Memory and processor of the daemons while nothing happens.
///
/// # Errors
///
/// If one of them does not run.
pub async fn idle(lab: &Lab) -> anyhow::Result<Vec<Row>> {
    let bridge = pid_of(lab, "satellite-bridge.service").await?;
    let server = lab.server.pid().context("the management module does not run")?;
    let before = (process_cpu(bridge), process_cpu(server));
    tokio::time::sleep(IDLE).await;
    let share = |pid, before| (process_cpu(pid) - before) / IDLE.as_secs_f64() * 100.0;
    let resident = |pid| memory(pid, "VmRSS").context("a daemon ended");
    Ok(vec![
        Row::absolute(
            "bridge, idle memory",
            (resident(bridge)?, "MiB"),
            (Better::Less, 12.0),
        ),
        Row::absolute(
            "management module, idle memory",
            (resident(server)?, "MiB"),
            (Better::Less, 40.0),
        ),
        Row::record(
            "bridge, idle processor",
            (share(bridge, before.0), "%"),
            [].into(),
        ),
        Row::record(
            "management module, idle processor",
            (share(server, before.1), "%"),
            [].into(),
        ),
    ])
}

/// The main process of a unit of the satellite, as the host numbers it.
///
/// # Errors
///
/// If it does not run.
pub async fn pid_of(lab: &Lab, unit: &str) -> anyhow::Result<i32> {
    let satellite = lab.satellite();
    let inside = satellite.main_pid(unit).await?;
    let inside = inside.with_context(|| format!("{unit} does not run"))?;
    let leader = satellite.leader().context("the satellite does not run")?;
    let namespace = |pid: i32| std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let wanted = namespace(leader);
    let found = std::fs::read_dir("/proc")?.flatten().find_map(|entry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let status = std::fs::read_to_string(entry.path().join("status")).ok()?;
        let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
        let innermost: i32 = numbers.split_whitespace().next_back()?.parse().ok()?;
        (innermost == inside && namespace(pid) == wanted).then_some(pid)
    });
    found.with_context(|| format!("{unit} is not among the host's processes"))
}
