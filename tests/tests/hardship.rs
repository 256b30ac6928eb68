//! An update under difficulties: a line that loses packets and is cut, a disk that takes no more, a clock that is years off.
#![expect(clippy::unwrap_used, reason = "a test, which says what it measured")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use e2e::command::run;
use e2e::lab::{Lab, SATELLITE};
use e2e::manager::Manager;
use e2e::scratch::Scratch;
use e2e::variant::Variant;
use e2e::wait::until;
use satellite_proto::bundle::BundleReader;
use satellite_proto::wire::bridge::v1 as pb;

/// What bringing a version may take, on a bad line and a busy machine.
const BROUGHT: Duration = Duration::from_mins(4);
/// The largest chunk: all that a cut may cost.
const CHUNK: u64 = 256 * 1024;
/// What beside chunks comes over a line before it is cut: questions, answers, and the frames of everything.
const BESIDE: u64 = 64 * 1024;
/// A satellite's state.
const STATE: &str = "/var/lib/satellite";

/// A laboratory whose satellite runs the released version.
async fn commissioned() -> Scratch {
    let lab = Scratch::new().await.unwrap();
    lab.boot().await.unwrap();
    lab.serve().await.unwrap();
    lab.add_bundle().await.unwrap();
    lab.pair(&[]).await.unwrap();
    lab.server.converged(SATELLITE, BROUGHT).await.unwrap();
    lab
}

/// Packs a version of which the satellite lacks `noise` bytes, and gives it to the server, which brings it to nobody yet.
async fn packed(lab: &Lab, version: &str, noise: usize) -> PathBuf {
    let variant = Variant {
        noise,
        ..Variant::good(version)
    };
    let dir = lab.data().join("bundles");
    let bundle = variant.pack(&lab.release, &dir).await.unwrap();
    let path = bundle.display().to_string();
    lab.server.cli(&["bundle", "add", "--hold", &path]).await.unwrap();
    bundle
}

/// Asks the server to bring a version; how the command ended.
async fn push(lab: &Lab, version: &str) -> e2e::command::Ended {
    let words = ["update", "push", "backup-service", "--version", version];
    lab.server.try_cli(&words).await.unwrap()
}

/// Waits until the satellite runs `version`, and answers what the server's history says of it.
async fn brought(lab: &Lab, version: &str) -> serde_json::Value {
    let told = until("the version to be brought", BROUGHT, async || {
        let words = ["update", "history", "--output", "json"];
        let told: serde_json::Value = serde_json::from_str(&lab.server.cli(&words).await.ok()?).ok()?;
        let mut rows = told.as_array()?.iter();
        let row = rows.find(|row| row["version"] == version)?;
        (row["outcome"] == "done").then(|| row.clone())
    });
    let told = told.await.unwrap();
    let seen = until("the server to see the version", BROUGHT, async || {
        let satellite = lab.server.converged(SATELLITE, BROUGHT).await.ok()?;
        let seen = &satellite.observed.as_ref()?.workloads.first()?.version;
        (seen == version).then_some(())
    });
    seen.await.unwrap();
    told
}

/// Bytes of all chunks that the satellite keeps.
fn present(lab: &Lab) -> u64 {
    let packs = std::fs::read_dir(lab.satellite().var().join("lib/satellite/chunks")).unwrap();
    packs
        .filter_map(|pack| Some(pack.ok()?.metadata().ok()?.len()))
        .sum()
}

/// Does something to the packet filter on one side of the line. Tables in which the satellite has no rules of its own.
async fn filter(side: &str, words: &str) {
    let words = format!("netns exec {side} iptables -w {words}");
    let words: Vec<&str> = words.split_whitespace().collect();
    run("ip", &words).await.unwrap();
}

/// Bytes that each connection to the bridge has brought to the satellite, without gaps and counted once.
async fn received(lab: &Lab) -> u64 {
    let side = lab.lan.satellite_side();
    let words = [
        "netns",
        "exec",
        &side,
        "ss",
        "-Htin",
        "state",
        "established",
        "sport",
        "=",
        ":7640",
    ];
    let shown = run("ip", &words).await.unwrap();
    let counts = shown.split_whitespace().filter_map(|word| {
        let count = word.strip_prefix("bytes_received:")?;
        count.parse::<u64>().ok()
    });
    counts.max().unwrap_or_default()
}

