//! Processes that are killed with `SIGKILL` while they change the firewall, at every point where it could hurt.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Instant;

use satellite_bridge::change::{self, Changes};
use satellite_bridge::config::Config;
use satellite_bridge::firewall::{self, FAIL_POINTS, Ruleset};

use super::net::{Fate, Net};
use super::{LONG, PORT, is_web_open, ruleset, set, settings, start, web};

/// Tells the child where its state is.
const STATE: &str = "FIREWALL_TEST_STATE";
/// Tells the child how to end its change.
const ENDING: &str = "FIREWALL_TEST_ENDING";

/// Not a test by itself: what the others start as a process of its own, in the namespace, to be killed.
#[test]
#[ignore = "started by other tests"]
fn child_that_makes_a_change() {
    let Some(dir) = std::env::var_os(STATE) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let firewall = start(Path::new(&dir)).await;
        let change = set(&firewall, web(), LONG).await.unwrap().change.unwrap();
        match std::env::var(ENDING).unwrap().as_str() {
            "confirm" => drop(firewall.confirm(change.id, Instant::now()).await.unwrap()),
            _ => drop(firewall.rollback(change.id).await.unwrap()),
        }
    });
}

/// Kills a process that changes the shipped rules to [`web`] at `point`.
fn kill_at(net: &Net, dir: &Path, point: &str) {
    let itself = std::env::current_exe().unwrap();
    let ending = if point.contains("roll") {
        "rollback"
    } else {
        "confirm"
    };
    // The first passage of a point that the start passes as well is not that of the change.
    let passage = if point == "firewall.half-applied" { 2 } else { 1 };
    let child = net
        .satellite
        .command(itself.to_str().unwrap())
        .args([
            "--exact",
            "kill::child_that_makes_a_change",
            "--ignored",
            "--nocapture",
        ])
        .env(STATE, dir)
        .env(ENDING, ending)
        .env("SATELLITE_FAIL_POINT", format!("{point}:{passage}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert_eq!(child.signal(), Some(9), "{point} was not passed: {child}");
}

#[test]
fn killed_at_any_step_it_is_the_old_or_the_new_rules_whole() {
    for point in FAIL_POINTS {
        let (net, dir) = (Arc::new(Net::new()), tempfile::tempdir().unwrap());
        let _open = net.satellite.listen(8080);
        kill_at(&net, dir.path(), point);
        let kept = point.starts_with("firewall.confirm");
        let dir_path = dir.path().to_owned();
        net.satellite.block_on(async move || {
            let firewall = start(&dir_path).await;
            let status = firewall.get().await.unwrap();
            let expected = if kept { web() } else { Ruleset::shipped() };
            assert_eq!(
                (status.ruleset, status.open_change, status.in_sync),
                (expected, None, true),
                "{point}"
            );
            set(&firewall, ruleset(Vec::new()), LONG).await.unwrap();
        });
        let expected = if kept { Fate::Passed } else { Fate::Vanished };
        let settings = settings(dir.path());
        net.satellite
            .block_on(async move || firewall::restore_at_boot(&settings).await.unwrap());
        assert_eq!(is_web_open(&net), [expected; 2], "{point}");
    }
}

#[test]
fn the_rollback_works_while_the_daemon_is_dead_and_only_for_its_own_change() {
    let (net, dir) = (Net::new(), tempfile::tempdir().unwrap());
    let _open = net.satellite.listen(8080);
    kill_at(&net, dir.path(), "firewall.applied");
    assert_eq!(is_web_open(&net), [Fate::Passed; 2]);
    let dir_path = dir.path().to_owned();
    net.satellite.block_on(async move || {
        let mut config = Config::default();
        config.state_dir = dir_path.clone();
        config.listen.set_port(PORT);
        assert!(
            !change::rollback_from_disk(&config, uuid::Uuid::new_v4())
                .await
                .unwrap()
        );
        let open = Changes::new(&dir_path)
            .lock()
            .await
            .unwrap()
            .open_change()
            .unwrap()
            .unwrap();
        assert!(change::rollback_from_disk(&config, open.id).await.unwrap());
        assert!(!change::rollback_from_disk(&config, open.id).await.unwrap());
    });
    assert_eq!(is_web_open(&net), [Fate::Vanished; 2]);
}
