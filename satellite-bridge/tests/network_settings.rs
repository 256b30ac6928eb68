//! Changes of the network settings over a machine that only remembers: what is on disk decides, in every order of
//! crashes, restarts, confirmations and rollbacks. The real machine is in tests/tests/network/.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test, which starts itself to be killed"
)]

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use satellite_bridge::change::{Armed, Changes, NoTimer, Subject};
use satellite_bridge::config::Config;
use satellite_bridge::firewall::Ruleset;
use satellite_bridge::network::render::render;
use satellite_bridge::network::{FAIL_POINTS, Ipv6, Link, Network, NetworkError, Settings};
use satellite_host::files;
use satellite_host::network::{Address, FakeNetwork};

/// Tells the child where its state is.
const STATE: &str = "NETWORK_TEST_STATE";
/// Tells the child how to end its change.
const ENDING: &str = "NETWORK_TEST_ENDING";
/// Time to confirm where nothing waits for it.
const LONG: Duration = Duration::from_secs(600);

/// A satellite's directories, and a machine.
struct World {
    config: Config,
    machine: FakeNetwork,
}

fn settings(json: &str) -> Settings {
    serde_json::from_str(json).unwrap()
}

/// The settings before each change: with files of their own, so that half of them would be seen.
fn first() -> Settings {
    settings(r#"{"port":"eth0","vlan":7,"mtu":1400,"proxy":"http://proxy:3128"}"#)
}

/// Those that are tried.
fn second() -> Settings {
    settings(
        r#"{"port":"eth0","ipv4":{"method":"static","address":"192.0.2.7/24","gateway":"192.0.2.1"},"dns":["192.0.2.53"]}"#,
    )
}

fn eth0() -> Link {
    Link {
        name: "eth0".to_owned(),
        has_carrier: true,
        mtu: 1500,
        ..Link::default()
    }
}

impl World {
    fn new(dir: &Path, confirm: Duration) -> Self {
        let mut config = Config::default();
        config.state_dir = dir.join("state");
        config.run_dir = dir.join("run");
        config.network_dir = dir.join("networkd");
        config.confirm_time = confirm;
        let machine = FakeNetwork::with(vec![eth0()]);
        Self { config, machine }
    }

    fn network(&self) -> Network {
        Network::with(&self.config, Arc::new(self.machine.clone()), Arc::new(NoTimer))
    }

    /// With [`first`] confirmed.
    async fn prepared(&self) -> Network {
        let network = self.network();
        let open = network.apply(&first()).await.unwrap();
        network.confirm(open.id).await.unwrap();
        network
    }

    /// What lies in the directory of systemd-networkd.
    fn files(&self) -> BTreeMap<String, String> {
        let entries = std::fs::read_dir(&self.config.network_dir).unwrap();
        entries
            .map(|entry| {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                (name, std::fs::read_to_string(path).unwrap())
            })
            .filter(|(name, _)| !name.starts_with('.'))
            .collect()
    }

    fn assert_in_force(&self, expected: &Settings, when: &str) {
        let rendered = render(expected);
        let rendered = rendered.into_iter().map(|file| (file.name.to_owned(), file.text));
        assert_eq!(self.files(), rendered.collect(), "{when}");
        let proxy = self.config.run_dir.join("proxy.env").exists();
        assert_eq!(proxy, expected.proxy.is_some(), "{when}");
    }
}

#[tokio::test]
async fn what_is_confirmed_stays_and_what_is_not_goes() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), LONG);
    let network = world.prepared().await;
    world.assert_in_force(&first(), "confirmed");
    let open = network.apply(&second()).await.unwrap();
    world.assert_in_force(&second(), "open");
    assert!(network.open_change().unwrap().is_in_force);
    assert_eq!(network.settings().unwrap(), first(), "before it is confirmed");
    network.rollback(open.id).await.unwrap();
    world.assert_in_force(&first(), "rolled back");
    let open = network.apply(&second()).await.unwrap();
    network.confirm(open.id).await.unwrap();
    world.assert_in_force(&second(), "confirmed");
    assert_eq!(network.settings().unwrap(), second());
    assert_eq!(network.last_good(), Some(first()));
    let again = network.confirm(open.id).await;
    assert!(matches!(again, Err(NetworkError::NoSuchChange)), "{again:?}");
    let same = network.apply(&second()).await;
    assert!(matches!(same, Err(NetworkError::Unchanged)), "{same:?}");
}

