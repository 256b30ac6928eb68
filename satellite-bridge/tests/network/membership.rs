//! Unpairing and revoking: on the disk, and on connections that exist.

use satellite_bridge::{menu::client::Console, pairing::Stage};
use satellite_proto::{
    identity::Role,
    wire::bridge::v1::{
        GetSatelliteRequest, PairingState, RevokePeerRequest, UnpairRequest, WatchSatelliteRequest,
        satellite_service_client::SatelliteServiceClient,
    },
};
use tonic::Code;

use crate::lab::{DEADLINE, Lab, until};

#[tokio::test]
async fn unpairing_answers_and_cuts_live_connections_at_once() {
    let lab = Lab::start().await;
    let manager = lab.paired().await;
    let mut caller = SatelliteServiceClient::new(lab.connect(&manager.admin).await.unwrap());
    let viewer = manager.leaf(Role::Viewer);
    let mut watcher = SatelliteServiceClient::new(lab.connect(&viewer).await.unwrap());
    let mut states = watcher
        .watch_satellite(WatchSatelliteRequest {})
        .await
        .unwrap()
        .into_inner();
    states.message().await.unwrap().unwrap();
    caller
        .unpair(UnpairRequest {
            idempotency_key: "k1".to_owned(),
        })
        .await
        .unwrap();
    let end = async { while let Ok(Some(_)) = states.message().await {} };
    tokio::time::timeout(DEADLINE, end)
        .await
        .expect("the end of the watch");
    caller.get_satellite(GetSatelliteRequest {}).await.unwrap_err();
    until("all connections to be cut", || {
        lab.daemon.connections.count() == 0
    })
    .await;
    assert_eq!(lab.daemon.pairing.stage(), Stage::Unpaired);
    assert!(!lab.config.state_dir.join("pairing.json").exists());
    lab.see(&manager.admin).await.unwrap_err();
    let lab = lab.restarted(0).await;
    lab.see(&manager.admin).await.unwrap_err();
}

#[tokio::test]
async fn a_revoked_leaf_is_cut_and_stays_out_while_others_stay_in() {
    let lab = Lab::start().await;
    let manager = lab.paired().await;
    let lost = manager.leaf(Role::Admin);
    let mut stolen = SatelliteServiceClient::new(lab.connect(&lost).await.unwrap());
    stolen.get_satellite(GetSatelliteRequest {}).await.unwrap();
    let mut caller = SatelliteServiceClient::new(lab.connect(&manager.admin).await.unwrap());
    let request = RevokePeerRequest {
        fingerprint: lost.pin().to_string(),
        idempotency_key: "k1".to_owned(),
    };
    let answer = caller.revoke_peer(request.clone()).await.unwrap().into_inner();
    assert_eq!(answer.connections_cut, 1);
    let again = caller.revoke_peer(request).await.unwrap().into_inner();
    assert_eq!(again.connections_cut, 1, "the first answer is given again");
    stolen.get_satellite(GetSatelliteRequest {}).await.unwrap_err();
    lab.see(&lost).await.unwrap_err();
    caller.get_satellite(GetSatelliteRequest {}).await.unwrap();
    let lab = lab.restarted(0).await;
    lab.see(&lost).await.unwrap_err();
    lab.see(&manager.admin).await.unwrap();
}

#[tokio::test]
async fn the_console_opens_a_window_shows_it_and_disconnects() {
    let lab = Lab::start().await;
    let mut console = Console::connect(&lab.config.console_socket()).await.unwrap();
    let status = console.status().await.unwrap();
    assert_eq!(status.pairing(), PairingState::Unpaired);
    assert_eq!(status.port, u32::from(lab.address().port()));
    let window = console.open_window().await.unwrap();
    assert_eq!(window.tries_left, 5);
    assert_eq!(
        console.status().await.unwrap().pairing(),
        PairingState::WindowOpen
    );
    let manager = crate::lab::Manager::new();
    manager
        .pair(lab.address(), &window.code.parse().unwrap())
        .await
        .unwrap();
    assert_eq!(console.status().await.unwrap().pairing(), PairingState::Candidate);
    lab.see(&manager.admin).await.unwrap();
    assert_eq!(console.status().await.unwrap().server_name, "server one");
    assert!(console.open_window().await.is_err());
    console.disconnect().await.unwrap();
    assert_eq!(console.status().await.unwrap().pairing(), PairingState::Unpaired);
    lab.see(&manager.admin).await.unwrap_err();
}

#[tokio::test]
async fn a_member_cannot_pair_again() {
    let lab = Lab::start().await;
    let manager = lab.paired().await;
    let channel = lab.connect(&manager.admin).await.unwrap();
    let mut client =
        satellite_proto::wire::bridge::v1::pairing_service_client::PairingServiceClient::new(channel);
    let error = client
        .pair(satellite_proto::wire::bridge::v1::PairRequest::default())
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn a_damaged_record_leaves_the_satellite_unpaired_and_running() {
    for spoil in [
        |_: &str| "{".to_owned(),
        |text: &str| {
            let start = text.find("\"installation\": \"").unwrap() + 17;
            let end = start + text[start..].find('"').unwrap();
            format!("{}AAAA{}", &text[..start], &text[end..])
        },
    ] {
        let lab = Lab::start().await;
        let manager = lab.paired().await;
        let record = lab.config.state_dir.join("pairing.json");
        let spoilt = spoil(&std::fs::read_to_string(&record).unwrap());
        #[expect(clippy::disallowed_methods, reason = "a bad disk asks nobody")]
        std::fs::write(&record, &spoilt).unwrap();
        let lab = lab.restarted(0).await;
        lab.see(&manager.admin).await.unwrap_err();
        let kept = lab.config.state_dir.join("pairing.json.damaged");
        assert_eq!(std::fs::read_to_string(&kept).unwrap(), spoilt);
        let lab = lab.restarted(0).await;
        let mut console = Console::connect(&lab.config.console_socket()).await.unwrap();
        let status = console.status().await.unwrap();
        assert_eq!(status.pairing(), PairingState::Unpaired);
        assert!(status.last_error.contains("pairing.json.damaged"), "{status:?}");
        lab.paired().await;
        assert!(kept.exists());
        console.disconnect().await.unwrap();
        assert!(!kept.exists());
    }
}