/// A line that is bad.
struct Bad {
    /// Which packets to the satellite are lost, in the words of iptables' `statistic`.
    loss: &'static str,
    /// Bytes that are brought over it.
    noise: usize,
    /// How often it is cut.
    cuts: usize,
}

impl Bad {
    /// Brings a version over it, and answers what that took.
    async fn brings_a_version(&self) -> String {
        let lab = commissioned().await;
        let bundle = packed(&lab, "7.0.0", self.noise).await;
        let manifest = BundleReader::open(std::fs::File::open(&bundle).unwrap()).unwrap();
        let beside = BESIDE + u64::try_from(manifest.manifest_bytes().len()).unwrap();
        let loss = format!(
            "-t raw -A PREROUTING -p tcp --dport 7640 -m statistic {} -j DROP",
            self.loss
        );
        // All that the server sends passes here.
        filter(&lab.lan.satellite_side(), &loss).await;
        let start = Instant::now();
        // The connection that exists has brought the version before.
        let mut brought_before = received(&lab).await;
        let handle = lab.server.clone();
        let pushing = tokio::spawn(async move {
            let words = ["update", "push", "backup-service", "--version", "7.0.0"];
            handle.try_cli(&words).await
        });
        let mut lost = Vec::new();
        for cut in 0..self.cuts {
            let before = present(&lab);
            let more = until("more of it to arrive", BROUGHT, async || {
                (present(&lab) > before).then_some(())
            });
            more.await.unwrap();
            let came = cut_line(&lab).await;
            let came = came.saturating_sub(std::mem::take(&mut brought_before));
            let kept = present(&lab) - before;
            lost.push(came.saturating_sub(kept));
            assert!(
                came <= kept + beside + CHUNK,
                "cut {cut}: of {came} bytes that came {kept} were kept"
            );
            mend_line(&lab).await;
        }
        // The person who asked is told how it ended, or that it goes on.
        pushing.await.unwrap().unwrap();
        let told = brought(&lab, "7.0.0").await;
        let took = start.elapsed().as_secs_f64();
        // Nothing was sent twice: what was counted is what was missing.
        let sent = told["bytes_sent"].as_u64().unwrap();
        let noise = u64::try_from(self.noise).unwrap();
        assert!((noise..noise + 4 * CHUNK).contains(&sent), "{told}");
        format!(
            "with `{}` and {} cuts: {took:.1} s; came and not kept (with up to {beside} bytes beside chunks): {lost:?}",
            self.loss, self.cuts
        )
    }
}

/// Cuts the line for good, and answers how many bytes had come over it.
async fn cut_line(lab: &Lab) -> u64 {
    let came = received(lab).await;
    for (chain, port) in [("INPUT", "--sport"), ("OUTPUT", "--dport")] {
        let cutting = format!("-I {chain} -p tcp {port} 7640 -j REJECT --reject-with tcp-reset");
        filter(&lab.lan.server_side(), &cutting).await;
    }
    let down = until("the line to be down", BROUGHT, async || {
        (received(lab).await == 0).then_some(())
    });
    down.await.unwrap();
    came
}

async fn mend_line(lab: &Lab) {
    for chain in ["INPUT", "OUTPUT"] {
        filter(&lab.lan.server_side(), &format!("-D {chain} 1")).await;
    }
}

#[tokio::test]
#[ignore = "half a minute: run `make test-hardship`"]
async fn a_line_that_loses_packets_and_is_cut_brings_a_version_and_a_cut_costs_no_more_than_a_chunk() {
    let bad = Bad {
        loss: "--mode nth --every 10 --packet 0",
        noise: 1 << 18,
        cuts: 1,
    };
    println!("{}", bad.brings_a_version().await);
}

#[tokio::test]
#[ignore = "more than a minute: run `make test-hardship`"]
async fn a_line_that_loses_a_third_of_its_packets_and_is_cut_again_and_again_brings_a_version() {
    let bad = Bad {
        loss: "--mode random --probability 0.3",
        noise: 3 << 19,
        cuts: 3,
    };
    println!("{}", bad.brings_a_version().await);
}

/// What the server says when it is asked to bring a version and cannot.
async fn refused(lab: &Lab, version: &str, expected: &str) {
    let ended = push(lab, version).await;
    assert_ne!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stderr.contains(expected), "{}", ended.stderr);
}