#[tokio::test]
async fn settings_for_one_port_get_the_one_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), LONG);
    let network = world.network();
    let unnamed = Settings {
        port: None,
        ..second()
    };
    let open = network.apply(&unnamed).await.unwrap();
    assert_eq!(open.settings, second());
    network.rollback(open.id).await.unwrap();
    let other = settings(r#"{"port":"eth9"}"#);
    let refused = network.apply(&other).await;
    assert!(matches!(refused, Err(NetworkError::NoSuchPort(_))), "{refused:?}");
    assert_eq!(network.open_change(), None);
}

#[tokio::test]
async fn a_change_that_nobody_confirms_is_undone_when_its_time_is_up() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), Duration::from_secs(1));
    let network = world.prepared().await;
    network.apply(&second()).await.unwrap();
    network.tend(true).await.unwrap();
    world.assert_in_force(&second(), "too early");
    let (task, stop) = (network.clone(), tokio_util::sync::CancellationToken::new());
    let task = tokio::spawn(task.keep(stop.clone()));
    let limit = Instant::now() + Duration::from_secs(20);
    while network.open_change().is_some() && Instant::now() < limit {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    stop.cancel();
    task.await.unwrap();
    assert_eq!(network.open_change(), None);
    world.assert_in_force(&first(), "too late");
}

#[tokio::test]
async fn the_firewall_and_the_network_share_the_one_open_change() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), LONG);
    let network = world.network();
    let lock = Changes::new(&world.config.state_dir).lock().await.unwrap();
    let armed = Armed {
        id: uuid::Uuid::new_v4(),
        deadline: jiff::Timestamp::now(),
        subject: Subject::Firewall {
            previous: Ruleset::shipped(),
            next: Ruleset::shipped(),
        },
    };
    lock.arm(&armed).unwrap();
    drop(lock);
    let refused = network.apply(&second()).await;
    assert!(
        matches!(refused, Err(NetworkError::ChangeOpen(id)) if id == armed.id),
        "{refused:?}"
    );
    assert_eq!(network.open_change(), None, "it is not one of the network");
    network.tend(true).await.unwrap();
    network.restore().await.unwrap();
    let other = network.rollback(armed.id).await;
    assert!(matches!(other, Err(NetworkError::NoSuchChange)), "{other:?}");
    assert!(
        Changes::new(&world.config.state_dir).is_open(),
        "it was ended by the network"
    );
}

#[tokio::test]
async fn the_server_confirms_over_a_connection_made_after_the_change() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), LONG);
    let network = world.network();
    let before = Instant::now();
    tokio::time::sleep(Duration::from_millis(30)).await;
    let open = network.announce(&second(), LONG).await.unwrap();
    let early = network.confirm_over(open.id, Instant::now()).await;
    assert!(matches!(early, Err(NetworkError::NotInForce)), "{early:?}");
    assert!(
        world.config.network_dir.read_dir().is_err(),
        "it was only announced"
    );
    network.execute(open.id).await.unwrap();
    let old = network.confirm_over(open.id, before).await;
    assert!(matches!(old, Err(NetworkError::OldConnection)), "{old:?}");
    tokio::time::sleep(Duration::from_millis(30)).await;
    network.confirm_over(open.id, Instant::now()).await.unwrap();
    assert_eq!(network.settings().unwrap(), second());
}

#[tokio::test]
async fn of_a_paired_satellite_the_person_confirms_only_by_insisting() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), LONG);
    let network = world.network();
    files::create_dir(&world.config.state_dir, 0o700).unwrap();
    files::write_atomic(&world.config.state_dir.join("pairing.json"), b"{}", 0o600).unwrap();
    let open = network.apply(&second()).await.unwrap();
    let refused = network.confirm(open.id).await;
    assert!(
        matches!(refused, Err(NetworkError::ServerMustConfirm)),
        "{refused:?}"
    );
    network.keep_without_server(open.id).await.unwrap();
    assert_eq!(network.settings().unwrap(), second());
}

