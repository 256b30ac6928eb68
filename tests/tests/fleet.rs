//! A server with many satellites, emulated by the real bridge without machines.
#![expect(clippy::unwrap_used, reason = "a test, which says what it measured")]

use std::time::Duration;

use e2e::fleet::{Fleet, WORKLOAD, bridge, bundle};
use e2e::scratch::Scratch;
use e2e::wait::until;
use satellite_proto::wire::management::v1::{FleetSatellite, Reachability};

/// How long the fleet may take to come to something.
const COME: Duration = Duration::from_mins(4);

/// Satellites; `SATELLITE_FLEET` says how many if it is to be another number.
fn count(usual: usize) -> usize {
    std::env::var("SATELLITE_FLEET").map_or(usual, |text| text.parse().unwrap())
}

fn answers(satellite: &FleetSatellite) -> bool {
    satellite.reachability() == Reachability::Reachable
}

/// Whether a satellite is as wanted, and has this version of a workload or of its bridge.
fn has(satellite: &FleetSatellite, what: &str, version: &str) -> bool {
    let mut there = satellite.observed.iter().flat_map(|observed| &observed.workloads);
    satellite.converged && there.any(|workload| workload.name == what && workload.version == version)
}

/// Waits until the rollout that is open, or the last one, has come to a state, nobody is being updated, and all that the server
/// prints of it has these words.
async fn shows(lab: &Scratch, state: &str, word: &str) {
    let mut shown = String::new();
    let come = until("the rollout to come so far", COME, async || {
        shown = cli(lab, "update rollout show --output json").await;
        let read: serde_json::Value = serde_json::from_str(&shown).ok()?;
        let rollout = &read["rollout"];
        let is_there = rollout["state"] == state && rollout["updating"] == 0 && shown.contains(word);
        is_there.then_some(())
    });
    assert!(come.await.is_ok(), "not {state} with `{word}`: {shown}");
}

async fn cli(lab: &Scratch, line: &str) -> String {
    let words: Vec<_> = line.split_whitespace().collect();
    lab.server.cli(&words).await.unwrap()
}

#[tokio::test]
async fn a_fleet_comes_back_evenly_after_a_restart_of_its_server() {
    let count = count(400);
    let lab = Scratch::new().await.unwrap();
    lab.lan.up().await.unwrap();
    lab.serve().await.unwrap();
    let mut fleet = Fleet::start(&lab, count).await.unwrap();
    fleet.pair(&lab, &[]).await.unwrap();
    fleet.all(&lab, COME, answers).await.unwrap();

    lab.server.stop().await;
    fleet.tell("forget").await.unwrap();
    lab.serve().await.unwrap();
    let mut met = Vec::new();
    let all = until("the server to meet all of them", COME, async || {
        met = fleet.met().await.ok()?;
        (met.iter().sum::<u64>() >= count as u64).then_some(())
    });
    all.await.unwrap();
    let peak = *met.iter().max().unwrap() as f64;
    let mean = count as f64 / met.len() as f64;
    println!(
        "{count} satellites in {} s, peak {peak} in a second, mean {mean:.1}: {met:?}",
        met.len()
    );
    assert!(peak < 3.0 * mean, "{met:?}");
    fleet.all(&lab, COME, answers).await.unwrap();
}

#[tokio::test]
async fn a_rollout_over_a_fleet_halts_when_too_many_fail_and_goes_on_when_they_are_mended() {
    let lab = Scratch::new().await.unwrap();
    lab.lan.up().await.unwrap();
    lab.serve().await.unwrap();
    let mut fleet = Fleet::start(&lab, 40).await.unwrap();
    let add = async |release, version: &str, how: &str| {
        let bundle = bundle(&lab, release, version).await.unwrap();
        cli(&lab, &format!("bundle add {} {how}", bundle.display())).await;
    };
    add(1, "1.0.0", "").await;
    fleet.pair(&lab, &[WORKLOAD]).await.unwrap();
    fleet
        .all(&lab, COME, |one| has(one, WORKLOAD, "1.0.0"))
        .await
        .unwrap();

    // A fifth of them takes no other version, and one is away.
    fleet.tell("break 1-8").await.unwrap();
    fleet.tell("stop 39").await.unwrap();
    add(2, "2.0.0", "--hold").await;
    let start = "update rollout start emulated --version 2.0.0 --first e00000 --stop-at 10 --at-once 8";
    cli(&lab, start).await;
    shows(&lab, "halted", "broken on purpose").await;
    // Who failed runs what it ran before.
    let away = |one: &FleetSatellite| one.name == "e00039";
    let is_whole = |one: &FleetSatellite| {
        let there = one.observed.iter().flat_map(|observed| &observed.workloads);
        let mut there = there.filter(|workload| workload.name == WORKLOAD);
        there.any(|workload| ["1.0.0", "2.0.0"].contains(&workload.version.as_str()) && workload.enabled)
    };
    fleet
        .all(&lab, COME, |one| away(one) || is_whole(one))
        .await
        .unwrap();

    fleet.tell("mend all").await.unwrap();
    cli(&lab, "update rollout resume").await;
    fleet.tell("start 39").await.unwrap();
    shows(&lab, "done", "").await;
    cli(&lab, &format!("update retry {WORKLOAD}")).await;
    fleet
        .all(&lab, COME, |one| has(one, WORKLOAD, "2.0.0"))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_rollout_exchanges_the_bridges_of_a_fleet_and_those_that_crash_keep_theirs() {
    let lab = Scratch::new().await.unwrap();
    lab.lan.up().await.unwrap();
    lab.serve().await.unwrap();
    let mut fleet = Fleet::start(&lab, 12).await.unwrap();
    fleet.pair(&lab, &[]).await.unwrap();
    fleet.all(&lab, COME, answers).await.unwrap();
    let add = async |release, version: &str| {
        let bundle = bridge(&lab, release, version).await.unwrap();
        cli(&lab, &format!("bundle add {} --hold", bundle.display())).await;
    };

    // Nobody names the satellites: all that consist of a bridge alone are meant.
    add(1, "9.0.0").await;
    let start = "update rollout start bridge --canary 1 --waves 50,100 --at-once 4 --stop-at 50 --version";
    cli(&lab, &format!("{start} 9.0.0")).await;
    shows(&lab, "done", "").await;
    fleet
        .all(&lab, COME, |one| has(one, "bridge", "9.0.0"))
        .await
        .unwrap();

    fleet.tell("break 3-4").await.unwrap();
    add(2, "9.1.0").await;
    cli(&lab, &format!("{start} 9.1.0 --first e00000")).await;
    shows(&lab, "done", "ended 3 times before the server had reached it").await;
    let is_broken = |one: &FleetSatellite| ["e00003", "e00004"].contains(&one.name.as_str());
    let keeps = |one: &FleetSatellite| {
        let mut there = one.observed.iter().flat_map(|observed| &observed.workloads);
        answers(one) && there.any(|part| part.name == "bridge" && part.version == "9.0.0")
    };
    let is_right = |one: &FleetSatellite| {
        if is_broken(one) {
            keeps(one)
        } else {
            has(one, "bridge", "9.1.0")
        }
    };
    fleet.all(&lab, COME, is_right).await.unwrap();
}
