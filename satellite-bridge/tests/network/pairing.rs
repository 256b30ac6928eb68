//! Pairing: what is refused, and that the honest pairing works afterwards.

use std::net::SocketAddr;

use satellite_bridge::pairing::Stage;
use satellite_proto::{
    identity::{Identity, Installation, Role},
    pairing::Code,
    tls::{Connections, Expect, ServerTls, Trust, incoming},
    wire::bridge::v1::{
        PairRequest, PairResponse, pairing_service_server::PairingService,
        pairing_service_server::PairingServiceServer,
    },
};
use tokio::net::TcpListener;
use tonic::{Code as StatusCode, Request, Response, Status, transport::Server};

use crate::lab::{Lab, Manager, dialled, is_below, send_proof};

/// An honest pairing, from a fresh window to the first call.
async fn check_honest_pairing(lab: &Lab) {
    let code = lab.code();
    check_pairing_with(lab, &code).await;
}

async fn check_pairing_with(lab: &Lab, code: &Code) {
    let manager = Manager::new();
    let pin = manager.pair(lab.address(), code).await.unwrap();
    assert_eq!(pin, lab.daemon.pairing.pin());
    assert_eq!(lab.daemon.pairing.stage(), Stage::Candidate);
    lab.see(&manager.admin).await.unwrap();
    assert_eq!(lab.daemon.pairing.stage(), Stage::Paired);
}

#[tokio::test]
async fn an_honest_pairing_outlives_a_restart() {
    let lab = Lab::start().await;
    let manager = lab.paired().await;
    assert_eq!(lab.daemon.pairing.overview().server_name, "server one");
    let pin = lab.daemon.pairing.pin();
    let lab = lab.restarted(3600).await;
    assert_eq!(lab.daemon.pairing.pin(), pin);
    lab.see(&manager.admin).await.unwrap();
    assert!(lab.daemon.pairing.open_window().is_err());
}

#[tokio::test]
async fn nobody_gets_in_while_no_window_is_open() {
    let lab = Lab::start().await;
    let code = Code::generate().unwrap();
    let error = Manager::new().pair(lab.address(), &code).await.unwrap_err();
    assert!(is_below(&error), "{error:?}");
    check_honest_pairing(&lab).await;
}

#[tokio::test]
async fn a_wrong_code_is_refused_and_uses_up_a_try() {
    let lab = Lab::start().await;
    let code = lab.code();
    let wrong = Code::generate().unwrap();
    let error = Manager::new().pair(lab.address(), &wrong).await.unwrap_err();
    assert_eq!(error.code(), StatusCode::PermissionDenied);
    assert_eq!(lab.daemon.pairing.overview().window.unwrap().tries_left, 4);
    check_pairing_with(&lab, &code).await;
}

#[tokio::test]
async fn a_code_is_dead_when_its_window_has_run_out() {
    let lab = Lab::start().await;
    let code = lab.code();
    lab.clock.advance(601);
    Manager::new().pair(lab.address(), &code).await.unwrap_err();
    assert!(lab.daemon.pairing.overview().window.is_none());
    check_honest_pairing(&lab).await;
}

#[tokio::test]
async fn the_sixth_try_is_refused_even_with_the_right_code() {
    let lab = Lab::start().await;
    let code = lab.code();
    let (manager, wrong) = (Manager::new(), Code::generate().unwrap());
    for _ in 0..5 {
        let error = manager.pair(lab.address(), &wrong).await.unwrap_err();
        assert_eq!(error.code(), StatusCode::PermissionDenied);
    }
    assert!(lab.daemon.pairing.overview().window.is_none());
    manager.pair(lab.address(), &code).await.unwrap_err();
    assert_eq!(lab.daemon.pairing.stage(), Stage::Unpaired);
    check_honest_pairing(&lab).await;
}

#[tokio::test]
async fn a_code_is_dead_after_success() {
    let lab = Lab::start().await;
    let code = lab.code();
    check_pairing_with(&lab, &code).await;
    Manager::new().pair(lab.address(), &code).await.unwrap_err();
    lab.daemon.pairing.unpair(None).unwrap();
    lab.code();
    let error = Manager::new().pair(lab.address(), &code).await.unwrap_err();
    assert_eq!(error.code(), StatusCode::PermissionDenied);
    check_honest_pairing(&lab).await;
}

#[tokio::test]
async fn a_proof_recorded_on_one_session_is_refused_on_another() {
    let lab = Lab::start().await;
    let code = lab.code();
    let manager = Manager::new();
    let first = dialled(lab.address(), &manager.admin, Expect::Anyone)
        .await
        .unwrap();
    let recorded = manager.transcript(&first).manager_proof(&code);
    drop(first);
    let second = dialled(lab.address(), &manager.admin, Expect::Anyone)
        .await
        .unwrap();
    let error = send_proof(second, recorded).await.unwrap_err();
    assert_eq!(error.code(), StatusCode::PermissionDenied);
    check_pairing_with(&lab, &code).await;
}