#[tokio::test]
async fn a_machine_that_does_not_take_the_settings_gets_the_old_ones_back() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), LONG);
    let network = world.prepared().await;
    world.machine.break_reload(true);
    let failed = network.apply(&second()).await;
    assert!(matches!(failed, Err(NetworkError::Machine(_))), "{failed:?}");
    assert!(network.open_change().is_some(), "it could not be undone either");
    world.machine.break_reload(false);
    network.tend(true).await.unwrap();
    assert_eq!(network.open_change(), None);
    world.assert_in_force(&first(), "repaired");
}

#[tokio::test]
async fn what_systemd_networkd_does_not_take_back_is_taken_back_here() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(dir.path(), LONG);
    let network = world.prepared().await;
    let of_router = Address {
        net: "2001:db8::5054:ff:fe77:1/64".parse().unwrap(),
        is_dynamic: true,
        is_duplicate: false,
    };
    let mut packet = Link { mtu: 1400, ..eth0() };
    packet.addresses.push(of_router);
    let vlan = Link {
        name: "vlan7".to_owned(),
        vlan: Some(7),
        parent: Some("eth0".to_owned()),
        ..Link::default()
    };
    drop(network);
    world.machine = FakeNetwork::with(vec![packet, vlan]);
    let network = world.network();
    network.apply(&second()).await.unwrap();
    let calls = world.machine.calls();
    assert!(calls.contains(&"remove vlan7".to_owned()), "{calls:?}");
    assert!(calls.contains(&"mtu eth0 1500".to_owned()), "{calls:?}");
    let is_dropped = |call: &String| call.starts_with("drop ipv6");
    assert!(!calls.iter().any(is_dropped), "it is still wanted: {calls:?}");

    let open = network.open_change().unwrap();
    network.confirm(open.id).await.unwrap();
    let without = Settings {
        ipv6: Ipv6::Off,
        ..second()
    };
    network.apply(&without).await.unwrap();
    let calls = world.machine.calls();
    let dropped = "drop ipv6 addresses and routes eth0".to_owned();
    assert!(calls.contains(&dropped), "{calls:?}");
}

/// Not a test by itself: what the others start as a process of its own, to be killed.
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
        let network = World::new(&PathBuf::from(dir), LONG).network();
        let open = network.apply(&second()).await.unwrap();
        match std::env::var(ENDING).unwrap().as_str() {
            "confirm" => network.confirm(open.id).await.unwrap(),
            _ => network.rollback(open.id).await.unwrap(),
        }
    });
}

/// Kills a process that changes [`first`] to [`second`] at `point`.
fn kill_at(dir: &Path, point: &str, passage: u32) {
    let ending = if point.contains("roll") {
        "rollback"
    } else {
        "confirm"
    };
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_makes_a_change", "--ignored", "--nocapture"])
        .env(STATE, dir)
        .env(ENDING, ending)
        .env("SATELLITE_FAIL_POINT", format!("{point}:{passage}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert_eq!(child.signal(), Some(9), "{point} was not passed: {child}");
}

#[tokio::test]
async fn killed_at_any_step_it_is_the_old_or_the_new_settings_whole() {
    for point in FAIL_POINTS {
        for reboot in [false, true] {
            let when = format!("{point}, reboot: {reboot}");
            let dir = tempfile::tempdir().unwrap();
            let world = World::new(dir.path(), LONG);
            let network = world.prepared().await;
            kill_at(dir.path(), point, 1);
            let is_kept = point.starts_with("network.confirm");
            if reboot {
                std::fs::remove_dir_all(&world.config.network_dir).unwrap();
                std::fs::remove_dir_all(&world.config.run_dir).unwrap();
                network.restore().await.unwrap();
            } else {
                network.tend(true).await.unwrap();
            }
            // One that was in force when its maker died may still be confirmed, until its time is up.
            if let Some(open) = network.open_change() {
                assert!(
                    !reboot && ["network.applied", "network.confirm-recorded"].contains(&point)
                        || point == "network.rolled-back",
                    "{when}"
                );
                network.rollback(open.id).await.unwrap();
            }
            let expected = if is_kept { second() } else { first() };
            assert_eq!(network.settings().unwrap(), expected, "{when}");
            assert_eq!(network.open_change(), None, "{when}");
            world.assert_in_force(&expected, &when);
            // And the next change is made as if nothing had been.
            let next = settings(r#"{"port":"eth0","mtu":1300}"#);
            let open = network.apply(&next).await.unwrap();
            network.confirm(open.id).await.unwrap();
            world.assert_in_force(&next, &when);
        }
    }
}
