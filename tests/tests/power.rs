//! Power cuts at random moments: while a satellite starts, changes its network, and is set back to what was shipped. It
//! always starts again, and is never half of anything.
//!
//! The container loses its processes, not what the kernel has yet to write; `tests/tests/vm/power.rs` cuts a machine with its
//! disk. `SATELLITE_POWER_CUTS` says how many cuts there are, `SATELLITE_SEED` repeats a run.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::time::{Duration, Instant};

use e2e::dice::Dice;
use e2e::network::write;
use e2e::scratch::Scratch;
use e2e::wait::until;

const BRIDGE: &str = "/usr/lib/satellite/satellite-bridge";
const LIMIT: Duration = Duration::from_secs(120);
/// Cuts in the usual run of all tests.
const USUAL: u64 = 8;
const ADDRESS: &str = "10.77.0.202/24";
/// Where something lies that a factory reset must take away.
const CANARIES: [&str; 4] = ["lib", "lib/satellite", "log", "tmp"];

/// What can be cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    Start,
    Network,
    FactoryReset,
}

/// What must not be half.
#[derive(Debug, Clone, PartialEq, Eq)]
struct State {
    fingerprint: String,
    machine_id: String,
    is_static: bool,
    canaries: usize,
}

struct Run {
    lab: Scratch,
    dice: Dice,
    /// What a start takes here and now.
    start: Duration,
    cuts: u64,
    now: State,
}