#[tokio::test]
#[ignore = "the server waits before it tries a full disk again: run `make test-hardship`"]
async fn a_disk_that_becomes_read_only_or_full_during_a_push_is_told_with_what_to_do_and_the_push_goes_on() {
    let lab = commissioned().await;
    let sh = async |script: &str| lab.satellite().exec(&["sh", "-c", script]).await.unwrap();
    let old = lab.server.satellite(SATELLITE).await.unwrap();
    let old = old.observed.unwrap().workloads[0].version.clone();
    packed(&lab, "7.0.0", 4 << 20).await;
    let mount = |options: &str| format!("mount -t tmpfs -o {options} tmpfs {STATE}/chunks");

    sh(&mount("size=2m,mode=700")).await;
    sh(&mount("remount,ro,size=2m")).await;
    refused(&lab, "7.0.0", "takes no writes. Restart the satellite").await;
    // Not all that is missing fits.
    sh(&mount("remount,rw,size=2m")).await;
    refused(
        &lab,
        "7.0.0",
        "the disk of the satellite is full. Make room on it",
    )
    .await;

    let manager = Manager::of(&lab).await.unwrap();
    let line = manager.up().await.unwrap();
    let workload = line.workload().await.unwrap();
    assert_eq!(
        (workload.version, workload.state),
        (old, pb::WorkloadState::Healthy.into())
    );
    let uploads = line.uploads().await.unwrap();
    let upload = uploads.iter().find(|upload| upload.version == "7.0.0").unwrap();
    assert!(
        (1..upload.total_bytes).contains(&upload.present_bytes),
        "{upload:?}"
    );
    let half = format!("cd {STATE} && find updates chunks workloads -name '*.part' -o -name '.*.new'");
    assert_eq!(sh(&half).await, "", "something is left half");

    sh(&mount("remount,size=64m")).await;
    let told = brought(&lab, "7.0.0").await;
    let sent = told["bytes_sent"].as_u64().unwrap();
    assert!(
        (4 << 20..6 << 20).contains(&sent),
        "what had arrived was sent again: {told}"
    );
}

#[tokio::test]
#[ignore = "the bridge is started anew again and again: run `make test-hardship`"]
async fn a_clock_that_is_years_behind_stops_no_update_and_one_that_is_years_ahead_only_until_it_is_right() {
    let lab = commissioned().await;
    let library = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";
    std::fs::copy(library, lab.satellite().var().join("lib/libfaketime.so")).unwrap();
    let clock_of_bridge = async |years: i32| {
        let dir = "/run/systemd/system/satellite-bridge.service.d";
        let drop_in = format!(
            "[Service]\\nEnvironment=LD_PRELOAD=/var/lib/libfaketime.so FAKETIME={:+}d FAKETIME_DONT_FAKE_MONOTONIC=1 \
             DONT_FAKE_MONOTONIC=1 NO_FAKE_STAT=1\\n",
            years * 365
        );
        let script = format!(
            "mkdir -p {dir} && printf '{drop_in}' >{dir}/clock.conf && systemctl daemon-reload && \
             systemctl restart satellite-bridge.service"
        );
        lab.satellite().exec(&["sh", "-c", &script]).await.unwrap();
    };
    clock_of_bridge(-30).await;
    let manager = Manager::of(&lab).await.unwrap();
    let satellite = manager.up().await.unwrap().satellite().await.unwrap();
    let behind = now_here().await - satellite.current_time.unwrap().seconds;
    assert_eq!(
        behind / (365 * 24 * 3600),
        30,
        "the clock of the bridge was not changed"
    );
    packed(&lab, "7.0.0", 1 << 20).await;
    let ended = push(&lab, "7.0.0").await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    brought(&lab, "7.0.0").await;

    // To a clock that is years ahead the certificate of each server has run out.
    clock_of_bridge(30).await;
    packed(&lab, "7.0.1", 1 << 20).await;
    refused(&lab, "7.0.1", "the clock of the satellite").await;
    clock_of_bridge(0).await;
    // What was asked for is done by itself.
    brought(&lab, "7.0.1").await;
    let workload = manager.up().await.unwrap().workload().await.unwrap();
    assert_eq!(workload.state(), pb::WorkloadState::Healthy, "{workload:?}");
}

/// Seconds since 1970 by the clock of this machine.
async fn now_here() -> i64 {
    run("date", &["+%s"]).await.unwrap().trim().parse().unwrap()
}