#[tokio::test]
async fn two_managers_at_once_have_one_winner() {
    let lab = Lab::start().await;
    let code = lab.code();
    let (one, two) = (Manager::new(), Manager::new());
    let (first, second) = tokio::join!(one.pair(lab.address(), &code), two.pair(lab.address(), &code));
    assert_ne!(first.is_ok(), second.is_ok(), "{first:?} {second:?}");
    let (winner, loser) = if first.is_ok() { (&one, &two) } else { (&two, &one) };
    lab.see(&loser.admin).await.unwrap_err();
    lab.see(&winner.admin).await.unwrap();
    assert_eq!(lab.daemon.pairing.stage(), Stage::Paired);
    lab.daemon.pairing.unpair(None).unwrap();
    check_honest_pairing(&lab).await;
}

#[tokio::test]
async fn a_leaf_that_is_no_administrators_or_not_its_installations_is_refused() {
    let lab = Lab::start().await;
    let code = lab.code();
    let installation = Installation::generate().unwrap();
    let operator = Manager {
        admin: installation
            .issue(Role::Operator, "r", std::time::Duration::from_secs(60))
            .unwrap(),
        installation,
    };
    let error = operator.pair(lab.address(), &code).await.unwrap_err();
    assert_eq!(error.code(), StatusCode::InvalidArgument);
    let alone = Manager {
        admin: Identity::generate("m").unwrap(),
        installation: Installation::generate().unwrap(),
    };
    let error = alone.pair(lab.address(), &code).await.unwrap_err();
    assert_eq!(error.code(), StatusCode::InvalidArgument);
    check_pairing_with(&lab, &code).await;
}

#[tokio::test]
async fn a_candidate_that_makes_no_call_is_dropped() {
    let lab = Lab::start().await;
    let manager = Manager::new();
    manager.pair(lab.address(), &lab.code()).await.unwrap();
    lab.clock.advance(601);
    lab.see(&manager.admin).await.unwrap_err();
    assert_eq!(lab.daemon.pairing.stage(), Stage::Unpaired);
    assert!(!lab.config.state_dir.join("pairing.json").exists());
    check_honest_pairing(&lab).await;
}

#[tokio::test]
async fn a_candidate_outlives_a_restart_in_time_and_not_a_late_one() {
    let lab = Lab::start().await;
    let manager = Manager::new();
    manager.pair(lab.address(), &lab.code()).await.unwrap();
    let lab = lab.restarted(300).await;
    assert_eq!(lab.daemon.pairing.stage(), Stage::Candidate);
    let lab = lab.restarted(301).await;
    assert_eq!(lab.daemon.pairing.stage(), Stage::Unpaired);
    lab.see(&manager.admin).await.unwrap_err();
    check_honest_pairing(&lab).await;
}

/// Passes the manager's proof on to the satellite over a connection of its own.
struct Relay {
    satellite: SocketAddr,
    own: Manager,
}

#[tonic::async_trait]
impl PairingService for Relay {
    async fn pair(&self, request: Request<PairRequest>) -> Result<Response<PairResponse>, Status> {
        let proof: [u8; 32] = request.into_inner().manager_proof.as_ref().try_into().unwrap();
        let onward = dialled(self.satellite, &self.own.admin, Expect::Anyone).await?;
        send_proof(onward, proof).await.map(Response::new)
    }
}

#[tokio::test]
async fn a_man_in_the_middle_who_relays_both_sides_is_refused() {
    let lab = Lab::start().await;
    let code = lab.code();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let middle = listener.local_addr().unwrap();
    let tls = ServerTls::new(&Identity::generate("middle").unwrap(), &Trust::Anyone).unwrap();
    let relay = Relay {
        satellite: lab.address(),
        own: Manager::new(),
    };
    let calls = incoming(listener, tls, Connections::default());
    let served = Server::builder()
        .add_service(PairingServiceServer::new(relay))
        .serve_with_incoming(calls);
    let served = tokio::spawn(served);
    let error = Manager::new().pair(middle, &code).await.unwrap_err();
    assert_eq!(error.code(), StatusCode::PermissionDenied);
    assert_eq!(lab.daemon.pairing.overview().window.unwrap().tries_left, 4);
    served.abort();
    check_pairing_with(&lab, &code).await;
}

#[tokio::test]
async fn an_unknown_protocol_version_and_a_bad_name_use_up_no_try() {
    let lab = Lab::start().await;
    let code = lab.code();
    let manager = Manager::new();
    let dialled = dialled(lab.address(), &manager.admin, Expect::Anyone)
        .await
        .unwrap();
    let proof = manager.transcript(&dialled).manager_proof(&code).to_vec();
    let channel = satellite_proto::tls::channel_over(dialled).await.unwrap();
    let mut client =
        satellite_proto::wire::bridge::v1::pairing_service_client::PairingServiceClient::new(channel);
    let request = |protocol_version, server_name: &str, proof: &[u8]| PairRequest {
        protocol_version,
        manager_proof: proof.to_vec().into(),
        server_name: server_name.to_owned(),
    };
    for (request, expected) in [
        (request(2, "s", &proof), StatusCode::Unimplemented),
        (request(1, "", &proof), StatusCode::InvalidArgument),
        (request(1, "a\u{1b}[2J", &proof), StatusCode::InvalidArgument),
        (request(1, "s", &proof[1..]), StatusCode::InvalidArgument),
    ] {
        assert_eq!(client.pair(request).await.unwrap_err().code(), expected);
    }
    assert_eq!(lab.daemon.pairing.overview().window.unwrap().tries_left, 5);
    client.pair(request(1, "s", &proof)).await.unwrap();
}