impl Run {
    async fn new(dice: Dice) -> Self {
        let lab = Scratch::new().await.unwrap();
        lab.boot().await.unwrap();
        let begun = Instant::now();
        lab.satellite().reboot().await.unwrap();
        let start = begun.elapsed();
        plant(&lab);
        let settings = format!(r#"{{"ipv4":{{"method":"static","address":"{ADDRESS}","gateway":null}}}}"#);
        write(&lab.data().join("settings"), settings).unwrap();
        let now = state(&lab).await;
        assert_eq!(now.canaries, CANARIES.len());
        Self {
            lab,
            dice,
            start,
            cuts: 0,
            now,
        }
    }

    /// Does `work`, cuts it, cuts some of the starts after it, and checks what is there in the end.
    async fn round(&mut self, work: Work) {
        let before = self.now.clone();
        match work {
            Work::Start => {
                self.lab.satellite().cut().await.unwrap();
            }
            Work::Network => {
                write(
                    &self.lab.satellite().var().join("settings.json"),
                    std::fs::read(self.lab.data().join("settings")).unwrap(),
                )
                .unwrap();
                let wait = self.dice.below(1_000);
                let script = format!(
                    "id=$({BRIDGE} network apply /var/settings.json) && sleep {}.{:03} && {BRIDGE} network confirm $id",
                    wait / 1_000,
                    wait % 1_000
                );
                self.cut_within(&script, Duration::from_secs(3)).await;
            }
            Work::FactoryReset => {
                let script = format!("{BRIDGE} factory-reset");
                self.cut_within(&script, Duration::from_millis(1_500)).await;
            }
        }
        self.cuts += 1;
        for _ in 0..self.dice.below(4) {
            let moment = self.dice.moment(self.start);
            start_and_cut(&self.lab, moment).await;
            self.cuts += 1;
        }
        self.lab.satellite().start().await.unwrap();
        self.now = state(&self.lab).await;
        self.check(work, &before);
        if self.now.canaries == 0 {
            let left = self.lab.satellite().exec(&[BRIDGE, "self-test"]).await;
            // The console may have opened a pairing window meanwhile, which is no record of an earlier life.
            assert!(left.is_ok(), "{left:?}");
            plant(&self.lab);
            self.now.canaries = CANARIES.len();
        }
    }

    /// Runs `script` in the satellite and cuts the power before `limit`.
    async fn cut_within(&mut self, script: &str, limit: Duration) {
        let moment = self.dice.moment(limit);
        let satellite = self.lab.satellite();
        let words = ["sh", "-c", script];
        let _ = tokio::time::timeout(moment, satellite.exec(&words)).await;
        satellite.cut().await.unwrap();
    }

    fn check(&self, work: Work, before: &State) {
        let now = &self.now;
        let context = format!("after {work:?}, {} cuts, seed {}", self.cuts, self.dice.seed);
        let is_reset = now.canaries == 0;
        let is_whole = now.canaries == before.canaries;
        assert!(is_reset || is_whole, "half erased: {now:?} {context}");
        let is_same = now.fingerprint == before.fingerprint && now.machine_id == before.machine_id;
        let is_other = now.fingerprint != before.fingerprint && now.machine_id != before.machine_id;
        assert!(
            if is_reset { is_other } else { is_same },
            "{before:?} {now:?} {context}"
        );
        match work {
            Work::Start => assert_eq!(now, before, "{context}"),
            // A confirmed change stays, any other is undone: both are whole.
            Work::Network => assert!(is_whole, "{context}"),
            Work::FactoryReset if is_reset => assert!(!now.is_static, "settings survived: {context}"),
            Work::FactoryReset => assert_eq!(now.is_static, before.is_static, "{context}"),
        }
    }
}

/// Starts the satellite and cuts the power so long after the first moment of its start.
async fn start_and_cut(lab: &Scratch, moment: Duration) {
    let satellite = lab.satellite();
    let mut start = std::pin::pin!(satellite.start());
    let begun = async {
        until("the start to begin", LIMIT, async || {
            satellite.has_console().await.then_some(())
        })
        .await
    };
    let is_up = tokio::select! {
        begun = begun => begun.is_err(),
        _ = &mut start => true,
    };
    if !is_up {
        let _ = tokio::time::timeout(moment, start).await;
    }
    satellite.cut().await.unwrap();
}

fn plant(lab: &Scratch) {
    for dir in CANARIES {
        write(&lab.satellite().var().join(dir).join("canary"), "this was here").unwrap();
    }
}

/// The satellite once it is up, with its network settled.
async fn state(lab: &Scratch) -> State {
    let satellite = lab.satellite();
    let fingerprint = until("the bridge to answer", LIMIT, async || {
        let text = satellite
            .exec(&[BRIDGE, "status", "--output", "json"])
            .await
            .ok()?;
        let status: serde_json::Value = serde_json::from_str(&text).ok()?;
        status["fingerprint"].as_str().map(str::to_owned)
    });
    let fingerprint = fingerprint.await.unwrap();
    let is_static = until("the network to be whole", LIMIT, async || {
        let text = satellite.exec(&[BRIDGE, "network", "show"]).await.ok()?;
        let shown: serde_json::Value = serde_json::from_str(&text).ok()?;
        let addresses = satellite
            .exec(&["ip", "-4", "-o", "address", "show", "dev", "eth0"])
            .await
            .ok()?;
        let is_static = shown["settings"]["ipv4"]["method"] == "static";
        let found: Vec<_> = addresses
            .lines()
            .filter_map(|line| line.split(" inet ").nth(1)?.split(' ').next())
            .collect();
        let fits = found.len() == 1 && (found[0] == ADDRESS) == is_static;
        (fits && shown["open_change"].is_null()).then_some(is_static)
    });
    let is_static = is_static.await.unwrap();
    let var = satellite.var();
    State {
        fingerprint,
        machine_id: satellite.exec(&["cat", "/etc/machine-id"]).await.unwrap(),
        is_static,
        canaries: CANARIES
            .iter()
            .filter(|dir| var.join(dir).join("canary").exists())
            .count(),
    }
}

#[tokio::test]
async fn whenever_the_power_is_cut_a_satellite_starts_again_and_is_never_half_configured() {
    let wanted = std::env::var("SATELLITE_POWER_CUTS").map_or(USUAL, |text| text.parse().unwrap());
    let dice = Dice::from_environment();
    println!("SATELLITE_SEED={}", dice.seed);
    let mut run = Run::new(dice).await;
    println!("a start takes {:.1?}", run.start);
    let (mut rounds, mut resets, begun) = (0, 0, Instant::now());
    while run.cuts < wanted {
        let work = [Work::Start, Work::Network, Work::FactoryReset][rounds % 3];
        let before = run.now.fingerprint.clone();
        run.round(work).await;
        resets += usize::from(run.now.fingerprint != before);
        rounds += 1;
    }
    println!(
        "{} power cuts in {rounds} rounds, {resets} of them ended as shipped, {:.0?}",
        run.cuts,
        begun.elapsed()
    );
}
