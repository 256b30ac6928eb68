//! Leaving a server at the console: who is told what, and that nothing stops half-way.

use std::{os::unix::process::ExitStatusExt, path::Path, process::Stdio};

use satellite_bridge::{
    config::Config,
    menu::client::Console,
    pairing::{Stage, is_paired_on_disk},
    reset::{self, FAIL_POINTS, LeftoverKind},
};
use satellite_host::systemd::FakeUnits;
use satellite_proto::{
    identity::Role,
    wire::{
        DISCONNECTED, STATE_HEADER,
        bridge::v1::{WatchSatelliteRequest, satellite_service_client::SatelliteServiceClient},
    },
};
use tonic::{Code, Status};

use crate::lab::{DEADLINE, Lab, Manager, is_below};

/// Tells the child where its satellite is.
const PLACE: &str = "RESET_TEST_PLACE";
/// Tells the child what to do.
const WHAT: &str = "RESET_TEST_WHAT";

fn says_disconnected(status: &Status) -> bool {
    let state = status.metadata().get(STATE_HEADER);
    status.code() == Code::FailedPrecondition && state.is_some_and(|state| state == DISCONNECTED)
}

async fn console(lab: &Lab) -> Console {
    Console::connect(&lab.config.console_socket()).await.unwrap()
}

#[tokio::test]
async fn a_disconnected_satellite_tells_its_former_server_and_nobody_else() {
    let lab = Lab::start().await;
    let manager = lab.paired().await;
    let mut watcher = SatelliteServiceClient::new(lab.connect(&manager.admin).await.unwrap());
    let watch = watcher.watch_satellite(WatchSatelliteRequest {}).await;
    let mut states = watch.unwrap().into_inner();
    states.message().await.unwrap().unwrap();

    assert!(reset::disconnect(&lab.config).await.unwrap());
    let last_word = async {
        loop {
            if let Err(status) = states.message().await {
                return status;
            }
        }
    };
    let last_word = tokio::time::timeout(DEADLINE, last_word).await.unwrap();
    assert!(says_disconnected(&last_word), "{last_word:?}");

    // And whenever it comes back: also while a window is open, and after a restart.
    for is_open in [false, true] {
        if is_open {
            lab.code();
        }
        let told = lab.see(&manager.admin).await.unwrap_err();
        assert!(says_disconnected(&told), "{told:?}");
        let stranger = lab.see(&Manager::new().admin).await.unwrap_err();
        assert!(!says_disconnected(&stranger), "{stranger:?}");
        assert_eq!(is_below(&stranger), !is_open, "{stranger:?}");
    }
    let revoked_role = lab.see(&manager.leaf(Role::Viewer)).await.unwrap_err();
    assert!(!says_disconnected(&revoked_role));
    let lab = lab.restarted(0).await;
    assert!(says_disconnected(&lab.see(&manager.admin).await.unwrap_err()));
    assert!(
        !reset::disconnect(&lab.config).await.unwrap(),
        "it was paired no more"
    );

    // The next server inherits nothing, and the former one is a stranger then.
    let next = lab.paired().await;
    assert!(is_below(&lab.see(&manager.admin).await.unwrap_err()));
    let lab = lab.restarted(0).await;
    assert!(is_below(&lab.see(&manager.admin).await.unwrap_err()));
    lab.see(&next.admin).await.unwrap();
}

#[tokio::test]
async fn the_former_server_can_pair_again_with_a_new_code() {
    let lab = Lab::start().await;
    let manager = lab.paired().await;
    assert!(reset::disconnect(&lab.config).await.unwrap());
    assert!(says_disconnected(&lab.see(&manager.admin).await.unwrap_err()));
    let code = lab.code();
    manager.pair(lab.address(), &code).await.unwrap();
    lab.see(&manager.admin).await.unwrap();
    let lab = lab.restarted(0).await;
    lab.see(&manager.admin).await.unwrap();
}

#[tokio::test]
async fn without_the_daemon_it_is_disconnected_on_the_disk() {
    let lab = Lab::start().await;
    let manager = lab.paired().await;
    let config = lab.config.clone();
    let lab = lab
        .restarted_after(async || assert!(reset::disconnect(&config).await.unwrap()))
        .await;
    assert_eq!(lab.daemon.pairing.stage(), Stage::Unpaired);
    assert!(says_disconnected(&lab.see(&manager.admin).await.unwrap_err()));
}

/// Not a test by itself: what the next one starts as a process of its own, to be killed.
#[test]
#[ignore = "started by another test"]
fn child_that_leaves() {
    let Some(place) = std::env::var_os(PLACE) else {
        return;
    };
    let config = config_at(Path::new(&place));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        match std::env::var(WHAT).unwrap().as_str() {
            "disconnect" => drop(reset::disconnect(&config).await.unwrap()),
            _ => reset::request_factory_reset_of(&config, &FakeUnits::new())
                .await
                .unwrap(),
        }
    });
}

fn config_at(place: &Path) -> Config {
    let mut config = Config::default();
    config.data_dir = place.to_owned();
    config.state_dir = place.join("state");
    config.run_dir = place.join("run");
    config
}

fn kill_at(place: &Path, point: &str) {
    let what = point.split('.').next().unwrap();
    let itself = std::env::current_exe().unwrap();
    #[expect(clippy::disallowed_methods, reason = "this test again, to be killed")]
    let mut child = std::process::Command::new(itself);
    child
        .args(["--exact", "reset::child_that_leaves", "--ignored"])
        .env(PLACE, place)
        .env(WHAT, what)
        .env("SATELLITE_FAIL_POINT", point)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let ended = child.status().unwrap();
    assert_eq!(ended.signal(), Some(9), "{point} was not passed: {ended}");
}

#[tokio::test]
async fn killed_at_any_step_a_disconnection_is_finished_at_the_next_start() {
    for point in FAIL_POINTS {
        let lab = Lab::start().await;
        let manager = lab.paired().await;
        let config = lab.config.clone();
        let lab = lab
            .restarted_after(async || kill_at(&config.data_dir, point))
            .await;
        let is_reset = point.starts_with("factory-reset");
        assert_eq!(reset::is_requested(&config), is_reset, "{point}");
        // Of a factory reset the boot takes care, before the daemon: until then nothing is promised.
        if point == "factory-reset.marked" {
            continue;
        }
        assert_eq!(lab.daemon.pairing.stage(), Stage::Unpaired, "{point}");
        assert!(!is_paired_on_disk(&config.state_dir), "{point}");
        let told = lab.see(&manager.admin).await.unwrap_err();
        assert!(says_disconnected(&told), "{point}: {told:?}");
        lab.paired().await;
    }
}

#[tokio::test]
async fn a_factory_reset_is_recorded_tells_the_server_and_restarts_the_machine() {
    let lab = Lab::start().await;
    let manager = lab.paired().await;
    let units = FakeUnits::new();
    reset::request_factory_reset_of(&lab.config, &units)
        .await
        .unwrap();
    assert!(reset::is_requested(&lab.config));
    assert_eq!(units.calls(), ["reboot"]);
    assert!(says_disconnected(&lab.see(&manager.admin).await.unwrap_err()));
    assert!(console(&lab).await.open_window().await.is_ok());
    let kinds: Vec<_> = reset::self_test(&lab.config)
        .iter()
        .map(|left| left.kind)
        .collect();
    assert!(
        kinds.contains(&LeftoverKind::Request) && kinds.contains(&LeftoverKind::Record),
        "{kinds:?}"
    );
}
